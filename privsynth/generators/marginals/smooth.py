"""Empirical Bayes for one noisy histogram: what its cells most likely held, from the noisy counts alone.

Cells have levels that follow a law learned from the histogram itself (Kiefer & Wolfowitz 1956; Efron
2014), under Gaussian noise of known sigma. In an ordered column a cell keeps its left neighbour's level
with a probability that is learned too: a hidden Markov chain over levels, whose exact posterior means come
from the forward-backward recursion (Rabiner 1989), as in Bayesian change-point smoothing (Barry & Hartigan
1993). Cells above ten sigma stand for themselves: nothing is gained by shrinking them, and a spike is
never smeared over its neighbours. Post-processing: no rows, no randomness.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CLEAR_SIGMAS = 10.0
FEWEST_CELLS = 6
"""With fewer noisy cells there is no law to learn."""
ROUNDS, ROUNDS_EXCHANGEABLE = 20, 60
_LEVELS = np.concatenate([[0.0], 0.1 * np.geomspace(1.0, 5.0, 6), np.arange(0.75, CLEAR_SIGMAS + 2.0, 0.4)])
"""In units of sigma: closer than noise can tell apart, and beyond the clear cells."""


def smoothed(noisy: Floats, *, sigma: float, total: float, ordered: bool) -> Floats:
    """Non-negative estimates of the cells' counts that sum to ``total``. O(cells · levels · rounds).

    Args:
        noisy: (cells,) noisy counts, all of the same noise.
        sigma: its standard deviation, above 0.
        total: what the estimates sum to, above 0.
        ordered: whether neighbouring cells are alike; the null cell is not one of them.
    """
    estimate = _chain(noisy, sigma) if ordered else _exchangeable(noisy, sigma)
    floor = 1e-9 * total  # no cell of the public domain is impossible
    estimate = np.maximum(estimate, floor)
    return onto_simplex(estimate, np.minimum(estimate, 4.0 * sigma) + 0.01 * sigma, total)


def _likelihood(noisy: Floats, sigma: float) -> Floats:
    """(cells, levels) up to a factor a cell."""
    clipped = np.minimum(noisy, (CLEAR_SIGMAS + 2.0) * sigma) / sigma
    square = -0.5 * (clipped[:, None] - _LEVELS) ** 2
    return np.asarray(np.exp(square - square.max(axis=1, keepdims=True)) + 1e-200)


def _exchangeable(noisy: Floats, sigma: float) -> Floats:
    """Posterior means where cells have no neighbours: the law of levels by expectation-maximisation."""
    out = np.maximum(noisy, 0.0)
    faint = noisy <= CLEAR_SIGMAS * sigma
    if faint.sum() < FEWEST_CELLS:
        return out
    likelihood = _likelihood(noisy[faint], sigma)
    law = np.full(len(_LEVELS), 1.0 / len(_LEVELS))
    for _ in range(ROUNDS_EXCHANGEABLE):
        posterior = likelihood * law
        posterior /= posterior.sum(axis=1, keepdims=True)
        law = (posterior.sum(axis=0) + 1.0 / len(_LEVELS)) / (len(posterior) + 1.0)
    posterior = likelihood * law
    out[faint] = sigma * (posterior @ _LEVELS) / posterior.sum(axis=1)
    return out


def _chain(noisy: Floats, sigma: float) -> Floats:
    """Posterior means along an ordered column; clear cells break the chain into runs of one law."""
    runs = _runs(noisy <= CLEAR_SIGMAS * sigma)
    out = np.maximum(noisy, 0.0)
    if sum(stop - start for start, stop in runs) < FEWEST_CELLS:
        return out
    likelihood = _likelihood(noisy, sigma)
    law, change = np.full(len(_LEVELS), 1.0 / len(_LEVELS)), 0.3
    for _ in range(ROUNDS):
        landings, changes, steps = np.full(len(_LEVELS), 1.0 / len(_LEVELS)), 0.3, 1.0
        for start, stop in runs:
            posterior, jumps = _forward_backward(likelihood[start:stop], law, change)
            out[start:stop] = sigma * (posterior @ _LEVELS)
            landings += posterior[0] + jumps.sum(axis=0)
            changes += float(jumps.sum())
            steps += stop - start - 1
        law = landings / landings.sum()
        change = min(max(changes / steps, 1e-3), 0.999)
    return out


def _forward_backward(likelihood: Floats, law: Floats, change: float) -> tuple[Floats, Floats]:
    """(n, levels) posteriors, and (n - 1, levels) probabilities that a cell drew its level anew, and which."""
    n = len(likelihood)
    forward, backward, scale = np.empty_like(likelihood), np.ones_like(likelihood), np.empty(n)
    held = law * likelihood[0]
    scale[0] = held.sum()
    forward[0] = held / scale[0]
    for t in range(1, n):
        held = ((1.0 - change) * forward[t - 1] + change * law) * likelihood[t]
        scale[t] = held.sum()
        forward[t] = held / scale[t]
    for t in range(n - 2, -1, -1):
        after = likelihood[t + 1] * backward[t + 1]
        backward[t] = ((1.0 - change) * after + change * (law @ after)) / scale[t + 1]
    jumps = change * law * (likelihood[1:] * backward[1:] / scale[1:, None])
    return forward * backward, jumps


def _runs(inside: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where stretches of true begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def onto_simplex(values: Floats, variance: Floats, total: float) -> Floats:
    """The non-negative vector summing to ``total`` that is nearest in noise-weighted least squares:
    x = max(0, values - t·variance), with t found by sorting (Held, Wolfe & Crowder 1974). O(n log n)."""
    order = np.argsort(-values / variance, kind="stable")
    thresholds = (np.cumsum(values[order]) - total) / np.cumsum(variance[order])
    last = int(np.flatnonzero((values / variance)[order] > thresholds).max(initial=0))
    out = np.maximum(values - thresholds[last] * variance, 0.0)
    return out * (total / out.sum()) if out.sum() > 0 else np.full(len(values), total / len(values))
