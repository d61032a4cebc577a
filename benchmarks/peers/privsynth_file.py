"""privsynth from a raw file to rows: reading, consent, split, hold and fit are all timed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

import privsynth as ps
from benchmarks import metrics
from benchmarks.fitting import Fits, fit_all
from benchmarks.peers.protocol import peak_gb
from privsynth.data.codec import Codec
from privsynth.data.ranged import Ranged
from privsynth.data.records import Model
from privsynth.data.schema import Schema
from privsynth.generators.autoregressive import Autoregressive

GENERATORS = ("marginals", "autoregressive", "independent")


def gaps(codec: Codec, real: pd.DataFrame, synth: pd.DataFrame) -> dict[str, float]:
    """``ks``: its mean over the columns of numbers, dates and moments; nothing where there are none."""
    found = []
    for column in codec.columns:
        if isinstance(column, Ranged):
            sides = [column.position(frame[column.name]) for frame in (real, synth)]
            known = [position[~missing] for position, missing in sides]
            if all(len(values) for values in known):
                found.append(metrics.ks(*known))
    return {"ks": float(np.mean(found))} if found else {}


def recipe_of(generator: str, schema: Schema, budget: ps.Budget, *, target: str | None, **more: Any) -> Fits[Model]:
    """The recipe of one of our generators; ``independent``: paid one-way tables alone."""
    match generator:
        case "autoregressive":
            return Autoregressive(schema, budget, target=target, **more)
        case "independent":
            return ps.Marginals(schema, budget, workload=ps.Workload(up_to=1), **more)
        case _:
            return ps.Marginals(schema, budget, target=target, **more)


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
    parser.add_argument("--generator", choices=GENERATORS, default="marginals")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE, a field of the recipe, as JSON")
    args = parser.parse_args()
    told: dict[str, float] = {}
    began = perf_counter()
    schema = ps.load_schema(args.schema)
    more = {name: json.loads(value) for name, value in (option.split("=", 1) for option in args.option)}
    recipe = recipe_of(args.generator, schema, ps.Budget(args.epsilon, args.delta), target=args.target, **more)
    model, told["seconds_fit"] = fit_all(recipe, ps.read_table(args.data, schema))
    told["seconds"] = perf_counter() - began
    told["peak_gb"] = peak_gb()
    began = perf_counter()
    synth = model.sample(args.rows, seed=args.seed)
    told["draw_seconds"] = perf_counter() - began
    codec, real = Codec(schema), ps.read_table(args.data, schema).frame
    told["columns"] = len(codec.columns)
    told |= gaps(codec, real, synth.frame)
    np.savez(
        args.out,
        told=np.array(json.dumps(told)),
        codes_0=codec.encode(synth.frame),
        codes_1=codec.encode(real),
        codes_2=np.array([[c.cells for c in codec.columns]]),
    )


if __name__ == "__main__":
    main()
