"""The page of results is what the kept records say."""

from __future__ import annotations

from benchmarks.page import PAGE, written
from benchmarks.records import figures


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == written(), "run: python -m benchmarks.page"


def test_every_figure_of_a_peer_stands_beside_ours() -> None:
    """No table of a set at an ε that shows a peer and not the shipped default at that ε."""
    shown = {(f.data, f.epsilon, f.system) for f in figures("tables")}
    peers = {(data, epsilon) for data, epsilon, system in shown if system.endswith(("-mst", "-aim"))}
    assert peers
    assert peers <= {(data, epsilon) for data, epsilon, system in shown if system == "privsynth"}
