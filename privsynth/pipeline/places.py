"""Where a study will write and what it needs to be there: checked before anything is paid."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from privsynth.documents import read_bytes
from privsynth.errors import ConsentError, DataError, KeyFileError, MissingExtra, StorageError, UsageError
from privsynth.ledger.store import Ledger, open_ledger
from privsynth.pipeline.study import Study
from privsynth.policy.document import Policy
from privsynth.release.predicate import STATEMENT
from privsynth.signing import load_key

NEEDED = ("torch", "safetensors", "sklearn", "pandas", "pyarrow", "mpmath")
"""What a fit, a gate or a release imports only when it gets there."""


def check_places(study: Study) -> None:
    """Refuse, before any spending, what would stop a run after it.

    Raises:
        StorageError: a release folder that is there already, or a place that cannot be written.
        KeyFileError: an unusable key. ConditionError: an impossible condition.
        MissingExtra: a package that the run will need.
    """
    needed = [*NEEDED, *(["PIL"] if study.schema.pictures else []), *(["opacus"] if study.recipe.trains else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"a run needs packages that are not installed: {', '.join(missing)}",
            mend="pip install 'privsynth[images]'"
            if set(missing) & {"PIL", "opacus"}
            else "pip install 'privsynth[generate]'",
        )
    if os.path.lexists(study.out):
        raise StorageError(
            "the release folder exists", where=str(study.out), mend="name a new `out:`, or move the old one"
        )
    out, model = study.out.resolve(), study.model_folder.resolve()
    if out.is_relative_to(model) or model.is_relative_to(out):
        raise StorageError(
            "the model would lie in the release folder, or the release in the model's",
            where=study.document.where("model"),
            mend="name two folders, neither within the other: a model stays inside",
        )
    check_writable(study.out)
    check_writable(study.model_folder)
    check_file(study.ledger_path)
    load_key(study.key, passphrase=passphrase(study))
    study.condition()
    study.balance()


def missing_files(study: Study) -> tuple[UsageError, ...]:
    """The table and the evidence of consent where they are not there, each as the error that a run ends in. Neither is
    opened."""
    data, evidence = study.path(study.file.data), study.evidence
    mend = "check the path and its rights"
    lost: list[UsageError] = []
    if not data.exists():
        lost.append(DataError("no such data file", where=str(data), mend=mend))
    if evidence is not None and not evidence.exists():
        kind = "consent register" if study.consent == "register" else "evidence of consent"
        lost.append(ConsentError(f"no such {kind}", where=str(evidence), mend=mend))
    return tuple(lost)


def check_file(path: Path) -> None:
    """Refuse a place where no file could be written.

    Raises:
        StorageError: a folder is there, or the folder that is to hold the file is missing or read-only.
    """
    if path.is_dir():
        raise StorageError("a folder, where a file is to be written", where=str(path), mend="name a file in it")
    if not path.absolute().parent.is_dir():
        raise StorageError(
            "no such folder", where=str(path.parent), mend="make the folder first, or name another place"
        )
    check_writable(path)


def check_page(path: Path, *, mark: str) -> None:
    """Refuse to write a page where none could be, over anything but an earlier one of its kind, or into a release.

    Args:
        mark: words that stand near the beginning of every page of the kind.

    Raises:
        StorageError: as of :func:`check_file`; another file is there, or the folder is a release's.
    """
    check_file(path)
    if any((folder / STATEMENT).exists() for folder in path.absolute().parents):
        raise StorageError("inside a release", where=str(path), mend="name another place")
    if path.exists():
        with path.open("rb") as file:
            earlier = mark.encode() in file.read(1 << 20)
        if not earlier:
            raise StorageError("another file is there", where=str(path), mend="name another file")


def check_writable(path: Path) -> None:
    """Refuse a place where no file or folder could be made, missing folders above it included.

    Raises:
        StorageError: what is to hold it is a file, or may not be written.
    """
    above = next(p for p in path.absolute().parents if os.path.lexists(p))
    if not above.is_dir():
        raise StorageError("a file, where a folder is needed", where=str(above), mend="name another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise StorageError("the folder is read-only", where=str(above), mend="name a folder that you may write")


def passphrase(study: Study) -> bytes | None:
    """The key's passphrase: the first line of the file that the study names."""
    name = study.file.sign.passphrase_file
    return None if name is None else first_line(study.path(name))


def first_line(path: Path) -> bytes:
    """The first line of a passphrase file.

    Raises:
        KeyFileError: no such file, or nothing on its first line.
    """
    line = read_bytes(path, error=KeyFileError, kind="passphrase").partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise KeyFileError("the passphrase is empty", where=str(path), mend="write it on the first line")
    return line


def existing_ledger(url: str, policy: Policy, *, actor: str) -> Ledger:
    """Open a ledger that must be there already.

    Raises:
        StorageError: there is none.
    """
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        raise StorageError("no such ledger", where=str(path), mend="check the path; `privsynth run` makes it")
    return open_ledger(url, policy, actor=actor)
