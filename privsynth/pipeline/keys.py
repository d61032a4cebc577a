"""A signing key and the trust file that verifiers need, made together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from privsynth.errors import PrivsynthError, StorageError
from privsynth.pipeline.places import check_file, first_line
from privsynth.signing import Trust, new_key, write_trust


@dataclass(frozen=True)
class Pair:
    """The two files, the key's id, and its public part on one line."""

    key: Path
    trust: Path
    keyid: str
    public: str


def make_keys(
    path: Path,
    *,
    name: str,
    trust: Path | None = None,
    passphrase_file: Path | None = None,
    roles: tuple[str, ...] = ("release",),
) -> Pair:
    """Draw an Ed25519 key into ``path`` (or ``release.key`` in it, where it is a folder) and write its trust file.

    Args:
        name: who holds the key; shown to verifiers.
        trust: the trust file; by default trust.json beside the key.
        passphrase_file: encrypts the key by its first line.
        roles: what the key may sign: ``release``, ``policy``, ``witness``.

    Raises:
        StorageError: one of the two files is there already or cannot be written; then neither is left.
        KeyFileError: an empty passphrase, or a name that a trust file cannot hold.
    """
    key = path / "release.key" if path.is_dir() else path
    beside = key.with_name("trust.json") if trust is None else trust
    if os.path.lexists(beside):
        raise StorageError("the trust file exists", where=str(beside), mend="name another with --trust")
    check_file(beside)
    passphrase = None if passphrase_file is None else first_line(passphrase_file)
    public = new_key(key, name=name, passphrase=passphrase, roles=roles)
    try:
        write_trust(beside, Trust.of(public))
    except PrivsynthError:
        key.unlink()
        raise
    return Pair(key, beside, public.keyid, public.line)
