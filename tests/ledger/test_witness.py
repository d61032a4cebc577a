"""Witnesses: what was acknowledged cannot be set back, and no hold is given before it was acknowledged."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from privsynth.errors import LedgerError, StorageError, UsageError
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.entry import LogName
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import LOGS
from privsynth.ledger.steps import Status
from privsynth.ledger.witness import (
    CommandWitness,
    Witness,
    check_step,
    question,
    understood_question,
    witness_at,
)
from privsynth.ledger.witness_file import FileWitness
from privsynth.ledger.witness_http import HttpWitness
from tests.desk import cli
from tests.ledger.test_store import python
from tests.ledger.world import USE, fit, gate, kinds, opened, recipe

COMMAND = """
import sys
from pathlib import Path

own = Path(f"{sys.argv[1]}.{sys.argv[3]}.kept")
held = own.read_text("utf-8") if own.exists() else ""
if sys.argv[2] == "head":
    sys.stdout.buffer.write(held.encode())
else:
    asked, _, note = sys.stdin.buffer.read().decode().partition("\\n\\n")
    if asked.split("\\n")[0] != "old " + (held.split("\\n")[1] if held else "0"):
        sys.exit(9)
    own.write_text(note, "utf-8")
"""


def files_of(folder: Path) -> FileWitness:
    """A new file witness."""
    for name in ("w", "w.attempts"):
        (folder / name).touch()
    return FileWitness(folder / "w")


class Server(ThreadingHTTPServer):
    """A witness on loopback, over another one."""

    daemon_threads = True
    own: Witness
    answer: int = 0
    """Where not 0: the code that it answers whatever it is asked."""


class Asked(BaseHTTPRequestHandler):
    """Answers as a witness does."""

    server: Server

    def do_GET(self) -> None:
        note = self.server.own.head(self._log())
        self._say(self.server.answer or (200 if note else 404), note or "")

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        note, old, proof = understood_question(text)
        try:
            line = self.server.own.accept(self._log(), note, old=old, proof=proof)
            self._say(self.server.answer or 200, line)
        except LedgerError:
            self._say(409)

    def _log(self) -> LogName:
        return "attempts" if self.path.endswith("attempts") else "main"

    def _say(self, code: int, text: str = "") -> None:
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", "http://127.0.0.1:9/other")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(own: Witness) -> Iterator[Server]:
    """A server that answers as ``own`` does."""
    server = Server(("127.0.0.1", 0), Asked)
    server.own = own
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "there").mkdir()
    with serving(files_of(tmp_path / "there")) as server:
        yield server


@pytest.fixture(params=["file", "command", "http"])
def witness(request: pytest.FixtureRequest, tmp_path: Path) -> Witness:
    """One of each kind."""
    match request.param:
        case "file":
            return files_of(tmp_path)
        case "command":
            return CommandWitness((sys.executable, "-S", "-E", "-c", COMMAND, str(tmp_path / "w")))
    server: Server = request.getfixturevalue("server")
    return HttpWitness(f"http://127.0.0.1:{server.server_port}/")


def sizes(witness: Witness) -> tuple[int, int]:
    """How long the witness knows both logs to be."""
    main, attempts = witness.head("main"), witness.head("attempts")
    assert main is not None
    assert attempts is not None
    return Checkpoint.parse(main).size, Checkpoint.parse(attempts).size


def test_each_step_is_acknowledged_and_yesterdays_copy_is_refused(tmp_path: Path, witness: Witness) -> None:
    ledger = opened(tmp_path, witness=witness)
    assert sizes(witness) == (3, 1)
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    gate(fit(ledger.reserve(recipe(0.5), **USE)))
    assert sizes(witness) == (6, 2)
    shutil.copy(tmp_path / "l.db", tmp_path / "today")
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    before = (tmp_path / "l.db").read_bytes()
    with pytest.raises(LedgerError, match=r"set back.*3 entries.*remembers 6") as caught:
        opened(tmp_path, witness=witness)
    assert caught.value.exit_code == 4
    assert (tmp_path / "l.db").read_bytes() == before
    opened(tmp_path).reserve(recipe(1.0), **USE)  # without its witness nobody can tell
    for _ in range(4):
        opened(tmp_path).reserve(recipe(0.01), **USE)
    with pytest.raises(LedgerError, match="other entries among the first 6"):
        opened(tmp_path, witness=witness)
    shutil.copy(tmp_path / "today", tmp_path / "l.db")
    opened(tmp_path, witness=witness).verify()


def test_the_second_log_alone_cannot_be_set_back(tmp_path: Path) -> None:
    """A gate attempt writes nothing into the main log: its witness is the second log's."""
    witness = files_of(tmp_path)
    hold = fit(opened(tmp_path, witness=witness).reserve(recipe(0.5), **USE))
    shutil.copy(tmp_path / "l.db", tmp_path / "before")
    gate(hold)
    hold.refuse(["PS-GATE-MEM"])
    shutil.copy(tmp_path / "before", tmp_path / "l.db")
    with pytest.raises(LedgerError, match="set back or changed: its attempts log"):
        opened(tmp_path, witness=witness)


def test_the_published_checkpoint_does_not_depend_on_attempts(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    hold = fit(opened(tmp_path, witness=witness).reserve(recipe(0.5), **USE))
    before = witness.head("main")
    gate(hold)
    hold.refuse(["PS-GATE-MEM"])
    assert witness.head("main") == before


def test_a_copy_without_its_wal_is_refused(tmp_path: Path) -> None:
    """Someone put the file into another journal mode, and copied it while its newest pages lay beside it."""
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    shutil.copy(tmp_path / "l.db", tmp_path / "copy.db")
    opened(tmp_path, witness=witness).reserve(recipe(0.5), **USE)
    keeper = sqlite3.connect(tmp_path / "copy.db")
    keeper.execute("PRAGMA journal_mode = WAL")
    keeper.execute("PRAGMA wal_autocheckpoint = 0")
    keeper.execute("ATTACH ? AS newer", (str(tmp_path / "l.db"),))
    for table in ("entries", "found"):
        keeper.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM newer.{table}")
    keeper.execute("INSERT OR REPLACE INTO cells SELECT * FROM newer.cells")
    keeper.commit()
    shutil.copy(tmp_path / "copy.db", tmp_path / "l.db")
    keeper.close()
    with pytest.raises(LedgerError, match="set back"):
        opened(tmp_path, witness=witness)
    shutil.copy(tmp_path / "copy.db", tmp_path / "l.db")
    assert kinds(opened(tmp_path, witness=witness))[-1] == "reserve"


class Deaf(FileWitness):
    """Takes nothing any more."""

    def accept(self, log: LogName, note: str, *, old: int, proof: object) -> str:
        """Never."""
        raise StorageError("the witness does not answer")


def test_no_hold_without_an_acknowledgement_and_what_was_paid_is_found_again(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    deaf = opened(tmp_path)
    deaf = type(deaf)(deaf.policy, deaf.actor, deaf.id, deaf.store, deaf.seal, deaf.clock, Deaf(witness.path))
    with pytest.raises(StorageError, match="does not answer"):
        deaf.reserve(recipe(0.5), **USE, request="monday")
    with pytest.raises(StorageError, match="does not answer"):
        deaf.find("monday")
    with pytest.raises(StorageError, match="does not answer"):
        deaf.sold(recipe(0.5), **USE, request="monday")
    assert kinds(deaf).count("reserve") == 1
    assert sizes(witness) == (3, 1)
    hold = opened(tmp_path, witness=witness).reserve(recipe(0.5), **USE, request="monday")
    assert sizes(witness) == (4, 1)
    assert deaf.balances()[0].holds == 1
    with pytest.raises(StorageError, match="does not answer"):
        fit(deaf.hold(hold.id))
    assert deaf.status(hold.id) is Status.OPENED


class Swapped(FileWitness):
    """While it is asked, somebody puts another file in the ledger's place."""

    def head(self, log: LogName) -> str | None:
        """As ever."""
        copy = self.path.with_name("yesterday")
        if copy.exists():
            copy.replace(self.path.with_name("l.db"))
        return super().head(log)


def test_a_file_put_back_between_commit_and_acknowledgement_gives_nothing(tmp_path: Path) -> None:
    """What the witness is shown must hold what was just written; else it would take what it has already."""
    files_of(tmp_path)
    witness = Swapped(tmp_path / "w")
    ledger = opened(tmp_path, witness=witness)
    for step in ("monday", "tuesday"):
        shutil.copy(tmp_path / "l.db", tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "yesterday")
        with pytest.raises(LedgerError, match=r"set back or changed while .* has 3 entries, and had 4") as caught:
            ledger.reserve(recipe(0.5), **USE, request=step)
        assert caught.value.exit_code == 4
    assert sizes(witness) == (3, 1)
    assert kinds(ledger).count("reserve") == 0
    shutil.copy(tmp_path / "l.db", tmp_path / "copy")
    opened(tmp_path).reserve(recipe(0.5), **USE, request="wednesday")  # whoever did died before the witness had it
    (tmp_path / "copy").rename(tmp_path / "yesterday")
    with pytest.raises(LedgerError, match="set back or changed while"):
        ledger.find("wednesday")


KILLED = """
import os, signal, sys
from pathlib import Path
from privsynth.ledger.witness_file import FileWitness
from tests.ledger.world import *

class Mortal(FileWitness):
    def accept(self, *args, **named):
        os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
ledger = opened(folder)
type(ledger)(ledger.policy, ledger.actor, ledger.id, ledger.store, ledger.seal, ledger.clock,
             Mortal(folder / "w")).reserve(recipe(0.5), **USE, request="monday")
print("given")
"""


def test_a_death_between_commit_and_acknowledgement_spends_and_loses_nothing(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    run = python(KILLED, str(tmp_path))
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out) == (-9, ""), err
    ledger = opened(tmp_path, witness=witness)
    assert ledger.balances()[0].holds == 1
    assert ledger.reserve(recipe(0.5), **USE, request="monday").id
    assert ledger.balances()[0].holds == 1


BUSY = """
import os, sys
from pathlib import Path
from privsynth.ledger.witness_file import FileWitness
from tests.ledger.world import *

folder = Path(sys.argv[1])
witness = FileWitness(folder / "w")
opened(folder, witness=witness).quote(recipe(0.001), **USE)
children = []
for _ in range(4):
    child = os.fork()
    if child:
        children.append(child)
        continue
    ledger = opened(folder, witness=witness)
    for _ in range(6):
        ledger.reserve(recipe(0.001), **USE)
    os._exit(0)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_several_at_once_are_witnessed_in_order(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    run = python(BUSY, str(tmp_path))
    out, err = run.communicate(timeout=120)
    assert out == "[0, 0, 0, 0]\n", err
    lines = (tmp_path / "w").read_text().splitlines()
    told = [Checkpoint.parse(json.loads(line)["checkpoint"]).size for line in lines]
    assert told == sorted(set(told))
    assert sizes(witness)[0] == 3 + 24
    opened(tmp_path, witness=witness).verify()


def test_a_ledger_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    (tmp_path / "l.db").unlink()
    with pytest.raises(LedgerError, match="no ledger, but its witness remembers one"):
        opened(tmp_path, witness=witness)
    assert not (tmp_path / "l.db").exists()
    (tmp_path / "l.db.key").unlink()
    opened(tmp_path)
    with pytest.raises(LedgerError, match="remembers another ledger"):
        opened(tmp_path, witness=witness)


def test_a_checkpoint_of_another_key_is_refused(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    opened(tmp_path, name="other.db")
    with opened(tmp_path).reading() as session:
        forged = session.checkpoint().sign(opened(tmp_path, name="other.db").seal.key())
    (tmp_path / "w").write_text(json.dumps({"checkpoint": forged, "old": 0, "proof": []}) + "\n")
    with pytest.raises(LedgerError, match="not signed"):
        opened(tmp_path, witness=FileWitness(witness.path))


def test_a_file_witness_takes_only_what_extends_and_mends_a_torn_line(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, witness=witness)
    old = witness.head("main")
    assert old is not None
    ledger.reserve(recipe(0.1), **USE)
    new = witness.head("main")
    assert new is not None
    with ledger.reading() as session:
        proof = session.consistency(3)
    before = (tmp_path / "w").read_bytes()
    for note, at, steps in ((old, 4, ()), (old, 3, ()), (new, 3, proof), (new.replace("4\n", "5\n"), 4, ())):
        with pytest.raises(LedgerError, match="refuses"):
            witness.accept("main", note, old=at, proof=steps)
    witness.accept("main", new, old=4, proof=())  # the same again changes nothing
    assert (tmp_path / "w").read_bytes() == before
    (tmp_path / "w").write_bytes(before + before[:60])  # a crash in the middle of a line
    assert witness.head("main") == new
    ledger.reserve(recipe(0.1), **USE)
    assert sizes(witness)[0] == 5
    ledger.reserve(recipe(0.1), **USE)
    assert sizes(witness)[0] == 6
    assert check_step(None, new, old=0, proof=())


@pytest.mark.parametrize("cut", [1, 2, 60])
def test_what_is_acknowledged_after_a_torn_line_is_held(tmp_path: Path, cut: int) -> None:
    """A crash may leave a line that lacks nothing but its end: a part of the chain, which the next one must extend."""
    opened(tmp_path, witness=files_of(tmp_path)).reserve(recipe(0.1), **USE)
    path = tmp_path / "w"
    path.write_bytes(path.read_bytes()[:-cut])
    before = FileWitness(path)
    first = before.head("main")
    plain = opened(tmp_path)
    plain.reserve(recipe(0.1), **USE)
    Ledger(plain.policy, plain.actor, plain.id, plain.store, plain.seal, plain.clock, before).show()
    for reader in (before, FileWitness(path)):
        assert sizes(reader)[0] == 5
    assert first is not None


def test_a_line_that_lacks_its_end_is_what_must_be_extended(tmp_path: Path) -> None:
    ledger = opened(tmp_path, witness=files_of(tmp_path))
    ledger.reserve(recipe(0.1), **USE)
    witness, path = FileWitness(tmp_path / "w"), tmp_path / "w"
    path.write_bytes(path.read_bytes()[:-1])
    opened(tmp_path).reserve(recipe(0.1), **USE)
    with ledger.reading() as session:
        note, proof = session.signed(session.checkpoint()), session.consistency(3)
    assert sizes(witness)[0] == 3
    with pytest.raises(LedgerError, match="refuses"):
        witness.accept("main", note, old=3, proof=proof)
    assert sizes(witness)[0] == 4


def test_what_was_written_and_is_not_held_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes the line and does not keep it."""
    witness = files_of(tmp_path)
    ledger = opened(tmp_path, witness=witness)
    monkeypatch.setattr(FileWitness, "_add", lambda *_: None)
    with pytest.raises(StorageError, match="does not hold what was just written") as caught:
        ledger.reserve(recipe(0.1), **USE, request="monday")
    assert "the same request id" in caught.value.mend
    monkeypatch.undo()
    ledger.reserve(recipe(0.1), **USE, request="monday")
    assert sizes(witness)[0] == 4


@pytest.mark.parametrize("length", [1, 5, 15, 16, 40, 200, -2, -1])
def test_a_torn_first_line_is_nothing_yet(tmp_path: Path, length: int) -> None:
    """And a second crash, in the line after it, leaves no more."""
    (tmp_path / "there").mkdir()
    opened(tmp_path / "there", witness=files_of(tmp_path / "there"))
    line = (tmp_path / "there" / "w").read_bytes()
    for crashes in (1, 2):
        folder = tmp_path / str(crashes)
        shutil.copytree(tmp_path / "there", folder)
        (folder / "w").write_bytes(b"\n".join([line[:length]] * crashes))
        witness = FileWitness(folder / "w")
        if crashes == 1 or length != -1:
            assert witness.head("main") is None
        opened(folder, witness=witness).reserve(recipe(0.1), **USE)
        assert sizes(FileWitness(folder / "w"))[0] == 4


@pytest.mark.parametrize("other", [b"# notes\n", b"# notes", b'{"checkpoint": 7}\n', b"{}\n", b'{"a": "b'])
def test_a_file_of_something_else_is_no_witness(tmp_path: Path, other: bytes) -> None:
    witness = files_of(tmp_path)
    witness.path.write_bytes(other)
    with pytest.raises(StorageError, match="holds no checkpoint"):
        opened(tmp_path, witness=witness)
    assert witness.path.read_bytes() == other


def history(folder: Path) -> tuple[Ledger, FileWitness, list[bytes]]:
    """A ledger that sold four holds, its witness, and the witness's lines."""
    ledger = opened(folder, witness=files_of(folder))
    for _ in range(4):
        ledger.reserve(recipe(0.01), **USE)
    return ledger, FileWitness(folder / "w"), (folder / "w").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("again", [(0,), (1,), (0, 1), (0, 1, 2), (1, 2, 3), (3,), (0, 1, 2, 3), (0, 1, 2, 3, 4)])
def test_old_lines_added_once_more_make_a_file_forget_nothing(tmp_path: Path, again: tuple[int, ...]) -> None:
    ledger, witness, told = history(tmp_path)
    newest = witness.head("main")
    assert newest is not None
    with (tmp_path / "w").open("ab") as file:
        file.writelines(told[n] for n in again)
    for reader in (witness, FileWitness(tmp_path / "w")):
        assert reader.head("main") == newest
    ledger.reserve(recipe(0.01), **USE)
    assert sizes(FileWitness(tmp_path / "w"))[0] == 3 + 5


def test_a_file_that_was_shown_old_lines_again_still_refuses_yesterdays_copy(tmp_path: Path) -> None:
    opened(tmp_path, witness=files_of(tmp_path))
    shutil.copy(tmp_path / "l.db", tmp_path / "yesterday")
    opened(tmp_path, witness=FileWitness(tmp_path / "w")).reserve(recipe(0.5), **USE)
    first = (tmp_path / "w").read_bytes().splitlines(keepends=True)[0]
    with (tmp_path / "w").open("ab") as file:
        file.write(first)
    shutil.copy(tmp_path / "yesterday", tmp_path / "l.db")
    with pytest.raises(LedgerError, match="set back"):
        opened(tmp_path, witness=FileWitness(tmp_path / "w"))


def test_a_line_is_a_step_only_with_its_proof(tmp_path: Path) -> None:
    """A signed history of its own, grown from yesterday's copy past what the witness holds, proves nothing."""
    opened(tmp_path, witness=files_of(tmp_path))
    shutil.copytree(tmp_path, tmp_path / "fork")
    ledger = opened(tmp_path, witness=FileWitness(tmp_path / "w"))
    ledger.reserve(recipe(0.5), **USE)
    fork = opened(tmp_path / "fork")
    for _ in range(3):
        fork.reserve(recipe(0.01), **USE)
    with fork.reading() as session:
        note = session.signed(session.checkpoint())
        proofs = [[step.hex() for step in session.consistency(size)] for size in (3, 4)]
    newest = FileWitness(tmp_path / "w").head("main")
    odd: list[object] = [{"checkpoint": note, "old": old, "proof": p} for old in (0, 3, 4) for p in ([], *proofs)]
    odd += [[], 7, {"checkpoint": 7}, {"checkpoint": note, "old": "4", "proof": [7]}]
    with (tmp_path / "w").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in odd)
        file.write("[" * 100_000 + "\n")
    assert FileWitness(tmp_path / "w").head("main") == newest
    ledger.reserve(recipe(0.01), **USE)


def test_a_file_is_read_on_from_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from privsynth.ledger import witness_file as module

    ledger, witness, told = history(tmp_path)
    witness.head("main")
    read: list[bytes] = []
    genuine = module._stepped

    def noted(held: str | None, line: bytes) -> str | None:
        read.append(line)
        return genuine(held, line)

    monkeypatch.setattr(module, "_stepped", noted)
    opened(tmp_path, witness=witness).reserve(recipe(0.01), **USE)
    assert len(read) == len(set(read)) == 2, "the second log's only line, and what was just written"
    assert not set(read) & set(told)
    assert ledger.balances()[0].holds == 5
    (tmp_path / "w").write_bytes(b"".join(told[:2]))
    with pytest.raises(StorageError, match="lines were taken away"):
        witness.head("main")


def test_a_marked_file_is_read_once_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from privsynth.ledger import witness_file as module

    ledger, witness, told = history(tmp_path)
    newest, read, genuine = witness.head("main"), list[bytes](), module._stepped

    def noted(held: str | None, line: bytes) -> str | None:
        read.append(line)
        return genuine(held, line)

    monkeypatch.setattr(module, "_stepped", noted)
    assert FileWitness(tmp_path / "w", marked=True).head("main") == newest
    assert read == told
    read.clear()
    assert FileWitness(tmp_path / "w", marked=True).head("main") == newest
    assert read == []
    ledger.reserve(recipe(0.01), **USE)
    read.clear()
    last = FileWitness(tmp_path / "w", marked=True).head("main")
    assert last is not None and last != newest
    assert len(read) == 1
    assert FileWitness(tmp_path / "w").head("main") == last  # who shares the file with others believes no mark
    assert len(read) == 1 + len(told) + 1
    mark = tmp_path / "w.main.read"
    for bad in (b"", b"{", b"[]", b'{"upto": "x"}'):
        mark.write_bytes(bad)
        assert FileWitness(tmp_path / "w", marked=True).head("main") == last
    (tmp_path / "w").write_bytes(b"".join(told[:2]))
    with pytest.raises(StorageError, match="lines were taken away"):
        FileWitness(tmp_path / "w", marked=True).head("main")


def test_an_empty_file_holds_nothing_yet_and_one_of_other_lines_is_refused(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    assert witness.head("main") is None
    _, _, told = history(tmp_path)
    (tmp_path / "x").write_bytes(b"".join(told[1:]))  # its beginning was cut away: nothing begins the chain
    (tmp_path / "x.attempts").touch()
    with pytest.raises(StorageError, match="holds no checkpoint"):
        FileWitness(tmp_path / "x").head("main")


def test_a_witness_that_is_missing_or_unreadable_shuts_the_ledger(tmp_path: Path, server: Server) -> None:
    opened(tmp_path)
    with pytest.raises(StorageError, match="cannot be opened") as caught:
        opened(tmp_path, witness="file:" + str(tmp_path / "nowhere"))
    assert "touch" in caught.value.mend
    (tmp_path / "x").write_text("something else\n")
    for witness in ("file:" + str(tmp_path / "x"), "cmd:false", "cmd:/no/such/program", "http://127.0.0.1:9/"):
        with pytest.raises(StorageError, match="witness"):
            opened(tmp_path, witness=witness)
    for code in (302, 500):
        server.answer = code
        with pytest.raises(StorageError, match=f"answers {code}"):
            opened(tmp_path, witness=f"http://127.0.0.1:{server.server_port}/")


@pytest.mark.skipif(os.geteuid() != 0, reason="root may write to every file")
def test_a_witness_that_takes_nothing_is_told(tmp_path: Path) -> None:
    witness = files_of(tmp_path)
    opened(tmp_path, witness=witness)
    (tmp_path / "w").unlink()
    (tmp_path / "w").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(tmp_path, witness=witness)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "file:",
            "file://host/x",
            "cmd:",
            "cmd:'s3cr3t",
            "http://example.org/",
            "ftp://x",
            "/path",
            "https://",
            7,
        ),
        *("https://h:port/w", "https://h:99999/w", "https://[::1/w", "https://a b/w", "https://h/a b", "https://h/\tw"),
        *("https://u:s3cr3t@h/w", "http://u:s3cr3t@localhost/w", "http://s3cr3t.example/w"),
        *("file:/srv/\0", "cmd:ask \0", "cmd:ask \udc80"),
    ],
)
def test_other_addresses_are_refused_and_not_told(url: str) -> None:
    with pytest.raises(UsageError, match="not the address") as caught:
        witness_at(url)
    assert "s3cr3t" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9\r\n", b"", b"HTTP/1.1 20\xff"])
def test_a_server_of_another_protocol_is_one_that_does_not_answer(said: bytes) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve() -> None:
            for _ in LOGS:
                taken, _ = listening.accept()
                with taken:
                    taken.recv(4096)
                    taken.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        port = listening.getsockname()[1]
        witness = witness_at(f"http://127.0.0.1:{port}/s3cr3t?token=s3cr3t")
        with pytest.raises(StorageError, match="does not answer") as caught:
            witness.head("main")
        with pytest.raises(StorageError, match="does not answer"):
            witness.accept("main", "note", old=0, proof=())
    assert caught.value.where == f"http://127.0.0.1:{port}"
    assert "s3cr3t" not in f"{witness!r} {caught.value!r}"


def test_a_command_s_arguments_are_not_told() -> None:
    witness = witness_at("cmd:/bin/false --token s3cr3t")
    with pytest.raises(StorageError, match="ended with") as caught:
        witness.head("main")
    assert caught.value.where == "false"
    assert "s3cr3t" not in f"{witness!r} {caught.value!r}"


def test_addresses(tmp_path: Path) -> None:
    assert witness_at("file:/srv/w") == FileWitness(Path("/srv/w"))
    assert witness_at("cmd:sudo -u w 'a b'") == CommandWitness(("sudo", "-u", "w", "a b"))
    assert witness_at("https://w.example/x") == HttpWitness("https://w.example/x")
    assert witness_at("http://[::1]:8080/x") == HttpWitness("http://[::1]:8080/x")


def test_a_question_is_understood() -> None:
    proof = (bytes(32), b"x" * 32)
    note = "note\n\n— sig AAAA\n"
    assert understood_question(question(note, old=7, proof=proof)) == (note, 7, proof)
    for size in ("x", "07", "-7", "+7", "7_0", "\u0663", "9" * 17, "9" * 5000, ""):
        with pytest.raises(UsageError, match="not a question"):
            understood_question(f"old {size}\n\n{note}")
    for text in ("", "old 7\n", f"new 7\n\n{note}", f"old 7\nAAAA\n\n{note}", f"old 7\n*\n\n{note}", "old 7\n\nnote"):
        with pytest.raises(UsageError, match="not a question"):
            understood_question(text)
    for odd in ("note\n", "note\n\nhello\n", note + "\0", note + "— x AAAA\n" * 9000):
        with pytest.raises(UsageError, match="not a question"):
            understood_question(f"old 7\n\n{odd}")


def test_the_command_line_answers_as_a_witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, asked = files_of(tmp_path), opened(tmp_path)
    with asked.reading() as session:
        old, step = session.signed(session.checkpoint()), session.checkpoint().size
    asked.reserve(recipe(0.1), **USE)
    with asked.reading() as session:
        new, proof = session.signed(session.checkpoint()), session.consistency(step)

    def said(verb: str, text: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        answer = cli("ledger", "witness", tmp_path / "w", verb, "main")
        return answer.code, answer.out

    assert said("head") == (0, "")
    assert said("accept", question(old, old=0, proof=())) == (0, "")
    assert said("head") == (0, old)
    assert said("accept", question(new, old=step, proof=proof[:-1]))[0] == 4
    assert said("accept", question(new, old=step, proof=proof)) == (0, "")
    assert kept.head("main") == new
    assert said("accept", question(old, old=step + 1, proof=()))[0] == 4
    assert said("accept", "something else")[0] == 2
    assert said("forget")[0] == 2
