"""Bad input, all of it: a typed error with what, where and mend, the family's exit code, nothing half written,
nothing of a record shown, and no budget spent where nothing was sold. What is wrong in a record's *content*
is handled by rule and never stops a run."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from pyarrow import parquet

from privsynth import errors
from privsynth.ledger.store import Status
from privsynth.pipeline.run import run_study
from tests.desk import SECRET, Desk, Said, cli
from tests.world import ACTOR

Spoil = Callable[[Desk], None]


@dataclass(frozen=True)
class Bad:
    """One way to spoil a desk, and what ``privsynth run`` must say of it.

    Attributes:
        name: of the case.
        spoil: what is done to the desk.
        error: the type in errors.py.
        code: the exit code.
        what, where, mend: words that the error must hold.
    """

    name: str
    spoil: Spoil
    error: str
    code: int
    what: str
    mend: str
    where: str = ""


def edit(name: str, *changes: tuple[str, str]) -> Spoil:
    return lambda desk: desk.edit(name, *changes)


def each(*spoils: Spoil) -> Spoil:
    def spoil(desk: Desk) -> None:
        for one in spoils:
            one(desk)

    return spoil


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Spoil:
    """Change the rows and write them again as Parquet."""

    def spoil(desk: Desk) -> None:
        change(desk.frame()).to_parquet(desk.folder / "data.parquet", index=False)

    return spoil


def arrow(change: Callable[[pa.Table], pa.Table]) -> Spoil:
    """The same, of the Arrow table."""

    def spoil(desk: Desk) -> None:
        path = desk.folder / "data.parquet"
        parquet.write_table(change(parquet.read_table(path)), path)

    return spoil


def put(table: pa.Table, name: str, array: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, array)


def csv(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of the same table as CSV."""

    def spoil(desk: Desk) -> None:
        desk.edit("study.yaml", ("data.parquet", "data.csv"))
        raw = desk.frame().to_csv(index=False, lineterminator="\n").encode()
        (desk.folder / "data.csv").write_bytes(change(raw))

    return spoil


def data(name: str) -> Spoil:
    return edit("study.yaml", ("data.parquet", name))


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(desk: Desk) -> None:
        (desk.folder / name).write_bytes(change((desk.folder / name).read_bytes()))

    return spoil


def priced(epsilon: str = "3.0", delta: str = "1e-8") -> Spoil:
    return edit("study.yaml", ("epsilon: 3.0, delta: 1e-8", f"epsilon: {epsilon}, delta: {delta}"))


def opened(desk: Desk) -> None:
    """Create the ledger under the policy as it stands."""
    desk.ledger()


def frozen(old: str, new: str) -> Spoil:
    """A policy that is edited after its ledger was created."""
    return each(opened, edit("policy.yaml", (old, new)))


# --- the table -------------------------------------------------------------------------------------

STRUCTURE = [
    Bad("missing column", table(lambda f: f.drop(columns="age")), "DataError", 2, "missing columns: age", "add them", "data.parquet"),
    Bad("unknown column", table(lambda f: f.assign(extra=1)), "DataError", 2, "'extra'", "declare", "data.parquet"),
    Bad("no column of the schema", table(lambda f: f[["age"]].rename(columns={"age": "x"})), "DataError", 2, "none of the schema's columns", "schema"),
    Bad("number stored as text", table(lambda f: f.assign(age=f["age"].astype(str))), "DataError", 2, "'age' is declared integer but stored as", "store it as a number"),
    Bad("text stored as number", table(lambda f: f.assign(sex=1)), "DataError", 2, "'sex' is declared categorical", "store it as text"),
    Bad("boolean stored as text", table(lambda f: f.assign(ill="yes")), "DataError", 2, "'ill' is declared boolean", "boolean"),
    Bad("date stored as text", table(lambda f: f.assign(seen=f["seen"].astype(str))), "DataError", 2, "'seen' is declared date", "store it as date"),
    Bad("subject stored as real", table(lambda f: f.assign(person=1.5)), "DataError", 2, "subject column 'person'", "text or integers"),
    Bad("parquet with a time zone", table(lambda f: f.assign(seen=f["seen"].dt.tz_localize("UTC"))), "DataError", 2, "timestamp with time zone", "without time zone"),
    Bad("parquet with a list", arrow(lambda t: put(t, "age", pa.array([[1]] * len(t)))), "DataError", 2, "stored as list", "number"),
    Bad("parquet with a struct", arrow(lambda t: put(t, "sex", pa.array([{SECRET: "F"}] * len(t)))), "DataError", 2, "stored as struct", "text"),
    Bad("parquet with doubled names", arrow(lambda t: t.append_column("age", t["age"])), "DataError", 2, "doubled column names", "a name of its own"),
    Bad("parquet cut off", rewritten("data.parquet", lambda raw: raw[: len(raw) // 2]), "DataError", 2, "not a whole Parquet file", "again"),
    Bad("parquet of zero bytes", rewritten("data.parquet", lambda raw: b""), "DataError", 2, "zero bytes", "header"),
    Bad("parquet that is text", rewritten("data.parquet", lambda raw: f"{SECRET},1\n".encode() * 99), "DataError", 2, "not a whole Parquet file", "again"),
    Bad("csv of zero bytes", csv(lambda raw: b""), "DataError", 2, "zero bytes", "header"),
    Bad("csv without a header", csv(lambda raw: raw.split(b"\n", 1)[1]), "DataError", 2, "none of the schema's columns", "first line"),
    Bad("csv with doubled names", csv(lambda raw: raw.replace(b"person,age", b"age,age", 1)), "DataError", 2, "doubled column names", "a name of its own"),
    Bad("csv that is not UTF-8", csv(lambda raw: raw.replace(b"free text", b"fr\xe9e text", 1)), "DataError", 2, "UTF-8", "export it again"),
    Bad("csv cut off in a line", csv(lambda raw: raw[: raw.rindex(b",")]), "DataError", 2, "cut off", "export it again"),
    Bad("csv cut off in quotes", csv(lambda raw: raw + b'"'), "DataError", 2, "cut off", "export it again"),
    Bad("csv with a field too many", csv(lambda raw: raw + b"1,2,3,4,5,6,7,8,9\n"), "DataError", 2, "number of fields", "export it again"),
    Bad("no such data", data("nowhere.parquet"), "DataError", 2, "no such data file", "check the path", "nowhere.parquet"),
    Bad("data that is a folder", data("."), "DataError", 2, "folder", "name one"),
    Bad("data of another kind", data("study.yaml"), "DataError", 2, ".yaml is not known", ".csv or .parquet"),
    Bad("no such register", edit("study.yaml", ("consent.csv", "nobody.csv")), "ConsentError", 2, "no such consent register", "check the path", "nobody.csv"),
    Bad("register of zero bytes", rewritten("consent.csv", lambda raw: b""), "ConsentError", 2, "zero bytes", "header"),
    Bad("register cut off", rewritten("consent.csv", lambda raw: raw + f"{SECRET}p1,research".encode()), "ConsentError", 2, "6 cells", "six cells"),
    Bad("register that is not UTF-8", rewritten("consent.csv", lambda raw: raw + b"\xff,,,,,\n"), "ConsentError", 2, "not UTF-8", "UTF-8"),
    Bad("register of other columns", rewritten("consent.csv", lambda raw: raw.replace(b"status", b"state", 1)), "ConsentError", 2, "missing columns: status", "header"),
]

PRICES = [
    *(
        Bad(f"epsilon {text}", priced(epsilon=text), error, 2, "epsilon", mend, "study.yaml:10")
        for text, error, mend in [
            ("0", "BudgetError", "0.1 to 10"),
            ("0.0", "BudgetError", "0.1 to 10"),
            ("-1", "BudgetError", "0.1 to 10"),
            ("1e-9", "BudgetError", "0.1 to 10"),
            ("51", "BudgetError", "at most|to 50"),
            ("nan", "StudyError", "number"),
            ("inf", "StudyError", "number"),
            ("'1'", "StudyError", "number"),
            ("true", "StudyError", "number"),
            ("null", "StudyError", "number"),
        ]
    ),
    *(
        Bad(f"delta {text}", priced(delta=text), error, 2, "delta", mend, "study.yaml:10")
        for text, error, mend in [
            ("0", "BudgetError", "1e-9"),
            ("-1e-9", "BudgetError", "1e-9"),
            ("1", "BudgetError", "1e-9"),
            ("1.5", "BudgetError", "1e-9"),
            ("1e-301", "BudgetError", "1e-9"),
            ("nan", "StudyError", "number"),
        ]
    ),
    *(
        Bad(f"written {text}", priced(epsilon=text), "StudyError", 2, words, mend, "study.yaml:10")
        for text, words, mend in [
            (".nan", "looks like a number", "plain decimal"),
            (".inf", "looks like a number", "plain decimal"),
            ("1e400", "beyond the largest number", "finite"),
            ("1_0", "looks like a number", "plain decimal"),
        ]
    ),
    Bad("delta too small for the sampler", priced(delta="1e-200"), "BudgetError", 2, "delta", "larger delta", "study.yaml:10"),
    Bad("epsilon over the release limit", priced(epsilon="10.5"), "RequestDenied", 1, "PS-BUD-001", "10.0 or less", "policy.yaml"),
    Bad("delta over the release limit", priced(delta="2e-7"), "RequestDenied", 1, "PS-BUD-002", "1e-07 or less", "policy.yaml"),
    Bad(
        "delta at 1/(1000*subjects)",
        each(edit("policy.yaml", ("max delta: 1e-7", "max delta: 1e-3")), priced(delta="2.5e-7")),
        "RequestDenied", 1, "PS-BUD-003", "below 2.5e-07", "policy.yaml",
    ),
    Bad(
        "delta at 1/subjects",
        each(edit("policy.yaml", ("max delta: 1e-7", "max delta: 1e-3"), ("1/(1000*subjects)", "1/subjects")), priced(delta="2.5e-4")),
        "RequestDenied", 1, "PS-BUD-003", "below 0.00025", "policy.yaml",
    ),
    Bad(
        "steps of zero", edit("study.yaml", ("steps: 40", "steps: 0")), "BudgetError", 2, "steps", "1 to 100,000", "study.yaml:10"
    ),
    Bad(
        "components beyond all measure", edit("study.yaml", ("components: 40", "components: 10001")),
        "BudgetError", 2, "components", "1 to 10,000", "study.yaml:10",
    ),
]

FILES = [
    Bad("unknown policy key", edit("policy.yaml", ("  max attempts: 5", "  max atempts: 5")), "PolicyError", 2, "'max atempts'", "max attempts", "policy.yaml"),
    Bad("policy of a later version", edit("policy.yaml", ("privsynth-policy: 1", "privsynth-policy: 2")), "PolicyError", 2, "format 2", "privsynth-policy: 1", "policy.yaml:1"),
    Bad("no such policy", edit("study.yaml", ("policy.yaml", "none.yaml")), "PolicyError", 2, "no such policy", "check the path", "none.yaml"),
    Bad("policy with a TODO", edit("policy.yaml", ("owner: office@lab.example", "owner: TODO address")), "PolicyError", 2, "TODO address", "owner", "policy.yaml"),
    Bad("unknown schema key", edit("schema.yaml", ("{kind: integer, min", "{kind: integer, minimum")), "SchemaError", 2, "minimum", "min", "schema.yaml:5"),
    Bad("schema with a TODO", edit("schema.yaml", ("max: 99", "max: TODO")), "SchemaError", 2, "TODO", "public", "schema.yaml:5"),
    Bad("unknown study key", edit("study.yaml", ("actor:", "author:")), "StudyError", 2, "'author'", "actor", "study.yaml:7"),
    Bad("study without a key", edit("study.yaml", ("out: release/\n", "")), "StudyError", 2, "'out' is missing", "out: release/", "study.yaml"),
    Bad("study with a deep TODO", priced(epsilon="TODO at most"), "StudyError", 2, "generator › epsilon: still says 'TODO at most'", "decide it", "study.yaml:10"),
    Bad("study that is not YAML", edit("study.yaml", ("sign: {key", "sign: {{key")), "StudyError", 2, "YAML", "syntax", "study.yaml"),
    Bad("study of another generator", edit("study.yaml", ("kind: marginals", "kind: autoregressive")), "StudyError", 2, "kind", "marginals", "study.yaml:10"),
    Bad("balanced sample", edit("study.yaml", ("rows: 300,", "rows: 300, balance: {sex: equal},")), "StudyError", 2, "not built yet", "where", "study.yaml:11"),
    Bad("ledger on another database", edit("study.yaml", ("sqlite:///ledger.db", "postgresql://host/db")), "StudyError", 2, "sqlite", "sqlite:///ledger.db", "study.yaml:5"),
    Bad("unknown target", edit("study.yaml", ("target: ill", "target: sick")), "SchemaError", 2, "'sick'", "one of age", "study.yaml:10"),
    Bad("condition on no column", edit("study.yaml", ("seed: 7", "where: {shoe: 42}")), "ConditionError", 2, "shoe", "one of age", "study.yaml:11"),
    Bad("condition outside the domain", edit("study.yaml", ("seed: 7", "where: {age: 120}")), "ConditionError", 2, "age", "bounds", "study.yaml:11"),
    Bad("condition that is no range", edit("study.yaml", ("seed: 7", "where: {age: {above: 3}}")), "StudyError", 2, "age", "from: 20, to: 40", "study.yaml:11"),
    Bad("no key", edit("study.yaml", ("release.key", "lost.key")), "KeyFileError", 2, "cannot be read", "keys new", "lost.key"),
    Bad("key that others can read", lambda desk: (desk.folder / "release.key").chmod(0o644), "KeyFileError", 2, "mode 0644", "chmod 600", "release.key"),
    Bad("key of another kind", lambda desk: elliptic(desk.folder / "release.key"), "KeyFileError", 2, "not an Ed25519 key", "keys new", "release.key"),
    Bad("passphrase that is not there", edit("study.yaml", ("key: release.key", "key: release.key, passphrase file: p.txt")), "KeyFileError", 2, "no such passphrase", "check the path", "p.txt"),
    Bad("release folder that exists", lambda desk: desk.release.mkdir(), "StorageError", 2, "exists", "new `out:`", "release"),
    Bad("model folder that exists", lambda desk: (desk.folder / "model").mkdir(), "StorageError", 2, "exists", "new `model:`", "model"),
    Bad("model within the release", edit("study.yaml", ("model: model/", "model: release/model")), "StorageError", 2, "in the release folder", "two folders", "study.yaml:14"),
    Bad("file where a folder is needed", edit("study.yaml", ("out: release/", "out: schema.yaml/deep/release")), "StorageError", 2, "a file, where a folder", "another place", "schema.yaml"),
    Bad("ledger in no folder", edit("study.yaml", ("sqlite:///ledger.db", "sqlite:///no/ledger.db")), "StorageError", 2, "no such folder", "make the folder", "no"),
    Bad("ledger that is a folder", lambda desk: (desk.folder / "ledger.db").mkdir(), "StorageError", 2, "not a file", "name a file", "ledger.db"),
]

REQUESTS = [
    Bad("unregistered source", edit("schema.yaml", ("source: lab/visits", "source: lab/visit")), "RequestDenied", 1, "PS-SRC-001", "registered source", "policy.yaml"),
    Bad("purpose not allowed", edit("study.yaml", ("purpose: research", "purpose: teaching"), ("recipient: university", "recipient: company")), "RequestDenied", 1, "PS-REC-002", "another recipient", "policy.yaml"),
    Bad("unknown purpose", edit("study.yaml", ("purpose: research", "purpose: sales")), "RequestDenied", 1, "PS-PUR-001", "purpose of the policy"),
    Bad("unknown recipient", edit("study.yaml", ("recipient: university", "recipient: press")), "RequestDenied", 1, "PS-REC-001", "recipient of the policy"),
    Bad("register left out", edit("study.yaml", ("consent: {register: consent.csv}\n", "")), "RequestDenied", 1, "PS-CON-001", "consent: {register", "policy.yaml"),
    Bad("nobody who may ask", edit("study.yaml", ("actor: ana@", "actor: eve@")), "RequestDenied", 1, "PS-ROL-001", "people", "policy.yaml"),
    Bad("someone who reads reports", edit("study.yaml", ("actor: ana@", "actor: rea@")), "RequestDenied", 1, "PS-ROL-001", "people", "policy.yaml"),
    Bad("too many rows of a subject", edit("schema.yaml", ("at most: 2 rows", "at most: 3 rows")), "RequestDenied", 1, "PS-SRC-003", "at most 2 rows", "policy.yaml"),
    Bad("a column that the gate needs", edit("schema.yaml", ("smoker: {kind: boolean, nullable: true}", "smoker: {kind: text, dropped: true}")), "RequestDenied", 1, "PS-GATE-001", "declare these columns", "policy.yaml"),
    Bad("policy that has ended", edit("policy.yaml", ("until: 2099-12-31", "until: 2021-12-31")), "RequestDenied", 1, "PS-VAL-001", "window", "policy.yaml"),
    Bad("limit that this size cannot show", edit("policy.yaml", ("upper bound max: 0.3", "upper bound max: 0.001")), "Underpowered", 1, "perfect generator", "more subjects", "policy.yaml"),
    Bad("budget exhausted", lambda desk: exhaust(desk), "BudgetExhausted", 3, "lab-people", "what is left buys at most epsilon"),
]

LEDGERS = [
    Bad("ledger of another policy", frozen("id: lab/visits", "id: lab/other"), "LedgerError", 4, "'lab/visits', not to 'lab/other'", "its own policy"),
    *(
        Bad(f"frozen {name}", frozen(old, new), "LedgerError", 4, name, "write the old value", "policy.yaml")
        for name, old, new in [
            ("subjects", SUBJECTS, SUBJECTS.replace("4000", "5000")),
            ("holdout", HOLDOUT, HOLDOUT.replace("0.25", "0.5")),
            ("gate share", "budget: {share: 0.15}", "budget: {share: 0.2}"),
            ("budget over population", "{over: population, epsilon: 20.0", "{over: population, epsilon: 40.0"),
            ("budget over recipient", "{over: recipient, epsilon: 20.0", "{over: recipient, epsilon: 40.0"),
            ("filter kind", "kind: gdp", "kind: rdp"),
        ]
    ),
    Bad("source moved to another population", frozen(SOURCE, SOURCE.replace("lab-people", "new-people")), "LedgerError", 4, "population", "fresh budget", "policy.yaml"),
    Bad("ledger that is text", lambda desk: (desk.folder / "ledger.db").write_text("a long enough text\n" * 300), "LedgerError", 4, "not a ledger", "right file", "ledger.db"),
    Bad("ledger of zero bytes", lambda desk: (desk.folder / "ledger.db").touch(), "LedgerError", 4, "not a ledger", "right file", "ledger.db"),
    Bad("ledger cut off", each(opened, rewritten("ledger.db", lambda raw: raw[: len(raw) // 8192 * 4096])), "LedgerError", 4, "damaged", "backup", "ledger.db"),
    Bad("ledger with a changed entry", lambda desk: tamper(desk), "LedgerError", 4, "altered", "backup", "entry 1"),
]
