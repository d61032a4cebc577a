"""What the logs add up to: a pure fold of entries into populations, steps of holds, and budget lines.

The same entries give the same balance in any process, whether they are folded at once or on top of the
balance of those before them: so a signed balance (``state``) and the entries after it stand for the whole log.
What is spent is computed by the filter that the population froze (field/privacy.md 7), one filter for each
budget line: each population, and each (population, recipient). A recorded hold is charged whether or not it
was ever fitted: nothing gives budget back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntFlag
from typing import Any

from privsynth.documents import identity
from privsynth.errors import BudgetExhausted, LedgerError
from privsynth.ledger.accepted import Accepted, accepted_by
from privsynth.ledger.entry import FORMAT, MEND, Entry, odd, understood
from privsynth.ledger.record import ID_KEY, Bought, Line, Over, Population, bought_of, population_of

LineName = tuple[str, Over, str]
"""(population, over, name of the population or recipient)"""


_SHORT = 8  # bytes
ID_BYTES = 16
"""The length of a subject's id in a batch."""


class Step(IntFlag):
    """How far a hold has come, by the main log; closed: it expired, or was sold before a restore that lost entries."""

    SOLD = 1
    FITTED = 2
    BENCHMARK = 4
    MEASURED = 8
    CLOSED = 16


@dataclass(frozen=True)
class Balance:
    """Everything that the main log adds up to.

    Attributes:
        ledger, policy: ids.
        key: the Ed25519 key that signs for this ledger, 32 bytes in hex; empty before it was recorded.
        populations: by name.
        sources: source -> population.
        spent: each line that has paid for something.
        askers: everyone who ever bought a hold.
        openers: population -> who opened an internal report of it.
        leased: hold -> the highest step leased, of holds that are in training.
        approved: hold -> SHA-256 of its claims.
        accepted: the policy that is worked by, where somebody must approve its changes or had to.
        steps: one byte for each entry: the :class:`Step` of the hold that it sold; 0 where it sold none.
        requests: of each request id that bought a hold the first eight bytes of its SHA-256, in the order of buying.
        lost: a restore lost entries. Which populations they registered nobody knows, so whatever is registered after
            it counts as spent.
        ids: SHA-256 of the key of everybody's ids, where populations are kept apart; else empty.
    """

    ledger: str = ""
    policy: str = ""
    key: str = ""
    populations: Mapping[str, Population] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    spent: Mapping[LineName, Line] = field(default_factory=dict)
    askers: frozenset[str] = frozenset()
    openers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    leased: Mapping[str, int] = field(default_factory=dict)
    approved: Mapping[str, str] = field(default_factory=dict)
    accepted: Accepted | None = None
    steps: bytes = field(default=b"", repr=False)
    requests: bytes = field(default=b"", repr=False)
    lost: bool = False
    ids: str = ""

    @property
    def secrets(self) -> Mapping[str, str]:
        """Of each secret key, by the name under which it is kept, the SHA-256."""
        own = {name: population.key for name, population in self.populations.items()}
        return {**own, ID_KEY: self.ids} if self.ids else own

    def may_have_asked(self, request: str) -> bool:
        """Whether a request of this id bought a hold. False is certain; a new id is taken for an old one with
        probability 2⁻⁶⁴ a hold."""
        sought, at = _short(request), -1
        while (at := self.requests.find(sought, at + 1)) >= 0:
            if at % _SHORT == 0:
                return True
        return False

    def step(self, bought: Bought) -> Step:
        """How far a hold has come."""
        return Step(self.steps[bought.entry])

    def line(self, population: str, over: Over, name: str) -> Line:
        """A budget line with all holds that it paid for."""
        paid = self.spent.get((population, over, name))
        if paid is not None:
            return paid
        registered = self.populations[population]
        epsilon, delta = registered.cap(over)
        return Line(over, name, population, registered.fresh(over), 0, epsilon, delta)

    def lines_of(self, population: str, recipient: str) -> tuple[Line, ...]:
        """The lines that a hold for ``recipient`` must pass, the population's first."""
        return (
            self.line(population, "population", population),
            *(
                (self.line(population, "recipient", recipient),)
                if "recipient" in self.populations[population].filters
                else ()
            ),
        )

    def lines(self, *, recipients: Iterable[str] = ()) -> tuple[Line, ...]:
        """Every line: each population's, then one for each of ``recipients`` and of those who have holds."""
        out: list[Line] = []
        for name, population in self.populations.items():
            out.append(self.line(name, "population", name))
            if "recipient" in population.filters:
                bought = {who for of, over, who in self.spent if of == name and over == "recipient"}
                out += [self.line(name, "recipient", who) for who in sorted(bought | set(recipients))]
        return tuple(out)

    def count(self, step: Step) -> int:
        """How many holds have come as far as ``step``."""
        return sum(self.steps.count(value) for value in range(1, 2 * max(Step)) if value & step)


@dataclass(frozen=True)
class Batch:
    """New subjects of one split, kept under their number: the population that met them, the hash and size of their
    ids."""

    population: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Gates:
    """What the second log says of gates: attempts are counted before anything is computed; and who was met first by
    which population, batch by batch, without the empty ones, of which nothing is kept."""

    ledger: str = ""
    attempts: Mapping[str, int] = field(default_factory=dict)
    gated: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    assigned: tuple[Batch, ...] = ()

    @property
    def batches(self) -> Mapping[str, str]:
        """Of each batch, by the name under which it is kept, the SHA-256."""
        return {str(number): batch.sha256 for number, batch in enumerate(self.assigned)}


def _short(request: str) -> bytes:
    return hashlib.sha256(request.encode()).digest()[:_SHORT]


def fold(entries: Iterable[Entry], *, after: Balance | None = None) -> Balance:
    """Add up the main log.

    Args:
        entries: from the first one, or those that come after ``after``.
        after: the balance of all entries before. Then a step names the entry that sold its hold, as every step
            does that this version writes.

    Raises:
        LedgerError: an entry of a kind that this version does not know, or one that cannot follow
            from those before it (a fit of an unknown hold, a second fit, ...), a hold beyond a cap, or a plan
            whose holds are not those that it lists, all of them and right behind it.
    """
    tally = _Tally(after)
    for entry in entries:
        with understood(entry):
            tally.take(entry)
    if tally.due:
        raise LedgerError("the log ends within a plan: holds that it lists are missing", mend=MEND)
    return tally.balance()


class _Tally:
    """A balance in the making."""

    def __init__(self, after: Balance | None) -> None:
        start = after or Balance()
        self.whole = after is None
        self.ledger, self.policy, self.key = start.ledger, start.policy, start.key
        self.accepted = start.accepted
        self.populations, self.sources = dict(start.populations), dict(start.sources)
        self.spent, self.openers = dict(start.spent), dict(start.openers)
        self.askers, self.leased, self.approved = set(start.askers), dict(start.leased), dict(start.approved)
        self.steps, self.asked, self.lost = bytearray(start.steps), bytearray(start.requests), start.lost
        self.ids = start.ids
        self.sold: dict[str, int] = {}
        self.requests: set[str] = set()
        self.plan, self.due = "", list[Mapping[str, Any]]()

    def balance(self) -> Balance:
        return Balance(
            ledger=self.ledger,
            policy=self.policy,
            key=self.key,
            populations=self.populations,
            sources=self.sources,
            spent=self.spent,
            askers=frozenset(self.askers),
            openers=self.openers,
            leased=self.leased,
            approved=self.approved,
            accepted=self.accepted,
            steps=bytes(self.steps),
            requests=bytes(self.asked),
            lost=self.lost,
            ids=self.ids,
        )

    def take(self, entry: Entry) -> None:
        body = entry.body
        if entry.seq != len(self.steps):
            raise odd(entry)
        self.steps.append(0)
        if self.due and entry.kind != "reserve":
            raise odd(entry)
        match entry.kind:
            case "genesis" if entry.seq == 0 and body["format"] == FORMAT:
                self.ledger, self.policy, self.key = body["ledger"], body["policy"], body.get("key", "")
            case "key" if self.ledger and not self.key:
                self.key = body["key"]
            case "register" if self.ledger and body["population"] not in self.populations:
                self._register(entry)
            case "source" if body["population"] in self.populations and body["source"] not in self.sources:
                self.sources[body["source"]] = body["population"]
            case "policy" if self.ledger:
                self.accepted = accepted_by(entry, self.accepted)
            case "plan" if self.ledger and len(body["items"]) > 0:
                self.plan, self.due = body["plan"], list(body["items"])
            case "reserve" if body["hold"] not in self.sold and body["request"] not in self.requests:
                self._sell(entry)
            case "restore" if self.ledger and isinstance(body["lost"], bool):
                if body["lost"]:
                    self._lose()
            case "disclose" if body["hold"] in self.approved:
                pass
            case "report" if body["population"] in self.populations:
                name = body["population"]
                self.openers[name] = self.openers.get(name, frozenset()) | {entry.actor}
            case _:
                self._step(entry)

    def _register(self, entry: Entry) -> None:
        """Either all populations of a ledger are kept apart or none; the first one brings the key of their ids."""
        body, population = entry.body, population_of(entry)
        if not self.populations and population.apart:
            self.ids = str(body["ids"])
        elif "ids" in body or population.apart != bool(self.ids):
            raise odd(entry)
        self.populations[population.name] = population
        if self.lost:
            self._spend(population.name)

    def _sell(self, entry: Entry) -> None:
        bought = bought_of(entry)
        if self.sources[bought.terms.source] != bought.population:
            raise odd(entry)
        if self.due or bought.plan:
            self._of_plan(entry, self.due.pop(0))
        self.sold[bought.id] = entry.seq
        self.requests.add(bought.request)
        self.asked += _short(bought.request)
        self.askers.add(bought.terms.actor)
        self.steps[entry.seq] = Step.SOLD
        now = Balance(populations=self.populations, spent=self.spent)
        for line in now.lines_of(bought.population, bought.terms.recipient):
            self.spent[line.population, line.over, line.name] = charged(line, bought)

    def _of_plan(self, entry: Entry, listed: Mapping[str, Any]) -> None:
        """The plan lists its holds in order, and fixes the entry of each by its hash."""
        body = entry.body
        own = {"request": body["request"], "hold": body["hold"], "sha256": identity(body)}
        if listed != own or body["plan"] != self.plan:
            raise odd(entry)

    def _lose(self) -> None:
        """Entries are gone for ever: they may have spent all that was left, and used every hold."""
        self.lost = True
        for name in self.populations:
            self._spend(name)
        self.steps = self.steps.translate(bytes(n | Step.CLOSED if n & Step.SOLD else n for n in range(256)))

    def _spend(self, population: str) -> None:
        now = Balance(populations=self.populations, spent=self.spent)
        line = now.line(population, "population", population)
        self.spent[population, "population", population] = line.exhausted()

    def _step(self, entry: Entry) -> None:
        """A step of a hold that was sold."""
        body, hold = entry.body, entry.body["hold"]
        at = self.sold.get(hold) if self.whole or hold in self.sold else body["entry"]
        if at is None or body.get("entry", at) != at or not 0 <= at < entry.seq:
            raise odd(entry)
        step = Step(self.steps[at])
        open_ = Step.FITTED in step and not step & (Step.MEASURED | Step.CLOSED)
        match entry.kind:
            case "fit" if step == Step.SOLD:
                step |= Step.FITTED | (Step.BENCHMARK if body.get("benchmark") is True else Step(0))
            case "lease" if open_ and body["through"] > self.leased.get(hold, 0):
                self.leased[hold] = int(body["through"])
            case "measured" if open_ and isinstance(body["sha256"], str):
                self.leased.pop(hold, None)
                step |= Step.MEASURED
            case "expire" if Step.SOLD in step and Step.CLOSED not in step:
                step |= Step.CLOSED
            case "approve" if Step.MEASURED in step and Step.CLOSED not in step and hold not in self.approved:
                self.approved[hold] = body["claims"]
            case _:
                raise odd(entry)
        self.steps[at] = step


def charged(line: Line, bought: Bought) -> Line:
    """The line after it has paid for a hold.

    Raises:
        LedgerError: the recorded holds cost more than the cap.
    """
    from privsynth.privacy.events import decode

    try:
        filter_ = line.filter.charge(decode(bought.event), delta=bought.prices.delta_own)
    except BudgetExhausted:
        raise LedgerError(f"the recorded holds cost more than the cap of {line.name!r}", mend=MEND) from None
    return replace(line, filter=filter_, holds=line.holds + 1)


def fold_attempts(entries: Iterable[Entry], *, after: Gates | None = None) -> Gates:
    """Add up the second log; as :func:`fold`."""
    start = after or Gates()
    ledger, attempts, gated, refused = start.ledger, dict(start.attempts), dict(start.gated), dict(start.refused)
    assigned = list(start.assigned)
    for entry in entries:
        body, hold = entry.body, str(entry.body.get("hold", ""))
        with understood(entry):
            match entry.kind:
                case "genesis" if entry.seq == 0:
                    ledger = body["ledger"]
                case "denied" | "exhausted" | "decisions":
                    pass
                case "gate" if hold not in gated:
                    name = body["population"]
                    attempts[name] = gated[hold] = attempts.get(name, 0) + 1
                case "refused" if hold in gated and hold not in refused:
                    refused[hold] = tuple(body["rules"])
                case "assigned" if body["bytes"] >= 0 and body["bytes"] % ID_BYTES == 0:
                    batch = Batch(str(body["population"]), str(body["sha256"]), int(body["bytes"]))
                    assigned += [batch] if batch.bytes else []
                case _:
                    raise odd(entry)
    return Gates(ledger, attempts, gated, refused, tuple(assigned))
