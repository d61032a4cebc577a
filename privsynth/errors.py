"""Every error that privsynth raises on purpose, in one tree, by who must act.

Each error says *what* happened, *where*, and the *mend*, and carries the exit code that the
command line ends with. Nothing here ever holds a value read from a sensitive record.
"""

from __future__ import annotations

from collections.abc import Sequence


class PrivsynthError(Exception):
    """The root. Raised itself only for faults of our own (exit code 70).

    Args:
        what: one sentence: what happened, with the limit that was broken.
        where: file, ``file:line``, column or object; empty where there is none.
        mend: one sentence: what the reader does about it.
    """

    exit_code = 70

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        what = self.what.rstrip().removesuffix(".")
        gap = "\n  " if "\n" in what else ". "
        mend = f"{gap}Mend: {self.mend}" if self.mend else ""
        return f"{place}{what}{mend}"


# --- exit 2: the caller's files and arguments --------------------------------------------------


class UsageError(PrivsynthError):
    """An argument or a file is wrong; the caller mends it."""

    exit_code = 2


class SchemaError(UsageError):
    """A schema file does not say something loadable."""


class PolicyError(UsageError):
    """A policy file does not say something loadable."""


class StudyError(UsageError):
    """A study file does not say something loadable."""


class BudgetError(UsageError):
    """An epsilon, delta or noise level outside its range."""


class DataError(UsageError):
    """A structural fault of a data file: unreadable, missing or unknown columns, wrong storage type."""


class ConsentError(UsageError):
    """A structural fault of a consent register."""


class ConditionError(UsageError):
    """A ``where=`` condition that the model cannot meet."""


class KeyFileError(UsageError):
    """A key or trust file that cannot be used."""


class StorageError(UsageError):
    """A file or folder that cannot be written: read-only, full disk, already there."""


class NetworkError(UsageError):
    """A network that cannot be trained privately: it mixes examples, hides a gradient, or does not fit the machine."""


class MemoryShort(NetworkError):
    """A training that needs more memory than the machine has free. The figures in it are facts of the machine."""


class RanksError(UsageError):
    """Processes that were to train one network together and cannot: one has ended, is silent, or is of another kind."""


class MissingExtra(UsageError):
    """A part of privsynth whose optional packages are not installed."""


# --- exit 1: refused by rule -------------------------------------------------------------------


class Refused(PrivsynthError):
    """A rule of the policy or of the gate said no.

    ``rules`` are the ids of the rules that refused, with their limits and never a measured value.
    """

    exit_code = 1

    def __init__(self, what: str, *, rules: Sequence[str] = (), where: str = "", mend: str = "") -> None:
        self.rules = tuple(rules)
        super().__init__(what, where=where, mend=mend)


class RequestDenied(Refused):
    """The policy does not allow this request; no data were read for it."""


class ReleaseRefused(Refused):
    """The gate refused this model."""


class PolicyLooser(Refused):
    """A policy allows more than the one that it is held against."""


class PolicyTestFailed(Refused):
    """A policy gives another answer than its tests expect, or says something that they do not test."""


class Underpowered(Refused):
    """At this budget and size even a perfect generator would often be refused by the gate."""


# --- exit 3: money -----------------------------------------------------------------------------


class BudgetExhausted(PrivsynthError):
    """The privacy filter of a budget line cannot pay for this hold."""

    exit_code = 3


# --- exit 4: integrity -------------------------------------------------------------------------


class IntegrityError(PrivsynthError):
    """Something is not what it claims to be."""

    exit_code = 4


class LedgerError(IntegrityError):
    """The ledger is tampered with, of another policy, or frozen fields changed."""


class HoldError(IntegrityError):
    """A hold used for what it was not bought for, or used twice."""


class ModelError(IntegrityError):
    """A saved model or transcript that was altered or does not belong to its receipt."""


class SeededNoise(IntegrityError):
    """A model fitted with noise that was not drawn from the operating system's secure source."""


class BundleError(IntegrityError):
    """A release bundle whose bytes, files, signatures or trust do not hold."""


# --- exit 5: approvals -------------------------------------------------------------------------


class ApprovalMissing(PrivsynthError):
    """A distinct person has yet to approve. ``rules`` are the ids of the rules that ask for her."""

    exit_code = 5

    def __init__(self, what: str, *, rules: Sequence[str] = (), where: str = "", mend: str = "") -> None:
        self.rules = tuple(rules)
        super().__init__(what, where=where, mend=mend)
