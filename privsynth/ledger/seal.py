"""The ledger's own key, kept outside the database: who holds only the database cannot sign for the ledger."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from privsynth.errors import KeyFileError, LedgerError, PrivsynthError, StorageError
from privsynth.signing import SigningKey, check_signature, load_key, new_key

SUFFIX = ".key"
_SIGNATURE = 128  # hex digits
_MEND = (
    "put the key file that was made with this ledger back in its place, from its backup; without it the ledger is shut"
)


@dataclass(frozen=True)
class Seal:
    """The key file at ``path``: Ed25519, mode 0600, made with the ledger and never again."""

    path: Path

    def key(self) -> SigningKey:
        """The key.

        Raises:
            LedgerError: there is none, or it is readable by others, so nothing in the ledger can be believed.
        """
        try:
            return load_key(self.path)
        except KeyFileError as fault:
            raise LedgerError(f"the ledger's key: {fault.what}", where=str(self.path), mend=_MEND) from None

    def made(self) -> SigningKey:
        """The key; a new one where there is none yet."""
        with suppress(FileExistsError), self.drafted() as (_, place):
            place()
        return self.key()

    def first(self, ledger: str) -> SigningKey:
        """A new key for a ledger of the first form, which had none. Until :meth:`migrated` a mark lies beside it.

        Raises:
            LedgerError: a key is there that no migration left: it has signed this ledger, which then is not of the
                first form any more.
        """
        if self.path.exists() and not self._mark.exists():
            raise LedgerError(
                "a ledger of the first form beside a key: what a key has signed is never of that form",
                where=ledger,
                mend="restore the ledger with its owner: this is not the one that the key signed",
            )
        self._mark.touch(mode=0o600)
        return self.made()

    def migrated(self) -> None:
        """The ledger is of today's form, durably."""
        self._mark.unlink(missing_ok=True)

    @property
    def _mark(self) -> Path:
        return self.path.with_name(f".{self.path.name}.migrating")

    @contextmanager
    def drafted(self) -> Iterator[tuple[SigningKey, Callable[[], None]]]:
        """A key for a ledger in the making, and how to bring it to its place; the one that is there, if one is.

        Bringing it there raises FileExistsError where another process was first.
        """
        if self.path.exists():
            yield self.key(), lambda: None
            return
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new")
        try:
            new_key(draft, name="ledger")
            yield load_key(draft), lambda: self._place(draft)
        finally:
            draft.unlink(missing_ok=True)

    def _place(self, draft: Path) -> None:
        try:
            os.link(draft, self.path)
            handle = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except FileExistsError:
            raise
        except OSError as fault:
            raise StorageError(
                f"the ledger's key file cannot be created ({fault.strerror})",
                where=str(self.path),
                mend="name a folder that you may write",
            ) from None


def sealed(kind: str, payload: bytes, key: SigningKey) -> bytes:
    """``payload`` with the ledger's signature, which also says what ``kind`` of thing it is."""
    return sealed_form(payload, key.sign(_said(kind, payload)))


def unsealed(kind: str, data: object, *, public: bytes, where: str) -> bytes:
    """The payload that :func:`sealed` signed with the key ``public`` (32 bytes).

    Raises:
        LedgerError: it was not.
    """
    payload, signature = (data[: -_SIGNATURE - 1], data[-_SIGNATURE:]) if isinstance(data, bytes) else (b"", b"")
    try:
        raw = bytes.fromhex(signature.decode("ascii"))
        check_signature(raw, _said(kind, payload), public=public, where=where)
        whole = sealed_form(payload, raw) == data
    except (ValueError, PrivsynthError):
        whole = False
    if not whole:
        raise LedgerError(
            f"the ledger's {kind} is not signed by its key: it was altered, or this is the key of another ledger",
            where=where,
            mend="check the key file first; if it is the right one, keep the file and restore a backup with its owner",
        )
    return payload


def sealed_form(payload: bytes, signature: bytes) -> bytes:
    """The one form in which payload and signature are kept."""
    return payload + b"\n" + signature.hex().encode()


def _said(kind: str, payload: bytes) -> bytes:
    return b"privsynth ledger " + kind.encode() + b"\n" + payload
