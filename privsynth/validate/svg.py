"""Marks of inline SVG: no script, no font, no file from outside; every text is escaped here. Colours are told
apart by the colour-blind (Okabe and Ito)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
INK, GREY, GRID = "#222222", "#999999", "#dddddd"


def pair_map(
    names: Sequence[str], value: Mapping[frozenset[str], float], *, top: float, words: str, title: str, form: str
) -> str:
    """One square for each pair of columns that ``value`` knows (by frozen sets of two names), coloured by its share
    of ``top``; ``form`` writes the value into the square's label. Of many columns choose some first."""
    side = max(9, min(26, 420 // max(len(names), 1)))
    left, head = 150, 20
    marks = []
    for row, first in enumerate(names):
        marks.append(text(left - 6, head + side * row + side / 2 + 4, short(first, 22), "end"))
        for place, second in enumerate(names[:row]):
            told = value.get(frozenset((first, second)))
            if told is not None:
                label = f"{short(first, 40)} × {short(second, 40)}: {told:{form}}"
                marks.append(square(left + side * place, head + side * row, side - 1, shade(told / top), label))
    for place, second in enumerate(names[:-1]):
        x, y = left + side * (place + 0.7), head + side * len(names) + 8
        marks.append(turned(x, y, short(second, 18)))
    height = head + side * len(names) + 110
    marks.append(text(left, 12, words, "start"))
    return drawing(max(660, left + side * len(names)), height, title, marks)


def shade(value: float) -> str:
    """White at 0, orange to 1, blue to -1."""
    red, green, blue = (0xD5, 0x5E, 0x00) if value > 0 else (0x00, 0x72, 0xB2)
    weight = min(abs(value), 1.0)
    return "#" + "".join(f"{round(255 + (part - 255) * weight):02x}" for part in (red, green, blue))


def short(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    """A line of text; ``anchor`` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def turned(x: float, y: float, text: str) -> str:
    """A line of text that runs up to its end."""
    place = f'x="{x:.1f}" y="{y:.1f}" transform="rotate(-60 {x:.1f} {y:.1f})"'
    return f'<text {place} text-anchor="end" fill="{INK}">{escape(text)}</text>'


def radial(x: float, y: float, radius: float, angle: float, text: str) -> str:
    """A line of text that leads away from a centre, never upside down; ``angle`` in radians, clockwise."""
    at = (x + radius * math.cos(angle), y + radius * math.sin(angle))
    back = math.cos(angle) < -1e-9
    turn = math.degrees(angle) + (180 if back else 0)
    place = f'x="{at[0]:.1f}" y="{at[1]:.1f}" transform="rotate({turn:.1f} {at[0]:.1f} {at[1]:.1f})"'
    side = "end" if back else "start"
    return f'<text {place} text-anchor="{side}" dominant-baseline="middle" fill="{INK}">{escape(text)}</text>'


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "", label: str = ""
) -> str:
    """A straight line; ``label`` shows under the pointer."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    mark = f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashed}'
    return f"{mark}><title>{escape(label)}</title></line>" if label else f"{mark}/>"


def circle(x: float, y: float, colour: str) -> str:
    """A dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'


def bar(x: float, y: float, width: float, height: float, colour: str, label: str) -> str:
    """A filled rectangle with a label under the pointer."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{colour}"><title>{escape(label)}</title></rect>'


def square(x: float, y: float, side: float, colour: str, label: str) -> str:
    """A framed square with a label under the pointer."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side}" height="{side}"'
    return f'<rect {place} fill="{colour}" stroke="{GRID}"><title>{escape(label)}</title></rect>'


def path(points: Sequence[Point], colour: str, dash: str) -> str:
    """A line through points."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{spots}" fill="none" stroke="{colour}" stroke-width="1.6"{dashed}/>'


def drawing(width: float, height: float, title: str, marks: Sequence[str]) -> str:
    """The marks as one picture with a title for who cannot see it."""
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(title)}">'
    return f"{head}<title>{escape(title)}</title>{''.join(marks)}</svg>"
