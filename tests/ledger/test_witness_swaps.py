"""What a witness with a key signs goes on from what it signed: other memories, and questions that no ledger asked."""

from __future__ import annotations

import io
import shutil
import sys
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from privsynth.errors import LedgerError, StorageError
from privsynth.ledger import care
from privsynth.ledger.checkpoint import Checkpoint, introduced, introducing, origin_of
from privsynth.ledger.evidence import cosigned_by
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import LOGS
from privsynth.ledger.merkle import consistency, spans
from privsynth.ledger.witness import question
from privsynth.ledger.witness_key import KeyedWitness
from privsynth.policy.document import Policy
from privsynth.signing import SigningKey, Trust, write_trust
from tests.desk import cli
from tests.ledger.test_standing import House
from tests.ledger.test_witness import files_of
from tests.ledger.test_witness_key import NAME, at, keyed, naming
from tests.ledger.world import READER, USE, opened, policy, recipe


@pytest.fixture
def real(tmp_path: Path) -> KeyedWitness:
    return keyed(tmp_path / "own witness")


@pytest.fixture
def rules(real: KeyedWitness) -> Policy:
    return policy(naming(real.cosigner))


def reports(folder: Path, times: int) -> None:
    """Lines that cost nothing, under a policy that asks for no witness."""
    other = opened(folder, policy(), actor=READER)
    for _ in range(times):
        other.open_report("patients")


def mark_of(witness: KeyedWitness) -> bytes:
    """What its key says that it signed."""
    (mark,) = witness.path.parent.glob(".key.*.mark")
    return mark.read_bytes()


def forged(ledger: Ledger, key: SigningKey | None = None) -> tuple[str, int, tuple[bytes, ...]]:
    """The question after a line that the ledger never wrote, of the form that a witness takes; signed by ``key``."""
    with ledger.reading() as session:
        now = session.checkpoint()
        leaves = [*session.tx.hashes("main", 0, 0, now.size), bytes(32)]
    over = spans(leaves)
    after = Checkpoint(now.origin, now.size + 1, over(0, now.size + 1))
    note = f"{after.origin}\n{after.size}\n{b64encode(after.root).decode()}\n\n" if key is None else after.sign(key)
    return note, now.size, consistency(over, now.size, after.size)


def bare(folder: Path, witness: KeyedWitness) -> Ledger:
    """A ledger whose witness was never told its key, as those of earlier versions."""
    ledger = opened(folder, policy())
    with ledger.reading() as session:
        for log in LOGS:
            witness.accept(log, session.signed(session.checkpoint(log)), old=0, proof=())
    return opened(folder, policy(naming(witness.cosigner)), witness=witness)


# --- another memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False])
def test_a_longer_memory_of_another_history_ends_the_witness(
    tmp_path: Path, real: KeyedWitness, rules: Policy, reads: bool
) -> None:
    """Yesterday's ledger, grown past what was signed, and a memory of that, which takes no key to make."""
    ledger = opened(tmp_path, rules, witness=real)
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    ledger.reserve(recipe(2.9), **USE, request="spent")
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    reports(tmp_path, 3)
    (tmp_path / "mine").mkdir()
    mine = replace(files_of(tmp_path / "mine"), marked=True)
    opened(tmp_path, policy(), witness=mine)
    for read in (tmp_path / "own witness").glob("w.*.read"):
        read.unlink()
    for file in (tmp_path / "mine").iterdir():
        if reads or not file.name.endswith(".read"):
            shutil.copy(file, tmp_path / "own witness" / file.name)
    before, again = mark_of(real), keyed(tmp_path / "own witness")
    with pytest.raises(LedgerError, match=r"6 entries of the main log, which do not go on from the 4 that") as caught:
        opened(tmp_path, rules, witness=again)
    assert caught.value.exit_code == 4 and mark_of(real) == before
    with opened(tmp_path, policy()).reading() as session, pytest.raises(LedgerError, match="do not go on"):
        again.accept("main", session.signed(session.checkpoint()), old=6, proof=())


def test_a_memory_that_is_ahead_of_the_mark_by_any_number_of_steps_goes_on(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    """As after deaths between the two, or under a policy that asked the file alone."""
    opened(tmp_path, rules, witness=real)
    before = mark_of(real)
    for _ in range(3):
        reports(tmp_path, 1)
        opened(tmp_path, policy(), witness=real.memory)
    assert mark_of(real) == before
    assert opened(tmp_path, rules, witness=keyed(tmp_path / "own witness")).reserve(recipe(0.1), **USE)
    note = real.head("main")
    assert note is not None and Checkpoint.parse(note).size == 7


def test_deaths_between_memory_and_mark_one_after_another_lose_nothing(
    tmp_path: Path, real: KeyedWitness, rules: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    before = mark_of(real)

    def full(*_: object) -> None:
        raise StorageError("full", where="x", mend="y")

    with monkeypatch.context() as patched:
        patched.setattr(KeyedWitness, "_set_marks", full)
        for size in (3, 4):
            reports(tmp_path, 1)
            with ledger.reading() as session:
                note, proof = session.signed(session.checkpoint()), session.consistency(size)
            with pytest.raises(StorageError):
                real.accept("main", note, old=size, proof=proof)
    assert mark_of(real) == before
    assert ledger.reserve(recipe(0.1), **USE)
    assert mark_of(real) != before


# --- questions that no ledger asks -----------------------------------------------------------------


def test_what_could_not_be_signed_is_not_stored(tmp_path: Path, real: KeyedWitness) -> None:
    own = origin_of("a" * 32)
    good, stranger = Checkpoint(own, 3, bytes(32)).sign(real.key), keyed(real.path.parent / "other", "other").key
    text, _, line = good.partition("\n\n")
    odd = [
        text + "\n",
        text + "\n\n",
        text + "\n\nhello\n",
        text + "\n\n\n" + line,
        good + "\0",
        introducing(good, stranger.raw_public),
        good + "— x AAAA\n" * 9000,
        good.replace(f"— {own}", "— nobody"),
        *(
            Checkpoint(origin, 3, bytes(32)).sign(real.key)
            for origin in ("foo", f"{own}/attempts", origin_of("A" * 32))
        ),
        Checkpoint(own, 0, bytes(32)).sign(real.key),
    ]
    for note in odd:
        assert note != good
        with pytest.raises(LedgerError, match=r"refuses|not a checkpoint|not signed by the key"):
            real.accept("main", note, old=0, proof=())
    with pytest.raises(LedgerError, match="of the attempts log"):
        real.accept("attempts", good, old=0, proof=())
    assert real.memory.path.read_bytes() == b"" and not list(real.path.parent.glob(".key.*.mark"))
    told = introducing(good, real.key.raw_public)
    assert introduced(good) is None and introduced(told) == real.key.raw_public
    assert real.accept("main", told, old=0, proof=())


def test_a_line_that_no_ledger_signed_shuts_nothing(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    note, old, proof = forged(ledger)
    own = forged(ledger, real.key)[0]
    for bad in (note, note + "— nobody AAAAAAAA\n", own, introducing(own, real.key.raw_public)):
        with pytest.raises(LedgerError, match=r"signed by it|not signed by the key"):
            real.accept("main", bad, old=old, proof=proof)
    assert ledger.reserve(recipe(0.1), **USE)


def test_a_death_before_the_first_mark_forgets_no_key(
    tmp_path: Path, real: KeyedWitness, rules: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("full", where="x", mend="y")

    with monkeypatch.context() as patched, pytest.raises(StorageError):
        patched.setattr(KeyedWitness, "_set_marks", full)
        opened(tmp_path, rules, witness=real)
    note, old, proof = forged(opened(tmp_path, rules, witness=real), real.key)
    with pytest.raises(LedgerError, match="not signed by the key"):
        real.accept("main", note, old=old, proof=proof)


def test_a_witness_that_was_told_the_ledger_s_key_takes_nothing_of_another(
    tmp_path: Path, real: KeyedWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = bare(tmp_path, real)
    for name, key in (("trust.json", ledger.seal.key()), ("other.json", real.key)):
        write_trust(tmp_path / name, Trust.of(key.public(name="ledger", roles=("ledger",))))
    own = ("--key", real.path, "--name", NAME)
    for file, code in (("trust.json", 0), ("trust.json", 0), ("other.json", 4)):
        assert cli("ledger", "witness", real.memory.path, "key", *own, "--trust", tmp_path / file).code == code
    note, old, proof = forged(ledger, real.key)
    monkeypatch.setattr(sys, "stdin", io.StringIO(question(note, old=old, proof=proof)))
    assert cli("ledger", "witness", real.memory.path, "accept", "main", *own).code == 4
    assert ledger.reserve(recipe(0.1), **USE)
    note, old, proof = forged(ledger, real.key)
    real.memory.accept("main", note, old=old, proof=proof)  # by who may write to the file
    before = mark_of(real)
    with pytest.raises(LedgerError, match="not signed by the key"):
        keyed(tmp_path / "own witness").head("main")
    assert mark_of(real) == before


def test_a_key_that_did_not_sign_what_is_held_cannot_be_named(tmp_path: Path, real: KeyedWitness) -> None:
    ledger = bare(tmp_path, real)
    with pytest.raises(LedgerError, match="not signed by the key"):
        real.pin(real.key.raw_public)
    real.pin(ledger.seal.key().raw_public)
    with pytest.raises(LedgerError, match="told of another key"):
        real.pin(real.key.raw_public)
    assert ledger.reserve(recipe(0.1), **USE)
    assert all(real.head(log) for log in LOGS)


def test_an_altered_signature_in_an_export_is_found_by_who_knows_the_witness(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    care.export(ledger, tmp_path / "x.jsonl")
    raw = (tmp_path / "x.jsonl").read_bytes()
    before, name, after = raw.rpartition(f"— {NAME} ".encode())
    altered = after[:60] + (b"B" if after[60:61] == b"A" else b"A") + after[61:]
    (tmp_path / "x.jsonl").write_bytes(before + name + altered)
    found = care.read(tmp_path / "x.jsonl", key=ledger.seal.key().raw_public)
    with pytest.raises(LedgerError, match="no witness that you trust"):
        cosigned_by(found.note, [real.cosigner], where="x")


# --- a changed witness -----------------------------------------------------------------------------


def test_the_old_witness_is_shown_the_line_that_names_the_new_one(tmp_path: Path, real: KeyedWitness) -> None:
    """Then yesterday's ledger and policy find nobody who vouches for them."""
    house = House(tmp_path)
    first = house.write(naming(real.cosigner))
    house.approved()
    at(house, first, real)
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    other = keyed(tmp_path / "other", "other.example/witness")
    second = house.write(naming(other.cosigner), version="2")
    house.approved(before=first.sha256)
    ledger = at(house, second, other)
    with pytest.raises(LedgerError, match=r"PS-LED-002.*other\.example"):
        at(house, second, real)
    ledger.reserve(recipe(0.1), **USE)
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    with pytest.raises(LedgerError, match="set back or changed"):
        at(house, first, real)
