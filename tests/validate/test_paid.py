"""The paid rules: what they refuse, what they pass, and at which error rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from statsmodels.datasets import randhie

from privsynth.data.codec import Codec, Codes
from privsynth.data.records import Split
from privsynth.data.schema import Schema, load_schema
from privsynth.data.tables import read_table
from privsynth.errors import BudgetError
from privsynth.generators.marginals import Marginals
from privsynth.ledger.store import Ledger, open_ledger
from privsynth.policy.consent import filter_consent
from privsynth.policy.document import Policy, load_policy
from privsynth.privacy.accountant import share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.events import Provenance
from privsynth.privacy.noise import SecureNoise, SeededNoise
from privsynth.validate import paid
from privsynth.validate.bounds import advantage_bound
from privsynth.validate.coded import Rows

BUDGET = Budget(1.0, 1e-9)
RUNS = 20


@dataclass(frozen=True)
class Demo:
    """The demo's table, split and limits."""

    schema: Schema
    policy: Policy
    ledger: Ledger
    split: Split
    codec: Codec
    train: Rows
    holdout: Rows

    @property
    def limit(self) -> float:
        assert self.policy.gate.membership is not None
        return self.policy.gate.membership.advantage.upper_bound_max

    @property
    def cut(self) -> float:
        assert self.policy.gate.membership is not None
        return self.policy.gate.membership.cut

    @property
    def mu(self) -> float:
        """What the demo's gate pays for the membership rule: half of its share."""
        return share_out(BUDGET, gate_share=self.policy.gate.budget.share).mu_gate / math.sqrt(2)

    def rule(self, synthetic: Codes, seed: int) -> paid.Membership:
        """The rule on rows of which 4,000 are fresh, as the gate calls it."""
        rng = np.random.default_rng(seed)
        near, fresh = synthetic[:-4000], synthetic[-4000:]
        reference = np.column_stack([rng.choice(c, 2000) for c in near.T]).astype(np.int32)
        return paid.membership(
            self.train,
            self.holdout,
            near=near,
            fresh=fresh,
            reference=reference,
            columns=self.codec.columns,
            cut=self.cut,
            mu=self.mu,
            noise=SeededNoise(seed),
        )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder: Path = tmp_path_factory.mktemp("demo")
    files = resources.files("privsynth.pipeline") / "demo_files"
    text = (files / "policy.yaml").read_text().replace("epsilon: 1.2", "epsilon: 20")
    (folder / "policy.yaml").write_text(text)
    (folder / "schema.yaml").write_text((files / "randhie.schema.yaml").read_text())
    policy, schema = load_policy(folder / "policy.yaml"), load_schema(folder / "schema.yaml")
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", policy, actor="analyst@demo.example")
    records = read_table(randhie.load_pandas().data, schema)
    split = filter_consent(records, policy, purpose="health-economics", recipient="university").split(ledger)
    codec = Codec(schema)
    train, holdout = (
        Rows.of(codec.encode(part.records.frame), part.records.subjects) for part in (split.train, split.holdout)
    )
    return Demo(schema, policy, ledger, split, codec, train, holdout)


@pytest.mark.slow
def test_a_model_that_copies_half_of_its_rows_is_refused_every_time(demo: Demo) -> None:
    """(d) of the issue."""
    refused = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(1000 + seed)
        half = demo.train.codes[rng.permutation(len(demo.train))[: len(demo.train) // 2]]
        found = demo.rule(half[rng.integers(0, len(half), 20_000)].astype(np.int32), seed)
        refused += found.upper > demo.limit
    assert refused == RUNS


@pytest.mark.slow
def test_a_fit_at_epsilon_one_passes_every_time(demo: Demo) -> None:
    """(d) again: twenty fits, each of its own hold."""
    passed = 0
    for seed in range(RUNS):
        recipe = Marginals(demo.schema, BUDGET, target="hlthg", steps=80, components=80)
        hold = demo.ledger.reserve(recipe, purpose="health-economics", recipient="university", consent="none")
        model = recipe.fit(demo.split.train, hold)
        found = demo.rule(demo.codec.encode(model.sample(20_000, seed=seed).frame), seed)
        passed += found.upper <= demo.limit
    assert passed == RUNS


def test_the_false_refusal_is_below_one_in_a_thousand(demo: Demo) -> None:
    """(d) again, computed: even for a fit whose true advantage is the most that its μ allows any attacker."""
    prices = share_out(BUDGET, gate_share=demo.policy.gate.budget.share)
    asked = {"limit": demo.limit, "members": 16_000.0, "others": 4_000.0, "mu": demo.mu}
    assert paid.false_refusal(**asked) < 1e-9
    assert paid.false_refusal(**asked, advantage=advantage_bound(prices.mu_fit)) < 1e-3
    assert paid.false_refusal(**{**asked, "limit": 0.02}) > 0.1, "the figure can be bad"
    assert paid.false_refusal(**{**asked, "others": 20.0}) == 1.0


def test_the_upper_bound_covers_at_its_stated_rate() -> None:
    """A generator of known advantage: the bound lies below the truth in at most 5% of runs (+ 4 sd of 2,000)."""
    rng = np.random.default_rng(0)
    truth, missed, runs = 0.05, 0, 2000
    noise = SeededNoise(3)
    for _ in range(runs):
        table = np.array(
            [np.array([a := rng.binomial(8000, 0.45), 8000 - a]), np.array([b := rng.binomial(2000, 0.40), 2000 - b])]
        )
        (p, q), (r, s) = noise.add(table.astype(np.int64), sigma=15.0).tolist()
        advantage, error = paid._difference((p, q), (r, s), 15.0)
        missed += advantage + paid.Z95 * error < truth
    assert missed / runs < 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)
    assert missed / runs > 0.02, "and it is no idle bound"


class Tap:
    """Keeps the exact table that a rule would have noised: to test its sensitivity."""

    provenance: Provenance = "seeded"

    def __init__(self) -> None:
        self.tables: list[npt.NDArray[np.int64]] = []

    def add(self, exact: npt.NDArray[np.int64], *, sigma: float) -> npt.NDArray[np.int64]:
        self.tables.append(exact.copy())
        return exact


def _without(rows: Rows, subject: int) -> Rows:
    keep = rows.group != subject
    return Rows.of(rows.codes[keep], rows.group[keep].astype(object))


def test_one_subject_moves_one_cell_of_the_membership_table_by_one(demo: Demo) -> None:
    rng = np.random.default_rng(0)
    small = Rows.of(demo.train.codes[:300], np.repeat(np.arange(100), 3).astype(object))
    others = Rows.of(demo.holdout.codes[:200], np.repeat(np.arange(100), 2).astype(object))
    synthetic = demo.train.codes[rng.integers(0, 5000, 1500)].astype(np.int32)
    common: dict[str, Any] = {
        "near": synthetic[:1000],
        "fresh": synthetic[1000:],
        "reference": synthetic[:200],
        "columns": demo.codec.columns,
        "cut": 0.5,
        "mu": 0.1,
    }
    tap = Tap()
    paid.membership(small, others, noise=tap, **common)
    for subject in range(0, 100, 9):
        paid.membership(_without(small, subject), others, noise=tap, **common)
        paid.membership(small, _without(others, subject), noise=tap, **common)
    base, *neighbours = tap.tables
    assert base.sum() == 200
    for table in neighbours:
        assert np.abs(table - base).sum() == 1


def test_one_subject_moves_the_utility_table_by_at_most_k(demo: Demo) -> None:
    k = 3
    rows = Rows.of(demo.holdout.codes[:300], np.repeat(np.arange(100), k).astype(object))
    index = demo.codec.index
    asked: dict[str, Any] = {
        "synthetic": demo.train.codes[:2000].astype(np.int32),
        "columns": demo.codec.columns,
        "target": index["hlthg"],
        "positive": np.array([False, True]),
        "contribution": k,
        "mu": 0.1,
    }
    for by in ([], [index["idp"]], [index["idp"], index["mdvis"]]):
        tap = Tap()
        paid.utility(rows, by=by, noise=tap, **asked)
        count = len(tap.tables)
        assert count == max(1, len(by))
        for subject in (0, 50, 99):
            paid.utility(_without(rows, subject), by=by, noise=tap, **asked)
        for i, table in enumerate(tap.tables[count:]):
            assert np.linalg.norm((table - tap.tables[i % count]).ravel().astype(float)) <= k


def test_utility_noise_is_scaled_to_contribution_and_tables(demo: Demo) -> None:
    index = demo.codec.index
    asked: dict[str, Any] = {
        "synthetic": demo.train.codes[:2000].astype(np.int32),
        "columns": demo.codec.columns,
        "target": index["hlthg"],
        "positive": np.array([False, True]),
        "mu": 0.1,
        "noise": SecureNoise(),
    }
    one = paid.utility(demo.holdout, by=[], contribution=1, **asked)
    two = paid.utility(demo.holdout, by=[index["idp"], index["hlthf"]], contribution=3, **asked)
    assert 10.0 <= one.sigma <= 10.4
    assert 30 * math.sqrt(2) <= two.sigma <= 30 * math.sqrt(2) * 1.04


def test_utility_tells_a_useful_model_from_a_useless_one(demo: Demo) -> None:
    rng = np.random.default_rng(4)
    index = demo.codec.index
    asked: dict[str, Any] = {
        "columns": demo.codec.columns,
        "target": index["idp"],
        "positive": np.array([False, True]),
        "by": [index["hlthg"], index["hlthp"]],
        "contribution": 1,
        "mu": demo.mu,
        "noise": SeededNoise(9),
    }
    real = demo.train.codes[:8000].astype(np.int32)
    useless = np.column_stack([rng.permutation(c) for c in real.T])
    good, bad = (
        paid.utility(demo.holdout, synthetic=real, **asked),
        paid.utility(demo.holdout, synthetic=useless, **asked),
    )
    assert good.balanced is not None
    assert bad.balanced is not None
    assert good.balanced[1] > 0.9
    assert bad.balanced[0] < 0.6
    small = [g for g in good.groups if g.column == "hlthp" and g.group == "true"]
    assert small[0].accuracy is None, "about 60 people are too few to judge at this noise"


def test_too_few_people_say_nothing(demo: Demo) -> None:
    tiny = Rows.of(demo.train.codes[:50])
    found = paid.membership(
        tiny,
        tiny,
        near=demo.train.codes[:500].astype(np.int32),
        fresh=demo.train.codes[500:600].astype(np.int32),
        reference=demo.train.codes[:100].astype(np.int32),
        columns=demo.codec.columns,
        cut=0.2,
        mu=0.05,
        noise=SeededNoise(1),
    )
    assert found.upper == 1.0


def test_thinning_is_by_subject_and_of_the_stated_share(demo: Demo) -> None:
    subjects = np.array([f"s{i // 2}" for i in range(20_000)], dtype=object)
    thin = paid.thin(subjects, keep=demo.split.thin, probability=0.3, label="x")
    assert (thin[::2] == thin[1::2]).all(), "all rows of a subject or none"
    assert abs(thin[::2].sum() - 3000) < 5 * math.sqrt(10_000 * 0.3 * 0.7)
    assert paid.thin(subjects, keep=demo.split.thin, probability=1.0, label="x").all()


def test_what_a_perfect_model_could_show_grows_with_people_and_budget() -> None:
    by_people = [paid.reach(people=n, tables=1, contribution=1, mu=0.05) for n in (100, 1_000, 10_000, 100_000)]
    for worse, better in pairwise(by_people):
        assert worse.accuracy <= better.accuracy
        assert worse.balanced <= better.balanced
        assert worse.gap >= better.gap
    assert (by_people[0].accuracy, by_people[0].gap) == (0.0, 1.0)
    assert by_people[-1].accuracy > 0.99
    assert paid.reach(people=5_000, tables=4, contribution=3, mu=0.05).gap > by_people[2].gap
    with pytest.raises(BudgetError):
        paid.reach(people=5_000, tables=1, contribution=1, mu=1e-6)
