"""What one person signs with one key, as a small file in a folder: her approval, her answer.

Whose key it is says the trust file; the statement names its person too, and both must agree.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import pydantic

from privsynth.documents import Strict, canonical, read_bytes
from privsynth.errors import BundleError, StorageError
from privsynth.signing.envelope import MAX_ENVELOPE, parse_canonical, sign_envelope, verify_envelope
from privsynth.signing.files import shaped, write_new
from privsynth.signing.keys import SigningKey
from privsynth.signing.people import same_person
from privsynth.signing.trust import Trust

MOST_STATEMENTS = 1000
"""So many files of a folder are looked at."""
AHEAD = dt.timedelta(days=1)
"""How far a day may lie ahead: people sign in other time zones, with clocks of their own."""


class Personal(Strict):
    """What every such statement says: who signs it, on which day (ISO 8601)."""

    person: Annotated[str, pydantic.Field(max_length=256)]
    on: Annotated[str, pydantic.Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


S = TypeVar("S", bound=Personal)


@dataclass(frozen=True)
class Heard(Generic[S]):
    """A statement that its person signed.

    Attributes:
        said: what it says.
        person: by her name in the trust file.
        keyid: of the key that she signed with.
        raw: the signed envelope.
        on: the day that she wrote.
    """

    said: S
    person: str
    keyid: str
    raw: bytes
    on: dt.date


def say(said: dict[str, Any], folder: Path, name: str, key: SigningKey, *, payload_type: str, there: str) -> Path:
    """Sign a statement, as JSON values, and put it into ``folder``, as :func:`keep` does."""
    return keep(sign_envelope(payload_type, canonical(said), key), folder, name, there=there)


def keep(raw: bytes, folder: Path, name: str, *, there: str) -> Path:
    """Write a file that was not there into a folder, which is made where it is not there.

    Args:
        there: what is told where the file is there already.

    Raises:
        StorageError: it is there, or the folder cannot be written.
    """
    path = folder / name
    if folder.exists() and not folder.is_dir():
        raise StorageError("not a folder", where=str(folder), mend="name another place: a new folder is made there")
    if path.exists():
        raise StorageError(there, where=str(path), mend="nothing is to be done; another person has a key of her own")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise StorageError(f"cannot be written ({fault.strerror})", where=str(folder), mend="check the path") from None
    write_new(path, raw, mode=0o644)
    return path


def hear(
    path: Path, form: type[S], *, trust: Trust, role: str, payload_type: str, kind: str, now: dt.datetime, mend: str
) -> Heard[S]:
    """What the file says, signed by one person alone, whatever the trust file's own threshold.

    Args:
        form: of the statement.
        trust, role: whose keys count.
        kind: what the file is, for messages.
        now: with a time zone; expired keys do not count.
        mend: what to do about one that does not count.

    Raises:
        BundleError: it does not count.
    """
    where = str(path)
    raw = read_bytes(path, error=BundleError, kind=kind, limit=MAX_ENVELOPE)
    anyone = Trust.of(*trust.keys)
    opened = verify_envelope(raw, anyone, payload_type=payload_type, role=role, now=now, where=where)
    said = shaped(form, parse_canonical(opened.payload, where=where), error=BundleError, where=where, mend=mend)
    if len(opened.signers) != 1 or not same_person(opened.signers[0], said.person):
        raise BundleError(
            f"the trust file knows the key under another name than the {kind} says", where=where, mend=mend
        )
    try:
        on = dt.date.fromisoformat(said.on)
    except ValueError:
        raise BundleError("there is no such day as it is dated", where=where, mend=mend) from None
    if on > (now + AHEAD).date():
        raise BundleError("of a day that is still to come", where=where, mend=mend)
    return Heard(said, opened.signers[0], opened.keyids[0], raw, on)
