"""Selling holds, one or several together: the policy decides, each price is set, every budget line must admit them all.

Checks come first and all of them; the entries are appended last, in the same exclusive transaction. A refusal is a line
of the second log, with rule ids and public figures only. Of a *plan* all holds are sold or none: an entry ``plan`` that
fixes each of its ``reserve`` entries by its hash, and these right behind it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from privsynth.documents import identity, join
from privsynth.errors import BudgetError, BudgetExhausted, HoldError, PrivsynthError, RequestDenied
from privsynth.ledger.balance import Balance
from privsynth.ledger.entry import stamp
from privsynth.ledger.log import Session
from privsynth.ledger.pace import refusing
from privsynth.ledger.quote import Weighed, due, moment_of, request_of, still_buys, weighed
from privsynth.ledger.record import Bought, accountant_version, bought_of
from privsynth.ledger.terms import Terms
from privsynth.ledger.wish import Asked, of_item, some
from privsynth.privacy.events import encode

if TYPE_CHECKING:
    from privsynth.policy.document import Policy

_Refusal = TypeVar("_Refusal", bound=PrivsynthError)


def sell(
    session: Session,
    policy: Policy,
    wishes: Sequence[Asked],
    *,
    plan: str | None = None,
    valid_for: timedelta | None = None,
) -> tuple[Bought, ...] | PrivsynthError:
    """Append the holds, all or none; or append the refusal and return it, for the caller to raise once durable.

    Requests that were sold before return their holds if the terms are the same.

    Args:
        wishes: one, or those of a plan; of distinct request ids.
        plan: its name, which may be empty; None: no plan, and one wish.
        valid_for: how long each hold may be used.

    Raises:
        HoldError: a request id was sold with other terms, or some of a plan were sold without the others.
        BudgetError: a price for which there is no usable noise, or at which a recipe could not be fitted.
    """
    if before := sold_before(session, wishes, plan=plan is not None):
        return before
    balance = session.balance()
    noted = [{"request": wish.request, "terms": wish.terms.to_json()} for wish in wishes]
    items = [{"request": wish.request, "recipe": wish.terms.recipe} for wish in wishes]
    asked = {**(noted[0] if plan is None else {"plan": plan, "items": items}), "policy": policy.sha256}

    denied = _denied(session, policy, wishes, plan)
    if denied is not None:
        session.append("denied", {**asked, "step": "reserve", "rules": list(denied.rules)}, log="attempts")
        return denied
    bill: list[Weighed] = []
    for one in weighed(policy, balance, [wish.terms for wish in wishes]):
        if one.short:
            named = [{"over": line.over, "name": line.name} for line in one.short]
            session.append("exhausted", {**asked, "population": one.population, "lines": named}, log="attempts")
            return _exhausted(policy, one, wishes, plan, place=len(bill), lost=balance.lost)
        bill.append(one)
    moment = moment_of(session, session.now)
    late = refusing(policy, balance, due(bill), session=session, now=moment)
    if late is not None:
        session.append("denied", {**asked, "step": "reserve", "rules": ["PS-PAC-001"]}, log="attempts")
        return late.refusal(plan=plan is not None)

    for place, (wish, one) in enumerate(zip(wishes, bill, strict=True)):
        frozen = balance.populations[one.population]
        try:
            wish.recipe.check_sampler(
                one.prices, rows=frozen.training_subjects, cap_epsilon=frozen.cap("population")[0]
            )
        except BudgetError as wrong:
            raise _of(wrong, place, wishes, plan) from None
    ends = None if valid_for is None else stamp(datetime.fromisoformat(session.time) + valid_for)
    bodies = [_body(policy, balance, one, note, ends=ends) for one, note in zip(bill, noted, strict=True)]
    sold = [session.append("reserve", body) for body in (bodies if plan is None else _planned(session, plan, bodies))]
    session.balance()
    return tuple(bought_of(entry) for entry in sold)


def _same_terms(before: Bought, terms: Terms) -> Bought:
    """The hold that was sold before.

    Raises:
        HoldError: on other terms.
    """
    if before.terms == terms:
        return before
    old, new = before.terms.to_json(), terms.to_json()
    raise HoldError(
        f"request {before.request!r} already bought a hold on other terms: "
        f"{join([name for name in new if new[name] != old[name]])} differ",
        where=f"hold {before.id}",
        mend="ask with the same recipe, purpose and recipient as before, or under a new request id",
    )


def sold_before(session: Session, wishes: Sequence[Asked], *, plan: bool) -> tuple[Bought, ...]:
    """The holds that these very requests bought, as a plan if they are asked for as one; empty where none did.

    Raises:
        HoldError: as of :func:`sell`.
    """
    found = [session.by_request(wish.request) for wish in wishes]
    sold = tuple(one for one in found if one is not None)
    if not sold:
        return ()
    fresh = [wish.request for wish, one in zip(wishes, found, strict=True) if one is None]
    if fresh:
        raise HoldError(
            f"of this plan {some([one.request for one in sold])} bought holds before, and {some(fresh)} did not: "
            "nothing was sold",
            where=f"hold {sold[0].id}",
            mend="ask for the others alone, or for the very requests of the plan that was sold",
        )
    for wish, one in zip(wishes, sold, strict=True):
        _same_terms(one, wish.terms)
    if plan and not _together(session, sold):
        raise HoldError(
            "these requests bought holds before, but not as this plan",
            where=f"hold {sold[0].id}",
            mend="ask for the very requests of the plan that was sold, or under new request ids",
        )
    return sold


def _together(session: Session, sold: Sequence[Bought]) -> bool:
    """Whether these are all the holds of one plan, in whatever order; a single one is, however it was sold."""
    if len(sold) == 1:
        return True
    first = min(sold, key=lambda one: one.entry)
    if not first.plan or any(one.plan != first.plan for one in sold):
        return False
    return len(session.entry(first.entry - 1).body.get("items", ())) == len(sold)


# --- refusals ------------------------------------------------------------------------------------


def _denied(session: Session, policy: Policy, wishes: Sequence[Asked], plan: str | None) -> RequestDenied | None:
    """Why the policy allows one or more of them not; None if it allows all."""
    from privsynth.policy.decide import decide

    refusals: dict[int, RequestDenied] = {}
    for place, wish in enumerate(wishes):
        try:
            decide(policy, request_of(session.balance(), wish.terms, today=session.now.date())).refuse()
        except RequestDenied as denied:
            refusals[place] = denied
    if plan is None or not refusals:
        return refusals.get(0)
    first, *others = refusals.values()
    if others:
        first.what = f"the first of them: {first.what}"
        first.rules = tuple(dict.fromkeys(rule for denied in refusals.values() for rule in denied.rules))
    first.what = f"{some([of_item(place, wishes) for place in refusals])}: {first.what}"
    return first


def _exhausted(
    policy: Policy, one: Weighed, wishes: Sequence[Asked], plan: str | None, *, place: int, lost: bool
) -> BudgetExhausted:
    buys = still_buys(policy, one)
    rest = (
        f"at delta {one.terms.delta:g} what is left buys at most epsilon {buys:g}"
        if buys is not None
        else "entries of this ledger are lost, so every population in it counts as spent, a new one too: people who "
        "were in none of them take a new ledger"
        if lost
        else "what is left buys nothing at this delta: a budget is for ever, and only a population of other people "
        "has another one"
    )
    refusal = BudgetExhausted(
        f"epsilon {one.terms.epsilon:g} at delta {one.terms.delta:g} does not fit in the budget of "
        + join([line.words() for line in one.short])
        + (", the items before it counted as sold" if place else ""),
        where=f"source {one.terms.source!r}",
        mend=rest if place == 0 else f"the first {place} of these {len(wishes)} would fit; after them, {rest}",
    )
    return _of(refusal, place, wishes, plan)


def _of(refusal: _Refusal, place: int, wishes: Sequence[Asked], plan: str | None) -> _Refusal:
    """The same, which of a plan says of which item."""
    if plan is not None:
        refusal.what = f"{of_item(place, wishes)}: {refusal.what}"
    return refusal


# --- entries -------------------------------------------------------------------------------------


def _body(
    policy: Policy, balance: Balance, one: Weighed, note: Mapping[str, Any], *, ends: str | None
) -> dict[str, Any]:
    """What the entry of a sale says."""
    prices = one.prices
    return {
        **note,
        "policy": policy.sha256,
        "hold": secrets.token_hex(16),
        "population": one.population,
        "mu": prices.mu,
        "mu fit": prices.mu_fit,
        "mu gate": prices.mu_gate,
        "delta noise": prices.delta_noise,
        "delta open": prices.delta_open,
        "delta steps": prices.delta_steps,
        "event": encode(prices.event),
        "first of population": not balance.line(one.population, "population", one.population).holds,
        "chosen after report": _read_before_asking(policy, balance, one.population, one.terms.actor),
        "accountant": accountant_version(),
        **({"apart": True} if balance.ids else {}),
        **({} if ends is None else {"expires": ends}),
    }


def _planned(session: Session, name: str, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Append the entry of a plan, before the first of its holds; what their entries say as its items."""
    id = secrets.token_hex(16)
    items = [{**body, "plan": id, "item": number} for number, body in enumerate(bodies, 1)]
    listed = [{"request": item["request"], "hold": item["hold"], "sha256": identity(item)} for item in items]
    session.append("plan", {"plan": id, "name": name, "policy": bodies[0]["policy"], "items": listed})
    return items


def _read_before_asking(policy: Policy, balance: Balance, population: str, actor: str) -> bool:
    """Whether someone who asks for holds has opened an internal report of this population.

    Whoever ever asked for a hold, asks now, or may ask under today's policy counts; it marks every later
    hold of the population (field/privacy.md 2).
    """
    may_ask = set(policy.roles.requesters_of_holds)
    askers = {actor} | balance.askers
    askers |= {address for address, person in policy.people.items() if not may_ask.isdisjoint(person.roles)}
    return not askers.isdisjoint(balance.openers.get(population, frozenset()))
