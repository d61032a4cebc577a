"""DP independence, ``flat``, by numpy alone: every column's noisy counts, projected to the simplex.

The floor that any system must stay under, and a driver for the tests. ``option fail=1`` ends in an error,
``option sleep=SECONDS`` waits first.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from benchmarks.peers.protocol import Draw, Fit, Job, main, rho_of


def simplex(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest probability vector to ``values`` (Euclidean)."""
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    last = np.nonzero(falling > excess)[0][-1]
    return np.maximum(values - float(excess[last]), 0.0)


def prepare(job: Job) -> Fit:
    """Noise by zCDP, so that this module needs no accountant: for tests, not for figures."""
    rng = np.random.default_rng(job.seed)

    def fit() -> Draw:
        time.sleep(float(job.options.get("sleep", 0)))
        if "fail" in job.options:
            raise SystemExit("asked to fail")
        sigma = np.sqrt(len(job.sizes) / (2 * rho_of(job.epsilon, job.delta)))
        exact = [np.bincount(job.codes[:, c], minlength=size) for c, size in enumerate(job.sizes)]
        noisy = [counts + rng.normal(0, sigma, len(counts)) for counts in exact]
        shares = [simplex(y / max(1.0, float(np.mean([t.sum() for t in noisy])))) for y in noisy]
        return lambda n: np.column_stack([rng.choice(len(p), n, p=p / p.sum()) for p in shares])

    return fit


if __name__ == "__main__":
    main(prepare)
