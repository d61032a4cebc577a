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

RESULTS = Path(__file__).parent / "results"


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
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    stamp = {"machine": machine, "commit": commit, "date": dt.date.today().isoformat()}
    path = RESULTS / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps({**asdict(record), **stamp}, ensure_ascii=False) + "\n")
    return path


def measured(name: str) -> set[tuple[str, str, float | None, int]]:
    """(data, system, epsilon, seed) of what ``results/NAME.jsonl`` holds, of whatever commit."""
    return {(row["data"], row["system"], row["epsilon"], row["seed"]) for row in _rows(name)}


def table(name: str) -> str:
    """``results/NAME.jsonl`` as a Markdown table: over the seeds of each figure's newest commit, the mean and
    the least and greatest value."""
    newest: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
    for row in _rows(name):
        key = tuple(row[field] for field in ("data", "epsilon", "metric", "n", "unit", "system"))
        held = newest.setdefault(key, {})
        if any((other["commit"], other["date"]) != (row["commit"], row["date"]) for other in held.values()):
            held.clear()
        held[row["seed"]] = row  # measured again: the later counts
    lines = [
        "| data | epsilon | metric | n | system | mean | least to greatest | seeds | machine | commit |",
        "| --- " * 10 + "|",
    ]
    for key in sorted(newest, key=_in_order):
        data, epsilon, metric, n, unit, system = key
        rows = list(newest[key].values())
        values = [float(row["value"]) for row in rows]
        told = "" if epsilon is None else f"{epsilon:g}"
        lines.append(
            f"| {data} | {told} | {metric} | {n:,} | {system} | {sum(values) / len(values):.4g} {unit} | "
            f"{min(values):.4g} to {max(values):.4g} | {len(values)} | {rows[0]['machine']} | {rows[0]['commit']} |"
        )
    return "\n".join(lines)


def _rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _in_order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((part is not None, part if part is not None else 0) for part in key)
