"""The fitted model: conditioning against brute force, sampling against its own closed form, disk."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privsynth.data.codec import Between
from privsynth.data.tables import violations
from privsynth.errors import ConditionError, ModelError, StorageError
from privsynth.generators.marginals import MarginalModel, load_model, product


def joint(model: MarginalModel, names: list[str]) -> np.ndarray[Any, Any]:
    """The joint table of the named columns by enumerating every component and cell: the oracle."""
    columns = [model.codec.index[n] for n in names]
    shape = [model.codec.columns[c].cells for c in columns]
    out = np.zeros(shape)
    for r, w in enumerate(model.weights):
        parts = [model.cells(c)[r] for c in columns]
        for cell in itertools.product(*map(range, shape)):
            out[cell] += w * np.prod([p[i] for p, i in zip(parts, cell, strict=True)])
    return out


CONDITIONS: list[dict[str, Any]] = [
    {"sex": "F"},
    {"sex": ["M", "X"]},
    {"smoker": None},
    {"smoker": True, "ill": True},
    {"smoker": [None, False], "sex": "M"},
]


@pytest.mark.parametrize("where", CONDITIONS, ids=str)
def test_where_equals_brute_force(model: MarginalModel, where: dict[str, Any]) -> None:
    """(f) of the issue."""
    names = ["sex", "smoker", "ill"]
    table = joint(model, names)
    assert table.sum() == pytest.approx(1.0)
    mask = np.ones_like(table)
    for axis, name in enumerate(names):
        if name in where:
            column = model.codec.columns[model.codec.index[name]]
            wanted = where[name] if isinstance(where[name], list) else [where[name]]
            keep = np.zeros(column.cells)
            for value in wanted:
                keep[
                    column.labels().index(
                        "null" if value is None else str(value).lower() if isinstance(value, bool) else value
                    )
                ] = 1
            mask *= keep.reshape([-1 if a == axis else 1 for a in range(3)])
    conditioned = table * mask
    assert model.probability(where) == pytest.approx(conditioned.sum(), rel=1e-12)
    assert np.allclose(model.marginal(names, where=where), conditioned / conditioned.sum(), rtol=1e-10, atol=1e-15)


def test_where_on_part_of_a_cell_equals_brute_force(model: MarginalModel) -> None:
    """Ranges that cut cells: the share of the cell's values counts."""
    cost = model.codec.columns[model.codec.index["cost"]]
    where = {"cost": Between(10, 20), "age": [30, 31]}
    evidence = cost.evidence(where["cost"]).weights
    table = joint(model, ["cost", "sex"])
    age = model.cells(model.codec.index["age"])
    labels = model.codec.columns[model.codec.index["age"]].labels()
    chosen = [labels.index("30"), labels.index("31")]
    joint_age = np.einsum("r,ra,rc->ac", model.weights, age[:, chosen], model.cells(model.codec.index["cost"]))
    assert model.probability(where) == pytest.approx(float((joint_age.sum(axis=0) * evidence).sum()), rel=1e-12)
    assert model.marginal(["cost", "sex"]).sum() == pytest.approx(table.sum())


def test_a_rare_condition_is_exact(model: MarginalModel) -> None:
    names = ["age", "cost", "seen", "sex"]
    rows = model.sample(2000, seed=1).frame
    where = {"age": int(rows["age"].iloc[0]), "sex": str(rows["sex"].iloc[0]), "cost": Between(400, 1000)}
    p = model.probability(where)
    assert 0 < p < 1e-2
    drawn = model.sample(300, where=where, seed=2).frame
    assert (drawn["age"] == where["age"]).all()
    assert (drawn["sex"] == where["sex"]).all()
    assert drawn["cost"].between(400, 1000).all()
    assert set(names) <= set(drawn.columns)


def test_samples_follow_the_closed_form(model: MarginalModel) -> None:
    """Total variation of 40,000 rows to the model, a table of 3 x 3 cells; its mean is near
    sqrt(9 / (2 pi 40000)) = 0.006 and 0.02 is over 5 sd away."""
    frame = model.sample(40_000, seed=11).frame
    codes = model.codec.encode(frame)
    i, j = model.codec.index["sex"], model.codec.index["smoker"]
    table = np.zeros((3, 3))
    np.add.at(table, (codes[:, i], codes[:, j]), 1 / len(codes))
    exact = np.einsum(
        "r,ra,rb,rc->abc", model.weights, model.cells(i), model.cells(j), model.cells(model.codec.index["ill"])
    )
    exact[2, :, 1] = 0  # the structural zero: sex X is never ill
    exact = exact.sum(axis=2) / exact.sum()
    assert np.abs(table - exact).sum() / 2 < 0.02


def test_every_row_keeps_the_rules(model: MarginalModel) -> None:
    frame = model.sample(20_000, seed=5).frame
    assert not any(mask.any() for _, mask in violations(frame, model.schema))
    assert frame["age"].between(0, 99).all()
    assert frame["cost"].between(0, 1000).all()
    assert frame["person"].is_unique
    assert "note" not in frame


def test_a_seed_repeats_and_none_does_not(model: MarginalModel) -> None:
    a, b, c, d = (model.sample(50, seed=s).frame.to_csv() for s in (1, 1, None, None))
    assert a == b
    assert c != d


@pytest.mark.parametrize(
    ("n", "where", "seed"),
    [
        (0, None, None),
        (True, None, None),
        (10, {"note": "x"}, None),
        (10, {"sex": "Q"}, None),
        (10, {"sex": []}, None),
        (10, {"sex": None}, None),
        (10, {"age": "old"}, None),
        (10, {"age": Between(5, 2)}, None),
        (10, {"age": 1000}, None),
        (10, {"cost": 17.123456}, None),
        (10, {"sex": "X", "ill": True}, None),
        (10, None, -1),
        (10, None, 2**128),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(model: MarginalModel, n: Any, where: Any, seed: Any) -> None:
    with pytest.raises(ConditionError) as error:
        model.sample(n, where=where, seed=seed)
    assert error.value.mend


def test_numbers_too_long_to_write_are_refused(model: MarginalModel) -> None:
    for seed in (10**5000, -(10**5000)):
        with pytest.raises(ConditionError, match="seed is beyond"):
            model.sample(5, seed=seed)
    with pytest.raises(ConditionError, match="n is beyond"):
        model.sample(10**5000)
    assert len(model.sample(5, seed=2**128 - 1)) == 5


def test_marginals_are_bounded(model: MarginalModel) -> None:
    with pytest.raises(ConditionError):
        model.marginal(["age", "age"])
    with pytest.raises(ConditionError):
        model.marginal(["note"])
    assert model.marginal(["age"]).shape == (100,)


def test_a_table_that_is_too_large_is_refused_before_it_is_made(
    model: MarginalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is asked for with intervals; what lies at the limit is given out."""
    names = ["sex", "smoker"]
    monkeypatch.setattr(product, "MOST_TABLE_CELLS", 9)
    assert model.marginal(names).shape == model.marginal_interval(names).low.shape == (3, 3)
    monkeypatch.setattr(product, "MOST_TABLE_CELLS", 8)
    monkeypatch.setattr(MarginalModel, "_given", None)
    for asked in (model.marginal, model.marginal_interval):
        with pytest.raises(ConditionError, match="a table of 9 cells; at most 8") as error:
            asked(names)
        assert "sex (3)" in error.value.where and error.value.mend


def test_a_column_alone_equals_brute_force(model: MarginalModel) -> None:
    """Its share, and each component's over groups that cut the model's own across."""
    for c, column in enumerate(model.codec.columns):
        cells = model.cells(c)
        assert np.allclose(model.share(c), model.weights @ cells, rtol=1e-12, atol=0)
        groups = (np.arange(column.cells, dtype=np.int32) * 7) % min(column.cells, 3)
        for g, size in ((None, column.cells), (groups, int(groups.max()) + 1)):
            wanted = cells @ np.eye(size)[np.arange(column.cells) if g is None else g]
            assert np.allclose(model.grouped(c, g), wanted, rtol=1e-12, atol=1e-300)


def test_a_condition_has_the_same_probability_however_many_components_are_looked_at_together(
    model: MarginalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"age": Between(30, 50), "cost": Between(10, 20), "smoker": None}
    wanted = model.probability(where)
    monkeypatch.setattr(product, "AT_ONCE", 150)
    assert model.probability(where) == pytest.approx(wanted, rel=1e-12)


def test_a_saved_model_comes_back_the_same(model: MarginalModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.id == model.id
    assert again.receipt == model.receipt
    assert again.sample(200, seed=3).frame.equals(model.sample(200, seed=3).frame)
    with pytest.raises(StorageError, match="exists"):
        model.save(tmp_path / "m")


@pytest.mark.parametrize("name", ["model.safetensors", "transcript.safetensors", "model.json"])
def test_an_altered_model_is_refused(model: MarginalModel, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / "m")
    path = tmp_path / "m" / name
    raw = path.read_bytes()
    for place in (0, len(raw) // 2, len(raw) - 1):
        spoilt = bytearray(raw)
        spoilt[place] ^= 1
        path.write_bytes(bytes(spoilt))
        with pytest.raises(ModelError):
            load_model(tmp_path / "m")
    path.unlink()
    with pytest.raises(ModelError):
        load_model(tmp_path / "m")


def test_an_edited_receipt_is_refused(model: MarginalModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    head = json.loads(path.read_bytes())
    head["receipt"]["epsilon"] = 0.1
    path.write_text(json.dumps(head))
    with pytest.raises(ModelError):
        load_model(tmp_path / "m")


def test_held_back_error_tells_a_wrong_model(model: MarginalModel) -> None:
    from dataclasses import replace

    held = model.held_back_error()
    assert held is not None
    assert 0 <= held.estimate <= held.upper
    flat = replace(model, tables=np.full_like(model.tables, 1.0))
    sizes = [int(g.max()) + 1 for g in model.groups]
    start = 0
    tables = flat.tables.copy()
    for size in sizes:
        tables[:, start : start + size] = 1.0 / size
        start += size
    wrong = replace(model, tables=tables).held_back_error()
    assert wrong is not None
    assert wrong.estimate > 1.5 * held.upper


def test_intervals_hold_the_truth_as_often_as_stated(model: MarginalModel) -> None:
    """The interval is about the noisy measurement: the model's own share lies near it in most cells."""
    for share, low, high in model.intervals().values():
        assert share.sum() == pytest.approx(1.0)
        assert (low <= high).all()
        assert ((share >= low - 0.05) & (share <= high + 0.05)).mean() > 0.9
