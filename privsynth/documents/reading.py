"""Strict YAML 1.2: text to plain values, with the line of every key and item.

ruamel.yaml gives the events; this module builds the values and resolves plain scalars by its own table
(the core schema of YAML 1.2, less numbers that two readers could read differently). Refused: duplicate
keys, anchors, aliases, merge keys, tags, directives, a second document, ``.inf``, ``.nan``, ``1_000``,
``0x1F``, ``0o17``, ``007``, ``.5``, ``12:30``, ``1.0.0``, ``True``; text that is not NFC; characters that
do not show or that turn the reading direction; more than 32 levels or 256 kB. ``yes``, ``no``, ``on``
and ``off`` are text. A byte order mark at the start is passed over.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.errors import PrivsynthError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 400

Place = tuple[str | int, ...]
Refuse = Callable[..., PrivsynthError]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")
_NUMBERISH = re.compile(
    r"""[-+]?( \.?[0-9][0-9_.]*([eE][-+]?[0-9_]+)?       # 007 .5 5. 1_000 1.0.0 1_0e5
             | 0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
             | [0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?   # 12:30, a number to a reader of YAML 1.1
             | \.(inf|Inf|INF|nan|NaN|NAN) )\Z""",
    re.VERBOSE,
)
_AMBIGUOUS = {"True", "TRUE", "False", "FALSE", "Null", "NULL"}
_TURNING = "\u202a-\u202e\u2066-\u2069"
_UNSEEN = re.compile(
    f"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[{_TURNING}]"
)


@dataclass(frozen=True)
class Document:
    """A YAML file as plain values, with the line of every key and item.

    ``files`` names the file of each place where that is another one: of values that were inherited.
    """

    path: str
    data: dict[str, Any]
    sha256: str
    lines: Mapping[Place, int] = field(repr=False)
    files: Mapping[Place, str] = field(default_factory=dict, repr=False)

    def where(self, *path: str | int) -> str:
        """``file:line`` of the value at ``path``, or of its nearest ancestor that is in the file."""
        for depth in range(len(path), -1, -1):
            line = self.lines.get(tuple(path[:depth]))
            if line is not None:
                return f"{self.file_of(tuple(path[:depth]))}:{line}"
        return self.path

    def file_of(self, place: Place) -> str:
        """The file that holds the value at ``place``."""
        return self.files.get(place, self.path)


def unseen(text: str) -> str:
    """The first character that no file may hold, escaped or not: control characters but tab and line
    break, surrogates, marks that turn the reading direction, line breaks that not all readers know."""
    found = _UNSEEN.search(text)
    return found[0] if found else ""


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. A pipe or device is never waited for: a named pipe without a writer is for ever.

    Raises:
        OSError: it cannot be opened, or is something else; ``strerror`` says why.
        ValueError: a NUL byte in the path.
    """
    handle = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    raise (
        OSError(errno.EISDIR, os.strerror(errno.EISDIR)) if stat.S_ISDIR(mode) else OSError(errno.EINVAL, "not a file")
    )


def read_bytes(
    path: str | Path, *, error: type[PrivsynthError], kind: str, limit: int | None = None, pipe: bool = False
) -> bytes:
    """The bytes of a file that a user named, at most ``limit``; typed errors for what can go wrong.

    Args:
        pipe: whether it may be a pipe or device, such as /dev/stdin, and is waited for.
    """
    try:
        with Path(path).open("rb") if pipe else os.fdopen(open_regular(path), "rb") as stream:
            raw = stream.read() if limit is None else stream.read(limit + 1)
    except FileNotFoundError:
        raise error(f"no such {kind} file", where=str(path), mend="check the path") from None
    except (OSError, ValueError) as wrong:  # ValueError: a NUL byte in the path
        reason = wrong.strerror if isinstance(wrong, OSError) else "not a path"
        raise error(
            f"the {kind} file cannot be read ({reason})",
            where=ascii(str(path))[1:-1] if isinstance(wrong, ValueError) else str(path),
            mend="check that it is a file and that you may read it",
        ) from None
    if limit is not None and len(raw) > limit:
        raise error(f"larger than {limit} bytes", where=str(path), mend=f"no {kind} file is that large; split it")
    return raw


def load_yaml(path: str | Path, *, error: type[PrivsynthError], kind: str) -> Document:
    """Read ``path`` as strict YAML 1.2 whose root is a mapping; raise ``error`` with file:line."""
    raw = read_bytes(path, error=error, kind=kind, limit=MAX_BYTES)
    return parse_yaml(raw, path=str(path), error=error)


def parse_yaml(raw: bytes, *, path: str, error: type[PrivsynthError]) -> Document:
    """As :func:`load_yaml`, from bytes; ``path`` is only for messages. O(bytes)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(raw) > MAX_BYTES:
        raise error(f"larger than {MAX_BYTES} bytes", where=path, mend="split the file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"not UTF-8 (byte {wrong.start})", where=path, mend="save the file as UTF-8") from None

    def refuse(what: str, *, line: int, mend: str) -> PrivsynthError:
        return error(what, where=f"{path}:{line}", mend=mend)

    if found := unseen(text):
        line = text.count("\n", 0, text.index(found)) + 1
        raise refuse(f"character U+{ord(found):04X} is not allowed", line=line, mend="remove it")
    if unicodedata.normalize("NFC", text) != text:
        raise error("text is not in Unicode form NFC", where=path, mend="normalise the file to NFC")
    try:
        data, lines = _values(YAML(typ="safe", pure=True).parse(text), refuse)
    except MarkedYAMLError as wrong:
        line = (wrong.problem_mark.line + 1) if wrong.problem_mark else 1
        reason = str(wrong.problem or wrong.context).strip()
        raise refuse(f"not valid YAML ({reason})", line=line, mend="mend the syntax") from None
    except (YAMLError, ValueError) as wrong:
        raise error(f"not valid YAML ({type(wrong).__name__})", where=path, mend="mend the syntax") from None
    if not isinstance(data, dict):
        raise error("the file must hold one mapping of keys to values", where=path, mend="see docs/ for its form")
    return Document(path=path, data=data, sha256=hashlib.sha256(raw).hexdigest(), lines=lines)


@dataclass
class _Open:
    """A mapping or list whose end has not been read; ``key`` is a mapping's key that awaits its value."""

    node: dict[str, Any] | list[Any]
    place: Place
    key: str | None = None


def _values(events: Iterable[Any], refuse: Refuse) -> tuple[Any, dict[Place, int]]:
    """The first document's value and the line of each place. No recursion, so depth costs nothing."""
    from ruamel.yaml import events as e

    root: Any = None
    lines: dict[Place, int] = {}
    stack: list[_Open] = []
    documents = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, e.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise refuse("a second document", line=line, mend="one file, one document: remove the --- line")
            if event.version or event.tags:
                raise refuse("directives are not allowed", line=1, mend="remove the lines that begin with %")
        elif isinstance(event, e.MappingEndEvent | e.SequenceEndEvent):
            stack.pop()
        elif isinstance(event, e.NodeEvent):
            if isinstance(event, e.AliasEvent) or event.anchor is not None:
                raise refuse("anchors and aliases are not allowed", line=line, mend="write the value out")
            if getattr(event, "ctag", None) is not None:
                raise refuse("tags are not allowed", line=line, mend="remove the tag")
            top = stack[-1] if stack else None
            if top is not None and isinstance(top.node, dict) and top.key is None:
                top.key = _key(event, top.node, line, refuse, plain=isinstance(event, e.ScalarEvent))
                lines[(*top.place, top.key)] = line
                continue
            leaf = isinstance(event, e.ScalarEvent)
            value = _scalar(event, line, refuse) if leaf else {} if isinstance(event, e.MappingStartEvent) else []
            place: Place = ()
            if top is None:
                root = value
            elif isinstance(top.node, dict):
                place = (*top.place, str(top.key))
                top.node[str(top.key)] = value
                top.key = None
            else:
                place = (*top.place, len(top.node))
                top.node.append(value)
            lines.setdefault(place, line)
            if not leaf:
                if len(stack) >= MAX_DEPTH:
                    raise refuse("nested too deeply", line=line, mend=f"at most {MAX_DEPTH} levels")
                stack.append(_Open(value, place))
    return root, lines


def _key(event: Any, node: dict[str, Any], line: int, refuse: Refuse, *, plain: bool) -> str:
    key = _scalar(event, line, refuse) if plain else None
    if isinstance(key, bool | int | float):
        key = str(event.value)
    if not isinstance(key, str):
        raise refuse("a key must be text", line=line, mend="a plain word as the key; quote it if it is null")
    if key in node:
        raise refuse(f"duplicate key {key!r}", line=line, mend="keep one of the two")
    return key


def _scalar(event: Any, line: int, refuse: Refuse) -> Any:
    text = str(event.value)
    if event.style is not None:  # quoted or block: always text, whatever its escapes say
        if found := unseen(text):
            raise refuse(f"character U+{ord(found):04X} is not allowed", line=line, mend="remove it")
        if unicodedata.normalize("NFC", text) != text:
            raise refuse("text is not in Unicode form NFC", line=line, mend="normalise it to NFC")
        return text
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if text in _AMBIGUOUS:
        raise refuse(f"{text} is ambiguous", line=line, mend="write true, false or null, or quote the text")
    if len(text) <= MAX_DIGITS and _INT.match(text):
        return int(text)
    if len(text) <= MAX_DIGITS and _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise refuse(f"{text} is beyond the largest number", line=line, mend="write a finite number")
        return value
    if text == "<<":
        raise refuse("merge keys are not allowed", line=line, mend="write the values out")
    if _NUMBERISH.match(text):
        raise refuse(
            f"{text if len(text) <= MAX_DIGITS else text[:20] + '…'} looks like a number but is not written as one",
            line=line,
            mend="plain decimal digits, or quotes if it is text",
        )
    return text


def refuse_todo(document: Document, *, error: type[PrivsynthError], mend: str) -> None:
    """Raise ``error`` at the first value that ``privsynth init`` left as ``TODO …``."""
    for place, value in _each(document):
        if isinstance(value, str) and re.match(r"TODO(?![A-Za-z0-9])", value):
            shown = " › ".join(map(str, place))
            raise error(f"{shown}: still says {value!r}", where=document.where(*place), mend=mend)


def refuse_null(
    document: Document, *, error: type[PrivsynthError], means: Callable[[Place], bool] = lambda place: False
) -> None:
    """Raise ``error`` at the first key or entry with nothing behind it (``key:``, ``~``, ``null``): whoever wrote it
    meant some value, and a reader that takes it for a key left out would drop what the key is there for.

    Args:
        means: whether null says something at this place.
    """
    for place, value in _each(document):
        if value is None and not means(place):
            raise error(
                f"{' › '.join(map(str, place))}: nothing is stated",
                where=document.where(*place),
                mend="write a value, or leave the key out",
            )


def _each(document: Document) -> Iterator[tuple[Place, Any]]:
    """Every value of the file with its place, in the order of the file, mappings and lists before what is in them."""
    pending: list[tuple[Place, Any]] = [((), document.data)]
    while pending:
        place, value = pending.pop()
        yield place, value
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        pending += [((*place, key), part) for key, part in reversed(list(inner))]
