"""The balance at a checkpoint, signed: what lets a ledger of any length open in one look.

The *state* is the fold of both logs up to some entry, as canonical JSON, signed with the ledger's key, in one
cell of the database that is replaced now and then; the entries after it are folded on top. It says which holds
may still take which step, so what is missing in it can refuse or charge but never grant: a byte of 0 is no hold,
a finished hold takes no step, and the sums are those of every hold that was ever sold. It also says which requests
bought something, so that one is new only if it is not there, whatever an index says that anybody may cut. Whoever
may write to the database but has no key can put back an older state only together with the older log, which a witness
shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from privsynth.documents import canonical, sha256
from privsynth.errors import LedgerError
from privsynth.ledger.accepted import Accepted
from privsynth.ledger.balance import Balance, Batch, Gates, LineName
from privsynth.ledger.entry import BEFORE_ALL, MEND, Before, Entry
from privsynth.ledger.merkle import EMPTY, Frontier
from privsynth.ledger.record import Line, Population

if TYPE_CHECKING:
    from privsynth.privacy.filters import Filter

FORMAT = 3
"""Since it says what was asked, whether entries were lost, which policy was accepted (2), and who was met by which
population (3): a version that would not look refuses it."""
_READ, _OLD = (2, FORMAT), 1


@dataclass(frozen=True)
class Edge:
    """Where a log ends: all that its next entry and its root need.

    Attributes:
        frontier: the right edge of its tree.
        hash, time: of the last entry.
    """

    frontier: Frontier = field(default_factory=Frontier)
    hash: str = BEFORE_ALL
    time: str = ""

    @property
    def seq(self) -> int:
        """The place of the last entry; -1 before the first."""
        return self.frontier.size - 1

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.frontier.size

    @property
    def last(self) -> Before | None:
        """What the next entry comes after."""
        return self if self.size else None

    def after(self, entry: Entry) -> Edge:
        """The edge with one entry more."""
        return Edge(self.frontier.grown([bytes.fromhex(entry.hash)]), entry.hash, entry.time)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "size": self.size,
            "peaks": [peak.hex() for peak in self.frontier.peaks],
            "hash": self.hash,
            "time": self.time,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Edge:
        """What :meth:`to_json` wrote."""
        frontier = Frontier(value["size"], tuple(bytes.fromhex(peak) for peak in value["peaks"]))
        if not frontier.whole:
            raise ValueError("an edge has a peak for each bit of its size")
        return cls(frontier, value["hash"], value["time"])


@dataclass(frozen=True)
class State:
    """Both logs up to some entry of each."""

    main: Edge = field(default_factory=Edge)
    attempts: Edge = field(default_factory=Edge)
    balance: Balance = field(default_factory=Balance)
    gates: Gates = field(default_factory=Gates)

    def to_bytes(self) -> bytes:
        """Canonical JSON, without ``balance.steps`` and ``balance.requests``, of which it names the hashes."""
        return canonical(
            {
                "privsynth-ledger-state": FORMAT,
                "main": self.main.to_json(),
                "attempts": self.attempts.to_json(),
                "balance": _balance_json(self.balance),
                "gates": {
                    "ledger": self.gates.ledger,
                    "attempts": dict(self.gates.attempts),
                    "gated": dict(self.gates.gated),
                    "refused": {hold: list(rules) for hold, rules in self.gates.refused.items()},
                    "assigned": [[b.population, b.sha256, b.bytes] for b in self.gates.assigned],
                },
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes, steps: bytes, requests: bytes) -> State:
        """What :meth:`to_bytes` wrote, with its steps and requests. What an earlier version wrote says too little, and
        is as none: the whole log is read instead, until this version writes another one.

        Raises:
            LedgerError: of a later version, or the steps or requests are others.
        """
        try:
            value = json.loads(payload)
            if value["privsynth-ledger-state"] == _OLD:
                return cls()
            if value["privsynth-ledger-state"] not in _READ:
                raise LedgerError(
                    f"the ledger's state has format {value['privsynth-ledger-state']!r}; this version reads {FORMAT}",
                    mend="use the version of privsynth that wrote the ledger, or a later one",
                )
            main, gates = Edge.from_json(value["main"]), value["gates"]
            balance = _balance_of(value["balance"], steps, requests)
            if sha256(requests) != value["balance"]["requests"]:
                raise LedgerError("the requests that bought holds were altered", mend=MEND)
            if sha256(steps) != value["balance"]["steps"] or len(steps) != main.size:
                raise LedgerError("the steps of the holds were altered", mend=MEND)
            return cls(
                main=main,
                attempts=Edge.from_json(value["attempts"]),
                balance=balance,
                gates=Gates(
                    gates["ledger"],
                    dict(gates["attempts"]),
                    dict(gates["gated"]),
                    {hold: tuple(rules) for hold, rules in gates["refused"].items()},
                    tuple(Batch(*told) for told in gates.get("assigned", ())),
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise LedgerError("the ledger's state is not one", mend=MEND) from None


def root_of(edge: Edge) -> bytes:
    """The root of the log that ends there."""
    return edge.frontier.root if edge.size else EMPTY


def _balance_json(balance: Balance) -> dict[str, Any]:
    return {
        "ledger": balance.ledger,
        "policy": balance.policy,
        "key": balance.key,
        "populations": [
            {"name": p.name, "frozen": dict(p.frozen), "filters": dict(p.filters), "key": p.key}
            for p in balance.populations.values()
        ],
        "sources": [list(pair) for pair in balance.sources.items()],
        "spent": [
            {"population": population, "over": over, "name": name, "holds": line.holds, "sums": _sums(line.filter)}
            for (population, over, name), line in sorted(balance.spent.items())
        ],
        "askers": sorted(balance.askers),
        "openers": {name: sorted(people) for name, people in balance.openers.items()},
        "leased": dict(balance.leased),
        "approved": dict(balance.approved),
        **({} if balance.accepted is None else {"accepted": balance.accepted.to_json()}),
        "steps": sha256(balance.steps),
        "requests": sha256(balance.requests),
        "lost": balance.lost,
        **({"ids": balance.ids} if balance.ids else {}),
    }


def _balance_of(value: Mapping[str, Any], steps: bytes, requests: bytes) -> Balance:
    populations = {p["name"]: Population(p["name"], p["frozen"], p["filters"], p["key"]) for p in value["populations"]}
    spent: dict[LineName, Line] = {}
    for told in value["spent"]:
        population, over, name = told["population"], told["over"], told["name"]
        registered = populations[population]
        filter_ = _with_sums(registered.fresh(over), told["sums"])
        spent[population, over, name] = Line(over, name, population, filter_, told["holds"], *registered.cap(over))
    return Balance(
        ledger=value["ledger"],
        policy=value["policy"],
        key=value["key"],
        populations=populations,
        sources={source: population for source, population in value["sources"]},
        spent=spent,
        askers=frozenset(value["askers"]),
        openers={name: frozenset(people) for name, people in value["openers"].items()},
        leased=dict(value["leased"]),
        approved=dict(value["approved"]),
        accepted=Accepted.from_json(value["accepted"]) if "accepted" in value else None,
        steps=steps,
        requests=requests,
        lost=bool(value["lost"]),
        ids=str(value.get("ids", "")),
    )


def _sums(filter_: Filter) -> dict[str, Any]:
    """The sums in a filter, exactly: fractions as text, floats as they are."""
    from privsynth.privacy.filters import GdpFilter, RenyiFilter

    match filter_:
        case GdpFilter(spent=spent, spent_delta=delta):
            return {"spent": str(spent), "delta": str(delta)}
        case RenyiFilter(sums=sums, spent_delta=delta):
            return {"spent": list(sums), "delta": str(delta)}
    raise LedgerError(f"a {filter_.kind} filter has no form in the state", mend="use the version that made the ledger")


def _with_sums(filter_: Filter, sums: Mapping[str, Any]) -> Filter:
    """A fresh filter with what :func:`_sums` wrote."""
    from privsynth.privacy.filters import GdpFilter, RenyiFilter

    delta = Fraction(sums["delta"])
    match filter_:
        case GdpFilter():
            return replace(filter_, spent=Fraction(sums["spent"]), spent_delta=delta)
        case RenyiFilter():
            return replace(filter_, sums=tuple(float(total) for total in sums["spent"]), spent_delta=delta)
    raise ValueError(filter_.kind)
