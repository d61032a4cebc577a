"""Where a study will write and what it needs to be there: checked before anything is paid."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from privsynth.documents import open_regular, read_bytes
from privsynth.errors import ConsentError, DataError, KeyFileError, MissingExtra, StorageError, UsageError
from privsynth.ledger.log import LOGS
from privsynth.ledger.store import store_at
from privsynth.ledger.witness import witness_at
from privsynth.pipeline.study import Study
from privsynth.pipeline.study_ledger import LedgerPlace
from privsynth.policy.image_asks import MarkedAsk, on_marked
from privsynth.release.predicate import STATEMENT
from privsynth.signing import load_key

NEEDED = ("torch", "safetensors", "sklearn", "pandas", "pyarrow", "mpmath")
"""What a fit, a gate or a release imports only when it gets there."""


def check_places(study: Study) -> None:
    """Refuse, before any spending, what would stop a run after it.

    Raises:
        StorageError: a release folder that is there already, or a place that cannot be written.
        KeyFileError: an unusable key. ConditionError: an impossible condition.
        MissingExtra: a package that the run will need. UsageError, StorageError: as of :func:`check_ledger`.
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
            f"the release {'folder' if study.out.is_dir() else 'file'} exists",
            where=str(study.out),
            mend="name a new `out:`, or move the old one",
        )
    if overlap(study.out, study.model_folder):
        raise StorageError(
            "the model would lie in the release folder, or the release in the model's",
            where=study.document.where("model"),
            mend="name two folders, neither within the other: a model stays inside",
        )
    training = study.training_folder
    if training is not None and study.out.resolve().is_relative_to(training.resolve()):
        raise StorageError(
            "the release would lie where the training's state is kept",
            where=study.document.where("out"),
            mend=f"name another `out:` than {training.name}",
        )
    decisions = study.decisions
    for kept in (study.out, study.model_folder, training):
        if decisions is not None and kept is not None and overlap(decisions, kept):
            raise StorageError(
                f"the receipts of consent and {kept.name} would lie one in the other",
                where=study.document.where("consent", "decisions"),
                mend="name a folder of its own under `consent: decisions:`: the receipts name people and stay inside",
            )
    for file in study.ledger.files:
        if any(file.resolve().is_relative_to(folder.resolve()) for folder in (study.out, study.model_folder)):
            raise StorageError(
                f"the ledger's {file.name} would lie in the release folder or the model's",
                where=study.document.where("ledger"),
                mend="name another place for it: both folders are made whole, and a release leaves the house",
            )
    check_writable(study.out)
    check_writable(study.model_folder)
    check_ledger(study.ledger)
    if decisions is not None:
        check_writable(decisions / "receipts")
    load_key(study.key, passphrase=passphrase(study))
    study.credential()
    study.condition()
    study.balance()
    study.guidance()


def check_marks(study: Study) -> None:
    """Refuse a study whose pictures would lack a mark that the policy asks for (RequestDenied, PS-IMG-002)."""
    if study.schema.pictures:
        on_marked(MarkedAsk(marks=study.marks), study.policy).refuse()


def overlap(one: Path, other: Path) -> bool:
    """Whether two folders are the same, or one lies in the other."""
    first, second = one.resolve(), other.resolve()
    return first.is_relative_to(second) or second.is_relative_to(first)


def check_ledger(place: LedgerPlace) -> None:
    """Refuse a ledger that could not be opened or made, or whose witness could not be asked. Makes nothing.

    Raises:
        StorageError: a place that cannot be written, a server or witness that does not answer.
        UsageError: not an address. MissingExtra: PostgreSQL without psycopg.
    """
    if place.file is not None:
        check_file(place.file)
    if place.key is not None and not place.key.exists():
        check_file(place.key)
    if place.file is None:
        store_at(place.url).exists()
    if place.witness is not None:
        witness = witness_at(place.witness)
        for log in LOGS:
            witness.head(log)


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
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                earlier = mark.encode() in file.read(1 << 20)
        except OSError:
            earlier = False
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
    line = read_bytes(path, error=KeyFileError, kind="passphrase", pipe=True).partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise KeyFileError("the passphrase is empty", where=str(path), mend="write it on the first line")
    return line
