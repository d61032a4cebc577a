"""The command line: parse and print, nothing else.

Exit codes: 0 allowed, 1 refused by policy or gate, 2 usage or bad file, 3 budget exhausted,
4 integrity, 5 approval missing (reserved), 70 internal, 130 interrupted.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from privsynth.errors import PrivsynthError, Refused, StorageError, UsageError

if TYPE_CHECKING:
    from privsynth.pipeline.plan import StudyPlan
    from privsynth.pipeline.study import Study
    from privsynth.progress import Progress

app = typer.Typer(
    name="privsynth",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Sensitive tables in; a signed, differentially private synthetic release out, or a refusal that "
    "says which rule refused it.\n\n"
    "A first run:  privsynth demo\n\n"
    "Your own data:  privsynth init DATA  (drafts schema, policy and study; you declare the domains),  "
    "privsynth keys new,  privsynth plan study.yaml  (reads no data),  privsynth run study.yaml.\n\n"
    "Exit codes: 0 allowed, 1 refused by policy or gate, 2 usage or bad file, 3 budget exhausted, "
    "4 integrity, 70 internal fault, 130 interrupted.",
)
schema_app = typer.Typer(help="The schema: what is public about a table.")
data_app = typer.Typer(help="The data, looked at inside only.")
policy_app = typer.Typer(help="The policy: what is allowed, for whom, at what cost.")
keys_app = typer.Typer(help="Signing keys and trust.")
for name, group in (("schema", schema_app), ("data", data_app), ("policy", policy_app), ("keys", keys_app)):
    app.add_typer(group, name=name)


@dataclass(frozen=True)
class Screen:
    """How to print: people or machines, loud or quiet."""

    as_json: bool
    quiet: bool

    def say(self, text: str = "") -> None:
        """A line for people, on standard output."""
        if not self.as_json and not self.quiet:
            print(text)

    def answer(self, value: dict[str, Any]) -> None:
        """The whole answer for machines: one JSON object."""
        if self.as_json:
            print(json.dumps({"privsynth": 1, **value}, default=_jsonable, ensure_ascii=False, sort_keys=True))

    def table(self, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Aligned columns for people."""
        if self.as_json or self.quiet:
            return
        widths = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]
        for row in (head, tuple("-" * w for w in widths), *rows):
            print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Bars on standard error while something long runs; silent where nobody looks."""
        from privsynth.progress import SILENT

        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield SILENT
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        with Bars(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True)
        ) as bars:
            yield _Bars(bars)


class _Bars:
    """A ``Progress`` on rich's bars."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None

    def step(self, name: str, total: int) -> None:
        self._task = self._bars.add_task(name, total=total)

    def advance(self, parts: int = 1) -> None:
        self._bars.advance(self._task, parts)


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output; for machines.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
ACTOR = Annotated[
    str | None,
    typer.Option(
        help="Who asks: an address listed under `people` in the policy. Default: the study's `actor`, else "
        "PRIVSYNTH_ACTOR, else your login name."
    ),
]
STUDY = Annotated[Path, typer.Argument(help="The study file (docs: study.md).")]


def _actor(given: str | None, study: Study | None = None) -> str:
    of_study = study.file.actor if study is not None else None
    return given or of_study or os.environ.get("PRIVSYNTH_ACTOR") or getpass.getuser()


# --- drafting and checking -------------------------------------------------------------------------


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="A .parquet or .csv file. Only names and storage types are read.")],
    from_public: Annotated[
        Path | None,
        typer.Option(help="A file that you declare PUBLIC: domains are taken from it, and the schema says so."),
    ] = None,
    into: Annotated[Path, typer.Option(help="Folder for the three drafts.")] = Path(),
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Draft schema, policy and study for DATA. Every domain is a TODO that only you can fill in."""
    from privsynth.data.draft import draft, write_draft

    screen = Screen(json_, quiet)
    written = write_draft(draft(data, public=from_public), into)
    screen.answer({"command": "init", "written": [str(path) for path in written]})
    for path in written:
        screen.say(f"wrote {path}")
    screen.say("Now fill in each TODO from public knowledge, never from the rows; then `privsynth schema check`.")


@schema_app.command("check")
def schema_check(
    schema: Annotated[Path, typer.Argument(help="The schema file.")], json_: JSON = False, quiet: QUIET = False
) -> None:
    """Load a schema and say what a fit would see of each column."""
    from privsynth.data.codec import Codec
    from privsynth.data.schema import load_schema

    screen = Screen(json_, quiet)
    loaded = load_schema(schema)
    columns = Codec(loaded).columns
    screen.answer(
        {
            "command": "schema check",
            "source": loaded.source,
            "sha256": loaded.sha256,
            "columns": {c.name: {"kind": c.column.kind, "cells": c.cells, "nullable": c.nullable} for c in columns},
        }
    )
    screen.table(
        ("column", "kind", "cells", "null"),
        [(c.name, c.column.kind, str(c.cells), "yes" if c.nullable else "no") for c in columns],
    )
    others = [n for n, c in loaded.columns.items() if not c.learned]
    screen.say(f"\nnot learned: {', '.join(others) or 'none'}\nschema {loaded.source} is whole ({loaded.sha256[:12]})")


@data_app.command("check")
def data_check(
    data: Annotated[Path, typer.Argument(help="The data file.")],
    schema: Annotated[Path, typer.Option(help="Its schema.")],
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """List the rows that break the schema's rules. SENSITIVE: for eyes inside, never to be passed on."""
    from privsynth.data.schema import load_schema
    from privsynth.data.tables import check_table

    screen = Screen(json_, quiet)
    faults = check_table(data, load_schema(schema))
    screen.answer({"command": "data check", "internal": True, "faults": list(faults)})
    screen.say("INTERNAL: this list tells of single records. It must not leave.\n")
    screen.table(
        ("column or rule", "what is done", "rows", "first rows (from 0)"),
        [(f.column, f.rule, str(f.rows), ", ".join(map(str, f.first))) for f in faults],
    )
    screen.say("\nno faults" if not faults else "\nA run handles these by rule and never stops for them.")


@policy_app.command("check")
def policy_check(
    policy: Annotated[Path, typer.Argument(help="The policy file.")], json_: JSON = False, quiet: QUIET = False
) -> None:
    """Load a policy; unknown keys and limits that can never be met are errors."""
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    loaded = load_policy(policy)
    screen.answer({"command": "policy check", "id": loaded.id, "version": loaded.version, "sha256": loaded.sha256})
    screen.say(f"policy {loaded.id} version {loaded.version} is whole")
    screen.say(f"sources: {', '.join(loaded.sources)}; gate rules: {', '.join(loaded.gate.rules)}")
    screen.say(f"identity: {loaded.sha256}")


# --- the road --------------------------------------------------------------------------------------


@app.command()
def plan(study: STUDY, actor: ACTOR = None, json_: JSON = False, quiet: QUIET = False) -> None:
    """Decision, cost and noise of a study. Reads no data, spends nothing, creates nothing."""
    from privsynth.pipeline.plan import plan_study
    from privsynth.pipeline.study import load_study

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    planned = plan_study(loaded, actor=_actor(actor, loaded))
    _print_plan(screen, planned)
    planned.refuse()


def _print_plan(screen: Screen, planned: StudyPlan) -> None:
    quote, layout = planned.quote, planned.layout
    rules = [
        {"id": v.id, "allowed": v.allowed, "what": v.what, "limit": v.limit, "where": v.where}
        for v in quote.decision.verdicts
    ]
    noise = {} if layout is None else {"one-way": layout.one_way_sigma, "held-back": layout.held_back_sigma}
    if layout is not None and layout.pair_sigmas:
        noise["pair"] = max(layout.pair_sigmas)
    screen.answer(
        {
            "command": "plan",
            "allowed": quote.decision.allowed,
            "admitted": quote.admitted,
            "rules": rules,
            "mu": {"all": quote.prices.mu, "fit": quote.prices.mu_fit, "gate": quote.prices.mu_gate},
            "noise": noise,
            "lines": [
                {"over": x.over, "name": x.name, "before": x.spent_before, "after": x.spent_after} for x in quote.lines
            ],
            "false_refusal": planned.false_refusal,
        }
    )
    screen.table(
        ("rule", "", "what", "limit", "where"),
        [(v.id, "ok" if v.allowed else "NO", v.what, v.limit, v.where) for v in quote.decision.verdicts],
    )
    screen.say(f"\nprice: μ = {quote.prices.mu:.4f} (fit {quote.prices.mu_fit:.4f}, gate {quote.prices.mu_gate:.4f})")
    for name, sigma in noise.items():
        rows = max(planned.subjects, 1.0)
        screen.say(f"noise of a {name} count: ± {sigma:.1f} rows, {sigma / rows:.2%} of the declared {rows:,.0f}")
    for line in quote.lines:
        after = "cannot pay" if line.spent_after is None else f"{line.spent_after:.1%}"
        screen.say(f"{line.over} {line.name}: {line.spent_before:.1%} spent, after this hold {after}")
    if planned.false_refusal is not None:
        screen.say(f"the membership rule would refuse a perfect generator with probability {planned.false_refusal:.1e}")


@app.command()
def run(study: STUDY, actor: ACTOR = None, json_: JSON = False, quiet: QUIET = False) -> None:
    """Data to signed release, or a refusal. Interrupted? Run it again: nothing is paid twice."""
    from privsynth.pipeline.run import run_study
    from privsynth.pipeline.study import load_study

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    with screen.progress() as progress:
        outcome = run_study(loaded, actor=_actor(actor, loaded), progress=progress)
    findings = outcome.approved.claims.published()
    screen.answer(
        {
            "command": "run",
            "release": str(outcome.release),
            "model": str(outcome.model_folder),
            "rows": outcome.rows,
            "hold": outcome.hold.id,
            "findings": findings,
        }
    )
    _print_findings(screen, findings)
    screen.say(f"\nsigned release: {outcome.release} ({outcome.rows:,} rows)")
    screen.say(f"model, kept inside: {outcome.model_folder}")


def _print_findings(screen: Screen, findings: list[dict[str, Any]]) -> None:
    screen.table(
        ("gate rule", "", "limit", "figure", "cost"),
        [(f["name"], "ok" if f["passed"] else "NO", f["limit"], f["figure"] or "", f["cost"]) for f in findings],
    )


@app.command()
def sample(
    study: STUDY,
    rows: Annotated[int, typer.Option(help="How many rows.")],
    out: Annotated[Path, typer.Option(help="Folder for the new signed release.")],
    where: Annotated[
        list[str] | None,
        typer.Option(help="sex=F, age=20..40, ward=A,B, discharged= (null). May be given several times."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the draw repeatable.")] = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """A further signed release from the study's saved and approved model. Free; reads no data."""
    from privsynth.pipeline.conditions import parse_conditions
    from privsynth.pipeline.resample import sample_study
    from privsynth.pipeline.study import load_study

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    wanted = parse_conditions(where or [], loaded.schema)
    written = sample_study(loaded, rows=rows, where=wanted, seed=seed, out=out, actor=_actor(actor, loaded))
    screen.answer({"command": "sample", "release": str(out), "rows": written})
    screen.say(f"signed release: {out} ({written:,} rows)")


@app.command()
def report(
    study: STUDY,
    out: Annotated[Path, typer.Option(help="Where to write the HTML page.")] = Path("report.internal.html"),
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """The INTERNAL report of a study's model: exact figures. Its opening is logged; it must not leave."""
    from privsynth.generators.marginals import load_model
    from privsynth.ledger.store import open_ledger
    from privsynth.pipeline.run import read_split
    from privsynth.pipeline.study import load_study
    from privsynth.validate.report import validate

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    ledger = open_ledger(loaded.ledger_url, loaded.policy, actor=_actor(actor, loaded))
    model = load_model(loaded.model_folder)
    with screen.progress() as progress:
        split = read_split(loaded, ledger)
        made = validate(model, split, ledger=ledger, progress=progress)
    made.write(out)
    screen.answer({"command": "report", "internal": True, "written": str(out)})
    screen.say(f"internal report: {out}. It must not leave; whoever reads it should not ask for holds.")


@app.command()
def budget(
    policy: Annotated[Path, typer.Argument(help="The policy file.")],
    ledger: Annotated[str, typer.Option(help="Its ledger, for example sqlite:///ledger.db.")],
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """What each budget line has spent. A budget is for ever: nothing refills it."""
    from privsynth.ledger.store import open_ledger
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    path = Path(ledger.removeprefix("sqlite:///"))
    if not path.exists():
        raise StorageError("no such ledger", where=str(path), mend="check the path; `privsynth run` creates it")
    opened = open_ledger(ledger, load_policy(policy), actor=_actor(actor))
    lines = opened.balances()
    screen.answer(
        {
            "command": "budget",
            "lines": [
                {
                    "over": x.over,
                    "name": x.name,
                    "population": x.population,
                    "epsilon": x.epsilon,
                    "delta": x.delta,
                    "holds": x.holds,
                    "spent_share": x.spent_share(),
                }
                for x in lines
            ],
        }
    )
    screen.table(
        ("budget of", "name", "cap", "holds", "spent"),
        [
            (x.over, x.name, f"ε = {x.epsilon:g}, δ = {x.delta:g}", str(x.holds), f"{x.spent_share():.1%}")
            for x in lines
        ],
    )


# --- keys and verification -------------------------------------------------------------------------


@keys_app.command("new")
def keys_new(
    path: Annotated[Path, typer.Argument(help="The new key file.")] = Path("release.key"),
    name: Annotated[str, typer.Option(help="Who holds the key; shown to verifiers.")] = "",
    trust: Annotated[Path, typer.Option(help="The trust file to write beside it, for verifiers.")] = Path("trust.json"),
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Encrypt the key by the first line of this file (use /dev/stdin for a pipe).")
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Draw an Ed25519 signing key (mode 0600) and write the trust file that verifiers need."""
    from privsynth.documents import read_bytes
    from privsynth.errors import KeyFileError
    from privsynth.signing import Trust, new_key, write_trust

    screen = Screen(json_, quiet)
    secret = None
    if passphrase_file is not None:
        secret = read_bytes(passphrase_file, error=KeyFileError, kind="passphrase").splitlines()[:1]
        if not secret or not secret[0]:
            raise KeyFileError("the passphrase is empty", where=str(passphrase_file), mend="write it on the first line")
    if os.path.lexists(trust):
        raise StorageError("the trust file exists", where=str(trust), mend="name another with --trust")
    key = new_key(path, name=name or getpass.getuser(), passphrase=secret[0] if secret else None)
    write_trust(trust, Trust.of(key))
    screen.answer({"command": "keys new", "key": str(path), "trust": str(trust), "keyid": key.keyid})
    screen.say(f"key: {path} (keep it secret)\ntrust: {trust} (give it to verifiers by another way than the bundle)")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The release folder.")],
    trust: Annotated[
        Path | None, typer.Option(help="Whose signatures count. Default: trust.json beside the folder.")
    ] = None,
    recipient: Annotated[str | None, typer.Option(help="Who you are: refuse a release made for another.")] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Check signature, files and form of a release. Offline; needs neither torch nor pandas."""
    from privsynth.release.verify import verify as check

    screen = Screen(json_, quiet)
    found = check(folder, trust=trust, recipient=recipient)
    paid = found.receipt
    screen.answer(
        {
            "command": "verify",
            "verified": True,
            "signers": list(found.signers),
            "recipient": found.recipient,
            "rows": found.rows,
            "epsilon": paid.epsilon,
            "delta": paid.delta,
            "unit": paid.unit,
            "claims": list(found.claims),
        }
    )
    screen.say(f"verified: {found.folder} is whole and signed by {', '.join(found.signers)}")
    screen.say(
        f"{found.rows:,} synthetic rows for {found.recipient}, ε = {paid.epsilon:g}, δ = {paid.delta:g} per {paid.unit}"
    )


# --- the demo --------------------------------------------------------------------------------------


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("out/demo"),
    internal: Annotated[
        bool, typer.Option(help="Also the internal report with exact figures; logged, and marks later statements.")
    ] = False,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Real health data to a signed, verified release at ε = 1, then three refusals. Under a minute."""
    from privsynth.pipeline.demo import run_demo

    screen = Screen(json_, quiet)
    screen.say("RAND Health Insurance Experiment: 20,190 person-years, 10 columns (from statsmodels)\n")
    with screen.progress() as progress:
        made = run_demo(out, internal=internal, progress=progress)
    outcome = made.outcome
    findings = outcome.approved.claims.published()
    screen.answer(
        {
            "command": "demo",
            "release": str(outcome.release),
            "spent": {"before": made.spent_before, "after": made.spent_after},
            "findings": findings,
            "refusals": list(made.refusals),
            "picture": str(made.picture),
        }
    )
    receipt = outcome.model.receipt
    screen.say(f"price: ε = {receipt.epsilon:g}, δ = {receipt.delta:g} per {receipt.unit}")
    screen.say(f"budget of {receipt.population}: {made.spent_before:.0%} spent before, {made.spent_after:.0%} after\n")
    _print_findings(screen, findings)
    screen.say("\nthree things that are refused:")
    for refusal in made.refusals:
        screen.say(f"  exit {refusal.exit_code}: {refusal.tried}\n    {refusal.message}")
    screen.say(f"\nsigned release, verified: {outcome.release}")
    screen.say(f"picture of its marginals:  {made.picture}")
    if made.report is not None:
        screen.say(f"internal report (must not leave): {made.report}")
    screen.say(f"\nverify it yourself:  privsynth verify {outcome.release}")


# --- one door for errors ---------------------------------------------------------------------------


def main() -> None:
    """Run the command line; every error ends in one line and its exit code, never in a stack trace."""
    as_json = "--json" in sys.argv[1:]
    try:
        app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except PrivsynthError as error:
        _fail_with(error, as_json=as_json)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except TyperException as fault:
        _fail_with(UsageError(fault.format_message(), mend="add --help to the command"), as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        _fail(
            "interrupted; what was paid stays paid, and the same command goes on from there", code=130, as_json=as_json
        )
    except OSError as fault:
        refused = StorageError(f"the system refused a file operation ({fault.strerror})", mend="check disk and rights")
        _fail_with(refused, as_json=as_json)
    except Exception as fault:  # noqa: BLE001 - the last door: its text could hold a record, so only its type is shown
        _fail(
            f"an internal fault of privsynth ({type(fault).__name__}); what was paid stays paid",
            code=PrivsynthError.exit_code,
            as_json=as_json,
        )


def _fail_with(error: PrivsynthError, *, as_json: bool) -> None:
    _fail(error.what, error=error, code=error.exit_code, as_json=as_json)


def _fail(what: str, *, code: int, as_json: bool, error: PrivsynthError | None = None) -> None:
    if as_json:
        kind = type(error).__name__ if error is not None else "Fault"
        told = {"privsynth": 1, "error": kind, "what": what, "exit_code": code}
        if error is not None:
            told |= {"where": error.where, "mend": error.mend}
        if isinstance(error, Refused):
            told["rules"] = list(error.rules)
        print(json.dumps(told, ensure_ascii=False, sort_keys=True))
    print(f"privsynth: {error if error is not None else what}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
