"""What an ε means, in the two sentences that lay readers understood best, and the figures behind them.

The words are those of ``statement``; the figures come from the whole privacy curve (``privacy/meaning.py``): of a
release that privsynth would sell at (ε, δ), of a release that it made, of every limit of a policy.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privsynth.documents import read_bytes
from privsynth.errors import BundleError
from privsynth.privacy.events import Receipt
from privsynth.privacy.meaning import Bound, Known, curve_of, curve_of_cap
from privsynth.release.statement import (
    FAMILY,
    MANY_PEOPLE,
    OUTSIDERS,
    attacker_words,
    chosen_words,
    earlier,
    exact,
    odds_words,
    up,
)

if TYPE_CHECKING:
    from privsynth.policy.document import Policy, Source

_EARLIER = "all earlier outputs"  # of a population that is not named
VALUE = 2  # subjects that change where one person's values change: one leaves, one comes
HEADS = ("attacked", "μ", "ε at this δ", "insiders found, of 100", "a 1-in-2 guess becomes, of 100")
BOUND_ONLY = (
    "A filter of kind rdp promises (ε, δ) and no curve: how often odds move by more than e^ε it does not say, so the "
    "sentence speaks of 2·e^ε."
)
LIMITS = (
    "The bound is on presence; a changed value of somebody who is known to be in the data, and a family, have the "
    "figures of their own lines.",
    "The release can teach things about groups that somebody belongs to, whether or not they are in the data.",
    "Taken alone, a release is bounded by the population's cap. Only the model of a recipe that was committed before "
    f"the population's first hold has its own bound alone. {chosen_words()}",
    "Other institutions that hold data on the same people and share no ledger with this one add to these figures.",
)


@dataclass(frozen=True)
class Explained:
    """One (ε, δ) and what it lets the best attacker do.

    Attributes:
        title: of what, in a few words.
        epsilon, delta: as stated.
        mu: in Gaussian differential privacy; None where only (ε, δ) is known.
        known: the curve, or the bound.
        unit: who is protected.
        after: what whoever moves odds holds already, in words; empty: this is all that was ever released.
        subjects: declared; None where they are not told.
        families: how many subjects each further line takes together.
    """

    title: str
    epsilon: float
    delta: float
    mu: float | None
    known: Known
    unit: str = "person"
    after: str = _EARLIER
    subjects: int | None = None
    families: tuple[int, ...] = FAMILY

    @property
    def people(self) -> float | None:
        """n·δ."""
        return None if self.subjects is None else self.subjects * self.delta

    def rows(self) -> list[dict[str, Any]]:
        """Presence, value, families: each with its μ, its ε at its δ, and the best attacker's right guesses."""
        told = [("presence", 1), ("a changed value", VALUE), *((f"a family of {r}", r) for r in self.families)]
        out = []
        for name, subjects in told:
            epsilon, delta = self.known.epsilon_of(subjects)
            out.append(
                {
                    "of": name,
                    "mu": None if self.mu is None else subjects * self.mu,
                    "epsilon": epsilon if math.isfinite(epsilon) else None,
                    "delta": delta,
                    "insiders recognised": self.known.caught(OUTSIDERS, subjects=subjects),
                    "even guess becomes": 1 / (1 + math.exp(-epsilon)),
                }
            )
        return out

    def sentences(self) -> tuple[str, str]:
        """The odds, and the best attacker."""
        factor, caught = self.known.factor, self.known.caught(OUTSIDERS)
        odds = odds_words(self.unit, factor=factor, surprise=self.known.surprise, after=self.after)
        return odds, attacker_words(caught, after=self.after)

    def beside(self) -> str:
        """n·δ in words; empty where the number of subjects is not told."""
        if self.people is None:
            return ""
        warning = " That is more than 0.001: read it as too large." if self.people > MANY_PEOPLE else ""
        return f"n·δ = {up(self.people)} for the {self.subjects:,} subjects declared.{warning}"

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "title": self.title,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "mu": self.mu,
            "unit": self.unit,
            "subjects": self.subjects,
            "n delta": self.people,
            "odds": {"factor": self.known.factor, "exceeded with probability": self.known.surprise},
            "sentences": list(self.sentences()),
            "attacked": self.rows(),
        }


def explain(epsilon: float, delta: float, *, subjects: int | None = None, family: int | None = None) -> Explained:
    """A release that is bought at (epsilon, delta): its μ is what a hold of this price gets.

    Args:
        subjects: how many people are in the data, as declared; for n·δ.
        family: how many subjects to take together; None: 2 and 4.

    Raises:
        BudgetError: a number out of its range.
    """
    from privsynth.privacy.accountant import share_out
    from privsynth.privacy.budget import Budget
    from privsynth.privacy.gdp import check_number

    mu = share_out(Budget(epsilon, delta), gate_share=0.0).mu
    if subjects is not None:
        check_number("the number of subjects", subjects, 1, 1e12)
    return Explained(
        title=f"One release of ε = {exact(epsilon)}, δ = {exact(delta)}",
        epsilon=epsilon,
        delta=delta,
        mu=mu,
        known=curve_of(mu, epsilon=epsilon, delta=delta),
        subjects=subjects,
        families=_families(family),
    )


def explain_release(folder: Path, *, family: int | None = None) -> Explained:
    """The release in ``folder``, by the figures of its statement; whose they are, ``verify`` tells.

    Raises:
        BundleError: no privacy statement there, or one of another form.
    """
    path = folder / "privacy.json"
    raw = read_bytes(path, error=BundleError, kind="privacy statement")
    try:
        told = json.loads(raw)
        release, unit = told["release"], told["unit"]
        epsilon, delta, mu = (float(release[key]) for key in ("epsilon", "delta", "mu"))
        name, subjects = str(told["population"]["name"]), int(unit["subjects declared"])
        who = str(unit["unit"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BundleError(
            "not a privacy statement of this version", where=str(path), mend="name the folder of a release"
        ) from None
    return Explained(
        title=f"The release in {folder.name}: ε = {exact(epsilon)}, δ = {exact(delta)}",
        epsilon=epsilon,
        delta=delta,
        mu=mu,
        known=curve_of(mu, epsilon=epsilon, delta=delta),
        unit=who,
        after=earlier(name),
        subjects=subjects,
        families=_families(family),
    )


def explain_receipt(receipt: Receipt, *, family: int | None = None) -> Explained:
    """What was paid for a model, and so for every release of it."""
    r = receipt
    return Explained(
        title=f"What was paid in hold {r.hold}: ε = {exact(r.epsilon)}, δ = {exact(r.delta)}",
        epsilon=r.epsilon,
        delta=r.delta,
        mu=r.mu,
        known=curve_of(r.mu, epsilon=r.epsilon, delta=r.delta),
        unit=r.unit,
        after=earlier(r.population),
        subjects=r.subjects or None,
        families=_families(family),
    )


def explain_policy(policy: Policy, *, family: int | None = None) -> list[Explained]:
    """Each population's cap and, by its sources' declared sizes, the dearest release that the policy allows."""
    by_population: dict[str, list[Source]] = {}
    for source in policy.sources.values():
        by_population.setdefault(source.population, []).append(source)
    out = []
    for name, sources in by_population.items():
        subjects, unit = max(source.subjects for source in sources), sources[0].unit
        out += _limits(policy, name, subjects, unit, _families(family))
    return out


def _limits(policy: Policy, population: str, subjects: int, unit: str, families: tuple[int, ...]) -> list[Explained]:
    privacy = policy.privacy
    cap, limit = privacy.line("population"), privacy.per_release
    out = []
    if cap is not None:
        curve = curve_of_cap(cap.epsilon, cap.delta) if privacy.filter.kind == "gdp" else None
        out.append(
            Explained(
                title=f"Everything ever released from {population}: ε = {exact(cap.epsilon)}, δ = {exact(cap.delta)}",
                epsilon=cap.epsilon,
                delta=cap.delta,
                mu=None if curve is None else curve.mu,
                known=Bound(cap.epsilon, cap.delta) if curve is None else curve,
                unit=unit,
                after="",
                subjects=subjects,
                families=families,
            )
        )
    below = math.nextafter(float(limit.delta_limit(subjects)), 0.0)
    one = explain(limit.max_epsilon, min(limit.max_delta, below))
    title = f"The dearest single release of {population}: ε = {exact(one.epsilon)}, δ = {exact(one.delta)}"
    out.append(
        Explained(title, one.epsilon, one.delta, one.mu, one.known, unit, earlier(population), subjects, families),
    )
    return out


def cells(part: Explained) -> list[tuple[str, ...]]:
    """The rows of ``part`` under ``HEADS``, as text; figures rounded up."""
    out: list[tuple[str, ...]] = []
    for row in part.rows():
        epsilon = "none" if row["epsilon"] is None else up(row["epsilon"])
        at = epsilon if row["delta"] == part.delta else f"{epsilon} at δ = {up(row['delta'])}"
        mu = "" if row["mu"] is None else up(row["mu"])
        out.append((row["of"], mu, at, up(100 * row["insiders recognised"]), up(100 * row["even guess becomes"])))
    return out


def _families(family: int | None) -> tuple[int, ...]:
    from privsynth.privacy.gdp import check_number

    if family is None:
        return FAMILY
    check_number("the size of a family", family, 2, 1000)
    return (family,)
