"""Where benchmark figures are kept: one JSON line a figure, and a Markdown table made from them."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WRITTEN = (":!benchmarks/results", ":!docs/results.md")
"""What the benchmarks write themselves: a tree that differs in these alone is still the commit's."""


@dataclass(frozen=True)
class Record:
    """One figure. ``n`` is the number of rows it was measured on; ``seed`` that of data or sampling."""

    benchmark: str
    data: str
    system: str
    epsilon: float | None
    delta: float | None
    seed: int
    n: int
    metric: str
    value: float
    unit: str
    machine: str = ""
    commit: str = ""
    date: str = ""


def keep(name: str, records: Iterable[Record]) -> Path:
    """Append ``records`` to ``results/NAME.jsonl`` with machine, commit and date filled in."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    stamp = {"machine": machine, "commit": commit(), "date": dt.date.today().isoformat()}
    path = RESULTS / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps({**asdict(record), **stamp}, ensure_ascii=False) + "\n")
    return path


def commit() -> str:
    """Of the code that runs; ends in ``-dirty`` where a tracked file differs from it, figures left out."""
    head = _git("describe", "--always")
    return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN) else head


def measured(name: str, *, at: str | None = None) -> set[tuple[str, str, float | None, int]]:
    """(data, system, epsilon, seed) of what ``results/NAME.jsonl`` holds, of whatever commit, or of ``at`` alone.

    A dirty commit does not say what code it was, so nothing is held of it.
    """
    if at is not None and at.endswith("-dirty"):
        return set()
    rows = [row for row in _rows(name) if at in (None, row["commit"])]
    return {(row["data"], row["system"], row["epsilon"], row["seed"]) for row in rows}


@dataclass(frozen=True)
class Figure:
    """One figure over its seeds, of the newest commit that measured it.

    Attributes:
        data, system, epsilon, n, metric, unit: as in :class:`Record`.
        values: one a seed.
        machine, commit, date: of the measurement.
    """

    data: str
    epsilon: float | None
    metric: str
    n: int
    unit: str
    system: str
    values: tuple[float, ...]
    machine: str
    commit: str
    date: str

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return sum(self.values) / len(self.values)


def figures(name: str) -> list[Figure]:
    """What ``results/NAME.jsonl`` holds, in order of data, epsilon, metric, n and system."""
    newest: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
    for row in _rows(name):
        key = tuple(row[field] for field in ("data", "epsilon", "metric", "n", "unit", "system"))
        held = newest.setdefault(key, {})
        if any((other["commit"], other["date"]) != (row["commit"], row["date"]) for other in held.values()):
            held.clear()
        held[row["seed"]] = row  # measured again: the later counts
    out = []
    for key in sorted(newest, key=_in_order):
        rows = list(newest[key].values())
        values = tuple(float(row["value"]) for row in rows)
        data, epsilon, metric, n, unit, system = key
        machine, commit, date = (rows[0][field] for field in ("machine", "commit", "date"))
        out.append(Figure(data, epsilon, metric, n, unit, system, values, machine, commit, date))
    return out


def table(name: str) -> str:
    """:func:`figures` as a Markdown table: mean, least and greatest value."""
    lines = [
        "| data | epsilon | metric | n | system | mean | least to greatest | seeds | machine | commit |",
        "| --- " * 10 + "|",
    ]
    for f in figures(name):
        told = "" if f.epsilon is None else f"{f.epsilon:g}"
        lines.append(
            f"| {f.data} | {told} | {f.metric} | {f.n:,} | {f.system} | {f.mean:.4g} {f.unit} | "
            f"{min(f.values):.4g} to {max(f.values):.4g} | {len(f.values)} | {f.machine} | {f.commit} |"
        )
    return "\n".join(lines)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _in_order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((part is not None, part if part is not None else 0) for part in key)
