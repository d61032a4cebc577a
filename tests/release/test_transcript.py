"""The transcript in a bundle: there if and only if the policy says so, and then of this very model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical, identity, sha256
from privsynth.errors import BundleError
from privsynth.release.verify import verify
from privsynth.signing import write_trust

TABLES = b"noisy tables"
RECIPE = {"kind": "marginals", "steps": 300}
TENSORS = {"file": "transcript.safetensors", "sha256": sha256(TABLES), "size": len(TABLES)}


def policy(word: str | None) -> dict[str, Any]:
    return {"id": "p", "version": "1", **({"release": {"transcript": word}} if word else {})}


def carried(world: Any, **changes: Any) -> dict[str, bytes]:
    told = {
        "model": "ab" * 32,
        "gated": True,
        "recipe": RECIPE,
        "receipt": world.receipt.to_json(),
        "tensors": TENSORS,
        **changes,
    }
    return {"transcript.json": canonical(told), "transcript.safetensors": TABLES}


def bundle(world: Any, folder: Path, transcript: Mapping[str, bytes], word: str | None) -> Path:
    asked = policy(word)
    receipt = replace(world.receipt, policy=identity(asked), recipe=identity(RECIPE))
    release = world.release(
        policy=asked,
        policy_sha256=identity(asked),
        receipt=receipt,
        synth=replace(world.synth, receipt=receipt),
        transcript=transcript,
    )
    folder.mkdir(exist_ok=True)
    write_trust(folder / "trust.json", world.trust)
    written: Path = release.sign(world.key_path).write(folder / "release")
    return written


def own(world: Any, word: str = "published") -> dict[str, bytes]:
    return carried(world, receipt=paid(world, word))


def paid(world: Any, word: str = "published") -> dict[str, Any]:
    """The receipt that :func:`bundle` signs."""
    told = replace(world.receipt, policy=identity(policy(word)), recipe=identity(RECIPE))
    return {**told.to_json()}


def test_what_the_policy_publishes_is_carried_and_found(world: Any, tmp_path: Path) -> None:
    written = bundle(world, tmp_path, own(world), "published")
    found = verify(written)
    assert found.transcript == written / "transcript"
    assert (written / "transcript" / "transcript.safetensors").read_bytes() == TABLES


@pytest.mark.parametrize("word", [None, "withheld"])
def test_what_it_withholds_is_not(world: Any, tmp_path: Path, word: str | None) -> None:
    assert verify(bundle(world, tmp_path, {}, word)).transcript is None
    with pytest.raises(BundleError, match="withheld"):
        bundle(world, tmp_path / "other", own(world), word)


def test_what_is_published_cannot_be_left_out_or_be_more(world: Any, tmp_path: Path) -> None:
    for files in ({}, {"transcript.json": b"{}"}, {**own(world), "rows.csv": b"1"}):
        with pytest.raises(BundleError, match="published"):
            bundle(world, tmp_path, files, "published")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "cd" * 32},
        {"receipt": {}},
        {"tensors": {**TENSORS, "sha256": "0" * 64}},
        {"tensors": {**TENSORS, "size": 1}},
        {"tensors": {**TENSORS, "file": "../data/table.csv"}},
    ],
    ids=str,
)
def test_a_signed_listing_of_another_model_is_refused(world: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    written = bundle(world, tmp_path, carried(world, **{"receipt": paid(world), **changes}), "published")
    with pytest.raises(BundleError, match="the transcript of another model"):
        verify(written)


@pytest.mark.parametrize("recipe", [{**RECIPE, "steps": 301}, {}, None, "12" * 32], ids=str)
def test_a_listing_of_another_recipe_than_was_paid_for_is_refused(world: Any, tmp_path: Path, recipe: object) -> None:
    written = bundle(world, tmp_path, carried(world, receipt=paid(world), recipe=recipe), "published")
    with pytest.raises(BundleError, match="recipe is not the receipt's"):
        verify(written)


@pytest.mark.parametrize("gated", [False, None, 1, "true"], ids=str)
def test_an_inside_file_is_no_part_of_a_release(world: Any, tmp_path: Path, gated: object) -> None:
    written = bundle(world, tmp_path, carried(world, receipt=paid(world), gated=gated), "published")
    with pytest.raises(BundleError, match="no gate has seen it"):
        verify(written)


def test_a_listing_that_is_no_canonical_json_is_refused(world: Any, tmp_path: Path) -> None:
    written = bundle(world, tmp_path, {**own(world), "transcript.json": b"{ }"}, "published")
    with pytest.raises(BundleError, match="not canonical"):
        verify(written)


def test_a_signer_who_adds_or_drops_it_against_the_policy_is_told(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that is signed and whole, but not what its own policy says."""
    for word, files in (("published", {}), ("withheld", own(world, "withheld"))):
        with monkeypatch.context() as patch:
            patch.setattr("privsynth.release.bundle.publishes_transcript", lambda _, files=files: bool(files))
            written = bundle(world, tmp_path / word, files, word)
        with pytest.raises(BundleError, match=f"the transcript is {word}"):
            verify(written)
