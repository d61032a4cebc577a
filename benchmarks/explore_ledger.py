"""How many states the ledger's protocol has, and that each keeps the books: every order of every step, by its own code.

Exhaustive for each setting (``tests/ledger/explorer.py`` and ``explorer_witness.py`` say what a state is and what must
be so in it). Books that differ only in how the lines of different holds lie between each other are one; of every 20
that were merged so, one is put through every step, and must be answered alike. Prints states, actions and different
books; a state that breaks a property ends it, with the shortest way there. Six minutes.

    python -m benchmarks.explore_ledger [--most 1000000] [--only WORDS] [--unmerged]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.ledger.explorer import STEPS, Explorer, Setting
from tests.ledger.explorer_witness import Watch, WatchedExplorer

FIT = ("open_fit", "deposit", "gate")
SETTINGS = {
    "two requests, fit and gate, a crash each": Setting(("a", "b"), (1.0, 1.0), steps=FIT),
    "two requests, a training, a crash each": Setting(
        ("a", "b"), (1.0, 1.0), steps=("open_fit", "lease 1", "lease 2", "deposit")
    ),
    "one request of two processes, all steps, two crashes each, the policy ends": Setting(
        ("a", "a"), (1.0, 1.0), crashes=2, expires=True
    ),
    "a budget for one of two, all steps, a crash each, the policy ends": Setting(("a", "b"), (2.5, 2.5), expires=True),
    "three requests, a budget for two, a fit, a crash each": Setting(
        ("a", "b", "c"), (1.5, 1.5, 1.5), steps=("open_fit",)
    ),
    "a budget for a plan of two or a hold, a crash each, the policy ends": Setting(
        ("a+b", "c"), (2.0, 2.0), steps=("open_fit", "deposit", "gate"), expires=True
    ),
    "two requests, all steps, no crash": Setting(("a", "b"), (1.0, 1.0), steps=STEPS, crashes=0),
    "two requests, all steps, a crash each": Setting(("a", "b"), (1.0, 1.0), steps=STEPS),
    "witness: two requests, a fit, a crash each": Watch(("a", "b"), (1.0, 1.0), steps=("open_fit",), copies=False),
    "witness: a budget for one of two, fit and gate, no crash, a copy put back": Watch(
        ("a", "b"), (2.5, 2.5), steps=FIT, crashes=0
    ),
    "witness: a budget for one of two, a fit, a crash each, a copy put back": Watch(
        ("a", "b"), (2.5, 2.5), steps=("open_fit",)
    ),
    "witness: one request, all steps, a crash, a copy put back": Watch(("a",), (1.0,)),
}


def main() -> None:
    """Explore each setting and print what there was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000, help="states of a setting")
    parser.add_argument("--only", default="", help="settings whose name has these words")
    parser.add_argument("--unmerged", action="store_true", help="every order of lines is a book of its own")
    given = parser.parse_args()
    for name, setting in SETTINGS.items():
        if given.only not in name:
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            explorer = _explorer(setting, Path(folder), merged=not given.unmerged)
            states = explorer.explore(most=given.most)
            compared = explorer.compare_merged()
        whole = "" if states < given.most else ", not all"
        told = f"{states:>9,} states{whole}, {explorer.actions:,} actions, {len(explorer.databases):,} books"
        told += f" ({len(explorer.met):,} merged, {compared} compared)" if explorer.met else ""
        print(f"{name:<76} {told}, {time.perf_counter() - began:.0f} s", flush=True)


def _explorer(setting: Setting, folder: Path, *, merged: bool) -> Explorer:
    if isinstance(setting, Watch):  # a witness tells every order of lines from every other
        return WatchedExplorer(setting, folder)
    return Explorer(replace(setting, merged=merged), folder)


if __name__ == "__main__":
    main()
