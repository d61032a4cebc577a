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

from privsynth.data.evidence import Between
from privsynth.data.learned import Learned
from privsynth.documents import canonical, sha256
from privsynth.errors import ModelError, PrivsynthError, SeededNoise, StorageError
from privsynth.generators.marginals import MarginalModel, load_transcript
from privsynth.generators.marginals import published as module
from privsynth.generators.marginals.belonging import check_belonging
from privsynth.generators.marginals.published import LISTING, TABLES, PublishedTranscript
from privsynth.generators.marginals.workload import Query, Workload
from privsynth.privacy.noise import SeededNoise as Seeded
from tests.generators.marginals.test_learned_fit import LEARNING, wide_rows
from tests.generators.marginals.test_told import mechanism
from tests.generators.marginals.test_told import rows as codes
from tests.world import World, build


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
    "a query on a list": edit(lambda t: t["recipe"]["workload"]["queries"].append({"where": [1], "weight": 1})),
    "a workload that is text": edit(lambda t: t["recipe"].update(workload="all")),
    "a schema of nothing": edit(lambda t: t["recipe"].update(schema=None)),
    "a budget below 0": edit(lambda t: t["recipe"]["budget"].update(epsilon=-1)),
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


def domains(change: Callable[[list[Any]], object]) -> Callable[[PublishedTranscript], PublishedTranscript]:
    """As :func:`tables`, of the tables of the domain stage."""

    def forge(told: PublishedTranscript) -> PublishedTranscript:
        measured = list(told.transcript.domains)
        change(measured)
        return replace(told, transcript=replace(told.transcript, domains=tuple(measured)))

    return forge


def learnt(change: Callable[[Learned], dict[str, Any]]) -> Callable[[PublishedTranscript], PublishedTranscript]:
    """As :func:`tables`, of what was learned."""

    def forge(told: PublishedTranscript) -> PublishedTranscript:
        learned = replace(told.transcript.learned, **change(told.transcript.learned))
        return replace(told, transcript=replace(told.transcript, learned=learned))

    return forge


def three(measured: list[Any]) -> Any:
    """A held-back table over three columns, none of them the target, at the most noise: its price does not show."""
    return replace(next(m for m in measured if m.stage == "held-back"), sigma=2.0**15)


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
    "a table bought twice": tables(lambda m: m.append(three(m))),
    "a triple without the target": tables(lambda m: m.append(replace(three(m), stage="triple"))),
    "a triple that nobody asked for": tables(lambda m: m.append(replace(three(m), stage="loose"))),
    "a query that nobody asked for": tables(lambda m: m.append(replace(three(m), stage="query"))),
    "a domain table dropped": domains(lambda d: d.pop()),
    "all domain tables dropped": domains(lambda d: d.clear()),
    "a domain table of another contribution": domains(lambda d: d.__setitem__(0, replace(d[0], contribution=1))),
    "a domain table of no column": domains(lambda d: d.__setitem__(0, replace(d[0], clique=(-1,)))),
    "a domain table of another column": domains(lambda d: d.__setitem__(0, replace(d[0], clique=(0,)))),
    "a level bought twice": domains(lambda d: d.insert(0, d[0])),
    "domain counts that give other cells": domains(lambda d: d.__setitem__(0, replace(d[0], counts=-d[0].counts))),
    "a level of another size": domains(lambda d: d.__setitem__(0, replace(d[0], counts=d[0].counts[:-1]))),
    "values of a public column": learnt(lambda told: {"values": {"sex": ("F", "zz")}}),
    "values of no column": learnt(lambda told: {"values": {"nope": ("F",)}}),
    "a map of no column": learnt(lambda told: {"maps": {"nope": ("F",)}}),
    "a cell less": learnt(lambda told: {"bins": {**told.bins, "seen": told.bins["seen"][1:]}}),
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


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> MarginalModel:
    """A model with every stage: trees, votes, a dependency, triples of both kinds, queries."""
    world = build(tmp_path_factory.mktemp("rich"), schema=LEARNING, frame=wide_rows())
    weights = ((("age", "sex"), 0.0), (("age", "ill"), 2.0), (("age", "sex", "ill"), 4.0))
    queries = (Query({"sex": "F", "age": Between(0, 49)}, 5.0), Query({"ill": True}, 5.0), Query({"ill": True}, 5.0))
    workload = Workload(up_to=3, weights=weights, queries=queries)
    recipe = replace(world.recipe, workload=workload, steps=3, components=4)
    return recipe.fit(world.split.train, replace(world, recipe=recipe).hold())


def test_every_stage_is_read_again(rich: MarginalModel, tmp_path: Path) -> None:
    stages = {m.stage for m in (*rich.transcript.domains, *rich.transcript.measurements)}
    assert stages >= {"level", "votes", "dependency", "one-way", "held-back", "pair", "query"}
    assert load_transcript(rich.published().write(tmp_path / "t")).refit().id == rich.id


def test_all_that_a_workload_asks_for_belongs(model: MarginalModel) -> None:
    """With noise so small that triples are bought too."""
    asked = mechanism(mu=3.0)
    transcript = replace(asked.runs(Seeded(5))(codes(4000)), recipe=asked.recipe.identity)
    assert {m.stage for m in transcript.measurements} >= {"pair", "triple", "loose", "query"}
    receipt = replace(
        model.receipt,
        recipe=asked.recipe.identity,
        schema=asked.recipe.schema.sha256,
        contribution=1,
        mu_fit=3.0,
        noise="seeded",
    )
    check_belonging(PublishedTranscript(asked.recipe, receipt, transcript, model.id))
    with pytest.raises(ValueError):
        check_belonging(PublishedTranscript(asked.recipe, replace(receipt, mu_fit=2.5), transcript, model.id))


def place(measured: list[Any], stage: str) -> int:
    """Of the first table of a stage."""
    return [m.stage for m in measured].index(stage)


def changed(stage: str, **fields: Callable[[Any], Any]) -> Callable[[list[Any]], object]:
    """The first table of a stage with these fields made anew from their values."""

    def change(measured: list[Any]) -> None:
        at = place(measured, stage)
        new = {name: make(getattr(measured[at], name)) for name, make in fields.items()}
        measured[at] = replace(measured[at], **new)

    return change


RICH: dict[str, Callable[[PublishedTranscript], PublishedTranscript]] = {
    "a vote too many": domains(changed("votes", counts=lambda c: np.append(c, 1))),
    "a value that no vote gave": learnt(lambda told: {"values": {"ward": (*told.values["ward"], "zzz")}}),
    "votes for the rest": learnt(lambda told: {"values": {"ward": ("east", "elsewhere", "north")}}),
    "another map": learnt(lambda told: {"maps": {"site": tuple("S" for _ in told.maps["site"])}}),
    "a dependency of another column": domains(changed("dependency", clique=lambda _: (0,))),
    "a dependency of other counts": domains(changed("dependency", counts=lambda c: c[::-1].copy())),
    "a query at other groups": tables(changed("query", groups=lambda g: tuple(1 - part for part in g))),
    "a query once too often": tables(lambda m: m.append(m[place(m, "query")])),
    "a pair of weight 0": tables(changed("pair", clique=lambda _: (0, 1))),
}


@pytest.mark.parametrize("name", RICH)
def test_what_a_rich_recipe_cannot_give_is_refused(name: str, rich: MarginalModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_transcript(RICH[name](rich.published()).write(tmp_path / "t"))


def test_a_count_that_was_changed_with_its_digest_gives_another_model(model: MarginalModel, tmp_path: Path) -> None:
    """Only a signature tells who wrote both files; the model's id then does not come out."""
    forge = tables(lambda m: m.__setitem__(0, replace(m[0], counts=m[0].counts + 1)))
    found = load_transcript(forge(model.published()).write(tmp_path / "t"))
    assert found.refit().id != found.model == model.id
