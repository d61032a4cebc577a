"""The benchmark of autoregressive fits: what is public of a task, and a peer's rows read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import privsynth as ps
from benchmarks import bench_autoregressive as bench
from benchmarks.peers.privsynth_file import recipe_of
from benchmarks.running import Outcome
from privsynth.data.codec import Codec
from privsynth.generators.autoregressive import Autoregressive

SCHEMA = """\
privsynth-schema: 1
source: bench/table
subject: {each row is a: person, a person has at most: 1 row}
columns:
  split:  {kind: text, dropped: true}
  age:    {kind: integer, min: 0, max: 9}
  sex:    {kind: categorical, values: [F, M], nullable: true}
  income: {kind: categorical, values: ["- 50000", "50000+"]}
"""


@pytest.fixture
def task(tmp_path: Path) -> bench.Task:
    rng = np.random.default_rng(0)
    sex = pd.Series(rng.choice(["F", "M"], 300), dtype=object).mask(rng.random(300) < 0.2, None)
    frame = pd.DataFrame(
        {
            "split": "train",
            "age": rng.integers(0, 10, 300),
            "sex": sex,
            "income": rng.choice(["- 50000", "50000+"], 300, p=[0.9, 0.1]),
        }
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.schema.yaml").write_text(SCHEMA)
    return bench.Task("census_income_kdd", tmp_path / "rows.parquet", tmp_path / "rows.schema.yaml", "income")


def test_so_few_rows_are_refused_in_words(task: bench.Task) -> None:
    assert task.rows == 300
    told = bench.refusal(task, 1.0)
    assert told is not None and "drown" in str(told)


def test_a_peers_rows_are_read_by_the_schema(task: bench.Task) -> None:
    drawn = pd.DataFrame(
        {
            "age": pd.array([3.2, None, 40.0], dtype="Float64"),
            "sex": ["F", None, "M"],
            "income": [None, "50000+", "- 50000"],
        }
    )
    frame = ps.read_table(bench.readable(drawn, task), task.schema).frame
    assert frame["age"].tolist() == [3, 4, 9]  # rounded, the middle, clipped
    assert frame["sex"].isna().tolist() == [False, True, False]
    assert frame["income"].tolist() == ["- 50000", "50000+", "- 50000"]


def test_figures_of_the_real_rows_are_perfect(task: bench.Task) -> None:
    real = Codec(task.schema).encode(ps.read_table(task.data, task.schema).frame)
    told = {"seconds": 3.0, "peak_gb": 0.5, "draw_seconds": 0.1}
    found = {metric: value for _, metric, value, _ in bench.figures(task, Outcome("done", told, (real, real)))}
    assert found["tvd1"] == found["tvd2"] == found["tvd3"] == 0.0
    assert found["auc"] > 0.5
    assert [f[1:3] for f in bench.figures(task, Outcome("timeout"))] == [("timeout", 1.0)]


def test_each_of_our_systems_has_its_recipe(task: bench.Task) -> None:
    budget = ps.Budget(1.0, 1e-9)
    alone = recipe_of("independent", task.schema, budget, target="income")
    assert isinstance(alone, ps.Marginals) and alone.workload.up_to == 1
    bold = recipe_of("autoregressive", task.schema, budget, target="income", though_drowned=True)
    assert isinstance(bold, Autoregressive) and bold.though_drowned
    plain = recipe_of("marginals", task.schema, budget, target="income")
    assert isinstance(plain, ps.Marginals) and plain.target == "income"
