"""What an ε means: `explain-budget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.cli.screen import Screen
from privsynth.cli.words import JSON, QUIET
from privsynth.errors import UsageError

if TYPE_CHECKING:
    from privsynth.release.meaning import Explained


def explain_budget(
    epsilon: Annotated[float | None, typer.Option(metavar="E", help="Of one release; give --delta too.")] = None,
    delta: Annotated[float | None, typer.Option(metavar="D", help="Of one release.")] = None,
    subjects: Annotated[
        int | None, typer.Option(metavar="N", help="How many people are in the data, as declared; for n times delta.")
    ] = None,
    release: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Explain this release, by its own statement.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Explain what was paid for this saved model, kept inside.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Explain a policy's caps, and its dearest single releases.")
    ] = None,
    family: Annotated[
        int | None, typer.Option(metavar="R", help="Take so many people together. Default: 2 and 4.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also a plot, PNG or SVG; of a policy its first part.")
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Say what an epsilon lets the best possible attacker do.

    From the whole privacy curve: two sentences, and a table for presence, a changed value and families. Reads no
    data. Of numbers that another program prints this holds only if its mechanism is as private as a Gaussian.

    Example:  privsynth explain-budget --epsilon 1 --delta 1e-9 --subjects 40000 --plot meaning.png
    """
    from privsynth.release.meaning import LIMITS

    screen = Screen(json_, quiet)
    parts = _asked(epsilon, delta, subjects, release, model, policy, family)
    if plot is not None:
        from privsynth.release.meaning_plot import draw_meaning

        draw_meaning(parts[0], plot)
    told = [part.to_json() for part in parts]
    screen.answer("explain-budget", {"explained": told, "plot": None if plot is None else str(plot)})
    for part in parts:
        _print(screen, part)
    for limit in LIMITS:
        screen.say(f"- {limit}")
    if plot is not None:
        screen.say(f"\nplot: {plot}")


def _asked(
    epsilon: float | None,
    delta: float | None,
    subjects: int | None,
    release: Path | None,
    model: Path | None,
    policy: Path | None,
    family: int | None,
) -> list[Explained]:
    from privsynth.release import meaning

    numbers = epsilon is not None or delta is not None
    if sum((numbers, *(given is not None for given in (release, model, policy)))) != 1 or (
        subjects is not None and not numbers
    ):
        raise UsageError(
            "one thing is explained at a time: numbers, a release, a model or a policy",
            where="explain-budget",
            mend="give --epsilon with --delta (and --subjects), or --release, --model or --policy",
        )
    if release is not None:
        return [meaning.explain_release(release, family=family)]
    if model is not None:
        from privsynth.generators.kept import load_model

        return [meaning.explain_receipt(load_model(model).receipt, family=family)]
    if policy is not None:
        from privsynth.policy.document import load_policy

        return meaning.explain_policy(load_policy(policy), family=family)
    if epsilon is None or delta is None:
        raise UsageError(
            "epsilon and delta belong together", where="explain-budget", mend="for example --epsilon 1 --delta 1e-9"
        )
    return [meaning.explain(epsilon, delta, subjects=subjects, family=family)]


def _print(screen: Screen, part: Explained) -> None:
    from privsynth.release.meaning import BOUND_ONLY, HEADS, cells

    screen.say(f"{part.title}\n")
    for sentence in (*part.sentences(), part.beside(), BOUND_ONLY if part.mu is None else ""):
        if sentence:
            screen.say(sentence)
    screen.say()
    screen.table(HEADS, cells(part))
    screen.say()
