"""`privsynth sample`: further signed releases, free."""

from __future__ import annotations

import pandas as pd
import pytest

from privsynth.data.learned import Learned
from privsynth.generators.marginals import load_model
from privsynth.pipeline import resample
from privsynth.release.verify import verify
from tests.desk import ONCE, Desk, cli

FORBIDDEN = ["--where", "sex=X", "--where", "ill=true"]  # by the schema's structural zero


def test_a_further_release_is_signed_verified_and_free(finished: Desk) -> None:
    (finished.folder / "data.parquet").unlink()
    paid, out = finished.spent(), finished.folder / "women"
    args = ["--rows", "120", "--where", "sex=F", "--where", "age=20..40", "--seed", "3", "--out", str(out)]
    assert cli("sample", finished.study, *args, "--json").json == {
        "privsynth": 1, "command": "sample", "release": str(out), "rows": 120, "people": 1, "lacking": 0,
    }  # fmt: skip
    found = verify(out, trust=finished.folder / "trust.json")
    assert (found.rows, found.condition) == (120, {"age": {"from": 20, "to": 40}, "sex": "F"})
    rows = pd.read_parquet(out / "data" / "table.parquet")
    assert set(rows["sex"]) == {"F"} and rows["age"].between(20, 40).all()
    assert (finished.spent(), finished.bought()) == (paid, ONCE)


def test_a_balanced_release_says_so_and_verifies(finished: Desk) -> None:
    out = finished.folder / "even"
    args = ["--rows", "121", "--balance", "sex=F:0.5,M:0.5", "--balance", "ill=equal", "--where", "age=20..80"]
    assert cli("sample", finished.study, *args, "--out", str(out)).code == 0
    found = verify(out, trust=finished.folder / "trust.json")
    shares = [{"value": "F", "share": 0.5}, {"value": "M", "share": 0.5}]
    assert (found.rows, found.balance, found.draw) == (121, {"sex": shares, "ill": "equal"}, "even")
    rows = pd.read_parquet(out / "data" / "table.parquet")
    counts = rows.groupby(["sex", "ill"], observed=True).size()
    assert len(counts) == 4 and set(counts) == {30, 31}
    assert "shares that were chosen, not measured: of `ill` each value the same share" in (out / "card.md").read_text()


def test_rows_may_be_independent(finished: Desk) -> None:
    out = finished.folder / "loose"
    args = ["--rows", "40", "--draw", "independent", "--out", str(out)]
    assert cli("sample", finished.study, *args).code == 0
    assert verify(out, trust=finished.folder / "trust.json").draw == "independent"
    assert "drawn evenly" not in (out / "card.md").read_text()


def test_a_seed_repeats_the_draw(finished: Desk) -> None:
    for name in ("a", "b"):
        args = ["--rows", "30", "--seed", "5", "--out", str(finished.folder / name)]
        assert cli("sample", finished.study, *args).code == 0
    a, b = ((finished.folder / name / "data" / "table.csv").read_bytes() for name in ("a", "b"))
    assert a == b


@pytest.mark.parametrize(
    ("args", "error", "code", "what"),
    [
        (["--rows", "5", "--out", "release"], "StorageError", 2, "exists"),
        (["--rows", "0", "--out", "x"], "ConditionError", 2, "n is 0"),
        (["--rows", "5", "--out", "x", "--seed", "-1"], "ConditionError", 2, "seed is -1"),
        (["--rows", "5", "--out", "x", "--where", "sex"], "ConditionError", 2, "has no `=`"),
        (["--rows", "5", "--out", "x", "--where", "shoe=42"], "ConditionError", 2, "not a learned column"),
        (["--rows", "5", "--out", "x", "--where", "age=200"], "ConditionError", 2, "domain"),
        (["--rows", "5", "--out", "x", "--balance", "sex=fair"], "ConditionError", 2, "has no share"),
        (["--rows", "5", "--out", "x", "--balance", "sex=F:0.5,M:0.4"], "ConditionError", 2, "sum to 0.9"),
        (["--rows", "5", "--out", "x", "--balance", "sex=equal", "--where", "sex=F"], "ConditionError", 2, "also in"),
        (["--rows", "5", "--out", "x", "--draw", "odd"], "ConditionError", 2, "draw is 'odd'"),
        (["--rows", "5", "--out", "x", *FORBIDDEN], "ConditionError", 2, "almost no rows"),
        (["--rows", "5", "--out", "study.yaml/x"], "StorageError", 2, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_or_written_leaves_nothing(
    finished: Desk, monkeypatch: pytest.MonkeyPatch, args: list[str], error: str, code: int, what: str
) -> None:
    monkeypatch.chdir(finished.folder)
    before = finished.files()
    said = cli("sample", "study.yaml", *args, "--json")
    assert (said.code, said.json["error"]) == (code, error)
    assert what in said.json["what"] and said.json["mend"] and said.err.count("\n") == 1
    assert finished.files() == before


def test_without_a_model_or_a_ledger_nothing_is_made(desk: Desk, finished: Desk) -> None:
    said = cli("sample", desk.study, "--rows", "5", "--out", desk.folder / "x", "--json")
    assert (said.code, said.json["error"]) == (4, "ModelError")
    (finished.folder / "ledger.db").unlink()
    said = cli("sample", finished.study, "--rows", "5", "--out", finished.folder / "x", "--json")
    assert (said.code, said.json["error"]) == (4, "LedgerError")
    assert {"ledger.db", "x"}.isdisjoint(desk.files() | finished.files())


def test_under_a_policy_that_changed_the_approval_does_not_stand(finished: Desk) -> None:
    finished.edit("policy.yaml", ("at least: 0.35", "at least: 0.36"))
    said = cli("sample", finished.study, "--rows", "5", "--out", finished.folder / "x", "--json")
    assert (said.code, said.json["error"]) == (4, "HoldError")
    assert "policy changed" in said.json["what"]


def test_a_command_line_is_read_by_the_cells_of_the_model(finished: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the schema's alone: what a fit has learned may be asked for."""
    asked: list[tuple[list[str], Learned]] = []
    for name in ("parse_conditions", "parse_balance"):
        monkeypatch.setattr(resample, name, lambda texts, codec: asked.append((texts, codec.learned)))
    args = ["--where", "sex=F", "--balance", "ill=equal"]
    assert cli("sample", finished.study, "--rows", "5", "--out", finished.folder / "x", *args).code == 0
    learned = load_model(finished.folder / "model").transcript.learned
    assert learned.bins
    assert asked == [(["sex=F"], learned), (["ill=equal"], learned)]
