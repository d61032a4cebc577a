"""What was kept of any generator's fit: its model's folder, its published transcript. One line a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth.generators.autoregressive import AutoregressiveModel, load_network
from privsynth.generators.autoregressive import published as networks
from privsynth.generators.images import published as pictures
from privsynth.generators.images.disk import load_diffused, load_pictured
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.marginals import MarginalModel, disk
from privsynth.generators.marginals import published as tables

if TYPE_CHECKING:
    from privsynth.generators.images.diffused import DiffusedModel
    from privsynth.generators.images.published_weights import PublishedDiffusion

    AnyModel = MarginalModel | PicturedModel | DiffusedModel | AutoregressiveModel
    AnyTranscript = (
        tables.PublishedTranscript | pictures.PublishedPictures | PublishedDiffusion | networks.PublishedNetwork
    )


def _diffusion(told: Mapping[str, Any], raw: bytes) -> PublishedDiffusion:
    from privsynth.generators.images.published_weights import diffusion_of_listing  # needs torch

    return diffusion_of_listing(told, raw)


LOADERS: Mapping[str, Callable[[Path], AnyModel]] = {
    "autoregressive": load_network,
    "marginals": disk.load_model,
    "image-diffusion": load_diffused,
    "image-statistics": load_pictured,
}
READERS: Mapping[str, Callable[[Mapping[str, Any], bytes], AnyTranscript]] = {
    "autoregressive": networks.of_listing,
    "marginals": tables.of_listing,
    "image-diffusion": _diffusion,
    "image-statistics": pictures.of_listing,
}


def load_model(folder: str | Path) -> AnyModel:
    """The model that ``save`` wrote, of whatever kind. No code is run.

    Raises:
        ModelError: missing, altered or of another version. MissingExtra: its kind needs packages that are not here.
    """
    place = Path(folder)
    (raw,) = disk.read_folder(place, disk.HEAD)
    try:
        load = LOADERS[disk.read_head(raw)["recipe"]["kind"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise disk.altered(place) from None
    return load(place)


def load_transcript(folder: str | Path) -> AnyTranscript:
    """The transcript in a folder: what ``model.published().write(folder)`` wrote, or ``transcript`` of a release.

    Of a release call ``verify`` first: it tells whose it is. Here only what the two files say of each other is
    checked, and that they can be fitted: without a signature they prove nothing, not even that anything was paid.
    Compare ``refit().id`` with the model that a signed statement names, never with what the listing says.

    Raises:
        ModelError: missing, altered, too large or of another version.
    """
    return tables.read_transcript(folder, lambda told, raw: READERS[told["recipe"]["kind"]](told, raw))
