"""How many states the ledger's protocol has, and that each keeps the books: every order of every step, by its own code.

Exhaustive for each setting (``tests/ledger/explorer.py`` says what a state is and what must be so in it). Prints
states, actions and different books; a state that breaks a property ends it, with the shortest way there. Half an hour.

    python -m benchmarks.explore_ledger [--most 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.ledger.explorer import STEPS, Explorer, Setting

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
    "two requests, all steps, no crash": Setting(("a", "b"), (1.0, 1.0), steps=STEPS, crashes=0),
}


def main() -> None:
    """Explore each setting and print what there was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000, help="states of a setting")
    given = parser.parse_args()
    for name, setting in SETTINGS.items():
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            explorer = Explorer(setting, Path(folder))
            states = explorer.explore(most=given.most)
        whole = "" if states < given.most else ", not all"
        told = f"{states:>9,} states{whole}, {explorer.actions:,} actions, {len(explorer.databases):,} books"
        print(f"{name:<76} {told}, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
