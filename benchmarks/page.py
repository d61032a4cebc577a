"""The results in docs/results.md, made from the kept records. ``python -m benchmarks.page`` brings it up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.records import Figure, figures

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
RELEASED = 1_000_000
UNFINISHED = {"timeout": "not done in {:g} s", "memory": "over {:g} GB", "failed": "failed"}
WIDE = ("columns", "seconds", "seconds_fit", "peak_gb", "draw_seconds", "tvd1", "tvd2", "ks")
ORDER = (
    "privsynth",
    "independent-flat",
    "independent-pooled",
    "private-pgm-aim",
    "opendp-aim",
    "dpmm-aim",
    "smartnoise-aim",
    "dpmm-mst",
    "smartnoise-mst",
    "opendp-mst",
    "no-noise",
    "resample",
)
HEAD = """\
# Results

Made by `python -m benchmarks.page` from `benchmarks/results/*.jsonl`, where each figure has its machine, commit and
date. A figure is the mean over its seeds, and in brackets the least and the greatest. Distances: 0 is the same law, 1
another one altogether; lower is better. None of these tables is private: they are public sets, and the figures exact.
"""
TABLES = """\
## Tables, beside the peers

`python -m benchmarks.tables`: the same coded rows for all, the same (ε, δ = 10⁻⁹), one core, a process each. tvd2 is
the mean total variation over all pairs of columns, tvd1 and tvd3 over columns and triples; AUC of a classifier trained
on the released rows and scored on the real ones. A million rows released, so that drawing adds next to nothing;
"own n": as many as the table has. Seconds: the fit with every paid step. `independent-flat` and `-pooled` are noisy
columns drawn independently at the whole budget; `no-noise` the exact columns drawn independently, `resample` the real
rows drawn again: neither is private.
"""
RAW = """\
## From the raw file

`python -m benchmarks.tables --raw`: schema drafted from a public copy (`privsynth init --from-public`), then reading,
split, ledger, learned cells and categories, fit; nothing else is prepared. Seconds from the file to the fitted model,
and of them the fit; memory at its peak; tvd over the schema's own cells at as many rows as the table has, at most
100,000; `ks` the mean over columns of numbers of the greatest gap between the two distribution functions.
"""
SCALING = """\
## Growth

`python -m benchmarks.tables --scaling`: parts of the same files, by rows and by columns.
"""


def written() -> str:
    """The whole page."""
    tables, raw, scaling = figures("tables"), figures("raw"), figures("scaling")
    parts = [HEAD, TABLES]
    for data in dict.fromkeys(f.data for f in tables):
        parts.append(f"### {data}\n\n{_compared([f for f in tables if f.data == data])}")
    parts += [RAW, _wide(raw), SCALING, _wide(scaling)]
    for name, title, command in (
        ("sampling", "Sampling", "python -m benchmarks.bench_sampling"),
        ("columns", "Columns as they are", "python -m benchmarks.bench_columns"),
        ("audit", "Audit", "python -m benchmarks.bench_audit"),
    ):
        if found := figures(name):
            parts += [f"## {title}\n\n`{command}`\n", _long(found)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _compared(found: Sequence[Figure]) -> str:
    """Systems at one ε after the other."""
    rows = []
    systems = sorted({f.system for f in found}, key=lambda s: (ORDER.index(s) if s in ORDER else len(ORDER), s))
    for epsilon in sorted({f.epsilon for f in found}, key=lambda e: (e is None, e or 0.0)):
        for system in systems:
            here = [f for f in found if f.system == system and f.epsilon == epsilon]
            if any(f.metric == "tvd2" for f in here):  # it did finish, in a longer limit than once before
                here = [f for f in here if f.metric not in UNFINISHED]
            if not here:
                continue
            large = {f.metric: f for f in here if f.n in (0, RELEASED)}
            own = {f.metric: f for f in here if f.n not in (0, RELEASED)}
            told = _told(own, "tvd2")
            for metric, words in UNFINISHED.items():
                if metric in own:
                    told = words.format(own[metric].mean)
            rows.append(
                [
                    "" if epsilon is None else f"{epsilon:g}",
                    f"**{system}**" if system == "privsynth" else system,
                    *(_told(large, metric) for metric in ("tvd1", "tvd2", "tvd3", "auc")),
                    told,
                    *(_told(own, metric, digits=2) for metric in ("seconds", "peak_gb")),
                    str(max(len(f.values) for f in here)),
                    ", ".join(sorted({f.commit for f in here})),
                ]
            )
    head = ["ε", "system", "tvd1", "tvd2", "tvd3", "AUC", "tvd2, own n", "seconds", "peak GB", "seeds", "commit"]
    return _markdown(head, rows)


def _wide(found: Sequence[Figure]) -> str:
    """A row for each set, a column for each metric."""
    metrics = [metric for metric in (*WIDE, *UNFINISHED) if any(f.metric == metric for f in found)]
    rows = []
    for data, epsilon in dict.fromkeys((f.data, f.epsilon) for f in found):
        here = [f for f in found if (f.data, f.epsilon) == (data, epsilon)]
        by = {f.metric: f for f in here}
        fitted = max(f.n for f in here)
        rows.append(
            [
                data,
                f"{fitted:,}",
                "" if epsilon is None else f"{epsilon:g}",
                *(_told(by, metric, digits=3) for metric in metrics),
                str(max(len(f.values) for f in here)),
                ", ".join(sorted({f.commit for f in here})),
            ]
        )
    return _markdown(["data", "rows", "ε", *metrics, "seeds", "commit"], rows)


def _long(found: Iterable[Figure]) -> str:
    """A row for each figure."""
    rows = [
        [
            f.data,
            f.system,
            "" if f.epsilon is None else f"{f.epsilon:g}",
            f.metric,
            f"{f.n:,}",
            f"{f.mean:.4g} {f.unit}".strip(),
            f"{min(f.values):.4g} to {max(f.values):.4g}",
            str(len(f.values)),
            f.commit,
        ]
        for f in found
    ]
    return _markdown(["data", "system", "ε", "metric", "n", "mean", "least to greatest", "seeds", "commit"], rows)


def _told(by: dict[str, Figure], metric: str, *, digits: int = 3) -> str:
    figure = by.get(metric)
    if figure is None:
        return ""
    mean, low, high = (
        f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
        for value in (figure.mean, min(figure.values), max(figure.values))
    )
    return mean if low == high else f"{mean} ({low}–{high})"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
    print(f"wrote {PAGE}")
