"""The judge of the benchmark of diffusion tells real pictures from mixed-up ones, the same each time."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.bench_diffusion import accuracy, read, schema_of


def test_the_judge_learns_from_real_pictures_and_not_from_mixed_up_ones() -> None:
    """Of five seeds real ones give 91% to 93%, mixed-up ones 7% to 15%."""
    pictures = read("digits")
    before = torch.get_rng_state()
    real = accuracy(np.tile(pictures.train, (3, 1, 1)), np.tile(pictures.classes, 3), pictures)
    mixed = accuracy(pictures.train, np.random.default_rng(0).permutation(pictures.classes), pictures)
    assert real > 0.8
    assert mixed < 0.4
    assert torch.equal(before, torch.get_rng_state())


def test_a_set_has_a_schema_of_its_size() -> None:
    pictures = read("digits")
    assert schema_of(pictures).pictures["picture"].size == (8, 8)
