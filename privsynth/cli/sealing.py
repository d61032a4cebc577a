"""Releases that leave only encrypted: `seal`, `open`, `keys receiving`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privsynth.cli.bundles import tell_verified
from privsynth.cli.screen import Screen
from privsynth.cli.words import JSON, MINE, QUIET, RECALLS, SIGNERS


def seal(
    folder: Annotated[Path, typer.Argument(metavar="RELEASE", help="The release's folder, signed by all who must.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The sealed file; it must not exist yet.")],
    trust: SIGNERS = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Encrypt a release to its recipient.

    Makes one file that the recipient alone can open: the holder of the key that policy and signed statement name. It is
    verified first, as its receiver will. A run does all this by itself, unless several people must sign.

    Example:  privsynth seal release/ --out release.age --trust trust.json
    """
    from privsynth.release.sealed import seal as sealed

    screen = Screen(json_, quiet)
    found = sealed(folder, out, trust=trust)
    told = {"sealed": str(out), "release": str(found.folder), "recipient": found.recipient, "key": found.key}
    screen.answer("seal", told)
    screen.say(f"sealed: {out}, for {found.recipient} and the key {found.key}")
    screen.say(f"send this file; {found.folder} stays inside")


def open_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed file.")],
    identity: Annotated[
        Path, typer.Option(metavar="KEY", help="Your own secret key (`privsynth keys receiving`, `age-keygen`).")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The release's new folder; it must not exist yet.")],
    trust: SIGNERS = None,
    recipient: MINE = None,
    recalls: RECALLS = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Decrypt a sealed release, and verify it.

    The folder appears only if all of it verifies, and if its signed statement names your key: else somebody sealed to
    you what was meant for another. Exit code 4 if not, and nothing is left.

    Example:  privsynth open release.age --identity receiving.key --trust trust.json --out release/
    """
    from privsynth.release.sealed import open_sealed

    screen = Screen(json_, quiet)
    found = open_sealed(file, out, identity=identity, trust=trust, recipient=recipient, recalls=recalls)
    tell_verified(screen, found, command="open")


def keys_receiving(
    path: Annotated[Path, typer.Argument(metavar="KEY", help="The new key file.")] = Path("receiving.key"),
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Make a key to which releases are sealed to you.

    An identity file of age (X25519), mode 0600, never written over. Give the public key to the sender, who writes it
    into the policy under your name; by a way on which nobody can replace it.

    Example:  privsynth keys receiving receiving.key
    """
    from privsynth.signing import new_identity

    screen = Screen(json_, quiet)
    public = new_identity(path)
    screen.answer("keys receiving", {"key": str(path), "public": public})
    screen.say(f"key: {path} (keep it secret)")
    screen.say(f"public: {public} (stands as `key` under your name among the `recipients` of the sender's policy)")
