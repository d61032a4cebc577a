"""The only door out: what it lets through, what it refuses, and that it writes whole or not at all."""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pydantic
import pytest

from privsynth import __version__
from privsynth.data.records import Synthetic
from privsynth.documents import canonical, sha256
from privsynth.errors import (
    BundleError,
    HoldError,
    KeyFileError,
    ModelError,
    PrivsynthError,
    ReleaseRefused,
    SeededNoise,
    StorageError,
)
from privsynth.release.claims import Claims
from privsynth.release.manifest import Manifest, walk
from privsynth.release.predicate import CSV, PARQUET, Predicate
from privsynth.release.signed import SignedRelease
from privsynth.release.verify import verify
from privsynth.signing import new_key, write_trust

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FILES = {
    CSV,
    PARQUET,
    "card.json",
    "card.md",
    "manifest.json",
    "policy.resolved.json",
    "privacy.json",
    "privacy.md",
    "schema.json",
    "statement.dsse.json",
}


def signed(world: Any, now: datetime = NOW) -> SignedRelease:
    out: SignedRelease = world.release().sign(world.key_path, now=now)
    return out


def payload(bundle: SignedRelease) -> dict[str, Any]:
    envelope = json.loads(bundle.files["statement.dsse.json"])
    out: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return out


def test_what_a_bundle_holds(world: Any, original: Path) -> None:
    assert set(walk(original)) == FILES
    for path in FILES:
        if path.endswith(".json"):
            raw = (original / path).read_bytes()
            assert canonical(json.loads(raw)) == raw, path


def test_the_rows_are_those_of_the_model(world: Any, original: Path) -> None:
    frame = world.synth.frame
    back = pq.read_table(original / PARQUET).to_pandas()
    assert list(back.columns) == list(frame.columns) == ["id", "age", "sex", "pregnant", "charge", "admitted"]
    assert back.astype(object).where(back.notna(), None).values.tolist() == (
        frame.astype(object).where(frame.notna(), None).values.tolist()
    )
    raw = (original / CSV).read_bytes()
    assert raw.count(b"\n") == len(frame) + 1 and b"\r" not in raw
    text = pd.read_csv(io.BytesIO(raw))
    assert text["admitted"].iloc[0] == "2020-01-01"
    assert text["charge"].isna().tolist() == frame["charge"].isna().tolist()
    assert pq.read_schema(original / PARQUET).metadata is None


def test_the_statement_names_every_file(world: Any) -> None:
    bundle = signed(world)
    statement = payload(bundle)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://privsynth.dev/release/v1"
    named = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert named == {path: sha256(data) for path, data in bundle.files.items() if path != "statement.dsse.json"}
    listed = Manifest.from_bytes(bundle.files["manifest.json"])
    assert {entry.path for entry in listed.files} == FILES - {"manifest.json", "statement.dsse.json"}


def test_what_the_predicate_says(world: Any) -> None:
    predicate = payload(signed(world))["predicate"]
    assert set(predicate) == {
        "privsynth-release",
        "claims",
        "condition",
        "created",
        "model",
        "policy",
        "receipt",
        "recipient",
        "rows",
        "schema",
        "software",
        "balance",
        "draw",
    }
    assert predicate["receipt"] == world.receipt.to_json()
    assert predicate["claims"] == world.claims.published()
    assert predicate["condition"] == {"sex": ["F", "M", "X"]}
    assert (predicate["balance"], predicate["draw"]) == ({"pregnant": "equal"}, "even")
    assert (predicate["recipient"], predicate["rows"]) == ("university-hospital", 60)
    assert predicate["created"] == "2026-11-21T12:00:00+00:00"
    assert predicate["software"]["privsynth"] == __version__
    assert {"python", "numpy", "pandas", "pyarrow"} <= set(predicate["software"])


def test_a_predicate_from_before_balances_is_read(world: Any) -> None:
    predicate = payload(signed(world))["predicate"]
    del predicate["balance"], predicate["draw"]
    read = Predicate.model_validate(predicate)
    assert (read.balance, read.draw) == ({}, "independent")


def test_guidance_is_signed_where_there_was_some(world: Any, tmp_path: Path) -> None:
    guided = world.release(synth=replace(world.release().synth, guidance=1.5))
    signed_ = guided.sign(world.key_path)
    assert payload(signed_)["predicate"]["guidance"] == 1.5
    assert json.loads(signed_.files["card.json"])["guidance"] == 1.5
    write_trust(tmp_path / "trust.json", world.trust)
    assert verify(signed_.write(tmp_path / "release")).guidance == 1.5
    with pytest.raises(pydantic.ValidationError):
        Predicate.model_validate({**payload(signed_)["predicate"], "guidance": 9.0})


def test_the_same_release_is_the_same_bytes(world: Any) -> None:
    first, again, later = signed(world), signed(world), signed(world, NOW + timedelta(days=1))
    assert first.files == again.files
    changed = {path for path in FILES if first.files[path] != later.files[path]}
    assert changed == {"statement.dsse.json"}


# --- refusals -----------------------------------------------------------------------------------


def test_seeded_noise_never_leaves(world: Any) -> None:
    with pytest.raises(SeededNoise) as caught:
        world.with_receipt(noise="seeded")
    assert caught.value.exit_code == 4
    seeded = replace(world.receipt, noise="seeded")
    with pytest.raises(SeededNoise):
        world.release(synth=replace(world.synth, receipt=seeded))
    with pytest.raises(SeededNoise):
        world.release(receipt=seeded)


def test_what_the_gate_did_not_pass_never_leaves(world: Any) -> None:
    first, second = world.claims.findings
    with pytest.raises(ReleaseRefused) as caught:
        world.release(claims=Claims((first, replace(second, passed=False, figure="0.93"))))
    assert caught.value.rules == ("PS-GATE-MEM",)
    assert "0.93" not in str(caught.value)
    with pytest.raises(ReleaseRefused, match="no rule"):
        world.release(claims=Claims(()))


def other_rows(world: Any, **columns: Any) -> Synthetic:
    synth: Synthetic = world.synth
    return replace(synth, frame=synth.frame.assign(**columns))


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (HoldError, lambda w: w.release(model_id="cd" * 32)),
        (HoldError, lambda w: w.release(synth=replace(w.synth, model_id="cd" * 32))),
        (HoldError, lambda w: w.release(receipt=replace(w.receipt, recipient="another"))),
        (ModelError, lambda w: w.with_receipt(schema="00" * 32)),
        (ModelError, lambda w: w.release(synth=replace(w.synth, schema=w.schema.model_copy(update={"order": ("x",)})))),
        (BundleError, lambda w: w.release(policy_sha256="00" * 32)),
        (BundleError, lambda w: w.release(policy={"id": "loose"})),
        (ModelError, lambda w: w.release(synth=other_rows(w, secret=1))),
        (ModelError, lambda w: w.release(synth=other_rows(w, sex="=cmd()"))),
        (ModelError, lambda w: w.release(synth=replace(w.synth, frame=w.synth.frame.drop(columns="sex")))),
        (ModelError, lambda w: w.release(synth=replace(w.synth, frame=w.synth.frame[w.synth.frame.columns[::-1]]))),
        (ModelError, lambda w: w.release(synth=replace(w.synth, frame=w.synth.frame.iloc[:0]))),
        (ModelError, lambda w: w.with_receipt(cap_epsilon=0.0).sign(w.key_path)),
        (KeyFileError, lambda w: w.release().sign(w.key_path.parent / "none")),
        (KeyFileError, lambda w: w.release().sign(w.key_path, b"not needed")),
    ],
)
def test_what_does_not_fit_never_leaves(world: Any, error: type[PrivsynthError], make: Any) -> None:
    with pytest.raises(error) as caught:
        make(world)
    assert caught.value.what and caught.value.where and caught.value.mend


def test_a_locked_key_signs(world: Any, tmp_path: Path) -> None:
    new_key(tmp_path / "k", name="Kim", passphrase=b"secret")
    world.release().sign(tmp_path / "k", b"secret")


def test_nothing_of_the_rows_is_printed(world: Any) -> None:
    assert repr(world.release()) == "Release(60 rows of 'ehr/encounters' for 'university-hospital')"
    assert repr(signed(world)) == "SignedRelease(10 files)"


# --- writing ------------------------------------------------------------------------------------


def test_an_existing_target_is_refused(world: Any, tmp_path: Path) -> None:
    bundle = signed(world)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "folder", "link", "."):
        with pytest.raises(StorageError, match="exists") as caught:
            bundle.write(tmp_path / name)
        assert caught.value.mend
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "link"]
    bundle.write(tmp_path / "new" / "deep" / "release")
    with pytest.raises(StorageError, match="exists"):
        bundle.write(tmp_path / "new" / "deep" / "release")
    assert [p.name for p in (tmp_path / "new" / "deep").iterdir()] == ["release"]


def test_a_place_that_cannot_be_written_is_refused(world: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file" / "release", Path("/proc/release"), tmp_path / ("x" * 300)):
        with pytest.raises(StorageError, match="nothing was left behind"):
            signed(world).write(target)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(world: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="nothing was left behind"):
        signed(world).write(tmp_path / "release")
    tmp_path.chmod(0o700)


FULL = """
import json, resource, sys
from pathlib import Path
from privsynth.errors import StorageError
from privsynth.release.signed import SignedRelease
bundle = SignedRelease({"a": b"x" * 100, "data/b": b"y" * 9000})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    bundle.write(sys.argv[1])
except StorageError as fault:
    print(fault.mend, list(Path(sys.argv[1]).parent.iterdir()))
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the write fails half way through."""
    assert resource.RLIMIT_FSIZE is not None
    command = [sys.executable, "-c", FULL, str(tmp_path / "release")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "make room on the disk []\n", done.stderr


class Stopped(Mapping[str, bytes]):
    """Files of which the second cannot be read: the user pressed Ctrl-C."""

    def __getitem__(self, path: str) -> bytes:
        if path == "b":
            raise KeyboardInterrupt
        if path != "a":
            raise KeyError(path)
        return b"x"

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        SignedRelease(Stopped()).write(tmp_path / "release")
    assert list(tmp_path.iterdir()) == []
