"""The pictures of a release as files: of each column one zip file of PNG files, and a sheet of some for a person.

A zip file and no tree: 100,000 files would each be synced, listed and hashed; packed they are one file that every
system unpacks beside the table. Members are stored, with fixed times and rights: the same rows give the same bytes.
A PNG file says that it is synthetic, in words and in XMP, and carries no other metadata.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from privsynth.data.album import ACROSS, CELL, DOWN, GAP, LARGEST, SHEET, archive_of, folder_of
from privsynth.data.pictures import Pictures, Pixels, shape_of
from privsynth.errors import MissingExtra, ModelError
from privsynth.release.archive import TIME, pictures_told
from privsynth.release.manifest import check_names
from privsynth.release.png import KEYWORD, SOURCE, XMP, XMP_WITH_TERM
from privsynth.release.predicate import PictureFile

if TYPE_CHECKING:
    import pandas as pd

    from privsynth.data.records import Synthetic
    from privsynth.data.schema import Schema

Writer = Callable[[Pixels], bytes]
"""What makes a PNG file of a picture."""

GROUND = 128
"""Grey between the pictures of the sheet."""


def check_pictures(synth: Synthetic, schema: Schema, *, where: str) -> None:
    """Refuse pictures that the schema does not declare, or that do not belong to the rows.

    Raises:
        ModelError: another column, size, mode or number; names that are not one of its own for each picture.
    """
    fits = set(synth.pictures) == set(schema.pictures)
    for name, column in schema.pictures.items() if fits else ():
        held, rows = synth.pictures[name], len(synth)
        fits = fits and (
            held.pixels.dtype == np.uint8
            and held.missing.dtype == np.bool_
            and held.pixels.shape == (rows, *shape_of(column))
            and held.missing.shape == (rows,)
            and (column.nullable or not held.missing.any())
            and _own_names(name, synth.frame[name], held)
        )
    if not fits:
        raise ModelError(
            "the pictures do not fit the schema or the rows", where=where, mend="release what `model.sample(...)` gave"
        )


def _own_names(name: str, cells: pd.Series[Any], held: Pictures) -> bool:
    """Whether each picture has a name of its own in the column's folder, and each missing one none."""
    names = cells.dropna().tolist()
    if not np.array_equal(cells.isna().to_numpy(), held.missing) or len(set(names)) != len(names):
        return False
    return all(isinstance(n, str) and n.startswith(f"{folder_of(name)}/") and n.endswith(".png") for n in names)


def picture_files(synth: Synthetic, schema: Schema, *, write: Writer | None = None) -> dict[str, bytes]:
    """The zip file of every column, and the sheet; nothing where the schema has no pictures.

    Memory: what is returned, and one picture.

    Args:
        write: what makes a file of a picture; :func:`png`.

    Raises:
        BundleError: an unsafe name. MissingExtra: no Pillow.
    """
    write = write or png
    files = {archive_of(n): packed(synth.frame[n].tolist(), synth.pictures[n], write=write) for n in schema.pictures}
    return files | {SHEET: sheet([synth.pictures[n] for n in schema.pictures], write=write)} if files else {}


def told_of(synth: Synthetic, schema: Schema) -> tuple[PictureFile, ...] | None:
    """What statement and card say of each column of pictures; None where there is none."""
    counts = {name: int((~synth.pictures[name].missing).sum()) for name in schema.pictures}
    return pictures_told(schema.to_json(), counts)


def packed(names: Sequence[str | None], pictures: Pictures, *, write: Writer | None = None) -> bytes:
    """The zip file of the pictures that are not missing, in the order of the rows."""
    check_names([name for name in names if name is not None], where="pictures")
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for row, name in enumerate(names):
            if name is not None and not pictures.missing[row]:
                member = zipfile.ZipInfo(name, TIME)
                member.create_system, member.external_attr = 3, 0o100644 << 16
                archive.writestr(member, (write or png)(pictures.pixels[row]))
    return sink.getvalue()


def png(pixels: Pixels, *, term: bool = False) -> bytes:
    """One picture, (height, width[, 3]), as a PNG file that says that it is synthetic, and with ``term`` that biometric
    use is forbidden."""
    try:
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo
    except ImportError:
        raise MissingExtra("pictures need Pillow", mend="pip install 'privsynth[images]'") from None
    said, sink = PngInfo(), io.BytesIO()
    said.add_text(*SOURCE)
    said.add_itxt(KEYWORD, XMP_WITH_TERM if term else XMP)
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, "PNG", pnginfo=said)
    return sink.getvalue()


def sheet(columns: Sequence[Pictures], *, write: Writer | None = None) -> bytes:
    """The first pictures of each column in a grid, one column below the other, as a PNG file."""
    shown = [_grid(held, down=max(1, DOWN // len(columns))) for held in columns]
    colours = any(grid.ndim == 3 for grid in shown)
    width = max(grid.shape[1] for grid in shown)
    rows = [np.repeat(grid[..., None], 3, axis=2) if colours and grid.ndim == 2 else grid for grid in shown]
    around = [((0, 0), (0, width - grid.shape[1]), (0, 0))[: grid.ndim] for grid in rows]
    return (write or png)(
        np.concatenate([np.pad(g, a, constant_values=GROUND) for g, a in zip(rows, around, strict=True)])
    )


def _grid(held: Pictures, *, down: int) -> Pixels:
    """(height, width[, 3]) of the first pictures that there are, without labels."""
    rows = np.flatnonzero(~held.missing)[: ACROSS * down]
    cells = [_shown(held.pixels[row]) for row in rows] or [_shown(np.full_like(held.pixels[0], GROUND))]
    high, wide = (size + GAP for size in cells[0].shape[:2])
    across, lines = min(ACROSS, len(cells)), -(-len(cells) // ACROSS)
    out = np.full((lines * high + GAP, across * wide + GAP, *cells[0].shape[2:]), GROUND, dtype=np.uint8)
    for i, cell in enumerate(cells):
        top, left = i // ACROSS * high + GAP, i % ACROSS * wide + GAP
        out[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return out


def _shown(pixels: Pixels) -> Pixels:
    """One picture at a size to be looked at."""
    longest = max(pixels.shape[:2])
    if longest > LARGEST:
        step = -(-longest // LARGEST)
        return pixels[::step, ::step]
    factor = max(1, CELL // longest)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def same_pictures(one: Mapping[str, Pictures], other: Mapping[str, Pictures]) -> bool:
    """Whether both hold the same pictures of the same columns, pixel by pixel. Memory: a few pictures."""
    return set(one) == set(other) and all(one[name].equals(other[name]) for name in one)
