"""What a private training needs of the outside: steps leased from a hold, checkpoints in a folder, and memory."""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.documents import open_regular
from privsynth.errors import HoldError, MemoryShort, ModelError, StorageError

if TYPE_CHECKING:
    from torch import Tensor

    from privsynth.ledger.hold import Hold

_NAME = "step-{:07d}.safetensors"
_MODE = 0o600
_FULL = "DefaultCPUAllocator"
"""What torch says, in a plain RuntimeError, where the processor's memory is full."""
_STALE = 3600.0
"""Seconds after which a half-written file is nobody's: a write takes far less."""


@contextmanager
def paid_for(*, device: str, where: str, goes_on: bool) -> Iterator[None]:
    """While the block runs after a hold was opened: where memory does not suffice, say what becomes of the hold.

    Args:
        where: the step that runs.
        goes_on: whether checkpoints keep what was bought.

    Raises:
        MemoryShort: memory ran out, or what is free does not hold one subject.
    """
    import torch

    try:
        yield
    except (MemoryShort, MemoryError, torch.OutOfMemoryError, RuntimeError) as fault:
        short = isinstance(fault, MemoryShort | MemoryError | torch.OutOfMemoryError)
        if not short and _FULL not in str(fault):
            raise
        raise MemoryShort(
            f"the memory of {device} ran out after the hold was opened: what was bought and leased stays spent",
            where=where,
            mend="free memory and run the same command again: it goes on from its checkpoints"
            if goes_on
            else "this hold is lost, for no checkpoints were kept; free memory and buy another",
        ) from None


@dataclass(frozen=True)
class Leased:
    """A hold's lease of training steps, for ``privacy.dpsgd.train``."""

    hold: Hold

    def take(self, through: int) -> int:
        """See ``Hold.lease``."""
        return self.hold.lease(through)


@dataclass(frozen=True)
class CheckpointFiles:
    """One checkpoint in a folder that only its owner may read: the newest, as safetensors.

    Requesters of holds must not read it: who holds an old one sees more of the noise than the release shows. Two
    processes may write: each has its half-written files to itself, and the highest step stays.

    Attributes:
        folder: made if it is not there; nothing else lies in it.
        hold: id of the hold that pays; written into the files and asked for when they are read.
    """

    folder: Path
    hold: str

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write the state after ``step`` under a name of its own, rename it, delete the older ones.

        Raises:
            StorageError: the folder cannot be written.
        """
        from safetensors.torch import save

        data = save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={"privsynth-checkpoint": json.dumps({"hold": self.hold, "step": step})},
        )
        half = self.folder / f"half-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep(_STALE)
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.folder / _NAME.format(step))
            self._sync()
            for old in self._steps():
                if old < step:
                    (self.folder / _NAME.format(old)).unlink(missing_ok=True)
        except OSError as fault:
            with suppress(OSError):
                half.unlink(missing_ok=True)
            raise StorageError(
                f"a checkpoint cannot be written ({fault.strerror})",
                where=str(self.folder),
                mend="free space, or rights",
            ) from None

    def newest(self) -> tuple[int, Mapping[str, Tensor]] | None:
        """The state with the highest step, and the step; None if there is none.

        Raises:
            ModelError: it was altered, or is of another hold.
        """
        from safetensors import SafetensorError, safe_open

        steps = self._steps()
        if not steps:
            return None
        place = self.folder / _NAME.format(steps[-1])
        try:
            os.close(open_regular(place))
            with safe_open(place, framework="pt") as file:
                told = json.loads((file.metadata() or {})["privsynth-checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            if self._steps()[-1:] != steps[-1:]:  # another process went on meanwhile
                return self.newest()
            raise ModelError("not a checkpoint", where=str(place), mend="delete it; its steps stay spent") from None
        if told != {"hold": self.hold, "step": steps[-1]}:
            raise ModelError("a checkpoint of another hold", where=str(place), mend="one folder for each hold")
        return steps[-1], tensors

    @property
    def begun(self) -> bool:
        """Whether a state is kept."""
        return bool(self._steps())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the block runs no other process trains here; one that ends, however it ends, lets go.

        Two would share the steps that are left, and each one's model would have fewer.

        Raises:
            HoldError: another trains here. StorageError: the folder cannot be made.
        """
        import fcntl

        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as fault:
            raise StorageError(
                f"no state of a training can be kept ({fault.strerror})",
                where=str(self.folder),
                mend="rights, or space",
            ) from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HoldError(
                    "another process trains for this hold", where=f"hold {self.hold}", mend="wait for it"
                ) from None
            yield
        finally:
            os.close(handle)

    def clear(self) -> None:
        """Delete every checkpoint, half-written ones too: what a fit does once its transcript is kept.

        Raises:
            StorageError: they cannot be deleted; what the hold keeps is whole.
        """
        try:
            self._sweep(-math.inf)
            for step in self._steps():
                (self.folder / _NAME.format(step)).unlink(missing_ok=True)
        except OSError as fault:
            raise StorageError(
                f"checkpoints cannot be deleted ({fault.strerror}); the fit's transcript is kept",
                where=str(self.folder),
                mend="delete the folder, and go on with the transcript",
            ) from None

    def _sweep(self, seconds: float) -> None:
        """Delete half-written files at least so old."""
        for half in self.folder.glob("half*"):
            with suppress(FileNotFoundError):
                if time.time() - half.stat().st_mtime >= seconds:
                    half.unlink()

    def _steps(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("step-")) for path in self.folder.glob("step-*.safetensors"))

    def _sync(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
