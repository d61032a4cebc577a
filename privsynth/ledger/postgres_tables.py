"""The tables of a ledger in PostgreSQL, and how a database is compared with them.

They are those of the SQLite file (``layout``), in a schema of their own. Triggers keep every row that was ever
added; only the signed cells are replaced. A table that is not logged, inherits, hides rows, or has another trigger
is another table, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privsynth.errors import LedgerError
from privsynth.ledger.layout import LAYOUT, READ, SINCE

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA = "privsynth_ledger"
_MARKS = {layout: f"privsynth ledger, layout {layout}" for layout in range(READ, LAYOUT + 1)}
_BODY = "BEGIN RAISE EXCEPTION 'append only'; END"
_LINE = {"seq": "bigint", "leaf": "bytea", "hash": "text"}
_SHELF = {"name": "text", "data": "bytea", "sha256": "text"}
_EVENTS = {"UPDATE": 16, "DELETE": 8, "TRUNCATE": 32}
_BEFORE = 2  # bits of pg_trigger.tgtype


@dataclass(frozen=True)
class _Table:
    """Columns with their types, the first ``key`` of which are the primary key, and what may never be done to it."""

    columns: dict[str, str]
    key: int = 1
    never: tuple[str, ...] = tuple(_EVENTS)

    def statements(self, name: str) -> tuple[str, ...]:
        """What makes it."""
        columns = ", ".join(f"{column} {kind} NOT NULL" for column, kind in self.columns.items())
        return (
            f"CREATE TABLE {SCHEMA}.{name} ({columns}, PRIMARY KEY ({self._keys()}))",
            f"CREATE TRIGGER {name}_kept BEFORE {' OR '.join(self.never)} ON {SCHEMA}.{name} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.append_only()",
        )

    def described(self, name: str) -> str:
        """As :data:`_FOUND` tells of it."""
        columns = ", ".join(f"{column} {kind} t" for column, kind in self.columns.items())
        kept = _BEFORE + sum(_EVENTS[event] for event in self.never)
        return f"{name} r p f f f | {columns} | PRIMARY KEY ({self._keys()}) | {name}_kept O {kept} append_only"

    def _keys(self) -> str:
        return ", ".join(list(self.columns)[: self.key])


_TABLES = {
    "entries": _Table(_LINE),
    "attempts": _Table(_LINE),
    "secrets": _Table(_SHELF),
    "transcripts": _Table(_SHELF),
    "claims": _Table(_SHELF),
    "found": _Table({"name": "text", "seq": "bigint"}, key=2),
    "nodes": _Table({"log": "text", "level": "integer", "place": "bigint", "hash": "bytea"}, key=3),
    "cells": _Table({"name": "text", "data": "bytea"}, never=("DELETE", "TRUNCATE")),
    "assigned": _Table(_SHELF),
}
_SINCE: Mapping[str, int] = {**dict.fromkeys(_TABLES, READ), **SINCE}
_MARKED = f"COMMENT ON SCHEMA {SCHEMA} IS '{_MARKS[LAYOUT]}'"
STATEMENTS = (
    f"CREATE SCHEMA {SCHEMA}",
    _MARKED,
    f"CREATE FUNCTION {SCHEMA}.append_only() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$",
    *(statement for name, table in _TABLES.items() for statement in table.statements(name)),
)
"""What makes the tables, in order."""

ADDED = {
    layout: tuple(s for name, since in _SINCE.items() if since == layout for s in _TABLES[name].statements(name))
    for layout in range(READ + 1, LAYOUT + 1)
}
"""Layout -> what makes its tables out of those of the one before."""

_GRANTED_ALIKE = f"""
SELECT format('GRANT %s ON {SCHEMA}.{{}} TO %I', privilege_type, rolname)
FROM pg_class c CROSS JOIN LATERAL aclexplode(relacl) JOIN pg_roles r ON r.oid = grantee
WHERE c.oid = '{SCHEMA}.claims'::regclass AND grantee <> relowner
"""

GRANTS = (
    f"GRANT USAGE ON SCHEMA {SCHEMA} TO {{role}}",
    f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {SCHEMA} TO {{role}}",
    f"GRANT UPDATE ON {SCHEMA}.cells TO {{role}}",
)
"""What the role that runs privsynth needs: it may change nothing but the signed cells, and delete nothing."""

_EXPECTED = {
    layout: {
        mark,
        f"append_only plpgsql {_BODY}",
        *(table.described(name) for name, table in _TABLES.items() if _SINCE[name] <= layout),
    }
    for layout, mark in _MARKS.items()
}
_FOUND = f"""
SELECT obj_description(to_regnamespace('{SCHEMA}'), 'pg_namespace') WHERE to_regnamespace('{SCHEMA}') IS NOT NULL
UNION ALL SELECT concat_ws(' | ', concat_ws(' ', relname, relkind, relpersistence, relrowsecurity, relhasrules,
    EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid OR inhrelid = c.oid)),
  (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull), ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
  (SELECT string_agg(pg_get_constraintdef(oid), ', ' ORDER BY conname)
    FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n'),
  (SELECT string_agg(concat_ws(' ', tgname, tgenabled, tgtype, p.proname), ', ' ORDER BY tgname)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE tgrelid = c.oid AND NOT tgisinternal))
FROM pg_class c WHERE relnamespace = to_regnamespace('{SCHEMA}') AND relkind NOT IN ('i', 't')
UNION ALL SELECT concat_ws(' ', proname, lanname, prosrc)
FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE pronamespace = to_regnamespace('{SCHEMA}')
"""


def is_there(connection: Connection[Any]) -> bool:
    """Whether the database has the schema of a ledger."""
    row = connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (SCHEMA,)).fetchone()
    return row is not None and bool(row[0])


def bring_up(connection: Connection[Any], layout: int) -> None:
    """Make what a database of this layout lacks, for the roles that may use the claims."""
    for later in range(layout + 1, LAYOUT + 1):
        for statement in ADDED[later]:
            connection.execute(statement.encode())
        for name in (name for name, since in _SINCE.items() if since == later):
            for (grant,) in connection.execute(_GRANTED_ALIKE.format(name).encode()).fetchall():
                connection.execute(str(grant).encode())
    connection.execute(_MARKED.encode())


def must_be_ours(connection: Connection[Any], where: str) -> int:
    """The layout of the database's ledger. Refuse a database without one, of another layout, or whose tables were
    changed.

    Raises:
        LedgerError: one of these.
    """
    found = {line for (line,) in connection.execute(_FOUND.encode())}
    if not found:
        raise LedgerError("the database holds no ledger", where=where, mend="name the database that holds it")
    layouts = [layout for layout, expected in _EXPECTED.items() if found == expected]
    if not layouts:
        raise LedgerError(
            f"the schema {SCHEMA!r} does not hold a ledger of this version, or its tables were changed",
            where=where,
            mend="use the version of privsynth that made it; restore a changed one from a backup with its owner",
        )
    return layouts[0]
