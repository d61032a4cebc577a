"""Sampling of a model: closed forms, rare conditions, rules and balance, against enumerating a small domain."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from benchmarks.fitting import fit_all
from privsynth.data.codec import Between
from privsynth.data.columns import Categorical
from privsynth.data.evidence import Floats
from privsynth.data.records import Draw
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_table, violations
from privsynth.errors import ConditionError
from privsynth.generators.marginals import MarginalModel, Marginals
from privsynth.generators.marginals import model as module
from privsynth.privacy.budget import Budget

SCHEMA = """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
  age: {kind: integer, min: 0, max: 3}
  sex: {kind: categorical, values: [F, M], nullable: true}
  ill: {kind: boolean}
  grade: {kind: integer, min: 0, max: 9, bins: [2, 5]}
"""
RULES = "never: [{sex: M, ill: true}, {age: 0, sex: null}]\norder: [age <= grade]\n"
SHAPE = (4, 3, 2, 3)
WAYS: tuple[Draw, ...] = ("even", "independent")


def small(model: MarginalModel, *, rules: str = "", components: int = 4, seed: int = 1) -> MarginalModel:
    """A made-up model of a small domain; what was paid is the fitted one's."""
    schema = parse_schema(SCHEMA + rules)
    rng = np.random.default_rng(seed)
    tables = np.concatenate([rng.dirichlet(np.full(k, 0.7), components) for k in SHAPE], axis=1)
    return replace(
        model,
        schema=schema,
        weights=rng.dirichlet(np.ones(components)),
        tables=tables,
        groups=tuple(np.arange(k, dtype=np.int32) for k in SHAPE),
        within=tuple(np.ones(k) for k in SHAPE),
    )


def joint(model: MarginalModel) -> Floats:
    """The whole joint table, by enumerating components and cells."""
    out = np.zeros(SHAPE)
    for r, w in enumerate(model.weights):
        for cell in itertools.product(*map(range, SHAPE)):
            out[cell] += w * np.prod([model.cells(c)[r, i] for c, i in enumerate(cell)])
    return out


def counted(model: MarginalModel, frame: pd.DataFrame) -> Floats:
    out = np.zeros(SHAPE)
    np.add.at(out, tuple(model.codec.encode(frame).T), 1)
    return out


def fits(found: Floats, table: Floats, *, alarm: float = 1e-5) -> bool:
    """Chi-square of counts of independent rows to a table of probabilities; cells of less than 5 together."""
    if found[table <= 0].sum():
        return False
    expected = found.sum() * table / table.sum()
    some = expected >= 5
    rest = max(float(expected[~some].sum()), 1e-9)
    statistic = ((found - expected)[some] ** 2 / expected[some]).sum() + (found[~some].sum() - rest) ** 2 / max(rest, 1)
    return bool(statistic < chi2.ppf(1 - alarm, some.sum()))


def kept(model: MarginalModel, frame: pd.DataFrame) -> bool:
    return not any(mask.any() for _, mask in violations(frame, model.schema))


# --- closed forms ----------------------------------------------------------------------------------


def test_closed_forms_equal_the_enumerated_joint(model: MarginalModel) -> None:
    m = small(model)
    table = joint(m)
    names = ["age", "sex", "ill", "grade"]
    for k in (1, 2, 3):
        for chosen in itertools.permutations(range(4), k):
            wanted = np.einsum("abcd->" + "".join("abcd"[c] for c in chosen), table)
            assert np.allclose(m.marginal([names[c] for c in chosen]), wanted, rtol=1e-12, atol=0)
    part = table[[1, 3]][:, [0, 2]][:, :, [1]].sum()
    where = {"age": [1, 3], "sex": ["F", None], "ill": True}
    assert m.probability(where) == pytest.approx(part, rel=1e-12)
    given = table[[1, 3]][:, [0, 2]][:, :, 1].sum(axis=(0, 1))
    assert np.allclose(m.marginal(["grade"], where=where), given / part, rtol=1e-12, atol=0)


def test_the_likelihood_equals_the_enumerated_joint(model: MarginalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIKELY_ROWS", 7)
    m = small(model)
    tables = m.tables.copy()
    tables[:, 4:7] = [0.0, 0.4, 0.6]
    m = replace(m, tables=tables)
    table = joint(m)
    codes = np.array(list(itertools.product(*map(range, SHAPE))), dtype=np.int32)
    with np.errstate(divide="ignore"):
        wanted = np.log(table.ravel())
    assert np.isneginf(wanted).any()
    assert np.allclose(m.log_likelihood(codes), wanted, rtol=1e-12)
    frame = m.sample(50, seed=1).frame
    assert np.allclose(m.log_likelihood(frame), m.log_likelihood(m.codec.encode(frame)), rtol=0)
    assert m.log_likelihood(codes[:0]).shape == (0,)
    with pytest.raises(ConditionError, match="shape"):
        m.log_likelihood(codes[:, :2])


def test_the_likelihood_of_what_underflows_is_a_number(model: MarginalModel) -> None:
    """Sixty columns of probability 1e-8 each: 1e-480 is no float, its logarithm is."""
    names = [f"c{i:02d}" for i in range(60)]
    lines = "".join(f"  {name}: {{kind: boolean}}\n" for name in names)
    head = SCHEMA[: SCHEMA.index("  age:")]
    tables = np.tile([1e-8, 1 - 1e-8, 1e-8, 1 - 1e-8], (1, 30)).repeat(2, axis=0)
    m = replace(
        model,
        schema=parse_schema(head + lines),
        weights=np.array([0.25, 0.75]),
        tables=tables,
        groups=(np.arange(2, dtype=np.int32),) * 60,
        within=(np.ones(2),) * 60,
    )
    assert m.log_likelihood(np.zeros((3, 60), dtype=np.int32)) == pytest.approx([60 * np.log(1e-8)] * 3, rel=1e-12)
    rows = m.sample(40, where=dict.fromkeys(names, False), seed=1).frame
    assert not rows.to_numpy(dtype=bool).any()
    assert m.probability(dict.fromkeys(names[:30], False)) == pytest.approx(1e-240, rel=1e-9)


# --- rare conditions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rare", [1e-6, 1e-12, 1e-60])
@pytest.mark.parametrize("draw", WAYS)
def test_a_rare_condition_is_exact(model: MarginalModel, rare: float, draw: Draw) -> None:
    """The rows that meet it come almost all from a component that hardly any other row comes from; chi-square, a
    false alarm in 100,000."""
    m = small(model)
    tables, weights = m.tables.copy(), np.array([1.0, 1.0, 1e-3, 1e-3])
    tables[:, 0] *= [rare, rare * 3, rare * 1e4, rare * 2e3]
    tables[:, :4] /= tables[:, :4].sum(axis=1, keepdims=True)
    m = replace(m, tables=tables, weights=weights / weights.sum())
    table = joint(m)[0]
    assert 0 < table.sum() < rare * 100
    assert m.probability({"age": 0}) == pytest.approx(table.sum(), rel=1e-12)
    assert np.allclose(m.marginal(["sex", "ill"], where={"age": 0}), table.sum(axis=2) / table.sum(), rtol=1e-9)
    frame = m.sample(20_000, where={"age": 0}, seed=5, draw=draw).frame
    assert (frame["age"] == 0).all()
    assert fits(counted(m, frame)[0], table)
    assert not fits(counted(m, frame)[0], joint(m).sum(axis=0)), "the test tells the condition from none"


@pytest.mark.parametrize("draw", WAYS)
@pytest.mark.parametrize("where", [None, {"sex": ["M", None]}, {"age": Between(2, 3), "grade": Between(0, 4)}], ids=str)
def test_rules_condition_exactly(model: MarginalModel, draw: Draw, where: dict[str, Any] | None) -> None:
    """The rows keep every rule, and their law is the model's given that they do: by chi-square over value rows,
    enumerated with the numbers of a grade's cell one by one; a false alarm in 100,000."""
    m = small(model, rules=RULES)
    frame = m.sample(40_000, where=where, seed=3, draw=draw).frame
    assert kept(m, frame)
    cells = [range(0, 2), range(2, 5), range(5, 10)]
    table, found = np.zeros((4, 3, 2, 10)), np.zeros((4, 3, 2, 10))
    for (a, s, i, g), p in np.ndenumerate(joint(m)):
        for value in cells[g]:
            broken = (s == 1 and i == 1) or (a == 0 and s == 2) or a > value
            wanted = where is None or ("sex" in where and s > 0) or ("age" in where and a >= 2 and value <= 4)
            table[a, s, i, value] = p / len(cells[g]) if wanted and not broken else 0.0
    codes = m.codec.encode(frame)
    np.add.at(found, (codes[:, 0], codes[:, 1], codes[:, 2], frame["grade"].to_numpy()), 1)
    assert fits(found, table)


def test_a_single_row_keeps_the_law_under_rules(model: MarginalModel) -> None:
    """1,500 draws of one row each: the redraw of a row that broke a rule does not lean to any value."""
    m = small(model, rules="never: [{sex: M, ill: true}]\n")
    frame = pd.concat([m.sample(1, seed=s).frame for s in range(1500)])
    table = joint(m)
    table[:, 1, 1] = 0.0
    assert fits(counted(m, frame), table)


def test_few_rows_left_are_drawn_and_next_to_none_are_refused(model: MarginalModel) -> None:
    m = small(model, rules="never: [{sex: M, ill: true}]\n")
    tables = m.tables.copy()
    tables[:, 4:7] = [1e-4, 1 - 1e-4, 0]
    tables[:, 7:9] = [1e-4, 1 - 1e-4]
    few = replace(m, tables=tables)
    frame = few.sample(300, seed=1).frame
    assert len(frame) == 300 and kept(few, frame)
    share = (frame["sex"] == "F").mean()
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(300)
    tables[:, 4:7], tables[:, 7:9] = [1e-9, 1 - 1e-9, 0], [1e-9, 1 - 1e-9]
    with pytest.raises(ConditionError, match="almost no rows") as error:
        replace(m, tables=tables).sample(3, seed=1)
    assert error.value.mend


def test_no_row_of_a_large_sample_breaks_a_rule(model: MarginalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several blocks; the rows of a block are not together."""
    m = small(model, rules=RULES)
    whole = m.sample(250_000, seed=2).frame
    assert len(whole) == 250_000 and kept(m, whole)
    from privsynth.generators.marginals import draw

    monkeypatch.setattr(draw.blocks, "__kwdefaults__", {"size": 10_000})
    parts = m.sample(45_000, seed=2).frame
    assert len(parts) == 45_000 and kept(m, parts)


RULED = """\
privsynth-schema: 1
source: lab/stays
subject: {each row is a: stay, a person has at most: 1 row}
columns:
  sex: {kind: categorical, values: [F, M], nullable: true}
  pregnant: {kind: boolean, nullable: true}
  beds: {kind: integer, min: 0, max: 9, nullable: true}
  admitted: {kind: date, min: 2020-01-01, max: 2021-12-31}
  left: {kind: date, min: 2020-01-01, max: 2022-06-30, nullable: true}
  low: {kind: integer, min: 40, max: 140}
  high: {kind: integer, min: 60, max: 260}
  room: {kind: real, min: 0, max: 5000, decimals: 2}
  drugs: {kind: real, min: 0, max: 3000, decimals: 2, nullable: true}
  bill: {kind: real, min: 0, max: 6000, decimals: 2, nullable: true}
  nights: {kind: integer, min: 0, max: 60}
  days: {kind: integer, min: 0, max: 60}
  stay: {kind: integer, min: 0, max: 100}
  zip: {kind: categorical, values: [z1, z2, z3, z4]}
  state: {kind: categorical, values: [N, S]}
  ward: {kind: categorical, open: true, nullable: true}
  site: {kind: categorical, values: [east, west], nullable: true}
never: [{sex: M, pregnant: true}, {sex: null, pregnant: null}, {pregnant: true, beds: 0}]
order: [admitted <= left, low < high]
sums: [bill = room + drugs, stay = nights + days]
determines: [{rule: zip -> state, map: [[z1, N], [z2, N], [z3, S], [z4, S]]}, ward -> site]
"""
STATES, SITES = {"z1": "N", "z2": "N", "z3": "S", "z4": "S"}, {"A": "east", "B": "west", "C": "west"}


def ruled(n: int) -> pd.DataFrame:
    """Stays near the edge of every rule of ``RULED``: one night, pressures that are close, bills near their bound."""
    rng = np.random.default_rng(1)
    sex = rng.choice(np.array(["F", "M", None], dtype=object), n, p=[0.5, 0.4, 0.1])
    pregnant = pd.array((rng.random(n) < 0.3) & (sex != "M"), dtype="boolean")
    pregnant[(rng.random(n) < 0.1) & pd.notna(sex)] = pd.NA
    beds = pd.array(np.where(pregnant.fillna(False), rng.integers(1, 10, n), rng.integers(0, 10, n)), dtype="Int64")
    beds[rng.random(n) < 0.1] = pd.NA
    admitted = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 731, n), unit="D")
    left = pd.Series(admitted + pd.to_timedelta(rng.geometric(0.4, n) - 1, unit="D"))
    left = left.mask(rng.random(n) < 0.1)
    low = rng.integers(40, 141, n)
    room, drugs = (5000 * rng.beta(1, 2, n)).round(2), (3000 * rng.beta(1, 3, n)).round(2)
    room = np.minimum(room, 6000 - drugs).round(2)
    drugs = np.where(rng.random(n) < 0.1, np.nan, drugs)
    nights = rng.integers(0, 61, n)
    days = np.minimum(rng.integers(0, 61, n), 100 - nights)
    zips = rng.choice(list(STATES), n)
    ward = rng.choice(np.array(["A", "B", "C", None], dtype=object), n, p=[0.4, 0.3, 0.2, 0.1])
    return pd.DataFrame(
        {
            "sex": sex,
            "pregnant": pregnant,
            "beds": beds,
            "admitted": admitted,
            "left": left,
            "low": low,
            "high": np.maximum(60, low + rng.geometric(0.2, n)),
            "room": room,
            "drugs": drugs,
            "bill": (room + drugs).round(2),
            "nights": nights,
            "days": days,
            "stay": nights + days,
            "zip": zips,
            "state": [STATES[z] for z in zips],
            "ward": ward,
            "site": [SITES.get(w) for w in ward],
        }
    )


def broken(frame: pd.DataFrame, sites: Mapping[str, Any]) -> dict[str, int]:
    """How many rows break each rule of ``RULED``, by no code of the package."""
    f = frame
    pregnant, male = f["pregnant"].eq(True).fillna(False), f["sex"].eq("M").fillna(False)
    admitted, left = pd.to_datetime(f["admitted"]), pd.to_datetime(f["left"])
    bill, room, drugs = (f[c].astype("Float64") for c in ("bill", "room", "drugs"))
    cents = (bill * 100).round() - (room * 100).round() - (drugs * 100).round()
    site = f["ward"].astype(object).map(lambda w: sites[w] if pd.notna(w) else None)
    sites_differ = site.fillna("none") != f["site"].astype(object).fillna("none")
    bounds = {"bill": 6000, "stay": 100, "room": 5000, "drugs": 3000, "nights": 60, "days": 60}
    return {
        name: int(mask.sum())
        for name, mask in {
            "men": male & pregnant,
            "nulls": f["sex"].isna() & f["pregnant"].isna(),
            "beds": pregnant & f["beds"].eq(0).fillna(False),
            "order": left.notna() & (admitted > left),
            "strict order": f["low"] >= f["high"],
            "real sum": cents.fillna(0) != 0,
            "real sum's nulls": bill.isna() != (room.isna() | drugs.isna()),
            "whole sum": f["stay"] != f["nights"] + f["days"],
            "map": f["zip"].astype(object).map(STATES) != f["state"].astype(object),
            "learned map": sites_differ,
            **{name: ((f[name] < 0) | (f[name] > top)).fillna(False) for name, top in bounds.items()},
        }.items()
    }


@pytest.fixture(scope="module")
def bound() -> MarginalModel:
    schema = parse_schema(RULED)
    return fit_all(Marginals(schema, Budget(4.0, 1e-9)), read_table(ruled(20_000), schema))[0]


@pytest.mark.slow
@pytest.mark.parametrize("draw", WAYS)
def test_none_of_a_million_rows_breaks_a_declared_constraint(bound: MarginalModel, draw: Draw) -> None:
    """Structural zeros with nulls among them, both orders, sums of whole and real numbers, a public and a learned
    map; checked by plain pandas, which finds each rule broken where it is."""
    learned = bound.transcript.learned
    ward = bound.schema.columns["ward"]
    assert isinstance(ward, Categorical)
    wards = [*learned.values["ward"], ward.rest, None]
    sites = {str(w): s for w, s in zip(wards, learned.maps["site"], strict=True)}
    frame = bound.sample(1_000_000, seed=1, draw=draw).frame
    assert len(frame) == 1_000_000
    assert set(broken(frame, sites).values()) == {0}
    assert {k: sites[k] for k in SITES} == SITES
    assert frame["sex"].isna().any() and frame["pregnant"].isna().any() and frame["drugs"].isna().any()
    assert frame["left"].isna().any() and (frame["left"] == frame["admitted"]).any()
    shuffled = frame.copy()
    for i, name in enumerate(frame.columns):
        shuffled[name] = frame[name].sample(frac=1.0, random_state=i).array
    found = broken(shuffled, sites)
    assert all(found[name] > 0 for name in list(found)[:10]), "the check can fail"


def test_the_ways_to_draw_differ_and_a_seed_repeats_each(model: MarginalModel) -> None:
    drawn = {way: model.sample(400, seed=1, draw=way) for way in WAYS}
    assert not drawn["even"].frame.equals(drawn["independent"].frame)
    for way, synth in drawn.items():
        assert synth.draw == way
        assert synth.frame.equals(model.sample(400, seed=1, draw=way).frame)
    assert model.sample(400, seed=1).frame.equals(drawn["even"].frame)


def test_identifiers_of_two_draws_never_meet_and_those_of_one_stay(model: MarginalModel) -> None:
    asked: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2},
        {"seed": 2**62 + 1},
        {"seed": 1, "draw": "independent"},
        {"seed": 1, "where": {"sex": "F"}},
        {"seed": 1, "where": {"sex": "M"}},
        {"seed": 1, "balance": {"sex": "equal"}},
        {},
        {},
    ]
    drawn = [model.sample(30, **how) for how in asked] + [model.sample(31, seed=1)]
    names = [name for synth in drawn for name in synth.frame["person"]]
    assert len(set(names)) == len(names) == 301
    assert all(re.fullmatch(r"synthetic-[0-9a-f]{8}-[0-9]{2}", name) for name in names)
    for synth in drawn:
        again = model.sample(
            len(synth), where=synth.where, seed=synth.seed, balance=synth.balance or None, draw=synth.draw
        )
        assert again.frame["person"].equals(synth.frame["person"])


@pytest.mark.parametrize(
    ("where", "balance"),
    [
        (None, {"sex": "equal", "smoker": "equal"}),
        ({"sex": "F", "age": Between(20, 60)}, None),
        ({"ill": False, "age": Between(20, 60)}, {"smoker": "equal", "sex": "equal"}),
    ],
    ids=["balance", "where", "both"],
)
def test_the_order_in_which_columns_are_named_is_nothing(
    model: MarginalModel, where: dict[str, Any] | None, balance: dict[str, Any] | None
) -> None:
    def turned(asked: dict[str, Any] | None) -> dict[str, Any] | None:
        return asked and dict(reversed(asked.items()))

    one = model.sample(100, seed=1, where=where, balance=balance)
    other = model.sample(100, seed=1, where=turned(where), balance=turned(balance))
    assert one.frame.equals(other.frame)
    assert "person" in one.frame and list(one.balance) == list(other.balance)


# --- balance -----------------------------------------------------------------------------------------


def test_equal_shares_are_met_to_one_row(model: MarginalModel) -> None:
    for n in (1, 2, 3, 100, 1000):
        rows = model.sample(n, balance={"sex": "equal"}, seed=n)
        counts = rows.frame["sex"].value_counts().reindex(["F", "M", "X"]).to_numpy()
        assert counts.sum() == n and counts.max() - counts.min() <= 1
        assert rows.balance == {"sex": "equal"}
        assert kept(model, rows.frame)


def test_null_has_a_share_only_if_it_is_named(model: MarginalModel) -> None:
    assert not model.sample(200, balance={"smoker": "equal"}, seed=1).frame["smoker"].isna().any()
    shares = {True: 0.5, None: 0.25, False: 0.25}
    frame = model.sample(200, balance={"smoker": shares}, seed=1).frame
    assert frame["smoker"].isna().sum() == 50
    assert frame["smoker"].sum() == 100


def test_declared_shares_of_ranges_are_met(model: MarginalModel) -> None:
    shares = {Between(0, 29): 0.1, Between(30, 59): 0.2, Between(60, None): 0.7}
    frame = model.sample(1000, balance={"age": shares}, seed=4).frame
    assert [int(frame["age"].between(*ends).sum()) for ends in ((0, 29), (30, 59), (60, 99))] == [100, 200, 700]


def test_several_columns_are_balanced_together_and_under_a_condition(model: MarginalModel) -> None:
    frame = model.sample(
        1003, balance={"sex": {"F": 0.75, "M": 0.25}, "ill": "equal"}, where={"age": Between(20, 40)}, seed=6
    ).frame
    assert frame["age"].between(20, 40).all()
    counts = frame.groupby(["sex", "ill"], observed=True).size()
    wanted = {("F", False): 0.375, ("F", True): 0.375, ("M", False): 0.125, ("M", True): 0.125}
    assert set(counts.index) == set(wanted)
    assert all(abs(counts[k] - 1003 * share) < 1 for k, share in wanted.items())


@pytest.mark.parametrize("draw", WAYS)
def test_each_part_has_the_law_given_its_value(model: MarginalModel, draw: Draw) -> None:
    """Chi-square of each value's rows to the model given it and the rules; a false alarm in 100,000."""
    m = small(model, rules="never: [{sex: M, ill: true}]\n")
    table = joint(m)
    table[:, 1, 1] = 0.0
    synth = m.sample(30_000, balance={"sex": {"F": 0.2, "M": 0.5, None: 0.3}}, seed=7, draw=draw)
    found = counted(m, synth.frame)
    assert found.sum(axis=(0, 2, 3)).tolist() == [6000, 15000, 9000]
    for value in range(3):
        part = np.zeros(SHAPE)
        part[:, value] = table[:, value]
        alone = np.zeros(SHAPE)
        alone[:, value] = found[:, value]
        assert fits(alone, part)


def test_the_parts_are_shuffled(model: MarginalModel) -> None:
    ill = model.sample(2000, balance={"ill": "equal"}, seed=8).frame["ill"].to_numpy(dtype=bool)
    assert abs(ill[:1000].mean() - 0.5) < 0.1
    assert abs((ill[1:] != ill[:-1]).mean() - 0.5) < 0.06


def test_numbers_are_balanced_over_few_public_cells_only(model: MarginalModel) -> None:
    m = small(model)
    frame = m.sample(3001, balance={"grade": "equal"}, seed=9).frame
    counts = np.histogram(frame["grade"], [0, 2, 5, 10])[0]
    assert counts.max() - counts.min() <= 1
    with pytest.raises(ConditionError, match="100 cells") as error:
        model.sample(10, balance={"age": "equal"})
    assert "bins" in error.value.mend


BALANCES: list[dict[str, Any]] = [
    {"sex": "equal"},
    {"smoker": {None: 0.5, True: 0.5}, "sex": {"F": 1.0}},
    {"age": {Between(None, 50): 0.5, 51: np.float64(0.25), np.int64(60): 0.25}},
    {"seen": {dt.date(2020, 3, 1): 0.5, Between(dt.date(2020, 4, 1), "2020-05-01"): 0.5}},
    {"cost": {0: 0.5, Between(1, None): 0.5}},
]


@pytest.mark.parametrize("balance", BALANCES, ids=str)
def test_what_a_sample_says_of_its_balance_draws_it_again(model: MarginalModel, balance: dict[str, Any]) -> None:
    import json

    synth = model.sample(101, balance=balance, seed=10)
    read = json.loads(json.dumps(synth.balance))
    assert read == synth.balance
    again = model.sample(101, balance=read, seed=10)
    assert again.frame.equals(synth.frame)
    assert again.balance == synth.balance


def test_a_combination_that_cannot_be_is_named(model: MarginalModel) -> None:
    m = small(model)
    tables = m.tables.copy()
    tables[:, 4:7] = [0.5, 0.5, 0.0]
    with pytest.raises(ConditionError, match="probability 0: sex null") as error:
        replace(m, tables=tables).sample(10, balance={"sex": {"F": 0.5, None: 0.5}})
    assert error.value.where == "balance"
    assert replace(m, tables=tables).sample(10, balance={"sex": {"F": 1, None: 0}}, seed=1).frame["sex"].notna().all()


def test_a_combination_that_the_rules_forbid_is_named(model: MarginalModel) -> None:
    """Structural zeros leave it no row, though the model gives it a probability."""
    with pytest.raises(ConditionError, match="leave sex M, ill true almost no rows") as error:
        small(model, rules=RULES).sample(10, balance={"sex": {"F": 0.5, "M": 0.5}, "ill": {True: 0.5, False: 0.5}})
    assert error.value.where == "balance"
    with pytest.raises(ConditionError, match="the condition almost no rows") as error:
        small(model, rules=RULES).sample(10, where={"sex": "M", "ill": True})
    assert error.value.where == "where"


def test_a_part_is_decoded_within_its_range(model: MarginalModel) -> None:
    frame = model.sample(500, balance={"cost": {Between(10, 20): 0.5, 0: 0.5}}, seed=1).frame
    assert frame["cost"].between(10, 20).sum() == 250
    assert (frame["cost"] == 0).sum() == 250
