"""The consent register: its rule for one subject, and the structure of its file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.errors import ConsentError
from privsynth.policy.consent.reader import Ask
from privsynth.policy.consent.register import agrees, read_register

HEAD = "subject,purpose,recipient,status,from,until\n"
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ASK = Ask(purpose="research", recipient="lab", now=NOW)


def answer(folder: Path, *lines: str, subject: str = "p1", ask: Ask = ASK) -> bool:
    """What the register made of ``lines`` says of one subject."""
    path = folder / "register.csv"
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return agrees(read_register(path).get(subject, ()), ask)


G = "p1,research,lab,granted,2026-01-01,"


@pytest.mark.parametrize(
    ("lines", "granted"),
    [
        ([G], True),
        (["p1,research,*,granted,2026-01-01,"], True),
        (["p1,research,lab,granted,,"], True),
        ([" p1 , research , lab , granted , 2026-01-01 , "], True),
        (['"p1","research","lab","granted","2026-01-01",""'], True),
        # nothing said
        ([], False),
        (["p2,research,lab,granted,2026-01-01,"], False),
        (["P1,research,lab,granted,2026-01-01,"], False),
        (["p1,teaching,lab,granted,2026-01-01,"], False),
        (["p1,research,school,granted,2026-01-01,"], False),
        (["p1,research,lab,withdrawn,2026-01-01,"], False),
        # not now: days are whole days, moments are moments
        (["p1,research,lab,granted,2026-06-16,"], False),
        (["p1,research,lab,granted,2026-06-15,"], True),
        (["p1,research,lab,granted,2026-01-01,2026-06-14"], False),
        (["p1,research,lab,granted,2026-01-01,2026-06-15"], True),
        (["p1,research,lab,granted,2026-01-01,2026-06-15T11:59:59Z"], False),
        (["p1,research,lab,granted,2026-01-01,2026-06-15T12:00:00Z"], True),
        (["p1,research,lab,granted,2026-06-15T12:00:01Z,"], False),
        (["p1,research,lab,granted,2026-06-15T13:30:00+02:00,"], True),
        (["p1,research,lab,granted,2026-06-15T12:30,"], False),
        (["p1,research,lab,granted,0001-01-01T00:00+14:00,9999-12-31T23:59-12:00"], True),
        (["p1,research,lab,granted,,9999-12-31"], True),
        (["p1,research,lab,granted,2026-12-01,2026-01-01"], False),
        # withdrawn at the same time or later
        ([G, "p1,research,lab,withdrawn,2026-03-01,"], False),
        ([G, "p1,research,*,withdrawn,2026-03-01,"], False),
        ([G, "p1,research,lab,withdrawn,2026-01-01,"], False),
        (["p1,research,lab,granted,2026-01-01T10:00Z,", "p1,research,lab,withdrawn,2026-01-01T10:00Z,"], False),
        (["p1,research,lab,granted,2026-01-01T10:00Z,", "p1,research,lab,withdrawn,2026-01-01,"], False),
        (["p1,research,lab,granted,2026-01-01T10:00Z,", "p1,research,lab,withdrawn,2026-01-01T09:00Z,"], True),
        ([G, "p1,research,lab,withdrawn,,"], False),
        (["p1,research,lab,granted,,", "p1,research,lab,withdrawn,2020-01-01,"], False),
        ([G, "p1,research,lab,withdrawn,2027-01-01,"], False),
        ([G, "p1,research,lab,withdrawn,2026-02-01,2026-03-01"], False),
        # granted again after it
        ([G, "p1,research,lab,withdrawn,2026-03-01,", "p1,research,lab,granted,2026-04-01,"], True),
        ([G, "p1,research,lab,withdrawn,2026-03-01,", "p1,research,lab,granted,2026-07-01,"], False),
        ([G, "p1,research,lab,withdrawn,2025-12-31,"], True),
        # a withdrawal of something else
        ([G, "p1,teaching,lab,withdrawn,2026-03-01,"], True),
        ([G, "p1,research,school,withdrawn,2026-03-01,"], True),
        # what cannot be read denies her
        ([G, "p1,research,lab,revoked,2026-03-01,"], False),
        ([G, "p1,research,lab,Granted,2026-03-01,"], False),
        ([G, "p1,research,lab,,2026-03-01,"], False),
        ([G, "p1,teaching,lab,maybe,,"], False),
        ([G, "p1,,lab,granted,,"], False),
        ([G, "p1,research,,granted,,"], False),
        ([G, "p1,*,lab,withdrawn,,"], False),
        (["p1,*,lab,granted,,"], False),
        ([G, "p1,research,lab,granted,01.03.2026,"], False),
        ([G, "p1,research,lab,granted,2026-02-30,"], False),
        ([G, "p1,research,lab,granted,20260301,"], False),
        ([G, "p1,research,lab,granted,2026-03-01T25:00,"], False),
        ([G, "p1,research,lab,granted,,soon"], False),
        # what concerns others does not
        ([G, "p2,research,lab,revoked,,", ",research,lab,withdrawn,,", ""], True),
    ],
)
def test_one_subject(tmp_path: Path, lines: list[str], granted: bool) -> None:
    assert answer(tmp_path, *lines) is granted
    assert answer(tmp_path, *reversed(lines)) is granted


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "zero bytes"),
        (b"\xef\xbb\xbf", "missing columns: subject, purpose, recipient, status, from and until"),
        (b"\n\n", "missing columns"),
        (b"subject,purpose,recipient,status,from\np1,research,lab,granted,2026-01-01\n", "missing columns: until"),
        (b"subject,purpose,recipient,status,from,until,from\n", "doubled column names: from"),
        (b"subject,purpose,recipient,status,from,until,note\n", "columns that a register does not have"),
        (b"p1,research,lab,granted,2026-01-01,\n", "missing columns"),
        (HEAD.encode() + "p1,research,lab,granted,2026-01-01,é\n".encode("latin-1"), "not UTF-8"),
        ((HEAD + "p1,research,lab,granted,2026-01-01,\n").encode("utf-16"), "not UTF-8"),
        (HEAD.encode() + b'p1,research,lab,granted,2026-01-01,"\n', "not whole CSV"),
        (HEAD.encode() + b'"p1,research,lab,granted,2026-01-01,\n', "not whole CSV"),
        (HEAD.encode() + b'"p1"x,research,lab,granted,2026-01-01,\n', "not whole CSV"),
        (HEAD.encode() + b'"p\n1",research,lab,granted,2026-01-01,\n', "6 cells on one line"),
        (HEAD.encode() + b"p1,research,lab,granted,2026-01-01\n", "6 cells on one line"),
        (HEAD.encode() + b"miller, jane,research,lab,withdrawn,,\n", "6 cells on one line"),
    ],
)
def test_structural_faults(tmp_path: Path, raw: bytes, what: str) -> None:
    path = tmp_path / "register.csv"
    path.write_bytes(raw)
    with pytest.raises(ConsentError) as caught:
        read_register(path)
    assert what in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.mend
    assert caught.value.exit_code == 2
    for content in ("p1", "miller", "jane", "2026"):
        assert content not in caught.value.what


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="no such consent register"):
        read_register(tmp_path / "none.csv")
    with pytest.raises(ConsentError, match="cannot be read"):
        read_register(tmp_path)


def test_a_header_alone_grants_nobody(tmp_path: Path) -> None:
    assert answer(tmp_path) is False


def test_forms_of_one_file(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, another order of columns and no last line end change nothing."""
    path = tmp_path / "register.csv"
    path.write_bytes(b"\xef\xbb\xbfuntil,from,status,recipient,purpose,subject\r\n,2026-01-01,granted,lab,research,p1")
    assert agrees(read_register(path)["p1"], ASK)


def test_entries_print_nothing(tmp_path: Path) -> None:
    path = tmp_path / "register.csv"
    path.write_text(HEAD + "p1,research,lab,granted,2026-01-02,\n")
    assert "2026-01-02" not in repr(read_register(path)["p1"])
    assert "research" not in repr(read_register(path)["p1"])


# --- laws ----------------------------------------------------------------------------------------

lines_of_p1 = st.lists(
    st.tuples(
        st.sampled_from(["research", "teaching", "*", ""]),
        st.sampled_from(["lab", "*", "school", ""]),
        st.sampled_from(["granted", "granted", "withdrawn", "other"]),
        st.sampled_from(["", "2026-01-01", "2026-03-01", "2026-06-15T12:00Z", "2027-01-01", "x"]),
        st.sampled_from(["", "", "2026-06-14", "2026-12-31"]),
    ).map(lambda cells: ",".join(("p1", *cells))),
    max_size=5,
)
withdrawals = st.sampled_from(["2026-01-01", "2026-06-15", "2027-01-01", "", "x"]).map(
    lambda day: f"p1,research,*,withdrawn,{day},"
)


@given(lines=lines_of_p1, withdrawal=withdrawals)
def test_a_withdrawal_never_grants(tmp_path_factory: pytest.TempPathFactory, lines: list[str], withdrawal: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    if answer(folder, *lines, withdrawal):
        assert answer(folder, *lines)


@given(lines=lines_of_p1, others=lines_of_p1)
def test_other_subjects_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], others: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    moved = [line.replace("p1,", "p2,", 1) for line in others]
    assert answer(folder, *moved, *lines) == answer(folder, *lines)
