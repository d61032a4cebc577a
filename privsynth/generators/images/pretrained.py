"""Weights that anybody may see, as where a network begins: a local file, declared by its hash, licence and origin.

They cost nothing, for no private row touched them: whoever declares them says so, and the statement repeats it. The
file is safetensors, with the names of :class:`privsynth.generators.images.networks.UNet`; loading it runs no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from privsynth.documents import sha256
from privsynth.errors import HoldError, SchemaError
from privsynth.generators.images.networks import Layout

_ATTRIBUTES = "told.attributes."
_HEX = frozenset("0123456789abcdef")
MOST_BYTES = 2 * 2**30


@dataclass(frozen=True)
class PublicWeights:
    """A file of public weights, declared in a recipe. Make one with :meth:`of`.

    Attributes:
        sha256: of the file.
        licence: under which it may be used, in a line.
        note: where it comes from and why it is public, in a line.
        path: where it lies here; no part of what is declared.

    Raises:
        SchemaError: not a digest, no licence or no note.
    """

    sha256: str
    licence: str
    note: str
    path: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or len(self.sha256) != 64 or not set(self.sha256) <= _HEX:
            raise SchemaError(f"{self.sha256!r} is no SHA-256", where="PublicWeights.sha256", mend="use `of`")
        for name, text in (("licence", self.licence), ("note", self.note)):
            if not isinstance(text, str) or not text.strip() or "\n" in text or len(text) > 500:
                raise SchemaError(
                    f"the public weights have no {name}", where=f"PublicWeights.{name}", mend="say it in a line"
                )

    @classmethod
    def of(cls, path: str | Path, *, licence: str, note: str) -> PublicWeights:
        """The declaration of a local file.

        Raises:
            SchemaError: it cannot be read.
        """
        return cls(sha256(_read(Path(path))), licence, note, Path(path))

    def begin(self, weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
        """``weights`` with those of the file in their place; attributes are this network's own.

        Raises:
            HoldError: the file is not here or not the declared one. SchemaError: weights of another network.
        """
        from safetensors.torch import load

        if self.path is None:
            raise HoldError("the public weights are not here", mend="PublicWeights.of(path, licence=..., note=...)")
        raw = _read(self.path)
        if sha256(raw) != self.sha256:
            raise HoldError("the public weights are not those that the recipe declares", mend="give the declared file")
        try:
            given = load(raw)
        except Exception:  # noqa: BLE001 - whatever a reader of foreign bytes raises
            raise SchemaError(
                "not a safetensors file", where=str(self.path), mend="give weights that `save_file` wrote"
            ) from None
        own = {name: value for name, value in weights.items() if not name.startswith(_ATTRIBUTES)}
        wrong = [n for n, v in own.items() if n not in given or given[n].shape != v.shape]
        if wrong:
            raise SchemaError(
                f"{len(wrong)} of {len(own)} weights are missing or of another shape, {wrong[0]!r} first",
                where=str(self.path),
                mend=f"weights of a network of {layout.channels} channels for pictures of {layout.shape}",
            )
        return {**weights, **{name: given[name].to(value.dtype) for name, value in own.items()}}

    @property
    def told(self) -> str:
        """In a line, for statement and card."""
        return f"{self.note} ({self.licence}; SHA-256 {self.sha256})"

    def to_json(self) -> dict[str, Any]:
        """What is declared, as JSON values."""
        return {"sha256": self.sha256, "licence": self.licence, "note": self.note}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PublicWeights:
        """What :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, SchemaError: anything else.
        """
        return cls(**{key: value[key] for key in ("sha256", "licence", "note")})


def _read(path: Path) -> bytes:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise OSError("no file, or too large")
        return path.read_bytes()
    except OSError:
        raise SchemaError("cannot be read", where=str(path), mend="name a local safetensors file") from None
