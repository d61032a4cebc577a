"""Drivers of the image benchmark: one process a system, pictures and labels in, drawn ones out.

``python -m benchmarks.peers.pictures --system NAME --data SET.npz --epsilon 1 --delta 1e-5 --rows 60000 --out OUT.npz``
privsynth            ImageStatistics as shipped
privsynth-all-noise  the same without the noise-edge rule: every direction believed as it is told
privsynth-network    ImageDiffusion as shipped (needs a GPU to end within an hour)
dp-merf, dp-dcgan    benchmarks.peers.merf and .dcgan
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

import privsynth as ps
from benchmarks.fitting import fit_all
from benchmarks.peers import dcgan, merf
from benchmarks.peers.offered import Draw, Offer
from benchmarks.peers.protocol import peak_gb
from privsynth.data.records import Records
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_images
from privsynth.generators.images import likeness
from privsynth.generators.images.statistics import ImageStatistics


def statistics(offer: Offer) -> tuple[Draw, float]:
    """As shipped: rows of all labels, pictures that depend on all of them."""
    schema = parse_schema(offer.schema)
    recipe = ImageStatistics(schema, ps.Budget(offer.epsilon, offer.delta), by=tuple(offer.names))
    return _of_model(offer, *fit_all(recipe, _records(offer)))


def all_noise(offer: Offer) -> tuple[Draw, float]:
    """Where the noise ends is taken to be 0."""
    kept = likeness._edge
    likeness._edge = lambda *_: 0.0
    try:
        return statistics(offer)
    finally:
        likeness._edge = kept


def network(offer: Offer) -> tuple[Draw, float]:
    """ImageDiffusion, by name."""
    from privsynth.generators.images.diffusion import ImageDiffusion

    recipe = ImageDiffusion(
        parse_schema(offer.schema), ps.Budget(offer.epsilon, offer.delta), by=tuple(offer.names), device="cuda"
    )
    return _of_model(offer, *fit_all(recipe, _records(offer)))


SYSTEMS: dict[str, Callable[[Offer], tuple[Draw, float]]] = {
    "privsynth": statistics,
    "privsynth-all-noise": all_noise,
    "privsynth-network": network,
    "dp-merf": merf.fitted,
    "dp-dcgan": dcgan.fitted,
}


def _records(offer: Offer) -> Records:
    frame = pd.DataFrame({name: [f"c{v}" for v in offer.labels[:, i]] for i, name in enumerate(offer.names)})
    return read_images(frame, parse_schema(offer.schema), arrays={"picture": offer.pixels})


def _of_model(offer: Offer, model: Any, seconds: float) -> tuple[Draw, float]:
    def draw(n: int) -> tuple[Any, Any]:
        told = model.sample(n, seed=offer.seed)
        labels = [told.frame[name].str[1:].to_numpy(dtype=np.int64) for name in offer.names]
        return told.pictures["picture"].pixels, np.column_stack(labels)

    return draw, seconds


def main() -> None:
    """Run a driver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=SYSTEMS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, required=True)
    args = parser.parse_args()
    draw, seconds = SYSTEMS[args.system](Offer.load(args.data, args.epsilon, args.delta, args.seed))
    told = {"fit_seconds": seconds, "peak_gb": peak_gb()}
    began = perf_counter()
    pixels, labels = draw(args.rows)
    told["sample_seconds"] = perf_counter() - began
    np.savez(args.out, told=np.array(json.dumps(told)), codes_pixels=pixels, codes_labels=labels)


if __name__ == "__main__":
    main()
