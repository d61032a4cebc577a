"""The help texts in docs/cli.md. ``python -m tests.cli_page`` brings the page up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from privsynth.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100
_BLOCK = re.compile(r"^(#+ `(privsynth[a-z -]*)`\n\n(?:(?!^#|^```).*\n)*?)```text\n(.*?)```$", re.MULTILINE | re.DOTALL)


def commands(command: Any = None, name: str = "privsynth") -> Iterator[tuple[str, Any]]:
    """(name, command) of every command that does something, and of the whole."""
    command = get_command(app) if command is None else command
    inner = getattr(command, "commands", {})
    if not inner or name == "privsynth":
        yield name, command
    for key, part in inner.items():
        yield from commands(part, f"{name} {key}")


def help_text(name: str, command: Any) -> str:
    """What ``NAME --help`` prints."""
    context = typer.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
    text: str = command.get_help(context)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def written(text: str) -> dict[str, str]:
    """The help texts that a page holds, by the heading above each."""
    return {match[2]: match[3] for match in _BLOCK.finditer(text)}


def up_to_date(text: str) -> str:
    """The page with the help texts of today."""
    known = dict(commands())

    def again(match: re.Match[str]) -> str:
        return f"{match[1]}```text\n{help_text(match[2], known[match[2]])}```"

    return _BLOCK.sub(again, text)


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text("utf-8")), "utf-8")
