"""The paid gate: the one place that decides whether synthetic rows may leave.

It tests a sample that it draws itself, unconditional; what ``where=`` draws later inherits the
verdict, because the verdict is about the model. Free rules read the synthetic rows, the schema, the
policy and the noisy transcript; paid rules read real rows through noisy counts whose price is in the
hold. The attempt is counted, durably, before anything is computed. A refusal names rules and limits,
never a figure. A gate that evaluated no rule refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from privsynth.data.codec import Codec, CodedColumn, Codes, Ranged
from privsynth.data.records import Model, Split, Synthetic
from privsynth.data.schema import Schema
from privsynth.data.tables import violations
from privsynth.errors import HoldError, PolicyError, ReleaseRefused, SeededNoise
from privsynth.ledger.store import Hold
from privsynth.policy.document import Policy
from privsynth.policy.gate_rules import Above
from privsynth.policy.gate_rules import Utility as UtilityRule
from privsynth.privacy.noise import NoiseSource, SecureNoise
from privsynth.progress import SILENT, Progress
from privsynth.release.bundle import Release
from privsynth.release.claims import Claims, Finding
from privsynth.validate import paid
from privsynth.validate.coded import Rows

EVALUATED = 20_000
NEAR_ROWS = 20_000
FRESH_ROWS = 4_000
REFERENCE_ROWS = 2_000


@dataclass(frozen=True)
class Approved:
    """A model that passed the gate, with what may be said of it."""

    model: Model
    claims: Claims
    policy: Policy

    def release(self, synth: Synthetic) -> Release:
        """The only door: rows drawn from this very model become a release to be signed and written.

        Raises:
            HoldError: the rows are of another model.
        """
        if synth.model_id != self.model.id:
            raise HoldError("these rows were drawn from another model", mend="sample from the approved model")
        return Release(
            model_id=self.model.id,
            receipt=self.model.receipt,
            claims=self.claims,
            policy=self.policy.to_json(),
            policy_sha256=self.policy.sha256,
            schema=self.model.schema,
            synth=synth,
            generator=self.model.kind,
        )


def gate(model: Model, split: Split, *, hold: Hold, policy: Policy, progress: Progress = SILENT) -> Approved:
    """Evaluate every rule of the policy's gate, once for this hold.

    Raises:
        ReleaseRefused: a rule refused (ids and limits, no figures), or no rule was evaluated, or the
            population's attempts are used up.
        HoldError: the hold is not this model's, was gated before, or the split is of another
            population, source, purpose or recipient.
        SeededNoise: the model was fitted with test noise.
        PolicyError: a rule names what the schema cannot answer.
    """
    if model.receipt.noise != "os-secure" or model.transcript.noise != "os-secure":
        raise SeededNoise(
            "the model was fitted with seeded noise, which anyone can subtract", mend="fit without a `noise` argument"
        )
    if model.schema.sha256 != split.train.schema.sha256 or model.receipt.recipe != hold.recipe:
        raise HoldError("the split or the hold is not the model's", mend="use the split and hold it was fitted with")
    if hold.transcript() not in (None, model.transcript.to_bytes()):
        raise HoldError("the model was not fitted to this hold's transcript", mend="refit from the hold's transcript")
    check_rules(policy, model.schema)
    hold.open_gate(
        model_hold=model.receipt.hold,
        source=split.train.source,
        population=split.train.population,
        purpose=split.train.purpose,
        recipient=split.train.recipient,
    )
    findings = _evaluate(_Bench.set_up(model, split, hold=hold, policy=policy), noise=SecureNoise(), progress=progress)
    claims = Claims(tuple(findings))
    if not findings:
        hold.refuse(["PS-GATE-NONE"])
        raise ReleaseRefused("no rule was evaluated", rules=["PS-GATE-NONE"], mend="name rules in the policy's gate")
    if claims.refused:
        rules = [f.rule for f in claims.refused]
        hold.refuse(rules)
        told = "; ".join(f"{f.rule} {f.name} (limit: {f.limit}, {f.where})" for f in claims.refused)
        raise ReleaseRefused(
            f"the gate refused this model: {told}",
            rules=rules,
            mend="the budget stays spent; a new hold with more epsilon, fewer columns or coarser cells may pass",
        )
    hold.approve(claims.to_json())
    return Approved(model, claims, policy)


def approved(model: Model, *, hold: Hold, policy: Policy) -> Approved:
    """The verdict that the ledger already holds for this model: free, for a run that was interrupted.

    Raises:
        HoldError: the hold is not the model's, or was not approved.
    """
    claims = hold.claims()
    if claims is None or model.receipt.hold != hold.id:
        raise HoldError("no approval of this model is on record", mend="run the gate")
    if policy.sha256 != hold.policy:
        raise HoldError("the policy changed since the approval", mend="buy a new hold under the new policy")
    return Approved(model, Claims.from_json(claims), policy)


def check_rules(policy: Policy, schema: Schema) -> None:
    """Refuse, before any spending, rules that this schema cannot answer.

    Raises:
        PolicyError: with the policy's line.
    """
    rule = policy.gate.utility
    if rule is None:
        return
    codec = Codec(schema)
    where = policy.document.where("gate", "utility")
    for name in (rule.target, *rule.by):
        if name not in codec.index:
            raise PolicyError(f"the schema has no learned column {name!r}", where=where, mend="name one of its columns")
    for name in rule.by:
        paid.groups_of(codec.columns[codec.index[name]], np.zeros(0, dtype=np.int32))
    if not positive_cells(rule, codec.columns[codec.index[rule.target]]).any():
        raise PolicyError(
            "`positive` names no value of the target's domain", where=where, mend="values of the schema's list"
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


@dataclass(frozen=True, eq=False)
class _Bench:
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

    @classmethod
    def set_up(cls, model: Model, split: Split, *, hold: Hold, policy: Policy) -> _Bench:
        codec = Codec(model.schema)
        rows, _ = model.rows_estimate()
        near_rows = int(min(NEAR_ROWS, max(rows, 2000)))
        sample = model.sample(near_rows + FRESH_ROWS)
        codes = codec.encode(sample.frame)
        rng = np.random.default_rng()
        reference = np.column_stack([rng.choice(c, REFERENCE_ROWS) for c in codes[:near_rows].T]).astype(np.int32)
        paid_rules = (policy.gate.membership is not None) + (policy.gate.utility is not None)
        return cls(
            model=model,
            split=split,
            policy=policy,
            codec=codec,
            sample=sample,
            near=codes[:near_rows],
            fresh=codes[near_rows:],
            reference=reference,
            mu_each=hold.prices.mu_gate / math.sqrt(paid_rules) if paid_rules else 0.0,
            subjects=policy.source(split.train.source).subjects,
        )

    def where(self, *path: str) -> str:
        return self.policy.document.where("gate", *path)

    def side(self, name: str) -> Rows:
        """Real rows of one side, thinned to about 20,000 subjects by declared size."""
        part = self.split.train if name == "train" else self.split.holdout
        share = 1 - self.split.holdout_share if name == "train" else self.split.holdout_share
        return paid.thin(
            self.codec.encode(part.records.frame),
            part.records.subjects,
            keep=self.split.thin,
            probability=EVALUATED / max(1.0, share * self.subjects),
            label=f"gate:{name}",
        )


def _evaluate(bench: _Bench, *, noise: NoiseSource, progress: Progress) -> list[Finding]:
    rules = bench.policy.gate
    progress.step("gate (paid)", 4)
    findings: list[Finding] = []
    if rules.schema_constraints:
        findings.append(_constraints(bench))
    if bench.policy.data is not None:
        findings.append(_rows(bench))
    progress.advance()
    if rules.fidelity is not None:
        findings.append(_held_back(bench, rules.fidelity.held_back_marginals.max))
    progress.advance()
    if rules.membership is not None:
        findings.append(_membership(bench, rules.membership.cut, rules.membership.advantage.upper_bound_max, noise))
    progress.advance()
    if rules.utility is not None:
        findings += _utility(bench, rules.utility, noise)
    progress.advance()
    return findings


def _constraints(bench: _Bench) -> Finding:
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


def _rows(bench: _Bench) -> Finding:
    least = bench.policy.data.min_rows
    estimate, sigma = bench.model.rows_estimate()
    lower = estimate - 1.645 * sigma
    figure = f"about {estimate:,.0f} training rows (lower 95% bound {lower:,.0f})"
    where = bench.policy.document.where("data", "min rows")
    return Finding("PS-GATE-ROW", "min rows", lower >= least, f"at least {least:,}", figure, "free", where)


def _held_back(bench: _Bench, limit: float) -> Finding:
    where = bench.where("fidelity", "held-back marginals")
    error = bench.model.held_back_error()
    told = f"upper 95% bound at most {limit:g}"
    if error is None:
        return Finding("PS-GATE-FID", "held-back marginals", False, told, "nothing was held back", "free", where)
    figure = f"{error.estimate:.4f} (upper 95% bound {error.upper:.4f}) over {len(error.cliques)} tables"
    return Finding("PS-GATE-FID", "held-back marginals", error.upper <= limit, told, figure, "free", where)


def _membership(bench: _Bench, cut: float, limit: float, noise: NoiseSource) -> Finding:
    found = paid.membership(
        bench.side("train"),
        bench.side("holdout"),
        near=bench.near,
        fresh=bench.fresh,
        reference=bench.reference,
        columns=bench.codec.columns,
        cut=cut,
        mu=bench.mu_each,
        noise=noise,
    )
    figure = f"advantage {found.advantage:+.4f} (upper 95% bound {found.upper:.4f})"
    told = f"upper 95% bound at most {limit:g}"
    return Finding(
        "PS-GATE-MEM", "membership advantage", found.upper <= limit, told, figure, "paid", bench.where("membership")
    )


def _utility(bench: _Bench, rule: UtilityRule, noise: NoiseSource) -> list[Finding]:
    index = bench.codec.index
    target = bench.codec.columns[index[rule.target]]
    found = paid.utility(
        bench.side("holdout"),
        synthetic=bench.near,
        columns=bench.codec.columns,
        target=index[rule.target],
        positive=positive_cells(rule, target),
        by=[index[name] for name in rule.by],
        contribution=bench.split.holdout.contribution,
        mu=bench.mu_each,
        noise=noise,
    )
    out = []
    for key, wanted, got in (
        ("accuracy", rule.accuracy, found.accuracy),
        ("balanced accuracy", rule.balanced_accuracy, found.balanced),
    ):
        if wanted is not None:
            out.append(_at_least(bench, key, wanted.at_least, got))
    if rule.gap is not None:
        out.append(_gap(bench, rule, found))
    return out


def _at_least(bench: _Bench, key: str, limit: float, got: tuple[float, float] | None) -> Finding:
    figure = "too few people to say" if got is None else f"{got[0]:.4f} (lower 95% bound {got[1]:.4f})"
    told = f"lower 95% bound at least {limit:g}"
    passed = got is not None and got[1] >= limit
    return Finding("PS-GATE-UTI", f"{key} on real rows", passed, told, figure, "paid", bench.where("utility", key))


def _gap(bench: _Bench, rule: UtilityRule, found: paid.Utility) -> Finding:
    limit = rule.gap.max if rule.gap is not None else 0.0
    judged = sum(g.accuracy is not None for g in found.groups)
    told = f"upper 95% bound at most {limit:g} between groups of {' and of '.join(rule.by)}"
    if found.gap is None:
        figure, passed = "fewer than two groups large enough to judge", False
    else:
        figure = f"{found.gap[0]:.4f} (upper 95% bound {found.gap[1]:.4f}) over {judged} of {len(found.groups)} groups"
        passed = found.gap[1] <= limit
    return Finding("PS-GATE-GAP", "accuracy gap", passed, told, figure, "paid", bench.where("utility", "gap"))


def planned_false_refusal(policy: Policy, *, subjects: int, holdout: float, mu_gate: float) -> float | None:
    """How likely the membership rule refuses a perfect generator, from declared sizes; None if the policy
    has no such rule. For plans: public, before any spending."""
    rule = policy.gate.membership
    if rule is None or mu_gate <= 0:
        return None
    rules = 1 + (policy.gate.utility is not None)
    return paid.false_refusal(
        limit=rule.advantage.upper_bound_max,
        members=min(EVALUATED, subjects * (1 - holdout)),
        others=min(EVALUATED, subjects * holdout),
        mu=mu_gate / math.sqrt(rules),
        advantage=0.0,
    )
