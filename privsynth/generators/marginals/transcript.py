"""The transcript: every noisy measurement of a fit, and nothing else that depends on the rows.

Durable before the model is fitted; from it alone anyone refits the same model, bit for bit. On disk it
is one safetensors file: integer arrays, and one JSON text in the header for cliques and noise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from privsynth.data.learned import NOTHING, Learned
from privsynth.documents import canonical, sha256
from privsynth.errors import BudgetError, ModelError
from privsynth.privacy.table import check_sigma

FORMAT = 1
LEVEL, VOTES, DEPENDENCY = "level", "votes", "dependency"
DOMAIN = (LEVEL, VOTES, DEPENDENCY)
AGAIN = "pair again"
COLUMNS: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys((*DOMAIN, "one-way"), (1,)),
    "held-back": (1, 2, 3),
    "pair": (2,),
    AGAIN: (2,),
    "triple": (3,),
    "loose": (3,),
    "query": (1, 2, 3),
}
"""Of how many columns a table of each stage may be."""
MOST_COUNT = 2**53
"""No count that is read is larger: as a float each is exact."""
Ints = npt.NDArray[np.int64]
Groups = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Measurement:
    """One noisy table.

    Attributes:
        stage: ``one-way``, ``held-back`` (never fitted; for the gate), ``pair``, ``pair again`` (in the last round of
            an adaptive fit), ``triple`` (with the target),
            ``loose`` (another triple) or ``query`` (a count of the workload: inside its condition and outside);
            of a domain ``level`` (of a column's tree, over stretches that the levels before it give), ``votes``
            (for an open column's released categories) or ``dependency`` (its cells, each by those of a column
            that it determines, in one row).
        clique: column numbers, increasing.
        groups: per column of the clique a (cells,) map of cells to group numbers, or None for the cells
            themselves.
        counts: noisy integer table, one axis a column.
        sigma: standard deviation of the Gaussian before rounding (a dyadic number).
        contribution: k, the L2 sensitivity of the exact table; the event is Gaussian(sigma / k). Of votes the
            sensitivity is √k.
    """

    stage: str
    clique: tuple[int, ...]
    groups: tuple[Groups | None, ...]
    counts: Ints
    sigma: float
    contribution: int

    @property
    def variance(self) -> float:
        """Of one cell's noise: sigma² and 1/12 for the rounding."""
        return self.sigma**2 + 1 / 12

    @property
    def mu_squared(self) -> Fraction:
        """Exact GDP cost (k / sigma)²; of votes k / sigma²."""
        return Fraction(self.contribution) ** (1 if self.stage == VOTES else 2) / Fraction(self.sigma) ** 2


@dataclass(frozen=True, eq=False)
class MarginalTranscript:
    """All measurements of one fit, in the order in which they were made.

    Attributes:
        measurements: the noisy tables over cells.
        recipe: identity of the recipe that asked for them.
        noise: ``os-secure`` or ``seeded``.
        learned: the cells and categories that the domain stage gave.
        domains: its noisy tables.
        public: where public rows helped, their exact counts at the cells of each measurement, None of what no fit
            sees; else empty.
        envelope: μ² that an adaptive fit may spend in all; None where all noise was fixed before the first read.
    """

    measurements: tuple[Measurement, ...]
    recipe: str
    noise: str
    learned: Learned = NOTHING
    domains: tuple[Measurement, ...] = ()
    public: tuple[Ints | None, ...] = ()
    envelope: Fraction | None = None

    def helped(self, name: str) -> tuple[tuple[Measurement, Ints | None], ...]:
        """The measurements of one stage, each with its public counts."""
        known = self.public or (None,) * len(self.measurements)
        return tuple((m, p) for m, p in zip(self.measurements, known, strict=True) if m.stage == name)

    def stage(self, name: str) -> tuple[Measurement, ...]:
        """The measurements of one stage."""
        return tuple(m for m in self.measurements if m.stage == name)

    @property
    def mu_squared(self) -> Fraction:
        """Exact GDP cost of all of it: Σ (k / sigma)²."""
        return sum((m.mu_squared for m in (*self.domains, *self.measurements)), Fraction(0))

    @property
    def sha256(self) -> str:
        """Of the durable form."""
        return sha256(self.to_bytes())

    def to_bytes(self) -> bytes:
        """safetensors with the description in its header; the same transcript gives the same bytes."""
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {}
        listed: list[dict[str, Any]] = []
        pool: dict[bytes, str] = {}
        for i, m in enumerate((*self.domains, *self.measurements)):
            tensors[f"counts.{i:05d}"] = np.ascontiguousarray(m.counts)
            names: list[str | None] = []
            for group in m.groups:
                if group is None:
                    names.append(None)
                    continue
                key = group.tobytes()
                if key not in pool:
                    pool[key] = f"groups.{len(pool):05d}"
                    tensors[pool[key]] = np.ascontiguousarray(group)
                names.append(pool[key])
            listed.append(
                {
                    "stage": m.stage,
                    "clique": list(m.clique),
                    "groups": names,
                    "sigma": m.sigma,
                    "contribution": m.contribution,
                }
            )
        for i, exact in enumerate(self.public):
            if exact is not None:
                tensors[f"public.{i:05d}"] = np.ascontiguousarray(exact)
        whole = {"format": FORMAT, "recipe": self.recipe, "noise": self.noise, "measurements": listed}
        whole |= {"domains": len(self.domains), "learned": self.learned.to_json()}
        if self.envelope is not None:
            whole["envelope"] = str(self.envelope)
        text = canonical(whole)
        return save(tensors, metadata={"transcript": text.decode()})

    @classmethod
    def from_bytes(cls, raw: bytes) -> MarginalTranscript:
        """The transcript that :meth:`to_bytes` wrote.

        Raises:
            ModelError: anything else.
        """
        head, tensors = read_safetensors(raw, "transcript")
        try:
            if head["format"] != FORMAT:
                raise ValueError
            measured = tuple(_measurement(entry, tensors, i) for i, entry in enumerate(head["measurements"]))
            learned, first = Learned.from_json(head["learned"]), int(head["domains"])
            if not 0 <= first <= len(measured) or any(
                (m.stage in DOMAIN) != (i < first) for i, m in enumerate(measured)
            ):
                raise ValueError
            public = _public(measured[first:], tensors)
            envelope = _fraction(head["envelope"]) if "envelope" in head else None
            told = cls(
                measured[first:], str(head["recipe"]), str(head["noise"]), learned, measured[:first], public, envelope
            )
            if envelope is not None and told.mu_squared > envelope:
                raise ValueError
            return told
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, IndexError, BudgetError):
            raise ModelError(
                "not a transcript of this version", mend="restore it from the ledger or a backup"
            ) from None


def _public(measured: Sequence[Measurement], tensors: Mapping[str, npt.NDArray[Any]]) -> tuple[Ints | None, ...]:
    known = [tensors.get(f"public.{i:05d}") for i in range(len(measured))]
    if all(exact is None for exact in known):
        return ()
    for m, exact in zip(measured, known, strict=True):
        if exact is not None and (exact.shape != m.counts.shape or not _counts(exact, least=0)):
            raise ValueError
    return tuple(known)


def _fraction(text: str) -> Fraction:
    """Of a few hundred digits, as Python writes it."""
    if not re.fullmatch(r"[0-9]{1,300}(/[0-9]{1,300})?", text):
        raise ValueError
    return Fraction(text)


def _measurement(entry: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], i: int) -> Measurement:
    """One table as its stage can be.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is not.
        BudgetError: a sigma that no noise is drawn with.
    """
    counts = tensors[f"counts.{i:05d}"]
    groups: Sequence[str | None] = entry["groups"]
    clique = tuple(int(c) for c in entry["clique"])
    if counts.ndim != len(clique) or len(groups) != len(clique) or len(clique) not in COLUMNS[entry["stage"]]:
        raise ValueError
    if clique[0] < 0 or any(a >= b for a, b in pairwise(clique)) or not _counts(counts, least=-MOST_COUNT):
        raise ValueError
    maps = tuple(None if name is None else tensors[name] for name in groups)
    for g in maps:
        if g is not None and (g.dtype != np.int32 or g.ndim != 1 or (g < 0).any()):
            raise ValueError
    sigma, k = float(entry["sigma"]), int(entry["contribution"])
    check_sigma(sigma)
    if k < 1:
        raise ValueError
    return Measurement(str(entry["stage"]), clique, maps, counts, sigma, k)


def _counts(held: npt.NDArray[Any], *, least: int) -> bool:
    """Whether these are counts of at least ``least`` and at most ``MOST_COUNT``."""
    return held.dtype == np.int64 and not ((held < least) | (held > MOST_COUNT)).any()


def read_safetensors(raw: bytes, key: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The JSON text ``key`` of a safetensors header, and the arrays.

    Raises:
        ModelError: not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(raw[:8], "little")
        head = json.loads(raw[8 : 8 + size])
        text = json.loads(head["__metadata__"][key])
        return text, load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise ModelError("not a safetensors file of privsynth", mend="restore it from a backup") from None
