"""The books: `ledger verify`, `backup`, `restore`, `export`, `import`, `check`, `checkpoint`, `migrate`, `witness`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privsynth.cli.screen import Screen
from privsynth.cli.words import ACTOR, JSON, LEDGER, POLICY, QUIET, who
from privsynth.documents import plain
from privsynth.errors import UsageError

if TYPE_CHECKING:
    from privsynth.ledger.entry import LogName
    from privsynth.ledger.ledger import Ledger

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


def ledger_verify(
    policy: POLICY,
    ledger: LEDGER,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Check a ledger: its chains, sums and what it keeps.

    Every line of both logs by its hash, the trees over them, every budget added up again, every stored key, transcript
    and verdict against its line, all against the ledger's signature. Changes nothing. Anything that does not hold ends
    in exit code 4. That the whole file was set back to an older copy only a witness can tell.

    Example:  privsynth ledger verify policy.yaml --ledger sqlite:///ledger.db
    """
    screen = Screen(json_, quiet)
    found = _looked(policy, ledger, key, witness, actor).verify()
    screen.answer("ledger verify", {"verified": True, **asdict(found)})
    screen.say(f"verified: ledger {found.ledger} is whole ({found.entries:,} entries, {found.attempts:,} attempts)")
    screen.say(
        f"{found.populations:,} populations, {found.holds:,} holds; kept: {found.transcripts:,} transcripts, "
        f"{found.claims:,} verdicts"
    )


def ledger_backup(
    policy: POLICY,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup's file; a new one.")],
    ledger: LEDGER,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Copy a ledger while it is in use, and check the copy.

    A file copied by other means can miss what was written last. The backup holds the secret keys of the populations:
    keep it as the ledger is kept. The ledger's own key file is not in it: back it up apart, once.

    Example:  privsynth ledger backup policy.yaml /backup/ledger-0711.db --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.care import backup

    screen = Screen(json_, quiet)
    found = backup(_looked(policy, ledger, key, witness, actor), file)
    screen.answer("ledger backup", {"backup": str(file), **asdict(found)})
    screen.say(f"backup: {file} ({found.entries:,} entries, {found.attempts:,} attempts, read whole)")


def ledger_restore(
    policy: POLICY,
    file: Annotated[Path, typer.Argument(metavar="BACKUP", help="A file that `ledger backup` made.")],
    ledger: LEDGER,
    by: Annotated[
        list[str], typer.Option(metavar="ADDRESS", help="Who answers for it: two people of the policy, each once.")
    ] = [],  # noqa: B006 - typer's way to say that nothing was given
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="They know that what is missing counts as spent.")
    ] = False,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Bring a ledger back from a backup, at the price of the gap.

    What was written after the backup is gone, but its releases are out: if the witness knows of any such line, or there
    is no witness to ask, every population's budget is booked as spent, for ever, and holds sold before are closed.
    Nothing may lie at the ledger's place. A ledger that lost lines goes on with a new witness.

    Example:  privsynth ledger restore policy.yaml /backup/ledger-0711.db --ledger sqlite:///ledger.db
    --witness file:/srv/witness/hospital --by a.kim@st-anna.example --by q.lee@st-anna.example --accept-loss
    """
    from privsynth.ledger.care import restore
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    done = restore(
        file,
        ledger,
        load_policy(policy),
        actor=who(actor),
        people=by,
        accept_loss=accept_loss,
        key=key,
        witness=witness,
    )
    screen.answer(
        "ledger restore",
        {"restored": ledger, "lost": done.lost, "missing": done.missing, "entries": done.checked.entries},
    )
    screen.say(f"restored: ledger {done.checked.ledger} with {done.checked.entries:,} entries")
    if done.lost:
        known = "nobody can say how much is missing" if done.missing is None else f"missing: {done.missing['main']:,}"
        screen.say(f"{known}; every population's budget is booked as spent, and earlier holds are closed")


def ledger_export(
    policy: POLICY,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The export's file; a new one.")],
    ledger: LEDGER,
    inside: Annotated[
        bool, typer.Option("--inside", help="With attempts, secret keys and transcripts: for import, never to show.")
    ] = False,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Write a ledger's entries and signed checkpoint as text.

    JSON lines: the entries of the main log, byte for byte as they were hashed, and the checkpoint that signs them. Any
    byte changed, any line taken out or moved is found by `ledger check`.

    Example:  privsynth ledger export policy.yaml ledger.jsonl --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.care import export

    screen = Screen(json_, quiet)
    export(_looked(policy, ledger, key, witness, actor), file, inside=inside)
    screen.answer("ledger export", {"export": str(file), "inside": inside})
    screen.say(f"export: {file}" + (" (it holds secret keys: keep it inside)" if inside else ""))


def ledger_check(
    file: Annotated[Path, typer.Argument(metavar="EXPORT", help="A file that `ledger export` wrote.")],
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A trust file whose key of role `ledger` must have signed it.")
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Check an export: every line, under its signed checkpoint.

    Offline, without the ledger. Without --trust it shows that the file is whole, not whose it is: the key is then the
    one that the file itself names.

    Example:  privsynth ledger check ledger.jsonl --trust trust.json
    """
    from privsynth.ledger.care import read

    screen = Screen(json_, quiet)
    found = read(file, key=None if trust is None else _trusted(trust))
    told = {"entries": len(found.main), "attempts": len(found.attempts), "key": found.key.hex()}
    screen.answer("ledger check", {"whole": True, "ledger": found.balance.ledger, **told, "trusted": trust is not None})
    screen.say(f"whole: ledger {found.balance.ledger}, {len(found.main):,} entries, key {found.key.hex()[:16]}…")


def ledger_import(
    policy: POLICY,
    file: Annotated[Path, typer.Argument(metavar="EXPORT", help="A file that `ledger export --inside` wrote.")],
    ledger: LEDGER,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Make a ledger from an export, for example in a database.

    Everything in the export is checked first, also by the ledger's own key file, which must be in its place. Nothing
    may lie at the ledger's place. Stop using the old one: two ledgers of one budget spend it twice, and a witness
    tells.

    Example:  privsynth ledger import policy.yaml ledger.jsonl --ledger sqlite:///new.db --key ledger.db.key
    """
    from privsynth.ledger.care import import_
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    made = import_(file, ledger, load_policy(policy), actor=who(actor), key=key, witness=witness)
    found = made.verify()
    screen.answer("ledger import", {"imported": ledger, **asdict(found)})
    screen.say(f"imported: ledger {found.ledger} with {found.entries:,} entries")


def ledger_checkpoint(
    policy: POLICY,
    ledger: LEDGER,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Print the ledger's signed checkpoint: how long it is now.

    A note in the form of C2SP's tlog-checkpoint. Whoever keeps one can convict a ledger that was set back or changed.
    With --json it also gives the ledger's key as a trust file lists it, of role `ledger`.

    Example:  privsynth ledger checkpoint policy.yaml --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.care import checkpoint

    screen = Screen(json_, quiet)
    opened = _looked(policy, ledger, key, witness, actor)
    note = checkpoint(opened)
    key_ = opened.seal.key()
    trusted = plain(key_.public(name=f"ledger {opened.id}", roles=("ledger",)))
    screen.answer("ledger checkpoint", {"checkpoint": note, "key": key_.raw_public.hex(), "trust": trusted})
    screen.say(note.rstrip("\n"))


def ledger_migrate(
    policy: POLICY,
    ledger: LEDGER,
    key: KEY = None,
    witness: WITNESS = None,
    actor: ACTOR = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Bring a ledger of an earlier version to this one's form.

    Once and for good: earlier versions read it no more. No entry is changed; its key file is made beside it. A ledger
    that is of this form already stays as it is.

    Example:  privsynth ledger migrate policy.yaml --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.store import open_ledger
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    home = _must_exist(ledger)
    found = open_ledger(ledger, load_policy(policy), actor=who(actor), key=key, witness=witness).verify()
    screen.answer("ledger migrate", {"verified": True, **asdict(found)})
    screen.say(f"of this version's form, and whole: {home} ({found.entries:,} entries)")


def ledger_witness(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The witness's file; made empty by its owner, once.")],
    verb: Annotated[
        str, typer.Argument(metavar="VERB", help="What is asked: `head`, or `accept` (from standard input).")
    ],
    log: Annotated[str, typer.Argument(metavar="LOG", help="Of which log: `main` or `attempts`.")] = "main",
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Answer as a witness, from this account's own file.

    For another account than the ledger's, so that whoever can write to the ledger cannot make it forget. It takes only
    checkpoints that extend the one that it holds. Beside FILE lies FILE.attempts.

    Example:  privsynth ledger witness /srv/witness/hospital head main
    """
    from privsynth.ledger.witness import FileWitness, understood_question

    screen, own = Screen(json_, quiet), FileWitness(file.absolute())
    if verb not in ("head", "accept") or log not in ("main", "attempts"):
        raise UsageError("a witness is asked for `head` or `accept`, of `main` or `attempts`", where="witness")
    of: LogName = "main" if log == "main" else "attempts"
    if verb == "accept":
        note, old, proof = understood_question(sys.stdin.read())
        own.accept(of, note, old=old, proof=proof)
        screen.answer("ledger witness", {"accepted": True})
        return
    held = own.head(of)
    screen.answer("ledger witness", {"head": held})
    if held is not None:
        screen.say(held.rstrip("\n"))


def _looked(policy: Path, ledger: str, key: Path | None, witness: str | None, actor: str | None) -> Ledger:
    from privsynth.ledger.store import look_at_ledger
    from privsynth.policy.document import load_policy

    return look_at_ledger(ledger, load_policy(policy), actor=who(actor), key=key, witness=witness)


def _must_exist(ledger: str) -> str:
    from privsynth.errors import StorageError
    from privsynth.ledger.store import store_at

    home = store_at(ledger)
    if not home.exists():
        raise StorageError("no such ledger", where=home.where, mend="check the path; `privsynth run` makes it")
    return home.where


def _trusted(trust: Path) -> bytes:
    """The key that a trust file names for ledgers."""
    from privsynth.signing import load_trust

    keys = [key.raw_public for key in load_trust(trust).keys if "ledger" in key.roles]
    if len(keys) != 1:
        raise UsageError(
            f"the trust file names {len(keys)} keys of role `ledger`", where=str(trust), mend="it must name one"
        )
    return keys[0]


LEDGER_COMMANDS: Mapping[str, Callable[..., Any]] = {
    "verify": ledger_verify,
    "backup": ledger_backup,
    "restore": ledger_restore,
    "export": ledger_export,
    "check": ledger_check,
    "import": ledger_import,
    "checkpoint": ledger_checkpoint,
    "migrate": ledger_migrate,
    "witness": ledger_witness,
}
