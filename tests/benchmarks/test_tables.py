"""The table benchmark: coding, metrics against brute force, DP independence, the drivers' protocol and its limits."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from benchmarks import independence, metrics, raw, records
from benchmarks.coding import CodedTable, code, code_column, load, tables
from benchmarks.fitting import fit_all, policy_text
from benchmarks.peers.independent import simplex
from benchmarks.peers.privsynth import schema_json
from benchmarks.peers.protocol import Job, rho_of
from benchmarks.records import Record
from benchmarks.running import Limits, Outcome, run_driver
from benchmarks.tables import OURS, Bench, System, chosen, parser, systems_of
from privsynth.data.codec import Codec
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals import Marginals
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import mu_of


def made(rows: int = 400, *, sizes: tuple[int, ...] = (3, 4, 2, 5), seed: int = 0) -> CodedTable:
    """Dependent columns; the last column but one is the target."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, sizes[0], rows)
    codes = np.column_stack([np.minimum((first + rng.integers(0, 2, rows)) % s, s - 1) for s in sizes])
    d = len(sizes)
    return CodedTable(
        "made", codes.astype(np.int32), sizes, (True,) * d, (False,) * d, tuple("abcdefgh"[:d]), d - 2, (1,)
    )


# --- coding --------------------------------------------------------------------------------------


def test_numbers_with_many_values_become_bins_of_equal_rank() -> None:
    values = pd.Series([*range(1000), *[1000] * 1000], dtype="int64")
    codes, _, ordered, nullable = code_column(values)
    assert (ordered, nullable) == (True, False)
    assert (np.diff(codes) >= 0).all(), "codes follow the values"
    counts = np.bincount(codes)
    assert len(counts) == 51
    assert counts[:-1].tolist() == [20] * 50
    assert counts[-1] == 1000, "equal values share a bin"


def test_few_numbers_text_and_nulls_are_one_code_a_value() -> None:
    codes, labels, ordered, nullable = code_column(pd.Series([3.5, None, 1.0, 3.5]))
    assert (codes.tolist(), labels, ordered, nullable) == ([1, 2, 0, 1], [1.0, 3.5, None], True, True)
    codes, labels, ordered, nullable = code_column(pd.Series(["b", "a", "10", "b"]))
    assert (codes.tolist(), labels, ordered, nullable) == ([2, 1, 0, 2], ["10", "a", "b"], False, False)


def test_numbers_kept_as_text_keep_every_value_in_their_order() -> None:
    text = ["N", *[str(i) for i in range(500)]]
    codes, labels, ordered, nullable = code_column(pd.Series(text), null="N")
    assert (ordered, nullable, len(labels)) == (True, True, 501)
    assert codes.tolist() == [500, *range(500)]


def test_a_coded_frame_is_read_back_as_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3], "x": [5, 6, 6], "y": ["no", "yes", "no"]})
    table = code(frame, "toy", drop=("id",), target="y", positive=("yes",))
    assert (table.names, table.sizes, table.target, table.positive) == (("x", "y"), (2, 2), 1, (1,))
    table.save(tmp_path / "toy.npz")
    again = load(tmp_path / "toy.npz")
    assert np.array_equal(again.codes, table.codes)
    assert (again.names, again.sizes, again.ordered, again.positive) == (
        table.names,
        table.sizes,
        table.ordered,
        table.positive,
    )


def test_a_subset_keeps_domains_and_target() -> None:
    part = made().subset(rows=50, columns=2)
    assert part.codes.shape == (50, 2)
    assert (part.names, part.sizes, part.target) == (("a", "c"), (3, 2), 1)


def test_a_set_that_is_not_there_is_skipped_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tables(tmp_path, only=["adult"])
    assert "skipped adult" in capsys.readouterr().out
    assert [table.name for table in found] == ["randhie"]


def test_every_disorder_of_the_heart_is_positive(tmp_path: Path) -> None:
    (tmp_path / "arrhythmia_wide").mkdir()
    frame = pd.DataFrame({"age": [50, 40, 30, 20], "J": [None, 1.5, None, None], "class": [1, 16, 1, 2]})
    frame.to_parquet(tmp_path / "arrhythmia_wide" / "arrhythmia.parquet")
    [table] = tables(tmp_path, only=["arrhythmia_wide"])
    assert (table.target_name, table.sizes, table.nullable) == ("class", (4, 2, 3), (False, True, False))
    assert np.isin(table.codes[:, 2], table.positive).tolist() == [False, True, False, True]


# --- metrics -------------------------------------------------------------------------------------


def brute(table: CodedTable, other: Callable[[tuple[int, ...]], dict[tuple[int, ...], float]], order: int) -> float:
    found = []
    for clique in itertools.combinations(range(len(table.sizes)), order):
        ours = shares_of(table.codes, clique)
        theirs = other(clique)
        cells = itertools.product(*(range(table.sizes[c]) for c in clique))
        found.append(sum(abs(ours.get(cell, 0.0) - theirs.get(cell, 0.0)) for cell in cells) / 2)
    return float(np.mean(found))


def shares_of(codes: metrics.Codes, clique: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    out: dict[tuple[int, ...], float] = {}
    for row in codes[:, list(clique)].tolist():
        out[tuple(row)] = out.get(tuple(row), 0.0) + 1 / len(codes)
    return out


@pytest.mark.parametrize("dense", [1 << 22, 0], ids=["dense", "sparse"])
def test_distances_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    monkeypatch.setattr(metrics, "DENSE_CELLS", dense)
    table = made()
    released = made(150, seed=3).codes[:, ::-1] % np.array(table.sizes)
    found = metrics.distances(table, released)
    for order in (1, 2, 3):
        expected = brute(table, lambda clique: shares_of(released, clique), order)
        assert found[f"tvd{order}"] == pytest.approx(expected, abs=1e-12)
        assert expected > 0.01


def test_exact_distances_of_independent_columns_are_those_of_brute_force() -> None:
    table = made()
    rng = np.random.default_rng(5)
    shares = [rng.dirichlet(np.ones(size)) for size in table.sizes]

    def product(clique: tuple[int, ...]) -> dict[tuple[int, ...], float]:
        cells = itertools.product(*(range(table.sizes[c]) for c in clique))
        return {cell: math.prod(shares[c][v] for c, v in zip(clique, cell, strict=True)) for cell in cells}

    found = metrics.exact_distances(table, shares)
    for order in (1, 2, 3):
        assert found[f"tvd{order}"] == pytest.approx(brute(table, product, order), abs=1e-12)


def test_triples_are_all_of_few_columns_and_the_same_five_hundred_of_many() -> None:
    assert len(metrics.cliques(14, 3)) == 364
    drawn = metrics.cliques(48, 3)
    assert len(set(drawn)) == 500
    assert drawn == metrics.cliques(48, 3)
    assert all(a < b < c < 48 for a, b, c in drawn)


def test_auc_sees_a_good_and_a_useless_table() -> None:
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, 10, 2000)] * 2).astype(np.int32)
    codes[:, 1] = codes[:, 0] > 4
    table = CodedTable("made", codes, (10, 2), (True, True), (False, False), ("x", "y"), 1, (1,))
    assert metrics.auc(table, codes) == pytest.approx(1.0)
    shuffled = codes.copy()
    shuffled[:, 1] = rng.permutation(shuffled[:, 1])
    guess = metrics.auc(table, shuffled)
    assert guess is not None and guess < 0.8
    assert metrics.auc(table, np.zeros_like(codes)) == 0.5, "one class teaches nothing"


# --- DP independence ------------------------------------------------------------------------------


def test_independence_spends_the_whole_budget_by_exact_gdp(monkeypatch: pytest.MonkeyPatch) -> None:
    sigmas: list[float] = []

    class Noise:
        def normal(self, mean: float, sigma: float, size: int) -> independence.Floats:
            sigmas.append(sigma)
            return np.zeros(size)

    table = made()
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Noise())
    found = independence.shares(table, kind="flat", epsilon=1.0, delta=1e-9, seed=0)
    assert sum(1 / sigma**2 for sigma in sigmas) == pytest.approx(mu_of(1.0, 1e-9) ** 2)
    for column, exact in zip(found, independence.exact_shares(table), strict=True):
        assert column == pytest.approx(exact), "without noise it is the table's own"


def test_pooling_shares_weak_cells_with_neighbours_and_leaves_strong_ones() -> None:
    noisy = np.array([100.0, 2.0, 4.0, 1.0, 5.0, 200.0, -3.0, 1.0])
    pooled = independence.pool(noisy, 2.0)
    assert pooled[[0, 5]].tolist() == [100, 200]
    assert pooled[1:5].tolist() == [3, 3, 3, 3], "the four stand out together: 12 ≥ 3·2·√4"
    assert pooled[6:].tolist() == [0, 0]
    assert independence.threshold(np.array([50.0, 1.0, -1.0]), 1.0).tolist() == [50, 0, 0]


def test_the_simplex_projection() -> None:
    assert simplex(np.array([0.2, 0.3, 0.5])).tolist() == pytest.approx([0.2, 0.3, 0.5])
    assert simplex(np.array([2.0, 0.0, -1.0])).tolist() == [1, 0, 0]
    assert simplex(np.array([0.6, 0.6, -0.4])).tolist() == pytest.approx([0.5, 0.5, 0])


def test_rho_of_is_the_conversion_of_zcdp() -> None:
    """Against private-pgm's own cdp_rho, run on the same arguments; never above it."""
    for epsilon, delta, theirs in ((1.0, 1e-5, 0.030556595), (0.1, 1e-9, 1.7713845e-4), (10.0, 1e-9, 1.0907857)):
        assert theirs * (1 - 1e-6) < rho_of(epsilon, delta) <= theirs * (1 + 1e-7)


# --- drivers ---------------------------------------------------------------------------------------

INDEPENDENT = System("independent", "benchmarks.peers.independent")


def bench(kept: list[Record], *, seconds: float = 60.0, rows: int = 300) -> Bench:
    return Bench(rows, limits=Limits(seconds, 8.0, 1), with_auc=False, keep=kept.extend)


def test_a_driver_is_run_measured_and_kept() -> None:
    kept: list[Record] = []
    table = made()
    said = bench(kept).driven(INDEPENDENT, sys.executable, table, epsilon=10.0, seed=4)
    assert "tvd2" in said
    found = {(r.metric, r.n): r for r in kept}
    assert {(metric, n) for metric, n in found if metric.startswith("tvd")} == {
        (f"tvd{order}", n) for order in (1, 2, 3) for n in (300, 400)
    }
    assert found["tvd1", 300].value < 0.2
    assert found["seconds", 400].value > 0
    assert 0.01 < found["peak_gb", 400].value < 4
    assert {(r.benchmark, r.data, r.system, r.epsilon, r.delta, r.seed) for r in kept} == {
        ("tables", "made", "independent", 10.0, 1e-9, 4)
    }


def test_a_driver_beyond_its_time_is_reported_as_such() -> None:
    kept: list[Record] = []
    slow = System("slow", INDEPENDENT.module, ("sleep=600",))
    assert bench(kept, seconds=2.0).driven(slow, sys.executable, made(), epsilon=1.0, seed=0).startswith("did not")
    assert [(r.metric, r.value, r.unit) for r in kept] == [("timeout", 2.0, "s")]


def test_a_driver_that_fails_is_reported_with_its_words() -> None:
    kept: list[Record] = []
    broken = System("broken", INDEPENDENT.module, ("fail=1",))
    said = bench(kept).driven(broken, sys.executable, made(), epsilon=1.0, seed=0)
    assert said == "failed: asked to fail"
    assert [(r.metric, r.value) for r in kept] == [("failed", 1.0)]


def test_a_driver_beyond_its_memory_is_ended(tmp_path: Path) -> None:
    made().save(tmp_path / "t.npz")
    arguments = ["--data", str(tmp_path / "t.npz"), "--epsilon", "1", "--delta", "1e-9", "--rows", "9"]
    outcome = run_driver(
        sys.executable, INDEPENDENT.module, [*arguments, "--option", "sleep=60"], limits=Limits(30.0, 0.001, 1)
    )
    assert outcome.status == "memory"


def test_floors_are_kept_without_a_driver() -> None:
    kept: list[Record] = []
    table = made()
    tried = bench(kept)
    tried.floor("no-noise", table, epsilon=None, seed=0)
    tried.floor("independent-flat", table, epsilon=1.0, seed=0)
    tried.floor("resample", table, epsilon=None, seed=0)
    assert {(r.system, r.n) for r in kept} == {
        *[("no-noise", 0), ("independent-flat", 0)],
        *[("resample", 300), ("resample", 400)],
    }
    assert next(r for r in kept if (r.system, r.metric) == ("no-noise", "tvd1")).value == 0
    assert next(r for r in kept if r.system == "no-noise").delta is None


def test_an_outcome_without_figures_has_none() -> None:
    found = list(bench([]).figures(made(), Outcome("memory"), [300, 400]))
    assert found == [(400, "memory", 8.0)]


# --- privsynth's own driver ------------------------------------------------------------------------


def test_the_codes_are_the_cells_of_the_schema() -> None:
    """One cell a code, null the last: the driver's table and the fit's count the same things."""
    sizes, ordered, nullable = (
        (2, 300, 4, 3, 1, 2),
        (True, True, False, True, False, True),
        (*(False,) * 3, True, False, True),
    )
    job = Job(np.zeros((1, 6), np.int32), sizes, ordered, nullable, tuple("abcdef"), -1, 1.0, 1e-9, 0, {})
    schema = parse_schema(json.dumps(schema_json(job)))
    columns = Codec(schema).columns
    assert tuple(c.cells for c in columns) == sizes
    frame = pd.DataFrame({name: pd.array([0, 0], dtype="Int64") for name in job.columns})
    frame.loc[1, ["c3", "c5"]] = pd.NA
    frame.loc[1, ["c0", "c1", "c2"]] = [1, 299, 3]
    assert Codec(schema).encode(frame).tolist() == [[0] * 6, [1, 299, 3, 2, 0, 1]]


def test_every_row_is_fitted_under_a_policy_of_its_own() -> None:
    """Rows that are persons and rows of persons; the size is declared in full hundreds or thousands."""
    text = policy_text(source="a/b", subjects=452, unit="person", rows=1, epsilon=1.0, delta=1e-9)
    assert "subjects: 400\n" in text
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"p{i // 2}" for i in range(1300)], "x": rng.integers(0, 4, 1300)})
    columns = {"id": {"kind": "identifier"}, "x": {"kind": "integer", "min": 0, "max": 3}}
    for subject in ({"column": "id", "at most": "2 rows"}, {"each row is a": "visit", "a person has at most": "1 row"}):
        head = {"privsynth-schema": 1, "source": "bench/made", "subject": subject}
        schema = parse_schema(json.dumps({**head, "columns": columns}))
        recipe = Marginals(schema, Budget(10.0, 1e-9), steps=5, components=5)
        model, seconds = fit_all(recipe, read_table(frame, schema))
        assert model.rows == pytest.approx(1300, abs=40), "none is held out"
        assert seconds > 0


@pytest.mark.slow
def test_privsynth_is_fitted_to_every_row() -> None:
    kept: list[Record] = []
    table = made(2000)
    quick = System(OURS.name, OURS.module, ("steps=30", "components=20"))
    bench(kept).driven(quick, sys.executable, table, epsilon=10.0, seed=0)
    found = {(r.metric, r.n): r.value for r in kept}
    assert found["tvd1", 2000] < 0.1
    assert 0 < found["seconds_fit", 2000] <= found["seconds", 2000]


# --- the command line and the records ---------------------------------------------------------------


def test_help_names_every_system_and_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parser().parse_args(["--help"])
    assert done.value.code == 0
    told = capsys.readouterr().out.split()
    for word in (*chosen(["all"]), "tvd3", "auc", "peak_gb", "timeout", "--limit", "--private-pgm"):
        assert any(word in other for other in told), word


def test_the_author_s_script_is_told_where_it_is(tmp_path: Path) -> None:
    args = parser().parse_args(["--systems", "peers", "privsynth", "--private-pgm", str(tmp_path)])
    found = {system.name: system for system in systems_of(args)}
    assert found["private-pgm-aim"].options == (f"repo={tmp_path.resolve()}",)
    assert found["dpmm-aim"].options == ("model=aim",)


def test_the_table_says_mean_range_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)

    def record(seed: int, value: float, n: int) -> Record:
        return Record("t", "adult", "privsynth", 1.0, 1e-9, seed, n, "tvd2", value, "")

    records.keep("t", [record(0, 0.03, 10), record(1, 0.05, 10), record(0, 0.2, 99)])
    lines = records.table("t").splitlines()
    assert len(lines) == 4
    assert "| adult | 1 | tvd2 | 10 | privsynth | 0.04  | 0.03 to 0.05 | 2 |" in lines[2]
    assert records.measured("t") == {("adult", "privsynth", 1.0, 0), ("adult", "privsynth", 1.0, 1)}


def test_a_drafted_schema_is_filled_in(tmp_path: Path) -> None:
    """The subject, a dropped column and a long list of texts; every other line is as drafted."""
    data = tmp_path / "toy.parquet"
    frame = pd.DataFrame(
        {"row": range(900), "code": [f"c{i % 300}" for i in range(900)], "x": [i % 7 for i in range(900)]}
    )
    frame.to_parquet(data, index=False)
    folder = tmp_path / "draft"
    folder.mkdir()
    rules = raw.RawSet("toy.parquet", "visit", dropped=("row",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(raw.SETS, "toy", rules)
        path = raw.draft("toy", data, folder)
    text = path.read_text("utf-8")
    assert "subject: {each row is a: visit, a person has at most: 1 rows}" in text
    assert "  row: {kind: text, dropped: true}" in text
    assert "  code: {kind: categorical, values from: code.csv}" in text
    assert len((folder / "code.csv").read_text().splitlines()) == 301


def test_the_gap_of_distribution_functions_is_scipys() -> None:
    rng = np.random.default_rng(0)
    pairs = (rng.normal(size=300), rng.normal(0.3, 1, 170)), (rng.integers(0, 4, 90), np.zeros(5))
    for a, b in ((np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in pairs):
        assert metrics.ks(a, b) == pytest.approx(float(ks_2samp(a, b).statistic))
    assert metrics.ks(np.ones(3), np.ones(8)) == 0.0
