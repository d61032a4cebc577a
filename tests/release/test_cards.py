"""The data card: complete, in plain words, and harmless to whoever renders it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privsynth.data.schema import Schema, parse_schema
from privsynth.release.cards import LISTED, card_markdown, data_card
from tests.shapes import shape

GOLDEN = Path(__file__).parent / "golden"


def make(world: Any, **changes: Any) -> dict[str, Any]:
    given = {
        "schema": world.schema,
        "rows": 50_000,
        "condition": {"sex": ["F"]},
        "balance": {"age": [{"value": {"from": 20, "to": 40}, "share": 0.5}, {"value": 50, "share": 0.5}]},
        "draw": "even",
        "files": ("data/table.parquet", "data/table.csv"),
        "generator": "marginals",
        "model": "ab" * 32,
    }
    return data_card(world.receipt, world.claims, **{**given, **changes})


def odd_schema(values: str, name: str = "c") -> Schema:
    return parse_schema(
        "privsynth-schema: 1\nsource: s\nsubject: {each row is a: visit, a person has at most: 2 rows}\n"
        f"public_from: public.csv\ncolumns:\n  {name}: {{kind: categorical, values: {values}}}\n".replace(
            "public_from", "public from"
        )
    )


def test_the_keys_are_stable(world: Any) -> None:
    """To change them on purpose: raise ``privsynth-card`` and write the new shape to the golden file."""
    assert shape(make(world)) == json.loads((GOLDEN / "card.shape.json").read_text())


def test_a_fit_that_adapts_is_told(world: Any) -> None:
    said = "Noise was chosen from the fit's own noisy answers, inside one envelope of μ = "
    assert said in card_markdown(make(world, adapts=True))
    assert said not in card_markdown(make(world))


def test_what_the_card_tells(world: Any) -> None:
    text = card_markdown(make(world))
    for part in (
        "# Synthetic data: ehr/encounters",
        "50,000 synthetic rows for **university-hospital**, for the purpose **medical-research**",
        "All rows were drawn under the condition `sex`: `['F']`.",
        "Rows were drawn to shares that were chosen, not measured: of `age` `{'from': 20, 'to': 40}` 0.5, `50` 0.5.",
        "these inherit its verdict",
        "The rows were drawn evenly",
        "Generator: marginals",
        "| age | integer | min 0; max 120 | no |",
        "| sex | categorical | values F, M, X | no |",
        "| pregnant | boolean | true, false | yes |",
        "| id | identifier | made up regenerated, never learned | no |",
        "Never together: sex M; pregnant True.",
        "| PS-GATE-MEM | membership | upper bound at most 0.2 | 0.11 | paid |",
        "| PS-GATE-SCH | schema constraints | every row keeps the schema | passed | free |",
        "No row is a person.",
        "Mixed with real records, the mixture is as sensitive as those records",
        "privsynth verify DIR --trust trust.json",
        "Text that begins with = + - or @ may run as a formula.",
    ):
        assert part in text
    assert "notes" not in text  # a dropped column is not in the release


def test_attempts_and_folders_stay_inside(world: Any) -> None:
    card = make(world)
    assert "attempt" not in json.dumps(card)
    assert [finding["where"] for finding in card["gate"]] == ["p.yaml:31", "p.yaml:34"]


def test_guided_pictures_are_told(world: Any) -> None:
    plain, guided = make(world), make(world, guidance=1.5)
    assert {name: guided[name] for name in plain} == plain
    assert guided.keys() - plain.keys() == {"guidance"}
    assert "drawn with guidance 1.5: pushed, beyond what was learned" in card_markdown(guided)
    assert "guidance" not in card_markdown(plain)


def test_without_a_condition_none_is_mentioned(world: Any) -> None:
    text = card_markdown(make(world, condition={}, balance={}, draw="independent"))
    assert not any(word in text for word in ("condition", "to shares", "evenly", "inherit"))


def test_equal_shares_are_told(world: Any) -> None:
    text = card_markdown(make(world, condition={}, balance={"sex": "equal"}))
    assert "of `sex` each value the same share" in text and "inherit its verdict" in text


@pytest.mark.parametrize(
    ("values", "risky"),
    [
        ('["=1+1", b]', True),
        ('["+1", b]', True),
        ('["@x"]', True),
        ('["-x"]', True),
        ("[a, b]", False),
        ("[-1, 2]", False),
    ],
)
def test_spreadsheets_are_warned_of_formulas(world: Any, values: str, risky: bool) -> None:
    note = make(world, schema=odd_schema(values))["spreadsheets"]
    assert ("these columns include such text: c" in note) is risky
    assert ("none of them begins so" in note) is not risky


OPEN = """\
privsynth-schema: 1
source: s
subject: {each row is a: visit, a person has at most: 2 rows}
columns:
  ward: {kind: categorical, open: true}
  site: {kind: categorical, values: [N, S]}
  sex: {kind: categorical, values: [F, M]}
  title: {kind: categorical, values: [Ms, Mr]}
  age: {kind: integer, min: 0, max: 99}
  hours: {kind: real, min: 0, max: 100}
  days: {kind: real, min: 0, max: 10, cells: equal}
  base: {kind: integer, min: 0, max: 5000}
  extra: {kind: integer, min: 0, max: 5000}
  total: {kind: integer, min: 0, max: 10000}
sums: [total = base + extra]
determines: [ward -> site, {rule: sex -> title, map: [[F, Ms], [M, Mr]]}]
"""


def test_what_was_learned_under_payment_is_not_called_declared(world: Any) -> None:
    card = make(world, schema=parse_schema(OPEN))
    assert card["learned under payment"] == {
        "cells": ["hours", "base", "extra"],
        "categories": ["ward"],
        "maps": ["ward -> site"],
    }
    text = card_markdown(card)
    assert "Every domain was declared" not in text and "| public domain |" not in text
    for part in (
        "Learned from the records, with noise and inside the ε above:",
        "were counted in, of `hours`, `base`, `extra`.",
        "- the categories of `ward`.",
        "of `ward -> site`.",
        "| hours | real | min 0.0; max 100.0; cells learned under payment | no |",
        "| days | real | min 0.0; max 10.0 | no |",
        "| ward | categorical | values learned under payment; the rest is told as",
    ):
        assert part in text, part


def test_where_all_was_declared_it_says_so(world: Any) -> None:
    text = card_markdown(make(world, schema=odd_schema("[a, b]")))
    assert "Every domain was declared, public, and never read off the records." in text
    assert "Learned from the records" not in text


@pytest.mark.parametrize("kind", ["cells", "categories", "maps"])
def test_each_payment_alone_is_told(world: Any, kind: str) -> None:
    """Of a schema that leaves one thing open."""
    shut = OPEN.replace("max: 100}", "max: 100, cells: equal}").replace("max: 5000}", "max: 5000, cells: equal}")
    shut = shut.replace("open: true", "values: [a, b]").replace(
        "ward -> site", "{rule: ward -> site, map: [[a, N], [b, S]]}"
    )
    opened = {
        "cells": shut.replace("max: 100, cells: equal}", "max: 100}"),
        "categories": shut.replace(
            "ward: {kind: categorical, values: [a, b]}", "ward: {kind: categorical, open: true}"
        ).replace("{rule: ward -> site, map: [[a, N], [b, S]]}, ", ""),
        "maps": shut.replace("{rule: ward -> site, map: [[a, N], [b, S]]}", "ward -> site"),
    }[kind]
    assert "Every domain was declared" in card_markdown(make(world, schema=parse_schema(shut)))
    card = make(world, schema=parse_schema(opened))
    assert [key for key, names in card["learned under payment"].items() if names] == [kind]
    assert "Every domain was declared" not in card_markdown(card)


def test_computed_columns_are_named(world: Any) -> None:
    card = make(world, schema=parse_schema(OPEN))
    assert card["sums"] == ["total = base + extra"]
    assert card["determines"] == [
        {"rule": "ward -> site", "by": "a map learned under payment"},
        {"rule": "sex -> title", "by": "a public map"},
    ]
    text = card_markdown(card)
    for part in (
        "- Always, the first computed from the others: `total = base + extra`.",
        "- Always, the second computed by a map learned under payment: `ward -> site`.",
        "- Always, the second computed by a public map: `sex -> title`.",
        "| total | integer | min 0; max 10000; computed from base, extra | no |",
        "| title | categorical | values Ms, Mr; computed from sex | no |",
    ):
        assert part in text, part


def test_long_lists_are_counted(world: Any) -> None:
    many = make(world, schema=odd_schema(str([f"v{i}" for i in range(LISTED + 1)])))
    assert many["columns"][0]["domain"] == {"values": "51, listed in schema.json"}
    few = make(world, schema=odd_schema(str([f"v{i}" for i in range(LISTED)])))
    assert len(few["columns"][0]["domain"]["values"]) == LISTED


def test_a_public_file_is_named(world: Any) -> None:
    assert "filled in from the file `public.csv`" in card_markdown(make(world, schema=odd_schema("[a, b]")))


def test_markup_in_names_and_values_stays_text(world: Any) -> None:
    nasty = odd_schema(r'["a|b", "<script>", "[x](http://e)", "two\nlines", "`"]', name='"a|*b*"')
    text = card_markdown(make(world, schema=nasty, condition={"a|*b*": ["`x`\n# Title"]}))
    (row,) = [line for line in text.splitlines() if line.startswith("| a")]
    assert row.replace("\\|", "").count("|") == 5
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\n# Title" not in text
    assert "`[''x'\\n# Title']`" in text
