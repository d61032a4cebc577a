"""YAML text that :mod:`privsynth.documents` reads back to the same values: scalars, lists and mappings in flow
form, folded between items at 110 characters."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from privsynth.documents import unseen

WIDTH = 110

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+<=-]+)*\Z")
_DAY_OR_ROWS = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}|[1-9][0-9]* rows?)\Z")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # quoted, whatever a reader takes them for


def scalar(value: object) -> str:
    """One scalar: plain where that is text or number to every reader, else in double quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dt.date):
        return value.isoformat() if not isinstance(value, dt.datetime) else quoted(value.isoformat(" "))
    text = str(value)
    plain = _DAY_OR_ROWS.match(text) or (_PLAIN.match(text) and text.lower() not in _WORDS)
    return text if plain else quoted(text)


def quoted(text: str) -> str:
    """``text`` in double quotes; characters that a reader could refuse or fold are escaped."""
    return "".join(f"\\u{ord(c):04x}" if unseen(c) else c for c in json.dumps(text, ensure_ascii=False))


def pieces(value: object) -> Iterator[str]:
    """``value`` as pieces between which a line may break."""
    if isinstance(value, Mapping):
        yield from _within("{", [(f"{scalar(key)}: ", part) for key, part in value.items()], "}")
    elif isinstance(value, list | tuple):
        yield from _within("[", [("", part) for part in value], "]")
    else:
        yield scalar(value)


def _within(start: str, items: list[tuple[str, Any]], end: str) -> Iterator[str]:
    if not items:
        yield start + end
    for i, (key, part) in enumerate(items):
        inner = list(pieces(part))
        inner[0] = (start if i == 0 else "") + key + inner[0]
        inner[-1] += end if i == len(items) - 1 else ","
        yield from inner


def entry(key: str, value: object, *, indent: int = 0) -> str:
    """``key: value`` as one line, or folded to several."""
    lines, line = [], " " * indent + scalar(key) + ":"
    for piece in pieces(value):
        if len(line) + 1 + len(piece) > WIDTH and len(line) > indent + len(scalar(key)) + 1:
            lines.append(line)
            line = " " * (indent + 3)
        line += " " + piece
    return "\n".join([*lines, line])
