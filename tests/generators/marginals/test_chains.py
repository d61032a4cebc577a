"""Chains of orders: every row keeps them, and their law is the model's given that they hold, against all rows of small
domains and against redrawing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import comb, lgamma, log
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from privsynth.data.codec import Between
from privsynth.data.evidence import Floats
from privsynth.data.records import Draw
from privsynth.data.schema import parse_schema
from privsynth.data.tables import violations
from privsynth.errors import ConditionError
from privsynth.generators.marginals import MarginalModel, chains, filled
from tests.generators.marginals.test_sampling import fits, kept

HEAD = """\
privsynth-schema: 1
source: lab/visits
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
"""
WAYS: tuple[Draw, ...] = ("even", "independent")
Values = list[list[list[Any]]]
"""Of each column the values of each cell."""


def made(model: MarginalModel, text: str, *, components: int = 3, seed: int = 1) -> MarginalModel:
    """A made-up model of these columns; what was paid is the fitted one's."""
    schema = parse_schema(HEAD + text)
    rng = np.random.default_rng(seed)
    shape = [c.cells for c in replace(model, schema=schema).codec.columns]
    return replace(
        model,
        schema=schema,
        weights=rng.dirichlet(np.ones(components)),
        tables=np.concatenate([rng.dirichlet(np.full(k, 0.8), components) for k in shape], axis=1),
        groups=tuple(np.arange(k, dtype=np.int32) for k in shape),
        within=tuple(np.ones(k) for k in shape),
    )


WHOLE = """\
  a: {kind: integer, min: 0, max: 3}
  b: {kind: integer, min: 0, max: 5, bins: [1, 4]}
  c: {kind: integer, min: 1, max: 5, bins: [3], nullable: true}
  d: {kind: integer, min: 0, max: 6, bins: [2]}
  s: {kind: categorical, values: [F, M]}
"""
CELLS: Values = [
    [[0], [1], [2], [3]],
    [[0], [1, 2, 3], [4, 5]],
    [[1, 2], [3, 4, 5], [None]],
    [[0, 1], [2, 3, 4, 5, 6]],
    [["F"], ["M"]],
]
Row = tuple[Any, ...]


def least(a: Any, b: Any, *, strict: bool = False) -> bool:
    return a is None or b is None or (a < b if strict else a <= b)


RULES: dict[str, tuple[str, Callable[[Any, Any, Any, Any, Any], bool]]] = {
    "chain": ("order: [a <= b, b <= c, c <= d]\n", lambda a, b, c, d, s: a <= b and least(b, c) and least(c, d)),
    "strict": (
        "order: [c < d, a < b, b <= c]\n",
        lambda a, b, c, d, s: a < b and least(b, c) and least(c, d, strict=True),
    ),
    "over nulls": (
        "order: [a <= b, b <= c, c < d, b < d]\n",
        lambda a, b, c, d, s: a <= b and least(b, c) and least(c, d, strict=True) and b < d,
    ),
    "circle": (
        "order: [a <= b, b <= a, b <= d]\n",
        lambda a, b, c, d, s: a == b <= d,
    ),
    "tree and zeros": (
        "order: [a < b, a < d, a <= c]\nnever: [{a: 1, s: M}, {b: 3, c: null}]\n",
        lambda a, b, c, d, s: (
            a < b and a < d and least(a, c) and not (a == 1 and s == "M") and not (b == 3 and c is None)
        ),
    ),
    "two chains": ("order: [a < c, d <= b]\n", lambda a, b, c, d, s: least(a, c, strict=True) and d <= b),
}
WHERE: list[dict[str, Any] | None] = [None, {"b": [1, 3, 5], "c": [Between(2, 4), None], "s": "F"}, {"c": None}]


def law(model: MarginalModel, cells: Values, keeps: Callable[..., bool]) -> tuple[dict[Row, int], Floats]:
    """Every row of values with its probability, 0 where it breaks a rule."""
    place: dict[Row, int] = {}
    out: list[float] = []
    each = [[(i, v, len(held)) for i, held in enumerate(column) for v in held] for column in cells]
    tables = [model.cells(c) for c in range(len(cells))]
    for row in itertools.product(*each):
        values = tuple(v for _, v, _ in row)
        p = model.weights * np.prod([t[:, i] / size for t, (i, _, size) in zip(tables, row, strict=True)], axis=0)
        place[values] = len(out)
        out.append(p.sum() if keeps(*values) else 0.0)
    return place, np.array(out)


def counts(frame: pd.DataFrame, place: dict[Row, int]) -> Floats:
    rows = [tuple(None if pd.isna(v) else v for v in row) for row in frame.itertuples(index=False)]
    return np.bincount([place[row] for row in rows], minlength=len(place)).astype(np.float64)


def met(row: Row, where: dict[str, Any] | None) -> bool:
    _, b, c, _, s = row
    if where is None:
        return True
    return c is None if "b" not in where else b in (1, 3, 5) and c in (2, 3, 4, None) and s == "F"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains are drawn as chains however likely they are."""
    monkeypatch.setattr(chains, "RARE", 2.0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("draw", WAYS)
@pytest.mark.parametrize("where", WHERE, ids=["all", "some", "null"])
@pytest.mark.parametrize("name", RULES)
def test_the_law_is_the_models_given_the_rules(
    model: MarginalModel, name: str, where: dict[str, Any] | None, draw: Draw
) -> None:
    """Chi-square over rows of values, enumerated; a false alarm in 100,000. Against other weights it fails."""
    rules, keeps = RULES[name]
    m = made(model, WHOLE + rules)
    frame = m.sample(30_000, where=where, seed=4, draw=draw).frame
    assert kept(m, frame)
    place, table = law(m, CELLS, lambda *row: keeps(*row) and met(row, where))
    found = counts(frame, place)
    assert fits(found, table)
    other = np.where(table > 0, law(replace(m, weights=m.weights[::-1]), CELLS, lambda *row: True)[1], 0.0)
    assert not fits(found, other)


@pytest.mark.parametrize("name", ["chain", "strict", "two chains"])
def test_the_mass_of_chains_is_that_of_their_rows(model: MarginalModel, name: str) -> None:
    rules, keeps = RULES[name]
    m = made(model, WHOLE + rules)
    given = [m._given(c, {}) for c in range(5)]
    for r in range(3):
        one = replace(m, weights=np.eye(3)[r])
        wanted = law(one, CELLS, keeps)[1].sum()
        found = sum(
            chains._cut(m.codec, path, strict, {}, given).log_mass(np.array([r]))[0]
            for path, strict in chains._paths(m.codec)
        )
        assert np.exp(found) == pytest.approx(wanted, rel=1e-12)


REALS = """\
  a: {kind: real, min: 0, max: 10, bins: [2, 3.5], atoms: [0, 5]}
  b: {kind: real, min: 1, max: 10, bins: [3.5, 8], atoms: [5], nullable: true}
  c: {kind: real, min: -1, max: 9, bins: [4], atoms: [5]}
"""
DAYS = """\
  a: {kind: date, min: 2020-01-01, max: 2020-02-29, bins: [2020-01-20]}
  b: {kind: date, min: 2020-01-10, max: 2020-03-31, cells: equal}
  c: {kind: date, min: 2020-01-01, max: 2020-03-01, bins: [2020-01-15, 2020-02-20], nullable: true}
"""
MIXED = """\
  a: {kind: integer, min: 0, max: 9, bins: [4]}
  b: {kind: real, min: 0, max: 8, bins: [3.5]}
  c: {kind: real, min: 1, max: 9, bins: [5], decimals: 1}
"""
TOTAL = """\
  a: {kind: integer, min: 0, max: 9, bins: [4]}
  b: {kind: integer, min: 0, max: 9, bins: [6]}
  c: {kind: integer, min: 0, max: 9, bins: [3]}
  t: {kind: integer, min: 0, max: 14}
sums: [t = a + b]
"""


@pytest.mark.parametrize(
    ("text", "order", "where"),
    [
        (REALS, "a <= b, b < c", None),
        (REALS, "a < b, b <= c", {"a": Between(0, 6), "c": Between(3, 8)}),
        (DAYS, "a <= b, b < c", None),
        (MIXED, "a <= b, b < c", None),
        (TOTAL, "a <= b, b <= c, c < t", None),
    ],
    ids=["reals", "reals with a condition", "days", "mixed", "total"],
)
def test_chains_have_the_law_of_redrawing(
    model: MarginalModel, monkeypatch: pytest.MonkeyPatch, text: str, order: str, where: dict[str, Any] | None
) -> None:
    """Two samples of 20,000, in tenths of each column; chi-square of the two, a false alarm in 100,000."""
    joint = "" if "sums" in text else "\n"
    m = made(model, f"{text.rstrip()}\norder: [{order}]{joint}")
    drawn = []
    for rare in (0.0, 2.0):
        monkeypatch.setattr(chains, "RARE", rare)
        drawn.append(m.sample(20_000, where=where, seed=6, draw="independent").frame)
        assert kept(m, drawn[-1])
    assert not drawn[0].equals(drawn[1])
    keys = []
    for name in drawn[0]:
        both = pd.concat([frame[name] for frame in drawn], ignore_index=True)
        keys.append(pd.qcut(both.rank(method="max"), 6, labels=False, duplicates="drop").fillna(-1).astype(int))
    cell = pd.Series(list(zip(*keys, strict=True))).astype("category").cat.codes.to_numpy()
    first, second = (np.bincount(part, minlength=cell.max() + 1) for part in (cell[:20_000], cell[20_000:]))
    some = first + second >= 10
    statistic = ((first - second)[some] ** 2 / (first + second)[some]).sum()
    assert some.sum() > 20
    assert statistic < chi2.ppf(1 - 1e-5, some.sum())


EIGHT = "".join(f"  {c}: {{kind: integer, min: 0, max: 1000, cells: equal}}\n" for c in "abcdefgh")
CHAIN = f"order: [{', '.join(f'{a} <= {b}' for a, b in itertools.pairwise('abcdefgh'))}]\n"


@pytest.mark.parametrize("draw", WAYS)
@pytest.mark.parametrize(("greatest", "bars"), [(1000, 25), (40, 3), (4, 1)])
def test_eight_independent_numbers_in_order(model: MarginalModel, draw: Draw, greatest: int, bars: int) -> None:
    """One independent row in 40,320 is in order, and next to none with the last number small. Uniform ones in order
    have known laws, column by column; chi-square, a false alarm in 100,000 for each."""
    m = made(model, EIGHT + CHAIN, components=1)
    sizes = [np.round(c.segments.size) for c in m.codec.columns]  # type: ignore[attr-defined]
    m = replace(m, tables=np.concatenate([s / s.sum() for s in sizes])[None, :])
    where = None if greatest == 1000 else {"h": Between(0, greatest)}
    frame = m.sample(10_000, where=where, seed=3, draw=draw).frame
    assert len(frame) == 10_000 and kept(m, frame)
    assert frame.equals(m.sample(10_000, where=where, seed=3, draw=draw).frame)
    for i, name in enumerate("abcdefgh"):
        ways = np.array([float(comb(v + i, i) * comb(greatest - v + 7 - i, 7 - i)) for v in range(greatest + 1)])
        found = np.bincount(frame[name], minlength=greatest + 1).astype(np.float64)
        assert fits(*(np.add.reduceat(x, np.arange(0, greatest + 1, bars)) for x in (found, ways)))


def test_a_chain_of_many_is_drawn(model: MarginalModel) -> None:
    """Forty columns, of which one row in 40! is in order."""
    names = [f"c{i:02d}" for i in range(40)]
    text = "".join(f"  {name}: {{kind: real, min: 0, max: 1, bins: [0.25, 0.5, 0.75]}}\n" for name in names)
    m = made(model, f"{text}order: [{', '.join(f'{a} < {b}' for a, b in itertools.pairwise(names))}]\n")
    frame = m.sample(500, seed=1).frame
    assert kept(m, frame) and (np.diff(frame.to_numpy(), axis=1) > 0).all()


def apart(k: int) -> tuple[str, str]:
    """Columns of whole numbers, each above those before, and the line that says so."""
    names = [f"c{i:03d}" for i in range(k)]
    columns = "".join(f"  {c}: {{kind: integer, min: {10 * i}, max: {10 * i + 9}}}\n" for i, c in enumerate(names))
    return columns, f"order: [{', '.join(f'{a} <= {b}' for a, b in itertools.pairwise(names))}]\n"


@pytest.mark.filterwarnings("error")
def test_a_long_chain_that_all_rows_keep_is_drawn_as_ever(model: MarginalModel) -> None:
    columns, order = apart(180)
    frame = made(model, columns + order, components=2).sample(100, seed=1).frame
    assert frame.equals(made(model, columns, components=2).sample(100, seed=1).frame)


@pytest.mark.filterwarnings("error")
def test_a_long_chain_of_many_nulls_is_drawn(model: MarginalModel) -> None:
    """172 columns, 98 in 100 null, of which neighbours are rarely both given."""
    names = [f"c{i:03d}" for i in range(172)]
    columns = "".join(f"  {c}: {{kind: integer, min: 0, max: 3, nullable: true}}\n" for c in names)
    m = made(model, f"{columns}order: [{', '.join(f'{a} < {b}' for a, b in itertools.pairwise(names))}]\n")
    m = replace(m, tables=np.tile([0.005, 0.005, 0.005, 0.005, 0.98], (3, 172)))
    frame = m.sample(100, seed=1).frame
    assert kept(m, frame) and 0.9 < frame.isna().to_numpy().mean() < 1


@pytest.mark.filterwarnings("error")
def test_the_mass_of_a_long_chain_is_known(model: MarginalModel) -> None:
    """One in 200! of so many uniform numbers; and of alternating zeros and ones, each with shares of 1e-60."""
    columns = "".join(f"  c{i:03d}: {{kind: real, min: 0, max: 1, bins: [0.5]}}\n" for i in range(200))
    order = apart(200)[1]
    m = replace(made(model, columns + order, components=1), tables=np.full((1, 400), 0.5))
    assert chain_of(m).log_mass(np.zeros(1, dtype=np.int64))[0] == pytest.approx(-lgamma(201), rel=1e-12)
    bits = "".join(f"  c{i:03d}: {{kind: integer, min: 0, max: 1}}\n" for i in range(12))
    m = replace(made(model, bits + apart(12)[1], components=1), tables=np.tile([1e-60, 1.0, 1.0, 1e-60], 6)[None, :])
    assert chain_of(m).log_mass(np.zeros(1, dtype=np.int64))[0] == pytest.approx(-360 * log(10) + log(7), rel=1e-12)
    frame = m.sample(700, seed=1).frame
    assert kept(m, frame)
    found = np.bincount(frame.to_numpy().sum(axis=1), minlength=13).astype(np.float64)
    assert fits(found, np.where(np.arange(13) % 2 == 0, 1.0, 0.0))


def chain_of(model: MarginalModel) -> chains.Chain:
    (path, strict), *_ = chains._paths(model.codec)
    return chains._cut(model.codec, path, strict, {}, [model._given(c, {}) for c in range(len(model.codec.columns))])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("signs", [["<="], ["<"], ["<=", "<"]], ids=" ".join)
@pytest.mark.parametrize("seed", range(3))
def test_the_mass_is_exact_however_small_its_parts(model: MarginalModel, signs: list[str], seed: int) -> None:
    """Against sums of fractions over values, with shares down to 1e-250."""
    rng = np.random.default_rng(seed)
    names = [f"c{i:02d}" for i in range(14)]
    columns = "".join(f"  {c}: {{kind: integer, min: 0, max: 19, bins: [3, 9], nullable: true}}\n" for c in names)
    lines = [f"{a} {signs[i % len(signs)]} {b}" for i, (a, b) in enumerate(itertools.pairwise(names))]
    m = made(model, f"{columns}order: [{', '.join(lines)}]\n", components=1)
    tables = 10.0 ** -rng.uniform(0, 250, (14, 4))
    tables[:, 3] *= 10.0 ** -rng.uniform(0, 50, 14)
    m = replace(m, tables=(tables / tables.sum(axis=1, keepdims=True)).reshape(1, -1))
    given = [[Fraction(float(p)) for p in m._given(c, {})[np.zeros(1, dtype=np.int64)][0]] for c in range(14)]
    cell, size = [0] * 3 + [1] * 6 + [2] * 11, (3, 6, 11)
    at, null = [Fraction(0)] * 20, Fraction(1)
    for j, table in enumerate(given):
        strict = j > 0 and signs[(j - 1) % len(signs)] == "<"
        upto = [null + sum(at[: v + (not strict)]) for v in range(20)]
        at, null = (
            [upto[v] * table[cell[v]] / size[cell[v]] for v in range(20)],
            table[3] * (null + sum(at)),
        )
    mass = sum(at) + null
    wanted = log(mass.numerator) - log(mass.denominator)
    assert chain_of(m).log_mass(np.zeros(1, dtype=np.int64))[0] == pytest.approx(wanted, rel=1e-12)


def test_balanced_parts_keep_a_chain(model: MarginalModel) -> None:
    m = made(model, EIGHT + "  s: {kind: categorical, values: [F, M]}\n" + CHAIN)
    frame = m.sample(400, balance={"s": "equal"}, where={"d": Between(300, 500)}, seed=1).frame
    assert kept(m, frame)
    assert frame["s"].value_counts().to_list() == [200, 200]
    assert frame["d"].between(300, 500).all()


def test_sums_are_made_once_for_a_sample_and_no_further_than_to_enough(
    model: MarginalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    summed = chains.Chain._summed

    def counting(chain: chains.Chain, some: Any) -> Any:
        asked.append(len(some))
        return summed(chain, some)

    monkeypatch.setattr(chains.Chain, "_summed", counting)
    balance = {"s": "equal", "t": "equal"}
    more = "  s: {kind: categorical, values: [F, M]}\n  t: {kind: integer, min: 0, max: 9}\n"
    columns, order = apart(3)
    made(model, columns + more + order, components=200).sample(400, balance=balance, seed=1)
    assert 0 < sum(asked) < 200
    asked.clear()
    m = made(model, EIGHT + more + CHAIN, components=200)
    orders = chains.Orders(m.codec)
    for value in ("F", "M"):
        evidence = m.codec.evidence({"s": value})
        found = orders.rare(evidence, m._log_condition(evidence), [m._given(c, evidence) for c in range(10)])
        assert found is not None and sum(asked) == 200
    evidence = m.codec.evidence({"a": 3})
    orders.rare(evidence, m._log_condition(evidence), [m._given(c, evidence) for c in range(10)])
    assert sum(asked) == 400


def test_what_no_row_keeps_is_refused(model: MarginalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled, "REDRAW_AT_LEAST", 100_000)
    m = made(model, EIGHT + CHAIN)
    with pytest.raises(ConditionError, match="the condition almost no rows") as error:
        m.sample(5, where={"a": Between(900, 1000), "h": Between(0, 800)}, seed=1)
    assert error.value.where == "where" and error.value.mend
    crossed = made(model, f"{EIGHT}{CHAIN[:-2]}, h <= a]\n")
    with pytest.raises(ConditionError, match="this model almost no rows") as error:
        crossed.sample(5, seed=1)
    assert error.value.where == "schema" and error.value.mend


@pytest.mark.parametrize(("order", "as_before"), [("a <= b", True), ("a <= b, b <= d", True), ("b <= d, d < a", False)])
def test_orders_that_enough_rows_keep_are_drawn_as_ever(
    model: MarginalModel, monkeypatch: pytest.MonkeyPatch, order: str, as_before: bool
) -> None:
    m = made(model, f"{WHOLE}order: [{order}]\n", seed=3)
    frame = m.sample(300, seed=1).frame
    monkeypatch.setattr(chains, "RARE", 0.0)
    assert frame.equals(m.sample(300, seed=1).frame) == as_before


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("a <= b", ["ab"]),
        ("a <= b, a < b", ["ab"]),
        ("a <= c, a <= b, b <= c, c <= d", ["abcd"]),
        ("a <= b, c <= d", ["ab", "cd"]),
        ("a <= b, b <= c, c <= a", ["abc"]),
        ("a <= d, b <= d, c <= d, b <= c", ["bcd"]),
        ("b <= b", []),
    ],
)
def test_the_longest_chains_are_taken(model: MarginalModel, order: str, wanted: list[str]) -> None:
    m = made(
        model, f"{WHOLE.replace('max: 5, bins: [1, 4]', 'max: 5, nullable: true, bins: [1, 4]')}order: [{order}]\n"
    )
    found = list(chains._paths(m.codec))
    assert ["".join("abcds"[c] for c in path) for path, _ in found] == wanted
    assert all(any(strict) == ("a < b" in order) for _, strict in found)


def test_a_chain_of_too_much_work_is_left_to_redrawing(model: MarginalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "RARE", 2.0)
    monkeypatch.setattr(chains, "MOST_WORK", 10)
    m = made(model, WHOLE + RULES["chain"][0])
    assert chains.Orders(m.codec).rare({}, np.log(m.weights), [m._given(c, {}) for c in range(5)]) is None
    assert not any(mask.any() for _, mask in violations(m.sample(200, seed=1).frame, m.schema))
