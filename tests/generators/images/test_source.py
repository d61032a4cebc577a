"""What the training loop gets of subjects: all of one's rows in turn, and of nobody else's."""

from __future__ import annotations

import numpy as np
import torch

from privsynth.generators.images.source import EdmLoss, Sitters, made_up
from privsynth.generators.images.space import PixelSpace
from tests.generators.images.test_space import pictures, vectors


def sitters() -> Sitters:
    """Ten pictures of five people: p0 has five, the others fewer, out of order."""
    pixels = pictures(8, 8)[:10]
    whose = np.array(["p0", "p1", "p0", "p2", "p0", "p3", "p0", "p4", "p0", "p1"], dtype=object)
    return Sitters(PixelSpace.of(pixels), pixels, np.arange(10)[:, None], whose)


def test_a_subjects_rows_take_turns_over_her_copies() -> None:
    held = sitters()
    assert held.subjects == 5
    given = held.examples(np.array([0, 1, 2]), copies=5, rng=np.random.default_rng(0))
    rows = given["labels"].reshape(3, 5).tolist()
    assert sorted(rows[0]) == [0, 2, 4, 6, 8]
    assert set(rows[1]) == {1, 9}
    assert rows[2] == [3] * 5
    assert torch.equal(given["clean"][10], held.space.inward(held.pixels[3:4])[0])
    assert given["clean"].shape == (15, *held.space.shape)


def test_which_row_comes_first_is_drawn() -> None:
    held = sitters()
    rng = np.random.default_rng(1)
    first = {held.examples(np.array([0]), copies=1, rng=rng)["labels"].item() for _ in range(60)}
    assert first == {0, 2, 4, 6, 8}


def test_nobody_chosen_gives_no_examples_of_the_same_form() -> None:
    held = sitters()
    given = held.examples(np.array([], dtype=np.int64), copies=3, rng=np.random.default_rng(0))
    made = made_up(held.space.shape, (10,), 4, np.random.default_rng(0))
    assert {name: (t.shape[1:], t.dtype) for name, t in given.items()} == {
        name: (t.shape[1:], t.dtype) for name, t in made.items()
    }
    assert all(len(t) == 0 for t in given.values())


def test_short_vectors_are_the_same_as_made_when_asked() -> None:
    space, pixels = vectors()
    held = Sitters(space, pixels[:20], np.zeros((20, 1), dtype=np.int64), np.arange(20).astype(object))
    given = held.examples(np.array([3, 4]), copies=2, rng=np.random.default_rng(0))
    assert len(torch.unique(given["clean"], dim=0)) == 2


def test_people_without_rows_are_no_subjects() -> None:
    pixels = pictures(8, 8)
    empty = Sitters(PixelSpace.of(pixels), pixels[:0], np.zeros((0, 1), dtype=np.int64), np.zeros(0, dtype=object))
    assert empty.subjects == 0


def test_the_loss_draws_the_same_whatever_the_examples() -> None:
    """An example changed moves its own loss and no other."""
    made = made_up((6,), (3,), 5, np.random.default_rng(0))

    def told() -> torch.Tensor:
        return EdmLoss((3,))(_Zero(), made, torch.Generator().manual_seed(4))

    before = told()
    made["clean"][2] += 1.0
    moved = told() != before
    assert moved.tolist() == [False, False, True, False, False]


class _Zero(torch.nn.Module):
    def forward(self, x: torch.Tensor, level: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)
