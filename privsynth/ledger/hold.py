"""A hold: what was paid for one release.

Its steps are entries of the ledger, not fields of this value: a copy, a pickle, a forked process or an
edited :class:`Hold` can do no more than the one that was sold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from privsynth.documents import join
from privsynth.errors import PrivsynthError
from privsynth.ledger import steps
from privsynth.ledger.balance import Step
from privsynth.ledger.evidence import SOLD, evidence_of
from privsynth.ledger.log import Session
from privsynth.ledger.record import Bought
from privsynth.privacy.accountant import Prices
from privsynth.privacy.events import Provenance, Receipt

if TYPE_CHECKING:
    from privsynth.policy.document import Policy


class Desk(Protocol):
    """What a hold needs of its ledger."""

    @property
    def policy(self) -> Policy:
        """The policy in use now."""
        ...

    def reading(self) -> AbstractContextManager[Session]:
        """Both logs, checked."""
        ...

    def writing(self, *, going_on: bool = False) -> AbstractContextManager[Session]:
        """Both logs, checked and held exclusively; durable when the block ends. ``going_on``: whatever became of the
        policy meanwhile."""
        ...

    def shown(self) -> str:
        """The main log's checkpoint as the witness that the policy names has signed it; empty where it names none."""
        ...


@dataclass(frozen=True)
class Hold:
    """One paid release. Made by ``Ledger.reserve``, ``Ledger.hold`` and ``Ledger.find``.

    Attributes:
        id: random, 128 bits in hex.
        request: the caller's id of the request; asking again with it returns this hold.
        population, source, purpose, recipient, unit, contribution, person_rows: what it was bought for.
        recipe, schema, policy: SHA-256 of each (schema empty where the recipe had none).
        epsilon, delta: the whole price; ``prices`` says how it falls to fit and gate.
        reserved: time of the entry, ISO 8601 UTC.
        first_of_population: no hold of the population came before it, or before the plan that it is of: its recipe was
            committed before the first hold.
        chosen_after_report: someone who asks for holds had opened an internal report of the population.
        expires: after this time no fit, lease or gate begins and what was paid stays spent, ISO 8601 UTC; empty: never.
    """

    id: str
    request: str
    population: str
    source: str
    purpose: str
    recipient: str
    unit: str
    contribution: int
    person_rows: int
    recipe: str
    schema: str
    policy: str
    epsilon: float
    delta: float
    prices: Prices = field(repr=False)
    reserved: str
    first_of_population: bool
    chosen_after_report: bool
    expires: str
    ledger: Desk = field(repr=False, compare=False)

    # --- the fit --------------------------------------------------------------------------------

    def decide(self, sha256: str) -> None:
        """Note the file of receipts of the decisions of consent by which this hold's rows were chosen, in the second
        log only, durably, before the fit.

        Args:
            sha256: of the file, in hex. The file must hold a fresh random nonce, so that this tells nobody anything.

        Raises:
            UsageError: not a SHA-256.
        """
        with self._writing() as (session, bought):
            steps.decide(session, bought, sha256)

    def open_fit(self, *, recipe: str, source: str, purpose: str, recipient: str, benchmark: bool = False) -> None:
        """Record that the fit begins: durable before the first statistic of the rows is taken.

        Where another policy is in use by now than the one that it was bought under, that must allow it too.

        Args:
            recipe, source, purpose, recipient: what is fitted, and of what origin the rows are.
            benchmark: the rows are those of ``Split.benchmark``; no gate will open for this hold.

        Raises:
            HoldError: bought for something else, opened before, expired, or a benchmark with a gate's share.
            RequestDenied: the policy in use now does not allow it; nothing was opened.
        """
        with self._beginning() as (session, bought):
            steps.bought_for(
                self.id,
                ("recipe", recipe, bought.terms.recipe),
                ("source", source, bought.terms.source),
                ("purpose", purpose, bought.terms.purpose),
                ("recipient", recipient, bought.terms.recipient),
            )
            denied = steps.open_fit(session, bought, self.ledger.policy, benchmark=benchmark)
        if denied is not None:
            raise denied

    def lease(self, through: int) -> int:
        """Lease the training steps up to ``through``, durably, before their samples and noise are drawn.

        Each step number is leased once: to one process, once in the life of the hold. What a crash left undone
        stays spent.

        Returns:
            The first step that may run: the highest leased before, plus one. Above ``through``: none was leased.

        Raises:
            HoldError: no fit was opened, or under another policy; its transcript is there, or it expired.
            UsageError: not a step number.
        """
        with self._beginning(going_on=True) as (session, bought):
            return steps.lease(session, bought, through, self.ledger.policy)

    def deposit(self, transcript: bytes) -> None:
        """Keep the fit's noisy measurements, durably, before a model is made from them. Once.

        Raises:
            HoldError: no fit was opened, or a transcript is there already.
        """
        with self._writing() as (session, bought):
            steps.deposit(session, bought, bytes(transcript))

    def transcript(self) -> bytes | None:
        """The transcript, exactly as deposited; None if there is none yet.

        Raises:
            ModelError: the stored bytes were altered or removed.
        """
        with self.ledger.reading() as session:
            return steps.kept(session, "transcripts", self.id, steps.measured(session, self._recorded(session)))

    def receipt(self, *, noise: Provenance, schema: str, person_rows: int) -> Receipt:
        """What was paid, for the model to carry.

        Raises:
            HoldError: another schema or rows per person than the recipe had when it was paid for.
        """
        shown = self.ledger.shown()
        with self.ledger.reading() as session:
            balance, bought = session.balance(), self._recorded(session)
            evidence = evidence_of(session, bought.id, kinds=SOLD, shown=shown)
        if bought.terms.schema:
            steps.bought_for(
                self.id,
                ("schema", schema, bought.terms.schema),
                ("person_rows", person_rows, bought.terms.person_rows),
            )
        population = balance.populations[self.population]
        cap_epsilon, cap_delta = population.cap("population")
        return Receipt(
            hold=self.id,
            population=self.population,
            source=self.source,
            purpose=self.purpose,
            recipient=self.recipient,
            unit=self.unit,
            contribution=self.contribution,
            person_rows=person_rows,
            epsilon=self.epsilon,
            delta=self.delta,
            neighbours=bought.terms.neighbours,
            mu=self.prices.mu,
            mu_fit=self.prices.mu_fit,
            mu_gate=self.prices.mu_gate,
            event=bought.event,
            cap_epsilon=cap_epsilon,
            cap_delta=cap_delta,
            filter=str(population.frozen["filter kind"]),
            subjects=int(population.frozen["subjects"]),
            apart=population.apart,
            noise=noise,
            first_of_population=self.first_of_population,
            chosen_after_report=self.chosen_after_report,
            recipe=self.recipe,
            schema=schema,
            policy=self.policy,
            reserved=self.reserved,
            evidence=evidence,
        )

    @property
    def leased(self) -> int:
        """The highest training step that was leased; 0 before the first. Above 0 an opened fit may be resumed."""
        with self.ledger.reading() as session:
            return steps.leased(session, self._recorded(session))

    @property
    def benchmark(self) -> bool:
        """Whether the fit was opened for rows of ``Split.benchmark``; False before it was opened."""
        with self.ledger.reading() as session:
            return Step.BENCHMARK in session.balance().step(self._recorded(session))

    @property
    def training_subjects(self) -> float:
        """How many subjects the fit may expect, as declared and frozen: subjects × (1 − holdout). Public."""
        with self.ledger.reading() as session:
            return session.balance().populations[self.population].training_subjects

    @property
    def cap_epsilon(self) -> float:
        """The population's cap, as declared and frozen. Public."""
        with self.ledger.reading() as session:
            return session.balance().populations[self.population].cap("population")[0]

    @property
    def coins(self) -> str:
        """Which key the population's coins are tossed with: SHA-256 of the key that was drawn at registration."""
        with self.ledger.reading() as session:
            return session.balance().populations[self.population].key

    # --- the gate -------------------------------------------------------------------------------

    def open_gate(self, *, model_hold: str, source: str, population: str, purpose: str, recipient: str) -> int:
        """Count this gate attempt of the population, durably, before anything is computed; return its number.

        The policy in use now must allow the hold too, whatever allowed it when it was bought. It must be the one under
        which the fit was opened: by it the rows were chosen.

        Raises:
            HoldError: a model of another hold, data of another origin, no measured fit, or one under another policy;
                gated before, or expired.
            RequestDenied: the policy in use now does not allow it.
            ReleaseRefused: the population's attempts are used up (PS-GATE-ATT).
        """
        with self._beginning() as (session, bought):
            steps.bought_for(
                self.id,
                ("model", model_hold, self.id),
                ("source", source, bought.terms.source),
                ("population", population, bought.population),
                ("purpose", purpose, bought.terms.purpose),
                ("recipient", recipient, bought.terms.recipient),
            )
            attempt = steps.open_gate(session, bought, self.ledger.policy)
        if isinstance(attempt, PrivsynthError):
            raise attempt
        return attempt

    def approve(self, claims: Mapping[str, Any]) -> None:
        """Record that the gate let the model pass, and its disclosure to the recipient, with the claims.

        Raises:
            HoldError: no gate was opened, or its verdict is in.
        """
        with self._writing() as (session, bought):
            steps.approve(session, bought, self.ledger.policy, claims)

    def refuse(self, rules: Sequence[str]) -> None:
        """Record that the gate refused: rule ids only, in the second log only.

        Raises:
            HoldError: no gate was opened, or its verdict is in.
            UsageError: something that is not a rule id (a measured value must never stand here).
        """
        with self._writing() as (session, bought):
            steps.refuse(session, bought, rules)

    def claims(self) -> dict[str, Any] | None:
        """The claims with which the gate approved; None if it has not.

        Raises:
            ModelError: the stored bytes were altered or removed.
        """
        with self.ledger.reading() as session:
            data = steps.kept(session, "claims", self.id, session.balance().approved.get(self.id))
        if data is None:
            return None
        value: dict[str, Any] = json.loads(data)
        return value

    def evidence(self) -> dict[str, bytes]:
        """That the ledger sold and approved this hold, for a release to carry: checkpoint.txt and inclusion.json, by
        name; none where it was not approved. See :mod:`privsynth.ledger.evidence`."""
        shown = self.ledger.shown()
        with self.ledger.reading() as session:
            return evidence_of(session, self._recorded(session).id, shown=shown)

    # --- helpers --------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[tuple[Session, Bought]]:
        """For what ends a step that was begun: it is paid, and lost if it cannot be written down."""
        with self.ledger.writing(going_on=True) as session:
            yield session, self._recorded(session)

    @contextmanager
    def _beginning(self, *, going_on: bool = False) -> Iterator[tuple[Session, Bought]]:
        """As ``_writing``, for what may begin only while the hold is valid, and under a policy that is approved."""
        with self.ledger.writing(going_on=going_on) as session:
            bought = self._recorded(session)
            late = steps.expired(session, bought)
            if late is None:
                yield session, bought
        if late is not None:
            raise late

    def _recorded(self, session: Session) -> Bought:
        """The hold as the ledger has it; this value must say the same."""
        bought = session.bought(self.id)
        if bought is None:
            raise steps.unknown(self.id)
        sold = hold_of(bought, ledger=self.ledger)
        differ = [f.name for f in fields(self) if f.compare and getattr(self, f.name) != getattr(sold, f.name)]
        if differ:
            raise steps.hold_fault(
                self.id, f"was altered after it was sold: {join(differ)}", mend="fetch it with ledger.hold(id)"
            )
        return bought


def hold_of(bought: Bought, *, ledger: Desk) -> Hold:
    """The recorded hold as a value that can take its steps."""
    terms = bought.terms
    return Hold(
        id=bought.id,
        request=bought.request,
        population=bought.population,
        source=terms.source,
        purpose=terms.purpose,
        recipient=terms.recipient,
        unit=terms.unit,
        contribution=terms.contribution,
        person_rows=terms.person_rows,
        recipe=terms.recipe,
        schema=terms.schema,
        policy=bought.policy,
        epsilon=terms.epsilon,
        delta=terms.delta,
        prices=bought.prices,
        reserved=bought.reserved,
        first_of_population=bought.first_of_population,
        chosen_after_report=bought.chosen_after_report,
        expires=bought.expires,
        ledger=ledger,
    )
