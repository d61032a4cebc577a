"""A policy with one leaf loosened by one step: if no test turns red, nobody would see the change."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from privsynth.errors import PolicyError
from privsynth.policy.asks import ConsentAsk, HoldAsk, ReportAsk
from privsynth.policy.compare import Change, compare
from privsynth.policy.directions import ABSENT
from privsynth.policy.document import Policy, policy_of
from privsynth.policy.form import PolicyFile
from privsynth.policy.leaves import NAMES, Leaf, leaves, silent
from privsynth.policy.quorum import quorum_of
from privsynth.policy.trial import Trial, run_trial


@dataclass(frozen=True)
class Mutant:
    """One loosened leaf.

    Attributes:
        leaf: as it stands in the policy.
        value: what it was loosened to; ``ABSENT`` where only leaving it out, or the section around it, is looser.
        red: the cases that then fail; empty: the tests do not see it.
        change: what ``compare`` reports of it; None if it reports nothing.
    """

    leaf: Leaf
    value: Any
    red: tuple[str, ...]
    change: Change | None

    @property
    def shown(self) -> bool:
        """Whether the comparison gives a request that one policy's rule denies and the other's allows."""
        return self.change is not None and self.change.witness is not None


@dataclass(frozen=True)
class Loosened:
    """Every leaf of a policy, loosened where that is possible.

    Attributes:
        leaves: how many the policy states, and those that it does not and whose silence means a word.
        mutants: one for each leaf that has a looser step which still is a policy.
        stuck: the leaves that have looser values, none of which makes a whole policy (``check`` refuses each), and that
            cannot be left out.
    """

    leaves: int
    mutants: tuple[Mutant, ...]
    stuck: tuple[Leaf, ...] = ()

    @property
    def survivors(self) -> tuple[Mutant, ...]:
        """Those that no test sees, or that the comparison cannot show."""
        return tuple(m for m in self.mutants if not m.red or not m.shown)


def loosen(policy: Policy, trial: Trial) -> Loosened:
    """Loosen each leaf of ``policy`` by one step, and put the tests that it passes to what comes out."""
    every = (*leaves(policy.file).values(), *silent(policy.file))
    green = {outcome.case for outcome in run_trial(trial, policy) if outcome.passed}
    mutants, stuck = [], []
    for leaf in every:
        names = [*_names(policy, trial, leaf), *_unlisted(leaf)]
        found = next(_looser(policy, leaf, names), None)
        if found is None and any(True for _ in leaf.direction.steps(leaf.value, names)):
            found = next(_without(policy, leaf), None)
            stuck += [leaf] if found is None else []
        if found is not None:
            value, mutant = found
            red = tuple(o.case for o in run_trial(trial, mutant) if not o.passed and o.case in green)
            told = [c for c in compare(policy, mutant) if c.leaf.path == leaf.path and c.loosens]
            mutants.append(Mutant(leaf, value, red, told[0] if told else None))
    return Loosened(len(every), tuple(mutants), tuple(stuck))


def _looser(policy: Policy, leaf: Leaf, names: Sequence[str]) -> Iterator[tuple[Any, Policy]]:
    """(value, policy) for each looser value of the leaf that makes a whole policy, the nearest first."""
    for value in leaf.direction.steps(leaf.value, names):
        for data in _written(policy.document.data, leaf, value):
            try:
                yield value, policy_of(replace(policy.document, data=data))
            except PolicyError:
                continue


def _without(policy: Policy, leaf: Leaf) -> Iterator[tuple[Any, Policy]]:
    """(``ABSENT``, policy) without the leaf, and without each section around it, the smallest first: where that makes a
    whole policy that is looser there."""
    for depth in range(len(leaf.place), 0, -1) if leaf.direction.order(leaf.value, ABSENT) == "looser" else ():
        data = copy.deepcopy({key: part for key, part in policy.document.data.items() if key != "extends"})
        try:
            del _at(data, replace(leaf, place=leaf.place[: depth - 1]))[leaf.place[depth - 1]]
            _dismiss(data)
            mutant = policy_of(replace(policy.document, data=data))
        except (LookupError, PolicyError):  # the form fills it in, or demands it
            continue
        if any(c.leaf.path == leaf.path and c.loosens for c in compare(policy, mutant, show=False)):
            yield ABSENT, mutant


def _dismiss(data: dict[str, Any]) -> None:
    """Take the roles from people that counted for approvals only, where no rule asks for approvals any more."""
    if "policy change" not in data.get("approval", {}):
        named = {role for listed in data["roles"].values() if isinstance(listed, list) for role in listed}
        kept = {name: [r for r in one["roles"] if r in named] for name, one in data["people"].items()}
        data["people"] = {name: {**data["people"][name], "roles": roles} for name, roles in kept.items() if roles}


def _written(data: Mapping[str, Any], leaf: Leaf, value: Any) -> Iterator[dict[str, Any]]:
    """The file's values with the leaf's replaced; a new name gets a copy of each entry beside it, without its key."""
    if leaf.path[-1] != NAMES:
        yield _put(data, leaf, value.isoformat() if isinstance(value, dt.date) else value)
        if value == []:
            yield _put(data, leaf, ABSENT)
        return
    held: dict[str, Any] = dict(_at(data, leaf))
    for name in value:
        for entry in held.values() if name not in held else ():
            yield _put(data, leaf, {**held, name: {key: part for key, part in entry.items() if key != "key"}})


def _at(data: Any, leaf: Leaf) -> Any:
    for part in leaf.place:
        data = data[part]
    return data


def _put(data: Mapping[str, Any], leaf: Leaf, value: Any) -> dict[str, Any]:
    out: dict[str, Any] = copy.deepcopy({key: part for key, part in data.items() if key != "extends"})  # it is resolved
    inner: Any = out
    for part in leaf.place[:-1]:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    if value is ABSENT:
        inner.pop(leaf.place[-1])
    else:
        inner[leaf.place[-1]] = value
    _mend(out, leaf, value)
    return out


def _mend(data: dict[str, Any], leaf: Leaf, value: Any) -> None:
    """Bring what goes together with a loosened leaf into step, where ``check`` demands that."""
    consent, columns = data["consent"], data["consent"].get("columns")
    if leaf.path == ("consent", "by"):
        data["consent"] = {"default": consent["default"], "by": value, "because": "loosened"}
        for part in (*data["purposes"].values(), *data["recipients"].values()):
            part.pop("fhir", None)
    if leaf.path == ("ledger", "witness"):
        data["ledger"].pop("witness key", None)
    if leaf.path == ("purposes", NAMES) and columns:
        data["consent"]["columns"] = {name: columns.get(name) or next(iter(columns.values())) for name in value}
    if leaf.path[-1] == "by" and leaf.path[0] == "gate" and not value:
        _at(data, replace(leaf, place=leaf.place[:-1])).pop("gap")
        rules = (data["gate"].get("utility"), data["gate"].get("pictures", {}).get("attribute"))
        if not any((rule or {}).get("by") for rule in rules):
            data["data"].pop("min subjects per group", None)


_INVENTED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("sources", NAMES): ("unlisted/source",),
    ("purposes", NAMES): ("unlisted-purpose",),
    ("purposes", "legal basis"): ("unlisted basis",),
    ("recipients", NAMES): ("unlisted-recipient",),
    ("people", NAMES): ("nobody@unlisted.example",),
    ("consent", "granted"): ("unlisted answer",),
    ("consent", "records"): ("fhir-r4", "fhir-r5"),
    ("consent", "verified by"): ("patient", "legal-representative"),
}


def _roles_for(file: PolicyFile, name: str) -> list[str]:
    """Roles that would let somebody do more: of these that approve only where she has a key and does not count yet."""
    approving = set(file.approval.policy_change.roles or ()) if file.approval and file.approval.policy_change else set()
    asking = {*file.roles.requesters_of_holds, *file.roles.readers_of_internal_reports}
    useful = asking if file.people[name].key is None or _counts(file, name) else asking | approving
    return [role for person in file.people.values() for role in person.roles if role in useful]


def _counts(file: PolicyFile, name: str) -> bool:
    quorum = quorum_of(file)
    return quorum is not None and quorum.counts(name)


def _unlisted(leaf: Leaf) -> tuple[str, ...]:
    """Names that no file lists: so that a list which no test asks about is loosened too, and is then told."""
    return _INVENTED.get((leaf.path[0], leaf.path[-1]), ())


def _names(policy: Policy, trial: Trial, leaf: Leaf) -> list[str]:
    """The names that somebody may ask for, of the kind that the leaf lists."""
    file = policy.file
    asks = [case.ask for case in trial.cases.values()]
    requests = [ask.request for ask in asks if isinstance(ask, HoldAsk)]
    match leaf.path:
        case ("sources", _):
            found = [r.source for r in requests]
        case ("purposes", _):
            found = [r.purpose for r in requests]
        case ("purposes", _, "legal basis"):
            found = [basis for r in requests for basis in r.legal_basis]
        case ("recipients", _):
            found = [r.recipient for r in requests]
        case ("regions",):
            found = [one.region for one in file.recipients.values() if one.region is not None]
        case ("recipients", _, "purposes"):
            found = list(file.purposes)
        case ("consent", "columns", _, "granted"):
            found = [ask.value for ask in asks if isinstance(ask, ConsentAsk)]  # type: ignore[misc]
        case ("people", _):
            found = [r.actor for r in requests] + [ask.actor for ask in asks if isinstance(ask, ReportAsk)]
        case ("roles", _):
            found = [role for person in file.people.values() for role in person.roles]
        case ("people", name, "roles"):
            found = _roles_for(file, name)
        case ("approval", "policy change", "roles"):
            found = [r for name, p in file.people.items() if not _counts(file, name) and p.key for r in p.roles]
        case _:
            found = []
    return list(dict.fromkeys(found))
