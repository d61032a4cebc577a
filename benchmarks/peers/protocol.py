"""What a driver is given and what it hands back: files, so that each system runs in its own environment.

A driver is ``python -m benchmarks.peers.NAME --data TABLE.npz --out OUT.npz --rows 1000000 48842 ...``. It
defines ``prepare(job)``, which loads the library, brings the codes into its form and returns ``fit``; ``fit()``
spends the whole budget, and alone is timed; what it returns draws ``n`` rows of codes. The peak of memory is
that of this process, from its start until the fit is done.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

Draw = Callable[[int], Any]
Fit = Callable[[], Draw]


@dataclass(frozen=True, eq=False)
class Job:
    """A coded table and what may be spent on it.

    Attributes:
        codes: (n, d) int32, column c in 0 … sizes[c] − 1; the domains are public.
        ordered, nullable: per column, whether codes follow the values' order, and whether the last is null.
        target: index of the column to predict, −1 for none.
        options: of this driver, NAME=VALUE as text.
        told: what else the driver wishes to hand back, filled by the fit.
    """

    codes: Any
    sizes: tuple[int, ...]
    ordered: tuple[bool, ...]
    nullable: tuple[bool, ...]
    names: tuple[str, ...]
    target: int
    epsilon: float
    delta: float
    seed: int
    options: dict[str, str]
    told: dict[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names that any library takes."""
        return [f"c{i}" for i in range(len(self.sizes))]


def rho_of(epsilon: float, delta: float) -> float:
    """The largest zCDP ρ that implies (ε, δ), by the conversion of Canonne, Kamath and Steinke (2020)."""

    def delta_of(rho: float) -> float:
        orders = 1 + np.exp(np.linspace(-8, 12, 20_001))
        logs = (orders - 1) * (orders * rho - epsilon) + orders * np.log1p(-1 / orders) - np.log(orders - 1)
        return math.exp(min(0.0, float(logs.min())))

    low, high = 0.0, epsilon + 1
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle) <= delta else (low, middle)
    return low


def peak_gb() -> float:
    """Peak resident memory of this program in GB (10^9 bytes), without what the parent had before it."""
    status = Path("/proc/self/status")
    if status.exists():
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(held.split()[1]) * 1024 / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def read_job(args: argparse.Namespace) -> Job:
    """The job that the command line names."""
    with np.load(args.data) as held:
        return Job(
            codes=held["codes"],
            sizes=tuple(held["sizes"].tolist()),
            ordered=tuple(held["ordered"].tolist()),
            nullable=tuple(held["nullable"].tolist()),
            names=tuple(held["names"].tolist()),
            target=int(held["target"]),
            epsilon=args.epsilon,
            delta=args.delta,
            seed=args.seed,
            options=dict(option.split("=", 1) for option in args.option),
        )


def main(prepare: Callable[[Job], Fit]) -> None:
    """Run a driver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a coded table, as benchmarks.coding writes it")
    parser.add_argument("--out", type=Path, required=True, help="where rows and timing go (npz)")
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, nargs="+", required=True, help="one draw for each number")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE, of this driver")
    args = parser.parse_args()
    job = read_job(args)
    fit = prepare(job)
    began = perf_counter()
    draw = fit()
    seconds = perf_counter() - began
    result: dict[str, Any] = {"seconds": seconds, "peak_gb": peak_gb(), **job.told}
    drawn: dict[str, Any] = {}
    for i, n in enumerate(args.rows):
        began = perf_counter()
        codes = np.asarray(draw(n))
        result[f"draw_seconds_{i}"] = perf_counter() - began
        if codes.shape[1] != len(job.sizes) or (codes < 0).any() or (codes >= np.array(job.sizes)).any():
            raise SystemExit("the driver drew codes outside the domain")
        drawn[f"codes_{i}"] = codes.astype(np.int32)
    np.savez(args.out, told=np.array(json.dumps(result)), **drawn)
