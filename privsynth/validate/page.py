"""One HTML page that asks nothing of any network: style, plots and words are inside it, and no script runs.

Every text that is handed in is escaped here; ``parts`` of a page are marks that were made here or in ``svg.py``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path

from privsynth.errors import StorageError

STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#222;max-width:900px;margin:24px auto;padding:0 16px}
h1{font-size:22px;margin:8px 0}h2{font-size:16px;margin:26px 0 6px;break-after:avoid}
.mark{background:#b00020;color:#fff;padding:6px 12px;font-weight:600;position:sticky;top:0;z-index:1}
.note{background:#0072b2}
.veil{position:fixed;inset:0;display:flex;align-items:center;justify-content:center;pointer-events:none;
font-size:44px;color:#b00020;opacity:.07;transform:rotate(-28deg);white-space:nowrap}
.verdict{border:2px solid #222;display:inline-block;padding:4px 12px;font-size:18px;font-weight:700}
table{border-collapse:collapse;width:100%;font-size:12.5px}th,td{padding:3px 6px;border-bottom:1px solid #ddd;
text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.two{display:flex;gap:16px;flex-wrap:wrap}.box{border:1px solid #bbb;padding:6px 12px;flex:1 1 380px}
svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}small{color:#555}
@page{size:A4;margin:14mm}@media print{.mark{position:static}svg,tr{break-inside:avoid}}
"""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page as text."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="robots" content="noindex"><title>{escape(title)}</title>'
    )
    body = "".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n'


def items(lines: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def box(title: str, lines: Iterable[str]) -> str:
    """A titled list in a frame."""
    return f'<div class="box"><h2>{escape(title)}</h2>{items(lines)}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[int]) -> str:
    """Cells of text; ``numbers`` are the columns that stand to the right."""

    def row(cells: Sequence[str], tag: str) -> str:
        right = [' class="n"' if i in numbers else "" for i in range(len(cells))]
        marks = "".join(f"<{tag}{at}>{escape(cell)}</{tag}>" for at, cell in zip(right, cells, strict=True))
        return f"<tr>{marks}</tr>"

    return f"<table>{row(heads, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def write(path: str | Path, text: str, *, what: str, mode: int = 0o600) -> Path:
    """Write a page, whole or not at all, readable as ``mode`` says; an older one there is replaced.

    Raises:
        StorageError: the place cannot be written; ``what`` is the page's name in that message.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(opened, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as fault:
        raise StorageError(
            f"the {what} cannot be written ({fault.strerror})",
            where=str(target),
            mend="name a file in a folder that exists and that you may write",
        ) from None
    return target
