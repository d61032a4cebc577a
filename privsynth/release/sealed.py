"""Releases that leave only encrypted: one file that the recipient alone can open, and what she finds in it.

The bundle is signed first and then sealed (age) to the key that stands in its signed statement. Whoever opens it can
seal it anew to somebody else; so a receiver accepts only what its sender signed for a key of the receiver's own. Form:
docs/sealed.md.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from privsynth.documents import open_regular
from privsynth.errors import BundleError, StorageError, UsageError
from privsynth.release.manifest import checked_chunks
from privsynth.release.parcel import Unpacked, packed
from privsynth.release.predicate import STATEMENT
from privsynth.release.verify import Verified, verify
from privsynth.signing import check_age, load_identity, load_trust
from privsynth.signing.age import Identity, decrypt, encrypt
from privsynth.signing.files import place_folder, room, sync

SUFFIX = ".age"


def seal(
    folder: str | Path,
    out: str | Path,
    *,
    trust: str | Path | None = None,
    now: dt.datetime | None = None,
) -> Verified:
    """Seal the bundle in ``folder`` to its recipient: one new file, written whole or not at all.

    It is verified first as its receiver will; what is sealed are the bytes that were verified.

    Args:
        out: the new file.
        trust, now: as of :func:`privsynth.release.verify.verify`.

    Returns:
        What was sealed; ``key`` is to whom.

    Raises:
        BundleError: it does not verify, for example because people have yet to sign it.
        UsageError: its statement names no key. StorageError: the file exists, or cannot be written.
        MissingExtra: pyrage is not installed. KeyFileError: as of ``verify``.
    """
    check_age()
    root, target = Path(folder), Path(out)
    _refuse_taken(target)
    found = verify(root, trust=trust, now=now)
    if found.key is None:
        raise UsageError(
            f"its statement names no key of {found.recipient!a}, so nobody could show for whom it was sealed",
            where=str(root / STATEMENT),
            mend="write `key: age1...` under that recipient in the policy, and release under it",
        )
    if target.resolve().is_relative_to(root.resolve()):
        raise StorageError("inside the release itself", where=str(target), mend="name another place")
    entries = sorted(found.contents, key=lambda entry: entry.path)
    files = ((entry.path, entry.size, checked_chunks(root, entry)) for entry in entries)
    write_sealed(packed(files, where=str(root)), target, key=found.key)
    return found


def write_sealed(stream: Iterable[bytes], target: Path, *, key: str) -> None:
    """Write ``stream`` encrypted to ``key`` as a new file of mode 0644. Nothing of it lies on a disk in the clear.

    Raises:
        StorageError: the file exists or cannot be written, and nothing is left; or as of
            :func:`privsynth.signing.files.room`. As of :func:`privsynth.signing.age.encrypt`.
    """
    _refuse_taken(target)
    try:
        with room(target), _removed(target) as partial:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                encrypt(stream, file, key=key)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            _put(partial, target)
    except OSError as fault:
        raise _unwritten(target, fault) from None


def open_sealed(
    path: str | Path,
    out: str | Path,
    *,
    identity: str | Path,
    trust: str | Path | None = None,
    recipient: str | None = None,
    recalls: str | Path | None = None,
    now: dt.datetime | None = None,
) -> Verified:
    """Open a sealed release into the new folder ``out``, which only its owner may read, and verify it.

    Until it is verified it lies in a folder beside ``out``, which is removed whatever goes wrong.

    Args:
        identity: the file with your secret key, of mode 0600.
        trust, recipient, recalls, now: as of :func:`privsynth.release.verify.verify`.

    Raises:
        BundleError: not sealed to you, altered, cut off, no bundle, one that does not verify, or one whose sender
            meant another key: then somebody else sealed it to you.
        KeyFileError: an identity or trust file that cannot be used. StorageError: the folder exists or cannot be
            written. UsageError: no such file. MissingExtra: pyrage is not installed.
    """
    own, target, where = load_identity(identity), Path(out), str(path)
    trusted = target.parent / "trust.json" if trust is None else Path(trust)
    load_trust(trusted)
    _refuse_taken(target)
    try:
        with _source(Path(path)) as source, room(target), _removed(target) as partial:
            _unpack(source, partial, own, where=where)
            found = _verified(partial, where, trust=trusted, recipient=recipient, recalls=recalls, now=now)
            if found.key not in own.keys:
                told = "no key" if found.key is None else f"the key {found.key}, which is not yours"
                raise BundleError(
                    f"it was sealed to you by someone who is not its sender: its signed statement names {told}",
                    where=where,
                    mend="tell its sender that others hold it; ask them for your own release",
                )
            for inner in (*(p for p in partial.rglob("*") if p.is_dir()), partial):
                sync(inner)
            _refuse_taken(target)
            place_folder(partial, target)
    except OSError as fault:
        raise _unwritten(target, fault) from None
    tables = None if found.transcript is None else target / found.transcript.relative_to(partial)
    return replace(found, folder=target, transcript=tables)


def _unpack(source: BinaryIO, partial: Path, own: Identity, *, where: str) -> None:
    """Decrypt into the new folder ``partial``."""
    partial.mkdir(mode=0o700)
    unpacked = Unpacked(partial, where=where)
    try:
        decrypt(source, unpacked, own, where=where)
        unpacked.end()
    finally:
        unpacked.close()


def _verified(
    partial: Path,
    where: str,
    *,
    trust: Path,
    recipient: str | None,
    recalls: str | Path | None,
    now: dt.datetime | None,
) -> Verified:
    """As ``verify``; a fault is told of the sealed file, since the folder will be gone."""
    try:
        return verify(partial, trust=trust, recipient=recipient, recalls=recalls, now=now)
    except BundleError as fault:
        raise BundleError(fault.what, where=fault.where.replace(str(partial), where), mend=fault.mend) from None


def _source(path: Path) -> BinaryIO:
    """The sealed file."""
    try:
        return os.fdopen(open_regular(path), "rb")
    except (OSError, ValueError) as fault:
        why = (fault.strerror if isinstance(fault, OSError) else None) or "not a path"
        raise UsageError(f"the file cannot be read ({why})", where=str(path), mend="check the path") from None


@contextmanager
def _removed(target: Path) -> Iterator[Path]:
    """A new name beside ``target``; what is there in the end is removed."""
    partial = target.parent / f".{target.name}.{secrets.token_hex(8)}.partial"
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):
            partial.unlink()


def _refuse_taken(target: Path) -> None:
    if os.path.lexists(target):
        raise StorageError("it exists, and is never overwritten", where=str(target), mend="name a new one with --out")


def _put(partial: Path, target: Path) -> None:
    """Give a whole file its name, never over another that came meanwhile."""
    try:
        os.link(partial, target)
    except FileExistsError:
        _refuse_taken(target)
    except OSError:  # a file system without links
        _refuse_taken(target)
        partial.rename(target)


def _unwritten(target: Path, fault: OSError) -> StorageError:
    return StorageError(
        f"it cannot be written ({fault.strerror}); nothing was left behind",
        where=str(target),
        mend="name a place that you may write, with room",
    )
