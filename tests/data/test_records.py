"""Records → Granted → Split: nothing prints, coins look at the subject alone, at most k rows of each.

Chance: keys are fixed, so every test here gives the same verdict each time; bands say at which rate a
fresh key would fall outside.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privsynth.data.records import CoinKey, Granted, Records, Split, Synthetic, Thinning, numbered, subject_rule
from privsynth.data.schema import Subject
from privsynth.errors import RequestDenied, UsageError
from privsynth.privacy.events import Receipt
from privsynth.privacy.noise import keyed_coins
from tests.data import made

KEY = bytes(range(32))
SCHEMA = made.schema({"person": {"kind": "identifier"}, "row": {"kind": "integer", "min": 0, "max": 10**6}})


@dataclass(frozen=True)
class Purse:
    """A ledger's part in a split: one key."""

    key: bytes = KEY
    holdout: float = 0.25
    contribution: int = 3

    def coin_key(self, source: str) -> CoinKey:
        return CoinKey(f"people of {source}", self.holdout, self.contribution, self.key)


def records(subjects: Sequence[str]) -> Records:
    """One row per entry, numbered within its subject, so that a row can be told wherever it stands."""
    counts: dict[str, int] = {}
    rows = []
    for subject in subjects:
        rows.append(counts.get(subject, 0))
        counts[subject] = rows[-1] + 1
    ids = np.empty(len(subjects), dtype=object)
    ids[:] = subjects
    return Records(SCHEMA, pd.DataFrame({"row": rows}, dtype="int64"), ids)


def granted(subjects: Sequence[str]) -> Granted:
    return Granted(records(subjects), "research", "university", "register", "lab/policy")


def sides(split: Split) -> dict[str, tuple[bool, set[int]]]:
    """Of each subject: whether she is held out, and which of her rows were kept."""
    out: dict[str, tuple[bool, set[int]]] = {}
    for held_out, part in ((False, split.train), (True, split.holdout)):
        for subject, row in zip(part.records.subjects, part.records.frame["row"], strict=True):
            side, rows = out.setdefault(subject, (held_out, set()))
            assert side == held_out, "a subject is on one side"
            rows.add(int(row))
    return out


# --- what prints ---------------------------------------------------------------------------------

SECRETS = (made.MARKER, KEY.hex(), repr(KEY)[2:12], "4711")


def every_value() -> list[Any]:
    split = granted([made.MARKER, "b", made.MARKER]).split(Purse(holdout=0.5))
    receipt = Receipt("h", "p", "s", "u", "r", "person", 3, 1, 1.0, 1e-9, "add-or-remove", 1.0, 0.9, 0.1, {})
    frame = pd.DataFrame({"row": [4711]})
    return [
        granted([made.MARKER]).records,
        granted([made.MARKER]),
        split,
        split.train,
        split.holdout,
        split.thin,
        Purse().coin_key("lab/t"),
        Synthetic(frame, SCHEMA, receipt, "m"),
    ]


@pytest.mark.parametrize("value", every_value(), ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda v: repr([v]), lambda v: "%s" % v])  # noqa: UP031
def test_nothing_prints_of_rows_subjects_or_keys(value: Any, show: Callable[[Any], str]) -> None:
    assert not any(secret in show(value) for secret in SECRETS)


@pytest.mark.parametrize("value", every_value(), ids=lambda v: type(v).__name__)
def test_every_step_is_frozen(value: Any) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)


def test_what_does_print() -> None:
    split = granted(["a"]).split(Purse())
    assert repr(granted(["a"])) == "Granted('lab/t', purpose='research', recipient='university')"
    assert repr(split) == "Split('lab/t', holdout=0.25)"
    assert repr(split.train) == "Train('lab/t', purpose='research', recipient='university')"
    assert repr(Purse().coin_key("lab/t")) == "CoinKey('people of lab/t')"


def test_keep() -> None:
    before = replace(records(["a", "b", "a"]), faults={("row", "clip"): 2})
    after = before.keep(np.array([True, False, True]))
    assert after.subjects.tolist() == ["a", "a"]
    assert after.frame["row"].tolist() == [0, 1]
    assert after.frame.index.tolist() == [0, 1]
    assert after.faults == before.faults
    assert after.schema is before.schema
    assert len(before.frame) == 3
    assert len(before.keep(np.zeros(3, dtype=np.bool_)).subjects) == 0


# --- the split -----------------------------------------------------------------------------------

people = st.lists(st.text("abcdefäø01 \0", min_size=1, max_size=3), max_size=30)


@settings(max_examples=200, deadline=None)
@given(rows=people, data=st.data())
def test_others_move_nobody(rows: list[str], data: st.DataObject) -> None:
    """Removing any subjects, or mixing the subjects' rows otherwise (each in its own order), changes
    neither side nor kept rows of those who stay."""
    before = sides(granted(rows).split(Purse(contribution=2)))
    gone = data.draw(st.sets(st.sampled_from(rows))) if rows else set()
    assert sides(granted([r for r in rows if r not in gone]).split(Purse(contribution=2))) == {
        subject: fate for subject, fate in before.items() if subject not in gone
    }
    assert sides(granted(data.draw(st.permutations(rows))).split(Purse(contribution=2))) == before


@settings(max_examples=100, deadline=None)
@given(rows=people, k=st.integers(1, 5))
def test_the_split_by_its_words(rows: list[str], k: int) -> None:
    """One coin a subject; of her rows the k with the least HMAC(key, row number and id)."""
    split = granted(rows).split(Purse(contribution=k))
    limit = min(k, 3)  # the schema's bound
    assert split.train.contribution == split.holdout.contribution == limit
    coins = keyed_coins(KEY, np.array([*rows, ""], dtype=object)[:-1], probability=0.25)
    expected: dict[str, tuple[bool, set[int]]] = {}
    for subject, coin in zip(rows, coins, strict=True):
        digests = [hmac.digest(KEY, f"row:{i}:{subject}".encode(), sha256) for i in range(rows.count(subject))]
        kept = sorted(range(len(digests)), key=digests.__getitem__)[:limit]
        expected[subject] = (bool(coin), set(kept) if len(digests) > limit else set(range(len(digests))))
    assert sides(split) == expected


def test_ids_that_differ_in_a_nul_are_two_subjects() -> None:
    """Whichever rows of hers are kept, those of "ann" have no part in it."""
    both = ["ann", "ann\0", "ann\0", "ann", "ann\0", "ann\0"]
    for seed in range(8):
        purse = Purse(key=bytes([seed]) * 32, contribution=2)
        fates = sides(granted(both).split(purse))
        assert {subject: len(rows) for subject, (_, rows) in fates.items()} == {"ann": 2, "ann\0": 2}
        assert sides(granted([s for s in both if s != "ann"]).split(purse)) == {"ann\0": fates["ann\0"]}


def test_both_sides_say_where_they_come_from() -> None:
    split = granted(["a", "b"]).split(Purse())
    for part in (split.train, split.holdout):
        assert (part.population, part.source) == ("people of lab/t", "lab/t")
        assert (part.purpose, part.recipient, part.consent, part.policy) == (
            *("research", "university"),
            *("register", "lab/policy"),
        )
        assert part.schema is SCHEMA
    assert split.holdout_share == 0.25


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.8, 1.0])
def test_the_share_held_out(share: float) -> None:
    """20,000 subjects; five standard deviations of the binomial: a fresh key would miss in 6 of 10^7."""
    n = 20_000
    held_out = len(granted([f"p{i}" for i in range(n)]).split(Purse(holdout=share)).holdout.records.subjects)
    assert abs(held_out - n * share) <= 5 * (n * share * (1 - share)) ** 0.5


def test_another_key_is_another_draw() -> None:
    rows = [f"p{i}" for i in range(400)]
    first, other = (sides(granted(rows).split(Purse(key=key))) for key in (KEY, KEY[::-1]))
    moved = sum(first[p][0] != other[p][0] for p in rows)
    assert 100 < moved < 200  # 2 · 1/4 · 3/4 of 400 is 150, sd 9.7: misses once in 10^6 keys


def test_which_rows_stay_is_even_chance() -> None:
    """6,000 subjects with 4 rows, 1 kept: chi-square of 3 degrees of freedom, 0.999999 quantile."""
    split = granted([f"p{i}" for i in range(6000)] * 4).split(Purse(contribution=1))
    kept = np.array([next(iter(rows)) for _, rows in sides(split).values()])
    assert len(kept) == 6000
    counts = np.bincount(kept, minlength=4)
    assert ((counts - 1500) ** 2 / 1500).sum() < 30.7


def test_coin_and_kept_row_are_unrelated() -> None:
    """2 rows, 1 kept: among those held out the first row stays as often (5 sd: 6 of 10^7 keys)."""
    fates = list(sides(granted([f"p{i}" for i in range(8000)] * 2).split(Purse(contribution=1, holdout=0.5))).values())
    for side in (False, True):
        first = [0 in rows for held_out, rows in fates if held_out == side]
        assert abs(sum(first) - len(first) / 2) < 5 * (len(first) / 4) ** 0.5


def test_thinning_is_a_coin_of_its_own() -> None:
    ids = np.array([f"p{i}" for i in range(8000)], dtype=object)
    thin = Thinning(KEY)
    a, b = thin(ids, probability=0.5, label="a"), thin(ids, probability=0.5, label="b")
    coin = keyed_coins(KEY, ids, probability=0.5)
    for x, y in ((a, b), (a, coin), (b, coin)):
        assert abs((x == y).sum() - 4000) < 5 * 2000**0.5  # 5 sd
    assert np.array_equal(thin(ids[::-1], probability=0.5, label="a"), a[::-1])
    assert np.array_equal(thin(ids[:10], probability=0.5, label="a"), a[:10])
    assert not (thin(ids, probability=0.2, label="a") & ~a).any()


@settings(max_examples=50, deadline=None)
@given(rows=people, k=st.integers(1, 5))
def test_a_benchmark_holds_nobody_out_and_bounds_every_subject(rows: list[str], k: int) -> None:
    """The same rows of each subject as the split keeps on its two sides together."""
    purse = Purse(contribution=k)
    split = Split.benchmark(granted(rows), purse)
    assert len(split.holdout.records.subjects) == 0
    assert split.holdout_share == 0
    assert split.train.benchmark and split.holdout.benchmark
    ordinary = granted(rows).split(purse)
    assert not ordinary.train.benchmark and not ordinary.holdout.benchmark
    assert split.train.contribution == ordinary.train.contribution
    assert sides(split) == {subject: (False, kept) for subject, (_, kept) in sides(ordinary).items()}


@dataclass(frozen=True)
class Apart(Purse):
    """A ledger that keeps populations apart: only ``own`` are of this one."""

    own: frozenset[str] = frozenset()

    def coin_key(self, source: str) -> CoinKey:
        raise AssertionError("it gives coins for named subjects only")

    def assign(self, source: str, subjects: Any) -> tuple[CoinKey, Any]:
        if subjects is None:
            raise RequestDenied("no ids", rules=["PS-SRC-006"])
        return Purse.coin_key(self, source), np.array([subject in self.own for subject in subjects], dtype=bool)


@settings(max_examples=50, deadline=None)
@given(rows=people, own=st.frozensets(st.text(max_size=3)), benchmark=st.booleans())
def test_whom_another_population_met_is_in_no_split_and_moves_nobody(
    rows: list[str], own: frozenset[str], *, benchmark: bool
) -> None:
    """As if they had never been in the file, on both sides and in a benchmark's split."""
    make = Split.benchmark if benchmark else Granted.split
    own |= set(rows[::2])
    split = make(granted(rows), Apart(own=own))
    assert sides(split) == sides(make(granted([who for who in rows if who in own]), Purse()))


def test_rows_that_are_subjects_by_themselves_are_not_named_to_the_ledger() -> None:
    rows = records(["aa:0", "bb:0"])
    by_row = SCHEMA.model_copy(update={"subject": Subject(each_row_is_a="visit", a_person_has_at_most="5 rows")})
    unnamed = replace(granted([]), records=replace(rows, schema=by_row))
    for split in (unnamed.split, lambda coins: Split.benchmark(unnamed, coins)):
        with pytest.raises(RequestDenied, match="no ids"):
            split(Apart())
    assert unnamed.split(Purse()).train.population == "people of lab/t"


def test_nobody() -> None:
    split = granted([]).split(Purse())
    assert len(split.train.records.subjects) == len(split.holdout.records.subjects) == 0


def test_the_unit_in_words() -> None:
    assert subject_rule(Subject(column="pid", at_most="12 rows")) == "the person behind 'pid', with at most 12 rows"
    by_row = Subject(each_row_is_a="visit", a_person_has_at_most="5 rows")
    assert subject_rule(by_row) == "one visit (one row); a person has at most 5"
    with pytest.raises(UsageError, match="no subject"):
        subject_rule(Subject.model_construct(column=None, each_row_is_a=None))


def test_a_denied_row_leaves_no_trace_in_the_ids_of_equal_rows() -> None:
    """Rows as subjects, equal in content, some denied: removing any row changes the kept ids by that row alone."""
    ids = np.array([f"{'ab'[i % 2]}:{i}" for i in range(12)], dtype=object)
    granted = np.array([i % 3 != 0 for i in range(12)])
    kept = sorted(numbered(ids[granted]))
    for gone in range(12):
        left = np.arange(12) != gone
        again = sorted(numbered(ids[left][granted[left]]))
        missing = list(kept)
        for id_ in again:
            missing.remove(id_)
        assert len(missing) == int(granted[gone])
        assert all(m.startswith(f"{ids[gone][0]}:") for m in missing)
