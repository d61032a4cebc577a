"""What the paid membership rule sees on the demo's table, by cut: of copying generators and of fits at ε = 1.

The advantages are exact (TPR − FPR at the cut, before the rule's noise); the last column is the upper 95%
bound as the gate compares it, at the demo's cut and noise. Nothing is gated or released. Under a minute.

    python -m benchmarks.bench_membership [--seeds 3]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from statsmodels.datasets import randhie

from privsynth.data.codec import Codec, Codes
from privsynth.data.records import Split
from privsynth.data.schema import load_schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals import Marginals
from privsynth.ledger.store import Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, load_policy
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.noise import SecureNoise
from privsynth.validate import paid
from privsynth.validate.coded import Rows
from privsynth.validate.membership.neighbour import by_subject

CUTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
COPIED = (0.1, 0.2, 0.3, 0.5, 1.0)
BUDGET = Budget(1.0, 1e-9)
DRAWN, FRESH, REFERENCE = 20_000, 4_000, 2_000
USE = {"purpose": "health-economics", "recipient": "university"}


@dataclass(frozen=True)
class Bench:
    """The demo's table, split and rule; the budget is widened for many fits."""

    policy: Policy
    ledger: Ledger
    split: Split
    codec: Codec
    train: Rows
    holdout: Rows

    def advantages(self, drawn: Codes, seed: int) -> list[float]:
        """The attack's exact advantage at each cut, then the rule's upper bound."""
        rng = np.random.default_rng(seed)
        near, fresh = drawn[:-FRESH], drawn[-FRESH:]
        reference = np.column_stack([rng.choice(c, REFERENCE) for c in near.T]).astype(np.int32)
        columns = self.codec.columns
        known = paid.closeness(fresh, near, reference, columns)
        sides = (self.train, self.holdout)
        inside, outside = (by_subject(paid.closeness(x.codes, near, reference, columns), x) for x in sides)
        at = [float(np.quantile(known, cut)) for cut in CUTS]
        exact = [float((inside >= t).mean() - (outside >= t).mean()) for t in at]
        rule = self.policy.gate.membership
        assert rule is not None
        share = share_out(BUDGET, gate_share=self.policy.gate.budget.share).mu_gate / math.sqrt(2)
        found = paid.membership(
            self.train,
            self.holdout,
            near=near,
            fresh=fresh,
            reference=reference,
            columns=columns,
            cut=rule.cut,
            mu=share,
            noise=SecureNoise(),
        )
        return [*exact, found.upper]

    def copies(self, share: float, seed: int) -> Codes:
        """Rows drawn with replacement from a random share of the training rows."""
        rng = np.random.default_rng(1000 + seed)
        kept = self.train.codes[rng.permutation(len(self.train))[: int(share * len(self.train))]]
        return kept[rng.integers(0, len(kept), DRAWN)].astype(np.int32)

    def fitted(self, seed: int) -> Codes:
        """Rows of a fit at ε = 1, of a hold of its own."""
        recipe = Marginals(self.codec.schema, BUDGET, target="hlthg")
        hold = self.ledger.reserve(recipe, purpose=USE["purpose"], recipient=USE["recipient"])
        return self.codec.encode(recipe.fit(self.split.train, hold).sample(DRAWN, seed=seed).frame)


def set_up(folder: Path) -> Bench:
    """The demo's files in ``folder``, with a population budget of ε = 20."""
    files = resources.files("privsynth.pipeline") / "demo_files"
    wide = (files / "policy.yaml").read_text("utf-8").replace("epsilon: 1.2", "epsilon: 20")
    (folder / "policy.yaml").write_text(wide, "utf-8")
    (folder / "schema.yaml").write_text((files / "randhie.schema.yaml").read_text("utf-8"), "utf-8")
    policy, schema = load_policy(folder / "policy.yaml"), load_schema(folder / "schema.yaml")
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", policy, actor="analyst@demo.example")
    records = read_table(randhie.load_pandas().data, schema)
    split = filter_consent(records, policy, purpose=USE["purpose"], recipient=USE["recipient"]).split(ledger)
    codec = Codec(schema)
    train, holdout = (
        Rows.of(codec.encode(part.records.frame), part.records.subjects) for part in (split.train, split.holdout)
    )
    return Bench(policy, ledger, split, codec, train, holdout)


def main() -> None:
    """Print one line for each generator: the mean over seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    head = "".join(f"{f'cut {cut:g}':>10}" for cut in CUTS)
    print(f"{'generator':<20}{head}{'upper':>10}")
    with tempfile.TemporaryDirectory() as folder:
        bench = set_up(Path(folder))
        made = {f"copies of {share:.0%}": [bench.copies(share, seed) for seed in seeds] for share in COPIED}
        made["fits at epsilon 1"] = [bench.fitted(seed) for seed in seeds]
        for name, drawn in made.items():
            means = np.mean([bench.advantages(codes, seed) for seed, codes in enumerate(drawn)], axis=0)
            print(f"{name:<20}" + "".join(f"{value:>10.3f}" for value in means))


if __name__ == "__main__":
    main()
