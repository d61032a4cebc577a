"""A witness: someone else who remembers how long the ledger was.

An older copy of a ledger is a good ledger of an earlier day, with budget that was since spent; nothing in the
file can show it. So after every writing transaction the new checkpoints go to a witness, which takes only what
extends what it took before, and before a ledger is opened it must extend what its witness holds. Use a witness
that whoever may write to the ledger cannot write to: a file of another account, a command that runs as one, a
server. Both logs are witnessed, each by itself; the second one's checkpoints never leave the house either.

What a witness is asked is the text of C2SP's tlog-witness: ``old SIZE``, the proof of consistency in base64, one
hash a line, a blank line, the checkpoint. One that has a key of its own answers with its cosignature, and a policy can
name that key: then no other witness will do.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from privsynth.errors import IntegrityError, LedgerError, StorageError, UsageError
from privsynth.ledger.address import shown, unprintable
from privsynth.ledger.checkpoint import Checkpoint, introducing
from privsynth.ledger.entry import LogName
from privsynth.ledger.log import LOGS, Session
from privsynth.ledger.merkle import extends
from privsynth.policy.ledger_asks import COSIGNED
from privsynth.signing import Cosigner
from privsynth.signing.note import note_lines

TIMEOUT = 30.0  # seconds
MOST = 64 * 1024
_TRIES = 50
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
WRITTEN = "what was written stays written: ask again, with the same request id, when the witness answers"

_BEHIND = "put the newest file back in its place; if it is lost, `privsynth ledger restore` books the gap"
_RESTORED = (
    "a restored ledger whose gap is booked takes a new witness, with nothing in it; if this is that one: " + _BEHIND
)


class Witness(Protocol):
    """Who remembers the newest checkpoint of each log of one ledger."""

    def head(self, log: LogName) -> str | None:
        """The newest checkpoint that was taken, as a signed note, with the witness's cosignature if it has a key; None
        before the first.

        Raises:
            StorageError: it cannot be asked.
        """
        ...

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """Take a newer checkpoint, or the newest once more, durably; ``proof`` shows that it extends the one of size
        ``old``, the newest.

        Returns:
            The witness's signature line; empty where it has no key.

        Raises:
            LedgerError: it does not extend the newest one.
            StorageError: it cannot be asked, or could not keep it.
        """
        ...


def show(
    witness: Witness,
    reading: Callable[[], AbstractContextManager[Session]],
    cosigner: Cosigner | None = None,
    *,
    least: Mapping[LogName, Checkpoint] | None = None,
) -> str:
    """Bring a witness up to what the ledger holds.

    Args:
        witness: who is asked first what it holds, so that a ledger read later is never shorter by chance.
        reading: begins a session.
        cosigner: who must sign that it holds it; None: nobody.
        least: of each log, what was just written or read: it must still be there, so that the witness takes that too.

    Returns:
        The main log's checkpoint as the witness has it, signed by the ledger, and by ``cosigner`` if one is given.

    Raises:
        LedgerError: the witness holds more than the ledger, or other entries, or not what it held a moment ago: it was
            set back or changed. Or it does not sign as ``cosigner`` (PS-LED-002).
        StorageError: the witness does not answer.
    """
    notes = {log: _shown(witness, log, reading, cosigner, (least or {}).get(log)) for log in LOGS}
    return notes["main"]


def _shown(
    witness: Witness,
    log: LogName,
    reading: Callable[[], AbstractContextManager[Session]],
    cosigner: Cosigner | None,
    least: Checkpoint | None,
) -> str:
    seen = witness.head(log)
    for _ in range(_TRIES):
        with reading() as session:
            old, note, proof = _step(session, log, seen)
            asked = note if seen is not None else introducing(note, session.public)
            _still_there(session, log, least)
        if seen is not None and old == Checkpoint.parse(note).size and (cosigner is None or _has(cosigner, seen)):
            return note if cosigner is None else note + _line(cosigner, seen)
        try:
            said = witness.accept(log, asked, old=old, proof=proof)
        except LedgerError:
            before, seen = seen, witness.head(log)
            if _text(seen) == _text(before):
                raise
            continue
        return note if cosigner is None else note + _line(cosigner, note + (said or ""))
    raise StorageError("the witness is never free", where=f"the {log} log", mend=WRITTEN)


def remembered(witness: Witness, log: LogName, cosigner: Cosigner | None = None) -> str | None:
    """What a witness holds of a log that may be gone, signed by ``cosigner`` if one is given.

    Raises:
        LedgerError: it does not sign as ``cosigner`` (PS-LED-002).
        StorageError: it does not answer.
    """
    note = witness.head(log)
    if note is None or cosigner is None:
        return note
    if not _has(cosigner, note):
        note += witness.accept(log, note, old=Checkpoint.parse(note).size, proof=())
    _line(cosigner, note)
    return note


def _line(cosigner: Cosigner, note: str) -> str:
    """The line by which ``cosigner`` signed a note.

    Raises:
        LedgerError: it did not (PS-LED-002).
    """
    try:
        return cosigner.cosigned(note, where="witness").line
    except IntegrityError as fault:
        raise unsigned(cosigner, fault.what) from None


def unsigned(cosigner: Cosigner, why: str) -> LedgerError:
    """PS-LED-002: nobody shows that the witness which the policy names remembers the ledger."""
    return LedgerError(
        f"{COSIGNED}: the policy names the witness {cosigner.name}, which has not signed how long the ledger is: {why}",
        where="witness",
        mend="name the witness that has this key (docs/witness.md); another one takes a changed policy",
    )


def _has(cosigner: Cosigner, note: str) -> bool:
    try:
        return bool(cosigner.cosigned(note, where="witness"))
    except IntegrityError:
        return False


def _text(note: str | None) -> str:
    return (note or "").partition("\n\n")[0]


def _still_there(session: Session, log: LogName, least: Checkpoint | None) -> None:
    now = session.checkpoint(log)
    if least is None or least == now:
        return
    proof = session.consistency(least.size, log) if least.size <= now.size else ()
    if not extends(now.root, now.size, old_root=least.root, old=least.size, proof=proof):
        raise LedgerError(
            f"the ledger was set back or changed while it was in use: its {log} log has {now.size} entries, and had "
            f"{least.size}",
            where="ledger",
            mend=_BEHIND,
        )


def _step(session: Session, log: LogName, seen: str | None) -> tuple[int, str, tuple[bytes, ...]]:
    """What to ask the witness that holds ``seen``: old size, note and proof."""
    now = session.checkpoint(log)
    if seen is None:
        return 0, session.signed(now), ()
    held = Checkpoint.parse(seen, where="witness")
    if held.origin != now.origin:
        raise LedgerError(
            f"the witness remembers another ledger: {held.origin}, not {now.origin}",
            where="witness",
            mend="put the ledger of which it knows back in its place; a new ledger takes a new witness",
        )
    Checkpoint.read(seen, origin=now.origin, public=session.public, where="witness")
    proof = session.consistency(held.size, log) if held.size <= now.size else ()
    if not extends(now.root, now.size, old_root=held.root, old=held.size, proof=proof):
        raise LedgerError(
            f"the ledger was set back or changed: its {log} log has {now.size} entries, and the witness remembers "
            + (f"{held.size}" if held.size > now.size else f"other entries among the first {held.size}"),
            where="witness",
            mend=_RESTORED if session.balance().lost else _BEHIND,
        )
    return held.size, session.signed(now), proof


def check_step(held: str | None, note: str, *, old: int, proof: Sequence[bytes]) -> bool:
    """What every witness must check before it takes ``note``; whether it is new at all.

    Raises:
        LedgerError: another log, a smaller one, or not an extension of what is held.
    """
    after = Checkpoint.parse(note, where="witness")
    if held is None:
        fits = old == 0 and not proof
    else:
        before = Checkpoint.parse(held, where="witness")
        same = before.origin == after.origin and old == before.size
        fits = same and extends(after.root, after.size, old_root=before.root, old=before.size, proof=proof)
    if not fits:
        raise LedgerError(
            "the witness refuses: the checkpoint does not extend the one that it holds",
            where="witness",
            mend="if another process wrote meanwhile, ask again; else the ledger was set back or changed",
        )
    return held is None or Checkpoint.parse(held).size < after.size


def question(note: str, *, old: int, proof: Sequence[bytes]) -> str:
    """What a witness is asked, as text."""
    return "".join(f"{line}\n" for line in (f"old {old}", *(b64encode(step).decode() for step in proof), "")) + note


def understood_question(text: str) -> tuple[str, int, tuple[bytes, ...]]:
    """(note, old size, proof) of what :func:`question` wrote.

    Raises:
        UsageError: something else.
    """
    asked, gap, note = text.partition("\n\n")
    first, *steps = asked.split("\n")
    word, _, size = first.partition(" ")
    try:
        proof = tuple(b64decode(step, validate=True) for step in steps)
        note_lines(note, where="witness")
    except (ValueError, IntegrityError):
        proof = (b"",)
    if word != "old" or not gap or not _SIZE.fullmatch(size) or any(len(step) != 32 for step in proof):
        raise UsageError("not a question to a witness", where="witness", mend="old SIZE, proof, blank line, checkpoint")
    return note, int(size), proof


@dataclass(frozen=True)
class CommandWitness:
    """A command: ``argv head LOG`` prints the note; ``argv accept LOG`` reads the question, prints its signature line
    if it has a key, and ends with 0.

    For example ``sudo -u witness privsynth ledger witness /srv/witness/hospital``.
    """

    argv: tuple[str, ...] = field(repr=False)

    @property
    def where(self) -> str:
        """For messages: its program."""
        return shown(f"cmd:{shlex.quote(self.argv[0])}")

    def head(self, log: LogName) -> str | None:
        """See :meth:`Witness.head`."""
        code, out = self._run("head", log)
        if code:
            raise StorageError(f"the witness's command ended with {code}", where=self.where, mend=WRITTEN)
        return out or None

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """See :meth:`Witness.accept`."""
        code, said = self._run("accept", log, question(note, old=old, proof=proof))
        if code:
            raise LedgerError(
                f"the witness refuses: its command ended with {code}", where=self.where, mend="see its own messages"
            )
        return said

    def _run(self, verb: str, log: LogName, said: str = "") -> tuple[int, str]:
        try:
            ran = subprocess.run(
                [*self.argv, verb, log], input=said.encode(), stdout=subprocess.PIPE, timeout=TIMEOUT, check=False
            )
            return ran.returncode, ran.stdout[:MOST].decode()
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as fault:
            what = f"the witness's command does not answer ({type(fault).__name__})"
            raise StorageError(what, where=self.where, mend=WRITTEN) from None


def witness_at(url: str) -> Witness:
    """The witness at ``file:/path``, ``cmd:program argument ...`` or ``https://...``.

    Raises:
        UsageError: another address, http to another machine, or a web address with a user or password. It is not told.
    """
    from privsynth.ledger.witness_file import FileWitness
    from privsynth.ledger.witness_http import HttpWitness

    kind, _, rest = url.partition(":") if isinstance(url, str) and not unprintable(url) else ("", "", "")
    try:
        match kind:
            case "file" if rest and not rest.startswith("//"):
                return FileWitness(Path(rest).absolute())
            case "cmd" if argv := tuple(shlex.split(rest)):
                return CommandWitness(argv)
            case "https" if _host(url):
                return HttpWitness(url)
            case "http" if _host(url) in _LOOPBACK:
                return HttpWitness(url)
    except ValueError:
        pass
    raise UsageError(
        "not the address of a witness",
        where="witness",
        mend="use file:/path, cmd:program arguments, or https://host/path (http on this machine only)",
    )


def _host(url: str) -> str | None:
    """The host of a web address; None where there is none, or what could not be asked: a user, a blank, an odd port."""
    split = urlsplit(url)
    _ = split.port  # a ValueError where it is none
    return None if "@" in split.netloc or " " in url else split.hostname
