"""The shape of a JSON document, for golden files that hold keys and types and no values."""

from __future__ import annotations


def shape(value: object) -> object:
    """Keys and types, without the values; of a list its first item."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
