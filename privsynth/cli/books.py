"""What the commands on a ledger share: which one is meant, who asks, and how to answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth.cli.screen import Screen
from privsynth.cli.words import ACTOR, JSON, KEY, LEDGER, POLICY, QUIET, WITNESS, who

if TYPE_CHECKING:
    from privsynth.ledger.ledger import Ledger
    from privsynth.policy.document import Policy


@dataclass(frozen=True)
class Books:
    """A ledger as a command names it."""

    screen: Screen
    policy: Path
    url: str
    key: Path | None
    witness: str | None
    given_actor: str | None

    @property
    def rules(self) -> Policy:
        """Its policy."""
        from privsynth.policy.document import load_policy

        return load_policy(self.policy)

    @property
    def actor(self) -> str:
        """Who asks."""
        return who(self.given_actor)

    @property
    def shown(self) -> str:
        """Its address, without a password that may stand in it."""
        from privsynth.ledger.store import store_at

        return self.url if self.url.startswith("sqlite:") else store_at(self.url).where

    def look(self) -> Ledger:
        """Open it to ask it something."""
        from privsynth.ledger.store import look_at_ledger

        return look_at_ledger(self.url, self.rules, actor=self.actor, key=self.key, witness=self.witness)

    def open(self) -> Ledger:
        """Open it to work with; it is made where there is none."""
        from privsynth.ledger.store import open_ledger

        return open_ledger(self.url, self.rules, actor=self.actor, key=self.key, witness=self.witness)


def _shared(
    policy: POLICY,
    ledger: LEDGER,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """The arguments and options that stand around a command's own."""


def on_books(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is :class:`Books`, with the options that say which; its own stand among them."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    policy, ledger, *rest = inspect.signature(_shared, eval_str=True).parameters.values()
    every = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (policy, ledger, *own, *rest)]

    @functools.wraps(command)
    def with_books(**given: Any) -> None:
        told = {one.name: given.pop(one.name) for one in (policy, ledger, *rest)}
        screen = Screen(told["json_"], told["quiet"])
        command(
            Books(screen, told["policy"], told["ledger"], told["key"], told["witness"], told["actor"]),
            **given,
        )

    with_books.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # typer reads it
    with_books.__annotations__ = {one.name: one.annotation for one in every}
    return with_books
