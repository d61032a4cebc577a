"""The page of results is what the kept records say."""

from __future__ import annotations

from benchmarks.page import PAGE, SHOWN, _systems, written
from benchmarks.records import Figure, figures


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == written(), "run: python -m benchmarks.page"


def test_every_figure_of_a_peer_stands_beside_ours() -> None:
    """No table of a set at an ε that shows a peer and not the shipped default at that ε."""
    shown = {(f.data, f.epsilon, f.system) for f in figures("tables")}
    peers = {(data, epsilon) for data, epsilon, system in shown if system.endswith(("-mst", "-aim"))}
    assert peers
    assert peers <= {(data, epsilon) for data, epsilon, system in shown if system == "privsynth"}


def test_pictures_have_a_row_for_each_system() -> None:
    def figure(system: str, metric: str, *values: float) -> Figure:
        return Figure("mnist", 1.0, metric, 60_000, "", system, values, "m", "abc", "2026-01-01")

    told = [figure("privsynth", "accuracy", 94.0, 95.0), figure("dp-merf", "accuracy", 80.0)]
    lines = _systems([*told, figure("privsynth", "frechet", 1.0)], SHOWN).splitlines()
    assert lines[0] == "| ε | system | accuracy | frechet | seeds | commit |"
    assert lines[2] == "| 1 | **privsynth** | 94.5 (94–95) | 1 | 2 | abc |"
    assert lines[3] == "| 1 | dp-merf | 80 |  | 1 | abc |"


def test_what_is_published_stands_beside_and_says_so() -> None:
    told = written().partition("## Pictures")[2]
    source, _, rows = told.partition("Published, not run here:")[2].partition("| method |")
    assert "DPImageBench" in source
    assert "| DP-FETA | 95.6 / 98.1 | 81.7 / 87.3 |" in rows
