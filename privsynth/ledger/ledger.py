"""The ledger of one policy: who bought what for whom, and what is left.

Everything that it answers is computed from its logs at the time of asking; the value itself holds no
state, so it may be copied, shared between threads and carried over a fork.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from privsynth.documents import join
from privsynth.errors import PrivsynthError, RequestDenied, StorageError, UsageError
from privsynth.ledger.audit import Checked, audit
from privsynth.ledger.balance import Balance, Step
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.coins import coins_for, coins_for_anybody, commitment_key_of
from privsynth.ledger.entry import Clock, LogName, utc_now
from privsynth.ledger.hold import Hold, hold_of
from privsynth.ledger.log import LOGS, Session, Store, Transaction
from privsynth.ledger.quote import PlanQuote, Quote, quote, quote_all
from privsynth.ledger.record import Line, bought_of
from privsynth.ledger.register import check_frozen, imagined, register
from privsynth.ledger.sale import sell, sold_before
from privsynth.ledger.seal import Seal
from privsynth.ledger.standing import Standing, accept, cosigner_of, standing
from privsynth.ledger.steps import Status, status_of, unknown
from privsynth.ledger.terms import one_line, terms_of
from privsynth.ledger.wish import Wish, check_plan
from privsynth.ledger.witness import Witness, show, unsigned

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from privsynth.data.records import CoinKey
    from privsynth.policy.document import ConsentKind, Policy
    from privsynth.privacy.priced import Priced
    from privsynth.signing import Cosigner


_TRIES = 50
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
            told = self._teller(session)
        told()

    def show(self) -> None:
        """Let the witness know how long the ledger is, if there is one; it must not know more.

        Raises:
            LedgerError: the witness holds more, or other entries: the ledger was set back or changed. Or it is not the
                one that the policy names (PS-LED-002).
            StorageError: the witness does not answer.
        """
        with self.reading() as session:
            told = self._teller(session)
        told()

    def shown(self) -> str:
        """The main log's checkpoint, shown to the witness that the policy names, signed by the ledger and by it; empty
        where the policy names none. It raises what :meth:`show` does."""
        with self.reading() as session:
            told = self._teller(session) if cosigner_of(session, self.policy) else str
        return told()

    def _teller(self, session: Session) -> Callable[[], str]:
        """What lets the witness know, after the transaction, of what was seen in it."""
        seen = {} if self.witness is None else {log: session.checkpoint(log) for log in LOGS}
        return partial(self._show, cosigner_of(session, self.policy), seen)

    def _show(self, cosigner: Cosigner | None, seen: Mapping[LogName, Checkpoint]) -> str:
        if self.witness is not None:
            return show(self.witness, self.reading, cosigner, least=seen)
        if cosigner is not None:
            raise unsigned(cosigner, "no witness was named")
        return ""

    @contextmanager
    def witnessed(self) -> Iterator[tuple[Session, str]]:
        """Both logs as they stand, and the main log's checkpoint of just then, signed by the ledger and by the witness
        that the policy names.

        Raises:
            LedgerError, StorageError: as of :meth:`show`; or others write all the time.
        """
        for _ in range(_TRIES):
            note = self.shown()
            with self.reading() as session:
                now = session.checkpoint()
                if not note or Checkpoint.parse(note) == now:
                    yield session, note or session.signed(now)
                    return
        raise StorageError("others write to the ledger all the time", where="ledger", mend="ask again")

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

    def quote_all(self, wishes: Sequence[Wish]) -> PlanQuote:
        """What ``reserve_all`` would say now, as :meth:`quote`.

        Raises:
            UsageError: as of :meth:`reserve_all`.
        """
        check_plan(wishes)
        terms = [wish.asked(self.policy, actor=self.actor).terms for wish in wishes]
        with self.reading() as session:
            balance = imagined(self.policy, actor=self.actor, now=session.now, session=session)
            quoted = quote_all(self.policy, balance, terms, now=session.now, session=session)
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
        name = secrets.token_hex(16) if request is None else request
        return self._buy([Wish(recipe, purpose, recipient, name, consent)], valid_for=valid_for)[0]

    def reserve_all(
        self, wishes: Sequence[Wish], *, plan: str | None = None, valid_for: timedelta | None = None
    ) -> tuple[Hold, ...]:
        """Buy several holds together, all or none: a plan, written down before the first of them.

        Nothing else is sold between them. Where no hold of their population came before, each one's recipe was
        committed before the first. Asking again for the very same returns the same holds and charges nothing.

        Args:
            wishes: 1 to 1,000, each under a request id of its own.
            plan: a name for people; need not be new.
            valid_for: as of :meth:`reserve`, for each of them; a hold that is not used stays spent.

        Returns:
            The holds, in the order of ``wishes``.

        Raises:
            RequestDenied, BudgetExhausted, BudgetError: as of :meth:`reserve`, of at least one of them, which is named;
                where a budget line cannot pay, with how many of the first ones would fit. Nothing was sold.
            HoldError: some of the request ids were sold before and others were not, or on other terms, or not together.
            UsageError: none or too many, or two under one request id.
        """
        check_plan(wishes)
        name = "" if plan is None else one_line(plan, name="plan")
        return self._buy(wishes, plan=name, valid_for=valid_for)

    def _buy(
        self, wishes: Sequence[Wish], *, plan: str | None = None, valid_for: timedelta | None = None
    ) -> tuple[Hold, ...]:
        """Sell one hold, or those of a plan."""
        asked = [wish.asked(self.policy, actor=self.actor) for wish in wishes]
        if valid_for is not None and not timedelta() < valid_for <= timedelta(days=36_525):
            raise UsageError(
                "a hold is valid for some time, at most 100 years", where="valid_for", mend="e.g. timedelta(days=30)"
            )
        with self.writing() as session:
            sold = sell(session, self.policy, asked, plan=plan, valid_for=valid_for)
        if isinstance(sold, PrivsynthError):
            raise sold
        return tuple(hold_of(one, ledger=self) for one in sold)

    def hold(self, id: str) -> Hold:
        """The hold of this id; a :class:`HoldError` if there is none."""
        with self.reading() as session:
            bought, told = session.bought(id), self._teller(session)
        if bought is None:
            raise unknown(id)
        told()
        return hold_of(bought, ledger=self)

    def find(self, request: str) -> Hold | None:
        """The hold that was sold for this request id, if any."""
        with self.reading() as session:
            bought, told = session.by_request(request), self._teller(session)
        told()
        return None if bought is None else hold_of(bought, ledger=self)

    def sold(
        self, recipe: Priced, *, purpose: str, recipient: str, request: str, consent: ConsentKind | None = None
    ) -> Hold | None:
        """The hold that ``reserve`` would return without selling one, if any. Writes nothing.

        Raises:
            HoldError: the request id was used with other terms.
        """
        return next(iter(self._sold([Wish(recipe, purpose, recipient, request, consent)], plan=False)), None)

    def sold_all(self, wishes: Sequence[Wish]) -> tuple[Hold, ...]:
        """The holds that ``reserve_all`` would return without selling any; empty where it would sell.

        Raises:
            HoldError, UsageError: as of :meth:`reserve_all`.
        """
        check_plan(wishes)
        return self._sold(wishes, plan=True)

    def _sold(self, wishes: Sequence[Wish], *, plan: bool) -> tuple[Hold, ...]:
        asked = [wish.asked(self.policy, actor=self.actor) for wish in wishes]
        with self.reading() as session:
            sold, told = sold_before(session, asked, plan=plan), self._teller(session)
        if sold:
            told()
        return tuple(hold_of(one, ledger=self) for one in sold)

    def status(self, hold_id: str) -> Status:
        """How far the hold has come; a :class:`HoldError` if there is none."""
        with self.reading() as session:
            bought = session.bought(hold_id)
            if bought is None:
                raise unknown(hold_id)
            return status_of(bought, session.balance(), session.gates())

    # --- what the room below and the screen ask --------------------------------------------------

    def coin_key(self, source: str) -> CoinKey:
        """The secret of the source's population, for the coins of the split.

        Raises:
            RequestDenied: the policy does not register the source (PS-SRC-001).
            LedgerError: the stored key is not the one that was drawn at registration; or populations are kept apart,
                where coins are given together with what :meth:`assign` says of each subject.
        """
        with self.reading() as session:
            return coins_for_anybody(session, self.policy, source)

    def assign(
        self, source: str, subjects: npt.NDArray[np.object_] | None
    ) -> tuple[CoinKey, npt.NDArray[np.bool_] | None]:
        """As :meth:`coin_key`, with which of the subjects are of the source's population: durable before it returns.

        Where populations are kept apart, whoever is of none yet is of this one from now on, for ever.

        Args:
            source: as registered in the policy.
            subjects: (n,) ids as text, one for each row; None where a row is a subject by itself.

        Returns:
            The coins, and (n,) whether each may be used; None: all of them may.

        Raises:
            RequestDenied: the source is not registered (PS-SRC-001), or populations are kept apart and there are no ids
                (PS-SRC-006).
            LedgerError: a stored key, or what is stored of who was met, was altered.
        """
        return coins_for(self, source, subjects)

    def commitment_key(self, source: str) -> tuple[str, bytes]:
        """The source's population, and the key of the commitments of its subjects: 32 bytes.

        Raises:
            RequestDenied, LedgerError: as :meth:`coin_key`.
        """
        with self.reading() as session:
            return commitment_key_of(session, self.policy, source)

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

    def waiting(self, population: str, *, most: int) -> int:
        """How many holds of the population wait to be used, counted up to ``most``: no fit begun, not expired, not
        closed. O(log of all) for each hold of the ledger that waits."""
        with self.reading() as session:
            waits = [place for place, step in enumerate(session.balance().steps) if step == Step.SOLD]
            sold = (bought_of(session.entry(place)) for place in waits)
            valid = (one for one in sold if not one.expires or session.time <= one.expires)
            return sum(1 for _ in islice((one for one in valid if one.population == population), most))

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


def quote_all_unopened(wishes: Sequence[Wish], policy: Policy, *, actor: str, clock: Clock = utc_now) -> PlanQuote:
    """As :meth:`Ledger.quote_all` where no ledger exists yet."""
    check_plan(wishes)
    terms, now = [wish.asked(policy, actor=actor).terms for wish in wishes], clock()
    quoted = quote_all(policy, imagined(policy, actor=actor, now=now), terms, now=now)
    return quoted.under(standing(policy, None, actor=actor, now=now))
