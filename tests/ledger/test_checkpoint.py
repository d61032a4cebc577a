"""Checkpoints: the form of C2SP, one key, one log, and no altered byte."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from privsynth.errors import IntegrityError, LedgerError, UsageError
from privsynth.ledger.checkpoint import Checkpoint, origin_of
from privsynth.signing import SigningKey, load_key, new_key, note_key_id, open_note, sign_note

ORIGIN = origin_of("ab" * 16)
ROOT = hashlib.sha256(b"root").digest()
NEUMANN = (  # the example of golang.org/x/mod/sumdb/note
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NEUMANN_KEY = b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]


def key_in(folder: Path, name: str = "k") -> SigningKey:
    new_key(folder / name, name="ledger")
    return load_key(folder / name)


def test_a_note_of_another_program_is_read() -> None:
    assert note_key_id("PeterNeumann", NEUMANN_KEY).hex() == "c74f20a3"
    text = open_note(NEUMANN, name="PeterNeumann", public=NEUMANN_KEY)
    assert text.endswith("what your problem is.\n")
    with pytest.raises(IntegrityError, match="not signed"):
        open_note(NEUMANN.replace("think", "thinq"), name="PeterNeumann", public=NEUMANN_KEY)


def test_a_checkpoint_has_three_lines_and_one_signature(tmp_path: Path) -> None:
    key = key_in(tmp_path)
    note = Checkpoint(ORIGIN, 17, ROOT).sign(key)
    origin, size, root, blank, line, end = note.split("\n")
    assert (origin, size, b64decode(root), blank, end) == (ORIGIN, "17", ROOT, "", "")
    dash, name, signed = line.split(" ")
    assert (dash, name) == ("—", ORIGIN)
    key_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + key.raw_public).digest()[:4]
    assert b64decode(signed)[:4] == key_id
    assert len(b64decode(signed)) == 68
    assert Checkpoint(ORIGIN, 17, ROOT).sign(key) == note
    assert Checkpoint.read(note, origin=ORIGIN, public=key.raw_public) == Checkpoint(ORIGIN, 17, ROOT)


def test_lines_of_other_keys_are_passed_over(tmp_path: Path) -> None:
    key = key_in(tmp_path)
    note = Checkpoint(ORIGIN, 17, ROOT).sign(key)
    witnessed = note + "— witness.example " + b64encode(bytes(76)).decode() + "\n"
    assert Checkpoint.read(witnessed, origin=ORIGIN, public=key.raw_public).size == 17


def test_every_altered_character_is_found(tmp_path: Path) -> None:
    key = key_in(tmp_path)
    note = Checkpoint(ORIGIN, 17, ROOT).sign(key)
    for at in range(len(note)):
        for other in {"0", "A", "\n", " ", chr(ord(note[at]) ^ 1)} - {note[at]}:
            with pytest.raises(LedgerError):
                Checkpoint.read(note[:at] + other + note[at + 1 :], origin=ORIGIN, public=key.raw_public)
        with pytest.raises(LedgerError):
            Checkpoint.read(note[:at], origin=ORIGIN, public=key.raw_public)


def test_another_key_or_log_is_refused(tmp_path: Path) -> None:
    key, other = key_in(tmp_path), key_in(tmp_path, "other")
    note = Checkpoint(ORIGIN, 17, ROOT).sign(key)
    with pytest.raises(LedgerError, match="not signed"):
        Checkpoint.read(note, origin=ORIGIN, public=other.raw_public)
    with pytest.raises(LedgerError, match="not signed"):
        Checkpoint.read(note, origin=origin_of("cd" * 16), public=key.raw_public)
    borrowed = sign_note(Checkpoint(ORIGIN, 17, ROOT).sign(key).partition("\n\n")[0] + "\n", name="n", key=key)
    with pytest.raises(LedgerError, match="not of n"):
        Checkpoint.read(borrowed, origin="n", public=key.raw_public)


@pytest.mark.parametrize("text", ["", "a\n1\n", "a\n01\n" + "A" * 43 + "=\n", "a\n-1\n" + "A" * 43 + "=\n"])
def test_other_texts_are_no_checkpoint(tmp_path: Path, text: str) -> None:
    with pytest.raises(LedgerError, match="not a checkpoint"):
        Checkpoint.parse(text)


def test_a_note_ends_its_lines_and_has_a_plain_name(tmp_path: Path) -> None:
    key = key_in(tmp_path)
    for text, name in (("a", "n"), ("a\n\nb\n", "n"), ("a\n", "n m"), ("a\n", "n+m"), ("a\n", "")):
        with pytest.raises(UsageError, match="note"):
            sign_note(text, name=name, key=key)
