"""The README's table of results is what the kept records say."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.records import figures

README = Path(__file__).parents[2] / "README.md"
SYSTEMS = {
    "**privsynth**": "privsynth",
    "private-pgm, AIM": "private-pgm-aim",
    "dpmm, MST": "dpmm-mst",
    "smartnoise-synth, MST": "smartnoise-mst",
    "opendp, MST": "opendp-mst",
    "columns drawn independently, under DP": "independent-pooled",
}


def test_the_readme_shows_what_was_measured() -> None:
    held = {(f.system, f.epsilon, f.metric, f.n): f.mean for f in figures("tables") if f.data == "adult"}
    for name, system in SYSTEMS.items():
        line = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", README.read_text("utf-8"), re.MULTILINE)
        assert line, name
        *cells, seconds = (cell.strip(" *") for cell in line[1].split("|"))
        for cell, epsilon in zip(cells, (0.1, 1.0, 10.0), strict=True):
            n = 0 if system.startswith("independent") else 1_000_000
            if cell:
                assert cell == f"{held[system, epsilon, 'tvd2', n]:.3f}", (name, epsilon)
        if seconds:
            took = held[system, 1.0, "seconds", 48842]
            assert seconds == (f"{took:.0f}" if took >= 10 else f"{took:.1f}"), name
