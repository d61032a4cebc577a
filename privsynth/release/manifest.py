"""The list of a bundle's files: path, size and SHA-256 of each, nothing more and nothing less.

Paths are plain ASCII so that no two readers, file systems or archives can take one for another: no
absolute path, ``..``, backslash, leading or trailing dot, device name, nor two that differ in case
alone. A folder is read as it lies: a symlink, pipe, device or empty folder is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pydantic

from privsynth.documents import Strict, canonical, open_regular, plain, sha256
from privsynth.errors import BundleError
from privsynth.signing import parse_canonical, shaped

NAME = "manifest.json"
FORMAT = 1
MAX_FILES = 10_000
MAX_DEPTH = 8
MAX_FILE_BYTES = 16 * 2**30
MAX_MANIFEST = 4 * 2**20
CHUNK = 2**20

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(?<!\.)\Z")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)
_AGAIN = "get the bundle again from its sender"


@dataclass(frozen=True)
class Names:
    """Paths as they come, each held against all before it."""

    where: str
    _seen: dict[str, str] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)
    _folders: set[str] = field(default_factory=set)

    def add(self, path: str) -> None:
        """Take one more path, or refuse it as :func:`check_names` does."""
        parts = path.split("/")
        if len(parts) > MAX_DEPTH or any(not _PART.match(part) or _DEVICE.match(part) for part in parts):
            raise BundleError(f"unsafe file name {path[:100]!a}", where=self.where, mend=_AGAIN)
        for depth in range(1, len(parts) + 1):
            prefix = "/".join(parts[:depth])
            if self._seen.setdefault(prefix.casefold(), prefix) != prefix:
                raise BundleError(f"two names that differ in case alone: {prefix!a}", where=self.where, mend=_AGAIN)
            own, other = (self._files, self._folders)[:: 1 if depth == len(parts) else -1]
            if prefix in other:
                raise BundleError(f"{prefix!a} is both a file and a folder", where=self.where, mend=_AGAIN)
            own.add(prefix)


def check_names(paths: Iterable[str], *, where: str) -> None:
    """Refuse paths that are unsafe, or that some file system would take for one another.

    Raises:
        BundleError: naming the first.
    """
    names = Names(where)
    for path in paths:
        names.add(path)


class Entry(Strict):
    """One file: path from the bundle's root with ``/``, size in bytes, SHA-256 in lower-case hex."""

    path: str
    size: Annotated[pydantic.StrictInt, pydantic.Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, path: str, raw: bytes) -> Entry:
        """The entry of a file in memory."""
        return cls(path=path, size=len(raw), sha256=sha256(raw))


class Manifest(Strict):
    """Every file of a bundle but the manifest itself and the signed statement, sorted by path."""

    format: Annotated[pydantic.StrictInt, pydantic.Field(alias="privsynth-manifest")]
    files: Annotated[tuple[Entry, ...], pydantic.Field(min_length=1, max_length=MAX_FILES)]

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Manifest:
        if self.format != FORMAT:
            raise ValueError(f"manifest format {self.format} is not known; this version reads {FORMAT}")
        paths = [entry.path for entry in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("paths repeated or out of order")
        return self

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Manifest:
        """The manifest of files in memory.

        Raises:
            BundleError: an unsafe name.
        """
        check_names(files, where=NAME)
        entries = tuple(Entry.of(path, files[path]) for path in sorted(files))
        return cls(format=FORMAT, files=entries)

    @classmethod
    def from_bytes(cls, raw: bytes, *, where: str = NAME) -> Manifest:
        """Read a manifest.

        Raises:
            BundleError: not canonical, of another shape, or with unsafe names.
        """
        data = parse_canonical(raw, where=where)
        manifest = shaped(cls, data, error=BundleError, where=where, mend=_AGAIN)
        check_names((entry.path for entry in manifest.files), where=where)
        return manifest

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical({"privsynth-manifest": FORMAT, "files": [plain(entry) for entry in self.files]})


def walk(folder: Path) -> tuple[str, ...]:
    """Paths of all files under ``folder``, sorted.

    Raises:
        BundleError: a symlink, a thing that is no file, an empty folder, an unsafe name, too many.
    """
    found: list[str] = []
    pending = [("", 1)]
    while pending:
        prefix, depth = pending.pop()
        try:
            inside = sorted(os.scandir(folder / prefix), key=lambda item: item.name)
        except OSError as fault:
            raise BundleError(f"cannot be read ({fault.strerror})", where=str(folder), mend="check the path") from None
        if not inside:
            raise BundleError(f"an empty folder {prefix!a}", where=str(folder), mend=_AGAIN)
        for item in inside:
            path = f"{prefix}{item.name}"
            if item.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                pending.append((f"{path}/", depth + 1))
            elif item.is_file(follow_symlinks=False) and len(found) < MAX_FILES:
                found.append(path)
            else:
                raise BundleError(
                    f"{path!a} is a link, no plain file, or one too many or too deep", where=str(folder), mend=_AGAIN
                )
    check_names(found, where=str(folder))
    return tuple(sorted(found))


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a plain file of at most ``limit`` bytes.

    Raises:
        BundleError: no such file, a link, not a plain file, larger.
    """
    return b"".join(_chunks(path, limit))


def check_file(folder: Path, entry: Entry) -> None:
    """Compare one file with its entry, reading no more than the entry's size.

    Raises:
        BundleError: another size or digest.
    """
    for _ in checked_chunks(folder, entry):
        pass


def checked_chunks(folder: Path, entry: Entry) -> Iterator[bytes]:
    """The bytes of one file in pieces; after the last it is compared with its entry, as :func:`check_file` does."""
    path = folder / entry.path
    size, digest = 0, hashlib.sha256()
    for chunk in _chunks(path, entry.size):
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise BundleError("the file is not the one that was signed", where=str(path), mend=_AGAIN)


def _chunks(path: Path, limit: int) -> Iterable[bytes]:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError("a link, or not a plain file", where=str(path), mend=_AGAIN)
        with os.fdopen(open_regular(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            left = limit
            while chunk := file.read(min(CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise BundleError(f"larger than the {limit} bytes expected", where=str(path), mend=_AGAIN)
                yield chunk
    except OSError as fault:
        raise BundleError(f"cannot be read ({fault.strerror})", where=str(path), mend=_AGAIN) from None
