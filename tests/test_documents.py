"""Strict YAML in, typed errors with file and line out; canonical JSON and its hash."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privsynth.documents import (
    MAX_BYTES,
    Document,
    Strict,
    build,
    canonical,
    fault,
    identity,
    join,
    load_yaml,
    parse_yaml,
    plain,
    read_bytes,
    refuse_null,
    refuse_todo,
    sha256,
)
from privsynth.errors import PolicyError, StudyError, UsageError
from tests.pipes import not_waiting, pipe


def read(raw: bytes | str) -> dict[str, Any]:
    return parse_yaml(raw.encode() if isinstance(raw, str) else raw, path="f", error=PolicyError).data


# --- YAML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("a: 12\nb: -0\nc: +5", {"a": 12, "b": 0, "c": 5}),
        ("a: 1e-9\nb: 2.50\nc: 1E+3", {"a": 1e-9, "b": 2.5, "c": 1000.0}),
        ("a: true\nb: false\nc: null\nd: ~\ne:", {"a": True, "b": False, "c": None, "d": None, "e": None}),
        ("a: [yes, no, on, off, y, n]", {"a": ["yes", "no", "on", "off", "y", "n"]}),
        ("a: '007'\nb: \"1_000\"\nc: |\n  12\n", {"a": "007", "b": "1_000", "c": "12\n"}),
        ("a: 2026-01-31\nb: 2026-01-31 12:30:00", {"a": "2026-01-31", "b": "2026-01-31 12:30:00"}),
        ("a: [1A, 3F, 5e, E11, v1.0.0, -, 1-2]", {"a": ["1A", "3F", "5e", "E11", "v1.0.0", "-", "1-2"]}),
        ("1: a\n2.50: b\ntrue: c\n2026-01-01: d", {"1": "a", "2.50": "b", "true": "c", "2026-01-01": "d"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("---\na: 1\n...\n", {"a": 1}),
        ('a: "x\\ty\\nz"', {"a": "x\ty\nz"}),
        ("a: {b: [{c: d}]}", {"a": {"b": [{"c": "d"}]}}),
        ("a: é 🙂", {"a": "é 🙂"}),
    ],
)
def test_what_is_read(raw: str, value: dict[str, Any]) -> None:
    found = read(raw)
    assert found == value
    assert repr(found) == repr(value)  # also the types


DEEP = 100_000
REFUSED: list[tuple[str, bytes | str, str, str, str]] = [
    # name, text, where, what, mend
    ("duplicate key", "a: 1\nb: 2\n'a': 3", "f:3", "duplicate key 'a'", "keep one"),
    ("duplicate number key", "1: a\n'1': b", "f:2", "duplicate key '1'", "keep one"),
    ("anchor", "a: &x 1", "f:1", "anchors", "write the value out"),
    ("alias", "a: 1\nb: *x", "f:2", "anchors", "write the value out"),
    ("merge", "a:\n  <<: {b: 1}", "f:2", "merge keys", "write the values out"),
    ("tag", "a: 1\nb: !!str 1", "f:2", "tags", "remove the tag"),
    ("bare tag", "a: ! b", "f:1", "tags", "remove the tag"),
    ("tag of a list", "a: !!python/tuple [1]", "f:1", "tags", "remove the tag"),
    ("directive", "%YAML 1.1\n---\na: 1", "f:1", "directives", "begin with %"),
    ("tag directive", "%TAG ! tag:x,2000:\n---\na: 1", "f:1", "directives", "begin with %"),
    ("second document", "a: 1\n---\nb: 1", "f:2", "second document", "---"),
    ("after the end", "a: 1\n...\nb: 1", "f:3", "second document", "---"),
    *(
        (f"number {text}", f"a: 1\nb: {text}", "f:2", "looks like a number", "quotes")
        for text in (
            *("1_000", "0x1F", "0o17", "0b1", "007", "-07", ".5", "5.", "1_0e5", "1.0.0", "12:30", "1:02:03.5"),
            *(".inf", "-.INF", ".nan", "9" * 5000),
        )
    ),
    ("beyond floats", "a: 1e400", "f:1", "beyond the largest number", "finite"),
    *((f"word {text}", f"a: {text}", "f:1", "ambiguous", "quote") for text in ("True", "FALSE", "Null")),
    ("null key", "null: 1", "f:1", "a key must be text", "quote"),
    ("empty key", ": 1", "f:1", "a key must be text", "quote"),
    ("list as key", "? [a]\n: 1", "f:1", "a key must be text", "plain word"),
    ("NUL", b"a: 1\nb: x\x00", "f:2", "U+0000", "remove"),
    ("escaped NUL", 'a: "\\0"', "f:1", "U+0000", "remove"),
    ("terminal escape", 'a: "\\e[31m"', "f:1", "U+001B", "remove"),
    ("lone surrogate", 'a: "\\ud800"', "f:1", "U+D800", "remove"),
    ("reading direction", "a: x\u202ey", "f:1", "U+202E", "remove"),
    ("byte order mark inside", "a: x\ufeff", "f:1", "U+FEFF", "remove"),
    ("odd line break", "a: x\u2028b: y", "f:1", "U+2028", "remove"),
    ("not NFC", "a: e\u0301", "f", "NFC", "normalise"),
    ("escaped, not NFC", 'a: "e\\u0301"', "f:1", "NFC", "normalise"),
    ("not UTF-8", b"a: \xe9", "f", "not UTF-8 (byte 3)", "UTF-8"),
    ("UTF-16", "a: 1".encode("utf-16"), "f", "not UTF-8 (byte 0)", "UTF-8"),
    ("empty", "", "f", "one mapping", "docs/"),
    ("comment only", "# x", "f", "one mapping", "docs/"),
    ("list", "- 1", "f", "one mapping", "docs/"),
    ("scalar", "abc", "f", "one mapping", "docs/"),
    ("tab", "a:\n\t- 1", "f:2", "not valid YAML", "syntax"),
    ("open quote", "a: 'x\nb: 1", "f:2", "not valid YAML", "syntax"),
    ("long key", "x" * 2000 + ": 1", "f:1", "not valid YAML", "syntax"),
    ("too large", b"a: " + b"x" * MAX_BYTES, "f", f"larger than {MAX_BYTES} bytes", "split"),
    ("deep list", "a: " + "[" * DEEP, "f:1", "nested too deeply", "32"),
    ("deep list, closed", "a: " + "[" * DEEP + "]" * DEEP, "f:1", "nested too deeply", "32"),
    ("deep mapping", "a: " + "{a: " * (DEEP // 2), "f:1", "nested too deeply", "32"),
    ("deep dashes", "- " * DEEP, "f:1", "nested too deeply", "32"),
    ("deep block", "".join(" " * i + "a:\n" for i in range(500)), "f:33", "nested too deeply", "32"),
    ("billion laughs", "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "f:1", "anchors", "write the value out"),
]


@pytest.mark.parametrize(("raw", "where", "what", "mend"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused_with_line_and_mend(raw: bytes | str, where: str, what: str, mend: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(raw)
    assert caught.value.where == where
    assert what in caught.value.what
    assert len(caught.value.what) < 200
    assert mend in caught.value.mend
    assert caught.value.exit_code == 2


@given(
    st.one_of(st.binary(max_size=40), st.text("ab:-?,[]{}#&*!|>'\"%@`~<=. \n\t019_exX+\\", max_size=40).map(str.encode))
)
def test_no_text_ends_in_another_error(raw: bytes) -> None:
    for begin in (b"", b"a: ", b"a: {b: "):
        try:
            assert isinstance(read(begin + raw), dict)
        except PolicyError as refused:
            assert refused.where.startswith("f")
            assert refused.mend


def test_every_key_and_item_keeps_its_line() -> None:
    document = parse_yaml(b"# x\na: 1\nb:\n  - c\n  - d: 2\n    e: 3\n", path="f", error=StudyError)
    assert document.where("a") == "f:2"
    assert document.where("b", 0) == "f:4"
    assert document.where("b", 1, "e") == "f:6"
    assert document.where("b", 1, "not there") == "f:5"
    assert document.where() == "f:2"
    assert document.sha256 == sha256(b"# x\na: 1\nb:\n  - c\n  - d: 2\n    e: 3\n")


# --- files -----------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a: 1")
    assert load_yaml(tmp_path / "p.yaml", error=PolicyError, kind="policy").data == {"a": 1}


@pytest.mark.parametrize(
    ("name", "what"),
    [("missing.yaml", "no such policy file"), ("", "cannot be read (Is a directory)"), ("a\0b", "not a path")],
)
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(PolicyError, match="check") as caught:
        load_yaml(f"{tmp_path}/{name}", error=PolicyError, kind="policy")
    assert what in caught.value.what
    assert "\0" not in str(caught.value)


def test_no_more_than_the_limit_is_read() -> None:
    """/dev/zero has no end."""
    with pytest.raises(PolicyError, match=f"larger than {MAX_BYTES} bytes"):
        read_bytes("/dev/zero", error=PolicyError, kind="policy", limit=MAX_BYTES, pipe=True)
    assert read_bytes(os.devnull, error=PolicyError, kind="policy", pipe=True) == b""


def test_a_pipe_is_waited_for_only_where_one_is_meant(tmp_path: Path) -> None:
    for path in (pipe(tmp_path / "p.yaml"), "/dev/zero"):
        with not_waiting(), pytest.raises(PolicyError, match="cannot be read \\(not a file\\)"):
            load_yaml(path, error=PolicyError, kind="policy")
    out, into = os.pipe()
    os.write(into, b"her id")
    os.close(into)
    assert read_bytes(f"/dev/fd/{out}", error=PolicyError, kind="subjects", pipe=True) == b"her id"
    os.close(out)


def test_a_draft_is_refused_at_its_first_todo() -> None:
    for text, line in (
        ("a: TODO", 1),
        ("a: TODOS\nb: {c: [1, TODO what it is]}\nd: TODO", 2),
        ("a: 1\nb: 'TODO: x'", 2),
    ):
        with pytest.raises(StudyError, match="still says 'TODO") as caught:
            refuse_todo(parse_yaml(text.encode(), path="f", error=StudyError), error=StudyError, mend="decide it")
        assert caught.value.where == f"f:{line}"
    refuse_todo(parse_yaml(b"TODO: x\na: TODOS", path="f", error=StudyError), error=StudyError, mend="")


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [("a: 1\nb:\nc: 2", "b", 2), ("a: {b: ~}", "a › b", 1), ("a:\n  - 1\n  -\n", "a › 1", 3),
     ("a: [x, null]", "a › 1", 1), ("x: 1\na:\n  b: [{c: }]\nd:", "a › b › 0 › c", 3), ("a: # nothing yet\n", "a", 1)],
)  # fmt: skip
def test_a_key_with_nothing_behind_it_is_refused_at_its_line(text: str, place: str, line: int) -> None:
    document = parse_yaml(text.encode(), path="f", error=StudyError)
    with pytest.raises(StudyError) as caught:
        refuse_null(document, error=StudyError)
    assert (caught.value.what, caught.value.where) == (f"{place}: nothing is stated", f"f:{line}")
    assert "leave the key out" in caught.value.mend


def test_null_that_means_something_is_none_of_these() -> None:
    document = parse_yaml(b"a: 'null'\nb: {c: null}\nd: {}\ne: []\nf: ''", path="f", error=StudyError)
    refuse_null(document, error=StudyError, means=lambda place: place[0] == "b")
    with pytest.raises(StudyError, match="b › c: nothing"):
        refuse_null(document, error=StudyError, means=lambda place: place == ("b",))


# --- models ----------------------------------------------------------------------------------------


class Round(Strict):
    kind: Literal["round"] = "round"
    radius: float


class Square(Strict):
    kind: Literal["square"] = "square"
    side_length: int

    @pydantic.field_validator("side_length")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise fault("is odd", mend="an even one")
        return value


class Drawing(Strict):
    title: str
    shapes: Mapping[str, Annotated[Round | Square, pydantic.Field(discriminator="kind")]] = {}
    codes: tuple[int | str, ...] = ()
    shown: bool = True
    note: str | None = None
    extra: Mapping[str, int | None] = {}
    from_: dt.date | None = None

    @pydantic.model_validator(mode="after")
    def _few(self) -> Drawing:
        for i, code in enumerate(self.codes):
            if code == 13:
                raise fault("an unlucky code", "codes", i, mend="another")
        return self


@pytest.mark.parametrize(
    ("text", "where", "what", "mend"),
    [
        ("title: 1", "f:1", "title: must be a valid string", "a name"),
        ("{}", "f:1", "title: key 'title' is missing", "a name"),
        ("titel: x", "f:1", "title: key 'title' is missing (`titel` is not a key)", "a name"),
        ("title: x\nshown: no", "f:2", "shown: must be a valid boolean", "docs/"),
        ("title: x\nshown: 1", "f:2", "shown: must be a valid boolean", "docs/"),
        ("title: x\ncodes: [1, true]", "f:2", "codes › 1: must be a valid integer or a valid string", "docs/"),
        ("title: x\ncodes: abc", "f:2", "codes: must be a list", "docs/"),
        ("title: x\ncodes:\n - 1\n - 13", "f:4", "codes › 1: an unlucky code", "another"),
        ("title: x\nshapes: [1]", "f:2", "shapes: must be a mapping of keys to values", "a shape"),
        ("title: x\nshapes:\n  a: 1", "f:3", "shapes › a: must be a mapping", "a shape"),
        ("title: x\nshapes:\n  a: {}", "f:3", "shapes › a › kind: key 'kind' is missing", "docs/"),
        ("title: x\nshapes:\n  a: {kind: flat}", "f:3", "shapes › a › kind: 'flat' is not known", "'round', 'square'"),
        (
            "title: x\nshapes:\n  round: {kind: round}",
            "f:3",
            "shapes › round › radius: key 'radius' is missing",
            "wide",
        ),
        (
            "title: x\nshapes:\n  a: {kind: round, radius: '3'}",
            "f:3",
            "shapes › a › radius: must be a valid number",
            "wide",
        ),
        ("title: x\nshapes:\n  a: {kind: round, radius: true}", "f:3", "shapes › a › radius: must be a valid", "wide"),
        (
            "title: x\nshapes:\n  a:\n    kind: square\n    side length: 3",
            "f:5",
            "shapes › a › side length: is odd",
            "even",
        ),
        (
            "title: x\nshapes:\n  a: {kind: square, side length: 2.0}",
            "f:3",
            "side length: must be a valid integer",
            "a shape",
        ),
        (
            "title: x\nnotes: y",
            "f:2",
            "unknown key 'notes'",
            "did you mean `note`? The keys here are codes, extra, from, no",
        ),
        (
            "title: x\nshapes:\n  a: {kind: square, side length: 2, radius: 1}",
            "f:3",
            "shapes › a › radius: unknown key 'radius'",
            "wide",
        ),
        (
            "title: x\nshapes:\n  radius: {kind: square, side length: 2, lenght: 1}",
            "f:3",
            "shapes › radius › lenght: unknown key 'lenght'",
            "The keys here are kind, side length; see the reference of this file in docs/",
        ),
    ],
)
def test_the_first_fault_is_told_with_its_line(text: str, where: str, what: str, mend: str) -> None:
    mends = {"title": "a name", "radius": "how wide", "shapes": "a shape"}
    with pytest.raises(StudyError) as caught:
        build(Drawing, parse_yaml(text.encode(), path="f", error=StudyError), error=StudyError, mends=mends)
    assert caught.value.where == where
    assert what in caught.value.what
    assert mend in caught.value.mend


def test_without_lines_the_place_is_the_path() -> None:
    with pytest.raises(StudyError) as caught:
        build(Drawing, Document("receipt.json", {"title": 1}, "", {}), error=StudyError)
    assert caught.value.where == "receipt.json"


def test_plain_values_are_read_back() -> None:
    value = {
        "title": "x",
        "shapes": {"a": {"kind": "square", "side length": 2}},
        "codes": [1, "1"],
        "extra": {"x": None},
    }
    model = build(Drawing, Document("f", value, "", {}), error=StudyError)
    assert plain(model) == {**value, "shown": True}  # the null in a mapping stays, the unset note goes
    assert Drawing.model_validate(plain(model)) == model
    assert plain(Drawing(title="x", from_=dt.date(2026, 1, 31)))["from"] == "2026-01-31"


def test_models_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Drawing(title="x").title = "y"


# --- canonical JSON ----------------------------------------------------------------------------------


def test_canonical_json_is_rfc_8785() -> None:
    assert (
        canonical({"b": 1e21, "a": ["é", None, True, 0.1, 1e-7]}) == '{"a":["é",null,true,0.1,1e-7],"b":1e+21}'.encode()
    )
    assert identity({"a": 1}) == sha256(b'{"a":1}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 2}, object()])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="no canonical JSON form"):
        canonical(value)


def test_join() -> None:
    assert [join([]), join(["a"]), join(["a", "b"]), join(["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
