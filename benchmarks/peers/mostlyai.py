"""mostlyai-engine 2.7.3 (``TabularARGN``, its differential privacy mode) from a raw file to rows.

Its defaults but for the price: epsilon and delta as given, of the former 1 for value protection, or a tenth where the
whole is less than 10; training ends where its own accountant says that epsilon is spent, or after ``--minutes``. The
epsilon is its own statement: of ranges, categories, empty values and its choice of checkpoint not all is paid for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.peers.protocol import peak_gb


def main() -> None:
    """Fit, draw, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--columns", nargs="+", required=True)
    parser.add_argument("--target")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frame", type=Path, required=True)
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    import pandas as pd
    from mostlyai.engine import TabularARGN  # type: ignore[import-not-found]
    from mostlyai.engine.domain import DifferentialPrivacyConfig  # type: ignore[import-not-found]

    frame = pd.read_parquet(args.data, columns=args.columns)
    values = min(1.0, args.epsilon / 10)
    paid = DifferentialPrivacyConfig(max_epsilon=args.epsilon, delta=args.delta, value_protection_epsilon=values)
    with tempfile.TemporaryDirectory() as folder:
        model = TabularARGN(
            differential_privacy=paid,
            max_training_time=args.minutes,
            workspace_dir=folder,
            random_state=args.seed,
            verbose=0,
        )
        began = perf_counter()
        model.fit(frame)
        told = {"seconds": perf_counter() - began, "peak_gb": peak_gb()}
        began = perf_counter()
        drawn = model.sample(args.rows)
        told["draw_seconds"] = perf_counter() - began
    drawn[args.columns].to_parquet(args.frame)
    np.savez(args.out, told=np.array(json.dumps(told)))


if __name__ == "__main__":
    main()
