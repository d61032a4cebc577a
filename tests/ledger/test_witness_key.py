"""A witness with a key, and a policy that says which: nobody else stands in for it, and it forgets nothing unseen."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from privsynth.errors import ApprovalMissing, KeyFileError, LedgerError
from privsynth.ledger import care
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.entry import LogName
from privsynth.ledger.evidence import SOLD, check_evidence, check_sale, cosigned_by, witnesses_of
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import LOGS
from privsynth.ledger.steps import Status
from privsynth.ledger.store import look_at_ledger, open_ledger
from privsynth.ledger.witness import CommandWitness, Witness, question
from privsynth.ledger.witness_file import FileWitness
from privsynth.ledger.witness_http import HttpWitness
from privsynth.ledger.witness_key import KeyedWitness
from privsynth.policy.document import Policy
from privsynth.privacy.events import Receipt
from privsynth.signing import Cosigner, Trust, cosign, load_key, new_key, open_note, sign_note, write_trust
from tests.desk import cli
from tests.ledger.anywhere import in_children
from tests.ledger.people import People, restored
from tests.ledger.test_restore import copied, gone
from tests.ledger.test_standing import House
from tests.ledger.test_witness import files_of, serving
from tests.ledger.world import ANALYST, NOON, USE, Hands, fit, gate, kinds, opened, policy, recipe

NAME = "st-anna.example/witness"


def keyed(folder: Path, name: str = NAME) -> KeyedWitness:
    """A witness in a folder of its own, with a key of its own."""
    folder.mkdir(exist_ok=True)
    if not (folder / "key").exists():
        new_key(folder / "key", name=name, roles=("witness",))
        files_of(folder)
    return KeyedWitness(FileWitness(folder / "w", marked=True), load_key(folder / "key"), folder / "key", name)


def naming(cosigner: Cosigner | str) -> tuple[str, str]:
    """An edit by which a policy names this witness."""
    line = cosigner if isinstance(cosigner, str) else cosigner.line
    return "\nroles:", f'\nledger: {{witness: required, witness key: "{line}"}}\nroles:'


@dataclass
class Post:
    """A witness that is asked over something that an attacker may stand in: it keeps what was answered, and can put
    other answers in."""

    real: Witness
    heads: list[str]
    lines: list[str]
    head_says: str | None = None
    line_says: str | None = None

    def head(self, log: LogName) -> str | None:
        """See the protocol, as below."""
        if self.head_says is not None and log == "main":
            return self.head_says
        found = self.real.head(log)
        self.heads += [found] if found is not None and log == "main" else []
        return found

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        line = self.line_says if self.line_says is not None and log == "main" else None
        if line is None:
            line = self.real.accept(log, note, old=old, proof=proof)
            self.lines += [line] if log == "main" else []
        return line


@pytest.fixture
def real(tmp_path: Path) -> KeyedWitness:
    return keyed(tmp_path / "own witness")


@pytest.fixture
def rules(real: KeyedWitness) -> Policy:
    return policy(naming(real.cosigner))


# --- nobody else will do ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["itself", "http"])
def test_the_witness_that_is_named_lets_everything_through(
    tmp_path: Path, real: KeyedWitness, rules: Policy, kind: str
) -> None:
    asked: Witness = real
    with ExitStack() as stack:
        if kind == "http":
            asked = HttpWitness(f"http://127.0.0.1:{stack.enter_context(serving(real)).server_port}/")
        hold = opened(tmp_path, rules, witness=asked).reserve(recipe(0.1), **USE, request="monday")
        gate(fit(hold))
        assert opened(tmp_path, rules, witness=asked).reserve(recipe(0.1), **USE, request="monday") == hold
        note = asked.head("main")
    assert note is not None and real.cosigner.cosigned(note).name == NAME


def test_a_command_signs_too(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    opened(tmp_path, rules, witness=real)
    opened(tmp_path).reserve(recipe(0.1), **USE)  # under a policy that asks nobody
    asked = CommandWitness((sys.executable, "-c", _COMMAND, str(real.memory.path), str(real.path), NAME))
    look_at_ledger(f"sqlite:///{tmp_path / 'l.db'}", rules, actor=ANALYST, clock=Hands(), witness=asked)
    note = real.memory.head("main")
    assert note is not None and Checkpoint.parse(note).size == 4


_COMMAND = """
import sys
from pathlib import Path
from privsynth.ledger.witness import understood_question
from privsynth.ledger.witness_file import FileWitness
from privsynth.ledger.witness_key import KeyedWitness
from privsynth.signing import load_key

file, key, name, verb, log = sys.argv[1:]
own = KeyedWitness(FileWitness(Path(file)), load_key(key), Path(key), name)
if verb == "head":
    said = own.head(log) or ""
else:
    note, old, proof = understood_question(sys.stdin.buffer.read().decode())
    said = own.accept(log, note, old=old, proof=proof)
sys.stdout.buffer.write(said.encode())
"""


def test_a_fresh_witness_by_another_hand_cannot_stand_in(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    """Yesterday's copy, and a witness that was made just now: with any key, under any name, or with none."""
    opened(tmp_path, rules, witness=real)
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    opened(tmp_path, rules, witness=real).reserve(recipe(0.5), **USE)
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    (tmp_path / "blank").mkdir()
    strangers: list[Witness] = [files_of(tmp_path / "blank"), keyed(tmp_path / "a"), keyed(tmp_path / "b", "other")]
    for stranger in strangers:
        with pytest.raises(LedgerError, match=f"PS-LED-002.*{NAME}") as caught:
            opened(tmp_path, rules, witness=stranger)
        assert (caught.value.exit_code, caught.value.where) == (4, "witness")
        with pytest.raises(LedgerError, match="PS-LED-002"):
            look_at_ledger(f"sqlite:///{tmp_path / 'l.db'}", rules, actor=ANALYST, witness=stranger)
    with pytest.raises(LedgerError, match="set back"):
        opened(tmp_path, rules, witness=real)
    assert (tmp_path / "l.db").read_bytes() == (tmp_path / "yesterday").read_bytes()


def test_a_ledger_that_was_made_with_the_wrong_witness_goes_on_with_the_right_one(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    with pytest.raises(LedgerError, match="PS-LED-002"):
        opened(tmp_path, rules, witness=keyed(tmp_path / "a"))
    assert opened(tmp_path, rules, witness=real).reserve(recipe(0.1), **USE)


def test_without_the_cosignature_nothing_is_handed_out_and_what_was_paid_is_found(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    post = Post(real, [], [])
    ledger = opened(tmp_path, rules, witness=post)
    for bad in ("", "ok\n", post.lines[0], post.lines[0].replace("A", "B", 1), post.lines[0] * 2):
        post.line_says = bad
        with pytest.raises(LedgerError, match="PS-LED-002"):
            ledger.reserve(recipe(0.1), **USE, request="monday")
        with pytest.raises(LedgerError, match="PS-LED-002"):
            ledger.find("monday")
    assert kinds(ledger).count("reserve") == 1
    post.line_says = None
    hold = ledger.reserve(recipe(0.1), **USE, request="monday")
    post.line_says = post.lines[-1]  # of the checkpoint before
    with pytest.raises(LedgerError, match="PS-LED-002"):
        hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    assert ledger.status(hold.id) is Status.OPENED
    post.line_says = None
    assert ledger.hold(hold.id) == hold
    assert kinds(ledger).count("reserve") == 1


def test_an_older_cosignature_shows_an_older_copy_and_sells_nothing_of_it(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    """Whoever stands between can play back what was signed of that copy: it was the newest once. What is new in it
    nobody has signed."""
    post = Post(real, [], [])
    opened(tmp_path, rules, witness=post)
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    old = real.head("main"), real.head("attempts")
    opened(tmp_path, rules, witness=post).reserve(recipe(0.5), **USE)
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    assert old[0] is not None
    post.head_says = old[0]
    ledger = opened(tmp_path, rules, witness=post)
    for line in (None, post.lines[0], post.lines[-1]):
        post.line_says = line
        with pytest.raises(LedgerError, match=r"refuses|PS-LED-002"):
            ledger.reserve(recipe(0.5), **USE)


def test_a_cosignature_of_another_ledger_or_log_is_none(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    post = Post(real, [], [])
    opened(tmp_path, rules, witness=post)
    with opened(tmp_path, rules, witness=real).reading() as session:
        notes = {log: session.signed(session.checkpoint(log)) for log in ("main", "attempts")}
    attempts = real.accept("attempts", notes["attempts"], old=1, proof=())
    assert real.cosigner.cosigned(notes["attempts"] + attempts)
    post.head_says, post.line_says = notes["main"], attempts
    with pytest.raises(LedgerError, match="PS-LED-002"):
        opened(tmp_path, rules, witness=post)
    other = Checkpoint("privsynth.dev/ledger/other", 3, bytes(32)).sign(load_key(real.path))
    post.line_says = cosign(other, name=NAME, key=real.key, seconds=7)
    with pytest.raises(LedgerError, match="PS-LED-002"):
        opened(tmp_path, rules, witness=post)


def test_a_witness_whose_head_is_not_signed_is_asked_for_the_same_again(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    """A server may give the bare checkpoint, and its memory may be older than its key."""
    opened(tmp_path, policy(), witness=real.memory)
    post = Post(real, [], [])
    bare = real.memory.head("main")
    assert bare is not None
    post.head_says = bare
    look_at_ledger(f"sqlite:///{tmp_path / 'l.db'}", rules, actor=ANALYST, clock=Hands(), witness=post)
    assert len(post.lines) == 1 and real.cosigner.cosigned(bare + post.lines[0])


# --- a witness that forgets ------------------------------------------------------------------------


def test_a_memory_that_is_gone_emptied_or_set_back_ends_the_witness(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    older = {name: (tmp_path / "own witness" / name).read_bytes() for name in ("w", "w.attempts")}
    ledger.reserve(recipe(0.1), **USE)
    newest = (tmp_path / "own witness" / "w").read_bytes()
    with ledger.reading() as session:
        note = session.signed(session.checkpoint())
    for left, has in ((b"", 0), (older["w"], 3)):
        (tmp_path / "own witness" / "w").write_bytes(left)
        for mark in (tmp_path / "own witness").glob("w.*.read"):
            mark.unlink()
        again = keyed(tmp_path / "own witness")
        with pytest.raises(LedgerError, match=f"does not remember what it must.*signed 4 .*has {has}") as caught:
            again.head("main")
        assert "a witness with a new key" in caught.value.mend
        with pytest.raises(LedgerError, match="does not remember what it must"):
            again.accept("main", note, old=0, proof=())
        with pytest.raises(LedgerError, match="does not remember"):
            opened(tmp_path, rules, witness=again)
    (tmp_path / "own witness" / "w").write_bytes(newest)
    opened(tmp_path, rules, witness=keyed(tmp_path / "own witness"))


def test_a_key_signs_for_one_ledger_only(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    """A ledger that is deleted and begun anew, with a new file for the same witness."""
    opened(tmp_path, rules, witness=real)
    (tmp_path / "new").mkdir()
    elsewhere = replace(real, memory=files_of(tmp_path / "new"))
    for log in LOGS:
        with pytest.raises(LedgerError, match=f"its key has signed [13] entries of the {log} log"):
            elsewhere.head(log)
    (mark,) = (tmp_path / "own witness").glob(".key.*.mark")
    whole = mark.read_bytes()
    mark.write_bytes(b"x" + whole)
    with pytest.raises(LedgerError, match="cannot be read"):
        real.head("main")
    mark.write_bytes(whole)
    (tmp_path / "new" / "w").unlink()
    shutil.copy(tmp_path / "own witness" / "w", tmp_path / "new" / "w")
    (tmp_path / "l.db").unlink()
    (tmp_path / "l.db.key").unlink()
    with pytest.raises(LedgerError, match="there is no ledger, but its witness remembers one"):
        opened(tmp_path, rules, witness=real)
    mark.unlink()  # its owner gave up file and mark: this is what no key can show
    real.memory.path.write_bytes(b"")
    (tmp_path / "own witness" / "w.attempts").write_bytes(b"")
    for read in (tmp_path / "own witness").glob("w.*.read"):
        read.unlink()
    opened(tmp_path, rules, witness=keyed(tmp_path / "own witness"))


def test_another_ledger_s_checkpoint_is_refused_though_the_second_log_is_new(
    tmp_path: Path, real: KeyedWitness
) -> None:
    with opened(tmp_path).reading() as session:
        real.accept("main", session.signed(session.checkpoint()), old=0, proof=())
    with opened(tmp_path, name="other.db").reading() as session:
        note = session.signed(session.checkpoint("attempts"))
    with pytest.raises(LedgerError, match="has signed for another ledger"):
        real.accept("attempts", note, old=0, proof=())
    assert real.memory.head("attempts") is None


@pytest.mark.parametrize("step", ["_set_marks", "_signed"])
@pytest.mark.parametrize("before", [True, False])
def test_kill_9_between_memory_mark_and_signature_loses_nothing(
    tmp_path: Path, real: KeyedWitness, rules: Policy, step: str, before: bool
) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    child = os.fork()
    if child == 0:
        try:
            genuine = getattr(KeyedWitness, step)

            def dies(*given: object) -> None:
                if not before:
                    genuine(*given)
                os.kill(os.getpid(), signal.SIGKILL)

            ledger_ = replace(ledger, witness=keyed(tmp_path / "own witness"))
            ledger_.show()
            setattr(KeyedWitness, step, dies)
            ledger_.reserve(recipe(0.1), **USE, request="monday")
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    again = opened(tmp_path, rules, witness=keyed(tmp_path / "own witness"))
    assert again.reserve(recipe(0.1), **USE, request="monday")
    assert kinds(again).count("reserve") == 1


def test_several_at_once_are_signed_in_order(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    opened(tmp_path, rules, witness=real)

    def sells() -> str:
        ledger = opened(tmp_path, rules, witness=keyed(tmp_path / "own witness"))
        return ",".join(ledger.reserve(recipe(0.001), **USE).id for _ in range(3))

    told = in_children(sells)
    assert len({one for line in told for one in line.split(",")}) == 12
    note = keyed(tmp_path / "own witness").head("main")
    assert note is not None and Checkpoint.parse(note).size == 3 + 12


def test_names_and_keys_that_nobody_could_name_are_refused(tmp_path: Path) -> None:
    for name in ("two words", "a+b", ""):
        with pytest.raises(KeyFileError):
            replace(keyed(tmp_path / "x"), name=name)


# --- a changed policy ------------------------------------------------------------------------------


def at(house: House, rules: Policy, witness: Witness) -> Ledger:
    """The house's ledger under this state of its file."""
    return open_ledger(house.url, rules, actor=ANALYST, clock=house.clock, witness=witness)


def test_a_file_edited_alone_does_not_choose_the_witness(tmp_path: Path, real: KeyedWitness) -> None:
    house = House(tmp_path)
    first = house.write(naming(real.cosigner))
    house.approved()
    ledger = at(house, first, real)
    hold = ledger.reserve(recipe(0.1), **USE)
    hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    shutil.copy(tmp_path / "l.db", tmp_path / "before")
    assert hold.lease(5) == 1
    shutil.copy(tmp_path / "before", tmp_path / "l.db")
    own = keyed(tmp_path / "own", "mallory")
    for edits in ((naming(own.cosigner),), ()):
        edited = house.write(*edits, version="2")
        forged = replace(ledger, policy=edited, witness=own)
        for witness in (own, None):
            with pytest.raises(LedgerError, match=f"PS-LED-002.*{NAME}"):
                replace(forged, witness=witness).hold(hold.id)
            with pytest.raises(LedgerError, match=f"PS-LED-002.*{NAME}"):
                replace(hold, ledger=replace(forged, witness=witness)).decide("ab" * 32)
        with pytest.raises(ApprovalMissing):
            replace(forged, witness=own).reserve(recipe(0.1), **USE)


def test_another_witness_takes_a_changed_policy_that_people_approve(tmp_path: Path, real: KeyedWitness) -> None:
    house = House(tmp_path)
    first = house.write(naming(real.cosigner))
    house.approved()
    at(house, first, real).reserve(recipe(0.1), **USE)
    other = keyed(tmp_path / "other", "other.example/witness")
    second = house.write(naming(other.cosigner), version="2")
    with pytest.raises(LedgerError, match="PS-LED-002"):
        at(house, second, other)
    house.approved(before=first.sha256)
    at(house, second, other).reserve(recipe(0.1), **USE)
    with pytest.raises(LedgerError, match="PS-LED-002"):
        at(house, second, real)
    with pytest.raises(LedgerError, match=r"PS-LED-002.*other\.example"):
        look_at_ledger(f"sqlite:///{tmp_path / 'l.db'}", first, actor=ANALYST, clock=Hands(), witness=real)


# --- restore ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["backup", "export"])
def test_a_restore_believes_the_witness_that_is_named_and_no_other(
    tmp_path: Path, real: KeyedWitness, rules: Policy, form: str
) -> None:
    people = People(tmp_path / "keys")
    opened(tmp_path, rules, witness=real)
    yesterday = copied(tmp_path, form, "yesterday", rules=rules, witness=real)
    opened(tmp_path, rules, witness=real).reserve(recipe(0.1), **USE)
    today = copied(tmp_path, form, "today", rules=rules, witness=real)
    where = gone(tmp_path)
    stranger = keyed(tmp_path / "own", "mallory")
    with opened(tmp_path / "own", name="x.db").reading() as session:
        assert session.public  # a ledger of its own, not of this witness
    stranger.memory.path.write_bytes(_first_line(real))
    shutil.copy(tmp_path / "own witness" / "w.attempts", tmp_path / "own" / "w.attempts")
    with pytest.raises(LedgerError, match="PS-LED-002"):
        restored(yesterday, where, people, rules, witness=stranger)
    assert not (tmp_path / "l.db").exists()
    assert restored(today, where, people, rules, witness=real).lost is False
    opened(tmp_path, rules, witness=real).reserve(recipe(0.1), **USE)


def _first_line(witness: KeyedWitness) -> bytes:
    return witness.memory.path.read_bytes().splitlines(keepends=True)[0]


# --- what a release and a model carry --------------------------------------------------------------


def test_evidence_carries_both_signatures(tmp_path: Path, real: KeyedWitness, rules: Policy) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    hold = fit(ledger.reserve(recipe(0.1), **USE))
    gate(hold)
    hold.approve({"findings": []})
    ledger.reserve(recipe(0.1), **USE)
    files = hold.evidence()
    note, listing = files["checkpoint.txt"], files["inclusion.json"]
    key = ledger.seal.key().raw_public
    stranger = keyed(tmp_path / "own")
    found = check_evidence(note, listing, keys=[key], where="x", witnesses=[stranger.cosigner, real.cosigner])
    assert found.witness is not None and found.witness.name == NAME
    assert found.checkpoint.size == 9 > found.approve.seq + 1
    assert note.count("—".encode()) == 2
    assert check_evidence(note, listing, keys=[key], where="x").witness is None
    bare = note.decode().replace(found.witness.line, "").encode()
    for wrong, who in ((note, [stranger.cosigner]), (bare, [real.cosigner]), (note, [])):
        with pytest.raises(LedgerError, match="no witness that you trust"):
            check_evidence(wrong, listing, keys=[key], where="x", witnesses=who)
    check_evidence(bare, listing, keys=[key], where="x")
    assert b"/attempts" not in note + listing
    told: Receipt = hold.receipt(noise="os-secure", schema="", person_rows=12)
    assert check_sale(told, where="x", witnesses=[real.cosigner]).witness is not None
    assert SOLD == ("reserve",)


def test_an_export_is_checked_by_a_trust_file_that_lists_the_witness(
    tmp_path: Path, real: KeyedWitness, rules: Policy
) -> None:
    ledger = opened(tmp_path, rules, witness=real)
    care.export(ledger, tmp_path / "x.jsonl")
    care.export(opened(tmp_path, policy()), tmp_path / "bare.jsonl")
    assert care.checkpoint(ledger).count("—") == 2
    key = ledger.seal.key().public(name="ledger", roles=("ledger",))
    write_trust(tmp_path / "trust.json", Trust.of(key, real.trusted))
    said = cli("ledger", "check", tmp_path / "x.jsonl", "--trust", tmp_path / "trust.json", "--json")
    assert (said.code, said.json["witness"]) == (0, NAME)
    assert "T" in said.json["witnessed"]
    told = cli("ledger", "check", tmp_path / "x.jsonl", "--trust", tmp_path / "trust.json")
    assert f"witnessed: {NAME}" in told.out
    said = cli("ledger", "check", tmp_path / "bare.jsonl", "--trust", tmp_path / "trust.json", "--json")
    assert said.code == 4 and "no witness that you trust" in said.json["what"]
    write_trust(tmp_path / "old.json", Trust.of(key))
    assert cli("ledger", "check", tmp_path / "x.jsonl", "--trust", tmp_path / "old.json").code == 0


def test_expired_keys_of_witnesses_do_not_count(real: KeyedWitness) -> None:
    note = sign_note("a\n1\nb\n", name="a", key=real.key)
    note += cosign(note, name=NAME, key=real.key, seconds=1)
    late = real.key.public(name=NAME, roles=("witness",), expires=NOON.date().replace(year=2025))
    assert witnesses_of(Trust.of(real.key.public(name="x")), NOON) is None
    assert witnesses_of(Trust.of(late), NOON) == ()
    with pytest.raises(LedgerError, match="no witness that you trust"):
        cosigned_by(note, (), where="x")
    assert cosigned_by(note, witnesses_of(Trust.of(real.trusted), NOON) or (), where="x").seconds == 1


# --- the command -----------------------------------------------------------------------------------


def test_the_command_signs_what_it_takes(tmp_path: Path, real: KeyedWitness, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path).reading() as session:
        note = session.signed(session.checkpoint())

    def said(verb: str, *options: str | Path, text: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        answer = cli("ledger", "witness", real.memory.path, verb, "main", *options)
        return answer.code, answer.out

    own = ("--key", real.path, "--name", NAME)
    assert said("key", *own) == (0, real.cosigner.line + "\n")
    entry = cli("ledger", "witness", real.memory.path, "key", *own, "--json").json["trust"]
    assert (entry["name"], entry["roles"], entry["keyid"]) == (NAME, ["witness"], real.key.keyid)
    assert said("head", *own) == (0, "")
    code, line = said("accept", *own, text=question(note, old=0, proof=()))
    assert code == 0 and real.cosigner.cosigned(note + line).line == line
    code, head = said("head", *own)
    assert code == 0 and head.startswith(note) and real.cosigner.cosigned(head)
    assert said("head") == (0, note)
    assert said("key")[0] == said("head", "--name", NAME)[0] == said("head", "--key", real.path)[0] == 2
    real.memory.path.write_bytes(b"")
    (real.memory.path.parent / "w.main.read").unlink()
    assert said("head", *own)[0] == said("accept", *own, text=question(note, old=0, proof=()))[0] == 4


def test_keys_new_makes_a_key_of_a_witness(tmp_path: Path) -> None:
    made = cli("keys", "new", tmp_path / "w.key", "--name", NAME, "--role", "witness", "--json")
    assert made.code == 0
    key = load_key(tmp_path / "w.key")
    assert Cosigner.read(Cosigner(NAME, key.raw_public).line).public == key.raw_public
    assert open_note(sign_note("a\n", name="a", key=key), name="a", public=key.raw_public) == "a\n"
    assert b64encode(key.raw_public).decode() in made.json["public"]
    refused = cli("keys", "new", tmp_path / "x.key", "--name", "two words", "--role", "witness")
    assert refused.code == 2 and not (tmp_path / "x.key").exists()
