"""The paid gate: the one place that decides whether synthetic rows may leave.

It tests a sample that it draws itself, unconditional; what ``where=`` or ``balance=`` draws later inherits the
verdict, because the verdict is about the model. Free rules read the synthetic rows, the schema, the
policy and the noisy transcript; paid rules read real rows through noisy counts whose price is in the
hold. The attempt is counted, durably, before anything is computed. A refusal names rules and limits,
never a figure. A gate that evaluated no rule refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from privsynth.data.codec import Codec
from privsynth.data.ranged import cells_are_learned
from privsynth.data.records import Holdout, Model, Split, Synthetic, Train
from privsynth.data.schema import Schema
from privsynth.documents import join
from privsynth.errors import ConditionError, HoldError, PolicyError, ReleaseRefused, SeededNoise
from privsynth.ledger.store import Hold
from privsynth.policy.asks import KeepAsk, answer
from privsynth.policy.document import Policy
from privsynth.policy.gate_rules import Above
from privsynth.privacy.noise import SecureNoise
from privsynth.progress import SILENT, Progress
from privsynth.release.album import same_pictures
from privsynth.release.bundle import Release
from privsynth.release.claims import Claims, Finding
from privsynth.release.picture_rules import check_columns, check_picture_rules, grouped
from privsynth.release.rules import Bench, evaluate, positive_cells


@dataclass(frozen=True)
class Approved:
    """A model that passed the gate, with what may be said of it."""

    model: Model
    claims: Claims
    policy: Policy
    hold: Hold

    def release(self, synth: Synthetic) -> Release:
        """The only door: rows drawn from this very model become a release to be signed and written.

        The ledger must hold this verdict, and the rows are drawn again from the model by their seed: what
        was put together or changed by hand does not leave.

        Raises:
            HoldError: no such verdict on record, or not the rows that the model draws.
        """
        if self.hold.claims() != _verdict(self.claims, self.model, self.policy):
            raise HoldError("the ledger holds no such approval", mend="release what `gate` or `approved` returned")
        if synth.model_id != self.model.id:
            raise HoldError("these rows were drawn from another model", mend="sample from the approved model")
        again = None if synth.seed is None else self._again(synth, seed=synth.seed)
        drawn = again is not None and again.frame.equals(synth.frame) and same_pictures(again.pictures, synth.pictures)
        if again is None or not drawn:
            raise HoldError("these are not the rows that the model draws", mend="release a sample as it was drawn")
        return Release(
            model_id=self.model.id,
            receipt=self.model.receipt,
            claims=self.claims,
            policy=self.policy.to_json(),
            policy_sha256=self.policy.sha256,
            schema=self.model.schema,
            synth=again,
            generator=self.model.kind,
            public_help=self.model.public_help,
            adapts=self.model.adapts,
            transcript=self.model.published().files(gated=True) if self.policy.publishes_transcript else {},
            evidence=self.hold.evidence(),
        )

    def _again(self, synth: Synthetic, *, seed: int) -> Synthetic:
        """What the model draws when it is asked the same."""
        return self.model.sample(
            len(synth),
            where=synth.where,
            seed=seed,
            balance=synth.balance or None,
            draw=synth.draw,
            guidance=synth.guidance,
        )


def gate(model: Model, split: Split, *, hold: Hold, policy: Policy, progress: Progress = SILENT) -> Approved:
    """Evaluate every rule of the policy's gate, once for this hold.

    Raises:
        ReleaseRefused: a rule refused (ids and limits, no figures), or no rule was evaluated, or the
            population's attempts are used up.
        HoldError: the hold is not this model's, was gated before, or the split is of another population, source,
            purpose or recipient.
        RequestDenied: the policy in use now does not allow the hold, whatever allowed it when it was bought.
        SeededNoise: the model was fitted with test noise.
        PolicyError: a rule names what the schema cannot answer.
    """
    if model.receipt.noise != "os-secure" or model.transcript.noise != "os-secure":
        raise SeededNoise(
            "the model was fitted with seeded noise, which anyone can subtract", mend="fit without a `noise` argument"
        )
    if model.schema.sha256 != split.train.schema.sha256 or model.receipt.recipe != hold.recipe:
        raise HoldError("the split or the hold is not the model's", mend="use the split and hold it was fitted with")
    if policy.sha256 != hold.ledger.policy.sha256:
        raise HoldError(
            "the gate's policy is not the one that the ledger is open under", mend="open it with this policy"
        )
    if hold.transcript() not in (None, model.transcript.to_bytes()):
        raise HoldError("the model was not fitted to this hold's transcript", mend="refit from the hold's transcript")
    _check_model(model, hold)
    _check_split(split, hold)
    check_rules(policy, model.schema)
    _check_age(hold, policy)
    hold.open_gate(
        model_hold=model.receipt.hold,
        source=split.train.source,
        population=split.train.population,
        purpose=split.train.purpose,
        recipient=split.train.recipient,
    )
    findings = _evaluate(model, split, hold=hold, policy=policy, progress=progress)
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
    hold.approve(_verdict(claims, model, policy))
    return Approved(model, claims, policy, hold)


def _verdict(claims: Claims, model: Model, policy: Policy) -> dict[str, Any]:
    """What the ledger keeps of an approval: the findings, of which model, under which policy."""
    return {**claims.to_json(), "model": model.id, "policy": policy.sha256}


def _check_model(model: Model, hold: Hold) -> None:
    """Refuse a model that is not what its hold paid for.

    Raises:
        HoldError: its receipt is not the hold's, or its transcript does not give it.
    """
    paid_for = hold.receipt(noise="os-secure", schema=model.schema.sha256, person_rows=model.schema.subject.person_rows)
    if model.receipt != paid_for:
        raise HoldError("the model's receipt is not the hold's", mend="use the hold that the model was fitted with")
    if not model.refits():
        raise HoldError("the model is not the one that its transcript gives", mend="refit from the hold's transcript")


def _check_split(split: Split, hold: Hold) -> None:
    """Refuse a split that the hold's ledger did not draw.

    Raises:
        HoldError: sides swapped, a benchmark's split, coins of another ledger, consent of another policy, another
            contribution bound.
    """
    if not isinstance(split.train, Train) or not isinstance(split.holdout, Holdout):
        raise HoldError("the two sides of the split are not a training side and a holdout", mend="pass the split")
    if split.train.benchmark or split.holdout.benchmark:
        raise HoldError(
            "the split is Split.benchmark's, which holds nobody out", mend="split with granted.split(ledger)"
        )
    for side in (split.train, split.holdout):
        if (side.coins, side.policy, side.contribution) != (hold.coins, hold.ledger.policy.sha256, hold.contribution):
            raise HoldError(
                "the split is not of the hold's ledger, of its policy in use and of the contribution bound",
                mend="read, filter and split again with the ledger that sold the hold",
            )


def _evaluate(model: Model, split: Split, *, hold: Hold, policy: Policy, progress: Progress) -> list[Finding]:
    """Every rule, on a fresh sample; a model that hardly ever draws a row that the schema allows is refused by that."""
    try:
        bench = Bench.set_up(model, split, hold=hold, policy=policy)
    except ConditionError:
        where = policy.document.where("gate", "schema constraints")
        return [Finding("PS-GATE-SCH", "schema constraints", False, "every row", None, "free", where)]
    return evaluate(bench, noise=SecureNoise(), progress=progress)


def approved(model: Model, *, hold: Hold, policy: Policy) -> Approved:
    """The verdict that the ledger already holds for this model: free, for a run that was interrupted.

    Raises:
        HoldError: the hold is not the model's, or was not approved.
    """
    claims = hold.claims()
    if claims is None or model.receipt.hold != hold.id:
        raise HoldError("no approval of this model is on record", mend="run the gate")
    if policy.sha256 != claims.get("policy"):
        raise HoldError("the policy changed since the approval", mend="buy a new hold under the new policy")
    if claims.get("model") != model.id:
        raise HoldError("another model than this was approved", mend="load the model that the run kept")
    _check_model(model, hold)
    _check_age(hold, policy)
    return Approved(model, Claims.from_json(claims), policy, hold)


def _check_age(hold: Hold, policy: Policy) -> None:
    """Refuse to gate or draw from a model that is older than the policy keeps one.

    Raises:
        RequestDenied: PS-RET-001.
    """
    with hold.ledger.reading() as session:
        age = session.now - datetime.fromisoformat(hold.reserved)
    answer(KeepAsk(age=max(age, timedelta())), policy).refuse()


def check_rules(policy: Policy, schema: Schema) -> None:
    """Refuse, before any spending, rules that this schema cannot answer.

    Raises:
        PolicyError: with the policy's line.
    """
    _check_pictures(policy, schema)
    check_picture_rules(policy, schema)
    rule = policy.gate.utility
    if rule is None:
        return
    names = (rule.target, *rule.by)
    check_columns(policy, schema, names, ("utility",))
    codec = Codec(schema)
    where = policy.document.where("gate", "utility")
    target = codec.columns[codec.index[rule.target]].column
    if isinstance(rule.positive, Above) and cells_are_learned(target):
        raise PolicyError(
            f"the cells of {rule.target!r} are learned, and may not part at {rule.positive.above:g}",
            where=where,
            mend="declare `bins` with that edge in the schema, or `cells: equal`",
        )
    grouped(codec, rule.by)
    if not positive_cells(rule, codec.columns[codec.index[rule.target]]).any():
        raise PolicyError(
            "`positive` names no value of the target's domain", where=where, mend="values of the schema's list"
        )


def _check_pictures(policy: Policy, schema: Schema) -> None:
    """Refuse pictures that no rule of the gate looks at, and rules for pictures that there are none of."""
    if schema.pictures and policy.gate.pictures is None:
        raise PolicyError(
            f"no rule of the gate looks at the pictures of {join(list(schema.pictures))}",
            where=policy.document.where("gate"),
            mend="add rules for `pictures` to the policy's gate, or declare these columns `dropped: true`",
        )
    if policy.gate.pictures is not None and not schema.pictures:
        raise PolicyError(
            "rules for pictures, and the schema has none",
            where=policy.document.where("gate", "pictures"),
            mend="leave the rules out, or declare a column of `kind: image`",
        )
