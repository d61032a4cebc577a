"""Every way to spoil a desk that the issue lists, and what ``privsynth run`` must say of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from pyarrow import parquet

from privsynth.errors import BudgetExhausted
from privsynth.privacy.budget import Budget
from tests.desk import SECRET, Desk
from tests.world import PURPOSE, RECIPIENT

Spoil = Callable[[Desk], object]


@dataclass(frozen=True)
class Bad:
    """One case.

    Attributes:
        name: of the case.
        spoil: what is done to the desk.
        error, code: the type of errors.py, and its exit code.
        what, mend, where: words that the error must hold.
    """

    name: str
    spoil: Spoil
    error: str
    code: int
    what: str
    mend: str
    where: str = ""


# --- ways to spoil ---------------------------------------------------------------------------------


def edit(name: str, *changes: tuple[str, str]) -> Spoil:
    """Replace texts of a file."""
    return lambda desk: desk.edit(name, *changes)


def each(*spoils: Spoil) -> Spoil:
    """One after the other."""
    return lambda desk: [spoil(desk) for spoil in spoils]


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Spoil:
    """Change the rows, and write them again as Parquet."""
    return lambda desk: change(desk.frame()).to_parquet(desk.folder / "data.parquet", index=False)


def arrow(change: Callable[[pa.Table], pa.Table]) -> Spoil:
    """The same of the Arrow table, which can hold what pandas cannot."""

    def spoil(desk: Desk) -> None:
        path = desk.folder / "data.parquet"
        parquet.write_table(change(parquet.read_table(path)), path)

    return spoil


def column(table: pa.Table, name: str, value: object) -> pa.Table:
    """``table`` with one value in every row of a column."""
    return table.set_column(table.schema.get_field_index(name), name, pa.array([value] * len(table)))


def raw(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of a file."""
    return lambda desk: (desk.folder / name).write_bytes(change((desk.folder / name).read_bytes()))


def csv(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of the same rows as CSV."""

    def spoil(desk: Desk) -> None:
        desk.edit("study.yaml", ("data.parquet", "data.csv"))
        text = desk.frame().to_csv(index=False, lineterminator="\n")
        (desk.folder / "data.csv").write_bytes(change(text.encode()))

    return spoil


def priced(epsilon: str = "3.0", delta: str = "1e-8") -> Spoil:
    """Ask for another price."""
    return edit("study.yaml", ("epsilon: 3.0, delta: 1e-8", f"epsilon: {epsilon}, delta: {delta}"))


def sampled(asked: str) -> Spoil:
    """Ask for a sample of another kind."""
    return edit("study.yaml", ("sample: {", f"sample: {{{asked}, "))


def data(name: str) -> Spoil:
    """Name another table."""
    return edit("study.yaml", ("data.parquet", name))


def opened(desk: Desk) -> None:
    """Create the ledger under the policy as it stands."""
    desk.ledger()


def frozen(old: str, new: str) -> Spoil:
    """Edit the policy after its ledger was created."""
    return each(opened, edit("policy.yaml", (old, new)))


def spent(desk: Desk) -> None:
    """Buy, under the same policy, until too little is left for the study."""
    recipe = desk.load().recipe
    for epsilon in (10.0, 3.0):
        larger = replace(recipe, budget=Budget(epsilon, 1e-8))
        with suppress(BudgetExhausted):
            while True:
                desk.ledger().reserve(larger, purpose=PURPOSE, recipient=RECIPIENT, consent="register")


def altered(desk: Desk) -> None:
    """Change one byte of a ledger's entry behind its back."""
    opened(desk)
    with closing(sqlite3.connect(desk.folder / "ledger.db")) as connection:
        connection.execute("DROP TRIGGER entries_same")
        connection.execute("UPDATE entries SET leaf = CAST(replace(leaf, '4000', '9000') AS BLOB) WHERE seq = 1")
        connection.execute(
            "CREATE TRIGGER entries_same BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        connection.commit()


def elliptic(path: Path) -> None:
    """A key of another kind."""
    path.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


# --- the table -------------------------------------------------------------------------------------
# fmt: off

STRUCTURE = [
    Bad("missing column", table(lambda f: f.drop(columns="age")),
        "DataError", 2, "missing columns: age", "add them", "data.parquet"),
    Bad("unknown column", table(lambda f: f.assign(extra=1)),
        "DataError", 2, "'extra'", "declare", "data.parquet"),
    Bad("no column of the schema", table(lambda f: f[["age"]].rename(columns={"age": "x"})),
        "DataError", 2, "none of the schema's columns", "schema", "data.parquet"),
    Bad("number stored as text", table(lambda f: f.assign(age=f["age"].astype(str))),
        "DataError", 2, "'age' is declared integer but stored as", "store it as a number", "data.parquet"),
    Bad("text stored as number", table(lambda f: f.assign(sex=1)),
        "DataError", 2, "'sex' is declared categorical but stored as", "store it as text", "data.parquet"),
    Bad("boolean stored as text", table(lambda f: f.assign(ill="yes")),
        "DataError", 2, "'ill' is declared boolean but stored as", "store it as boolean", "data.parquet"),
    Bad("date stored as text", table(lambda f: f.assign(seen=f["seen"].astype(str))),
        "DataError", 2, "'seen' is declared date but stored as", "store it as date", "data.parquet"),
    Bad("subject stored as real", table(lambda f: f.assign(person=1.5)),
        "DataError", 2, "subject column 'person'", "text or integers", "data.parquet"),
    Bad("parquet with a time zone", table(lambda f: f.assign(seen=f["seen"].dt.tz_localize("UTC"))),
        "DataError", 2, "timestamp with time zone", "without time zone", "data.parquet"),
    Bad("parquet with a list", arrow(lambda t: column(t, "age", [1])),
        "DataError", 2, "'age' is declared integer but stored as list", "number", "data.parquet"),
    Bad("parquet with a struct", arrow(lambda t: column(t, "sex", {SECRET: "F"})),
        "DataError", 2, "'sex' is declared categorical but stored as struct", "text", "data.parquet"),
    Bad("parquet with doubled names", arrow(lambda t: t.append_column("age", t["age"])),
        "DataError", 2, "doubled column names", "a name of its own", "data.parquet"),
    Bad("parquet cut off", raw("data.parquet", lambda raw: raw[: len(raw) // 2]),
        "DataError", 2, "not a whole Parquet file", "again", "data.parquet"),
    Bad("parquet of zero bytes", raw("data.parquet", lambda raw: b""),
        "DataError", 2, "zero bytes", "header", "data.parquet"),
    Bad("parquet that is text", raw("data.parquet", lambda raw: f"{SECRET},1\n".encode() * 99),
        "DataError", 2, "not a whole Parquet file", "again", "data.parquet"),
    Bad("csv of zero bytes", csv(lambda raw: b""),
        "DataError", 2, "zero bytes", "header", "data.csv"),
    Bad("csv without a header", csv(lambda raw: raw.split(b"\n", 1)[1].replace(b"True", b"1", 1)),
        "DataError", 2, "none of the schema's columns", "first line", "data.csv"),
    Bad("csv with doubled names", csv(lambda raw: raw.replace(b"person,age", b"age,age", 1)),
        "DataError", 2, "doubled column names", "a name of its own", "data.csv"),
    Bad("csv that is not UTF-8", csv(lambda raw: raw.replace(b"free text", b"fr\xe9e text", 1)),
        "DataError", 2, "UTF-8", "export it again", "data.csv"),
    Bad("csv cut off in a line", csv(lambda raw: raw[: raw.rindex(b",")]),
        "DataError", 2, "cut off", "export it again", "data.csv"),
    Bad("csv cut off in quotes", csv(lambda raw: raw.replace(b",zq7 free", b',"zq7 free', 1)),
        "DataError", 2, "a quote that nothing closes", "export it again", "data.csv"),
    Bad("csv with a field too many", csv(lambda raw: raw + b"1,2,3,4,5,6,7,8,9\n"),
        "DataError", 2, "another number of fields", "export it again", "data.csv"),
    Bad("no such data", data("nowhere.parquet"),
        "DataError", 2, "no such data file", "check the path", "nowhere.parquet"),
    Bad("data that is a folder", data("."),
        "DataError", 2, "a folder", "name one"),
    Bad("data of another kind", data("study.yaml"),
        "DataError", 2, ".yaml is not known", ".csv or .parquet", "study.yaml"),
    Bad("no such register", edit("study.yaml", ("consent.csv", "nobody.csv")),
        "ConsentError", 2, "no such consent register", "check the path", "nobody.csv"),
    Bad("register of zero bytes", raw("consent.csv", lambda raw: b""),
        "ConsentError", 2, "zero bytes", "header", "consent.csv"),
    Bad("register cut off", raw("consent.csv", lambda raw: raw + f"{SECRET}p1,research".encode()),
        "ConsentError", 2, "6 cells", "six cells", "consent.csv"),
    Bad("register that is not UTF-8", raw("consent.csv", lambda raw: raw + b"\xff,,,,,\n"),
        "ConsentError", 2, "not UTF-8", "UTF-8", "consent.csv"),
    Bad("register of other columns", raw("consent.csv", lambda raw: raw.replace(b"status", b"state", 1)),
        "ConsentError", 2, "missing columns: status", "header", "consent.csv"),
]

PRICES = [
    *(Bad(f"epsilon {text}", priced(epsilon=text), "BudgetError", 2, "epsilon", "0.0001 to 50", "study.yaml:10")
      for text in ("0", "0.0", "-1", "-0.5", "1e-9", "51", "1e300")),
    *(Bad(f"epsilon {text}", priced(epsilon=text), "StudyError", 2, "epsilon", "0.0001 to 50", "study.yaml:10")
      for text in ("nan", "inf", "'1'", "true", "null", "[1]")),
    *(Bad(f"delta {text}", priced(delta=text), "BudgetError", 2, "delta", "1e-9", "study.yaml:10")
      for text in ("0", "-1e-9", "1", "1.5", "1e-301")),
    *(Bad(f"delta {text}", priced(delta=text), "StudyError", 2, "delta", "1e-9", "study.yaml:10")
      for text in ("nan", "inf", "null")),
    *(Bad(f"epsilon {text}", priced(epsilon=text), "StudyError", 2, words, mend, "study.yaml:10")
      for text, words, mend in (
          (".nan", "looks like a number", "plain decimal"),
          (".inf", "looks like a number", "plain decimal"),
          ("1_0", "looks like a number", "plain decimal"),
          ("1e400", "beyond the largest number", "finite"),
      )),
    Bad("delta too small for the sampler", priced(delta="1e-200"),
        "BudgetError", 2, "delta", "a larger delta", "study.yaml:10"),
    Bad("epsilon over the release limit", priced(epsilon="10.5"),
        "RequestDenied", 1, "PS-BUD-001", "10.0 or less", "policy.yaml:"),
    Bad("delta over the release limit", priced(delta="2e-7"),
        "RequestDenied", 1, "PS-BUD-002", "1e-07 or less", "policy.yaml:"),
    Bad("delta at 1/(1000*subjects)",
        each(edit("policy.yaml", ("max delta: 1e-7", "max delta: 1e-3")), priced(delta="2.5e-7")),
        "RequestDenied", 1, "PS-BUD-003", "below 2.5e-07", "policy.yaml:"),
    Bad("delta at 1/subjects",
        each(edit("policy.yaml", ("max delta: 1e-7", "max delta: 1e-3"), ("1/(1000*subjects)", "1/subjects")),
             priced(delta="2.5e-4")),
        "RequestDenied", 1, "PS-BUD-003", "below 0.00025", "policy.yaml:"),
    Bad("steps of zero", edit("study.yaml", ("steps: 40", "steps: 0")),
        "BudgetError", 2, "steps", "1 to 100,000", "study.yaml:10"),
    Bad("components beyond measure", edit("study.yaml", ("components: 40", "components: 10001")),
        "BudgetError", 2, "components", "1 to 10,000", "study.yaml:10"),
]

FILES = [
    Bad("unknown policy key", edit("policy.yaml", ("  max attempts: 5", "  max attempts: 5\n  max atempts: 5")),
        "PolicyError", 2, "unknown key 'max atempts'", "did you mean `max attempts`", "policy.yaml:40"),
    Bad("policy of a later version", edit("policy.yaml", ("privsynth-policy: 1", "privsynth-policy: 2")),
        "PolicyError", 2, "format 2", "privsynth-policy: 1", "policy.yaml:1"),
    Bad("policy with an absurd limit", edit("policy.yaml", ("max epsilon: 10.0", "max epsilon: -1")),
        "PolicyError", 2, "max epsilon", "0.0001 to 50", "policy.yaml:35"),
    Bad("no such policy", edit("study.yaml", ("policy.yaml", "none.yaml")),
        "PolicyError", 2, "no such policy", "check the path", "none.yaml"),
    Bad("policy with a TODO", edit("policy.yaml", ("owner: office@lab.example", "owner: TODO address")),
        "PolicyError", 2, "TODO address", "owner", "policy.yaml:4"),
    Bad("unknown schema key", edit("schema.yaml", ("{kind: integer, min", "{kind: integer, minimum")),
        "SchemaError", 2, "minimum", "min", "schema.yaml:6"),
    Bad("schema with a TODO", edit("schema.yaml", ("max: 99}", "max: TODO}")),
        "SchemaError", 2, "TODO", "public", "schema.yaml:6"),
    Bad("no such schema", edit("study.yaml", ("schema.yaml", "none.yaml")),
        "SchemaError", 2, "no such schema", "check the path", "none.yaml"),
    Bad("no such study", lambda desk: desk.study.unlink(),
        "StudyError", 2, "no such study", "check the path", "study.yaml"),
    Bad("unknown study key", edit("study.yaml", ("actor:", "author:")),
        "StudyError", 2, "'author'", "actor", "study.yaml:7"),
    Bad("study without a key", edit("study.yaml", ("out: release/\n", "")),
        "StudyError", 2, "'out' is missing", "out: release/", "study.yaml"),
    Bad("study with a deep TODO", priced(epsilon="TODO at most"),
        "StudyError", 2, "generator › epsilon: still says 'TODO at most'", "decide it", "study.yaml:10"),
    Bad("study that is not YAML", edit("study.yaml", ("{key: release.key}", "{key: release.key")),
        "StudyError", 2, "not valid YAML", "syntax", "study.yaml:13"),
    Bad("study of another generator", edit("study.yaml", ("kind: marginals", "kind: diffusion-of-tables")),
        "StudyError", 2, "kind", "marginals", "study.yaml:10"),
    Bad("balance over no column", sampled("balance: {shoe: equal}"),
        "ConditionError", 2, "sample › balance › shoe: not a learned column", "one of age", "study.yaml:11"),
    Bad("balance whose shares do not sum to 1", sampled("balance: {sex: {F: 0.7, M: 0.2}}"),
        "ConditionError", 2, "sample › balance › sex: the shares sum to 0.9", "sum to 1", "study.yaml:11"),
    Bad("balance with a negative share", sampled("balance: {sex: {F: 1.5, M: -0.5}}"),
        "ConditionError", 2, "the share of 'F' is 1.5", "from 0 to 1", "study.yaml:11"),
    Bad("balance with a share that is no number", sampled("balance: {sex: {F: half, M: 0.5}}"),
        "ConditionError", 2, "the share of 'F' is 'half'", "from 0 to 1", "study.yaml:11"),
    Bad("balance over an unknown value", sampled("balance: {sex: {Q: 1}}"),
        "ConditionError", 2, "'Q' is not in its public domain", "'F', 'M', 'X'", "study.yaml:11"),
    Bad("balance without values", sampled("balance: {sex: {}}"),
        "ConditionError", 2, "no value is named", "equal", "study.yaml:11"),
    Bad("balance that is a word", sampled("balance: fair"),
        "StudyError", 2, "sample › balance: must be a mapping", "sex: equal", "study.yaml:11"),
    Bad("balance over too many cells", sampled("balance: {age: equal}"),
        "ConditionError", 2, "100 cells", "bins", "study.yaml:11"),
    Bad("balance and condition on one column", sampled("balance: {sex: equal}, where: {sex: F}"),
        "ConditionError", 2, "also in `where`", "only there", "study.yaml:11"),
    Bad("another way to draw", sampled("draw: odd"),
        "StudyError", 2, "draw", "independent", "study.yaml:11"),
    Bad("no rows", edit("study.yaml", ("rows: 300,", "rows: 0,")),
        "StudyError", 2, "rows", "from 1", "study.yaml:11"),
    Bad("ledger on another database", edit("study.yaml", ("sqlite:///ledger.db", "mysql://host/db")),
        "StudyError", 2, "not the address", "sqlite:///ledger.db", "study.yaml:5"),
    Bad("ledger on a server without its key", edit("study.yaml", ("sqlite:///ledger.db", "postgresql://host/db")),
        "StudyError", 2, "none is named", "key: ledger.key", "study.yaml:5"),
    Bad("ledger with another witness", edit("study.yaml",
        ("sqlite:///ledger.db", "{at: 'sqlite:///ledger.db', witness: ftp://host}")),
        "StudyError", 2, "not the address of a witness", "https://host/path", "study.yaml:5"),
    Bad("ledger without an address", edit("study.yaml", ("sqlite:///ledger.db", "{key: ledger.key}")),
        "StudyError", 2, "'at' is missing", "sqlite:///ledger.db", "study.yaml:5"),
    Bad("unknown target", edit("study.yaml", ("target: ill", "target: sick")),
        "SchemaError", 2, "'sick'", "one of age", "study.yaml:10"),
    Bad("condition on no column", sampled("where: {shoe: 42}"),
        "ConditionError", 2, "shoe", "one of age", "study.yaml:11"),
    Bad("condition outside the domain", sampled("where: {age: 120}"),
        "ConditionError", 2, "age", "bounds", "study.yaml:11"),
    Bad("condition that is no range", sampled("where: {age: {above: 3}}"),
        "StudyError", 2, "age", "from: 20, to: 40", "study.yaml:11"),
    Bad("no key", edit("study.yaml", ("release.key", "lost.key")),
        "KeyFileError", 2, "cannot be read", "keys new", "lost.key"),
    Bad("key that others can read", lambda desk: (desk.folder / "release.key").chmod(0o644),
        "KeyFileError", 2, "mode 0644", "chmod 600", "release.key"),
    Bad("key of another kind", lambda desk: elliptic(desk.folder / "release.key"),
        "KeyFileError", 2, "not an Ed25519 key", "keys new", "release.key"),
    Bad("passphrase that is not there",
        edit("study.yaml", ("key: release.key", "key: release.key, passphrase file: p.txt")),
        "KeyFileError", 2, "no such passphrase", "check the path", "p.txt"),
    Bad("release folder that exists", lambda desk: desk.release.mkdir(),
        "StorageError", 2, "exists", "new `out:`", "release"),
    Bad("model folder that exists", lambda desk: (desk.folder / "model").mkdir(),
        "StorageError", 2, "exists", "new `model:`", "model"),
    Bad("model within the release", edit("study.yaml", ("model: model/", "model: release/model")),
        "StorageError", 2, "in the release folder", "two folders", "study.yaml:14"),
    Bad("file where a folder is needed", edit("study.yaml", ("out: release/", "out: schema.yaml/deep/release")),
        "StorageError", 2, "a file, where a folder", "another place", "schema.yaml"),
    Bad("ledger in no folder", edit("study.yaml", ("sqlite:///ledger.db", "sqlite:///no/ledger.db")),
        "StorageError", 2, "no such folder", "make the folder", "no"),
    Bad("ledger that is a folder", lambda desk: (desk.folder / "ledger.db").mkdir(),
        "StorageError", 2, "not a file", "name a file", "ledger.db"),
]

REQUESTS = [
    Bad("unregistered source", edit("schema.yaml", ("source: lab/visits", "source: lab/visit")),
        "RequestDenied", 1, "PS-SRC-001", "registered source"),
    Bad("purpose not allowed", edit("study.yaml", ("purpose: research", "purpose: teaching"),
                                    ("recipient: university", "recipient: company")),
        "RequestDenied", 1, "PS-REC-002", "another recipient", "policy.yaml:"),
    Bad("unknown purpose", edit("study.yaml", ("purpose: research", "purpose: sales")),
        "RequestDenied", 1, "PS-PUR-001", "purpose of the policy"),
    Bad("unknown recipient", edit("study.yaml", ("recipient: university", "recipient: press")),
        "RequestDenied", 1, "PS-REC-001", "recipient of the policy"),
    Bad("register left out", edit("study.yaml", ("consent: {register: consent.csv}\n", "")),
        "RequestDenied", 1, "PS-CON-001", "consent: {register", "policy.yaml:"),
    Bad("nobody who may ask", edit("study.yaml", ("actor: ana@", "actor: eve@")),
        "RequestDenied", 1, "PS-ROL-001", "under `people`", "policy.yaml:"),
    Bad("a reader of reports asks", edit("study.yaml", ("actor: ana@", "actor: rea@")),
        "RequestDenied", 1, "PS-ROL-001", "under `people`", "policy.yaml:"),
    Bad("too many rows of a subject", edit("schema.yaml", ("at most: 2 rows", "at most: 3 rows")),
        "RequestDenied", 1, "PS-SRC-003", "at most 2 rows", "policy.yaml:"),
    Bad("a column that the gate tests",
        edit("schema.yaml", ("smoker: {kind: boolean, nullable: true}", "smoker: {kind: text, dropped: true}")),
        "RequestDenied", 1, "PS-GATE-001", "declare these columns", "policy.yaml:"),
    Bad("policy that has ended", edit("policy.yaml", ("until: 2099-12-31", "until: 2021-12-31")),
        "RequestDenied", 1, "PS-VAL-001", "window", "policy.yaml:5"),
    Bad("limit that this size cannot show", edit("policy.yaml", ("upper bound max: 0.3", "upper bound max: 0.001")),
        "Underpowered", 1, "perfect generator", "more subjects", "policy.yaml:"),
    Bad("budget exhausted", spent,
        "BudgetExhausted", 3, "population lab-people", "what is left buys at most epsilon"),
]

LEDGERS = [
    Bad("ledger of another policy", frozen("id: lab/visits", "id: lab/else"),
        "LedgerError", 4, "'lab/visits', not to 'lab/else'", "its own policy"),
    *(Bad(f"frozen {name}", frozen(old, new), "LedgerError", 4, f"'{name}'", "write the old value", "policy.yaml:")
      for name, old, new in (
          ("gate share", "budget: {share: 0.15}", "budget: {share: 0.2}"),
          ("budget over population", "{over: population, epsilon: 20.0", "{over: population, epsilon: 40.0"),
          ("budget over recipient", "{over: recipient, epsilon: 20.0", "{over: recipient, epsilon: 40.0"),
          ("filter kind", "kind: gdp", "kind: rdp"),
          ("subjects", "lab-people\n    subjects: 4000", "lab-people\n    subjects: 3000"),
          ("holdout", "lab-people\n    subjects: 4000\n    holdout: 0.25",
           "lab-people\n    subjects: 4000\n    holdout: 0.5"),
      )),
    Bad("source that moved", frozen("population: lab-people", "population: new-people"),
        "LedgerError", 4, "'lab-people'", "fresh budget", "policy.yaml:"),
    Bad("ledger that is text", lambda desk: (desk.folder / "ledger.db").write_text("a text, long enough\n" * 300),
        "LedgerError", 4, "not a ledger", "right file", "ledger.db"),
    Bad("ledger of zero bytes", lambda desk: (desk.folder / "ledger.db").touch(),
        "LedgerError", 4, "not a ledger", "right file", "ledger.db"),
    Bad("ledger cut off", each(opened, raw("ledger.db", lambda raw: raw[: len(raw) // 8192 * 4096])),
        "LedgerError", 4, "damaged", "backup", "ledger.db"),
    Bad("ledger with an altered entry", altered,
        "LedgerError", 4, "altered", "backup", "entry 1"),
]
# fmt: on

ALL = [*STRUCTURE, *PRICES, *FILES, *REQUESTS, *LEDGERS]
