"""The arguments and options that several commands share."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.errors import UsageError

if TYPE_CHECKING:
    from privsynth.pipeline.study import Study

JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for machines.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
ACTOR = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Who asks: an address listed under `people` in the policy. Default: the study's `actor`, else "
        "PRIVSYNTH_ACTOR, else your login name.",
    ),
]
STUDY = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (docs/study.md).")]
POLICY = Annotated[Path, typer.Argument(metavar="POLICY", help="The policy file (docs/policy.md).")]
LEDGER = Annotated[str, typer.Option(metavar="URL", help="Its ledger, for example sqlite:///ledger.db.")]
KEY = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The ledger's own key file. Default: beside it, its name and .key."),
]
WITNESS = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Who remembers how long the ledger was: file:/path, cmd:program arguments, https://host."
    ),
]
PASSPHRASE = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The key's passphrase, in the file's first line.")
]
SIGNERS = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Whose signatures count. Default: trust.json beside the folder."),
]
MINE = Annotated[str | None, typer.Option(metavar="NAME", help="Who you are: refuse a release made for another.")]
RECALLS = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The sender's current list of recalls: refuse a release that it recalls."),
]
DATA = Annotated[Path, typer.Argument(metavar="DATA", help="A .parquet or .csv file.")]


def who(given: str | None, study: Study | None = None) -> str:
    """Who asks: as given, else as the study says, else PRIVSYNTH_ACTOR, else the login name.

    Raises:
        UsageError: none of them is known.
    """
    of_study = study.file.actor if study is not None else None
    known = given or of_study or os.environ.get("PRIVSYNTH_ACTOR")
    try:
        return known or getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        raise UsageError("it is not known who asks", where="--actor", mend="give --actor ADDRESS") from None


def receivers(people: int) -> str:
    """What a release of several signers asks of the trust files of its receivers."""
    return (
        f"receivers need `threshold: {people}` in their trust file, or the ledger's key: else one signer alone can "
        "take the rule out of the bundle and sign it again"
    )


def passphrase_in(file: Path | None) -> bytes | None:
    """The passphrase in a file's first line; None without a file."""
    if file is None:
        return None
    from privsynth.pipeline.places import first_line

    return first_line(file)
