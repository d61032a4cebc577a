"""The server: who may do what, what is asserted of it, and what comes of a server that goes."""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import BudgetExhausted, LedgerError, MissingExtra, PrivsynthError, StorageError, UsageError
from privsynth.ledger import care
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import Session
from privsynth.ledger.postgres import PostgresStore, PostgresTransaction
from privsynth.ledger.postgres_tables import GRANTS, SCHEMA
from privsynth.ledger.store import look_at_ledger, open_ledger
from privsynth.ledger.transfer import write_export
from tests.ledger.anywhere import opened_at
from tests.ledger.people import People, restored
from tests.ledger.world import ANALYST, USE, Hands, fit, gate, kinds, policy, recipe
from tests.postgres_server import HOST, NoServer, Server, postgres_server

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
TABLES = ("entries", "attempts", "secrets", "transcripts", "claims", "found", "nodes", "cells", "assigned")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Where the ledger's key lies."""
    return tmp_path / "ledger.key"


@pytest.fixture
def ledger(server_url: str, key: Path) -> Ledger:
    """A new ledger on the server."""
    return opened_at(server_url, key)


@pytest.fixture
def run(server: Server, server_url: str) -> Callable[..., list[tuple[Any, ...]]]:
    """Run statements in the ledger's database as its superuser."""
    return lambda *statements: server.run(*statements, database=server_url.rpartition("/")[2])


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may stop."""
    try:
        with postgres_server() as running:
            yield running
    except NoServer as why:
        pytest.skip(str(why))


# --- addresses and passwords -----------------------------------------------------------------------


def test_a_key_file_must_be_named(server_url: str) -> None:
    with pytest.raises(UsageError, match="key file") as caught:
        open_ledger(server_url, policy(), actor=ANALYST)
    assert "name the file" in caught.value.mend


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1",
        "postgresql://",
        "postgresql://[::1/db",
        "postgres:x",
        "postgresql://h:0/x",
        "postgresql://h:99999/x",
        "postgresql://clerk:s3cr3t/db",
        "postgresql://clerk:s3cr3t@h/%ff",
        "postgresql://clerk:s3cr3t@a..b:1/x",
        f"postgresql://{'a' * 300}/x",
        "postgresql://clerk:s3cr3t/x@h/db",
        "postgresql://clerk:s3cr3t@127.0.0.1/x?port=1,1",
        "postgresql://clerk:s3cr3t@h/x?hostaddr=s3cr3t",
    ],
)
def test_what_is_no_address_is_refused(url: str, key: Path) -> None:
    with pytest.raises(UsageError, match="address") as caught:
        opened_at(url, key)
    assert "postgresql://user@host:5432/database" in caught.value.mend
    assert "s3cr3t" not in str(caught.value)
    assert not key.exists()


@pytest.mark.parametrize("name", ["connect_timeout", "keepalives_idle", "sslmode"])
def test_a_parameter_that_is_not_understood_is_named(name: str, key: Path) -> None:
    """No server is asked, so nobody is told to start one."""
    with pytest.raises(UsageError, match=f"address has a value that is not understood for {name}"):
        opened_at(f"postgresql://clerk:s3cr3t@127.0.0.1:1/x?{name}=soon", key)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, key: Path) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match="psycopg") as caught:
        opened_at("postgresql://127.0.0.1/db", key)
    assert "privsynth[postgres]" in caught.value.mend


def test_looking_makes_no_ledger(server_url: str, key: Path, run: Callable[..., list[tuple[Any, ...]]]) -> None:
    with pytest.raises(StorageError, match="no such ledger"):
        look_at_ledger(server_url, policy(), actor=ANALYST, key=key)
    assert run(f"SELECT to_regnamespace('{SCHEMA}')") == [(None,)]


def test_no_password_is_ever_shown(
    server: Server, key: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong, for nobody, for no database, to no server, misspelt addresses, as a parameter; and of an open ledger."""
    caplog.set_level(logging.DEBUG)
    secret, name = "s3cr3t-" + secrets.token_hex(8), server.new_database()
    server.run(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{secret}'")
    told = []
    at = f"{HOST}:{server.port}"
    for url in (
        f"postgresql://owner:{secret}@{at}/{name}",
        f"postgresql://nobody:{secret}@{at}/{name}",
        f"postgresql://{name}:{secret}@{at}/nowhere",
        f"postgresql://{name}:{secret}@{HOST}:1/{name}",
        f"postgresql://{name}:{secret}@{at}/{name}?connect_timeout=soon",
        f"postgresql://{name}:{secret}%@{at}/{name}",
        f"postgresql://{name}:{secret}@{at}/{name}?nothing=1",
        f"postgresql://{name}:{secret}@{HOST}:{server.port}",
        f"postgresql://{at}/{name}?user={name}&password={secret}&options=--no",
        f"postgres//{name}:{secret}@{at}/{name}",
        f"mysql://{name}:{secret}@{at}/{name}",
        f"postgresql://{name}:a@{secret}@{HOST}:1/{name}",
        f"postgresql://{name}:{secret}/x@{at}/{name}",
        f"postgresql://{name}:{secret}?@{HOST}:1/{name}",
        f"host={HOST} password={secret}",
        f"sqlite:///ledger.db?password={secret}",
    ):
        with pytest.raises(PrivsynthError) as caught:
            opened_at(url, key)
        told += [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
        told += [caught.value.where, caught.value.mend]
    ledger = opened_at(f"postgresql://{name}:{secret}@{at}/{name}", key)
    hold = ledger.reserve(recipe(0.1), **USE)
    told += [repr(ledger), repr(ledger.store), str(ledger.store), repr(hold)]
    server.run(f"ALTER ROLE {name} NOLOGIN")
    with pytest.raises(StorageError) as caught_late:
        ledger.balances()
    told += traceback.format_exception(caught_late.value)
    assert secret not in "".join(told) + caplog.text + "".join(capsys.readouterr())


def test_a_refused_connection_says_what_to_mend(server: Server, key: Path) -> None:
    name = server.new_database()
    server.run(f"CREATE ROLE {name} NOLOGIN PASSWORD 'x'")
    for url, words in {
        server.url(name, password="wrong"): "does not let this role in",
        server.url(name, user="nobody"): "does not let this role in",
        server.url(name, user=name, password="x"): "does not let this role in",
        server.url("nowhere"): "no such database",
        server.url(name).replace(f":{server.port}/", ":1/"): "cannot be reached",
    }.items():
        with pytest.raises(StorageError, match=words):
            opened_at(url, key)


# --- what is asserted of the server ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "refused"),
    [
        ("synchronous_commit", "off", True),
        ("synchronous_commit", "local", True),
        ("synchronous_commit", "remote_write", True),
        ("synchronous_commit", "remote_apply", False),
        ("session_replication_role", "replica", True),
        ("default_transaction_isolation", "serializable", False),
        ("default_transaction_read_only", "on", False),
        ("lock_timeout", "1", False),
        ("search_path", "elsewhere", False),
        ("standard_conforming_strings", "off", False),
        ("bytea_output", "escape", False),
    ],
)
def test_settings_on_which_durable_rests_are_asserted(
    ledger: Ledger, server: Server, server_url: str, setting: str, value: str, refused: bool
) -> None:
    server.run(f"ALTER DATABASE {server_url.rpartition('/')[2]} SET {setting} = '{value}'")
    if not refused:
        fit(ledger.reserve(recipe(0.1), **USE))
        ledger.verify()
        return
    with pytest.raises(StorageError, match=setting) as caught:
        ledger.reserve(recipe(0.1), **USE)
    assert "nothing was written" in caught.value.mend


def test_another_isolation_level_than_asked_is_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a pool between here and the server that begins transactions in its own way."""
    genuine = psycopg.Connection.execute

    def otherwise(self: Any, query: Any, *given: Any, **named: Any) -> Any:
        begins = isinstance(query, bytes) and query.startswith(b"BEGIN")
        return genuine(self, b"BEGIN ISOLATION LEVEL SERIALIZABLE" if begins else query, *given, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", otherwise)
    for use in (lambda: ledger.reserve(recipe(0.1), **USE), ledger.balances):
        with pytest.raises(StorageError, match="transaction_isolation"):
            use()


def test_a_database_of_another_encoding_is_refused(server: Server, key: Path) -> None:
    url = server.url(server.new_database("ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
    with pytest.raises(StorageError, match="server_encoding"):
        opened_at(url, key)


def test_a_server_that_does_not_flush_and_a_replica_are_refused(own_server: Server, key: Path) -> None:
    url = own_server.url(own_server.new_database())
    ledger = opened_at(url, key)
    own_server.run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "SELECT pg_sleep(0.5)")
    with pytest.raises(StorageError, match="fsync"):
        ledger.balances()
    own_server.run("ALTER SYSTEM RESET fsync")
    own_server.stop(signal.SIGINT)
    (own_server.data / "standby.signal").touch()
    own_server.start()
    for use in (lambda: ledger.reserve(recipe(0.1), **USE), ledger.balances, lambda: opened_at(url, key)):
        with pytest.raises(StorageError, match="replica"):
            use()


def test_where_there_is_no_server_the_tests_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.postgres_server.PLACES", ())
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(NoServer, match="apt-get install postgresql"), postgres_server():
        pass


# --- its tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE {0}.entries DISABLE TRIGGER entries_kept",
        "ALTER TABLE {0}.entries ENABLE REPLICA TRIGGER entries_kept",
        "DROP TRIGGER cells_kept ON {0}.cells",
        "CREATE TRIGGER mine BEFORE INSERT ON {0}.entries FOR EACH ROW EXECUTE FUNCTION {0}.append_only()",
        "CREATE OR REPLACE FUNCTION {0}.append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER TABLE {0}.claims SET UNLOGGED",
        "ALTER TABLE {0}.found DROP CONSTRAINT found_pkey",
        "ALTER TABLE {0}.entries ALTER leaf DROP NOT NULL",
        "ALTER TABLE {0}.entries ADD COLUMN more text",
        "ALTER TABLE {0}.entries ENABLE ROW LEVEL SECURITY",
        "CREATE RULE mine AS ON INSERT TO {0}.attempts DO INSTEAD NOTHING",
        "CREATE TABLE {0}.mine () INHERITS ({0}.entries)",
        "CREATE VIEW {0}.mine AS SELECT 1",
        "ALTER TABLE {0}.nodes RENAME TO others",
        "COMMENT ON SCHEMA {0} IS 'privsynth ledger, layout 99'",
    ],
)
def test_changed_tables_are_refused(
    ledger: Ledger, run: Callable[..., list[tuple[Any, ...]]], server_url: str, key: Path, change: str
) -> None:
    run(change.format(SCHEMA))
    for use in (lambda: ledger.reserve(recipe(0.1), **USE), ledger.balances, lambda: opened_at(server_url, key)):
        with pytest.raises(LedgerError, match="tables were changed"):
            use()


def test_a_schema_of_someone_else_is_left_alone(
    server_url: str, key: Path, run: Callable[..., list[tuple[Any, ...]]]
) -> None:
    run(f"CREATE SCHEMA {SCHEMA}", f"CREATE TABLE {SCHEMA}.mine (i int)")
    with pytest.raises(LedgerError, match="does not hold a ledger"):
        opened_at(server_url, key)
    assert run(f"SELECT relname FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace") == [("mine",)]


def test_a_schema_that_went_is_not_made_anew(ledger: Ledger, run: Callable[..., list[tuple[Any, ...]]]) -> None:
    run(f"DROP SCHEMA {SCHEMA} CASCADE")
    with pytest.raises(LedgerError, match="holds no ledger"):
        ledger.reserve(recipe(0.1), **USE)


def test_a_head_that_went_is_no_lock(ledger: Ledger, run: Callable[..., list[tuple[Any, ...]]]) -> None:
    run(
        f"ALTER TABLE {SCHEMA}.cells DISABLE TRIGGER ALL",
        f"DELETE FROM {SCHEMA}.cells WHERE name = 'head'",
        f"ALTER TABLE {SCHEMA}.cells ENABLE TRIGGER ALL",
    )
    with pytest.raises(LedgerError, match="head"):
        ledger.reserve(recipe(0.1), **USE)


def test_a_table_of_the_same_name_elsewhere_misleads_nobody(
    ledger: Ledger, server: Server, server_url: str, run: Callable[..., list[tuple[Any, ...]]]
) -> None:
    run("CREATE SCHEMA mine", "CREATE TABLE mine.entries AS SELECT * FROM privsynth_ledger.entries WHERE false")
    run("CREATE TABLE public.entries AS SELECT * FROM privsynth_ledger.entries WHERE false")
    server.run(f"ALTER DATABASE {server_url.rpartition('/')[2]} SET search_path = mine, public")
    ledger.reserve(recipe(0.1), **USE)
    assert kinds(ledger).count("reserve") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE {0}.entries SET leaf = set_byte(leaf, 40, 1) WHERE seq = 3", "altered"),
        ("DELETE FROM {0}.entries WHERE seq = 3", "missing|not those"),
        ("DELETE FROM {0}.attempts WHERE seq > 0", "not those|cut off"),
        ("UPDATE {0}.cells SET data = set_byte(data, 3, 1) WHERE name = 'state'", "state"),
        ("UPDATE {0}.secrets SET data = set_byte(data, 3, 1)", "secret key"),
        ("DELETE FROM {0}.found", "index"),
        ("INSERT INTO {0}.entries SELECT -1, leaf, hash FROM {0}.entries WHERE seq = 3", "missing"),
    ],
)
def test_what_the_owner_of_the_tables_changed_is_found(
    ledger: Ledger, run: Callable[..., list[tuple[Any, ...]]], change: str, words: str
) -> None:
    """Whoever may switch the triggers off may write what they like, but cannot sign it."""
    gate(fit(ledger.reserve(recipe(0.1), **USE)))
    run(
        *(f"ALTER TABLE {SCHEMA}.{table} DISABLE TRIGGER ALL" for table in TABLES),
        change.format(SCHEMA),
        *(f"ALTER TABLE {SCHEMA}.{table} ENABLE TRIGGER ALL" for table in TABLES),
    )
    with pytest.raises(LedgerError, match=words):
        ledger.verify()


# --- roles -----------------------------------------------------------------------------------------


@pytest.fixture
def clerk(ledger: Ledger, server: Server, server_url: str) -> str:
    """The ledger's address for a role with the rights that docs/postgres.md lists, and no other."""
    name = server_url.rpartition("/")[2]
    server.run(f"CREATE ROLE {name} LOGIN PASSWORD 'clerk'", *(g.format(role=name) for g in GRANTS), database=name)
    return server.url(name, user=name, password="clerk")


def test_the_documented_role_can_do_every_step(clerk: str, key: Path) -> None:
    ledger = opened_at(clerk, key)
    hold = fit(ledger.reserve(recipe(0.1), **USE))
    gate(hold)
    hold.approve({"utility": "0.9"})
    for number in range(20):  # past the entry at which the state is renewed
        ledger.reserve(recipe(0.001), **USE, request=f"r{number}")
    assert ledger.verify().holds == 21


def changes(table: str) -> list[str]:
    """Statements that would change or take away what was written to a table."""
    column = "hash" if table in ("entries", "attempts", "nodes") else "name"
    taken = [f"DELETE FROM {SCHEMA}.{table}", f"TRUNCATE {SCHEMA}.{table}"]
    return taken + ([f"UPDATE {SCHEMA}.{table} SET {column} = {column}"] if table != "cells" else [])


def test_the_owner_brings_a_ledger_of_layout_2_up_for_the_documented_role(
    clerk: str, key: Path, server: Server, server_url: str
) -> None:
    name = server_url.rpartition("/")[2]
    back = f"DROP TABLE {SCHEMA}.assigned", f"COMMENT ON SCHEMA {SCHEMA} IS 'privsynth ledger, layout 2'"
    server.run(*back, database=name)
    assert look_at_ledger(clerk, policy(), actor=ANALYST, key=key, clock=Hands()).verify().entries == 3
    with pytest.raises(StorageError, match="layout 2, and this role may not") as caught:
        opened_at(clerk, key)
    assert "ledger migrate" in caught.value.mend
    assert opened_at(server_url, key).verify().entries == 3
    ledger = opened_at(clerk, key)
    ledger.reserve(recipe(0.1), **USE)
    with pytest.raises(ZeroDivisionError), ledger.writing() as session:
        session.tx.put("assigned", "0", bytes(16))
        raise ZeroDivisionError
    assert ledger.verify().holds == 1


def test_the_documented_role_can_change_nothing(clerk: str) -> None:
    others = [
        f"ALTER TABLE {SCHEMA}.entries DISABLE TRIGGER ALL",
        f"DROP TABLE {SCHEMA}.entries",
        f"DROP SCHEMA {SCHEMA} CASCADE",
        f"CREATE TABLE {SCHEMA}.mine ()",
        f"DROP FUNCTION {SCHEMA}.append_only CASCADE",
        "SET session_replication_role = replica",
    ]
    for statement in (*(change for table in TABLES for change in changes(table)), *others):
        with psycopg.connect(clerk) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_the_owner_changes_nothing_by_accident(server_url: str, ledger: Ledger) -> None:
    for statement in (change for table in TABLES for change in changes(table)):
        with psycopg.connect(server_url) as connection, pytest.raises(psycopg.errors.RaiseException, match="append"):
            connection.execute(statement)


def test_a_role_that_may_only_read_looks_and_sells_nothing(
    ledger: Ledger, server: Server, server_url: str, key: Path
) -> None:
    name = server_url.rpartition("/")[2]
    server.run(
        f"CREATE ROLE {name} LOGIN PASSWORD 'auditor'",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {name}",
        database=name,
    )
    seen = look_at_ledger(
        server.url(name, user=name, password="auditor"), policy(), actor=ANALYST, clock=Hands(), key=key
    )
    assert seen.verify().holds == 0
    with pytest.raises(StorageError, match="this role may not"):
        seen.reserve(recipe(0.1), **USE)
    assert kinds(ledger).count("reserve") == 0


def test_a_role_that_may_make_nothing_makes_no_ledger(server: Server, key: Path) -> None:
    name = server.new_database()
    server.run(f"CREATE ROLE {name} LOGIN PASSWORD 'clerk'")
    with pytest.raises(StorageError, match="this role may not"):
        opened_at(server.url(name, user=name, password="clerk"), key)
    assert not key.exists()


# --- a server that goes ----------------------------------------------------------------------------


def test_a_connection_that_breaks_before_the_commit_sells_nothing(
    ledger: Ledger, run: Callable[..., list[tuple[Any, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, genuine = kinds(ledger), PostgresTransaction.set_cell
    gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'privsynth'"

    def cut_off(self: PostgresTransaction, *given: Any) -> None:
        genuine(self, *given)
        run(f"{gone} AND datname = current_database()")

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="gone") as caught:
        patch.setattr(PostgresTransaction, "set_cell", cut_off)
        ledger.reserve(recipe(0.1), **USE, request="monday")
    assert "same request id" in caught.value.mend
    assert kinds(ledger) == before
    ledger.reserve(recipe(0.1), **USE, request="monday")
    assert kinds(ledger).count("reserve") == 1


def test_an_answer_to_commit_that_is_lost_is_found_by_its_request(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = psycopg.Connection.execute

    def deaf(self: Any, query: Any, *given: Any, **named: Any) -> Any:
        answer = genuine(self, query, *given, **named)
        if query == "COMMIT":
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return answer

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="gone"):
        patch.setattr(psycopg.Connection, "execute", deaf)
        ledger.reserve(recipe(0.1), **USE, request="monday")
    hold = ledger.reserve(recipe(0.1), **USE, request="monday")
    assert ledger.find("monday") == hold
    assert kinds(ledger).count("reserve") == 1


def test_a_commit_that_the_server_turned_into_a_rollback_is_no_commit(ledger: Ledger) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK, and no error, where a statement of the transaction had failed."""
    with pytest.raises(StorageError, match="undid"), ledger.store.writing() as tx:
        tx.put("claims", "h", b"1")
        with suppress(psycopg.Error):
            tx.put("claims", "h", b"2")
    with ledger.store.reading() as tx:
        assert tx.get("claims", "h") is None


def test_a_server_that_crashes_keeps_what_was_acknowledged(own_server: Server, key: Path) -> None:
    """SIGQUIT: no checkpoint; what it has after its next start it has from its log."""
    url = own_server.url(own_server.new_database())
    ledger = opened_at(url, key)
    sold = []
    for life in range(3):
        sold += [ledger.reserve(recipe(0.01), **USE, request=f"{life}.{number}").id for number in range(4)]
        with pytest.raises(StorageError), ledger.store.writing() as tx:
            tx.put("claims", f"half {life}", b"1")
            own_server.stop(signal.SIGQUIT)
        with pytest.raises(StorageError, match="cannot be reached"):
            ledger.reserve(recipe(0.01), **USE, request=f"{life}.4")
        own_server.start()
    ledger = opened_at(own_server.url(url.rpartition("/")[2]), key)
    ledger.verify()
    assert [found.id for life in range(3) for number in range(4) if (found := ledger.find(f"{life}.{number}"))] == sold
    with ledger.store.reading() as tx:
        assert tx.names("claims") == set()


def test_a_reader_sees_one_moment(ledger: Ledger) -> None:
    with ledger.store.reading() as reader:
        before = [*reader.rows("main")], reader.cell("head"), reader.cell("steps")
        for _ in range(20):
            ledger.reserve(recipe(0.01), **USE)
        assert ([*reader.rows("main")], reader.cell("head"), reader.cell("steps")) == before


def test_long_logs_are_read_page_by_page(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privsynth.ledger.postgres.PAGE", 3)
    sold = [ledger.reserve(recipe(0.01), **USE).id for _ in range(7)]
    with ledger.reading() as session:
        assert [entry.body["hold"] for entry in session.main if entry.kind == "reserve"] == sold


def test_a_store_knows_what_it_is_called(server: Server) -> None:
    assert (
        PostgresStore.at("postgresql://h.example:5433/db?user=u&password=p").where == "postgresql://h.example:5433/db"
    )
    assert PostgresStore.at("postgres:///db").where == "postgresql:///db"


# --- from one store to another, and back from a backup ---------------------------------------------


def used(url: str, key: Path) -> tuple[Ledger, list[str]]:
    """A ledger with something of everything, and its holds."""
    ledger = opened_at(url, key)
    first = fit(ledger.reserve(recipe(0.1), **USE, request="first"))
    gate(first)
    first.approve({"utility": "0.9"})
    second = fit(ledger.reserve(recipe(0.2), **USE, request="second"))
    return ledger, [first.id, second.id]


@pytest.mark.parametrize("way", ["to the server", "to a file"])
def test_a_ledger_moves_between_a_file_and_a_server(server_url: str, key: Path, tmp_path: Path, way: str) -> None:
    """At no price where a witness remembers just what moves; the backup of a file is a file, of a server an export."""
    file, witness = f"sqlite:///{tmp_path / 'l.db'}", new_witness(tmp_path / "witness")
    here, there = (file, server_url) if way == "to the server" else (server_url, file)
    ledger, holds = used(here, key)
    told = care.backup(
        open_ledger(here, policy(), actor=ANALYST, clock=Hands(), key=key, witness=witness), tmp_path / "b"
    )
    assert told == ledger.verify()
    found = restored(tmp_path / "b", there, People(tmp_path / "keys"), key=key, witness=witness)
    assert (found.lost, found.checked) == (False, told)
    moved = open_ledger(there, policy(), actor=ANALYST, clock=Hands(), key=key, witness=witness)
    moved.verify()
    assert moved.balances() == ledger.balances()
    assert kinds(moved) == [*kinds(ledger), "restore"]
    assert [moved.hold(hold).transcript() for hold in holds] == [b"noisy counts"] * 2
    assert gate(moved.hold(holds[1])) == 2
    with pytest.raises(StorageError, match="the ledger exists"):
        restored(tmp_path / "b", there, People(tmp_path / "keys"), key=key)


def test_emptied_tables_are_not_filled_anew(
    ledger: Ledger, server_url: str, key: Path, run: Callable[..., Any]
) -> None:
    """The schema is there, the key is there, and every row is gone."""
    names = [f"{SCHEMA}.{table}" for table in TABLES]
    run(*(f"ALTER TABLE {name} DISABLE TRIGGER ALL" for name in names))
    run(f"TRUNCATE {', '.join(names)}")
    run(*(f"ALTER TABLE {name} ENABLE TRIGGER ALL" for name in names))
    with pytest.raises(LedgerError):
        opened_at(server_url, key)
    assert run(*(f"SELECT count(*) FROM {name}" for name in names))[0] == (0,)


def new_witness(path: Path) -> str:
    """The address of a witness in a file, which remembers nothing yet."""
    for log in ("", ".attempts"):
        path.with_name(path.name + log).touch()
    return f"file:{path}"


def test_yesterdays_database_is_refused_through_the_witness(
    server: Server, server_url: str, key: Path, tmp_path: Path
) -> None:
    witness = new_witness(tmp_path / "witness")

    def opens(url: str) -> Ledger:
        return open_ledger(url, policy(), actor=ANALYST, clock=Hands(), key=key, witness=witness)

    ledger, name = opens(server_url), server_url.rpartition("/")[2]
    ledger.reserve(recipe(0.1), **USE)
    yesterday = server.new_database(f"TEMPLATE {name}")
    opens(server.url(yesterday))
    ledger.reserve(recipe(0.1), **USE)
    with pytest.raises(LedgerError, match="witness"):
        opens(server.url(yesterday))
    opens(server_url).reserve(recipe(0.1), **USE)
    server.run(f"DROP DATABASE {yesterday}")


def test_the_road_back_from_a_backup_that_docs_describe(
    server_url: str, server: Server, key: Path, tmp_path: Path
) -> None:
    """An older backup goes straight into a new database; what the witness misses is booked as spent."""
    witness = new_witness(tmp_path / "witness")
    ledger = open_ledger(server_url, policy(), actor=ANALYST, clock=Hands(), key=key, witness=witness)
    ledger.reserve(recipe(0.1), **USE, request="first")
    care.backup(ledger, tmp_path / "backup.jsonl")
    assert (tmp_path / "backup.jsonl").stat().st_mode & 0o777 == 0o600
    ledger.reserve(recipe(0.1), **USE, request="lost")
    target = server.url(server.new_database())
    assert restored(tmp_path / "backup.jsonl", target, People(tmp_path / "keys"), key=key, witness=witness).lost
    fresh = new_witness(tmp_path / "fresh")
    back = open_ledger(target, policy(), actor=ANALYST, clock=Hands(), key=key, witness=fresh)
    assert back.find("first") is not None
    assert back.find("lost") is None
    with pytest.raises(BudgetExhausted):
        back.reserve(recipe(0.001), **USE)
    back.verify()
    with pytest.raises(LedgerError, match="set back or changed"):
        open_ledger(target, policy(), actor=ANALYST, clock=Hands(), key=key, witness=witness)


def test_a_backup_is_of_one_moment_while_others_sell(
    ledger: Ledger, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process sells between the reading of one log and the next: nothing of it is in the backup."""
    genuine, sold = write_export, list[str]()

    def busy(session: Session, path: Path, *, inside: bool, note: str) -> None:
        sold.append(ledger.reserve(recipe(0.1), **USE).id)
        genuine(session, path, inside=inside, note=note)

    ledger.reserve(recipe(0.1), **USE)
    monkeypatch.setattr(care, "write_export", busy)
    checked = care.backup(ledger, tmp_path / "b.jsonl")
    found = care.read(tmp_path / "b.jsonl", key=ledger.seal.key().raw_public)
    assert (len(found.main), checked.holds) == (checked.entries, 1)
    assert sold[0] not in {entry.body.get("hold") for entry in found.main}
    assert ledger.balances()[0].holds == 2
