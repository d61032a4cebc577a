"""Files that people write and files that machines sign: strict YAML 1.2 in, canonical JSON out.

YAML is read by composing the node tree with ruamel.yaml and resolving plain scalars by our own
table (the YAML 1.2 core schema, less everything that two readers could read differently):
duplicate keys, anchors, aliases, merge keys, explicit tags, ``.inf``, ``.nan``, ``1_000``, ``0x1F``,
``0o17``, ``007``, ``yes``/``no`` read as booleans, text that is not NFC, a second document, files
over 256 kB: all refused. Every key and value keeps its line.

Canonical JSON is RFC 8785, so a hash of a value is a hash of its meaning.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import rfc8785

from privsynth.errors import PrivsynthError, UsageError

MAX_BYTES = 256 * 1024

Json = Any
Path_ = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")
_NUMBERISH = re.compile(r"[-+]?(\.?[0-9][0-9_]*[0-9_.eExXobA-Fa-f]*|\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_DATEISH = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Strict(pydantic.BaseModel):
    """The base of every model that is read from a file: unknown keys refused, values frozen.

    Field ``max_epsilon`` is written ``max epsilon`` in files.
    """

    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda name: name.rstrip("_").replace("_", " "),
        str_strip_whitespace=False,
        allow_inf_nan=False,
    )


@dataclass(frozen=True)
class Document:
    """A YAML file as plain values, with the line of every key and item."""

    path: str
    data: dict[str, Any]
    sha256: str
    lines: Mapping[Path_, int] = field(repr=False)

    def where(self, *path: str | int) -> str:
        """``file:line`` of the value at ``path``, or of its nearest ancestor that is in the file."""
        for depth in range(len(path), -1, -1):
            line = self.lines.get(tuple(path[:depth]))
            if line is not None:
                return f"{self.path}:{line}"
        return self.path


def read_bytes(path: str | Path, *, error: type[PrivsynthError], kind: str) -> bytes:
    """The bytes of a small file that a user named; typed errors for what can go wrong."""
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise error(f"no such {kind} file", where=str(path), mend="check the path") from None
    except OSError as fault:
        raise error(
            f"the {kind} file cannot be read ({fault.strerror})",
            where=str(path),
            mend="check that it is a file and that you may read it",
        ) from None
    return raw


def load_yaml(path: str | Path, *, error: type[PrivsynthError], kind: str) -> Document:
    """Read ``path`` as strict YAML 1.2 whose root is a mapping; raise ``error`` with file:line."""
    raw = read_bytes(path, error=error, kind=kind)
    return parse_yaml(raw, path=str(path), error=error)


def parse_yaml(raw: bytes, *, path: str, error: type[PrivsynthError]) -> Document:
    """As :func:`load_yaml`, from bytes; ``path`` is only for messages."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

    if len(raw) > MAX_BYTES:
        raise error(f"larger than {MAX_BYTES} bytes", where=path, mend="split the file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise error(
            f"not UTF-8 (byte {fault.start})", where=path, mend="save the file as UTF-8"
        ) from None
    if unicodedata.normalize("NFC", text) != text:
        raise error("text is not in Unicode form NFC", where=path, mend="normalise the file to NFC")
    loader = YAML(typ="rt", pure=True)
    try:
        for event in loader.parse(text):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if getattr(event, "anchor", None) is not None:
                raise error(
                    "anchors and aliases are not allowed", where=f"{path}:{line}", mend="write the value out"
                )
            if getattr(event, "ctag", None) is not None and event.tag is not None:
                raise error("tags are not allowed", where=f"{path}:{line}", mend="remove the tag")
        node = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as fault:
        line = (fault.problem_mark.line + 1) if fault.problem_mark else 1
        raise error(
            f"not valid YAML ({str(fault.problem or fault.context).strip()})",
            where=f"{path}:{line}",
            mend="one document, block or flow style, no duplicate keys",
        ) from None
    except (YAMLError, ValueError, RecursionError) as fault:
        raise error(f"not valid YAML ({type(fault).__name__})", where=path, mend="mend the syntax") from None

    lines: dict[Path_, int] = {}

    def scalar(node: ScalarNode, at: str) -> Any:
        text = str(node.value)
        if node.style is not None:  # quoted or block: always text
            return text
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if text in ("True", "TRUE", "False", "FALSE", "Null", "NULL"):
            raise error(f"{text} is ambiguous", where=at, mend="write true, false or null, or quote the text")
        if _INT.match(text):
            return int(text)
        if _FLOAT.match(text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise error(f"{text} is beyond the largest number", where=at, mend="write a finite number")
            return value
        if text == "<<":
            raise error("merge keys are not allowed", where=at, mend="write the values out")
        if _NUMBERISH.match(text) and not _DATEISH.match(text):
            raise error(
                f"{text} looks like a number but is not written as one",
                where=at,
                mend="plain decimal digits, or quotes if it is text",
            )
        return text

    def convert(node: Node, place: Path_) -> Any:
        line = node.start_mark.line + 1
        lines.setdefault(place, line)
        at = f"{path}:{line}"
        if len(place) > 32:
            raise error("nested too deeply", where=at, mend="at most 32 levels")
        if isinstance(node, ScalarNode):
            return scalar(node, at)
        if isinstance(node, SequenceNode):
            return [convert(item, (*place, i)) for i, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            out: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key_at = f"{path}:{key_node.start_mark.line + 1}"
                key = scalar(key_node, key_at) if isinstance(key_node, ScalarNode) else None
                if isinstance(key, bool | int | float):
                    key = str(key_node.value)
                if not isinstance(key, str):
                    raise error("a key must be text", where=key_at, mend="use a plain word as the key")
                if key in out:
                    raise error(f"duplicate key {key!r}", where=key_at, mend="keep one of the two")
                lines[(*place, key)] = key_node.start_mark.line + 1
                out[key] = convert(value_node, (*place, key))
            return out
        raise error("unknown YAML node", where=at, mend="use mappings, lists and scalars")

    data = convert(node, ()) if node is not None else None
    if not isinstance(data, dict):
        raise error("the file must hold one mapping of keys to values", where=path, mend="see docs for the form")
    return Document(path=path, data=data, sha256=hashlib.sha256(raw).hexdigest(), lines=lines)


M = TypeVar("M", bound=pydantic.BaseModel)


def build(model: type[M], document: Document, *, error: type[PrivsynthError], mends: Mapping[str, str] | None = None) -> M:
    """Validate ``document`` against ``model``; the first fault is raised as ``error`` with its line.

    ``mends`` maps a key (the last text part of the place) to the mend to show for an unknown or bad key.
    """
    try:
        return model.model_validate(document.data)
    except pydantic.ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        place = tuple(part for part in first["loc"] if _in(document, part))
        key = next((str(p) for p in reversed(first["loc"]) if isinstance(p, str)), "")
        what = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            what = f"unknown key {key!r}"
        elif first["type"] == "missing":
            what = f"key {key!r} is missing"
        raise error(
            f"{' › '.join(str(p) for p in first['loc'])}: {what}" if first["loc"] else what,
            where=document.where(*place),
            mend=(mends or {}).get(key, "see the reference of this file in docs/"),
        ) from None


def _in(document: Document, part: str | int) -> bool:
    """Whether ``part`` of a pydantic place is a key or index of the file (and not a union's tag)."""
    return any(part in place for place in document.lines)


def canonical(value: Json) -> bytes:
    """``value`` as RFC 8785 JSON."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as fault:
        raise UsageError(f"a value has no canonical JSON form ({fault})", mend="finite numbers and text only") from None


def sha256(data: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def identity(value: Json) -> str:
    """SHA-256 of the canonical JSON of ``value``."""
    return sha256(canonical(value))


def plain(model: pydantic.BaseModel) -> dict[str, Any]:
    """``model`` as JSON values under the names used in files, without keys left at None."""
    out: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return out


def join(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
