"""The leaves that the form of a policy can have, without any policy at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pydantic

from privsynth.policy.directions import SUBSET, Direction, Keyed
from privsynth.policy.form import PolicyFile
from privsynth.policy.leaves import NAMES, fields_of, section_of

NAME = "some-name"


def form_leaves(
    model: type[pydantic.BaseModel] = PolicyFile, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Direction]]:
    """(path, direction) of each leaf; where the owner gives names, there is one called ``NAME``."""
    for field in fields_of(model):
        annotation, at = model.model_fields[field.attribute].annotation, (*path, field.key)
        if not isinstance(field.mark, Keyed):
            inner = section_of(annotation)
            if field.mark is None and inner is not None:
                yield from form_leaves(inner, at)
            elif field.mark is not None:
                yield at, field.mark
            continue
        part = part_of(annotation)
        if field.mark.by:
            names = get_args(part.model_fields[field.mark.by].annotation)
        else:
            yield (*at, NAMES), SUBSET
            names = (NAME,)
        for name in names:
            yield from form_leaves(part, (*at, str(name)))


def part_of(annotation: Any) -> type[pydantic.BaseModel]:
    """The model of a mapping's values, or of a list's parts."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    found = [part_of(inner) for inner in get_args(annotation) if inner not in (type(None), Ellipsis, str)]
    models = [model for model in found if model is not pydantic.BaseModel]
    return models[0] if models else pydantic.BaseModel


def models(model: type[pydantic.BaseModel] = PolicyFile) -> Mapping[str, type[pydantic.BaseModel]]:
    """Every part of the form by its name."""
    found: dict[str, type[pydantic.BaseModel]] = {model.__name__: model}
    for field in fields_of(model, marked=False):
        inner = part_of(model.model_fields[field.attribute].annotation)
        if inner is not pydantic.BaseModel:
            found |= models(inner)
    return found
