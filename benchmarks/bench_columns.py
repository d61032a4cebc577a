"""Columns as they are in life, each on a real one: open categories, atoms of numbers, nulls.

The raw files of ``../shared`` at epsilon 1, schemas drafted as in ``benchmarks.raw``; two columns of diabetes130 are
declared open, their values unknown to the schema. Without those files there is nothing to measure. Kept for each
column as benchmark ``columns`` (n: rows of the file, 1,000,000 rows drawn):

    released, invented      of an open column: values that the fit released, and those that no row holds: 0
    share released          of the real rows, those whose value was released
    greatest atom, drawn    share of a column's most frequent number in the real and in the drawn rows
    null, null drawn        share of nulls in the real and in the drawn rows

    OMP_NUM_THREADS=1 python -m benchmarks.bench_columns [--seeds 2] [--dry]
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks import raw
from benchmarks.coding import DATA
from benchmarks.fitting import fit_all
from benchmarks.records import Record, keep, table
from privsynth.data.schema import Schema, load_schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.privacy.budget import Budget

EPSILON, DELTA, DRAWN = 1.0, 1e-9, 1_000_000
SUPPORT2 = raw.RawSet("support2/support2.parquet", "patient", target="hospdead")
SETS = {
    "diabetes130": (raw.SETS["diabetes130"], ("diag_1", "medical_specialty"), (), ()),
    "census_income_kdd": (
        raw.SETS["census_income_kdd"],
        (),
        ("capital_gains", "wage_per_hour", "weeks_worked_in_year"),
        (),
    ),
    "support2": (SUPPORT2, (), ("edu",), ("edu", "income", "glucose", "urine")),
}
"""The rules of a set; its columns to be declared open, those whose atoms, and those whose nulls are looked at."""


def opened(schema: Path, columns: tuple[str, ...]) -> Schema:
    """The drafted schema with these columns open."""
    text = schema.read_text("utf-8")
    for name in columns:
        text = re.sub(rf"(?m)^  {name}: .*(\n {{6,}}.*)*$", f"  {name}: {{kind: categorical, open: true}}", text)
    schema.write_text(text, "utf-8")
    return load_schema(schema)


def figures(
    model: MarginalModel,
    real: pd.DataFrame,
    *,
    opens: tuple[str, ...],
    atoms: tuple[str, ...],
    nulls: tuple[str, ...],
    seed: int,
) -> Iterator[tuple[str, str, float]]:
    """(column, metric, value)."""
    drawn = model.sample(DRAWN, seed=seed).frame
    for name in opens:
        released = set(model.transcript.learned.values[name])
        yield name, "released", len(released)
        yield name, "invented", len(released - set(real[name].dropna()))
        yield name, "share released", float(real[name].isin(released).mean())
    for name in atoms:
        greatest = real[name].value_counts().index[0]
        yield name, "greatest atom", float((real[name] == greatest).mean())
        yield name, "greatest atom, drawn", float((drawn[name] == greatest).mean())
    for name in nulls:
        yield name, "null", float(real[name].isna().mean())
        yield name, "null, drawn", float(drawn[name].isna().mean())


def measure(folder: Path, name: str, *, seeds: int) -> list[Record]:
    """Every figure of one set."""
    rules, opens, atoms, nulls = SETS[name]
    data = folder / rules.path
    with tempfile.TemporaryDirectory() as scratch:
        schema = opened(raw.draft(name, data, Path(scratch), rules), opens)
    records = read_table(data, schema)
    found = []
    for seed in range(seeds):
        model, _ = fit_all(Marginals(schema, Budget(EPSILON, DELTA), target=rules.target), records)
        for column, metric, value in figures(model, records.frame, opens=opens, atoms=atoms, nulls=nulls, seed=seed):
            n = len(records.frame)
            found.append(
                Record("columns", f"{name}, {column}", "privsynth", EPSILON, DELTA, seed, n, metric, value, "")
            )
    return found


def main() -> None:
    """Measure, keep, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    args = parser.parse_args()
    for name in SETS:
        if not (args.data / SETS[name][0].path).exists():
            print(f"skipped {name}: {args.data / SETS[name][0].path} is not there")
            continue
        found = measure(args.data, name, seeds=args.seeds)
        for record in found:
            print(f"{record.data}: {record.metric} {record.value:.4g} (seed {record.seed})", flush=True)
        if not args.dry:
            keep("columns", found)
    print(table("columns"))


if __name__ == "__main__":
    main()
