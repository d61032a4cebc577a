"""What a µ-GDP fit allows any attack on one subject's presence (Dong, Roth and Su, 2022).

Printed beside every measured attack. A measured lower bound above one of these is a fault of the
software, not a score.
"""

from __future__ import annotations

from statistics import NormalDist

_NORMAL = NormalDist()


def tpr_bound(fpr: float, *, mu: float) -> float:
    """The largest true-positive rate at a false-positive rate ``fpr`` in [0, 1]: Φ(Φ⁻¹(fpr) + µ)."""
    if not 0 < fpr < 1:
        return float(fpr >= 1)
    return _NORMAL.cdf(_NORMAL.inv_cdf(fpr) + mu)


def auc_bound(mu: float) -> float:
    """The largest AUC: Φ(µ/√2)."""
    return _NORMAL.cdf(mu / 2**0.5)


def advantage_bound(mu: float) -> float:
    """The largest TPR - FPR: 2Φ(µ/2) - 1."""
    return 2 * _NORMAL.cdf(mu / 2) - 1


def precision_bound(portion: float, *, mu: float) -> float:
    """The largest share of members among the top ``portion`` of members and non-members, equally many.

    With FPR a and TPR Φ(Φ⁻¹(a) + µ), the portion is their mean; a is found by bisection.
    """
    low, high = 0.0, portion
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle + tpr_bound(middle, mu=mu) < 2 * portion else (low, middle)
    return 1 - (low + high) / 2 / (2 * portion)
