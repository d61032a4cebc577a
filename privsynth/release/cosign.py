"""Another person signs a release: one signature more over the same statement, offline, on any machine.

Who signs answers for all that the statement says. So everything that a receiver checks must hold before, but for the
number of people who have signed; and nothing in the bundle changes but the envelope.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from dataclasses import replace
from pathlib import Path

from privsynth.errors import BundleError, KeyFileError, StorageError, UsageError
from privsynth.release.manifest import read_file
from privsynth.release.predicate import ROLE, STATEMENT
from privsynth.release.verify import Verified, checked
from privsynth.signing import MAX_ENVELOPE, SigningKey, Trust, TrustedKey, load_key, load_trust, same_person
from privsynth.signing import add_signature as signed_by
from privsynth.signing.files import sync


def add_signature(
    folder: str | Path,
    key_path: str | Path,
    *,
    passphrase: bytes | None = None,
    trust: str | Path | None = None,
    now: dt.datetime | None = None,
) -> Verified:
    """Sign the bundle in ``folder`` beside those who have signed it.

    Args:
        key_path: a key file of whoever signs now; ``passphrase`` opens it.
        trust: of its receivers, as of :func:`privsynth.release.verify.verify`; it must list this key for releases.
        now: with a time zone; the clock's if None.

    Returns:
        What a receiver finds, with all ``signers``; where they are fewer than ``people``, more must sign.

    Raises:
        BundleError: the release does not verify, or this key, or another one of the same person, has signed it.
        KeyFileError: a key that cannot be used, or whose signature would not count.
        StorageError: the envelope cannot be written; then it is as it was.
    """
    now = now or dt.datetime.now(dt.UTC)
    if now.tzinfo is None:
        raise UsageError("`now` has no time zone", where="sign", mend="datetime.now(timezone.utc)")
    place = Path(folder) / STATEMENT
    before = read_file(place, limit=MAX_ENVELOPE)
    found = checked(folder, trust=trust, now=now, lacking=before)
    key = load_key(key_path, passphrase=passphrase)
    own = _listed(load_trust(found.trust), key, now=now, where=str(key_path))
    raw = signed_by(before, key, where=str(place))
    if any(same_person(own.name, signer) for signer in found.signers):
        raise BundleError(
            f"{own.name!a} has signed it already, with another key: two keys of one person count once",
            where=str(place),
            mend="another person signs",
        )
    _replace(place, raw)
    return replace(found, signers=tuple(sorted({*found.signers, own.name})))


def _listed(trust: Trust, key: SigningKey, *, now: dt.datetime, where: str) -> TrustedKey:
    """The key as the trust file lists it: one that is not listed would make the whole release fail."""
    own = next((listed for listed in trust.keys if listed.keyid == key.keyid), None)
    if own is None or ROLE not in own.roles:
        raise KeyFileError(
            f"the trust file does not list this key for {ROLE!r}",
            where=where,
            mend="add its entry (`privsynth keys new` wrote it) to the trust file, and give that to the receivers",
        )
    if own.expired(now):
        raise KeyFileError("the trust file says that this key has expired", where=where, mend="sign with a current key")
    return own


def _replace(place: Path, raw: bytes) -> None:
    """Write the envelope in the place of the one that is there, whole or not at all; the draft lies beside the bundle,
    where no file would be one too many."""
    home = place.parent.resolve()
    draft = home.with_name(f".{home.name}.{secrets.token_hex(8)}.partial")
    try:
        with draft.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(place.stat().st_mode & 0o777)
        draft.replace(place)
        sync(place.parent)
    except OSError as fault:
        raise StorageError(
            f"the signature cannot be written ({fault.strerror})",
            where=str(place),
            mend="copy the release to your disk",
        ) from None
    finally:
        draft.unlink(missing_ok=True)
