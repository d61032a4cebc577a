"""Files that people write and files that machines sign: strict YAML 1.2 in, canonical JSON out.

``reading``: YAML text to plain values, each with its line. ``models``: plain values to a frozen
pydantic model, the first fault raised as the caller's typed error. ``canonical``: values to RFC 8785
JSON and its SHA-256, so that a hash of a value is a hash of its meaning.
"""

from __future__ import annotations

from privsynth.documents.canonical import Json, canonical, identity, join, sha256
from privsynth.documents.models import Strict, build, fault, plain
from privsynth.documents.reading import (
    MAX_BYTES,
    Document,
    load_yaml,
    open_regular,
    parse_yaml,
    read_bytes,
    refuse_null,
    refuse_todo,
    unseen,
)

__all__ = [
    "MAX_BYTES",
    "Document",
    "Json",
    "Strict",
    "build",
    "canonical",
    "fault",
    "identity",
    "join",
    "load_yaml",
    "open_regular",
    "parse_yaml",
    "plain",
    "read_bytes",
    "refuse_null",
    "refuse_todo",
    "sha256",
    "unseen",
]
