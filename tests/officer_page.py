"""The quotations in docs/officer.md. ``python -m tests.officer_page`` brings the page up to date.

A line ``- `leaf``` quotes what `policy show --prose` says of that leaf of policies/healthcare.yaml, with file and line.
"""

from __future__ import annotations

import re
from pathlib import Path

from privsynth.policy.document import load_policy
from privsynth.policy.leaves import leaves
from privsynth.policy.prose import sentence

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "officer.md"
POLICY = ROOT / "policies" / "healthcare.yaml"
_QUOTED = re.compile(r"^- `([^`]+)`.*$", re.MULTILINE)


def up_to_date(text: str) -> str:
    """The page with the sentences and lines of today; a leaf that does not exist is a KeyError."""
    policy = load_policy(POLICY)
    known = {leaf.name: leaf for leaf in leaves(policy.file).values()}

    def again(match: re.Match[str]) -> str:
        leaf = known[match[1]]
        path, _, line = policy.where(*leaf.place).rpartition(":")
        return f"- `{leaf.name}` ({Path(path).name}:{line}): {sentence(leaf)}"

    return _QUOTED.sub(again, text)


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text("utf-8")), "utf-8")
