"""privsynth from a raw file to rows: reading, consent, split, hold and fit are all timed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import numpy as np

import privsynth as ps
from benchmarks.fitting import fit_all
from benchmarks.peers.protocol import peak_gb
from privsynth.data.codec import Codec


def main() -> None:
    """Fit, draw, and hand back both sides' cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--target")
    args = parser.parse_args()
    told: dict[str, float] = {}
    began = perf_counter()
    schema = ps.load_schema(args.schema)
    recipe = ps.Marginals(schema, ps.Budget(args.epsilon, args.delta), target=args.target)
    model, told["seconds_fit"] = fit_all(recipe, ps.read_table(args.data, schema))
    told["seconds"] = perf_counter() - began
    told["peak_gb"] = peak_gb()
    began = perf_counter()
    synth = model.sample(args.rows, seed=args.seed)
    told["draw_seconds"] = perf_counter() - began
    codec = Codec(schema)
    told["columns"] = len(codec.columns)
    np.savez(
        args.out,
        told=np.array(json.dumps(told)),
        codes_0=codec.encode(synth.frame),
        codes_1=codec.encode(ps.read_table(args.data, schema).frame),
        codes_2=np.array([[c.cells for c in codec.columns]]),
    )


if __name__ == "__main__":
    main()
