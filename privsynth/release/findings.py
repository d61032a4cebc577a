"""How a paid figure becomes a finding: the limit as the policy states it, the figure with its bound, passed or not."""

from __future__ import annotations

from privsynth.policy.document import Policy
from privsynth.policy.gate_rules import Membership, Predicted
from privsynth.release.claims import Finding
from privsynth.validate import paid

Place = tuple[str, ...]


def advantage(found: paid.Membership, asked: Membership, policy: Policy, place: Place, *, rule: str) -> Finding:
    """Of a membership rule that stands at ``place`` under ``gate``."""
    limit = asked.advantage.upper_bound_max
    figure = f"advantage {found.advantage:+.4f} (upper 95% bound {found.upper:.4f})"
    told, where = f"upper 95% bound at most {limit:g}", policy.document.where("gate", *place)
    return Finding(rule, f"{_of(place)}membership advantage", found.upper <= limit, told, figure, "paid", where)


def predicted(
    found: paid.Utility,
    asked: Predicted,
    policy: Policy,
    place: Place,
    *,
    rule: str,
    gap_rule: str,
    contribution: int,
) -> list[Finding]:
    """Of a rule about a classifier: one finding for each limit that it sets, and for the size of its groups."""
    out = []
    for key, wanted, got in (
        ("accuracy", asked.accuracy, found.accuracy),
        ("balanced accuracy", asked.balanced_accuracy, found.balanced),
    ):
        if wanted is not None:
            figure = "too few people to say" if got is None else f"{got[0]:.4f} (lower 95% bound {got[1]:.4f})"
            passed = got is not None and got[1] >= wanted.at_least
            told, where = f"lower 95% bound at least {wanted.at_least:g}", policy.document.where("gate", *place, key)
            out.append(Finding(rule, f"{_of(place)}{key} on real rows", passed, told, figure, "paid", where))
    if asked.gap is not None:
        out.append(_gap(found, asked, asked.gap.max, policy, place, gap_rule))
        least = policy.data.min_subjects_per_group
        out += [] if least is None else [_sizes(found, asked, least, policy, place, contribution)]
    return out


def _sizes(
    found: paid.Utility, asked: Predicted, least: int, policy: Policy, place: Place, contribution: int
) -> Finding:
    """Every group counts, those too small to be judged first of all."""
    small = min(found.groups, key=lambda group: group.people(contribution=contribution), default=None)
    people = 0.0 if small is None else small.people(contribution=contribution)
    figure = "no groups" if small is None else f"smallest: {small.column} {small.group} (lower 95% bound {people:,.0f})"
    told = f"lower 95% bound at least {least:,} held-out people in each group of {' and of '.join(asked.by)}"
    where = policy.document.where("data", "min subjects per group")
    return Finding("PS-GATE-GRP", f"{_of(place)}people in each group", people >= least, told, figure, "paid", where)


def _gap(found: paid.Utility, asked: Predicted, limit: float, policy: Policy, place: Place, rule: str) -> Finding:
    judged = sum(g.accuracy is not None for g in found.groups)
    told = f"upper 95% bound at most {limit:g} between groups of {' and of '.join(asked.by)}"
    if found.gap is None:
        figure, passed = "fewer than two groups large enough to judge", False
    else:
        figure = f"{found.gap[0]:.4f} (upper 95% bound {found.gap[1]:.4f}) over {judged} of {len(found.groups)} groups"
        passed = found.gap[1] <= limit
    where = policy.document.where("gate", *place, "gap")
    return Finding(rule, f"{_of(place)}accuracy gap", passed, told, figure, "paid", where)


def _of(place: Place) -> str:
    return "pictures: " if place[0] == "pictures" else ""


def missed(asked: Predicted, best: paid.Reach) -> str | None:
    """Which limit of a rule even the best model could not be shown to keep; None where all can."""
    if asked.accuracy is not None and best.accuracy < asked.accuracy.at_least:
        return "accuracy"
    if asked.balanced_accuracy is not None and best.balanced < asked.balanced_accuracy.at_least:
        return "balanced accuracy"
    return "gap" if asked.gap is not None and best.gap > asked.gap.max else None
