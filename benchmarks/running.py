"""Runs a driver in a process of its own: limits of time and memory, one thread unless told otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = "torch==2.13.0\n"
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Limits:
    """What a driver may use."""

    seconds: float = 900.0
    memory_gb: float = 16.0
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a driver.

    Attributes:
        status: ``done``, ``timeout``, ``memory`` (over its limit) or ``failed``.
        told: what the driver said of its fit: ``seconds``, ``peak_gb``, ``draw_seconds_0`` ….
        drawn: the codes of each draw.
        why: for a failure, the last lines of its errors.
    """

    status: str
    told: dict[str, float] = field(default_factory=dict)
    drawn: tuple[npt.NDArray[np.int32], ...] = ()
    why: str = ""


def run_driver(python: Path | str, module: str, arguments: Sequence[str], *, limits: Limits) -> Outcome:
    """``python -m module arguments --out FILE`` in the project's folder; its whole process group ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder) / "out.npz", Path(folder) / "errors.txt"
        with errors.open("wb") as log:
            process = subprocess.Popen(
                [str(python), "-m", module, *arguments, "--out", str(out)],
                cwd=ROOT,
                env={**os.environ, **_one_size(limits.threads)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            _settle(process.pid, limits.threads)
        try:
            status = _watch(process, limits)
        finally:
            _end(process)
        if status == "done" and process.returncode == 0 and out.exists():
            with np.load(out) as held:
                told = json.loads(str(held["told"]))
                drawn = tuple(held[name] for name in sorted(n for n in held.files if n.startswith("codes_")))
            return Outcome("done", told, drawn)
        lines = errors.read_text("utf-8", "replace").strip().splitlines()
        return Outcome("failed" if status == "done" else status, why=" | ".join(lines[-3:])[-500:])


def environment(name: str, requirements: Sequence[str], *, folder: Path) -> Path:
    """The Python of the environment ``name`` under ``folder``, made and filled if it is not there.

    Raises:
        RuntimeError: pip could not fill it; says why.
    """
    home = folder / name
    python = home / "bin" / "python"
    marker = home / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if python.exists() and marker.exists() and marker.read_text() == wanted:
        return python
    folder.mkdir(parents=True, exist_ok=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(CONSTRAINTS)
    venv.create(home, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
    found = subprocess.run([*pip, *requirements], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise RuntimeError(f"{name} cannot be installed: {found.stderr.strip()[-500:]}")
    marker.write_text(wanted)
    return python


def _one_size(threads: int) -> dict[str, str]:
    """The thread limits that the libraries read when they load."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS")
    return {**dict.fromkeys(names, str(threads)), "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}


def _settle(pid: int, threads: int) -> None:
    """Keep a process on as many cores as it has threads, where the system knows how (JAX heeds nothing else)."""
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, sorted(os.sched_getaffinity(0))[-threads:])


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> str:
    ends = monotonic() + limits.seconds
    while process.poll() is None:
        if monotonic() > ends:
            return "timeout"
        if _resident_gb(process.pid) > limits.memory_gb:
            return "memory"
        sleep(LOOK_SECONDS)
    return "done"


def _resident_gb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
