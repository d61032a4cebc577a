"""Whether the noisy steps of ``ImageDiffusion`` improve on their own warm-up: same paid statistics, same network.

    python -m benchmarks.bench_diffusion                                # digits of MNIST, minutes on a core
    python -m benchmarks.bench_diffusion --data fashion_mnist --gpu     # the U-Net, 30 minutes of a GPU

Of each of three stages (statistics alone, network after the warm-up, network after the noisy steps) 10,000 pictures of
even classes teach one fixed small CNN for three epochs, and it is tested on the official test set. Beside it the
Fréchet distance of 5,000 of them from test pictures (random convolutions), how many test pictures they cover, and the
network's own loss on test pictures. All are figures on real data: for eyes inside a benchmark only. The data are
``$PRIVSYNTH_DATA/mnist/mnist.npz`` (``x_train``, ``y_train``, ``x_test``, ``y_test``), or scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from benchmarks.fitting import fit_all
from benchmarks.records import Record, keep
from privsynth.data.records import Model, Records
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_images
from privsynth.generators.images.diffused import DiffusedModel
from privsynth.generators.images.diffusion import ImageDiffusion
from privsynth.generators.images.edm import log_normal, losses
from privsynth.generators.images.networks import filled
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.generators.images.training import warmed
from privsynth.privacy.budget import Budget
from privsynth.validate.images.coverage import covered
from privsynth.validate.images.features import convolved
from privsynth.validate.images.frechet import frechet

Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

DATA = Path(os.environ.get("PRIVSYNTH_DATA", "../shared/data"))
DRAWN = 10_000
COMPARED = 5000
DELTA = 1e-5


@dataclass(frozen=True)
class Pictures:
    """Training and test pictures, and their classes."""

    train: Pixels
    classes: Ints
    test: Pixels
    test_classes: Ints


def read(name: str) -> Pictures:
    """The official split of a set on the shelf; of scikit-learn's digits the last 360 are the test."""
    path = DATA / name / f"{name}.npz"
    if name != "digits" and path.is_file():
        held = np.load(path)
        return Pictures(*(held[k] if k[0] == "x" else held[k].astype(np.int64) for k in NAMES))
    from sklearn.datasets import load_digits

    held = load_digits()
    pixels = np.minimum(held.images * 16, 255).astype(np.uint8)
    classes = held.target.astype(np.int64)
    return Pictures(pixels[:-360], classes[:-360], pixels[-360:], classes[-360:])


NAMES = ("x_train", "y_train", "x_test", "y_test")


def accuracy(pixels: Pixels, classes: Ints, pictures: Pictures, *, seed: int = 0) -> float:
    """Of the fixed CNN, taught by drawn pictures, on the real test set."""
    generator = torch.Generator().manual_seed(seed)
    half = pixels.shape[1] // 4
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * half**2, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    with torch.no_grad():
        for p in net.parameters():
            bound = (3 / max(1, p[0].numel())) ** 0.5 if p.dim() > 1 else 0.0
            p.uniform_(-bound, bound, generator=generator)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    given, told = _scaled(pixels), torch.from_numpy(classes)
    for _ in range(3):
        for part in torch.randperm(len(given), generator=generator).chunk(-(-len(given) // 100)):
            adam.zero_grad()
            functional.cross_entropy(net(given[part]), told[part]).backward()  # type: ignore[no-untyped-call]
            adam.step()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in _scaled(pictures.test).chunk(10)])
    return float((found.numpy() == pictures.test_classes).mean())


def _scaled(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels[:, None].astype(np.float32) / 255)


def held_out(model: DiffusedModel, pictures: Pictures) -> float:
    """The network's loss on test pictures."""
    generator = torch.Generator().manual_seed(0)
    clean, labels = model.space.inward(pictures.test[:2000]), torch.from_numpy(pictures.test_classes[:2000, None])
    network = filled(model.layout, dict(model.transcript.weights))
    sigma = log_normal(len(clean), generator, clean.device)
    with torch.inference_mode():
        return float(losses(network, clean, labels, sigma, generator, model.prior).mean())


def drawn(model: Model, *, seed: int, **how: Any) -> tuple[Pixels, Ints]:
    """Pictures of even classes."""
    told = model.sample(DRAWN, seed=seed, balance={"class": "equal"}, **how)
    return told.pictures["picture"].pixels, told.frame["class"].to_numpy(dtype=np.int64)


def schema_of(pictures: Pictures) -> Any:
    """Of a set: a class and a picture."""
    height, width = pictures.train.shape[1:]
    return parse_schema(
        f"""\
privsynth-schema: 1
source: bench/pictures
subject: {{each row is a: picture, a person has at most: 1 row}}
columns:
  class: {{kind: categorical, values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}
  picture: {{kind: image, size: [{width}, {height}]}}
"""
    )


def main() -> None:
    """Print a line for each stage, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=["mnist", "fashion_mnist", "digits"])
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--gpu", action="store_true", help="the U-Net of the GPU tier")
    parser.add_argument("--network", default="latent", choices=["latent", "unet"])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--warm-up", type=int, default=None)
    parser.add_argument("--rate", type=float, default=None)
    parser.add_argument("--share", type=float, default=None)
    parser.add_argument("--seeds", type=int, default=3, help="classifiers a stage")
    parser.add_argument("--fits", type=int, default=1)
    parser.add_argument("--first-fit", type=int, default=0, help="number of the first, in the records")
    parser.add_argument("--dry", action="store_true", help="print the figures and keep none")
    given = parser.parse_args()
    pictures = read(given.data)
    schema, budget = schema_of(pictures), Budget(given.epsilon, DELTA)
    frame = pd.DataFrame({"class": pictures.classes})
    records = read_images(frame, schema, arrays={"picture": pictures.train})
    if given.gpu:
        recipe = ImageDiffusion(schema, budget, device="cuda")
    else:
        recipe = ImageDiffusion(
            schema,
            budget,
            network=given.network,
            channels=given.channels,
            batch=min(given.batch, len(pictures.train) // 4),
            steps=given.steps,
            copies=given.copies,
            warm_up=given.warm_up,
            learning_rate=given.rate,
            statistics_share=given.share,
        )
    for fit in range(given.first_fit, given.first_fit + given.fits):
        found = [
            Record("diffusion", given.data, stage, given.epsilon, DELTA, fit, len(pictures.train), metric, value, unit)
            for stage, metric, value, unit in measured(recipe, records, pictures, judges=given.seeds)
        ]
        if not given.dry:
            keep("diffusion", found)


def measured(
    recipe: ImageDiffusion, records: Records, pictures: Pictures, *, judges: int
) -> Iterator[tuple[str, str, float, str]]:
    """(stage, metric, value, unit) of one fit of the recipe, and of statistics with its whole budget."""
    model, seconds = fit_all(recipe, records)
    began = perf_counter()
    network, *_ = warmed(recipe, model.first)
    weights = {name: p.detach().cpu() for name, p in network.named_parameters()}
    before = replace(model, transcript=replace(model.transcript, weights=weights))
    free = perf_counter() - began
    plan = model.transcript.plan
    print(
        f"{recipe.layout(model.space.shape[0]).parameters:,} parameters, noise {plan.noise:.2f}, rate {plan.rate:.4f}, "
        f"{plan.steps} steps; fit {seconds:.0f} s, of which the free warm-up about {free:.0f} s"
    )
    alone, statistics_seconds = fit_all(ImageStatistics(recipe.schema, recipe.budget), records)
    yield "network after the noisy steps", "fit", seconds, "s"
    yield "statistics, the whole budget", "fit", statistics_seconds, "s"
    print(f"{'stage':<34} {'accuracy, %':>11} {'Fréchet':>8} {'coverage':>8} {'loss on test pictures':>22}")
    stages: list[tuple[str, Any, float | None]] = [
        ("statistics, the whole budget", alone, None),
        ("statistics, their share", model.first, None),
        ("network after the warm-up", before, held_out(before, pictures)),
        ("network after the noisy steps", model, held_out(model, pictures)),
    ]
    real = convolved(pictures.test[:COMPARED])
    for name, stage, loss in stages:
        sides = [drawn(stage, seed=s) for s in range(judges)]
        right = 100 * float(np.mean([accuracy(*side, pictures, seed=s) for s, side in enumerate(sides)]))
        theirs = convolved(sides[0][0][: len(real)])
        apart, seen = frechet(real, theirs), covered(real, theirs).coverage
        said = "" if loss is None else f"{loss:.4f}"
        print(f"{name:<34} {right:>11.2f} {apart:>8.3f} {seen:>8.3f} {said:>22}", flush=True)
        yield name, "accuracy", right, "%"
        yield name, "frechet", apart, ""
        yield name, "coverage", seen, ""
        if loss is not None:
            yield name, "loss", loss, ""
    full = 100 * accuracy(*drawn(model, seed=0, full=True), pictures)
    print(f"{'the same, drawn in 35 calls, not 9':<34} {full:>11.2f}")
    yield "network after the noisy steps, 35 calls", "accuracy", full, "%"


if __name__ == "__main__":
    main()
