"""Raw values ↔ integer cells. All that is known of a domain comes from the schema, never from rows.

A column's cells are numbered 0 … cells-1 in schema order; where it is nullable the last cell is null.
Numbers and dates fall into cells by public edges: the schema's ``bins``, else one cell a value (at most
256), else 64 of equal width; a public atom of a real column is a cell of its own. Inside a cell a
sampled value is uniform. Encoding is pure; decoding takes the caller's random generator; and
``encode(decode(codes))`` is ``codes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from privsynth.data.evidence import Between, Codes, Evidence, Floats, Segments
from privsynth.data.listed import CodedColumn, Listed
from privsynth.data.ranged import VALUES_AS_CELLS, Ranged, ranged_column
from privsynth.data.schema import Boolean, Categorical, Column, Date, Datetime, Integer, Real, Schema
from privsynth.errors import ConditionError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "VALUES_AS_CELLS",
    "Between",
    "Codec",
    "CodedColumn",
    "Codes",
    "Evidence",
    "Floats",
    "Listed",
    "Ranged",
    "Segments",
    "coded_column",
]


def coded_column(name: str, column: Column) -> CodedColumn:
    """The cells of one learned column."""
    null = 1 if column.nullable else 0
    match column:
        case Categorical():
            return Listed(name, column, len(column.values) + null, column.ordered, column.nullable, column.values)
        case Boolean():
            return Listed(name, column, 2 + null, False, column.nullable, (False, True))
        case Integer() | Real() | Date() | Datetime():
            return ranged_column(name, column)
        case _:
            raise ConditionError(f"a {column.kind} column is never coded", where=name)


class Codec:
    """The cells of every learned column of a schema, in file order."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.columns: tuple[CodedColumn, ...] = tuple(coded_column(n, c) for n, c in schema.learned.items())
        self.index: Mapping[str, int] = {c.name: i for i, c in enumerate(self.columns)}

    def encode(self, frame: pd.DataFrame) -> Codes:
        """(n, columns) int32 cells of conformed rows.

        Raises:
            DataError: a value that the schema rules out: the rows were not read by it.
        """
        out = np.empty((len(frame), len(self.columns)), dtype=np.int32, order="F")
        for i, column in enumerate(self.columns):
            out[:, i] = column.encode(frame[column.name])
        return out

    def decode(
        self, codes: Codes, rng: np.random.Generator, evidence: Mapping[str, Evidence] | None = None
    ) -> pd.DataFrame:
        """Rows drawn from their cells; columns in schema order. O(rows · columns)."""
        import pandas as pd

        given = evidence or {}
        columns = {c.name: c.decode(codes[:, i], rng, given.get(c.name)) for i, c in enumerate(self.columns)}
        return pd.DataFrame(columns, copy=False)

    def evidence(self, where: Mapping[str, Any] | None) -> dict[str, Evidence]:
        """A ``where=`` mapping, checked and translated.

        Raises:
            ConditionError: not a mapping, a column that is not learned, or a value outside its domain.
        """
        if where is not None and not isinstance(where, Mapping):
            raise ConditionError("not a mapping of columns to values", where="where", mend='write {"sex": "F"}')
        out: dict[str, Evidence] = {}
        for name, wanted in (where or {}).items():
            if name not in self.index:
                raise ConditionError(
                    "not a learned column", where=f"where[{name!r}]", mend=f"one of {', '.join(self.index)}"
                )
            out[name] = self.columns[self.index[name]].evidence(wanted)
        return out
