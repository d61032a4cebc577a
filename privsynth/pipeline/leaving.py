"""How a study's release leaves: as a folder, or sealed to the key that the policy names for its recipient."""

from __future__ import annotations

from pathlib import Path

from privsynth.pipeline.study import Study
from privsynth.release.signed import SignedRelease
from privsynth.signing import check_age


def check_leaving(study: Study) -> None:
    """Refuse, before any spending, a study whose release could not be sealed here.

    Raises:
        MissingExtra: its recipient has a key, and pyrage is not installed.
    """
    if study.sealed_to is not None:
        check_age()


def leave(study: Study, signed: SignedRelease, out: Path) -> None:
    """Write a release to ``out``, of :meth:`Study.leaves_at`.

    Raises:
        StorageError: it is there already, or cannot be written.
    """
    if study.seals:
        signed.seal(out)
    else:
        signed.write(out)
