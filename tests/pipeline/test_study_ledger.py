"""A study's ledger: elsewhere than in a file beside it, with a key of its own, with a witness."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from privsynth.errors import LedgerError, MissingExtra, StorageError, StudyError
from privsynth.generators.kept import load_model
from privsynth.ledger.checkpoint import Checkpoint
from privsynth.ledger.witness_file import FileWitness
from privsynth.pipeline.places import check_places
from privsynth.pipeline.plan import plan_study
from privsynth.pipeline.study_ledger import LedgerPlace
from tests.desk import Desk, Said, cli
from tests.postgres_server import HOST, Server
from tests.world import ACTOR

SECRET = "s3cr3t"
WITNESSED = "{at: sqlite:///ledger.db, witness: file:witness}"


def name(desk: Desk, ledger: str) -> None:
    """Write ``ledger:`` into the study."""
    desk.edit("study.yaml", ("ledger: sqlite:///ledger.db", f"ledger: {ledger}"))


def watch(desk: Desk) -> FileWitness:
    """Give the study a witness beside it."""
    name(desk, WITNESSED)
    for file in ("witness", "witness.attempts"):
        (desk.folder / file).touch()
    return FileWitness(desk.folder / "witness")


@pytest.fixture
def served(desk: Desk, server: Server) -> Iterator[Desk]:
    """A desk whose ledger is to lie on a server; the address holds the password."""
    database = server.new_database()
    name(desk, f"{{at: '{server.url(database)}', key: keys/ledger.key, witness: file:witness}}")
    (desk.folder / "keys").mkdir()
    for file in ("witness", "witness.attempts"):
        (desk.folder / file).touch()
    yield desk
    server.run(f"DROP DATABASE {database} WITH (FORCE)")


# --- what a study says -----------------------------------------------------------------------------


def test_paths_are_from_the_study_s_folder(desk: Desk, tmp_path: Path) -> None:
    name(desk, "{at: sqlite:///ledger.db, key: keys/ledger.key, witness: file:witness}")
    url, key = f"sqlite:///{desk.folder}/ledger.db", desk.folder / "keys" / "ledger.key"
    assert desk.load().ledger == LedgerPlace(url, key, f"file:{desk.folder}/witness")
    desk.edit("study.yaml", ("file:witness", "file:/srv/witness"), ("keys/ledger.key", "/etc/ledger.key"))
    assert desk.load().ledger == LedgerPlace(url, Path("/etc/ledger.key"), "file:/srv/witness")
    desk.edit("study.yaml", ("file:/srv/witness", "https://witness.example/w"))
    assert desk.load().ledger.witness == "https://witness.example/w"


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        (f"postgresql://clerk:{SECRET}@db.example/ledger", "key file elsewhere"),
        (f"{{at: 'postgresql://clerk:{SECRET}@db.example/ledger'}}", "key file elsewhere"),
        (f"{{at: 'mysql://clerk:{SECRET}@db.example/ledger', key: k}}", "not the address"),
        (f"{{at: 'postgresql://clerk:{SECRET}@db.example/ledger', keys: k}}", "unknown key 'keys'"),
        (f"'sqlite:///ledger.db?password={SECRET}'", "not the address"),
        (f"{{at: 'sqlite:///ledger.db', witness: 'https://u:{SECRET}@w.example/w'}}", "not the address"),
        (f"{{at: 'sqlite:///ledger.db', witness: 'https://w.example:{SECRET}/w'}}", "not the address"),
        (f"{{at: ['postgresql://clerk:{SECRET}@db.example/ledger'], key: k}}", "valid string"),
    ],
)
def test_a_bad_ledger_is_told_at_its_line_without_a_password(desk: Desk, ledger: str, words: str) -> None:
    name(desk, ledger)
    with pytest.raises(StudyError, match=words) as caught:
        desk.load()
    assert caught.value.where.endswith("study.yaml:5")
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.mend}"


def test_a_study_shows_no_password(desk: Desk) -> None:
    name(desk, f"{{at: 'postgresql://clerk:{SECRET}@{HOST}:1/ledger', key: k}}")
    study = desk.load()
    assert SECRET not in f"{study!r} {study.file!r} {study.ledger!r}"


def test_no_message_shows_a_password_of_an_address(desk: Desk) -> None:
    name(desk, f"{{at: 'sqlite:///ledger.db', witness: 'https://{HOST}:1/w?token={SECRET}'}}")
    told = [cli("plan", desk.study), desk.run(), desk.run("--json")]
    policy, good = desk.folder / "policy.yaml", f"sqlite:///{desk.folder}/ledger.db"
    for url in (
        f"postgresql://clerk:{SECRET}/x@{HOST}:1/x",
        f"host={HOST} password={SECRET}",
        f"sqlite:///ledger.db?password={SECRET}",
    ):
        told += [cli("budget", policy, "--ledger", url, "--key", "k", "--json"), cli("ledger", "verify", policy, url)]
        told += [cli("ledger", "verify", url, "--ledger", good), cli(url)]
    for witness in (f"https://u:{SECRET}@{HOST}:1/w", f"http://w.example/{SECRET}", f"cmd:'{SECRET}"):
        told.append(cli("budget", policy, "--ledger", good, "--witness", witness))
    for said in told:
        assert said.code == 2
        assert SECRET not in said.out + said.err


# --- checked before anything is paid ---------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_by_plan_and_run(desk: Desk) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    name(desk, f"{{at: 'postgresql://clerk:{SECRET}@{HOST}:1/ledger', key: k}}")
    with pytest.raises(StorageError, match="cannot be reached"):
        check_places(desk.load())
    before = desk.files()
    for said in (cli("plan", desk.study), desk.run(), desk.run("--json")):
        assert said.code == 2
        assert SECRET not in said.out + said.err
    assert desk.files() == before


def test_a_server_needs_its_driver(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    name(desk, f"{{at: 'postgresql://{HOST}:1/ledger', key: k}}")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match="psycopg"):
        check_places(desk.load())


def test_a_witness_that_does_not_answer_is_told_before_anything_is_made(desk: Desk) -> None:
    name(desk, WITNESSED)
    with pytest.raises(StorageError, match="witness"):
        check_places(desk.load())
    (desk.folder / "witness").touch()
    with pytest.raises(StorageError, match="witness"):  # that of the second log
        check_places(desk.load())
    before = desk.files()
    assert desk.run().code == 2
    assert desk.files() == before


def test_a_key_file_may_lie_where_nobody_writes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    name(desk, "{at: sqlite:///ledger.db, key: keys/ledger.key}")
    (desk.folder / "keys").mkdir()
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "keys" and writable(path, mode))
    with pytest.raises(StorageError, match="read-only"):
        check_places(desk.load())
    (desk.folder / "keys" / "ledger.key").touch()
    check_places(desk.load())


def test_a_key_file_in_no_folder_is_refused(desk: Desk) -> None:
    name(desk, "{at: sqlite:///ledger.db, key: no/ledger.key}")
    with pytest.raises(StorageError, match="no such folder"):
        check_places(desk.load())


# --- with a witness --------------------------------------------------------------------------------


def test_a_run_is_witnessed_and_yesterday_s_ledger_is_refused(desk: Desk) -> None:
    witness, policy = watch(desk), desk.folder / "policy.yaml"
    books = ("--ledger", f"sqlite:///{desk.folder}/ledger.db")
    assert desk.run().code == 0
    head = witness.head("main")
    assert head is not None
    assert Checkpoint.parse(head).size == sum(entry["log"] == "main" for entry in desk.entries())
    remembers = ("--witness", f"file:{desk.folder}/witness")
    assert cli("budget", policy, *books, *remembers).code == 0

    (desk.folder / "ledger.db").rename(desk.folder / "today")
    (desk.folder / "ledger.db.key").rename(desk.folder / "today.key")
    for said in (cli("plan", desk.study), desk.run("--json")):  # gone
        assert said.code == 4
    assert not (desk.folder / "ledger.db").exists()
    with pytest.raises(LedgerError, match="its witness remembers one"):
        plan_study(desk.load(), actor=ACTOR)

    desk.edit("study.yaml", (WITNESSED, "sqlite:///ledger.db"), ("release/", "other/"), ("model/", "other.model/"))
    shutil.rmtree(desk.folder / "release")
    desk.ledger()  # another ledger of the same policy
    assert cli("plan", desk.study).code == 0
    assert cli("budget", policy, *books, *remembers).code == 4
    assert cli("budget", policy, *books).code == 0
    desk.edit("study.yaml", ("ledger: sqlite:///ledger.db", f"ledger: {WITNESSED}"))
    sample = ("sample", desk.study, "--rows", "5", "--out", desk.folder / "more")
    for command in (("plan", desk.study), ("run", desk.study)):
        said = cli(*command)
        assert said.code == 4, said.err
        assert "remembers another ledger" in said.err
    desk.edit("study.yaml", ("other.model/", "model/"))
    assert cli(*sample).code == 4
    for name_, file in (("today", "ledger.db"), ("today.key", "ledger.db.key")):
        (desk.folder / name_).replace(desk.folder / file)
    assert cli(*sample).code == 0


def test_a_policy_that_requires_a_witness_is_told_by_plan_and_met_by_the_study(desk: Desk) -> None:
    desk.edit("policy.yaml", ("\nroles:\n", "\nledger: {witness: required}\nroles:\n"))
    before = desk.files()
    for said in (cli("plan", desk.study, "--json"), desk.run("--json")):
        assert (said.code, said.json["error"]) == (1, "RequestDenied")
        assert "PS-LED-001" in said.json["what"] and "`ledger: {at: ..., witness: ...}` in a study" in said.json["mend"]
    assert desk.files() == before
    watch(desk)
    assert cli("plan", desk.study).code == 0
    assert desk.run().code == 0


# --- on a server -----------------------------------------------------------------------------------


def silent(server: Server, *told: Said) -> None:
    """No password of the server stands in what was said."""
    assert all(server.password not in said.out + said.err for said in told)


def test_a_study_runs_from_end_to_end_on_a_server(served: Desk, server: Server) -> None:
    planned = cli("plan", served.study, "--json")
    assert planned.code == 0, planned.out
    assert planned.json["paid"] is None
    said = served.run("--json")
    assert said.code == 0, said.out
    assert cli("verify", served.release).code == 0
    assert not (served.folder / "ledger.db").exists()
    assert (served.folder / "keys" / "ledger.key").stat().st_mode & 0o777 == 0o600
    head = FileWitness(served.folder / "witness").head("main")
    assert head is not None

    place = served.load().ledger
    rest = ("--ledger", place.url, "--key", served.folder / "keys" / "ledger.key")
    policy, remembers = served.folder / "policy.yaml", ("--witness", f"file:{served.folder}/witness")
    told = cli("budget", policy, *rest, *remembers, "--json")
    assert told.code == 0, told.out
    assert told.json["lines"][0]["spent_share"] > 0
    again = cli("plan", served.study, "--json")
    assert (again.json["status"], again.json["paid"]) == ("approved", said.json["hold"])
    more = cli("sample", served.study, "--rows", "9", "--out", served.folder / "more")
    assert more.code == 0, more.err
    wrong = cli("budget", policy, *rest[:2], "--json")
    assert (wrong.code, wrong.json["error"]) == (2, "UsageError")  # no key file is named
    silent(server, planned, said, told, again, more, wrong)
    for file in (served.folder / "release").rglob("*"):
        assert not file.is_file() or server.password.encode() not in file.read_bytes()
    assert load_model(served.folder / "model").receipt.hold == said.json["hold"]


def test_a_server_that_was_set_back_is_refused(served: Desk, server: Server) -> None:
    assert served.run().code == 0
    database = served.load().ledger.url.rpartition("/")[2]
    server.run("DROP SCHEMA privsynth_ledger CASCADE", database=database)
    for said in (cli("plan", served.study), served.run()):
        assert said.code == 4, said.err
        assert "its witness remembers one" in said.err
        silent(server, said)
    assert server.run("SELECT to_regnamespace('privsynth_ledger')", database=database) == [(None,)]


def test_commitments_of_a_ledger_on_a_server_lie_beside_its_key(served: Desk) -> None:
    assert served.load().ledger.shelf.folder == served.folder / "keys" / "ledger.key.commitments"
    bare = LedgerPlace("sqlite:////srv/ledger.db", Path("/etc/ledger.key"))
    assert bare.shelf.folder == Path("/srv/ledger.db.commitments")
