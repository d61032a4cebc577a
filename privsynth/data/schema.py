"""The schema: what is public about a table, declared and reviewed, never inferred from its rows.

Form: docs/schema.md. Every domain (values, bounds, bin edges, nullability, structural zeros) is
public by declaration; the codec, the noise and the sampler take all they know of a column from here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import pydantic

from privsynth.data.columns import (
    EXACT,
    MAX_CELLS,
    MAX_VALUES,
    THERE,
    Boolean,
    Categorical,
    Column,
    Date,
    Datetime,
    Identifier,
    Image,
    Integer,
    Outside,
    Real,
    Scalar,
    Text,
    unfit,
)
from privsynth.data.possible import check_possible
from privsynth.data.rules import (
    Determines,
    Order,
    Subject,
    Sum,
    check_determined,
    check_never,
    check_orders,
    check_sums,
)
from privsynth.data.written import entry
from privsynth.documents import (
    MAX_BYTES,
    Document,
    Strict,
    build,
    fault,
    identity,
    join,
    load_yaml,
    parse_yaml,
    plain,
    read_bytes,
    refuse_null,
    refuse_todo,
)
from privsynth.documents.reading import Place
from privsynth.errors import SchemaError

__all__ = [
    "EXACT",
    "FORMAT",
    "MAX_CELLS",
    "MAX_VALUES",
    "Boolean",
    "Categorical",
    "Column",
    "Date",
    "Datetime",
    "Identifier",
    "Image",
    "Integer",
    "Order",
    "Outside",
    "Real",
    "Scalar",
    "Schema",
    "Subject",
    "Text",
    "load_schema",
    "parse_schema",
]

FORMAT = 1
MAX_LIST_BYTES = 16 * 1024 * 1024


class Schema(Strict):
    """A whole schema, frozen: two are equal when they say the same of the same columns in the same order.

    Load with :func:`load_schema`, or make one from JSON values with :meth:`from_json`.
    """

    format: Annotated[int, pydantic.Field(alias="privsynth-schema")]
    source: str
    subject: Subject
    columns: Annotated[Mapping[str, Column], pydantic.AfterValidator(MappingProxyType)]
    never: tuple[Annotated[Mapping[str, Scalar | None], pydantic.AfterValidator(MappingProxyType)], ...] = ()
    order: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    determines: tuple[Determines, ...] = ()
    public_from: str | None = None

    @pydantic.field_validator("columns", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """The JSON form is a list, for canonical JSON sorts keys and columns have an order."""
        if not isinstance(value, list | tuple):
            return value
        named: dict[Any, Any] = {}
        for i, column in enumerate(value):
            if not isinstance(column, Mapping) or not isinstance(column.get("name"), str) or column["name"] in named:
                raise fault("must be a column with a name of its own", i)
            named[column["name"]] = {key: part for key, part in column.items() if key != "name"}
        return named

    @pydantic.field_validator("format")
    @classmethod
    def _known_format(cls, value: int) -> int:
        if value != FORMAT:
            raise fault(
                f"format {value} is not known; this version reads {FORMAT}", mend=f"`privsynth-schema: {FORMAT}`"
            )
        return value

    @pydantic.field_validator("determines", mode="before")
    @classmethod
    def _rules(cls, value: Any) -> Any:
        """A rule without a map may be written as its text alone."""
        if not isinstance(value, list | tuple):
            return value
        return [{"rule": rule} if isinstance(rule, str) else rule for rule in value]

    @pydantic.field_validator("source")
    @classmethod
    def _source(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", value):
            raise fault("is not a source's name", mend="letters, digits and . _ - /, as registered in the policy")
        return value

    @pydantic.field_validator("public_from")
    @classmethod
    def _public_from(cls, value: str | None) -> str | None:
        if value is not None and (why := unfit(value)):
            raise fault(why, mend="as `privsynth init --from-public` writes it: the file's name and SHA-256")
        return value

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Schema:
        for name in self.columns:
            if (why := unfit(name)) or name != name.strip() or len(name) > 255:
                raise fault(
                    f"the name {name[:40]!r} {why or 'has blanks at its ends or is too long'}",
                    "columns",
                    name,
                    mend="a short name of characters that show; rename the column in the data too",
                )
        if not self.learned and not self.pictures:
            raise fault("no column is learned", "columns", mend="declare at least one column of a kind with a domain")
        column = self.subject.column
        if column is not None and not isinstance(self.columns.get(column), Identifier):
            raise fault(
                f"{column!r} is no identifier of the schema",
                "subject",
                "column",
                mend="name a column of `kind: identifier`",
            )
        for i, rule in enumerate(self.never):
            check_never(rule, self.columns, i)
        check_orders(self.order, self.columns)
        check_sums(self.sums, self.columns)
        check_determined(self.determines, self.columns, self.sums)
        check_possible(self.never, self.order, self.sums, self.determines, self.columns)
        return self

    # --- what other rooms ask -------------------------------------------------------------------

    @property
    def learned(self) -> dict[str, Column]:
        """The columns that a fit looks at, in file order."""
        return {name: c for name, c in self.columns.items() if c.learned}

    @property
    def pictures(self) -> dict[str, Image]:
        """The columns that hold pictures, in file order."""
        return {name: c for name, c in self.columns.items() if isinstance(c, Image) and not c.dropped}

    @property
    def table(self) -> Schema:
        """The schema of the same rows without their pictures; itself where there are none. Of a picture that may be
        missing there stays whether it is there: a category or null."""
        if not self.pictures:
            return self
        told = self.to_json()
        there = Categorical(values=(THERE,), nullable=True)
        kept = [
            {"name": c["name"], **plain(there)} if c["name"] in self.pictures else c
            for c in told["columns"]
            if c["name"] not in self.pictures or self.pictures[c["name"]].nullable
        ]
        return Schema.from_json({**told, "columns": kept})

    @property
    def modelled(self) -> dict[str, Column]:
        """The learned columns that no rule computes from others: those that have cells."""
        computed = self.computed
        return {name: c for name, c in self.learned.items() if name not in computed}

    @property
    def computed(self) -> dict[str, Sum | Determines]:
        """The columns that are computed from others, never modelled, with the rule of each."""
        sums: dict[str, Sum | Determines] = {rule.left: rule for rule in map(Sum.parse, self.sums)}
        return sums | {rule.right: rule for rule in self.determines}

    def not_modelled(self, name: str) -> tuple[str, str]:
        """What a name is that is none of :attr:`modelled`, and what to name instead: the words of errors."""
        rule = self.computed.get(name)
        if rule is None:
            return "not a learned column", f"one of {', '.join(self.modelled)}"
        held = rule.parts if isinstance(rule, Sum) else (rule.left,)
        return f"computed from {join(held)}", f"name {' or '.join(held)} instead"

    @property
    def orders(self) -> tuple[Order, ...]:
        """The ``order`` lines, parsed."""
        return tuple(Order.parse(text) for text in self.order)

    def to_json(self) -> dict[str, Any]:
        """The schema as JSON values, ``values from`` already resolved, the columns as a list in their order."""
        return {**plain(self), "columns": [{"name": name, **plain(c)} for name, c in self.columns.items()]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str = "schema") -> Schema:
        """The schema that :meth:`to_json` wrote.

        Raises:
            SchemaError: not such a value.
        """
        return build(cls, Document(path=where, data=dict(value), sha256="", lines={}), error=SchemaError, mends=_MENDS)

    def to_yaml(self) -> str:
        """The schema as a file that :func:`load_schema` reads back to an equal schema. Keys at their defaults
        are left out.

        Raises:
            SchemaError: the file would be larger than a schema file may be.
        """
        told = self.model_dump(
            by_alias=True,
            exclude_defaults=True,
            include={"source", "subject", "order", "sums", "determines", "public_from"},
        )
        lines = [entry("privsynth-schema", self.format), entry("source", self.source)]
        lines += [entry("public from", self.public_from)] if self.public_from is not None else []
        lines += [entry("subject", told["subject"]), "columns:"]
        for name, column in self.columns.items():
            said = column.model_dump(by_alias=True, exclude_defaults=True)
            lines.append(entry(name, {"kind": column.kind, **said}, indent=2))
        lines += [entry("never", [dict(rule) for rule in self.never])] if self.never else []
        lines += [entry("order", self.order)] if self.order else []
        lines += [entry("sums", self.sums)] if self.sums else []
        lines += [entry("determines", told["determines"])] if self.determines else []
        text = "\n".join(lines) + "\n"
        if len(text.encode()) > MAX_BYTES:
            raise SchemaError(
                f"the file would be larger than {MAX_BYTES} bytes",
                where=self.source,
                mend="write long value lists into CSV files and name them with `values from`",
            )
        return text

    @property
    def sha256(self) -> str:
        """Identity of the schema's meaning."""
        return identity(self.to_json())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Schema:
        return self  # frozen to its leaves

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        raise TypeError("iterate schema.columns")


_MENDS = {
    "kind": "one of categorical, integer, real, boolean, date, datetime, identifier, text",
    "columns": "a line for each column, such as `age: {kind: integer, min: 0, max: 120}`; `privsynth init` drafts them",
    "privsynth-schema": f"the first line of the file is `privsynth-schema: {FORMAT}`",
    "source": "the name under which the policy registers the data, for example `source: ehr/encounters`",
    "subject": "for example `subject: {column: patient_id, at most: 12 rows}`",
    "at most": "write it as `12 rows`",
    "a person has at most": "write it as `5 rows`",
    "nullable": "`nullable: true` where the column may be empty",
    "dropped": "`dropped: true` leaves the column out",
    "values": "text or whole numbers, all of one; kind boolean for true and false, `nullable: true` for null",
    "values from": "a CSV file in the schema's folder: a header, then one value a line",
    "open": "`open: true` where no public list of the values exists",
    "other": "a text for every category that is not released, for example `other: elsewhere`",
    "cells": "equal: 64 public cells of equal width; learned: cells that the fit pays for",
    "ordered": "`ordered: true` where neighbours in the list are alike",
    "outside": "clip, null or drop; for a categorical column null, drop or one of its values; for a boolean null, drop",
    "min": "the least value that the column can hold, from public knowledge: a plain number or day",
    "max": "the greatest value that the column can hold, from public knowledge: a plain number or day",
    "bins": "inner edges, for example [18, 40, 65]",
    "atoms": "values that many rows hold exactly, for example [0]",
    "decimals": "a whole number from 0 to 15",
    "size": "width and height in pixels, for example [64, 64]",
    "mode": "L or RGB",
    "never": "a list of combinations, for example `never: [{sex: M, pregnant: true}]`",
    "sums": "a list, for example `sums: [total = first + second]`",
    "determines": "a list, for example `determines: [zip -> state]`, or `{rule: zip -> state, from: zips.csv}`",
    "rule": "write it as `zip -> state`",
    "from": "a CSV file in the schema's folder: a header, then a value of each column a line",
    "order": "a list, for example `order: [admitted <= discharged]`",
}


def load_schema(path: str | Path) -> Schema:
    """Read a schema file.

    Raises:
        SchemaError: with ``file:line`` and the mend; a line that still says TODO is one.
    """
    document = load_yaml(path, error=SchemaError, kind="schema")
    return _schema(document, folder=Path(path).parent)


def parse_schema(text: str, *, path: str = "schema", folder: str | Path = ".") -> Schema:
    """As :func:`load_schema`, from text."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise SchemaError("the text holds a lone surrogate", where=path, mend="decode it as UTF-8") from None
    return _schema(parse_yaml(raw, path=path, error=SchemaError), folder=Path(folder))


def _schema(document: Document, *, folder: Path) -> Schema:
    refuse_todo(document, error=SchemaError, mend="declare the public domain; never read it off the sensitive rows")
    columns = document.data.get("columns")
    if isinstance(columns, list):
        raise SchemaError("`columns` is a list", where=document.where("columns"), mend="write `name: {kind: …}` a line")
    lines = dict(document.lines)
    if isinstance(columns, dict):
        columns = dict(columns)
        for name, column in columns.items():
            if isinstance(column, dict) and "outside" in column and column["outside"] is None:
                columns[name] = column = {**column, "outside": "null"}  # the rule, not YAML's empty value
            if isinstance(column, dict) and "values from" in column:
                columns[name] = _with_values(document, folder, name, column)
                lines["columns", name, "values"] = lines["columns", name, "values from"]
        document = replace(document, data={**document.data, "columns": columns}, lines=lines)
    rules = document.data.get("determines")
    if isinstance(rules, list):
        mapped = [_with_map(document, folder, i, rule) for i, rule in enumerate(rules)]
        document = replace(document, data={**document.data, "determines": mapped})
    schema = build(Schema, document, error=SchemaError, mends=_MENDS)
    refuse_null(document, error=SchemaError, means=_is_null)
    return schema


def _is_null(place: Place) -> bool:
    """Whether null at this place of a schema is a value: one of a combination that never occurs."""
    return place[:1] == ("never",) and len(place) == 3


def _with_values(document: Document, folder: Path, name: str, column: dict[str, Any]) -> dict[str, Any]:
    """``column`` with the first column of the public CSV file that its ``values from`` names, header skipped."""
    where, listed, rest = document.where("columns", name, "values from"), column["values from"], dict(column)
    del rest["values from"]
    if "values" in rest:
        raise SchemaError("both `values` and `values from`", where=where, mend="keep one")
    values = [row[0] for row in _public_rows(folder, listed, key="values from", where=where) if row[0] != ""]
    if not 1 <= len(values) <= MAX_VALUES:
        raise SchemaError(f"{listed} holds {len(values)} values", where=where, mend=f"1 to {MAX_VALUES} values")
    return {**rest, "values": values}


def _with_map(document: Document, folder: Path, place: int, rule: Any) -> Any:
    """A rule with the first two columns of the public CSV file that its ``from`` names, header skipped."""
    if not isinstance(rule, dict) or "from" not in rule:
        return rule
    where, listed, rest = document.where("determines", place, "from"), rule["from"], dict(rule)
    del rest["from"]
    if "map" in rest:
        raise SchemaError("both `map` and `from`", where=where, mend="keep one")
    rows = _public_rows(folder, listed, key="from", where=where)
    if not 1 <= len(rows) <= MAX_VALUES or any(len(row) < 2 for row in rows):
        raise SchemaError(
            f"{listed} is no map", where=where, mend=f"1 to {MAX_VALUES} lines of two values each under a header"
        )
    return {**rest, "map": [[row[0], row[1]] for row in rows]}


def _public_rows(folder: Path, listed: Any, *, key: str, where: str) -> list[list[str]]:
    """The lines under the header of a public CSV file, empty ones left out."""
    if not isinstance(listed, str) or Path(listed).is_absolute() or ".." in Path(listed).parts:
        raise SchemaError(
            f"`{key}` must be a file in the schema's folder", where=where, mend="a relative path without .."
        )
    try:
        raw = read_bytes(folder / listed, error=SchemaError, kind="public values", limit=MAX_LIST_BYTES)
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except SchemaError as wrong:
        raise SchemaError(f"{listed}: {wrong.what}", where=where, mend=wrong.mend) from None
    except (UnicodeDecodeError, csv.Error):
        raise SchemaError(f"{listed} is not UTF-8 CSV", where=where, mend="one value a line under a header") from None
    return [row for row in rows[1:] if row]
