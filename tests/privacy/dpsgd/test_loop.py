"""The loop: its noise, its coins, its steps, what is leased, and what is refused. Two and more ranks: test_ranks.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2, norm
from torch import Tensor, nn

from privsynth.errors import BudgetError, MemoryShort, ModelError, NetworkError, UsageError
from privsynth.privacy import sampled
from privsynth.privacy.dpsgd import Plan, Trained, check_memory, loop, memory, memory_needed, train
from privsynth.privacy.dpsgd.state import State
from privsynth.privacy.dpsgd.sums import Sums
from privsynth.privacy.noise import SecureNoise, SeededNoise, TrainingNoise, poisson_sample
from tests.privacy.dpsgd.toy import Rows, cross_entropy, plan, random_rows, small

ALARM = 1e-6  # of every statistical test here, for a right loop


@dataclass
class Steps:
    """Collects the noisy mean gradient of every step."""

    seen: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, monkeypatch: pytest.MonkeyPatch) -> Steps:
        steps, original = cls(), State.step

        def step(state: State, gradient: Tensor, **rates: float) -> None:
            steps.seen.append(gradient.cpu().clone())
            original(state, gradient, **rates)

        monkeypatch.setattr(State, "step", step)
        return steps

    def numbers(self) -> NDArray[np.float64]:
        """(steps, parameters)."""
        return torch.stack(self.seen).double().numpy()


def run(rows: Rows, what: Plan, **options: Any) -> Trained:
    return train(small(), rows, cross_entropy, what, make_batch=random_rows, **options)


def spread_fits(noise: NDArray[np.float64], deviation: float) -> bool:
    """Two-sided chi-square test of independent Gaussians of this standard deviation."""
    statistic = float(np.sum(noise**2)) / deviation**2
    return bool(chi2.ppf(ALARM / 2, noise.size) < statistic < chi2.isf(ALARM / 2, noise.size))


def fresh(steps: NDArray[np.float64]) -> bool:
    """Whether no two steps' noise is correlated."""
    correlations = np.asarray(np.corrcoef(steps))[np.triu_indices(len(steps), 1)]
    return bool(np.max(np.abs(correlations)) < norm.isf(ALARM / 2 / len(correlations)) / np.sqrt(steps.shape[1]))


# --- noise ---------------------------------------------------------------------------------------

EMPTY = plan(steps=150, noise=1.3, clipping_norm=0.7, rate=0.4, subjects=50.0)


@pytest.mark.parametrize("noise", [None, SeededNoise(3)])
def test_a_step_without_subjects_is_pure_noise(noise: SeededNoise | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """150 steps of 47 parameters: a standard deviation that is 10% off is found."""
    steps = Steps.of(monkeypatch)
    trained = run(Rows.some(0), EMPTY, noise=noise)
    deviation = 1.3 * 0.7 / (0.4 * 50)
    assert trained.steps_run == 150
    assert spread_fits(steps.numbers(), deviation)
    assert not spread_fits(steps.numbers(), deviation * 1.1)
    assert not spread_fits(steps.numbers(), deviation / 1.1)
    assert fresh(steps.numbers())


class Told(SeededNoise):
    """Keeps what it was asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        object.__setattr__(self, "sigmas", [])

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        self.sigmas.append(sigma)  # type: ignore[attr-defined]
        return super().add(exact, sigma=sigma)


@pytest.mark.parametrize("multiplier", [0.3, 1.0, 1.3, 1.999, 700.0])
def test_noise_is_asked_for_with_the_plans_deviation(multiplier: float) -> None:
    what, noise = plan(noise=multiplier), Told(1)
    run(Rows.some(5), what, noise=noise)
    assert noise.sigmas == [what.grid_sigma] * what.steps  # type: ignore[attr-defined]


def test_a_divisor_from_the_data_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: divide by how many there are, and not by how many were declared."""
    steps = Steps.of(monkeypatch)
    run(Rows.some(40), plan(steps=150, rate=0.1, subjects=50.0, noise=60.0))
    assert spread_fits(steps.numbers(), 60 / (0.1 * 50))
    steps.seen.clear()
    monkeypatch.setattr(Plan, "divisor", property(lambda self: self.rate * 40))
    run(Rows.some(40), plan(steps=150, rate=0.1, subjects=50.0, noise=60.0))
    assert not spread_fits(steps.numbers(), 60 / (0.1 * 50))


class Reused(SeededNoise):
    """Planted: the same seed at every step."""

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        return SeededNoise(5).add(exact, sigma=sigma)


def test_a_seed_used_at_every_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps.of(monkeypatch)
    run(Rows.some(0), EMPTY, noise=Reused(5))
    assert not fresh(steps.numbers())


def test_nothing_comes_from_a_users_seed() -> None:
    """Neither coins nor noise: two runs differ, and leave torch's own generator as it was."""
    weights = []
    for _ in range(2):
        network, state = small(), torch.get_rng_state()
        trained = train(network, Rows.some(30), cross_entropy, plan(steps=3), make_batch=random_rows)
        assert torch.equal(torch.get_rng_state(), state)
        weights.append(trained.weights["0.weight"])
    assert not torch.equal(*weights)


def test_seeded_noise_is_replayed_and_says_so() -> None:
    trained = [run(Rows.some(30), plan(steps=3), noise=SeededNoise(4)) for _ in range(2)]
    assert all(torch.equal(t, trained[1].weights[name]) for name, t in trained[0].weights.items())
    assert {t.provenance for t in trained} == {"seeded"}
    assert run(Rows.some(30), plan(steps=1)).provenance == "os-secure"
    assert run(Rows.some(30), plan(steps=1), noise=SecureNoise()).provenance == "os-secure"


# --- coins ---------------------------------------------------------------------------------------


def rate_fits(sizes: list[int], subjects: int, rate: float) -> bool:
    return bool(binomtest(sum(sizes), subjects * len(sizes), rate).pvalue > ALARM)


def sizes_of(rows: Rows, what: Plan) -> list[int]:
    """How many subjects each step had, of a plan whose steps are one chunk."""
    sizes: list[int] = []
    original = Sums.over

    def over(sums: Any, chosen: NDArray[np.int64]) -> Tensor:
        sizes.append(len(chosen))
        assert len(set(chosen.tolist())) == len(chosen)
        return original(sums, chosen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sums, "over", over)
        run(rows, what)
    return sizes


@pytest.mark.parametrize("rate", [0.02, 0.6])
def test_every_step_is_a_poisson_sample(rate: float) -> None:
    """T steps whatever the coins give; their sizes have a binomial's mean and variance."""
    what = plan(rate=rate, steps=200)
    sizes = sizes_of(Rows.some(40), what)
    assert len(sizes) == 200
    assert rate_fits(sizes, 40, rate)
    spread = float(np.var(sizes)) * 200 / (40 * rate * (1 - rate))
    assert 0.4 * 199 < spread < 1.9 * 199  # six standard deviations and more
    assert rate == 0.6 or 0 in sizes


def test_a_rounded_rate_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: 0.6 as one over a whole number of batches, that is 1/2, as a loader's length makes it."""

    def rounded(subjects: int, *, rate: float, source: TrainingNoise) -> NDArray[np.int64]:
        return poisson_sample(subjects, rate=1 / int(1 / rate), source=source)

    monkeypatch.setattr(loop, "poisson_sample", rounded)
    assert not rate_fits(sizes_of(Rows.some(40), plan(rate=0.6, steps=150)), 40, 0.6)


# --- learning ------------------------------------------------------------------------------------


class Noiseless(SeededNoise):
    """For tests only: no noise at all."""

    def add(self, exact: NDArray[np.int64], *, sigma: float) -> NDArray[np.int64]:
        return exact


def test_it_learns() -> None:
    rows = Rows.some(400)
    what = plan(subjects=400.0, rate=0.25, steps=80, noise=0.8, copies=2, learning_rate=0.05)
    network = small()
    trained = train(network, rows, cross_entropy, what, make_batch=random_rows)
    assert (network(rows.x).argmax(1) == rows.y).float().mean() > 0.85
    assert set(trained.weights) == set(trained.averaged) == set(dict(network.named_parameters()))
    assert all(torch.equal(t, trained.weights[n]) for n, t in network.named_parameters())


def test_a_frozen_layer_stays_and_is_not_told() -> None:
    network = small()
    first = network[0]
    assert isinstance(first, nn.Linear)
    first.requires_grad_(False)
    before = first.weight.clone()
    trained = train(network, Rows.some(20), cross_entropy, plan(), make_batch=random_rows)
    assert torch.equal(first.weight, before)
    assert set(trained.weights) == {"2.weight", "2.bias"}


def test_steps_are_adams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torch's own, on the gradients that the loop made; the average against its definition."""
    steps = Steps.of(monkeypatch)
    trained = run(Rows.some(60), plan(steps=12, noise=0.3, learning_rate=0.03, ema=0.5))
    network = small()
    adam = torch.optim.Adam(network.parameters(), lr=0.03)
    average = [p.detach().clone() for p in network.parameters()]
    for count, gradient in enumerate(steps.seen, 1):
        for p, part in zip(
            network.parameters(), torch.split(gradient, [p.numel() for p in network.parameters()]), strict=True
        ):
            p.grad = part.reshape(p.shape)
        adam.step()
        decay = min(0.5, (1 + count) / (10 + count))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, network.parameters(), strict=True)]
    for (name, p), a in zip(network.named_parameters(), average, strict=True):
        assert torch.allclose(trained.weights[name], p, atol=1e-6)
        assert torch.allclose(trained.averaged[name], a, atol=1e-6)


CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_sum_depends_on_no_chunk_and_no_device(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps.of(monkeypatch)
    what = plan(rate=1.0, noise=1.0, steps=1)
    run(Rows.some(30), what, noise=Noiseless(0), physical=1)
    for physical in (7, 64):
        run(Rows.some(30), what, noise=Noiseless(0), physical=physical, device=device)
    assert np.allclose(steps.numbers(), steps.numbers()[0], atol=1e-5)
    assert np.all(np.linalg.norm(steps.numbers(), axis=1) > 0.01)


@pytest.mark.parametrize("device", [CUDA])
def test_the_noise_on_a_device_is_that_of_the_processor(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps.of(monkeypatch)
    run(Rows.some(0), EMPTY, device=device)
    assert spread_fits(steps.numbers(), 1.3 * 0.7 / (0.4 * 50))


# --- lease and checkpoints -----------------------------------------------------------------------


@dataclass
class Book:
    """A lease in memory."""

    highest: int = 0
    ran: list[int] = field(default_factory=list)

    def take(self, through: int) -> int:
        first = self.highest + 1
        self.highest = max(self.highest, through)
        self.ran += range(first, self.highest + 1)
        return first


@dataclass
class Kept:
    """Checkpoints in memory; ``crash_after`` ends the process after that many."""

    states: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    crash_after: int = 10**9

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        self.states.append((step, {name: t.clone() for name, t in tensors.items()}))
        if len(self.states) == self.crash_after:
            raise KeyboardInterrupt

    def newest(self) -> tuple[int, Mapping[str, Tensor]] | None:
        return self.states[-1] if self.states else None

    def clear(self) -> None:
        self.states.clear()


LONG = plan(steps=100)


def test_every_step_is_leased_before_it_runs_and_once() -> None:
    book, kept = Book(), Kept()
    trained = run(Rows.some(10), LONG, lease=book, checkpoints=kept)
    assert (trained.steps_run, book.ran) == (100, list(range(1, 101)))
    assert [step for step, _ in kept.states] == list(range(2, 101, 2))
    assert int(kept.states[-1][1]["count"]) == 100


def test_a_resumed_training_goes_on_after_the_highest_lease() -> None:
    book, kept = Book(), Kept(crash_after=10)
    with pytest.raises(KeyboardInterrupt):
        run(Rows.some(10), LONG, lease=book, checkpoints=kept)
    book.take(26)  # a block that was leased and then lost
    kept.crash_after = 10**9
    trained = run(Rows.some(10), LONG, lease=book, checkpoints=kept)
    assert book.ran == list(range(1, 101))
    assert trained.steps_run == 20 + 74
    again = run(Rows.some(10), LONG, lease=book, checkpoints=kept)
    assert again.steps_run == 94
    assert all(torch.equal(t, trained.weights[name]) for name, t in again.weights.items())


def test_two_resumes_from_one_checkpoint_share_no_step() -> None:
    """A copy of the folder, an old checkpoint put back: the lease goes on, and the noise is averaged away by nobody."""
    book, kept = Book(), Kept(crash_after=10)
    with pytest.raises(KeyboardInterrupt):
        run(Rows.some(10), LONG, lease=book, checkpoints=kept)
    runs = []
    for _ in range(2):
        copied = Kept(list(kept.states[:10]), crash_after=20)
        before = len(book.ran)
        with pytest.raises(KeyboardInterrupt):
            run(Rows.some(10), LONG, lease=book, checkpoints=copied)
        runs.append(set(book.ran[before:]))
    assert runs == [set(range(21, 41)), set(range(41, 61))]


def test_resuming_by_a_lease_that_forgets_is_what_the_book_test_finds() -> None:
    """Planted: without memory the same steps run twice."""

    class Forgets(Book):
        def take(self, through: int) -> int:
            self.ran.append(through)
            return through - 1

    book = Forgets()
    for _ in range(2):
        run(Rows.some(10), LONG, lease=book, checkpoints=Kept())
    assert len(book.ran) > len(set(book.ran))


def test_checkpoints_ask_for_a_lease_and_for_their_network() -> None:
    with pytest.raises(UsageError, match="lease"):
        run(Rows.some(4), plan(), checkpoints=Kept())
    with pytest.raises(ModelError, match="another network"):
        run(Rows.some(4), plan(), lease=Book(), checkpoints=Kept([(1, {"count": torch.zeros(1)})]))


# --- what is refused before anything is leased ---------------------------------------------------


def test_a_network_is_checked_before_a_step_is_leased() -> None:
    book = Book()
    mixing = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, affine=False, track_running_stats=False), nn.Linear(4, 2))
    with pytest.raises(NetworkError, match="mixes examples"):
        train(mixing, Rows.some(9), cross_entropy, plan(), make_batch=random_rows, lease=book)
    assert book.ran == []


def test_a_chunk_that_does_not_fit_is_refused_with_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = memory_needed(small(), cross_entropy, random_rows, physical=20, copies=3)
    monkeypatch.setattr(memory, "free_memory", lambda device: int(needed / 0.8) + 1)
    check_memory(small(), cross_entropy, random_rows, physical=20, copies=3)
    with pytest.raises(NetworkError) as caught:
        check_memory(small(), cross_entropy, random_rows, physical=64, copies=3)
    assert caught.value.mend == "physical=20"


def test_ordinary_steps_and_what_is_held_beside_need_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 2**20)
    check_memory(small(), cross_entropy, random_rows, physical=20, ordinary=100)
    with pytest.raises(MemoryShort, match="100000 examples at once"):
        check_memory(small(), cross_entropy, random_rows, physical=20, ordinary=100_000)
    with pytest.raises(MemoryShort, match="20 subjects at once"):
        check_memory(small(), cross_entropy, random_rows, physical=20, beside=2**20)


def test_a_paid_training_takes_fewer_at_once_where_memory_became_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for three subjects of 64: chunks of three, and the same whole sum; room for none: nothing is leased."""
    needed = memory_needed(small(), cross_entropy, random_rows, physical=3)
    monkeypatch.setattr(memory, "free_memory", lambda device: int(needed / 0.8) + 1)
    rows = Rows.some(40)
    run(rows, plan(rate=1.0, steps=1))
    assert max(len(part) for part in rows.asked) == 3
    assert sum(len(part) for part in rows.asked) == 40
    monkeypatch.setattr(memory, "free_memory", lambda device: 100)
    book = Book()
    with pytest.raises(MemoryShort, match="one subject at once"):
        run(Rows.some(4), plan(), lease=book)
    assert book.ran == []


def test_what_a_gpu_keeps_for_this_process_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, given in (("mem_get_info", (10, 100)), ("memory_reserved", 50), ("memory_allocated", 20)):
        monkeypatch.setattr(torch.cuda, name, lambda device, given=given: given)
    assert memory.free_memory("cuda:0") == 40


def test_this_machine_has_memory() -> None:
    assert memory.free_memory("cpu") > 2**20


def test_ranks_without_a_group_are_refused() -> None:
    with pytest.raises(UsageError, match="rank 1 of 2"):
        run(Rows.some(4), plan(), rank=1, world=2)


# --- the plan ------------------------------------------------------------------------------------


def test_a_plan_is_within_its_price_and_comes_back_from_json() -> None:
    made = Plan.of(subjects=1000.0, batch=50, steps=20, mu=0.8, delta=1e-8, clipping_norm=1.0, learning_rate=0.1)
    assert (made.rate, made.divisor, made.copies, made.ema) == (0.05, 50.0, 1, 0.999)
    assert sampled.dominating_mu(made.event, delta=1e-8) <= 0.8 * 1.0002
    assert Plan.from_json(made.to_json()) == made
    wrong: list[Any] = [{}, {**made.to_json(), "seed": 1}, []]
    for value in wrong:
        with pytest.raises(ModelError):
            Plan.from_json(value)
    everyone = Plan.of(subjects=10.0, batch=50, steps=4, mu=1.0, delta=1e-8, clipping_norm=1.0, learning_rate=0.1)
    assert (everyone.rate, everyone.noise) == (1.0, 2.0)


@pytest.mark.parametrize("noise", [0.25, 0.3, 1.0, 17.3, 1e4, 1e9])
def test_the_grid_has_at_least_the_planned_noise(noise: float) -> None:
    what = plan(noise=noise)
    assert what.grid_sigma / what.grid_norm >= noise
    assert what.grid_sigma / (what.grid_norm + 1) < noise
    assert what.grid_norm <= 2**31
    assert what.variation(10**7) * 10**6 < 1e-20


@pytest.mark.parametrize(
    "field",
    [
        {"rate": 1.5},
        {"noise": 0.0},
        {"steps": 0},
        {"steps": 2.5},
        {"copies": 0},
        {"clipping_norm": -1.0},
        {"learning_rate": float("nan")},
        {"ema": 1.0},
        {"subjects": 0.0},
    ],
)
def test_absurd_plans_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(BudgetError, match=next(iter(field))):
        plan(**field)
