"""Plain values to frozen models and back, with the first fault as a typed error at its line."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic_core import CoreSchema, PydanticCustomError, to_jsonable_python

from privsynth.documents.reading import Document, Place
from privsynth.errors import PrivsynthError

M = TypeVar("M", bound=pydantic.BaseModel)

_SCALARS = {"bool", "int", "float", "str"}
_SEE = "see the reference of this file in docs/"
_WORDS = {  # where pydantic's own words name a type of Python
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "must be a list"),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type"), "must be a mapping of keys to values"
    ),
}


def _make_strict(node: Any) -> None:
    """Set ``strict`` on every scalar of a core schema; lists still become tuples, and texts days."""
    if isinstance(node, dict):
        kind = node.get("type")
        if isinstance(kind, str) and kind in _SCALARS:
            node.setdefault("strict", True)
        for key, part in node.items():
            if key != "metadata":
                _make_strict(part)
    elif isinstance(node, list | tuple):
        for part in node:
            _make_strict(part)


class Strict(pydantic.BaseModel):
    """The base of every model that is read from a file: unknown keys refused, values frozen, and nothing
    turned into something else: ``true`` is no number, ``"12"`` and ``12.0`` no whole number, ``no`` no boolean.

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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _make_strict(schema)
        return schema


def fault(what: str, *at: str | int, mend: str = "") -> PydanticCustomError:
    """What a validator raises: the fault, the keys that lead to it from the validated value, the mend."""
    return PydanticCustomError("fault", "{what}", {"what": what, "at": at, "mend": mend})


def build(
    model: type[M], document: Document, *, error: type[PrivsynthError], mends: Mapping[str, str] | None = None
) -> M:
    """Validate ``document`` against ``model``; the first fault is raised as ``error`` with its line.

    ``mends`` maps a key to the mend to show for it, and for what stands under it and has none of its own.
    """
    try:
        return model.model_validate(document.data, by_alias=True, by_name=False)
    except pydantic.ValidationError as wrong:
        _refuse(wrong, model, document, error, mends or {})


def _refuse(
    wrong: pydantic.ValidationError,
    model: type[pydantic.BaseModel],
    document: Document,
    error: type[PrivsynthError],
    mends: Mapping[str, str],
) -> NoReturn:
    every = wrong.errors(include_url=False, include_input=False)
    first, kind = every[0], every[0]["type"]
    detail: Mapping[str, Any] = first.get("ctx", {})
    loc: Place = (*first["loc"], *detail["at"]) if kind == "fault" else first["loc"]
    place, inside = _place(loc, document.data)
    names = loc if loc and (kind in ("extra_forbidden", "missing") or loc[-1] == "[key]") else place
    key = next((str(part) for part in reversed(names) if isinstance(part, str)), "")
    if kind == "extra_forbidden":
        what = f"unknown key {key!r}"
        mend = mends.get(key) or _known_keys(model, loc, key)
    elif kind in ("missing", "union_tag_not_found"):
        key = key if kind == "missing" else str(detail["discriminator"]).strip("'")
        what = f"key {key!r} is missing"
        near = difflib.get_close_matches(key, [k for k in inside if k not in _keys(model, loc[:-1])], n=1)
        what += f" (`{near[0]}` is not a key)" if near and kind == "missing" else ""
        place = (*place, key) if not place or place[-1] != key else place
        mend = mends.get(key, _SEE)
    elif kind == "union_tag_invalid":
        key = str(detail["discriminator"]).strip("'")
        what, place = f"{detail['tag']!r} is not known", (*place, key)
        mend = mends.get(key, f"one of {detail['expected_tags']}")
    else:
        beside = [_words(e) for e in every if _place(e["loc"], document.data)[0] == place]
        what = detail["what"] if kind == "fault" else " or ".join(dict.fromkeys(beside)).replace(" or must be ", " or ")
        known = [key, *(part for part in reversed(place) if isinstance(part, str))]
        mend = detail.get("mend") or next((mends[name] for name in known if name in mends), _SEE)
    shown = " › ".join(map(str, place))
    raise error(f"{shown}: {what}" if shown else what, where=document.where(*place), mend=mend) from None


def _words(wrong: Mapping[str, Any]) -> str:
    words = str(wrong["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return _WORDS.get(str(wrong["type"]), words)


def _place(loc: Place, data: Any) -> tuple[Place, Any]:
    """The parts of a pydantic place that are keys of the file (not a union's tag), and the value there
    (of a key that is missing: the mapping that lacks it)."""
    place: list[str | int] = []
    for part in loc:
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        place.append(part)
    return tuple(place), data if isinstance(data, dict) else {}


def _known_keys(model: type[pydantic.BaseModel], loc: Place, key: str) -> str:
    keys = _keys(model, loc[:-1])
    near = difflib.get_close_matches(key, keys, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    return f"{guess}The keys here are {', '.join(keys)}; {_SEE}" if keys else _SEE


def _keys(model: type[pydantic.BaseModel], loc: Place) -> list[str]:
    """The keys that the model at ``loc`` (with union tags) may hold."""
    found: list[Any] = [model]
    for part in loc:
        found = [inner for annotation in found for inner in _step(annotation, part)]
    models = {m for annotation in found for m in _models(annotation)}
    return sorted({str(f.alias or name) for m in models for name, f in m.model_fields.items()})


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for inner in get_args(annotation) for m in _models(inner)]
    return []


def _step(annotation: Any, part: str | int) -> list[Any]:
    """What stands under ``annotation`` at one part of a pydantic place."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _step(inner[0], part)
    if origin in (Union, types.UnionType):
        tagged = [m for m in _models(annotation) if any(f.default == part for f in m.model_fields.values())]
        return tagged or [a for each in inner for a in _step(each, part)]
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [f.annotation for name, f in annotation.model_fields.items() if part in (name, f.alias)]
    if isinstance(origin, type) and issubclass(origin, Mapping | Sequence):
        return [inner[1] if issubclass(origin, Mapping) else inner[0]]
    return []


def plain(model: pydantic.BaseModel) -> dict[str, Any]:
    """``model`` as JSON values under the names used in files, without fields left at None (a null inside
    a mapping or list says something, and stays)."""
    fields = {str(f.alias or name): getattr(model, name) for name, f in type(model).model_fields.items()}
    return {key: _jsonable(value) for key, value in fields.items() if value is not None}


def _jsonable(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return plain(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    return to_jsonable_python(value)
