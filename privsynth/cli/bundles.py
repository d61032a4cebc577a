"""What signer and receiver do: `keys new`, `sign`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from privsynth.cli.screen import Screen
from privsynth.cli.words import JSON, MINE, PASSPHRASE, QUIET, RECALLS, SIGNERS, passphrase_in, receivers, who

if TYPE_CHECKING:
    from privsynth.release.verify import Verified


def keys_new(
    path: Annotated[Path, typer.Argument(metavar="KEY", help="The new key file, or a folder for it.")] = Path(
        "release.key"
    ),
    name: Annotated[str, typer.Option(metavar="NAME", help="Who holds the key; shown to verifiers.")] = "",
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The trust file for verifiers. Default: trust.json beside the key."),
    ] = None,
    role: Annotated[
        Literal["release", "policy", "witness"],
        typer.Option(metavar="ROLE", help="What it signs: release (default); policy, for approvals; or witness."),
    ] = "release",
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Encrypt the key by this file's first line (/dev/stdin for a pipe)."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Make a signing key and its trust file.

    An Ed25519 key, mode 0600, never written over. Hand trust.json to verifiers by another way than the bundles.

    Example:  privsynth keys new --name "St. Anna data office"
    """
    from privsynth.pipeline.keys import make_keys

    screen = Screen(json_, quiet)
    pair = make_keys(path, name=name or who(None), trust=trust, passphrase_file=passphrase_file, roles=(role,))
    told = {"key": str(pair.key), "trust": str(pair.trust), "keyid": pair.keyid, "public": pair.public}
    screen.answer("keys new", told)
    screen.say(f"key: {pair.key} (keep it secret)")
    screen.say(f"public: {pair.public} (stands under `people` in a policy, where you approve its changes)")
    screen.say(f"trust: {pair.trust} (give it to verifiers by another way than the bundle)")


def keys_trust(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Trust files, and what `ledger checkpoint --json` and `ledger witness ... key --json` print.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new trust file.")],
    threshold: Annotated[
        int | None, typer.Option(help="So many people must sign. Default: as many as any of the files asks for.")
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Put several trust files into one, for whoever verifies.

    Every key of theirs counts, for the roles that it has in any of them. Compare the key ids with their holders, by
    another way than the one by which the files came.

    Example:  privsynth keys trust kim.json brandt.json ledger.json --threshold 2 --out trust.json
    """
    from privsynth.signing import load_entry, merged_trust, write_trust

    screen = Screen(json_, quiet)
    trust = merged_trust((load_entry(file) for file in files), threshold=threshold)
    write_trust(out, trust)
    keys = [{"keyid": key.keyid, "name": key.name, "roles": list(key.roles)} for key in trust.keys]
    screen.answer("keys trust", {"trust": str(out), "threshold": trust.threshold, "keys": keys})
    last = ("" if key.expires is None else f"until {key.expires}" for key in trust.keys)
    screen.table(
        ("key", "whose", "for", ""),
        [(key.keyid, key.name, ", ".join(key.roles), day) for key, day in zip(trust.keys, last, strict=True)],
    )
    screen.say(f"trust: {out}; {trust.threshold} of those who are here for `release` must sign one")


def sign(
    add: Annotated[Path, typer.Option(metavar="RELEASE", help="The release's folder, signed by somebody else.")],
    key: Annotated[Path, typer.Option(metavar="KEY", help="Your own key, of role release.")],
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The trust file of its receivers. Default: trust.json beside the folder."),
    ] = None,
    passphrase_file: PASSPHRASE = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Add your signature to a release that others signed.

    Offline, on a machine of your own: read privacy.md and card.md first, for you answer for them too. Everything but
    the number of signatures is verified; nothing else in the release changes. Send statement.dsse.json back.

    Example:  privsynth sign --add release/ --key second.key --trust trust.json
    """
    from privsynth.release.cosign import add_signature

    screen = Screen(json_, quiet)
    found = add_signature(add, key, passphrase=passphrase_in(passphrase_file), trust=trust)
    told = {"release": str(found.folder), "signers": list(found.signers), "people": found.people}
    lacking = max(0, found.people - len(found.signers))
    screen.answer("sign", {**told, "lacking": lacking})
    screen.say(f"signed: {found.folder} is now signed by {', '.join(found.signers)}")
    if lacking:
        screen.say(f"{lacking} more must sign before anybody verifies it")
    if found.people > 1:
        screen.say(receivers(found.people))
    if found.key is not None and not lacking:
        screen.say(f"it leaves sealed only: `privsynth seal {found.folder} --out FILE.age`")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="RELEASE", help="The release's folder.")],
    trust: SIGNERS = None,
    recipient: MINE = None,
    recalls: RECALLS = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Check a release: signature, files and form.

    Offline; needs neither torch nor pandas. Anything that does not hold ends in exit code 4.

    Example:  privsynth verify release/ --trust trust.json --recipient university-hospital
    """
    from privsynth.release.verify import verify as check

    screen = Screen(json_, quiet)
    tell_verified(screen, check(folder, trust=trust, recipient=recipient, recalls=recalls), command="verify")


def tell_verified(screen: Screen, found: Verified, *, command: str) -> None:
    """What a verified release is."""
    paid = found.receipt
    screen.answer(
        command,
        {
            "verified": True,
            "signers": list(found.signers),
            "recipient": found.recipient,
            "rows": found.rows,
            "epsilon": paid.epsilon,
            "delta": paid.delta,
            "unit": paid.unit,
            "claims": list(found.claims),
            "transcript": None if found.transcript is None else str(found.transcript),
            **({"key": found.key} if found.key else {}),
            **({"witness": found.witness} if found.witness else {}),
            **({"pictures": list(found.pictures)} if found.pictures else {}),
            **({"c2pa": {"certificate": found.c2pa, "read": found.c2pa_read}} if found.c2pa else {}),
        },
    )
    screen.say(f"verified: {found.folder} is whole and signed by {', '.join(found.signers)}")
    screen.say(
        f"{found.rows:,} synthetic rows for {found.recipient}, ε = {paid.epsilon:g}, δ = {paid.delta:g} per {paid.unit}"
    )
    if found.key is not None:
        clear = "" if command == "open" else "; it leaves sealed: if it was sent to you as this folder, tell its sender"
        screen.say(f"for the holder of the key {found.key}{clear}")
    if found.witness is not None:
        screen.say(f"sold and approved in a ledger whose length {found.witness} has witnessed")
    for told in found.pictures:
        size = " x ".join(map(str, told["size"]))
        screen.say(f"with {told['pictures']:,} synthetic pictures of {told['column']}, {size} pixels: {told['file']}")
    if found.c2pa is not None:
        read = "read, and it holds" if found.c2pa_read else "not read: pip install 'privsynth[c2pa]'"
        screen.say(f"each with a C2PA manifest of certificate {found.c2pa[:16]}…: {read}")
    if found.transcript is not None:
        screen.say(f"with the noisy tables that its model was fitted to: {found.transcript}")
