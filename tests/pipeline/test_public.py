"""A study with a public table: declared in the recipe, told on the card, told apart when it changes."""

from __future__ import annotations

import json

import pytest

from privsynth.generators.marginals import Marginals, load_model
from privsynth.generators.marginals.public import digest
from privsynth.release.verify import verify
from tests import world
from tests.desk import SECRET, Desk, cli

NOTE = "visits of the year before, *open data*"


@pytest.fixture
def helped(desk: Desk) -> Desk:
    """A desk whose generator names a public table."""
    frame = world.rows(600, seed=9)
    frame.to_parquet(desk.folder / "public.parquet", index=False)
    desk.edit("policy.yaml", ("data: {min rows: 500}", "data: {min rows: 500, public help: allowed}"))
    desk.edit("study.yaml", ("components: 40}", f'components: 40, public: {{file: public.parquet, note: "{NOTE}"}}}}'))
    return desk


def test_a_release_says_what_helped_it(helped: Desk) -> None:
    study = helped.load()
    assert isinstance(study.recipe, Marginals)
    assert study.public is not None and study.recipe.public is not None
    assert study.recipe.public.sha256 == digest(study.public)
    assert cli("plan", helped.study).code == 0
    said = helped.run()
    assert said.code == 0, said.err
    assert verify(helped.release).rows == 300
    assert json.loads((helped.release / "card.json").read_bytes())["public help"] == NOTE
    card = (helped.release / "card.md").read_text()
    assert r"Public rows took noise out of the fit: visits of the year before, \*open data\*." in card
    assert "count for nothing in the ε above" in card
    assert NOTE not in (helped.release / "privacy.md").read_text() and SECRET not in card
    model = load_model(helped.folder / "model")
    assert model.public_help == NOTE and model.refits()
    assert cli("sample", helped.study, "--rows", "20", "--out", helped.folder / "x").code == 0
    assert "public help" in (helped.folder / "x" / "card.json").read_text()


def test_without_one_the_card_says_nothing_of_it(finished: Desk) -> None:
    assert json.loads((finished.release / "card.json").read_bytes())["public help"] is None
    assert "Public rows took" not in (finished.release / "card.md").read_text()


def test_without_the_policy_s_word_it_is_refused(helped: Desk) -> None:
    helped.edit("policy.yaml", (", public help: allowed", ""))
    said = helped.run("--json")
    assert (said.code, said.json["refused_by"]) == (1, ["PS-PUB-001"])
    assert "reserve" not in helped.kinds()


def test_an_earlier_release_of_the_source_may_help(desk: Desk) -> None:
    """What has left is charged already: its rows are read as any table of the schema."""
    desk.edit("policy.yaml", ("data: {min rows: 500}", "data: {min rows: 500, public help: allowed}"))
    assert desk.run().code == 0
    asked = "components: 40, public: {file: release/data/table.parquet, note: our first release}}"
    desk.edit(
        "study.yaml", ("components: 40}", asked), ("out: release/", "out: next/"), ("model: model/", "model: m2/")
    )
    said = desk.run()
    assert said.code == 0, said.err
    model = load_model(desk.folder / "m2")
    assert model.recipe["public"]["rows"] == 300 and not model.receipt.first_of_population


def test_a_changed_table_is_another_purchase(helped: Desk) -> None:
    request = helped.load().request
    frame = world.rows(600, seed=9)
    frame = frame.assign(age=frame["age"].where(frame.index > 0, 98 - frame["age"].iloc[0]))
    frame.to_parquet(helped.folder / "public.parquet", index=False)
    assert helped.load().request != request


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("public.parquet,", "nowhere.parquet,", "DataError", "no such data file"),
        ("public.parquet,", "study.yaml,", "DataError", ".yaml is not known"),
        (f'"{NOTE}"', '""', "StudyError", "note"),
        (f', note: "{NOTE}"', "", "StudyError", "note"),
        ("public.parquet,", "data.parquet,", "StudyError", "own data cannot be declared public"),
        ("public.parquet,", "./linked.parquet,", "StudyError", "own data cannot be declared public"),
        ("file: public.parquet", "path: public.parquet", "StudyError", "'file' is missing"),
    ],
)
def test_what_is_wrong_with_it_is_told_before_anything_is_spent(
    helped: Desk, old: str, new: str, error: str, words: str
) -> None:
    (helped.folder / "linked.parquet").hardlink_to(helped.folder / "data.parquet")
    helped.edit("study.yaml", (old, new))
    said = helped.run("--json")
    assert (said.code, said.json["error"]) == (2, error)
    assert words in said.json["what"] and said.json["mend"] and helped.kinds() == []
