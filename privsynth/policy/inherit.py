"""Policies that extend others: a child may only tighten, leaf by leaf, and pins its parent by its hash.

What a child does not state it inherits; what its parent does not state is no limit from there. A looser value is an
error that names both lines: nothing is clamped in silence, and there are no exceptions. ``id``, ``version`` and
``owner`` are each file's own, but where a policy says who approves a change its owner is its children's too: there she
never counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pydantic

from privsynth.documents import Document, build, load_yaml, refuse_null
from privsynth.documents.reading import Place
from privsynth.errors import PolicyError
from privsynth.policy.check import refuse_refill
from privsynth.policy.directions import ABSENT, OWN, Keyed
from privsynth.policy.form import PolicyFile
from privsynth.policy.leaves import NAMES, fields_of, leaves, left_out, section_of
from privsynth.policy.mends import MENDS
from privsynth.policy.words import Part
from privsynth.signing import same_person

MOST_PARENTS = 4
_OWN = ("privsynth-policy", "id", "version", "owner", "base", "extends", "tests")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def resolved(document: Document) -> Document:
    """The values of a policy file with those that it inherits, each with its own file and line.

    Raises:
        PolicyError: a parent that is not there, not the pinned one, outside the folder, in a circle or too far; a
            leaf that is looser than its parent's; or, in any of the files, a key with no value behind it.
    """
    folder = Path(document.path).parent.resolve()
    return _resolved(document, folder, (Path(document.path).resolve(),))[0]


def partial_of(document: Document) -> pydantic.BaseModel:
    """A file read as a base: every key that it states has the right form; none is demanded.

    Raises:
        PolicyError: a key that is not known, a value of the wrong form, or none behind a key.
    """
    refuse_null(document, error=PolicyError)
    refuse_refill(document)
    return build(_partial(PolicyFile), document, error=PolicyError, mends=MENDS)


def _resolved(document: Document, folder: Path, seen: tuple[Path, ...]) -> tuple[Document, _Barred | None]:
    refuse_null(document, error=PolicyError)
    refuse_refill(document)
    if "extends" not in document.data:
        return document, _barred(document)
    path = _parent(document, folder, seen)
    parent = load_yaml(path, error=PolicyError, kind="policy")
    pinned = document.data["extends"]["sha256"]
    if parent.sha256 != pinned:
        raise PolicyError(
            f"{parent.path} is not the parent that was pinned: its SHA-256 is {parent.sha256}",
            where=document.where("extends", "sha256"),
            mend="put the pinned parent back; or review what changed (`privsynth policy diff`), and pin the new one",
        )
    parent, barred = _resolved(parent, folder, (*seen, path.resolve()))
    _only_tighter(parent, document)
    _same_owner(barred, document)
    whole = _Merge(parent, document).document()
    return whole, barred or _barred(whole)


def _parent(document: Document, folder: Path, seen: tuple[Path, ...]) -> Path:
    """Where the parent lies."""
    asked = document.data["extends"]
    where = document.where("extends")
    if not isinstance(asked, dict) or set(asked) != {"file", "sha256"}:
        raise PolicyError("`extends` names a file and its hash", where=where, mend="{file: base.yaml, sha256: ...}")
    name, pin = asked["file"], asked["sha256"]
    if not isinstance(pin, str) or not _SHA256.fullmatch(pin):
        raise PolicyError(
            "the pin is not a SHA-256",
            where=document.where("extends", "sha256"),
            mend="64 lower-case hex digits in quotes: `sha256sum` of the parent's file",
        )
    where = document.where("extends", "file")
    pure = PurePosixPath(name) if isinstance(name, str) and name and "\0" not in name and "\\" not in name else None
    path = None if pure is None else Path(document.path).parent / pure
    if pure is None or path is None or pure.is_absolute() or ".." in pure.parts:
        raise PolicyError("a parent lies in the folder of the policy", where=where, mend="a relative path without ..")
    real = path.resolve()
    if not real.is_relative_to(folder):
        raise PolicyError("the parent's path leads out of the folder", where=where, mend="put it into the folder")
    if real in seen:
        circle = " → ".join(p.name for p in (*seen[seen.index(real) :], real))
        raise PolicyError(f"policies extend each other in a circle: {circle}", where=where, mend="remove one")
    if len(seen) > MOST_PARENTS:
        raise PolicyError(f"more than {MOST_PARENTS} parents in a row", where=where, mend="fewer layers")
    return path


def _only_tighter(parent: Document, child: Document) -> None:
    """Refuse a child that states a looser value. A parent that is a policy by itself means its defaults too, and what
    its silence means (``public help`` that is not stated is refused) binds the child like a line of it. So does the
    default of a frozen value in a section that a base states."""
    whole = parent.data.get("base") is not True
    file = build(PolicyFile, parent, error=PolicyError, mends=MENDS) if whole else partial_of(parent)
    above, below = leaves(file), leaves(partial_of(child))
    unsaid = {} if whole else left_out(PolicyFile, file)
    for path, leaf in below.items():
        if any((*path[:depth], NAMES) in below.keys() - above.keys() for depth in range(1, len(path))):
            continue  # part of a mapping of which the parent says nothing
        held = above.get(path) or unsaid.get(path)
        value, place = (ABSENT, leaf.place) if held is None else (held.value, held.place)
        if leaf.direction.order(value, leaf.value) not in ("same", "tighter"):
            said = "" if held is None or place in parent.lines else f" (left out, so {_told(value)})"
            raise PolicyError(
                f"{leaf.name}: {_told(leaf.value)} is looser than the parent's {_told(value)} at "
                f"{parent.where(*place)}{said}, and a child may only tighten",
                where=child.where(*leaf.place),
                mend=f"at most as loose as {_told(value)}; or leave it out, and it is inherited",
            )


@dataclass(frozen=True)
class _Barred:
    """The owner of a policy that says who approves a change, and where she stands."""

    owner: str
    where: str


def _barred(document: Document) -> _Barred | None:
    """Whom a whole policy bars from approving; of a base nothing is asked."""
    rule, owner = document.data.get("approval"), document.data.get("owner")
    asks = isinstance(rule, dict) and "policy change" in rule and isinstance(owner, str)
    return _Barred(str(owner), document.where("owner")) if asks and document.data.get("base") is not True else None


def _same_owner(barred: _Barred | None, child: Document) -> None:
    """Refuse a policy with another owner than the one whom a policy above it bars: in the child she could approve."""
    owner = child.data.get("owner")
    if barred is None or child.data.get("base") is True or not isinstance(owner, str):
        return  # whether it is a policy at all is asked later
    if not same_person(owner, barred.owner):
        raise PolicyError(
            f"owner: {owner} is looser than the parent's {barred.owner} at {barred.where}: where `approval` says who "
            "approves a change the owner never does, and a child may only tighten",
            where=child.where("owner"),
            mend=f"write `owner: {barred.owner}`",
        )


def _told(value: Any) -> str:
    if value is ABSENT:
        return "silence"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


# --- a form in which nothing is demanded ------------------------------------------------------------


_GENERIC: Mapping[Any, Any] = {Mapping: Mapping, tuple: tuple}  # whose parameters are known at run time only


@cache
def _partial(model: type[pydantic.BaseModel], by: str = "") -> type[pydantic.BaseModel]:
    """``model`` with every field optional, its sections too, and no default but None; but for the field ``by``, which
    tells the parts of a list apart."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if name == by:
            found[name] = (Annotated[(info.annotation, *info.metadata)], pydantic.Field(alias=str(info.alias or name)))
            continue
        inner = _loosened(info.annotation, next((m.by for m in info.metadata if isinstance(m, Keyed)), ""))
        annotation: Any = Annotated[(inner | None, *info.metadata)] if info.metadata else inner | None
        found[name] = (annotation, pydantic.Field(default=None, alias=str(info.alias or name)))
    return pydantic.create_model(f"Partial{model.__name__}", __base__=Part, **found)


def _loosened(annotation: Any, by: str = "") -> Any:
    """An annotation with the models in it made partial; a mapping's and a list's too, told apart by ``by``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return _partial(annotation)
    if origin is Annotated:
        return Annotated[(_loosened(inner[0], by), *inner[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(_loosened(part, by) for part in inner)]  # noqa: UP007 - of parts that are known at run time only
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _GENERIC[Mapping][inner[0], _loosened(inner[1])]
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis and (part := section_of(inner[0])) is not None:
        return _GENERIC[tuple][_partial(part, by), ...]
    return annotation


# --- merging ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Merge:
    """A parent's values under a child's, with the file and line of each."""

    parent: Document
    child: Document
    lines: dict[Place, int] = field(default_factory=dict)
    files: dict[Place, str] = field(default_factory=dict)

    def document(self) -> Document:
        """The child with what it inherits."""
        above = {key: part for key, part in self.parent.data.items() if key not in _OWN}
        data = self._model(PolicyFile, above, self.child.data, (), (), ())
        self.lines[()] = 1
        self.files[()] = self.child.path
        return replace(self.child, data=data, lines=self.lines, files=self.files)

    def _model(
        self, model: type[pydantic.BaseModel], above: Any, below: Any, old: Place, new: Place, at: Place
    ) -> dict[str, Any]:
        """Merge two mappings that one model describes; ``old`` and ``new`` are their places, ``at`` is the result's."""
        out: dict[str, Any] = {}
        known = {f.key: (f, model.model_fields[f.attribute].annotation) for f in fields_of(model)}
        for key in dict.fromkeys((*above, *below)):
            if key not in below and key in known and known[key][0].mark == OWN:
                continue  # each file's own: the reason for asking nobody, where the child says how it asks
            if key not in below:
                out[key] = self._take(self.parent, above[key], (*old, key), (*at, key))
            elif key not in above or key not in known:
                out[key] = self._take(self.child, below[key], (*new, key), (*at, key))
            else:
                found, annotation = known[key]
                places = (*old, key), (*new, key), (*at, key)
                out[key] = self._field(found.mark, annotation, above[key], below[key], *places)
        return out

    def _field(self, mark: Any, annotation: Any, above: Any, below: Any, old: Place, new: Place, at: Place) -> Any:
        inner = section_of(annotation) if mark is None else _part_of(annotation) if isinstance(mark, Keyed) else None
        if inner is None:
            return self._take(self.child, below, new, at)
        self._note(self.child, new, at)
        if mark is None:
            return self._model(inner, above, below, old, new, at)
        if not mark.by:
            out: dict[str, Any] = {}
            for key, part in below.items():
                places = (*old, key), (*new, key), (*at, key)
                both = key in above
                self._note(self.child, places[1], places[2])
                out[key] = (
                    self._model(inner, above[key], part, *places) if both else self._take(self.child, part, *places[1:])
                )
            return out
        return self._lines_of(mark.by, inner, above, below, old, new, at)

    def _lines_of(
        self,
        by: str,
        inner: type[pydantic.BaseModel],
        above: Sequence[Any],
        below: Sequence[Any],
        old: Place,
        new: Place,
        at: Place,
    ) -> list[Any]:
        held = {part[by]: i for i, part in enumerate(above)}
        out: list[Any] = []
        for i, part in enumerate(below):
            where = (*at, len(out))
            self._note(self.child, (*new, i), where)
            j = held.pop(part[by], None)
            out.append(
                self._take(self.child, part, (*new, i), where)
                if j is None
                else self._model(inner, above[j], part, (*old, j), (*new, i), where)
            )
        for j in held.values():
            out.append(self._take(self.parent, above[j], (*old, j), (*at, len(out))))
        return out

    def _take(self, document: Document, value: Any, place: Place, at: Place) -> Any:
        """A value as one file has it."""
        for known in document.lines:
            if known[: len(place)] == place:
                self._note(document, known, (*at, *known[len(place) :]))
        return value

    def _note(self, document: Document, place: Place, at: Place) -> None:
        if place in document.lines:
            self.lines[at] = document.lines[place]
            self.files[at] = document.file_of(place)


def _part_of(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The model of a mapping's values or a list's parts."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return next((found for part in inner if (found := _part_of(part)) is not None), None)
    if origin is Annotated:
        return _part_of(inner[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return section_of(inner[1])
    return section_of(inner[0]) if origin is tuple and inner else None
