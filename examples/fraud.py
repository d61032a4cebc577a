"""Card transactions of which few are fraud: consent by columns, a release of all, and one of fraud alone.

    python examples/fraud.py [FOLDER]

Every cardholder and transaction here is MADE UP by this script. The policy is policies/finance.yaml as it stands:
whether a cardholder agrees stands in the data, and fraud must stay detectable. All files that a user writes are
left in FOLDER (new or empty; a temporary one where none is named), the study for the command line among them.

Fraud is rare, so a release of all transactions holds few of it. `where=` conditions the model exactly, and
sampling costs nothing: as many fraudulent rows as wanted come from the one fit that was paid for. What is known
of fraud is not more for that: it is what the noise left of the few fraudulent rows in the data.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from asked import folder_asked

import privsynth as ps
from privsynth.errors import PrivsynthError
from privsynth.signing import Trust, new_key, write_trust

POLICY = Path(__file__).resolve().parents[1] / "policies" / "finance.yaml"
CARDHOLDERS = 200_000  # as the policy declares
MADE_UP = "made up by examples/fraud.py: nobody in it holds or held a card"

MERCHANTS = ["groceries", "fuel", "restaurant", "clothing", "travel"]
MERCHANTS += ["electronics", "gift cards", "pharmacy", "household", "leisure"]
CHANNELS = ["chip", "contactless", "online", "cash machine"]

SCHEMA = """\
# Card transactions; the rows are made up by examples/fraud.py.
privsynth-schema: 1
source: cards/transactions
subject: {column: card, at most: 4 rows}          # the policy allows 20; more rows, more noise
columns:
  card:     {kind: identifier}                    # never learned, regenerated
  hour:     {kind: integer, min: 0, max: 23}
  amount:   {kind: real, min: 0, max: 10000, decimals: 2, bins: [5, 10, 20, 40, 80, 150, 300, 600, 1200, 2500]}
  merchant: {kind: categorical, values: [groceries, fuel, restaurant, clothing, travel, electronics, gift cards,
             pharmacy, household, leisure]}
  channel:  {kind: categorical, values: [chip, contactless, online, cash machine]}
  place:    {kind: categorical, values: [home, neighbouring, abroad]}
  first:    {kind: boolean}                       # the card's first purchase at this merchant
  fraud:    {kind: boolean}
  agrees_fraud:  {kind: text, dropped: true}      # answers of the cardholder: the policy reads them, no fit does
  agrees_models: {kind: text, dropped: true}
never:
  - {channel: cash machine, merchant: gift cards}
"""

STUDY = """\
# The first release that examples/fraud.py makes in Python, as a file: `privsynth plan` tells its price and noise.
# For the second, `privsynth sample study.yaml --where fraud=true --rows 20000 --out release-fraud/` after a run.
privsynth-study: 1
schema: transactions.schema.yaml
data: transactions.parquet
policy: policy.yaml
ledger: sqlite:///ledger.db
actor: l.ferrari@northbank.example
consent: {columns: true}
purpose: fraud-detection
recipient: fraud-team
generator: {kind: marginals, epsilon: 2.0, delta: 1e-9, target: fraud}
sample: {rows: 100000, seed: 1}
sign: {key: release.key}
out: release/
model: model/
"""


def main() -> None:
    """Make up a bank, then release from it."""
    folder = folder_asked(__doc__ or "")
    make_up(folder)
    release(folder)


def release(folder: Path) -> None:
    """One paid fit, two signed releases."""
    policy = ps.load_policy(folder / "policy.yaml")
    schema = ps.load_schema(folder / "transactions.schema.yaml")
    ledger = ps.open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor="l.ferrari@northbank.example")

    records = ps.read_table(folder / "transactions.parquet", schema)
    granted = ps.filter_consent(records, policy, purpose="fraud-detection", recipient="fraud-team")
    split = granted.split(ledger)
    print("read the table by its schema, kept who agrees by the columns of the data")

    recipe = ps.Marginals(schema, ps.Budget(epsilon=2.0, delta=1e-9), target="fraud")
    hold = ledger.reserve(recipe, purpose="fraud-detection", recipient="fraud-team")
    print(f"reserved epsilon 2 for fit and gate: hold {hold.id}")
    model = recipe.fit(split.train, hold)
    approved = ps.gate(model, split, hold=hold, policy=policy)
    for finding in approved.claims.findings:
        print(f"  gate: {finding.name}: {finding.figure}; limit: {finding.limit} ({finding.cost})")

    everything = model.sample(100_000, seed=1)
    rare = model.sample(20_000, where={"fraud": True}, seed=2)
    for name, synth in (("release", everything), ("release-fraud", rare)):
        approved.release(synth).sign(folder / "release.key").write(folder / name)
        found = ps.verify(folder / name, trust=folder / "trust.json", recipient="fraud-team")
        fraud = int(synth.frame["fraud"].sum())
        print(f"signed and verified: {found.rows:,} synthetic transactions, {fraud:,} of them fraud, in {found.folder}")
    print(f"the model holds {model.probability({'fraud': True}):.2%} fraud; of fraud, and of all, by channel:")
    for channel in CHANNELS:
        of_fraud, of_all = ((s.frame["channel"] == channel).mean() for s in (rare, everything))
        print(f"  {channel:<13} {of_fraud:6.1%} {of_all:6.1%}")


# --- what a bank has -----------------------------------------------------------------------------------


def make_up(folder: Path) -> None:
    """Data with the cardholders' answers, schema and key, as they lie before a release."""
    table = transactions(np.random.default_rng(2026))
    table.to_parquet(folder / "transactions.parquet", index=False)
    (folder / "MADE-UP.txt").write_text(f"transactions.parquet is {MADE_UP}.\n")
    (folder / "transactions.schema.yaml").write_text(SCHEMA)
    (folder / "study.yaml").write_text(STUDY)
    shutil.copy(POLICY, folder / "policy.yaml")
    shutil.copy(POLICY.with_name("base.yaml"), folder)  # which it extends
    write_trust(folder / "trust.json", Trust.of(new_key(folder / "release.key", name="L. Ferrari (example)")))
    fraud = int(table["fraud"].sum())
    print(f"{len(table):,} transactions of {CARDHOLDERS:,} cardholders, {fraud:,} fraudulent: {MADE_UP}")


def transactions(rng: np.random.Generator) -> pd.DataFrame:
    """One to four transactions of each cardholder. Fraud is at night, online, abroad, dear, and new to the card."""
    who = np.repeat(np.arange(CARDHOLDERS), rng.integers(1, 5, CARDHOLDERS))
    n = len(who)
    fraud = rng.random(n) < 0.02

    def either(of_fraud: list[float], of_others: list[float]) -> npt.NDArray[np.int64]:
        """(n,) indices drawn from one of two distributions."""
        share = np.cumsum(np.array([of_others, of_fraud]), axis=1)[fraud.astype(int)]
        drawn = rng.random((n, 1)) * share[:, -1:]
        return np.asarray((drawn >= share[:, :-1]).sum(axis=1), dtype=np.int64)

    by_day = np.interp(np.arange(24), [0, 6, 12, 18, 23], [0.2, 0.3, 2, 3, 1]).tolist()
    hour = either([2.0] * 6 + [1.0] * 18, by_day)
    merchant = either([2, 2, 3, 8, 10, 25, 30, 2, 6, 12], [30, 10, 18, 8, 4, 4, 1, 7, 10, 8])
    channel = either([8, 12, 75, 5], [35, 35, 25, 5])
    merchant[(channel == 3) & (merchant == 6)] = 5
    amount = np.exp(rng.normal(np.where(fraud, 4.8, 3.2), 1.0))
    agrees = np.where(rng.random((2, CARDHOLDERS)) < [[0.93], [0.60]], "yes", "no")[:, who]
    return pd.DataFrame(
        {
            "card": np.char.add("made-up-", who.astype(str)),
            "hour": hour,
            "amount": np.minimum(amount, 10_000).round(2),
            "merchant": np.array(MERCHANTS)[merchant],
            "channel": np.array(CHANNELS)[channel],
            "place": np.array(["home", "neighbouring", "abroad"])[either([35, 15, 50], [90, 6, 4])],
            "first": rng.random(n) < np.where(fraud, 0.85, 0.2),
            "fraud": fraud,
            "agrees_fraud": agrees[0],
            "agrees_models": agrees[1],
        }
    )


if __name__ == "__main__":
    try:
        main()
    except PrivsynthError as error:
        sys.exit(str(error))
