"""The diagnostics as one self-contained HTML page: words, tables, a graph of dependences and plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from privsynth.validate import page as html
from privsynth.validate import svg
from privsynth.validate.svg import BLUE, GRID, INK, ORANGE

if TYPE_CHECKING:
    from privsynth.generators.marginals.diagnostics import Diagnostics, OneWay, Pair, Stage

MARK = "diagnostics: paid figures only"
MOST_COLUMNS = 40
MOST_EDGES = 120
MOST_PLOTS = 60
MOST_LISTED = 20
BAR = "#9ecae1"

WHAT = (
    "Everything here is computed from the fitted model and its transcript, the noisy tables that were paid for. No "
    "record was read for it, so it costs nothing and may be looked at again and again.",
    "Whoever requests holds may read it: what is chosen after paid figures stays inside the proof. It is no part of "
    "a release, and it shows the estimated number of records.",
    "Figures speak of the noise and of the fit. They do not say how far the synthetic rows are from the people they "
    "describe: of that the held-back error and the gate's rules tell.",
)
SEEDED = "The noise of this model was seeded (a test): its guarantee is void, and no gate passes it."
STAGES = (
    "Noise: standard deviation of one count. Expected error: what the noise alone adds to a table as it was measured, "
    "in total-variation distance; the fit averages over tables and is often nearer. χ² a cell: squared distance of the "
    "model from the noisy tables in variances of the noise; about 1 is as near as the noise lets one tell, well above "
    "1 means that the model misses what was measured, well below 1 that it follows the noise. The held-back tables "
    "were never fitted."
)
GRAPH = (
    "Two columns are joined where the noisy table of the two shows a dependence that neither noise nor the chance of "
    "who is in the data explains (all pairs together, 5% chance of any false line). The thicker and darker, the more "
    "dependent in the model: total-variation distance of its table of the two from the product of its margins, at the "
    "groups at which it was measured."
)
ONE_WAYS = (
    "Bars: the model's share of rows. Lines: 95% interval of the noisy measurement; it covers the noise, not the "
    "chance of who is in the data. Columns that the model meets worst come first. Pointing at a bar tells its cells."
)


def page(told: Diagnostics, *, plots: int) -> str:
    """The whole page as text; a few hundred kB at most, whatever the table."""
    title = f"Diagnostics: {told.receipt.source}"
    shown = told.one_ways[: max(0, min(plots, MOST_PLOTS))]
    parts = [
        f'<div class="mark note">{escape(MARK)}</div>',
        f"<h1>{escape(title)}</h1>",
        html.items((*WHAT, *([SEEDED] if told.receipt.noise != "os-secure" else []))),
        '<div class="two">' + _paid(told) + _size(told) + "</div>",
        "<h2>What was measured</h2>" + _stages(told),
        f"<p><small>{escape(STAGES)}</small></p>",
        "<h2>Tables that the model meets least</h2>" + _worst(told),
        "<h2>Which columns depend on each other</h2>" + _dependence(told),
    ]
    if shown:
        drawn = "".join(one_way(column) for column in shown)
        some = "" if len(shown) == len(told.one_ways) else f" ({len(shown)} of {len(told.one_ways)} columns)"
        parts.append(f"<h2>One column at a time{some}</h2><p><small>{escape(ONE_WAYS)}</small></p>")
        parts.append(f'<div class="two">{drawn}</div>')
    return html.document(f"{title}: {MARK}", parts)


def _paid(told: Diagnostics) -> str:
    paid = told.receipt
    return html.box(
        "Paid",
        (
            f"ε = {paid.epsilon:g}, δ = {paid.delta:g} per {paid.unit}, for the whole release",
            f"µ = {paid.mu:.4g}: fit {paid.mu_fit:.4g}, gate {paid.mu_gate:.4g}",
            f"at most {paid.contribution} rows of a {paid.unit}; noise {paid.noise}",
            f"for {paid.purpose}, to {paid.recipient}; hold {paid.hold}",
            f"model {told.model[:16]}, {told.components} components",
        ),
    )


def _size(told: Diagnostics) -> str:
    rows = told.rows
    lines = [
        f"training rows N̂: about {rows.value:,.0f} (95% interval {rows.low:,.0f} to {rows.high:,.0f})",
        f"{len(told.one_ways)} columns, {len(told.tables)} noisy tables",
    ]
    if told.held_back is None:
        lines.append("nothing was held back: no figure tells the error on tables that the fit never saw")
    else:
        held = told.held_back
        lines.append(
            f"error on {len(held.cliques)} held-back tables: {held.estimate:.4f} (upper 95% bound {held.upper:.4f}), "
            "as total-variation distance"
        )
    lines.append(f"{len(told.edges)} of {len(told.pairs)} measured pairs stand out of the noise")
    if told.helped:
        weights = ", ".join(f"{stage} {weight:.0%}" for stage, weight in told.helped.items())
        lines.append(f"a public table helped; its mean weight in what was met: {weights}")
    return html.box("Size and error", lines)


def stage_cells(stage: Stage, rows: float) -> tuple[str, ...]:
    """A stage as cells of text, under ``STAGE_HEADS``; the terminal shows the same."""
    return (
        stage.name,
        f"{stage.tables:,}",
        _range(*stage.groups, form="d"),
        _range(*stage.sigma, form=".4g"),
        _range(*(100 * x / rows for x in stage.sigma), form=".2g") + "%",
        "" if stage.error is None else f"{stage.error:.4f}",
        "" if stage.chi_square is None else f"{stage.chi_square:.2f}",
        f"{stage.mu_share:.1%}",
    )


STAGE_HEADS = (
    "stage",
    "tables",
    "groups a column",
    "noise ± rows",
    "of N̂",
    "expected error",
    "χ² a cell",
    "share of µ²",
)


def _stages(told: Diagnostics) -> str:
    rows = [stage_cells(stage, told.rows.value) for stage in told.stages]
    return html.table(STAGE_HEADS, rows, numbers=range(1, 8))


def _worst(told: Diagnostics) -> str:
    tables = sorted((t for s in told.stages for t in told.worst(s.name)), key=lambda t: -(t.chi_square or 0.0))
    rows = [
        (
            " × ".join(table.columns),
            table.stage,
            " × ".join(map(str, table.groups)),
            "" if table.error is None else f"{table.error.value:.4f} ({table.error.low:.4f} to {table.error.high:.4f})",
            f"{table.chi_square:.2f}",
        )
        for table in tables[:MOST_LISTED]
    ]
    heads = ("columns", "stage", "groups", "expected error of the noise (95% interval)", "χ² a cell")
    return html.table(heads, rows, numbers=(2, 3, 4))


# --- dependence ------------------------------------------------------------------------------------


def _dependence(told: Diagnostics) -> str:
    if not told.pairs:
        return "<p>No pair of columns was measured: at this budget noise would have drowned it.</p>"
    edges = told.edges
    if not edges:
        return f"<p>None of the {len(told.pairs)} measured pairs stands out of the noise.</p>"
    total: dict[str, float] = {}
    for edge in edges:
        for name in edge.columns:
            total[name] = total.get(name, 0.0) + edge.tvd
    names = sorted(total, key=lambda name: (-total[name], name))[:MOST_COLUMNS]
    drawn = [edge for edge in edges if set(edge.columns) <= set(names)][:MOST_EDGES]
    some = [
        *([f"The {len(names)} most dependent of {len(total)} columns are shown."] if len(names) < len(total) else []),
        *([f"The {len(drawn)} strongest of {len(edges)} dependences are drawn."] if len(drawn) < len(edges) else []),
    ]
    top = max(edges[0].tvd, 1e-9)
    value = {frozenset(edge.columns): edge.tvd for edge in edges}
    words = f"white: nothing stands out of the noise; full colour: {top:.3f}"
    title = "Dependence by pair of columns"
    return (
        f"<p><small>{escape(GRAPH)}</small></p>"
        + (html.items(some) if some else "")
        + graph(around(names, value), drawn, top=top)
        + svg.pair_map(names, value, top=top, words=words, title=title, form=".4f")
    )


def around(names: Sequence[str], value: dict[frozenset[str], float]) -> list[str]:
    """The names in an order in which dependent ones are near: each next is the most dependent on the last."""
    left = list(names)
    out = [left.pop(0)]
    while left:
        best = max(range(len(left)), key=lambda i: value.get(frozenset((out[-1], left[i])), 0.0))
        out.append(left.pop(best))
    return out


def graph(names: Sequence[str], edges: Sequence[Pair], *, top: float) -> str:
    """Columns on a circle, a line for each pair, weak ones first so that strong ones lie above."""
    size, radius = 640, 200.0
    turn = [2 * math.pi * i / max(len(names), 1) - math.pi / 2 for i in range(len(names))]
    spot = {
        name: (size / 2 + radius * math.cos(a), size / 2 + radius * math.sin(a))
        for name, a in zip(names, turn, strict=True)
    }
    marks = []
    for edge in reversed(edges):
        (x1, y1), (x2, y2) = spot[edge.columns[0]], spot[edge.columns[1]]
        share = edge.tvd / top
        label = f"{svg.short(edge.columns[0], 40)} × {svg.short(edge.columns[1], 40)}: {edge.tvd:.4f}"
        marks.append(svg.line(x1, y1, x2, y2, svg.shade(0.15 + 0.85 * share), 0.8 + 5 * share, label=label))
    for name, angle in zip(names, turn, strict=True):
        x, y = spot[name]
        marks.append(svg.circle(x, y, BLUE))
        marks.append(svg.radial(size / 2, size / 2, radius + 9, angle, svg.short(name, 20)))
    return svg.drawing(size, size, "Graph of dependences between columns", marks)


# --- one column ------------------------------------------------------------------------------------


def one_way(told: OneWay) -> str:
    """Bars and intervals of one column."""
    width, height, left, top, base = 410, 190, 40, 30, 140
    most = max(float(told.share.max()), float(told.high.max()), 1e-9)
    step = (width - left - 6) / len(told.labels)
    marks = [
        svg.text(left, 14, f"{svg.short(told.column, 44)}   χ² a cell {told.chi_square:.2f}", "start"),
        svg.line(left, top, width, top, GRID),
        svg.line(left, base, width, base, INK),
        svg.text(left - 4, top + 4, f"{most:.1%}", "end"),
        svg.text(left - 4, base + 4, "0", "end"),
    ]
    ends = zip(told.labels, told.share.tolist(), told.low.tolist(), told.high.tolist(), strict=True)
    for i, (label, share, low, high) in enumerate(ends):
        x, tall = left + 3 + step * i, (base - top) * share / most
        words = f"{svg.short(label, 60)}: model {share:.2%}, measured {low:.2%} to {high:.2%}"
        marks.append(svg.bar(x + 0.06 * step, base - tall, 0.88 * step, max(tall, 0.3), BAR, words))
        y = [base - (base - top) * end / most for end in (low, high)]
        marks.append(svg.line(x + step / 2, y[0], x + step / 2, y[1], ORANGE, 1.6))
    for i in sorted({0, len(told.labels) - 1} | set(range(0, len(told.labels), max(1, -(-len(told.labels) // 6))))):
        marks.append(svg.turned(left + 3 + step * (i + 0.7), base + 12, svg.short(told.labels[i], 12)))
    return svg.drawing(width, height, f"{svg.short(told.column, 44)}: the model's shares and their intervals", marks)


def _range(low: float, high: float, *, form: str) -> str:
    first, last = f"{low:{form}}", f"{high:{form}}"
    return first if first == last else f"{first} to {last}"
