"""Questions as YAML: what a test of a policy says of an ask, the case that a surviving mutant lacks, and a file that
asks one thing.

    privsynth-policy-request: 1
    hold: {source: ehr/encounters, purpose: medical-research, recipient: university-hospital, ...}
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic

from privsynth.documents import build, load_yaml, parse_yaml, refuse_null
from privsynth.errors import PolicyError
from privsynth.policy.asks import Ask, HoldAsk, answer
from privsynth.policy.document import Policy
from privsynth.policy.leaves import fields_of
from privsynth.policy.mutants import Mutant
from privsynth.policy.questions import HoldForm, Question
from privsynth.policy.trial import Trial

FORMAT = 1
KEY = "privsynth-policy-request"

_SPELLED: Mapping[str, str] = {"on": "today", "rows_per_subject": "contribution"}  # a field of the form: of Request
_LEFT_OUT = (("times", 1), ("ago", "0d"))  # of earlier holds
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/@()+-]*(?<! )\Z")


class RequestFile(Question):
    """A file that asks one thing of a policy."""

    format: Annotated[int, pydantic.Field(alias=KEY, strict=True)]

    @pydantic.field_validator("format")
    @classmethod
    def _known(cls, value: int) -> int:
        if value != FORMAT:
            raise ValueError(f"format {value} is not known; this version reads {FORMAT}")
        return value


def load_ask(path: str | Path) -> Ask:
    """What a file asks: a case of a test, without ``expect``.

    Raises:
        PolicyError: not such a file, with file:line and the mend.
    """
    document = load_yaml(path, error=PolicyError, kind="policy request")
    refuse_null(document, error=PolicyError)
    file = build(RequestFile, document, error=PolicyError, mends={KEY: f"the first line of the file is `{KEY}: 1`"})
    if file.kinds != 1:
        mend = f"one of {', '.join(Question.model_fields)}"
        raise PolicyError(f"the file asks {file.kinds} things", where=document.where(), mend=mend)
    return file.ask


def case_of(ask: Ask, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a test of a policy writes for ``ask``: ``{hold: {epsilon: 1.25}}``.

    Args:
        request: what the file of tests says under ``request``: what is the same there is left out.
    """
    kind = type(ask).__name__.removesuffix("Ask").lower()
    form = Question.model_fields[kind]
    [model] = [m for m in _models(form.annotation)]
    given = _hold(ask) if isinstance(ask, HoldAsk) else _values(ask)
    common = {} if request is None or kind != "hold" else {**_defaults(model), **request}
    known = common or _defaults(model)
    keys = {field.attribute: field.key for field in fields_of(model, marked=False)}
    told = {keys[name]: _plain(value) for name, value in given.items() if name in keys}
    body = {key: value for key, value in told.items() if key not in known or _plain(known[key]) != value}
    return {kind: body} if body or kind != "hold" or request is None else {}


def _hold(ask: HoldAsk) -> dict[str, Any]:
    fields = {name: getattr(ask.request, _SPELLED.get(name, name), None) for name in HoldForm.model_fields}
    return {**fields, "after": ask.after}


def _values(ask: Ask) -> dict[str, Any]:
    return {name: getattr(ask, name) for name in type(ask).__dataclass_fields__}


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    return [part for part in getattr(annotation, "__args__", (annotation,)) if part is not type(None)]


def _defaults(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    return {
        field.key: model.model_fields[field.attribute].default
        for field in fields_of(model, marked=False)
        if not model.model_fields[field.attribute].is_required()
    }


def _plain(value: Any) -> Any:
    """A value as a YAML file holds it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: part for key, part in _plain(asdict(value)).items() if (key, part) not in _LEFT_OUT}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dt.timedelta):
        days, rest = divmod(value, dt.timedelta(days=1))
        return f"{value // dt.timedelta(hours=1)}h" if rest else f"{days}d"
    return value.isoformat() if isinstance(value, dt.date) else value


def flow(value: Any) -> str:
    """``value`` as YAML on one line, which reads back as the same value."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(part) for part in value) + "]"
    if isinstance(value, str):
        same = _PLAIN.match(value) and parse_yaml(f"a: {value}".encode(), path="", error=PolicyError).data["a"] == value
        return value if same else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def suggestion(policy: Policy, trial: Trial, mutant: Mutant) -> str:
    """A case that the tests lack: the request that shows a loosened leaf, with what the policy says to it now.

    Returns:
        One line of YAML to put under ``cases``; empty where no request is known that shows the leaf.
    """
    if mutant.change is None or mutant.change.witness is None:
        return ""
    ask = mutant.change.witness.ask
    rules: Sequence[str] = list(dict.fromkeys(v.id for v in answer(ask, policy).refusing))
    case = {**case_of(ask, trial.document.data.get("request", {})), "expect": rules}
    return f"  {flow(_title(mutant))}: {flow(case)}"


def _title(mutant: Mutant) -> str:
    value = mutant.value
    if isinstance(value, list):
        new, old = set(map(str, value)), set(map(str, mutant.leaf.value))
        value = ", ".join(sorted(new - old or old - new))
    return re.sub(r"[^A-Za-z0-9 ._/@()+-]", "-", f"{' '.join(mutant.leaf.name.split(' › '))} {value}")
