"""A whole fit of a schema that leaves cells, categories and dependencies open."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.codec import Ranged
from privsynth.data.records import Train
from privsynth.data.schema import parse_schema
from privsynth.data.tables import violations
from privsynth.errors import ConditionError, SchemaError
from privsynth.generators.marginals import MarginalModel, Marginals, load_model
from privsynth.generators.marginals import recipe as recipes
from privsynth.generators.marginals.purse import Purse
from privsynth.generators.marginals.transcript import MarginalTranscript
from privsynth.generators.marginals.workload import Query, Workload
from privsynth.privacy.accountant import mu_squared
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import open_delta
from privsynth.privacy.noise import SeededNoise
from privsynth.release.gate import gate
from tests.world import SCHEMA, World, build, rows

LEARNING = (
    SCHEMA.replace(
        "  ill: {kind: boolean}\n",
        """\
  ill: {kind: boolean}
  ward: {kind: categorical, open: true, nullable: true, other: elsewhere}
  site: {kind: categorical, values: [N, S], nullable: true}
  hours: {kind: real, min: 0, max: 100}
  base: {kind: integer, min: 0, max: 5000}
  extra: {kind: integer, min: 0, max: 5000, nullable: true}
  total: {kind: integer, min: 0, max: 6000, nullable: true}
""",
    )
    + "sums: [total = base + extra]\ndetermines: [ward -> site]\n"
)


def wide_rows(people: int = 4000) -> pd.DataFrame:
    """The small world's rows, with wards of which one is a single person's, round hours, and parts of a total."""
    frame = rows(people)
    rng = np.random.default_rng(11)
    n = len(frame)
    ward = rng.choice(np.array(["north", "south", "east", None], dtype=object), n, p=[0.4, 0.3, 0.2, 0.1])
    ward[0] = "Ward of Ms Miller"
    base = rng.choice([100, 250, 1999], n)
    extra = np.where(rng.random(n) < 0.5, 0, rng.integers(0, 5000, n))
    return frame.assign(
        ward=ward,
        site=pd.Series(ward).map({"north": "N", "south": "S", "east": "S"}).to_numpy(),
        hours=np.where(rng.random(n) < 0.6, 40.0, rng.choice([20.0, 37.5], n)) + 0.0 * n,
        base=base,
        extra=pd.array(np.where(rng.random(n) < 0.1, np.nan, extra), dtype="Int64"),
        total=pd.array(base + extra, dtype="Int64"),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("learned")
    return build(folder, schema=LEARNING, frame=wide_rows())


@pytest.fixture(scope="module")
def model(world: World) -> MarginalModel:
    return world.recipe.fit(world.split.train, world.hold(request="the-fit"))


def test_a_fit_that_learns_its_domains_spends_its_hold_and_not_more(world: World, model: MarginalModel) -> None:
    hold = world.hold(request="the-fit")
    spent, cap = model.transcript.mu_squared, mu_squared(hold.prices.fit)
    assert Fraction(9, 10) * cap < spent <= cap
    assert hold.prices.delta_open > 0
    assert sum((m.mu_squared for m in model.transcript.domains), Fraction(0)) <= cap / 2
    assert model.receipt.epsilon == hold.epsilon


def test_what_was_learned(model: MarginalModel) -> None:
    learned = model.transcript.learned
    assert learned.values == {"ward": ("east", "north", "south")}
    assert dict(zip([*learned.values["ward"], "elsewhere", None], learned.maps["site"], strict=True)).items() >= {
        ("north", "N"),
        ("south", "S"),
        ("east", "S"),
    }
    hours = model.codec.columns[model.codec.index["hours"]]
    assert isinstance(hours, Ranged)
    assert {20.0, 37.5, 40.0} <= set(hours.low[hours.low == hours.stop].tolist())
    assert set(learned.bins) == {"cost", "seen", "hours", "base", "extra"}
    assert "Miller" not in str(learned.to_json())


def test_every_row_keeps_what_the_schema_computes(model: MarginalModel) -> None:
    frame = model.sample(20_000, seed=1).frame
    assert not any(mask.any() for _, mask in violations(frame, model.schema))
    assert (frame["total"].dropna() <= 6000).all()
    assert (frame["total"].isna() == frame["extra"].isna()).all()
    assert frame["base"].dtype == np.int64
    assert frame["hours"].isin([20.0, 37.5, 40.0]).mean() > 0.95
    assert set(frame["ward"].dropna().unique()) <= {"north", "south", "east", "elsewhere"}
    assert frame.groupby("ward", observed=True)["site"].nunique().max() == 1
    assert frame["person"].is_unique


def test_the_same_bytes_from_the_transcript_and_from_disk(world: World, model: MarginalModel, tmp_path: Path) -> None:
    raw = model.transcript.to_bytes()
    assert MarginalTranscript.from_bytes(raw).to_bytes() == raw
    again = world.recipe.refit(MarginalTranscript.from_bytes(raw), model.receipt)
    assert again.id == model.id
    assert model.refits()
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.id == model.id
    assert loaded.sample(50, seed=2).frame.equals(model.sample(50, seed=2).frame)


def test_conditions_and_shares_on_learned_categories(model: MarginalModel) -> None:
    assert (model.sample(200, where={"ward": "east"}, seed=1).frame["site"] == "S").all()
    assert (model.sample(200, where={"hours": 40.0}, seed=1).frame["hours"] == 40.0).all()
    half = model.sample(200, balance={"ward": {"north": 0.5, "south": 0.5}}, seed=1).frame["ward"]
    assert (half == "north").sum() == 100
    with pytest.raises(ConditionError, match="public domain"):
        model.sample(10, where={"ward": "Ward of Ms Miller"})
    with pytest.raises(ConditionError, match="computed from base and extra"):
        model.sample(10, where={"total": 100})


def test_the_gate_codes_real_rows_by_the_models_cells(tmp_path: Path) -> None:
    world = build(tmp_path, schema=LEARNING, frame=wide_rows())
    hold = world.hold()
    fitted = world.recipe.fit(world.split.train, hold)
    assert gate(fitted, world.split, hold=hold, policy=world.policy).claims.findings


@pytest.mark.parametrize(("named", "held"), [("total", "base and extra"), ("site", "ward")])
def test_a_computed_column_is_no_target(named: str, held: str) -> None:
    with pytest.raises(SchemaError, match=f"is computed from {held}"):
        Marginals(parse_schema(LEARNING), Budget(1.0, 1e-8), target=named)


@pytest.mark.parametrize("where", [{"ward": "north"}, {"base": 100}])
def test_a_query_on_learned_cells_is_refused_before_anything_is_bought(where: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="whose cells are learned") as caught:
        Marginals(parse_schema(LEARNING), Budget(1.0, 1e-8), workload=Workload(queries=(Query(where),)))
    assert "cells: equal" in caught.value.mend


def test_a_purse_reads_nothing_that_it_cannot_pay() -> None:
    from privsynth.errors import HoldError

    def read() -> Any:
        raise AssertionError("the rows were read")

    purse = Purse(SeededNoise(0), cap=Fraction(1, 100))
    with pytest.raises(HoldError, match="more than the hold has left"):
        purse.take(read, sigma=8.0, cost=Fraction(1, 64))


def test_the_domains_are_bought_with_the_slice_of_delta_and_the_rows_of_a_subject_that_were_sold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    told: dict[str, Any] = {}

    def learn(*args: Any, **named: Any) -> Any:
        told.update(named, rows=args[0], subjects=args[1])
        raise Stop

    monkeypatch.setattr(recipes, "learn_domains", learn)
    hold = world.hold(request="stopped")
    with pytest.raises(Stop):
        world.recipe.fit(world.split.train, hold)
    assert told["delta"] == hold.prices.delta_open == open_delta(world.recipe.budget.delta)
    assert told["contribution"] == hold.contribution == world.recipe.contribution == 2
    assert isinstance(world.split.train, Train)
    assert told["rows"] is world.split.train.records.frame
    assert told["subjects"] is world.split.train.records.subjects


SCARCE = SCHEMA.replace(
    "  ill: {kind: boolean}\n",
    """\
  ill: {kind: boolean}
  two: {kind: real, min: 1.0, max: 1.0000000000000002}
  some: {kind: real, min: 1.0, max: 1.0000000000001}
  late: {kind: real, min: 1000000000, max: 1000000001}
  far: {kind: real, min: 1000000000000, max: 1000000000100, nullable: true}
  huge: {kind: real, min: 1.7e+18, max: 1.70000000000001e+18}
  tiny: {kind: real, min: 0, max: 5.0e-322}
  wide: {kind: integer, min: -9007199254740991, max: 9007199254740991}
""",
)


def test_a_model_of_ranges_in_which_floats_are_scarce_loads_again(tmp_path: Path) -> None:
    frame = rows()
    rng = np.random.default_rng(12)
    n = len(frame)
    frame = frame.assign(
        two=rng.choice([1.0, 1.0000000000000002], n),
        some=1.0 + 1e-13 * rng.random(n) ** 8,
        late=1e9 + rng.choice([0.25, 0.5, 0.7], n),
        far=1e12 + rng.choice([0.25, 0.5, 0.7, 80.0], n),
        huge=1.7e18 + 256.0 * rng.integers(0, 39, n),
        tiny=5e-324 * rng.integers(0, 100, n),
        wide=rng.choice([0, 1, 2**52, -(2**53) + 1, 2**53 - 1, 10**15 + 1], n),
    )
    world = build(tmp_path, schema=SCARCE, frame=frame)
    model = world.recipe.fit(world.split.train, world.hold())
    raw = model.transcript.to_bytes()
    assert MarginalTranscript.from_bytes(raw).to_bytes() == raw
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    drawn = loaded.sample(2000, seed=2).frame
    assert drawn.equals(model.sample(2000, seed=2).frame)
    assert drawn["two"].isin([1.0, 1.0000000000000002]).all()
    assert drawn["wide"].isin(frame["wide"].unique()).mean() > 0.9
    for name in ("some", "late", "far", "huge", "tiny"):
        column: Any = model.schema.columns[name]
        assert drawn[name].dropna().between(column.min, column.max).all()
