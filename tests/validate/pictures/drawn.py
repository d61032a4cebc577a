"""Made-up pictures: smooth, all different, of three kinds that the eye tells apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from privsynth.data.codec import Codec
from privsynth.data.pictures import Pictures, Pixels
from privsynth.data.schema import parse_schema
from privsynth.validate.coded import Rows
from privsynth.validate.pictures.bands import Album

Ints = npt.NDArray[np.int64]
CODEC = Codec(
    parse_schema(
        """\
privsynth-schema: 1
source: lab/pictures
subject: {column: person, at most: 3 rows}
columns:
  person: {kind: identifier}
  kind: {kind: categorical, values: [lying, upright, round], nullable: true}
  left: {kind: boolean}
  ward: {kind: categorical, values: [a, b, c, d, e, f, g, h, i, j, k, l, m, n]}
  age: {kind: integer, min: 0, max: 99, cells: equal}
"""
    )
)


def pictures(pixels: Pixels, missing: npt.NDArray[np.bool_] | None = None) -> Pictures:
    """Of pixels; none missing unless said."""
    return Pictures(pixels, np.zeros(len(pixels), dtype=np.bool_) if missing is None else missing)


def drawn(n: int, *, seed: int, side: int = 20, kinds: Ints | None = None) -> Pixels:
    """(n, side, side), of kinds 0 to 2 if they are given."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(n, side, side)), (0, 2.5, 2.5)) * 9
    if kinds is not None:
        y, x = (np.indices((side, side)) - side / 2) / side
        shapes = np.stack([np.exp(-((y / 0.1) ** 2)), np.exp(-((x / 0.1) ** 2)), np.exp(-(x**2 + y**2) / 0.04)])
        field = field + 2 * shapes[kinds]
    out: Pixels = np.rint(np.clip(120 + 40 * field, 0, 255)).astype(np.uint8)
    return out


def album(pixels: Pixels, codes: npt.NDArray[np.int32] | None = None, *, each: int = 1) -> Album:
    """Pictures of people who have ``each`` of them, in this order."""
    cells = np.zeros((len(pixels), len(CODEC.columns)), dtype=np.int32) if codes is None else codes
    people = np.array([f"p{i // each}" for i in range(len(pixels))], dtype=object)
    return Album(Rows.of(cells, people), {"scan": pictures(pixels)})


def without(whole: Album, subject: int) -> Album:
    """The same, less a subject."""
    keep = whole.rows.group != subject
    rows = Rows.of(whole.rows.codes[keep], whole.rows.group[keep].astype(object))
    return Album(rows, {name: held.keep(keep) for name, held in whole.pictures.items()})
