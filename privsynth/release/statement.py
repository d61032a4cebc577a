"""The privacy statement: what a receipt promises, and to whom it promises nothing.

The words are those of ``field/privacy.md`` 3 and 7; no other wording is proved. Every figure is a
function of the receipt alone, rounded against us. Nothing here says that the data are anonymous.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from statistics import NormalDist
from typing import Any

from privsynth.errors import ModelError
from privsynth.privacy.events import Receipt
from privsynth.privacy.gdp import chain_slack

FORMAT = 2
OUTSIDERS = 0.01  # the false positive rate at which the best attacker is stated
FAMILY = (2, 4)  # sizes for which r·μ is worked out
MANY_PEOPLE = 0.001  # n·δ above which the statement warns
_ALL = "everything that was ever released"


def privacy_statement(receipt: Receipt, *, pictures: Sequence[str] = (), term: str | None = None) -> dict[str, Any]:
    """The statement as JSON values: figures, and beside each the sentence that uses it.

    Args:
        receipt: complete: a cap, a μ and a declared number of subjects.
        pictures: the columns that hold pictures; where there are none nothing is said of them.
        term: under which they may be used, if the policy sets one.

    Raises:
        ModelError: a receipt that lacks one of these.
    """
    from privsynth.privacy.accountant import odds_exceed

    r = receipt
    if not (0 < r.mu < math.inf and 0 < r.cap_epsilon < math.inf and 0 < r.cap_delta < 1 and r.subjects > 0):
        raise ModelError(
            "the receipt lacks a cap, a mu or a declared number of subjects",
            where=f"receipt of hold {r.hold}",
            mend="use the receipt that the ledger gave",
        )

    exceeds = odds_exceed(r.mu, epsilon=r.epsilon)
    people = r.subjects * r.delta
    caught = NormalDist().cdf(NormalDist().inv_cdf(OUTSIDERS) + r.mu)
    value = {"any mechanism": _together(r, 2), "one row, counts": _together(r, 2, mu=math.sqrt(2) * r.mu)}
    family = {str(n): _together(r, n) for n in FAMILY}
    person = {"rows": r.person_rows, **_together(r, r.person_rows)} if r.person_rows > 1 else None
    return {
        "privsynth-privacy": FORMAT,
        "population": {
            "name": r.population,
            "epsilon": r.cap_epsilon,
            "delta": r.cap_delta,
            "filter": r.filter,
            "sentence": _population(r),
        },
        "release": {
            "hold": r.hold,
            "epsilon": r.epsilon,
            "delta": r.delta,
            "mu": r.mu,
            "mu fit": r.mu_fit,
            "mu gate": r.mu_gate,
            "committed before the first hold": r.first_of_population,
            "sentence": _release(r),
        },
        "unit": {
            "unit": r.unit,
            "neighbours": r.neighbours,
            "rows of a subject": r.contribution,
            "subjects declared": r.subjects,
            "sentence": _unit(r),
        },
        "odds": {
            "factor": math.exp(r.epsilon),
            "even guess becomes": 1 / (1 + math.exp(-r.epsilon)),
            "exceeded with probability": exceeds,
            "n delta": people,
            "sentence": _odds(r, exceeds, people),
        },
        "attacker": {
            "outsiders taken for insiders": OUTSIDERS,
            "insiders recognised": caught,
            "sentence": _attacker(r, caught),
        },
        "value": {**value, "sentence": _value(r, value)},
        "family": {**family, "sentence": _family(r, family)},
        "person": None if person is None else {**person, "sentence": _person(r, person)},
        "not covered": _not_covered(r),
        **({"pictures": {"columns": list(pictures), "sentence": _pictures(r)}} if pictures else {}),
        **({"term": {"sentence": term}} if pictures and term else {}),
    }


def statement_markdown(statement: Mapping[str, Any]) -> str:
    """The statement for people: the sentences of :func:`privacy_statement`, in order."""
    parts = [
        ("Everything released from these people, together", "population"),
        ("This release", "release"),
        ("Who is protected", "unit"),
        ("Pictures", "pictures"),
        ("What the pictures are not for", "term"),
        ("In plain words", "odds"),
        ("The best attacker", "attacker"),
        ("Presence and value", "value"),
        ("Families and several ids", "family"),
        ("A person with several rows", "person"),
    ]
    lines = ["# Privacy statement", ""]
    for title, key in parts:
        if statement.get(key) is not None:
            lines += [f"## {title}", "", statement[key]["sentence"], ""]
    lines += ["## What is not covered", "", *(f"- {sentence}" for sentence in statement["not covered"]), ""]
    return "\n".join(lines)


# --- several neighbours apart ---------------------------------------------------------------------


def _together(r: Receipt, subjects: int, *, mu: float | None = None) -> dict[str, float]:
    """(μ, ε, δ) of data sets that lie so many neighbours apart (docs/numbers.md): δ as it was paid, or twice what
    slacks come to along the way, where that is more. A δ of 1 promises nothing.

    Args:
        mu: of the way; by default r·μ.
    """
    from privsynth.privacy.accountant import epsilon_of
    from privsynth.privacy.meaning import curve_of

    curve = curve_of(r.mu, epsilon=r.epsilon, delta=r.delta)
    whole = subjects * r.mu if mu is None else mu
    slack = chain_slack(r.mu, subjects, slack=curve.slack, drawn=curve.drawn)
    delta = min(1.0, max(r.delta, 2 * slack))
    left = r.delta if delta == 1.0 else (delta - slack) * (1 - 1e-12)
    return {"mu": whole, "epsilon": epsilon_of(whole, delta=left), "delta": delta}


# --- words that others use too --------------------------------------------------------------------


def earlier(population: str) -> str:
    """What the bound of one release is counted from."""
    return f"all earlier outputs of {population}"


def odds_words(unit: str, *, factor: float, surprise: float, after: str) -> str:
    """How far odds move, and of whom.

    Args:
        unit: who is protected.
        factor: at most so far.
        surprise: except with this probability.
        after: as :func:`earlier` has it, whoever moves them holds already; empty: of all that was ever released.
    """
    who, by = (f"nobody who already holds {after}", "this one") if after else ("nobody", _ALL)
    return (
        f"Whoever else is in the data, {who} can by {by} change their odds that a given {unit} is in it, too, by more "
        f"than a factor {up(factor)}: what was a 1-in-2 guess becomes at most {up(100 * factor / (1 + factor))} in "
        f"100; except with probability {up(surprise)}."
    )


def attacker_words(caught: float, *, after: str) -> str:
    """How many insiders the best attacker recognises; ``after`` as of :func:`odds_words`."""
    return (
        f"By {f'what this one adds to {after}' if after else _ALL}, the best possible attacker who may be wrong about "
        f"1 in 100 outsiders recognises at most {up(100 * caught)} in 100 insiders (1 in 100 is guessing)."
    )


def chosen_words(population: str = "") -> str:
    """What the bound of one model alone leaves to the cap."""
    of = f" of {population}" if population else ""
    return (
        f"What somebody chose from other outputs{of} (whether, when, how and of whom it is made, what is drawn and "
        "published), and what the ledger's evidence beside it tells of other holds: only the cap bounds that."
    )


# --- the sentences ------------------------------------------------------------------------------


def _population(r: Receipt) -> str:
    apart = (
        " Nobody counts in two populations of this ledger, as far as one id means one person in all its sources. The "
        "data without somebody are those without anything about them in any source of this ledger: counted so, what it "
        f"releases of others than {r.population} adds nothing about somebody who counts here. Whether somebody who "
        "stands in other populations' files too stands in this one's is bounded by the caps of all these populations "
        "together."
    )
    return (
        f"Everything ever released from population {r.population}, taken together: "
        f"(ε = {exact(r.cap_epsilon)}, δ = {exact(r.cap_delta)}). This is the cap of the ledger's {r.filter} filter. "
        "It counts all outputs: releases, models, verdicts of the gate. "
        "It holds however later releases are chosen after earlier ones were seen, and nothing refills it."
    ) + (apart if r.apart else "")


def _release(r: Receipt) -> str:
    bound = f"(ε = {exact(r.epsilon)}, δ = {exact(r.delta)})"
    alone = (
        f"Its recipe was committed before the first hold of {r.population}. So its model taken alone, which is made "
        f"of its own data, coins and noise, is bounded by {bound}, too. {chosen_words(r.population)}"
        if r.first_of_population
        else "Taken alone it is bounded by the cap: its recipe was not committed before the first hold of "
        f"{r.population}."
    )
    return (
        f"To someone who already holds {earlier(r.population)} (releases, models, verdicts), this one adds at most "
        f"{bound}: its model, the gate's tests and every release of that model together. {alone}"
    )


def _unit(r: Receipt) -> str:
    rows = "one row" if r.contribution == 1 else f"at most {r.contribution} rows"
    return (
        f"Protected is the presence of one whole {r.unit} ({rows}): the data with it and without it are neighbours. "
        f"Their true number is protected too; the declared number of subjects, {r.subjects:,}, is public."
    )


def _pictures(r: Receipt) -> str:
    return (
        f"The rows carry pictures, and these are part of the data of one {r.unit}: without it means without all of its "
        "pictures, and every bound here covers their pixels as it covers the columns. The pictures "
        "of this release are synthetic: each was drawn at random from a model that was fitted under these bounds."
    )


def _odds(r: Receipt, exceeds: float, people: float) -> str:
    warning = " That is more than 0.001: read it as too large." if people > MANY_PEOPLE else ""
    return (
        f"{odds_words(r.unit, factor=math.exp(r.epsilon), surprise=exceeds, after=earlier(r.population))} "
        f"(From the privacy curve at ε = {exact(r.epsilon)}. Beside it: "
        f"n·δ = {up(people)} for the {r.subjects:,} subjects declared.{warning})"
    )


def _attacker(r: Receipt, caught: float) -> str:
    return attacker_words(caught, after=earlier(r.population))


def _value(r: Receipt, value: Mapping[str, Mapping[str, float]]) -> str:
    whole, counts = value["any mechanism"], value["one row, counts"]
    return (
        f"To someone who already holds {earlier(r.population)}, what this one adds is bounded as to presence. For a "
        f"changed value of one {r.unit} whom they know to be in the data, μ = {up(r.mu)} "
        f"becomes 2μ = {up(whole['mu'])}, that is {_at(r, whole)} "
        f"(√2·μ = {up(counts['mu'])}, {_at(r, counts)}, for counts to which it adds one row)."
    )


def _family(r: Receipt, family: Mapping[str, Mapping[str, float]]) -> str:
    sizes = ", ".join(f"{_at(r, at)} for r = {n}" for n, at in family.items())
    return (
        f"To someone who already holds {earlier(r.population)}, and knows that r subjects are all in the data or none, "
        f"such as the members of a family or several ids of one person, this one adds r·μ in place of μ: {sizes}."
    )


def _person(r: Receipt, person: Mapping[str, float]) -> str:
    return (
        f"The unit is the {r.unit}, not the person: nothing ties a person's rows together. About a person with r rows "
        f"this one adds r·μ to {earlier(r.population)}; the schema declares r ≤ {r.person_rows}, which gives "
        f"μ = {up(person['mu'])} and {_at(r, person)}."
    )


def _at(r: Receipt, figures: Mapping[str, float]) -> str:
    """ε, and at which δ."""
    delta = figures["delta"]
    return f"ε = {up(figures['epsilon'])} at {'the same δ' if delta == r.delta else f'δ = {up(delta)}'}"


def _not_covered(r: Receipt) -> list[str]:
    chosen = ["Recipe chosen after unpaid figures; the cap excludes that choice."] if r.chosen_after_report else []
    others = (
        "By this cap alone, whether somebody who stands in another population's file too stands in this one's: the "
        "caps of all these populations together bound that."
        if r.apart
        else "Other populations of this ledger, where they hold data on the same people: their releases add to these "
        "bounds."
    )
    return [
        *chosen,
        *([chosen_words(r.population)] if r.first_of_population else []),
        "Recipients may collude. Budgets per recipient are limits of the policy, not guarantees: what several "
        f"recipients hold together is bounded by the cap of {r.population} alone.",
        others,
        "Other institutions that hold data on the same people and share no ledger with this one: their releases add "
        "to these bounds.",
        "What the release teaches about groups that you belong to, whether or not you are in it.",
        "How long computations took. The secure noise is drawn in time that depends on the noise, not on the records.",
        "Whoever can read the records, or unpaid figures of them, and what they decide by these; what the schema and "
        "the policy declare public.",
    ]


def up(figure: float) -> str:
    """A figure to three significant digits, rounded up."""
    rounded = Context(prec=3, rounding=ROUND_CEILING).create_decimal(Decimal(repr(float(figure)))).normalize()
    return f"{rounded:f}" if 1e-4 <= abs(figure) < 1e15 else f"{rounded:.2e}".replace(".00e", "e")


def exact(figure: float) -> str:
    """A figure as it was written: 1, 0.5, 1e-09."""
    return repr(float(figure)).removesuffix(".0")
