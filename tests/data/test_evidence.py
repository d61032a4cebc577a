"""What was asked of a column, in values that a file can hold."""

from __future__ import annotations

import datetime as dt
import enum
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privsynth.data.codec import Between
from privsynth.data.evidence import as_json, plain
from privsynth.errors import ConditionError


class Sex(enum.StrEnum):
    """Text with a name of its own."""

    FEMALE = "F"


PLAIN: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (np.bool_(False), False),
    (np.int64(3), 3),
    (np.float32(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (Decimal("0.5"), 0.5),
    (Fraction(1, 2), 0.5),
    (np.str_("F"), "F"),
    (Sex.FEMALE, "F"),
    (dt.date(2020, 1, 2), "2020-01-02"),
    (dt.datetime(2020, 1, 2), "2020-01-02"),
    (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02 03:04:05"),
    (dt.datetime(2020, 1, 2, tzinfo=dt.UTC), "2020-01-02 00:00:00+00:00"),
    (pd.Timestamp("2020-01-02"), "2020-01-02"),
    (pd.Timestamp("2020-01-02 03:04"), "2020-01-02 03:04:00"),
    (np.datetime64("2020-01-02"), "2020-01-02"),
    (np.datetime64("2020-01-02T03:04:05", "ns"), "2020-01-02 03:04:05"),
    (range(3), [0, 1, 2]),
    (np.arange(2000), list(range(2000))),
    (np.array([["F"], ["M"]]), ["F", "M"]),
    (np.array(3), [3]),
    (pd.Series([0, 1]), [0, 1]),
    (pd.Index(["F", "M"]), ["F", "M"]),
    (pd.Series(pd.to_datetime(["2020-01-02"])), ["2020-01-02"]),
    ({0: 1, 5: 1}.keys(), [0, 5]),
    ({"M", "F"}, ["F", "M"]),
    ((0, np.int64(1), None), [0, 1, None]),
    (Between(dt.datetime(2020, 1, 2), None), Between("2020-01-02", None)),
    ([Between(Decimal("0.5"), np.int64(2))], [Between(0.5, 2)]),
]


@pytest.mark.parametrize(("asked", "wanted"), PLAIN)
def test_what_was_asked_becomes_plain_values_and_exactly_those(asked: Any, wanted: Any) -> None:
    def types(value: Any) -> Any:
        if isinstance(value, Between):
            return types(value.low), types(value.high)
        return [types(item) for item in value] if isinstance(value, list) else type(value)

    found = plain(asked)
    assert found == wanted
    assert types(found) == types(wanted)
    assert plain(found) == found
    told = as_json(asked)
    assert json.loads(json.dumps(told)) == told
    if isinstance(found, Between):
        assert told == {"from": found.low, "to": found.high}


@pytest.mark.parametrize(
    "asked",
    [
        b"F", pd.NaT, pd.NA, object(), dt.time(1), dt.timedelta(1), 1j, {"from": 1}, [[1, 2]], [{"from": 1}],
        Between([1], None), Between(Between(1, 2), None), iter([1]), np.timedelta64(1, "s"), np.datetime64("NaT"),
    ],
)  # fmt: skip
def test_what_no_file_can_hold_is_refused(asked: Any) -> None:
    for way in (plain, as_json):
        with pytest.raises(ConditionError, match="no value of a column") as caught:
            way(asked)
        assert caught.value.where and caught.value.mend
