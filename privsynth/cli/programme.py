"""Several studies bought together: `ledger reserve`, and `plan` of more than one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.cli.screen import Answered, Screen
from privsynth.cli.words import ACTOR, JSON, QUIET, who
from privsynth.errors import PrivsynthError, UsageError

if TYPE_CHECKING:
    from privsynth.pipeline.plan import StudyPlan
    from privsynth.pipeline.programme import Programme
    from privsynth.pipeline.study import Study


def ledger_reserve(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY", help="The study files, in order.")],
    plan: Annotated[str | None, typer.Option(metavar="NAME", help="A name for the plan, for people.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell cost and decision, and buy nothing.")] = False,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Buy the holds of several studies together, all or none.

    A plan: the year's releases are known to fit before the first is made, and nobody can buy away the budget of the
    last. It is written down before its first hold; each study's `privsynth run` then finds its own. Reads no data. All
    of it counts when it is sold, what is not used stays spent, and asking again costs nothing. The studies name one
    policy and one ledger, and each has a `request` of its own.

    Example:  privsynth ledger reserve q1.yaml q2.yaml q3.yaml q4.yaml --plan 2027
    """
    from privsynth.pipeline.programme import reserve_together

    screen = Screen(json_, quiet)
    loaded, asks = _loaded(studies, actor)
    if dry_run:
        tell_programme(screen, "ledger reserve", loaded, asks)
        return
    done = reserve_together(loaded, actor=asks, name=plan)
    screen.answer("ledger reserve", done.to_json())
    _show(screen, done)
    screen.say(f"\nsold together: {len(done.sold)} holds; `privsynth run` of each study finds its own")


def plan_several(screen: Screen, studies: list[Path], actor: str | None) -> None:
    """`plan` of several studies: what `ledger reserve --dry-run` says."""
    tell_programme(screen, "plan", *_loaded(studies, actor))


def tell_programme(screen: Screen, command: str, studies: list[Study], actor: str) -> None:
    """Tell what the studies would cost together, and refuse as buying them would."""
    from privsynth.pipeline.programme import plan_together

    planned = plan_together(studies, actor=actor)
    _show(screen, planned)
    try:
        planned.refuse()
    except PrivsynthError as error:
        raise Answered(error, {"command": command, **planned.to_json()}) from None
    screen.answer(command, planned.to_json())
    screen.say("\nall of them fit together; nothing was bought" if not planned.sold else "\nbought before, together")


def _loaded(paths: list[Path], actor: str | None) -> tuple[list[Study], str]:
    """The studies, and the one person who asks."""
    from privsynth.pipeline.study import load_study

    studies = [load_study(path) for path in paths]
    asking = {who(actor, study): study for study in studies}
    if len(asking) > 1:
        raise UsageError(
            "one person asks for all holds of a plan, and the studies name several",
            where=str(list(asking.values())[1].document.path),
            mend="write the same `actor` into each, or give --actor",
        )
    return studies, next(iter(asking))


def _show(screen: Screen, planned: Programme) -> None:
    rows: list[tuple[str, ...]] = []
    for number, (study, item) in enumerate(zip(planned.studies, planned.items, strict=True), 1):
        budget = study.recipe.budget
        price = f"ε = {budget.epsilon:g}, δ = {budget.delta:g}"
        head: tuple[str, ...] = (f"{number}", str(study.document.path), study.request, price, _told(item))
        lines = [
            (f"{line.over} {line.name}", f"{line.spent_before:.1%}", _share(item.spent_after(line)))
            for line in item.quote.lines
        ]
        for line in lines or [("", "", "")]:
            rows.append((*head, *line))
            head = ("",) * len(head)
    screen.table(("item", "study", "request", "price", "", "budget of", "before", "after"), rows)
    for slow in planned.quote.paces if not planned.sold else ():
        screen.say(f"pace of {slow.rule.over} {slow.name}: {slow.rule.words}; all of them pass {slow.since}")


def _told(item: StudyPlan) -> str:
    """How far its hold has come, or which rules deny it."""
    if item.paid is not None:
        return item.paid.status.value
    refusing = [verdict.id for verdict in item.quote.decision.refusing]
    return f"denied: {', '.join(refusing)}" if refusing else "allowed"


def _share(after: float | None) -> str:
    return "cannot pay" if after is None else f"{after:.1%}"
