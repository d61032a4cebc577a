"""The policy that a ledger works by, as its log remembers it.

An entry ``policy`` says which policy took the place of which, who approved that by which key, and the rule about the
next change, with the keys of those who may approve it, and the key of the witness that it names. So what vouches for an
edited policy never stands in its own file. A ledger under policies without such a rule has no entry of this kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privsynth.ledger.entry import Entry, odd
from privsynth.policy.quorum import Quorum


@dataclass(frozen=True)
class Accepted:
    """The policy that was accepted last.

    Attributes:
        sha256, version: of it, resolved.
        since: when it was accepted, ISO 8601 UTC.
        entry: the place of that entry in the main log.
        quorum: who must agree to the next change; None: nobody must.
        replaced: SHA-256 of the policies that were accepted before it. Approvals of these are spent.
        witness: the key of the witness that it names, on one line; None: it names none.
    """

    sha256: str
    version: str
    since: str
    entry: int
    quorum: Quorum | None
    replaced: frozenset[str] = frozenset()
    witness: str | None = None

    def spent(self, sha256: str) -> bool:
        """Whether this policy was accepted before and replaced since, so that its approvals carry nothing any more."""
        return sha256 in self.replaced

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "policy": self.sha256,
            "version": self.version,
            "since": self.since,
            "entry": self.entry,
            "rule": None if self.quorum is None else self.quorum.to_json(),
            "replaced": sorted(self.replaced),
            **({} if self.witness is None else {"witness": self.witness}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Accepted:
        """What :meth:`to_json` wrote; KeyError, TypeError or ValueError for anything else."""
        rule = value["rule"]
        return cls(
            sha256=str(value["policy"]),
            version=str(value["version"]),
            since=str(value["since"]),
            entry=int(value["entry"]),
            quorum=None if rule is None else Quorum.from_json(rule),
            replaced=frozenset(str(one) for one in value["replaced"]),
            witness=_line(value),
        )


def accepted_by(entry: Entry, before: Accepted | None) -> Accepted:
    """What an entry ``policy`` makes of what was accepted before it.

    Raises:
        LedgerError: it does not follow from it: another policy before it, one that was replaced already, or fewer
            approvals than the rule asks for.
    """
    body, rule = entry.body, entry.body["rule"]
    quorum = None if rule is None else Quorum.from_json(rule)
    asked = deciding(before, quorum)
    people = [str(one["person"]) for one in body["approved"]]
    spent = before is not None and before.spent(body["policy"])
    if (
        body["before"] != (None if before is None else before.sha256)
        or body["before"] == body["policy"]
        or spent
        or (asked is not None and not asked.met_by(people))
    ):
        raise odd(entry)
    replaced = frozenset() if before is None else before.replaced | {before.sha256}
    return Accepted(str(body["policy"]), str(body["version"]), entry.time, entry.seq, quorum, replaced, _line(body))


def _line(said: Mapping[str, Any]) -> str | None:
    return str(said["witness"]) if "witness" in said else None


def deciding(before: Accepted | None, own: Quorum | None) -> Quorum | None:
    """Who must agree to a policy: whoever the one before it names; if that one names nobody, its own people."""
    return own if before is None or before.quorum is None else before.quorum
