"""Whose signatures count: trust.json, which the receiver holds apart from any bundle."""

from __future__ import annotations

import datetime as dt
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pydantic
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # re-exported without __all__

from privsynth.documents import MAX_BYTES, Strict, plain
from privsynth.errors import BundleError, KeyFileError
from privsynth.signing.files import read_small, reason, shaped, write_new
from privsynth.signing.people import person_key

FORMAT = 1
MAX_PEOPLE = 16
KEY_LINE = r"ed25519:[A-Za-z0-9+/]{43}="
"""A public key on one line, as policies name it: base64 of its 32 bytes."""

WITNESS_ROLE = "witness"
"""The role of a key that cosigns checkpoints; its name in a trust file is the one under which it does."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_MEND = "see docs/verify.md for the form"


def _day(value: Any) -> Any:
    if value is None or isinstance(value, dt.date) or (isinstance(value, str) and _DAY.match(value)):
        return value
    raise ValueError("write the day as 2027-12-31, or null")


class TrustedKey(Strict):
    """The public part of a key, whose it is, what it may sign, and until which day (UTC, included)."""

    keyid: str
    name: Annotated[str, pydantic.Field(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
    public: str
    roles: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] = ("release",)
    expires: Annotated[dt.date | None, pydantic.BeforeValidator(_day)] = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> TrustedKey:
        if self.keyid != self.verifier().keyid:
            raise ValueError("`keyid` is not the id of `public`")
        if WITNESS_ROLE in self.roles and re.search(r"[\s+]", self.name):
            raise ValueError("the name of a witness has no blanks and no plus signs")
        return self

    def verifier(self) -> SSlibKey:
        """The key in the form that checks signatures."""
        try:
            key = serialization.load_pem_public_key(self.public.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("`public` is not a public key in PEM form") from None
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("`public` is not an Ed25519 key")
        return SSlibKey.from_crypto(key)

    @property
    def raw_public(self) -> bytes:
        """The 32 bytes of the public key."""
        return bytes.fromhex(self.verifier().keyval["public"])

    @property
    def line(self) -> str:
        """The public key on one line."""
        return f"ed25519:{b64encode(self.raw_public).decode()}"

    @classmethod
    def of_line(cls, line: str, *, name: str, roles: tuple[str, ...]) -> TrustedKey:
        """The key that :attr:`line` wrote.

        Raises:
            KeyFileError: not a public key on one line.
        """
        mend = "write it as `privsynth keys new` prints it: ed25519: and 44 characters"
        raw = b64decode(line.partition(":")[2]) if re.fullmatch(KEY_LINE, line) else b""
        if not raw or f"ed25519:{b64encode(raw).decode()}" != line:
            raise KeyFileError("not an Ed25519 public key on one line", where="key", mend=mend)
        return cls.of_raw(raw, name=name, roles=roles)

    @classmethod
    def of_raw(cls, raw: bytes, *, name: str, roles: tuple[str, ...], expires: dt.date | None = None) -> TrustedKey:
        """The key of these 32 bytes.

        Raises:
            KeyFileError: a name or role that a trust file cannot hold.
        """
        key = Ed25519PublicKey.from_public_bytes(raw)
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        keyid = SSlibKey.from_crypto(key).keyid
        value = {"keyid": keyid, "name": name, "public": pem, "roles": roles, "expires": expires}
        return shaped(cls, value, error=KeyFileError, where="key", mend="name the person who holds the key")

    def expired(self, now: dt.datetime) -> bool:
        """Whether its last day is over."""
        return self.expires is not None and now.astimezone(dt.UTC).date() > self.expires


class Trust(Strict):
    """Whose signatures count: ``threshold`` people, distinct by :func:`person_key`, each with a key of the role."""

    format: Annotated[pydantic.StrictInt, pydantic.Field(alias="privsynth-trust")]
    threshold: Annotated[pydantic.StrictInt, pydantic.Field(ge=1, le=MAX_PEOPLE)]
    keys: Annotated[tuple[TrustedKey, ...], pydantic.Field(min_length=1, max_length=1000)]

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Trust:
        if self.format != FORMAT:
            raise ValueError(f"trust format {self.format} is not known; this version reads {FORMAT}")
        if len({key.keyid for key in self.keys}) != len(self.keys):
            raise ValueError("a key is listed twice")
        if len({person_key(key.name) for key in self.keys}) < self.threshold:
            raise ValueError("`threshold` is above the number of people listed, so nothing could ever verify")
        return self

    @classmethod
    def of(cls, *keys: TrustedKey, threshold: int = 1) -> Trust:
        """Trust in ``keys``."""
        return cls(format=FORMAT, threshold=threshold, keys=keys)


def load_trust(path: str | Path) -> Trust:
    """Read a trust file.

    Raises:
        BundleError: there is none, so nothing can be verified.
        KeyFileError: it does not say something loadable.
    """
    return shaped(Trust, _read(path), error=KeyFileError, where=str(path), mend=_MEND)


def load_entry(path: str | Path) -> Trust:
    """As :func:`load_trust`; also what `ledger checkpoint --json` and `ledger witness ... key --json` print, whose
    ``trust`` is one key.

    Raises:
        BundleError, KeyFileError: as :func:`load_trust`.
    """
    data = _read(path)
    entry = data.get("trust") if isinstance(data, dict) and "privsynth" in data else None
    if entry is None:
        return shaped(Trust, data, error=KeyFileError, where=str(path), mend=_MEND)
    return Trust.of(shaped(TrustedKey, entry, error=KeyFileError, where=str(path), mend=_MEND))


def merged_trust(parts: Iterable[Trust], *, threshold: int | None = None) -> Trust:
    """One trust in the keys of all, each key once, in order; of one that stands in several, all its roles.

    Args:
        threshold: how many people; at least as many as each part asks for, and by default the most of them.

    Raises:
        KeyFileError: a key stands under two names or last days; a lower threshold, or one that can never be met.
    """
    keys: dict[str, TrustedKey] = {}
    least = 1
    for part in parts:
        least = max(least, part.threshold)
        for key in part.keys:
            before = keys.get(key.keyid, key)
            if (before.name, before.expires) != (key.name, key.expires):
                raise KeyFileError(
                    f"the key {key.keyid[:16]} stands under two names or last days",
                    where="trust",
                    mend="ask its holder which is right, and leave the other file out",
                )
            keys[key.keyid] = key.model_copy(update={"roles": tuple(dict.fromkeys((*before.roles, *key.roles)))})
    if threshold is not None and threshold < least:
        raise KeyFileError(
            f"one of the files asks for {least} people, and {threshold} would be fewer",
            where="threshold",
            mend=f"{least} or more",
        )
    value = {"privsynth-trust": FORMAT, "threshold": threshold or least, "keys": [plain(key) for key in keys.values()]}
    return shaped(Trust, value, error=KeyFileError, where="trust", mend="fewer people, or more files")


def write_trust(path: str | Path, trust: Trust) -> None:
    """Write a new trust file, in a form that people can read.

    Raises:
        StorageError: it exists, or cannot be written.
    """
    value = {"privsynth-trust": FORMAT, "threshold": trust.threshold, "keys": [plain(key) for key in trust.keys]}
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_new(Path(path), text.encode(), mode=0o644)


def _read(path: str | Path) -> Any:
    try:
        raw, _ = read_small(Path(path), limit=MAX_BYTES)
    except (OSError, ValueError) as fault:
        raise BundleError(
            f"no trust file can be read ({reason(fault)}), so no signature can be trusted",
            where=str(path),
            mend="get trust.json from the sender by another way than the bundle, and name it with --trust",
        ) from None
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as fault:
        what = str(fault) if isinstance(fault, _Duplicate) else "not JSON in UTF-8"
        raise KeyFileError(what, where=str(path), mend=_MEND) from None


class _Duplicate(ValueError):
    """A key that stands twice in a JSON object."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _Duplicate("a key stands twice in one object")
    return out
