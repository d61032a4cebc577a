"""privsynth by its public API: schema, policy, ledger, hold, ``Split.benchmark``, fit, sample.

The table's codes are its values. Without options it is what is shipped by default.
Options: components=NUMBER, steps=NUMBER, target=none, rounds=adaptive.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import privsynth as ps
from benchmarks.fitting import fit_all
from benchmarks.peers.protocol import Draw, Fit, Job, main
from privsynth.data.codec import Codec
from privsynth.data.schema import parse_schema


def schema_json(job: Job) -> dict[str, Any]:
    """The schema of a coded table: one cell a code; null is a null, not one more value of an order."""
    columns: dict[str, Any] = {}
    for name, size, ordered, nullable in zip(job.columns, job.sizes, job.ordered, job.nullable, strict=True):
        values = size - nullable
        if ordered and values >= 2:
            columns[name] = {"kind": "integer", "min": 0, "max": values - 1}
            if values > 256:
                columns[name]["bins"] = list(range(1, values))
        else:
            columns[name] = {"kind": "categorical", "values": list(range(values)), "ordered": ordered}
        if nullable:
            columns[name]["nullable"] = True
    subject = {"each row is a": "record", "a person has at most": "1 row"}
    return {"privsynth-schema": 1, "source": "bench/table", "subject": subject, "columns": columns}


def prepare(job: Job) -> Fit:
    """The schema and the frame; the fit reads, asks consent, splits, reserves and fits."""
    schema = parse_schema(json.dumps(schema_json(job)))
    held = zip(job.columns, job.codes.T, job.sizes, job.nullable, strict=True)
    frame = pd.DataFrame({name: _values(codes, size, nullable) for name, codes, size, nullable in held})
    target = job.columns[job.target] if job.target >= 0 and job.options.get("target") != "none" else None
    more: dict[str, Any] = {name: int(job.options[name]) for name in ("components", "steps") if name in job.options}
    more |= {"rounds": job.options["rounds"]} if "rounds" in job.options else {}
    recipe = ps.Marginals(schema, ps.Budget(job.epsilon, job.delta), target=target, **more)
    codec = Codec(schema)

    def fit() -> Draw:
        model, job.told["seconds_fit"] = fit_all(recipe, ps.read_table(frame, schema))
        return lambda n: codec.encode(model.sample(n, seed=job.seed).frame)

    return fit


def _values(codes: npt.NDArray[np.int32], size: int, nullable: bool) -> pd.Series:
    """A column's codes as its values; the last as null where the column has one."""
    values = pd.Series(codes, dtype="int64")
    return values.astype("Int64").mask(values == size - 1) if nullable else values


if __name__ == "__main__":
    main(prepare)
