"""Drafting and checking the files that a person writes: `init`, `schema check`, `data check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from privsynth.cli.screen import Screen
from privsynth.cli.words import DATA, JSON, QUIET


def init(
    data: DATA,
    from_public: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file that you declare PUBLIC: domains are taken from it, and the schema says so."
        ),
    ] = None,
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the three drafts go; it must exist.")] = Path(),
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Draft schema, policy and study for a table.

    Only the names and storage types of DATA are read, so the drafts are the same for every content. Each domain
    is a TODO that you fill in from public knowledge, never from the rows; nothing loads while one is left.

    Example:  privsynth init encounters.parquet
    """
    from privsynth.data.draft import draft, write_draft

    screen = Screen(json_, quiet)
    written = write_draft(draft(data, public=from_public), into)
    screen.answer("init", {"written": [str(path) for path in written]})
    for path in written:
        screen.say(f"wrote {path}")
    screen.say("Now fill in each TODO from public knowledge, never from the rows; then `privsynth schema check`.")


def schema_check(
    schema: Annotated[Path, typer.Argument(metavar="SCHEMA", help="The schema file (docs/schema.md).")],
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Load a schema and show the cells that a fit would see.

    A domain that is still TODO, an unknown key or a bound that makes no sense ends in exit code 2 with its line.

    Example:  privsynth schema check encounters.schema.yaml
    """
    from privsynth.data.codec import Codec
    from privsynth.data.schema import load_schema
    from privsynth.generators.marginals.domains import most_cells

    screen = Screen(json_, quiet)
    loaded = load_schema(schema)
    columns = Codec(loaded).columns
    others = [n for n, c in loaded.columns.items() if not (c.learned or n in loaded.pictures)]
    most = {c.name: most_cells(loaded, c.name) for c in columns}
    computed = list(loaded.computed)
    kinds = {
        c.name: {
            "kind": c.column.kind,
            "cells": most[c.name] or c.cells,
            "learned": most[c.name] is not None,
            "nullable": c.nullable,
        }
        for c in columns
    }
    screen.answer(
        "schema check",
        {
            "source": loaded.source,
            "sha256": loaded.sha256,
            "columns": kinds,
            "computed": computed,
            "not_learned": others,
        },
    )
    screen.table(
        ("column", "kind", "cells", "null"),
        [
            (
                c.name,
                c.column.kind,
                str(c.cells) if most[c.name] is None else f"learned, up to {most[c.name]}",
                "yes" if c.nullable else "no",
            )
            for c in columns
        ],
    )
    if computed:
        screen.say(f"\ncomputed from others: {', '.join(computed)}")
    for name, picture in loaded.pictures.items():
        width, height = picture.size
        told = f"{width} x {height} {'colour' if picture.mode == 'RGB' else 'grey'}, brought to it by {picture.fit}"
        screen.say(f"pictures: {name}, {told}{', may be missing' if picture.nullable else ''}")
    screen.say(f"\nnot learned: {', '.join(others) or 'none'}\nschema {loaded.source} is whole ({loaded.sha256[:12]})")


def data_check(
    data: DATA,
    schema: Annotated[Path, typer.Option(metavar="SCHEMA", help="Its schema file.")],
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """List the rows that break the schema's rules. INTERNAL.

    Where the schema has pictures, those that cannot be read too: DATA is then the table that names or holds them, or
    the folder that it lies in. What it prints tells of single records and must not be passed on. A run handles such
    rows by rule (clip, null or drop) and never stops for them. Ids that end in .0, or hold characters that nobody sees,
    are listed too and used as they are: another table may spell the same person otherwise.

    Example:  privsynth data check encounters.parquet --schema encounters.schema.yaml
    """
    from privsynth.data.schema import load_schema
    from privsynth.data.tables import check_images, check_table

    screen = Screen(json_, quiet)
    loaded = load_schema(schema)
    faults = check_images(data, loaded) if loaded.pictures else check_table(data, loaded)
    screen.answer("data check", {"internal": True, "faults": [asdict(fault) for fault in faults]})
    screen.say("INTERNAL: this list tells of single records. It must not leave.\n")
    screen.table(
        ("column or rule", "what is done", "rows", "first rows (from 0)"),
        [(f.column, f.rule, str(f.rows), ", ".join(map(str, f.first))) for f in faults],
    )
    screen.say("\nno faults" if not faults else "\nA run handles these by rule and never stops for them.")
