import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.validate.bounds import advantage_bound, auc_bound, precision_bound, tpr_bound


@pytest.mark.parametrize(
    ("mu", "auc", "advantage", "at_1", "at_01"),
    [(0.237, 0.566, 0.094, 0.018, 0.0022), (1.020, 0.765, 0.390, 0.096, 0.019), (1.848, 0.904, 0.645, 0.32, 0.11)],
)
def test_the_table_of_the_field(mu: float, auc: float, advantage: float, at_1: float, at_01: float) -> None:
    assert auc_bound(mu) == pytest.approx(auc, abs=1e-3)
    assert advantage_bound(mu) == pytest.approx(advantage, abs=1e-3)
    assert tpr_bound(0.01, mu=mu) == pytest.approx(at_1, rel=0.03)
    assert tpr_bound(0.001, mu=mu) == pytest.approx(at_01, rel=0.03)


@given(st.floats(0, 5))
def test_they_are_one_curve(mu: float) -> None:
    fpr = np.linspace(0, 1, 4001)
    tpr = np.array([tpr_bound(float(f), mu=mu) for f in fpr])
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc_bound(mu), abs=2e-3)
    assert (tpr - fpr).max() == pytest.approx(advantage_bound(mu), abs=2e-3)


@given(st.floats(0, 3), st.floats(0.001, 0.5))
def test_precision_lies_on_the_curve(mu: float, portion: float) -> None:
    precision = precision_bound(portion, mu=mu)
    fpr = (1 - precision) * 2 * portion
    assert 0.5 - 1e-9 <= precision <= 1
    assert fpr + tpr_bound(fpr, mu=mu) == pytest.approx(2 * portion, abs=1e-6)


def test_no_loss_is_a_coin() -> None:
    assert auc_bound(0) == 0.5 and advantage_bound(0) == 0 and precision_bound(0.02, mu=0) == pytest.approx(0.5)
    assert tpr_bound(0.0, mu=3) == 0 and tpr_bound(1.0, mu=3) == 1
