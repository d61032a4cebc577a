"""What drawn pictures are worth: classifiers trained on them and tested on real ones, and how far they are from them.

Everything is fixed beforehand: the network, its three epochs, of which the last counts; no real picture chooses
anything. Figures by features are on at most 5,000 of each, exact on real pictures, and internal but for public sets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.picture_sets import Ints, PictureSet, Side
from privsynth.data.pictures import Pixels
from privsynth.generators.images.band import Band
from privsynth.validate.images.coverage import covered, variance_ratio, vendi
from privsynth.validate.images.features import convolved
from privsynth.validate.images.frechet import placed

EPOCHS, BATCH, RATE = 3, 128, 2e-3
MOST = 5000
"""Pictures of each kind in figures by features, and drawn ones that an SVC is trained on."""
FACE_SIDE = 14


def network(channels: int, height: int, width: int, classes: int) -> nn.Module:
    """Two convolutions, two dense layers: for 28 × 28 grey pictures of ten classes 421,642 weights."""
    flat = 64 * (height // 4) * (width // 4)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, classes),
    )


def by_network(drawn: Side, test: Side, classes: int, *, seed: int, device: str = "cpu") -> float:
    """Percent of ``test`` that a network trained on ``drawn`` gets right in the first column."""
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(seed)
        inputs, labels = _tensor(drawn.pixels, device), torch.from_numpy(drawn.labels[:, 0]).to(device)
        _, channels, height, width = inputs.shape
        model = network(channels, height, width, classes).to(device)
        steps = EPOCHS * (len(inputs) // BATCH)
        optimiser = torch.optim.Adam(model.parameters())
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        for _ in range(EPOCHS):
            order = torch.randperm(len(inputs), device=device)
            for start in range(0, len(order) - BATCH + 1, BATCH):
                chosen = order[start : start + BATCH]
                loss = nn.functional.cross_entropy(model(inputs[chosen].float() / 255), labels[chosen])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                pace.step()
        model.eval()
        with torch.no_grad():
            parts = [
                model(_tensor(test.pixels[i : i + 1000], device).float() / 255).argmax(1).cpu()
                for i in range(0, len(test.pixels), 1000)
            ]
    return float((torch.cat(parts).numpy() == test.labels[:, 0]).mean() * 100)


def by_svc(drawn: Side, test: Side, column: int) -> float:
    """Percent of ``test`` that a scikit-learn SVC at its defaults gets right, trained on up to 5,000 of ``drawn``.

    It sees pixels; of colours 14 × 14 waves of brightness and 6 × 6 of each colour, at 32 × 32 pixels.
    """
    from sklearn.svm import SVC

    seen, labels = _waves(drawn.pixels[:MOST]), drawn.labels[:MOST, column]
    if len(np.unique(labels)) < 2:
        return float((test.labels[:, column] == labels[0]).mean() * 100)
    return float((SVC().fit(seen, labels).predict(_waves(test.pixels)) == test.labels[:, column]).mean() * 100)


def accuracies(held: PictureSet, drawn: Side, *, seed: int, device: str = "cpu") -> dict[str, float]:
    """By the judge of the set."""
    if held.name == "fairface64":
        return {
            "accuracy_sex": by_svc(drawn, held.test, 0),
            "accuracy_ethnicity": by_svc(drawn, held.test, 1),
        }
    if held.name == "digits":
        return {"accuracy": by_svc(drawn, held.test, 0)}
    return {"accuracy": by_network(drawn, held.test, len(held.columns["label"]), seed=seed, device=device)}


def likeness(held: PictureSet, drawn: Side, *, seed: int) -> dict[str, float]:
    """Distance, coverage, kinds and variance beside real pictures."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(held.train.pixels))[:MOST]
    real = Side(held.train.pixels[chosen], held.train.labels[chosen])
    part = Side(drawn.pixels[:MOST], drawn.labels[:MOST])
    seen, theirs = convolved(real.pixels), convolved(part.pixels)
    distance = placed(seen, theirs, _class_means(real), rng=rng)
    n = min(len(seen), len(theirs))
    found = covered(seen[:n], theirs[:n])
    middle = seen.mean(axis=0)
    ratios = variance_ratio(real.pixels, real.labels[:, 0], part.pixels, part.labels[:, 0])
    return {
        "frechet": distance.value,
        "frechet_floor": distance.floor,
        "frechet_null": distance.null,
        "precision": found.precision,
        "recall": found.recall,
        "density": found.density,
        "coverage": found.coverage,
        "vendi": vendi(theirs, centre=middle),
        "vendi_real": vendi(seen, centre=middle),
        "variance_ratio": float(np.mean(list(ratios.values()))),
    }


def _class_means(real: Side) -> npt.NDArray[np.float64]:
    """Vectors of pictures that are each the mean of its class."""
    classes = real.labels[:, 0]
    values, place = np.unique(classes, return_inverse=True)
    return convolved(np.stack([real.pixels[classes == v].mean(axis=0).astype(np.uint8) for v in values]))[place]


def _waves(pixels: Pixels) -> npt.NDArray[np.float64]:
    if pixels.ndim == 3:
        return pixels.reshape(len(pixels), -1) / 255
    n, height, width = pixels.shape[:3]
    down, right = max(1, height // 32), max(1, width // 32)
    small = pixels.reshape(n, height // down, down, width // right, right, 3).mean(axis=(2, 4))
    return Band(height // down, width // right, True, FACE_SIDE).vectors(np.rint(small).astype(np.uint8))


def _tensor(pixels: Pixels, device: str) -> torch.Tensor:
    shaped = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(shaped)).to(device)


def drawn_side(pixels: Pixels, labels: Ints) -> Side:
    """As the judges take it."""
    return Side(np.asarray(pixels, dtype=np.uint8), np.asarray(labels, dtype=np.int64))
