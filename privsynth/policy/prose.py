"""A policy in sentences: the page that an officer signs. Every leaf that a policy states stands in one of them.

A leaf for which no sentence is written (``sentences``) is told as its key and value, so nothing is ever left out;
``tests/policy/test_prose.py`` fails if the form has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privsynth.documents import join
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy
from privsynth.policy.leaves import Leaf, leaves
from privsynth.policy.sentences import ANY, HEADINGS, SENTENCES, Told


@dataclass(frozen=True)
class Sentence:
    """One sentence of the page.

    Attributes:
        heading: the part of the policy that it is about.
        text: in plain words.
        where: ``file:line`` of what it tells.
        leaf: the path of the leaf that it tells.
    """

    heading: str
    text: str
    where: str
    leaf: tuple[str, ...]


def prose(policy: Policy) -> tuple[Sentence, ...]:
    """The whole policy in sentences, one for each leaf, in the order of the form."""
    return tuple(
        Sentence(HEADINGS.get(leaf.path[0], leaf.path[0]), sentence(leaf), policy.where(*leaf.place), leaf.path)
        for leaf in leaves(policy.file).values()
    )


def foot(policy: Policy) -> str:
    """What stands below the sentences: which policy this is, so that a signature is under one meaning."""
    return f"{policy.id}, version {policy.version}, SHA-256 of the resolved policy {policy.sha256}"


def sentence(leaf: Leaf) -> str:
    """One leaf in words."""
    name, found = _written(leaf.path)
    text = found.get(told(leaf.value)) if isinstance(found, Mapping) else found
    if text is None:
        return f"{leaf.name}: {told(leaf.value)}."
    part = leaf.value if isinstance(leaf.value, float) else 0.0
    return text.format(n=name, v=told(leaf.value), share=_percent(part), rest=_percent(1 - part))


def has_sentence(path: tuple[str, ...]) -> bool:
    """Whether a sentence is written for the leaf at ``path``."""
    return _written(path)[1] is not None


def _written(path: tuple[str, ...]) -> tuple[str, Told | None]:
    """(the owner's name in the path, its sentence): the path as it is, or with one name as ``*``."""
    for at in (None, *range(1, len(path))):
        pattern = path if at is None else (*path[:at], ANY, *path[at + 1 :])
        if pattern in SENTENCES:
            return ("" if at is None else path[at]), SENTENCES[pattern]
    return "", None


def told(value: Any) -> str:
    """A value in a sentence."""
    if value is ABSENT:
        return "not stated"
    if isinstance(value, list):
        return join([told(part) for part in value]) or "none"
    if isinstance(value, Mapping):
        return " and ".join(f"{key} {told(part)}" for key, part in value.items())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _percent(part: float) -> str:
    return f"{100 * part:.6g}%"
