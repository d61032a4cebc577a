"""Marginals whose last round is chosen by its own noisy answers, beside the same with all noise fixed beforehand.

Coded tables, secure noise, figures as in `benchmarks.tables`: a million rows released, and as many as there are real
ones. Systems: privsynth-fixed (as shipped by default) and privsynth-adaptive (`rounds="adaptive"`).

    python -m benchmarks.bench_adaptive [--data DIR] [--only adult nist_acs] [--epsilon 0.1 1 10] [--seeds 3] [--no-auc]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.coding import DATA, TABLES, tables
from benchmarks.records import Record, keep, table
from benchmarks.tables import OURS, Bench
from privsynth.generators.marginals.recipe import ROUNDS

NAME = "adaptive"


def kept(found: list[Record]) -> None:
    """Under this benchmark's name."""
    keep(NAME, [replace(record, benchmark=NAME) for record in found])


def main() -> None:
    """Measure, keep, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=[*TABLES], default=["adult", "bank_marketing", "nist_acs"])
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.1, 1.0, 10.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-auc", action="store_true")
    parser.add_argument("--trial", action="store_true", help="keep nothing")
    args = parser.parse_args()
    bench = Bench(rows=1_000_000, with_auc=not args.no_auc, keep=(lambda found: None) if args.trial else kept)
    for coded in tables(args.data, only=args.only):
        for epsilon in args.epsilon:
            for seed in range(args.seeds):
                for rounds in ROUNDS:
                    system = replace(OURS, name=f"privsynth-{rounds}", options=(f"rounds={rounds}",))
                    told = bench.driven(system, sys.executable, coded, epsilon=epsilon, seed=seed)
                    print(f"{coded.name} {system.name} epsilon={epsilon:g} seed={seed}: {told}", flush=True)
    if not args.trial:
        print(table(NAME))


if __name__ == "__main__":
    main()
