"""``Joint``: rows with pictures where row and picture belong together: patients with x-rays, profiles with faces.

p(row) is a model of the table, p(picture | row) one of pictures given some of its columns: one hold, one event tree,
one subject. Every recipe for pictures is made so (docs/guide-pictures.md); what is chosen here is which, and which
columns the pictures depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from privsynth.data.codec import Codec
from privsynth.data.schema import Schema
from privsynth.errors import SchemaError
from privsynth.generators.images.choose import Images
from privsynth.privacy.budget import Budget

if TYPE_CHECKING:
    from privsynth.generators.images.diffusion import ImageDiffusion
    from privsynth.generators.images.statistics import ImageStatistics

MOST_COLUMNS, MOST_VALUES = 4, 12


def Joint(
    schema: Schema,
    budget: Budget,
    *,
    by: tuple[str, ...] = (),
    subjects: int | None = None,
    device: str | None = None,
) -> ImageStatistics | ImageDiffusion:
    """The recipe for rows and their pictures together.

    A picture that may be missing (``nullable: true``) is, beside, a column of the table: there or null.

    Args:
        by: the columns that pictures depend on, the most important first; by default the first four with a public list
            of at most twelve values. Each takes a share of the pictures' budget.
        subjects, device: see :func:`privsynth.generators.images.choose.Images`.

    Raises:
        SchemaError: not one picture, or no column that it could depend on. BudgetError: as of the recipes.
    """
    return Images(schema, budget, by=by or depended_on(schema), subjects=subjects, device=device)


def depended_on(schema: Schema) -> tuple[str, ...]:
    """The first four columns with a public list of at most twelve values.

    Raises:
        SchemaError: there is none.
    """
    cells = {c.name: c.cells for c in Codec(schema.table).columns}
    found = [
        name
        for name, column in schema.table.modelled.items()
        if column.kind in ("categorical", "boolean")
        and not getattr(column, "open", False)
        and cells[name] <= MOST_VALUES
        and name not in schema.pictures
    ]
    if not found:
        raise SchemaError(
            "no column that pictures could depend on",
            where="Joint.schema",
            mend=f"declare a boolean, or a categorical column with a list of at most {MOST_VALUES} values",
        )
    return tuple(found[:MOST_COLUMNS])
