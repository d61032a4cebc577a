"""What the gate hands to the rules about pictures, and what it makes of their answers: each argument, each bound."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from privsynth.data.codec import Codec
from privsynth.data.pictures import Pictures
from privsynth.data.schema import parse_schema
from privsynth.errors import PrivsynthError
from privsynth.policy.document import Policy, parse_policy
from privsynth.privacy.noise import SeededNoise
from privsynth.release import findings, picture_rules
from privsynth.release.picture_rules import attribute_out_of_reach, check_picture_rules, picture_findings
from privsynth.validate import paid
from tests.generators.images.test_statistics import SCHEMA
from tests.release.test_picture_rules import PICTURED

CODEC = Codec(parse_schema(SCHEMA).table)
NEAR, FRESH = 8, 4
RNG = np.random.default_rng(0)


def policy(text: str = PICTURED) -> Policy:
    return parse_policy(text.encode(), path="p.yaml")


def some(n: int) -> Pictures:
    return Pictures(RNG.integers(0, 256, (n, 8, 8), dtype=np.uint8), np.arange(n) % 3 == 1)


def kept(n: int) -> Any:
    """Real rows of one side, two of each subject."""
    frame = pd.DataFrame(
        {
            "person": [f"p{i // 2}" for i in range(n)],
            "digit": pd.Categorical(np.arange(n) % 10, categories=list(range(10))),
            "even": np.arange(n) % 2 == 0,
            "ink": np.arange(n) * 10,
        }
    )
    return SimpleNamespace(frame=frame, subjects=frame["person"].to_numpy(), pictures={"scan": some(n)})


TRAIN, HELD = kept(10), kept(6)
FOUND = paid.Membership((4, 6), (3, 3), 2.0, 0.10, 0.30)
USE = paid.Utility(
    (0.9, 0.6),
    (0.8, 0.5),
    (paid.GroupRates("even", "false", 9, (0.9, 0.1), None), paid.GroupRates("even", "true", 9, (0.8, 0.1), None)),
    (0.1, 0.4),
    2.0,
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What both rules were asked, once :func:`bench` was judged."""
    said: dict[str, Any] = {}

    def member(train: Any, holdout: Any, **given: Any) -> paid.Membership:
        said["membership"] = {"train": train, "holdout": holdout, **given}
        return FOUND

    def guess(holdout: Any, **given: Any) -> paid.Utility:
        said["attribute"] = {"holdout": holdout, **given}
        return USE

    monkeypatch.setattr(picture_rules, "membership", member)
    monkeypatch.setattr(picture_rules, "attribute", guess)
    return said


def bench(rules: Policy | None = None) -> Any:
    near = RNG.integers(0, 2, (NEAR, len(CODEC.columns))).astype(np.int32)
    return SimpleNamespace(
        policy=rules or policy(),
        near=near,
        sample=SimpleNamespace(pictures={"scan": some(NEAR + FRESH)}),
        model=SimpleNamespace(rows_estimate=lambda: (16.0, 1.0)),
        mu_each=0.37,
        codec=CODEC,
        contribution=3,
        kept=lambda side: {"train": TRAIN, "holdout": HELD}[side],
    )


def alike(found: Pictures, wanted: Pictures, rows: slice) -> bool:
    return np.array_equal(found.pixels, wanted.pixels[rows]) and np.array_equal(found.missing, wanted.missing[rows])


def test_the_membership_rule_is_asked_of_both_sides_and_both_samples(asked: dict[str, Any]) -> None:
    held, noise = bench(policy(PICTURED.replace("attack: neighbour,", "attack: neighbour, cut: 0.93,"))), SeededNoise(1)
    picture_findings(held, noise=noise)
    given = asked["membership"]
    for name, real in (("train", TRAIN), ("holdout", HELD)):
        assert given[name].pictures["scan"] is real.pictures["scan"]
        assert np.array_equal(given[name].rows.codes, CODEC.encode(real.frame))
        assert given[name].rows.subjects == len(real.frame) // 2
    drawn = held.sample.pictures["scan"]
    assert alike(given["near"]["scan"], drawn, slice(None, NEAR))
    assert alike(given["fresh"]["scan"], drawn, slice(NEAR, None))
    assert given["repeats"] == NEAR / 16
    assert (given["cut"], given["mu"]) == (0.93, 0.37)
    assert given["noise"] is noise


def test_the_attribute_rule_learns_from_drawn_rows_and_is_asked_of_held_out_ones(asked: dict[str, Any]) -> None:
    held, noise = bench(), SeededNoise(1)
    picture_findings(held, noise=noise)
    given = asked["attribute"]
    assert given["holdout"].pictures["scan"] is HELD.pictures["scan"]
    assert np.array_equal(given["synthetic"].rows.codes, held.near)
    assert alike(given["synthetic"].pictures["scan"], held.sample.pictures["scan"], slice(None, NEAR))
    assert given["columns"] is CODEC.columns
    assert (given["target"], given["by"]) == (CODEC.index["digit"], [CODEC.index["even"]])
    assert (given["contribution"], given["mu"]) == (3, 0.37)
    assert given["noise"] is noise


def test_a_policy_without_the_rules_asks_nothing(asked: dict[str, Any]) -> None:
    alone = PICTURED.partition("    attribute:")[0] + "roles:\n  req" + PICTURED.partition("roles:\n  req")[2]
    assert [f.rule for f in picture_findings(bench(policy(alone)), noise=SeededNoise(1))] == ["PS-GATE-PIM"]
    assert set(asked) == {"membership"}


# --- bounds decide, and at the limit a model passes ------------------------------------------------


@pytest.mark.parametrize(
    ("advantage", "upper", "passed"), [(0.10, 0.35, True), (0.10, 0.351, False), (0.36, 0.30, True), (0.3, 1.0, False)]
)
def test_the_bound_on_the_advantage_decides(advantage: float, upper: float, passed: bool) -> None:
    rule = policy().gate.pictures
    assert rule is not None
    found = replace(FOUND, advantage=advantage, upper=upper)
    finding = findings.advantage(found, rule.membership, policy(), ("pictures", "membership"), rule="PS-GATE-PIM")
    assert finding.passed is passed
    assert finding.figure == f"advantage {advantage:+.4f} (upper 95% bound {upper:.4f})"


LIMITS = PICTURED.replace(
    "accuracy: {at least: 0.3}", "accuracy: {at least: 0.6}\n      balanced accuracy: {at least: 0.5}"
)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, set()),
        ({"accuracy": (0.9, 0.599)}, {"pictures: accuracy on real rows"}),
        ({"accuracy": (0.5, 0.61)}, set()),
        ({"accuracy": None}, {"pictures: accuracy on real rows"}),
        ({"balanced": (0.9, 0.499)}, {"pictures: balanced accuracy on real rows"}),
        ({"balanced": None}, {"pictures: balanced accuracy on real rows"}),
        ({"gap": (0.1, 0.6)}, set()),
        ({"gap": (0.1, 0.601)}, {"pictures: accuracy gap"}),
        ({"gap": (0.7, 0.4)}, set()),
        ({"gap": None}, {"pictures: accuracy gap"}),
    ],
    ids=str,
)
def test_the_bounds_on_accuracy_and_gap_decide(change: dict[str, Any], refused: set[str]) -> None:
    rules = policy(LIMITS)
    attribute = rules.gate.pictures
    assert attribute is not None
    assert attribute.attribute is not None
    found = findings.predicted(
        replace(USE, **change),
        attribute.attribute,
        rules,
        ("pictures", "attribute"),
        rule="PS-GATE-PIA",
        gap_rule="PS-GATE-PIG",
        contribution=3,
    )
    assert len(found) == 3
    assert {f.name for f in found if not f.passed} == refused


@pytest.mark.parametrize(
    ("sizes", "least", "passed"),
    [((900, 700), 220, True), ((900, 600), 200, False), ((900, 600), 190, True), ((900, -5), 1, False)],
)
def test_the_smallest_group_decides_by_its_lower_bound(sizes: tuple[int, int], least: int, passed: bool) -> None:
    """Of rows less 1.645 times their noise, at three rows a person: 700 rows show 227 people, 600 show 194."""
    rules = policy(LIMITS.replace("data: {", f"data: {{min subjects per group: {least}, "))
    attribute = rules.gate.pictures
    assert attribute is not None and attribute.attribute is not None
    groups = tuple(
        paid.GroupRates("even", name, size, None, None, size_error=10.0)
        for name, size in zip(("false", "true"), sizes, strict=True)
    )
    found = findings.predicted(
        replace(USE, groups=groups),
        attribute.attribute,
        rules,
        ("pictures", "attribute"),
        rule="PS-GATE-PIA",
        gap_rule="PS-GATE-PIG",
        contribution=3,
    )
    assert [(f.name, f.passed) for f in found if f.rule == "PS-GATE-GRP"] == [
        ("pictures: people in each group", passed)
    ]


# --- before any spending ----------------------------------------------------------------------------


def test_the_reach_is_asked_at_declared_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def reach(**sizes: Any) -> paid.Reach:
        given.append(sizes)
        return paid.Reach(1.0, 1.0, 0.0)

    monkeypatch.setattr(paid, "reach", reach)
    nullable = SCHEMA.replace("8, 9]}", "8, 9], nullable: true}")
    assert nullable != SCHEMA
    two, rules = PICTURED.replace("by: [even]", "by: [even, ink]"), policy()
    for text, schema, subjects, people, tables in (
        (PICTURED, SCHEMA, 1000.0, 250.0, 1),
        (PICTURED, nullable, 1000.0, 250.0, 1),
        (two, SCHEMA, 1e6, paid.EVALUATED, 2),
    ):
        rules = policy(text)
        sizes: dict[str, Any] = {"subjects": subjects, "holdout": 0.25, "contribution": 3}
        assert attribute_out_of_reach(rules, parse_schema(schema), mu_gate=0.4, **sizes) is None
        wanted = {"people": people, "tables": tables, "contribution": 3, "classes": 10}
        assert given[-1] == {**wanted, "mu": pytest.approx(0.4 / 2**0.5)}
        assert attribute_out_of_reach(rules, parse_schema(schema), mu_gate=0.0, **sizes) is None
    assert len(given) == 3


@pytest.mark.parametrize("swapped", [False, True])
def test_too_many_values_are_refused_of_the_target_and_of_groups(swapped: bool) -> None:
    text = PICTURED.replace("target: digit", "target: even").replace("by: [even]", "by: [digit]")
    many = SCHEMA.replace("8, 9]", "8, 9, 10, 11, 12]")
    assert many != SCHEMA
    rules = policy(text if swapped else PICTURED)
    with pytest.raises(PrivsynthError, match="too many"):
        check_picture_rules(rules, parse_schema(many))
    check_picture_rules(rules, parse_schema(SCHEMA))
    assert cast("Any", rules.gate.pictures).attribute.target == ("even" if swapped else "digit")
