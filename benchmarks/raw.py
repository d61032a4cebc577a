"""From a raw file to rows by a schema alone: no preparation by hand, no columns coded beforehand.

Each schema is drafted by ``privsynth init --from-public``, as a user would from last year's published file; here
the published file is the data set itself, which is public. Two things are then filled in, as the draft asks: who
the subject is, and for texts of more than 200 values a list beside the schema (``values from``). Nothing else is
touched: every other column is as drafted, from its storage type.

Kept as benchmark ``raw`` (whole sets) and ``scaling`` (numbers of rows, numbers of columns): seconds of the whole
road from file to model, seconds_fit of the paid fit in it, draw_seconds, peak_gb, and tvd1 and tvd2 at the
schema's own cells. n is the number of rows in the file, for distances and draw_seconds that of the drawn rows.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import metrics, records
from benchmarks.coding import CodedTable
from benchmarks.records import Record
from benchmarks.running import Limits, Outcome, run_driver

DELTA = 1e-9


@dataclass(frozen=True)
class RawSet:
    """A raw file, and what its owner knows of its subjects.

    Attributes:
        path: below the folder of data sets.
        unit: what a row is, where each row is a subject.
        person: the column that names the subject; empty where each row is one.
        at_most: how many rows of a subject a fit may use.
        dropped: columns that its documentation says are no traits (row ids).
        target: of the fit.
        rows, columns: the scaling curves.
    """

    path: str
    unit: str
    person: str = ""
    at_most: int = 1
    dropped: tuple[str, ...] = ()
    target: str | None = None
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


SETS = {
    "nist_acs": RawSet("nist_acs_national/national2019.parquet", "person", target="INDP_CAT"),
    "diabetes130": RawSet(
        "diabetes130/diabetic_data.parquet",
        "",
        person="patient_nbr",
        at_most=5,
        dropped=("encounter_id",),
        target="readmitted",
    ),
    "census_income_kdd": RawSet(
        "census_income_kdd/census_income_kdd.parquet",
        "person",
        dropped=("split",),
        target="income",
        columns=(10, 20, 42),
    ),
    "arrhythmia_wide": RawSet("arrhythmia_wide/arrhythmia.parquet", "person", target="class", columns=(70, 140, 280)),
    "flights_3m": RawSet("flights_3m/flights_3m.parquet", "flight", rows=(300_000, 1_000_000, 3_000_000)),
}


@dataclass(frozen=True)
class Cut:
    """A part of a set: its first columns, or rows drawn without replacement by seed 0; None for all."""

    rows: int | None = None
    columns: int | None = None

    def of(self, name: str) -> str:
        """The name of the part in records."""
        columns = f", {self.columns} columns" if self.columns else ""
        return name + columns + (f", {self.rows:,} rows" if self.rows else "")


def draft(name: str, data: Path, folder: Path, rules: RawSet | None = None) -> Path:
    """The schema of a raw file in ``folder``, drafted from a public copy of it and filled in by the rules of ``SETS``,
    or by others."""
    rules = rules or SETS[name]
    public = folder / f"public-{name}.parquet"
    shutil.copyfile(data, public)
    command = [sys.executable, "-m", "privsynth.cli", "init", str(data), "--from-public", str(public)]
    subprocess.run([*command, "--into", str(folder), "--quiet"], check=True, capture_output=True)
    public.unlink()
    path = next(folder.glob("*.schema.yaml"))
    table = pq.read_table(data)
    text = path.read_text("utf-8")
    if rules.person:
        text = _line(text, "subject", f"{{column: {rules.person}, at most: {rules.at_most} rows}}")
        text = _line(text, f"  {rules.person}", "{kind: identifier}")
    else:
        text = _line(text, "subject", f"{{each row is a: {rules.unit}, a person has at most: {rules.at_most} rows}}")
    for column in table.column_names:
        listed = f"  {column}: {{kind: text, dropped: true}}\n"
        if column in rules.dropped:
            text = _line(text, f"  {column}", "{kind: text, dropped: true}")
        elif listed in text and _is_text(table.schema.field(column).type):
            values = sorted(v for v in set(table.column(column).to_pylist()) if v)
            with (folder / f"{column}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([[column], *([v] for v in values)])
            text = text.replace(listed, f"  {column}: {{kind: categorical, values from: {column}.csv}}\n")
    path.write_text(text, "utf-8")
    return path


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _line(text: str, key: str, value: str) -> str:
    """``text`` with another value for the key that begins a line, however many lines the old one took."""
    changed, count = re.subn(rf"(?m)^({re.escape(key)}:) .*(\n {{6,}}.*)*$", lambda m: f"{m[1]} {value}", text)
    if count != 1:
        raise ValueError(f"{key!r} begins {count} lines of the draft")
    return changed


def part(data: Path, cut: Cut, rules: RawSet, folder: Path) -> Path:
    """The file of a part; the file itself where nothing is cut."""
    if cut == Cut():
        return data
    table = pq.read_table(data)
    if cut.columns is not None:
        kept = [c for c in table.column_names if c not in rules.dropped][: cut.columns]
        if rules.target and rules.target not in kept:
            kept[-1] = rules.target
        table = table.select(kept)
    if cut.rows is not None and cut.rows < len(table):
        table = table.take(np.sort(np.random.default_rng(0).permutation(len(table))[: cut.rows]))
    path = folder / data.name
    pq.write_table(table, path)
    return path


def fit(
    name: str, data: Path, cut: Cut, *, epsilon: float, seed: int, rows: int, limits: Limits
) -> tuple[int, Outcome]:
    """(rows in the file, outcome): draft, then read, fit and draw in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = part(data, cut, SETS[name], folder)
        n = pq.ParquetFile(path).metadata.num_rows
        schema = draft(name, path, folder)
        outcome = run_driver(
            sys.executable,
            "benchmarks.peers.privsynth_file",
            [
                *("--data", str(path), "--schema", str(schema)),
                *("--epsilon", repr(epsilon), "--delta", repr(DELTA), "--seed", str(seed)),
                *("--rows", str(min(n, rows))),
                *(("--target", SETS[name].target or "") if SETS[name].target else ()),
            ],
            limits=limits,
        )
    return n, outcome


def found(benchmark: str, name: str, n: int, outcome: Outcome, *, epsilon: float, seed: int) -> Iterator[Record]:
    """The records of an outcome."""

    def record(metric: str, value: float, unit: str = "", rows: int = n) -> Record:
        return Record(benchmark, name, "privsynth", epsilon, DELTA, seed, rows, metric, value, unit)

    if outcome.status != "done":
        yield record(outcome.status, 1.0)
        return
    for metric, unit in (("seconds", "s"), ("seconds_fit", "s"), ("peak_gb", "GB"), ("columns", "")):
        yield record(metric, outcome.told[metric], unit)
    drawn, real, sizes = outcome.drawn
    table = CodedTable(name, real, tuple(sizes[0].tolist()), *((),) * 3)
    if "ks" in outcome.told:
        yield record("ks", outcome.told["ks"], rows=len(drawn))
    yield record("draw_seconds", outcome.told["draw_seconds"], "s", len(drawn))
    for metric, value in metrics.distances(table, drawn, orders=(1, 2)).items():
        yield record(metric, value, rows=len(drawn))


def measure(
    folder: Path,
    *,
    only: list[str] | None,
    scaling: bool,
    epsilon: list[float],
    seeds: int,
    limits: Limits,
    rows: int = 100_000,
) -> None:
    """Every set that ``folder`` holds, whole or by its scaling curves; kept."""
    benchmark = "scaling" if scaling else "raw"
    for name, rules in SETS.items():
        data = folder / rules.path
        if only and name not in only:
            continue
        if not data.exists():
            print(f"skipped {name}: {data} is not there")
            continue
        curve = [*(Cut(rows=n) for n in rules.rows), *(Cut(columns=d) for d in rules.columns)]
        for cut in curve if scaling else [Cut()]:
            for at in epsilon:
                for seed in range(seeds):
                    n, outcome = fit(name, data, cut, epsilon=at, seed=seed, rows=rows, limits=limits)
                    made = list(found(benchmark, cut.of(name), n, outcome, epsilon=at, seed=seed))
                    records.keep(benchmark, made)
                    told = ", ".join(f"{r.metric} {r.value:.4g}" for r in made)
                    print(f"{cut.of(name)} epsilon={at:g} seed={seed}: {told} {outcome.why}", flush=True)
