"""Four plots as inline SVG: no script, no font, no file from outside. Colours are told apart by the
colour-blind (Okabe and Ito), and every mark's meaning is also in its shape or label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from privsynth.validate.bounds import tpr_bound
from privsynth.validate.fidelity import Fidelity
from privsynth.validate.metric import Metric
from privsynth.validate.report.curve import Curve, Point

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
INK, GREY, GRID = "#222222", "#999999", "#dddddd"
_MOST_COLUMNS = 40


def forest(metrics: Sequence[Metric]) -> str:
    """Every metric on one axis from its floor (0) to its ceiling (1), with interval, limit and bound."""
    shown = [metric for metric in metrics if math.isfinite(metric.place(metric.value.value))]
    left, width, step, top = 330, 330, 22, 34
    height = top + step * len(shown) + 26

    def x(place: float) -> float:
        return left + width * (min(max(place, -0.25), 1.25) + 0.25) / 1.5

    marks = [_line(x(g), top - 8, x(g), height - 22, GRID) for g in (0, 0.5, 1)]
    marks += [_text(x(0), top - 14, "floor", "middle"), _text(x(1), top - 14, "ceiling", "middle")]
    for row, metric in enumerate(shown):
        y = top + step * row + 10
        ends = sorted(x(metric.place(end)) for end in (metric.value.low, metric.value.high))
        marks.append(_text(left - 8, y + 4, _short(metric.name, 52), "end"))
        marks.append(_line(ends[0], y, ends[1], y, BLUE, 2))
        marks.append(_circle(x(metric.place(metric.value.value)), y, BLUE))
        for figure, colour, dash in ((metric.limit, ORANGE, ""), (metric.bound, GREEN, "3 2")):
            if figure is not None:
                at = x(metric.place(figure))
                marks.append(_line(at, y - 8, at, y + 8, colour, 2, dash))
    marks.append(_text(left, height - 6, "● value with 95% interval   ┃ limit   ┊ bound of the guarantee", "start"))
    return _svg(left + width + 10, height, "Every figure between its floor and its ceiling", marks)


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
    side = max(9, min(26, 420 // max(len(shown), 1)))
    left, head = 150, 20
    marks = []
    for row, first in enumerate(shown):
        marks.append(_text(left - 6, head + side * row + side / 2 + 4, _short(first, 22), "end"))
        for place, second in enumerate(shown[:row]):
            value = excess.get(frozenset((first, second)))
            if value is not None:
                label = f"{_short(first, 40)} × {_short(second, 40)}: {value:+.4f}"
                marks.append(_box(left + side * place, head + side * row, side - 1, _shade(value / top), label))
    for place, second in enumerate(shown[:-1]):
        x, y = left + side * (place + 0.7), head + side * len(shown) + 8
        marks.append(_turned(x, y, _short(second, 18)))
    height = head + side * len(shown) + 110
    words = f"orange: above its floor, full colour at {top:.3f}; white: at its floor; blue: below"
    marks.append(_text(left, 12, words, "start"))
    return _svg(max(660, left + side * len(shown)), height, "Two-way TVD above its floor, by pair of columns", marks)


def histogram(curve: Curve) -> str:
    """Attack scores of members and non-members, as outlines."""
    width, height, left, base = 320, 240, 40, 200
    top = max(*curve.members, *curve.others, 1)
    marks = [_line(left, base, width, base, INK)]
    for counts, colour, dash in ((curve.members, ORANGE, ""), (curve.others, BLUE, "4 2")):
        points: list[Point] = []
        for i, count in enumerate(counts):
            y = base - 165 * count / top
            points += [(left + (width - left) * (i + end) / len(counts), y) for end in (0, 1)]
        marks.append(_path(points, colour, dash))
    marks.append(_text(left, 20, f"— members ({curve.n})", "start", ORANGE))
    marks.append(_text(left + 130, 20, f"┄ non-members ({curve.n})", "start", BLUE))
    marks.append(_text(left, base + 16, f"{curve.edges[0]:.2f}", "start"))
    marks.append(_text(width, base + 16, f"{curve.edges[-1]:.2f}", "end"))
    marks.append(_text((left + width) / 2, base + 32, "attack score", "middle"))
    return _svg(width + 8, height, "Attack scores of members and non-members", marks)


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
        marks += [_line(x, 34, x, base, GRID), _line(left, y, width, y, GRID)]
        rate = f"{10.0**-decade:g}"
        marks += [_text(x, base + 14, rate, "middle"), _text(left - 4, y + 4, rate, "end")]
    rates = [least ** (1 - i / 80) for i in range(81)]
    for points, colour, dash in (
        ([(rate, rate) for rate in rates], INK, "1 3"),
        ([(rate, tpr_bound(rate, mu=mu)) for rate in rates], GREEN, "5 3"),
        (curve.copied, GREY, ""),
        (curve.roc, BLUE, ""),
    ):
        marks.append(_path([spot(point) for point in points], colour, dash))
    words = (("attack", BLUE), ("chance (dotted)", INK), ("guarantee (dashed)", GREEN), ("verbatim copies", GREY))
    for row, (word, colour) in enumerate(words):
        marks.append(_text(left + 6 + 140 * (row % 2), 12 + 14 * (row // 2), word, "start", colour))
    axes = "false-positive rate (across), true-positive rate (up)"
    marks.append(_text((left + width) / 2, base + 32, axes, "middle"))
    return _svg(width + 8, height, "ROC of the attack under the guarantee's bound", marks)


def _shade(value: float) -> str:
    """White at 0, orange to 1, blue to -1."""
    red, green, blue = (0xD5, 0x5E, 0x00) if value > 0 else (0x00, 0x72, 0xB2)
    weight = min(abs(value), 1.0)
    return "#" + "".join(f"{round(255 + (part - 255) * weight):02x}" for part in (red, green, blue))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" transform="rotate(-60 {x:.1f} {y:.1f})"'
    return f'<text {place} text-anchor="end" fill="{INK}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def _circle(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'


def _box(x: float, y: float, side: float, colour: str, label: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side}" height="{side}"'
    return f'<rect {place} fill="{colour}" stroke="{GRID}"><title>{escape(label)}</title></rect>'


def _path(points: Sequence[Point], colour: str, dash: str) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{spots}" fill="none" stroke="{colour}" stroke-width="1.6"{dashed}/>'


def _svg(width: float, height: float, title: str, marks: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(title)}">'
    return f"{head}<title>{escape(title)}</title>{''.join(marks)}</svg>"
