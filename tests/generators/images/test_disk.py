"""A model of rows with pictures in a folder, and its transcript as files: what is read again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import privsynth as ps
from privsynth.documents import canonical, sha256
from privsynth.errors import ModelError, PrivsynthError, SeededNoise, StorageError
from privsynth.generators.images.disk import load_pictured
from privsynth.generators.images.model import PicturedModel
from privsynth.generators.images.published import PublishedPictures
from privsynth.generators.kept import load_model, load_transcript
from privsynth.generators.marginals import disk
from privsynth.generators.marginals.disk import HEAD, TRANSCRIPT
from privsynth.generators.marginals.published import LISTING, TABLES
from privsynth.ledger.evidence import CHECKPOINT, INCLUSION
from privsynth.privacy.noise import SeededNoise as Seeded
from tests.generators.images.test_statistics import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("pictured"))


@pytest.fixture(scope="module")
def model(desk: Desk) -> PicturedModel:
    return desk.recipe.fit(desk.split.train, desk.hold())


@pytest.fixture
def folder(model: PicturedModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_is_the_model(model: PicturedModel, folder: Path) -> None:
    again = ps.load_model(folder)
    assert isinstance(again, PicturedModel)
    assert (again.id, again.receipt, again.schema) == (model.id, model.receipt, model.schema)
    one, other = (m.sample(40, seed=3).pictures["scan"] for m in (model, again))
    assert one.equals(other)
    assert {p.name for p in folder.iterdir()} == {HEAD, TRANSCRIPT, CHECKPOINT, INCLUSION}
    assert again.receipt.evidence == model.receipt.evidence
    assert again.diagnostics().to_json() == {**model.table.diagnostics().to_json(), "model": model.id}


def test_writing_is_whole_or_not(model: PicturedModel, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="exists already"):
        model.save(folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        model.save(tmp_path / "file" / "m")
    assert {p.name for p in tmp_path.iterdir()} == {"model", "file"}


# --- what is refused -------------------------------------------------------------------------------


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change a JSON file and write it in canonical form."""

    def spoil(folder: Path) -> None:
        told = json.loads((folder / name).read_bytes())
        change(told)
        (folder / name).write_bytes(canonical(told))

    return spoil


def raw(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the bytes of a file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def flip(data: bytes) -> bytes:
    """One bit of the last count."""
    return data[:-1] + bytes([data[-1] ^ 1])


SPOILT: dict[str, Callable[[Path], object]] = {
    "no head": lambda f: (f / HEAD).unlink(),
    "no transcript": lambda f: (f / TRANSCRIPT).unlink(),
    "an empty head": raw(HEAD, lambda _: b""),
    "a head that is a list": raw(HEAD, lambda _: b"[]"),
    "a head beyond all depth": raw(HEAD, lambda _: b"[" * 100_000),
    "a head of another form": raw(HEAD, lambda data: data + b"\n"),
    "a transcript cut short": raw(TRANSCRIPT, lambda data: data[:-1]),
    "a transcript cut in the head": raw(TRANSCRIPT, lambda data: data[:100]),
    "a transcript of nothing": raw(TRANSCRIPT, lambda _: b""),
    "a count changed": raw(TRANSCRIPT, flip),
    "another version": edit(HEAD, lambda h: h.update({"privsynth-model": 2})),
    "another kind": edit(HEAD, lambda h: h["recipe"].update(kind="marginals")),
    "a kind of elsewhere": edit(HEAD, lambda h: h["recipe"].update(kind="elsewhere")),
    "no recipe": edit(HEAD, lambda h: h.pop("recipe")),
    "another recipe": edit(HEAD, lambda h: h["recipe"].update(side=7)),
    "a recipe that cannot be": edit(HEAD, lambda h: h["recipe"].update(by=["ink"])),
    "another schema": edit(HEAD, lambda h: h["schema"].update(source="lab/other")),
    "another receipt": edit(HEAD, lambda h: h["receipt"].update(epsilon=1.0)),
    "a receipt that is none": edit(HEAD, lambda h: h.update(receipt={})),
    "another id": edit(HEAD, lambda h: h.update(id="0" * 64)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_was_altered_is_refused(name: str, folder: Path) -> None:
    SPOILT[name](folder)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert caught.value.where and caught.value.mend


def test_another_model_s_transcript_is_refused(desk: Desk, folder: Path) -> None:
    other = desk.recipe.fit(desk.split.train, desk.hold(), noise=Seeded(4))
    (folder / TRANSCRIPT).write_bytes(other.transcript.to_bytes())
    with pytest.raises(ModelError, match="does not give this model"):
        load_pictured(folder)


def test_a_table_s_model_is_loaded_by_its_own_kind(model: PicturedModel, tmp_path: Path) -> None:
    """The part of the columns is paid for under another recipe than its own, and is no model to be kept alone."""
    disk.save_model(model.table, tmp_path / "table")
    with pytest.raises(ModelError):
        load_model(tmp_path / "table")


# --- the transcript as files -----------------------------------------------------------------------


def test_a_published_transcript_gives_the_model(model: PicturedModel, tmp_path: Path) -> None:
    written = model.published().write(tmp_path / "t")
    found = ps.load_transcript(written)
    assert isinstance(found, PublishedPictures)
    assert found.refit().id == found.model == model.id
    assert found.tables == len(model.transcript.table.measurements) + len(model.transcript.told)
    assert repr(found) == f"PublishedPictures('lab/visits', {found.tables} tables, epsilon=9)"


def test_the_listing_says_in_names_what_the_tensors_are(model: PicturedModel) -> None:
    from safetensors.numpy import load

    files = model.published().files(gated=True)
    told, tensors = json.loads(files[LISTING]), load(files[TABLES])
    assert canonical(told) == files[LISTING]
    assert told["gated"] is True and json.loads(model.published().files()[LISTING])["gated"] is False
    assert told["tensors"] == {"file": TABLES, "sha256": sha256(files[TABLES]), "size": len(files[TABLES])}
    assert told["receipt"] == json.loads(canonical(model.receipt.to_json()))
    assert [c["name"] for c in told["table"]["columns"]] == [c.name for c in model.codec.columns]
    assert told["pictures"]["column"] == "scan"
    for entry, (name, noisy) in zip(told["pictures"]["sums"], model.transcript.told.items(), strict=True):
        assert (entry["name"], entry["sigma"], entry["unit"]) == (name, noisy.sigma, noisy.unit)
        assert (tensors[entry["tensor"]] == noisy.counts).all() and entry["shape"] == list(noisy.counts.shape)
    assert tensors[told["table"]["tensor"]].tobytes() == model.transcript.table.to_bytes()
    spent = told["table"]["mu squared"] + sum(entry["mu squared"] for entry in told["pictures"]["sums"])
    assert 0.85 * model.receipt.mu_fit**2 < spent <= model.receipt.mu_fit**2 * (1 + 1e-9)


def test_noise_that_anyone_can_subtract_is_not_published(desk: Desk) -> None:
    seeded = desk.recipe.fit(desk.split.train, desk.hold(), noise=Seeded(1))
    with pytest.raises(SeededNoise):
        seeded.published().files()


def sums(name: str, **changes: Any) -> Callable[[PublishedPictures], PublishedPictures]:
    """One noisy sum changed, files and digests made anew: what a careful forger could write."""

    def forge(told: PublishedPictures) -> PublishedPictures:
        held = dict(told.transcript.told)
        given = {key: make(getattr(held[name], key)) for key, make in changes.items()}
        held[name] = replace(held[name], **given)
        return replace(told, transcript=replace(told.transcript, told=held))

    return forge


def listed(change: Callable[[dict[str, Any]], object]) -> Callable[[PublishedPictures], PublishedPictures]:
    """As :func:`sums`, of the whole list."""

    def forge(told: PublishedPictures) -> PublishedPictures:
        held = dict(told.transcript.told)
        change(held)
        return replace(told, transcript=replace(told.transcript, told=held))

    return forge


FORGED: dict[str, Callable[[PublishedPictures], PublishedPictures]] = {
    "more bought than was paid": sums("plain mean", sigma=lambda s: s / 64),
    "a sum in another unit": sums("plain effects", unit=lambda u: 2 * u),
    "a histogram of another size": sums("inner", counts=lambda c: c[:-1]),
    "a moment of another size": sums("classes", counts=lambda c: c[:, :-1]),
    "a pooled moment of another size": sums("pooled", counts=lambda c: c[:, :-1]),
    "effects of other columns": sums("plain effects", counts=lambda c: c[:-1]),
    "a mean of another size": sums("plain mean", counts=lambda c: c[:, :-1]),
    "a sum left out": listed(lambda told: told.pop("inner")),
    "a sum that nobody asked for": listed(lambda told: told.update({"other mean": told["plain mean"]})),
    "a sum of no kind": listed(lambda told: told.update(other=told["plain mean"])),
    "sums in another order": listed(lambda told: told.update({"plain mean": told.pop("plain mean")})),
    "a column's table left out": lambda t: replace(
        t,
        transcript=replace(
            t.transcript, table=replace(t.transcript.table, measurements=t.transcript.table.measurements[1:])
        ),
    ),
    "another recipe's": lambda t: replace(t, recipe=replace(t.recipe, side=7)),
    "another price": lambda t: replace(t, receipt=replace(t.receipt, mu_fit=t.receipt.mu_fit / 2)),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_cannot_be_a_fit_is_refused(name: str, model: PicturedModel, tmp_path: Path) -> None:
    told = FORGED[name](model.published())
    (tmp_path / "t").mkdir()
    try:
        listing = canonical(told.to_json())
    except PrivsynthError:  # what has no name cannot be listed
        listing = canonical(model.published().to_json())
    (tmp_path / "t" / LISTING).write_bytes(listing)
    (tmp_path / "t" / TABLES).write_bytes(told.transcript.to_bytes())
    with pytest.raises(ModelError):
        load_transcript(tmp_path / "t")


def test_the_price_of_each_sum_is_what_was_spent(model: PicturedModel) -> None:
    """Against the same figure worked out by hand: k = 2, two columns."""
    found = model.published()
    pooled = model.transcript.told["pooled"]
    assert pooled.sigma_off is not None
    whole = Fraction(2 * 2**32) ** 2
    assert found.mu_squared("pooled") == max(
        whole / Fraction(pooled.sigma) ** 2, whole / 2 / Fraction(pooled.sigma_off) ** 2
    )
    mean, effects, inner = (model.transcript.told[name] for name in ("plain mean", "plain effects", "inner"))
    assert found.mu_squared("plain mean") == Fraction(2 * 2**16) ** 2 / Fraction(mean.sigma) ** 2
    assert found.mu_squared("plain effects") == 2 * Fraction(2 * 2**16) ** 2 / Fraction(effects.sigma) ** 2
    assert found.mu_squared("inner") == Fraction(2) ** 2 / Fraction(inner.sigma) ** 2
    total = sum(float(found.mu_squared(name)) for name in model.transcript.told)
    assert 0.8 < total / (0.9 * model.receipt.mu_fit**2) <= 1.0
