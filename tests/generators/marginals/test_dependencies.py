"""Maps of determined columns: learned from one table, and where noise drowns it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.codec import Codec, Listed, coded_column
from privsynth.data.columns import Boolean, Categorical
from privsynth.data.learned import Learned
from privsynth.data.records import CoinKey, Granted
from privsynth.data.schema import Schema
from privsynth.data.tables import read_table
from privsynth.errors import SchemaError
from privsynth.generators.marginals.dependencies import MOST_BESIDE, count_beside
from privsynth.generators.marginals.domains import lay_out_domains, learn_domains
from tests.data import made
from tests.generators.marginals.left_open import Ints, Open


def test_a_dependency_is_learned_from_one_table() -> None:
    """Each ward has its site; a ward that nobody visits takes the most frequent site."""
    columns: dict[str, dict[str, Any]] = {
        "ward": {"kind": "categorical", "values": ["a", "b", "c", "none"], "nullable": True},
        "floor": {"kind": "categorical", "open": True},
        "site": {"kind": "categorical", "values": ["N", "S"]},
        "high": {"kind": "boolean", "nullable": True},
    }
    schema = made.schema(columns)
    whole = Schema.from_json({**schema.to_json(), "determines": ["ward -> site", "floor -> high"]})
    rng = np.random.default_rng(8)
    ward = rng.choice(np.array(["a", "b", "c", None], dtype=object), 9000, p=[0.5, 0.2, 0.2, 0.1])
    floor = rng.choice(["1", "2", "rare"], 9000, p=[0.5, 0.499, 0.001])
    frame = pd.DataFrame({"ward": ward, "floor": floor})
    frame["site"] = frame["ward"].map({"a": "N", "b": "S", "c": "N"}).fillna("S")
    frame["high"] = frame["floor"].map({"1": False, "2": True, "rare": True}).astype("boolean")
    records = read_table(frame, whole)
    asks = lay_out_domains(whole, mu=0.3, contribution=1)
    assert [ask.stage for ask in asks] == ["votes", "dependency", "dependency"]
    purse = Open()
    domains = learn_domains(records.frame, records.subjects, whole, asks, purse, contribution=1, delta=1e-12)
    learned, measured = domains.learned, domains.measured
    assert learned.values == {"floor": ("1", "2")}
    assert learned.maps == {"site": ("N", "S", "N", "N", "S"), "high": (False, True, True)}
    assert purse.exact[1].sum() == purse.exact[2].sum() == 9000, "every row is in one cell of each table"
    assert [m.clique for m in measured] == [(1,), (0,), (1,)]
    codec = Codec(whole, learned)
    drawn = codec.decode(codec.encode(records.frame), np.random.default_rng(0))
    assert (drawn["site"] == records.frame["site"]).all()


def test_a_dependency_that_noise_drowns_takes_the_most_frequent_value() -> None:
    columns: dict[str, dict[str, Any]] = {
        "ward": {"kind": "boolean"},
        "site": {"kind": "categorical", "values": ["N", "S"]},
    }
    whole = Schema.from_json({**made.schema(columns).to_json(), "determines": ["ward -> site"]})
    frame = read_table(pd.DataFrame({"ward": [True] * 500 + [False] * 3, "site": ["S"] * 500 + ["N"] * 3}), whole)
    asks = lay_out_domains(whole, mu=0.1, contribution=1)
    learned = learn_domains(frame.frame, frame.subjects, whole, asks, Open(), contribution=1, delta=1e-12).learned
    assert learned.maps == {"site": ("S", "S")}


class Key:
    """Holds a quarter out."""

    def coin_key(self, source: str) -> CoinKey:
        return CoinKey("people", 0.25, 1, b"0123456789abcdef")


def bought(frame: pd.DataFrame, schema: Schema) -> list[Ints]:
    """The exact tables of the domain stage, from reading the rows to the purse."""
    train = Granted(read_table(frame, schema), "research", "university", "register", "p").split(Key()).train.records
    asks, purse = lay_out_domains(schema, mu=0.3, contribution=1), Open()
    learn_domains(train.frame, train.subjects, schema, asks, purse, contribution=1, delta=1e-12)
    return purse.exact


@pytest.mark.parametrize("site", ["N", "S", "E"])
@pytest.mark.parametrize("at", [0, 1000, 2000])
def test_a_row_that_is_a_subject_moves_a_dependency_by_at_most_one(site: str, at: int) -> None:
    """Rows alike in all that is modelled, a site apart, in turns: one more row of them, wherever it stands in the
    file, changes the coin of no other."""
    flag: dict[str, Any] = {"kind": "categorical", "values": ["N", "S", "E"]}
    plain = made.schema({"ward": {"kind": "boolean"}, "site": flag, "wing": {"kind": "boolean", "nullable": True}})
    schema = Schema.from_json({**plain.to_json(), "determines": ["ward -> site", "ward -> wing"]})
    frame = pd.DataFrame({"ward": True, "site": ["N", "S"] * 1000, "wing": [1.0, 0.0, 0.0, None] * 500})
    more = pd.DataFrame({"ward": [True], "site": [site], "wing": [1.0]})
    less, whole = bought(frame, schema), bought(pd.concat([frame[:at], more, frame[at:]], ignore_index=True), schema)
    assert len(less) == len(whole) == 2
    for a, b in zip(less, whole, strict=True):
        assert ((a - b) ** 2).sum() <= 1


LEFT = coded_column(
    "left",
    Categorical(open=True, nullable=True),
    Learned(values={"left": ("a", "b", "c")}),
)
RIGHT = coded_column("right", Boolean(nullable=True))
ROW = st.tuples(st.sampled_from(["a", "b", "c", "unheard of", None]), st.sampled_from([True, False, None]))


@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, max_size=30), st.lists(ROW, min_size=1, max_size=5), st.integers(0, 30))
def test_one_subject_moves_a_dependency_by_at_most_k(
    rows: list[tuple[str | None, bool | None]], hers: list[tuple[str | None, bool | None]], at: int
) -> None:
    """Neighbours: her at most k rows added, anywhere among the others."""
    assert isinstance(LEFT, Listed)
    assert isinstance(RIGHT, Listed)

    def table(held: list[tuple[str | None, bool | None]]) -> Any:
        left = pd.Series([a for a, _ in held], dtype=object)
        left = left.where(left.isna() | left.isin(["a", "b", "c"]), LEFT.values[-1])
        return count_beside(
            pd.DataFrame({"left": left, "right": pd.array([b for _, b in held], "boolean")}), LEFT, RIGHT
        )

    without, with_her = table(rows), table([*rows[:at], *hers, *rows[at:]])
    assert without.shape == with_her.shape == (LEFT.cells * RIGHT.cells,)
    assert without.sum() == len(rows), "every row in one cell"
    assert np.linalg.norm((with_her - without).astype(float)) <= len(hers)


def wide(left: int, right: int, **more: Any) -> Schema:
    columns: dict[str, dict[str, Any]] = {
        "zip": {"kind": "categorical", "values": [f"z{i}" for i in range(left)]},
        "town": {"kind": "categorical", "values": [f"t{i}" for i in range(right)]},
        "ill": {"kind": "boolean"},
    }
    return Schema.from_json({**made.schema(columns).to_json(), "determines": ["zip -> town"], **more})


def test_a_dependency_of_too_many_cells_is_refused_when_it_is_laid_out() -> None:
    """Before a hold is bought: its table would not fit in memory, nor its transcript in a ledger."""
    assert lay_out_domains(wide(5000, 4000), mu=1.0, contribution=1)[0].cells == MOST_BESIDE == 20_000_000
    with pytest.raises(SchemaError, match="would have 20004000 cells; at most 20000000") as caught:
        lay_out_domains(wide(5001, 4000), mu=1.0, contribution=1)
    assert caught.value.where == "town"
    assert "give the map" in caught.value.mend


def test_a_dependency_of_open_categories_counts_the_most_of_them() -> None:
    columns: dict[str, dict[str, Any]] = {
        "zip": {"kind": "categorical", "open": True},
        "town": {"kind": "categorical", "values": [f"t{i}" for i in range(20_000)]},
        "ill": {"kind": "boolean"},
    }
    whole = Schema.from_json({**made.schema(columns).to_json(), "determines": ["zip -> town"]})
    with pytest.raises(SchemaError, match="20020000 cells"):
        lay_out_domains(whole, mu=1.0, contribution=1)
