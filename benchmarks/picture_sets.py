"""Sets of pictures as the image benchmark reads them: public ones, by their official split into train and test."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from privsynth.data.pictures import Pixels

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Side:
    """Pictures and what stands beside them.

    Attributes:
        pixels: (n, height, width[, 3]).
        labels: (n, columns) codes.
    """

    pixels: Pixels
    labels: Ints


@dataclass(frozen=True, eq=False)
class PictureSet:
    """One set.

    Attributes:
        name: in records.
        columns: the names of the labels, and of each its values.
        train, test: the official sides; of ``digits``, which has none, by ``seed``.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    train: Side
    test: Side

    @property
    def schema(self) -> str:
        """Of the labels and a picture each, as a user would write it: one row a subject."""
        height, width = self.train.pixels.shape[1:3]
        mode = ", mode: RGB" if self.train.pixels.ndim == 4 else ""
        lines = [
            "privsynth-schema: 1",
            f"source: bench/{self.name}",
            "subject: {each row is a: picture, a person has at most: 1 rows}",
            "columns:",
        ]
        for column, values in self.columns.items():
            lines.append(f"  {column}: {{kind: categorical, values: {[*map(_plain, values)]}}}")
        return "\n".join([*lines, f"  picture: {{kind: image, size: [{width}, {height}]{mode}}}", ""])


def _plain(value: str) -> str:
    return value


def _arrays(folder: Path, name: str, *, suffix: tuple[str, str, str, str]) -> tuple[Side, Side]:
    with np.load(folder / name / f"{name}.npz") as held:
        x, y, test_x, test_y = (held[key] for key in suffix)
    return Side(x, _column(y)), Side(test_x, _column(test_y))


def _column(values: npt.NDArray[np.integer]) -> Ints:
    return values.astype(np.int64).reshape(len(values), -1)[:, :1]


def _of_ten(name: str) -> Callable[[Path, int], PictureSet]:
    def read(folder: Path, seed: int) -> PictureSet:
        train, test = _arrays(folder, name, suffix=("x_train", "y_train", "x_test", "y_test"))
        return PictureSet(name, {"label": tuple(f"c{i}" for i in range(10))}, train, test)

    return read


def _pneumonia(folder: Path, seed: int) -> PictureSet:
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    train, test = _arrays(folder, "pneumoniamnist", suffix=keys)
    return PictureSet("pneumoniamnist", {"label": ("c0", "c1")}, train, test)  # normal, pneumonia


def _faces(folder: Path, seed: int) -> PictureSet:
    import pandas as pd
    from PIL import Image

    frames = [pd.read_parquet(folder / "fairface64" / f"fairface64_{side}.parquet") for side in ("train", "val")]
    columns = {name: tuple(sorted(frames[0][name].unique())) for name in ("gender", "race")}
    sides = [
        Side(
            np.stack([np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")) for raw in frame["image_jpeg"]]),
            np.column_stack([[values.index(v) for v in frame[name]] for name, values in columns.items()]),
        )
        for frame in frames
    ]
    told = {name: tuple(f"c{i}" for i in range(len(values))) for name, values in columns.items()}
    return PictureSet("fairface64", told, *sides)


def _digits(folder: Path, seed: int) -> PictureSet:
    from sklearn.datasets import load_digits

    held = load_digits()
    pixels = np.minimum(held.images * 16, 255).astype(np.uint8)
    labels = _column(held.target)
    order = np.random.default_rng(seed).permutation(len(pixels))
    train, test = order[:1437], order[1437:]
    return PictureSet(
        "digits",
        {"label": tuple(f"c{i}" for i in range(10))},
        Side(pixels[train], labels[train]),
        Side(pixels[test], labels[test]),
    )


SETS: dict[str, Callable[[Path, int], PictureSet]] = {
    "mnist": _of_ten("mnist"),
    "fashion_mnist": _of_ten("fashion_mnist"),
    "pneumoniamnist": _pneumonia,
    "fairface64": _faces,
    "digits": _digits,
}
"""Reads of a folder of sets and a seed; only ``digits``, which comes with scikit-learn, needs no folder and uses it."""
