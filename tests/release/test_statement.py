"""The privacy statement: true figures, the proved words, and none of the forbidden ones."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.errors import ModelError
from privsynth.privacy.accountant import delta_of, loss_exceeds, mu_of, share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Receipt
from privsynth.release.statement import exact, privacy_statement, statement_markdown, up
from tests.shapes import shape

GOLDEN = Path(__file__).parent / "golden"
NEVER = re.compile(r"anonym|no risk|100 ?%|GDPR|HIPAA|event of probability|privacy score|\bsafe\b", re.IGNORECASE)


@pytest.fixture
def receipt(world: Any) -> Receipt:
    """(1, 1e-6) on 20,000 subjects, not the first of its population."""
    paid: Receipt = replace(world.receipt, epsilon=1.0, delta=1e-6, mu=mu_of(1.0, 1e-6), subjects=20_000)
    return paid


def test_the_keys_are_stable(receipt: Receipt) -> None:
    """To change them on purpose: raise ``privsynth-privacy`` and write the new shape to the golden file."""
    golden = json.loads((GOLDEN / "privacy.shape.json").read_text())
    assert shape(privacy_statement(receipt)) == golden


def test_the_figures_of_the_field_page(receipt: Receipt) -> None:
    """At (1, 1e-6): 2.12 (1.45) for a changed value and 1.8 in 100. P(L > ε) is 2.0e-5, but of a part of the
    output somebody may see more: what is printed bounds every view (docs/decisions/0010)."""
    s = privacy_statement(receipt)
    assert loss_exceeds(receipt.mu, epsilon=1.0) == pytest.approx(2.01e-5, rel=1e-3)
    assert s["odds"]["exceeded with probability"] == pytest.approx(7.126e-5, rel=1e-3)
    assert s["odds"]["factor"] == pytest.approx(math.e)
    assert s["odds"]["even guess becomes"] == pytest.approx(0.7311, abs=1e-4)
    assert s["odds"]["n delta"] == pytest.approx(0.02)
    assert s["value"]["any mechanism"]["epsilon"] == pytest.approx(2.12, abs=0.005)
    assert s["value"]["one row, counts"]["epsilon"] == pytest.approx(1.455, abs=0.005)
    assert s["attacker"]["insiders recognised"] == pytest.approx(0.0183, abs=1e-4)
    assert s["person"]["mu"] == pytest.approx(5 * receipt.mu)


def test_every_stated_epsilon_holds_at_its_mu(receipt: Receipt) -> None:
    s = privacy_statement(receipt)
    stated = [*s["family"].values(), *s["value"].values(), s["person"]]
    checked = [at for at in stated if isinstance(at, dict)]
    assert len(checked) == 5
    for at in checked:
        assert at["delta"] == receipt.delta
        assert delta_of(at["mu"], epsilon=at["epsilon"]) <= receipt.delta
        assert delta_of(at["mu"], epsilon=at["epsilon"] * 0.999) > receipt.delta


def test_what_has_no_mu_grows_along_a_chain(receipt: Receipt) -> None:
    """A trained network at (10, 1e-9): a thousandth of δ has no μ, and for two subjects Φ(Φ⁻¹(1e-12) + μ) comes to it.
    δ is then twice the slack, and the sentence says which δ."""
    prices = share_out(Budget(10.0, 1e-9), gate_share=0.15, trains=True)
    paid = replace(receipt, epsilon=10.0, delta=1e-9, mu=prices.mu, person_rows=1500)
    s, normal = privacy_statement(paid), NormalDist()
    two = 1e-12 + normal.cdf(normal.inv_cdf(1e-12) + prices.mu)
    for at in (s["value"]["any mechanism"], s["value"]["one row, counts"], s["family"]["2"]):
        assert 2 * two < at["delta"] < 2.1 * two
        assert delta_of(at["mu"], epsilon=at["epsilon"]) + two <= at["delta"]
    assert s["value"]["any mechanism"]["mu"] == 2 * prices.mu
    assert f"at δ = {up(s['family']['2']['delta'])} for r = 2" in s["family"]["sentence"]
    assert s["family"]["4"]["delta"] > 0.01
    assert s["person"]["delta"] == 1.0
    assert "the same δ" not in s["value"]["sentence"] + s["person"]["sentence"]
    counts = privacy_statement(replace(paid, mu=share_out(Budget(1.0, 1e-9), gate_share=0.15).mu, epsilon=1.0))
    assert counts["family"]["4"]["delta"] == 1e-9


@given(epsilon=st.floats(0.05, 10), delta=st.sampled_from([1e-6, 1e-9, 1e-12]))
def test_the_attacker_never_beats_what_epsilon_and_delta_allow(world: Any, epsilon: float, delta: float) -> None:
    receipt = replace(world.receipt, epsilon=epsilon, delta=delta, mu=mu_of(epsilon, delta))
    caught = privacy_statement(receipt)["attacker"]["insiders recognised"]
    assert 0.01 < caught <= math.exp(epsilon) * 0.01 + delta
    assert caught == pytest.approx(NormalDist().cdf(NormalDist().inv_cdf(0.01) + receipt.mu))


def test_the_sentences(receipt: Receipt) -> None:
    text = statement_markdown(privacy_statement(receipt))
    for sentence in (
        "Everything ever released from population st-anna-patients, taken together: (ε = 6, δ = 2e-08).",
        "It counts all outputs: releases, models, verdicts of the gate.",
        "To someone who already holds all earlier outputs of st-anna-patients (releases, models, verdicts), this one "
        "adds at most (ε = 1, δ = 1e-06): its model, the gate's tests and every release of that model together.",
        "Taken alone it is bounded by the cap: its recipe was not committed before the first hold of st-anna-patients.",
        "Whoever else is in the data, nobody who already holds all earlier outputs of st-anna-patients can by this one "
        "change their odds that a given person-year is in it, too, by more than a factor 2.72: what was a 1-in-2 guess "
        "becomes at most 73.2 in 100; except with probability 7.13e-5.",
        "n·δ = 0.02 for the 20,000 subjects declared. That is more than 0.001: read it as too large.",
        "By what this one adds to all earlier outputs of st-anna-patients, the best possible attacker who may be wrong "
        "about 1 in 100 outsiders recognises at most 1.84 in 100 insiders",
        "For a changed value of one person-year whom they know to be in the data, μ = 0.237 becomes 2μ = "
        "0.474, that is ε = 2.13",
        "About a person with r rows this one adds r·μ to all earlier outputs of st-anna-patients; the schema declares "
        "r ≤ 5",
        "Recipients may collude.",
        "Other populations of this ledger, where they hold data on the same people",
        "Other institutions that hold data on the same people and share no ledger",
        "What the release teaches about groups",
        "How long computations took.",
        "Whoever can read the records, or unpaid figures of them, and what they decide by these;",
    ):
        assert sentence in text
    assert "Recipe chosen after unpaid figures" not in text


def test_a_first_release_speaks_for_itself(receipt: Receipt) -> None:
    text = statement_markdown(privacy_statement(replace(receipt, first_of_population=True)))
    left = (
        "What somebody chose from other outputs of st-anna-patients (whether, when, how and of whom it is made, "
        "what is drawn and published), and what the ledger's evidence beside it tells of other holds: only the cap "
        "bounds that."
    )
    assert (
        "Its recipe was committed before the first hold of st-anna-patients. So its model taken alone, which is made "
        f"of its own data, coins and noise, is bounded by (ε = 1, δ = 1e-06), too. {left}\n" in text
    )
    assert f"- {left}\n" in text


@pytest.mark.parametrize("first", [True, False])
def test_its_own_bound_is_said_of_who_holds_all_earlier_outputs(receipt: Receipt, first: bool) -> None:
    """Of others it is not true, committed or not: what was chosen after other answers, and how, can carry them."""
    s = privacy_statement(replace(receipt, first_of_population=first))
    assert ("drawn and published" in statement_markdown(s)) is first, "who holds all of them knows what was decided"
    for part in ("release", "odds", "attacker", "value", "family", "person"):
        assert "all earlier outputs of st-anna-patients" in s[part]["sentence"]
    assert "whatever else" not in statement_markdown(s)


def test_a_recipe_chosen_after_a_report_says_so(receipt: Receipt) -> None:
    covered = privacy_statement(replace(receipt, chosen_after_report=True))["not covered"]
    assert covered[0] == "Recipe chosen after unpaid figures; the cap excludes that choice."


def test_of_populations_kept_apart_it_says_that_nobody_counts_in_two(receipt: Receipt) -> None:
    before, apart = privacy_statement(receipt), privacy_statement(replace(receipt, apart=True))
    said = apart["population"].pop("sentence").removeprefix(before["population"].pop("sentence"))
    assert said == (
        " Nobody counts in two populations of this ledger, as far as one id means one person in all its sources. The "
        "data without somebody are those without anything about them in any source of this ledger: counted so, what it "
        f"releases of others than {receipt.population} adds nothing about somebody who counts here. Whether somebody "
        "who stands in other populations' files too stands in this one's is bounded by the caps of all these "
        "populations together."
    )
    [line] = set(apart.pop("not covered")) - set(before.pop("not covered"))
    assert line == (
        "By this cap alone, whether somebody who stands in another population's file too stands in this one's: the "
        "caps of all these populations together bound that."
    )
    assert apart == before


def test_a_person_who_is_the_unit_has_no_section_of_rows(receipt: Receipt) -> None:
    s = privacy_statement(replace(receipt, person_rows=1, unit="patient", contribution=12))
    assert s["person"] is None
    assert "at most 12 rows" in s["unit"]["sentence"]
    assert "several rows" not in statement_markdown(s)


def test_a_small_n_delta_is_no_warning(receipt: Receipt) -> None:
    assert "too large" not in privacy_statement(replace(receipt, delta=1e-9, mu=mu_of(1.0, 1e-9)))["odds"]["sentence"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("rows", [1, 5])
def test_no_statement_promises_too_much(receipt: Receipt, first: bool, chosen: bool, rows: int) -> None:
    s = privacy_statement(replace(receipt, first_of_population=first, chosen_after_report=chosen, person_rows=rows))
    assert not NEVER.search(statement_markdown(s) + json.dumps(s, ensure_ascii=False))


@pytest.mark.parametrize(
    "gap", [{"cap_epsilon": 0.0}, {"cap_delta": 0.0}, {"mu": 0.0}, {"mu": math.inf}, {"subjects": 0}]
)
def test_an_incomplete_receipt_gets_no_statement(receipt: Receipt, gap: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="lacks"):
        privacy_statement(replace(receipt, **gap))


@given(st.floats(1e-30, 1e14))
def test_figures_are_rounded_up_and_by_little(figure: float) -> None:
    shown = float(up(figure))
    assert figure <= shown <= figure * 1.0101
    assert float(exact(figure)) == figure


def test_how_figures_look() -> None:
    assert [up(x) for x in (1.0, 2e-5, 2.0001e-5, 0.00011, 99.91, 22026.4, 1e-9)] == [
        "1",
        "2e-5",
        "2.01e-5",
        "0.00011",
        "100",
        "22100",
        "1e-9",
    ]
    assert [exact(x) for x in (1, 0.5, 1e-9, 6.0)] == ["1", "0.5", "1e-09", "6"]
