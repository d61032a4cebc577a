"""The road: `plan`, `run`, `sample`, `report`, the books (`budget`, `ledger verify`), and the `demo` of it all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privsynth.cli.screen import Answered, Screen, not_approved, tell_not_approved
from privsynth.cli.words import ACTOR, JSON, KEY, LEDGER, POLICY, QUIET, STUDY, WITNESS, receivers, who
from privsynth.errors import PrivsynthError

if TYPE_CHECKING:
    from privsynth.pipeline.demo import Demo
    from privsynth.pipeline.plan import StudyPlan
    from privsynth.policy.nearest import Nearest


def plan(
    study: Annotated[list[Path], typer.Argument(metavar="STUDY", help="The study file (docs/study.md).")],
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Tell a study's decision, cost and noise; reads no data.

    Every rule of the policy is consulted and shown with its line. Spends nothing and creates nothing. Exit code:
    as `privsynth run` would refuse (1 policy or gate, 3 budget, 4 an earlier run cut off in its fit or gate, 5 a policy
    that is not approved), else 0.
    A missing table or register is named; it, keys and folders are checked by the run. Of several studies: what buying
    them together would cost, as `privsynth ledger reserve --dry-run`.

    Example:  privsynth plan study.yaml
    """
    from privsynth.pipeline.plan import plan_study
    from privsynth.pipeline.study import load_study

    screen = Screen(json_, quiet)
    if len(study) > 1:
        from privsynth.cli.programme import plan_several

        plan_several(screen, study, actor)
        return
    loaded = load_study(study[0])
    planned = plan_study(loaded, actor=who(actor, loaded))
    _print_plan(screen, planned)
    answer = planned.to_json()
    try:
        planned.refuse()
    except PrivsynthError as error:
        raise Answered(error, {"command": "plan", **answer}) from None
    screen.answer("plan", answer)


def _print_plan(screen: Screen, planned: StudyPlan) -> None:
    quote = planned.quote
    screen.table(
        ("rule", "", "what", "limit", "where"),
        [(v.id, "ok" if v.allowed else "NO", v.what, v.limit, v.where) for v in quote.decision.verdicts],
    )
    if quote.nearest is not None:
        for told in _nearest(quote.nearest):
            screen.say(told)
    screen.say(f"\nprice: μ = {quote.prices.mu:.4f} (fit {quote.prices.mu_fit:.4f}, gate {quote.prices.mu_gate:.4f})")
    _print_noise(screen, planned)
    for line in quote.lines:
        after = planned.spent_after(line)
        told = "it cannot pay for this" if after is None else f"after a run {after:.1%}"
        screen.say(f"{line.over} {line.name}: {line.spent_before:.1%} spent, {told}")
    for slow in quote.paces if planned.paid is None else ():
        screen.say(f"pace of {slow.rule.over} {slow.name}: {slow.rule.words}; passes {slow.since}")
    if planned.false_refusal is not None:
        chance = "less than 1 in a million" if planned.false_refusal < 1e-6 else f"{planned.false_refusal:.2g}"
        screen.say(f"chance that the membership rule refuses a perfect generator: {chance}")
    if planned.paid is not None and planned.paid.next is not None:
        told = f"this study's hold is paid ({planned.paid.hold.reserved})"
        screen.say(f"{told}: a run goes on from it and pays nothing; it {planned.paid.next}")
    for wrong in planned.missing:
        screen.say(f"missing: {wrong.where} ({wrong.what})")


def _nearest(found: Nearest) -> list[str]:
    """What would be allowed instead, in words."""
    head = [
        "\nthe nearest request that this policy allows:" if found.request else "\nmended as far as a request can be:"
    ]
    changes = [
        f"  {name.replace('_', ' ')}: {allowed!r} instead of {asked!r}" for name, asked, allowed in found.changes
    ]
    stuck = [f"  no change of the request satisfies {', '.join(found.stuck)}"] if found.stuck else []
    return [*(head if changes else ["\nno other request helps:"]), *changes, *stuck]


def _print_noise(screen: Screen, planned: StudyPlan) -> None:
    """The noise of each stage beside the declared size, which is one of subjects: rows lie between 1 and k times it."""
    subjects, most = max(planned.subjects, 1.0), planned.contribution
    if planned.noise:
        rows = (
            f"at most {most} rows each: {subjects:,.0f} to {subjects * most:,.0f} rows" if most > 1 else "one row each"
        )
        screen.say(f"declared to fit on: {subjects:,.0f} subjects of {rows}")
    for stage, sigma in planned.noise.items():
        share = f"{sigma / subjects:.2%}" if most == 1 else f"{sigma / (subjects * most):.2%} to {sigma / subjects:.2%}"
        screen.say(f"noise of a {stage} count: ± {sigma:.1f} rows, {share} of these rows")
    for told in planned.outlook:
        screen.say(told)


def run(
    study: STUDY,
    processes: Annotated[
        int,
        typer.Option(metavar="N", help="Train a network in so many processes of this machine; one a GPU."),
    ] = 1,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Make a study's signed release, or refuse and say why.

    Everything that can be refused without data is refused first; the hold is paid before the first count.
    Interrupted? Run it again: nothing is paid twice, and what was measured is never measured again.

    Example:  privsynth run study.yaml
    """
    from privsynth.generators.ranks import Ranks, together

    ranks = Ranks.of_environment()
    if ranks.rank > 0:  # of several processes the first alone reads, pays, writes and speaks
        from privsynth.generators.serving import serve

        serve(ranks)
        return
    from privsynth.pipeline.run import run_study
    from privsynth.pipeline.study import load_study

    screen = Screen(json_, quiet)
    with together(ranks, processes=processes) as joined, screen.progress() as progress:
        loaded = load_study(study)
        outcome = run_study(loaded, actor=who(actor, loaded), ranks=joined, progress=progress)
    screen.answer("run", outcome.to_json())
    _print_findings(screen, outcome.approved.claims.published())
    screen.say()
    _tell_written(screen, outcome.release, outcome.rows, people=outcome.people, key=outcome.sealed_to)
    screen.say(f"model, kept inside: {outcome.model_folder}")


def _tell_written(screen: Screen, release: Path, rows: int, *, people: int, key: str | None) -> None:
    """Where the release is, to whom it is sealed, and who must sign besides the one who has."""
    if key is None or people > 1:
        screen.say(f"signed release: {release} ({rows:,} rows)")
    else:
        screen.say(f"signed and sealed release: {release} ({rows:,} rows), which only the holder of {key} opens")
    if people > 1:
        screen.say(
            f"not yet releasable: 1 of {people} people have signed, and nobody verifies it before the others have:"
        )
        screen.say(f"  privsynth sign --add {release} --key KEY")
        screen.say(receivers(people))
        if key is not None:
            screen.say(f"then it leaves sealed only: privsynth seal {release} --out {release}.age")


def _print_findings(screen: Screen, findings: list[dict[str, Any]]) -> None:
    screen.table(
        ("gate rule", "", "limit", "figure", "cost"),
        [(f["name"], "ok" if f["passed"] else "NO", f["limit"], f["figure"] or "", f["cost"]) for f in findings],
    )


def sample(
    study: STUDY,
    rows: Annotated[int, typer.Option(metavar="N", help="How many rows.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The new release's folder; it must not exist yet.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Draw under a condition: sex=F, ward=A,B (either), age=20..40 (both ends), discharged= (null). "
            "A list of values is a line of CSV, so a value with a comma stands in double quotes: "
            "'city=\"Paris, TX\",London'. May be given several times; all must hold.",
        ),
    ] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=SHARES",
            help="Draw to chosen shares, met to one row: sex=equal, sex=F:0.7,M:0.3, age=20..40:0.5,41..60:0.5, "
            "smoker=true:0.5,null:0.5. May be given several times; of several columns the shares are multiplied.",
        ),
    ] = None,
    draw: Annotated[
        str,
        typer.Option(
            metavar="even|independent",
            help="Rows that keep the model's shares closely, or independent rows; each row is as likely either way.",
        ),
    ] = "even",
    guidance: Annotated[
        float,
        typer.Option(
            metavar="W",
            help="Push the pictures of image-diffusion to look like their row's values, 0 (as was learned) to 3.",
        ),
    ] = 0.0,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Makes the draw repeatable.")] = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Sign a further release from an approved model, free.

    Reads no data. The gate's verdict is about the model, so every sample of it inherits it.

    Example:  privsynth sample study.yaml --rows 5000 --where sex=F --where age=20..40 --out women/
    """
    from privsynth.pipeline.resample import sample_study
    from privsynth.pipeline.study import load_study
    from privsynth.policy.approval_asks import needed_signatures

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    written = sample_study(
        loaded,
        rows=rows,
        where=where or [],
        seed=seed,
        balance=balance or [],
        draw=draw,  # type: ignore[arg-type]  # the model refuses any other word
        guidance=guidance,
        out=out,
        actor=who(actor, loaded),
    )
    people = needed_signatures(loaded.policy)
    place, key = loaded.leaves_at(out), loaded.sealed_to
    told = {"release": str(place), "rows": written, "people": people, "lacking": people - 1}
    screen.answer("sample", {**told, **({} if key is None else {"sealed_to": key})})
    _tell_written(screen, place, written, people=people, key=key)


def report(
    study: STUDY,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The HTML page.")] = Path("report.internal.html"),
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Write the INTERNAL report of exact figures; logged.

    For people who ask for no holds (the policy names who): its opening is an entry of the ledger before the first
    figure is computed, and statements of later releases say if a reader of it asked for them. It must not leave.

    Example:  privsynth report study.yaml --actor quality@st-anna.example
    """
    from privsynth.pipeline.inside import report_study
    from privsynth.pipeline.study import load_study

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    with screen.progress() as progress:
        written = report_study(loaded, out=out, actor=who(actor, loaded), progress=progress)
    screen.answer("report", {"internal": True, "written": str(written)})
    screen.say(f"internal report: {written}. It must not leave; whoever reads it should not ask for holds.")


def budget(
    policy: POLICY,
    ledger: LEDGER,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as one self-contained page too, with a plot over time."),
    ] = None,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Show what each budget has spent, for ever.

    One line for each population, which is the guarantee, and for each recipient: its cap, what is spent (split by
    source), the part that holds without a model have of it, and how many more releases like the last it pays for.
    Then each plan (`privsynth ledger reserve`): how many of its holds are used and how many wait. Nothing refills a
    budget.

    Example:  privsynth budget policy.yaml --ledger sqlite:///ledger.db --html budget.html
    """
    from privsynth.ledger.accounts import books
    from privsynth.ledger.store import look_at_ledger
    from privsynth.policy.document import load_policy

    screen, loaded = Screen(json_, quiet), load_policy(policy)
    looked = look_at_ledger(ledger, loaded, actor=who(actor), key=key, witness=witness)
    found, unapproved = books(looked), looked.standing().missing()
    if html is not None:
        from privsynth.pipeline.books import write_budget_page

        write_budget_page(html, found, policy=f"{loaded.id} version {loaded.version}")
    screen.answer("budget", {**found.to_json(), **not_approved(unapproved)})
    rows: list[tuple[str, ...]] = []
    for x in found.lines:
        cap = f"ε = {x.epsilon:g}, δ = {x.delta:g}"
        rows.append((x.over, x.name, cap, f"{len(x.purchases)}", f"{x.spent:.1%}", f"{x.left:.1%}", x.words))
        if len(x.by_source) > 1:
            rows += [("  source", source, "", "", f"{share:.1%}", "", "") for source, share in x.by_source.items()]
    screen.table(("budget of", "name", "cap", "holds", "spent", "left", "what the rest buys"), rows)
    if found.plans:
        from privsynth.pipeline.books import PLAN_HEADS, plan_rows

        screen.say()
        screen.table(PLAN_HEADS, plan_rows(found))
    tell_not_approved(screen, unapproved)
    if html is not None:
        screen.say(f"\nwrote {html}")


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Everything goes here; an earlier demo there is replaced.")
    ] = Path("out/demo"),
    internal: Annotated[
        bool,
        typer.Option(
            "--internal", help="Also the internal report of exact figures; logged, and marks later statements."
        ),
    ] = False,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Show the whole road on real health data, in a minute.

    20,190 person-years of the RAND Health Insurance Experiment to a signed, verified release at ε = 1; then three
    refusals: over budget, consent missing, a bundle tampered with.

    Example:  privsynth demo
    """
    from privsynth.pipeline.demo import run_demo

    screen = Screen(json_, quiet)
    screen.say("RAND Health Insurance Experiment: 20,190 person-years, 10 columns (from statsmodels)\n")
    with screen.progress() as progress:
        made = run_demo(out, internal=internal, progress=progress)
    show_demo(screen, made)


def show_demo(screen: Screen, made: Demo) -> None:
    """Figures, refusals and where the files lie."""
    outcome, receipt = made.outcome, made.outcome.model.receipt
    screen.answer("demo", made.to_json())
    screen.say(f"price: ε = {receipt.epsilon:g}, δ = {receipt.delta:g} per {receipt.unit}")
    screen.say(f"budget of {receipt.population}: {made.spent_before:.0%} spent before, {made.spent_after:.0%} after\n")
    _print_findings(screen, outcome.approved.claims.published())
    screen.say("\nthree things that are refused:")
    for refusal in made.refusals:
        screen.say(f"  exit {refusal.exit_code}: {refusal.tried}\n    {refusal.message}")
    screen.say(f"\nsigned release, verified: {outcome.release}")
    screen.say(f"picture of its marginals:  {made.picture}")
    if made.report is not None:
        screen.say(f"internal report (must not leave): {made.report}")
    screen.say(f"\nverify it yourself:  privsynth verify {outcome.release}")
