"""What is free with a saved model: `inspect`, `transcript`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.cli.screen import Screen
from privsynth.cli.words import JSON, QUIET

if TYPE_CHECKING:
    from privsynth.generators.marginals.diagnostics import Diagnostics

MODEL = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a saved model, kept inside.")]
SHOWN_PAIRS = 10


def inspect(
    model: MODEL,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also an HTML page with graph and plots; asks no network.")
    ] = None,
    plots: Annotated[int, typer.Option(metavar="N", min=0, help="How many columns the page draws, worst first.")] = 12,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Show what was measured and how well the model meets it.

    Free, and as often as you like: tables and noise of each stage, error, fit, and which columns depend on each
    other, from the noisy tables that are paid for. No record is read, so whoever requests holds may look.

    Example:  privsynth inspect release.model/ --out diagnostics.html
    """
    from privsynth.pipeline.look import inspect_model

    screen = Screen(json_, quiet)
    told = inspect_model(model, out=out, plots=plots)
    page = None if out is None else str(out)
    screen.answer("inspect", {"page": page, "diagnostics": told.to_json()})
    _print_diagnostics(screen, told)
    if page is not None:
        screen.say(f"\npage: {page}")


def transcript(
    model: MODEL,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The new folder; it must not exist yet.")],
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Write what is needed to fit a model again, for inside.

    Two files: the noisy tables, and a listing that says in names what they are. Free: all of it was paid for. Like
    the model's folder they stay inside: no gate has seen them and nobody signed them. To hand them on, let the policy
    say `release: {transcript: published}`: each release then carries them.

    Example:  privsynth transcript release.model/ --out transcript/
    """
    from privsynth.generators.kept import load_model

    screen = Screen(json_, quiet)
    published = load_model(model).published()
    written = published.write(out)
    tables = published.tables
    told = {"written": str(written), "model": published.model, "tables": tables, "gated": published.gated}
    screen.answer("transcript", told)
    screen.say(f"transcript: {written} ({tables:,} noisy tables of model {published.model[:16]})")
    screen.say("inside only: not gated, not signed; what may leave is what a release carries")


def _print_diagnostics(screen: Screen, told: Diagnostics) -> None:
    from privsynth.generators.marginals.diagnostics_page import STAGE_HEADS, stage_cells

    rows, held = told.rows, told.held_back
    screen.say(f"{told.receipt.source}: ε = {told.receipt.epsilon:g}, δ = {told.receipt.delta:g}; paid figures only")
    screen.say(f"training rows: about {rows.value:,.0f} (95% interval {rows.low:,.0f} to {rows.high:,.0f})")
    if held is not None:
        tables = f"{len(held.cliques)} held-back tables"
        screen.say(f"error on {tables}: {held.estimate:.4f} (upper 95% bound {held.upper:.4f})")
    screen.say()
    screen.table(STAGE_HEADS, [stage_cells(stage, rows.value) for stage in told.stages])
    screen.say(f"\n{len(told.edges)} of {len(told.pairs)} measured pairs stand out of the noise")
    if told.edges:
        shown: list[tuple[str, ...]] = [(*pair.columns, f"{pair.tvd:.4f}") for pair in told.edges[:SHOWN_PAIRS]]
        screen.table(("column", "depends on", "distance from independent"), shown)
