"""What one subject can do to a step's sum: at most C, whatever her rows, copies, chunk and neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from privsynth.errors import PrivsynthError
from privsynth.privacy.dpsgd import Plan, sums
from privsynth.privacy.dpsgd.clip import add_clipped, example_gradients, per_example
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.noise import SecureNoise
from tests.privacy.dpsgd.toy import Rows, cross_entropy, plan, random_rows, small

LAW = settings(deadline=None, derandomize=True, max_examples=60)


def summed(
    rows: Rows, what: Plan, *, chosen: Sequence[int] | None = None, chunk: int = 4, loss: Any = cross_entropy
) -> Tensor:
    """The integer sum over the chosen subjects, all by default."""
    network = small()
    places = np.arange(rows.subjects) if chosen is None else np.array(chosen, dtype=np.int64)
    with per_example(network):
        return Sums.of(network, rows, loss, what, random_rows, chunk=chunk, device="cpu", noise=SecureNoise()).over(
            places
        )


def norm(total: Tensor) -> float:
    """Of an integer vector, exactly rounded."""
    return math.sqrt(sum(int(t) ** 2 for t in total))


def scaled(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
    """A loss whose gradient is as large as the row's first number says, infinite and NaN too."""
    made: Tensor = network(batch["x"] * 0 + 1)
    return made.sum(dim=1) * batch["x"][:, 0]


def with_sizes(sizes: Sequence[float]) -> Rows:
    rows = Rows.some(len(sizes))
    rows.x[:, 0] = torch.tensor(sizes)
    return rows


SIZES = st.floats(width=32) | st.sampled_from([1e38, -1e38, 1e20, 1e-40, 0.0, math.inf, math.nan])


@LAW
@given(
    sizes=st.lists(SIZES, min_size=1, max_size=7),
    noise=st.floats(0.25, 1e6),
    clip=st.floats(1e-6, 1e6),
    copies=st.integers(1, 3),
    chunk=st.integers(1, 5),
)
def test_a_subject_moves_the_sum_by_at_most_c(
    sizes: list[float], noise: float, clip: float, copies: int, chunk: int
) -> None:
    """Removing the last subject, of any gradient, changes the exact sum by at most the bound."""
    what, rows = plan(noise=noise, clipping_norm=clip, copies=copies), with_sizes(sizes)
    everyone = summed(rows, what, chunk=chunk, loss=scaled)
    others = summed(rows, what, chosen=range(len(sizes) - 1), chunk=chunk, loss=scaled)
    assert norm(everyone - others) <= what.grid_norm
    if not math.isfinite(sizes[-1]):
        assert torch.equal(everyone, others)


@LAW
@given(place=st.integers(0, 9), chunk=st.integers(1, 12), clip=st.floats(0.01, 10.0))
def test_nobody_moves_when_somebody_leaves(place: int, chunk: int, clip: float) -> None:
    """All that changes is her own contribution, wherever she stood."""
    what, rows = plan(clipping_norm=clip), Rows.some(10)
    her = summed(rows, what, chosen=[place], chunk=chunk)
    change = summed(rows, what, chunk=chunk) - summed(
        rows, what, chosen=[i for i in range(10) if i != place], chunk=chunk
    )
    assert norm(change - her) <= 1e-5 * what.grid_norm
    assert 0 < norm(her) <= what.grid_norm


def test_the_sum_is_the_sum_of_clipped_gradients() -> None:
    what, rows, network = plan(clipping_norm=0.5), Rows.some(9), small()
    expected = torch.zeros(sum(p.numel() for p in network.parameters()), dtype=torch.float64)
    cut = 0
    for one in cross_entropy(network, {"x": rows.x, "y": rows.y}, Generator()):
        gradients = torch.autograd.grad(one, list(network.parameters()), retain_graph=True)
        flat = torch.cat([g.flatten() for g in gradients]).double()
        cut += int(flat.norm() > 0.5)
        expected += flat * min(1.0, 0.5 / float(flat.norm()))
    assert 0 < cut < 9
    for chunk in (1, 2, 9, 64):
        found = summed(rows, what, chunk=chunk).double() * 0.5 / what.grid_norm
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_copies_are_averaged_before_clipping() -> None:
    """Two copies that pull by 3 and −2.5 leave a quarter of the gradient; clipped one by one, nothing."""

    def pulled(*pulls: float) -> Any:
        def loss(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
            made: Tensor = network(batch["x"])
            return torch.tensor(pulls).repeat(len(made) // len(pulls)) * made[:, 0]

        return loss

    rows, clip = Rows.some(1), 2.0
    one = norm(summed(rows, plan(clipping_norm=20.0), loss=pulled(1.0))) * 20 / clip
    two = norm(summed(rows, plan(clipping_norm=clip, copies=2), loss=pulled(3.0, -2.5)))
    assert clip / 2.5 < one * clip / plan().grid_norm
    assert two == pytest.approx(min(one / 4, plan().grid_norm), rel=1e-4)


def as_left(gradient: Tensor) -> nn.Parameter:
    """A parameter in which a backward pass left this gradient of one example."""
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad_sample = gradient[None]  # type: ignore[attr-defined]
    return parameter


MANY = 10**6


@pytest.mark.parametrize("noise", [1.0, 1.9, 2.0**20])
@pytest.mark.parametrize(
    "gradient",
    [
        pytest.param(torch.full((MANY,), 0.1), id="all alike"),
        pytest.param(torch.randn(MANY, generator=Generator().manual_seed(0)), id="random"),
        pytest.param(torch.logspace(-30, 30, MANY), id="of all sizes"),
        pytest.param(torch.cat([torch.full((1,), 5000.0), torch.ones(MANY - 1)]), id="one large"),
    ],
)
def test_a_million_numbers_are_clipped_to_the_bound_and_fill_it(gradient: Tensor, noise: float) -> None:
    what = plan(noise=noise)
    total = torch.zeros(MANY, dtype=torch.int64)
    add_clipped(total, [as_left(gradient[:7]), as_left(gradient[7:])], what, rows=1, kept=1)
    high, low = total >> 16, total & 0xFFFF
    square = (int((high * high).sum()) << 32) + (int((high * low).sum()) << 17) + int((low * low).sum())
    assert square <= what.grid_norm**2
    assert math.sqrt(square) >= what.grid_norm * (1 - 2.0**-19) - math.sqrt(MANY)


# --- what is drawn -------------------------------------------------------------------------------


def test_every_chunk_draws_by_a_seed_of_its_own() -> None:
    """The loss's generator and torch's global one: over two steps of three chunks no seed comes twice."""
    seeds: list[int] = []

    def loss(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
        seeds.extend([generator.initial_seed(), torch.initial_seed()])
        return cross_entropy(network, batch, generator)

    for _ in range(2):
        summed(Rows.some(9), plan(), chunk=3, loss=loss)
    assert len(seeds) == len(set(seeds)) == 12


def test_dropout_does_not_follow_a_users_seed() -> None:
    """The same seed before each of two sums: what is dropped differs, and the user's generator stays where it was."""
    rows, network = Rows.some(8), nn.Sequential(small(), nn.Dropout(0.5))
    totals = []
    for _ in range(2):
        state = torch.random.manual_seed(0).get_state()
        with per_example(network):
            held = Sums.of(
                network, rows, cross_entropy, plan(), random_rows, chunk=4, device="cpu", noise=SecureNoise()
            )
            totals.append(held.over(np.arange(8)))
        assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(*totals)


# --- planted faults ------------------------------------------------------------------------------


def moves_at_most_c(what: Plan) -> bool:
    """Whether each of five subjects with huge gradients keeps within the bound, in whole and in broken chunks."""
    rows = with_sizes([1e6, 1e6, 1e6, 1e6, 1e6])
    counted = [summed(rows, what, chosen=range(n), chunk=2, loss=scaled) for n in range(6)]
    return all(norm(b - a) <= what.grid_norm for a, b in pairwise(counted))


def last_chunk_unclipped(
    total: Tensor, parameters: Sequence[nn.Parameter], what: Plan, *, rows: int, kept: int
) -> None:
    if kept == rows:
        add_clipped(total, parameters, what, rows=rows, kept=kept)
        return
    gradients = [
        example_gradients(p, rows * what.copies).reshape(rows, what.copies, -1)[:kept].mean(1) for p in parameters
    ]
    total += (torch.cat([g.sum(0) for g in gradients]).double() * what.grid_norm / what.clipping_norm).long()


def copies_as_subjects(total: Tensor, parameters: Sequence[nn.Parameter], what: Plan, *, rows: int, kept: int) -> None:
    """As stock Opacus would: every example has a clip of its own."""
    from dataclasses import replace

    add_clipped(total, parameters, replace(what, copies=1), rows=rows * what.copies, kept=kept * what.copies)


def norm_of_the_first_layer(
    total: Tensor, parameters: Sequence[nn.Parameter], what: Plan, *, rows: int, kept: int
) -> None:
    start = 0
    for parameter in parameters:
        add_clipped(total[start : start + parameter.numel()], [parameter], what, rows=rows, kept=kept)
        start += parameter.numel()


@pytest.mark.parametrize("fault", [last_chunk_unclipped, copies_as_subjects, norm_of_the_first_layer])
def test_a_planted_fault_of_clipping_is_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    what = plan(copies=2)
    assert moves_at_most_c(what)
    monkeypatch.setattr(sums, "add_clipped", fault)
    assert not moves_at_most_c(what)


def test_a_loss_cannot_tell_how_many_subjects_there_are() -> None:
    """Even one that divides by the number of examples: it always sees a whole chunk."""

    def mean(network: nn.Module, batch: Mapping[str, Tensor], generator: Generator) -> Tensor:
        return cross_entropy(network, batch, generator) / len(batch["x"])

    what, rows = plan(clipping_norm=100.0), Rows.some(8)
    alone = sum(summed(rows, what, chosen=[i], chunk=8, loss=mean) for i in range(8))
    assert norm(summed(rows, what, chunk=8, loss=mean) - alone) <= 1e-5 * what.grid_norm


def test_a_source_that_gives_other_tensors_is_refused() -> None:
    rows = Rows.some(4)
    for wrong in (Rows(rows.x.double(), rows.y), Rows(rows.x[:, :3], rows.y)):
        with pytest.raises(PrivsynthError, match="random examples"):
            summed(wrong, plan())


def test_an_empty_step_asks_for_nothing() -> None:
    rows = Rows.some(4)
    assert norm(summed(rows, plan(), chosen=[])) == 0
    assert rows.asked == []
