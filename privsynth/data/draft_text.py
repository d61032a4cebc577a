"""The words of a draft: comments that teach, and a TODO for everything that only its owner can know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from privsynth.data.written import entry, scalar

_NULLABLE = "TODO true or false"
_DROPPED = {"kind": "text", "dropped": True}
_BY_STORAGE: dict[str | None, dict[str, Any]] = {
    None: {"kind": "TODO one of the kinds above", "nullable": _NULLABLE},
    "text": {"kind": "TODO categorical or identifier or text", "nullable": _NULLABLE},
    "boolean": {"kind": "boolean", "nullable": _NULLABLE},
    "integer": {
        "kind": "integer",
        "min": "TODO least possible value",
        "max": "TODO greatest possible value",
        "nullable": _NULLABLE,
    },
    "real": {
        "kind": "real",
        "min": "TODO least possible value",
        "max": "TODO greatest possible value",
        "nullable": _NULLABLE,
    },
    "date": {"kind": "date", "min": "TODO first possible day", "max": "TODO last possible day", "nullable": _NULLABLE},
    "datetime": {
        "kind": "datetime",
        "min": "TODO first possible moment",
        "max": "TODO last possible moment",
        "nullable": _NULLABLE,
    },
    "image": {
        "kind": "image",
        "size": "TODO such as [64, 64], the width and height that pictures are brought to",
        "mode": "TODO L for grey or RGB",
        "nullable": _NULLABLE,
    },
    "zoned": {**_DROPPED, "dropped": "TODO store it without a time zone and declare a datetime, or write true"},
    "unreadable": {**_DROPPED, "dropped": "TODO store it flat or leave it out by writing true"},
}

_NAMES_ONLY = "Only column names and declared types were read to draft this."
_SCHEMA_HEAD = """\
# What is public about the table: declared by its owner, reviewed, and published with every release.
# {read}
# Fill in each TODO from public knowledge (code books, physics, law), never from the rows: a bound or a list
# that was looked up in the data is itself a disclosure. Nothing loads while a TODO is left.
# Reference: docs/schema.md.
#
#   {{kind: integer, min: 0, max: 120}}                 whole numbers; real is the same with decimals
#   {{kind: categorical, values: [F, M, X]}}            a public list; long ones: `values from: codes.csv`
#   {{kind: categorical, open: true}}                   no public list: learned and paid for; never names of persons
#   {{kind: boolean}}                                   true or false
#   {{kind: date, min: 2019-01-01, max: 2024-12-31}}    days; datetime is the same to the second
#   {{kind: identifier}}                                names a person or record: never learned, made anew
#   {{kind: image, size: [64, 64], mode: RGB}}          a picture: its path as text, or its file as binary
#   {{kind: text, dropped: true}}                       left out, whatever it holds
#
# `nullable: true` where a field may be empty. A value outside its domain is clipped, emptied or its row
# dropped by rule; that never stops a run and never shows.

privsynth-schema: 1
source: {source}   # the name under which the policy registers these data
{public_from}
# Who is protected. With a column that names the person:   {{column: patient_id, at most: 12 rows}}
# (at most so many rows of a person enter a fit; the noise grows with them). Without one the unit is the
# row, and the privacy statement says what that means:      {{each row is a: visit, a person has at most: 5 rows}}
{subject}

columns:
"""
_SCHEMA_FOOT = """
# Rows that cannot be. Real rows that break a line are dropped; synthetic rows never break one.
# never: [{sex: M, pregnant: true}]
# order: [admitted <= discharged]
# Columns that follow from others are computed, not learned.
# sums: [total = first + second]
# determines: [{rule: zip -> state, from: zips.csv}]
"""


def todo(kind: str | None) -> dict[str, Any]:
    """The declaration of a column whose storage suggests ``kind``, its domain left open."""
    return dict(_BY_STORAGE[kind])


def schema_text(
    source: str,
    columns: Iterable[tuple[str, Mapping[str, Any], str]],
    *,
    subject: Mapping[str, Any] | None = None,
    public_from: str | None = None,
) -> str:
    """A schema of columns, each a name, a declaration and a comment; the subject a TODO unless given."""
    lines = [
        entry(name, declared, indent=2) + (f"   # {comment}" if comment else "") for name, declared, comment in columns
    ]
    said = entry("public from", public_from) + "\n" if public_from is not None else ""
    read = "The domains were declared public by whoever drafted this." if said else _NAMES_ONLY
    who = entry("subject", subject if subject is not None else "TODO one of the two forms above")
    head = _SCHEMA_HEAD.format(source=scalar(source), public_from=said, subject=who, read=read)
    return head + "\n".join(lines) + "\n" + _SCHEMA_FOOT


def public_head(name: str, left_out: Iterable[str]) -> str:
    """What stands above a schema whose domains come from the public file ``name``."""
    lines = "".join(f"#   {line}\n" for line in left_out)
    return _PUBLIC_HEAD.format(name=name, left_out=f"# Left out, with the reason:\n{lines}" if lines else "")


def policy_text(name: str) -> str:
    """A policy for one source, with a TODO for each decision that is not privsynth's to propose."""
    return _POLICY.format(source=scalar(name), policy=scalar(f"{name}-policy"))


def study_text(name: str, data: str) -> str:
    """A study of the drafted schema and policy; ``data`` is the table's path from the study's folder."""
    return _STUDY.format(schema=scalar(f"{name}.schema.yaml"), policy=scalar(f"{name}.policy.yaml"), data=scalar(data))


_PUBLIC_HEAD = """\
# What is public about the table: declared by its owner, reviewed, and published with every release.
# The domains were read from {name}, which you declared public; `public from` records that, and every
# release says so. If that file is not public, this one is a leak. Reference: docs/schema.md.
# CHECK the subject: nobody has said yet who is protected, so the unit is the row, and the statement will
# say that a person may have any number of them. With a column that names the person, declare it as
# `kind: identifier` and write `subject: {{column: patient_id, at most: 12 rows}}`.
{left_out}
"""

_POLICY = """\
# What may be done with the data, for whom and at what cost. Nothing loads while a TODO is left; whatever
# is not allowed here is refused. Reference: docs/policy.md. Worked examples: policies/.

privsynth-policy: 1
id: {policy}             # a ledger belongs to one id and refuses another
version: "0.1.0"                # raise it with every change
owner: TODO address of the office that answers for this file
valid: {{from: TODO first day, until: TODO last day}}   # as 2026-01-31; before and after, every request is denied

sources:
  {source}:                     # as `source` in the schema
    population: TODO a name for the people behind the rows; sources that share people share one population
    subjects: TODO how many people, a public number, rounded down   # limits are checked against it
    holdout: 0.2                # share of them that no fit sees, so that attacks can be tested on them
    unit: TODO who is protected, such as patient; as the schema's subject
    neighbours: add-or-remove
    contribution: {{max rows per subject: TODO as in the schema}}

purposes:                       # add a line for each, under your own names
  research: {{legal basis: [TODO the basis you claim]}}
recipients:                     # add a line for each, under their own names
  recipient: {{purposes: [TODO purposes named above]}}

consent:
  default: deny                 # no record of a person means no
  by: TODO register or columns or not-required

privacy:
  filter: {{kind: gdp, orders: auto}}
  budget:                       # for ever: what was learnt about a person is never unlearnt
    - {{over: population, epsilon: TODO for everything ever released, delta: TODO for everything ever released}}
    - {{over: recipient, epsilon: TODO towards one recipient, delta: TODO towards one recipient}}
  per release:                  # epsilon 0.1 protects strongly, 1 well, 10 hardly
    max epsilon: TODO a number from 0.1 to 10
    max delta: TODO a number far below one in the number of people
    delta below: "1/(1000*subjects)"
  noise: os-secure-only

data:
  min rows: TODO declared people left after the holdout, at least

gate:                           # what a release must pass; rules on real rows are noised and paid for
  max attempts: 5               # per population, for ever
  budget: {{share: 0.15}}         # of a release's cost
  schema constraints: true      # free
  fidelity: {{held-back marginals: {{max: 0.1}}}}                # free: 0 same, 1 disjoint
  membership: {{attack: neighbour, advantage: {{upper bound max: 0.15}}}}   # paid
  # utility: {{target: readmitted, positive: [true], balanced accuracy: {{at least: 0.55}}}}   # paid

roles:                          # disjoint: who reads exact figures may not choose what is asked next
  requesters of holds: [analysts]
  readers of internal reports: [quality-office]
people: TODO a line for each of them
#   a.kim@st-anna.example: {{roles: [analysts]}}
"""

_STUDY = """\
# One run, from data to a signed release: `privsynth plan` tells its cost, `privsynth run` makes it.
# Nothing loads while a TODO is left. Paths are from this file's folder. Reference: docs/study.md.

privsynth-study: 1
schema: {schema}
data: {data}
policy: {policy}
ledger: sqlite:///ledger.db     # the budget's memory; keep one for ever, and back it up
consent: TODO such as (register consent.csv), or remove the line where the policy asks for none
purpose: TODO a purpose of the policy
recipient: TODO a recipient of the policy
actor: TODO who asks, as under `people` in the policy
generator:
  kind: marginals               # image-statistics where the schema has pictures, with `by:` in place of `target:`
  epsilon: TODO at most what the policy allows for a release
  delta: TODO at most what the policy allows for a release
  target: TODO the column that users will predict, or remove the line
sample: {{rows: TODO how many synthetic rows}}
sign: {{key: release.key}}        # made by `privsynth keys new`
out: release/
"""
