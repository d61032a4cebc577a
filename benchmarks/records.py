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


def table(name: str) -> str:
    """``results/NAME.jsonl`` as a Markdown table: the median over seeds of each figure's newest commit."""
    rows = [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text("utf-8").splitlines()]
    newest: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in rows:
        key = (row["data"], row["system"], row["epsilon"], row["metric"], row["unit"])
        held = newest.setdefault(key, [])
        if held and (held[0]["commit"], held[0]["date"]) != (row["commit"], row["date"]):
            held.clear()
        held.append(row)
    lines = ["| data | system | epsilon | metric | median | seeds | machine | commit |", "| --- " * 8 + "|"]
    for (data, system, epsilon, metric, unit), held in newest.items():
        values = sorted(float(str(row["value"])) for row in held)
        median = values[len(values) // 2]
        lines.append(
            f"| {data} | {system} | {epsilon} | {metric} | {median:.4g} {unit} | {len(values)} | "
            f"{held[0]['machine']} | {held[0]['commit']} |"
        )
    return "\n".join(lines)
