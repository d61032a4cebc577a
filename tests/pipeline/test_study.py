"""The study file: what it names, from where, and the id that makes two runs one purchase."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.data.codec import Between
from privsynth.errors import ConditionError, StudyError
from privsynth.pipeline.study import load_study
from tests.desk import Desk


def test_paths_are_from_the_study_s_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder.parent)
    study = load_study(f"{desk.folder.name}/study.yaml")
    assert study.folder == desk.folder
    assert study.out == desk.release
    assert study.key == desk.folder / "release.key"
    assert study.register == desk.folder / "consent.csv"
    assert study.ledger_path == desk.folder / "ledger.db"
    assert study.ledger_url == f"sqlite:///{desk.folder}/ledger.db"
    desk.edit("study.yaml", ("sqlite:///ledger.db", "sqlite:////srv/ledger.db"))
    assert desk.load().ledger_path == Path("/srv/ledger.db")


@pytest.mark.parametrize(
    ("out", "model", "folder"),
    [("release/", "", "release.model"), ("a/b/", "", "a/b.model"), ("release", "model: kept\n", "kept")],
)
def test_the_model_lies_beside_the_release_unless_it_is_named(desk: Desk, out: str, model: str, folder: str) -> None:
    desk.edit("study.yaml", ("out: release/", f"out: {out}"), ("model: model/\n", model))
    assert desk.load().model_folder == desk.folder / folder


@pytest.mark.parametrize(
    ("written", "kind"),
    [("consent: {register: c.csv}\n", "register"), ("consent: {columns: true}\n", "columns"), ("", "none")],
)
def test_the_evidence_of_consent_is_said(desk: Desk, written: str, kind: str) -> None:
    desk.edit("study.yaml", ("consent: {register: consent.csv}\n", written))
    assert desk.load().consent == kind
    assert (desk.load().register is not None) == (kind == "register")


@pytest.mark.parametrize("written", ["{}", "{register: c.csv, columns: true}", "{columns: false}", "c.csv"])
def test_other_evidence_of_consent_is_refused_with_both_forms(desk: Desk, written: str) -> None:
    desk.edit("study.yaml", ("{register: consent.csv}", written))
    with pytest.raises(StudyError) as caught:
        desk.load()
    assert caught.value.where.endswith("study.yaml:6")
    assert "register: consent.csv" in caught.value.mend and "columns: true" in caught.value.mend


def test_a_generator_becomes_the_recipe(desk: Desk) -> None:
    recipe = desk.load().recipe
    assert (recipe.budget.epsilon, recipe.budget.delta, recipe.target) == (3.0, 1e-8, "ill")
    assert (recipe.steps, recipe.components, recipe.source) == (40, 40, "lab/visits")


# --- the request id --------------------------------------------------------------------------------

SAME = [
    ("study.yaml", "rows: 300, seed: 7", "rows: 5"),
    ("study.yaml", "out: release/", "out: elsewhere/"),
    ("study.yaml", "model: model/\n", ""),
    ("study.yaml", "data.parquet", "data.csv"),
    ("study.yaml", "actor: ana@lab.example\n", ""),
    ("policy.yaml", "id: lab/visits", "id: lab/visits  # a comment"),
]
OTHER = [
    ("study.yaml", "epsilon: 3.0", "epsilon: 2.0"),
    ("study.yaml", "steps: 40", "steps: 41"),
    ("study.yaml", "purpose: research", "purpose: teaching"),
    ("study.yaml", "recipient: university", "recipient: company"),
    ("schema.yaml", "max: 99", "max: 98"),
    ("policy.yaml", "at least: 0.35", "at least: 0.36"),
]


@pytest.mark.parametrize(("name", "old", "new"), SAME + OTHER)
def test_what_is_bought_makes_the_request_and_nothing_else(desk: Desk, name: str, old: str, new: str) -> None:
    before = desk.load().request
    desk.edit(name, (old, new))
    assert (desk.load().request == before) == ((name, old, new) in SAME)


def test_a_request_may_be_named(desk: Desk) -> None:
    desk.edit("study.yaml", ("model: model/", "request: spring-2027"))
    assert desk.load().request == "spring-2027"
    for bad in ("a b", "-x", "x" * 65, '""', "7"):
        desk.edit("study.yaml", ("spring-2027", bad))
        with pytest.raises(StudyError, match="request"):
            desk.load()
        desk.edit("study.yaml", (f"request: {bad}", "request: spring-2027"))


# --- the condition ---------------------------------------------------------------------------------


def test_a_condition_is_translated(desk: Desk) -> None:
    assert desk.load().condition() == {}
    written = "{sex: [F, M], age: {from: 20, to: 40}, cost: {from: 5}, smoker: null, ill: true}"
    desk.edit("study.yaml", ("seed: 7", f"where: {written}"))
    assert desk.load().condition() == {
        "sex": ["F", "M"],
        "age": Between(20, 40),
        "cost": Between(5, None),
        "smoker": None,
        "ill": True,
    }


@pytest.mark.parametrize(
    ("written", "error", "mend"),
    [
        ("{age: {}}", StudyError, "from: 20"),
        ("{age: {from: 1, until: 2}}", StudyError, "from: 20"),
        ("{note: x}", ConditionError, "one of age"),
        ("{age: old}", ConditionError, "{from: LOW, to: HIGH}"),
        ("{age: {from: 40, to: 20}}", ConditionError, "low at most high"),
        ("{sex: Q}", ConditionError, "'F', 'M', 'X'"),
        ("{ill: null}", ConditionError, "ask for a value"),
        ("{sex: []}", ConditionError, "at least one"),
    ],
)
def test_an_impossible_condition_is_told_at_its_line(
    desk: Desk, written: str, error: type[Exception], mend: str
) -> None:
    desk.edit("study.yaml", ("seed: 7", f"where: {written}"))
    with pytest.raises(error) as caught:
        desk.load().condition()
    told = str(caught.value)
    assert "study.yaml:11: sample › where › " in told
    assert mend in told


# --- the balance -----------------------------------------------------------------------------------


def test_a_balance_is_translated(desk: Desk) -> None:
    assert desk.load().balance() == {}
    assert desk.load().file.sample.draw == "even"
    written = '{sex: equal, smoker: {true: 0.5, "null": 0.5}, age: {30: 0.25, "40..": 0.75}}'
    desk.edit("study.yaml", ("seed: 7", f"balance: {written}, draw: independent"))
    assert desk.load().balance() == {
        "sex": "equal",
        "smoker": [{"value": True, "share": 0.5}, {"value": None, "share": 0.5}],
        "age": [{"value": 30, "share": 0.25}, {"value": {"from": 40, "to": None}, "share": 0.75}],
    }
    assert desk.load().file.sample.draw == "independent"


def test_a_balance_may_be_a_list_of_values_and_shares(desk: Desk) -> None:
    written = "{seen: [{value: {from: 2020-01-01, to: 2020-06-30}, share: 0.5}, {value: 2020-07-01, share: 0.5}]}"
    desk.edit("study.yaml", ("seed: 7", f"balance: {written}"))
    (item, _) = desk.load().balance()["seen"]
    assert item == {"value": {"from": "2020-01-01", "to": "2020-06-30"}, "share": 0.5}


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("{note: equal}", "one of age"),
        ("{age: {old: 1.0}}", "VALUE:SHARE"),
        ("{age: {120: 1.0}}", "bounds"),
        ("{ill: {maybe: 1.0}}", "VALUE:SHARE"),
        ('{ill: {"null": 1.0}}', "ask for a value"),
        ("{sex: [F, M]}", "equal"),
        ("{sex: 3}", "equal"),
        ("{sex: {F: 0.5}}", "sum to 1"),
        ('{age: {"20..40": 0.5, "40..60": 0.5}}', "once"),
    ],
)
def test_an_impossible_balance_is_told_at_its_line(desk: Desk, written: str, mend: str) -> None:
    desk.edit("study.yaml", ("seed: 7", f"balance: {written}"))
    with pytest.raises(ConditionError) as caught:
        desk.load().balance()
    told = str(caught.value)
    assert "study.yaml:11: sample › balance › " in told
    assert mend in told


def test_the_draft_of_init_tells_each_todo_and_loads_when_they_are_decided(desk: Desk) -> None:
    """The three drafts are of one form with what is loaded here."""
    from privsynth.data.draft import draft

    (desk.folder / "study.yaml").write_text(draft(desk.folder / "data.parquet").study, "utf-8")
    with pytest.raises(StudyError, match="TODO") as caught:
        desk.load()
    assert "docs/study.md" in caught.value.mend
    text = desk.study.read_text("utf-8")
    decided = {
        "consent: TODO": "consent: {register: consent.csv} #",
        "purpose: TODO": "purpose: research #",
        "recipient: TODO": "recipient: university #",
        "epsilon: TODO": "epsilon: 3.0 #",
        "delta: TODO": "delta: 1e-8 #",
        "target: TODO": "target: ill #",
        "{rows: TODO": "{rows: 300} #",
        "data.schema.yaml": "schema.yaml",
        "data.policy.yaml": "policy.yaml",
    }
    for old, new in decided.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = next(line for line in text.splitlines() if line.startswith("data:"))
    desk.study.write_text(text.replace(path, "data: data.parquet"), "utf-8")
    assert desk.load().recipe.target == "ill"
