"""How a long step tells how far it is. Screens live in ``cli``; every other room only calls this."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long steps. ``step`` names what runs now, ``advance`` moves within it."""

    def step(self, name: str, total: int) -> None:
        """Begin a step called ``name`` that has ``total`` parts (1 where it cannot be split)."""
        ...

    def advance(self, parts: int = 1) -> None:
        """``parts`` more of the current step are done."""
        ...


class Silent:
    """Says nothing: the default of every function that takes a ``Progress``."""

    def step(self, name: str, total: int) -> None:
        """Ignore."""

    def advance(self, parts: int = 1) -> None:
        """Ignore."""


SILENT = Silent()
