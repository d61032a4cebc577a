"""Canonical JSON (RFC 8785) and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import rfc8785

from privsynth.errors import UsageError

Json = Any


def canonical(value: Json) -> bytes:
    """``value`` as RFC 8785 JSON."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as wrong:
        raise UsageError(f"a value has no canonical JSON form ({wrong})", mend="finite numbers and text only") from None


def sha256(data: bytes) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def identity(value: Json) -> str:
    """SHA-256 of the canonical JSON of ``value``."""
    return sha256(canonical(value))


def join(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
