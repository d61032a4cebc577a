"""The study file: what it names, from where, and the id that makes two runs one purchase."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from privsynth.data.codec import Between
from privsynth.errors import ConditionError, PrivsynthError, SchemaError, StudyError
from privsynth.generators.marginals import Marginals, Query, Workload, load_model
from privsynth.generators.marginals.plan import Plan
from privsynth.pipeline.plan import plan_study
from privsynth.pipeline.study import Study, load_study
from privsynth.pipeline.study_ledger import LedgerPlace
from tests.desk import Desk, cli
from tests.world import ACTOR


def test_paths_are_from_the_study_s_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder.parent)
    study = load_study(f"{desk.folder.name}/study.yaml")
    assert study.folder == desk.folder
    assert study.out == desk.release
    assert study.key == desk.folder / "release.key"
    assert study.evidence == desk.folder / "consent.csv"
    assert study.ledger == LedgerPlace(f"sqlite:///{desk.folder}/ledger.db")
    assert study.ledger.file == desk.folder / "ledger.db"
    desk.edit("study.yaml", ("sqlite:///ledger.db", "sqlite:////srv/ledger.db"))
    assert desk.load().ledger.file == Path("/srv/ledger.db")


@pytest.mark.parametrize(
    ("out", "model", "folder"),
    [("release/", "", "release.model"), ("a/b/", "", "a/b.model"), ("release", "model: kept\n", "kept")],
)
def test_the_model_lies_beside_the_release_unless_it_is_named(desk: Desk, out: str, model: str, folder: str) -> None:
    desk.edit("study.yaml", ("out: release/", f"out: {out}"), ("model: model/\n", model))
    assert desk.load().model_folder == desk.folder / folder


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("consent: {register: c.csv}\n", "register"),
        ("consent: {fhir: c/, exported: 2026-03-01T06:00:00Z}\n", "fhir"),
        ("consent: {receipts: c.ndjson, exported: 2026-03-01T06:00:00+01:00}\n", "iso-27560"),
        ("consent: {columns: true}\n", "columns"),
        ("", "none"),
    ],
)
def test_the_evidence_of_consent_is_said(desk: Desk, written: str, kind: str) -> None:
    desk.edit("study.yaml", ("consent: {register: consent.csv}\n", written))
    study = desk.load()
    assert study.consent == kind
    assert (study.evidence is not None) == (kind not in ("columns", "none"))
    assert (study.consent_given.get("exported") is not None) == ("exported" in written)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("consent: {register: consent.csv}", "consent:", "consent"),
        ("{register: consent.csv}", "{register: consent.csv, decisions: }", "consent › decisions"),
        ("model: model/", "model: ~", "model"),
        ("sign: {key: release.key}", "sign: {key: release.key, c2pa: }", "sign › c2pa"),
        ("sign: {key: release.key}", "sign: {key: release.key, passphrase file: null}", "sign › passphrase file"),
    ],
)
def test_a_key_with_nothing_behind_it_is_no_key_left_out(desk: Desk, old: str, new: str, place: str) -> None:
    desk.edit("study.yaml", (old, new))
    with pytest.raises(StudyError, match=f"{place}: nothing is stated") as caught:
        desk.load()
    assert ".yaml:" in caught.value.where


def test_rows_without_a_value_can_be_asked_for(desk: Desk) -> None:
    """The one null of a study that is a value: refused here because the column is never null."""
    text = (desk.folder / "study.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("sample:"))
    desk.edit("study.yaml", (line, "sample: {rows: 10, where: {sex: null}}"))
    with pytest.raises(ConditionError, match="sex"):
        desk.load()


def test_what_a_person_attests_is_said(desk: Desk) -> None:
    desk.edit("study.yaml", ("{register: consent.csv}", '{register: consent.csv, attest: {"GS:DE": A. Kim}}'))
    assert desk.load().consent_given["attest"] == {"GS:DE": "A. Kim"}


@pytest.mark.parametrize(
    "written",
    ["{}", "{register: c.csv, columns: true}", "{columns: false}", "c.csv", "{register: c.csv, fhir: c.json}"],
)
def test_other_evidence_of_consent_is_refused_with_both_forms(desk: Desk, written: str) -> None:
    desk.edit("study.yaml", ("{register: consent.csv}", written))
    with pytest.raises(StudyError) as caught:
        desk.load()
    assert caught.value.where.endswith("study.yaml:6")
    assert "register: consent.csv" in caught.value.mend and "columns: true" in caught.value.mend


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("{fhir: c.json, exported: yesterday}", "a moment with its zone"),
        ("{fhir: c.json, exported: 2026-03-01T06:00:00}", "a moment with its zone"),
        ("{register: c.csv, exported: 2026-03-01T06:00:00Z}", "goes with `fhir` or `receipts`"),
        ("{register: c.csv, attest: {IRB: ''}}", "at least 1"),
    ],
)
def test_evidence_that_says_something_else(desk: Desk, written: str, what: str) -> None:
    desk.edit("study.yaml", ("{register: consent.csv}", written))
    with pytest.raises(StudyError, match=what):
        desk.load()


def tables(study: Study) -> Marginals:
    """The recipe of a study of a table."""
    assert isinstance(study.recipe, Marginals)
    return study.recipe


def test_a_generator_becomes_the_recipe(desk: Desk) -> None:
    recipe = tables(desk.load())
    assert (recipe.budget.epsilon, recipe.budget.delta, recipe.target) == (3.0, 1e-8, "ill")
    assert (recipe.steps, recipe.components, recipe.source, recipe.device) == (40, 40, "lab/visits", "cpu")
    desk.edit("study.yaml", ("steps: 40", "device: cuda"))
    assert (tables(desk.load()).device, tables(desk.load()).rounds) == ("cuda", "fixed")
    desk.edit("study.yaml", ("device: cuda", "rounds: adaptive"))
    assert tables(desk.load()).rounds == "adaptive"
    desk.edit("study.yaml", ("rounds: adaptive", "rounds: 3"))
    with pytest.raises(StudyError, match="rounds"):
        desk.load()
    desk.edit("study.yaml", ("rounds: 3", "device: gpu"))
    with pytest.raises(StudyError, match="device") as caught:
        desk.load()
    assert caught.value.mend == "cpu or cuda"


# --- the workload ----------------------------------------------------------------------------------

WORKLOAD = """\
generator:
  kind: marginals
  epsilon: 3.0
  delta: 1e-8
  target: ill
  steps: 40
  components: 40
  workload:
    up to: 3
    target weight: 2
    weights:
      - {columns: [age, sex], weight: 50}
      - {columns: [sex, smoker], weight: 0}
    queries:
      - {where: {sex: F, age: {from: 65}}}
      - where:
          smoker: [true, null]
        weight: 4
"""
GENERATOR = "generator: {kind: marginals, epsilon: 3.0, delta: 1e-8, target: ill, steps: 40, components: 40}\n"


def test_a_workload_becomes_the_recipe_s(desk: Desk) -> None:
    plain = desk.load()
    assert tables(plain).workload == Workload()
    desk.edit("study.yaml", (GENERATOR, WORKLOAD))
    asked = desk.load()
    assert tables(asked).workload == Workload(
        up_to=3,
        target_weight=2.0,
        weights=((("age", "sex"), 50.0), (("sex", "smoker"), 0.0)),
        queries=(Query({"sex": "F", "age": Between(65, None)}), Query({"smoker": [True, None]}, 4.0)),
    )
    assert asked.recipe == replace(tables(plain), workload=tables(asked).workload)
    assert asked.request != plain.request, "another workload is another purchase"


def test_a_workload_of_nothing_is_the_default(desk: Desk) -> None:
    before = desk.load()
    desk.edit("study.yaml", ("components: 40}", "components: 40, workload: {}}"))
    assert (desk.load().recipe, desk.load().request) == (before.recipe, before.request)


def test_a_heavy_weight_reaches_the_plan(desk: Desk) -> None:
    def noise(stage: str) -> dict[tuple[str, ...], float]:
        study = desk.load()
        layout, names = plan_study(study, actor=ACTOR).layout, list(study.schema.modelled)
        assert isinstance(layout, Plan)
        return {tuple(names[c] for c in ask.clique): ask.sigma for ask in layout.joint if ask.stage == stage}

    before = noise("pair")
    desk.edit("study.yaml", (GENERATOR, WORKLOAD))
    pairs = noise("pair")
    assert pairs["age", "sex"] == min(pairs.values()) < before["age", "sex"]
    assert pairs["age", "cost"] > before["age", "cost"], "what one gains the others lose"
    assert ("sex", "smoker") in before and ("sex", "smoker") not in pairs
    assert set(noise("query")) == {("age", "sex"), ("smoker",)}
    assert "noise of a query count: " in cli("plan", desk.study).out


def test_a_heavy_weight_reaches_the_fit(desk: Desk) -> None:
    desk.edit("study.yaml", (GENERATOR, WORKLOAD))
    assert desk.run().code in (0, 1), "the gate may refuse so short a fit"
    transcript = load_model(desk.folder / "model").transcript
    bought = {tuple(m.clique): m.sigma for m in transcript.measurements if m.stage == "pair"}
    names = list(desk.load().schema.modelled)
    assert bought[names.index("age"), names.index("sex")] == min(bought.values())
    assert len([m for m in transcript.measurements if m.stage == "query"]) == 2


@pytest.mark.parametrize(
    ("written", "error", "place", "mend"),
    [
        ("{upto: 3}", StudyError, "workload › upto: unknown key", "`up to`"),
        ("{up_to: 3}", StudyError, "workload › up_to: unknown key", "`up to`"),
        ("{up to: 4}", StudyError, "workload › up to: must be less than or equal to 3", "1, 2 or 3"),
        ("{up to: true}", StudyError, "workload › up to: must be a valid integer", "1, 2 or 3"),
        ("3", StudyError, "workload: must be a mapping", "workload: {up to: 3"),
        ("{target weight: -1}", StudyError, "workload › target weight: a weight is -1", "0.001 to 1,000,000"),
        ("{weights: {age: 3}}", StudyError, "workload › weights: must be a list", "weights: [{columns"),
        ("{weights: [{columns: [age, sex]}]}", StudyError, "key 'weight' is missing", "0.001"),
        ("{weights: [{columns: [age, sex], weight: -5}]}", StudyError, "weights › 0 › weight: a weight is -5", "0.001"),
        ('{weights: [{columns: [age, sex], weight: "5"}]}', StudyError, "weights › 0 › weight: ", "0.001"),
        ("{weights: [{columns: [age, sex], weight: 5, why: x}]}", StudyError, "unknown key 'why'", "columns, weight"),
        ("{weights: [{columns: [age], weight: 5}]}", StudyError, "[age] is no pair or triple", "two or three"),
        ("{weights: [{columns: [age, sex, ill, smoker], weight: 5}]}", StudyError, "no pair or triple", "two or three"),
        ("{weights: [{columns: [age, age], weight: 5}]}", StudyError, "0 › columns: [age, age] is no", "two or three"),
        (
            "{weights: [{columns: [age, sex], weight: 5}, {columns: [sex, age], weight: 2}]}",
            StudyError,
            "weights › 1: [sex, age] has a weight already",
            "once",
        ),
        ("{weights: [{columns: [age, note], weight: 5}]}", SchemaError, "weights › 0: 'note' is not", "one of age"),
        ("{queries: [{where: {}}]}", StudyError, "queries › 0 › where: a query names one to 3", "values by column"),
        ("{queries: [{where: {age: 1, sex: F, ill: true, smoker: null}}]}", StudyError, "not 4", "values by column"),
        ("{queries: [{where: {sex: F}, weight: 1e-9}]}", StudyError, "queries › 0 › weight: ", "0.001"),
        ("{queries: [{sex: F}]}", StudyError, "queries › 0 › ", "where"),
        ("{queries: [{where: {age: {until: 2}}}]}", StudyError, "queries › 0 › where › age: not a range", "from: 20"),
        ("{queries: [{where: {note: x}}]}", ConditionError, "queries › 0 › where › note: not a learned", "one of age"),
        (
            "{queries: [{where: {sex: F}}, {where: {sex: Q}}]}",
            ConditionError,
            "queries › 1 › where › sex: ",
            "'F', 'M'",
        ),
        ("{queries: [{where: {age: 120}}]}", ConditionError, "queries › 0 › where › age: ", "bounds"),
        ("{queries: [{where: {age: {from: 120}}}]}", ConditionError, "queries › 0 › where › age: ", "bounds"),
        ("{queries: [{where: {age: old}}]}", ConditionError, "queries › 0 › where › age: ", "{from: LOW, to: HIGH}"),
        ("{queries: [{where: {age: {from: 0}}}]}", ConditionError, "does not follow the column's cells", "cell edges"),
        ("{queries: [{where: {cost: {to: 100}}}]}", SchemaError, "where › cost: a query on 'cost'", "cells: equal"),
    ],
)
def test_an_impossible_workload_is_told_at_its_line_before_any_data_is_read(
    desk: Desk, written: str, error: type[PrivsynthError], place: str, mend: str
) -> None:
    desk.edit("study.yaml", ("components: 40}", f"components: 40, workload: {written}}}"))
    (desk.folder / "data.parquet").unlink()
    with pytest.raises(error) as caught:
        desk.load()
    assert type(caught.value) is error
    assert caught.value.where.endswith("study.yaml:10")
    assert f"generator › workload{'' if place.startswith('workload') else ' › '}" in caught.value.what
    assert place in caught.value.what
    assert mend in caught.value.mend
    said = cli("plan", desk.study)
    assert (said.code, said.out) == (2, "") and place in said.err


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("[sex, smoker]", "[sex, smokes]", 22), ("from: 65", "from: 650", 24), ("smoker: [true", "ill: [3", 26)],
)
def test_what_is_wrong_with_a_workload_is_told_at_its_own_line(desk: Desk, old: str, new: str, line: int) -> None:
    desk.edit("study.yaml", (GENERATOR, WORKLOAD.replace(old, new)))
    with pytest.raises((SchemaError, ConditionError)) as caught:
        desk.load()
    assert caught.value.where.endswith(f"study.yaml:{line}")


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


def assert_told(
    desk: Desk, key: Literal["where", "balance", "guidance"], written: str, error: type[Exception], mend: str
) -> None:
    """A sample that asks for ``written`` is refused at its line, with the mend."""
    desk.edit("study.yaml", ("seed: 7", f"{key}: {written}"))
    with pytest.raises(error) as caught:
        desk.load()
    told = str(caught.value)
    assert f"study.yaml:11: sample › {key}{'' if key == 'guidance' else ' › '}" in told
    assert mend in told


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
    assert_told(desk, "where", written, error, mend)


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
        ("{age: {old: 1.0}}", "balance: {sex: {F: 0.7, M: 0.3}}"),
        ("{age: {120: 1.0}}", "bounds"),
        ("{ill: {maybe: 1.0}}", "balance: {sex: {F: 0.7, M: 0.3}}"),
        ("{seen: {soon: 1.0}}", "LOW..HIGH"),
        ('{ill: {"null": 1.0}}', "ask for a value"),
        ("{sex: [F, M]}", "equal"),
        ("{sex: 3}", "equal"),
        ("{sex: {F: 0.5}}", "sum to 1"),
        ('{age: {"20..40": 0.5, "40..60": 0.5}}', "once"),
    ],
)
def test_an_impossible_balance_is_told_at_its_line(desk: Desk, written: str, mend: str) -> None:
    assert_told(desk, "balance", written, ConditionError, mend)


def test_a_guidance_where_no_network_draws_pictures_is_told_at_its_line(desk: Desk) -> None:
    assert desk.load().guidance() == 0.0
    assert_told(desk, "guidance", "1.5", ConditionError, "image-diffusion")


def test_a_guidance_out_of_range_is_told_at_its_line(desk: Desk) -> None:
    assert_told(desk, "guidance", "9", StudyError, "a number from 0 to 3")


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
        "actor: TODO": "actor: ana@lab.example #",
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
    assert tables(desk.load()).target == "ill"


# --- what the fit will learn -----------------------------------------------------------------------


@pytest.fixture
def learning(desk: Desk) -> Desk:
    """A desk whose schema leaves the cells of ``hours`` and ``pay`` to the fit."""
    added = "  hours: {kind: real, min: 0, max: 100}\n  pay: {kind: integer, min: 0, max: 100000}\n"
    desk.edit("schema.yaml", ("  ill: {kind: boolean}\n", f"  ill: {{kind: boolean}}\n{added}"))
    return desk


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("where", "{hours: 40}"),
        ("where", "{hours: [40, 37.5]}"),
        ("where", "{hours: {from: 40, to: 40}, pay: 7}"),
        ("balance", '{hours: {40: 0.5, "0..20": 0.5}}'),
        ("balance", "{hours: [{value: 40, share: 0.5}, {value: {from: 50}, share: 0.5}]}"),
    ],
)
def test_a_single_value_waits_for_the_cells_that_the_fit_will_learn(learning: Desk, key: str, written: str) -> None:
    learning.edit("study.yaml", ("seed: 7", f"{key}: {written}"))
    study = learning.load()
    assert study.condition() if key == "where" else study.balance()


@pytest.mark.parametrize(
    ("key", "written", "mend"),
    [
        ("where", "{hours: 101}", "inside the bounds"),
        ("where", "{hours: [40, 101]}", "inside the bounds"),
        ("where", "{hours: forty}", "{from: LOW, to: HIGH}"),
        ("balance", "{hours: equal}", "name ranges and their shares, or declare its `bins` or `cells: equal`"),
        ("balance", "{pay: equal}", "name ranges and their shares, or declare its `bins` or `cells: equal`"),
        ("balance", '{hours: {40: 0.5, "30..60": 0.5}}', "once"),
        ("balance", "{hours: {101: 1.0}}", "inside the bounds"),
    ],
)
def test_what_no_fit_can_make_possible_is_told_at_its_line(
    learning: Desk, key: Literal["where", "balance", "guidance"], written: str, mend: str
) -> None:
    assert_told(learning, key, written, ConditionError, mend)
