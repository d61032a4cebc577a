"""Four plots as inline SVG: no script, no font, no file from outside. Colours are told apart by the
colour-blind (Okabe and Ito), and every mark's meaning is also in its shape or label."""

from __future__ import annotations

import math
from collections.abc import Sequence

from privsynth.validate import svg
from privsynth.validate.bounds import tpr_bound
from privsynth.validate.fidelity import Fidelity
from privsynth.validate.metric import Metric
from privsynth.validate.report.curve import Curve, Point

_MOST_COLUMNS = 40


def forest(metrics: Sequence[Metric]) -> str:
    """Every metric on one axis from its floor (0) to its ceiling (1), with interval, limit and bound."""
    shown = [metric for metric in metrics if math.isfinite(metric.place(metric.value.value))]
    left, width, step, top = 330, 330, 22, 34
    height = top + step * len(shown) + 26

    def x(place: float) -> float:
        return left + width * (min(max(place, -0.25), 1.25) + 0.25) / 1.5

    marks = [svg.line(x(g), top - 8, x(g), height - 22, svg.GRID) for g in (0, 0.5, 1)]
    marks += [svg.text(x(0), top - 14, "floor", "middle"), svg.text(x(1), top - 14, "ceiling", "middle")]
    for row, metric in enumerate(shown):
        y = top + step * row + 10
        ends = sorted(x(metric.place(end)) for end in (metric.value.low, metric.value.high))
        marks.append(svg.text(left - 8, y + 4, svg.short(metric.name, 52), "end"))
        marks.append(svg.line(ends[0], y, ends[1], y, svg.BLUE, 2))
        marks.append(svg.circle(x(metric.place(metric.value.value)), y, svg.BLUE))
        for figure, colour, dash in ((metric.limit, svg.ORANGE, ""), (metric.bound, svg.GREEN, "3 2")):
            if figure is not None:
                at = x(metric.place(figure))
                marks.append(svg.line(at, y - 8, at, y + 8, colour, 2, dash))
    marks.append(svg.text(left, height - 6, "● value with 95% interval   ┃ limit   ┊ bound of the guarantee", "start"))
    return svg.drawing(left + width + 10, height, "Every figure between its floor and its ceiling", marks)


def heat_map(fidelity: Fidelity) -> str:
    """Two-way TVD above its floor, by pair of columns; the 40 worst columns where there are more."""
    excess = {frozenset(t.columns): t.value - t.floor for t in fidelity.tables}
    total: dict[str, list[float]] = {}
    for table in fidelity.tables:
        for name in table.columns:
            total.setdefault(name, []).append(table.value - table.floor)
    worst = sorted(total, key=lambda name: -sum(total[name]) / len(total[name]))[:_MOST_COLUMNS]
    shown = [name for name in total if name in set(worst)]
    ignorance = fidelity.ceiling.value - fidelity.floor.value
    top = max([abs(value) for value in excess.values()] + [ignorance, 1e-9])
    words = f"orange: above its floor, full colour at {top:.3f}; white: at its floor; blue: below"
    title = "Two-way TVD above its floor, by pair of columns"
    return svg.pair_map(shown, excess, top=top, words=words, title=title, form="+.4f")


def histogram(curve: Curve) -> str:
    """Attack scores of members and non-members, as outlines."""
    width, height, left, base = 320, 240, 40, 200
    top = max(*curve.members, *curve.others, 1)
    marks = [svg.line(left, base, width, base, svg.INK)]
    for counts, colour, dash in ((curve.members, svg.ORANGE, ""), (curve.others, svg.BLUE, "4 2")):
        points: list[Point] = []
        for i, count in enumerate(counts):
            y = base - 165 * count / top
            points += [(left + (width - left) * (i + end) / len(counts), y) for end in (0, 1)]
        marks.append(svg.path(points, colour, dash))
    marks.append(svg.text(left, 20, f"— members ({curve.n})", "start", svg.ORANGE))
    marks.append(svg.text(left + 130, 20, f"┄ non-members ({curve.n})", "start", svg.BLUE))
    marks.append(svg.text(left, base + 16, f"{curve.edges[0]:.2f}", "start"))
    marks.append(svg.text(width, base + 16, f"{curve.edges[-1]:.2f}", "end"))
    marks.append(svg.text((left + width) / 2, base + 32, "attack score", "middle"))
    return svg.drawing(width + 8, height, "Attack scores of members and non-members", marks)


def roc(curve: Curve, *, mu: float) -> str:
    """Log-log ROC of the attack, with chance, the guarantee's bound and verbatim copies beside it."""
    width, height, left, base = 320, 240, 40, 200
    least = min(1 / curve.n, 0.1)
    decades = -math.log10(least)

    def spot(point: Point) -> Point:
        across, up = (min(1.0, 1 + math.log10(max(value, least)) / decades) for value in point)
        return left + (width - left) * across, base - (base - 34) * up

    marks = []
    for decade in range(int(decades) + 1):
        x, y = spot((10.0**-decade, 10.0**-decade))
        marks += [svg.line(x, 34, x, base, svg.GRID), svg.line(left, y, width, y, svg.GRID)]
        rate = f"{10.0**-decade:g}"
        marks += [svg.text(x, base + 14, rate, "middle"), svg.text(left - 4, y + 4, rate, "end")]
    rates = [least ** (1 - i / 80) for i in range(81)]
    for points, colour, dash in (
        ([(rate, rate) for rate in rates], svg.INK, "1 3"),
        ([(rate, tpr_bound(rate, mu=mu)) for rate in rates], svg.GREEN, "5 3"),
        (curve.copied, svg.GREY, ""),
        (curve.roc, svg.BLUE, ""),
    ):
        marks.append(svg.path([spot(point) for point in points], colour, dash))
    words = (
        ("attack", svg.BLUE),
        ("chance (dotted)", svg.INK),
        ("guarantee (dashed)", svg.GREEN),
        ("verbatim copies", svg.GREY),
    )
    for row, (word, colour) in enumerate(words):
        marks.append(svg.text(left + 6 + 140 * (row % 2), 12 + 14 * (row // 2), word, "start", colour))
    axes = "false-positive rate (across), true-positive rate (up)"
    marks.append(svg.text((left + width) / 2, base + 32, axes, "middle"))
    return svg.drawing(width + 8, height, "ROC of the attack under the guarantee's bound", marks)
