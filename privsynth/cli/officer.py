"""What the person does who answers for a policy: `policy explain`, `policy show`, `policy schema`, `policy approve`."""

from __future__ import annotations

import datetime as dt
import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.cli.screen import Answered, Screen
from privsynth.cli.words import JSON, POLICY, QUIET
from privsynth.errors import RequestDenied

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

WIDTH = 100


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
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key's passphrase is its first line (/dev/stdin for a pipe)."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Sign a policy: its meaning, not its file.

    A detached signature over the resolved hash is put beside the policy, in NAME.approvals/. It stands until the
    policy means something else. Read `policy show --prose` first; nobody approves a policy that she owns.

    Example:  privsynth policy approve policies/healthcare.yaml --key ito.key --person k.ito@st-anna.example
    """
    from privsynth.pipeline.places import first_line
    from privsynth.policy.approval import approve, folder_of
    from privsynth.policy.document import load_policy
    from privsynth.signing import load_key

    screen = Screen(json_, quiet)
    loaded = load_policy(policy)
    signing = load_key(key, passphrase=None if passphrase_file is None else first_line(passphrase_file))
    path = approve(loaded, folder_of(policy), signing, person=person, today=dt.datetime.now(dt.UTC).date())
    screen.answer("policy approve", {"approval": str(path), "sha256": loaded.sha256, "keyid": signing.keyid})
    screen.say(f"{person} approves {loaded.id} version {loaded.version}\n  {loaded.sha256}\n  {path}")
