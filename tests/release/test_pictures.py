"""Pictures in a bundle: what is written, that it reads back, what never leaves, and what is no such bundle."""

from __future__ import annotations

import csv
import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import privsynth as ps
from privsynth.data.album import ACROSS, DOWN, GAP, SHEET, archive_of, file_names, folder_of, largest_sheet
from privsynth.data.pictures import Pictures
from privsynth.data.records import Synthetic
from privsynth.data.schema import parse_schema
from privsynth.data.tables import read_images
from privsynth.documents import sha256
from privsynth.errors import BundleError, HoldError, ModelError, PolicyError
from privsynth.release import archive as module
from privsynth.release.album import GROUND, packed, png, sheet, told_of
from privsynth.release.archive import check_archives
from privsynth.release.bundle import Release
from privsynth.release.gate import Approved, check_rules, gate
from privsynth.release.manifest import walk
from privsynth.release.png import check_sheet
from privsynth.release.predicate import CSV, PARQUET, PictureFile
from privsynth.release.verify import verify
from privsynth.signing import write_trust
from tests.generators.images.test_statistics import Desk
from tests.world import POLICY

ROWS = 30
SCHEMA = """
privsynth-schema: 1
source: ehr/encounters
subject: {each row is a: person-year, a person has at most: 5 rows}
columns:
  ill: {kind: boolean}
  scan: {kind: image, size: [6, 4]}
  eye (left): {kind: image, size: [8, 8], mode: RGB, nullable: true}
  old: {kind: image, size: [8, 8], dropped: true}
"""
EYE = folder_of("eye (left)")
ZIPS = ("data/scan.zip", f"data/{EYE}.zip")


def made(world: Any) -> Synthetic:
    """Thirty rows with a grey picture each, and one in colours of all but some."""
    schema = parse_schema(SCHEMA)
    draw = np.random.default_rng(1)
    missing = np.arange(ROWS) % 7 == 3
    eyes = draw.integers(0, 256, (ROWS, 8, 8, 3), dtype=np.uint8)
    eyes[missing] = 0
    names = np.array(file_names("eye (left)", ROWS), dtype=object)
    names[missing] = None
    frame = pd.DataFrame(
        {
            "ill": pd.array([i % 2 == 0 for i in range(ROWS)], dtype="boolean"),
            "scan": np.array(file_names("scan", ROWS), dtype=object),
            "eye (left)": names,
        }
    )
    scans = Pictures(draw.integers(0, 256, (ROWS, 4, 6), dtype=np.uint8), np.zeros(ROWS, dtype=np.bool_))
    receipt = replace(world.receipt, schema=schema.sha256)
    pictures = {"scan": scans, "eye (left)": Pictures(eyes, missing)}
    return Synthetic(frame, schema, receipt, "ab" * 32, pictures=pictures)


def release(world: Any, synth: Synthetic | None = None) -> Release:
    rows = made(world) if synth is None else synth
    out: Release = world.release(schema=rows.schema, receipt=rows.receipt, synth=rows)
    return out


@pytest.fixture
def bundle(world: Any, tmp_path: Path) -> Path:
    write_trust(tmp_path / "trust.json", world.trust)
    return release(world).sign(world.key_path).write(tmp_path / "release")


def member(raw: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as held:
        return held.read(name)


# --- what is written -------------------------------------------------------------------------------


def test_what_a_bundle_holds(world: Any, bundle: Path) -> None:
    found = verify(bundle)
    assert {SHEET, *ZIPS} < set(walk(bundle))
    assert found.pictures == (
        {"column": "scan", "file": ZIPS[0], "size": [6, 4], "mode": "L", "pictures": 30},
        {"column": "eye (left)", "file": ZIPS[1], "size": [8, 8], "mode": "RGB", "pictures": 26},
    )
    with zipfile.ZipFile(bundle / ZIPS[0]) as held:
        assert held.namelist() == [f"scan/{i:02d}.png" for i in range(1, 31)]
        assert held.testzip() is None
    lines = list(csv.DictReader((bundle / CSV).read_text().splitlines()))
    assert [line["scan"] for line in lines] == file_names("scan", ROWS)
    assert [i for i, line in enumerate(lines) if not line["eye (left)"]] == [3, 10, 17, 24]
    frame = pd.read_parquet(bundle / PARQUET)
    assert frame["scan"].tolist() == file_names("scan", ROWS) and frame["eye (left)"].isna().sum() == 4


@pytest.mark.parametrize("table", [CSV, PARQUET])
def test_an_unpacked_bundle_reads_back(world: Any, bundle: Path, tmp_path: Path, table: str) -> None:
    home = tmp_path / "unpacked"
    for name in ZIPS:
        with zipfile.ZipFile(bundle / name) as held:
            held.extractall(home)
    place = home / Path(table).name
    place.write_bytes((bundle / table).read_bytes())
    declared = parse_schema("\n".join(line for line in SCHEMA.splitlines() if "dropped" not in line))
    again, synth = read_images(place, declared), made(world)
    assert all(again.pictures[name].equals(synth.pictures[name]) for name in synth.pictures)
    assert again.frame["ill"].tolist() == synth.frame["ill"].tolist()


def test_a_picture_says_that_it_is_synthetic_and_nothing_else(world: Any, bundle: Path) -> None:
    for raw in (member((bundle / ZIPS[0]).read_bytes(), "scan/07.png"), (bundle / SHEET).read_bytes()):
        seen = Image.open(io.BytesIO(raw)).info
        assert seen.pop("Source") == "synthetic, privsynth"
        assert "digitalsourcetype/trainedAlgorithmicMedia" in seen.pop("XML:com.adobe.xmp")
        assert set(seen) <= {"xmp"}
        at, chunks = 8, []
        while at < len(raw):
            (size,) = struct.unpack(">I", raw[at : at + 4])
            chunks.append(raw[at + 4 : at + 8])
            at += 12 + size
        assert sorted(set(chunks)) == [b"IDAT", b"IEND", b"IHDR", b"iTXt", b"tEXt"] and chunks.count(b"tEXt") == 1


def test_the_same_rows_are_the_same_bytes(world: Any) -> None:
    one, other = (release(world).sign(world.key_path).files for _ in range(2))
    assert all(one[path] == other[path] for path in (*ZIPS, SHEET, "privacy.md"))
    with zipfile.ZipFile(io.BytesIO(one[ZIPS[0]])) as held:
        assert {m.date_time for m in held.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {(m.external_attr >> 16, m.create_system) for m in held.infolist()} == {(0o100644, 3)}


def test_card_and_statement_tell_of_pictures(bundle: Path) -> None:
    card, privacy = (json.loads((bundle / name).read_bytes()) for name in ("card.json", "privacy.json"))
    assert [(told["column"], told["pictures"], told["synthetic"]) for told in card["pictures"]] == [
        ("scan", 30, True),
        ("eye (left)", 26, True),
    ]
    assert [c["domain"] for c in card["columns"][1:]] == [
        {"size": "6 x 4", "mode": "L"},
        {"size": "8 x 8", "mode": "RGB"},
    ]
    text = (bundle / "card.md").read_text()
    for part in (
        "- 30 synthetic pictures of `scan`, 6 x 4 pixels in grey: `data/scan.zip`.",
        f"- 26 synthetic pictures of `eye (left)`, 8 x 8 pixels in colours: `data/{EYE}.zip`.",
        "- Some of them for a person to look at: `pictures.png`.",
        "Every picture is synthetic",
        "| scan | image | size 6 x 4; mode L | no |",
    ):
        assert part in text
    assert privacy["pictures"]["columns"] == ["scan", "eye (left)"]
    assert (
        "## Pictures\n\nThe rows carry pictures, and these are part of the data" in (bundle / "privacy.md").read_text()
    )


def test_a_table_alone_says_nothing_of_pictures(world: Any, original: Path) -> None:
    assert verify(original).pictures == ()
    for name in ("card.json", "card.md", "privacy.json", "privacy.md"):
        assert "picture" not in (original / name).read_text()
    assert SHEET not in walk(original)


@pytest.mark.parametrize(
    ("column", "folder"),
    [("scan", "scan"), ("X-ray_1", "X-ray_1"), ("2024", "2024"), ("a" * 64, "a" * 64)],
)
def test_a_plain_name_is_its_folder(column: str, folder: str) -> None:
    assert folder_of(column) == folder


@pytest.mark.parametrize(
    "column", ["../up", "/root", "a/b", "a\\b", "con", "LPT1", "table.csv", ".", "", "röntgen", "a" * 65, "a b", "-a"]
)
def test_any_other_name_has_a_folder_of_its_own(column: str) -> None:
    folder = folder_of(column)
    assert folder == f"pictures-{sha256(column.encode())[:12]}" == folder_of(column)
    assert archive_of(column) == f"data/{folder}.zip"


# --- the sheet -------------------------------------------------------------------------------------


def test_small_pictures_are_made_larger_by_a_whole_factor() -> None:
    held = Pictures(np.arange(5, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(6, 2), np.zeros(5, dtype=np.bool_))
    shown = np.asarray(Image.open(io.BytesIO(sheet([held]))))
    assert shown.shape == (96 + 2 * GAP, 5 * (72 + GAP) + GAP)
    assert (shown[GAP : GAP + 96, 3 * (72 + GAP) + GAP :][:, :72] == 3).all() and (shown[0] == GROUND).all()


def test_a_sheet_holds_so_many_and_leaves_out_what_is_missing() -> None:
    pixels = np.full((200, 96, 96, 3), 7, dtype=np.uint8)
    pixels[0] = 200
    missing = np.arange(200) == 0
    shown = np.asarray(Image.open(io.BytesIO(sheet([Pictures(pixels, missing)]))))
    assert shown.shape == (DOWN * (96 + GAP) + GAP, ACROSS * (96 + GAP) + GAP, 3)
    assert set(np.unique(shown)) == {7, GROUND}


def test_large_pictures_are_shrunk_and_kinds_go_together() -> None:
    large = Pictures(np.zeros((2, 1024, 512), dtype=np.uint8), np.zeros(2, dtype=np.bool_))
    none = Pictures(np.zeros((3, 8, 8, 3), dtype=np.uint8), np.ones(3, dtype=np.bool_))
    shown = np.asarray(Image.open(io.BytesIO(sheet([large, none]))))
    assert shown.shape == (256 + 96 + 4 * GAP, 2 * (128 + GAP) + GAP, 3)


# --- what never leaves -----------------------------------------------------------------------------


def other(synth: Synthetic, name: str, **changes: Any) -> Synthetic:
    """The same with the pictures of a column changed."""
    return replace(synth, pictures={**synth.pictures, name: replace(synth.pictures[name], **changes)})


def cells(synth: Synthetic, name: str, at: int, text: str | None) -> Synthetic:
    """The same with another text in one cell."""
    column = synth.frame[name].copy()
    column[at] = text
    return replace(synth, frame=synth.frame.assign(**{name: column}))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, pictures={}),
        lambda s: replace(s, pictures={**s.pictures, "old": s.pictures["scan"]}),
        lambda s: other(s, "scan", pixels=s.pictures["scan"].pixels[:-1]),
        lambda s: other(s, "scan", pixels=s.pictures["scan"].pixels.transpose(0, 2, 1)),
        lambda s: other(s, "scan", pixels=s.pictures["scan"].pixels.astype(np.uint16)),
        lambda s: other(s, "scan", missing=np.arange(ROWS) == 0),
        lambda s: cells(other(s, "scan", missing=np.arange(ROWS) == 0), "scan", 0, None),
        lambda s: other(s, "eye (left)", missing=np.zeros(ROWS, dtype=np.bool_)),
        lambda s: other(s, "eye (left)", missing=s.pictures["eye (left)"].missing[:-1]),
        lambda s: cells(s, "scan", 0, "scan/02.png"),
        lambda s: cells(s, "scan", 0, "other/01.png"),
        lambda s: cells(s, "scan", 0, "scan/01.exe"),
        lambda s: cells(s, "scan", 0, None),
    ],
)
def test_pictures_that_do_not_fit_never_leave(world: Any, change: Callable[[Synthetic], Synthetic]) -> None:
    with pytest.raises(ModelError, match="pictures"):
        release(world, change(made(world)))


def test_pictures_of_a_table_that_has_none_never_leave(world: Any) -> None:
    with pytest.raises(ModelError, match="pictures"):
        world.release(synth=replace(world.synth, pictures=made(world).pictures))


def test_a_name_that_leads_away_is_not_packed(world: Any) -> None:
    with pytest.raises(BundleError, match="unsafe"):
        release(world, cells(made(world), "scan", 0, "scan/../../x.png")).sign(world.key_path)


# --- what is no such bundle ------------------------------------------------------------------------


def signed_with(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **files: bytes | None) -> Path:
    """A bundle of a signer who puts other files in (None: leaves out)."""
    write_trust(tmp_path / "trust.json", world.trust)
    whole = release(world)
    given = {**whole._files(), **{key.replace("__", "/").replace("_", "."): raw for key, raw in files.items()}}
    monkeypatch.setattr(Release, "_files", lambda *_: {key: raw for key, raw in given.items() if raw is not None})
    return whole.sign(world.key_path).write(tmp_path / "release")


def rezipped(raw: bytes, change: Callable[[list[tuple[str, bytes]]], object], **how: Any) -> bytes:
    """The zip file with its list of members changed."""
    with zipfile.ZipFile(io.BytesIO(raw)) as held:
        members = [(m.filename, held.read(m)) for m in held.infolist()]
    change(members)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", **how) as made_again:
        for name, data in members:
            made_again.writestr(zipfile.ZipInfo(name, module.TIME), data, how.get("compression"))
    return sink.getvalue()


MEMBERS: dict[str, Callable[[bytes], bytes]] = {
    "one left out": lambda z: rezipped(z, lambda m: m.pop()),
    "one more": lambda z: rezipped(z, lambda m: m.append(("scan/31.png", b""))),
    "two swapped": lambda z: rezipped(z, lambda m: m.insert(0, m.pop(1))),
    "a path upwards": lambda z: rezipped(z, lambda m: m.__setitem__(0, ("../scan/01.png", m[0][1]))),
    "an absolute path": lambda z: rezipped(z, lambda m: m.__setitem__(0, ("/scan/01.png", m[0][1]))),
    "packed small": lambda z: rezipped(z, lambda m: None, compression=zipfile.ZIP_DEFLATED),
    "something before": lambda z: b"#!/bin/sh\n" + z,
    "something behind": lambda z: z + b"more",
    "cut short": lambda z: z[:-40],
    "no zip": lambda z: b"GIF89a",
    "nothing": lambda z: b"",
    "another name where it is unpacked": lambda z: z.replace(b"scan/01.png", b"../../01.pn", 1),
    "another name in the directory": lambda z: z[::-1].replace(b"scan/01.png"[::-1], b"../../01.pn"[::-1], 1)[::-1],
    "marked as a link of another size": lambda z: z.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01", 1),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_zip_files_of_other_members_are_refused(
    name: str, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = MEMBERS[name](release(world)._files()[ZIPS[0]])
    written = signed_with(world, tmp_path, monkeypatch, data__scan_zip=raw)
    with pytest.raises(BundleError, match=r"zip file|table names"):
        verify(written)


def test_unsafe_names_are_refused_though_table_and_zip_agree(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = release(world)._files()
    table = files[CSV].replace(b"scan/01.png", b"../scan.png")
    raw = rezipped(files[ZIPS[0]], lambda m: m.__setitem__(0, ("../scan.png", m[0][1])))
    with pytest.raises(BundleError, match="unsafe file name"):
        verify(signed_with(world, tmp_path, monkeypatch, data__scan_zip=raw, data__table_csv=table))


SHEETS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda raw: b"",
    "no PNG file": lambda raw: b"patient 17",
    "something behind": lambda raw: raw + b"patient 17",
    "a private chunk": lambda raw: raw[:33] + _chunk(b"prVt", b"patient 17") + raw[33:],
    "another source": lambda raw: raw.replace(b"synthetic, privsynth", b"a real hospital....."),
    "too wide": lambda raw: png(np.zeros((1, largest_sheet(2)[0] + 1), np.uint8)),
    "too high": lambda raw: png(np.zeros((largest_sheet(2)[1] + 1, 1), np.uint8)),
}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_that_is_no_marked_picture_is_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    raw = SHEETS[name](release(world)._files()[SHEET])
    with pytest.raises(BundleError, match="marked as synthetic, and nothing else"):
        verify(signed_with(world, tmp_path, monkeypatch, pictures_png=raw))


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8, 9, 20])
@pytest.mark.parametrize("shape", [(1, 1), (97, 97), (1, 257), (256, 256, 3), (2, 600)])
def test_no_sheet_is_larger_than_verify_takes(columns: int, shape: tuple[int, ...]) -> None:
    shown = ACROSS * DOWN + 1
    held = Pictures(np.zeros((shown, *shape), np.uint8), np.zeros(shown, dtype=np.bool_))
    most = largest_sheet(columns)
    raw = sheet([held] * columns)
    with Image.open(io.BytesIO(raw)) as seen:
        assert seen.width <= most[0] and seen.height <= most[1]
    check_sheet(raw, most=most, where=SHEET)


@pytest.mark.parametrize(
    "files",
    [
        {"pictures_png": None},
        {"data__scan_zip": None},
        {"data__more_zip": b"x"},
        {"data__table_csv": None},
        {"data__table_csv": b""},
        {"data__table_csv": b"ill,scan\nTrue,scan/01.png\n"},
        {"data__table_csv": b"ill,scan,eye (left)\n\xff,,\n"},
        {"data__table_csv": b'ill,scan,eye (left)\n"True,scan/01.png,\n'},
        {"data__table_csv": b"ill,scan,eye (left)\n" + b"True,,\n" * 31},
        {"data__table_csv": b"ill,scan,eye (left)\nTrue,scan/01.png,\n"},
    ],
    ids=str,
)
def test_other_files_than_the_schema_asks_for_are_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes | None]
) -> None:
    with pytest.raises(BundleError):
        verify(signed_with(world, tmp_path, monkeypatch, **files))


@pytest.mark.parametrize(
    "told",
    [
        None,
        lambda p: p[:1],
        lambda p: p[::-1],
        lambda p: (p[0].model_copy(update={"pictures": 29}), p[1]),
        lambda p: (p[0].model_copy(update={"size": (4, 6)}), p[1]),
        lambda p: (p[0].model_copy(update={"file": "data/more.zip"}), p[1]),
    ],
)
def test_a_statement_of_other_pictures_is_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    changed = lambda synth, schema: told and told(told_of(synth, schema))  # noqa: E731
    monkeypatch.setattr("privsynth.release.bundle.told_of", changed)
    write_trust(tmp_path / "trust.json", world.trust)
    written = release(world).sign(world.key_path).write(tmp_path / "release")
    with pytest.raises(BundleError, match=r"other pictures|another number"):
        verify(written)


def test_a_statement_of_pictures_for_a_table_alone_is_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = PictureFile(column="scan", file=ZIPS[0], size=(6, 4), mode="L", pictures=1)
    monkeypatch.setattr("privsynth.release.bundle.told_of", lambda synth, schema: (told,))
    write_trust(tmp_path / "trust.json", world.trust)
    with pytest.raises(BundleError, match="other pictures"):
        verify(world.release().sign(world.key_path).write(tmp_path / "release"))


def test_zip_files_of_more_than_two_gib_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit, beyond which places stand in an extra field, brought down."""
    names = file_names("scan", 40)
    held = Pictures(np.zeros((40, 4, 6), dtype=np.uint8), np.zeros(40, dtype=np.bool_))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 2000)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scan.zip").write_bytes(packed(names, held))
    (tmp_path / CSV).write_text("\n".join(["scan", *names]) + "\n")
    monkeypatch.undo()
    with zipfile.ZipFile(tmp_path / "data" / "scan.zip") as big:
        assert any(m.extra for m in big.infolist())
    told = PictureFile(column="scan", file="data/scan.zip", size=(6, 4), mode="L", pictures=40)
    check_archives(tmp_path, (told,), rows=40)


LIGHT = """
import sys
for name in ("torch", "pandas", "numpy", "scipy", "pyarrow", "PIL", "sklearn", "safetensors", "dp_accounting"):
    sys.modules[name] = None  # an import of it raises ImportError
import privsynth
print(len(privsynth.verify(sys.argv[1]).pictures))
"""


def test_verifying_pictures_needs_no_heavy_package(bundle: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, str(bundle)], capture_output=True, text=True, check=False)
    assert done.stdout == "2\n", done.stderr


def test_a_flip_of_any_byte_is_found(bundle: Path) -> None:
    draw = np.random.default_rng(5)
    for path in (*ZIPS, SHEET):
        whole = (bundle / path).read_bytes()
        for at in draw.integers(0, len(whole), 8):
            (bundle / path).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(BundleError):
                verify(bundle)
        (bundle / path).write_bytes(whole)
    verify(bundle)


# --- the gate and the only door --------------------------------------------------------------------


RULED = (
    POLICY.partition("  membership:")[0].replace("held-back marginals: {max: 0.3}", "held-back marginals: {max: 0.99}")
    + "  pictures:\n    membership:\n      attack: neighbour\n      advantage: {upper bound max: 0.9}\n"
    + "release: {transcript: published}\nroles:"
    + POLICY.partition("roles:")[2]
)
"""Limits that every model keeps: of four fits the bound on the advantage was 0.01 to 0.05."""


def desk_under(policy: str, folder: Path) -> Desk:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[Desk.__module__], "POLICY", policy)
        return Desk(folder)


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Approved:
    """A model of digits that passed the gate."""
    desk = desk_under(RULED, tmp_path_factory.mktemp("ruled"))
    hold = desk.hold()
    return gate(desk.recipe.fit(desk.split.train, hold), desk.split, hold=hold, policy=desk.policy)


def test_what_the_model_draws_leaves_whole(world: Any, verdict: Approved, tmp_path: Path) -> None:
    synth = verdict.model.sample(50, where={"digit": 3}, seed=2)
    write_trust(tmp_path / "trust.json", world.trust)
    written = verdict.release(synth).sign(world.key_path).write(tmp_path / "release")
    found = verify(written)
    (told,) = found.pictures
    assert (told["column"], told["pictures"]) == ("scan", 50)
    raw = member((written / told["file"]).read_bytes(), "scan/07.png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(raw))), synth.pictures["scan"].pixels[6])
    assert found.transcript is not None
    assert ps.load_transcript(found.transcript).refit().id == verdict.model.id


@pytest.mark.parametrize("way", ["a pixel altered", "two swapped", "one missing", "none", "another draw's"])
def test_altered_pictures_do_not_leave(verdict: Approved, way: str) -> None:
    synth = verdict.model.sample(20, seed=2)
    held = synth.pictures["scan"]
    pixels = held.pixels.copy()
    match way:
        case "a pixel altered":
            pixels[4, 2, 3] ^= 1
        case "two swapped":
            pixels[[0, 1]] = pixels[[1, 0]]
        case "another draw's":
            pixels = verdict.model.sample(20, seed=3).pictures["scan"].pixels
    spoilt = Pictures(pixels, np.arange(20) == (0 if way == "one missing" else -1))
    with pytest.raises(HoldError, match="not the rows"):
        verdict.release(replace(synth, pictures={} if way == "none" else {"scan": spoilt}))


def test_pictures_without_rules_for_them_are_refused_before_any_spending(tmp_path: Path) -> None:
    desk = desk_under(POLICY, tmp_path)
    with pytest.raises(PolicyError, match="the pictures of scan") as caught:
        check_rules(desk.policy, desk.schema)
    assert caught.value.where and caught.value.mend
    hold = desk.hold()
    model = desk.recipe.fit(desk.split.train, hold)
    with pytest.raises(PolicyError, match="the pictures of scan"):
        gate(model, desk.split, hold=hold, policy=desk.policy)
    assert desk.ledger.attempts("lab-people") == 0
    check_rules(desk.policy, desk.schema.table)


def test_rules_for_pictures_that_there_are_none_of_are_refused(verdict: Approved) -> None:
    schema = verdict.model.schema
    check_rules(verdict.policy, schema)
    with pytest.raises(PolicyError, match="the schema has none") as caught:
        check_rules(verdict.policy, schema.table)
    assert caught.value.where and caught.value.mend


def test_a_png_is_what_was_drawn() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)
