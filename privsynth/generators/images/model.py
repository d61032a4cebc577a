"""A fitted model of rows that carry a picture: the table's model, and a normal law of pictures for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.album import file_names
from privsynth.data.pictures import Pictures, Pixels, shape_of
from privsynth.data.records import Condition, Draw, HeldBack, Synthetic
from privsynth.data.schema import Schema
from privsynth.data.threads import one_thread
from privsynth.data.unrolled import Pieces, pieces_of, unrolled
from privsynth.documents import canonical, identity, sha256
from privsynth.generators.images.portrait import Portrait
from privsynth.generators.images.transcript import PicturedTranscript
from privsynth.generators.marginals import MarginalModel
from privsynth.privacy.events import Receipt

if TYPE_CHECKING:
    from privsynth.data.codec import Codec, Codes
    from privsynth.generators.images.published import PublishedPictures
    from privsynth.generators.marginals.diagnostics import Diagnostics

FORMAT = 1
_AT_ONCE = 8192


@dataclass(frozen=True, eq=False, repr=False)
class PicturedModel:
    """Made by ``ImageStatistics.fit``.

    Attributes:
        schema: of the rows, pictures included.
        receipt: what was paid.
        transcript: what it was fitted to.
        recipe: its description.
        table: the model of the columns.
        portrait: of the pictures, given the columns that they depend on.
    """

    schema: Schema
    receipt: Receipt
    transcript: PicturedTranscript
    recipe: Mapping[str, Any] = field(repr=False)
    table: MarginalModel
    portrait: Portrait

    def __repr__(self) -> str:
        return f"PicturedModel({self.schema.source!r}, epsilon={self.receipt.epsilon:g})"

    @property
    def kind(self) -> str:
        """The generator's kind, as study files write it."""
        return str(self.recipe["kind"])

    @cached_property
    def id(self) -> str:
        """Identity: SHA-256 over format, receipt, recipe, transcript and both parts."""
        told = {
            "format": FORMAT,
            "receipt": identity(self.receipt.to_json()),
            "recipe": identity(dict(self.recipe)),
            "transcript": self.transcript.sha256,
            "table": self.table.id,
            "portrait": sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in self.portrait.arrays)),
        }
        return sha256(canonical(told))

    @property
    def codec(self) -> Codec:
        """The cells of the columns."""
        return self.table.codec

    @property
    def public_help(self) -> str | None:
        """None: no public rows help."""
        return None

    @property
    def adapts(self) -> bool:
        """Never: all noise is fixed before the first read."""
        return False

    def rows_estimate(self) -> tuple[float, float]:
        """N̂ and its standard deviation."""
        return self.table.rows_estimate()

    def held_back_error(self) -> HeldBack | None:
        """Fidelity of the columns on the noisy cliques that the fit never saw."""
        return self.table.held_back_error()

    def refits(self) -> bool:
        """Whether fitting the transcript again, which is free, gives this very model."""
        from privsynth.generators.images.statistics import ImageStatistics

        recipe = ImageStatistics.from_description(self.recipe)
        if recipe.identity != self.receipt.recipe or recipe.identity != self.transcript.recipe:
            return False
        return recipe.refit(self.transcript, self.receipt).id == self.id

    def diagnostics(self) -> Diagnostics:
        """Figures of the fit of the columns; of pictures there are none."""
        return replace(self.table.diagnostics(), model=self.id)

    def published(self) -> PublishedPictures:
        """The transcript with what anyone needs to fit it again."""
        from privsynth.generators.images.published import publish

        return publish(self)

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder: see :func:`privsynth.generators.images.disk.save_pictured`."""
        from privsynth.generators.images.disk import save_pictured

        save_pictured(self, Path(folder))

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Mapping[str, Any] | None = None,
        draw: Draw = "even",
        guidance: float = 0.0,
    ) -> Synthetic:
        """``n`` rows with a picture each: free, under the same receipt. Arguments as of ``MarginalModel.sample``.

        In ``frame`` stands the name that each picture's file would have; the pixels are in ``pictures``. Values of
        which too little is known are told in ``faint``.
        """
        told = self.table.sample(n, where=where, seed=seed, balance=balance, draw=draw, guidance=guidance)
        return replace(with_pictures(self._sitting(told)), faint=self.faint)

    def unrolled(self, n: int, *, seed: int | None = None, draw: Draw = "even") -> Synthetic:
        """What :meth:`sample` draws by this seed, its pixels made as they are read: see ``data.unrolled``."""
        told = self.table.sample(n, seed=seed, draw=draw)
        return replace(with_pictures(self._sitting(told), unroll=True), faint=self.faint)

    def _sitting(self, told: Synthetic) -> Sitting:
        mark = np.frombuffer(bytes.fromhex(sha256(f"{self.id}:{told.seed}".encode())), np.uint32)

        def begin() -> Callable[[Codes], Iterator[Pixels]]:
            rng = np.random.default_rng(mark)
            return lambda codes: self._pieces(codes, rng)

        return Sitting(told, self.schema, self.codec, self.id, begin)

    @cached_property
    def faint(self) -> dict[str, tuple[str, ...]]:
        """The values that pictures depend on and whose own mean picture noise drowned: such pictures look like those of
        all. By column; from paid figures alone."""
        from privsynth.generators.images.statistics import ImageStatistics

        return ImageStatistics.from_description(self.recipe).faint(self.table, self.receipt.mu_fit)

    def drawn(self, codes: Codes, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """(n, height, width[, 3]) pictures of rows with these codes."""
        with one_thread():
            return self.portrait.drawn(self._cells(codes), rng)

    def _pieces(self, codes: Codes, rng: np.random.Generator) -> Iterator[Pixels]:
        """What :meth:`drawn` draws, piece by piece."""
        with one_thread():
            vectors = self.portrait.vectors(self._cells(codes), rng)
        size = pieces_of(shape_of(next(iter(self.schema.pictures.values()))))
        for i in range(0, len(vectors), size):
            with one_thread():
                yield self.portrait.band.pixels(vectors[i : i + size])

    def _cells(self, codes: Codes) -> Codes:
        return codes[:, [self.codec.index[name] for name in self.recipe["by"]]]


@dataclass(frozen=True, eq=False, repr=False)
class Sitting:
    """Rows that a table's model drew, and who paints their pictures.

    Attributes:
        told: the rows.
        schema: with the pictures.
        codec: of the rows.
        model: id of the model that draws.
        begin: a painter, from the first row on the same each time: the codes of the next rows → their pictures, in
            pieces.
        at_once: rows that it is given together.
    """

    told: Synthetic
    schema: Schema
    codec: Codec
    model: str
    begin: Callable[[], Callable[[Codes], Iterator[Pixels]]]
    at_once: int = _AT_ONCE

    def pieces(self, codes: Codes, rows: npt.NDArray[np.int64]) -> Pieces:
        """The pictures of these rows, in order."""
        paint = self.begin()
        for i in range(0, len(rows), self.at_once):
            part, at = rows[i : i + self.at_once], 0
            for pixels in paint(codes[part]):
                yield part[at : at + len(pixels)], pixels
                at += len(pixels)


def with_pictures(sitting: Sitting, *, unroll: bool = False) -> Synthetic:
    """The rows with a picture each. Memory: all pictures; with ``unroll`` a piece of them, made as they are read."""
    told, schema = sitting.told, sitting.schema
    n, codes = len(told.frame), sitting.codec.encode(told.frame)
    name, picture = next(iter(schema.pictures.items()))
    missing = np.asarray(told.frame[name].isna()) if picture.nullable else np.zeros(n, dtype=np.bool_)
    rows, shape = np.flatnonzero(~missing), (n, *shape_of(picture))
    if unroll:
        pixels = unrolled(shape, lambda: sitting.pieces(codes, rows))
    else:
        pixels = np.zeros(shape, dtype=np.uint8)
        for part, painted in sitting.pieces(codes, rows):
            pixels[part] = painted
    files = np.array(file_names(name, n), dtype=object)
    files[missing] = None
    frame = told.frame.assign(**{name: files})[[c for c, d in schema.columns.items() if not d.dropped]]
    return replace(told, frame=frame, schema=schema, model_id=sitting.model, pictures={name: Pictures(pixels, missing)})
