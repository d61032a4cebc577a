"""The best attacker as a plot: how many insiders he can recognise, by how often he may be wrong about outsiders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from privsynth.errors import MissingExtra, StorageError, UsageError
from privsynth.privacy.meaning import Bound, Known

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from privsynth.release.meaning import Explained

KINDS = (".png", ".svg")
_COLOURS = ("#1b6ca8", "#c1272d", "#7a5195", "#3b7d4f")
_POINTS = 400


def draw_meaning(part: Explained, path: Path) -> None:
    """Write the plot of ``part``: presence, a changed value and families, beside what (ε, δ) alone would allow.

    Args:
        path: a PNG or SVG file; an existing one is replaced.

    Raises:
        UsageError: another kind of file.
        MissingExtra: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    if path.suffix.lower() not in KINDS:
        raise UsageError("a plot is a PNG or SVG file", where=str(path), mend="--plot meaning.png")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra(
            "a plot needs a package that is not installed (matplotlib)", mend="pip install 'privsynth[plots]'"
        ) from None
    if path.exists() and not path.is_file():
        raise StorageError("no file lies there", where=str(path), mend="name another file")
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    _draw(figure.add_subplot(), part)
    try:
        figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as fault:
        raise StorageError(f"cannot be written ({fault.strerror})", where=str(path), mend="name another file") from None


def _draw(axes: Axes, part: Explained) -> None:
    rates = 10 ** np.linspace(-4, 0, _POINTS)
    lines = [("presence", 1), ("a changed value", 2), *((f"a family of {r}", r) for r in part.families if r > 2)]
    for (name, subjects), colour in zip(lines, _COLOURS, strict=False):
        axes.plot(rates, _caught(part.known, rates, subjects), color=colour, label=name)
    if not isinstance(part.known, Bound):
        bound = Bound(part.epsilon, part.delta)
        axes.plot(rates, _caught(bound, rates, 1), color=_COLOURS[0], linestyle=":", label="presence, by (ε, δ) alone")
    axes.plot(rates, rates, color="#888888", linestyle="--", linewidth=1, label="guessing")
    axes.set(
        xscale="log",
        xlim=(rates[0], 1),
        ylim=(0, 1),
        xlabel="wrong about outsiders (share of them taken for insiders)",
        ylabel="right about insiders (share of them recognised)",
    )
    told = ", by what this one adds to all earlier outputs" if part.after else ""
    axes.set_title(f"The best possible attacker{told}\n{part.title}", fontsize=10)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.legend(loc="upper left", fontsize=8)


def _caught(known: Known, rates: np.ndarray, subjects: int) -> list[float]:
    return [known.caught(float(min(rate, 1.0)), subjects=subjects) for rate in rates]
