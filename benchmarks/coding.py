"""Public coding of the benchmark tables: each column as integer codes 0 … size − 1, the same for every system.

Adult is coded as private-pgm ships it, so that figures stand beside published ones. Every other table follows
one rule: a column of numbers with more than 100 values becomes at most 100 bins of equal rank (equal values
share a bin); any other column has one code a value; null is a code of its own, the last. The coding is taken as
public, as the data are: no system pays for it, and none sees anything else.

    python -m benchmarks.coding OUT [--data DIR] [--only adult nist_acs]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from privsynth.data.columns import Categorical
from privsynth.data.schema import load_schema

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data"
Whole = npt.NDArray[np.int64]
BINS = 100  # at most, for a column of numbers with more values than this


@dataclass(frozen=True, eq=False)
class CodedTable:
    """A table of integer codes, and what is public of it.

    Attributes:
        name: of the data set.
        codes: (n, d) int32; column c holds 0 … sizes[c] − 1.
        sizes: of the columns' domains.
        ordered: whether a column's codes follow an order of its values (its null, if any, aside).
        nullable: whether a column's last code stands for "no value".
        names: of the columns.
        target: index of the column that the classifier predicts; None for none.
        positive: the target's codes that count as the positive class.
    """

    name: str
    codes: npt.NDArray[np.int32]
    sizes: tuple[int, ...]
    ordered: tuple[bool, ...]
    nullable: tuple[bool, ...]
    names: tuple[str, ...]
    target: int | None = None
    positive: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def target_name(self) -> str | None:
        """Name of the target column."""
        return None if self.target is None else self.names[self.target]

    def subset(self, *, rows: int | None = None, columns: int | None = None, seed: int = 0) -> CodedTable:
        """``rows`` rows drawn without replacement and the first ``columns`` columns; domains stay as they are.

        The target moves in front of the cut: it takes the place of the last column that is kept.
        """
        order = list(range(len(self.names)))[: columns or None]
        target = self.target
        if target is not None and target not in order:
            order[-1] = target
        kept = np.arange(len(self.codes))
        if rows is not None and rows < len(kept):
            kept = np.sort(np.random.default_rng(seed).permutation(len(kept))[:rows])
        return CodedTable(
            self.name,
            np.ascontiguousarray(self.codes[kept][:, order]),
            tuple(self.sizes[i] for i in order),
            tuple(self.ordered[i] for i in order),
            tuple(self.nullable[i] for i in order),
            tuple(self.names[i] for i in order),
            target=None if target is None else order.index(target),
            positive=self.positive,
        )

    def save(self, path: Path) -> None:
        """Write as npz: plain arrays, no pickle."""
        np.savez(
            path,
            name=np.array(self.name),
            codes=self.codes,
            sizes=np.array(self.sizes),
            ordered=np.array(self.ordered),
            nullable=np.array(self.nullable),
            names=np.array(self.names),
            target=np.array(-1 if self.target is None else self.target),
            positive=np.array(self.positive, dtype=np.int64),
        )


def load(path: Path) -> CodedTable:
    """Read what ``CodedTable.save`` wrote."""
    with np.load(path) as held:
        target = int(held["target"])
        return CodedTable(
            str(held["name"]),
            held["codes"],
            tuple(held["sizes"].tolist()),
            tuple(held["ordered"].tolist()),
            tuple(held["nullable"].tolist()),
            tuple(held["names"].tolist()),
            target=None if target < 0 else target,
            positive=tuple(held["positive"].tolist()),
        )


def code_column(
    values: pd.Series, *, null: str | None = None, bins: int = BINS
) -> tuple[npt.NDArray[np.int32], list[object], bool, bool]:
    """(codes, labels, ordered, nullable) of one column.

    Args:
        values: numbers, text, booleans or times.
        null: of a column of numbers kept as text, the text that stands for no value. The rest is read as
            numbers, one code a value, in their order.
        bins: at most so many for numbers and times with more distinct values.
    """
    missing = values.isna().to_numpy()
    as_text = null is not None
    if as_text:
        missing |= (values == null).to_numpy()
    held = values[~missing]
    if as_text:
        held = pd.to_numeric(held)
    ordered = pd.api.types.is_numeric_dtype(held) or pd.api.types.is_datetime64_any_dtype(held)
    labels, inner = np.unique(held.to_numpy() if ordered else held.astype(str).to_numpy(), return_inverse=True)
    kept: list[object] = labels.tolist()
    if ordered and not as_text and len(labels) > bins:
        counts = np.bincount(inner)
        first_rank = np.cumsum(counts) - counts
        starts, bin_of = np.unique(first_rank * bins // len(inner), return_inverse=True)
        inner = bin_of[inner]
        kept = list(range(len(starts)))
    codes = np.full(len(values), len(kept), dtype=np.int32)
    codes[~missing] = inner
    nullable = bool(missing.any())
    return codes, [*kept, None] if nullable else kept, bool(ordered), nullable


def code(
    frame: pd.DataFrame,
    name: str,
    *,
    drop: tuple[str, ...] = (),
    numbers: dict[str, str] | None = None,
    target: str | None = None,
    positive: tuple[object, ...] = (),
) -> CodedTable:
    """A frame by the common rule.

    Args:
        frame: as read.
        name: of the data set.
        drop: columns left out (ids, the split of a file in two).
        numbers: by column, the text that means "no value" in a column of numbers kept as text.
        target: the column that the classifier predicts.
        positive: its values that count as the positive class.
    """
    frame = frame.drop(columns=list(drop))
    coded = {str(c): code_column(frame[c], null=(numbers or {}).get(str(c))) for c in frame}
    names = tuple(coded)
    found: tuple[int, ...] = ()
    if target is not None:
        found = tuple(i for i, label in enumerate(coded[target][1]) if label in positive)
    return CodedTable(
        name,
        np.column_stack([codes for codes, *_ in coded.values()]),
        tuple(len(labels) for _, labels, _, _ in coded.values()),
        tuple(ordered for _, _, ordered, _ in coded.values()),
        tuple(nullable for *_, nullable in coded.values()),
        names,
        target=None if target is None else names.index(target),
        positive=found,
    )


def adult(folder: Path) -> CodedTable:
    """Adult as private-pgm codes it: 14 columns, its public domain, categories in the order of adult.names."""
    frame = pd.read_parquet(folder / "adult/adult.parquet")
    schema = load_schema(ROOT / "examples/adult/adult.schema.yaml")

    def listed(column: str) -> Whole:
        held = schema.columns[column]
        assert isinstance(held, Categorical)
        places = {value: i for i, value in enumerate(held.values)}
        return np.array([places[value] for value in frame[column]], dtype=np.int64)

    def steps(column: str, width: int, below: int = 0) -> Whole:
        values = np.asarray(frame[column], dtype=np.int64) - below
        return np.asarray(np.maximum(-(-values // width) - 1, 0), dtype=np.int64)

    columns: dict[str, tuple[Whole, int, bool]] = {
        "age": (frame["age"].to_numpy() - 16, 85, True),
        "workclass": (listed("workclass"), 9, False),
        "fnlwgt": (steps("fnlwgt", 14_900, below=10_000), 100, True),
        "education-num": (frame["education-num"].to_numpy() - 1, 16, True),
        "marital-status": (listed("marital-status"), 7, False),
        "occupation": (listed("occupation"), 15, False),
        "relationship": (listed("relationship"), 6, False),
        "race": (listed("race"), 5, False),
        "sex": (listed("sex"), 2, False),
        "capital-gain": (steps("capital-gain", 1_000), 100, True),
        "capital-loss": (steps("capital-loss", 50), 100, True),
        "hours-per-week": (frame["hours-per-week"].to_numpy() - 1, 99, True),
        "native-country": (listed("native-country"), 42, False),
        "income": (listed("income"), 2, False),
    }
    codes = np.column_stack([held for held, _, _ in columns.values()]).astype(np.int32)
    sizes = tuple(size for _, size, _ in columns.values())
    assert (codes >= 0).all() and (codes < np.array(sizes)).all()
    ordered = tuple(flag for _, _, flag in columns.values())
    return CodedTable("adult", codes, sizes, ordered, (False,) * len(sizes), tuple(columns), 13, (1,))


def _parquet(path: str, name: str, folder: Path, **rules: object) -> CodedTable:
    return code(pd.read_parquet(folder / path), name, **rules)  # type: ignore[arg-type]


def randhie() -> CodedTable:
    """The demo's table, from statsmodels: there on every machine."""
    from statsmodels.datasets import randhie as source

    return code(source.load_pandas().data, "randhie", target="hlthp", positive=(1.0,))


# "N" stands for "not applicable" in the published data dictionary, which gives the columns' numeric ranges.
NIST_NUMBERS = {c: "N" for c in ("NOC", "NPF", "EDU", "PINCP", "PINCP_DECILE", "POVPIP")}

TABLES: dict[str, Callable[[Path], CodedTable]] = {
    "adult": adult,
    "nist_acs": partial(
        _parquet,
        "nist_acs_national/national2019.parquet",
        "nist_acs",
        numbers=NIST_NUMBERS,
        target="OWN_RENT",
        positive=(1,),
    ),
    "diabetes130": partial(
        _parquet,
        "diabetes130/diabetic_data.parquet",
        "diabetes130",
        drop=("encounter_id", "patient_nbr"),
        target="readmitted",
        positive=("<30",),
    ),
    "census_income_kdd": partial(
        _parquet,
        "census_income_kdd/census_income_kdd.parquet",
        "census_income_kdd",
        drop=("split",),
        target="income",
        positive=("50000+",),
    ),
    "support2": partial(_parquet, "support2/support2.parquet", "support2", target="hospdead", positive=(1,)),
    "bank_marketing": partial(
        _parquet, "bank_marketing/bank_additional_full.parquet", "bank_marketing", target="y", positive=("yes",)
    ),
    "arrhythmia_wide": partial(
        _parquet,
        "arrhythmia_wide/arrhythmia.parquet",
        "arrhythmia_wide",
        target="class",
        positive=tuple(range(2, 17)),  # 1 is a normal heart, 2 to 16 are its disorders
    ),
}


def tables(folder: Path = DATA, *, only: list[str] | None = None) -> list[CodedTable]:
    """The coded tables that ``folder`` holds; the demo's table where it holds none.

    A set that is not there is skipped with a line that says so.
    """
    found = []
    for name in only or [*TABLES]:
        if name == "randhie":
            found.append(randhie())
            continue
        try:
            found.append(TABLES[name](folder))
        except FileNotFoundError as missing:
            print(f"skipped {name}: {missing.filename} is not there")
    return found or [randhie()]


def main() -> None:
    """Write the coded tables to a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="*", choices=[*TABLES, "randhie"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for table in tables(args.data, only=args.only):
        table.save(args.out / f"{table.name}.npz")
        print(f"{table.name}: {table.codes.shape}, largest domain {max(table.sizes)}, target {table.target_name}")


if __name__ == "__main__":
    main()
