"""The gate's rules about pictures: are real ones copied, and do drawn ones go with their rows? Both paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from privsynth.data.codec import Codec
from privsynth.data.pictures import Pictures
from privsynth.data.schema import Categorical, Schema
from privsynth.errors import PolicyError
from privsynth.policy.document import Policy
from privsynth.policy.gate_rules import Attribute
from privsynth.privacy.noise import NoiseSource
from privsynth.release import findings
from privsynth.release.claims import Finding
from privsynth.validate import paid
from privsynth.validate.coded import Rows
from privsynth.validate.pictures.attribute import attribute
from privsynth.validate.pictures.bands import Album
from privsynth.validate.pictures.copies import membership

if TYPE_CHECKING:
    from privsynth.release.rules import Bench

MEMBERSHIP, ATTRIBUTE = ("pictures", "membership"), ("pictures", "attribute")


def picture_findings(bench: Bench, *, noise: NoiseSource) -> list[Finding]:
    """Every picture rule that the policy names, on the bench's own sample and its thinned real rows."""
    rules = bench.policy.gate.pictures
    if rules is None:
        return []
    near = slice(None, len(bench.near))
    holdout = _album(bench, "holdout")
    found = membership(
        _album(bench, "train"),
        holdout,
        near=_drawn(bench, near),
        fresh=_drawn(bench, slice(len(bench.near), None)),
        repeats=len(bench.near) / max(1.0, bench.model.rows_estimate()[0]),
        cut=rules.membership.cut,
        mu=bench.mu_each,
        noise=noise,
        rng=np.random.default_rng(),
    )
    out = [findings.advantage(found, rules.membership, bench.policy, MEMBERSHIP, rule="PS-GATE-PIM")]
    if rules.attribute is not None:
        synthetic = Album(Rows.of(bench.near), _drawn(bench, near))
        out += _attribute(bench, rules.attribute, synthetic, holdout, noise)
    return out


def _attribute(bench: Bench, rule: Attribute, synthetic: Album, holdout: Album, noise: NoiseSource) -> list[Finding]:
    index = bench.codec.index
    found = attribute(
        holdout,
        synthetic=synthetic,
        columns=bench.codec.columns,
        target=index[rule.target],
        by=[index[name] for name in rule.by],
        contribution=bench.contribution,
        mu=bench.mu_each,
        noise=noise,
    )
    return findings.predicted(
        found,
        rule,
        bench.policy,
        ATTRIBUTE,
        rule="PS-GATE-PIA",
        gap_rule="PS-GATE-PIG",
        contribution=bench.contribution,
    )


def _drawn(bench: Bench, rows: slice) -> Mapping[str, Pictures]:
    return {name: Pictures(p.pixels[rows], p.missing[rows]) for name, p in bench.sample.pictures.items()}


def _album(bench: Bench, side: str) -> Album:
    kept = bench.kept(side)
    pictures = {name: kept.pictures[name] for name in bench.sample.pictures}
    return Album(Rows.of(bench.codec.encode(kept.frame), kept.subjects), pictures)


def check_picture_rules(policy: Policy, schema: Schema) -> None:
    """Refuse, before any spending, an attribute of pictures that this schema cannot answer.

    Raises:
        PolicyError: with the policy's line. UsageError: an unordered column of more than 12 values.
    """
    rule = None if policy.gate.pictures is None else policy.gate.pictures.attribute
    if rule is not None:
        check_columns(policy, schema, (rule.target, *rule.by), ATTRIBUTE)
        grouped(Codec(schema), (rule.target, *rule.by))


def check_columns(policy: Policy, schema: Schema, names: tuple[str, ...], place: tuple[str, ...]) -> None:
    """Refuse names of a rule at ``place`` under ``gate`` that are no columns with public values.

    Raises:
        PolicyError: with the policy's line.
    """
    where = policy.document.where("gate", *place)
    codec = Codec(schema)
    for name in names:
        if name not in codec.index:
            what, mend = schema.not_modelled(name)
            raise PolicyError(f"{name!r} is {what}", where=where, mend=mend)
        column = codec.columns[codec.index[name]].column
        if isinstance(column, Categorical) and column.open:
            raise PolicyError(
                f"column {name!r} is open: no value of it is public", where=where, mend="name a column with a list"
            )


def grouped(codec: Codec, names: tuple[str, ...]) -> None:
    """Refuse columns of too many unordered values.

    Raises:
        UsageError: such a column.
    """
    for name in names:
        paid.groups_of(codec.columns[codec.index[name]], np.zeros(0, dtype=np.int32))


def attribute_out_of_reach(
    policy: Policy, schema: Schema, *, subjects: float, holdout: float, mu_gate: float, contribution: int
) -> str | None:
    """Which limit of the attribute rule not even a perfect model could be shown to keep, from declared sizes and
    equal classes; None where all can. For plans, after :func:`check_picture_rules`: public, before any spending.

    Raises:
        BudgetError: the rule's noise would be beyond the sampler's range.
    """
    rule = None if policy.gate.pictures is None else policy.gate.pictures.attribute
    if rule is None or mu_gate <= 0:
        return None
    codec = Codec(schema)
    target = codec.columns[codec.index[rule.target]]
    _, names = paid.groups_of(target, np.zeros(0, dtype=np.int32))
    return findings.missed(
        rule,
        paid.reach(
            people=min(paid.EVALUATED, subjects * holdout),
            tables=len(rule.by),
            contribution=contribution,
            mu=policy.gate.mu_each(mu_gate),
            classes=len(names) - target.nullable,
        ),
    )
