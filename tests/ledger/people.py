"""People who answer for a restore, with keys of their own, and a restore as they bring it about."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privsynth.ledger.answers import answer, write_statement
from privsynth.ledger.restore import Restore, Restored
from privsynth.policy.document import Policy
from privsynth.policy.quorum import ROLE
from privsynth.signing import SigningKey, Trust, TrustedKey, load_key, new_key
from tests.ledger.world import ANALYST, NOON, OTHER_ANALYST, READER, Hands, policy

TWO = (OTHER_ANALYST, READER)


@dataclass
class People:
    """Keys that a trust file names, in a folder."""

    folder: Path
    keys: dict[str, SigningKey] = field(default_factory=dict)
    trusted: list[TrustedKey] = field(default_factory=list)

    def key(self, person: str, *, role: str = ROLE, expires: dt.date | None = None, known_as: str = "") -> SigningKey:
        """Her key, made when it is first asked for."""
        if person not in self.keys:
            self.folder.mkdir(exist_ok=True)
            path = self.folder / f"{len(self.keys)}.key"
            new_key(path, name=person)
            self.keys[person] = load_key(path)
            self.trusted.append(self.keys[person].public(name=known_as or person, roles=(role,), expires=expires))
        return self.keys[person]

    @property
    def trust(self) -> Trust:
        """Whose signatures count."""
        return Trust.of(*self.trusted)

    def answer(self, folder: Path, *people: str) -> None:
        """Each of them reads what lies there, and signs it."""
        for person in people:
            answer(folder, self.key(person), person=person, today=NOON.date())


def restore_of(source: Path, url: str, rules: Policy | None = None, **named: Any) -> Restore:
    """A restore for an analyst, by the clock of these tests."""
    return Restore.of(source, url, rules or policy(), **{"actor": ANALYST, "clock": Hands(), **named})


def restored(source: Path, url: str, people: People, rules: Policy | None = None, **named: Any) -> Restored:
    """The whole road: the statement, two answers, the restore."""
    asked = restore_of(source, url, rules, **named)
    folder = people.folder.with_name(f"answers-{len(list(people.folder.parent.glob('answers-*')))}")
    write_statement(asked.statement(), folder)
    people.answer(folder, *TWO)
    return asked.run(folder, trust=people.trust, accept_loss=True)
