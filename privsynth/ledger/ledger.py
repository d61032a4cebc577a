"""The ledger of one policy: who bought what for whom, and what is left.

Everything that it answers is computed from its logs at the time of asking; the value itself holds no
state, so it may be copied, shared between threads and carried over a fork.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from privsynth.documents import join, sha256
from privsynth.errors import LedgerError, PrivsynthError, RequestDenied
from privsynth.ledger.balance import Balance
from privsynth.ledger.entry import Clock, utc_now
from privsynth.ledger.hold import Hold, hold_of
from privsynth.ledger.log import Session, Shelf, Store, Transaction
from privsynth.ledger.record import Line
from privsynth.ledger.register import check_frozen, imagined, register
from privsynth.ledger.sale import Quote, quote, same_terms, sell
from privsynth.ledger.steps import Status, kept, status_of, unknown
from privsynth.ledger.terms import one_line, terms_of

if TYPE_CHECKING:
    from privsynth.data.records import CoinKey
    from privsynth.policy.document import ConsentKind, Policy
    from privsynth.privacy.priced import Priced


@dataclass(frozen=True)
class Checked:
    """A ledger that was read whole: how much of each there is.

    Attributes:
        ledger: its id.
        entries, attempts: lines of the two logs.
        populations, holds, transcripts, claims: registered, sold, and kept beside the logs.
    """

    ledger: str
    entries: int
    attempts: int
    populations: int
    holds: int
    transcripts: int
    claims: int


@dataclass(frozen=True)
class Ledger:
    """An open ledger. Make one with :func:`privsynth.ledger.store.open_ledger`.

    Attributes:
        policy: in use now; of the id for which the ledger was created.
        actor: the address of the person for whom it acts.
        id: the ledger's own id.
    """

    policy: Policy
    actor: str
    id: str
    store: Store = field(repr=False)
    clock: Clock = field(default=utc_now, repr=False)

    # --- transactions ---------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Both logs, checked, as they stand."""
        with self.store.reading() as tx:
            session = Session(tx, actor=self.actor, clock=self.clock)
            session.check(ledger=self.id, policy=self.policy.id)
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Both logs, checked and held exclusively; durable when the block ends, undone if it raises."""
        with self.store.writing() as tx:
            session = Session(tx, actor=self.actor, clock=self.clock)
            session.check(ledger=self.id, policy=self.policy.id)
            yield session

    # --- buying ---------------------------------------------------------------------------------

    def quote(self, recipe: Priced, *, purpose: str, recipient: str, consent: ConsentKind | None = None) -> Quote:
        """What ``reserve`` would say now: decision, price, budget lines before and after. Writes nothing."""
        terms = terms_of(recipe, self.policy, purpose=purpose, recipient=recipient, actor=self.actor, consent=consent)
        with self.reading() as session:
            balance = imagined(self.policy, actor=self.actor, now=session.now, after=session.main)
            return quote(self.policy, balance, terms, today=session.now.date())

    def reserve(
        self,
        recipe: Priced,
        *,
        purpose: str,
        recipient: str,
        consent: ConsentKind | None = None,
        request: str | None = None,
    ) -> Hold:
        """Buy a hold: one durable entry that pays fit and gate, before any row is counted.

        Args:
            recipe: what will be fitted, with its budget.
            purpose, recipient: as named in the policy.
            consent: how the subjects' agreement will be read; None: as the policy asks.
            request: an id of the caller's choice. Asking again with it returns the same hold and
                charges nothing; without one every call buys a new hold.

        Raises:
            RequestDenied: the policy says no; every refusing rule is named.
            BudgetExhausted: a budget line cannot pay; the mend says what it still buys.
            BudgetError: a fit at this price could not be laid out (its noise is beyond the sampler's range).
            HoldError: the request id was used with other terms.
        """
        terms = terms_of(recipe, self.policy, purpose=purpose, recipient=recipient, actor=self.actor, consent=consent)
        name = secrets.token_hex(16) if request is None else one_line(request, name="request")
        with self.writing() as session:
            sold = sell(session, self.policy, recipe, terms, request=name)
        if isinstance(sold, PrivsynthError):
            raise sold
        return hold_of(sold, ledger=self)

    def hold(self, id: str) -> Hold:
        """The hold of this id; a :class:`HoldError` if there is none."""
        with self.reading() as session:
            bought = session.balance().holds.get(id)
        if bought is None:
            raise unknown(id)
        return hold_of(bought, ledger=self)

    def find(self, request: str) -> Hold | None:
        """The hold that was sold for this request id, if any."""
        with self.reading() as session:
            bought = session.balance().by_request(request)
        return None if bought is None else hold_of(bought, ledger=self)

    def sold(
        self, recipe: Priced, *, purpose: str, recipient: str, request: str, consent: ConsentKind | None = None
    ) -> Hold | None:
        """The hold that ``reserve`` would return without selling one, if any. Writes nothing.

        Raises:
            HoldError: the request id was used with other terms.
        """
        with self.reading() as session:
            bought = session.balance().by_request(request)
        if bought is None:
            return None
        terms = terms_of(recipe, self.policy, purpose=purpose, recipient=recipient, actor=self.actor, consent=consent)
        return hold_of(same_terms(bought, terms), ledger=self)

    def status(self, hold_id: str) -> Status:
        """How far the hold has come; a :class:`HoldError` if there is none."""
        with self.reading() as session:
            balance, gates = session.balance(), session.gates()
        if hold_id not in balance.holds:
            raise unknown(hold_id)
        return status_of(hold_id, balance, gates)

    # --- what the room below and the screen ask --------------------------------------------------

    def coin_key(self, source: str) -> CoinKey:
        """The secret of the source's population, for the coins of the split and for commitments.

        Raises:
            RequestDenied: the policy does not register the source (PS-SRC-001).
            LedgerError: the stored key is not the one that was drawn at registration.
        """
        from privsynth.data.records import CoinKey

        registered = self.policy.source(source)
        with self.reading() as session:
            population = session.balance().populations.get(registered.population)
            if population is None:
                raise LedgerError(
                    f"population {registered.population!r} is not registered yet",
                    mend="open the ledger again with this policy",
                )
            key = _checked_key(session, population.name, population.key)
        return CoinKey(
            population=population.name,
            holdout=float(population.frozen["holdout"]),
            contribution=int(population.frozen["contribution"]),
            key=key,
        )

    def balances(self) -> tuple[Line, ...]:
        """Every budget line: of each population, and of each recipient of the policy or with a hold."""
        with self.reading() as session:
            return session.balance().lines(recipients=self.policy.recipients)

    def attempts(self, population: str) -> int:
        """Gate attempts of the population so far, for ever."""
        with self.reading() as session:
            return session.gates().attempts.get(population, 0)

    def open_report(self, population: str) -> None:
        """Record that the actor opens an internal report with exact figures: durable before any is shown.

        Raises:
            RequestDenied: the actor is no reader of internal reports (PS-ROL-002), or the population is
                not registered (PS-SRC-001).
        """
        with self.writing() as session:
            denied = self._may_read(session.balance(), population)
            if denied is None:
                session.append("report", {"population": population, "policy": self.policy.sha256})
            else:
                asked = {"population": population, "policy": self.policy.sha256}
                session.append("denied", {**asked, "step": "report", "rules": list(denied.rules)}, log="attempts")
        if denied is not None:
            raise denied

    def _may_read(self, balance: Balance, population: str) -> RequestDenied | None:
        readers = self.policy.roles.readers_of_internal_reports
        person = self.policy.people.get(self.actor)
        if person is None or set(readers).isdisjoint(person.roles):
            return RequestDenied(
                f"PS-ROL-002: {self.actor!r} may not read internal reports; "
                + (f"that takes the role {join(readers)}" if readers else "the policy lets nobody read them"),
                rules=["PS-ROL-002"],
                where=self.policy.where("roles", "readers of internal reports"),
                mend="have a reader of internal reports open it, who then asks for no holds",
            )
        if population not in balance.populations:
            return RequestDenied(
                f"PS-SRC-001: population {population!r} is not registered",
                rules=["PS-SRC-001"],
                where=self.policy.where("sources"),
                mend="name the population of a registered source",
            )
        return None

    def verify(self) -> Checked:
        """Read both logs again, every hash, every sum, and everything that is kept beside them.

        What it cannot tell is that the whole file was set back to an older copy, or its newest lines cut off together.

        Raises:
            LedgerError: an entry or a key was altered, taken out or moved.
            ModelError: a stored transcript or stored claims are not what their entry says.
        """
        with self.reading() as session:
            balance = session.balance()
            session.gates()
            balance.lines()
            for population in balance.populations.values():
                _checked_key(session, population.name, population.key)
            shelves: tuple[tuple[Shelf, Mapping[str, str]], ...] = (
                ("transcripts", balance.measured),
                ("claims", balance.approved),
            )
            for shelf, hashes in shelves:
                for hold, expected in hashes.items():
                    kept(session, shelf, hold, expected)
            return Checked(
                ledger=balance.ledger,
                entries=len(session.main),
                attempts=len(session.attempts),
                populations=len(balance.populations),
                holds=len(balance.holds),
                transcripts=len(balance.measured),
                claims=len(balance.approved),
            )


def enter(store: Store, policy: Policy, *, actor: str, clock: Clock) -> Ledger:
    """Open a ledger that exists: check it whole, compare it with the policy, register what is new.

    Raises:
        LedgerError: altered, of another policy, or with other frozen fields than the policy says.
    """
    with store.writing() as tx:
        session = _checked(tx, policy, actor=actor, clock=clock)
        register(session, policy)
    return Ledger(policy=policy, actor=actor, id=session.balance().ledger, store=store, clock=clock)


def look(store: Store, policy: Policy, *, actor: str, clock: Clock) -> Ledger:
    """Open a ledger to ask it something: checked as by :func:`enter`, but nothing new is registered."""
    with store.reading() as tx:
        session = _checked(tx, policy, actor=actor, clock=clock)
    return Ledger(policy=policy, actor=actor, id=session.balance().ledger, store=store, clock=clock)


def _checked(tx: Transaction, policy: Policy, *, actor: str, clock: Clock) -> Session:
    """Both logs, checked whole and against the policy."""
    session = Session(tx, actor=actor, clock=clock)
    session.check(ledger="", policy=policy.id)
    session.gates()
    check_frozen(policy, session.balance())
    session.balance().lines()
    return session


def quote_unopened(
    recipe: Priced,
    policy: Policy,
    *,
    purpose: str,
    recipient: str,
    actor: str,
    consent: ConsentKind | None = None,
    clock: Clock = utc_now,
) -> Quote:
    """As :meth:`Ledger.quote` where no ledger exists yet: against budgets of which nothing is spent."""
    terms = terms_of(recipe, policy, purpose=purpose, recipient=recipient, actor=actor, consent=consent)
    now = clock()
    return quote(policy, imagined(policy, actor=actor, now=now), terms, today=now.date())


def _checked_key(session: Session, population: str, commitment: str) -> bytes:
    key = session.tx.get("secrets", population)
    if key is None or sha256(key) != commitment:
        raise LedgerError(
            f"the secret key of population {population!r} is not the one that was drawn when it was registered",
            mend="restore the whole file from a backup: with another key the split would be drawn again",
        )
    return key
