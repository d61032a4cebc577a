"""Where the pictures of released rows lie: names, paths and the sheet's measures, for writers, readers, verifiers.

A column's pictures lie in one folder, packed as one zip file beside the table; the table's column holds the names. A
folder is named like its column where that is a plain name to every file system, else by a hash of it.
"""

from __future__ import annotations

import re
from hashlib import sha256

SHEET = "pictures.png"
"""Of some released pictures, for a person to look at."""
ACROSS, DOWN = 12, 8
"""Pictures of the sheet, at most; each column has one line at least, however many columns there are."""
CELL, LARGEST = 96, 256
"""Edge of a picture on the sheet in pixels: smaller ones are made larger by a whole factor, larger ones shrunk."""
GAP = 2

_PLAIN = re.compile(r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])\Z)[a-z0-9_][a-z0-9_-]{0,63}\Z", re.IGNORECASE)


def folder_of(column: str) -> str:
    """The folder of a column's pictures."""
    return (
        column if column.isascii() and _PLAIN.match(column) else f"pictures-{sha256(column.encode()).hexdigest()[:12]}"
    )


def file_names(column: str, rows: int) -> list[str]:
    """The file of each of ``rows`` rows, from 1: as they stand in the table."""
    folder, width = folder_of(column), len(str(rows))
    return [f"{folder}/{i:0{width}d}.png" for i in range(1, rows + 1)]


def largest_sheet(columns: int) -> tuple[int, int]:
    """(width, height) in pixels that no sheet of so many columns exceeds."""
    return ACROSS * (LARGEST + GAP) + GAP, max(DOWN, columns) * (LARGEST + GAP) + columns * GAP


def archive_of(column: str) -> str:
    """The zip file of a column's pictures, in a bundle."""
    return f"data/{folder_of(column)}.zip"
