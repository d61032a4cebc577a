"""Maps of determined columns: learned from one table, and where noise drowns it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from privsynth.data.codec import Codec
from privsynth.data.schema import Schema
from privsynth.data.tables import read_table
from privsynth.generators.marginals.domains import lay_out_domains, learn_domains
from tests.data import made
from tests.generators.marginals.left_open import Open


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
