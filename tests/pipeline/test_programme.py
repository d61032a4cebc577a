"""Studies bought together: what is told before, sold at once, and found by each study's run."""

from __future__ import annotations

from pathlib import Path

import pytest

from privsynth.errors import UsageError
from privsynth.pipeline.programme import reserve_together
from privsynth.pipeline.study import load_study
from tests.desk import ONCE, Desk, Said, cli
from tests.world import ACTOR


def year(desk: Desk, count: int = 3, *changes: tuple[str, str]) -> list[Path]:
    """So many studies of one recipe, each with a request, a release and a model of its own."""
    text = desk.study.read_text("utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    studies = []
    for number in range(1, count + 1):
        own = text.replace("out: release/\nmodel: model/", f"out: r{number}/\nmodel: m{number}/\nrequest: q{number}")
        studies.append(desk.folder / f"q{number}.yaml")
        studies[-1].write_text(own, "utf-8")
    return studies


def bought(said: Said) -> list[str]:
    """The holds that were sold."""
    ids: list[str] = said.json["sold"]
    return ids


def test_studies_are_bought_together_and_each_run_finds_its_hold(desk: Desk) -> None:
    studies = year(desk)
    before = desk.files()
    dry = cli("ledger", "reserve", *studies, "--dry-run")
    assert (dry.code, desk.files()) == (0, before)
    assert "all of them fit together; nothing was bought" in dry.out
    assert cli("plan", *studies).out == dry.out
    told = cli("plan", *studies, "--json").json
    assert told["command"] == "plan" and told["admitted"] and told["sold"] == []
    shares = [item["lines"][0]["after"] for item in told["items"]]
    assert shares == sorted(shares) and [item["request"] for item in told["items"]] == ["q1", "q2", "q3"]

    (desk.folder / "data.parquet").rename(desk.folder / "away.parquet")  # no data are read
    sold = cli("ledger", "reserve", *studies, "--plan", "2027", "--json")
    assert (sold.code, len(set(bought(sold)))) == (0, 3)
    assert desk.kinds().count("plan") == 1 and desk.bought()["reserve"] == 3
    assert desk.spent() == shares[-1]
    assert bought(cli("ledger", "reserve", *studies, "--json")) == bought(sold)
    assert "sold together: 3 holds" in cli("ledger", "reserve", *studies).out
    again = cli("plan", *studies)
    assert "bought before, together" in again.out and again.out.count("reserved") == 3
    assert {item["lines"][0]["after"] for item in cli("plan", *studies, "--json").json["items"]} == {shares[-1]}
    assert [cli("plan", study, "--json").json["paid"] for study in studies] == bought(sold)

    (desk.folder / "away.parquet").rename(desk.folder / "data.parquet")
    done = cli("run", studies[1], "--json").json
    assert done["hold"] == bought(sold)[1]
    assert desk.bought() == ONCE | {"reserve": 3}
    statement = (desk.folder / "r2" / "privacy.md").read_text("utf-8")
    assert "coins and noise, is bounded by (ε = 3, δ = 1e-08), too. What somebody chose from other" in statement
    books = cli("budget", desk.folder / "policy.yaml", "--ledger", f"sqlite:///{desk.folder}/ledger.db")
    row = next(line for line in books.out.splitlines() if line.startswith("2027"))
    assert row.split()[-3:] == ["3", "1", "2"]


def test_what_does_not_fit_whole_is_not_sold_and_said_by_study(desk: Desk) -> None:
    studies = year(desk, 4, ("epsilon: 3.0", "epsilon: 9.9"))
    for args in ([Path("plan"), *studies], [Path("ledger"), Path("reserve"), *studies, Path("--dry-run")]):
        dry = cli(*args)
        assert dry.code == 3 and desk.kinds() == []
        assert f"item 4 of 4 ({studies[3]}): the budget of population lab-people" in dry.err
        assert "the first 3 of these 4 would fit; after them, at this delta" in dry.err
        assert "cannot pay" in dry.out
    assert cli("plan", *studies, "--json").json["error"] == "BudgetExhausted"
    said = cli("ledger", "reserve", *studies, "--plan", "2027")
    assert (
        said.code == 3 and "item 4 of 4 (request 'q4')" in said.err and "the first 3 of these 4 would fit" in said.err
    )
    assert desk.bought()["reserve"] == 0 and desk.kinds().count("exhausted") == 1
    assert cli("ledger", "reserve", *studies[:3]).code == 0


def test_a_plan_is_refused_where_its_gates_could_not_all_be_asked(desk: Desk) -> None:
    desk.edit("policy.yaml", ("max attempts: 5", "max attempts: 2"))
    studies = year(desk)
    said = cli("ledger", "reserve", *studies)
    assert said.code == 1 and f"item 3 of 3 ({studies[2]}): all 2 gate attempts" in said.err
    assert desk.bought()["reserve"] == 0
    assert cli("ledger", "reserve", *studies[:2]).code == 0
    for asked in (["plan"], ["ledger", "reserve"]):  # of a second plan none could be asked
        more = cli(*asked, studies[2], *year(desk, 4)[3:])
        assert more.code == 1 and f"item 1 of 2 ({studies[2]}): all 2 gate attempts" in more.err
        assert "needed by holds that wait" in more.err and "plan fewer" in more.err
    assert desk.bought()["reserve"] == 2


def test_the_pace_is_asked_of_all_of_them(desk: Desk) -> None:
    line = "    - {over: recipient, epsilon: 20.0, delta: 2e-7}\n"
    desk.edit("policy.yaml", (line, line + "  pace: [{over: population, per: quarter, share: 1/20}]\n"))
    studies = year(desk)
    assert cli("plan", studies[0]).code == 0
    said = cli("plan", *studies)
    assert said.code == 1 and "PS-PAC-001" in said.err and "sell it in parts" in said.err
    assert "all of them pass never at this price" in said.out
    assert cli("plan", *studies, "--json").json["pace"][0]["opens"] is None


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("q2.yaml", ("request: q2", "request: q1"), "one request id: q1"),
        ("q2.yaml", ("sqlite:///ledger.db", "sqlite:///other.db"), "one policy and one ledger"),
        ("q2.yaml", ("policy: policy.yaml", "policy: later.yaml"), "one policy and one ledger"),
        ("q2.yaml", (f"actor: {ACTOR}", "actor: rea@lab.example"), "the studies name several"),
    ],
)
def test_studies_of_a_plan_name_one_book(desk: Desk, name: str, change: tuple[str, str], words: str) -> None:
    studies = year(desk, 2)
    policy = (desk.folder / "policy.yaml").read_text("utf-8")
    (desk.folder / "later.yaml").write_text(policy.replace('version: "1"', 'version: "2"'), "utf-8")
    desk.edit(name, change)
    for args in (("plan",), ("ledger", "reserve")):
        said = cli(*args, *studies)
        assert said.code == 2 and words in said.err
    assert desk.kinds() == []


def test_one_ledger_may_be_named_from_several_folders(desk: Desk) -> None:
    studies = year(desk, 2)
    inner = desk.folder / "inner"
    inner.mkdir()
    text = studies[1].read_text("utf-8").replace("sqlite:///ledger.db", "sqlite:///../ledger.db")
    for name in ("schema.yaml", "policy.yaml"):
        text = text.replace(f" {name}", f" ../{name}")
    (inner / "q2.yaml").write_text(text, "utf-8")
    done = reserve_together([load_study(path) for path in (studies[0], inner / "q2.yaml")], actor=ACTOR)
    assert len(done.sold) == 2
    with pytest.raises(UsageError, match="one request id"):
        reserve_together([load_study(studies[0])] * 2, actor=ACTOR)
