"""From a policy to a ledger's first lines: what a population freezes when it is registered.

A population is registered once, when a policy that names it first opens the ledger. From then on its
unit, neighbours, declared subjects, share held out, contribution bound, filter, budgets and gate
share never change, and a source never moves to another population: each would sell budget twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from privsynth.documents import sha256
from privsynth.errors import LedgerError
from privsynth.ledger.balance import Balance, fold
from privsynth.ledger.entry import FORMAT, Entry, follow
from privsynth.ledger.log import Session
from privsynth.ledger.record import APART, ID_KEY
from privsynth.ledger.standing import accept
from privsynth.ledger.state import Edge
from privsynth.policy.new_data import DISJOINT, PLACE

if TYPE_CHECKING:
    from datetime import datetime

    from privsynth.policy.document import Policy, Source

KEY_BYTES = 32
_NEW = "register a new population, of people who are in no other one, under a new name"


def declared(policy: Policy, source: Source) -> dict[str, Any]:
    """What ``source``'s population freezes, by the words used in messages."""
    privacy = policy.privacy
    lines = {over: privacy.line(over) for over in ("population", "recipient")}
    orders = privacy.filter.fixed_orders
    return {
        **({APART: DISJOINT} if policy.disjoint else {}),
        "unit": source.unit,
        "neighbours": source.neighbours,
        "subjects": source.subjects,
        "holdout": source.holdout,
        "contribution": source.k,
        "gate share": policy.gate.budget.share,
        "filter kind": privacy.filter.kind,
        "filter orders": "auto" if orders is None else list(orders),
        **{
            f"budget over {over}": None if line is None else {"epsilon": line.epsilon, "delta": line.delta}
            for over, line in lines.items()
        },
    }


def check_frozen(policy: Policy, balance: Balance) -> None:
    """Compare everything that the policy says of registered populations and sources with the ledger.

    Raises:
        LedgerError: naming the field, the policy's line, and both values (all of them public).
    """
    if balance.populations and policy.disjoint != bool(balance.ids):
        raise LedgerError(
            f"the policy {'says' if policy.disjoint else 'does not say'} that nobody is in two populations, and this "
            f"ledger registered its first one {'without' if policy.disjoint else 'with'} that rule",
            where=policy.where(*PLACE),
            mend="write it as it was: who was met before is not known afterwards; or begin a new ledger, of people who "
            "are in no other one, under a policy of another `id`",
        )
    for name, source in policy.sources.items():
        before = balance.sources.get(name)
        if before is not None and before != source.population:
            raise LedgerError(
                f"source {name!r} is of population {source.population!r} in the policy, but the ledger registered it "
                f"with population {before!r}",
                where=policy.where("sources", name, "population"),
                mend=f"write {before!r}: a source that changes its population would buy a fresh budget",
            )
        population = balance.populations.get(source.population)
        if population is None:
            continue
        for field, value in declared(policy, source).items():
            if population.frozen.get(field) != value:
                raise LedgerError(
                    f"{field!r} of population {population.name!r} is {_show(value)} in the policy, but the ledger "
                    f"froze it as {_show(population.frozen.get(field))}",
                    where=_where(policy, name, field),
                    mend=f"write the old value; for other terms {_NEW}",
                )


def new_lines(policy: Policy, balance: Balance) -> Iterator[tuple[str, dict[str, Any], Mapping[str, bytes]]]:
    """(kind, body, secret keys by name) of each line that registers what the ledger does not know yet.

    A key is 32 bytes from the operating system, drawn here once for ever: one for each population, and with the first
    one that of everybody's ids, where populations are kept apart.
    """
    from privsynth.privacy.filters import make_filter

    populations = set(balance.populations)
    for name, source in policy.sources.items():
        if source.population not in populations:
            populations.add(source.population)
            frozen, key = declared(policy, source), secrets.token_bytes(KEY_BYTES)
            lines = {over: frozen[f"budget over {over}"] for over in ("population", "recipient")}
            filters = {
                over: make_filter(
                    policy.privacy.filter.kind,
                    epsilon=line["epsilon"],
                    delta=line["delta"],
                    orders=policy.privacy.filter.fixed_orders,
                ).to_json()
                for over, line in lines.items()
                if line is not None
            }
            keys = {source.population: key}
            body = {"population": source.population, "frozen": frozen, "filters": filters, "key": sha256(key)}
            if policy.disjoint and len(populations) == 1:
                keys[ID_KEY] = secrets.token_bytes(KEY_BYTES)
                body["ids"] = sha256(keys[ID_KEY])
            yield "register", {**body, "policy": policy.sha256, "version": policy.version}, keys
        if name not in balance.sources:
            yield "source", {"source": name, "population": source.population, "policy": policy.sha256}, {}


def found(session: Session, policy: Policy, ledger: str | None = None) -> None:
    """Write the first line of both logs of a new ledger, register every population, and sign it all.

    Args:
        session: of empty logs.
        policy: the one that the ledger is of.
        ledger: its id, 32 hex digits; None: drawn.

    Raises:
        ApprovalMissing: the policy says that its own people must approve it first, and they have not.
    """
    ledger = ledger or secrets.token_hex(16)
    body = {"ledger": ledger, "policy": policy.id, "format": FORMAT, "key": session.public.hex()}
    session.append("genesis", body)
    session.append("genesis", {"ledger": ledger}, log="attempts")
    accept(session, policy)
    register(session, policy)
    session.close(renew=True)


def register(session: Session, policy: Policy) -> None:
    """Append what is new in ``policy``, with the secret keys of each new population."""
    for kind, body, keys in new_lines(policy, session.balance()):
        session.append(kind, body)
        for name, key in keys.items():
            session.tx.put("secrets", name, key)


def imagined(policy: Policy, *, actor: str, now: datetime, session: Session | None = None) -> Balance:
    """The balance that the ledger of ``session`` would have once ``policy`` is registered in it; without one, a new
    ledger's. Nothing is written."""
    edge, balance = (Edge(), Balance()) if session is None else (session.edges["main"], session.balance())
    first: list[tuple[str, dict[str, Any], Mapping[str, bytes]]]
    first = [] if edge.size else [("genesis", {"ledger": "none yet", "policy": policy.id, "format": FORMAT}, {})]
    entries: list[Entry] = []
    for kind, body, _ in (*first, *new_lines(policy, balance)):
        last = entries[-1] if entries else edge.last
        entries.append(follow(last, kind, body, log="main", actor=actor, now=now))
    return fold(entries, after=balance if edge.size else None)


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_show(inner)}" for key, inner in value.items())
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as it comes back from JSON
    return "absent" if value is None else repr(value)


def _where(policy: Policy, source: str, field: str) -> str:
    if field.startswith("budget"):
        return policy.where("privacy", "budget")
    if field.startswith("filter"):
        return policy.where("privacy", "filter")
    if field == APART:
        return policy.where(*PLACE)
    if field == "gate share":
        return policy.where("gate", "budget", "share")
    return policy.where("sources", source, field)
