"""The command line: parse and print, nothing else.

Exit codes: 0 allowed, 1 refused by policy or gate, 2 usage or bad file, 3 budget exhausted,
4 integrity, 5 approval missing, 70 internal, 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, NoReturn

import typer

from privsynth import __version__
from privsynth.cli.bundles import keys_new, keys_trust, sign, verify
from privsynth.cli.consent import CONSENT
from privsynth.cli.door import INTERRUPTED, end, flush, heed, leave, let_go
from privsynth.cli.drafts import data_check, init, schema_check
from privsynth.cli.ledger import LEDGER_COMMANDS
from privsynth.cli.meaning import explain_budget
from privsynth.cli.models import inspect, transcript
from privsynth.cli.officer import policy_approve, policy_approved, policy_explain, policy_schema, policy_show
from privsynth.cli.policies import policy_check, policy_diff, policy_test
from privsynth.cli.road import budget, demo, plan, report, run, sample
from privsynth.cli.sealing import keys_receiving, open_, seal

__all__ = ["app", "console", "main"]

PIPE_CLOSED = 141
app = typer.Typer(
    name="privsynth",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Sensitive tables in; a signed, differentially private synthetic release out, or a refusal that "
    "says which rule refused it.\n\n"
    "A first look:  privsynth demo\n\n"
    "Your own data:  `privsynth init DATA` drafts schema, policy and study, in which you declare every domain; "
    "`privsynth keys new` makes the signing key; `privsynth plan STUDY` tells decision, cost and noise and reads "
    "no data; `privsynth run STUDY` makes the release.\n\n"
    "Exit codes: 0 allowed, 1 refused by policy or gate, 2 usage or bad file, 3 budget exhausted, "
    "4 integrity, 5 approval missing, 70 internal fault, 130 interrupted.",
)

_COMMANDS: tuple[Callable[..., None], ...] = (
    init,
    plan,
    run,
    sample,
    inspect,
    transcript,
    report,
    budget,
    explain_budget,
    sign,
    seal,
    open_,
    verify,
    demo,
)
_GROUPS: tuple[tuple[str, str, Mapping[str, Callable[..., None]]], ...] = (
    ("schema", "The schema: what is public about a table.", {"check": schema_check}),
    ("data", "The data, looked at inside only.", {"check": data_check}),
    (
        "policy",
        "The policy: what is allowed, for whom, at what cost.",
        {
            "check": policy_check,
            "test": policy_test,
            "diff": policy_diff,
            "explain": policy_explain,
            "show": policy_show,
            "schema": policy_schema,
            "approve": policy_approve,
            "approved": policy_approved,
        },
    ),
    ("consent", "Consent: who agrees, who withdrew, and which fits held them. Inside only.", CONSENT),
    ("ledger", "The books: who bought what, and what is left.", LEDGER_COMMANDS),
    ("keys", "Signing keys and trust.", {"new": keys_new, "receiving": keys_receiving, "trust": keys_trust}),
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"privsynth {__version__}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show name and version, and exit.")
    ] = False,
) -> None:
    pass


for command in _COMMANDS:
    app.command(command.__name__.rstrip("_").replace("_", "-"))(command)
for group, about, verbs in _GROUPS:
    under = typer.Typer(help=about)
    for verb, command in verbs.items():
        under.command(verb)(command)
    app.add_typer(under, name=group)


def main() -> None:
    """Run the command line; every error ends in one line and its exit code, never in a stack trace."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by the caller's shell: nobody listens
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without ε is no reason to fail
    as_json = "--json" in sys.argv[1:]
    try:
        ended = app(args=sys.argv[1:] or ["--help"], prog_name="privsynth", standalone_mode=False)
        if ended == INTERRUPTED:  # typer's word for Ctrl-C
            raise KeyboardInterrupt
        flush()
    except (BrokenPipeError, SystemExit):  # typer's word for a reader that went away, as `head` does
        let_go()
        sys.exit(PIPE_CLOSED)
    except (Exception, KeyboardInterrupt) as fault:  # noqa: BLE001 - the last door: a text could hold a record
        end(fault, as_json=as_json)


def console() -> NoReturn:
    """The installed command: ``main`` in a process of its own, which then ends at once with its exit code."""
    heed()
    try:
        main()
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else 0)
    leave(0)
