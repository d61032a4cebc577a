"""The values that flow one way: Records → Granted → Split(Train, Holdout) → Model → Synthetic.

The type is the state. Each is frozen, made only by the step before it, and says nothing of its rows
when printed. ``Protocol``s here name what this room needs of rooms above it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from privsynth.data.schema import Schema, Subject
from privsynth.errors import UsageError
from privsynth.privacy.events import Receipt
from privsynth.privacy.noise import keyed_coins

if TYPE_CHECKING:
    import pandas as pd

Condition = Mapping[str, Any]
Ballots = tuple[npt.NDArray[np.object_], list[Any]]


@dataclass(frozen=True, repr=False, eq=False)
class Records:
    """A table read by its schema: structure checked, contents conformed. Sensitive: nothing of it prints.

    Attributes:
        schema: what is public about it.
        frame: the learned columns, conformed (clipped, mapped, row-dropped by the schema's rule), plus
            the columns that consent may ask for.
        subjects: (n,) array of object: each row's subject id as text.
        faults: counts of content faults by (column, rule), kept inside.
        roll: a column as stored, on every row of the file, for consent alone: a row that was dropped for
            its content still says no. Gone once consent is read; None for records made by hand.
    """

    schema: Schema
    frame: pd.DataFrame
    subjects: npt.NDArray[np.object_]
    faults: Mapping[tuple[str, str], int] = field(default_factory=dict)
    roll: Callable[[str], Ballots] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.schema.source!r})"

    def ballots(self, column: str) -> Ballots:
        """What each row says in ``column``, with whose row it is; dropped rows too where the file is known."""
        if self.roll is not None:
            return self.roll(column)
        return self.subjects, self.frame[column].tolist()

    def keep(self, mask: npt.NDArray[np.bool_]) -> Records:
        """The rows where ``mask`` is true. Where each row is a subject, equal rows are numbered anew among
        those kept: a row that is not kept leaves no trace in the ids, and so in the coins, of the others."""
        subjects = self.subjects[mask]
        if self.schema.subject.column is None:
            subjects = numbered(subjects)
        return Records(self.schema, self.frame.loc[mask].reset_index(drop=True), subjects, self.faults)


def numbered(ids: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Ids of rows that are subjects, ``content:ordinal``, with the ordinals 0, 1, … among equal contents."""
    seen: dict[str, int] = {}
    out = np.empty(len(ids), dtype=object)
    for i, id_ in enumerate(ids):
        content = id_.partition(":")[0]
        ordinal = seen.get(content, 0)
        seen[content] = ordinal + 1
        out[i] = f"{content}:{ordinal}"
    return out


class Coins(Protocol):
    """What a split needs of a ledger."""

    def coin_key(self, source: str) -> CoinKey:
        """The secret of the source's population, drawn when the population was registered."""
        ...


@dataclass(frozen=True, repr=False)
class CoinKey:
    """A population's secret key for coins and commitments, with the frozen share held out."""

    population: str
    holdout: float
    contribution: int
    key: bytes

    def __repr__(self) -> str:
        return f"CoinKey({self.population!r})"


@dataclass(frozen=True, repr=False, eq=False)
class Granted:
    """The records of subjects whose consent allows this purpose and recipient. Made by ``filter_consent``."""

    records: Records
    purpose: str
    recipient: str
    consent: str
    policy: str

    def __repr__(self) -> str:
        return f"Granted({self.records.schema.source!r}, purpose={self.purpose!r}, recipient={self.recipient!r})"

    def split(self, coins: Coins) -> Split:
        """Hold out a share of the subjects by one secret coin each, the same for ever.

        The coin is HMAC(population key, subject id): a function of the subject alone, so adding or
        removing a subject moves nobody else. Of a subject's rows at most k are kept, chosen by keyed
        rank among her own rows, before anything is counted. Costs nothing.
        """
        key = coins.coin_key(self.records.schema.source)
        k = min(key.contribution, self.records.schema.subject.contribution)
        bounded = _bound(self.records, k, key.key)
        held_out = keyed_coins(key.key, bounded.subjects, probability=key.holdout)
        origin = dict(
            population=key.population,
            source=self.records.schema.source,
            purpose=self.purpose,
            recipient=self.recipient,
            coins=sha256(key.key).hexdigest(),
        )
        return Split(
            train=Train(bounded.keep(~held_out), contribution=k, policy=self.policy, consent=self.consent, **origin),
            holdout=Holdout(bounded.keep(held_out), contribution=k, policy=self.policy, consent=self.consent, **origin),
            holdout_share=key.holdout,
            thin=Thinning(key.key),
        )


@dataclass(frozen=True, repr=False)
class Thinning:
    """Keeps a subject with a given probability by a keyed coin of its own: data-independent subsampling."""

    key: bytes

    def __call__(self, subjects: npt.NDArray[np.object_], *, probability: float, label: str) -> npt.NDArray[np.bool_]:
        return keyed_coins(hmac.digest(self.key, b"thin:" + label.encode(), sha256), subjects, probability=probability)


@dataclass(frozen=True, repr=False, eq=False)
class _Part:
    """Rows of one side of the split, with where they came from."""

    records: Records
    population: str
    source: str
    purpose: str
    recipient: str
    contribution: int
    policy: str
    consent: str
    coins: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, purpose={self.purpose!r}, recipient={self.recipient!r})"

    @property
    def schema(self) -> Schema:
        """The schema of the rows."""
        return self.records.schema


class Train(_Part):
    """The subjects that a fit may see."""


class Holdout(_Part):
    """The subjects that no fit ever sees."""


@dataclass(frozen=True, repr=False, eq=False)
class Split:
    """Both sides, for the gate and the internal report."""

    train: Train
    holdout: Holdout
    holdout_share: float
    thin: Callable[..., npt.NDArray[np.bool_]]

    def __repr__(self) -> str:
        return f"Split({self.train.source!r}, holdout={self.holdout_share:g})"


def _bound(records: Records, k: int, key: bytes) -> Records:
    """At most ``k`` rows of each subject: those with the least HMAC(key, her row's number, subject), by its
    first 64 bits. A row's number counts her own rows only. O(rows · log rows)."""
    import pandas as pd

    codes, ids = pd.factorize(records.subjects)
    order = np.argsort(codes, kind="stable")  # her rows together, in file order
    held = np.bincount(codes, minlength=len(ids))
    number = np.arange(len(codes)) - np.repeat(np.cumsum(held) - held, held)
    crowded = held[codes[order]] > k
    rows, whose = order[crowded], codes[order][crowded]
    if not len(rows):
        return records
    pairs = zip(number[crowded].tolist(), records.subjects[rows].tolist(), strict=True)
    coins = [hmac.digest(key, f"row:{n}:{subject}".encode(), "sha256")[:8] for n, subject in pairs]
    ranked = np.lexsort((np.frombuffer(b"".join(coins), dtype=">u8"), whose))
    place = np.arange(len(rows)) - np.searchsorted(whose, whose)  # within her rows, least coin first
    keep = np.ones(len(codes), dtype=np.bool_)
    keep[rows[ranked[place >= k]]] = False
    return records.keep(keep)


@dataclass(frozen=True, repr=False, eq=False)
class Synthetic:
    """Rows drawn from a model: free, and carrying the receipt of what was paid for it.

    Attributes:
        frame: the synthetic table, columns in schema order, identifiers regenerated.
        receipt: of the model.
        model_id: identity of the model that drew them.
        condition: the ``where=`` that was asked, as JSON values.
        where, seed: the same and the seed as given to ``sample``, so that the rows can be drawn again.
    """

    frame: pd.DataFrame
    schema: Schema
    receipt: Receipt
    model_id: str
    condition: Mapping[str, Any] = field(default_factory=dict)
    where: Condition | None = None
    seed: int | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        return f"Synthetic({len(self.frame)} rows of {self.schema.source!r})"


class Transcript(Protocol):
    """The noisy measurements of a fit: all that the model knows of the data."""

    @property
    def noise(self) -> str:
        """``os-secure``, or ``seeded``."""
        ...

    def to_bytes(self) -> bytes:
        """The durable form (safetensors with JSON inside)."""
        ...


class Model(Protocol):
    """What the gate, the report and a release need of a fitted generator."""

    @property
    def id(self) -> str:
        """Identity: SHA-256 over what the model is."""
        ...

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        ...

    @property
    def schema(self) -> Schema:
        """Of the table that it was fitted on."""
        ...

    @property
    def receipt(self) -> Receipt:
        """What was paid."""
        ...

    @property
    def transcript(self) -> Transcript:
        """What it was fitted to, as deposited with its hold."""
        ...

    def sample(self, n: int, *, where: Condition | None = None, seed: int | None = None) -> Synthetic:
        """``n`` rows; free."""
        ...

    def held_back_error(self) -> HeldBack | None:
        """Fidelity on the noisy cliques that the fit never saw; None if none were held back."""
        ...

    def refits(self) -> bool:
        """Whether fitting its transcript again, which is free, gives this very model."""
        ...

    def rows_estimate(self) -> tuple[float, float]:
        """The paid estimate of the number of training rows, and its standard deviation."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write model and receipt; runs no code when loaded."""
        ...


@dataclass(frozen=True)
class HeldBack:
    """Mean total-variation error bound over held-back cliques.

    Attributes:
        estimate: mean over cliques of the noise-debiased upper estimate of the TVD.
        upper: one-sided 95% upper bound with the measurement noise in it.
        cliques: which.
    """

    estimate: float
    upper: float
    cliques: tuple[tuple[str, ...], ...]


def subject_rule(subject: Subject) -> str:
    """The unit in words: for statements and cards."""
    if subject.column is not None:
        return f"the person behind {subject.column!r}, with at most {subject.contribution} rows"
    if subject.each_row_is_a is None:
        raise UsageError("the schema names no subject")
    return f"one {subject.each_row_is_a} (one row); a person has at most {subject.person_rows}"
