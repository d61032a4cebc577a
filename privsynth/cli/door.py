"""The one door for errors: each ends in one line and its exit code, never in a stack trace."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from typer.exceptions import TyperException

from privsynth.cli.screen import Answered, print_json
from privsynth.errors import ApprovalMissing, MissingExtra, PrivsynthError, Refused, StorageError, UsageError
from privsynth.ledger.address import without_secrets

INTERRUPTED = 130
_ONE = 5.0
"""Seconds within which signals are one: who closes a terminal or stops a service sends several."""


def heed() -> None:
    """Have SIGTERM and SIGHUP end this process as Ctrl-C does, so that what is half made is cleared away, and let none
    of them into the clearing. What whoever started it has it ignore stays so, as after ``nohup``."""
    last = -math.inf

    def stop(*_: object) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _ONE:
            last = now
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)


def end(fault: BaseException, *, as_json: bool) -> NoReturn:
    """Tell what went wrong, in one line and for machines in one object, and leave with its exit code."""
    answer: Mapping[str, Any] = fault.answer if isinstance(fault, Answered) else {}
    error = _in_words(fault)
    error.what, error.where = without_secrets(error.what), without_secrets(error.where)
    kind = "Interrupted" if isinstance(fault, KeyboardInterrupt) else type(error).__name__
    code = INTERRUPTED if isinstance(fault, KeyboardInterrupt) else error.exit_code
    told = {"error": kind, "what": error.what, "where": error.where, "mend": error.mend, "exit_code": code}
    refused = {"refused_by": list(error.rules)} if isinstance(error, Refused | ApprovalMissing) else {}
    with suppress(OSError):
        print(f"privsynth: {error}", file=sys.stderr)
    try:
        if as_json:
            print_json({**answer, **told, **refused})
        sys.stdout.flush()
    except OSError:
        let_go()
    sys.exit(code)


def _in_words(fault: BaseException) -> PrivsynthError:
    """What a user is told of a fault. Of one that is not ours only its type and place: its text could hold a record."""
    match fault:
        case PrivsynthError():
            return fault
        case Answered():
            return fault.error
        case TyperException():
            what, _, guess = fault.format_message().rstrip(".?").partition(". Did you mean ")
            context = getattr(fault, "ctx", None)
            command = "privsynth" if context is None else context.command_path
            mend = f"did you mean {guess}? " if guess else ""
            return UsageError(what, mend=f"{mend}`{command} --help` shows how")
        case KeyboardInterrupt():
            return PrivsynthError(
                "interrupted",
                mend="the same command goes on from here, or says what was lost; what was paid stays paid",
            )
        case ModuleNotFoundError():
            return MissingExtra(
                f"this needs a package that is not installed: {fault.name}", mend="pip install 'privsynth[all]'"
            )
        case OSError():
            return StorageError(
                f"the system refused a file operation ({fault.strerror or type(fault).__name__})",
                where=str(fault.filename or ""),
                mend="check the place, its rights and the space on its disk; what was paid stays paid",
            )
        case _:
            return PrivsynthError(
                f"an internal fault of privsynth ({type(fault).__name__})",
                where=_place(fault),
                mend="report this line with the command and the version; what was paid stays paid",
            )


def _place(fault: BaseException) -> str:
    """``file.py:line`` in which the fault arose."""
    frame = fault.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"


def flush() -> None:
    """Bring what was printed to its reader while a fault can still be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise StorageError(
            f"standard output cannot be written ({fault.strerror})",
            mend="what was asked for is done, only this answer is lost; send it where there is room",
        ) from None


def let_go() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's teardown, which has nothing left to do.

    Arrow's and torch's thread pools race with it: now and then (3 of 80 runs of ``init``) a command that had done all
    it was asked for was ended by ``std::terminate``, exit code 134 (github.com/apache/arrow/issues/34314).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
