"""Hospital encounters, from a table to a signed release: the Python API from end to end.

    python examples/patients.py [FOLDER]

Every patient, encounter and consent here is MADE UP by this script. The policy is policies/healthcare.yaml as it
stands. All files that a user writes are left in FOLDER (new or empty; a temporary one where none is named), the
study among them, which says the same to the command line: `privsynth plan FOLDER/study.yaml`.
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

POLICY = Path(__file__).resolve().parents[1] / "policies" / "healthcare.yaml"
PATIENTS = 41_250  # as the policy declares
MADE_UP = "made up by examples/patients.py: nobody in it is or was a patient"

# The chapters of ICD-10-CM, as published.
CHAPTERS = [
    "A00-B99 infections", "C00-D49 neoplasms", "D50-D89 blood", "E00-E89 endocrine", "F01-F99 mental",
    "G00-G99 nervous system", "H00-H59 eye", "H60-H95 ear", "I00-I99 circulatory", "J00-J99 respiratory",
    "K00-K95 digestive", "L00-L99 skin", "M00-M99 musculoskeletal", "N00-N99 genitourinary",
    "O00-O9A pregnancy and childbirth", "P00-P96 perinatal", "Q00-Q99 congenital", "R00-R99 symptoms",
    "S00-T88 injury", "U00-U85 special purposes", "V00-Y99 external causes", "Z00-Z99 health services",
]  # fmt: skip

SCHEMA = """\
# Encounters of a hospital; the rows are made up by examples/patients.py.
privsynth-schema: 1
source: ehr/encounters
subject: {column: patient_id, at most: 1 row}     # the policy allows 12; more rows, more noise
columns:
  patient_id: {kind: identifier}                  # never learned, regenerated
  age:        {kind: integer, min: 0, max: 120}
  sex:        {kind: categorical, values: [F, M, X]}
  pregnant:   {kind: boolean, nullable: true}
  diagnosis:  {kind: categorical, values from: icd10_chapters.csv}   # a public list
  ward:       {kind: categorical, values: [medicine, surgery, intensive care, maternity, children, psychiatry]}
  admitted:   {kind: date, min: 2019-01-01, max: 2024-12-31}
  stay:       {kind: integer, min: 0, max: 365, bins: [1, 2, 3, 4, 5, 7, 10, 14, 21, 30, 60]}   # nights
  charge:     {kind: real, min: 0, max: 200000, decimals: 2, nullable: true,
               bins: [500, 1000, 2000, 4000, 8000, 12000, 16000, 24000, 32000, 64000]}
  readmitted: {kind: boolean}
never:
  - {sex: M, pregnant: true}                      # structural zeros: no release holds such a row
  - {sex: M, ward: maternity}
"""

STUDY = """\
# The release that examples/patients.py makes in Python, as a file: `privsynth plan` tells its price and noise.
privsynth-study: 1
schema: encounters.schema.yaml
data: encounters.parquet
policy: policy.yaml
ledger: sqlite:///ledger.db
actor: a.kim@st-anna.example
consent: {register: consent.csv}
purpose: medical-research
recipient: university-hospital
generator: {kind: marginals, epsilon: 1.0, delta: 1e-9, target: readmitted}
sample: {rows: 50000, where: {sex: F}, seed: 7}
sign: {key: release.key}
out: release/
"""


def main() -> None:
    """Make up a hospital, then release from it."""
    folder = folder_asked(__doc__ or "")
    make_up(folder)
    release(folder)


def release(folder: Path) -> None:
    """The whole road. Each step takes what the step before it made."""
    policy = ps.load_policy(folder / "policy.yaml")
    schema = ps.load_schema(folder / "encounters.schema.yaml")  # public, reviewed; nothing is inferred from the data
    ledger = ps.open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor="a.kim@st-anna.example")

    records = ps.read_table(folder / "encounters.parquet", schema)
    granted = ps.filter_consent(
        records, policy, register=folder / "consent.csv", purpose="medical-research", recipient="university-hospital"
    )
    split = granted.split(ledger)
    print("read the table by its schema, kept who consents, held out a fifth of them by secret coins")

    recipe = ps.Marginals(schema, ps.Budget(epsilon=1.0, delta=1e-9), target="readmitted")
    hold = ledger.reserve(recipe, purpose="medical-research", recipient="university-hospital")
    print(f"reserved epsilon 1 for fit and gate: hold {hold.id}")
    model = recipe.fit(split.train, hold)
    approved = ps.gate(model, split, hold=hold, policy=policy)  # paid, on a sample of its own; or ReleaseRefused
    for finding in approved.claims.findings:
        print(f"  gate: {finding.name}: {finding.figure}; limit: {finding.limit} ({finding.cost})")

    synth = model.sample(50_000, where={"sex": "F"}, seed=7)  # free, and inherits the verdict
    approved.release(synth).sign(folder / "release.key").write(folder / "release")
    found = ps.verify(folder / "release", trust=folder / "trust.json", recipient="university-hospital")
    print(f"signed and verified: {found.rows:,} synthetic encounters of women in {found.folder}")
    for line in ledger.balances():
        print(f"  budget of {line.over} {line.name}: {line.spent_share():.0%} spent, for ever")


# --- what a hospital has -----------------------------------------------------------------------------


def make_up(folder: Path) -> None:
    """Data, schema, policy, register, study and key, as they lie before a release."""
    table = encounters(np.random.default_rng(2029))
    register = consent(np.unique(table["patient_id"].to_numpy(str)), np.random.default_rng(2027))
    table.to_parquet(folder / "encounters.parquet", index=False)
    register.to_csv(folder / "consent.csv", index=False)
    (folder / "MADE-UP.txt").write_text(f"encounters.parquet and consent.csv are {MADE_UP}.\n")
    (folder / "icd10_chapters.csv").write_text("\n".join(["chapter", *CHAPTERS]) + "\n")
    (folder / "encounters.schema.yaml").write_text(SCHEMA)
    (folder / "study.yaml").write_text(STUDY)
    shutil.copy(POLICY, folder / "policy.yaml")
    shutil.copy(POLICY.with_name("base.yaml"), folder)  # which it extends
    write_trust(folder / "trust.json", Trust.of(new_key(folder / "release.key", name="A. Kim (example)")))
    withdrawn = int((register["status"] == "withdrawn").sum())
    print(f"{len(table):,} encounters of {PATIENTS:,} patients, {withdrawn:,} withdrawals: {MADE_UP}")


def encounters(rng: np.random.Generator) -> pd.DataFrame:
    """One to six encounters of each patient. The old are ill in other ways, stay longer and come back more."""
    visits = rng.choice([1, 2, 3, 4, 5, 6], PATIENTS, p=[0.55, 0.20, 0.11, 0.07, 0.04, 0.03])
    born = rng.beta(1.6, 1.2, PATIENTS) * 95
    sexes = rng.choice(["F", "M", "X"], PATIENTS, p=[0.51, 0.48, 0.01])
    who = np.repeat(np.arange(PATIENTS), visits)
    n = len(who)
    age, sex = born[who].astype(int), sexes[who]
    young_woman = (sex == "F") & (age > 16) & (age < 45)
    expecting = young_woman & (rng.random(n) < 0.25)
    pregnant = pd.array(expecting, dtype="boolean")
    pregnant[(sex == "F") & ~young_woman & (rng.random(n) < 0.1)] = pd.NA
    old = 1 / (1 + np.exp(-(age - 58) / 8))
    weight = np.ones((n, len(CHAPTERS)))
    for chapter, of_old, of_young in ((1, 4, 1), (3, 4, 1), (8, 12, 1), (9, 6, 4), (12, 4, 2), (18, 2, 6), (4, 1, 4)):
        weight[:, chapter] = of_young + (of_old - of_young) * old
    weight[:, 14] = 40.0 * expecting
    weight[:, [15, 19]] = 0.05
    share = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    diagnosis = (rng.random(n)[:, None] >= share[:, :-1]).sum(axis=1)
    circulatory, childbirth = diagnosis == 8, diagnosis == 14
    cases = [childbirth, age < 16, diagnosis == 4, rng.random(n) < 0.1 + 0.2 * circulatory]
    cases.append(np.isin(diagnosis, [1, 10, 12, 18]))
    ward = np.select(cases, ["maternity", "children", "psychiatry", "intensive care", "surgery"], "medicine")
    severe = 0.5 * old + 0.3 * circulatory + 0.3 * (ward == "intensive care")
    stay = np.minimum(rng.negative_binomial(2, 1 / (1 + 1.0 + 4 * severe)), 365)
    charge = np.round(np.clip(rng.gamma(3.0, 250 * (1 + stay) * (1 + severe)), 0, 200_000), 2)
    charge[rng.random(n) < 0.05] = np.nan
    readmitted = rng.random(n) < 0.08 + 0.75 / (1 + np.exp(-9 * (severe - 0.55)))
    days = rng.integers(0, (pd.Timestamp("2024-12-31") - pd.Timestamp("2019-01-01")).days + 1, n)
    return pd.DataFrame(
        {
            "patient_id": np.char.add("made-up-", who.astype(str)),
            "age": age,
            "sex": sex,
            "pregnant": pregnant,
            "diagnosis": np.array(CHAPTERS)[diagnosis],
            "ward": ward,
            "admitted": (pd.Timestamp("2019-01-01") + pd.to_timedelta(days, unit="D")).astype("datetime64[s]"),
            "stay": stay,
            "charge": charge,
            "readmitted": readmitted,
        }
    )


def consent(patients: npt.NDArray[np.str_], rng: np.random.Generator) -> pd.DataFrame:
    """A register: most grant research to everybody, some withdrew later, some were never asked."""
    answer = rng.random(len(patients))
    granted = pd.DataFrame({"subject": patients[answer < 0.97]})
    withdrawn = pd.DataFrame({"subject": patients[answer < 0.03]})
    granted[["status", "from"]] = "granted", "2025-01-01"
    withdrawn[["status", "from"]] = "withdrawn", "2026-01-15"
    lines = pd.concat([granted, withdrawn], ignore_index=True)
    return lines.assign(purpose="medical-research", recipient="*", until="")


if __name__ == "__main__":
    try:
        main()
    except PrivsynthError as error:
        sys.exit(str(error))
