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
ADAPTIVE = """\
## A last round that the noisy answers choose

`python -m benchmarks.bench_adaptive`: `Marginals(rounds="adaptive")` beside the default, whose noise is all fixed
before the first read; the same tables, prices and figures as above.
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


IMAGES = """\
## Pictures

`python -m benchmarks.images`: every official training picture fitted at (ε, δ = 10⁻⁵), labels drawn with the pictures.
Accuracy: percent of the official test pictures that a small fixed network gets right after three epochs of 60,000
drawn ones, the last epoch's; of digits an SVC on 5,000, of faces an SVC on low waves of 5,000, for sex and ethnicity.
Distance: Fréchet's on random convolutions, on 2,500 of each, with its floor (real beside real) and null (class
means): it is no FID and compares with none; `fid` stands beside it only where an Inception file was given. Precision,
recall, density, coverage, Vendi score (`vendi_real`: of real ones) and the ratio of a pixel's variance within its
class, on at most 5,000 of each. One core, a process each. `privsynth-all-noise` is ours without the noise-edge rule.
`dp-merf` and `dp-dcgan` are written again here and run for minutes: what the methods reached elsewhere stands below.

Published, not run here: mean accuracy of WRN, ResNet and ResNeXt at ε = 1 / 10 without public data, and the FID at
ε = 10, DPImageBench (CCS 2025), README, "Main Results"; larger classifiers chosen on noisy real ones, hours on several
GPUs for the last two.

| method | MNIST | Fashion-MNIST | FID, MNIST | FID, Fashion-MNIST |
| --- | --- | --- | --- | --- |
| DP-MERF | 80.3 / 81.3 | 62.2 / 62.2 | 106 | 106 |
| DP-NTK | 50.0 / 91.3 | 64.4 / 76.3 | 69 | 121 |
| DP-Kernel | 94.0 / 93.6 | 68.4 / 70.0 | 39 | 74 |
| GS-WGAN | 72.4 / 75.3 | 52.7 / 56.7 | 48 | 97 |
| DP-GAN | 92.4 / 92.7 | 71.8 / 70.3 | 30 | 77 |
| DPDM | 89.2 / 97.7 | 76.4 / 85.6 | 4.4 | 17.1 |
| DP-FETA | 95.6 / 98.1 | 81.7 / 87.3 | 3.4 | 13.2 |
"""
AUTOREGRESSIVE = """\
## Autoregressive, beside Marginals

`python -m benchmarks.bench_autoregressive`: from the raw files at (ε, δ = 10⁻⁹), every system in a process of its own
on one core. tvd and AUC as above, of the drawn rows; seconds of the fit with all that is paid. `refused`: the recipe
said before it spent that noise would drown it; `autoregressive-drowned` is the same one fitted all the same. The
epsilon of mostlyai-engine is its own statement, and it had minutes.
"""
DIFFUSION = """\
## Noisy steps, beside their own warm-up

`python -m benchmarks.bench_diffusion`, on a CPU: ImageDiffusion's small network in the waves of the statistics, before
and after its steps of DP-SGD. Accuracy as above, of 10,000 drawn pictures; `frechet` and `coverage` beside 5,000 test
pictures; `loss`: the network's own on test pictures. The network is no default on a CPU: statistics with the whole
budget are above it.
"""
LEDGER = """\
## The ledger, under contention

`python -m benchmarks.ledger`: 8 processes buy from one budget that pays for all but the last of 10,000 requests, and
each is killed (SIGKILL) at random and started again. `reservations`: holds sold; `overspent`: sold beyond the cap;
`lost`: entries that were acknowledged and are not in the log; `used_twice`: holds fitted twice; requests answered
`per_second`. What is asserted of a server: docs/postgres.md.
"""
ADVERSARIES = """\
## Adversaries of the filters

`python -m benchmarks.bench_adversaries`: the δ that the best two-step strategy found reaches, over the cap's: above 1
the cap is broken. `gdp` and `rdp auto` are the rules of the ledger, `tight conversion` is the second with the tightest
conversion known: of these the upper ends of brackets, narrower than a thousandth. What a ledger must not do, the lower
ends: `natural` compares the privacy loss of the past with the cap, the others do not split δ over orders. Why:
docs/proofs/filters.md.
"""
OF_STAGES = ("accuracy", "frechet", "coverage", "loss", "fit")
OF_LEDGER = ("reservations", "overspent", "lost", "used_twice", "per_second")
REACHED = ("delta reached over the cap",)
SHOWN = (
    "accuracy",
    "accuracy_sex",
    "accuracy_ethnicity",
    "frechet",
    "frechet_floor",
    "frechet_null",
    "fid",
    "precision",
    "recall",
    "density",
    "coverage",
    "vendi",
    "vendi_real",
    "variance_ratio",
    "fit_seconds",
    "sample_seconds",
    "peak_gb",
)
OF_ROWS = ("refused", "tvd1", "tvd2", "tvd3", "auc", "seconds", "draw_seconds", "peak_gb", "epsilon told")


def written() -> str:
    """The whole page."""
    tables, raw, scaling = figures("tables"), figures("raw"), figures("scaling")
    parts = [HEAD, TABLES]
    for data in dict.fromkeys(f.data for f in tables):
        parts.append(f"### {data}\n\n{_compared([f for f in tables if f.data == data])}")
    if rounds := figures("adaptive"):
        parts.append(ADAPTIVE)
        for data in dict.fromkeys(f.data for f in rounds):
            parts.append(f"### {data}, in rounds\n\n{_compared([f for f in rounds if f.data == data])}")
    parts += [RAW, _wide(raw), SCALING, _wide(scaling)]
    if pictures := figures("images"):
        parts.append(IMAGES)
        for data in dict.fromkeys(f.data for f in pictures):
            parts.append(f"### {data}\n\n{_systems([f for f in pictures if f.data == data], SHOWN)}")
    if rows := figures("autoregressive"):
        parts.append(AUTOREGRESSIVE)
        for data in dict.fromkeys(f.data for f in rows):
            parts.append(f"### {data}, from the file\n\n{_systems([f for f in rows if f.data == data], OF_ROWS)}")
    for name, text, shown in (
        ("diffusion", DIFFUSION, OF_STAGES),
        ("ledger", LEDGER, OF_LEDGER),
        ("adversaries", ADVERSARIES, REACHED),
    ):
        if found := figures(name):
            parts.append(text)
            for data in dict.fromkeys(f.data for f in found):
                parts.append(f"### {data}\n\n{_systems([f for f in found if f.data == data], shown)}")
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


def _systems(found: Sequence[Figure], shown: Sequence[str]) -> str:
    """A row for each system at each ε, a column for each of these metrics that any has."""
    metrics = [metric for metric in (*shown, *UNFINISHED) if any(f.metric == metric for f in found)]
    rows = []
    for epsilon, system in dict.fromkeys((f.epsilon, f.system) for f in found):
        here = [f for f in found if (f.epsilon, f.system) == (epsilon, system)]
        by = {f.metric: f for f in here}
        rows.append(
            [
                "" if epsilon is None else f"{epsilon:g}",
                f"**{system}**" if system == "privsynth" else system,
                *(_told(by, metric, digits=3) for metric in metrics),
                str(max(len(f.values) for f in here)),
                ", ".join(sorted({f.commit for f in here})),
            ]
        )
    return _markdown(["ε", "system", *metrics, "seeds", "commit"], rows)


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
