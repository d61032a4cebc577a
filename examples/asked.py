"""The folder that an example is asked to fill."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def folder_asked(about: str) -> Path:
    """The folder that the command line names: new or empty; a temporary one where it names none."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="new or empty; by default a temporary one")
    named = parser.parse_args().folder
    folder = Path(tempfile.mkdtemp(prefix="privsynth-")) if named is None else Path(named)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"{folder} is not an empty folder: name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
