"""A policy as leaves: each value with its path, its line, and which way it is tighter."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

import pydantic

from privsynth.documents.reading import Place
from privsynth.errors import PrivsynthError
from privsynth.policy.directions import ABSENT, FROZEN, SUBSET, Direction, Keyed, Ladder

NAMES = "[names]"
"""The last part of the path of the leaf that holds a mapping's keys."""


@dataclass(frozen=True)
class Leaf:
    """One value of a policy.

    Attributes:
        path: what it is, the same in every policy: ``("privacy", "budget", "population", "epsilon")``.
        place: where it stands in the file: ``("privacy", "budget", 0, "epsilon")``.
        value: as written; a day as ``datetime.date``.
        direction: how its values are ordered.
    """

    path: tuple[str, ...]
    place: Place
    value: Any
    direction: Direction

    @property
    def name(self) -> str:
        """The path in words."""
        return " › ".join(part for part in self.path if part != NAMES)


def leaves(file: pydantic.BaseModel) -> Mapping[tuple[str, ...], Leaf]:
    """Every leaf of a policy that is stated, by its path, in the order of the form."""
    return {leaf.path: leaf for leaf in _of_model(file, (), ())}


def _of_model(model: pydantic.BaseModel, path: tuple[str, ...], place: Place) -> Iterator[Leaf]:
    for field in fields_of(type(model)):
        value = getattr(model, field.attribute)
        if value is not None:
            yield from _of_value(value, field, (*path, field.key), (*place, field.key))


def _of_value(value: Any, field: Field, path: tuple[str, ...], place: Place) -> Iterator[Leaf]:
    if isinstance(field.mark, Keyed):
        if isinstance(value, Mapping):
            yield Leaf((*path, NAMES), place, list(value), SUBSET)
            parts: list[tuple[str, str | int, Any]] = [(str(key), key, part) for key, part in value.items()]
        else:
            parts = [(str(getattr(part, field.mark.by)), i, part) for i, part in enumerate(value)]
        for name, at, part in parts:
            yield from _of_model(part, (*path, name), (*place, at))
    elif field.mark is not None:
        yield Leaf(path, place, written(value), field.mark)
    else:
        yield from _of_model(value, path, place)


def silent(file: pydantic.BaseModel) -> tuple[Leaf, ...]:
    """The leaves that a policy does not state and whose silence means a word: each with the value ``ABSENT``."""
    return tuple(_unstated(type(file), file, ()))


def _unstated(
    model: type[pydantic.BaseModel], stated: pydantic.BaseModel | None, path: tuple[str, ...]
) -> Iterator[Leaf]:
    for field in fields_of(model):
        value, at = getattr(stated, field.attribute, None), (*path, field.key)
        inner = section_of(model.model_fields[field.attribute].annotation)
        if isinstance(field.mark, Ladder) and field.mark.absent is not None and value is None:
            yield Leaf(at, at, ABSENT, field.mark)
        elif field.mark is None and inner is not None:
            yield from _unstated(inner, value, at)


def left_out(whole: type[pydantic.BaseModel], stated: pydantic.BaseModel) -> Mapping[tuple[str, ...], Leaf]:
    """The frozen leaves that a stated section leaves out and the form fills in: what is frozen is frozen at that value,
    also in a file that is only a base.

    Args:
        whole: the form.
        stated: a file of it in which nothing is demanded.
    """
    return {leaf.path: leaf for leaf in _left_out(whole, stated, ())}


def _left_out(model: type[pydantic.BaseModel], stated: pydantic.BaseModel, path: tuple[str, ...]) -> Iterator[Leaf]:
    for field in fields_of(model):
        info, value, at = model.model_fields[field.attribute], getattr(stated, field.attribute), (*path, field.key)
        inner = section_of(info.annotation)
        if field.mark == FROZEN and value is None and not info.is_required() and info.default is not None:
            yield Leaf(at, at, written(info.default), FROZEN)
        elif field.mark is None and inner is not None and value is not None:
            yield from _left_out(inner, value, at)


def written(value: Any) -> Any:
    """A value as a file writes it; a day stays a day."""
    if isinstance(value, pydantic.BaseModel):
        return {f.key: written(getattr(value, f.attribute)) for f in fields_of(type(value), marked=False)}
    if isinstance(value, Mapping):
        return {str(key): written(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [written(part) for part in value]
    return value if isinstance(value, bool | int | float | str | dt.date) else str(value)


@dataclass(frozen=True)
class Field:
    """A field of the form: its name in Python, its key in files, and how its values are ordered (None: a section)."""

    attribute: str
    key: str
    mark: Direction | Keyed | None


@cache
def fields_of(model: type[pydantic.BaseModel], *, marked: bool = True) -> tuple[Field, ...]:
    """The fields of a part of the form, in order.

    Args:
        marked: demand that each is a section or says which way it is tighter.

    Raises:
        PrivsynthError: one does not.
    """
    out = []
    for name, info in model.model_fields.items():
        marks = [mark for mark in info.metadata if isinstance(mark, Direction | Keyed)]
        if marked and len(marks) != 1 and (marks or not section_of(info.annotation)):
            raise PrivsynthError(
                f"field {name!r} of {model.__name__} does not say which way it is tighter",
                mend="annotate it with a value of policy/directions.py",
            )
        out.append(Field(name, str(info.alias or name), marks[0] if marks else None))
    return tuple(out)


def section_of(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The model that an annotation names by itself, optional or not; None for anything else."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return section_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return section_of(inner[0]) if len(inner) == 1 else None
    return None
