"""Schema to and from SDV's ``Metadata`` (sdv 2, its format V2).

Both say what a table's columns are. SDV's ranges carry values, bounds, decimals and nullability; bins, atoms,
rules, the subject and the source have no place there. A schema cannot carry keys, sequences, relations, regular
expressions, datetime formats and SDV's kinds of personal data. So each direction takes ``like``: what one
side cannot say comes from there, and is never guessed. With it both round trips are exact.

SDV's ``detect_from_dataframes`` reads its ranges off the rows. So ranges of a metadata object are never taken
as a domain, unless the caller declares them public.

sdv is under the Business Source License 1.1 (docs/dependencies.md): imported only inside these functions.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from privsynth.data.columns import (
    Boolean,
    Categorical,
    Column,
    Date,
    Datetime,
    Identifier,
    Image,
    Integer,
    Real,
    Text,
)
from privsynth.data.draft_text import schema_text, todo
from privsynth.data.schema import Schema, Subject
from privsynth.documents import plain
from privsynth.errors import MissingExtra, SchemaError

if TYPE_CHECKING:
    from sdv.metadata import Metadata

DAYS, MOMENTS = "%Y-%m-%d", "%Y-%m-%d %H:%M:%S"
_HELD = (dt.datetime(1678, 1, 1), dt.datetime(2262, 1, 1))
"""SDV holds moments as nanoseconds; ranges beyond these ends have no form there."""
_CLOCK = ("%H", "%I", "%M", "%S", "%p", "%c", "%X", "%T", "%R", "%f")
_FITS: Mapping[type, frozenset[str]] = {  # which sdtypes may stand for a kind
    Categorical: frozenset({"categorical", "ordinal"}),
    Boolean: frozenset({"boolean", "categorical"}),
    Integer: frozenset({"numerical", "ordinal", "categorical"}),
    Real: frozenset({"numerical"}),
    Date: frozenset({"datetime"}),
    Datetime: frozenset({"datetime"}),
}
_OURS = {"range_min", "range_max", "range_values", "range_is_nullable", "high_cardinality", "decimal_places"}
_COLUMN: pydantic.TypeAdapter[Column] = pydantic.TypeAdapter(Column)
Said = dict[str, Any]


def to_sdv(schema: Schema, *, table: str | None = None, like: Metadata | None = None) -> Metadata:
    """``schema`` as SDV metadata of one table, with its public domains as SDV's ranges.

    Args:
        table: its name there; the name of ``like``'s only table, else ``table``.
        like: metadata from which keys, formats and other things that a schema cannot say are kept.

    Raises:
        MissingExtra: sdv is not installed.
        SchemaError: ``like`` is not metadata of such a table.
    """
    kept: Said = {}
    if like is not None:
        table, kept = _one_table(like, table)
    known = kept.get("columns", {})
    columns = {name: _described(column, known.get(name)) for name, column in schema.columns.items()}
    made = {"tables": {table or "table": {**kept, "columns": columns}}, "relationships": []}
    metadata: Metadata = _metadata().load_from_dict({**made, "METADATA_SPEC_VERSION": "V2"})
    _check(metadata)
    return metadata


def from_sdv(metadata: Metadata, *, like: Schema, table: str | None = None) -> Schema:
    """The schema of ``metadata``'s columns, in its order; domains, rules, subject and source from ``like``.

    Raises:
        SchemaError: the columns are not those of ``like``, or of other kinds.
    """
    _, said = _one_table(metadata, table)
    columns = said.get("columns", {})
    if set(columns) != set(like.columns):
        apart = sorted(set(columns) ^ set(like.columns))
        raise SchemaError(
            f"metadata and schema name different columns: {', '.join(apart[:5])}",
            where="metadata",
            mend="declare them in `like`; `draft_from_sdv` drafts a schema without one",
        )
    for name, column in columns.items():
        declared = like.columns[name]
        fits = _FITS.get(type(declared))
        if fits is not None and declared.learned and column["sdtype"] not in fits:
            raise SchemaError(
                f"column {name!r} is {column['sdtype']} in the metadata and {declared.kind} in the schema",
                where="metadata",
                mend="correct the one that is wrong",
            )
    value = like.to_json()
    by_name = {column["name"]: column for column in value["columns"]}
    return Schema.from_json({**value, "columns": [by_name[name] for name in columns]}, where="metadata")


def draft_from_sdv(
    metadata: Metadata,
    *,
    source: str,
    subject: Subject | None = None,
    table: str | None = None,
    ranges: Literal["unknown", "public"] = "unknown",
) -> str:
    """A schema, as YAML, drafted from metadata: kinds from its sdtypes, every domain a TODO.

    Args:
        source: the name under which the policy registers the data.
        subject: who is protected; a TODO without it.
        ranges: ``public`` takes the metadata's ranges as domains, and records that. Say so only where a
            person wrote them: ranges that SDV detected are values of the rows.

    Raises:
        SchemaError: not one whole table of metadata.
    """
    _, said = _one_table(metadata, table)
    columns = []
    for name, column in said["columns"].items():
        declared = _declared(column)
        if ranges == "public":
            declared |= _domain(declared, column)
        columns.append((name, declared, f"sdtype {column['sdtype']}"))
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()
    return schema_text(
        source,
        columns,
        subject=None if subject is None else plain(subject),
        public_from=f"SDV metadata {digest}" if ranges == "public" else None,
    )


# --- a column in SDV's words ------------------------------------------------------------------------


def _described(column: Column, like: Mapping[str, Any] | None) -> Said:
    """SDV's description of ``column``; what only SDV can say is kept from ``like``."""
    said = _own(column)
    if like is None:
        return said
    if isinstance(column, Text | Image):
        return dict(like)
    if like["sdtype"] not in _FITS.get(type(column), {like["sdtype"]}):
        return said
    kept = {key: part for key, part in like.items() if key not in _OURS}
    match column:
        case Date() | Datetime():
            said = _moments(column, like.get("datetime_format"))
        case Boolean() if like["sdtype"] == "categorical":
            said |= {"range_values": sorted((True, False), key=_order(like))}
        case Integer() if like["sdtype"] != "numerical":
            return said
        case Real(decimals=None) if "decimal_places" in like:
            said |= {"decimal_places": like["decimal_places"]}
        case Identifier(nullable=False) if "range_is_nullable" not in like:
            del said["range_is_nullable"]
    if "high_cardinality" in like:
        said |= {"high_cardinality": False}
    return {**said, **kept}


def _order(like: Mapping[str, Any]) -> Callable[[bool], int]:
    listed = list(like.get("range_values", ()))
    return lambda value: listed.index(value) if value in listed else len(listed)


def _own(column: Column) -> Said:
    nullable = {"range_is_nullable": column.nullable}
    match column:
        case Categorical(values=values):
            listed = {"range_values": list(values)} if values else {}
            return {"sdtype": "ordinal" if column.ordered else "categorical", **listed, **nullable}
        case Boolean():
            return {"sdtype": "boolean", **nullable}
        case Integer(min=low, max=high):
            return {"sdtype": "numerical", "range_min": low, "range_max": high, "decimal_places": 0, **nullable}
        case Real(min=low, max=high, decimals=decimals):
            rounded = {} if decimals is None else {"decimal_places": decimals}
            return {"sdtype": "numerical", "range_min": low, "range_max": high, **rounded, **nullable}
        case Date():
            return _moments(column, DAYS)
        case Datetime():
            return _moments(column, MOMENTS)
        case Identifier():
            return {"sdtype": "id", **nullable}
        case _:
            return {"sdtype": "unknown", "pii": True}


def _moments(column: Date | Datetime, form: str | None) -> Said:
    said: Said = {"sdtype": "datetime", "range_is_nullable": column.nullable}
    said |= {} if form is None else {"datetime_format": form}
    for key, end in (("range_min", column.min), ("range_max", column.max)):
        moment = end if isinstance(end, dt.datetime) else dt.datetime(end.year, end.month, end.day)
        if _HELD[0] <= moment < _HELD[1]:
            said[key] = moment.strftime(form or MOMENTS)
    return said


# --- a column in ours ---------------------------------------------------------------------------------


def _declared(said: Mapping[str, Any]) -> Said:
    """The kind that an sdtype stands for, its domain left open."""
    match said["sdtype"]:
        case "numerical":
            return todo("integer" if said.get("decimal_places") == 0 else "real")
        case "datetime":
            form = said.get("datetime_format") or MOMENTS
            return todo("datetime" if any(part in form for part in _CLOCK) else "date")
        case "categorical" | "ordinal" as kind:
            values = said.get("range_values") or ()
            if values and all(isinstance(_plain(v), bool) for v in values):
                return todo("boolean")
            ordered = {"ordered": True} if kind == "ordinal" else {}
            return {"kind": "categorical", "values": "TODO a public list", **ordered, "nullable": "TODO true or false"}
        case "boolean":
            return todo("boolean")
        case "id":
            return {"kind": "identifier"}
        case "unknown":
            return todo("text")
        case _:  # SDV's kinds of personal data: names, addresses, numbers of cards
            return {"kind": "text", "dropped": True}


def _domain(declared: Said, said: Mapping[str, Any]) -> Said:
    """The domain that declared public ranges give; nothing where they give none."""
    nullable = {"nullable": said["range_is_nullable"]} if "range_is_nullable" in said else {}
    low, high = _plain(said.get("range_min")), _plain(said.get("range_max"))
    found: Said = {}
    match declared["kind"]:
        case "integer" | "real":
            places = said.get("decimal_places")
            found = {"min": low, "max": high}
            found |= {"decimals": places} if declared["kind"] == "real" and places is not None else {}
        case "date" | "datetime" as kind:
            found = {"min": _moment(low, said, kind), "max": _moment(high, said, kind)}
        case "categorical":
            listed = [_plain(v) for v in said.get("range_values", ())]
            whole = all((isinstance(v, float) and v.is_integer()) or isinstance(v, int) for v in listed)
            found = {"values": [int(v) for v in listed] if whole else listed}
    try:
        _COLUMN.validate_python({"kind": declared["kind"], **found})
    except pydantic.ValidationError:
        return nullable if declared["kind"] not in ("identifier", "text") else {}
    return found | (nullable if "nullable" in declared or nullable.get("nullable") else {})


def _moment(text: object, said: Mapping[str, Any], kind: str) -> object:
    try:
        form = said.get("datetime_format")
        moment = dt.datetime.strptime(str(text), form) if form else dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.date() if kind == "date" else moment


def _plain(value: Any) -> Any:
    """numpy's scalars as Python's."""
    return value.item() if hasattr(value, "item") else value


# --- sdv ----------------------------------------------------------------------------------------------


def _metadata() -> Any:
    try:
        from sdv.metadata import Metadata
    except ImportError:
        raise MissingExtra("SDV metadata needs sdv", mend="pip install 'privsynth[sdv]'") from None
    return Metadata


def _check(metadata: Metadata) -> None:
    """SDV's own check; its words are not repeated, for they may quote detected ranges."""
    from sdv.metadata.errors import InvalidMetadataError

    try:
        metadata.validate()
    except InvalidMetadataError:
        raise SchemaError(
            "SDV's own check refuses the metadata", where="metadata", mend="`metadata.validate()` says why"
        ) from None


def _one_table(metadata: Metadata, table: str | None) -> tuple[str, Said]:
    """The name and description of the one table that is meant."""
    _metadata()
    _check(metadata)
    tables = metadata.to_dict()["tables"]
    if table is None and len(tables) == 1:
        table = next(iter(tables))
    if table not in tables:
        raise SchemaError(
            f"the metadata has tables {', '.join(tables)}", where="metadata", mend="name one of them with `table`"
        )
    return str(table), dict(tables[table])
