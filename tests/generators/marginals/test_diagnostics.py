"""Diagnostics: figures that agree with the model and the noise, a page that is whole, small and harmless."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from benchmarks.fitting import fit_all
from privsynth.data.codec import Codec
from privsynth.data.schema import Schema, parse_schema
from privsynth.data.tables import read_table
from privsynth.errors import StorageError
from privsynth.generators.marginals import MarginalModel, Marginals, load_model
from privsynth.generators.marginals.diagnostics import MOST_BARS, _pairs, noise_error
from privsynth.generators.marginals.diagnostics_page import around
from privsynth.generators.marginals.transcript import MarginalTranscript, Measurement
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Receipt
from privsynth.privacy.noise import SeededNoise
from tests.pages import Page
from tests.shapes import shape
from tests.world import World

Floats = npt.NDArray[np.float64]
GOLDEN = Path(__file__).parent / "golden" / "diagnostics.shape.json"
NASTY = "<script>alert('x')</script>&\"c"


def made(columns: int, *, pairs: bool = True, sigma: float = 20.0, first: str = "c0", seed: int = 0) -> MarginalModel:
    """A model of two components by hand: every column holds one of four values and depends on the component."""
    rng = np.random.default_rng(seed)
    names = [first, *(f"c{i}" for i in range(1, columns))]
    schema = Schema.model_validate(
        {
            "privsynth-schema": 1,
            "source": "made/up",
            "subject": {"each row is a": "visit", "a person has at most": "2 rows"},
            "columns": {name: {"kind": "categorical", "values": ["v0", "v1", "v2", "v3"]} for name in names},
        }
    )
    tables = rng.dirichlet(np.ones(4), (2, columns)).reshape(2, -1)
    weights, rows = np.array([0.6, 0.4]), 5000.0

    def table(stage: str, *clique: int) -> Measurement:
        parts = [tables[:, 4 * c : 4 * c + 4] for c in clique]
        letters = "abc"[: len(parts)]
        shares = np.einsum("r," + ",".join(f"r{x}" for x in letters) + "->" + letters, weights, *parts)
        noisy = (rows * shares + sigma * rng.standard_normal(shares.shape)).round().astype(np.int64)
        return Measurement(stage, clique, (None,) * len(clique), noisy, sigma, 1)

    measured = [table("one-way", c) for c in range(columns)]
    measured += [table("held-back", *c) for c in itertools.islice(itertools.combinations(range(columns), 3), 4)]
    if pairs:
        measured += [table("pair", *c) for c in itertools.combinations(range(columns), 2)]
    receipt = Receipt(
        hold="h", population="p", source="made/up", purpose="x", recipient="y", unit="visit", contribution=1,
        person_rows=2, epsilon=1.0, delta=1e-9, neighbours="add-or-remove", mu=1.0, mu_fit=0.9, mu_gate=0.1, event={},
    )  # fmt: skip
    groups = tuple(np.arange(4, dtype=np.int32) for _ in range(columns))
    return MarginalModel(
        schema, receipt, MarginalTranscript(tuple(measured), "r", "os-secure"), {}, rows, 9.0, weights, tables, groups,
        tuple(np.ones(4) for _ in range(columns)),
    )  # fmt: skip


# --- figures ---------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_model_and_its_transcript(model: MarginalModel) -> None:
    told = model.diagnostics()
    bought = len(model.transcript.domains)
    assert [t.stage for t in told.tables[:bought]] == ["level"] * bought, "the domains of cost and seen"
    assert len(told.tables) == bought + len(model.transcript.measurements)
    codec = model.codec
    for m, table in zip(model.transcript.measurements, told.tables[bought:], strict=True):
        names = [codec.columns[c].name for c in m.clique]
        share = model.marginal(names)
        for axis, g in enumerate(m.groups):
            if g is not None:
                one_hot = np.eye(int(g.max()) + 1)[g]
                share = np.moveaxis(np.tensordot(share, one_hot, (axis, 0)), -1, axis)
        assert (table.columns, table.groups, table.sigma) == (tuple(names), m.counts.shape, m.sigma)
        wanted = float(((m.counts - model.rows * share) ** 2).mean() / m.variance)
        assert table.chi_square == pytest.approx(wanted, rel=1e-9)
    shares = {stage.name: stage.mu_share for stage in told.stages}
    assert list(shares) == ["level", "one-way", "held-back", "pair", "triple"]
    assert sum(shares.values()) == pytest.approx(float(model.transcript.mu_squared) / model.receipt.mu_fit**2)
    assert sum(stage.tables for stage in told.stages) == len(told.tables)
    assert (told.rows.value, told.held_back) == (model.rows, model.held_back_error())
    for column in told.one_ways:
        assert column.share.sum() == pytest.approx(1.0)
        assert len(column.labels) == len(column.share) == len(column.low) == len(column.high) <= MOST_BARS
    assert {c.column for c in told.one_ways} == set(codec.index)


def test_a_dependence_that_is_there_is_seen(model: MarginalModel) -> None:
    told = model.diagnostics()
    assert ("age", "ill") in {edge.columns for edge in told.edges}
    assert [pair.tvd for pair in told.pairs] == sorted((pair.tvd for pair in told.pairs), reverse=True)


def drawn(
    rng: np.random.Generator, p: list[Floats], n: int, sigma: float, *, alike: int = 1, swap: float = 0.0
) -> tuple[list[tuple[Measurement, Floats]], float]:
    """The pair tables of rows drawn at random with independent columns of laws ``p``, with noise, beside the product
    of noisy one-way tables; and N̂. Each person has ``alike`` rows of one kind. With ``swap``, so large a share of the
    people have the second column's value in the first."""
    people = n // alike
    rows = np.column_stack([np.repeat(np.arange(len(q)), rng.multinomial(people, q)) for q in p])
    rows = rng.permuted(rows, axis=0)
    if swap:
        copied = rng.random(people) < swap
        rows[copied, 0] = rows[copied, 1]
    rows = np.repeat(rows, alike, axis=0)
    seen = []
    for c, q in enumerate(p):
        one_way = np.bincount(rows[:, c], minlength=len(q)) + sigma * rng.standard_normal(len(q))
        seen.append(np.maximum(one_way, 0.0) / np.maximum(one_way, 0.0).sum())
    measured = []
    for a, b in itertools.combinations(range(len(p)), 2):
        size = (len(p[a]), len(p[b]))
        table = np.bincount(rows[:, a] * size[1] + rows[:, b], minlength=size[0] * size[1]).reshape(size)
        noisy = (table + sigma * rng.standard_normal(table.shape)).round().astype(np.int64)
        measured.append((Measurement("pair", (a, b), (None, None), noisy, sigma, 1), np.outer(seen[a], seen[b])))
    return measured, n + sigma * float(rng.standard_normal())


EVEN, UNEVEN, LONG = 3.0, 0.7, 0.15  # of Dirichlet laws: of the last, most cells hold hardly a row


@pytest.mark.parametrize(
    ("n", "sigma", "cells", "peak", "alike"),
    [
        pytest.param(50_000, 60.0, 8, EVEN, 1, marks=pytest.mark.slow),
        pytest.param(50_000, 5.0, 8, EVEN, 1, marks=pytest.mark.slow),
        (20_000, 25.0, 8, UNEVEN, 1),
        (2_000, 20.0, 6, EVEN, 1),
        (500, 2.0, 4, UNEVEN, 1),
        (20_000, 2.0, 20, LONG, 1),
        (5_000, 1.0, 12, LONG, 1),
        (12_000, 3.0, 6, EVEN, 4),
    ],
)
def test_what_noise_and_chance_explain_is_hardly_ever_an_edge(
    n: int, sigma: float, cells: int, peak: float, alike: int
) -> None:
    """Of random rows of independent columns, at most 5% of transcripts of 15 pairs may show any edge: of 200, more
    than 22 have a chance below 1 in 1,000."""
    rng = np.random.default_rng([n, cells, alike])
    columns = Codec(made(6, pairs=False).schema).columns
    false = 0
    for _ in range(200):
        measured, rows = drawn(rng, list(rng.dirichlet(np.full(cells, peak), 6)), n, sigma, alike=alike)
        false += any(pair.stands_out for pair in _pairs(measured, columns, rows=rows, alike=alike))
    assert false <= 22


@pytest.mark.parametrize(("n", "sigma", "swap"), [(50_000, 5.0, 0.03), (50_000, 60.0, 0.05), (2_000, 20.0, 0.25)])
def test_a_dependence_of_random_rows_is_found(n: int, sigma: float, swap: float) -> None:
    """A small share of rows repeat a column's value in another: that pair, of 15, in at least 95 of 100."""
    rng = np.random.default_rng(n)
    columns = Codec(made(6, pairs=False).schema).columns
    found = 0
    for _ in range(100):
        measured, rows = drawn(rng, list(rng.dirichlet(np.full(6, EVEN), 6)), n, sigma, swap=swap)
        found += {p.columns for p in _pairs(measured, columns, rows=rows) if p.stands_out} >= {("c0", "c1")}
    assert found >= 95


@pytest.mark.slow
@pytest.mark.parametrize(("n", "epsilon"), [(20_000, 3.0), (50_000, 1.0), (50_000, 10.0)])
def test_a_fit_of_independent_columns_shows_hardly_an_edge(n: int, epsilon: float) -> None:
    """Eight columns of evenly drawn values and one that is another's copy in a tenth of the rows. Noise is drawn anew:
    of 35 independent pairs any edge has a chance of 5%, three or more below 1 in 10,000."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"c{i}": rng.integers(0, 8, n) for i in range(8)})
    frame["d"] = np.where(rng.random(n) < 0.1, frame["c0"], rng.integers(0, 8, n))
    lines = "".join(f"  {name}: {{kind: integer, min: 0, max: 7}}\n" for name in frame)
    schema = parse_schema(
        "privsynth-schema: 1\nsource: lab/x\nsubject: {each row is a: visit, a person has at most: 1 row}\n"
        f"columns:\n{lines}"
    )
    model, _ = fit_all(Marginals(schema, Budget(epsilon, 1e-9)), read_table(frame, schema))
    told = {pair.columns for pair in model.diagnostics().edges}
    assert ("c0", "d") in told
    assert len(told) <= 3


def test_what_noise_does_not_explain_is_an_edge() -> None:
    told = made(10).diagnostics()
    assert len(told.edges) > 20
    assert not any(pair.stands_out for pair in made(10, sigma=5000.0).diagnostics().pairs if pair.tvd < 0.05)


@pytest.mark.parametrize(("cells", "sigma"), [(2, 30.0), (9, 30.0), (400, 4.0)])
def test_the_expected_error_of_the_noise(cells: int, sigma: float) -> None:
    rng = np.random.default_rng(1)
    found = 0.5 * np.abs(sigma * rng.standard_normal((40_000, cells))).sum(axis=1) / 5000
    told = noise_error(cells, sigma=sigma, rows=5000.0)
    assert told.value == pytest.approx(found.mean(), rel=0.01)
    inside = ((told.low <= found) & (found <= told.high)).mean()
    assert 0.93 < inside < 0.975
    wide = noise_error(cells, sigma=sigma, rows=5000.0, rows_sigma=2500.0)
    assert wide.low <= told.low and wide.high > told.high


def test_a_model_that_misses_its_tables_is_told() -> None:
    model = made(6)
    flat = replace(model, weights=np.array([1.0, 0.0]))
    stages = {stage.name: stage.chi_square or 0.0 for stage in model.diagnostics().stages}
    missed = {stage.name: stage.chi_square or 0.0 for stage in flat.diagnostics().stages}
    assert all(0.7 < stages[name] < 1.3 for name in ("one-way", "pair"))
    assert all(missed[name] > 3 for name in ("one-way", "pair"))


def test_it_is_a_function_of_what_is_saved(model: MarginalModel, tmp_path: Path) -> None:
    """No rows are needed: the folder alone gives the same figures and the same page."""
    model.save(tmp_path / "m")
    told, again = model.diagnostics(), load_model(tmp_path / "m").diagnostics()
    assert again.to_json() == told.to_json()
    assert again.page() == told.page()
    assert repr(told) == f"Diagnostics('lab/visits', {len(told.tables)} tables)"


def test_the_keys_are_stable(model: MarginalModel) -> None:
    """To change them on purpose: raise ``privsynth-diagnostics`` and write the new shape to the golden file."""
    told = model.diagnostics().to_json()
    assert json.loads(json.dumps(told)) == told
    told["stages"] = told["stages"][1:]  # of a domain stage there is no fit to compare with
    assert shape(told) == json.loads(GOLDEN.read_text())


# --- the page --------------------------------------------------------------------------------------


def whole(text: str) -> Page:
    """The page, which closes every tag and asks for nothing beyond itself."""
    page = Page(text)
    assert page.open == []
    assert not {"src", "href"} & set(page.attributes)
    return page


def test_the_page_is_whole_and_says_what_it_is(model: MarginalModel) -> None:
    text = model.diagnostics().page()
    page = whole(text)
    assert "script" not in page.seen and "link" not in page.seen
    assert "url(" not in text and "http" not in text.replace("http-equiv", "")
    assert page.seen.count("svg") == 2 + len(model.codec.columns)
    for part in (
        "diagnostics: paid figures only",
        "No record was read for it",
        "Whoever requests holds may read it",
        "training rows N̂: about",
        "held-back tables",
        "stand out of the noise",
        "share of µ²",
        "95% interval of the noisy measurement",
    ):
        assert part in page.words, part
    assert "seeded" not in page.words
    assert whole(model.diagnostics().page(plots=2)).seen.count("svg") == 4
    assert whole(model.diagnostics().page(plots=0)).seen.count("svg") == 2


def test_a_model_of_seeded_noise_says_so(world: World) -> None:
    model = world.recipe.fit(world.split.train, world.hold(), noise=SeededNoise(3))
    assert "its guarantee is void" in whole(model.diagnostics().page()).words


def test_names_are_text_and_never_markup() -> None:
    told = made(6, first=NASTY).diagnostics()
    page = whole(told.page())
    assert {"script", "alert"}.isdisjoint(page.seen)
    assert "<script>" in page.words
    assert any(NASTY in edge.columns for edge in told.edges)


def test_without_measured_pairs_it_says_so() -> None:
    told = made(5, pairs=False).diagnostics()
    assert told.pairs == () and "No pair of columns was measured" in whole(told.page()).words
    drowned = made(5, sigma=1e6).diagnostics()
    assert drowned.edges == () and "None of the 10 measured pairs" in whole(drowned.page()).words


def test_the_page_of_a_wide_table_stays_small() -> None:
    """300 columns, 44,850 pairs: a page and a JSON that a person can open."""
    told = made(300).diagnostics()
    page = told.page()
    assert len(told.pairs) == 44_850
    assert len(page) < 500_000
    assert len(json.dumps({**told.to_json(), "dependent pairs": []})) < 50_000
    (dependent,) = re.findall(r"The 40 most dependent of (\d+) columns are shown\.", whole(page).words)
    assert 280 <= int(dependent) <= 300


def test_dependent_columns_stand_side_by_side() -> None:
    value = {frozenset(pair): weight for pair, weight in ((("a", "c"), 0.9), (("b", "d"), 0.8), (("c", "d"), 0.1))}
    assert around(["a", "b", "c", "d"], value) == ["a", "c", "d", "b"]


def test_the_page_is_written_whole_or_not(model: MarginalModel, tmp_path: Path) -> None:
    told = model.diagnostics()
    path = told.write(tmp_path / "d.html", plots=1)
    assert path.read_text("utf-8") == told.page(plots=1)
    with pytest.raises(StorageError, match="cannot be written"):
        told.write(tmp_path / "nowhere" / "d.html")
    assert [p.name for p in tmp_path.iterdir()] == ["d.html"]


def test_many_cells_are_drawn_as_few_bars() -> None:
    schema: Any = {
        "privsynth-schema": 1,
        "source": "s",
        "subject": {"each row is a": "visit", "a person has at most": "2 rows"},
        "columns": {
            "n": {"kind": "integer", "min": 0, "max": 99, "nullable": True},
            "c": {"kind": "categorical", "values": [f"v{i}" for i in range(40)]},
        },
    }
    from privsynth.generators.marginals.diagnostics import _bars

    number, listed = Codec(Schema.model_validate(schema)).columns
    bars, labels = _bars(number, np.ones(101) / 101)
    assert len(labels) <= MOST_BARS and labels[0] == "0 to 4" and labels[-1] == "null"
    assert (np.diff(bars) >= 0).all() and bars[-1] == len(labels) - 1 and (bars[:-1] < bars[-1]).all()
    share = np.full(40, 0.01)
    share[[7, 30]] = 0.3
    bars, labels = _bars(listed, share)
    assert len(labels) == MOST_BARS and {"v7", "v30"} <= set(labels) and labels[-1] == "17 others"
    assert np.bincount(bars)[-1] == 17
