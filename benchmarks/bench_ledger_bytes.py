"""Every byte of 200 exported entries altered, every line dropped, doubled, swapped, and every truncation.

    python -m benchmarks.bench_ledger_bytes [--bits]

Each altered export is read as ``privsynth ledger check`` reads it and must be refused. To take minutes and not hours,
what is a pure function of one line (its canonical form, its parsed entry) is remembered between readings.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.bench_ledger_size import USE, Small, opened
from benchmarks.bench_ledger_size import rules as policy
from privsynth.errors import LedgerError
from privsynth.ledger import entry, transfer
from privsynth.ledger.ledger import Ledger

ENTRIES = 200


def filled(folder: Path) -> Ledger:
    """A ledger of exactly ``ENTRIES`` entries in its main log, of every kind that a fit writes."""
    ledger = opened(folder, policy())
    number = 0
    while True:
        with ledger.reading() as session:
            left = ENTRIES - session.edges["main"].size
        if not left:
            return ledger
        hold = ledger.reserve(Small(), **USE)
        number += 1
        if left > 3 and number % 3:
            hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
            if number % 3 == 1:
                hold.lease(10)
                hold.deposit(b"noisy counts")


def altered(raw: bytes, masks: list[int]) -> Iterator[tuple[str, bytes]]:
    """(what was done, the export after it)."""
    for at in range(len(raw)):
        for mask in masks:
            yield "byte", raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]
        yield "truncation", raw[:at]
    rows = raw.splitlines(keepends=True)
    for at in range(len(rows)):
        yield "drop", b"".join(rows[:at] + rows[at + 1 :])
        yield "double", b"".join(rows[: at + 1] + rows[at:])
        for other in range(at):
            swapped = list(rows)
            swapped[at], swapped[other] = rows[other], rows[at]
            yield "swap", b"".join(swapped)


def remember() -> None:
    """Keep what is a pure function of a line between readings."""
    value, one = transfer._value, entry.one
    kept = lru_cache(maxsize=4 * ENTRIES)(lambda line: value(line, where=""))
    known = lru_cache(maxsize=4 * ENTRIES)(one)
    changed: list[tuple[Any, str, Any]] = [
        (transfer, "_value", lambda line, *, where: kept(line)),  # noqa: PLW0108 - the place is not part of the key
        (entry, "one", known),
    ]
    for module, name, function in changed:
        setattr(module, name, function)


def main() -> None:
    """Count what is found and what is not; exit 1 if anything gets through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", action="store_true", help="each of the eight bits of every byte; default: the lowest")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, filled(Path(name)).reading() as session:
        raw, key = b"".join(transfer.export_lines(session)), session.public
    transfer.read_export(raw, key=key)
    remember()
    found: dict[str, int] = {}
    missed: dict[str, int] = {}
    begun = time.perf_counter()
    for kind, export in altered(raw, [1 << bit for bit in range(8)] if args.bits else [1]):
        try:
            transfer.read_export(export, key=key)
            missed[kind] = missed.get(kind, 0) + 1
        except LedgerError:
            found[kind] = found.get(kind, 0) + 1
    for kind, count in found.items():
        print(f"{kind:10} found {count:,} of {count + missed.get(kind, 0):,}")
    print(f"{ENTRIES} entries, {len(raw):,} bytes, {time.perf_counter() - begun:.0f} s")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
