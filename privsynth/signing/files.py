"""Small files read and written with care, and JSON brought into shape."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from privsynth.documents import Document, build, open_regular
from privsynth.errors import PrivsynthError, StorageError

M = TypeVar("M", bound=pydantic.BaseModel)


def shaped(model: type[M], data: Any, *, error: type[PrivsynthError], where: str, mend: str) -> M:
    """``data`` as a ``model``; the first fault is raised as ``error``, without the value that was read."""
    if not isinstance(data, dict):
        raise error("must be one JSON object", where=where, mend=mend)
    try:
        return build(model, Document(path=where, data=data, sha256="", lines={}), error=error)
    except error as fault:
        raise error(fault.what, where=where, mend=mend) from None


def read_small(path: Path, *, limit: int) -> tuple[bytes, int]:
    """Bytes and mode of a regular file of at most ``limit`` bytes; a pipe or device is never waited for."""
    try:
        handle = open_regular(path)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except IsADirectoryError:
        raise ValueError("not a file") from None
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"larger than {limit} bytes")
    return raw, mode


def reason(fault: OSError | ValueError) -> str:
    """Why a file could not be read, without its name."""
    return str((fault.strerror if isinstance(fault, OSError) else None) or fault)


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that was not there, durably; nothing half written is left."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise StorageError("the file exists", where=str(path), mend="choose another name, or move it away") from None
    except OSError as fault:
        raise _unwritable(path, fault) from None
    whole = False
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        whole = True
    except OSError as fault:
        raise _unwritable(path, fault) from None
    finally:
        if not whole:
            with suppress(OSError):
                path.unlink()


@contextmanager
def room(target: Path) -> Iterator[None]:
    """Room for a new ``target``: its folder, made where it is missing, and opened before anything is written there, so
    that where no name could be brought to the disk nothing is. Where ``target`` does not come to be, no folder is left.

    Raises:
        OSError: there is none.
        StorageError: ``target`` is there, whole, but its name may not have come to the disk.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    handle = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        yield
        try:
            os.fsync(handle)
        except OSError as fault:
            raise StorageError(
                f"it is there, and whole, but a power cut could take it away ({fault.strerror})",
                where=str(target),
                mend="look at the disk, and copy it to another",
            ) from None
    finally:
        if handle is not None:
            os.close(handle)
        if not os.path.lexists(target):
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()


def place_folder(partial: Path, target: Path) -> None:
    """Give a whole folder its name, never over another, an empty one included.

    Raises:
        OSError: it is taken, or cannot be given.
    """
    target.mkdir(mode=0o700)
    try:
        partial.rename(target)
    except BaseException:
        with suppress(OSError):
            target.rmdir()
        raise


def sync(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, fault: OSError) -> StorageError:
    return StorageError(
        f"cannot be written ({fault.strerror})", where=str(path), mend="choose a folder that you may write, with room"
    )
