"""Records → Granted: only the rows of subjects whose agreement to this purpose and recipient is known.

One file per form of evidence (``register``, ``columns``), all behind ``ConsentReader``. Each looks at one
subject at a time, so adding or removing a subject moves nobody else, and whatever is not known is a no.
How many agreed is a figure about real people: it is neither returned, printed nor put in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from privsynth.errors import ConsentError, UsageError
from privsynth.policy.consent.columns import by_columns
from privsynth.policy.consent.reader import Ask, ConsentReader
from privsynth.policy.consent.register import by_register
from privsynth.policy.decide import Use, decide_use
from privsynth.policy.document import Policy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from privsynth.data.records import Granted, Records

__all__ = ["filter_consent"]


def filter_consent(
    records: Records,
    policy: Policy,
    *,
    register: str | Path | None = None,
    purpose: str,
    recipient: str,
    now: datetime | None = None,
) -> Granted:
    """Keep the subjects whose consent allows ``purpose`` and ``recipient``, as the policy asks for it.

    Args:
        records: a table as read.
        policy: says by what consent is known.
        register: the consent register, a CSV file; exactly where the policy says ``by: register``.
        purpose, recipient: as named in the policy.
        now: the moment that grants are judged at, with a time zone; the present where left out.

    Raises:
        RequestDenied: the policy does not allow this use (PS-CON-001: it asks for a register, none is given).
        ConsentError: a register that the policy does not use, or a structural fault of one; a consent column
            that the data do not hold. Never the content of a line.
    """
    from privsynth.data.records import Granted

    rule = policy.consent
    if register is not None and rule.by != "register":
        raise ConsentError(
            "a consent register was given, but the policy does not use one",
            where=policy.where("consent", "by"),
            mend="leave the register out, or have the policy's owner write `by: register`",
        )
    moment = datetime.now(UTC) if now is None else now
    if moment.tzinfo is None:
        raise UsageError("`now` has no time zone", where="filter_consent", mend="pass datetime.now(UTC)")
    unmet = rule.by == "register" and register is None
    use = Use(
        source=records.schema.source,
        purpose=purpose,
        recipient=recipient,
        consent="none" if unmet else rule.kind,
        today=moment.astimezone(UTC).date(),
    )
    decide_use(policy, use).refuse()
    ask = Ask(purpose=purpose, recipient=recipient, now=moment, register=None if register is None else Path(register))
    agreed = _READERS[rule.by](records, policy, ask)
    return Granted(records.keep(agreed), purpose=purpose, recipient=recipient, consent=rule.kind, policy=policy.sha256)


def _everyone(records: Records, policy: Policy, ask: Ask) -> npt.NDArray[np.bool_]:
    """Every row: the policy says why nobody is asked."""
    import numpy as np

    return np.ones(len(records.subjects), dtype=np.bool_)


_READERS: Mapping[str, ConsentReader] = {"register": by_register, "columns": by_columns, "not-required": _everyone}
