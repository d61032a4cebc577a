"""The demo, whole and once: a verified release, three refusals, a picture, and a look that marks what follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from privsynth.cli.road import show_demo
from privsynth.cli.screen import Screen
from privsynth.pipeline.demo import Demo, run_demo
from privsynth.pipeline.study import load_study
from privsynth.privacy.budget import Budget
from privsynth.release.statement import privacy_statement, statement_markdown
from privsynth.release.verify import verify
from tests.desk import cli

pytestmark = pytest.mark.slow
MARK = "Recipe chosen after unpaid figures"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as `privsynth demo --internal` runs it."""
    return run_demo(tmp_path_factory.mktemp("demo") / "out" / "demo", internal=True)


def test_it_ends_in_a_verified_release_of_the_declared_price(made: Demo) -> None:
    found = verify(made.outcome.release)
    assert (found.rows, found.recipient) == (20_000, "university")
    assert (found.receipt.epsilon, found.receipt.delta, found.receipt.unit) == (1.0, 1e-9, "person-year")
    assert (found.receipt.contribution, found.receipt.person_rows) == (1, 5)
    assert {claim["cost"] for claim in found.claims} == {"free", "paid"}
    assert made.spent_before == 0.0 and 0.5 < made.spent_after < 0.6


def test_it_is_refused_three_times_each_in_its_family(made: Demo) -> None:
    assert [refusal.exit_code for refusal in made.refusals] == [3, 1, 4]
    budget, consent, tampered = (refusal.message for refusal in made.refusals)
    assert "rand-hie-person-years" in budget and "buys at most epsilon" in budget
    assert "PS-CON-001" in consent
    assert "not the one that was signed" in tampered
    assert all("Mend: " in refusal.message for refusal in made.refusals)
    out = made.outcome.release.parent
    assert not (out / "again").exists() and not (out / "no-consent").exists()
    assert verify(made.outcome.release).rows == 20_000  # the original is as it was


def test_it_leaves_a_picture(made: Demo) -> None:
    raw = made.picture.read_bytes()
    assert raw.startswith(b"\x89PNG") and len(raw) > 30_000


def test_its_internal_report_is_logged_and_marks_what_is_asked_for_later(made: Demo) -> None:
    assert made.report is not None and "internal: contains personal data" in made.report.read_text("utf-8")
    study = load_study(made.outcome.release.parent / "study.yaml")
    ledger = study.ledger.open(study.policy, actor=study.file.actor or "")
    recipe = replace(study.recipe, budget=Budget(0.3, 1e-9))
    later = ledger.reserve(recipe, purpose=study.file.purpose, recipient=study.file.recipient)
    assert later.chosen_after_report and not made.outcome.hold.chosen_after_report
    receipt = later.receipt(noise="os-secure", schema=study.schema.sha256, person_rows=5)
    assert MARK in statement_markdown(privacy_statement(receipt))
    assert MARK not in (made.outcome.release / "privacy.md").read_text("utf-8")


def test_it_tells_people_and_machines(made: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    show_demo(Screen(as_json=True, quiet=False), made)
    told = json.loads(capsys.readouterr().out)
    assert [refusal["exit_code"] for refusal in told["refusals"]] == [3, 1, 4]
    assert told["release"] == str(made.outcome.release) and Path(told["picture"]) == made.picture
    assert len(told["findings"]) == 7

    show_demo(Screen(as_json=False, quiet=False), made)
    shown = capsys.readouterr().out
    for words in ("0% spent before", "58% after", "held-back", "membership", "exit 3", "exit 1", "exit 4"):
        assert words in shown
    assert f"privsynth verify {made.outcome.release}" in shown
    assert "must not leave" in shown

    show_demo(Screen(as_json=False, quiet=True), made)
    assert capsys.readouterr().out == ""


def test_what_no_demo_made_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for out in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex", tmp_path / "mine" / "thesis.tex" / "demo"):
        said = cli("demo", "--out", out, "--json")
        assert (said.code, said.json["error"]) == (2, "StorageError")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_an_earlier_demo_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / ".privsynth-demo").touch()
    (out / "ledger.db").write_text("of an earlier demo, cut off")

    class Enough(Exception):
        """Far enough: the folder was laid out."""

    def stop(*_: object, **__: object) -> None:
        raise Enough

    monkeypatch.setattr("privsynth.pipeline.demo.run_study", stop)
    with pytest.raises(Enough):
        run_demo(out)
    assert {path.name for path in out.iterdir()} == {
        ".privsynth-demo", "policy.yaml", "randhie.parquet", "randhie.schema.yaml", "release.key", "study.yaml",
        "trust.json",
    }  # fmt: skip
