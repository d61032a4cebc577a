"""Rows with pictures: how well row and picture agree, beside two generators that know nothing of each other.

A built set: handwritten digits (MNIST where ``../shared`` has it, else scikit-learn's) as the pictures of made-up
visits. Of each: the digit, how heavy its stroke is (thirds of the ink), a site that depends on the digit, and for some
sites more than others no picture at all. Fitted by ``Joint`` at epsilon 1 and 10, nothing gated or released.
Classifiers of digit and stroke, trained on the real pictures, are asked about the synthetic ones: agreement is the
share of rows whose column says what the classifier sees. Two independent generators are the same rows with their
pictures dealt out anew.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_joint [--seeds 5] [--dry]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.coding import DATA
from benchmarks.fitting import fit_all
from benchmarks.records import Record, keep, table
from privsynth.data.records import Records, Synthetic
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_images
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.generators.joint import Joint
from privsynth.privacy.budget import Budget

DELTA, DRAWN, MOST = 1e-6, 10_000, 30_000
SITES, STROKES = ("north", "east", "south", "west"), ("light", "middle", "heavy")
SCHEMA = """\
privsynth-schema: 1
source: built/visits
subject: {{each row is a: visit, a person has at most: 1 rows}}
columns:
  digit: {{kind: categorical, values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}
  stroke: {{kind: categorical, values: [light, middle, heavy]}}
  site: {{kind: categorical, values: [north, east, south, west]}}
  scan: {{kind: image, size: [{side}, {side}], nullable: true}}
"""


@dataclass(frozen=True, eq=False)
class Built:
    """The set: its records, and the classifiers that were trained on its pictures."""

    name: str
    records: Records
    judges: dict[str, Pipeline]


def flat(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(n, d) grey levels from 0 to 1."""
    return pixels.reshape(len(pixels), -1) / 255.0


def build() -> Built:
    """Digits with a row each. The made-up parts are drawn by a fixed seed."""
    rng = np.random.default_rng(20)
    path = DATA / "mnist" / "mnist.npz"
    if path.exists():
        with np.load(path) as held:
            name, pixels, digit = "mnist visits", held["x_train"][:MOST], held["y_train"][:MOST].astype(int)
    else:
        bundle: Any = load_digits()
        name, pixels, digit = "digits visits", (bundle.images * 15.9375).astype(np.uint8), bundle.target
    ink = pixels.reshape(len(pixels), -1).sum(1, dtype=np.int64)
    stroke = np.array(STROKES)[np.searchsorted(np.quantile(ink, [1 / 3, 2 / 3]), ink)]
    place = (digit // 3 + rng.choice(4, len(digit), p=[0.7, 0.1, 0.1, 0.1])) % 4
    lost = rng.random(len(digit)) < np.array([0.05, 0.2, 0.4, 0.1])[place]
    frame = pd.DataFrame({"digit": digit, "stroke": stroke, "site": np.array(SITES)[place]})
    frame["scan"] = pd.array([None if gone else i for i, gone in enumerate(lost)], dtype="Int64")
    schema = parse_schema(SCHEMA.format(side=pixels.shape[1]))
    judges = {}
    for column, truth in (("digit", digit.astype(str)), ("stroke", stroke)):
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, C=0.02))
        judges[column] = judge.fit(flat(pixels), truth)
    return Built(name, read_images(frame, schema, arrays={"scan": pixels}), judges)


def agreement(built: Built, drawn: Synthetic, order: npt.NDArray[np.int64]) -> dict[str, float]:
    """Share of rows with a picture whose column says what the classifier sees in the picture at ``order``."""
    held = drawn.pictures["scan"]
    there = np.flatnonzero(~held.missing)
    seen = flat(held.pixels[there[order[: len(there)] % len(there)]])
    return {
        column: float((judge.predict(seen) == drawn.frame[column].astype(str).to_numpy()[there]).mean())
        for column, judge in built.judges.items()
    }


def missing_gap(built: Built, drawn: Synthetic) -> float:
    """Mean distance, over sites, between the real and the synthetic share of rows without a picture."""
    real = built.records.frame.assign(lost=built.records.pictures["scan"].missing).groupby("site", observed=False)[
        "lost"
    ]
    told = drawn.frame.assign(lost=drawn.pictures["scan"].missing).groupby("site", observed=False)["lost"]
    return float((real.mean() - told.mean()).abs().mean())


def measure(built: Built, epsilon: float, seed: int) -> list[Record]:
    """One fit at a price."""
    recipe = Joint(built.records.schema, Budget(epsilon, DELTA), by=("digit", "stroke"))
    assert isinstance(recipe, ImageStatistics)  # without `subjects` no network is chosen
    model, seconds = fit_all(recipe, built.records)
    drawn = model.sample(DRAWN, seed=seed)
    there = int((~drawn.pictures["scan"].missing).sum())
    straight = np.arange(there)
    dealt = np.random.default_rng(seed).permutation(there)
    found: list[tuple[str, str, float, str]] = [("privsynth", "fit seconds", seconds, "s")]
    for system, order in (("privsynth", straight), ("two independent generators", dealt)):
        told = agreement(built, drawn, order)
        found += [(system, f"agreement of {column}", value, "") for column, value in told.items()]
    found.append(("privsynth", "missing pictures by site, distance", missing_gap(built, drawn), ""))
    rows = len(built.records.frame)
    return [
        Record("joint", built.name, system, epsilon, DELTA, seed, rows, metric, value, unit)
        for system, metric, value, unit in found
    ]


def main() -> None:
    """Measure, keep, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    asked = parser.parse_args()
    built = build()
    for epsilon in (1.0, 10.0):
        for seed in range(asked.seeds):
            records = measure(built, epsilon, seed)
            if asked.dry:
                for record in records:
                    print(epsilon, seed, record.system, record.metric, f"{record.value:.4g}", record.unit)
            else:
                keep("joint", records)
    if not asked.dry:
        print(table("joint"))


if __name__ == "__main__":
    main()
