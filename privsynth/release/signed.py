"""A signed release as bytes, and how it comes to a disk: as a folder, or sealed to its recipient as one file."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from privsynth.errors import ApprovalMissing, RequestDenied, StorageError, UsageError
from privsynth.release.parcel import of_memory, packed
from privsynth.release.predicate import STATEMENT
from privsynth.release.sealed import write_sealed
from privsynth.signing.files import place_folder, room, sync


@dataclass(frozen=True, repr=False, eq=False)
class SignedRelease:
    """A release as bytes.

    Attributes:
        files: path in the bundle → contents.
    """

    files: Mapping[str, bytes] = field(repr=False)

    def __repr__(self) -> str:
        return f"SignedRelease({len(self.files)} files)"

    @property
    def key(self) -> str | None:
        """Of its recipient, to which it leaves sealed; None where its signed statement names none."""
        key: str | None = self._signed.get("key")
        return key

    @property
    def people(self) -> int:
        """How many must sign it, whoever has signed it now included."""
        return self._signed.get("people") or 1

    @cached_property
    def _signed(self) -> dict[str, Any]:
        """What its statement says; nothing where it has none."""
        if (raw := self.files.get(STATEMENT)) is None:
            return {}
        said: dict[str, Any] = json.loads(b64decode(json.loads(raw)["payload"]))["predicate"]
        return said

    def write(self, folder: str | Path) -> Path:
        """Write the bundle as a new folder, whole or not at all.

        It is written beside its place under another name, brought to the disk, and then renamed. One that is to leave
        sealed is written so only where others have yet to sign it: the folder is theirs alone (mode 0700), and stays
        inside.

        Raises:
            RequestDenied: it leaves sealed (PS-REC-004).
            StorageError: the folder exists, or cannot be written.
        """
        target = Path(folder)
        if self.key is not None and self.people == 1:
            raise RequestDenied(
                f"denied by PS-REC-004: a release that leaves in the clear; its policy has it sealed to {self.key}",
                rules=["PS-REC-004"],
                where=str(target),
                mend=f'`.seal("{target.name or "release"}.age")` in the place of `.write(...)`',
            )
        if os.path.lexists(target):
            raise StorageError(
                "the release folder exists; a release is never overwritten",
                where=str(target),
                mend="name a new folder, or move the old one away",
            )
        partial = target.parent / f".{target.name}.{secrets.token_hex(8)}.partial"
        try:
            with room(target):
                try:
                    partial.mkdir(mode=0o777 if self.key is None else 0o700)
                    for path, data in self.files.items():
                        _write(partial / path, data)
                    for part in (*(p for p in partial.rglob("*") if p.is_dir()), partial):
                        sync(part)
                    place_folder(partial, target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as fault:
            full = fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise StorageError(
                f"the release cannot be written ({fault.strerror}); nothing was left behind",
                where=str(target),
                mend="make room on the disk" if full else "choose a folder that you may write",
            ) from None
        return target

    def seal(self, path: str | Path) -> Path:
        """Write the bundle as one new file that only its recipient can open (age), whole or not at all. Nothing of it
        comes to a disk in the clear.

        Raises:
            UsageError: the policy names no key of its recipient.
            ApprovalMissing: others have yet to sign it (PS-APP-002).
            StorageError: the file exists, or cannot be written. MissingExtra: pyrage is not installed.
        """
        target = Path(path)
        if self.key is None:
            raise UsageError(
                "the policy names no key of the recipient, and so does the signed statement",
                where=str(target),
                mend="write `key: age1...` under the recipient in the policy; or `.write(...)` it as a folder",
            )
        if self.people > 1:
            raise ApprovalMissing(
                f"1 of {self.people} people have signed it, and nobody could sign what is sealed",
                rules=["PS-APP-002"],
                where=str(target),
                mend="`.write(...)` it, have the others run `privsynth sign --add`, then run `privsynth seal`",
            )
        write_sealed(packed(of_memory(self.files), where=str(target)), target, key=self.key)
        return target


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
