"""The picture of a model's marginals beside what was measured: free, all of it may leave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from privsynth.data.codec import CodedColumn, Ranged
from privsynth.generators.marginals import MarginalModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

ACROSS = 3
SHOWN_MASS = 0.995
FEW_CELLS = 8
MOST_TICKS = 7
LEAST_TOLD = 0.1
BAR, INTERVAL = "#7fa8cf", "#c1272d"


def draw_marginals(model: MarginalModel, path: Path) -> None:
    """Write every column's synthetic marginal, with the 95% interval of its noisy measurement, as a PNG.

    A column with many cells is shown over the stretch that holds 99.5% of its synthetic rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    intervals = model.intervals()
    down = -(-len(intervals) // ACROSS)
    figure = Figure(figsize=(4.4 * ACROSS, 2.7 * down + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (name, (share, low, high)) in enumerate(intervals.items()):
        axes = figure.add_subplot(down, ACROSS, i + 1)
        _draw(axes, model.codec.columns[model.codec.index[name]], 100 * share, 100 * low, 100 * high)
    receipt = model.receipt
    figure.suptitle(
        f"Synthetic marginals of {receipt.source}, in percent of rows; ε = {receipt.epsilon:g}, δ = {receipt.delta:g}",
        fontsize=11,
    )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, column: CodedColumn, share: Floats, low: Floats, high: Floats) -> None:
    """One column: bars, intervals, and a label at the low edge of some cells."""
    cells = shown_cells(share, null=column.null)
    place = np.arange(len(cells), dtype=np.float64)
    if column.null is not None and len(cells) > FEW_CELLS:
        place[-1] += 1.0  # null stands apart from the numbers
    middle, half = (low + high)[cells] / 2, (high - low)[cells] / 2
    axes.bar(place, share[cells], color=BAR, width=0.92, label="synthetic rows (the model's exact marginal)")
    axes.errorbar(
        place,
        middle,
        yerr=half,
        fmt="none",
        ecolor=INTERVAL,
        elinewidth=1.6 if len(cells) > FEW_CELLS else 2.4,
        capsize=max(1.2, min(8.0, 60.0 / len(cells))),
        capthick=1.4,
        label="real rows as measured: 95% interval of the noise",
    )
    if len(cells) <= FEW_CELLS:
        for x, y, a, b in zip(place, np.maximum(share, high)[cells], low[cells], high[cells], strict=True):
            text = f"{a:.1f} to {b:.1f}" if b >= LEAST_TOLD else f"under {LEAST_TOLD}"
            axes.annotate(text, (x, y), (0, 3), textcoords="offset points", ha="center", fontsize=7, color=INTERVAL)
        axes.margins(y=0.16)
    _label(axes, column, cells, place)
    axes.set_title(_title(column, cells), fontsize=9, loc="left")
    axes.tick_params(axis="y", labelsize=7)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def shown_cells(share: Floats, *, null: int | None) -> Places:
    """The cells to draw: all of a few; of many the shortest stretch from either end that keeps 99.5% of the
    mass outside null, then null."""
    inner = share if null is None else share[:null]
    first, last = 0, len(inner) - 1
    if len(share) > FEW_CELLS:
        spare = (1 - SHOWN_MASS) * float(inner.sum())
        while first < last and (least := min(inner[first], inner[last])) <= spare:
            spare -= float(least)
            if inner[first] <= inner[last]:
                first += 1
            else:
                last -= 1
    ends = [] if null is None else [null]
    return np.array([*range(first, last + 1), *ends], dtype=np.int64)


def _label(axes: Axes, column: CodedColumn, cells: Places, place: Floats) -> None:
    labels = column.labels()
    values = [(c, x) for c, x in zip(cells.tolist(), place.tolist(), strict=True) if c != column.null]
    ticks: list[tuple[float, str]] = []
    for cell, x in values[:: max(1, -(-len(values) // MOST_TICKS))]:
        if isinstance(column, Ranged):
            edge = labels[cell].split(" to ")[0].removeprefix("over ")
            ticks.append((x if column.low[cell] == column.stop[cell] else x - 0.5, edge))
        else:
            ticks.append((x, _short(labels[cell])))
    if column.null is not None:
        ticks.append((float(place[-1]), "null"))
    long = max(len(text) for _, text in ticks) > 7
    turned: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks], fontsize=7, **turned)


def _title(column: CodedColumn, cells: Places) -> str:
    """The column's name, and its domain where only a part is shown."""
    if len(cells) == column.cells:
        return column.name
    labels = column.labels()
    top = labels[column.cells - 1 - (column.null is not None)].split(" to ")[-1]
    return f"{column.name}  ({SHOWN_MASS:.1%} of rows; domain {labels[0].split(' to ')[0]} to {top})"


def _short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
