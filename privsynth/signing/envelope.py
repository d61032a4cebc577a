"""Signed envelopes: DSSE over Ed25519, in one canonical form and no other.

RFC 8785 JSON, canonical base64, signatures in order of their key ids, each by a known key, each
valid. So a change of any byte is found, also in a signature that the threshold would not need.

securesystemslib 1.6.0 signs and verifies. What its ``Envelope`` takes and we do not: url-safe base64,
unsigned extra fields in a signature, key ids that are not their key's hash, and signatures beyond the
threshold, which it never looks at.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

import pydantic
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError

from privsynth.documents import Strict, canonical, join
from privsynth.errors import BundleError, UsageError
from privsynth.signing.files import shaped
from privsynth.signing.keys import SigningKey
from privsynth.signing.people import person_key
from privsynth.signing.trust import MAX_PEOPLE, Trust

MAX_ENVELOPE = 4 * 1024 * 1024

_PAYLOAD_TYPE = re.compile(r"[a-z0-9][a-z0-9.+/-]{0,126}\Z")
_AGAIN = "get the bundle again from its sender"


class _Signature(Strict):
    keyid: str
    sig: str


class _Envelope(Strict):
    payload: str
    payloadType: str
    signatures: Annotated[tuple[_Signature, ...], pydantic.Field(min_length=1, max_length=MAX_PEOPLE)]


@dataclass(frozen=True)
class Opened:
    """What a verified envelope holds.

    Attributes:
        payload: the signed bytes.
        signers: names of the people whose signatures counted, sorted, each person once.
        keyids: the keys whose signatures counted, sorted.
    """

    payload: bytes = field(repr=False)
    signers: tuple[str, ...]
    keyids: tuple[str, ...] = ()


def sign_envelope(payload_type: str, payload: bytes, *keys: SigningKey) -> bytes:
    """``payload`` in a DSSE envelope signed by ``keys``: canonical bytes, the same every time.

    Raises:
        UsageError: no key, or a payload type beyond lower-case ASCII.
    """
    if not keys or not _PAYLOAD_TYPE.match(payload_type):
        raise UsageError("an envelope needs a key and a plain payload type", mend="for example application/json")
    envelope = Envelope(payload, payload_type, {})
    for key in sorted(keys, key=lambda key: key.keyid):
        envelope.sign(key.signer)
    return canonical(envelope.to_dict())


def add_signature(raw: bytes, key: SigningKey, *, where: str = "envelope") -> bytes:
    """An envelope with one signature more, over the same payload: the bytes that :func:`sign_envelope` gives of all its
    keys at once. The signatures that are there are not looked at: verify it first.

    Raises:
        BundleError: not an envelope, full, or signed by this key already.
    """
    data = parse_canonical(raw, where=where)
    form = shaped(_Envelope, data, error=BundleError, where=where, mend=_AGAIN)
    if key.keyid in {signature.keyid for signature in form.signatures}:
        raise BundleError("signed by this key already", where=where, mend="another person signs, with a key of theirs")
    if len(form.signatures) == MAX_PEOPLE:
        raise BundleError(f"signed {MAX_PEOPLE} times already", where=where, mend="no more signatures than that")
    try:
        envelope = Envelope.from_dict(data)
        envelope.sign(key.signer)
    except ValueError:
        raise _altered(where) from None
    envelope.signatures = {keyid: envelope.signatures[keyid] for keyid in sorted(envelope.signatures)}
    return canonical(envelope.to_dict())


def verify_envelope(
    raw: bytes, trust: Trust, *, payload_type: str, role: str, now: dt.datetime, where: str = "envelope"
) -> Opened:
    """Open an envelope if enough people whom ``trust`` names for ``role`` have signed it.

    Every signature must be by a known key and valid; expired keys and keys of other roles do not count.

    Args:
        now: with a time zone.

    Raises:
        BundleError: anything else.
    """
    if len(raw) > MAX_ENVELOPE:
        raise BundleError(f"larger than {MAX_ENVELOPE} bytes", where=where, mend=_AGAIN)
    data = parse_canonical(raw, where=where)
    form = shaped(_Envelope, data, error=BundleError, where=where, mend=_AGAIN)
    if form.payloadType != payload_type:
        raise BundleError(f"the payload is not of type {payload_type}", where=where, mend="check which file this is")
    ids = [signature.keyid for signature in form.signatures]
    known = {key.keyid: key for key in trust.keys}
    for keyid in ids:
        if keyid not in known:
            raise BundleError(
                f"signed by a key that the trust file does not list ({keyid[:8]!a})",
                where=where,
                mend="ask the sender for their trust file by another way; never take one from the bundle",
            )
    if ids != sorted(set(ids)):
        raise BundleError("signatures repeated or out of order", where=where, mend=_AGAIN)
    try:
        envelope = Envelope.from_dict(data)  # rewrites data in place, so its form was taken first
    except ValueError:
        raise _altered(where) from None
    if canonical(envelope.to_dict()) != raw:
        raise _altered(where)
    for keyid in ids:
        try:
            known[keyid].verifier().verify_signature(envelope.signatures[keyid], envelope.pae())
        except UnverifiedSignatureError:
            raise _altered(where) from None
    held = [known[keyid] for keyid in ids if role in known[keyid].roles]
    counted = [key for key in held if not key.expired(now)]
    signers = sorted({person_key(key.name): key.name for key in counted}.values())
    if len(signers) < trust.threshold:
        late = sorted({key.name for key in held if key.expired(now)})
        expired = f"; expired: the key of {join(late)}" if late else ""
        raise BundleError(
            f"signed by {len(signers)} of the {trust.threshold} people needed for {role!r}{expired}",
            where=where,
            mend="ask the sender to sign with a current key of every person needed",
        )
    return Opened(envelope.payload, tuple(signers), tuple(key.keyid for key in counted))


def _altered(where: str) -> BundleError:
    return BundleError("a signature does not fit the signed bytes", where=where, mend=_AGAIN)


def parse_canonical(raw: bytes, *, where: str) -> Any:
    """JSON values from bytes that are exactly their RFC 8785 form.

    Raises:
        BundleError: any other bytes.
    """
    try:
        value = json.loads(raw.decode("utf-8"))
        same = canonical(value) == raw
    except (ValueError, RecursionError, UsageError):
        same = False
    if not same:
        raise BundleError("not canonical JSON: empty, cut short or altered", where=where, mend=_AGAIN)
    return value
