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
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pictures, there
from privsynth.data.schema import Schema, Subject
from privsynth.data.subjects import grouped
from privsynth.errors import UsageError
from privsynth.privacy.events import Receipt
from privsynth.privacy.noise import keyed_coins

if TYPE_CHECKING:
    import pandas as pd

    from privsynth.data.codec import Codec

Condition = Mapping[str, Any]
Draw = Literal["even", "independent"]
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
        file: device and number of the file that was read, for ``fit`` to refuse it as a public table; None of a frame.
        pictures: of each column that holds them, one for each row.
    """

    schema: Schema
    frame: pd.DataFrame
    subjects: npt.NDArray[np.object_]
    faults: Mapping[tuple[str, str], int] = field(default_factory=dict)
    roll: Callable[[str], Ballots] | None = None
    file: tuple[int, int] | None = None
    pictures: Mapping[str, Pictures] = field(default_factory=dict)

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
        frame = self.frame.loc[mask].reset_index(drop=True)
        pictures = {name: held.keep(mask) for name, held in self.pictures.items()}
        return Records(self.schema, frame, subjects, self.faults, file=self.file, pictures=pictures)


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
    """What a split needs of a ledger. One that is :class:`Assigns` too is asked for nothing else."""

    def coin_key(self, source: str) -> CoinKey:
        """The secret of the source's population, drawn when the population was registered."""
        ...


@runtime_checkable
class Assigns(Protocol):
    """A ledger that may keep populations apart."""

    def assign(
        self, source: str, subjects: npt.NDArray[np.object_] | None
    ) -> tuple[CoinKey, npt.NDArray[np.bool_] | None]:
        """The secret, and which of (n,) subjects may be used in this population, for ever; None: all of them may.

        ``subjects``: ids, one for each row; None where each row is a subject by itself.
        """
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
        rank among her own rows, before anything is counted. Where the ledger keeps populations apart,
        whoever another one has met before is left out, on both sides. Costs nothing.
        """
        key, records = _met(self, coins)
        k = min(key.contribution, records.schema.subject.contribution)
        bounded = _bound(records, k, key.key)
        held_out = keyed_coins(key.key, bounded.subjects, probability=key.holdout)
        return Split(
            train=_side(Train, self, bounded.keep(~held_out), key),
            holdout=_side(Holdout, self, bounded.keep(held_out), key),
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
    benchmark: bool = False

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

    @classmethod
    def benchmark(cls, granted: Granted, coins: Coins) -> Split:
        """Every granted row on the training side and nobody held out, to measure a generator on public data.

        No coin is tossed; the bound of k rows a subject still holds. Both sides are marked: a fit of such
        rows takes a hold without a gate's share, and no gate accepts the split or the model.
        """
        key, records = _met(granted, coins)
        k = min(key.contribution, records.schema.subject.contribution)
        bounded = _bound(records, k, key.key)
        nobody = bounded.keep(np.zeros(len(bounded.subjects), dtype=np.bool_))
        return cls(
            train=_side(Train, granted, bounded, key, benchmark=True),
            holdout=_side(Holdout, granted, nobody, key, benchmark=True),
            holdout_share=0.0,
            thin=Thinning(key.key),
        )

    def __repr__(self) -> str:
        return f"Split({self.train.source!r}, holdout={self.holdout_share:g})"


def _met(granted: Granted, coins: Coins) -> tuple[CoinKey, Records]:
    """The coins of the population, and the rows of those who are of it."""
    records = granted.records
    if not isinstance(coins, Assigns):
        return coins.coin_key(records.schema.source), records
    known = records.schema.subject.column is not None
    key, own = coins.assign(records.schema.source, records.subjects if known else None)
    return key, records if own is None or own.all() else records.keep(own)


_P = TypeVar("_P", bound=_Part)


def _side(kind: type[_P], granted: Granted, rows: Records, key: CoinKey, *, benchmark: bool = False) -> _P:
    """One side of a split of ``granted``, with where its rows come from."""
    return kind(
        rows,
        population=key.population,
        source=granted.records.schema.source,
        purpose=granted.purpose,
        recipient=granted.recipient,
        contribution=min(key.contribution, granted.records.schema.subject.contribution),
        policy=granted.policy,
        consent=granted.consent,
        coins=sha256(key.key).hexdigest(),
        benchmark=benchmark,
    )


def _bound(records: Records, k: int, key: bytes) -> Records:
    """At most ``k`` rows of each subject: those with the least HMAC(key, her row's number, subject), by its
    first 64 bits. A row's number counts her own rows only. O(rows · log rows)."""
    codes, people = grouped(records.subjects)
    order = np.argsort(codes, kind="stable")  # her rows together, in file order
    held = np.bincount(codes, minlength=people)
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
        balance: the ``balance=`` that was asked, as JSON values, which ``sample`` takes as well.
        draw: how the rows hang together: ``even`` or ``independent``.
        guidance: how hard pictures were pushed to look like their row's values; 0: as was learned.
        pictures: of each column that holds them; in ``frame`` stands the name of each one's file in a release.
        faint: by column the values of which noise left too little to draw pictures of their own.
    """

    frame: pd.DataFrame
    schema: Schema
    receipt: Receipt
    model_id: str
    condition: Mapping[str, Any] = field(default_factory=dict)
    where: Condition | None = None
    seed: int | None = None
    balance: Mapping[str, Any] = field(default_factory=dict)
    draw: Draw = "independent"
    guidance: float = 0.0
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    faint: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """The rows as :attr:`Schema.table` has them: of a picture that may be missing whether it is there."""
        told = {
            name: there(held.missing) for name, held in self.pictures.items() if self.schema.pictures[name].nullable
        }
        kept = [name for name in self.frame.columns if name not in self.pictures or name in told]
        return self.frame.assign(**told)[kept] if self.pictures else self.frame

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


class Published(Protocol):
    """A transcript as files of its own."""

    def files(self, *, gated: bool = False) -> Mapping[str, bytes]:
        """``transcript.safetensors``, and ``transcript.json`` that says what it holds; ``gated`` of a release."""
        ...


@runtime_checkable
class Unrolls(Protocol):
    """What a model of many large pictures may do beside."""

    def unrolled(self, n: int, *, seed: int | None = None, draw: Draw = "even") -> Synthetic:
        """What ``sample`` draws by this seed, its pixels made as they are read (:mod:`privsynth.data.unrolled`)."""
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
    def public_help(self) -> str | None:
        """Where the public rows come from that helped the fit; None where there were none."""
        ...

    @property
    def adapts(self) -> bool:
        """Whether the fit chose some of its noise from its own noisy answers, inside one envelope."""
        ...

    @property
    def schema(self) -> Schema:
        """Of the table that it was fitted on."""
        ...

    @property
    def codec(self) -> Codec:
        """The cells of its columns, those that were learned included."""
        ...

    @property
    def receipt(self) -> Receipt:
        """What was paid."""
        ...

    @property
    def transcript(self) -> Transcript:
        """What it was fitted to, as deposited with its hold."""
        ...

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Mapping[str, Any] | None = None,
        draw: Draw = "even",
        guidance: float = 0.0,
    ) -> Synthetic:
        """``n`` rows; free. What each argument means: :meth:`privsynth.generators.marginals.MarginalModel.sample`.

        Raises:
            ConditionError: a guidance (:mod:`privsynth.data.guidance`) of what draws no pictures by a network.
        """
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

    def published(self) -> Published:
        """The transcript as files of its own."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write model and receipt; runs no code when loaded."""
        ...


@dataclass(frozen=True)
class HeldBack:
    """How far a model is from its held-back cliques: an upper bound of the total-variation error.

    Attributes:
        estimate: root mean square over cliques of the bound on each one's error, with the noise's share taken out.
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
