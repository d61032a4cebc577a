"""What a form of consent evidence must answer: for each row, whether its subject agreed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from privsynth.data.records import Records
    from privsynth.policy.document import Policy


@dataclass(frozen=True)
class Ask:
    """What subjects are asked to agree to, and the moment that counts."""

    purpose: str
    recipient: str
    now: datetime
    register: Path | None = None


class ConsentReader(Protocol):
    """(n,) booleans, one a row of ``records``, equal for all rows of a subject.

    A subject's answer depends on her own rows and her own evidence alone, and is no wherever it is not
    known. Only structural faults raise (``ConsentError``); the content of a line or cell never does.
    """

    def __call__(self, records: Records, policy: Policy, ask: Ask, /) -> npt.NDArray[np.bool_]:
        """Read the evidence."""
        ...
