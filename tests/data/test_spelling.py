"""Ids that may be second spellings: who is told of them, and that nothing else changes."""

from __future__ import annotations

import pandas as pd
import pytest

from privsynth.data.spelling import odd_ids
from privsynth.data.tables import check_table, read_table
from tests.data import made

DECIMAL, HIDDEN = "kept, ends in .0", "kept, holds what nobody sees"


@pytest.mark.parametrize(
    ("id_", "kinds"),
    [
        ("7.0", {DECIMAL}),
        ("7.00", {DECIMAL}),
        ("7", set()),
        ("7.05", set()),
        ("a.0", set()),
        (".0", set()),
        ("x\u200b", {HIDDEN}),
        ("x\u00a0y", {HIDDEN}),
        ("x\u00ad", {HIDDEN}),
        ("x\0", {HIDDEN}),
        ("7\u2060.0", {HIDDEN}),
        ("x\u20607.0", {DECIMAL, HIDDEN}),
        ("Mu\u0308ller, J.", set()),
        (None, set()),
    ],
)
def test_an_id_is_odd_by_its_own_text(id_: str | None, kinds: set[str]) -> None:
    assert {kind for kind, mask in odd_ids([id_]).items() if mask[0]} == kinds


def test_the_check_lists_them_and_a_reader_takes_them_as_they_are() -> None:
    frame = pd.DataFrame({"person": [7.0, None, 8.0], "age": [1, 1, 1]})
    schema = made.schema({"person": {"kind": "identifier"}, "age": {"kind": "integer", "min": 0, "max": 9}})
    assert {(f.column, f.rule): f.first for f in check_table(frame.astype({"person": "string"}), schema)} == {
        ("person", "drop"): (1,),
        ("person", DECIMAL): (0, 2),
    }
    records = read_table(frame.astype({"person": "string"}), schema)
    assert records.subjects.tolist() == ["7.0", "8.0"]
    assert dict(records.faults) == {("person", "drop"): 1}
