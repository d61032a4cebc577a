"""Reserve, fit, gate, crash and retry in any order never overspend, and nothing gives budget back."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from privsynth.errors import BudgetExhausted, HoldError, ReleaseRefused
from privsynth.ledger.hold import Hold
from privsynth.privacy.accountant import mu_of, mu_squared
from privsynth.privacy.filters import GdpFilter
from tests.ledger.world import USE, Recipe, fit, gate, opened, paid, policy, recipe

EPSILONS = st.sampled_from([0.05, 0.3, 0.8, 1.5, 2.5, 3.0])
RULES = policy()
CAP = Fraction(mu_of(3.0, 2e-8)) ** 2  # generously: no part of delta set aside


class Spending(RuleBasedStateMachine):
    """A model that knows only which requests were granted, at which price, and what was done with them."""

    requests = Bundle("requests")
    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = opened(Path(self.folder.name), RULES)
        self.asked: dict[str, Recipe] = {}
        self.granted: dict[str, str] = {}
        self.fitted: set[str] = set()
        self.gated: set[str] = set()
        self.spent = Fraction(0)
        self.cost = Fraction(0)

    def teardown(self) -> None:
        self.ledger.verify()
        self.folder.cleanup()

    @rule(target=requests, epsilon=EPSILONS)
    def ask(self, epsilon: float) -> str:
        name = f"request {len(self.asked)}"
        self.asked[name] = recipe(epsilon)
        return name

    @rule(target=holds, name=requests)
    def reserve(self, name: str) -> object:
        """The first time it may cost; a retry never does and returns the same hold."""
        quote = self.ledger.quote(self.asked[name], **USE)
        try:
            hold = self.ledger.reserve(self.asked[name], **USE, request=name)
        except BudgetExhausted:
            assert name not in self.granted
            assert not quote.admitted
            return multiple()
        if name not in self.granted:
            assert quote.admitted
            self.cost += mu_squared(hold.prices.fit) + mu_squared(hold.prices.gate)
        assert self.granted.setdefault(name, hold.id) == hold.id
        return hold

    @rule(name=requests, epsilon=EPSILONS)
    def retry_with_other_terms(self, name: str, epsilon: float) -> None:
        other = recipe(epsilon, target="age")
        if name in self.granted:
            try:
                self.ledger.reserve(other, **USE, request=name)
            except HoldError:
                return
            raise AssertionError("a request id bought two things")

    @rule(hold=holds)
    def run(self, hold: Hold) -> None:
        try:
            fit(hold)
            assert hold.id not in self.fitted
        except HoldError:
            assert hold.id in self.fitted
        self.fitted.add(hold.id)

    @rule(hold=holds)
    def release(self, hold: Hold) -> None:
        try:
            gate(hold)
            assert hold.id in self.fitted - self.gated
            self.gated.add(hold.id)
        except HoldError:
            assert hold.id not in self.fitted or hold.id in self.gated
        except ReleaseRefused:
            assert len(self.gated) == RULES.gate.max_attempts

    @rule(hold=consumes(holds))
    def lose(self, hold: Hold) -> None:
        """The program forgets its hold; the ledger does not."""
        assert self.ledger.hold(hold.id) == hold

    @rule()
    def crash(self) -> None:
        """The process is gone; another one opens the ledger."""
        self.ledger = opened(Path(self.folder.name), RULES)

    @invariant()
    def never_overspent_and_never_refunded(self) -> None:
        exact = paid(self.ledger)
        assert exact == self.cost <= CAP
        spent = {}
        for line in self.ledger.balances():
            assert isinstance(line.filter, GdpFilter)
            spent[line.over, line.name] = line.filter.spent
            assert line.filter.spent <= line.filter.cap
        assert spent["population", "patients"] == spent["recipient", "university"] >= max(exact, self.spent)
        assert spent["recipient", "institute"] == 0
        assert self.ledger.attempts("patients") == len(self.gated)
        self.spent = spent["population", "patients"]


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
