"""The mixture's fit: its gradients, its optimum against brute force, and that it is deterministic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from privsynth.generators.marginals.mixture import Mixture, _Softmax, _TorchBlock, _TorchLoose, fit_mixture
from privsynth.generators.marginals.targets import Block, Floats, Loose, Targets
from privsynth.progress import SILENT

SIZES = (3, 4, 2)
TOTAL = sum(SIZES)
SPANS = [slice(0, 3), slice(3, 7), slice(7, 9)]


def joint(mixture: Mixture) -> Floats:
    """The whole table, by brute force."""
    blocks = [mixture.block(c) for c in range(3)]
    return np.asarray(np.einsum("r,ra,rb,rc->abc", mixture.weights, *blocks))


def truth(seed: int = 0) -> Mixture:
    """A known mixture of three products over columns of 3, 4 and 2 groups."""
    rng = np.random.default_rng(seed)
    tables = np.concatenate([rng.dirichlet(np.ones(s) * 0.5, 3) for s in SIZES], axis=1)
    return Mixture(np.array([0.5, 0.3, 0.2]), tables, SIZES)


def pair_block(table: Floats, precision: float) -> Block:
    """All three pairs of a joint table."""
    wanted, weight = np.zeros((TOTAL, TOTAL)), np.zeros((TOTAL, TOTAL))
    for i, j in itertools.combinations(range(3), 2):
        wanted[SPANS[i], SPANS[j]] = table.sum(axis=3 - i - j)
        weight[SPANS[i], SPANS[j]] = precision
    return Block(None, wanted, weight)


def targets(table: Floats, *, precision: float = 1e8, penalty: float = 0.0) -> Targets:
    ones = np.concatenate([table.sum(axis=tuple({0, 1, 2} - {c})) for c in range(3)])
    return Targets(SIZES, ones, np.full(TOTAL, precision), (pair_block(table, precision),), (), penalty)


def fit(wanted: Targets, *, components: int = 50, steps: int = 800, seed: int = 1) -> Mixture:
    return fit_mixture(wanted, components=components, steps=steps, seed=seed, progress=SILENT)


def test_exact_tables_are_met() -> None:
    real = joint(truth())
    fitted = fit(targets(real))
    assert np.isclose(fitted.weights.sum(), 1)
    got = joint(fitted)
    for axis in range(3):
        assert np.abs(got.sum(axis=axis) - real.sum(axis=axis)).sum() / 2 < 0.002
    for c in range(3):
        assert np.allclose(fitted.block(c).sum(axis=1), 1)


def test_triples_within_the_target_s_groups_are_met() -> None:
    """Three-way truths that no pair table tells: parity. Only the block of each target group sees it."""
    real = np.zeros(SIZES)
    for a, b, c in itertools.product(*map(range, SIZES)):
        real[a, b, c] = 1.0 if (a + b + c) % 2 == 0 else 0.1
    real /= real.sum()
    base = targets(real)
    wanted, weight = np.zeros((2, TOTAL, TOTAL)), np.zeros((TOTAL, TOTAL))
    weight[SPANS[0], SPANS[1]] = 1e8
    for c in range(2):
        wanted[c, SPANS[0], SPANS[1]] = real[:, :, c]
    given = tuple(Block(None, wanted[c], weight, (7 + c,)) for c in range(2))
    alone = joint(fit(base))
    helped = joint(fit(Targets(SIZES, base.one_way, base.one_way_precision, (*base.blocks, *given), (), 0.0)))
    assert np.abs(helped - real).sum() / 2 < 0.01
    assert np.abs(alone - real).sum() / 2 > 0.05, "pairs alone do not tell parity"


def test_loose_tables_are_met() -> None:
    """The same parity as one loose table; merged groups too."""
    real = np.zeros(SIZES)
    for a, b, c in itertools.product(*map(range, SIZES)):
        real[a, b, c] = 1.0 if (a + b + c) % 2 == 0 else 0.1
    real /= real.sum()
    base = targets(real)
    maps = tuple(np.arange(s) for s in SIZES)
    whole = Loose((0, 1, 2), maps, real, 1e8)
    got = joint(fit(Targets(SIZES, base.one_way, base.one_way_precision, (), (whole,), 0.0)))
    assert np.abs(got - real).sum() / 2 < 0.01
    merge = np.array([0, 0, 1, 1])
    half = np.zeros((3, 2))
    np.add.at(half.T, merge, real.sum(axis=2).T)
    merged = Loose((0, 1), (maps[0], merge), half, 1e8)
    got = joint(fit(Targets(SIZES, base.one_way, base.one_way_precision, (), (merged,), 0.0))).sum(axis=2)
    assert np.abs(got[:, :2].sum(axis=1) - half[:, 0]).sum() < 0.005


@pytest.mark.parametrize("kind", ["pairs", "merged", "given", "loose 1", "loose 2", "loose 3"])
def test_written_gradients_are_those_of_automatic_differentiation(kind: str) -> None:
    rng = np.random.default_rng(3)
    real = joint(truth(2))
    merge = np.array([0, 0, 1, 2, 2, 3, 3, 4, 5])
    upper = np.triu(rng.random((TOTAL, TOTAL)), 1)
    small = np.triu(rng.random((6, 6)), 1)
    part: _TorchBlock | _TorchLoose
    match kind:
        case "pairs":
            part = _TorchBlock(pair_block(real, 2.0), 1.0, torch.device("cpu"))
        case "merged":
            part = _TorchBlock(Block(merge, small, small), 1.0, torch.device("cpu"))
        case "given":
            part = _TorchBlock(Block(None, upper, upper, (3, 5)), 1.0, torch.device("cpu"))
        case _:
            width = int(kind[-1])
            shape = tuple(2 for _ in range(width))
            maps = tuple(np.arange(SIZES[c]) % 2 for c in range(width))
            loose = Loose(tuple(range(width)), maps, rng.random(shape), 1.5)
            part = _TorchLoose(loose, SIZES, 1.0, torch.device("cpu"))
    tables = torch.from_numpy(truth(5).tables).float().requires_grad_()
    weights = torch.tensor([0.2, 0.5, 0.3], requires_grad=True)
    by_table, by_weight = torch.zeros(3, TOTAL), torch.zeros(3)
    with torch.no_grad():
        part.add_gradient(tables, weights, by_table, by_weight)
    if isinstance(part, _TorchBlock):
        residual = part._parts(tables, weights)[3]
        loss = 0.5 * (part._precision * residual.square()).sum()
    else:
        parts, rest = part._parts(tables)
        loss = 0.5 * part._precision * (rest.T @ (weights[:, None] * parts[-1]) - part._wanted).square().sum()
    wanted = torch.autograd.grad(loss, [tables, weights])
    assert torch.allclose(by_table, wanted[0], atol=1e-5)
    assert torch.allclose(by_weight, wanted[1], atol=1e-5)


def test_the_softmax_s_gradient_is_that_of_automatic_differentiation() -> None:
    softmax = _Softmax(SIZES, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn((4, TOTAL), generator=draw).requires_grad_()
    slope = torch.randn((4, TOTAL), generator=draw)
    wanted = torch.autograd.grad((softmax(logits) * slope).sum(), logits)[0]
    assert torch.allclose(softmax.backward(softmax(logits), slope), wanted, atol=1e-6)


def test_the_optimum_is_that_of_a_convex_solver() -> None:
    """Noisy tables that contradict each other. A mixture of enough products is any joint table, so that the
    least ½χ² is a convex problem over the simplex: scipy's SLSQP finds it; the mixture comes within 1% of
    it, or within 0.01 of a χ²."""
    rng = np.random.default_rng(4)
    for trial in range(3):
        real = joint(truth(trial))
        noisy = real + rng.normal(0, 0.02, SIZES)
        wanted = targets(noisy, precision=1 / 0.02**2)

        def loss(flat: Floats, wanted: Targets = wanted) -> float:
            table = flat.reshape(SIZES)
            ones = np.concatenate([table.sum(axis=tuple({0, 1, 2} - {c})) for c in range(3)])
            out = float((wanted.one_way_precision * (ones - wanted.one_way) ** 2).sum())
            block = wanted.blocks[0]
            for i, j in itertools.combinations(range(3), 2):
                gap = table.sum(axis=3 - i - j) - block.wanted[SPANS[i], SPANS[j]]
                out += float((block.precision[SPANS[i], SPANS[j]] * gap**2).sum())
            return out / 2

        start = np.full(24, 1 / 24)
        best = minimize(
            loss,
            start,
            method="SLSQP",
            bounds=[(0, 1)] * 24,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
            options={"maxiter": 2000, "ftol": 1e-12},
        )
        found = loss(joint(fit(wanted, components=64, steps=1500)).ravel())
        assert found <= best.fun * 1.01 + 0.01


def test_the_penalty_holds_columns_near_independence() -> None:
    gaps = []
    for penalty in (0.0, 100.0, 1e4):
        got = joint(fit(targets(joint(truth()), precision=1e4, penalty=penalty)))
        independent = np.einsum("a,b,c->abc", *(got.sum(axis=tuple({0, 1, 2} - {c})) for c in range(3)))
        gaps.append(np.abs(got - independent).sum() / 2)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-3


def test_the_same_seed_gives_the_same_bytes() -> None:
    wanted = targets(joint(truth()))
    a, b, c = (fit(wanted, components=20, steps=50, seed=s) for s in (1, 1, 2))
    assert a.tables.tobytes() == b.tables.tobytes()
    assert a.tables.tobytes() != c.tables.tobytes()


def test_without_joint_tables_columns_are_independent() -> None:
    full = targets(joint(truth()))
    alone = fit(Targets(SIZES, full.one_way, full.one_way_precision, (), (), 1.0), components=9, steps=9)
    assert alone.tables.shape == (1, TOTAL)
    assert np.allclose(alone.tables[0], full.one_way)


def test_threads_are_put_back_and_do_not_change_the_bytes() -> None:
    wanted = targets(joint(truth()))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(fit(wanted, components=20, steps=50).tables.tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_meets_the_same_tables() -> None:
    real = joint(truth())
    fitted = fit_mixture(targets(real), components=50, steps=800, seed=1, progress=SILENT, device="cuda")
    for axis in range(3):
        assert np.abs(joint(fitted).sum(axis=axis) - real.sum(axis=axis)).sum() / 2 < 0.002


def test_no_cell_is_impossible() -> None:
    """Targets of exactly 0, met with the greatest precision and for long: every probability stays above 0."""
    table = np.zeros((3, 4, 2))
    table[0, 0, 0], table[1, 2, 1] = 0.6, 0.4
    fitted = fit(targets(table, precision=1e12), steps=2000)
    assert fitted.tables.min() > 0
    assert joint(fitted).min() > 0
