"""The way back: `ledger restore`, `import` and `answer`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privsynth.cli.books import Books, on_books
from privsynth.cli.screen import Screen
from privsynth.cli.words import JSON, QUIET, passphrase_in
from privsynth.documents import join, plain

if TYPE_CHECKING:
    from privsynth.ledger.answers import Statement

COPY = Annotated[Path, typer.Argument(metavar="COPY", help="What `ledger backup` or `ledger export --inside` wrote.")]
ANSWERS = Annotated[
    Path, typer.Option("--answers", metavar="FOLDER", help="Of statement and answers; made where it is not there.")
]
TRUST = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The keys, of role `policy`, of those who may answer; left out where the ledger's own policy names them "
        "(`approval`).",
    ),
]
ACCEPT = Annotated[bool, typer.Option("--accept-loss", help="You know too that what is missing counts as spent.")]


@on_books
def ledger_restore(
    books: Books, file: COPY, answers: ANSWERS, trust: TRUST = None, accept_loss: ACCEPT = False
) -> None:
    """Make a ledger from a copy, at the price of the gap.

    What was written after the copy is gone, but its releases are out: if the witness knows of any such line, or there
    is no witness to ask, every population's budget is booked as spent, for ever, also of those registered later, and
    holds sold before are closed. A ledger that lost lines goes on with a new witness.

    Called with a new FOLDER it makes nothing but FOLDER/statement.json, which says all that. Two people of the policy
    sign it with `ledger answer`, each with a key of her own; then it is called again. The key file must be in its
    place, and nothing may lie at the ledger's. A move from a file to a database is made so too.

    Example:  privsynth ledger restore policy.yaml /backup/ledger-0711.db --ledger sqlite:///ledger.db
    --witness file:/srv/witness/hospital --answers restore-0711 --trust people.json --accept-loss
    """
    _restore("ledger restore", books, file, answers, trust, accept_loss)


@on_books
def ledger_import(books: Books, file: COPY, answers: ANSWERS, trust: TRUST = None, accept_loss: ACCEPT = False) -> None:
    """Make a ledger from an export: `restore` by another name.

    For example to move from a file to a database. An export is an older ledger, so it goes the way of a backup: two
    people sign, and it costs nothing only where a witness remembers no more than it holds. Give the ledger a witness
    first, if it has none, by opening it with --witness. Stop using the old one: two ledgers of one budget spend it
    twice, and the witness tells.

    Example:  privsynth ledger import policy.yaml ledger.jsonl --ledger sqlite:///new.db --key ledger.db.key
    --witness file:/srv/witness/hospital --answers move-0711 --trust people.json
    """
    _restore("ledger import", books, file, answers, trust, accept_loss)


def _restore(name: str, books: Books, file: Path, answers: Path, trust: Path | None, accept_loss: bool) -> None:
    from privsynth.ledger.answers import STATEMENT, write_statement
    from privsynth.ledger.restore import Restore
    from privsynth.signing import load_trust

    screen = books.screen
    asked = Restore.of(file, books.url, books.rules, actor=books.actor, key=books.key, witness=books.witness)
    if not (answers / STATEMENT).exists():
        statement = asked.statement()
        path = write_statement(statement, answers)
        screen.answer(name, {"restored": None, "statement": str(path), **_told(statement)})
        _say(screen, statement)
        screen.say(f"nothing is restored yet; this stands in {path}")
        screen.say(f"two people sign it:  privsynth ledger answer {answers} --key KEY --person ADDRESS")
        screen.say("then the same command again")
        return
    done = asked.run(answers, trust=None if trust is None else load_trust(trust), accept_loss=accept_loss)
    told = {"restored": books.shown, "people": list(done.people), "entries": done.checked.entries}
    screen.answer(name, {**told, **_told(done.statement)})
    screen.say(f"restored: ledger {done.checked.ledger} with {done.checked.entries:,} entries")
    _say(screen, done.statement)
    screen.say(f"answered for by {join(done.people)}")


def ledger_answer(
    answers: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where `ledger restore` wrote the statement.")],
    key: Annotated[Path, typer.Option(metavar="KEY", help="Your own key (`privsynth keys new --role policy`).")],
    person: Annotated[str, typer.Option(metavar="ADDRESS", help="Who you are, as the policy names you.")],
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key's passphrase is its first line (/dev/stdin for a pipe)."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Answer for a restore: sign what it says and costs.

    Prints the statement, and puts your signature over it into FOLDER. It counts for a week, for this very copy, policy
    and state of the witness. Ask yourself first why the ledger is gone.

    Example:  privsynth ledger answer restore-0711 --key ito.key --person k.ito@st-anna.example
    """
    from privsynth.ledger.answers import answer, read_statement
    from privsynth.signing import load_key

    screen = Screen(json_, quiet)
    statement = read_statement(answers)
    signing = load_key(key, passphrase=passphrase_in(passphrase_file))
    path = answer(answers, signing, person=person, today=dt.datetime.now(dt.UTC).date())
    screen.answer("ledger answer", {"answer": str(path), "keyid": signing.keyid, **_told(statement)})
    _say(screen, statement)
    screen.say(f"{person} answers for it: {path}")


def _told(statement: Statement) -> dict[str, object]:
    return {"said": plain(statement), "lost": statement.lost, "missing": statement.missing}


def _say(screen: Screen, statement: Statement) -> None:
    for line in statement.words():
        screen.say(line)
