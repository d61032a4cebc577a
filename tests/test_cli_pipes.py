"""A named pipe in the place of each kind of file: every command refuses it by type, and none waits for its other end.

The commands run one after the other in a second process, for a reader in C or C++ cannot be interrupted from Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.desk import AUDITOR, Desk, cli
from tests.pipes import pipe
from tests.world import ACTOR

LEDGER = ("--ledger", "sqlite:///{}/ledger.db")
USED: list[tuple[str, int, tuple[str, ...]]] = [
    ("study.yaml", 2, ("run", "study.yaml")),
    ("schema.yaml", 2, ("schema", "check", "schema.yaml")),
    ("policy.yaml", 2, ("policy", "check", "policy.yaml")),
    ("policy.test.yaml", 2, ("policy", "test", ".")),
    ("request.yaml", 2, ("policy", "explain", "request.yaml", "--policy", "policy.yaml")),
    ("before.yaml", 2, ("policy", "diff", "before.yaml", "policy.yaml")),
    ("data.parquet", 2, ("consent", "check", "study.yaml")),
    ("data.parquet", 2, ("init", "data.parquet", "--into", "new")),
    ("data.parquet", 2, ("data", "check", "data.parquet", "--schema", "schema.yaml")),
    ("data.csv", 2, ("init", "data.csv", "--into", "new")),
    ("data.csv", 2, ("data", "check", "data.csv", "--schema", "schema.yaml")),
    ("public.csv", 2, ("init", "data.parquet", "--from-public", "public.csv", "--into", "new")),
    ("consent.csv", 2, ("consent", "check", "study.yaml")),
    ("consent.csv", 2, ("consent", "withdraw", "consent.csv", "--subjects", "study.yaml")),
    ("release.key", 2, ("sign", "--add", "release", "--key", "release.key")),
    ("ledger.db", 2, ("run", "study.yaml")),
    ("ledger.db", 2, ("ledger", "verify", "policy.yaml", *LEDGER)),
    ("ledger.db-journal", 2, ("ledger", "verify", "policy.yaml", *LEDGER)),
    ("ledger.db-wal", 2, ("ledger", "backup", "policy.yaml", "again.db", *LEDGER)),
    ("ledger.db.key", 4, ("ledger", "verify", "policy.yaml", *LEDGER)),
    ("witness", 2, ("ledger", "verify", "policy.yaml", *LEDGER, "--witness", "file:{}/witness")),
    ("export.jsonl", 2, ("ledger", "check", "export.jsonl")),
    ("copy.db", 2, ("ledger", "restore", "policy.yaml", "copy.db", "--answers", "answers",
                    "--ledger", "sqlite:///{}/gone.db", "--key", "ledger.db.key")),
    ("answers/statement.json", 4, ("ledger", "answer", "answers", "--key", "release.key", "--person", ACTOR)),
    ("receipts.ndjson", 2, ("consent", "audit", "policy.yaml", "receipts.ndjson", *LEDGER)),
    ("model/model.json", 4, ("inspect", "model")),
    ("model/transcript.safetensors", 4, ("inspect", "model")),
    ("model/model.json", 4, ("explain-budget", "--model", "model")),
    ("model/model.json", 4, ("ledger", "check", "model")),
    ("release/privacy.json", 4, ("explain-budget", "--release", "release")),
    ("release/statement.dsse.json", 4, ("verify", "release", "--trust", "trust.json")),
    ("release/data/table.csv", 4, ("verify", "release", "--trust", "trust.json")),
    ("trust.json", 4, ("verify", "release", "--trust", "trust.json")),
    ("recalls.dsse.json", 4, ("verify", "release", "--trust", "trust.json", "--recalls", "recalls.dsse.json")),
    ("page.html", 2, ("report", "study.yaml", "--out", "page.html", "--actor", AUDITOR)),
    ("page.html", 2, ("inspect", "model", "--out", "page.html")),
    ("page.html", 2, ("budget", "policy.yaml", *LEDGER, "--html", "page.html")),
    ("plot.png", 2, ("explain-budget", "--policy", "policy.yaml", "--plot", "plot.png")),
    ("plot.svg", 2, ("explain-budget", "--policy", "policy.yaml", "--plot", "plot.svg")),
]  # fmt: skip
"""The file that is a pipe, the exit code, and the command."""


def drive(folder: Path) -> None:
    """Each command, told on a line before it begins and one after it ended."""
    os.chdir(folder)
    for name, _, args in USED:
        sys.stdout.write(f"{args}\n")
        sys.stdout.flush()
        path, kept = Path(name), Path("kept")
        if path.exists():
            path.rename(kept)
        path.parent.mkdir(exist_ok=True)
        pipe(path)
        said = cli(*(arg.replace("{}", str(folder)) for arg in args))
        path.unlink()
        if kept.exists():
            kept.rename(path)
        sys.stdout.write(f"{json.dumps([said.code, said.err])}\n")


def test_no_command_waits_for_a_pipe(finished: Desk) -> None:
    shutil.copy(finished.folder / "policy.yaml", finished.folder / "before.yaml")
    code = "import sys; from pathlib import Path; from tests.test_cli_pipes import drive; drive(Path(sys.argv[1]))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, finished.folder], capture_output=True, text=True, timeout=300, check=True
        )
    except subprocess.TimeoutExpired as waited:
        raise AssertionError(f"it waits: {(waited.stdout or b'')[-300:]!r}") from None
    told = [json.loads(line) for line in done.stdout.splitlines()[1::2]]
    wrong = [
        (name, args, code, err)
        for (name, asked, args), (code, err) in zip(USED, told, strict=True)
        if code != asked or "Mend: " not in err or not ("file" in err or "folder" in err)
    ]
    assert not wrong
