"""Autoregressive, Marginals, paid independence and mostlyai-engine's DP mode, from a raw file to rows.

    python -m benchmarks.bench_autoregressive [--only census_income_kdd] [--systems marginals] [--epsilon 1 10]
    python -m benchmarks.bench_autoregressive --show

Sets and schemas as of ``benchmarks.tables --raw``: each schema is drafted from a public copy of the file, and every
system gets the raw rows; mostlyai-engine runs in an environment of its own (benchmarks/running.py), its rows are read
back by the same schema. Figures are taken at the schema's own cells, as ``benchmarks.tables`` takes them (metrics.py):
tvd1, tvd2, tvd3 of the drawn rows, auc of a classifier for the target that is trained on them, seconds of the fit with
all that is paid (reading left out), draw_seconds, peak_gb of the process. ``refused`` in place of figures: the recipe
said before spending that the noise would drown it; ``autoregressive-drowned`` is the same recipe fitted all the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

import privsynth as ps
from benchmarks import metrics, records
from benchmarks.coding import DATA, CodedTable
from benchmarks.raw import DELTA, SETS, draft
from benchmarks.records import Record
from benchmarks.running import Limits, Outcome, environment, run_driver
from privsynth.data.codec import Codec
from privsynth.data.columns import Categorical, Integer, Real
from privsynth.data.schema import Schema
from privsynth.errors import BudgetError
from privsynth.generators.autoregressive import Autoregressive
from privsynth.privacy.accountant import share_out

NAME = "autoregressive"
POSITIVE = {"census_income_kdd": ("50000+",), "arrhythmia_wide": tuple(range(2, 17))}
MOSTLYAI = ("mostlyai-engine==2.7.3",)
OURS: dict[str, tuple[str, ...]] = {
    "autoregressive": ("--generator", "autoregressive"),
    "autoregressive-drowned": ("--generator", "autoregressive", "--option", "though_drowned=true"),
    "marginals": ("--generator", "marginals"),
    "independent": ("--generator", "independent"),
}
SYSTEMS = (*OURS, "mostlyai-engine")


@dataclass(frozen=True)
class Task:
    """A set as every system gets it.

    Attributes:
        name: of the set.
        data: the raw file.
        schema_file: of it.
        target: column that the classifier predicts.
    """

    name: str
    data: Path
    schema_file: Path
    target: str

    @property
    def schema(self) -> Schema:
        """Loaded."""
        return ps.load_schema(self.schema_file)

    @property
    def rows(self) -> int:
        """In the file."""
        return int(pq.ParquetFile(self.data).metadata.num_rows)

    def coded(self, codec: Codec, codes: metrics.Codes) -> CodedTable:
        """Real rows as the metrics take them."""
        target = codec.index[self.target]
        declared = codec.schema.columns[self.target]
        values = declared.values if isinstance(declared, Categorical) else map(int, codec.columns[target].labels())
        labels: list[object] = [*values]
        positive = tuple(i for i, label in enumerate(labels) if label in POSITIVE[self.name])
        names, columns = tuple(c.name for c in codec.columns), codec.columns
        flags = tuple(c.ordered for c in columns), tuple(c.nullable for c in columns)
        sizes = tuple(c.cells for c in columns)
        return CodedTable(self.name, codes.astype("int32"), sizes, *flags, names, target=target, positive=positive)


def refusal(task: Task, epsilon: float) -> BudgetError | None:
    """What the recipe says of these declared sizes; None if it would fit."""
    recipe = Autoregressive(task.schema, ps.Budget(epsilon, DELTA), target=task.target)
    prices = share_out(recipe.budget, gate_share=0.0, selects=recipe.selects, trains=True)
    try:
        declared = task.rows // 1000 * 1000 or task.rows // 100 * 100
        recipe.check_sampler(prices, rows=declared, cap_epsilon=1.25 * epsilon + 0.1)
    except BudgetError as wrong:
        return wrong
    return None


def run(task: Task, system: str, *, epsilon: float, seed: int, args: argparse.Namespace) -> Outcome:
    """One fit and draw in a process of its own; codes of drawn rows, codes of real rows, cells."""
    limits = Limits(args.limit, args.memory, args.threads)
    common = [
        *("--data", str(task.data), "--epsilon", repr(epsilon), "--delta", repr(DELTA)),
        *("--seed", str(seed), "--rows", str(args.rows), "--target", task.target),
    ]
    if system in OURS:
        ours = [*common, "--schema", str(task.schema_file), *OURS[system]]
        return run_driver(sys.executable, "benchmarks.peers.privsynth_file", ours, limits=limits)
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "drawn.parquet"
        kept = [name for name, column in task.schema.columns.items() if column.learned]
        try:
            python = mostlyai_python(args.envs)
        except (OSError, RuntimeError) as why:
            return Outcome("failed", why=str(why))
        theirs = [*common, "--minutes", repr(args.minutes), "--frame", str(frame), "--columns", *kept]
        outcome = run_driver(python, "benchmarks.peers.mostlyai", theirs, limits=limits)
        if outcome.status != "done":
            return outcome
        codec = Codec(task.schema)
        drawn = codec.encode(ps.read_table(readable(pd.read_parquet(frame), task), task.schema).frame)
        real = codec.encode(ps.read_table(task.data, task.schema).frame)
        return Outcome("done", outcome.told, (drawn, real))


def mostlyai_python(folder: Path) -> Path:
    """The Python of mostlyai-engine's environment, without torchvision: the one that pip finds for it does not load
    beside a CPU build of torch, breaks the engine's import, and tables need none.

    Raises:
        RuntimeError: pip could not fill it; says why.
    """
    python = environment("mostlyai", MOSTLYAI, folder=folder)
    quiet = ["-m", "pip", "uninstall", "--yes", "--quiet", "--disable-pip-version-check", "torchvision"]
    subprocess.run([str(python), *quiet], capture_output=True, check=False)
    return python


def readable(drawn: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Drawn rows in the types of the raw file. Its columns that are no traits are empty; an empty value where the
    schema knows none is the middle of the declared range, or the first category, so that no row is lost for it."""
    real = pq.read_table(task.data).slice(0, 0).to_pandas()
    out = {}
    for name, kind in real.dtypes.items():
        if name not in drawn:
            out[name] = pd.Series([None] * len(drawn), dtype=object)
            continue
        column, values = task.schema.columns[str(name)], drawn[name]
        if isinstance(column, Integer | Real):
            values = pd.to_numeric(values, errors="coerce")
            values = values if column.nullable else values.fillna((column.min + column.max) // 2)
        elif isinstance(column, Categorical) and not column.nullable:
            values = values.astype(object).where(values.notna(), column.values[0])
        whole = pd.api.types.is_integer_dtype(kind)
        out[name] = pd.to_numeric(values).round().astype("Int64") if whole else values
    return pd.DataFrame(out)


def figures(task: Task, outcome: Outcome) -> Iterator[tuple[int, str, float, str]]:
    """(n, metric, value, unit) of an outcome."""
    if outcome.status != "done":
        yield task.rows, outcome.status, 1.0, ""
        return
    drawn, real = outcome.drawn[:2]
    told = outcome.told
    yield task.rows, "seconds", told.get("seconds_fit", told["seconds"]), "s"
    yield task.rows, "peak_gb", told["peak_gb"], "GB"
    yield len(drawn), "draw_seconds", told["draw_seconds"], "s"
    if "epsilon" in told:
        yield task.rows, "epsilon told", told["epsilon"], ""
    table = task.coded(Codec(task.schema), real)
    found = metrics.distances(table, drawn)
    ranked = metrics.auc(table, drawn)
    for metric, value in (found if ranked is None else {**found, "auc": ranked}).items():
        yield len(drawn), metric, value, ""


def measure(task: Task, args: argparse.Namespace) -> None:
    """Every chosen system at every ε and seed; kept."""
    for epsilon in args.epsilon:
        refused = refusal(task, epsilon)
        if refused is not None:
            print(f"{task.name} epsilon={epsilon:g}: {refused}")
        for system in args.systems:
            if system == "autoregressive-drowned" and refused is None:
                continue
            for seed in range(args.seeds):
                if system == "autoregressive" and refused is not None:
                    made = [(task.rows, "refused", 1.0, "")]
                    why = ""
                else:
                    outcome = run(task, system, epsilon=epsilon, seed=seed, args=args)
                    made, why = list(figures(task, outcome)), outcome.why
                kept = [Record(NAME, task.name, system, epsilon, DELTA, seed, n, *rest) for n, *rest in made]  # type: ignore[arg-type]
                if not args.trial:
                    records.keep(NAME, kept)
                told = ", ".join(f"{metric} {value:.4g}" for _, metric, value, _ in made)
                print(f"{task.name} {system} epsilon={epsilon:g} seed={seed}: {told} {why}", flush=True)


def main() -> None:
    """Measure, keep, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=[*POSITIVE], default=[*POSITIVE])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[*SYSTEMS])
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=50_000, help="drawn")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for a driver")
    parser.add_argument("--memory", type=float, default=16.0, help="GB for a driver")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--envs", type=Path, default=Path("~/.cache/privsynth-bench").expanduser())
    parser.add_argument("--minutes", type=float, default=10.0, help="of mostlyai-engine's training, at most")
    parser.add_argument("--trial", action="store_true", help="keep nothing")
    parser.add_argument("--show", action="store_true", help="print what is kept, and measure nothing")
    args = parser.parse_args()
    for name in args.only if not args.show else ():
        data = args.data / SETS[name].path
        if not data.exists():
            print(f"skipped {name}: {data} is not there")
            continue
        with tempfile.TemporaryDirectory() as folder:
            measure(Task(name, data, draft(name, data, Path(folder)), SETS[name].target or ""), args)
    print(records.table(NAME))


if __name__ == "__main__":
    main()
