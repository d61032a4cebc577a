"""Rows and pictures together: what is chosen for them, and that they agree."""

from __future__ import annotations

import pytest

from privsynth.data.schema import parse_schema
from privsynth.errors import SchemaError
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.generators.joint import Joint, depended_on
from privsynth.privacy.budget import Budget
from tests.generators.images.test_statistics import SCHEMA


def test_pictures_depend_on_the_first_short_lists() -> None:
    more = SCHEMA.replace(
        "  ink:",
        "  a: {kind: boolean}\n  b: {kind: categorical, values: [x, y]}\n  c: {kind: boolean}\n"
        f"  long: {{kind: categorical, values: [{', '.join(f'v{i}' for i in range(13))}]}}\n  ink:",
    )
    assert depended_on(parse_schema(SCHEMA)) == ("digit", "even")
    assert depended_on(parse_schema(more)) == ("digit", "even", "a", "b")


def test_a_picture_that_may_be_missing_is_none_of_them() -> None:
    schema = parse_schema(SCHEMA.replace("size: [8, 8]}", "size: [8, 8], nullable: true}"))
    assert depended_on(schema) == ("digit", "even")


def test_the_recipe_is_one_of_the_two() -> None:
    recipe = Joint(parse_schema(SCHEMA), Budget(1.0, 1e-8), by=("even",))
    assert isinstance(recipe, ImageStatistics)
    assert recipe.by == ("even",)
    assert Joint(parse_schema(SCHEMA), Budget(1.0, 1e-8)).by == ("digit", "even")


def test_without_such_a_column_it_says_so() -> None:
    bare = "\n".join(line for line in SCHEMA.splitlines() if "digit:" not in line and "even:" not in line)
    with pytest.raises(SchemaError, match="no column that pictures could depend on"):
        Joint(parse_schema(bare), Budget(1.0, 1e-8))
