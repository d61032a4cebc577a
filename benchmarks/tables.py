"""Tables: privsynth and its peers side by side, in one run, on the same coded data, at the same (ε, δ).

    python -m benchmarks.tables                                  everything; peers are installed at their first use
    python -m benchmarks.tables --systems ours                   privsynth, DP independence, and what no noise gives
    python -m benchmarks.tables --systems dpmm-mst --only adult --epsilon 1
    python -m benchmarks.tables --raw                            from the raw file to rows, by a schema alone
    python -m benchmarks.tables --scaling                        seconds and memory by rows and by columns
    python -m benchmarks.tables --show                           the table of what is kept; measures nothing

Data sets come from --data (one folder a set, Parquet inside); one that is not there is skipped with a line, and
without any the demo's table is used. `benchmarks.coding` says how columns become codes: public, and the same for all.

Figures, kept in benchmarks/results/tables.jsonl (n is the number of released rows; 0 is exact, without rows):
  tvd1 tvd2 tvd3   mean total variation over columns, pairs, triples (500 drawn by seed 0 where there are more)
  auc              of a classifier for the target, trained on the released rows, scored on all real rows
  seconds          one fit with every paid step, on --threads cores, loading of the library left out
  draw_seconds     of n rows
  peak_gb          peak memory of the process, from its start to the end of the fit
  timeout, memory  in place of figures: did not finish within --limit seconds, --memory GB; failed: its exit
Systems:
  privsynth        as shipped, told the table's target, fitted to every row through Split.benchmark
  independent-flat independent-pooled   DP independence at the whole budget (benchmarks.independence)
  no-noise resample                     not private: independent columns without noise; the real rows drawn again
  dpmm-mst dpmm-aim smartnoise-mst smartnoise-aim opendp-mst opendp-aim private-pgm-aim
                   peers, each library in an environment of its own (benchmarks/peers), at its documented settings
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import independence, metrics, raw, records
from benchmarks.coding import DATA, TABLES, CodedTable, tables
from benchmarks.records import Record
from benchmarks.running import Limits, Outcome, environment, run_driver

DELTA = 1e-9
NAME = "tables"


@dataclass(frozen=True)
class System:
    """Something that is measured by a driver.

    Attributes:
        name: in records.
        module: its driver.
        options: of the driver.
        requirements: what its environment holds; none for this project's own environment.
        environment: its name.
    """

    name: str
    module: str
    options: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    environment: str = ""


def peer(library: str, model: str, *requirements: str) -> System:
    """A peer with one driver for several models."""
    return System(f"{library}-{model}", f"benchmarks.peers.{library}", (f"model={model}",), requirements, library)


DPMM = ("dpmm==0.1.9",)
SMARTNOISE = ("smartnoise-synth==1.0.8",)
OPENDP = ("opendp[mbi]==0.16.0", "pandas")
# What the author's scripts of August 2025 run with; later releases of jax and pandas break them.
PRIVATE_PGM = ("jax==0.7.0", "jaxlib==0.7.0", "pandas<3", "attrs", "chex", "matplotlib", "networkx", "optax", "scipy")

OURS = System("privsynth", "benchmarks.peers.privsynth")
PEERS = (
    peer("dpmm", "mst", *DPMM),
    peer("dpmm", "aim", *DPMM),
    peer("smartnoise", "mst", *SMARTNOISE),
    peer("smartnoise", "aim", *SMARTNOISE),
    peer("opendp", "mst", *OPENDP),
    peer("opendp", "aim", *OPENDP),
    System("private-pgm-aim", "benchmarks.peers.private_pgm", (), PRIVATE_PGM, "private-pgm"),
)
WITHOUT_DRIVER = (*(f"independent-{kind}" for kind in independence.KINDS), "no-noise", "resample")
GROUPS = {
    "ours": (OURS.name, *WITHOUT_DRIVER),
    "peers": tuple(p.name for p in PEERS),
    "all": (OURS.name, *WITHOUT_DRIVER, *(p.name for p in PEERS)),
}


@dataclass(frozen=True, eq=False)
class Bench:
    """What every measurement of one run shares."""

    rows: int
    delta: float = DELTA
    limits: Limits = field(default_factory=Limits)
    with_auc: bool = True
    keep: Callable[[list[Record]], object] = lambda found: records.keep(NAME, found)

    def draws(self, table: CodedTable) -> list[int]:
        """How many rows are released: many, and as many as there are real ones."""
        return list(dict.fromkeys((self.rows, len(table))))

    def record(
        self, table: CodedTable, system: str, epsilon: float | None, seed: int, n: int, metric: str, value: float
    ) -> Record:
        """One figure of this benchmark."""
        unit = {"seconds": "s", "seconds_fit": "s", "draw_seconds": "s", "timeout": "s", "peak_gb": "GB"}
        delta = None if epsilon is None else self.delta
        told = unit.get(metric, "GB" if metric == "memory" else "")
        return Record(NAME, table.name, system, epsilon, delta, seed, n, metric, value, told)

    # --- systems with a driver -------------------------------------------------------------------

    def driven(self, system: System, python: Path | str, table: CodedTable, *, epsilon: float, seed: int) -> str:
        """Fit once, draw, measure, keep; the status in words."""
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "table.npz"
            table.save(data)
            draws = self.draws(table)
            outcome = run_driver(
                python,
                system.module,
                [
                    *("--data", str(data)),
                    *("--epsilon", repr(epsilon), "--delta", repr(self.delta), "--seed", str(seed)),
                    *("--rows", *map(str, draws)),
                    *(word for option in system.options for word in ("--option", option)),
                ],
                limits=self.limits,
            )
        found = [
            self.record(table, system.name, epsilon, seed, n, metric, value)
            for n, metric, value in self.figures(table, outcome, draws)
        ]
        self.keep(found)
        if outcome.status != "done":
            return f"{outcome.status}: {outcome.why}" if outcome.why else f"did not finish ({outcome.status})"
        told = {f"{r.metric} (n={r.n})": r.value for r in found if r.metric in ("tvd2", "auc", "seconds")}
        return ", ".join(f"{name} {value:.4g}" for name, value in told.items())

    def figures(self, table: CodedTable, outcome: Outcome, draws: list[int]) -> Iterator[tuple[int, str, float]]:
        """(n, metric, value) of an outcome."""
        match outcome.status:
            case "timeout":
                yield len(table), "timeout", self.limits.seconds
            case "memory":
                yield len(table), "memory", self.limits.memory_gb
            case "failed":
                yield len(table), "failed", 1.0
            case _:
                for metric in ("seconds", "seconds_fit", "peak_gb"):
                    if metric in outcome.told:
                        yield len(table), metric, outcome.told[metric]
                for i, (n, codes) in enumerate(zip(draws, outcome.drawn, strict=True)):
                    yield n, "draw_seconds", outcome.told[f"draw_seconds_{i}"]
                    for metric, value in self.fidelity(table, codes).items():
                        yield n, metric, value

    def fidelity(self, table: CodedTable, codes: metrics.Codes) -> dict[str, float]:
        """The distances, and the classifier's AUC where there is a target."""
        found = metrics.distances(table, codes)
        ranked = metrics.auc(table, codes) if self.with_auc else None
        return found if ranked is None else {**found, "auc": ranked}

    # --- systems without one ---------------------------------------------------------------------

    def floor(self, name: str, table: CodedTable, *, epsilon: float | None, seed: int) -> str:
        """DP independence at ``epsilon``, or what no noise gives."""
        if name == "resample":
            found = [
                (n, metric, value)
                for n in self.draws(table)
                for metric, value in self.fidelity(table, resample(table, n, seed=seed)).items()
            ]
        else:
            kind = name.removeprefix("independent-")
            shares = (
                independence.exact_shares(table)
                if epsilon is None
                else independence.shares(table, kind=kind, epsilon=epsilon, delta=self.delta, seed=seed)
            )
            found = [(0, metric, value) for metric, value in metrics.exact_distances(table, shares).items()]
        self.keep([self.record(table, name, epsilon, seed, n, metric, value) for n, metric, value in found])
        return ", ".join(f"{metric} {value:.4g}" for _, metric, value in found if metric == "tvd2")


def resample(table: CodedTable, n: int, *, seed: int) -> metrics.Codes:
    """``n`` of the real rows, drawn with replacement: not private, and what rows of the true law would give."""
    return table.codes[np.random.default_rng(seed).integers(0, len(table), n)]


def chosen(names: list[str]) -> list[str]:
    """Names of systems, groups taken apart."""
    return list(dict.fromkeys(system for name in names for system in GROUPS.get(name, (name,))))


def prepared(systems: list[System], args: argparse.Namespace) -> dict[str, Path | str]:
    """Each driver's Python by its system's name; one that cannot be had is left out with a line that says why."""
    found: dict[str, Path | str] = {}
    for system in systems:
        if not system.requirements:
            found[system.name] = sys.executable
            continue
        if system.environment == "private-pgm" and not (args.private_pgm and args.private_pgm.is_dir()):
            print(f"skipped {system.name}: --private-pgm names no checkout of github.com/ryan112358/private-pgm")
            continue
        try:
            found[system.name] = environment(system.environment, system.requirements, folder=args.envs)
        except (OSError, RuntimeError) as why:
            print(f"skipped {system.name}: {why}")
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = made.add_argument_group("what is measured")
    what.add_argument("--data", type=Path, default=DATA, help=f"folder of data sets (default: {DATA})")
    sets = list(dict.fromkeys([*TABLES, "randhie", *raw.SETS]))
    what.add_argument("--only", nargs="+", choices=sets, metavar="SET", help=f"these sets only: {', '.join(sets)}")
    what.add_argument(
        "--systems",
        nargs="+",
        default=["all"],
        choices=[*GROUPS, *GROUPS["all"]],
        metavar="SYSTEM",
        help=f"names from the list above, or {', '.join(GROUPS)} (default: all)",
    )
    what.add_argument("--epsilon", type=float, nargs="+", default=[0.1, 0.3, 1.0, 3.0, 10.0])
    what.add_argument("--delta", type=float, default=DELTA)
    what.add_argument("--seeds", type=int, default=5, help="fits of privsynth and draws of the floors (default: 5)")
    what.add_argument("--peer-seeds", type=int, default=2, help="fits of each peer (default: 2)")
    what.add_argument("--first-seed", type=int, default=0, help="seeds count from here (default: 0)")
    what.add_argument("--missing", action="store_true", help="leave out what has a record already, of any commit")
    what.add_argument("--no-auc", action="store_true", help="leave out the classifier, the slowest metric")
    what.add_argument("--raw", action="store_true", help="from raw file to rows, by a schema alone")
    what.add_argument("--scaling", action="store_true", help="as --raw, by numbers of rows and of columns")
    what.add_argument("--show", action="store_true", help="print the table of what is kept, and measure nothing")
    how = made.add_argument_group("how")
    how.add_argument(
        "--rows", type=int, default=1_000_000, help="released, beside the data's own number (default: 1e6)"
    )
    how.add_argument("--limit", type=float, default=900.0, help="seconds for a driver, drawing included (default: 900)")
    how.add_argument("--memory", type=float, default=16.0, help="GB for a driver (default: 16)")
    how.add_argument("--threads", type=int, default=1, help="cores for a driver (default: 1)")
    how.add_argument("--envs", type=Path, default=Path("~/.cache/privsynth-bench").expanduser(), help="of the peers")
    how.add_argument("--private-pgm", type=Path, help="a checkout of github.com/ryan112358/private-pgm")
    how.add_argument("--install", action="store_true", help="make the peers' environments, and measure nothing")
    how.add_argument("--max-rows", type=int, help="smoke runs: so many rows of each set; nothing is kept")
    how.add_argument("--max-columns", type=int, help="smoke runs: so many columns of each set; nothing is kept")
    return made


def systems_of(args: argparse.Namespace) -> list[System]:
    """The chosen systems that have a driver, ours first."""
    named = chosen(args.systems)
    found = [s for s in (OURS, *PEERS) if s.name in named]
    return [
        System(s.name, s.module, (f"repo={args.private_pgm.resolve()}",), s.requirements, s.environment)
        if s.environment == "private-pgm" and args.private_pgm
        else s
        for s in found
    ]


def measure(args: argparse.Namespace) -> None:
    """Every chosen system on every table, at every ε and seed."""
    trial = bool(args.max_rows or args.max_columns)
    bench = Bench(
        rows=args.rows,
        delta=args.delta,
        limits=Limits(args.limit, args.memory, args.threads),
        with_auc=not args.no_auc,
        **({"keep": lambda found: None} if trial else {}),
    )
    done = records.measured(NAME) if args.missing else set()
    systems = systems_of(args)
    pythons = prepared(systems, args)
    if args.install:
        return
    floors = [name for name in chosen(args.systems) if name in WITHOUT_DRIVER]
    for table in tables(args.data, only=[n for n in args.only if n in {*TABLES, "randhie"}] if args.only else None):
        if trial:
            table = table.subset(rows=args.max_rows, columns=args.max_columns)
        print(f"== {table.name}: {len(table)} rows, {len(table.sizes)} columns, largest domain {max(table.sizes)}")
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        for name in floors:
            private = name.startswith("independent-")
            for epsilon in args.epsilon if private else [None]:
                for seed in seeds if name != "no-noise" else [args.first_seed]:
                    if (table.name, name, epsilon, seed) not in done:
                        said = bench.floor(name, table, epsilon=epsilon, seed=seed)
                        print(f"{name} epsilon={epsilon} seed={seed}: {said}", flush=True)
        for system in systems:
            if system.name not in pythons:
                continue
            many = args.seeds if system is OURS else args.peer_seeds
            for epsilon in args.epsilon:
                for seed in range(args.first_seed, args.first_seed + many):
                    if (table.name, system.name, epsilon, seed) in done:
                        continue
                    said = bench.driven(system, pythons[system.name], table, epsilon=epsilon, seed=seed)
                    print(f"{system.name} epsilon={epsilon:g} seed={seed}: {said}", flush=True)
                    if said.startswith("did not finish"):
                        break  # another seed would not either


def main() -> None:
    """Measure what the command line asks for, keep it, print the tables."""
    args = parser().parse_args()
    if args.raw or args.scaling:
        limits = Limits(args.limit, args.memory, args.threads)
        raw.measure(
            args.data, only=args.only, scaling=args.scaling, epsilon=args.epsilon, seeds=args.seeds, limits=limits
        )
    elif not args.show:
        measure(args)
    for name in (NAME, "raw", "scaling"):
        if not args.install and (records.RESULTS / f"{name}.jsonl").exists():
            print(f"\n{name}\n\n{records.table(name)}")


if __name__ == "__main__":
    main()
