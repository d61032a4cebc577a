"""Which fits held somebody who has since said no, and what the policy makes follow. For inside only.

A fit's subjects are kept as commitments, HMAC-SHA256(the population's key, id): who holds the key can ask whether a
given person was in, and nobody can list who was. Where they are kept is a ``Shelf``'s business.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import pydantic

from privsynth.documents import Strict, canonical, plain, read_bytes
from privsynth.errors import IntegrityError, StorageError
from privsynth.policy.consent.verdict import Answer, Judgements
from privsynth.policy.consent_rules import Withdrawal

if TYPE_CHECKING:
    from privsynth.data.records import Train

FEWEST = 5
"""Counts below this are not told."""

ACTIONS: Mapping[Withdrawal, str] = {
    "stop-new-use": "leave these people out of the next fit; this model may go on",
    "retire-models": "draw no new samples from this model, and destroy its weights",
    "retire-releases": "draw no new samples, destroy the weights, and put the source on the next list of recalls",
}


class Fit(Strict):
    """One fit whose subjects are kept.

    Attributes:
        hold: the hold that paid for it.
        source, population, purpose, recipient: as in the policy.
        day: when it was fitted, ISO 8601 (UTC).
        epsilon: of the whole release.
        commitments: of the training subjects, sorted.
    """

    hold: str
    source: str
    population: str
    purpose: str
    recipient: str
    day: str
    epsilon: float
    commitments: tuple[Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")], ...]

    def __repr__(self) -> str:
        return f"Fit({self.hold!r})"


class Shelf(Protocol):
    """Where the commitments of fits are kept."""

    def put(self, fit: Fit) -> None:
        """Keep them, durably, in the place of earlier ones of the same hold."""
        ...

    def get(self, hold: str) -> Fit | None:
        """Those of one hold; None where there are none."""
        ...

    def fits(self, population: str) -> Iterable[Fit]:
        """Those of one population, in the order of their days."""
        ...

    def destroy(self, hold: str) -> None:
        """Forget those of one hold: done when the split's retention is over."""
        ...


@dataclass(frozen=True)
class Affected:
    """A fit that held somebody who has since said no. ``people``: how many, None where they are fewer than five."""

    hold: str
    source: str
    purpose: str
    recipient: str
    day: str
    epsilon: float
    rung: Withdrawal
    action: str
    people: int | None


def commitments(key: bytes, subjects: Iterable[str]) -> tuple[str, ...]:
    """Of each person one, sorted: the order tells nothing. Blanks at the ends of an id do not count, as in evidence."""
    from privsynth.privacy.noise import commitment

    return tuple(sorted({commitment(key, subject.strip()) for subject in subjects}))


def fit_of(train: Train, *, key: bytes, hold: str, day: str, epsilon: float) -> Fit:
    """What is to be kept of a fit on ``train``."""
    return Fit(
        hold=hold,
        source=train.source,
        population=train.population,
        purpose=train.purpose,
        recipient=train.recipient,
        day=day,
        epsilon=epsilon,
        commitments=commitments(key, train.records.subjects.tolist()),
    )


def gone(judged: Judgements) -> frozenset[str]:
    """Those who say no now: refused or withdrawn. Who is merely not known to agree has not said so."""
    return frozenset(subject for subject, one in judged.items() if one.answer is Answer.DENY)


Withdrawn = Callable[[str, str], Iterable[str]]
"""(purpose, recipient) → the ids of those who say no to that use now, as the table had them."""


def impact(fits: Iterable[Fit], *, key: bytes, withdrawn: Withdrawn, rung: Withdrawal) -> tuple[Affected, ...]:
    """The fits that held anybody who says no to their own use now, in their order.

    Args:
        key: of the fits' population.
        withdrawn: who says no to a use; asked once for each.
        rung: what the policy makes follow.
    """
    names: dict[tuple[str, str], frozenset[str]] = {}
    out = []
    for fit in fits:
        use = (fit.purpose, fit.recipient)
        if use not in names:
            names[use] = frozenset(commitments(key, withdrawn(*use)))
        people = len(names[use].intersection(fit.commitments))
        if people:
            out.append(
                Affected(
                    hold=fit.hold,
                    source=fit.source,
                    purpose=fit.purpose,
                    recipient=fit.recipient,
                    day=fit.day,
                    epsilon=fit.epsilon,
                    rung=rung,
                    action=ACTIONS[rung],
                    people=people if people >= FEWEST else None,
                )
            )
    return tuple(out)


@dataclass(frozen=True)
class FolderShelf:
    """Commitments in a folder of mode 0700, one file of mode 0600 a hold. Inside only."""

    folder: Path

    def put(self, fit: Fit) -> None:
        """See :class:`Shelf`."""
        path = self._path(fit.hold)
        data = canonical({"privsynth-commitments": 1, **plain(fit)})
        draft = path.with_suffix(".draft")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK  # never waits for a pipe
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as wrong:
            raise StorageError(
                f"cannot be written ({wrong.strerror})", where=str(path), mend="make room, or name another shelf"
            ) from None

    def get(self, hold: str) -> Fit | None:
        """See :class:`Shelf`."""
        path = self._path(hold)
        return self._read(path) if path.exists() else None

    def fits(self, population: str) -> Iterator[Fit]:
        """See :class:`Shelf`. A file that is not one of ours is an IntegrityError."""
        found = [self._read(path) for path in sorted(self.folder.glob("*.json"))]
        yield from sorted((fit for fit in found if fit.population == population), key=lambda fit: (fit.day, fit.hold))

    def destroy(self, hold: str) -> None:
        """See :class:`Shelf`. Bytes on the disk are not overwritten: use an encrypted disk."""
        self._path(hold).unlink(missing_ok=True)

    def _path(self, hold: str) -> Path:
        if not hold or not all(c.isalnum() or c in "-_" for c in hold):
            raise StorageError("not a hold's id", where=str(self.folder), mend="give the id as the receipt has it")
        return self.folder / f"{hold}.json"

    def _read(self, path: Path) -> Fit:
        try:
            value: Any = json.loads(read_bytes(path, error=IntegrityError, kind="commitments"))
            if not isinstance(value, dict) or value.pop("privsynth-commitments", None) != 1:
                raise ValueError
            return Fit.model_validate(value)
        except (IntegrityError, ValueError, RecursionError):
            raise IntegrityError(
                "not whole commitments of a fit", where=str(path), mend="restore it: without it nobody knows who was in"
            ) from None
