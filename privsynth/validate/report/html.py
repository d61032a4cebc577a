"""The report as one HTML page that asks nothing of any network: style, plots and words are inside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from privsynth.validate import page as html
from privsynth.validate.bounds import advantage_bound, auc_bound, tpr_bound
from privsynth.validate.membership.judge import detectable_auc
from privsynth.validate.metric import Metric, Verdict
from privsynth.validate.report import plots

if TYPE_CHECKING:
    from privsynth.validate.report.value import Report

_MARKS = {
    Verdict.PASS: "✓",
    Verdict.PASS_NOTED: "✓",
    Verdict.UNDERPOWERED: "?",
    Verdict.FAIL_LIMIT: "✗",
    Verdict.FAIL_LEAK_SHOWN: "✗",
    Verdict.CONTRADICTS_GUARANTEE: "✗✗",
}


def page(report: Report, *, watermark: str) -> str:
    """The whole page as text, under 500 kB whatever the table."""
    title = f"Internal report: {report.receipt.source}"
    two_way = [fidelity for fidelity in report.fidelity if fidelity.ways == 2]
    parts = [
        f'<div class="mark">{escape(watermark)}</div><div class="veil" aria-hidden="true">{escape(watermark)}</div>',
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict">{_MARKS[report.verdict]} {report.verdict.value}</p>',
        html.items(report.reasons),
        _meaning(report),
        '<div class="two">' + _guarantee(report) + _power(report) + "</div>",
        "<h2>Figures</h2>" + _figures(report.metrics),
        "<h2>Between floor and ceiling</h2>" + plots.forest(report.metrics),
    ]
    if report.curve is not None:
        both = plots.histogram(report.curve) + plots.roc(report.curve, mu=report.receipt.mu_fit)
        parts.append(f'<h2>The attack</h2><div class="two">{both}</div>')
    if two_way:
        parts.append("<h2>Two-way tables</h2>" + plots.heat_map(two_way[0]))
    parts.append(_worst(report))
    return html.document(f"{title}: {watermark}", parts)


def _meaning(report: Report) -> str:
    attack = next((metric for metric in report.metrics if metric.id.endswith(".auc")), None)
    lines = [
        "Every figure here is exact and computed on real people, so the page holds personal data: it stays inside. "
        "Its opening is in the ledger, and statements of later releases that a reader of it asks for will say so.",
        "The gate does not read it: what leaves is decided by paid, noisy counts.",
    ]
    if attack is not None:
        lines.insert(
            0,
            f"An attack program tried to tell {attack.n} people who were used from {attack.n} who were not: "
            f"AUC {attack.value.value:.3f} (0.5 is a coin, 1 is certain), 95% interval {attack.value.low:.3f} to "
            f"{attack.value.high:.3f}. That it fails is not proof: the proof is the guarantee below; the attack tests "
            "whether the software keeps it.",
        )
    return html.items(lines)


def _guarantee(report: Report) -> str:
    paid = report.receipt
    many = f"; a person with {paid.person_rows} rows has {paid.person_rows}·µ" if paid.person_rows > 1 else ""
    return html.box(
        "Guarantee",
        (
            f"ε = {paid.epsilon:g}, δ = {paid.delta:g} for the whole release; µ = {paid.mu_fit:.4g} for the fit",
            f"unit: {paid.unit}, {paid.neighbours}, at most {paid.contribution} rows each{many}",
            f"so what the fit adds to all earlier outputs gives no attack an AUC above {auc_bound(paid.mu_fit):.3f} or "
            f"an advantage above {advantage_bound(paid.mu_fit):.3f}",
            f"wrong about 1 in 100 outsiders, the best possible attacker recognises by it at most "
            f"{100 * tpr_bound(0.01, mu=paid.mu_fit):.1f} in 100 insiders",
            f"source {paid.source}, population {paid.population}; for {paid.purpose}, to {paid.recipient}; "
            f"noise {paid.noise}",
        ),
    )


def _power(report: Report) -> str:
    sizes = report.sizes
    lines = [
        f"train {sizes.train_subjects} subjects ({sizes.train_rows} rows), holdout {sizes.holdout_subjects} "
        f"({sizes.holdout_rows}), synthetic {sizes.synthetic_rows} rows",
        f"{report.attacked} subjects a side were attacked",
    ]
    if report.attacked > 1:
        lines.append(f"an AUC of {detectable_auc(report.attacked):.3f} would be seen 8 times of 10 (false alarm 1%)")
    lines.append("ceilings of attacks are measured on verbatim copies of training rows: this check can fail")
    return html.box("Power", lines)


def _figures(metrics: Sequence[Metric]) -> str:
    heads = ("figure", "floor", "value (95% interval)", "ceiling", "n", "bound", "limit", "verdict")
    head = "".join(f"<th{_number(i)}>{word}</th>" for i, word in enumerate(heads))
    rows = []
    for metric in metrics:
        cells = (
            f"{escape(metric.name)}<br><small>{escape(metric.note)}</small>",
            f"{metric.floor:.3f}",
            f"{metric.value.value:.3f} ({metric.value.low:.3f} to {metric.value.high:.3f})",
            f"{metric.ceiling:.3f}",
            f"{metric.n}",
            "" if metric.bound is None else f"{metric.bound:.3f}",
            "" if metric.limit is None else f"{metric.limit:.3f}",
            "" if metric.verdict is None else f"{_MARKS[metric.verdict]} {metric.verdict.value}",
        )
        rows.append("<tr>" + "".join(f"<td{_number(i)}>{cell}</td>" for i, cell in enumerate(cells)) + "</tr>")
    note = (
        "Floor: what a perfect and safe generator gets on these people. Ceiling: what ignorant rows get (fidelity, "
        "utility), or verbatim copies (attacks). Bound: the most that the guarantee allows any attack."
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table><p><small>{note}</small></p>"


def _worst(report: Report) -> str:
    parts = []
    for fidelity in report.fidelity:
        rows = "".join(
            f"<tr><td>{escape(' × '.join(table.columns))}</td>"
            + "".join(f'<td class="n">{part:.3f}</td>' for part in (table.floor, table.value, table.ceiling))
            + "</tr>"
            for table in fidelity.worst()
        )
        heads = "".join(f'<th class="n">{word}</th>' for word in ("floor", "value", "ceiling"))
        parts.append(
            f"<h2>Worst {fidelity.ways}-way tables (TVD)</h2><table><tr><th>columns</th>{heads}</tr>{rows}</table>"
        )
    return "".join(parts)


def _number(column: int) -> str:
    return ' class="n"' if 0 < column < 7 else ""
