"""The gate's rules: each gives one finding, free or paid.

Free rules read the engine's own sample, the schema, the policy and the noisy transcript. Paid rules
read real rows through noisy counts (``validate/paid.py``), each at an equal share of the gate's μ².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privsynth.data.codec import Codec, CodedColumn, Codes, Ranged
from privsynth.data.pictures import shape_of
from privsynth.data.records import Model, Records, Split, Synthetic, Unrolls
from privsynth.data.tables import violations
from privsynth.ledger.store import Hold
from privsynth.policy.document import Policy
from privsynth.policy.gate_rules import Above
from privsynth.policy.gate_rules import Membership as MembershipRule
from privsynth.policy.gate_rules import Utility as UtilityRule
from privsynth.privacy.noise import NoiseSource
from privsynth.progress import Progress
from privsynth.release import findings
from privsynth.release.claims import Finding
from privsynth.release.picture_rules import picture_findings
from privsynth.validate import paid
from privsynth.validate.coded import Rows

NEAR_ROWS = 20_000
FRESH_ROWS = 4_000
REFERENCE_ROWS = 2_000
MOST_AT_ONCE = 2**28
"""Bytes of drawn pictures, above which they are not held all at once."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What the rules share: the engine's own sample, coded, and who is asked."""

    model: Model
    split: Split
    policy: Policy
    codec: Codec
    sample: Synthetic
    near: Codes
    fresh: Codes
    reference: Codes
    mu_each: float
    subjects: int
    contribution: int

    @classmethod
    def set_up(cls, model: Model, split: Split, *, hold: Hold, policy: Policy) -> Bench:
        codec = model.codec
        rows, _ = model.rows_estimate()
        near_rows = int(min(NEAR_ROWS, max(rows, 2000)))
        sample = _sample(model, near_rows + FRESH_ROWS)
        codes = codec.encode(sample.table)
        rng = np.random.default_rng()
        reference = np.column_stack([rng.choice(c, REFERENCE_ROWS) for c in codes[:near_rows].T]).astype(np.int32)
        return cls(
            model=model,
            split=split,
            policy=policy,
            codec=codec,
            sample=sample,
            near=codes[:near_rows],
            fresh=codes[near_rows:],
            reference=reference,
            mu_each=policy.gate.mu_each(hold.prices.mu_gate),
            subjects=policy.source(split.train.source).subjects,
            contribution=hold.contribution,
        )

    def where(self, *path: str) -> str:
        return self.policy.document.where("gate", *path)

    def kept(self, name: str) -> Records:
        """Real rows of one side, ``train`` or ``holdout``, thinned to about 20,000 subjects by declared size: the
        same ones for every rule."""
        part = self.split.train if name == "train" else self.split.holdout
        share = 1 - self.split.holdout_share if name == "train" else self.split.holdout_share
        mask = paid.thin(
            part.records.subjects,
            keep=self.split.thin,
            probability=paid.EVALUATED / max(1.0, share * self.subjects),
            label=f"gate:{name}",
        )
        return part.records.keep(mask)

    def side(self, name: str) -> Rows:
        """The same, coded."""
        records = self.kept(name)
        return Rows.of(self.codec.encode(records.frame), records.subjects)


def _sample(model: Model, n: int) -> Synthetic:
    """Rows on their own; pictures that would take much memory are made as they are read."""
    size = sum(int(np.prod(shape_of(picture))) for picture in model.schema.pictures.values())
    if n * size > MOST_AT_ONCE and isinstance(model, Unrolls):
        return model.unrolled(n, draw="independent")
    return model.sample(n, draw="independent")


def evaluate(bench: Bench, *, noise: NoiseSource, progress: Progress) -> list[Finding]:
    """Every rule that the policy names, in its order."""
    rules = bench.policy.gate
    progress.step("gate (paid)", 5)
    found: list[Finding] = []
    if rules.schema_constraints:
        found.append(_constraints(bench))
    if bench.policy.data is not None:
        found.append(_rows(bench))
    progress.advance()
    if rules.fidelity is not None:
        found.append(_held_back(bench, rules.fidelity.held_back_marginals.max))
    progress.advance()
    if rules.membership is not None:
        found.append(_membership(bench, rules.membership, noise))
    progress.advance()
    if rules.utility is not None:
        found += _utility(bench, rules.utility, noise)
    progress.advance()
    found += picture_findings(bench, noise=noise)
    progress.advance()
    return found


def _constraints(bench: Bench) -> Finding:
    broken = np.zeros(len(bench.sample), dtype=bool)
    for _, mask in violations(bench.sample.frame, bench.model.schema):
        broken |= mask
    figure = f"{int(broken.sum())} of {len(broken)} synthetic rows break a rule"
    return Finding(
        "PS-GATE-SCH",
        "schema constraints",
        not broken.any(),
        "every row",
        figure,
        "free",
        bench.where("schema constraints"),
    )


def _rows(bench: Bench) -> Finding:
    least = bench.policy.data.min_rows
    estimate, sigma = bench.model.rows_estimate()
    lower = estimate - 1.645 * sigma
    figure = f"about {estimate:,.0f} training rows (lower 95% bound {lower:,.0f})"
    where = bench.policy.document.where("data", "min rows")
    return Finding("PS-GATE-ROW", "min rows", lower >= least, f"at least {least:,}", figure, "free", where)


def _held_back(bench: Bench, limit: float) -> Finding:
    where = bench.where("fidelity", "held-back marginals")
    error = bench.model.held_back_error()
    told = f"upper 95% bound at most {limit:g}"
    if error is None:
        return Finding("PS-GATE-FID", "held-back marginals", False, told, "nothing was held back", "free", where)
    figure = f"{error.estimate:.4f} (upper 95% bound {error.upper:.4f}) over {len(error.cliques)} tables"
    return Finding("PS-GATE-FID", "held-back marginals", error.upper <= limit, told, figure, "free", where)


def _membership(bench: Bench, rule: MembershipRule, noise: NoiseSource) -> Finding:
    found = paid.membership(
        bench.side("train"),
        bench.side("holdout"),
        near=bench.near,
        fresh=bench.fresh,
        reference=bench.reference,
        columns=bench.codec.columns,
        cut=rule.cut,
        mu=bench.mu_each,
        noise=noise,
    )
    return findings.advantage(found, rule, bench.policy, ("membership",), rule="PS-GATE-MEM")


def _utility(bench: Bench, rule: UtilityRule, noise: NoiseSource) -> list[Finding]:
    index = bench.codec.index
    target = bench.codec.columns[index[rule.target]]
    found = paid.utility(
        bench.side("holdout"),
        synthetic=bench.near,
        columns=bench.codec.columns,
        target=index[rule.target],
        positive=positive_cells(rule, target),
        by=[index[name] for name in rule.by],
        contribution=bench.contribution,
        mu=bench.mu_each,
        noise=noise,
    )
    return findings.predicted(
        found,
        rule,
        bench.policy,
        ("utility",),
        rule="PS-GATE-UTI",
        gap_rule="PS-GATE-GAP",
        contribution=bench.contribution,
    )


def positive_cells(rule: UtilityRule, column: CodedColumn) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(cells,) which cells of the target count as the outcome."""
    wanted = rule.positive
    yes = np.zeros(column.cells, dtype=bool)
    if isinstance(wanted, Above):
        if isinstance(column, Ranged):
            yes[: len(column.low)] = column.low > wanted.above
        return yes
    weights = column.evidence(list(wanted)).weights
    return np.asarray(weights > 0)


def planned_false_refusal(policy: Policy, *, subjects: float, holdout: float, mu_gate: float) -> float | None:
    """How likely the membership rules, of rows and of pictures, together refuse a perfect generator, at most, from
    declared sizes; None if the policy has no such rule. For plans: public, before any spending."""
    gate = policy.gate
    if not gate.memberships or mu_gate <= 0:
        return None
    each = (
        paid.false_refusal(
            limit=rule.advantage.upper_bound_max,
            members=min(paid.EVALUATED, subjects * (1 - holdout)),
            others=min(paid.EVALUATED, subjects * holdout),
            mu=gate.mu_each(mu_gate),
            advantage=0.0,
        )
        for rule in gate.memberships
    )
    return min(1.0, sum(each))


def utility_out_of_reach(
    policy: Policy, *, subjects: float, holdout: float, mu_gate: float, contribution: int
) -> str | None:
    """Which limit of the utility rule not even a perfect model could be shown to keep, from declared sizes;
    None where all can. For plans: public, before any spending.

    Raises:
        BudgetError: the rule's noise would be beyond the sampler's range.
    """
    rule = policy.gate.utility
    if rule is None or mu_gate <= 0:
        return None
    best = paid.reach(
        people=min(paid.EVALUATED, subjects * holdout),
        tables=len(rule.by),
        contribution=contribution,
        mu=policy.gate.mu_each(mu_gate),
    )
    return findings.missed(rule, best)
