"""What the logs add up to: a pure fold of entries into populations, holds and budget lines.

The same entries give the same balance in any process. Nothing here is stored: what is spent is
computed from the entries each time it is asked for, by the filter that the population froze
(field/privacy.md 7), one filter for each budget line: each population, and each (population,
recipient). A recorded hold is charged whether or not it was ever fitted: nothing gives budget back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from privsynth.errors import BudgetExhausted, LedgerError
from privsynth.ledger.entry import FORMAT, MEND, Entry, odd, understood
from privsynth.ledger.record import Bought, Line, Over, Population, bought_of, population_of


@dataclass(frozen=True)
class Balance:
    """Everything the main log says."""

    ledger: str
    policy: str
    populations: Mapping[str, Population]
    sources: Mapping[str, str]
    holds: Mapping[str, Bought]
    requests: Mapping[str, str]
    fitted: frozenset[str]
    benchmarks: frozenset[str]
    leased: Mapping[str, int]
    measured: Mapping[str, str]
    approved: Mapping[str, str]
    openers: Mapping[str, frozenset[str]]

    def by_request(self, request: str) -> Bought | None:
        """The hold that was sold for this request id."""
        hold = self.requests.get(request)
        return None if hold is None else self.holds[hold]

    def line(self, population: str, over: Over, name: str) -> Line:
        """A budget line with all holds that it paid for.

        Raises:
            LedgerError: the recorded holds cost more than the cap.
        """
        from privsynth.privacy.events import decode

        registered = self.populations[population]
        paid = [
            hold
            for hold in self.holds.values()
            if hold.population == population and (over == "population" or hold.terms.recipient == name)
        ]
        try:
            spent = reduce(
                lambda filter_, hold: filter_.charge(decode(hold.event), delta=hold.prices.delta_own),
                paid,
                registered.fresh(over),
            )
        except BudgetExhausted:
            raise LedgerError(f"the recorded holds cost more than the cap of {name!r}", mend=MEND) from None
        epsilon, delta = registered.cap(over)
        return Line(over, name, population, spent, len(paid), epsilon, delta)

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
                bought = {hold.terms.recipient for hold in self.holds.values() if hold.population == name}
                out += [self.line(name, "recipient", who) for who in sorted(bought | set(recipients))]
        return tuple(out)


@dataclass(frozen=True)
class Gates:
    """What the second log says of gates: attempts are counted before anything is computed."""

    ledger: str
    attempts: Mapping[str, int]
    gated: Mapping[str, int]
    refused: Mapping[str, tuple[str, ...]]


def fold(entries: Iterable[Entry]) -> Balance:
    """Add up the main log.

    Raises:
        LedgerError: an entry of a kind that this version does not know, or one that cannot follow
            from those before it (a fit of an unknown hold, a second fit, ...).
    """
    ledger = policy = ""
    populations: dict[str, Population] = {}
    sources: dict[str, str] = {}
    holds: dict[str, Bought] = {}
    requests: dict[str, str] = {}
    fitted: set[str] = set()
    benchmarks: set[str] = set()
    leased: dict[str, int] = {}
    measured: dict[str, str] = {}
    approved: dict[str, str] = {}
    openers: dict[str, frozenset[str]] = {}
    for entry in entries:
        body, hold = entry.body, str(entry.body.get("hold", ""))
        with understood(entry):
            match entry.kind:
                case "genesis" if entry.seq == 0 and body["format"] == FORMAT:
                    ledger, policy = body["ledger"], body["policy"]
                case "register" if ledger and body["population"] not in populations:
                    populations[body["population"]] = population_of(entry)
                case "source" if body["population"] in populations and body["source"] not in sources:
                    sources[body["source"]] = body["population"]
                case "reserve" if hold not in holds and body["request"] not in requests:
                    holds[hold] = bought_of(entry)
                    requests[body["request"]] = hold
                    if sources[holds[hold].terms.source] != holds[hold].population:
                        raise odd(entry)
                case "fit" if hold in holds and hold not in fitted:
                    fitted.add(hold)
                    if body.get("benchmark") is True:
                        benchmarks.add(hold)
                case "lease" if hold in fitted and hold not in measured and body["through"] > leased.get(hold, 0):
                    leased[hold] = int(body["through"])
                case "measured" if hold in fitted and hold not in measured:
                    measured[hold] = body["sha256"]
                case "approve" if hold in measured and hold not in approved:
                    approved[hold] = body["claims"]
                case "disclose" if hold in approved:
                    pass
                case "report" if body["population"] in populations:
                    name = body["population"]
                    openers[name] = openers.get(name, frozenset()) | {entry.actor}
                case _:
                    raise odd(entry)
    return Balance(
        ledger=ledger,
        policy=policy,
        populations=populations,
        sources=sources,
        holds=holds,
        requests=requests,
        fitted=frozenset(fitted),
        benchmarks=frozenset(benchmarks),
        leased=leased,
        measured=measured,
        approved=approved,
        openers=openers,
    )


def fold_attempts(entries: Iterable[Entry]) -> Gates:
    """Add up the second log; raises as :func:`fold`."""
    ledger = ""
    attempts: dict[str, int] = {}
    gated: dict[str, int] = {}
    refused: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        body, hold = entry.body, str(entry.body.get("hold", ""))
        with understood(entry):
            match entry.kind:
                case "genesis" if entry.seq == 0:
                    ledger = body["ledger"]
                case "denied" | "exhausted":
                    pass
                case "gate" if hold not in gated:
                    name = body["population"]
                    attempts[name] = gated[hold] = attempts.get(name, 0) + 1
                case "refused" if hold in gated and hold not in refused:
                    refused[hold] = tuple(body["rules"])
                case _:
                    raise odd(entry)
    return Gates(ledger, attempts, gated, refused)
