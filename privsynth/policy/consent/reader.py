"""What a form of consent evidence must answer: for each subject grant, deny or unknown, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from privsynth.errors import UsageError
from privsynth.policy.consent.verdict import Judgements

if TYPE_CHECKING:
    from privsynth.data.records import Records
    from privsynth.policy.document import Policy


@dataclass(frozen=True)
class Ask:
    """What subjects are asked to agree to, the moment that counts, and where the evidence lies (None: in the data)."""

    purpose: str
    recipient: str
    now: datetime
    evidence: Path | None = None

    @property
    def path(self) -> Path:
        """Where the evidence lies."""
        if self.evidence is None:
            raise UsageError("no evidence of consent was given", mend="name the file")
        return self.evidence


@dataclass(frozen=True, repr=False)
class Reading:
    """What the evidence says.

    Attributes:
        judged: the answer of each subject of the table, by her id as the table has it.
        exported: when the evidence was exported, as it states itself; None where it does not.
    """

    judged: Judgements
    exported: datetime | None = None


class ConsentReader(Protocol):
    """Judges every subject of ``records`` by one form of evidence.

    A subject's answer depends on her own rows and her own evidence alone, and is no grant wherever it is not known.
    Only structural faults raise (``ConsentError``); the content of a line, cell or record never does.
    """

    def __call__(self, records: Records, policy: Policy, ask: Ask, /) -> Reading:
        """Read the evidence."""
        ...
