"""The ledger that a study names: where it is, its key file, who remembers how long it was. Reference: docs/study.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic

from privsynth.documents import Strict, fault
from privsynth.errors import StorageError, UsageError
from privsynth.ledger.address import is_ledger
from privsynth.ledger.seal import SUFFIX
from privsynth.ledger.sqlite import SCHEME
from privsynth.ledger.store import Ledger, is_there, look_at_ledger, open_ledger, seal_of, store_at, watched_by
from privsynth.ledger.witness import witness_at
from privsynth.policy.consent.impact import FolderShelf
from privsynth.policy.document import Policy

COMMITMENTS = ".commitments"
_FILE = "file:"
_KEY = "name it, for example `ledger: {at: postgresql://clerk@db.example/ledger, key: ledger.key}`"


def _address(value: str) -> str:
    if not is_ledger(value):  # what was written is not told: a password may stand in it
        raise fault("not the address of a ledger")
    return value


def _witness(value: str) -> str:
    try:
        witness_at(value)
    except UsageError:
        raise fault("not the address of a witness") from None
    return value


class LedgerSpec(Strict):
    """``sqlite:///ledger.db``, or ``{at: sqlite:///ledger.db, key: ledger.key, witness: file:/srv/witness/x}``."""

    at: Annotated[str, pydantic.Field(repr=False), pydantic.AfterValidator(_address)]
    key: str | None = None
    witness: Annotated[Annotated[str, pydantic.AfterValidator(_witness)] | None, pydantic.Field(repr=False)] = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"at": value} if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _keyed(self) -> LedgerSpec:
        if self.key is None and not self.at.startswith(SCHEME):
            raise fault("a ledger in a database has its key file elsewhere, and none is named", mend=_KEY)
        return self

    def place(self, folder: Path) -> LedgerPlace:
        """Where that is, its paths taken from ``folder``."""
        at, witness = self.at, self.witness
        if at.startswith(SCHEME):
            at = f"{SCHEME}{folder / at.removeprefix(SCHEME)}"
        if witness is not None and witness.startswith(_FILE):
            witness = f"{_FILE}{folder / witness.removeprefix(_FILE)}"
        return LedgerPlace(at, None if self.key is None else folder / self.key, witness)


MENDS = {
    "ledger": "for example `ledger: sqlite:///ledger.db`, relative to the study's folder, or "
    "`ledger: {at: postgresql://clerk@db.example/ledger, key: ledger.key, witness: file:/srv/witness/hospital}`",
    "at": "sqlite:///ledger.db, or postgresql://user@host/database",
    "witness": "file:/path, cmd:program arguments, or https://host/path (http on this machine only)",
}


@dataclass(frozen=True)
class LedgerPlace:
    """A ledger that may or may not be there yet.

    Attributes:
        url: its address; a password may stand in it.
        key: its key file; None: beside it.
        witness: who remembers how long it was; None: nobody.
    """

    url: str = field(repr=False)
    key: Path | None = None
    witness: str | None = field(default=None, repr=False)

    @property
    def file(self) -> Path | None:
        """The file that it is in; None of one on a server."""
        return Path(self.url.removeprefix(SCHEME)) if self.url.startswith(SCHEME) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """What lies on this machine of it: the file and its key."""
        own = self.file
        key = self.key if self.key is not None or own is None else own.with_name(own.name + SUFFIX)
        return tuple(path for path in (own, key) if path is not None)

    def exists(self, policy: Policy) -> bool:
        """Whether it is there.

        Raises:
            RequestDenied: the policy requires a witness, and none is named.
            LedgerError: it is not, and its witness remembers one, or its key is there.
            StorageError: a server or a witness that does not answer. MissingExtra: PostgreSQL without psycopg.
        """
        witness = watched_by(self.witness, policy)
        if self.file is not None and not self.file.parent.is_dir():
            return False
        home = store_at(self.url)
        return is_there(home, witness, seal_of(home, self.key))

    def open(self, policy: Policy, *, actor: str) -> Ledger:
        """As :func:`privsynth.ledger.store.open_ledger`."""
        return open_ledger(self.url, policy, actor=actor, key=self.key, witness=self.witness)

    def look(self, policy: Policy, *, actor: str) -> Ledger:
        """As :func:`privsynth.ledger.store.look_at_ledger`."""
        return look_at_ledger(self.url, policy, actor=actor, key=self.key, witness=self.witness)

    def existing(self, policy: Policy, *, actor: str) -> Ledger:
        """Open it; it must be there.

        Raises:
            StorageError: it is not. Else as of :meth:`open`.
        """
        if not self.exists(policy):
            where = store_at(self.url).where
            raise StorageError("no such ledger", where=where, mend="check the path; `privsynth run` makes it")
        return self.open(policy, actor=actor)

    @property
    def shelf(self) -> FolderShelf:
        """Where the commitments of its runs are kept: a folder beside its file, or of a server beside its key file.

        Raises:
            UsageError: a server, and no key file was named.
        """
        beside = self.file or self.key or store_at(self.url).key
        return FolderShelf(beside.with_name(beside.name + COMMITMENTS))
