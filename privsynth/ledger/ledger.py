"""The ledger of one policy: who bought what for whom, and what is left.

Everything that it answers is computed from its logs at the time of asking; the value itself holds no
state, so it may be copied, shared between threads and carried over a fork.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from privsynth.documents import join
from privsynth.errors import LedgerError, PrivsynthError, RequestDenied, UsageError
from privsynth.ledger.audit import Checked, audit, secret_of
from privsynth.ledger.balance import Balance
from privsynth.ledger.entry import Clock, utc_now
from privsynth.ledger.hold import Hold, hold_of
from privsynth.ledger.log import Session, Store, Transaction
from privsynth.ledger.record import Line
from privsynth.ledger.register import check_frozen, imagined, register
from privsynth.ledger.sale import Quote, quote, same_terms, sell
from privsynth.ledger.seal import Seal
from privsynth.ledger.standing import Standing, accept, standing
from privsynth.ledger.steps import Status, status_of, unknown
from privsynth.ledger.terms import one_line, terms_of
from privsynth.ledger.witness import Witness, show

if TYPE_CHECKING:
    from privsynth.data.records import CoinKey
    from privsynth.policy.document import ConsentKind, Policy
    from privsynth.privacy.priced import Priced


_READ_WHOLE = 1000  # on opening; of a longer one the entries after the state, and any other once it is asked for


@dataclass(frozen=True)
class Decided:
    """A run's note of its receipts of decisions of consent: of which hold, when (ISO 8601, UTC), the file's SHA-256."""

    hold: str
    time: str
    sha256: str


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
    seal: Seal = field(repr=False)
    clock: Clock = field(default=utc_now, repr=False)
    witness: Witness | None = field(default=None, repr=False)

    # --- transactions ---------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Both logs, checked, as they stand."""
        with self.store.reading() as tx:
            yield self._session(tx)

    @contextmanager
    def writing(self, *, going_on: bool = False) -> Iterator[Session]:
        """Both logs, checked and held exclusively; undone if the block raises. When it ends they are signed and
        durable, and the witness has acknowledged them.

        Args:
            going_on: only what was begun under a policy that may have been replaced since is brought to its end.

        Raises:
            ApprovalMissing: people have yet to approve the policy, or it was replaced meanwhile.
        """
        with self.store.writing() as tx:
            session = self._session(tx)
            if not going_on:
                accept(session, self.policy)
            yield session
            session.close()
        self.show()

    def show(self) -> None:
        """Let the witness know how long the ledger is, if there is one; it must not know more.

        Raises:
            LedgerError: the witness holds more, or other entries: the ledger was set back or changed.
            StorageError: the witness does not answer.
        """
        if self.witness is not None:
            show(self.witness, self.reading)

    def _session(self, tx: Transaction) -> Session:
        session = Session(tx, actor=self.actor, clock=self.clock, key=self.seal.key())
        session.check(ledger=self.id, policy=self.policy.id)
        return session

    # --- buying ---------------------------------------------------------------------------------

    def quote(self, recipe: Priced, *, purpose: str, recipient: str, consent: ConsentKind | None = None) -> Quote:
        """What ``reserve`` would say now: decision, price, budget lines before and after. Writes nothing."""
        terms = terms_of(recipe, self.policy, purpose=purpose, recipient=recipient, actor=self.actor, consent=consent)
        with self.reading() as session:
            balance = imagined(self.policy, actor=self.actor, now=session.now, session=session)
            quoted = quote(self.policy, balance, terms, now=session.now, session=session)
        return quoted.under(self.standing())

    def reserve(
        self,
        recipe: Priced,
        *,
        purpose: str,
        recipient: str,
        consent: ConsentKind | None = None,
        request: str | None = None,
        valid_for: timedelta | None = None,
    ) -> Hold:
        """Buy a hold: one durable entry that pays fit and gate, before any row is counted.

        Args:
            recipe: what will be fitted, with its budget.
            purpose, recipient: as named in the policy.
            consent: how the subjects' agreement will be read; None: as the policy asks.
            request: an id of the caller's choice. Asking again with it returns the same hold and
                charges nothing; without one every call buys a new hold.
            valid_for: how long a fit, lease or gate may still begin; then the hold is closed, and what it paid stays
                spent. None: for ever.

        Raises:
            RequestDenied: the policy says no; every refusing rule is named. Or its pace does not let it through yet
                (PS-PAC-001): the mend says from when on.
            BudgetExhausted: a budget line cannot pay; the mend says what it still buys.
            BudgetError: a fit at this price could not be laid out (its noise is beyond the sampler's range).
            HoldError: the request id was used with other terms.
        """
        terms = terms_of(recipe, self.policy, purpose=purpose, recipient=recipient, actor=self.actor, consent=consent)
        name = secrets.token_hex(16) if request is None else one_line(request, name="request")
        if valid_for is not None and not timedelta() < valid_for <= timedelta(days=36_525):
            raise UsageError(
                "a hold is valid for some time, at most 100 years", where="valid_for", mend="e.g. timedelta(days=30)"
            )
        with self.writing() as session:
            sold = sell(session, self.policy, recipe, terms, request=name, valid_for=valid_for)
        if isinstance(sold, PrivsynthError):
            raise sold
        return hold_of(sold, ledger=self)

    def hold(self, id: str) -> Hold:
        """The hold of this id; a :class:`HoldError` if there is none."""
        with self.reading() as session:
            bought = session.bought(id)
        if bought is None:
            raise unknown(id)
        self.show()
        return hold_of(bought, ledger=self)

    def find(self, request: str) -> Hold | None:
        """The hold that was sold for this request id, if any."""
        with self.reading() as session:
            bought = session.by_request(request)
        self.show()
        return None if bought is None else hold_of(bought, ledger=self)

    def sold(
        self, recipe: Priced, *, purpose: str, recipient: str, request: str, consent: ConsentKind | None = None
    ) -> Hold | None:
        """The hold that ``reserve`` would return without selling one, if any. Writes nothing.

        Raises:
            HoldError: the request id was used with other terms.
        """
        with self.reading() as session:
            bought = session.by_request(request)
        if bought is None:
            return None
        self.show()
        terms = terms_of(recipe, self.policy, purpose=purpose, recipient=recipient, actor=self.actor, consent=consent)
        return hold_of(same_terms(bought, terms), ledger=self)

    def status(self, hold_id: str) -> Status:
        """How far the hold has come; a :class:`HoldError` if there is none."""
        with self.reading() as session:
            bought = session.bought(hold_id)
            if bought is None:
                raise unknown(hold_id)
            return status_of(bought, session.balance(), session.gates())

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
            key = secret_of(session, population.name, population.key)
        return CoinKey(
            population=population.name,
            holdout=float(population.frozen["holdout"]),
            contribution=int(population.frozen["contribution"]),
            key=key,
        )

    def standing(self) -> Standing:
        """How the policy stands to the ledger: in use, or still to be approved. Writes nothing."""
        with self.reading() as session:
            return standing(self.policy, session.balance().accepted, actor=self.actor, now=session.now)

    def balances(self) -> tuple[Line, ...]:
        """Every budget line: of each population, and of each recipient of the policy or with a hold."""
        with self.reading() as session:
            return session.balance().lines(recipients=self.policy.recipients)

    def attempts(self, population: str) -> int:
        """Gate attempts of the population so far, for ever."""
        with self.reading() as session:
            return session.gates().attempts.get(population, 0)

    def decided(self) -> tuple[Decided, ...]:
        """Every file of receipts of decisions of consent that a run noted, in order. Reads the whole second log."""
        with self.reading() as session:
            notes = [entry for entry in session.attempts if entry.kind == "decisions"]
        return tuple(Decided(str(e.body["hold"]), e.time, str(e.body["sha256"])) for e in notes)

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
        """Read both logs again, every hash, every sum, and everything that is made from them or kept beside them.

        What it cannot tell without a witness is that the whole file was set back to an older copy.

        Raises:
            LedgerError: an entry or a key was altered, taken out or moved.
            ModelError: a stored transcript or stored claims are not what their entry says.
        """
        with self.reading() as session:
            return audit(session)


def enter(
    store: Store, policy: Policy, *, actor: str, clock: Clock, seal: Seal, witness: Witness | None = None
) -> Ledger:
    """Open a ledger that exists: check it, compare it with policy and witness, register what is new.

    Raises:
        LedgerError: altered, of another policy or key, with other frozen fields than the policy says, or not what
            the witness remembers.
        ApprovalMissing: people have yet to approve the policy.
    """
    ledger = look(store, policy, actor=actor, clock=clock, seal=seal, witness=witness)
    with ledger.writing() as session:
        check_frozen(policy, session.balance())
        register(session, policy)
    return ledger


def look(
    store: Store, policy: Policy, *, actor: str, clock: Clock, seal: Seal, witness: Witness | None = None
) -> Ledger:
    """Open a ledger to ask it something: checked as by :func:`enter`, but nothing new is registered."""
    with store.reading() as tx:
        session = Session(tx, actor=actor, clock=clock, key=seal.key())
        session.check(ledger="", policy=policy.id)
        if sum(edge.size for edge in session.edges.values()) <= _READ_WHOLE:
            session.reread()
        check_frozen(policy, session.balance())
    ledger = Ledger(policy, actor, session.balance().ledger, store, seal, clock, witness)
    ledger.show()
    return ledger


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
    quoted = quote(policy, imagined(policy, actor=actor, now=now), terms, now=now)
    return quoted.under(standing(policy, None, actor=actor, now=now))
