"""The command line: help that teaches, one object for machines, silence where asked for, one door for errors."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from base64 import b64decode, b64encode
from contextlib import closing, redirect_stderr
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from privsynth.cli.screen import Screen
from privsynth.documents import canonical, sha256
from privsynth.errors import MissingExtra
from privsynth.policy.approval import approve, folder_of
from privsynth.policy.document import load_policy
from privsynth.release.manifest import Manifest
from privsynth.release.predicate import PAYLOAD_TYPE
from privsynth.release.verify import verify
from privsynth.signing import Trust, load_key, load_trust, new_identity, new_key, sign_envelope, write_trust
from tests.bad_input import altered
from tests.cli_page import PAGE, commands, help_text, up_to_date, written
from tests.desk import AUDITOR, SECRET, Desk, Said, cli
from tests.test_light_imports import BLOCKER, TENSORS_AND_FRAMES
from tests.world import ACTOR, RECIPIENT

ROOT = Path(__file__).parents[1]
HELPS = {name: (command, help_text(name, command)) for name, command in commands()}


def outside(*args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """``privsynth ARGS`` in a process of its own."""
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, **more}
    return subprocess.run([sys.executable, "-m", "privsynth.cli", *map(str, args)], cwd=ROOT, check=False, **given)


# --- help ------------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_issue() -> None:
    assert {name.removeprefix("privsynth").strip() for name in HELPS} == {
        "", "init", "schema check", "data check", "policy check", "policy test",
        "policy diff", "policy explain", "policy show", "policy schema", "policy approve", "policy approved",
        "plan", "run", "sample", "inspect", "transcript",
        "report", "budget", "explain-budget", "ledger verify", "ledger backup", "ledger restore",
        "ledger export", "ledger check", "ledger import", "ledger answer", "ledger checkpoint", "ledger migrate",
        "ledger witness", "ledger reserve",
        "keys new", "keys receiving", "keys trust", "sign", "seal", "open", "verify", "demo",
        "consent check", "consent withdraw", "consent impact", "consent audit", "consent recall",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in HELPS if name != "privsynth"])
def test_each_command_and_each_option_has_help_that_teaches(name: str) -> None:
    command, text = HELPS[name]
    first, *paragraphs = command.help.split("\n\n")
    assert len(first) <= 60 and first.endswith(".")
    assert any(f"Example:  {name}" in part for part in paragraphs)
    assert len(paragraphs) >= 2
    for parameter in command.params:
        assert parameter.help and parameter.help.strip().endswith((".", ")", "?")), parameter.name
        assert parameter.opts[-1].lstrip("-") in text or parameter.metavar in text
    several = text.replace("<list[Path]>", "")  # typer's words for an argument that takes several files
    assert "list[" not in several and "--no-" not in text


@pytest.mark.parametrize("name", HELPS)
def test_help_is_an_answer(name: str) -> None:
    said = cli(*name.split()[1:], "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: {name} ")
    assert said.err == ""


def test_without_a_word_it_shows_the_whole() -> None:
    assert cli().out == cli("--help").out


def test_it_says_its_name_and_version() -> None:
    assert cli("--version") == Said(0, f"privsynth {version('privsynth')}\n", "")


def test_a_ledger_that_is_not_whole_is_told(finished: Desk) -> None:
    path = finished.folder / "ledger.db"
    args: list[str | Path] = ["ledger", "verify", finished.folder / "policy.yaml", "--ledger", f"sqlite:///{path}"]
    before = path.read_bytes()
    assert "is whole" in cli(*args).out
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE transcripts SET data = x'00'")
        connection.commit()
    said = cli(*args, "--json")
    assert (said.code, said.json["error"]) == (4, "ModelError")
    altered(finished)
    assert (said := cli(*args, "--json")).code == 4 and said.json["error"] == "LedgerError"
    path.unlink()
    assert (said := cli(*args, "--json")).code == 4 and "the key that was made with one" in said.json["what"]
    path.with_name("ledger.db.key").unlink()
    assert (said := cli(*args, "--json")).code == 2 and said.json["error"] == "StorageError"
    assert not path.exists()


def test_the_page_holds_the_help_of_today() -> None:
    text = PAGE.read_text("utf-8")
    assert written(text) == {name: text for name, (_, text) in HELPS.items()}
    assert up_to_date(text) == text, "run: python -m tests.cli_page"


def test_a_page_that_is_out_of_date_is_told() -> None:
    text = PAGE.read_text("utf-8")
    assert up_to_date(text.replace("How many rows.", "How many.")) == text


# --- words that are not known ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "what", "mend"),
    [
        (["rnu"], "No such command 'rnu'", "did you mean 'run'? `privsynth --help`"),
        (["schema"], "Missing command", "`privsynth schema --help`"),
        (["schema", "guess"], "No such command 'guess'", "`privsynth schema --help`"),
        (["run"], "Missing argument 'STUDY'", "`privsynth run --help`"),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument", "`privsynth run --help`"),
        (["run", "a.yaml", "--jsn"], "No such option: --jsn", "--json"),
        (["sample", "a.yaml", "--out", "x"], "Missing option '--rows'", "`privsynth sample --help`"),
        (["sample", "a.yaml", "--rows", "many"], "Invalid value for '--rows'", "`privsynth sample --help`"),
    ],
)
def test_a_word_that_is_not_known_is_usage(args: list[str], what: str, mend: str) -> None:
    said = cli(*args)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert what in said.err and mend in said.err
    told = cli(*args, "--json").json
    assert (told["error"], told["exit_code"]) == ("UsageError", 2)


# --- every command, loud, quiet and for machines ---------------------------------------------------


TESTS_OF_THE_POLICY = """\
privsynth-policy-test: 1
policy: policy.yaml
cases:
  the fifth attempt: {gate: {attempt: 5}, expect: allow}
"""


def _approved(at: Path) -> Path:
    """A trust file of two people who have approved the policy."""
    policy, trusted = load_policy(at / "policy.yaml"), []
    for person in ("d.po@lab.example", "s.ec@lab.example"):
        trusted.append(new_key(at / f"{person}.key", name=person, roles=("policy",)))
        signing = load_key(at / f"{person}.key")
        today = datetime.now(UTC).date()
        approve(policy, folder_of(at / "policy.yaml"), signing, before=None, person=person, today=today)
    write_trust(at / "approvers.json", Trust.of(*trusted))
    return at / "approvers.json"


def _for_a_key(at: Path) -> Path:
    """The desk's release as its sender would have signed it under a policy that names the recipient's key."""
    pytest.importorskip("pyrage", reason="pyrage is not installed: pip install 'privsynth[age]'")
    key, inside = new_identity(at / "own.key"), at / "release"
    paths = [p.relative_to(inside).as_posix() for p in inside.rglob("*") if p.is_file()]
    files = {path: (inside / path).read_bytes() for path in paths}
    for gone in ("checkpoint.txt", "inclusion.json", "manifest.json"):
        del files[gone]
    statement = json.loads(b64decode(json.loads(files.pop("statement.dsse.json"))["payload"]))
    policy = json.loads(files["policy.resolved.json"])
    policy["recipients"][RECIPIENT]["key"] = statement["predicate"]["key"] = key
    files["policy.resolved.json"] = canonical(policy)
    statement["predicate"]["policy"] = sha256(files["policy.resolved.json"])
    files["manifest.json"] = Manifest.of(files).to_bytes()
    named = [{"name": path, "digest": {"sha256": sha256(files[path])}} for path in sorted(files)]
    raw = canonical({**statement, "subject": named})
    files["statement.dsse.json"] = sign_envelope(PAYLOAD_TYPE, raw, load_key(at / "release.key"))
    for path, data in files.items():
        (at / "keyed" / path).parent.mkdir(parents=True, exist_ok=True)
        (at / "keyed" / path).write_bytes(data)
    return at / "keyed"


def every(desk: Desk) -> dict[str, list[str | Path]]:
    """Each command with arguments that succeed on a finished desk."""
    at = desk.folder
    desk.edit("study.yaml", ("out: release/", "out: second/"))
    (at / "policy.test.yaml").write_text(TESTS_OF_THE_POLICY)
    note = f"privsynth.dev/ledger/x\n1\n{b64encode(bytes(32)).decode()}\n"
    (at / "w").write_text(json.dumps({"checkpoint": note, "old": 0, "proof": []}) + "\n")
    books = ["--ledger", f"sqlite:///{at}/ledger.db"]
    first: list[str | Path] = [at / "policy.yaml", "--replaces", "none"]
    (at / "register.csv").write_bytes((at / "consent.csv").read_bytes())
    (at / "ids.txt").write_text("somebody\n")
    (at / "shelf").mkdir()
    (at / "receipts").write_bytes(b'{"hold":"h","nonce":"n","privsynth-decisions":1}\n')
    bought = desk.ledger().find(desk.load().request)
    assert bought is not None
    bought.decide(sha256((at / "receipts").read_bytes()))
    second = new_key(at / "second.key", name="B. Lee")
    write_trust(at / "both.json", Trust.of(*load_trust(at / "trust.json").keys, second))
    (at / "ask.yaml").write_text("privsynth-policy-request: 1\ngate: {attempt: 5}\n")
    return {
        "init": ["init", at / "data.parquet", "--into", at],
        "schema check": ["schema", "check", at / "schema.yaml"],
        "data check": ["data", "check", at / "data.parquet", "--schema", at / "schema.yaml"],
        "policy check": ["policy", "check", at / "policy.yaml", at / "policy.test.yaml"],
        "policy test": ["policy", "test", at],
        "policy diff": ["policy", "diff", at / "policy.yaml", at / "policy.yaml"],
        "policy explain": ["policy", "explain", at / "ask.yaml", "--policy", at / "policy.yaml"],
        "policy show": ["policy", "show", at / "policy.yaml", "--prose"],
        "policy schema": ["policy", "schema"],
        "policy approve": ["policy", "approve", *first, "--key", at / "release.key", "--person", "b@c.de"],
        "policy approved": ["policy", "approved", *first, "--trust", _approved(at)],
        "plan": ["plan", at / "study.yaml"],
        "run": ["run", at / "study.yaml"],
        "sample": ["sample", at / "study.yaml", "--rows", "20", "--out", at / "third"],
        "inspect": ["inspect", at / "model", "--out", at / "d.html"],
        "transcript": ["transcript", at / "model", "--out", at / "tables"],
        "report": ["report", at / "study.yaml", "--out", at / "r.html", "--actor", AUDITOR],
        "budget": ["budget", at / "policy.yaml", "--ledger", f"sqlite:///{at}/ledger.db"],
        "explain-budget": ["explain-budget", "--release", at / "release"],
        "ledger verify": ["ledger", "verify", at / "policy.yaml", "--ledger", f"sqlite:///{at}/ledger.db"],
        "ledger backup": ["ledger", "backup", at / "policy.yaml", at / "b.db", *books],
        "ledger restore": [
            "ledger", "restore", at / "policy.yaml", at / "b.db", "--ledger", f"sqlite:///{at}/restored.db",
            "--key", at / "ledger.db.key", "--answers", at / "answers",
        ],
        "ledger answer": ["ledger", "answer", at / "answers", "--key", at / "release.key", "--person", ACTOR],
        "ledger export": ["ledger", "export", at / "policy.yaml", at / "e.jsonl", *books, "--inside"],
        "ledger check": ["ledger", "check", at / "e.jsonl"],
        "ledger import": [
            "ledger", "import", at / "policy.yaml", at / "e.jsonl", "--ledger", f"sqlite:///{at}/imported.db",
            "--key", at / "ledger.db.key", "--answers", at / "moved",
        ],
        "ledger checkpoint": ["ledger", "checkpoint", at / "policy.yaml", *books],
        "ledger migrate": ["ledger", "migrate", at / "policy.yaml", *books],
        "ledger witness": ["ledger", "witness", at / "w", "head"],
        "ledger reserve": ["ledger", "reserve", at / "study.yaml", "--plan", "2027"],
        "consent check": ["consent", "check", at / "study.yaml"],
        "consent withdraw": ["consent", "withdraw", at / "register.csv", "--subjects", at / "ids.txt"],
        "consent impact": [
            "consent", "impact", at / "policy.yaml", *books, "--source", "lab/visits", "--actor", ACTOR,
            "--register", at / "register.csv", "--shelf", at / "shelf",
        ],
        "consent audit": ["consent", "audit", at / "policy.yaml", at / "receipts", *books],
        "consent recall": [
            "consent", "recall", at / "recalls.json", "--key", at / "release.key", "--next", "2099-01-01",
        ],
        "keys new": ["keys", "new", at / "other.key", "--trust", at / "other.json", "--name", "B"],
        "keys receiving": ["keys", "receiving", at / "new.key"],
        "keys trust": ["keys", "trust", at / "trust.json", at / "other.json", "--out", at / "merged.json"],
        "seal": ["seal", _for_a_key(at), "--out", at / "x.age"],
        "open": ["open", at / "x.age", "--identity", at / "own.key", "--out", at / "opened"],
        "sign": ["sign", "--add", at / "second", "--key", at / "second.key", "--trust", at / "both.json"],
        "verify": ["verify", at / "release"],
    }  # fmt: skip


def test_every_command_answers_machines_with_one_object(finished: Desk) -> None:
    answered = {name: cli(*args, "--json") for name, args in every(finished).items()}
    assert {name: said.code for name, said in answered.items()} == dict.fromkeys(answered, 0)
    assert {name: said.json["command"] for name, said in answered.items()} == {name: name for name in answered}
    assert {said.err for said in answered.values()} == {""}
    assert set(answered) | {"", "demo"} == {name.removeprefix("privsynth").strip() for name in HELPS}
    keys = {name: set(said.json) - {"privsynth", "command"} for name, said in answered.items()}
    assert keys["run"] == {"release", "model", "rows", "hold", "findings", "people", "lacking"}
    assert keys["budget"] == {"lines", "plans"}
    assert keys["ledger reserve"] == {"admitted", "sold", "items", "pace"}
    assert keys["plan"] == {
        "allowed", "admitted", "paid", "status", "missing", "rules", "mu", "training", "noise", "lines", "buys",
        "nearest", "false_refusal", "outlook", "pace",
    }  # fmt: skip
    told = answered["ledger verify"].json
    assert told["verified"] is True
    assert (told["populations"], told["holds"], told["transcripts"], told["claims"]) == (2, 1, 1, 1)
    numbers = answered["plan"].json
    assert all(isinstance(sigma, float) for sigma in numbers["noise"].values()) and set(numbers["noise"]) == {
        "one-way",
        "level",
        "held-back",
        "pair",
        "triple",
    }


def test_every_command_can_be_silent(finished: Desk) -> None:
    said = {name: cli(*args, "--quiet") for name, args in every(finished).items()}
    assert said == dict.fromkeys(said, Said(0, "", ""))


def test_every_command_tells_people(finished: Desk) -> None:
    said = {name: cli(*args) for name, args in every(finished).items()}
    assert {(s.code, s.err) for s in said.values()} == {(0, "")}
    assert [name for name, s in said.items() if not s.out.strip()] == []
    assert all(("{" not in s.out or name == "policy schema") and SECRET not in s.out for name, s in said.items())
    assert "INTERNAL" in said["data check"].out
    assert "must not leave" in said["report"].out
    assert "a run goes on from it and pays nothing" in said["plan"].out
    assert "verified" in said["verify"].out


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(False, False).table(("a", "b"), [("xyz", "1"), ("x", "22")])
    assert capsys.readouterr().out == "a    b\n---  --\nxyz  1\nx    22\n"


class Terminal(io.StringIO):
    """A standard error at which somebody looks."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("screen", [Screen(False, False), Screen(True, False), Screen(False, True)])
@pytest.mark.parametrize("watched", [True, False])
def test_bars_are_drawn_where_somebody_looks(screen: Screen, watched: bool) -> None:
    with redirect_stderr(Terminal() if watched else io.StringIO()) as shown, screen.progress() as progress:
        progress.step("measure (paid)", 2)
        progress.advance()
        progress.advance(1)
    assert ("measure (paid)" in shown.getvalue()) == (watched and not screen.quiet and not screen.as_json)


# --- the door --------------------------------------------------------------------------------------


class Boom(RuntimeError):
    """A fault that is not ours, with a record's value in its text."""


@pytest.mark.parametrize(
    ("fault", "error", "code", "what"),
    [
        (Boom(f"{SECRET} was 42"), "PrivsynthError", 70, "an internal fault of privsynth (Boom)"),
        (KeyboardInterrupt(), "Interrupted", 130, "interrupted"),
        (OSError(28, "No space left on device", "/x/y"), "StorageError", 2, "(No space left on device)"),
        (ModuleNotFoundError("no", name="torch"), "MissingExtra", MissingExtra.exit_code, "not installed: torch"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_fault_that_is_not_ours_is_told_without_its_text(
    monkeypatch: pytest.MonkeyPatch, fault: BaseException, error: str, code: int, what: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("privsynth.release.verify.verify", fail)
    said = cli("verify", "anything", "--json")
    told = said.json
    assert (told["error"], told["exit_code"], said.code) == (error, code, code)
    assert what in told["what"]
    assert told["mend"]
    assert said.err.count("\n") == 1 and said.err.startswith("privsynth: ")
    assert SECRET not in said.out + said.err


def test_an_internal_fault_tells_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privsynth.release.verify.verify", lambda *_, **__: 1 // 0)
    told = cli("verify", "anything", "--json").json
    assert told["where"].startswith("test_cli.py:")
    assert "ZeroDivisionError" in told["what"]


def test_who_asks_must_be_known(monkeypatch: pytest.MonkeyPatch, finished: Desk) -> None:
    for name in ("PRIVSYNTH_ACTOR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    args = ["budget", str(finished.folder / "policy.yaml"), "--ledger", f"sqlite:///{finished.folder}/ledger.db"]
    said = cli(*args)
    assert said.code == 2 and "give --actor" in said.err
    assert cli(*args, "--actor", "x@lab.example").code == 0
    monkeypatch.setenv("PRIVSYNTH_ACTOR", "x@lab.example")
    assert cli(*args).code == 0


def test_a_study_s_actor_goes_before_the_environment_s(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setenv("PRIVSYNTH_ACTOR", "eve@lab.example")
    assert cli("plan", desk.study).code == 0
    assert cli("plan", desk.study, "--actor", "eve@lab.example").code == 1
    desk.edit("study.yaml", ("actor: ana@lab.example\n", ""))
    assert cli("plan", desk.study).code == 1


# --- processes -------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_answer_that_finds_no_room_is_an_error(ended: Desk, more: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = outside("verify", ended.release, *more, stdout=full)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


def test_a_reader_that_goes_away_is_no_refusal(ended: Desk) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = outside("plan", ended.study, stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_without_greek_is_no_fault(ended: Desk) -> None:
    done = outside("verify", ended.release, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "\\u03b5 = 3" in done.stdout


def test_paths_on_the_command_line_are_from_here(finished: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.folder)
    assert cli("sample", "study.yaml", "--rows", "5", "--out", "deep/er/", "--quiet") == Said(0, "", "")
    assert verify("deep/er", trust="trust.json").rows == 5
    assert cli("verify", "release").code == 0
    assert cli("budget", "policy.yaml", "--ledger", "sqlite:///ledger.db").code == 0
    monkeypatch.chdir("/")
    finished.edit("study.yaml", ("out: release/", "out: other/"))
    assert finished.run("--quiet").code == 0
    assert (finished.folder / "other").is_dir()


def test_without_the_heavy_packages_it_says_what_to_install(ended: Desk) -> None:
    """The core plans, verifies and keeps the books; what needs more says so before anything is spent."""
    calls = {
        ("plan", ended.study): 0,
        ("verify", ended.release): 0,
        ("policy", "check", ended.folder / "policy.yaml"): 0,
        ("ledger", "verify", ended.folder / "policy.yaml", "--ledger", f"sqlite:///{ended.folder}/ledger.db"): 0,
        ("schema", "check", ended.folder / "schema.yaml"): 0,
        ("run", ended.study): 2,
        ("sample", ended.study, "--rows", "5", "--out", ended.folder / "x"): 2,
        ("report", ended.study): 2,
        ("demo", "--out", ended.folder / "y"): 2,
    }
    code = BLOCKER.format(absent=TENSORS_AND_FRAMES) + (
        "import json, io, contextlib\n"
        "from tests.desk import cli\n"
        "for args in json.loads(sys.argv[1]):\n"
        "    said = cli(*args, '--json')\n"
        "    told = json.loads(said.out)\n"
        "    print(json.dumps([said.code, told.get('error'), told.get('mend'), said.err.count(chr(10))]))\n"
    ).replace("from tests.desk import cli\n", LIGHT_CLI)
    args = json.dumps([[str(part) for part in call] for call in calls])
    done = subprocess.run(
        [sys.executable, "-c", code, args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer[0] for answer in answers] == list(calls.values())
    for code_, error, mend, lines in answers:
        assert code_ == 0 or (error == "MissingExtra" and "pip install" in mend and lines == 1)
    assert not (ended.folder / "y").exists()


LIGHT_CLI = """
from privsynth.cli import main
class Said:
    pass
def cli(*args):
    said, out, err = Said(), io.StringIO(), io.StringIO()
    sys.argv = ["privsynth", *args]
    said.code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as done:
            said.code = done.code
    said.out, said.err = out.getvalue(), err.getvalue()
    return said
"""
