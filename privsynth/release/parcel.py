"""A bundle as one stream: a plain tar, the same bytes for the same files, and nothing that a tar may hold beside them.

Every header is one block of 512 bytes that follows from name and size alone: mode 0644, no owner, no time. So a reader
makes the header that there should be and compares; a link, a device, a folder, an extended or doubled header differs.
The names come in order, and two empty blocks end it. The age file around it says whether it was cut off or altered.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from privsynth.errors import BundleError
from privsynth.release.manifest import CHUNK, MAX_FILE_BYTES, MAX_FILES, Names

BLOCK = 512
_MOST = MAX_FILES + 2  # the manifest and the statement too
_EMPTY = bytes(BLOCK)
_AGAIN = "get it again from its sender"


def head(path: str, size: int) -> bytes:
    """The header of a file: one block, or more for a name beyond 100 characters, which is in no parcel."""
    member = tarfile.TarInfo(path)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def packed(files: Iterable[tuple[str, int, Iterable[bytes]]], *, where: str) -> Iterator[bytes]:
    """The stream of ``files`` (path, size in bytes, contents in pieces), sorted by path. Memory: one piece.

    Raises:
        BundleError: a name that is too long. What the pieces raise.
    """
    for path, size, pieces in files:
        first = head(path, size)
        if len(first) != BLOCK:
            raise BundleError(f"a file name of more than 100 characters: {path!a}", where=where, mend="a shorter one")
        yield first
        yield from pieces
        yield bytes(-size % BLOCK)
    yield _EMPTY * 2


def of_memory(files: Mapping[str, bytes]) -> Iterator[tuple[str, int, Iterable[bytes]]]:
    """What :func:`packed` takes, of files in memory."""
    for path in sorted(files):
        view = memoryview(files[path])
        yield path, len(view), (bytes(view[at : at + CHUNK]) for at in range(0, len(view), CHUNK))


class Unpacked:
    """A folder into which a stream is unpacked as it comes, by ``write``. ``end`` says whether all of it came.

    Each refusal is a :class:`BundleError`; nothing is written outside the folder, which whoever made it removes.
    """

    def __init__(self, folder: Path, *, where: str) -> None:
        self._folder, self._where = folder, where
        self._names, self._last, self._count = Names(where), "", 0
        self._file: BinaryIO | None = None
        self._left = 0  # bytes of the file that are to come
        self._pad = 0  # bytes behind it
        self._held = bytearray()  # of a header, or of these
        self._empty = 0  # empty blocks at the end

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        rest = memoryview(data)
        while rest:
            if self._file is not None:
                part = rest[: self._left]
                self._file.write(part)
                self._left -= len(part)
                self._close()
            else:
                part = rest[: (self._pad or BLOCK) - len(self._held)]
                self._held += part
                self._whole()
            rest = rest[len(part) :]
        return len(data)

    def end(self) -> None:
        """Return if the stream was whole."""
        if self._empty != 2 or self._held:
            raise self._wrong("it ends in the middle")

    def close(self) -> None:
        """Let go of a file that was not whole."""
        if self._file is not None:
            self._file.close()

    def _whole(self) -> None:
        """Read what is held, once it is a whole block or the rest of one."""
        if len(self._held) < (self._pad or BLOCK):
            return
        held = bytes(self._held)
        self._held.clear()
        if self._pad:
            if any(held):
                raise self._wrong("bytes between two files")
            self._pad = 0
        elif held == _EMPTY and self._empty < 2:
            self._empty += 1
        else:
            self._begin(held)

    def _begin(self, block: bytes) -> None:
        try:
            told = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            plain = 0 <= told.size <= MAX_FILE_BYTES and head(told.name, told.size) == block
        except (tarfile.TarError, ValueError, OverflowError):
            plain = False
        if self._empty or not plain:
            raise self._wrong("something else than a plain file")
        if told.name <= self._last:
            raise self._wrong(f"a name twice, or out of order: {told.name!a}")
        if self._count == _MOST:
            raise self._wrong(f"more than {_MOST} files")
        self._names.add(told.name)
        self._last, self._count = told.name, self._count + 1
        path = self._folder / told.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._left, self._pad = path.open("xb"), told.size, -told.size % BLOCK
        self._close()

    def _close(self) -> None:
        if self._file is not None and not self._left:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _wrong(self, what: str) -> BundleError:
        return BundleError(f"what is sealed is no bundle: {what}", where=self._where, mend=_AGAIN)
