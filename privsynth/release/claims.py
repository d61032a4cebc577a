"""What the gate found, and of that what may leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any, Literal

from privsynth.errors import LedgerError

Cost = Literal["free", "paid"]


@dataclass(frozen=True)
class Finding:
    """One rule of the gate and how it ended.

    Attributes:
        rule: its id, ``PS-GATE-MEM``.
        name: its name in the policy, ``membership``.
        passed: whether the release keeps the limit.
        limit: the limit in words, as the policy states it.
        figure: the figure in words, only where it is free or paid; None shows nothing.
        cost: ``free`` (no look at real rows) or ``paid`` (noisy counts, in the hold's price).
        where: ``policy.yaml:line``.
    """

    rule: str
    name: str
    passed: bool
    limit: str
    figure: str | None
    cost: Cost
    where: str


@dataclass(frozen=True)
class Claims:
    """Every rule that the gate evaluated.

    Attributes:
        findings: in the policy's order.
    """

    findings: tuple[Finding, ...]

    @property
    def refused(self) -> tuple[Finding, ...]:
        """The rules that did not pass."""
        return tuple(finding for finding in self.findings if not finding.passed)

    def to_json(self) -> dict[str, Any]:
        """Everything, for the ledger. How many attempts came before stays in the ledger's second log: what
        a release shows does not depend on it."""
        return {"findings": [asdict(finding) for finding in self.findings]}

    def published(self) -> list[dict[str, Any]]:
        """What may leave: places without folders."""
        return [{**asdict(finding), "where": PurePath(finding.where).name} for finding in self.findings]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Claims:
        """What :meth:`to_json` wrote.

        Raises:
            LedgerError: anything else.
        """
        try:
            findings = tuple(Finding(**finding) for finding in value["findings"])
            return cls(findings)
        except (KeyError, TypeError, ValueError):
            raise LedgerError("not the claims of a gate", mend="restore the ledger from a backup") from None
