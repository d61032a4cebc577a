"""The picture: what it shows of a column, and that it holds only what is free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.generators.marginals import load_model
from privsynth.pipeline.picture import FEW_CELLS, SHOWN_MASS, draw_marginals, shown_cells
from tests.desk import Desk


@given(
    st.lists(st.floats(0, 1), min_size=FEW_CELLS + 1, max_size=80).filter(lambda mass: sum(mass) > 0),
    st.booleans(),
)
def test_many_cells_are_shown_over_the_stretch_that_holds_the_mass(mass: list[float], nullable: bool) -> None:
    share = np.array(mass) / sum(mass)
    null = len(share) - 1 if nullable else None
    inner = share[:null] if nullable else share
    cells = shown_cells(share, null=null).tolist()
    if nullable:
        assert cells.pop() == null
    assert cells == list(range(cells[0], cells[-1] + 1))
    assert inner[cells].sum() >= (SHOWN_MASS - 1e-9) * inner.sum()
    if len(cells) > 1:  # and not a cell more than needed on either side
        spare = inner[cells].sum() - min(inner[cells[0]], inner[cells[-1]])
        assert spare <= (SHOWN_MASS + 1e-9) * inner.sum()


@pytest.mark.parametrize("null", [None, 3])
def test_few_cells_are_all_shown(null: int | None) -> None:
    assert shown_cells(np.array([1.0, 0.0, 0.0, 0.0]), null=null).tolist() == [0, 1, 2, 3]


def test_a_picture_is_drawn_of_every_kind_of_column(ended: Desk, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    model = load_model(ended.folder / "model")
    seen: list[Figure] = []

    class Watched(Figure):
        """A figure that can be looked at after it was saved."""

        def savefig(self, *args: object, **more: object) -> None:
            seen.append(self)
            super().savefig(*args, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure", Watched)
        draw_marginals(model, tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    [figure] = seen
    by_name = {axes.get_title(loc="left").split("  (")[0]: axes for axes in figure.axes}
    assert set(by_name) == set(model.schema.learned)
    labels = {name: [tick.get_text() for tick in axes.get_xticklabels()] for name, axes in by_name.items()}
    assert labels["sex"] == ["F", "M", "X"]
    assert labels["smoker"] == ["false", "true", "null"]
    assert labels["cost"][0] == "0" and all(" to " not in text for text in labels["cost"])  # low edges
    assert "2020-01-01" <= labels["seen"][0] < "2020-03-01"  # a first cell may hold too little to be shown
    for name, axes in by_name.items():
        [bars, intervals] = axes.containers
        shown = len(shown_cells(model.intervals()[name][0], null=model.codec.columns[model.codec.index[name]].null))
        assert len(bars) == shown
        cells = model.codec.columns[model.codec.index[name]].cells
        assert ("99.5% of rows; domain " in axes.get_title(loc="left")) == (shown < cells)
        assert intervals.has_yerr  # type: ignore[attr-defined]
