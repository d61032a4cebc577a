"""The image benchmark: sets, judges, drivers and peers, on pictures small enough for a test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import images, judges
from benchmarks.peers import dcgan, merf, pictures
from benchmarks.peers.offered import Offer
from benchmarks.peers.pictures import SYSTEMS
from benchmarks.picture_sets import SETS, PictureSet, Side
from benchmarks.records import Record
from benchmarks.running import Limits
from privsynth.data.pictures import Pixels
from privsynth.data.schema import parse_schema
from privsynth.generators.images.model import PicturedModel


def halves(n: int = 400, *, colours: bool = False, seed: int = 0) -> Side:
    """Bright above or below the middle, with noise; of colours another label says how red."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (n, 2 if colours else 1))
    pixels = rng.integers(0, 60, (n, 8, 8, 3) if colours else (n, 8, 8))
    for picture, (below, *_) in zip(pixels, labels, strict=True):
        picture[4 * below : 4 * below + 4] += 150
    if colours:
        pixels[labels[:, 1] == 1, ..., 0] += 40
    return Side(pixels.astype(np.uint8), labels.astype(np.int64))


def made(*, colours: bool = False) -> PictureSet:
    names = ("below", "red") if colours else ("label",)
    columns = {name: ("c0", "c1") for name in names}
    return PictureSet("made", columns, halves(colours=colours), halves(100, colours=colours, seed=1))


def offer(held: PictureSet, path: Path, *, epsilon: float = 5.0) -> Offer:
    Offer.save(path / "set.npz", held)
    return Offer.load(path / "set.npz", epsilon, 1e-5, 3)


# --- sets ----------------------------------------------------------------------------------------


def test_digits_come_without_a_folder_and_are_split_by_the_seed(tmp_path: Path) -> None:
    one, other = SETS["digits"](tmp_path, 0), SETS["digits"](tmp_path, 1)
    assert (len(one.train.pixels), len(one.test.pixels)) == (1437, 360)
    assert not np.array_equal(one.test.labels, other.test.labels)
    assert np.array_equal(one.test.pixels, SETS["digits"](tmp_path, 0).test.pixels)


def test_official_sides_are_read(tmp_path: Path) -> None:
    (tmp_path / "pneumoniamnist").mkdir()
    sides = {"train": 7, "test": 3}
    arrays: dict[str, Any] = {}
    for side, n in sides.items():
        arrays[f"{side}_images"] = np.full((n, 28, 28), n, dtype=np.uint8)
        arrays[f"{side}_labels"] = np.ones((n, 1), dtype=np.uint8)
    np.savez(tmp_path / "pneumoniamnist" / "pneumoniamnist.npz", **arrays)
    held = SETS["pneumoniamnist"](tmp_path, 0)
    assert (held.train.pixels.shape, held.test.labels.tolist()) == ((7, 28, 28), [[1], [1], [1]])


def test_faces_are_decoded_and_their_labels_coded(tmp_path: Path) -> None:
    import io

    from PIL import Image

    (tmp_path / "fairface64").mkdir()
    raw = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 10, 10)).save(raw, "JPEG")
    frame = pd.DataFrame({"gender": ["Male", "Female"], "race": ["White", "Black"], "image_jpeg": [raw.getvalue()] * 2})
    for side in ("train", "val"):
        frame.to_parquet(tmp_path / "fairface64" / f"fairface64_{side}.parquet")
    held = SETS["fairface64"](tmp_path, 0)
    assert held.train.pixels.shape == (2, 64, 64, 3)
    assert held.train.labels.tolist() == [[1, 1], [0, 0]]
    assert "mode: RGB" in held.schema


def test_a_set_that_is_not_there_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [held.name for held in images.sets(tmp_path, ["mnist", "digits"], 0)] == ["digits"]
    assert "skipped mnist" in capsys.readouterr().out


@pytest.mark.parametrize("colours", [False, True])
def test_a_set_has_a_schema(colours: bool) -> None:
    held = made(colours=colours)
    schema = parse_schema(held.schema)
    assert list(schema.table.columns) == [*held.columns]
    assert schema.pictures["picture"].size == (8, 8)


# --- judges --------------------------------------------------------------------------------------


def test_a_network_learns_from_good_pictures_and_not_from_labels_without_meaning() -> None:
    held = made()
    large = Side(np.tile(held.train.pixels, (8, 1, 1)), np.tile(held.train.labels, (8, 1)))
    assert judges.by_network(large, held.test, 2, seed=0) > 95
    wrong = Side(large.pixels, 1 - large.labels)
    assert judges.by_network(wrong, held.test, 2, seed=0) < 5
    assert judges.by_network(large, held.test, 2, seed=4) == judges.by_network(large, held.test, 2, seed=4)


def test_a_svc_learns_each_column() -> None:
    held = made()
    assert judges.by_svc(held.train, held.test, 0) > 95
    one = Side(held.train.pixels, np.zeros_like(held.train.labels))
    assert judges.by_svc(one, held.test, 0) == (held.test.labels == 0).mean() * 100


def test_likeness_of_real_pictures_is_at_the_floor() -> None:
    held = made()
    good = judges.likeness(held, halves(400, seed=5), seed=0)
    bad = judges.likeness(held, Side(np.zeros_like(held.train.pixels), held.train.labels), seed=0)
    # Shares of the two labels differ by chance from draw to draw, and the labels are far apart.
    assert good["frechet_floor"] < good["frechet"] < good["frechet_null"] < bad["frechet"]
    assert good["coverage"] > 0.5 > bad["coverage"]
    assert good["variance_ratio"] == pytest.approx(1, abs=0.2)
    assert bad["variance_ratio"] == 0


# --- drivers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", [False, True])
def test_ours_is_fitted_as_shipped(tmp_path: Path, colours: bool) -> None:
    held = made(colours=colours)
    draw, seconds = SYSTEMS[images.OURS](offer(held, tmp_path))
    pixels, labels = draw(300)
    assert seconds > 0
    assert pixels.shape == (300, *held.train.pixels.shape[1:])
    assert labels.shape == (300, len(held.columns))
    assert judges.by_svc(Side(pixels, labels), held.test, 0) > 80 or colours


def test_without_the_rule_every_direction_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is mere noise looks like a direction; the rule believes none of it. It is back afterwards."""
    weak, kept = offer(made(), tmp_path, epsilon=0.5), []

    def counted(offer: Offer, model: PicturedModel, seconds: float) -> tuple[None, float]:
        kept.append(model.portrait.axes.shape[1])
        return None, seconds

    monkeypatch.setattr(pictures, "_of_model", counted)
    for name in (images.OURS, images.BARE, images.OURS):
        SYSTEMS[name](weak)
    assert kept[1] > 2 * max(kept[0], kept[2])


@pytest.mark.parametrize("peer", [merf, dcgan])
@pytest.mark.parametrize("colours", [False, True])
def test_a_peer_draws_pictures(tmp_path: Path, peer: object, colours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "STEPS", 3)
    held = made(colours=colours)
    fitted = merf.fitted if peer is merf else dcgan.fitted
    pixels, labels = fitted(offer(held, tmp_path))[0](50)
    assert pixels.shape == (50, *held.train.pixels.shape[1:])
    assert pixels.dtype == np.uint8
    assert labels.shape == (50, len(held.columns))
    assert labels.min() >= 0 and (labels < 2).all()


def test_merf_learns_at_little_noise(tmp_path: Path) -> None:
    held = made()
    pixels, labels = merf.fitted(offer(held, tmp_path, epsilon=100.0))[0](300)
    assert judges.by_svc(Side(pixels, labels), held.test, 0) > 80


def test_combinations_of_labels_are_put_together_and_taken_apart(tmp_path: Path) -> None:
    held = offer(made(colours=True), tmp_path)
    assert set(held.joint.tolist()) == {0, 1, 2, 3}
    assert np.array_equal(held.parted(held.joint), held.labels)
    assert np.array_equal(Offer.bytes(held.planes), held.pixels)


# --- the command ---------------------------------------------------------------------------------


def test_one_fit_gives_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(images.ROWS, "digits", 600)
    kept: list[Record] = []
    monkeypatch.setattr("benchmarks.records.keep", lambda name, found: kept.extend(found))
    words = "images --only digits --systems privsynth real --epsilon 10 --seeds 1 --peer-seeds 0"
    monkeypatch.setattr(sys, "argv", [*words.split(), "--grids", str(tmp_path), "--data", str(tmp_path)])
    images.main()
    found = {(r.system, r.metric): r.value for r in kept}
    assert found["privsynth", "accuracy"] > 60
    assert found["real", "accuracy"] > 95
    assert found["privsynth", "frechet"] < found["privsynth", "frechet_null"]
    assert {"fit_seconds", "sample_seconds", "peak_gb", "vendi", "recall"} < {metric for _, metric in found}
    assert [path.name for path in tmp_path.glob("*.png")] == ["digits-privsynth-10.png"]
    assert "digits privsynth epsilon 10.0 seed 0" in capsys.readouterr().out


def test_what_is_kept_of_this_commit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.records.commit", lambda: "abc")
    kept = {("digits", "privsynth", 1.0, 0), ("digits", "dp-merf", 10.0, 0)}
    monkeypatch.setattr("benchmarks.records.measured", lambda name, at: kept if at == "abc" else set())
    words = f"--data {tmp_path} --only digits --systems privsynth dp-merf --seeds 2 --peer-seeds 1".split()

    def left(*more: str) -> list[tuple[str, float | None, int]]:
        asked = images.parser().parse_args([*words, *more])
        return [(system, epsilon, seed) for _, system, epsilon, seed in images.wanted(asked)]

    every = [("privsynth", 1.0, 0), ("privsynth", 10.0, 0), ("dp-merf", 1.0, 0), ("dp-merf", 10.0, 0)]
    assert left() == [*every, ("privsynth", 1.0, 1), ("privsynth", 10.0, 1)]
    assert left("--missing") == [*every[1:3], ("privsynth", 1.0, 1), ("privsynth", 10.0, 1)]


def test_the_real_fid_has_its_own_number_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        def fid(self, real: Pixels, drawn: Pixels, *, most: int) -> float:
            return float(len(real[:most]) - len(drawn[:most]))

    held = made()
    monkeypatch.setattr(images, "driven", lambda *_, **__: (halves(300, seed=2), {"fit_seconds": 1.0}))
    args = images.parser().parse_args(["--inception-pictures", "350"])
    args.device, args.network = "cpu", Network()
    found = {r.metric: (r.value, r.n) for r in images.measured(held, images.OURS, 1.0, 0, args)}
    assert found["fid"] == (50.0, 300)
    args.inception_pictures = 200
    found = {r.metric: (r.value, r.n) for r in images.measured(held, images.OURS, 1.0, 0, args)}
    assert found["fid"] == (0.0, 200)
    assert found["frechet"][1] == 300
    args.network = None
    assert "fid" not in {r.metric for r in images.measured(held, images.OURS, 1.0, 0, args)}


@pytest.mark.parametrize(
    ("more", "told"), [([], "--inception-sha256"), (["--inception-sha256", "00"], "declared was 00"), (None, "No such")]
)
def test_another_inception_file_ends_before_any_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str] | None, told: str
) -> None:
    monkeypatch.setattr(images, "wanted", lambda args: pytest.fail("began"))
    if more is not None:
        (tmp_path / "w.pth").write_bytes(b"weights")
    words = [
        "images",
        "--inception",
        str(tmp_path / "w.pth"),
        *(["--inception-sha256", "00"] if more is None else more),
    ]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=told):
        images.main()


def test_a_fit_that_does_not_end_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    drawn, told = images.driven(made(), images.OURS, epsilon=1.0, seed=0, limits=Limits(seconds=0.01))
    assert drawn is None
    assert told == {"timeout": 0.01}


def test_what_is_measured_on_a_set() -> None:
    held = made()
    assert images.systems_of(held, [], "cpu") == ["privsynth", "dp-merf", "dp-dcgan"]
    assert images.systems_of(held, [], "gpu")[-1] == images.NETWORK
    faces = PictureSet("fairface64", held.columns, held.train, held.test)
    assert images.BARE in images.systems_of(faces, [], "cpu")
    assert images.systems_of(faces, ["real"], "cpu") == ["real"]


def test_a_grid_has_a_row_for_each_value() -> None:
    assert images.grid(halves(), across=5).shape == (2 * 8, 5 * 8)
    assert images.grid(halves(colours=True), across=5).shape == (2 * 8, 5 * 8, 3)
