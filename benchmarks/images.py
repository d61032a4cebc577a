"""Pictures: privsynth and two peers in one run, on the same public sets, at the same (ε, δ = 10⁻⁵).

    python -m benchmarks.images                              every set, ε of 1 and 10, five seeds
    python -m benchmarks.images --only mnist --epsilon 1 --seeds 1
    python -m benchmarks.images --systems privsynth --grids DIR      and a grid of drawn pictures for each set and ε
    python -m benchmarks.images --missing                    go on: what this commit has measured already is left out
    python -m benchmarks.images --tier gpu                   ImageDiffusion beside ImageStatistics
    python -m benchmarks.images --inception FILE --inception-sha256 HEX      and the real FID (benchmarks/inception.py)
    python -m benchmarks.images --show                       the table of what is kept; measures nothing

Sets come from --data (one folder a set); one that is not there is skipped with a line; ``digits`` comes with
scikit-learn. Every official training picture is fitted, through Split.benchmark, under a policy made for the run.

Figures, kept in benchmarks/results/images.jsonl (n is the number of drawn pictures):
  accuracy          percent of the official test pictures that a classifier trained on drawn ones gets right: a small
                    fixed network, three epochs of 60,000, the last one counts; of digits an SVC on 5,000
  accuracy_sex accuracy_ethnicity   of faces: an SVC on 5,000, by low waves
  frechet frechet_floor frechet_null   distance of drawn ones, of real halves, of class means (random convolutions)
  fid               on Inception's features, only where its file is given; n is how many drawn ones it was taken on
  precision recall density coverage vendi vendi_real variance_ratio    on at most 5,000 of each
  fit_seconds sample_seconds peak_gb   of a process of its own, one core
Systems: privsynth; privsynth-all-noise (no noise-edge rule, of faces alone unless named); dp-merf dp-dcgan: peers
  written again in benchmarks/peers, on a CPU for minutes; privsynth-network (--tier gpu); real: the real training
  pictures, not private, what the judges give at best.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import inception, judges, records
from benchmarks.coding import DATA
from benchmarks.peers.offered import Offer
from benchmarks.picture_sets import SETS, PictureSet, Side
from benchmarks.records import Record
from benchmarks.running import Limits, run_driver

NAME, DELTA = "images", 1e-5
ROWS = {"digits": judges.MOST, "fairface64": judges.MOST}
MANY = 60_000
OURS, BARE, NETWORK, REAL = "privsynth", "privsynth-all-noise", "privsynth-network", "real"
PEERS = ("dp-merf", "dp-dcgan")
UNITS = {"fit_seconds": "s", "sample_seconds": "s", "peak_gb": "GB", "timeout": "s", "memory": "GB"}


def systems_of(held: PictureSet, asked: list[str], tier: str) -> list[str]:
    """What is measured on a set: by default all that a CPU can, the bare one on faces alone."""
    if asked:
        return asked
    usual = [OURS, *PEERS, *([BARE] if held.name == "fairface64" else [])]
    return [*usual, NETWORK] if tier == "gpu" else usual


def driven(held: PictureSet, system: str, *, epsilon: float, seed: int, limits: Limits) -> tuple[Side | None, Told]:
    """The drawn pictures, and seconds and memory; None and why, where it did not end."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "set.npz"
        Offer.save(data, held)
        outcome = run_driver(
            sys.executable,
            "benchmarks.peers.pictures",
            [
                *("--system", system, "--data", str(data), "--epsilon", repr(epsilon), "--delta", repr(DELTA)),
                *("--seed", str(seed), "--rows", str(ROWS.get(held.name, MANY))),
            ],
            limits=limits,
        )
    if outcome.status != "done":
        print(f"  {system}: {outcome.status} {outcome.why}", flush=True)
        limit = {"timeout": limits.seconds, "memory": limits.memory_gb}.get(outcome.status, 1.0)
        return None, {outcome.status: limit}
    labels, pixels = outcome.drawn  # in order of their names
    return Side(pixels.astype(np.uint8), labels.astype(np.int64)), outcome.told


Told = dict[str, float]


def figures(held: PictureSet, drawn: Side, told: Told, *, seed: int, device: str) -> Iterator[tuple[str, float]]:
    """(metric, value) of drawn pictures."""
    yield from told.items()
    yield from judges.accuracies(held, drawn, seed=seed, device=device).items()
    yield from judges.likeness(held, drawn, seed=seed).items()


def measured(held: PictureSet, system: str, epsilon: float | None, seed: int, args: argparse.Namespace) -> list[Record]:
    """Every figure of one fit."""
    if epsilon is None:
        drawn: Side | None = held.train
        found = list(judges.accuracies(held, held.train, seed=seed, device=args.device).items())
    else:
        limits = Limits(seconds=args.limit, memory_gb=args.memory)
        drawn, told = driven(held, system, epsilon=epsilon, seed=seed, limits=limits)
        found = list(told.items() if drawn is None else figures(held, drawn, told, seed=seed, device=args.device))
    if args.grids and drawn is not None and epsilon is not None and seed == args.first_seed:
        args.grids.mkdir(parents=True, exist_ok=True)
        save_grid(args.grids / f"{held.name}-{system}-{epsilon:g}.png", drawn)
    n = len(held.train.pixels if drawn is None else drawn.pixels)
    counted = [(metric, value, n) for metric, value in found]
    if args.network is not None and drawn is not None and epsilon is not None:
        most = args.inception_pictures
        counted.append(("fid", args.network.fid(held.train.pixels, drawn.pixels, most=most), min(n, most)))
    delta = None if epsilon is None else DELTA
    return [
        Record(NAME, held.name, system, epsilon, delta, seed, n, metric, value, UNITS.get(metric, _unit(metric)))
        for metric, value, n in counted
    ]


def _unit(metric: str) -> str:
    return "%" if metric.startswith("accuracy") else ""


def grid(drawn: Side, *, across: int = 12, most: int = 10) -> npt.NDArray[np.uint8]:
    """Pictures of one value of the first column to a row."""
    lines = []
    for value in np.unique(drawn.labels[:, 0])[:most]:
        shown = drawn.pixels[drawn.labels[:, 0] == value][:across]
        blank = np.zeros((across - len(shown), *shown.shape[1:]), dtype=np.uint8)
        lines.append(np.concatenate([*shown, *blank], axis=1))
    return np.concatenate(lines, axis=0)


def save_grid(path: Path, drawn: Side) -> None:
    """As a PNG, at twice the size."""
    from PIL import Image

    shown = Image.fromarray(grid(drawn))
    shown.resize((shown.width * 2, shown.height * 2), Image.Resampling.NEAREST).save(path)


def sets(folder: Path, only: list[str] | None, seed: int) -> Iterator[PictureSet]:
    """Those that are there."""
    for name in only or SETS:
        try:
            yield SETS[name](folder, seed)
        except FileNotFoundError:
            print(f"skipped {name}: not in {folder}", flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.images", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--data", type=Path, default=DATA, help=f"folder of sets (default: {DATA})")
    made.add_argument("--only", nargs="+", choices=SETS, metavar="SET", help=f"these alone: {', '.join(SETS)}")
    made.add_argument("--systems", nargs="+", default=[], choices=[OURS, BARE, NETWORK, REAL, *PEERS], metavar="SYSTEM")
    made.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 10.0])
    made.add_argument("--seeds", type=int, default=5, help="fits of privsynth (default: 5)")
    made.add_argument("--peer-seeds", type=int, default=2, help="fits of each peer (default: 2)")
    made.add_argument("--first-seed", type=int, default=0, help="seeds count from here (default: 0)")
    made.add_argument("--tier", choices=("cpu", "gpu"), default="cpu", help="gpu: ImageDiffusion too")
    made.add_argument("--grids", type=Path, help="folder for grids of drawn pictures, one a set, system and ε")
    made.add_argument("--limit", type=float, default=3600.0, help="seconds a fit may take (default: 3600)")
    made.add_argument("--memory", type=float, default=16.0, help="GB a fit may take (default: 16)")
    made.add_argument("--missing", action="store_true", help="leave out what is kept of this very commit")
    made.add_argument("--inception", type=Path, metavar="FILE", help="weights of Inception, for the real FID")
    made.add_argument("--inception-sha256", metavar="HEX", help="of that file, as you know it from where it came")
    made.add_argument(
        "--inception-pictures", type=int, default=MANY, metavar="N", help="at most of each (default: 60000)"
    )
    made.add_argument("--no-keep", action="store_true", help="print the figures and keep none")
    made.add_argument("--show", action="store_true", help="print the table of what is kept")
    return made


def wanted(args: argparse.Namespace) -> Iterator[tuple[PictureSet, str, float | None, int]]:
    """What the command line asks for, a seed of everything after the other."""
    done = records.measured(NAME, at=records.commit()) if args.missing else set()
    for seed in range(args.first_seed, args.first_seed + max(args.seeds, args.peer_seeds)):
        for held in sets(args.data, args.only, seed):
            for system in systems_of(held, args.systems, args.tier):
                if seed >= args.first_seed + (args.peer_seeds if system in PEERS else args.seeds):
                    continue
                for epsilon in [None] if system == REAL else args.epsilon:
                    if (held.name, system, epsilon, seed) not in done:
                        yield held, system, epsilon, seed


def network_of(args: argparse.Namespace) -> inception.Inception | None:
    """Inception with the declared weights, where they are given."""
    if args.inception is None:
        return None
    if args.inception_sha256 is None:
        raise SystemExit("--inception: declare the file too, by --inception-sha256")
    try:
        return inception.load(args.inception, args.inception_sha256, device=args.device)
    except (OSError, ValueError) as why:
        raise SystemExit(f"--inception: {why}") from why


def main() -> None:
    """Measure what the command line asks for."""
    args = parser().parse_args()
    if args.show:
        print(records.table(NAME))
        return
    args.device = "cuda" if args.tier == "gpu" else "cpu"
    if args.tier == "gpu" and importlib.util.find_spec("privsynth.generators.images.diffusion") is None:
        raise SystemExit("--tier gpu: this version has no ImageDiffusion")
    args.network = network_of(args)
    for held, system, epsilon, seed in wanted(args):
        found = measured(held, system, epsilon, seed, args)
        if not args.no_keep:
            records.keep(NAME, found)
        told = ", ".join(f"{r.metric} {r.value:.4g}" for r in found)
        print(f"{held.name} {system} epsilon {epsilon} seed {seed}: {told}", flush=True)


if __name__ == "__main__":
    main()
