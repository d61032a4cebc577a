"""The signed state: bit for bit the fold, opened by its key alone, and nothing missing in it grants anything."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from privsynth.documents import canonical
from privsynth.errors import HoldError, LedgerError
from privsynth.ledger.balance import Balance, fold, fold_attempts
from privsynth.ledger.entry import one
from privsynth.ledger.hold import Hold
from privsynth.ledger.ledger import Ledger
from privsynth.ledger.log import Session
from privsynth.ledger.merkle import Frontier, extends, includes
from privsynth.ledger.seal import sealed, unsealed
from privsynth.ledger.state import FORMAT, Edge, State
from privsynth.ledger.steps import Status
from privsynth.policy.document import Policy
from privsynth.signing import load_key, new_key
from tests.ledger.world import (
    ANALYST,
    NOON,
    READER,
    USE,
    Hands,
    fit,
    gate,
    lines,
    opened,
    policy,
    recipe,
    second_source,
    tamper,
)

RULES = {
    "gdp": policy(("max attempts: 2", "max attempts: 50")),
    "rdp": policy(("max attempts: 2", "max attempts: 50"), ("{kind: gdp}", "{kind: rdp}")),
}


def busy(folder: Path, rules: Policy, rounds: int = 8) -> Ledger:
    """A ledger in which every kind of entry happened, over several renewals of the state."""
    clock = Hands(NOON - timedelta(hours=1))
    ledger = opened(folder, rules, clock=clock)
    for n in range(rounds):
        done = fit(ledger.reserve(recipe(0.05), **USE, request=f"r{n}"))
        gate(done)
        done.approve({"findings": [n]}) if n % 2 else done.refuse(["PS-GATE-MEM"])
        trained = ledger.reserve(recipe(0.03, trains=True), purpose="research", recipient="institute")
        trained.open_fit(
            recipe=trained.recipe, source=trained.source, purpose=trained.purpose, recipient=trained.recipient
        )
        trained.lease(10)
        trained.lease(20)
        if n % 3:
            trained.deposit(b"weights")
        clock.move(minutes=1)
    opened(folder, rules, actor=READER, clock=clock).open_report("patients")
    return ledger


def whole(session: Session) -> State:
    """The state that all entries make, folded at once."""
    edges = []
    for entries in (session.main, session.attempts):
        edges.append(Edge(Frontier().grown(bytes.fromhex(e.hash) for e in entries), entries[-1].hash, entries[-1].time))
    return State(edges[0], edges[1], fold(session.main), fold_attempts(session.attempts))


@pytest.mark.parametrize("kind", RULES)
def test_the_state_is_bit_for_bit_the_fold(tmp_path: Path, kind: str) -> None:
    ledger = busy(tmp_path, RULES[kind])
    ledger = opened(tmp_path, policy(*second_source_of(kind)), name="l.db")  # a population that came later
    ledger.reserve(recipe(0.01, source="ehr/staff"), **USE)
    with ledger.reading() as session:
        assert session.state.main.size > 16
        now = State(session.edges["main"], session.edges["attempts"], session.balance(), session.gates())
        assert now == whole(session)
        assert now.to_bytes() == whole(session).to_bytes()
        assert State.from_bytes(now.to_bytes(), now.balance.steps, now.balance.requests) == now
    ledger.verify()


def second_source_of(kind: str) -> list[tuple[str, str]]:
    edits = [("max attempts: 2", "max attempts: 50"), second_source("staff", "staff")]
    return edits + ([("{kind: gdp}", "{kind: rdp}")] if kind == "rdp" else [])


def test_the_fold_goes_on_from_anywhere(tmp_path: Path) -> None:
    with busy(tmp_path, RULES["gdp"]).reading() as session:
        main, attempts = session.main, session.attempts
    for at in range(1, len(main)):
        assert fold(main[at:], after=fold(main[:at])) == fold(main)
    for at in range(1, len(attempts)):
        assert fold_attempts(attempts[at:], after=fold_attempts(attempts[:at])) == fold_attempts(attempts)


def test_what_a_session_shows_is_proved_by_its_root(tmp_path: Path) -> None:
    ledger = busy(tmp_path, RULES["gdp"])
    with ledger.reading() as session:
        root, size = session.checkpoint().root, session.checkpoint().size
        assert root == whole(session).main.frontier.root
        for entry in session.main:
            assert session.entry(entry.seq) == entry
            proof = session.inclusion(entry.seq)
            assert includes(root, size, leaf=bytes.fromhex(entry.hash), at=entry.seq, proof=proof)
            old = Frontier().grown(bytes.fromhex(e.hash) for e in session.main[: entry.seq + 1])
            step = session.consistency(old.size)
            assert extends(root, size, old_root=old.root, old=old.size, proof=step)


def test_a_finished_hold_is_found_and_takes_no_step(tmp_path: Path) -> None:
    ledger = busy(tmp_path, RULES["gdp"])
    first = ledger.find("r0")
    assert first is not None
    with ledger.reading() as session:
        bought = session.bought(first.id)
        assert bought is not None
        assert bought.entry < session.state.main.size
    assert ledger.status(first.id) is Status.REFUSED
    assert first.transcript() == b"noisy counts"
    with pytest.raises(HoldError, match="before"):
        fit(first)
    assert ledger.reserve(recipe(0.05), **USE, request="r0") == first


@pytest.mark.parametrize("cell", ["state", "head", "steps", "requests"])
def test_an_altered_cell_opens_nothing(tmp_path: Path, cell: str) -> None:
    ledger = busy(tmp_path, RULES["gdp"], rounds=3)
    with sqlite3.connect(tmp_path / "l.db") as connection:
        (good,) = connection.execute("SELECT data FROM cells WHERE name = ?", (cell,)).fetchone()
    put = "UPDATE cells SET data = ? WHERE name = ?"
    for at in {*range(0, len(good), max(1, len(good) // 40)), len(good) - 1}:
        tamper(tmp_path, (put, (good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], cell)))
        with pytest.raises(LedgerError):
            opened(tmp_path, RULES["gdp"])
    for other in (b"", good[:-1], good + b"\n", good.decode("latin-1")):
        tamper(tmp_path, (put, (other, cell)))
        with pytest.raises(LedgerError):
            opened(tmp_path, RULES["gdp"])
    tamper(tmp_path, ("DELETE FROM cells WHERE name = ?", (cell,)))
    with pytest.raises(LedgerError):
        opened(tmp_path, RULES["gdp"])
    tamper(tmp_path, ("INSERT INTO cells VALUES (?, ?)", (cell, good)))
    ledger.verify()


INDEX = "INSERT INTO found VALUES (?, ?)"


def index(folder: Path) -> list[tuple[str, int]]:
    """The whole index."""
    with sqlite3.connect(folder / "l.db") as connection:
        return connection.execute("SELECT name, seq FROM found").fetchall()


def test_an_index_that_hides_or_misleads_grants_nothing(tmp_path: Path) -> None:
    """A hidden hold is unknown, a hidden request and a false place are refused; reading all finds each."""
    ledger = busy(tmp_path, RULES["gdp"])
    hold = ledger.find("r1")
    assert hold is not None
    good = index(tmp_path)
    tamper(tmp_path, ("DELETE FROM found WHERE name = ?", (f"hold {hold.id}",)))
    with pytest.raises(HoldError, match="not in this ledger"):
        hold.refuse(["PS-GATE-MEM"])
    with pytest.raises(LedgerError, match="index"):
        ledger.verify()
    tamper(tmp_path, ("DELETE FROM found", ()), *((INDEX, row) for row in good))
    ledger.verify()
    tamper(tmp_path, ("UPDATE found SET seq = 1 WHERE name = ?", (f"request {hold.request}",)))
    with pytest.raises(LedgerError, match="another entry"):
        ledger.reserve(recipe(0.05), **USE, request="r1")
    tamper(tmp_path, ("UPDATE found SET seq = 9999 WHERE name = ?", (f"request {hold.request}",)))
    with pytest.raises(LedgerError, match="missing"):
        ledger.reserve(recipe(0.05), **USE, request="r1")


@pytest.mark.parametrize("request_", ["r0", "r1", "last"])
@pytest.mark.parametrize("cut", ["request", "hold", "both", "all"])
def test_a_request_whose_index_was_cut_is_not_sold_twice(tmp_path: Path, cut: str, request_: str) -> None:
    """Before the state and after it: ``last`` is so new that no index is asked for it."""
    ledger = busy(tmp_path, RULES["gdp"])
    ledger.reserve(recipe(0.05), **USE, request="last")
    hold = ledger.find(request_)
    assert hold is not None
    before, good = ledger.balances()[0].holds, index(tmp_path)
    names = {"request": [f"request {request_}"], "hold": [f"hold {hold.id}"]}
    names |= {"both": names["request"] + names["hold"], "all": [name for name, _ in good]}
    tamper(tmp_path, *(("DELETE FROM found WHERE name = ?", (name,)) for name in names[cut]))
    asks: tuple[Callable[[], Hold | None], ...] = (
        lambda: opened(tmp_path, RULES["gdp"]).reserve(recipe(0.05), **USE, request=request_),
        lambda: ledger.sold(recipe(0.05), **USE, request=request_),
        lambda: ledger.find(request_),
    )
    for ask in asks:
        if request_ == "last":
            assert ask() == hold
            continue
        with pytest.raises(LedgerError, match="index of the main log lacks"):
            ask()
    assert ledger.balances()[0].holds == before
    with pytest.raises(LedgerError, match="index"):
        ledger.verify()
    assert ledger.reserve(recipe(0.01), **USE, request="another").request == "another"
    assert ledger.balances()[0].holds == before + 1


def test_a_new_request_is_taken_for_new_though_another_one_looks_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = busy(tmp_path, RULES["gdp"])
    before = ledger.balances()[0].holds
    monkeypatch.setattr(Balance, "may_have_asked", lambda self, request: True)
    ledger.reserve(recipe(0.01), **USE, request="new")
    assert ledger.balances()[0].holds == before + 1


def test_requests_are_told_apart_at_their_places() -> None:
    """Eight bytes that lie across two requests are no request."""
    import hashlib

    names = [f"r{n}" for n in range(200)]
    shorts = {name: hashlib.sha256(name.encode()).digest()[:8] for name in names}
    held = Balance(requests=b"".join(shorts[name] for name in names[:100]))
    assert [held.may_have_asked(name) for name in names] == [True] * 100 + [False] * 100
    across = Balance(requests=b"\0" + shorts["r0"] + b"\0" * 7)
    assert not across.may_have_asked("r0")
    assert not Balance().may_have_asked("r0")


@pytest.mark.parametrize("kind", RULES)
def test_a_state_of_the_first_form_is_read_anew_and_written_in_the_present_one(tmp_path: Path, kind: str) -> None:
    ledger = busy(tmp_path, RULES[kind])
    key = ledger.seal.key()
    with ledger.reading() as session:
        now = session.state.to_bytes()
    old = json.loads(now)
    old["privsynth-ledger-state"] = 1
    del old["balance"]["requests"], old["balance"]["lost"]
    put = "UPDATE cells SET data = ? WHERE name = 'state'"
    tamper(tmp_path, (put, (sealed("state", canonical(old), key),)), ("DELETE FROM cells WHERE name = 'requests'", ()))
    with ledger.reading() as session:
        assert session.state == State()
        assert session.balance() == whole(session).balance
    ledger.verify()
    again = opened(tmp_path, RULES[kind])
    with again.reading() as session:
        assert session.state == whole(session)
    assert again.find("r0") == ledger.find("r0")
    assert again.reserve(recipe(0.05), **USE, request="r0").request == "r0"
    again.verify()


def test_an_old_entry_is_believed_only_under_the_signed_root(tmp_path: Path) -> None:
    """The entry that sold a hold, replaced by another with the right hashes: a smaller price for the same hold."""
    ledger = busy(tmp_path, RULES["gdp"])
    hold = ledger.find("r1")
    assert hold is not None
    with ledger.reading() as session:
        bought = session.bought(hold.id)
    assert bought is not None
    seq, leaf, _ = lines(tmp_path)[bought.entry]
    forged = leaf.replace(b'"recipient":"university"', b'"recipient":"institute"')
    assert forged != leaf
    entry = one("main", seq, forged, hashed(forged))
    tamper(tmp_path, ("UPDATE entries SET leaf = ?, hash = ? WHERE seq = ?", (entry.leaf, entry.hash, seq)))
    with pytest.raises(LedgerError, match="not one that was signed"):
        ledger.hold(hold.id)
    with pytest.raises(LedgerError):
        ledger.verify()


def hashed(leaf: bytes) -> str:
    from privsynth.ledger.entry import leaf_hash

    return leaf_hash(leaf)


def test_another_key_opens_nothing_and_a_lost_one_is_told(tmp_path: Path) -> None:
    opened(tmp_path), opened(tmp_path, name="other.db")
    key = tmp_path / "l.db.key"
    own = key.read_bytes()
    key.unlink()
    with pytest.raises(LedgerError, match=r"key file cannot be read") as caught:
        opened(tmp_path)
    assert "back in its place" in caught.value.mend
    (tmp_path / "other.db.key").rename(key)
    with pytest.raises(LedgerError, match="key of another ledger"):
        opened(tmp_path)
    key.write_bytes(own)
    key.chmod(0o644)
    with pytest.raises(LedgerError, match="mode 0644"):
        opened(tmp_path)
    key.chmod(0o600)
    opened(tmp_path).verify()


def test_a_key_may_lie_elsewhere(tmp_path: Path) -> None:
    from privsynth.ledger.store import look_at_ledger, open_ledger

    (tmp_path / "keys").mkdir()
    url, key = f"sqlite:///{tmp_path / 'l.db'}", tmp_path / "keys" / "k"
    open_ledger(url, policy(), actor=ANALYST, clock=Hands(), key=key).reserve(recipe(), **USE)
    look_at_ledger(url, policy(), actor=ANALYST, clock=Hands(), key=key).verify()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys", "l.db"]
    with pytest.raises(LedgerError, match="key"):
        opened(tmp_path)


def test_what_one_kind_of_cell_says_is_not_taken_for_another(tmp_path: Path) -> None:
    new_key(tmp_path / "k", name="ledger")
    key = load_key(tmp_path / "k")
    data = sealed("head", b"{}", key)
    assert unsealed("head", data, public=key.raw_public, where="") == b"{}"
    for kind, other in (("state", data), ("head", data.upper()), ("head", None), ("head", b"x" * 129)):
        with pytest.raises(LedgerError, match="not signed"):
            unsealed(kind, other, public=key.raw_public, where="")


def test_a_state_of_another_version_or_form_is_refused() -> None:
    good = State().to_bytes()
    assert State.from_bytes(good, b"", b"") == State()
    with pytest.raises(LedgerError, match=f"format {FORMAT + 1}"):
        State.from_bytes(good.replace(b'state":%d' % FORMAT, b'state":%d' % (FORMAT + 1)), b"", b"")
    for bad in (b"{}", b"[]", b"", good.replace(b'"size":0', b'"size":1')):
        with pytest.raises(LedgerError, match="is not one"):
            State.from_bytes(bad, b"", b"")
    with pytest.raises(LedgerError, match="steps"):
        State.from_bytes(good, b"\1", b"")
    with pytest.raises(LedgerError, match="requests"):
        State.from_bytes(good, b"", b"\1")
