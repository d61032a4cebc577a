"""What the person does who answers for a policy: `policy explain`, `show`, `schema`, `approve`, `approved`."""

from __future__ import annotations

import datetime as dt
import json
import re
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.cli.screen import Answered, Screen
from privsynth.cli.words import JSON, POLICY, QUIET, passphrase_in
from privsynth.errors import ApprovalMissing, RequestDenied

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

WIDTH = 100
REPLACES = Annotated[
    str,
    typer.Option(
        metavar="POLICY",
        help="The policy in use, whose place it takes: its file, or the SHA-256 that a refusal of `plan` names; `none` "
        "where the ledger worked by none that asks for approvals yet.",
    ),
]


def policy_explain(
    request: Annotated[
        Path, typer.Argument(metavar="REQUEST", help="A file that asks one thing (docs/policy-tools.md).")
    ],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The policy that is asked.")],
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Show every rule that one request meets.

    REQUEST is a case of a file of tests without `expect`, under `privsynth-policy-request: 1`. Each rule is listed with
    the line that it reads, what is asked and what is allowed. Exit code 1 if some rule denies. No data are read.

    Example:  privsynth policy explain request.yaml --policy policies/healthcare.yaml
    """
    from privsynth.policy.asks import answer
    from privsynth.policy.cases import load_ask
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    decision = answer(load_ask(request), load_policy(policy))
    told = {"allowed": decision.allowed, "rules": [asdict(verdict) for verdict in decision.verdicts]}
    screen.table(
        ("verdict", "rule", "asked", "limit", "line"),
        [("allow" if v.allowed else "DENY", v.id, v.what, v.limit, v.where) for v in decision.verdicts],
    )
    try:
        decision.refuse()
    except RequestDenied as denied:
        raise Answered(denied, {"command": "policy explain", **told}) from None
    screen.say(f"\nallowed by all {len(decision.verdicts)} rules")
    screen.answer("policy explain", told)


def policy_show(
    policy: POLICY,
    prose: Annotated[
        bool, typer.Option("--prose", help="As sentences: the page that an officer signs. Nothing is left out.")
    ] = False,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Show what a policy says, with all that it inherits.

    Each value with the file and line that it comes from; defaults too. At the foot stand the policy's id, its version
    and the SHA-256 of its resolved form, which every hold and release carries.

    Example:  privsynth policy show policies/healthcare.yaml --prose
    """
    from privsynth.policy.document import load_policy
    from privsynth.policy.leaves import leaves
    from privsynth.policy.prose import foot, told
    from privsynth.policy.prose import prose as sentences

    screen = Screen(json_, quiet)
    loaded = load_policy(policy)
    said = {"id": loaded.id, "version": loaded.version, "sha256": loaded.sha256}
    if prose:
        page = [{"heading": s.heading, "text": s.text, "where": s.where} for s in sentences(loaded)]
        screen.answer("policy show", {**said, "prose": page})
        _page(screen, loaded, page)
    else:
        screen.answer("policy show", {**said, "policy": loaded.to_json()})
        rows: list[tuple[str, ...]]
        rows = [(leaf.name, told(leaf.value), loaded.where(*leaf.place)) for leaf in leaves(loaded.file).values()]
        screen.table(("key", "value", "line"), rows)
    screen.say(f"\n{foot(loaded)}")


def _page(screen: Screen, policy: Policy, sentences: list[dict[str, str]]) -> None:
    screen.say(f"In brackets: the line of {policy.document.path}; of another file, with its name.")
    heading = ""
    for one in sentences:
        if one["heading"] != heading:
            heading = one["heading"]
            screen.say(f"\n{heading}")
        place = one["where"].removeprefix(f"{policy.document.path}:").rpartition("/")[2]
        for line in textwrap.wrap(f"{one['text']} [{place}]", WIDTH, initial_indent="  ", subsequent_indent="    "):
            screen.say(line)


def policy_schema(quiet: QUIET = False, json_: JSON = False) -> None:
    """Print the JSON Schema of policy files, for editors.

    It knows keys, types and ranges. What keys mean together, and what a child may say, only `policy check` knows.

    Example:  privsynth policy schema > policy.schema.json
    """
    from privsynth.policy.editors import json_schema

    screen = Screen(json_, quiet)
    screen.answer("policy schema", {"schema": json_schema()})
    screen.say(json.dumps(json_schema(), indent=1, ensure_ascii=False))


def policy_approve(
    policy: POLICY,
    key: Annotated[Path, typer.Option(metavar="KEY", help="Your own key (`privsynth keys new --role policy`).")],
    person: Annotated[str, typer.Option(metavar="ADDRESS", help="Who you are, as trust files name you.")],
    replaces: REPLACES,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key's passphrase is its first line (/dev/stdin for a pipe)."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Sign a policy: its meaning, not its file.

    A detached signature over the resolved hash, and that of the policy which it replaces, is put beside the policy, in
    NAME.approvals/. It stands until either is another one: the policy means something else, or the ledger works by a
    third. Read `policy show --prose` and `policy diff` first; nobody approves a policy that she owns.

    Example:  privsynth policy approve policy.yaml --replaces in-use.yaml --key ito.key --person k.ito@st-anna.example
    """
    from privsynth.policy.approval import approve, folder_of
    from privsynth.policy.document import load_policy
    from privsynth.signing import load_key

    screen = Screen(json_, quiet)
    loaded = load_policy(policy)
    signing = load_key(key, passphrase=passphrase_in(passphrase_file))
    before, today = _replaced(replaces), dt.datetime.now(dt.UTC).date()
    path = approve(loaded, folder_of(policy), signing, before=before, person=person, today=today)
    told = {"approval": str(path), "sha256": loaded.sha256, "before": before, "keyid": signing.keyid}
    screen.answer("policy approve", told)
    screen.say(f"{person} approves {loaded.id} version {loaded.version}\n  {loaded.sha256}")
    screen.say(f"in the place of\n  {before or 'none: the first that asks for approvals'}\n  {path}")


def _replaced(text: str) -> str | None:
    """The SHA-256 of the policy that ``--replaces`` names; None for ``none``."""
    from privsynth.policy.document import load_policy

    if text == "none":
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else load_policy(text).sha256


def policy_approved(
    policy: POLICY,
    trust: Annotated[
        Path, typer.Option(metavar="FILE", help="Whose keys count: a trust file with keys of role policy.")
    ],
    replaces: REPLACES,
    people: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, help="How many distinct people, if more than the policy says itself; at least 2."
        ),
    ] = None,
    author: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Who wrote the change: her approval does not count. May be repeated."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Tell whether enough people have approved a policy; for CI.

    Counts the signatures in NAME.approvals/ over the resolved hash, and that of the policy which it replaces, by keys
    of the trust file, which must not come with the change. Exit code 5 if they are too few. A ledger asks again, by
    the keys of the policy that it works by.

    Example:  privsynth policy approved policy.yaml --replaces main/policy.yaml --trust trust.json --people 2
    """
    from privsynth.policy.approval import approvals, folder_of
    from privsynth.policy.document import load_policy
    from privsynth.policy.quorum import least_people
    from privsynth.signing import load_trust

    screen = Screen(json_, quiet)
    loaded = load_policy(policy)
    needed = max(people or 0, least_people(loaded.file))
    now, before = dt.datetime.now(dt.UTC), _replaced(replaces)
    found = approvals(loaded, folder_of(policy), load_trust(trust), before=before, now=now, excluded=author or [])
    told = {
        "sha256": loaded.sha256,
        "before": before,
        "people": list(found.people),
        "needed": needed,
        "passed_over": [{"file": file, "why": why} for file, why in found.passed_over],
    }
    for file, why in found.passed_over:
        screen.say(f"not counted: {file}: {why}")
    try:
        found.demand(needed, policy=loaded)
    except ApprovalMissing as missing:
        raise Answered(missing, {"command": "policy approved", **told}) from None
    screen.answer("policy approved", told)
    screen.say(f"{loaded.id} version {loaded.version} is approved by {len(found.people)}: {', '.join(found.people)}")
    screen.say(f"  {loaded.sha256}")
