"""Records → Granted: which rows stay, by which evidence, and what is refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.records import Records
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_table
from privsynth.errors import ConsentError, RequestDenied, UsageError
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, load_policy

Edit = Callable[..., Policy]
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
HEAD = "subject,purpose,recipient,status,from,until\n"
USE: dict[str, Any] = {"purpose": "medical-research", "recipient": "university-hospital"}


def table(ids: list[str], **columns: list[Any]) -> Records:
    """A table of ehr/encounters: one row per entry of ``ids``."""
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {column: patient_id, at most: 12 rows}\n"
        "columns:\n  patient_id: {kind: identifier}\n  age: {kind: integer, min: 0, max: 120}\n"
    )
    frame = pd.DataFrame({"age": range(len(ids)), **columns})
    return Records(schema, frame, np.array(ids, dtype=object).reshape(-1))


def kept(records: Records) -> list[int]:
    """Which rows stayed: ``age`` numbers them."""
    return [int(age) for age in records.frame["age"]]


@pytest.fixture
def register(tmp_path: Path) -> Callable[..., Path]:
    """Write a register of these lines."""

    def write(*lines: str) -> Path:
        path = tmp_path / "consent.csv"
        path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
        return path

    return write


def grant(subject: str) -> str:
    return f"{subject},medical-research,university-hospital,granted,2026-01-01,"


def test_by_register(healthcare: Policy, register: Callable[..., Path]) -> None:
    records = table(["p1", "p2", "p1", " p3 ", "p4"])
    path = register(grant("p1"), grant("p3"), grant("p4"), grant("p4").replace("granted", "withdrawn"))
    granted = filter_consent(records, healthcare, register=path, now=NOW, **USE)
    assert kept(granted.records) == [0, 2, 3]
    assert list(granted.records.subjects) == ["p1", "p1", " p3 "]
    assert granted.consent == "register"
    assert granted.policy == healthcare.sha256
    assert (granted.purpose, granted.recipient) == ("medical-research", "university-hospital")
    assert repr(granted) == ("Granted('ehr/encounters', purpose='medical-research', recipient='university-hospital')")


def test_nobody_granted_is_no_error(healthcare: Policy, register: Callable[..., Path]) -> None:
    granted = filter_consent(table(["p1", "p2"]), healthcare, register=register(), now=NOW, **USE)
    assert kept(granted.records) == []
    empty = filter_consent(table([]), healthcare, register=register(grant("p1")), now=NOW, **USE)
    assert kept(empty.records) == []


def test_a_bad_line_denies_its_subject_only(healthcare: Policy, register: Callable[..., Path]) -> None:
    path = register(grant("p1"), grant("p2"), "p2,medical-research,*,granted,not a day,", "p9,?,?,?,?,?")
    granted = filter_consent(table(["p1", "p2", "p3"]), healthcare, register=path, now=NOW, **USE)
    assert kept(granted.records) == [0]


def test_one_subject_moves_nobody_else(healthcare: Policy, register: Callable[..., Path]) -> None:
    """With and without p2, rows and lines: the others' rows are the same."""
    lines = {s: [grant(s)] for s in ("p1", "p2", "p4")}
    lines["p2"].append("p2,medical-research,*,broken,,")
    whole = filter_consent(
        table(["p1", "p2", "p3", "p4", "p2"]), healthcare, register=register(*chain(*lines.values())), now=NOW, **USE
    )
    del lines["p2"]
    without = filter_consent(
        table(["p1", "p3", "p4"]), healthcare, register=register(*chain(*lines.values())), now=NOW, **USE
    )
    assert list(whole.records.subjects) == list(without.records.subjects) == ["p1", "p4"]


def test_expiry_is_judged_at_now(healthcare: Policy, register: Callable[..., Path]) -> None:
    path = register(grant("p1") + "2026-06-30")
    for day, rows in ((15, [0]), (30, [0])):
        moment = datetime(2026, 6, day, 12, tzinfo=UTC)
        assert kept(filter_consent(table(["p1"]), healthcare, register=path, now=moment, **USE).records) == rows
    later = datetime(2026, 7, 1, tzinfo=UTC)
    assert kept(filter_consent(table(["p1"]), healthcare, register=path, now=later, **USE).records) == []


def test_register_asked_for_and_none_given(healthcare: Policy) -> None:
    with pytest.raises(RequestDenied) as caught:
        filter_consent(table(["p1"]), healthcare, now=NOW, **USE)
    assert caught.value.rules == ("PS-CON-001",)
    assert caught.value.where == healthcare.where("consent", "by")
    assert "register" in caught.value.mend
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", ["finance", "research-sandbox"])
def test_register_given_and_not_used(policies: Path, register: Callable[..., Path], name: str) -> None:
    policy = load_policy(policies / f"{name}.yaml")
    with pytest.raises(ConsentError, match="does not use one") as caught:
        filter_consent(table(["p1"]), policy, register=register(grant("p1")), now=NOW, **USE)
    assert caught.value.where == policy.where("consent", "by")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"purpose": "marketing"}, ("PS-PUR-001", "PS-REC-002")),
        ({"recipient": "insurer"}, ("PS-REC-001", "PS-REC-002")),
        ({"now": datetime(2032, 1, 1, tzinfo=UTC)}, ("PS-VAL-001",)),
    ],
)
def test_denied_before_the_register_is_read(healthcare: Policy, change: dict[str, Any], rules: tuple[str, ...]) -> None:
    arguments: dict[str, Any] = {**USE, "now": NOW, "register": "does-not-exist.csv", **change}
    with pytest.raises(RequestDenied) as caught:
        filter_consent(table(["p1"]), healthcare, **arguments)
    assert caught.value.rules == rules


def test_an_unregistered_source(edited: Edit, register: Callable[..., Path]) -> None:
    policy = edited(("ehr/encounters:", "ehr/other:"))
    with pytest.raises(RequestDenied) as caught:
        filter_consent(table(["p1"]), policy, register=register(grant("p1")), now=NOW, **USE)
    assert caught.value.rules == ("PS-SRC-001",)


def test_a_missing_register(healthcare: Policy) -> None:
    with pytest.raises(ConsentError, match="no such consent register"):
        filter_consent(table(["p1"]), healthcare, register="does-not-exist.csv", now=NOW, **USE)


def test_now_needs_a_zone(healthcare: Policy, register: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="time zone"):
        filter_consent(table(["p1"]), healthcare, register=register(), now=datetime(2026, 6, 15), **USE)


def test_rows_without_subjects_have_no_register(healthcare: Policy, register: Callable[..., Path]) -> None:
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {each row is a: visit, a person has at most: 5 rows}\n"
        "columns:\n  age: {kind: integer, min: 0, max: 120}\n"
    )
    records = Records(schema, pd.DataFrame({"age": [1]}), np.array(["0"], dtype=object))
    with pytest.raises(ConsentError, match="no subject column"):
        filter_consent(records, healthcare, register=register(grant("0")), now=NOW, **USE)


def test_not_required(edited: Edit) -> None:
    policy = edited(("  by: register", "  by: not-required\n  because: the rows are public"))
    granted = filter_consent(table(["p1", "p2"]), policy, now=NOW, **USE)
    assert kept(granted.records) == [0, 1]
    assert granted.consent == "none"


# --- columns -------------------------------------------------------------------------------------


def by_column(edited: Edit, granted: str) -> Policy:
    columns = f"{{medical-research: {{column: agrees, granted: {granted}}}}}"
    return edited(("  by: register", f"  by: columns\n  columns: {columns}"))


def with_column(kind: str, ids: list[str], values: list[Any]) -> Records:
    """As read by the data room: the consent column declared as ``kind``."""
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {column: patient_id, at most: 12 rows}\n"
        "columns:\n  patient_id: {kind: identifier}\n  age: {kind: integer, min: 0, max: 120}\n"
        f"  agrees: {kind}\n"
    )
    return read_table(pd.DataFrame({"patient_id": ids, "age": range(len(ids)), "agrees": values}), schema)


IDS = ["p1", "p1", "p2", "p2", "p3", "p4"]


@pytest.mark.parametrize(
    ("kind", "granted", "values", "rows"),
    [
        ("{kind: text, dropped: true}", "[yes]", ["yes", "yes", "yes", "no", " yes ", None], [0, 1, 4]),
        ("{kind: text, dropped: true}", "[yes, y]", ["yes", "y", "Y", "yes", "", "y"], [0, 1, 5]),
        ("{kind: boolean, nullable: true}", "[true]", [True, True, True, False, None, True], [0, 1, 5]),
        (
            "{kind: categorical, values: [yes, no], nullable: true}",
            "[yes]",
            ["yes"] * 3 + ["no", None, "yes"],
            [0, 1, 5],
        ),
        ("{kind: categorical, values: [1, 2], nullable: true}", "[1]", [1, 1, 1, 2, None, 1], [0, 1, 5]),
        ("{kind: categorical, values: [1, 2], nullable: true}", "[true]", [1, 1, 1, 2, None, 1], []),
    ],
)
def test_by_columns(edited: Edit, kind: str, granted: str, values: list[Any], rows: list[int]) -> None:
    """All of a subject's rows must grant; null, unknown and other values do not."""
    records = with_column(kind, IDS, values)
    result = filter_consent(records, by_column(edited, granted), now=NOW, **USE)
    assert kept(result.records) == rows
    assert result.consent == "columns"


@pytest.mark.parametrize(
    "kind",
    [
        "{kind: integer, min: 0, max: 1}",
        "{kind: categorical, values: [1, 0], outside: 1}",
    ],
)
def test_a_schema_that_could_turn_a_no_into_a_yes(edited: Edit, kind: str) -> None:
    """A 9 clipped to 1, or mapped to it, is no grant."""
    records = with_column(kind, IDS, [1, 1, 9, 9, 0, 1])
    with pytest.raises(ConsentError, match="turns faulty values") as caught:
        filter_consent(records, by_column(edited, "[1]"), now=NOW, **USE)
    assert caught.value.where.startswith("policy.yaml:")


def test_a_column_that_the_data_lack(edited: Edit) -> None:
    with pytest.raises(ConsentError, match="hold no column 'agrees'") as caught:
        filter_consent(table(["p1"]), by_column(edited, "[yes]"), now=NOW, **USE)
    assert caught.value.exit_code == 2
    assert "dropped: true" in caught.value.mend


def test_odd_cells_are_a_no(edited: Edit) -> None:
    ids = ["a", "b", "c", "d", "e", "f"]
    schema = with_column("{kind: text, dropped: true}", ids, ["1"] * 6).schema
    cells = pd.Series(["1", 1, 1.0, 1.5, float("nan"), b"1"], dtype=object)
    records = Records(schema, pd.DataFrame({"age": range(6), "agrees": cells}), np.array(ids, dtype=object))
    assert kept(filter_consent(records, by_column(edited, "[1]"), now=NOW, **USE).records) == [0, 1, 2]


def test_a_no_on_a_row_that_is_dropped_for_its_content_still_counts() -> None:
    """The schema's rule drops p1's second row (its sex is no value of the list); her no stands all the same."""
    schema = parse_schema(
        "privsynth-schema: 1\nsource: a/one\nsubject: {column: id, at most: 2 rows}\ncolumns:\n"
        "  id: {kind: identifier}\n  sex: {kind: categorical, values: [F, M]}\n  agrees: {kind: text, dropped: true}\n"
    )
    frame = pd.DataFrame(
        {"id": ["p1", "p1", "p2", "p2"], "sex": ["F", "?", "M", "?"], "agrees": ["yes", "no", "yes", "yes"]}
    )
    records = read_table(frame, schema)
    assert list(records.subjects) == ["p1", "p2"]
    policy = load_policy(Path(__file__).parents[1] / "golden" / "policy.yaml")
    granted = filter_consent(records, policy, purpose="research", recipient="lab", now=NOW)
    assert list(granted.records.subjects) == ["p2"]
    assert granted.records.roll is None
