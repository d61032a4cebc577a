"""The books: `ledger verify`, `backup`, `export`, `check`, `checkpoint`, `migrate`, `witness`; see also `restore` and
`programme`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privsynth.cli.books import Books, on_books
from privsynth.cli.programme import ledger_reserve
from privsynth.cli.restore import ledger_answer, ledger_import, ledger_restore
from privsynth.cli.screen import Screen, not_approved, tell_not_approved
from privsynth.cli.words import JSON, PASSPHRASE, QUIET, passphrase_in
from privsynth.documents import join, plain
from privsynth.errors import UsageError

if TYPE_CHECKING:
    from privsynth.ledger.entry import LogName
    from privsynth.ledger.witness import Witness
    from privsynth.ledger.witness_file import FileWitness
    from privsynth.ledger.witness_key import KeyedWitness
    from privsynth.signing import Cosigned


@on_books
def ledger_verify(books: Books) -> None:
    """Check a ledger: its chains, sums and what it keeps.

    Every line of both logs by its hash, the trees over them, every budget added up again, every stored key, transcript
    and verdict against its line, all against the ledger's signature. Changes nothing. Anything that does not hold ends
    in exit code 4. That the whole file was set back to an older copy only a witness can tell.

    Example:  privsynth ledger verify policy.yaml --ledger sqlite:///ledger.db
    """
    looked = books.look()
    found, unapproved = looked.verify(), looked.standing().missing()
    books.screen.answer("ledger verify", {"verified": True, **asdict(found), **not_approved(unapproved)})
    books.screen.say(
        f"verified: ledger {found.ledger} is whole ({found.entries:,} entries, {found.attempts:,} attempts)"
    )
    books.screen.say(
        f"{found.populations:,} populations, {found.holds:,} holds; kept: {found.transcripts:,} transcripts, "
        f"{found.claims:,} verdicts"
    )
    tell_not_approved(books.screen, unapproved)


@on_books
def ledger_backup(
    books: Books,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup's file; a new one.")],
) -> None:
    """Copy a ledger while it is in use, and check the copy.

    Of a file it is another such file, of a database an export for inside. A file copied by other means can miss what
    was written last. The backup holds the secret keys of the populations:
    keep it as the ledger is kept. The ledger's own key file is not in it: back it up apart, once.

    Example:  privsynth ledger backup policy.yaml /backup/ledger-0711.db --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.care import backup

    found = backup(books.look(), file)
    books.screen.answer("ledger backup", {"backup": str(file), **asdict(found)})
    books.screen.say(f"backup: {file} ({found.entries:,} entries, {found.attempts:,} attempts, read whole)")


@on_books
def ledger_export(
    books: Books,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The export's file; a new one.")],
    inside: Annotated[
        bool, typer.Option("--inside", help="With attempts, secret keys and transcripts: a backup, never to show.")
    ] = False,
) -> None:
    """Write a ledger's entries and signed checkpoint as text.

    JSON lines: the entries of the main log, byte for byte as they were hashed, and the checkpoint that signs them. Any
    byte changed, any line taken out or moved is found by `ledger check`.

    Example:  privsynth ledger export policy.yaml ledger.jsonl --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.care import export

    export(books.look(), file, inside=inside)
    books.screen.answer("ledger export", {"export": str(file), "inside": inside})
    books.screen.say(f"export: {file}" + (" (it holds secret keys: keep it inside)" if inside else ""))


def ledger_check(
    file: Annotated[
        Path, typer.Argument(metavar="EXPORT", help="A file that `ledger export` wrote, or a saved model's folder.")
    ],
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A trust file whose key of role `ledger` must have signed it.")
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Check an export, or that a model was paid for.

    Of an export every line, under its signed checkpoint; of a model's folder that the hold in its receipt was sold, at
    these prices. Offline, without the ledger. Without --trust it shows that all fits together, not whose it is: the key
    is then the one that the file itself names. If the trust file also lists keys of role `policy`, two of their people
    must have signed for each restore in the log; if of role `witness`, one of them must have signed its checkpoint.

    Example:  privsynth ledger check ledger.jsonl --trust trust.json
    """
    from privsynth.ledger.answers import check_restores
    from privsynth.ledger.care import read
    from privsynth.ledger.evidence import cosigned_by, witnesses_of
    from privsynth.signing import load_trust

    screen = Screen(json_, quiet)
    if file.is_dir():
        _check_model(screen, file, trust)
        return
    found = read(file, key=None if trust is None else _trusted(trust))
    signed = {} if trust is None else check_restores(found.main, load_trust(trust))
    witnesses = None if trust is None else witnesses_of(load_trust(trust))
    seen = None if witnesses is None else cosigned_by(found.note, witnesses, where=str(file))
    told = {"entries": len(found.main), "attempts": len(found.attempts), "key": found.key.hex(), "restores": signed}
    told |= _witnessed(seen)
    screen.answer("ledger check", {"whole": True, "ledger": found.balance.ledger, **told, "trusted": trust is not None})
    screen.say(f"whole: ledger {found.balance.ledger}, {len(found.main):,} entries, key {found.key.hex()[:16]}…")
    _tell_witnessed(screen, seen)
    for place, people in signed.items():
        screen.say(f"entry {place}: restored, and answered for by {join(people)}")


def _check_model(screen: Screen, folder: Path, trust: Path | None) -> None:
    from privsynth.ledger.evidence import check_model_folder, witnesses_of
    from privsynth.signing import load_trust

    witnesses = None if trust is None else witnesses_of(load_trust(trust))
    found = check_model_folder(folder, keys=[] if trust is None else [_trusted(trust)], witnesses=witnesses)
    told = {"hold": found.reserve.body["hold"], "entry": found.reserve.seq, "key": found.key.hex()}
    told |= _witnessed(found.witness)
    log = found.checkpoint.origin
    screen.answer("ledger check", {"sold": True, "log": log, **told, "trusted": trust is not None})
    screen.say(f"sold: hold {told['hold']}, entry {told['entry']} of {log}, key {told['key'][:16]}…")
    _tell_witnessed(screen, found.witness)


def _witnessed(seen: Cosigned | None) -> dict[str, Any]:
    return {} if seen is None else {"witness": seen.name, "witnessed": _utc(seen.seconds)}


def _tell_witnessed(screen: Screen, seen: Cosigned | None) -> None:
    if seen is not None:
        screen.say(f"witnessed: {seen.name}, {_utc(seen.seconds)} by its clock")


def _utc(seconds: int) -> str:
    """A time since 1970 as ISO 8601; as it is where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"


@on_books
def ledger_checkpoint(books: Books) -> None:
    """Print the ledger's signed checkpoint: how long it is now.

    A note in the form of C2SP's tlog-checkpoint. Whoever keeps one can convict a ledger that was set back or changed.
    With --json it also gives the ledger's key as a trust file lists it, of role `ledger`.

    Example:  privsynth ledger checkpoint policy.yaml --ledger sqlite:///ledger.db
    """
    from privsynth.ledger.care import checkpoint

    opened = books.look()
    note = checkpoint(opened)
    key_ = opened.seal.key()
    trusted = plain(key_.public(name=f"ledger {opened.id}", roles=("ledger",)))
    books.screen.answer("ledger checkpoint", {"checkpoint": note, "key": key_.raw_public.hex(), "trust": trusted})
    books.screen.say(note.rstrip("\n"))


@on_books
def ledger_migrate(books: Books) -> None:
    """Bring a ledger of an earlier version to this one's form.

    Once and for good: earlier versions read it no more. No entry is changed; its key file is made beside it. A ledger
    that is of this form already stays as it is.

    Example:  privsynth ledger migrate policy.yaml --ledger sqlite:///ledger.db
    """
    from privsynth.errors import StorageError
    from privsynth.ledger.store import is_there, seal_of, store_at, watched_by

    home = store_at(books.url)
    if not is_there(home, watched_by(books.witness, books.rules), seal_of(home, books.key)):
        raise StorageError("no such ledger", where=home.where, mend="check the path; `privsynth run` makes it")
    found = books.open().verify()
    books.screen.answer("ledger migrate", {"verified": True, **asdict(found)})
    books.screen.say(f"of this version's form, and whole: {home.where} ({found.entries:,} entries)")


def ledger_witness(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The witness's file; made empty by its owner, once.")],
    verb: Annotated[
        str, typer.Argument(metavar="VERB", help="What is asked: `head`, `accept` (from standard input), or `key`.")
    ],
    log: Annotated[str, typer.Argument(metavar="LOG", help="Of which log: `main` or `attempts`.")] = "main",
    key: Annotated[
        Path | None, typer.Option(metavar="KEY", help="The witness's own key, of role witness: it signs what it took.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Under which name it signs, for example st-anna.example/witness.")
    ] = None,
    passphrase_file: PASSPHRASE = None,
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With `key`: a trust file with the ledger's key, for ever the only one."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Answer as a witness, from this account's own file.

    For another account than the ledger's, so that whoever can write to the ledger cannot make it forget. It takes only
    checkpoints that extend the one that it holds. Beside FILE lies FILE.attempts.

    With --key and --name it signs each checkpoint that it takes (C2SP's tlog-cosignature), for one ledger only, and
    notes beside the key what it signed: it ends where its file holds less. The verb `key` prints what a policy names as
    `witness key`, and with --json the entry for a trust file. With --trust it also notes, for ever, the ledger's key:
    what that one has not signed is not taken from then on.

    Example:  privsynth ledger witness /srv/witness/hospital head main --key witness.key --name st-anna.example/witness
    """
    from privsynth.ledger.witness import understood_question
    from privsynth.ledger.witness_file import FileWitness

    screen, memory = Screen(json_, quiet), FileWitness(file.absolute(), marked=True)
    if verb not in ("head", "accept", "key") or log not in ("main", "attempts"):
        raise UsageError("a witness is asked for `head`, `accept` or `key`, of `main` or `attempts`", where="witness")
    of: LogName = "main" if log == "main" else "attempts"
    keyed = None if key is None and name is None else _keyed(memory, key, name, passphrase_file)
    if verb == "key":
        if keyed is None:
            raise UsageError("a witness without a key", where="witness", mend="give --key KEY and --name NAME")
        if trust is not None:
            keyed.pin(_trusted(trust))
        screen.answer("ledger witness", {"witness key": keyed.cosigner.line, "trust": plain(keyed.trusted)})
        screen.say(keyed.cosigner.line)
        return
    own: Witness = memory if keyed is None else keyed
    if verb == "accept":
        note, old, proof = understood_question(sys.stdin.read())
        line = own.accept(of, note, old=old, proof=proof)
        screen.answer("ledger witness", {"accepted": True, **({"cosignature": line} if line else {})})
        if line:
            screen.say(line.rstrip("\n"))
        return
    held = own.head(of)
    screen.answer("ledger witness", {"head": held})
    if held is not None:
        screen.say(held.rstrip("\n"))


def _keyed(memory: FileWitness, key: Path | None, name: str | None, passphrase_file: Path | None) -> KeyedWitness:
    from privsynth.ledger.witness_key import KeyedWitness
    from privsynth.signing import load_key

    if key is None or name is None:
        raise UsageError("a key without a name, or a name without a key", where="witness", mend="give both, or neither")
    signing = load_key(key, passphrase=passphrase_in(passphrase_file))
    return KeyedWitness(memory, signing, key.absolute(), name)


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
    "reserve": ledger_reserve,
    "verify": ledger_verify,
    "backup": ledger_backup,
    "restore": ledger_restore,
    "export": ledger_export,
    "check": ledger_check,
    "import": ledger_import,
    "answer": ledger_answer,
    "checkpoint": ledger_checkpoint,
    "migrate": ledger_migrate,
    "witness": ledger_witness,
}
