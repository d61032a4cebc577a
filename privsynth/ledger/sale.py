"""Selling a hold: the policy decides, the price is set, every budget line must admit it, then one entry.

Checks come first and all of them; the entry is appended last, in the same exclusive transaction. A
refusal is a line of the second log, with rule ids and public figures only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from privsynth.documents import join
from privsynth.errors import ApprovalMissing, BudgetError, BudgetExhausted, HoldError, PrivsynthError, RequestDenied
from privsynth.ledger.balance import Balance
from privsynth.ledger.entry import stamp
from privsynth.ledger.log import Session
from privsynth.ledger.pace import PaceQuote, paces, refusing
from privsynth.ledger.record import Bought, Line, Over, accountant_version, bought_of
from privsynth.ledger.terms import Terms
from privsynth.privacy.events import encode

if TYPE_CHECKING:
    from privsynth.ledger.standing import Standing
    from privsynth.policy.decide import Decision
    from privsynth.policy.document import Policy
    from privsynth.policy.nearest import Nearest
    from privsynth.policy.request import Request
    from privsynth.privacy.accountant import Prices
    from privsynth.privacy.priced import Priced

_DIGITS = 3
_LEAST_EPSILON = 1e-4


@dataclass(frozen=True)
class QuoteLine:
    """One budget line before and after a hold.

    Attributes:
        over, name, population: which line.
        epsilon, delta: its cap.
        holds: holds that it has paid for so far.
        spent_before, spent_after: shares of its filter, 0 to 1; after is None where it cannot pay.
    """

    over: Over
    name: str
    population: str
    epsilon: float
    delta: float
    holds: int
    spent_before: float
    spent_after: float | None

    @property
    def admitted(self) -> bool:
        """Whether the line can pay."""
        return self.spent_after is not None


@dataclass(frozen=True)
class Quote:
    """What a hold would cost, and whether it would be sold. Nothing was written, no data read.

    Attributes:
        decision: of the policy, every rule consulted.
        prices: what fit and gate may each spend.
        lines: the budget lines that would pay; empty where the source is not registered.
        buys: where the lines cannot pay: the largest epsilon at this delta that they still can, rounded
            down to three digits; None where that is nothing, or not needed.
        nearest: where the policy denies: the nearest request that it would allow.
        paces: what each line of the pace says to it.
        unapproved: where people have yet to approve the policy itself.
    """

    decision: Decision
    prices: Prices
    lines: tuple[QuoteLine, ...]
    buys: float | None
    nearest: Nearest | None = None
    paces: tuple[PaceQuote, ...] = ()
    unapproved: ApprovalMissing | None = None

    def under(self, standing: Standing) -> Quote:
        """The same with the rule that asks whether the policy may be worked by at all, if somebody must approve it."""
        from privsynth.policy.request import Decision

        rule = standing.verdict
        if rule is None:
            return self
        return replace(self, decision=Decision((*self.decision.verdicts, rule)), unapproved=standing.missing())

    @property
    def admitted(self) -> bool:
        """Whether policy, every budget line and the pace would sell this hold now. The recipe has its own word still:
        :meth:`Priced.check_sampler`, which a sale and ``privsynth plan`` ask."""
        paid = bool(self.lines) and all(line.admitted for line in self.lines)
        return self.decision.allowed and paid and all(line.admitted for line in self.paces)


def quote(policy: Policy, balance: Balance, terms: Terms, *, now: datetime, session: Session | None = None) -> Quote:
    """Price ``terms`` against ``balance``, and what was sold lately in ``session``."""
    from privsynth.policy.decide import decide
    from privsynth.policy.nearest import nearest

    prices = _prices(policy, terms)
    population = balance.sources.get(terms.source)
    request = request_of(balance, terms, today=now.date())
    decision = decide(policy, request)
    lines = () if population is None else balance.lines_of(population, terms.recipient)
    quoted = tuple(_after(line, prices) for line in lines)
    short = any(not line.admitted for line in quoted)
    return Quote(
        decision=decision,
        prices=prices,
        lines=quoted,
        buys=_still_buys(policy, lines, terms) if short else None,
        nearest=None if decision.allowed else nearest(policy, request),
        paces=paces(policy, balance, lines, prices.event, session=session, now=_moment(session, now)),
    )


def _moment(session: Session | None, now: datetime) -> datetime:
    """The time that an entry would have."""
    return now if session is None else datetime.fromisoformat(session.time)


def sell(
    session: Session,
    policy: Policy,
    recipe: Priced,
    terms: Terms,
    *,
    request: str,
    valid_for: timedelta | None = None,
) -> Bought | PrivsynthError:
    """Append the hold and return it; or append the refusal and return it, for the caller to raise once durable.

    A request id that was sold before returns its hold if the terms are the same.

    Raises:
        HoldError: the request id was sold with other terms.
        BudgetError: a price for which there is no usable noise, or at which the recipe could not be fitted.
    """
    from privsynth.policy.decide import decide

    balance = session.balance()
    before = session.by_request(request)
    if before is not None:
        return same_terms(before, terms)
    asked = {"request": request, "terms": terms.to_json(), "policy": policy.sha256}
    try:
        decide(policy, request_of(balance, terms, today=session.now.date())).refuse()
    except RequestDenied as denied:
        session.append("denied", {**asked, "step": "reserve", "rules": list(denied.rules)}, log="attempts")
        return denied

    prices = _prices(policy, terms)
    population = balance.sources[terms.source]
    lines = balance.lines_of(population, terms.recipient)
    short = [line for line in lines if not _admits(line, prices)]
    if short:
        named = [{"over": line.over, "name": line.name} for line in short]
        session.append("exhausted", {**asked, "population": population, "lines": named}, log="attempts")
        return _exhausted(short, terms, buys=_still_buys(policy, lines, terms), lost=balance.lost)
    moment = _moment(session, session.now)
    late = refusing(policy, balance, lines, prices.event, session=session, now=moment)
    if late is not None:
        session.append("denied", {**asked, "step": "reserve", "rules": ["PS-PAC-001"]}, log="attempts")
        return late.refusal()

    frozen = balance.populations[population]
    recipe.check_sampler(prices, rows=frozen.training_subjects, cap_epsilon=frozen.cap("population")[0])
    hold = secrets.token_hex(16)
    sold = session.append(
        "reserve",
        {
            **asked,
            "hold": hold,
            "population": population,
            "mu": prices.mu,
            "mu fit": prices.mu_fit,
            "mu gate": prices.mu_gate,
            "delta noise": prices.delta_noise,
            "delta open": prices.delta_open,
            "delta steps": prices.delta_steps,
            "event": encode(prices.event),
            "first of population": not lines[0].holds,
            "chosen after report": _read_before_asking(policy, balance, population, terms.actor),
            "accountant": accountant_version(),
            **({} if valid_for is None else {"expires": stamp(datetime.fromisoformat(session.time) + valid_for)}),
        },
    )
    session.balance()
    return bought_of(sold)


def request_of(balance: Balance, terms: Terms, *, today: date) -> Request:
    """What the policy is asked, with what the ledger knows of who asks."""
    population = balance.sources.get(terms.source, "")
    opened = terms.actor in balance.openers.get(population, frozenset())
    return replace(terms.request(today=today), opened_report=opened)


def _prices(policy: Policy, terms: Terms) -> Prices:
    from privsynth.privacy.accountant import share_out

    return share_out(terms.budget, gate_share=policy.gate.budget.share, selects=terms.selects, trains=terms.trains)


def _admits(line: Line, prices: Prices) -> bool:
    return line.filter.admits(prices.event, delta=prices.delta_own)


def _after(line: Line, prices: Prices) -> QuoteLine:
    after: float | None = None
    if _admits(line, prices):
        after = line.filter.charge(prices.event, delta=prices.delta_own).spent_share()
    return QuoteLine(
        over=line.over,
        name=line.name,
        population=line.population,
        epsilon=line.epsilon,
        delta=line.delta,
        holds=line.holds,
        spent_before=line.spent_share(),
        spent_after=after,
    )


def same_terms(before: Bought, terms: Terms) -> Bought:
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


def _exhausted(short: list[Line], terms: Terms, *, buys: float | None, lost: bool) -> BudgetExhausted:
    rest = (
        f"at delta {terms.delta:g} what is left buys at most epsilon {buys:g}"
        if buys is not None
        else "entries of this ledger are lost, so every population in it counts as spent, a new one too: people who "
        "were in none of them take a new ledger"
        if lost
        else "what is left buys nothing at this delta: a budget is for ever, and only a population of other people "
        "has another one"
    )
    return BudgetExhausted(
        f"epsilon {terms.epsilon:g} at delta {terms.delta:g} does not fit in the budget of "
        + join([line.words() for line in short]),
        where=f"source {terms.source!r}",
        mend=rest,
    )


def _still_buys(policy: Policy, lines: tuple[Line, ...], terms: Terms) -> float | None:
    """The largest epsilon, rounded down to three digits, that every line would still admit at this delta."""

    def fits(epsilon: float) -> bool:
        try:
            prices = _prices(policy, replace(terms, epsilon=epsilon))
            return all(_admits(line, prices) for line in lines)
        except BudgetError:
            return False

    return largest(fits, least=_LEAST_EPSILON, most=terms.epsilon)


def largest(fits: Callable[[float], bool], *, least: float, most: float) -> float | None:
    """The largest number in [least, most] that fits, to three digits rounded down; None if ``least`` does not.

    ``fits`` is true up to a point and false after it.
    """
    if not fits(least):
        return None
    good, bad = least, most
    while bad > good * (1 + 10.0 ** -(_DIGITS + 2)):
        middle = (good * bad) ** 0.5
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    exact = Decimal(good)
    rounded = float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1), rounding=ROUND_DOWN))
    return rounded if rounded >= least and fits(rounded) else least


def _read_before_asking(policy: Policy, balance: Balance, population: str, actor: str) -> bool:
    """Whether someone who asks for holds has opened an internal report of this population.

    Whoever ever asked for a hold, asks now, or may ask under today's policy counts; it marks every later
    hold of the population (field/privacy.md 2).
    """
    may_ask = set(policy.roles.requesters_of_holds)
    askers = {actor} | balance.askers
    askers |= {address for address, person in policy.people.items() if not may_ask.isdisjoint(person.roles)}
    return not askers.isdisjoint(balance.openers.get(population, frozenset()))
