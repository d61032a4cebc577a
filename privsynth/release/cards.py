"""The data card: what a release holds, how it was made, what it is good for and what not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privsynth.data.album import SHEET
from privsynth.data.columns import Date, Datetime, Image, Integer, Real
from privsynth.data.ranged import cells_are_learned
from privsynth.data.rules import Sum
from privsynth.data.schema import Categorical, Column, Schema
from privsynth.documents import plain
from privsynth.privacy.events import Receipt
from privsynth.release.claims import Claims
from privsynth.release.statement import exact

FORMAT = 3
LISTED = 50  # a longer list of public values is counted, and stands in schema.json
FORMULA = ("=", "+", "-", "@", "\t", "\r")

LIMITS = (
    "No row is a person. Do not look for anyone in it, and do not decide about anyone by it.",
    "It keeps what was measured with noise: single columns, and relations among few columns. Relations among more "
    "columns may be missing or invented.",
    "Small groups and rare values are mostly noise; the rows say nothing of how many such people there are. Check a "
    "finding that matters on the real data, through their owner.",
    "The number of rows is chosen, not measured. Rows beyond the size of the real data add no information: intervals "
    "computed as if each row were an independent person are too narrow.",
)
EVEN = (
    "The rows were drawn evenly: their shares lie closer to the model's than those of independent rows would. No row "
    "is more or less likely for it."
)
GUIDED = (
    "The pictures were drawn with guidance {:g}: pushed, beyond what was learned, to look like their row's values. How "
    "pictures vary within a value is therefore not the records'. The gate tested pictures drawn without guidance; "
    "these inherit its verdict."
)
ADAPTS = "Noise was chosen from the fit's own noisy answers, inside one envelope of μ = {}, which bounds the whole fit."
HELPED = (
    "They were declared public and count for nothing in the ε above; where the noise hides a difference, the synthetic "
    "rows may follow them rather than the records."
)
DECLARED = "Every domain was declared, public, and never read off the records."
LEARNED = (
    "Bounds and listed values were declared, public, and never read off the records. Learned from the records, with "
    "noise and inside the ε above:"
)
BY_PUBLIC, BY_LEARNED = "a public map", "a map learned under payment"
TRANSCRIPT = (
    "The noisy tables that the model was fitted to are in `transcript/`: all that was measured, covered by the ε "
    "above. From them anyone fits the model again and draws rows, without another look at the records; such rows are "
    "not part of what was signed. They show the estimated number of records, and noisy counts may be negative."
)
PICTURED = (
    "Every picture is synthetic, drawn at random from a model; none shows a person, a specimen or a scene. Each file "
    "says so in its metadata (`Source: synthetic, privsynth`): leave it there.",
    "Pictures keep coarse shapes, and how these go with some columns. Fine detail, rare findings and what else depends "
    "on a picture may be missing or invented: diagnose nobody by one, and judge a model that was trained on them on "
    "real pictures.",
)
MIXING = (
    "Mixed with real records, the mixture is as sensitive as those records: the statement covers the synthetic rows "
    "alone.",
    "Keep a column that says which rows are synthetic, and judge any model on real rows that were never mixed.",
    "Rows added to balance groups change the shares of everything else: do not estimate totals or rates from a "
    "mixture.",
)


def data_card(
    receipt: Receipt,
    claims: Claims,
    *,
    schema: Schema,
    rows: int,
    condition: Mapping[str, Any],
    balance: Mapping[str, Any],
    draw: str,
    guidance: float = 0.0,
    files: Sequence[str],
    generator: str,
    model: str,
    transcript: bool = False,
    public_help: str | None = None,
    adapts: bool = False,
    pictures: Sequence[Mapping[str, Any]] = (),
    faint: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The card as JSON values.

    Args:
        rows: synthetic rows.
        condition: the ``where=`` that the rows keep, as JSON values; empty where there was none.
        balance: the ``balance=`` by which they were drawn, likewise.
        draw: ``even`` or ``independent``.
        guidance: with which pictures were drawn; 0: as was learned.
        files: paths of the data files in the bundle.
        generator: its kind, as study files write it.
        model: identity of the model that drew the rows.
        public_help: where the public rows come from that helped the fit.
        adapts: whether the fit chose some of its noise from its own noisy answers.
        transcript: whether the bundle carries the noisy tables that the model was fitted to.
        pictures: what the signed statement says of each column that holds them.
        faint: by column the values of which too little is known to draw pictures of their own.
    """
    return {
        "privsynth-card": FORMAT,
        "source": receipt.source,
        "population": receipt.population,
        "purpose": receipt.purpose,
        "recipient": receipt.recipient,
        "rows": rows,
        "condition": dict(condition),
        "balance": dict(balance),
        "draw": draw,
        **({"guidance": guidance} if guidance else {}),
        "files": list(files),
        "columns": [_column(name, column, schema) for name, column in schema.columns.items() if not column.dropped],
        "learned under payment": _learned(schema),
        "never": plain(schema).get("never", []),
        "order": list(schema.order),
        "sums": list(schema.sums),
        "determines": [
            {"rule": rule.rule, "by": BY_LEARNED if rule.map is None else BY_PUBLIC} for rule in schema.determines
        ],
        "domains from a public file": schema.public_from,
        "generator": {"kind": generator, "model": model, "recipe": receipt.recipe, "hold": receipt.hold},
        "privacy": {"epsilon": receipt.epsilon, "delta": receipt.delta, "unit": receipt.unit, "see": "privacy.md"},
        "public help": public_help,
        "transcript": transcript,
        "gate": claims.published(),
        "limits": [*LIMITS, *(PICTURED if pictures else ())],
        "mixing with real data": list(MIXING),
        "spreadsheets": _spreadsheets(schema),
        "verify": "privsynth verify DIR --trust trust.json",
        **({"pictures": [{**told, "synthetic": True} for told in pictures], "sheet": SHEET} if pictures else {}),
        **({"adapts": ADAPTS.format(exact(receipt.mu_fit))} if adapts else {}),
        **({"faint": {name: list(values) for name, values in faint.items()}} if faint else {}),
    }


def card_markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    conditions = [f"- All rows were drawn under the condition {_code(k)}: {_code(v)}." for k, v in _items(card)]
    conditions += [f"- Rows were drawn to shares that were chosen, not measured: {text}." for text in _shares(card)]
    pushed = [f"- {GUIDED.format(card['guidance'])}"] if card.get("guidance") else []
    gated = ["- The gate tested unconditional rows of the same model; these inherit its verdict."] if conditions else []
    drawn = [f"- {EVEN}"] if card["draw"] == "even" else []
    public, helped = card["domains from a public file"], card["public help"]
    lines = [
        f"# Synthetic data: {_cell(card['source'])}",
        "",
        f"{card['rows']:,} synthetic rows for **{_cell(card['recipient'])}**, for the purpose "
        f"**{_cell(card['purpose'])}**, made from records of the population {_cell(card['population'])}.",
        "",
        f"- Files: {', '.join(_code(path) for path in card['files'])} (the same rows).",
        *_pictured(card),
        *conditions,
        *gated,
        *pushed,
        *drawn,
        f"- Generator: {_cell(card['generator']['kind'])}, model `{card['generator']['model'][:16]}`, "
        f"recipe `{card['generator']['recipe'][:16]}`, hold {_code(card['generator']['hold'])}.",
        f"- Privacy: ε = {exact(card['privacy']['epsilon'])}, δ = {exact(card['privacy']['delta'])} for one "
        f"{_cell(card['privacy']['unit'])}. What that means, and what it does not: `privacy.md`.",
        *([f"- Public rows took noise out of the fit: {_cell(helped)}. {HELPED}"] if helped else []),
        *([f"- {card['adapts']}"] if card.get("adapts") else []),
        *([f"- {TRANSCRIPT}"] if card["transcript"] else []),
        *([f"- Public domains were filled in from the file {_code(public)}."] if public else []),
        "",
        "## Columns",
        "",
        *_domains(card["learned under payment"]),
        "",
        "| column | kind | domain | may be missing |",
        "| --- | --- | --- | --- |",
        *(
            f"| {_cell(c['name'])} | {c['kind']} | {_domain(c['domain'])} | {'yes' if c['nullable'] else 'no'} |"
            for c in card["columns"]
        ),
        "",
        *(f"- Never together: {_domain(rule)}." for rule in card["never"]),
        *(f"- Always: {_code(rule)}." for rule in card["order"]),
        *(f"- Always, the first computed from the others: {_code(rule)}." for rule in card["sums"]),
        *(f"- Always, the second computed by {rule['by']}: {_code(rule['rule'])}." for rule in card["determines"]),
        *([""] if any(card[key] for key in ("never", "order", "sums", "determines")) else []),
        "## The gate's rules",
        "",
        "Figures are free (no look at real rows) or paid (noisy, inside the ε above).",
        "",
        "| rule | name | limit | figure | cost |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {_cell(f['rule'])} | {_cell(f['name'])} | {_cell(f['limit'])} | {_cell(f['figure'] or 'passed')} "
            f"| {f['cost']} |"
            for f in card["gate"]
        ),
        "",
        "## Known limits",
        "",
        *(f"- {text}" for text in card["limits"]),
        "",
        "## Mixing with real data",
        "",
        *(f"- {text}" for text in card["mixing with real data"]),
        "",
        "## Opening the CSV in a spreadsheet",
        "",
        card["spreadsheets"],
        "",
        "## How to verify",
        "",
        f"    {card['verify']}",
        "",
        "Get `trust.json` from the sender by another way than this bundle.",
        "",
    ]
    return "\n".join(lines)


def _learned(schema: Schema) -> dict[str, list[str]]:
    """The columns whose domain a fit pays for, by what of it."""
    modelled = schema.modelled.items()
    return {
        "cells": [n for n, c in modelled if isinstance(c, Integer | Real | Date | Datetime) and cells_are_learned(c)],
        "categories": [n for n, c in modelled if isinstance(c, Categorical) and c.open],
        "maps": [rule.rule for rule in schema.determines if rule.map is None],
    }


def _domains(learned: Mapping[str, Sequence[str]]) -> list[str]:
    """Where the domains come from, in words."""
    if not any(learned.values()):
        return [DECLARED]
    words = {
        "cells": "the cells that numbers, dates and moments were counted in, of",
        "categories": "the categories of",
        "maps": "the values of the second column beside each of the first, of",
    }
    told = [f"- {words[key]} {', '.join(map(_code, names))}." for key, names in learned.items() if names]
    return [LEARNED, "", *told]


def _column(name: str, column: Column, schema: Schema) -> dict[str, Any]:
    value, learned, rule = plain(column), _learned(schema), schema.computed.get(name)
    shown = ("values", "min", "max", "bins", "atoms", "decimals")
    domain = {key: value[key] for key in shown if value.get(key) not in (None, [])}
    for key in ("values", "bins"):
        if len(domain.get(key, ())) > LISTED:
            domain[key] = f"{len(domain[key])}, listed in schema.json"
    if isinstance(column, Image):
        domain = {"size": " x ".join(map(str, column.size)), "mode": column.mode}
    if column.kind == "identifier":
        domain = {"made up": "regenerated, never learned"}
    if isinstance(column, Categorical) and column.open:
        domain = {"values": f"learned under payment; the rest is told as {column.rest!r}"}
    if name in learned["cells"]:
        domain["cells"] = "learned under payment"
    if rule is not None:
        domain["computed from"] = ", ".join(rule.parts) if isinstance(rule, Sum) else rule.left
    return {"name": name, "kind": column.kind, "nullable": column.nullable, "domain": domain}


def _pictured(card: Mapping[str, Any]) -> list[str]:
    """Where the pictures are, in words, a line a column."""
    lines = [
        f"- {told['pictures']:,} synthetic pictures of {_code(told['column'])}, {told['size'][0]} x {told['size'][1]} "
        f"pixels {'in colours' if told['mode'] == 'RGB' else 'in grey'}: {_code(told['file'])}. Unpacked "
        "beside a copy of the table, each is at the path that stands in its row."
        for told in card.get("pictures", ())
    ]
    faint = [
        f"- Faint: the noise left too little of {', '.join(map(_code, values))} in {_code(name)} to draw pictures of "
        "their own. Such pictures look like those of all."
        for name, values in card.get("faint", {}).items()
    ]
    return [*lines, f"- Some of them for a person to look at: {_code(card['sheet'])}.", *faint] if lines else []


def _spreadsheets(schema: Schema) -> str:
    risky = [
        name
        for name, column in schema.columns.items()
        if isinstance(column, Categorical)
        and not column.dropped
        and any(str(value).startswith(FORMULA) and isinstance(value, str) for value in column.values)
    ]
    open_ = [name for name, c in schema.columns.items() if isinstance(c, Categorical) and c.open and not c.dropped]
    if risky and not open_:
        return (
            "Text that begins with = + - or @ may run as a formula. The public values of these columns include such "
            f"text: {', '.join(risky)}. Import them as text."
        )
    if open_:
        return (
            "Text that begins with = + - or @ may run as a formula. The categories of these columns come from the "
            f"data, or are public and begin so: {', '.join([*risky, *open_])}. Import them as text."
        )
    return (
        "Text that begins with = + - or @ may run as a formula. Text comes only from the public values declared in "
        "the schema, and none of them begins so; negative numbers do, and are numbers."
    )


def _shares(card: Mapping[str, Any]) -> list[str]:
    """The balance in words, one text a column."""
    out = []
    for name, asked in sorted(card["balance"].items()):
        if isinstance(asked, str):
            out.append(f"of {_code(name)} each value the same share")
        else:
            out.append(f"of {_code(name)} " + ", ".join(f"{_code(x['value'])} {exact(x['share'])}" for x in asked))
    return out


def _items(card: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(card["condition"].items())


def _domain(domain: Mapping[str, Any]) -> str:
    def show(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return _cell("; ".join(f"{key} {show(value)}" for key, value in domain.items()) or "true, false")


def _cell(text: Any) -> str:
    """Text that can neither leave its table cell nor be markup."""
    out = " ".join(str(text).split())
    for mark in "\\`*_[]<>|#":
        out = out.replace(mark, f"\\{mark}")
    return out


def _code(text: Any) -> str:
    """Text set as code; back-ticks in it become plain quotes."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"
