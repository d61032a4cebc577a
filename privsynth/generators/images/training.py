"""The free steps of a fit by diffusion, before and after the noisy ones. All of it follows from paid statistics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from privsynth.data.columns import Image
from privsynth.data.pictures import Pixels, shape_of
from privsynth.documents import sha256
from privsynth.generators.images.edm import fitted, guided
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.networks import Layout, drawn, filled
from privsynth.generators.images.normal import Normal
from privsynth.generators.images.procedural import procedural
from privsynth.generators.images.source import EdmLoss, made_up
from privsynth.generators.images.space import PixelSpace, Space, VectorSpace
from privsynth.generators.images.warmup import WarmUp, warm_up
from privsynth.privacy.dpsgd import Loss, MakeBatch
from privsynth.progress import SILENT, Progress

if TYPE_CHECKING:
    from privsynth.generators.images.diffusion import ImageDiffusion

Ints = npt.NDArray[np.int64]

POOL, POOL_BYTES = 30_000, 2**28
"""Pictures drawn to warm up on, at most, and what they may take."""
BATCH = 256
RATES = {"unet": 5e-4, "latent": 2e-3}
"""Of learning in the warm-up."""
WARM_UP = {"unet": 2000, "latent": 300}
"""Steps of it by default."""
FEW = 9
"""Calls of the network of the fast way to draw."""
_TRIED = 128


def lesson(layout: Layout, prior: Normal | None = None) -> tuple[Loss, MakeBatch]:
    """The loss of a network of this layout, and random examples of nobody for it."""
    return EdmLoss(layout.sizes, prior), partial(made_up, layout.shape, layout.sizes)


def pool_bytes(picture: Image) -> int:
    """Of the pictures that the warm-up holds, at most, in single precision."""
    return min(POOL_BYTES, POOL * 4 * int(np.prod(shape_of(picture))))


def begun_with(recipe: ImageDiffusion, layout: Layout) -> dict[str, Tensor]:
    """The weights that the warm-up begins with: public ones where they are declared.

    Raises:
        HoldError, SchemaError: as of ``PublicWeights.begin``.
    """
    own: dict[str, Tensor] = drawn(layout, generator_of(recipe.identity, "begin")).state_dict()
    return own if recipe.pretrained is None else recipe.pretrained.begin(own, layout)


def warmed(
    recipe: ImageDiffusion, first: PicturedModel, *, progress: Progress = SILENT
) -> tuple[nn.Module, Space, Normal]:
    """The network as the noisy steps find it, where it works, and what its denoiser begins with."""
    column, latent = recipe.picture, recipe.network == "latent"
    most = POOL_BYTES // (4 * int(np.prod(shape_of(column))))
    cells, pixels = _pool(recipe, first, max(200, min(POOL, most)))
    space: Space = VectorSpace.of(first.portrait, pixels) if latent else PixelSpace.of(pixels)
    layout = recipe.layout(space.shape[0])
    network = filled(layout, begun_with(recipe, layout)).requires_grad_(True)
    rng = np.random.default_rng(_seed(recipe.identity, "procedural"))
    crisp = None if latent else space.inward(procedural(len(pixels) // 4 + 1, shape_of(column), rng))
    held, labels = space.inward(pixels), torch.from_numpy(cells)
    prior = Normal.of(held, labels, layout.sizes)
    warm_up(
        network,
        held,
        labels,
        prior,
        WarmUp(recipe.warm_up if recipe.warm_up is not None else WARM_UP[recipe.network], BATCH, RATES[recipe.network]),
        generator_of(recipe.identity, "warm up"),
        crisp=crisp,
        device=recipe.device,
        progress=progress,
    )
    return network, space, prior


def fast_way(
    recipe: ImageDiffusion, weights: Mapping[str, Tensor], space: Space, prior: Normal, first: PicturedModel
) -> Tensor:
    """(FEW, 3) what the fast way to draw needs to know of the network."""
    layout = recipe.layout(space.shape[0])
    cells, _ = _pool(recipe, first, _TRIED)
    told = torch.from_numpy(cells).to(recipe.device)
    noise = torch.randn((len(told), *space.shape), generator=generator_of(recipe.identity, "fast"))
    network = filled(layout, dict(weights)).to(recipe.device)
    with torch.inference_mode():
        at = guided(network, told, layout.sizes, 0.0, prior.to(recipe.device))
        return fitted(at, noise.to(recipe.device), FEW).cpu()


def generator_of(identity: str, use: str) -> Generator:
    """Public randomness for one use of a recipe."""
    return Generator().manual_seed(_seed(identity, use))


def _seed(identity: str, use: str) -> int:
    return int(sha256(f"{identity}:{use}".encode())[:15], 16)


def _pool(recipe: ImageDiffusion, first: PicturedModel, n: int) -> tuple[Ints, Pixels]:
    """Cells and pictures as the model of statistics draws them; rows without a picture are left out."""
    told = first.table.sample(n, seed=_seed(recipe.identity, "pool")).frame
    codes = first.codec.encode(told)
    if recipe.picture.nullable:
        codes = codes[~told[recipe.first.column].isna().to_numpy()]
    rng = np.random.default_rng(_seed(recipe.identity, "pictures"))
    parts = [first.drawn(codes[i : i + 8192], rng) for i in range(0, max(1, len(codes)), 8192)]
    cells = np.asarray(codes[:, [first.codec.index[name] for name in recipe.by]], dtype=np.int64)
    return cells, np.concatenate(parts)
