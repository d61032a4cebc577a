"""Two studies of two populations that share people, in one ledger that keeps them apart."""

from __future__ import annotations

import json

from privsynth.data.records import Split
from privsynth.pipeline.run import read_granted, run_study
from privsynth.pipeline.study import load_study
from privsynth.release.verify import verify
from tests.desk import SECRET, Desk, cli
from tests.world import ACTOR, RECIPIENT

RULE = ("  noise: os-secure-only", "  new data: {population: disjoint-subjects-only}\n  noise: os-secure-only")
SHARED = 1500
OTHER = {
    "schema.yaml": {"lab/visits": "lab/other"},
    "study.yaml": {
        "schema: schema": "schema: other-schema",
        "data: data": "data: other-data",
        "out: release/": "out: other-release/",
        "model: model/": "model: other-model/",
    },
}


def lay_second(desk: Desk) -> set[str]:
    """Write beside the study one of the other source, in whose file ``SHARED`` people of the first one stand too; the
    others of it."""
    frame, register = desk.frame(), desk.folder / "consent.csv"
    own = {name: f"{SECRET}n{name}" for name in sorted(set(frame["person"]))[SHARED:]}
    frame["person"] = frame["person"].replace(own)
    frame.to_parquet(desk.folder / "other-data.parquet", index=False)
    added = "".join(f"{name},research,*,granted,2020-01-01,\n" for name in own.values())
    register.write_text(register.read_text() + added)
    for name, changes in OTHER.items():
        text = (desk.folder / name).read_text()
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (desk.folder / f"other-{name}").write_text(text)
    return set(own.values())


def split(desk: Desk, study: str = "study.yaml") -> Split:
    return read_granted(load_study(desk.folder / study)).split(desk.ledger())


def people(found: Split) -> set[str]:
    return {*found.train.records.subjects, *found.holdout.records.subjects}


def test_whoever_the_first_study_met_is_in_no_other_population(desk: Desk) -> None:
    few = ("gap: {max: 0.5}", "gap: {max: 0.99}")  # the second study has too few people for a finer word on groups
    desk.edit("policy.yaml", RULE, ("  by: register\n", "  by: register\n  on withdrawal: stop-new-use\n"), few)
    own, first = lay_second(desk), set(desk.frame()["person"])
    run_study(desk.load(), actor=ACTOR)
    done = cli("run", desk.folder / "other-study.yaml")
    assert done.code == 0, done.err
    theirs = split(desk, "other-study.yaml")
    assert people(split(desk)) == first
    assert people(theirs) == own
    assert desk.kinds().count("assigned") == 4, "one for each split: of two runs, and of two that met nobody new"
    desk.ledger().verify()

    for out in ("release", "other-release"):
        found = verify(desk.folder / out, trust=desk.folder / "trust.json", recipient=RECIPIENT)
        assert found.receipt.apart
        statement = json.loads((desk.folder / out / "privacy.json").read_text())
        assert "Nobody counts in two populations of this ledger" in statement["population"]["sentence"]
        left = [path.read_bytes() for path in (desk.folder / out).rglob("*") if path.is_file()]
        assert not any(b"assigned" in raw for raw in left)

    assert impact(desk, min(theirs.train.records.subjects)) == 1
    assert impact(desk, min(first)) == 0

    frame = desk.frame()  # whom the second one met turns up in the first one's file
    frame.loc[frame["person"] == min(first), "person"] = min(own)
    frame.to_parquet(desk.folder / "data.parquet", index=False)
    assert people(split(desk)) == first - {min(first)}


def impact(desk: Desk, gone: str) -> int:
    """How many fits of the second source held somebody who withdrew since."""
    text, now = (desk.folder / "consent.csv").read_text(), desk.folder / "now.csv"
    assert text.count(f"{gone},research,*,granted") == 1
    now.write_text(text.replace(f"{gone},research,*,granted", f"{gone},research,*,withdrawn"))
    said = cli(
        "consent", "impact", desk.folder / "policy.yaml", "--ledger", f"sqlite:///{desk.folder / 'ledger.db'}",
        "--source", "lab/other", "--actor", ACTOR, "--register", now, "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    return len(said.json["fits"])


def test_rows_without_ids_are_refused_before_anything_is_there(desk: Desk) -> None:
    desk.edit("policy.yaml", RULE)
    rows = "subject: {each row is a: person, a person has at most: 1 rows}"
    desk.edit(
        "schema.yaml", ("subject: {column: person, at most: 2 rows}", rows), ("  person: {kind: identifier}\n", "")
    )
    before = desk.files()
    for command in ("plan", "run"):
        said = cli(command, desk.study)
        assert said.code == 1
        assert "PS-SRC-006" in said.err and "policy.yaml:" in said.err and "subject: {column" in said.err
    assert desk.files() == before
