"""Ends that a new user met: attempts used up, and pages written over what is no report."""

from __future__ import annotations

import re

import pytest

from tests.desk import Desk, cli


def test_used_up_attempts_are_told_before_paying(finished: Desk) -> None:
    """The policy now allows one attempt, and the finished study used it: another study buys nothing."""
    policy = finished.folder / "policy.yaml"
    policy.write_text(re.sub(r"max attempts: \d+", "max attempts: 1", policy.read_text()))
    other = finished.folder / "other.yaml"
    other.write_text(re.sub(r"^(out|model): .*$", r"\1: another-\1/", finished.study.read_text(), flags=re.MULTILINE))
    spent = finished.spent()
    for command in ("plan", "run"):
        said = cli(command, other, "--json")
        assert said.code == 1
        assert "PS-GATE-ATT" in said.out
    assert finished.spent() == spent


@pytest.mark.parametrize("name", ["ledger.db", "policy.yaml", "release/page.html"])
def test_a_report_is_never_written_over_another_file_or_into_a_release(finished: Desk, name: str) -> None:
    place = finished.folder / name
    raw = place.read_bytes() if place.exists() else None
    said = cli("report", finished.study, "--out", place, "--actor", "rea@lab.example")
    assert said.code == 2
    assert (place.read_bytes() if place.exists() else None) == raw
