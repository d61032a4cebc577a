"""What every coded column can do, and the columns whose values are a list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from privsynth.data.evidence import Between, Codes, Evidence, scalar, wanted_items
from privsynth.data.schema import Boolean, Column
from privsynth.errors import ConditionError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_SHOWN = 8


@dataclass(frozen=True, eq=False)
class CodedColumn:
    """One learned column as cells.

    Attributes:
        name: of the column.
        column: its declaration.
        cells: how many codes there are, the null cell included.
        ordered: whether neighbouring cells are alike (numbers, dates, ordered categories).
        nullable: whether the last cell is null.
    """

    name: str
    column: Column
    cells: int
    ordered: bool
    nullable: bool

    def encode(self, values: pd.Series[Any]) -> Codes:
        """(n,) int32 cells of conformed values.

        Raises:
            DataError: values that the schema rules out: the rows were not read by it.
        """
        raise ConditionError(f"column {self.name!r} has no cells")

    def decode(self, codes: Codes, rng: np.random.Generator, evidence: Evidence | None = None) -> pd.Series[Any]:
        """(n,) values drawn from the cells, within ``evidence`` where given."""
        raise ConditionError(f"column {self.name!r} has no cells")

    def evidence(self, wanted: Any) -> Evidence:
        """What ``wanted`` (a value, a list of values, None, or :class:`Between`) says of this column.

        Raises:
            ConditionError: not a value of its kind and public domain.
        """
        raise ConditionError(f"column {self.name!r} has no cells")

    def labels(self) -> tuple[str, ...]:
        """A short text for each cell, for plots and cards."""
        raise ConditionError(f"column {self.name!r} has no cells")

    @property
    def null(self) -> int | None:
        """The null cell's code, or None."""
        return self.cells - 1 if self.nullable else None

    @property
    def _where(self) -> str:
        return f"where[{self.name!r}]"

    def _with_null(self, codes: Codes, missing: npt.NDArray[np.bool_]) -> Codes:
        """``codes`` with the null cell where ``missing``; a column that is never null has none."""
        if self.null is not None:
            codes[missing] = self.null
        elif missing.any():
            raise DataError(
                "a value outside the public domain of its column",
                where=f"column {self.name!r}",
                mend="read the rows with `read_table`, which clips, maps or drops by the schema's rule",
            )
        return codes

    def _missing(self, codes: Codes) -> npt.NDArray[np.bool_]:
        return codes == self.null if self.null is not None else np.zeros(len(codes), dtype=bool)

    def _no_null(self) -> ConditionError:
        return ConditionError("this column is never null", where=self._where, mend="ask for a value")


@dataclass(frozen=True, eq=False)
class Listed(CodedColumn):
    """Categorical and boolean columns."""

    values: tuple[Any, ...]

    @cached_property
    def _place(self) -> dict[tuple[bool, Any], int]:
        """The cell of each value; ``1`` is not ``true``."""
        return {(isinstance(v, bool), v): i for i, v in enumerate(self.values)}

    @cached_property
    def _dtype(self) -> pd.CategoricalDtype:
        import pandas as pd

        return pd.CategoricalDtype(pd.Index(list(self.values)))

    def encode(self, values: pd.Series[Any]) -> Codes:
        import pandas as pd

        codes: Codes
        if isinstance(values.dtype, pd.CategoricalDtype) and tuple(values.cat.categories) == self.values:
            codes = values.cat.codes.to_numpy().astype(np.int32)
        elif isinstance(self.column, Boolean) and isinstance(values.dtype, pd.BooleanDtype):
            codes = np.asarray(values.astype("Int8").to_numpy(dtype=np.int32, na_value=-1), dtype=np.int32)
        else:
            index = pd.Index(list(self.values), dtype=object)
            codes = index.get_indexer(pd.Index(values.astype(object))).astype(np.int32)
        return self._with_null(codes, codes < 0)

    def decode(self, codes: Codes, rng: np.random.Generator, evidence: Evidence | None = None) -> pd.Series[Any]:
        import pandas as pd

        missing = self._missing(codes)
        if isinstance(self.column, Boolean):
            return pd.Series(pd.arrays.BooleanArray(codes == 1, missing), name=self.name)
        places = cast("Sequence[int]", np.where(missing, -1, codes) if self.nullable else codes)
        return pd.Series(pd.Categorical.from_codes(places, dtype=self._dtype), name=self.name)

    def evidence(self, wanted: Any) -> Evidence:
        weights = np.zeros(self.cells)
        for value in [wanted] if isinstance(wanted, Between) else wanted_items(wanted, self._where):
            weights[self._cell(value)] = 1.0
        return Evidence(weights)

    def _cell(self, value: Any) -> int:
        if isinstance(value, Between):
            raise ConditionError("a range on a column without numbers", where=self._where, mend="give a list of values")
        if value is None:
            if self.null is None:
                raise self._no_null()
            return self.null
        plain = scalar(value)
        try:
            return self._place[isinstance(plain, bool), plain]
        except (KeyError, TypeError):  # TypeError: a value that cannot be looked up, as a list in a list
            some = ", ".join(map(repr, self.values[:_SHOWN]))
            raise ConditionError(
                f"{value!r} is not in its public domain",
                where=self._where,
                mend=f"one of {some}{' …' if len(self.values) > _SHOWN else ''}",
            ) from None

    def cell_of(self, value: Any) -> int:
        """The cell of a value of the list; null, or where that cannot be the first cell, of anything else."""
        cell = self._place.get((isinstance(value, bool), value))
        return cell if cell is not None else self.null or 0

    def labels(self) -> tuple[str, ...]:
        texts = (str(v).lower() if isinstance(v, bool) else str(v) for v in self.values)
        return (*texts, "null") if self.nullable else tuple(texts)


@dataclass(frozen=True, eq=False)
class OpenListed(Listed):
    """An open column: the released categories, then one cell for every other text, told as ``other``.

    Attributes:
        released: the categories; None before a fit has paid for them, when any text may be asked for.
    """

    released: tuple[str, ...] | None

    def encode(self, values: pd.Series[Any]) -> Codes:
        import pandas as pd

        rest = len(self.values) - 1
        if not isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("category")
        table = [self._place.get((False, text), rest) for text in values.cat.categories]
        codes = np.array([*table, -1], dtype=np.int32)[values.cat.codes.to_numpy()]
        return self._with_null(codes, codes < 0)

    def _cell(self, value: Any) -> int:
        if self.released is None and isinstance(value, str):
            return self._place.get((False, value), len(self.values) - 1)
        return super()._cell(value)
