"""The JSON Schema of policy files, for editors: keys, types and ranges, made from the form itself.

Nothing is validated with it at run time: the form and ``check`` do that, and name the line.
"""

from __future__ import annotations

import copy
from typing import Any

from privsynth.policy.form import PolicyFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/"
_BASE = {"properties": {"base": {"const": True}}, "required": ["base"]}


def json_schema() -> dict[str, Any]:
    """The schema: a whole policy, or a base or a child, of which no key is demanded."""
    whole = PolicyFile.model_json_schema()
    parts = whole.pop("$defs")
    every = {**parts, "Policy": whole}
    some = {f"Some{name}": _nothing_demanded(part) for name, part in copy.deepcopy(every).items()}
    return {
        "$schema": DIALECT,
        "title": "privsynth policy",
        "description": "A policy file of privsynth. What its keys mean together is told by `privsynth policy check`.",
        "if": {"anyOf": [{"required": ["extends"]}, _BASE]},
        "then": {"$ref": f"{_DEFS}SomePolicy"},
        "else": {"$ref": f"{_DEFS}Policy"},
        "$defs": {name: _told(part) for name, part in sorted({**every, **some}.items())},
    }


def _nothing_demanded(part: Any) -> Any:
    """``part`` without required keys, pointing at parts that are the same."""
    if isinstance(part, dict):
        part.pop("required", None)
        if "$ref" in part:
            part["$ref"] = part["$ref"].replace(_DEFS, f"{_DEFS}Some")
        for inner in part.values():
            _nothing_demanded(inner)
    elif isinstance(part, list):
        for inner in part:
            _nothing_demanded(inner)
    return part


def _told(part: Any) -> Any:
    """Without what editors would only repeat: titles, and null as a value that nobody writes."""
    if isinstance(part, list):
        return [_told(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _told(inner) for key, inner in part.items() if not (key == "title" and isinstance(inner, str))}
    choices = [inner for inner in kept.get("anyOf", ()) if inner != {"type": "null"}]
    if "anyOf" in kept and len(choices) < len(kept["anyOf"]):
        del kept["anyOf"]
        if kept.get("default", ...) is None:
            del kept["default"]
        kept |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    return kept
