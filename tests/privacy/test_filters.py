"""Filters under adaptive choice: what they grant never costs more than the cap, and less is unsound.

The adversary: arXiv 2602.06756's fault of "natural" filters, with the numbers of field/policy.md 3.1.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import dp_accounting as dpa
import numpy as np
import pytest
from dp_accounting.rdp import rdp_privacy_accountant
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from privsynth.errors import BudgetError, BudgetExhausted
from privsynth.privacy.accountant import mu_squared, price, rdp
from privsynth.privacy.filters import Filter, GdpFilter, RenyiFilter, automatic_orders, make_filter
from privsynth.privacy.gdp import mu_of

LAW = settings(deadline=None, derandomize=True, max_examples=50)

EPSILON, DELTA = 1.0, 1e-5
TINY = 1e-30  # delta_a, so that nearly all of delta is the filter's own
KINDS: list[Literal["gdp", "rdp"]] = ["gdp", "rdp"]


def gaussian(noise: float) -> Any:
    return dpa.GaussianDpEvent(noise)


def laplace(scale: float) -> Any:
    return dpa.LaplaceDpEvent(scale)


# --- the adaptive adversary --------------------------------------------------------------------


@dataclass(frozen=True)
class NaturalFilter:
    """The unsound rule: grant while the PLD of the history, as if fixed in advance, is within the cap."""

    history: tuple[Any, ...] = ()

    def admits(self, event: Any) -> bool:
        return price(dpa.ComposedDpEvent([*self.history, event]), delta=DELTA) <= EPSILON

    def charge(self, event: Any) -> NaturalFilter:
        assert self.admits(event)
        return NaturalFilter((*self.history, event))


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def curve_of_gaussian(noise: float) -> Curve:
    mu = 1 / noise
    return lambda e: ndtr(mu / 2 - e / mu) - np.exp(e) * ndtr(-mu / 2 - e / mu)


def curve_of_laplace(scale: float) -> Curve:
    def curve(e: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.maximum(0, 1 - np.exp((np.maximum(e, -1 / scale) - 1 / scale) / 2))
        return np.where(e < -1 / scale, 1 - np.exp(e), inside)

    return curve


FIRST = gaussian(10.0)
FINISHERS = [(gaussian(4.03), curve_of_gaussian(4.03)), (laplace(1.48), curve_of_laplace(1.48))]


def adaptive_delta(finishers: list[Curve]) -> float:
    """δ(ε) of FIRST, then the finisher that hurts most given its answer y: ∫ p(y)·max_i δ_i(ε - L(y)) dy."""
    mu = 0.1
    y = np.linspace(mu - 14, mu + 14, 200_001)
    left = EPSILON - (mu * y - mu**2 / 2)
    stop = np.maximum(0, 1 - np.exp(left))
    worst = np.max([stop, *(finish(left) for finish in finishers)], axis=0)
    density = np.exp(-((y - mu) ** 2) / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(density * worst, y))


def assert_stays_within_the_cap(filter_: Filter | NaturalFilter) -> None:
    after = filter_.charge(FIRST)
    granted = [curve for event, curve in FINISHERS if after.admits(event)]
    assert adaptive_delta(granted) <= DELTA


def renyi_auto() -> RenyiFilter:
    return RenyiFilter(EPSILON, DELTA, TINY, automatic_orders(EPSILON, DELTA))


def test_the_adversarys_figures() -> None:
    each = [adaptive_delta([curve]) for _, curve in FINISHERS]
    assert each == pytest.approx([9.68e-6, 9.38e-6], rel=2e-3)
    assert adaptive_delta([curve for _, curve in FINISHERS]) == pytest.approx(1.871e-5, rel=1e-3)


def test_gdp_filter_grants_the_gaussian_and_refuses_the_laplace() -> None:
    after = GdpFilter(EPSILON, DELTA, TINY).charge(FIRST)
    assert [after.admits(event) for event, _ in FINISHERS] == [True, False]
    assert_stays_within_the_cap(GdpFilter(EPSILON, DELTA, TINY))


def test_renyi_filter_refuses_both_finishers() -> None:
    after = renyi_auto().charge(FIRST)
    assert [after.admits(event) for event, _ in FINISHERS] == [False, False]
    assert_stays_within_the_cap(renyi_auto())


def test_a_natural_filter_grants_both_and_breaks_the_cap() -> None:
    after = NaturalFilter().charge(FIRST)
    assert [after.admits(event) for event, _ in FINISHERS] == [True, True]
    with pytest.raises(AssertionError):
        assert_stays_within_the_cap(NaturalFilter())


# --- the cap, to the last bit ------------------------------------------------------------------


def least_admitted(filter_: Filter, low: float, high: float) -> float:
    """The smallest noise multiplier that the filter grants, by bisection over floats."""
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if filter_.admits(gaussian(middle)) else (middle, high)
    return high


@pytest.mark.parametrize("kind", KINDS)
def test_one_unit_in_the_last_place_decides(kind: Literal["gdp", "rdp"]) -> None:
    filter_ = make_filter(kind, epsilon=1.0, delta=1e-6)
    noise = least_admitted(filter_, 0.1, 100.0)
    spent = filter_.charge(gaussian(noise))
    with pytest.raises(BudgetExhausted):
        filter_.charge(gaussian(math.nextafter(noise, 0)))
    assert not spent.admits(gaussian(1e6))
    assert spent.spent_share() == pytest.approx(1.0, rel=1e-9)
    assert spent.spent_epsilon() <= 1.0 * (1 + 1e-9)


def test_the_gdp_cap_is_met_exactly() -> None:
    filter_ = make_filter("gdp", epsilon=1.0, delta=1e-6)
    assert isinstance(filter_, GdpFilter)
    noise = least_admitted(filter_, 0.1, 100.0)
    assert 1 / Fraction(noise) ** 2 <= filter_.cap < 1 / Fraction(math.nextafter(noise, 0)) ** 2
    halves = filter_.charge(gaussian(noise * math.sqrt(2) * (1 + 1e-15)))
    assert halves.admits(gaussian(noise * math.sqrt(2) * (1 + 1e-15)))
    assert filter_.cap <= Fraction(mu_of(1.0, 1e-6)) ** 2


def test_renyi_caps_imply_the_budget_at_a_share_of_delta() -> None:
    """dp_accounting converts (α, B) back to at most ε at δ_f/k; a hair more than B would not fit."""
    for epsilon, delta in ((0.1, 1e-9), (1.0, 1e-5), (3.0, 1e-6), (20.0, 1e-12)):
        filter_ = make_filter("rdp", epsilon=epsilon, delta=delta)
        assert isinstance(filter_, RenyiFilter)
        share = (delta - delta / 100) / 3
        for order, cap in zip(filter_.orders, filter_.caps, strict=True):
            got, _ = rdp_privacy_accountant.compute_epsilon([order], [cap], share)
            assert got == pytest.approx(epsilon, rel=1e-9)
            assert got <= epsilon * (1 + 1e-12)


def test_automatic_orders_follow_the_rule() -> None:
    filter_ = make_filter("rdp", epsilon=2.0, delta=1e-6)
    assert isinstance(filter_, RenyiFilter)
    unit = math.log(3 / (1e-6 * 0.99)) / 2.0
    assert filter_.orders == pytest.approx([1 + c * unit for c in (1.15, 1.6, 2.6)], rel=1e-5)


def test_every_order_divides_delta() -> None:
    """The union over the order that survives is paid: more orders, a lower cap at each."""
    one = make_filter("rdp", epsilon=1.0, delta=1e-5, orders=(12.0,))
    two = make_filter("rdp", epsilon=1.0, delta=1e-5, orders=(12.0, 40.0))
    assert isinstance(one, RenyiFilter)
    assert isinstance(two, RenyiFilter)
    assert two.caps[0] == pytest.approx(one.caps[0] - math.log(2) / 11, rel=1e-9)


def test_an_order_that_is_dead_stays_dead() -> None:
    filter_ = make_filter("rdp", epsilon=1.0, delta=1e-5, orders=(12.0, 40.0))
    assert isinstance(filter_, RenyiFilter)
    heavy_at_40 = dpa.PoissonSampledDpEvent(0.001, gaussian(1.0))
    after = filter_.charge(heavy_at_40)
    assert after.sums[1] > after.caps[1]
    assert after.sums[0] <= after.caps[0]
    rest = after.charge(gaussian(30.0))
    assert rest.sums[1] > after.sums[1]
    share = rest.sums[0] / rest.caps[0]
    assert rest.spent_share() == pytest.approx(share)


def test_an_infinite_cost_kills_an_order_and_refuses_at_all() -> None:
    filter_ = make_filter("rdp", epsilon=1.0, delta=1e-5)
    assert not filter_.admits(dpa.PoissonSampledDpEvent(0.5, gaussian(2.0**-20)))


# --- laws --------------------------------------------------------------------------------------

EVENTS = st.one_of(
    st.builds(gaussian, st.floats(3, 200)),
    st.builds(laplace, st.floats(5, 500)),
    st.builds(lambda noise, n: dpa.SelfComposedDpEvent(gaussian(noise), n), st.floats(20, 500), st.integers(1, 5)),
    st.just(dpa.NoOpDpEvent()),
)
CHARGES = st.lists(st.tuples(EVENTS, st.just(0.0) | st.floats(0, 6e-8)), max_size=12)


def run(filter_: Any, charges: list[tuple[Any, float]]) -> tuple[Any, list[tuple[Any, float]]]:
    """Charge what is granted, skip what is refused."""
    granted = []
    for event, delta in charges:
        before = (filter_, dataclasses.asdict(filter_))
        if filter_.admits(event, delta=delta):
            after = filter_.charge(event, delta=delta)
            granted.append((event, delta))
        else:
            with pytest.raises(BudgetExhausted) as refusal:
                filter_.charge(event, delta=delta)
            assert refusal.value.mend
            after = filter_
        assert (filter_, dataclasses.asdict(filter_)) == before  # charging never changes the filter charged
        filter_ = after
    return filter_, granted


@LAW
@given(CHARGES, st.randoms(use_true_random=False))
def test_gdp_never_exceeds_its_cap_in_any_order(charges: list[tuple[Any, float]], random: Any) -> None:
    for _ in range(2):
        filter_ = make_filter("gdp", epsilon=1.0, delta=1e-5)
        assert isinstance(filter_, GdpFilter)
        last, granted = run(filter_, charges)
        exact = sum((mu_squared(event) for event, _ in granted), Fraction(0))
        assert exact <= last.spent <= filter_.cap
        assert last.spent - exact <= len(granted) * Fraction(1, 2**256)
        assert sum((Fraction(delta) for _, delta in granted), Fraction(0)) == last.spent_delta
        assert last.spent_delta <= Fraction(filter_.delta_a)
        random.shuffle(charges)


@LAW
@given(CHARGES, st.randoms(use_true_random=False))
def test_renyi_never_exceeds_its_cap_in_any_order(charges: list[tuple[Any, float]], random: Any) -> None:
    for _ in range(2):
        filter_ = make_filter("rdp", epsilon=1.0, delta=1e-5)
        assert isinstance(filter_, RenyiFilter)
        last, granted = run(filter_, charges)
        for order, total in zip(filter_.orders, last.sums, strict=True):
            assert total >= math.fsum(rdp(event, order=order) for event, _ in granted)
        assert any(total <= cap for total, cap in zip(last.sums, filter_.caps, strict=True))
        assert last.spent_delta <= Fraction(filter_.delta_a)
        random.shuffle(charges)


@pytest.mark.parametrize("kind", KINDS)
def test_a_course_is_one_charge_after_another(kind: Literal["gdp", "rdp"]) -> None:
    start = make_filter(kind, epsilon=3.0, delta=1e-6)
    one, other = gaussian(9.0), gaussian(5.0)
    charges = [(one if n % 3 else other, 1e-10 * (n % 2)) for n in range(60)]
    now: Filter = start
    course = start.course(charges)
    with pytest.raises(BudgetExhausted):
        for event, delta in charges:
            now = now.charge(event, delta=delta)
            assert next(course) == now
    with pytest.raises(BudgetExhausted):
        next(course)
    assert now != start and list(start.course([])) == []


def test_the_order_of_charges_does_not_change_a_gdp_sum() -> None:
    events = [gaussian(7.3), laplace(31.7), gaussian(11.1)]
    sums = {
        run(make_filter("gdp", epsilon=1.0, delta=1e-5), [(e, 0.0) for e in order])[0].spent
        for order in (events, events[::-1])
    }
    assert len(sums) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_own_deltas_have_their_own_cap(kind: Literal["gdp", "rdp"]) -> None:
    filter_: Filter = make_filter(kind, epsilon=1.0, delta=1e-5)
    limit = 1e-5 / 100
    full = filter_.charge(gaussian(100.0), delta=limit)
    assert full.admits(gaussian(100.0))
    assert not full.admits(gaussian(100.0), delta=5e-324)
    assert not filter_.admits(gaussian(100.0), delta=math.nextafter(limit, 1.0))
    assert full.spent_share() == 1.0


# --- what is refused outright ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, -0.0, 1e308, True])
def test_absurd_deltas_and_noises_are_refused(kind: Literal["gdp", "rdp"], value: float) -> None:
    filter_ = make_filter(kind, epsilon=1.0, delta=1e-5)
    for ask in (filter_.admits, filter_.charge):
        with pytest.raises(BudgetError):
            ask(gaussian(10.0), delta=value)
        if value is not True:
            with pytest.raises(BudgetError):
                ask(gaussian(value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0, -0.0, 1e-400, 1e308, True, "1"])
def test_absurd_caps_are_refused(kind: Literal["gdp", "rdp"], value: Any) -> None:
    with pytest.raises(BudgetError):
        make_filter(kind, epsilon=value, delta=1e-5)
    with pytest.raises(BudgetError):
        make_filter(kind, epsilon=1.0, delta=value)
    with pytest.raises(BudgetError):
        GdpFilter(1.0, 1e-5, value)


@pytest.mark.parametrize(
    "orders", [(), (1.0,), (8.0, 4.0), (8.0, 8.0), (math.nan,), (math.inf,), tuple(range(2, 20)), (1.5,)]
)
def test_orders_that_cannot_serve_are_refused(orders: tuple[float, ...]) -> None:
    with pytest.raises(BudgetError) as refusal:
        make_filter("rdp", epsilon=1.0, delta=1e-5, orders=orders)
    assert refusal.value.mend


def test_unknown_kinds_and_orders_for_gdp_are_refused() -> None:
    with pytest.raises(BudgetError, match="not known"):
        make_filter("pld", epsilon=1.0, delta=1e-5)  # type: ignore[arg-type]  # the fault under test
    with pytest.raises(BudgetError, match="no orders"):
        make_filter("gdp", epsilon=1.0, delta=1e-5, orders=(8.0,))
    with pytest.raises(BudgetError, match="one sum"):
        RenyiFilter(1.0, 1e-5, 1e-7, (20.0,), (0.0, 0.0))


def test_events_without_a_cost_in_the_measure_are_refused() -> None:
    sampled = dpa.PoissonSampledDpEvent(0.01, gaussian(2.0))
    with pytest.raises(BudgetError, match="rdp"):
        make_filter("gdp", epsilon=1.0, delta=1e-5).admits(sampled)
    assert make_filter("rdp", epsilon=1.0, delta=1e-5).admits(sampled)
    for kind in KINDS:
        with pytest.raises(BudgetError):
            make_filter(kind, epsilon=1.0, delta=1e-5).admits(dpa.ZCDpEvent(0.01))


# --- what is written down ----------------------------------------------------------------------


def test_json_holds_the_frozen_parameters_and_not_the_sums() -> None:
    for kind in KINDS:
        fresh: Filter = make_filter(kind, epsilon=1.0, delta=1e-5)
        written = json.loads(json.dumps(fresh.to_json()))
        assert fresh.charge(gaussian(20.0)).to_json() == written
        assert written["kind"] == kind == fresh.kind
        orders = tuple(written["orders"]) if kind == "rdp" else None
        assert make_filter(kind, epsilon=written["epsilon"], delta=written["delta"], orders=orders) == fresh


def test_diagnostics_of_an_unspent_filter_are_zero() -> None:
    for kind in KINDS:
        fresh = make_filter(kind, epsilon=1.0, delta=1e-5)
        assert fresh.spent_share() == 0.0
        assert fresh.spent_epsilon() == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_the_cap_is_kept_exactly(kind: Literal["gdp", "rdp"]) -> None:
    """``within`` is true up to the share that ``spent_share`` tells, and of an exhausted order says nothing good."""
    spent = make_filter(kind, epsilon=1.0, delta=1e-5)
    assert spent.within(Fraction(1, 10**9))
    for _ in range(5):
        spent = spent.charge(gaussian(20.0))
        share = Fraction(spent.spent_share())
        assert spent.within(share * Fraction(1001, 1000)) and not spent.within(share * Fraction(999, 1000))
    gdp = GdpFilter(1.0, 1e-5, 1e-7)
    assert dataclasses.replace(gdp, spent=gdp.cap / 4).within(Fraction(1, 4))
    assert not dataclasses.replace(gdp, spent=gdp.cap / 4 + Fraction(1, 2**300)).within(Fraction(1, 4))
    renyi = RenyiFilter(1.0, 1e-5, 1e-7, (20.0, 40.0))
    low, high = renyi.caps
    assert dataclasses.replace(renyi, sums=(math.inf, high / 4)).within(Fraction(1, 4))
    assert not dataclasses.replace(renyi, sums=(low, math.nextafter(high / 4, 1))).within(Fraction(1, 4))
