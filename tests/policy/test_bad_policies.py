"""Each way to write a bad policy: which line the error names, what it says, and its mend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from privsynth.errors import PolicyError
from privsynth.policy.document import Policy
from privsynth.policy.mends import MENDS

Edit = Callable[..., Policy]

GAP = "    gap: {max: 0.08} "
PICTURES = "\n  pictures:\n    membership: {attack: neighbour, advantage: {upper bound max: 0.10}}"

# (text of healthcare.yaml, its replacement, where the error points: the line that holds this text, what, mend)
BAD = [
    # unknown keys, and keys of later versions
    ("owner:", "onwer: x\nowner:", "onwer:", "unknown key 'onwer'", "docs"),
    ("owner:", "extends: {file: b.yaml}\nowner:", "extends:", "names a file and its hash", "base.yaml"),
    ("owner:", "base: true\nowner:", "base:", "this is a base", "that extends it"),
    ("categories: [health]", "categories: [shoes]", "categories", "'health', 'genetic'", "biometric"),
    ("categories: [health]", "categories: []", "categories", "at least 1", "biometric"),
    ("roles:\n", "retention: {model: 1 year}\nroles:\n", "retention", "hours or days", "365d"),
    ("{legal basis: [", "{duo: [HMB], legal basis: [", "duo:", "no source carries DUO codes", "remove these"),
    ("{purposes: [", "{region: Europe, purposes: [", "region:", "a code such as EU", "EU, CH or US-CA"),
    ("consent:\n", "regions: []\nconsent:\n", "regions:", "at least 1", "[EU, CH]"),
    ("  by: register", "  by: register\n  requires: {scope: research}", "requires:", "'action' is missing", "use"),
    ("  filter: {", "  pace: []\n  filter: {", "  pace:", "at least 1 item", "per: quarter, share: 1/4"),
    ("    unit: p", "    children: exclude\n    unit: p", "children:", "unknown key 'children'", "minors: {column"),
    ("  min rows:", "  min subjects per group: 0\n  min rows:", "per group", "greater than or equal", "from 1"),
    ("  min rows:", "  min subjects per group: 9000\n  min rows:", "per group", "more than 8250", "well below"),
    ("    attack: n", "    attacks: [x]\n    attack: n", "attacks:", "unknown key 'attacks'", "cannot enforce"),
    ("  max attempts: 5 ", "  linkage: {}\n  max attempts: 5 ", "linkage", "unknown key 'linkage'", "docs"),
    ("max epsilon: 1.0", "max_epsilon: 1.0", "  per release:", "key 'max epsilon' is missing", "0.0001 to 50"),
    ("max epsilon: 1.0", "max_epsilon: 9.0\n    max epsilon: 1.0", "max_epsilon", "unknown key 'max_epsilon'", "docs"),
    # periods
    ("epsilon: 6.0, ", "epsilon: 6.0, refill: monthly, ", "refill", "`refill` under `budget`: a budget", "remove"),
    ("epsilon: 3.0, ", "epsilon: 3.0, reset: yearly, ", "reset", "`reset` under `budget`: a budget", "remove"),
    ("epsilon: 6.0, ", "epsilon: 6.0, per: quarter, ", "quarter", "`per` under `budget`: a budget", "is `pace`"),
    # form
    ("privsynth-policy: 1 ", "privsynth-policy: 2 ", "privsynth-policy:", "format 2 is not known", "first line"),
    ("privsynth-policy: 1 ", "# ", "id:", "key 'privsynth-policy' is missing", "first line"),
    ('version: "1.0.0"', "version: 1.0", "version:", "valid string", "in quotes"),
    ('version: "1.0.0"', "version: 1.0.0", "version:", "looks like a number", "quotes"),
    ("owner: privacy", "owner: TODO", "owner:", "still says 'TODO", "decide it"),
    ("from: 2026-01-01", "from: 2026", "valid:", "not a day", "2026-01-01"),
    ("from: 2026-01-01", "from: 2026-02-30", "valid:", "no such day", "2026-01-01"),
    ("until: 2031-12-31", "until: 2025-12-31", "valid:", "never valid", "swap"),
    ("default: deny", "default: allow", "default:", "'deny'", "no record means no"),
    ("by: register", "by: telepathy", "by:", "'register'", "register, columns"),
    ("os-secure-only", "seeded", "noise:", "os-secure-only", "os-secure-only"),
    ("add-or-remove", "replace", "neighbours:", "add-or-remove", "add-or-remove"),
    ("unit: patient", "unit: 7", "unit:", "valid string", "such as patient"),
    ("subjects: 41250", "subjects: 41250.5", "subjects:", "integer", "rounded down"),
    ("subjects: 41250", "subjects: 0", "subjects:", "greater than or equal to 1", "rounded down"),
    ("subjects: 41250", "subjects: true", "subjects:", "integer", "rounded down"),
    ("holdout: 0.2 ", "holdout: 0 ", "holdout:", "greater than 0", "0.2"),
    ("holdout: 0.2 ", "holdout: 1.0 ", "holdout:", "less than 1", "0.2"),
    ("max rows per subject: 12", "max rows per subject: 0", "max rows", "greater than or equal to 1", "from 1"),
    ("ehr/encounters:", "ehr encounters:", "ehr encounters", "letters, digits", "names are"),
    ("a.kim@st-anna.example:", "a.kim:", "a.kim:", "an address such as", "address"),
    ("{legal basis: [Art6(1)(a), Art9(2)(a)]}", "{legal basis: []}", "research:", "at least 1", "list of texts"),
    ("Art9(2)(a)]", "Art6(1)(a)]", "legal basis", "stands twice", "list of texts"),
    # numbers
    ("epsilon: 6.0,", "epsilon: true,", "over: population", "valid number", "0.0001 to 50"),
    ("epsilon: 6.0,", 'epsilon: "6.0",', "over: population", "valid number", "0.0001 to 50"),
    ("epsilon: 6.0,", "epsilon: 0,", "over: population", "greater than or equal to 0.0001", "0.0001 to 50"),
    ("epsilon: 6.0,", "epsilon: -1,", "over: population", "greater than or equal to 0.0001", "0.0001 to 50"),
    ("epsilon: 6.0,", "epsilon: 51,", "over: population", "less than or equal to 50", "0.0001 to 50"),
    ("epsilon: 6.0,", "epsilon: .inf,", "over: population", "looks like a number", "plain decimal"),
    ("max delta: 1e-9", "max delta: 0", "max delta", "greater than or equal", "1e-9"),
    ("max delta: 1e-9", "max delta: 1", "max delta", "less than 1", "1e-9"),
    ('"1/(1000*subjects)"', "1e-9", "delta below", "1/(1000*subjects)", "in quotes"),
    ("kind: gdp", "kind: zcdp", "filter:", "'gdp' or 'rdp'", "gdp, rdp"),
    ("orders: auto", "orders: [2, 4]", "filter:", "a gdp filter has no orders", "kind: rdp"),
    ("kind: gdp, orders: auto", "kind: rdp, orders: [4, 2]", "filter:", "must increase", "increasing"),
    ("kind: gdp, orders: auto", "kind: rdp, orders: [1, 2]", "filter:", "above 1", "increasing"),
    ("kind: gdp, orders: auto", "kind: rdp, orders: []", "filter:", "1 to 64", "increasing"),
    ("min rows: 5000", "min rows: 0", "min rows", "greater than or equal to 1", "from 1"),
    ("max attempts: 5 ", "max attempts: 0 ", "max attempts", "greater than or equal to 1", "from 1"),
    ("share: 0.15", "share: 1", "share", "less than 1", "0.15"),
    ("marginals: {max: 0.08}", "marginals: {max: 0}", "held-back", "greater than 0", "above 0"),
    ("upper bound max: 0.14", "upper bound max: 1.1", "upper bound", "less than or equal to 1", "at most 1"),
    ("cut: 0.2", "cut: 1", "cut:", "less than 1", "between 0 and 1"),
    ("attack: neighbour", "attack: likelihood", "attack:", "'neighbour'", "neighbour"),
    ("positive: [true]", "positive: []", "positive:", "at least one value", "list of values"),
    ("positive: [true]", "positive: [0.5]", "positive:", "at least one value", "list of values"),
    ("positive: [true]", "positive: {below: 3}", "positive:", "{above: 3}", "list of values"),
    ("positive: [true]", "positive: [true, true]", "positive:", "stands twice", "list of values"),
    ("schema constraints: true", "schema constraints: 1", "schema constraints", "boolean", "true"),
    # pictures
    (GAP, GAP + "\n  pictures: {}", "pictures:", "key 'membership' is missing", "attack: neighbour"),
    (GAP, GAP + "\n  pictures: {attribute: {target: sex}}", "pictures:", "key 'membership' is missing", "attack"),
    (GAP, GAP + PICTURES.replace("neighbour", "loss"), "attack: loss", "'neighbour'", "neighbour"),
    (GAP, GAP + PICTURES.replace("{attack", "{cut: 0, attack"), "cut: 0,", "greater than 0", "between 0 and 1"),
    (GAP, GAP + PICTURES + "\n    caption: {}", "caption:", "unknown key 'caption'", "docs"),
    (GAP, GAP + PICTURES + "\n    attribute: {}", "attribute:", "key 'target' is missing", ""),
    (GAP, GAP + PICTURES + "\n    attribute: {target: sex}", "attribute:", "sets no limit", "at least"),
    (GAP, GAP + PICTURES + "\n    attribute: {target: sex, positive: [F], accuracy: {at least: 0.6}}", "attribute:",
     "unknown key 'positive'", "list of values"),
    (GAP, GAP + PICTURES + "\n    attribute: {target: sex, accuracy: {at least: 0.6}, by: [ward]}", "attribute:",
     "`by` and `gap` go together", "by: [sex]"),
    (GAP, GAP + PICTURES + "\n    attribute: {target: sex, by: [sex], gap: {max: 0.1}}", "attribute:",
     "target cannot be a group", "other columns"),
    # limits that refuse nothing
    ("upper bound max: 0.14", "upper bound max: 1", "upper bound max: 1}", "a check that cannot fail", "below 1"),
    ("marginals: {max: 0.08}", "marginals: {max: 1}", "marginals: {max: 1}", "a check that cannot fail", "below 1"),
    ("    gap: {max: 0.08}", "    gap: {max: 1.0}", "    gap:", "a check that cannot fail", "below 1"),
    (GAP, GAP + PICTURES.replace("0.10}", "1}"), "upper bound max: 1}", "a check that cannot fail", "below 1"),
    (GAP, GAP + PICTURES + "\n    attribute: {target: ward, by: [sex], gap: {max: 1}}", "attribute:",
     "a check that cannot fail", "below 1"),
    # what keys mean together
    ("university-hospital: {purposes: [medical-research]", "university-hospital: {purposes: [sale]", "purposes: [sale]",
     "'sale' is not listed", "legal basis"),
    ("  by: register", "  by: columns", "  by: columns", "go together", "write both"),
    ("  by: register", "  by: not-required", "  by: not-required", "`because`", "why nobody is asked"),
    ("  by: register", "  by: register\n  because: it is ours", "because:", "`because`", "why nobody is asked"),
    ("  by: register", "  by: register\n  columns: {medical-research: {column: c, granted: [x]}}", "columns:",
     "go together", "neither"),
    ("over: population, epsilon: 6.0", "over: recipient, epsilon: 6.0", "  budget:", "`over: population`", "add"),
    ("over: recipient, epsilon: 3.0", "over: population, epsilon: 3.0", "epsilon: 3.0", "a second line", "keep one"),
    ("max epsilon: 1.0", "max epsilon: 3.5", "max epsilon", "budget over recipient is only 3", "at most 3"),
    ("epsilon: 6.0", "epsilon: 0.5", "max epsilon", "budget over population is only 0.5", "at most 0.5"),
    ("epsilon: 6.0, delta: 2e-8", "epsilon: 6.0, delta: 3e-8", "epsilon: 6.0", "not below 1/(1000*sub", "2.42e-08"),
    ("min rows: 5000", "min rows: 33001", "min rows", "at most 33000 declared", "33000"),
    ("share: 0.15", "share: 0", "share", "must be paid for", "0.15"),
    ("by: [sex]  ", "# ", "    gap:", "`by` and `gap` go together", "by: [sex]"),
    ("    gap: {max: 0.08}", "    #", "    by:", "`by` and `gap` go together", "by: [sex]"),
    ("by: [sex]", "by: [readmitted]", "    by:", "target cannot be a group", "other columns"),
    ("reports: [quality-office]", "reports: [analysts]", "readers of", "may both read", "one of the two"),
    ("example: {roles: [analysts]}", "example: {roles: [analysts, quality-office]}", "a.kim@",
     "a.kim@st-anna.example may both", "different people"),
    ("example: {roles: [analysts]}", "example: {roles: [analyst]}", "a.kim@", "'analyst' is not named", "spell"),
    ("example: {roles: [analysts]}", "example: {roles: [quality-office]}", "requesters of", "nobody holds", "`people`"),
    ("example: {roles: [analysts]}", "example: {roles: [analysts]}\n  A.Kim@St-Anna.example: {roles: [quality-office]}",
     "A.Kim@", "the same address", "keep one"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "at", "what", "mend"), BAD, ids=[f"{n}-{b[3]}" for n, b in enumerate(BAD)])
def test_refused(edited: Edit, policies_text: str, old: str, new: str, at: str, what: str, mend: str) -> None:
    with pytest.raises(PolicyError) as caught:
        edited((old, new))
    lines = policies_text.replace(old, new).splitlines()
    wanted = [n for n, line in enumerate(lines, 1) if at in line.partition(" # ")[0]]
    path, _, number = caught.value.where.partition(":")
    assert path == "policy.yaml"
    assert int(number) in wanted
    assert what in caught.value.what
    assert mend in caught.value.mend
    assert caught.value.exit_code == 2


def test_the_edits_are_what_is_bad(edited: Edit) -> None:
    """The unedited file loads, so each refusal above is of its edit."""
    edited()


def test_a_gate_without_rules(edited: Edit, policies_text: str) -> None:
    start = policies_text.index("  schema constraints:")
    end = policies_text.index("# Who may do what.")
    with pytest.raises(PolicyError, match="evaluate no rule") as caught:
        edited((policies_text[start:end], ""))
    assert "schema constraints: true" in caught.value.mend
    with pytest.raises(PolicyError, match="evaluate no rule"):
        edited((policies_text[start:end], "  schema constraints: false\n"))
    edited((policies_text[start:end], "  schema constraints: true\n"))


def test_utility_without_a_limit(edited: Edit, policies_text: str) -> None:
    start, end = policies_text.index("    accuracy:"), policies_text.index("# Who may do what.")
    with pytest.raises(PolicyError, match="sets no limit"):
        edited((policies_text[start:end], ""))


SECOND = """  ehr/labs:
    population: st-anna-patients
    subjects: 41250
    holdout: 0.2
    unit: patient
    neighbours: add-or-remove
    contribution: {max rows per subject: 12}
"""


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("subjects: 41250", "subjects: 41251", "subjects"),
        ("holdout: 0.2", "holdout: 0.3", "holdout"),
        ("unit: patient", "unit: stay", "unit"),
        ("subject: 12", "subject: 11", "contribution"),
    ],
)
def test_sources_of_one_population_agree(edited: Edit, old: str, new: str, key: str) -> None:
    edited(("sources:\n", "sources:\n" + SECOND))
    with pytest.raises(PolicyError) as caught:
        edited(("sources:\n", "sources:\n" + SECOND.replace(old, new)))
    assert f"{key!r} differs from that of source 'ehr/labs'" in caught.value.what
    assert caught.value.where.startswith("policy.yaml:")
    edited(("sources:\n", "sources:\n" + SECOND.replace(old, new).replace("st-anna-patients", "others")))


@pytest.mark.parametrize("gone", ["fraud-detection: {column", "model-validation: {column"])
def test_every_purpose_has_its_column(edited: Edit, gone: str) -> None:
    with pytest.raises(PolicyError, match="nobody would ever be granted"):
        edited((f"    {gone}", f"    # {gone}"), of="finance")


def test_a_column_for_an_unknown_purpose(edited: Edit) -> None:
    with pytest.raises(PolicyError, match="'sale' is not listed"):
        edited(("  columns:  ", "  columns:\n    sale: {column: x, granted: [1]}\n  #"), of="finance")


def test_no_mend_is_empty() -> None:
    assert all(mend.strip() for mend in MENDS.values())
