"""A portrait whose pictures, once cut to what a pixel can be, have the means and spreads that were told.

A normal law puts ink below black and above white; cutting it off moves the mean and narrows the spread (Tobin 1958).
So the law is moved toward one of which the right ones are left: draws of a fixed seed, cut, compared with what was
told, :data:`STEPS` times. More steps come nearer, and pay for it: they make as much of the noise in what was told, and
classifiers trained on the pictures notice. Post-processing; pure, the same from the same portrait.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from privsynth.generators.images.portrait import Portrait, root

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEPS = 2
DRAWN = 20_000
"""Pictures drawn each time, between 400 and 2,000 for each cell of the first column."""
_FEW = 20
"""Rows by which a value of a later column is believed by half."""


def matched(told: Portrait, beside: Floats) -> Portrait:
    """The portrait moved.

    Args:
        beside: (Σ sizes, Σ sizes) about how many rows hold two values together.
    """
    first, size, r = told.sizes[0], told.band.size, told.axes.shape[1]
    rng = np.random.default_rng(0)
    each = 2 * int(np.clip(DRAWN // first // 2, 200, 1000))
    inner = _white(rng.normal(size=(each, r)))
    grains = told.grains(each, rng)
    cells = [_cells(a, told.sizes, beside, each, rng) for a in range(first)]
    aims = [told.mean(c) for c in cells]
    spreads = told.roots @ told.roots.transpose(0, 2, 1)
    held = spreads.copy()
    now = told
    for _ in range(STEPS):
        off = np.zeros((first, size))
        later: list[tuple[Ints, Floats]] = []
        for a in range(first):
            vectors = now.mean(cells[a]) + (inner @ now.roots[a].T) @ told.axes.T + grains
            short = aims[a] - told.band.seen(vectors)
            off[a] = short.mean(axis=0)
            short -= off[a]
            within = short @ told.axes
            held[a] += spreads[a] - within.T @ within / each
            later.append((cells[a], short))
        effects = now.effects.copy()
        effects[:first] += off
        _add_later(effects, told.sizes, later)
        now = replace(now, effects=effects, roots=np.stack([root(s) for s in held]))
        held = now.roots @ now.roots.transpose(0, 2, 1)
    return now


def _add_later(effects: Floats, sizes: tuple[int, ...], later: list[tuple[Ints, Floats]]) -> None:
    """What is still missing goes to the values of the later columns, one column after the other."""
    at = sizes[0]
    if len(sizes) == 1:
        return
    cells, short = np.concatenate([c for c, _ in later]), np.concatenate([s for _, s in later])
    for c, size in enumerate(sizes[1:], 1):
        which = np.zeros((size, len(cells)))
        which[cells[:, c], np.arange(len(cells))] = 1.0
        more = which @ short / (which.sum(axis=1) + _FEW)[:, None]
        effects[at : at + size] += more
        short = short - more[cells[:, c]]
        at += size


def _white(drawn: Floats) -> Floats:
    """Draws and their opposites, with the second moment of their law exactly where there are enough of them."""
    half = drawn[: len(drawn) // 2]
    values, axes = np.linalg.eigh(half.T @ half / len(half))
    if values[0] > 1e-3:
        half = half @ (axes / np.sqrt(values)) @ axes.T
    return np.concatenate([half, -half])


def _cells(first: int, sizes: tuple[int, ...], beside: Floats, n: int, rng: np.random.Generator) -> Ints:
    """(n, columns) rows with cell ``first`` in the first column, and in the others what stands beside it."""
    out, at = np.full((n, len(sizes)), first, dtype=np.int64), sizes[0]
    for c, size in enumerate(sizes[1:], 1):
        chance = np.maximum(beside[first, at : at + size], 1e-9)
        out[:, c] = rng.choice(size, n, p=chance / chance.sum())
        at += size
    return out
