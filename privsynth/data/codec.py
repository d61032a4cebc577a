"""Raw values ↔ integer cells. All that is known of a domain comes from the schema, or was paid for.

A column's cells are numbered 0 … cells-1 in schema order; where it is nullable the last cell is null.
Numbers and dates fall into cells by edges: the schema's ``bins``, else one cell a value (at most
256), else those that a fit has learned under payment, or 64 of equal width; a public atom of a real column is
a cell of its own. Of an open categorical column the cells are the released categories and one for all
others. Without ``learned``, as before a fit, an open column has that one cell only. Inside a cell a
sampled value is uniform. Encoding is pure; decoding takes the caller's random generator; and
``encode(decode(codes))`` is ``codes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from privsynth.data.evidence import Between, Codes, Evidence, Floats, Segments
from privsynth.data.learned import NOTHING, Learned
from privsynth.data.listed import CodedColumn, Listed, OpenListed
from privsynth.data.ranged import VALUES_AS_CELLS, Ranged, ranged_column, total
from privsynth.data.rules import Determines, Sum, listed, text_of
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
    "Learned",
    "Listed",
    "OpenListed",
    "Ranged",
    "Segments",
    "coded_column",
]


def coded_column(name: str, column: Column, learned: Learned = NOTHING) -> CodedColumn:
    """The cells of one learned column."""
    null = 1 if column.nullable else 0
    match column:
        case Categorical(open=True):
            released = learned.values.get(name)
            values = (*(released or ()), column.rest)
            return OpenListed(name, column, len(values) + null, False, column.nullable, values, released)
        case Categorical():
            return Listed(name, column, len(column.values) + null, column.ordered, column.nullable, column.values)
        case Boolean():
            return Listed(name, column, 2 + null, False, column.nullable, (False, True))
        case Integer() | Real() | Date() | Datetime():
            return ranged_column(name, column, learned.bins.get(name))
        case _:
            raise ConditionError(f"a {column.kind} column is never coded", where=name)


class Codec:
    """The cells of every modelled column of a schema, in file order."""

    def __init__(self, schema: Schema, learned: Learned = NOTHING) -> None:
        self.schema = schema
        self.learned = learned
        self.columns: tuple[CodedColumn, ...] = tuple(coded_column(n, c, learned) for n, c in schema.modelled.items())
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
        self,
        codes: Codes,
        rng: np.random.Generator,
        evidence: Mapping[str, Evidence] | None = None,
        drawn: Mapping[str, pd.Series[Any]] | None = None,
    ) -> pd.DataFrame:
        """Rows drawn from their cells, with what the schema computes from them; columns in schema order.
        ``drawn``: columns of numbers or days whose values are drawn already, and whose codes are not read.
        O(rows · columns)."""
        import pandas as pd

        given, columns = evidence or {}, dict(drawn or {})
        for i, c in enumerate(self.columns):
            if c.name not in columns:
                columns[c.name] = c.decode(codes[:, i], rng, given.get(c.name))
        for name, rule in self.schema.computed.items():
            if isinstance(rule, Sum):
                columns[name] = total(name, self.schema.columns[name], [columns[part] for part in rule.parts])
            else:
                at = self.index[rule.left]
                image = self._image(name, rule, self.columns[at])
                columns[name] = coded_column(name, self.schema.columns[name]).decode(image[codes[:, at]], rng)
        return pd.DataFrame({name: columns[name] for name in self.schema.learned}, copy=False)

    def _image(self, name: str, rule: Determines, left: CodedColumn) -> Codes:
        """(cells of the left column,) the cell of the determined one."""
        right = cast("Listed", coded_column(name, self.schema.columns[name]))
        values: Sequence[Any] = self.learned.maps.get(name, ())
        if rule.map is not None:
            known, back = dict(rule.map), {text_of(v): v for v in listed(right.column)}
            values = [back[known[text_of(v)]] for v in listed(left.column)]
        padded = [*values, *[None] * (left.cells - len(values))]  # before a fit nothing is known
        return np.array([right.cell_of(v) for v in padded], dtype=np.int32)

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
                what, mend = self.schema.not_modelled(name)
                raise ConditionError(what, where=f"where[{name!r}]", mend=mend)
            out[name] = self.columns[self.index[name]].evidence(wanted)
        return out
