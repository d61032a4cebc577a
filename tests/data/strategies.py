"""Any schema, for property tests: names and values with odd characters, every kind, every rule."""

from __future__ import annotations

import datetime as dt
import unicodedata
from typing import Any

from hypothesis import strategies as st

from privsynth.data.columns import EXACT, unfit
from privsynth.data.schema import Order, Schema

HELD_BY_SDV = (dt.date(1678, 1, 1), dt.date(2261, 12, 31))

_ODD = [
    "yes",
    "null ",
    "1e-9",
    "007",
    "12:30",
    "a: b",
    "# x",
    "- x",
    "[",
    "}",
    "'",
    '"',
    "\\",
    "é",
    "x\ny",
    "\t x",
    "🙂",
    "=",
]


def texts(**keywords: Any) -> st.SearchStrategy[str]:
    """Values of a categorical column: anything that people can review."""
    free = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=8)
    either = st.one_of(free, st.sampled_from(_ODD)).map(lambda t: unicodedata.normalize("NFC", t))
    return either.filter(lambda t: not unfit(t, breaks="\t\n") and t not in ("null", "drop"))


names = texts().filter(lambda t: not unfit(t) and t == t.strip())
days = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)).map(lambda m: m.replace(microsecond=0))
wholes = st.integers(-EXACT, EXACT)
reals = st.floats(-1e300, 1e300, allow_nan=False)


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    """The JSON form of a column, without its name."""
    kind = draw(
        st.sampled_from(["categorical", "integer", "real", "boolean", "date", "datetime", "identifier", "text"])
    )
    nullable = draw(st.booleans())
    out: dict[str, Any] = {"kind": kind, "nullable": nullable, "dropped": draw(st.booleans()) or kind == "text"}
    match kind:
        case "categorical":
            listed = st.lists(texts(), min_size=1, max_size=6, unique_by=str.strip)
            out["values"] = draw(st.one_of(listed, st.lists(wholes, min_size=1, max_size=6, unique=True)))
            out["ordered"] = draw(st.booleans())
            out["outside"] = draw(st.sampled_from([None, "drop", *(["null"] if nullable else []), *out["values"]]))
        case "boolean":
            out["outside"] = draw(st.sampled_from(["drop", *(["null"] if nullable else [])]))
        case "integer" | "real" | "date" | "datetime":
            of: Any = {"integer": wholes, "real": reals, "date": days, "datetime": moments}[kind]
            ends = sorted(draw(st.lists(of, min_size=2, max_size=5, unique=True)))
            out |= {
                "min": ends[0],
                "max": ends[-1],
                "outside": draw(st.sampled_from(["clip", "drop", *(["null"] if nullable else [])])),
            }
            if kind != "datetime" and len(ends) > 2:
                out["bins"] = ends[1:-1]
            if kind == "real":
                out["atoms"] = draw(st.lists(st.sampled_from(ends), unique=True))
                out["decimals"] = None if out["atoms"] else draw(st.one_of(st.none(), st.integers(0, 15)))
    return {key: value for key, value in out.items() if value is not None}


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A whole schema that loads."""
    held: dict[str, dict[str, Any]] = draw(st.dictionaries(names, columns(), max_size=5))
    held["learned"] = {"kind": "integer", "min": 0, "max": 9}
    held["flag"] = {"kind": "boolean", "nullable": True}
    held["later"] = {"kind": "real", "min": 0, "max": 99.5}
    value: dict[str, Any] = {
        "privsynth-schema": 1,
        "source": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,9}", fullmatch=True)),
        "never": draw(st.sampled_from([[], [{"flag": None, "learned": 3}], [{"flag": True, "learned": 0}]])),
        "order": draw(st.sampled_from([[], ["learned <= later"], ["learned<later", "later <= learned"][:1]])),
    }
    if draw(st.booleans()):
        key = draw(names)
        held[key] = {"kind": "identifier"}
        value["subject"] = {"column": key, "at most": f"{draw(st.integers(2, 999_999))} rows"}
    else:
        value["subject"] = {"each row is a": draw(names), "a person has at most": "1 row"}
    if draw(st.booleans()):
        value["public from"] = draw(names)
    order = draw(st.permutations(sorted(held)))
    value["columns"] = [{"name": name, **held[name]} for name in order]
    schema = Schema.from_json(value)
    assert all(isinstance(rule, Order) for rule in schema.orders)
    return schema
