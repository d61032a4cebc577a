"""Bad input, all of it: a typed error with what, where and mend, the family's exit code, nothing half written,
nothing of a record shown, and no budget spent where nothing was sold. What is wrong in a record's *content* is
handled by rule, and never an error that tells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth import errors
from tests.bad_input import ALL, Bad, Spoil, csv, raw, table
from tests.desk import SECRET, Desk, Said, cli

SHOWN = re.compile(rf"{SECRET}|p[0-9]{{5}}|Traceback|privsynth/[a-z]+\.py", re.IGNORECASE)


def is_one_clear_line(said: Said) -> bool:
    """One line that ends in a mend; where several rules of the policy refuse, a further line for each."""
    first, *others = said.err.rstrip("\n").split("\n")
    listed = all(re.match(r"  (PS-[A-Z]+-[0-9]+ \(|Mend: )", line) for line in others)
    return first.startswith("privsynth: ") and "Mend: " in said.err and listed


@pytest.mark.parametrize("bad", ALL, ids=lambda bad: bad.name)
def test_is_refused_by_type_with_a_mend_and_leaves_nothing(bad: Bad, desk: Desk) -> None:
    bad.spoil(desk)
    before, sold = desk.files(), desk.kinds().count("reserve")
    said = desk.run("--json")

    told = said.json
    assert (told["error"], said.code) == (bad.error, bad.code)
    assert told["exit_code"] == said.code == getattr(errors, bad.error).exit_code
    assert set(told) - {"refused_by"} == {"privsynth", "error", "what", "where", "mend", "exit_code"}
    assert bad.what in told["what"]
    assert bad.mend in told["mend"] or bad.mend in told["what"]
    assert bad.where in told["where"] or bad.where in told["what"]
    assert is_one_clear_line(said), said.err
    assert not SHOWN.search(said.out + said.err)

    assert desk.files() - before <= {"ledger.db", "ledger.db.key"}
    assert desk.kinds().count("reserve") == sold


def test_every_family_is_in_the_table() -> None:
    assert {bad.code for bad in ALL} == {1, 2, 3, 4}
    assert len({bad.name for bad in ALL}) == len(ALL)


def test_the_check_of_one_line_fires() -> None:
    assert not is_one_clear_line(Said(2, "", "Traceback (most recent call last):\n  File\n"))
    assert not is_one_clear_line(Said(2, "", "privsynth: no\n"))
    assert not is_one_clear_line(Said(2, "", "privsynth: no. Mend: do\nand more\n"))


# --- content ---------------------------------------------------------------------------------------

FUTURE = pd.Timestamp("2099-01-01")
CONTENT: dict[str, Spoil] = {
    "values outside their domains": table(lambda f: some(f, age=-5, cost=1e9, sex=SECRET, seen=FUTURE)),
    "nulls where none are declared": table(lambda f: some(f, age=None, cost=None, sex=None, seen=None, ill=None)),
    "every value outside its domain": table(lambda f: f.assign(age=-5, cost=1e9, sex=SECRET, seen=FUTURE)),
    "words where numbers are declared": csv(lambda raw: raw.replace(b",F,", f",{SECRET},".encode())),
    "one row": table(lambda f: f.head(1)),
    "no row": table(lambda f: f.head(0)),
    "a header and no row": csv(lambda raw: raw.split(b"\n", 1)[0] + b"\n"),
    "one subject": table(lambda f: f.assign(person=f["person"].iloc[0])),
    "no subject": table(lambda f: f.assign(person=None)),
    "constant columns": table(lambda f: f.assign(age=40, sex="F", smoker=True, cost=0.0, seen=f["seen"][0], ill=True)),
    "only rows that cannot be": table(lambda f: f.assign(sex="X", ill=True)),
    "a column of nulls": table(lambda f: f.assign(smoker=pd.array([None] * len(f), dtype="boolean"))),
    "nobody agrees": raw("consent.csv", lambda raw: raw.replace(b"granted", b"withdrawn")),
    "a register that nobody can read": raw("consent.csv", lambda raw: raw.replace(b"granted", SECRET.encode())),
}
RULE = re.compile(r"PS-GATE-[A-Z]{3} [a-z -]+ \(limit: [a-z0-9%., ]+, [^ ]+policy\.yaml:[0-9]+\)")


def some(frame: pd.DataFrame, every: int = 3, **values: Any) -> pd.DataFrame:
    """Every third row with these values; what is left of each column keeps its storage type."""
    hit = np.arange(len(frame)) % every == 0
    for name, value in values.items():
        plain: pd.Series[Any] = frame[name].convert_dtypes() if name in ("age", "ill") else frame[name]
        frame = frame.assign(**{name: plain.mask(hit, value)})
    return frame


@pytest.mark.parametrize("name", CONTENT)
def test_content_never_stops_a_run_and_never_shows(name: str, desk: Desk) -> None:
    """Whatever the rows hold: a release, or a refusal by the gate's rules and limits, which are public."""
    CONTENT[name](desk)
    said = desk.run("--json")
    told = said.json
    assert not SHOWN.search(said.out + said.err)
    assert desk.kinds().count("reserve") == desk.kinds().count("gate") == 1
    if said.code == 0:
        assert desk.release.is_dir()
        return
    assert (said.code, told["error"]) == (1, "ReleaseRefused")
    assert is_one_clear_line(said)
    assert not desk.release.exists()
    shown = told["what"].removeprefix("the gate refused this model: ").split("; ")
    assert all(RULE.fullmatch(part) for part in shown), shown
    assert [part.split(" ")[0] for part in shown] == told["refused_by"]


def test_few_faults_pass_and_are_listed_inside(desk: Desk) -> None:
    table(lambda f: some(f, every=50, age=-5, cost=1e9, sex=SECRET, seen=FUTURE))(desk)
    assert desk.run().code == 0
    inside = cli("data", "check", desk.folder / "data.parquet", "--schema", desk.folder / "schema.yaml", "--json")
    faults = {(fault["column"], fault["rule"]) for fault in inside.json["faults"]}
    assert {("age", "clip"), ("cost", "clip"), ("sex", "drop"), ("seen", "clip")} <= faults
    assert inside.json["internal"] is True
