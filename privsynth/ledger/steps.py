"""The steps of a hold, as checks and entries of one transaction. Each step is taken once.

    reserved → opened (open_fit) → measured (deposit) → gated (open_gate) → approved | refused

Between opened and measured a training leases its own steps, block by block (lease): each number once, ever.
Each function checks all that it must, then appends. What the second log notes stays in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from privsynth.documents import canonical, sha256
from privsynth.errors import HoldError, ModelError, ReleaseRefused, RequestDenied, UsageError
from privsynth.ledger.balance import Balance, Gates, Step
from privsynth.ledger.log import Session, Shelf
from privsynth.ledger.record import Bought

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

_RULE = re.compile(r"PS(-[A-Z0-9]+)+\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_AGAIN = "reserve again under a new request id; what this hold paid stays spent"


class Status(StrEnum):
    """How far a hold has come."""

    RESERVED = "reserved"
    OPENED = "opened"
    MEASURED = "measured"
    GATED = "gated"
    APPROVED = "approved"
    REFUSED = "refused"


def status_of(bought: Bought, balance: Balance, gates: Gates) -> Status:
    """How far a recorded hold has come."""
    step = balance.step(bought)
    steps = (
        (Status.APPROVED, bought.id in balance.approved),
        (Status.REFUSED, bought.id in gates.refused),
        (Status.GATED, bought.id in gates.gated),
        (Status.MEASURED, Step.MEASURED in step),
        (Status.OPENED, Step.FITTED in step),
    )
    return next((status for status, done in steps if done), Status.RESERVED)


def hold_fault(hold: str, what: str, *, mend: str) -> HoldError:
    """A :class:`HoldError` about ``hold``."""
    return HoldError(f"the hold {what}", where=f"hold {hold}", mend=mend)


def unknown(hold: str) -> HoldError:
    """There is no such hold here."""
    return hold_fault(hold, "is not in this ledger", mend="open the ledger that sold it")


def bought_for(hold: str, *pairs: tuple[str, object, object]) -> None:
    """Each pair is (name, given, bought for); a :class:`HoldError` names the first that differs."""
    for name, given, bought in pairs:
        if given != bought:
            raise hold_fault(
                hold, f"was bought for {name} {bought!r}, not for {given!r}", mend="use it for what it was bought for"
            )


def _of(bought: Bought) -> dict[str, Any]:
    """What every step in the main log says: of which hold, and which entry sold it."""
    return {"hold": bought.id, "entry": bought.entry}


def _not_closed(bought: Bought, step: Step) -> None:
    """Refuse a hold that expired, or that may have been used in entries that a restore lost."""
    if Step.CLOSED in step:
        what = "is closed: it expired, or the ledger was restored and it may have been used in what was lost"
        raise hold_fault(bought.id, what, mend=_AGAIN)


def expired(session: Session, bought: Bought) -> HoldError | None:
    """Where the hold's time is over: close it, and return the refusal, to be raised once that is durable."""
    if not bought.expires or session.time <= bought.expires:
        return None
    if Step.CLOSED not in session.balance().step(bought):
        session.append("expire", _of(bought))
    return hold_fault(bought.id, f"expired at {bought.expires}: it is closed", mend=_AGAIN)


# --- the fit -----------------------------------------------------------------------------------


def decide(session: Session, bought: Bought, sha256: str) -> None:
    """Note, in the second log, the file of receipts of the decisions by which the hold's rows were chosen."""
    if not isinstance(sha256, str) or not _SHA256.match(sha256):
        raise UsageError("a commitment is a SHA-256 in hex", where="decide", mend="64 digits from 0 to f")
    note = {"hold": bought.id, "population": bought.population, "sha256": sha256}
    session.append("decisions", note, log="attempts")


def open_fit(session: Session, bought: Bought, policy: Policy, *, benchmark: bool) -> RequestDenied | None:
    """Record that the fit begins, and whether nobody was held out of its rows; or note the refusal of a policy that
    came into use since and return it, to be raised once durable."""
    step = session.balance().step(bought)
    _not_closed(bought, step)
    if Step.FITTED in step:
        raise hold_fault(bought.id, "was opened for a fit before, and a fit runs once", mend=_AGAIN)
    if benchmark and bought.prices.mu_gate > 0:
        raise hold_fault(
            bought.id,
            "pays for a gate, which no benchmark may pass",
            mend="reserve under a policy whose gate has share 0",
        )
    other = policy.sha256 != bought.policy
    if other and (denied := _denied(session, bought, policy)) is not None:
        note = {"hold": bought.id, "population": bought.population, "policy": policy.sha256}
        session.append("denied", {**note, "step": "fit", "rules": list(denied.rules)}, log="attempts")
        return denied
    said = {"benchmark": True} if benchmark else {}
    session.append("fit", {**_of(bought), **said, **({"policy": policy.sha256} if other else {})})
    return None


def _same_rows(session: Session, bought: Bought, policy: Policy) -> None:
    """Refuse another policy than the one by which the rows of the fit were chosen: who agreed, who is a minor."""
    chosen = str(session.fit_of(bought.id).body.get("policy", bought.policy))
    if policy.sha256 != chosen:
        raise hold_fault(
            bought.id,
            f"was fitted to rows that policy {chosen[:16]} chose, and {policy.sha256[:16]} is in use",
            mend="end it under that policy; under this one reserve again under a new request id: what this hold paid "
            "stays spent",
        )


def deposit(session: Session, bought: Bought, transcript: bytes) -> None:
    """Keep the transcript, and record its hash."""
    step = session.balance().step(bought)
    _not_closed(bought, step)
    if Step.FITTED not in step:
        raise hold_fault(bought.id, "has no open fit to measure for", mend="open_fit comes first")
    if Step.MEASURED in step:
        raise hold_fault(bought.id, "has its transcript already", mend="refit from it: that is free")
    session.tx.put("transcripts", bought.id, transcript)
    session.append("measured", {**_of(bought), "sha256": sha256(transcript), "bytes": len(transcript)})


def lease(session: Session, bought: Bought, through: int, policy: Policy) -> int:
    """Lease the training steps up to ``through``; return the first that may run."""
    balance = session.balance()
    _not_closed(bought, balance.step(bought))
    if Step.FITTED not in balance.step(bought):
        raise hold_fault(bought.id, "has no open fit to train for", mend="open_fit comes first")
    _same_rows(session, bought, policy)
    if Step.MEASURED in balance.step(bought):
        raise hold_fault(bought.id, "has its transcript, and trains no more", mend="refit from it: that is free")
    if isinstance(through, bool) or not isinstance(through, int) or through < 1:
        raise UsageError(f"steps are leased up to a number from 1, not {through!r}", where="through", mend="e.g. 20")
    before = balance.leased.get(bought.id, 0)
    if through > before:
        session.append("lease", {**_of(bought), "through": through})
    return before + 1


def leased(session: Session, bought: Bought) -> int:
    """The highest step that was ever leased; 0 before the first."""
    if Step.MEASURED in session.balance().step(bought):
        return int(session.told(bought.id, "lease", "through") or 0)
    return session.balance().leased.get(bought.id, 0)


def measured(session: Session, bought: Bought) -> str | None:
    """The SHA-256 of the transcript; None before it was deposited."""
    if Step.MEASURED not in session.balance().step(bought):
        return None
    return str(session.told(bought.id, "measured", "sha256"))


def kept(session: Session, shelf: Shelf, name: str, expected: str | None) -> bytes | None:
    """What is kept under ``name`` if its entry says so (``expected`` is the entry's hash), None if it does not.

    Raises:
        ModelError: the stored bytes were altered or removed.
    """
    if expected is None:
        return None
    data = session.tx.get(shelf, name)
    if data is None or sha256(data) != expected:
        raise ModelError(
            f"the stored {shelf} of hold {name} are not what the ledger's entry says",
            where=f"hold {name}",
            mend="restore the ledger from a backup; do not fit or release from it",
        )
    return data


# --- the gate ----------------------------------------------------------------------------------


def open_gate(session: Session, bought: Bought, policy: Policy) -> int | RequestDenied | ReleaseRefused:
    """Count the attempt and return its number; or note the refusal and return it, to be raised once durable."""
    step, gates = session.balance().step(bought), session.gates()
    _not_closed(bought, step)
    if Step.MEASURED not in step:
        raise hold_fault(bought.id, "has no measured fit to gate", mend="fit with it first")
    if Step.BENCHMARK in step:
        raise hold_fault(bought.id, "was fitted to Split.benchmark's rows", mend="fit what granted.split(ledger) gives")
    if bought.id in gates.gated:
        raise hold_fault(bought.id, "was gated before, and a gate runs once a hold", mend=_AGAIN)
    note = {"hold": bought.id, "population": bought.population, "policy": policy.sha256}
    used = gates.attempts.get(bought.population, 0)
    refusal = _denied(session, bought, policy) or _used_up(bought, policy, used)
    if refusal is not None:
        session.append("denied", {**note, "step": "gate", "rules": list(refusal.rules)}, log="attempts")
        return refusal
    _same_rows(session, bought, policy)
    session.append("gate", {**note, "attempt": used + 1}, log="attempts")
    return used + 1


def _denied(session: Session, bought: Bought, policy: Policy) -> RequestDenied | None:
    from privsynth.ledger.quote import request_of
    from privsynth.policy.decide import decide

    try:
        decide(policy, request_of(session.balance(), bought.terms, today=session.now.date())).refuse()
    except RequestDenied as denied:
        return denied
    return None


def _used_up(bought: Bought, policy: Policy, used: int) -> ReleaseRefused | None:
    limit = policy.gate.max_attempts
    if used < limit:
        return None
    return ReleaseRefused(
        f"PS-GATE-ATT: population {bought.population!r} has used all {limit} gate attempts that the policy allows, "
        "for ever",
        rules=["PS-GATE-ATT"],
        where=policy.where("gate", "max attempts"),
        mend="no more releases of this population can be approved under this policy",
    )


def approve(session: Session, bought: Bought, policy: Policy, claims: Mapping[str, Any]) -> None:
    """Keep the claims; record the approval and the disclosure to the recipient."""
    _awaiting_verdict(session, bought)
    data = canonical(dict(claims))
    session.tx.put("claims", bought.id, data)
    session.append("approve", {**_of(bought), "claims": sha256(data), "policy": policy.sha256})
    session.append("disclose", {**_of(bought), "population": bought.population, "recipient": bought.terms.recipient})


def refuse(session: Session, bought: Bought, rules: Sequence[str]) -> None:
    """Record the refusal, by rule ids, in the second log."""
    if not rules or not all(isinstance(rule, str) and _RULE.match(rule) for rule in rules):
        raise UsageError("a refusal names the ids of one or more rules", where="rules", mend='e.g. ["PS-GATE-MEM"]')
    _awaiting_verdict(session, bought)
    session.append(
        "refused", {"hold": bought.id, "population": bought.population, "rules": list(rules)}, log="attempts"
    )


def _awaiting_verdict(session: Session, bought: Bought) -> None:
    balance, gates = session.balance(), session.gates()
    _not_closed(bought, balance.step(bought))
    if bought.id not in gates.gated:
        raise hold_fault(bought.id, "has no open gate", mend="open_gate comes first")
    if bought.id in balance.approved or bought.id in gates.refused:
        raise hold_fault(bought.id, "has its verdict already", mend=_AGAIN)
