"""The transcript as an artefact: what it says in names, that a refit needs nothing else, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privsynth.documents import canonical, sha256
from privsynth.errors import ModelError, PrivsynthError, SeededNoise, StorageError
from privsynth.generators.marginals import MarginalModel, load_transcript
from privsynth.generators.marginals import published as module
from privsynth.generators.marginals.published import LISTING, TABLES, PublishedTranscript
from privsynth.privacy.noise import SeededNoise as Seeded
from tests.world import World


@pytest.fixture
def folder(model: MarginalModel, tmp_path: Path) -> Path:
    """A transcript as its owner writes it."""
    return model.published().write(tmp_path / "transcript")


def test_a_refit_from_the_folder_is_the_model_to_the_bit(model: MarginalModel, folder: Path) -> None:
    found = load_transcript(folder)
    again = found.refit()
    assert again.tensors() == model.tensors()
    assert again.id == found.model == model.id
    assert again.sample(50, seed=3).frame.equals(model.sample(50, seed=3).frame)
    assert repr(found) == f"PublishedTranscript('lab/visits', {len(model.transcript.measurements)} tables, epsilon=3)"


def test_a_stranger_s_process_gets_the_same_model(model: MarginalModel, folder: Path) -> None:
    code = (
        "import sys, privsynth as ps; t = ps.load_transcript(sys.argv[1]); m = t.refit(); assert m.id == t.model;"
        "print(len(m.sample(7, seed=1)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


def test_the_listing_says_in_names_what_the_tensors_are(model: MarginalModel, folder: Path) -> None:
    from safetensors.numpy import load

    raw = (folder / LISTING).read_bytes()
    told, tensors = json.loads(raw), load((folder / TABLES).read_bytes())
    assert canonical(told) == raw
    assert {p.name for p in folder.iterdir()} == {LISTING, TABLES}
    assert told["gated"] is False
    assert json.loads(model.published().files(gated=True)[LISTING]) == {**told, "gated": True}
    assert told["receipt"] == json.loads(canonical(model.receipt.to_json()))
    assert told["recipe"] == json.loads(canonical(model.recipe))
    assert told["tensors"] == {
        "file": TABLES, "sha256": sha256((folder / TABLES).read_bytes()), "size": (folder / TABLES).stat().st_size
    }  # fmt: skip
    assert [c["name"] for c in told["columns"]] == [c.name for c in model.codec.columns]
    spent = 0.0
    measured = (*model.transcript.domains, *model.transcript.measurements)
    for entry, m in zip(told["measurements"], measured, strict=True):
        assert entry["columns"] == [model.codec.columns[c].name for c in m.clique]
        assert (entry["stage"], entry["sigma"], entry["groups"]) == (m.stage, m.sigma, list(m.counts.shape))
        assert (tensors[entry["tensor"]] == m.counts).all()
        for name, g in zip(entry["maps"], m.groups, strict=True):
            assert (name is None) == (g is None)
            assert g is None or (tensors[name] == g).all()
        spent += (entry["contribution"] / entry["sigma"]) ** 2
        assert entry["mu squared"] == pytest.approx((entry["contribution"] / entry["sigma"]) ** 2)
    assert told["mu squared"] == pytest.approx(spent)


def test_noise_that_anyone_can_subtract_is_not_published(world: World, tmp_path: Path) -> None:
    model = world.recipe.fit(world.split.train, world.hold(), noise=Seeded(3))
    with pytest.raises(SeededNoise):
        model.published().write(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_writing_is_whole_or_not(model: MarginalModel, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="exists already"):
        model.published().write(folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        model.published().write(tmp_path / "file" / "t")
    assert {p.name for p in tmp_path.iterdir()} == {"transcript", "file"}


# --- what is refused -------------------------------------------------------------------------------


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change the listing and write it in canonical form."""

    def spoil(folder: Path) -> None:
        told = json.loads((folder / LISTING).read_bytes())
        change(told)
        (folder / LISTING).write_bytes(canonical(told))

    return spoil


def raw(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the bytes of a file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def flip(data: bytes) -> bytes:
    """One bit of the last count."""
    return data[:-1] + bytes([data[-1] ^ 1])


SPOILT: dict[str, Callable[[Path], object]] = {
    "no listing": lambda f: (f / LISTING).unlink(),
    "no tables": lambda f: (f / TABLES).unlink(),
    "an empty listing": raw(LISTING, lambda _: b""),
    "a listing cut short": raw(LISTING, lambda data: data[:-2]),
    "a listing of another form": raw(LISTING, lambda data: data + b"\n"),
    "a listing that is a list": raw(LISTING, lambda _: b"[]"),
    "a listing beyond all depth": raw(LISTING, lambda _: b"[" * 100_000),
    "tables cut short": raw(TABLES, lambda data: data[:-1]),
    "tables of nothing": raw(TABLES, lambda _: b""),
    "a count changed": raw(TABLES, flip),
    "a later version": edit(lambda t: t.update({"privsynth-transcript": 2})),
    "no version": edit(lambda t: t.pop("privsynth-transcript")),
    "another sigma told": edit(lambda t: t["measurements"][0].update(sigma=1.0)),
    "another stage told": edit(lambda t: t["measurements"][0].update(stage="pair")),
    "a table left out": edit(lambda t: t["measurements"].pop()),
    "another price": edit(lambda t: t.update({"mu squared": 0.1})),
    "another receipt": edit(lambda t: t["receipt"].update(recipe="0" * 64)),
    "a receipt that is no receipt": edit(lambda t: t.update(receipt={})),
    "another recipe": edit(lambda t: t["recipe"].update(steps=61)),
    "a recipe that is no recipe": edit(lambda t: t.update(recipe=[])),
    "another digest": edit(lambda t: t["tensors"].update(sha256="0" * 64)),
    "a path that leads away": edit(lambda t: t["tensors"].update(file="../transcript.safetensors")),
    "said to be gated in words": edit(lambda t: t.update(gated="yes")),
    "not said whether gated": edit(lambda t: t.pop("gated")),
    "a key too many": edit(lambda t: t.update(extra=1)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_was_altered_is_refused(name: str, folder: Path) -> None:
    SPOILT[name](folder)
    with pytest.raises(ModelError) as caught:
        load_transcript(folder)
    assert caught.value.where and caught.value.mend


@pytest.mark.parametrize("limit", ["MOST_LISTING", "MOST_TABLES"])
def test_a_file_too_large_is_refused_unread(limit: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, 100)
    with pytest.raises(ModelError, match="larger than 100 bytes"):
        load_transcript(folder)


def tables(change: Callable[[list[Any]], object]) -> Callable[[PublishedTranscript], PublishedTranscript]:
    """The same with its tables changed, files and digests made anew: what a careful forger could write."""

    def forge(told: PublishedTranscript) -> PublishedTranscript:
        measured = list(told.transcript.measurements)
        change(measured)
        return replace(told, transcript=replace(told.transcript, measurements=tuple(measured)))

    return forge


FORGED: dict[str, Callable[[PublishedTranscript], PublishedTranscript]] = {
    "more bought than was paid": tables(lambda m: m.__setitem__(0, replace(m[0], sigma=0.01))),
    "another contribution": tables(lambda m: m.__setitem__(0, replace(m[0], contribution=1))),
    "a one-way missing": tables(lambda m: m.pop(0)),
    "one-ways out of order": tables(lambda m: m.__setitem__(slice(0, 2), [m[1], m[0]])),
    "a table of another size": tables(lambda m: m.__setitem__(0, replace(m[0], counts=m[0].counts[:-1]))),
    "columns out of order": tables(lambda m: m.__setitem__(-1, replace(m[-1], clique=m[-1].clique[::-1]))),
    "a negative column": tables(lambda m: m.__setitem__(-1, replace(m[-1], clique=(-1, *m[-1].clique[1:])))),
    "a map of another column": tables(
        lambda m: m.__setitem__(-1, replace(m[-1], groups=tuple(np.zeros(3, dtype=np.int32) for _ in m[-1].groups)))
    ),
    "groups that skip a number": tables(
        lambda m: m.__setitem__(
            -1, replace(m[-1], groups=tuple(None if g is None else np.where(g == 0, 1, g) for g in m[-1].groups))
        )
    ),
    "noise of another kind": lambda t: replace(t, transcript=replace(t.transcript, noise="seeded")),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_cannot_be_a_fit_is_refused(name: str, model: MarginalModel, tmp_path: Path) -> None:
    told = FORGED[name](model.published())
    (tmp_path / "t").mkdir()
    try:
        listing = canonical(told.to_json())
    except (IndexError, PrivsynthError):  # what has no name cannot be listed
        listing = canonical(model.published().to_json())
    (tmp_path / "t" / LISTING).write_bytes(listing)
    (tmp_path / "t" / TABLES).write_bytes(told.transcript.to_bytes())
    with pytest.raises(ModelError):
        load_transcript(tmp_path / "t")


def test_a_count_that_was_changed_with_its_digest_gives_another_model(model: MarginalModel, tmp_path: Path) -> None:
    """Only a signature tells who wrote both files; the model's id then does not come out."""
    forge = tables(lambda m: m.__setitem__(0, replace(m[0], counts=m[0].counts + 1)))
    found = load_transcript(forge(model.published()).write(tmp_path / "t"))
    assert found.refit().id != found.model == model.id
