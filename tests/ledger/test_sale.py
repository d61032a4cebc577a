"""Reserving: the policy first, then every budget line, then one entry."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.data.schema import parse_schema
from privsynth.errors import BudgetError, BudgetExhausted, HoldError, LedgerError, RequestDenied, UsageError
from privsynth.ledger.ledger import Ledger, quote_unopened
from privsynth.ledger.quote import largest
from privsynth.privacy.accountant import Prices, mu_squared, share_out
from privsynth.privacy.filters import make_filter
from tests.ledger.world import (
    ANALYST,
    NOON,
    OTHER_ANALYST,
    READER,
    USE,
    Hands,
    Recipe,
    holds,
    kinds,
    opened,
    paid,
    policy,
    recipe,
)


def test_a_hold_says_what_it_was_bought_for(ledger: Ledger, clock: Hands) -> None:
    clock.move(hours=1)
    hold = ledger.reserve(recipe(1.0), **USE, request="r1")
    assert (hold.source, hold.population, hold.purpose, hold.recipient) == (
        "ehr/encounters",
        "patients",
        "research",
        "university",
    )
    assert (hold.unit, hold.contribution, hold.person_rows, hold.request) == ("patient", 12, 1, "r1")
    assert hold.policy == ledger.policy.sha256
    assert hold.reserved == "2026-11-21T13:00:00.000000+00:00"
    assert len(hold.id) == 32
    assert hold.prices == share_out(recipe(1.0).budget, gate_share=0.15)
    assert mu_squared(hold.prices.event) <= Fraction(hold.prices.mu) ** 2
    with ledger.reading() as session:
        body = session.main[-1].body
    assert body["terms"]["recipe"] == hold.recipe
    assert body["accountant"].startswith("dp-accounting 0.")
    assert body["event"]["type"] == "composed"


def test_the_schema_of_a_recipe_is_recorded_where_it_has_one(ledger: Ledger) -> None:
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\n"
        "subject: {each row is a: patient, a person has at most: 5 rows}\n"
        "columns:\n  age: {kind: integer, min: 0, max: 99}\n  id: {kind: identifier}\n"
    )

    class WithSchema(Recipe):
        """A recipe that shows its schema, as generators do."""

    object.__setattr__(given_ := WithSchema(contribution=1), "schema", schema)
    hold = ledger.reserve(given_, **USE)
    assert (hold.schema, hold.person_rows) == (schema.sha256, 5)
    assert holds(ledger)[hold.id].terms.columns == ("age",)


def test_a_recipe_that_names_no_unit_is_held_to_the_policys(ledger: Ledger) -> None:
    """A schema with a subject column does not say what its people are called; the policy does."""
    assert ledger.reserve(recipe(unit=""), **USE).unit == "patient"
    with pytest.raises(RequestDenied, match="PS-SRC-001"):
        ledger.reserve(recipe(unit="", source="ehr/other"), **USE)
    with pytest.raises(RequestDenied, match="PS-SRC-002"):
        ledger.reserve(recipe(unit="visit"), **USE)


def test_the_first_hold_of_a_population_knows_it(ledger: Ledger) -> None:
    assert ledger.reserve(recipe(0.1), **USE).first_of_population
    assert not ledger.reserve(recipe(0.1), **USE).first_of_population


def test_the_policy_speaks_first_and_the_refusal_is_noted_in_the_second_log(ledger: Ledger) -> None:
    before = len(kinds(ledger))
    with pytest.raises(RequestDenied) as caught:
        ledger.reserve(recipe(4.0, source="ehr/other"), purpose="marketing", recipient="university", request="r")
    assert {"PS-SRC-001", "PS-PUR-001", "PS-BUD-001"} <= set(caught.value.rules)
    assert len(kinds(ledger)) == before
    with ledger.reading() as session:
        noted = session.attempts[-1]
    assert (noted.kind, noted.body["step"], noted.body["request"]) == ("denied", "reserve", "r")
    assert noted.body["rules"] == list(caught.value.rules)


def test_only_a_requester_may_ask(tmp_path: Path) -> None:
    for actor in (READER, "stranger@st-anna.example"):
        with pytest.raises(RequestDenied, match="PS-ROL-001"):
            opened(tmp_path, actor=actor).reserve(recipe(), **USE)


def test_a_recipe_that_could_not_be_fitted_is_not_sold(ledger: Ledger) -> None:
    """Asked with the declared sizes and the prices of the sale, after policy and budget; nothing is written."""
    asked: list[tuple[float, float, float]] = []

    class Unfit(Recipe):
        """Its noise would be beyond every sampler."""

        def check_sampler(self, prices: Prices, *, rows: float, cap_epsilon: float) -> None:
            asked.append((prices.mu, rows, cap_epsilon))
            raise BudgetError("no such noise", mend="a larger epsilon")

    before = kinds(ledger), kinds(ledger, "attempts")
    with pytest.raises(BudgetError, match="no such noise"):
        ledger.reserve(Unfit(), **USE)
    sold = ledger.reserve(recipe(), **USE)
    assert asked == [(sold.prices.mu, sold.training_subjects, sold.cap_epsilon)]
    assert (kinds(ledger)[:-1], kinds(ledger, "attempts")) == before
    with pytest.raises(RequestDenied):  # the policy's word comes first
        ledger.reserve(Unfit(), purpose="none", recipient=USE["recipient"])
    assert len(asked) == 1


def test_an_exhausted_line_is_named_with_what_it_still_buys(ledger: Ledger) -> None:
    ledger.reserve(recipe(2.0), **USE)
    before = len(kinds(ledger))
    with pytest.raises(BudgetExhausted, match="recipient university of population patients") as caught:
        ledger.reserve(recipe(2.9), **USE)
    assert caught.value.exit_code == 3
    assert "budget of recipient university" in caught.value.what  # and not of the population, which still could
    assert kinds(ledger)[before:] == []
    assert kinds(ledger, "attempts")[-1] == "exhausted"
    offered = float(caught.value.mend.rpartition(" ")[2])
    assert offered == ledger.quote(recipe(2.9), **USE).buys
    with pytest.raises(BudgetExhausted):
        ledger.reserve(recipe(offered * 1.02), **USE)
    ledger.reserve(recipe(offered), **USE)
    with pytest.raises(BudgetExhausted):
        ledger.reserve(recipe(0.5), **USE)


def test_a_line_with_nothing_left_says_so(tmp_path: Path) -> None:
    ledger = opened(tmp_path, policy(("epsilon: 3.0, delta: 2e-8", "epsilon: 3.0, delta: 1e-12")))
    for _ in range(4):  # each hold takes 2e-15 of the 1e-14 that is set aside for events; as floats, 5 are too many
        ledger.reserve(recipe(0.01), **USE)
    with pytest.raises(BudgetExhausted, match="buys nothing"):
        ledger.reserve(recipe(0.01), **USE)


def test_recipients_have_lines_of_their_own_under_the_populations_cap(ledger: Ledger) -> None:
    ledger.reserve(recipe(2.5), **USE)
    ledger.reserve(recipe(2.5), purpose="research", recipient="institute")
    lines = {(line.over, line.name): line for line in ledger.balances()}
    assert set(lines) == {("population", "patients"), ("recipient", "university"), ("recipient", "institute")}
    assert lines["recipient", "university"].holds == lines["recipient", "institute"].holds == 1
    assert lines["population", "patients"].holds == 2
    assert lines["recipient", "university"].spent_share() == lines["recipient", "institute"].spent_share()
    assert 0 < lines["population", "patients"].spent_share() < 1


def test_two_sources_of_one_population_share_its_budget(tmp_path: Path) -> None:
    from tests.ledger.world import second_source

    ledger = opened(tmp_path, policy(second_source("labs", "patients")))
    ledger.reserve(recipe(1.0), **USE)
    ledger.reserve(recipe(1.0, source="ehr/labs"), **USE)
    assert [line.holds for line in ledger.balances() if line.over == "population"] == [2]


def test_a_request_id_buys_once(ledger: Ledger) -> None:
    hold = ledger.reserve(recipe(), **USE, request="monday")
    spent = paid(ledger)
    again = ledger.reserve(recipe(), **USE, request="monday")
    assert again == hold == ledger.find("monday") == ledger.hold(hold.id)
    assert paid(ledger) == spent
    assert ledger.find("tuesday") is None
    assert ledger.reserve(recipe(), **USE).id != ledger.reserve(recipe(), **USE).id  # no id: a new hold each time


@pytest.mark.parametrize(
    ("changed", "use", "named"),
    [
        (recipe(0.9), USE, "recipe"),
        (recipe(1.0, target="age"), USE, "recipe"),
        (recipe(1.0, kind="images"), USE, "kind"),
        (recipe(1.0), {**USE, "recipient": "institute"}, "recipient"),
        (recipe(1.0), {**USE, "consent": "register"}, "consent"),
    ],
)
def test_a_request_id_with_other_terms_is_refused(
    ledger: Ledger, changed: Recipe, use: dict[str, Any], named: str
) -> None:
    ledger.reserve(recipe(), **USE, request="monday")
    with pytest.raises(HoldError, match=named) as caught:
        ledger.reserve(changed, **use, request="monday")
    assert "request id" in caught.value.mend


def test_a_request_id_belongs_to_who_asked(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve(recipe(), **USE, request="monday")
    with pytest.raises(HoldError, match="actor"):
        opened(tmp_path, actor=OTHER_ANALYST).reserve(recipe(), **USE, request="monday")


@pytest.mark.parametrize("request_id", ["", " a", "a\nb", "x" * 257, 7])
def test_a_request_id_is_one_line_of_text(ledger: Ledger, request_id: Any) -> None:
    with pytest.raises(UsageError, match="request"):
        ledger.reserve(recipe(), **USE, request=request_id)


def test_a_retry_returns_the_hold_even_when_nothing_is_left(ledger: Ledger) -> None:
    hold = ledger.reserve(recipe(2.9), **USE, request="all")
    with pytest.raises(BudgetExhausted):
        ledger.reserve(recipe(2.9), **USE)
    assert ledger.reserve(recipe(2.9), **USE, request="all") == hold


def test_the_filter_grants_exactly_up_to_its_cap(tmp_path: Path) -> None:
    """The lines behave as one filter fed by hand, hold for hold."""
    ledger = opened(tmp_path, policy(("epsilon: 3.0, delta: 2e-8", "epsilon: 6.0, delta: 2e-8")))
    prices = share_out(recipe(2.0).budget, gate_share=0.15)
    by_hand = make_filter("gdp", epsilon=6.0, delta=2e-8)
    while by_hand.admits(prices.event, delta=prices.delta_own):
        by_hand = by_hand.charge(prices.event, delta=prices.delta_own)
        ledger.reserve(recipe(2.0), **USE)
    with pytest.raises(BudgetExhausted):
        ledger.reserve(recipe(2.0), **USE)
    assert [line.filter for line in ledger.balances()][:2] == [by_hand, make_filter("gdp", epsilon=6.0, delta=2e-8)]


def test_a_quote_says_what_reserve_would_say_and_writes_nothing(ledger: Ledger) -> None:
    before = kinds(ledger), kinds(ledger, "attempts")
    quote = ledger.quote(recipe(1.0), **USE)
    assert quote.admitted
    assert quote.decision.allowed
    assert quote.buys is None
    assert [line.over for line in quote.lines] == ["population", "recipient"]
    assert [(line.spent_before, line.holds) for line in quote.lines] == [(0.0, 0), (0.0, 0)]
    assert (kinds(ledger), kinds(ledger, "attempts")) == before
    ledger.reserve(recipe(1.0), **USE)
    after = {(line.over, line.name): line.spent_share() for line in ledger.balances()}
    assert [line.spent_after for line in quote.lines] == [after[line.over, line.name] for line in quote.lines]
    assert quote_unopened(recipe(1.0), policy(), **USE, actor=ANALYST, clock=lambda: NOON) == quote


def test_a_quote_of_what_is_denied_still_lists_the_rules(ledger: Ledger) -> None:
    denied = ledger.quote(recipe(3.5), **USE)
    assert not denied.admitted
    assert [verdict.id for verdict in denied.decision.refusing] == ["PS-BUD-001"]
    assert [line.admitted for line in denied.lines] == [True, False]
    assert denied.buys is not None
    assert 3.0 < denied.buys < 3.5  # at a delta below the cap's, a little more than the cap's epsilon
    unknown = ledger.quote(recipe(source="ehr/other"), **USE)
    assert (unknown.admitted, unknown.lines) == (False, ())


@given(st.floats(1e-4, 50), st.floats(1e-4, 50))
def test_the_largest_that_fits_has_three_digits_and_is_rounded_down(edge: float, most: float) -> None:
    found = largest(lambda x: x <= edge, least=1e-4, most=most)
    assert found is not None
    assert found <= edge
    assert len(Decimal(repr(found)).normalize().as_tuple().digits) <= 3
    assert found >= min(edge, most) * 0.98 or found == 1e-4


def test_the_largest_is_nothing_where_nothing_fits() -> None:
    assert largest(lambda _: False, least=1e-4, most=1.0) is None


# --- reports and the choice of recipes -----------------------------------------------------------


def test_only_a_reader_opens_a_report_and_it_is_recorded(tmp_path: Path) -> None:
    ledger, reader = opened(tmp_path), opened(tmp_path, actor=READER)
    with pytest.raises(RequestDenied, match="PS-ROL-002") as caught:
        ledger.open_report("patients")
    assert caught.value.where.startswith("policy.yaml:")
    assert kinds(ledger, "attempts")[-1] == "denied"
    with pytest.raises(RequestDenied, match="PS-SRC-001"):
        reader.open_report("nobody")
    reader.open_report("patients")
    assert kinds(ledger)[-1] == "report"


def test_a_report_opened_by_a_pure_reader_marks_nothing(tmp_path: Path) -> None:
    opened(tmp_path, actor=READER).open_report("patients")
    assert not opened(tmp_path).reserve(recipe(), **USE).chosen_after_report


SWAPPED = (
    ("a.kim@st-anna.example: {roles: [analysts]}", "a.kim@st-anna.example: {roles: [quality]}"),
    ("q.lee@st-anna.example: {roles: [quality]}", "q.lee@st-anna.example: {roles: [analysts]}"),
)


def test_a_requester_who_read_a_report_marks_every_later_hold(tmp_path: Path) -> None:
    """She asked first, read under a later version of the policy, and now anyone's hold carries it."""
    early = opened(tmp_path).reserve(recipe(0.1), **USE)
    opened(tmp_path, policy(*SWAPPED)).open_report("patients")
    assert opened(tmp_path, actor=OTHER_ANALYST).reserve(recipe(0.1), **USE).chosen_after_report
    assert not opened(tmp_path).hold(early.id).chosen_after_report


def test_whoever_once_asked_still_counts_when_she_only_reads(tmp_path: Path) -> None:
    opened(tmp_path).reserve(recipe(0.1), **USE)
    opened(tmp_path, policy(*SWAPPED)).open_report("patients")
    assert opened(tmp_path, policy(*SWAPPED), actor=OTHER_ANALYST).reserve(recipe(0.1), **USE).chosen_after_report


def test_a_reader_who_may_ask_now_counts_before_he_asks(tmp_path: Path) -> None:
    opened(tmp_path, actor=READER).open_report("patients")
    assert not opened(tmp_path, actor=OTHER_ANALYST).reserve(recipe(0.1), **USE).chosen_after_report
    assert opened(tmp_path, policy(*SWAPPED), actor=OTHER_ANALYST).reserve(recipe(0.1), **USE).chosen_after_report


MARKED = ("  requesters of holds: [analysts]", "  overlap: marked\n  requesters of holds: [analysts]")


def test_a_reader_who_becomes_a_requester_is_refused_or_marks_his_holds(tmp_path: Path) -> None:
    opened(tmp_path, actor=READER).open_report("patients")
    late = opened(tmp_path, policy(*SWAPPED), actor=READER)
    assert late.quote(recipe(0.1), **USE).decision.refusing[0].id == "PS-ROL-003"
    with pytest.raises(RequestDenied) as caught:
        late.reserve(recipe(0.1), **USE)
    assert caught.value.rules == ("PS-ROL-003",)
    assert opened(tmp_path, policy(*SWAPPED, MARKED), actor=READER).reserve(recipe(0.1), **USE).chosen_after_report


def test_reports_of_one_population_do_not_mark_another(tmp_path: Path) -> None:
    from tests.ledger.world import second_source

    rules = policy(second_source("staff", "staff"))
    opened(tmp_path, rules).reserve(recipe(0.1), **USE)
    opened(tmp_path, policy(second_source("staff", "staff"), *SWAPPED)).open_report("patients")
    assert not opened(tmp_path, rules).reserve(recipe(0.1, source="ehr/staff"), **USE).chosen_after_report
    with pytest.raises(RequestDenied):
        opened(tmp_path, rules).reserve(recipe(0.1), **USE)
    assert opened(tmp_path, rules, actor=OTHER_ANALYST).reserve(recipe(0.1), **USE).chosen_after_report


def test_a_clock_set_back_stops_sales(ledger: Ledger, clock: Hands) -> None:
    ledger.reserve(recipe(0.1), **USE)
    clock.move(minutes=-6)
    with pytest.raises(LedgerError, match="five minutes"):
        ledger.reserve(recipe(0.1), **USE)
    clock.move(minutes=6)
    ledger.reserve(recipe(0.1), **USE)
