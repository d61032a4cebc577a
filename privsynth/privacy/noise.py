"""The only place where private noise is drawn, and where coins are tossed.

The noise on counts is the *rounded Gaussian*: ``x + round(σZ)`` with Z standard normal. For integer
x this equals ``round(x + σZ)``, post-processing of the Gaussian mechanism, so it is exactly
Δ/σ-GDP for L2 sensitivity Δ (docs/proofs/noise.md). It is drawn by inverting a table of survival
probabilities with 128 random bits: no floating point touches a draw. The table is exact to the
floor of 2^128 times the probability (table.py); :func:`total_variation` bounds what that costs.

Known limit: the time of a table look-up depends on the noise drawn (caches), never on the counts.
"""

from __future__ import annotations

import hmac
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privsynth.errors import PrivsynthError
from privsynth.privacy.events import Provenance
from privsynth.privacy.table import (
    MAX_SIGMA,
    Table,
    dyadic_at_least,
    dyadic_below,
    expect_dtype,
    survival_table,
    total_variation,
)
from privsynth.privacy.wide import WIDEST, Wide, wide_variation

__all__ = [
    "MAX_SIGMA",
    "WIDEST",
    "NoiseSource",
    "SecureNoise",
    "SeededNoise",
    "TrainingNoise",
    "commitment",
    "dyadic_at_least",
    "dyadic_below",
    "keyed_coins",
    "keyed_ids",
    "noisy_argmax",
    "poisson_sample",
    "provenance_of",
    "total_variation",
    "wide_variation",
]

_CLIP = 2**62
_CHUNK = 1 << 20


class NoiseSource(Protocol):
    """Where a mechanism gets its noise; says where its bits come from."""

    @property
    def provenance(self) -> Provenance:
        """``os-secure``, or ``seeded`` (tests only; no gate passes what it touched)."""
        ...

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        """``exact`` plus independent rounded Gaussians of exactly this ``sigma``.

        Neighbours: add or remove one subject. Sensitivity: Δ, the largest L2 change of ``exact`` over
        such a pair, proved by the caller (m tables of a subject with k rows: k·√m). Public: the
        shape, and ``sigma`` (standard deviation in counts, on the grid of :func:`dyadic_at_least`).
        Event: ``GaussianDpEvent(noise_multiplier=sigma / Δ)``, exact.

        Above ``MAX_SIGMA``, for sums on a fine grid and up to ``WIDEST``, the noise is floor(σZ) instead: the
        same event, mean -½ (wide.py).

        Counts beyond ±2^62 are clipped before the noise: a map that moves no two counts apart.
        """
        ...


class TrainingNoise(NoiseSource, Protocol):
    """A noise source that also tosses the coins of Poisson samples."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """(count,) words of 64 random bits, fresh at every call."""
        ...


@dataclass(frozen=True)
class SecureNoise:
    """Noise from the operating system's secure source of bits."""

    @property
    def provenance(self) -> Provenance:
        return "os-secure"

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        """See :meth:`NoiseSource.add`."""
        return _add(exact, sigma, self.words)

    def words(self, count: int) -> NDArray[np.uint64]:
        """See :meth:`TrainingNoise.words`."""
        return np.frombuffer(os.urandom(8 * count), dtype=np.uint64)


@dataclass(frozen=True)
class SeededNoise:
    """Replayable noise for tests: whoever knows the seed can subtract it.

    What it touches is marked ``seeded`` in the receipt, and no gate passes it. Successive calls draw
    successive bits.
    """

    seed: int = field(repr=False)
    _bits: np.random.Philox = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bits", np.random.Philox(self.seed))

    @property
    def provenance(self) -> Provenance:
        return "seeded"

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        """See :meth:`NoiseSource.add`."""
        return _add(exact, sigma, self.words)

    def words(self, count: int) -> NDArray[np.uint64]:
        """See :meth:`TrainingNoise.words`."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)


def provenance_of(source: NoiseSource) -> Provenance:
    """Secure only from the secure source itself, not by a source's word."""
    return "os-secure" if type(source) is SecureNoise else "seeded"


def noisy_argmax(scores: NDArray[np.int64], *, sigma: float, source: NoiseSource) -> int:
    """The index of the largest score after noise; the first of them on a tie.

    Neighbours: add or remove one subject. Sensitivity: Δ, the L2 change of the whole score vector,
    proved by the caller (not the change of one score). Public: the number of scores, and ``sigma``.
    Event: ``GaussianDpEvent(sigma / Δ)``: the choice is post-processing of noisy scores.

    Raises:
        PrivsynthError: no scores to choose from.
    """
    if scores.ndim != 1 or scores.size == 0:
        raise PrivsynthError("a noisy choice needs a non-empty vector of scores")
    return int(np.argmax(source.add(scores, sigma=sigma)))


def keyed_coins(key: bytes, subjects: NDArray[np.object_], *, probability: float) -> NDArray[np.bool_]:
    """One secret coin per distinct subject, the same for ever: True with ``probability``.

    A subject's coin is HMAC-SHA256(key, "coin:" + id); its first 8 bytes as a 64-bit integer are
    compared with floor(probability·2^64). It depends on nobody else, so adding or removing a subject
    moves no other subject. Public: ``probability``. No event: coins look at ids only, never at values.

    Args:
        key: the population's secret, at least 16 bytes.
        subjects: (n,) subject ids as text, repeats allowed.
        probability: in [0, 1].

    Raises:
        PrivsynthError: a short key, an id that is not text, or a probability out of range.
    """
    _check_key(key)
    if not 0.0 <= probability <= 1.0:
        raise PrivsynthError("a coin's probability must lie between 0 and 1")
    below = math.floor(Fraction(probability) * 2**64)
    rows = subjects.tolist()
    coins = {s: int.from_bytes(hmac.digest(key, b"coin:" + _utf8(s), "sha256")[:8], "big") < below for s in set(rows)}
    return np.fromiter((coins[s] for s in rows), dtype=np.bool_, count=len(rows))


def poisson_sample(subjects: int, *, rate: float, source: TrainingNoise) -> NDArray[np.int64]:
    """The places of the subjects that are in this sample: each on its own, with probability floor(rate·2^64)/2^64.

    That is at most ``rate``, and a smaller rate costs no more (docs/proofs/dpsgd.md 2). Public: ``rate``. How many
    coins are tossed, and how they fall, is private.

    Args:
        subjects: how many coins are tossed.
        rate: in (0, 1].

    Raises:
        PrivsynthError: a rate out of range.
    """
    if not 0.0 < rate <= 1.0:
        raise PrivsynthError("a sampling rate must lie above 0 and not above 1")
    if rate == 1.0:
        return np.arange(subjects)
    return np.flatnonzero(source.words(subjects) < np.uint64(math.floor(Fraction(rate) * 2**64)))


def commitment(key: bytes, subject: str) -> str:
    """A name for ``subject`` that only the key's holder can link: hex HMAC-SHA256(key, "subject:" + id)."""
    _check_key(key)
    return hmac.digest(key, b"subject:" + _utf8(subject), "sha256").hex()


def keyed_ids(key: bytes, subjects: Iterable[str], *, size: int) -> dict[str, bytes]:
    """Of each subject the first ``size`` bytes of HMAC-SHA256(key, "subject:" + id), whole as in :func:`commitment`.

    Args:
        key: secret, at least 16 bytes.
        subjects: ids as text, repeats allowed.
        size: 1 to 32.

    Raises:
        PrivsynthError: a short key, or an id that is not text.
    """
    _check_key(key)
    return {s: hmac.digest(key, b"subject:" + _utf8(s), "sha256")[:size] for s in set(subjects)}


# --- drawing -----------------------------------------------------------------------------------


def _add(exact: NDArray[np.int64], sigma: float, words: Callable[[int], NDArray[np.uint64]]) -> NDArray[np.int64]:
    if sigma > MAX_SIGMA:
        draw = partial(_floored_normals, Wide.of(sigma))
    else:
        draw = partial(_rounded_normals, survival_table(sigma))
    expect_dtype(np.int64, exact)
    noisy = np.clip(exact, -_CLIP, _CLIP).reshape(-1)
    for start in range(0, noisy.size, _CHUNK):
        part = noisy[start : start + _CHUNK]
        part += draw(part.size, words)
    return noisy.reshape(exact.shape)


def _floored_normals(wide: Wide, size: int, words: Callable[[int], NDArray[np.uint64]]) -> NDArray[np.int64]:
    sizes = wide.magnitudes(size, words)
    return np.where(_signs(size, words) > 0, sizes, -sizes - 1)


def _rounded_normals(table: Table, size: int, words: Callable[[int], NDArray[np.uint64]]) -> NDArray[np.int64]:
    noise = table.magnitudes(words(size), words(size)) * _signs(size, words)
    expect_dtype(np.int64, noise)
    return noise


def _signs(size: int, words: Callable[[int], NDArray[np.uint64]]) -> NDArray[np.int64]:
    """1 or -1, one random bit each."""
    return 1 - 2 * np.unpackbits(words(-(-size // 64)).view(np.uint8), count=size).astype(np.int64)


def _check_key(key: bytes) -> None:
    if len(key) < 16:
        raise PrivsynthError("a coin key has fewer than 16 bytes")


def _utf8(subject: str) -> bytes:
    if not isinstance(subject, str):
        raise PrivsynthError("a subject id that is not text reached the coins")
    return subject.encode("utf-8", "surrogatepass")
