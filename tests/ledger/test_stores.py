"""What a ledger asks of any database, of the file and of the server alike."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical
from privsynth.errors import LedgerError, PrivsynthError, StorageError
from privsynth.ledger.entry import Entry, follow, read_chain
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import SHELVES, Store, Transaction
from privsynth.ledger.seal import Said, Seal, sealed
from privsynth.ledger.store import look_at_ledger, open_ledger
from privsynth.privacy.accountant import share_out
from privsynth.privacy.filters import GdpFilter
from privsynth.signing import SigningKey, load_key, new_key
from tests.ledger.anywhere import POINTS, PROCESSES, contest, killed_at, opened_at
from tests.ledger.world import ANALYST, USE, Hands, fit, kinds, paid, policy, recipe

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Where the ledger's key lies."""
    return tmp_path / "ledger.key"


@pytest.fixture
def ledger(url: str, key: Path) -> Ledger:
    """A new ledger, in a file or on a server."""
    return opened_at(url, key)


@pytest.fixture
def store(ledger: Ledger) -> Store:
    """Its store."""
    return ledger.store


def entries(count: int, *, after: Entry | None = None) -> list[Entry]:
    """So many entries of the second log."""
    made: list[Entry] = []
    for number in range(count):
        last = made[-1] if made else after
        made.append(follow(last, "denied", {"number": number, "odd": 'ε\x7f"'}, log="attempts", actor="a", now=NOW))
    return made


def last(tx: Transaction) -> Entry:
    """The last entry of the second log, as a new ledger has it."""
    return read_chain("attempts", tx.rows("attempts"))[-1]


# --- made once -------------------------------------------------------------------------------------


def test_a_ledger_that_is_gone_beside_its_key_is_not_made_anew(url: str, key: Path) -> None:
    opened_at(url, key).reserve(recipe(0.5), **USE)
    _remove(url)
    for _ in range(2):
        with pytest.raises(LedgerError, match="no ledger, but the key that was made with one") as caught:
            opened_at(url, key)
    assert caught.value.exit_code == 4
    assert "back in its place, or restore" in caught.value.mend
    assert "a new name" in caught.value.mend
    assert [p.name for p in key.parent.iterdir()] == [key.name]


def test_asking_a_ledger_that_is_gone_beside_its_key_says_so(url: str, key: Path) -> None:
    opened_at(url, key)
    _remove(url)
    with pytest.raises(LedgerError, match="no ledger, but the key that was made with one"):
        look_at_ledger(url, policy(), actor=ANALYST, key=key)


@pytest.mark.parametrize("point", POINTS)
def test_a_death_while_a_ledger_is_made_is_no_loss(url: str, key: Path, point: str) -> None:
    killed_at(point, lambda: opened_at(url, key))
    made, said = key.read_bytes() if key.exists() else None, Seal(key).marked()
    assert (made is None) == (point in ("draft", "mark"))
    ledger = opened_at(url, key)
    ledger.verify()
    assert made in (None, key.read_bytes())
    assert said.get("ledger") in (None, ledger.id)
    assert (said.get("what") == "making") == (made is not None)
    assert Seal(key).marked() == {}
    _remove(url)
    with pytest.raises(LedgerError, match="no ledger, but the key"):
        opened_at(url, key)


def mark_of(key: Path, by: SigningKey, said: Said) -> Path:
    """A mark beside the key, signed by ``by``."""
    path = key.with_name(f".{key.name}.{Seal(key).key().keyid[:16]}.mark")
    path.write_bytes(sealed("mark", canonical(said), by))
    return path


def test_a_mark_that_the_key_did_not_sign_makes_nothing_anew(url: str, key: Path) -> None:
    """Who may write in the key's folder can put any file there, but sign nothing with the key."""
    id = opened_at(url, key).id
    _remove(url)
    new_key(key.with_name("own.key"), name="ledger")
    own, making = load_key(key.with_name("own.key")), {"what": "making", "ledger": id}
    for name in (f".{key.name}.making", mark_of(key, own, making).name):
        key.with_name(name).touch()
        with pytest.raises(LedgerError, match="no ledger, but the key"):
            opened_at(url, key)
        key.with_name(name).write_bytes(b"")
        with pytest.raises(LedgerError, match="no ledger, but the key"):
            opened_at(url, key)
    mark_of(key, Seal(key).key(), {**making, "what": "migrating"})
    with pytest.raises(LedgerError, match="no ledger, but the key"):
        opened_at(url, key)


def test_the_mark_of_the_first_moment_leads_back_to_the_empty_ledger_and_a_witness_tells(
    url: str, key: Path, tmp_path: Path
) -> None:
    """What remains: it is as any older copy of the ledger."""
    killed_at("key", lambda: opened_at(url, key))
    (kept,) = (path for path in tmp_path.glob(".*.mark"))
    said = kept.read_bytes()
    ledger, witness = opened_at(url, key), tmp_path / "witness"
    ledger.reserve(recipe(0.5), **USE)
    _remove(url)
    kept.write_bytes(said)
    for name in ("witness", "witness.attempts"):
        (tmp_path / name).touch()
    again = open_ledger(url, policy(), actor=ANALYST, clock=Hands(), key=key, witness=f"file:{witness}")
    assert again.id == ledger.id
    assert kinds(again).count("reserve") == 0
    again.reserve(recipe(0.5), **USE)
    _remove(url)
    kept.write_bytes(said)
    with pytest.raises(LedgerError, match="its witness remembers one"):
        open_ledger(url, policy(), actor=ANALYST, clock=Hands(), key=key, witness=f"file:{witness}")


def test_what_could_not_be_made_leaves_no_key_behind(url: str, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Exception):
        pass

    def none(*_: object) -> None:
        raise Odd

    with monkeypatch.context() as planted:
        planted.setattr("privsynth.ledger.store.found", none)
        with pytest.raises(Odd):
            opened_at(url, key)
    assert list(key.parent.iterdir()) == []
    opened_at(url, key).verify()


def _remove(url: str) -> None:
    """What an accident, or somebody, does to a ledger."""
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).unlink()
        return
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA privsynth_ledger CASCADE")


# --- one transaction -------------------------------------------------------------------------------


def test_lines_come_back_as_they_were_written_and_in_order(store: Store) -> None:
    with store.writing() as tx:
        first = last(tx)
        made = [first, *entries(12, after=first)]
        for entry in made[1:]:
            tx.add(entry)
    rows = [(entry.seq, entry.leaf, entry.hash) for entry in made]
    with store.reading() as tx:
        assert list(tx.rows("attempts")) == rows
        assert list(tx.rows("attempts", 5)) == rows[5:]
        assert list(tx.rows("attempts", 13)) == []
        assert tx.row("attempts", 7) == rows[7][1:]
        assert tx.row("attempts", 13) is None
        assert list(tx.hashes("attempts", 0, 3, 6)) == [bytes.fromhex(row[2]) for row in rows[3:6]]


def test_what_is_kept_beside_the_logs_comes_back(store: Store) -> None:
    data = bytes(range(256)) * 4096
    with store.writing() as tx:
        for shelf in SHELVES:
            tx.put(shelf, "ä name", data)
        for place in (1, 0):
            tx.keep_hash("main", 8, place, bytes([place]) * 32)
        for name, place in (("b", 10), ("a", 11), ("b", 9), ("É", 4)):
            tx.index(f"hold {name}", place)
        tx.set_cell("steps", b"one")
        tx.set_cell("steps", data)
    with store.reading() as tx:
        assert all(tx.get(shelf, "ä name") == data for shelf in SHELVES)
        assert all("ä name" in tx.names(shelf) for shelf in SHELVES)
        assert tx.get("claims", "another") is None
        assert list(tx.hashes("main", 8, 0, 5)) == [b"\0" * 32, b"\1" * 32]
        assert list(tx.found("hold b")) == [9, 10]
        assert list(tx.found("hold c")) == []
        assert list(tx.indexed()) == [("hold a", 11), ("hold b", 9), ("hold b", 10), ("hold É", 4)]
        assert tx.cell("steps") == data


@pytest.mark.parametrize("what", ["line", "transcript", "index", "hash"])
def test_nothing_is_written_twice(store: Store, what: str) -> None:
    def write(tx: Transaction) -> None:
        match what:
            case "line":
                tx.add(made)
            case "transcript":
                tx.put("transcripts", "h", b"1")
            case "index":
                tx.index("hold h", 3)
            case "hash":
                tx.keep_hash("main", 8, 0, b"1" * 32)

    with store.writing() as tx:
        made = entries(1, after=last(tx))[0]
        write(tx)
    with pytest.raises(LedgerError), store.writing() as tx:
        write(tx)


def test_of_a_block_that_raises_nothing_is_left(store: Store) -> None:
    class Odd(Exception):
        pass

    with store.reading() as tx:
        before = list(tx.rows("attempts")), tx.cell("head")
    with pytest.raises(Odd), store.writing() as tx:
        tx.add(entries(1, after=last(tx))[0])
        tx.put("claims", "h", b"1")
        tx.set_cell("head", b"1")
        raise Odd
    with store.reading() as tx:
        assert (list(tx.rows("attempts")), tx.cell("head")) == before
        assert tx.get("claims", "h") is None


def test_a_second_writer_waits_and_says_so(store: Store) -> None:
    impatient = replace(store, wait_seconds=0.05)  # type: ignore[type-var]
    with store.writing(), pytest.raises(StorageError, match="another process holds"), impatient.writing():
        pass


def test_an_error_that_the_block_swallowed_is_not_taken_for_a_commit(store: Store) -> None:
    with store.writing() as tx:
        made = entries(1, after=last(tx))[0]
        tx.add(made)
    with suppress(PrivsynthError), store.writing() as tx:
        tx.set_cell("steps", b"half")
        with suppress(Exception):
            tx.add(made)
        raise LedgerError("the caller gave up")
    with store.reading() as tx:
        assert tx.cell("steps") != b"half"


# --- a ledger --------------------------------------------------------------------------------------


class Crash(BaseException):
    """What a power cut looks like from inside."""


@pytest.mark.parametrize("step", ["add", "put", "index", "set_cell"])
def test_a_step_cut_short_anywhere_leaves_nothing_half_written(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    hold = ledger.reserve(recipe(0.1), **USE)
    hold.open_fit(recipe=hold.recipe, source=hold.source, purpose=hold.purpose, recipient=hold.recipient)
    before = kinds(ledger)
    with ledger.store.reading() as tx:
        kind = type(tx)
    genuine = getattr(kind, step)

    def crash_after(self: Transaction, *given: Any) -> None:
        genuine(self, *given)
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(kind, step, crash_after)
        hold.deposit(b"noisy")
    assert kinds(ledger) == before
    ledger.verify()
    hold.deposit(b"noisy")
    assert hold.transcript() == b"noisy"


def test_many_entries_are_read_back_whole(ledger: Ledger) -> None:
    """More than the entries after which the signed state is renewed, and steps of old holds."""
    first = ledger.reserve(recipe(0.001), **USE)
    sold = [ledger.reserve(recipe(0.001), **USE, request=f"r{number}") for number in range(40)]
    fit(first)
    assert ledger.verify().holds == 41
    assert ledger.find("r3") == sold[3]
    assert ledger.reserve(recipe(0.001), **USE, request="r7") == sold[7]
    assert kinds(ledger).count("reserve") == 41


# --- several at once -------------------------------------------------------------------------------


def test_only_one_of_four_processes_gets_the_last_hold(url: str, key: Path) -> None:
    assert sold_and_refused(contest("last_one", url, key)) == (1, ["BudgetExhausted"] * (PROCESSES - 1))
    assert kinds(opened_at(url, key)).count("reserve") == 1


def sold_and_refused(answers: Iterable[str]) -> tuple[int, list[str]]:
    """How many holds, and the names of the errors, of what :func:`contest` gives."""
    errors = sorted(answer for answer in answers if len(answer) != 32)
    return sum(1 for answer in answers if len(answer) == 32), errors


@pytest.mark.parametrize(("fault", "sells"), [("no_row_lock", 1), ("no_row_lock_and_no_places", PROCESSES)])
def test_a_writer_that_does_not_wait_is_found(server_url: str, key: Path, fault: str, sells: int) -> None:
    """The contest of the test above. Without the row lock the unique place of an entry still stands between the
    writers: all but one fail with another error. Without that too each of them is sold the one hold there is."""
    sold, errors = sold_and_refused(contest("last_one", server_url, key, fault))
    assert (sold, errors) != (1, ["BudgetExhausted"] * (PROCESSES - 1))
    assert sold == sells
    assert errors == ["LedgerError"] * (PROCESSES - sells)


def test_a_file_that_is_locked_late_is_found(tmp_path: Path, key: Path) -> None:
    sold, errors = sold_and_refused(contest("last_one", f"sqlite:///{tmp_path / 'l.db'}", key, "late_lock"))
    assert (sold, errors) != (1, ["BudgetExhausted"] * (PROCESSES - 1))
    assert sold <= 1
    assert "StorageError" in errors


def test_one_request_of_four_processes_buys_one_hold(url: str, key: Path) -> None:
    answers = contest("same_request", url, key)
    assert len(answers) == PROCESSES
    assert len(set(answers)) == 1
    assert len(answers[0]) == 32
    assert kinds(opened_at(url, key)).count("reserve") == 1


def test_four_processes_buy_exactly_what_the_cap_pays_for(url: str, key: Path) -> None:
    """They make the ledger together, too: one of them wins, and all use it."""
    answers = [answer.split() for answer in contest("all_of_it", url, key)]
    assert len(answers) == PROCESSES
    assert {error for error, *_ in answers} == {"BudgetExhausted"}
    assert len({id for _, id, *_ in answers}) == 1
    granted = [hold for _, _, *holds in answers for hold in holds]
    prices, by_hand = share_out(recipe(0.7).budget, gate_share=0.15), GdpFilter(3.0, 2e-8, 2e-10)
    exactly = 0
    while by_hand.admits(prices.event, delta=prices.delta_own):
        by_hand, exactly = by_hand.charge(prices.event, delta=prices.delta_own), exactly + 1
    ledger = opened_at(url, key)
    ledger.verify()
    assert len(granted) == len(set(granted)) == exactly > PROCESSES
    assert kinds(ledger).count("genesis") == 1
    assert kinds(ledger).count("reserve") == exactly
    assert paid(ledger) <= by_hand.cap


def test_of_a_forked_process_only_one_side_fits(url: str, key: Path) -> None:
    answers = contest("two_sides", url, key)
    assert len(answers) == 2
    assert answers.count("too late") == 1


def test_kill_9_at_any_moment_loses_no_acknowledged_step(url: str, key: Path) -> None:
    acknowledged = contest("killed", url, key)
    ledger = opened_at(url, key)
    ledger.verify()
    with ledger.reading() as session:
        main = session.main
    measured = {entry.body["hold"] for entry in main if entry.kind == "measured"}
    assert len(acknowledged) >= 20
    assert set(acknowledged) <= measured
    assert len(acknowledged) <= kinds(ledger).count("reserve") <= len(acknowledged) + 4  # one more of each victim
