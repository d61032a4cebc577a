"""The ledger's own key, kept outside the database: who holds only the database cannot sign for the ledger."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from privsynth.documents import canonical
from privsynth.errors import KeyFileError, LedgerError, PrivsynthError, StorageError
from privsynth.signing import SigningKey, check_signature, load_key, new_key
from privsynth.signing.files import read_small, write_new
from privsynth.signing.keys import KEY_MODE

SUFFIX = ".key"
_MARK_BYTES = 4096  # the most that a mark has
_SIGNATURE = 128  # hex digits
_MEND = (
    "put the key file that was made with this ledger back in its place, from its backup; without it the ledger is shut"
)


Said = Mapping[str, Any]
"""What a mark says: ``what`` is under way with the key, and of which ledger."""


@dataclass(frozen=True)
class Draft:
    """A key for a ledger in the making.

    Attributes:
        key: it.
        place: brings it to its place, where it is not there yet, with a mark that says what it is given.
            FileExistsError: another process was first, or went on with it.
        said: what the mark beside the key says, if the key is in its place already; None: it is new.
    """

    key: SigningKey
    place: Callable[[Said], None]
    said: Said | None


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

    @property
    def orphaned(self) -> bool:
        """Whether the key was made with a ledger that was there once. Ask for the ledger after this, not before:
        another process may be making it."""
        return os.path.lexists(self.path) and self.marked().get("what") != "making"

    def marked(self) -> Said:
        """What the mark beside the key says, if the key itself has signed it; else nothing."""
        try:
            key = self.key()
            raw, _ = read_small(self._mark(key), limit=_MARK_BYTES)
            said: Said = json.loads(unsealed("mark", raw, public=key.raw_public, where=str(self.path)))
        except (OSError, ValueError, LedgerError):
            return {}
        return said

    def settled(self) -> None:
        """The ledger is there in today's form, durably: the mark goes."""
        with suppress(OSError, LedgerError):
            self._mark(self.key()).unlink()
            flush_folder(self.path.parent)

    @contextmanager
    def drafted(self) -> Iterator[Draft]:
        """A key for a ledger in the making, and how to bring it to its place; the one that is there, if one is.

        What is being made is said by a mark beside the key, which the key signs before it has its place, and which
        lies there until :meth:`settled`. Nobody else can write one, so a key without a mark of its own has, or had,
        a ledger of today's form.
        """
        if os.path.lexists(self.path):
            yield Draft(self.key(), self._still, self.marked())
            return
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new")
        try:
            new_key(draft, name="ledger")
            key = load_key(draft)
            yield Draft(key, partial(self._mark_and_place, draft, key), None)
        finally:
            draft.unlink(missing_ok=True)

    def _mark(self, key: SigningKey) -> Path:
        return self.path.with_name(f".{self.path.name}.{key.keyid[:16]}.mark")

    def _still(self, said: Said) -> None:
        if self.marked() != said:
            raise FileExistsError(errno.EEXIST, "another process was first", str(self.path))

    def _mark_and_place(self, draft: Path, key: SigningKey, said: Said) -> None:
        mark = self._mark(key)
        try:
            write_new(mark, sealed("mark", canonical(said), key), mode=KEY_MODE)
            self._place(draft)
        except BaseException:
            if not (self.path.exists() and self.path.samefile(draft)):
                mark.unlink(missing_ok=True)
            raise

    def _place(self, draft: Path) -> None:
        try:
            flush_folder(self.path.parent)  # the mark first
            os.link(draft, self.path)
            flush_folder(self.path.parent)
        except FileExistsError:
            raise
        except OSError as fault:
            raise StorageError(
                f"the ledger's key file cannot be created ({fault.strerror})",
                where=str(self.path),
                mend="name a folder that you may write",
            ) from None


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
