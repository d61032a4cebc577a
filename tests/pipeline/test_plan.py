"""`privsynth plan`: the whole answer before any data, with nothing made and nothing spent."""

from __future__ import annotations

from typing import Any

import pytest

from privsynth.errors import BudgetExhausted, HoldError, ReleaseRefused, RequestDenied, Underpowered
from privsynth.pipeline.plan import plan_study
from tests.bad_input import spent as spend_all
from tests.desk import Desk, cli
from tests.world import ACTOR


def test_a_plan_reads_no_data_and_makes_nothing(desk: Desk) -> None:
    for name in ("data.parquet", "consent.csv"):
        (desk.folder / name).write_bytes(b"neither a table nor a register")
    (desk.folder / "release.key").unlink()
    before = desk.files()
    said = cli("plan", desk.study)
    assert (said.code, said.err) == (0, "")
    assert desk.files() == before
    for words in ("PS-SRC-001", "price: μ = ", "noise of a one-way count", "lab-people: 0.0% spent", "chance"):
        assert words in said.out


@pytest.mark.parametrize(
    ("lost", "error"),
    [
        (["data.parquet"], "DataError"),
        (["consent.csv"], "ConsentError"),
        (["data.parquet", "consent.csv"], "DataError"),
    ],
)
def test_a_plan_names_the_files_that_are_missing_and_still_answers(lost: list[str], error: str, desk: Desk) -> None:
    for name in lost:
        (desk.folder / name).unlink()
    told = cli("plan", desk.study, "--json")
    assert (told.code, told.json["allowed"]) == (0, True)
    assert told.json["missing"] == [str(desk.folder / name) for name in lost]
    loud = cli("plan", desk.study)
    assert loud.out.count("missing: ") == len(lost) and "noise of a one-way count" in loud.out
    assert (desk.run("--json").json["error"], desk.kinds()) == (error, [])


def test_a_file_that_no_run_will_read_is_not_missed(finished: Desk) -> None:
    (finished.folder / "data.parquet").unlink()
    (finished.folder / "consent.csv").unlink()
    assert cli("plan", finished.study, "--json").json["missing"] == []


def test_declared_subjects_are_told_as_subjects(desk: Desk) -> None:
    said = cli("plan", desk.study)
    assert "declared to fit on: 3,000 subjects of at most 2 rows each: 3,000 to 6,000 rows" in said.out
    told = cli("plan", desk.study, "--json").json
    assert told["training"] == {"subjects": 3000.0, "rows": [3000.0, 6000.0]}
    sigma = told["noise"]["one-way"]
    assert f"± {sigma:.1f} rows, {sigma / 6000:.2%} to {sigma / 3000:.2%} of these rows" in said.out
    desk.edit("schema.yaml", ("at most: 2 rows", "at most: 1 rows"))
    alone = cli("plan", desk.study)
    assert "declared to fit on: 3,000 subjects of one row each" in alone.out
    assert " to " not in next(line for line in alone.out.splitlines() if line.startswith("noise of a one-way"))


def test_a_plan_leaves_a_ledger_as_it_is(finished: Desk) -> None:
    before = (finished.folder / "ledger.db").read_bytes()
    assert cli("plan", finished.study).code == 0
    finished.edit("study.yaml", ("epsilon: 3.0", "epsilon: 11.0"))
    assert cli("plan", finished.study).code == 1
    assert (finished.folder / "ledger.db").read_bytes() == before


def test_a_plan_says_what_a_run_does(desk: Desk) -> None:
    planned = cli("plan", desk.study, "--json").json
    assert planned["allowed"] is planned["admitted"] is True
    assert planned["paid"] is planned["buys"] is None
    hold = desk.reserve()
    line, *_ = desk.ledger().balances()
    assert planned["lines"][0]["after"] == line.spent_share()
    assert desk.ledger().hold(hold).prices.mu_fit == planned["mu"]["fit"]
    outcome = desk.run("--json")
    assert outcome.json.get("hold") == hold, outcome.err
    one_way = planned["noise"]["one-way"]
    model = desk.ledger().hold(hold).transcript()
    assert model is not None and str(one_way).removesuffix(".0").encode() in model


def test_a_hold_that_is_paid_is_told_and_never_refused(desk: Desk) -> None:
    hold = desk.reserve()
    spend_all(desk)
    said = cli("plan", desk.study, "--json")
    assert (said.code, said.json["paid"]) == (0, hold)
    assert said.json["status"] == "reserved"
    assert all(line["before"] == line["after"] for line in said.json["lines"])
    assert "pays nothing; it fits, asks the gate and releases" in cli("plan", desk.study).out
    assert desk.run().code == 0


def test_a_request_that_bought_on_other_terms_is_refused_as_a_run_refuses_it(desk: Desk) -> None:
    desk.edit("study.yaml", ("actor: ", "request: spring\nactor: "))
    desk.reserve()
    desk.edit("study.yaml", ("epsilon: 3.0", "epsilon: 2.0"))
    planned, run = cli("plan", desk.study), desk.run()
    assert (planned.code, planned.err) == (run.code, run.err)
    assert planned.code == 4
    assert "already bought a hold on other terms: recipe and epsilon differ" in planned.err


def test_each_end_of_a_paid_hold_is_told_as_a_run_takes_it(desk: Desk) -> None:
    hold = desk.ledger().hold(desk.reserve())

    def planned(status: str) -> str:
        told = cli("plan", desk.study, "--json").json
        assert (told["paid"], told["status"]) == (hold.id, status)
        return cli("plan", desk.study).out

    study = desk.load()
    use: dict[str, Any] = {
        "source": study.schema.source,
        "purpose": study.file.purpose,
        "recipient": study.file.recipient,
    }
    hold.open_fit(recipe=study.recipe.identity, **use)
    assert "goes on" not in planned("opened")
    with pytest.raises(HoldError, match="the fit of this study was begun before and has not ended"):
        plan_study(study, actor=ACTOR).refuse()
    hold.deposit(b"noisy")
    assert "pays nothing; it asks the gate, which has not been asked yet" in planned("measured")
    hold.open_gate(model_hold=hold.id, population=hold.population, **use)
    assert "goes on" not in planned("gated")
    with pytest.raises(HoldError, match="the gate of this study was begun before and has not ended"):
        plan_study(study, actor=ACTOR).refuse()
    hold.refuse(["PS-GATE-UTI"])
    assert "goes on" not in planned("refused")
    with pytest.raises(ReleaseRefused, match="the gate refused this study's model before") as caught:
        plan_study(study, actor=ACTOR).refuse()
    assert caught.value.rules == ("PS-GATE-UTI",) and "`request:`" in caught.value.mend
    for command in ("plan", "run"):
        said = cli(command, desk.study, "--json")
        assert (said.code, said.json["error"], said.json["refused_by"]) == (1, "ReleaseRefused", ["PS-GATE-UTI"])


def test_an_approved_hold_is_released_by_the_next_run(finished: Desk) -> None:
    said = cli("plan", finished.study)
    assert (said.code, "pays nothing; it releases, without another look at the data" in said.out) == (0, True)


def test_a_refused_plan_is_one_object_with_answer_and_refusal(desk: Desk) -> None:
    desk.edit("study.yaml", ("epsilon: 3.0", "epsilon: 11.0"), ("purpose: research", "purpose: sales"))
    said = cli("plan", desk.study, "--json")
    told = said.json
    assert (said.code, told["exit_code"], told["error"], told["command"]) == (1, 1, "RequestDenied", "plan")
    assert told["refused_by"] == [rule["id"] for rule in told["rules"] if not rule["allowed"]]
    assert set(told["refused_by"]) == {"PS-PUR-001", "PS-PUR-002", "PS-REC-002", "PS-BUD-001"}
    changes = {"field": "purpose", "asked": "sales", "allowed": "research"}, {"field": "epsilon", "asked": 11.0}
    assert told["nearest"]["allowed"] and told["nearest"]["changes"][0] == changes[0]
    assert changes[1].items() <= told["nearest"]["changes"][1].items()
    loud = cli("plan", desk.study)
    assert loud.out.count(" NO ") == 4 and "purpose: 'research' instead of 'sales'" in loud.out
    assert all(rule in loud.err for rule in told["refused_by"])


def test_each_refusal_has_its_type(desk: Desk) -> None:
    assert plan_study(desk.load(), actor=ACTOR).refuse() is None  # type: ignore[func-returns-value]
    with pytest.raises(RequestDenied):
        plan_study(desk.load(), actor="eve@lab.example").refuse()
    for key, changed in (
        ("upper bound max: 0.3", "upper bound max: 0.001"),
        ("at least: 0.35", "at least: 0.999"),
    ):
        desk.edit("policy.yaml", (key, changed))
        with pytest.raises(Underpowered) as caught:
            plan_study(desk.load(), actor=ACTOR).refuse()
        assert "policy.yaml:" in caught.value.where and "more subjects" in caught.value.mend
        desk.edit("policy.yaml", (changed, key))
    spend_all(desk)
    with pytest.raises(BudgetExhausted) as exhausted:
        plan_study(desk.load(), actor=ACTOR).refuse()
    assert "policy.yaml:" in exhausted.value.where and "buys at most epsilon" in exhausted.value.mend
    assert cli("plan", desk.study).code == 3


PICTURES = """\
  pictures:
    membership: {attack: neighbour, advantage: {upper bound max: 0.3}}
    attribute: {target: sex, accuracy: {at least: 0.4}}
"""


def test_rules_about_pictures_are_asked_for_by_declared_sizes(desk: Desk) -> None:
    desk.edit("study.yaml", ("kind: marginals, epsilon: 3.0", "kind: image-statistics, epsilon: 9.0"))
    desk.edit("study.yaml", (", target: ill, steps: 40, components: 40", ", by: [sex]"))
    desk.edit("schema.yaml", ("  ill: {kind: boolean}", "  ill: {kind: boolean}\n  scan: {kind: image, size: [8, 8]}"))
    desk.edit("policy.yaml", ("roles:\n  req", PICTURES + "roles:\n  req"))
    chance = plan_study(desk.load(), actor=ACTOR).false_refusal
    assert chance is not None
    for key, changed, rules in (
        ("accuracy: {at least: 0.4}", "accuracy: {at least: 0.9999}", ("PS-GATE-PIA",)),
        ("advantage: {upper bound max: 0.3}}", "advantage: {upper bound max: 0.01}}", ("PS-GATE-MEM", "PS-GATE-PIM")),
    ):
        desk.edit("policy.yaml", (key, changed))
        with pytest.raises(Underpowered) as caught:
            plan_study(desk.load(), actor=ACTOR).refuse()
        assert caught.value.rules == rules
        assert "policy.yaml:" in caught.value.where
        desk.edit("policy.yaml", (changed, key))


def test_a_source_that_nobody_registered_has_a_price_and_no_noise(desk: Desk) -> None:
    desk.edit("schema.yaml", ("source: lab/visits", "source: lab/unknown"))
    told = cli("plan", desk.study, "--json").json
    assert (told["allowed"], told["noise"], told["lines"], told["false_refusal"]) == (False, {}, [], None)
    assert told["mu"]["all"] > 0


def test_a_plan_and_a_budget_register_nothing(finished: Desk) -> None:
    """A policy that is being written names a new source: what would freeze it is a run, not a question."""
    before = (finished.folder / "ledger.db").read_bytes()
    finished.edit(
        "policy.yaml",
        (
            "  lab/other:",
            "  lab/new:\n    population: new-people\n    subjects: 4000\n"
            "    holdout: 0.25\n    unit: person\n    neighbours: add-or-remove\n"
            "    contribution: {max rows per subject: 2}\n  lab/other:",
        ),
    )
    finished.edit("schema.yaml", ("source: lab/visits", "source: lab/new"))
    told = cli("plan", finished.study, "--json").json
    assert (told["admitted"], [line["before"] for line in told["lines"]]) == (True, [0.0, 0.0])
    url = f"sqlite:///{finished.folder}/ledger.db"
    assert cli("budget", finished.folder / "policy.yaml", "--ledger", url).code == 0
    assert (finished.folder / "ledger.db").read_bytes() == before


def test_a_schema_without_the_column_that_tells_minors_is_refused_before_anything_is_paid(desk: Desk) -> None:
    desk.edit(
        "policy.yaml",
        ("    population: lab-people", "    minors: {column: years, below: 18}\n    population: lab-people"),
    )
    for said in (cli("plan", desk.study), desk.run()):
        assert said.code == 1 and "PS-SRC-004" in said.err and "`{kind: text, dropped: true}`" in said.err
    assert desk.kinds() == []


def test_the_pace_is_told_before_anything_is_bought(desk: Desk) -> None:
    pace = "  pace: [{over: population, per: year, share: 1/20}]\n"
    desk.edit("policy.yaml", ("  per release:", f"{pace}  per release:"))
    assert "pace of population lab-people: at most 1/20" in cli("plan", desk.study).out
    study, ledger = desk.load(), desk.ledger()
    asked: dict[str, Any] = {"purpose": study.file.purpose, "recipient": study.file.recipient}
    with pytest.raises(RequestDenied, match="PS-PAC-001") as denied:
        for _ in range(1000):
            ledger.reserve(study.recipe, consent=study.consent, **asked)
    told = cli("plan", desk.study, "--json")
    [line] = told.json["pace"]
    assert (told.code, told.json["rules"][0]["allowed"], told.json["admitted"]) == (1, True, False)
    assert line["holds"] >= 1 and line["opens"].replace("T", " ")[:10] in denied.value.mend
    assert "passes from " in cli("plan", desk.study).out
    assert desk.run().code == 1
