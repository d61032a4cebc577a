"""``validate`` end to end, on a fake model that samples people of a made-up population."""

import json
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import privsynth.validate
from privsynth.data.codec import Codec
from privsynth.data.records import (
    Condition,
    Draw,
    HeldBack,
    Holdout,
    Model,
    Published,
    Records,
    Split,
    Synthetic,
    Train,
)
from privsynth.data.schema import Schema
from privsynth.errors import RequestDenied, StorageError, UsageError
from privsynth.privacy.events import Receipt
from privsynth.validate.metric import Metric, Verdict
from privsynth.validate.report import Report, validate
from tests.pages import Page
from tests.receipts import receipt
from tests.validate.world import COLUMNS, Codes, copies, draw

NASTY = "<script>alert('x')</script>&\"group"


def schema(source: str = "clinic/visits") -> Schema:
    columns: dict[str, object] = {"patient": {"kind": "identifier"}}
    for column in COLUMNS:
        name = NASTY if column.name == "group" else column.name
        if column.ordered:
            top = column.cells - 1 - column.nullable
            columns[name] = {"kind": "integer", "min": 0, "max": top, "nullable": column.nullable}
        else:
            values = [f"v{i}" for i in range(column.cells - column.nullable)]
            columns[name] = {"kind": "categorical", "values": values, "nullable": column.nullable}
    return Schema.model_validate(
        {
            "privsynth-schema": 1,
            "source": source,
            "subject": {"column": "patient", "at most": "2 rows"},
            "columns": columns,
        }
    )


SCHEMA = schema()
RECEIPT = receipt(population="patients", source="clinic/visits", contribution=2)


def frame(codes: Codes) -> pd.DataFrame:
    return Codec(SCHEMA).decode(codes, np.random.default_rng(0))


@dataclass(frozen=True)
class NoTranscript:
    """A transcript of nothing."""

    noise: str = "os-secure"

    def to_bytes(self) -> bytes:
        return b""


@dataclass(frozen=True, eq=False)
class FakeModel:
    """Draws the rows it was given, and writes down that it was asked."""

    rows: pd.DataFrame
    asked: list[str]
    id: str = "model-1"
    kind: str = "fake"
    public_help: str | None = None
    adapts: bool = False
    schema: Schema = SCHEMA
    receipt: Receipt = RECEIPT
    transcript: NoTranscript = NoTranscript()

    @property
    def codec(self) -> Codec:
        return Codec(self.schema)

    def sample(
        self,
        n: int,
        *,
        where: Condition | None = None,
        seed: int | None = None,
        balance: Any = None,
        draw: Draw = "even",
        guidance: float = 0.0,
    ) -> Synthetic:
        self.asked.append("sample")
        picked = self.rows.sample(n, replace=n > len(self.rows), random_state=seed).reset_index(drop=True)
        return Synthetic(picked, self.schema, self.receipt, self.id, where or {}, balance=balance or {}, draw=draw)

    def published(self) -> Published:
        raise AssertionError("a report never publishes the transcript")

    def refits(self) -> bool:
        return True

    def held_back_error(self) -> HeldBack | None:
        return None

    def rows_estimate(self) -> tuple[float, float]:
        return float(len(self.rows)), 1.0

    def save(self, folder: str | Path) -> None:
        raise AssertionError("a report never saves the model")


@dataclass(frozen=True)
class FakeLog:
    """A ledger that writes down, or refuses, the opening of reports."""

    asked: list[str]
    refuses: bool = False

    def open_report(self, population: str) -> None:
        if self.refuses:
            raise RequestDenied("not a reader of internal reports", rules=["PS-ROL-002"])
        self.asked.append(f"opened {population}")


def split_of(train: Codes, holdout: Codes, *, population: str = "patients", schema: Schema = SCHEMA) -> Split:
    def part(kind: type[Train] | type[Holdout], codes: Codes, tag: str) -> Train | Holdout:
        ids = np.array([f"{tag}{i // 2}" for i in range(len(codes))], dtype=object)
        return kind(
            Records(schema, frame(codes), ids), population, schema.source, "research", "university", 2, "policy", "none"
        )

    train_part, holdout_part = part(Train, train, "t"), part(Holdout, holdout, "h")
    assert isinstance(train_part, Train) and isinstance(holdout_part, Holdout)
    return Split(train_part, holdout_part, 0.5, lambda subjects, **_: np.ones(len(subjects), dtype=bool))


def world(share: float, n: int = 2000, seed: int = 0) -> tuple[FakeModel, Split]:
    rng = np.random.default_rng(seed)
    train, holdout, fresh = draw(n, rng), draw(n, rng), draw(n, rng)
    return FakeModel(frame(copies(train, fresh, share)), []), split_of(train, holdout)


@cache
def safe() -> Report:
    model, split = world(0.0)
    return validate(model, split, ledger=FakeLog([]), target="outcome")


@cache
def leaky() -> Report:
    model, split = world(0.5)
    return validate(model, split, ledger=FakeLog([]), target="outcome")


def test_a_safe_model_passes_and_a_leaky_one_does_not() -> None:
    assert safe().verdict.passed
    assert leaky().verdict is Verdict.CONTRADICTS_GUARANTEE
    assert any("AUC: FAIL_LEAK_SHOWN" in reason for reason in leaky().reasons)
    assert any("not a proof" in reason for reason in leaky().reasons)


def test_every_figure_stands_between_floor_and_ceiling() -> None:
    families = [metric.family for metric in safe().metrics]
    assert [families.count(f) for f in ("membership", "fidelity", "utility")] == [3, 2, 4]
    for metric in (*safe().metrics, *leaky().metrics):
        assert metric.value.low <= metric.value.value <= metric.value.high
        assert metric.floor != metric.ceiling and metric.n >= 1000
        assert (metric.bound is not None) == (metric.family == "membership")
    by_id = {metric.id: metric for metric in safe().metrics}
    area = by_id["membership.neighbour.auc"]
    assert area.floor == 0.5 and area.ceiling > 0.7 and area.n == 1000  # subjects, of two rows each
    assert area.bound == pytest.approx(0.5478, abs=1e-3)
    assert by_id["fidelity.tvd2"].value.value < by_id["fidelity.tvd2"].ceiling


def test_the_opening_is_logged_before_anything_is_computed() -> None:
    asked: list[str] = []
    model, split = world(0.0, n=60)
    validate(replace(model, asked=asked), split, ledger=FakeLog(asked))
    assert asked == ["opened patients", "sample"]


def test_a_refused_opening_computes_nothing() -> None:
    model, split = world(0.0, n=60)
    with pytest.raises(RequestDenied):
        validate(model, split, ledger=FakeLog([], refuses=True))
    assert model.asked == []


def test_same_seed_same_report() -> None:
    model, split = world(0.1, n=120)
    one, other = (validate(model, split, ledger=FakeLog([]), seed=3).to_json() for _ in range(2))
    assert one == other
    assert one != validate(model, split, ledger=FakeLog([]), seed=4).to_json()


def test_a_given_sample_is_the_one_that_is_measured() -> None:
    model, split = world(0.0, n=200)
    leak = world(1.0, n=200)[0].sample(200, seed=0)
    report = validate(model, split, ledger=FakeLog([]), synth=leak)
    assert report.sizes.synthetic_rows == 200 and model.asked == []
    assert report.verdict is Verdict.FAIL_LEAK_SHOWN


def test_a_broken_model_is_told_by_fidelity_and_utility_and_not_by_the_attack() -> None:
    rng = np.random.default_rng(5)
    model, split = world(0.0)
    rows = model.rows.apply(lambda column: column.sample(frac=1, random_state=rng).to_numpy())
    report = validate(replace(model, rows=rows), split, ledger=FakeLog([]), target="outcome")
    assert report.verdict.passed
    by_id = {metric.id: metric for metric in report.metrics}
    assert by_id["fidelity.tvd2"].value.value > 0.9 * by_id["fidelity.tvd2"].ceiling
    assert by_id["utility.outcome.boosted trees.AUC"].value.high < by_id["utility.outcome.boosted trees.AUC"].floor


def refused(split: Split, model: FakeModel, *, synth: Synthetic | None = None, target: str | None = None) -> UsageError:
    log = FakeLog([])
    with pytest.raises(UsageError) as caught:
        validate(model, split, ledger=log, synth=synth, target=target)
    assert log.asked == [] and caught.value.mend
    return caught.value


def test_what_does_not_belong_together_is_refused() -> None:
    model, split = world(0.0, n=60)
    codes = draw(60, np.random.default_rng(0))
    assert "schema or source" in refused(split_of(codes, codes, schema=schema("other")), model).what
    assert "population" in refused(split_of(codes, codes, population="others"), model).what
    assert "another model" in refused(split, model, synth=replace(model, id="model-2").sample(60)).what
    assert "condition" in refused(split, model, synth=model.sample(60, where={"outcome": "v1"})).what
    assert "shares" in refused(split, model, synth=model.sample(60, balance={"outcome": "equal"})).what
    assert "fewer than 20 rows" in refused(split, model, synth=model.sample(5)).what
    assert "not a learned column" in refused(split, model, target="patient").what


def test_content_never_stops_it() -> None:
    rng = np.random.default_rng(6)
    empty = draw(0, rng)
    model = FakeModel(frame(draw(50, rng)), [])
    for train, holdout in ((empty, empty), (draw(300, rng), draw(3, rng)), (draw(1, rng), draw(300, rng))):
        report = validate(model, split_of(train, holdout), ledger=FakeLog([]))
        assert report.verdict is Verdict.UNDERPOWERED and report.metrics == () and report.attacked == 0
        assert json.dumps(report.to_json(), allow_nan=False)
    constant = np.zeros((400, 8), dtype=np.int32)
    report = validate(FakeModel(frame(constant), []), split_of(constant, constant), ledger=FakeLog([]))
    assert report.verdict is Verdict.UNDERPOWERED
    assert any("even verbatim copies" in reason for reason in report.reasons)
    assert json.dumps(report.to_json(), allow_nan=False)


def test_seeded_noise_is_told() -> None:
    model, split = world(0.0, n=60)
    seeded = replace(model, receipt=replace(RECEIPT, noise="seeded"))
    assert any("seeded" in reason for reason in validate(seeded, split, ledger=FakeLog([])).reasons)


def test_the_room_and_the_function_share_a_name() -> None:
    model, split = world(0.0, n=60)
    assert isinstance(privsynth.validate(model, split, ledger=FakeLog([])), Report)


def test_json_says_what_it_is() -> None:
    value = json.loads(json.dumps(leaky().to_json(), allow_nan=False))
    assert value["visibility"] == "internal" and value["watermark"] == "internal: contains personal data"
    assert value["verdict"] == "CONTRADICTS_GUARANTEE" and value["n"]["holdout_subjects"] == 1000
    assert value["guarantee"]["bounds"]["auc"] == pytest.approx(0.5478, abs=1e-3)
    check = next(c for c in value["checks"] if c["id"] == "membership.neighbour.auc")
    assert {"floor", "value", "ceiling", "n", "bound", "limit", "verdict"} <= set(check)
    assert check["verdict"] == "FAIL_LEAK_SHOWN" and set(check["value"]) == {"value", "low", "high", "level"}
    assert len(value["worst tables"]) == 10


VOID = ("meta", "br")


@pytest.mark.parametrize("report", [safe, leaky])
def test_the_page_is_whole_and_asks_nothing_of_the_network(tmp_path: Path, report: object) -> None:
    assert callable(report)
    path = report().write(tmp_path / "report.internal.html")
    text = path.read_text(encoding="utf-8")
    parsed = Page(text, void=VOID)
    assert not parsed.open
    assert not {"script", "link", "img", "iframe", "object", "embed", "a", "form"} & set(parsed.seen)
    assert not {"src", "href", "srcset", "onload", "onerror"} & set(parsed.attributes)
    assert not re.search(r"https?:|//|@import|url\(", text.replace("<!doctype html>", ""))
    assert len(text.encode()) < 500_000
    assert parsed.seen.count("svg") == 4 and parsed.words.count("internal: contains personal data") >= 3
    assert NASTY in parsed.words  # escaped, so it reads as text
    assert report().verdict.value in parsed.words
    for metric in report().metrics:
        assert f"{metric.floor:.3f}" in parsed.words and f"{metric.value.value:.3f}" in parsed.words


def test_the_page_is_only_for_its_reader_and_never_half_written(tmp_path: Path) -> None:
    path = safe().write(tmp_path / "report.html")
    assert os.stat(path).st_mode & 0o077 == 0
    before = path.read_bytes()
    leaky().write(path)
    assert path.read_bytes() != before and [p.name for p in tmp_path.iterdir()] == ["report.html"]
    for place in (tmp_path / "nowhere" / "report.html", path / "below.html"):
        with pytest.raises(StorageError) as caught:
            safe().write(place)
        assert caught.value.mend and not place.exists()
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(StorageError):
        safe().write(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "report.html"]


def test_a_wide_table_still_makes_a_small_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    names = [f"{i}{'&' * 240}" for i in range(60)]
    wide = Schema.model_validate(
        {
            "privsynth-schema": 1,
            "source": "wide",
            "subject": {"each row is a": "visit", "a person has at most": "3 rows"},
            "columns": {name: {"kind": "boolean"} for name in names},
        }
    )

    def rows(n: int) -> pd.DataFrame:
        return pd.DataFrame({name: rng.random(n) < 0.5 for name in names})

    def ids(tag: str) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        return np.array([f"{tag}{i}" for i in range(300)], dtype=object)

    receipt = replace(RECEIPT, source="wide", person_rows=3)
    where = ("patients", "wide", "research", "university", 1, "policy", "none")
    split = Split(
        Train(Records(wide, rows(300), ids("t")), *where),
        Holdout(Records(wide, rows(300), ids("h")), *where),
        0.5,
        lambda subjects, **_: np.ones(len(subjects), dtype=bool),
    )
    model = FakeModel(rows(300), [], schema=wide, receipt=receipt)
    report = validate(model, split, ledger=FakeLog([]), target=names[0])
    assert report.fidelity[1].measured_of == 1770 and len(report.fidelity[1].tables) == 600
    text = report.write(tmp_path / "report.html").read_text()
    assert len(text.encode()) < 500_000 and "3·µ" in text
    Page(text, void=VOID)


def test_nothing_prints_its_figures() -> None:
    assert repr(safe()) == "Report('clinic/visits', 'internal: contains personal data')"
    assert repr(safe().curve) == "Curve(...)"


def test_a_metric_knows_its_place() -> None:
    metric = next(m for m in safe().metrics if m.id == "utility.outcome.boosted trees.AUC")
    assert metric.place(metric.floor) == 0 and metric.place(metric.ceiling) == 1
    flat = Metric("x", "utility", "x", 0.5, metric.value, 0.5, 1)
    assert np.isnan(flat.place(0.7))


def test_the_fake_is_a_model() -> None:
    model: Model = world(0.0, n=4)[0]
    assert model.id == "model-1"
