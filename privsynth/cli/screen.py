"""What a command prints: words and tables for people, one JSON object for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privsynth.errors import ApprovalMissing, PrivsynthError

if TYPE_CHECKING:
    from privsynth.progress import Progress


class Answered(Exception):
    """A refusal that comes with an answer: machines get both as one object."""

    def __init__(self, error: PrivsynthError, answer: Mapping[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error
        self.answer = answer


@dataclass(frozen=True)
class Screen:
    """How to print: people or machines, loud or quiet."""

    as_json: bool
    quiet: bool

    def say(self, text: str = "") -> None:
        """A line for people, on standard output."""
        if not self.as_json and not self.quiet:
            print(text)

    def answer(self, command: str, value: Mapping[str, Any]) -> None:
        """The whole answer for machines: one JSON object."""
        if self.as_json:
            print_json({"command": command, **value})

    def table(self, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Aligned columns for people."""
        widths = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]
        for row in (head, tuple("-" * w for w in widths), *rows):
            self.say("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Bars on standard error while something long runs; silent where nobody looks."""
        from privsynth.progress import SILENT

        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield SILENT
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        with Bars(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True)
        ) as bars:
            yield _Bars(bars)


class _Bars:
    """A ``Progress`` on rich's bars."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None

    def step(self, name: str, total: int) -> None:
        self._task = self._bars.add_task(name, total=total)

    def advance(self, parts: int = 1) -> None:
        self._bars.advance(self._task, parts)


def not_approved(why: ApprovalMissing | None) -> dict[str, Any]:
    """For machines: that the policy may not be worked by yet; nothing where it may."""
    return {} if why is None else {"not_approved": {"what": why.what, "where": why.where, "mend": why.mend}}


def tell_not_approved(screen: Screen, why: ApprovalMissing | None) -> None:
    """For people: the same."""
    if why is not None:
        screen.say(f"\nnot approved yet: {why}")


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line, in ASCII: it reads the same on every terminal."""
    print(json.dumps({"privsynth": 1, **value}, sort_keys=True))
