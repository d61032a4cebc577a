"""Consent, inside: `consent check`, `withdraw`, `impact`, `audit`, `recall`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from privsynth.cli.books import Books, on_books
from privsynth.cli.screen import Screen
from privsynth.cli.words import JSON, KEY, PASSPHRASE, POLICY, QUIET, STUDY, WITNESS, passphrase_in
from privsynth.errors import ConsentError, UsageError

INTERNAL = "INTERNAL: this tells of single people. It must not leave."
REGISTER = Annotated[Path | None, typer.Option(metavar="FILE", help="The consent register.")]
FHIR = Annotated[Path | None, typer.Option(metavar="PATH", help="FHIR records, a file or folder.")]
RECEIPTS = Annotated[Path | None, typer.Option(metavar="FILE", help="ISO/IEC TS 27560 records.")]


def consent_check(
    study: STUDY,
    receipts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a receipt of every decision there (ISO/IEC TS 27560, NDJSON)."),
    ] = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Count who agrees to a study's use, by reason. INTERNAL.

    Reads the study's data and its evidence of consent as a run does, and fits nothing. How many agree, and why others
    do not, are figures about real people.

    Example:  privsynth consent check study.yaml
    """
    from privsynth.pipeline.run import read_records
    from privsynth.pipeline.study import load_study
    from privsynth.policy.consent import judge_consent
    from privsynth.policy.consent.reader import Ask
    from privsynth.policy.consent.receipt import decision_receipt
    from privsynth.policy.consent.verdict import counts

    screen = Screen(json_, quiet)
    loaded = load_study(study)
    given = dict(loaded.consent_given)
    exported, attest = given.pop("exported", None), given.pop("attest", None)
    use = {"purpose": loaded.file.purpose, "recipient": loaded.file.recipient}
    now = datetime.now(UTC)
    records = read_records(loaded)
    reading = judge_consent(records, loaded.policy, files=given, exported=exported, attest=attest, now=now, **use)
    if receipts is not None:
        ask = Ask(purpose=loaded.file.purpose, recipient=loaded.file.recipient, now=now)
        told = [
            decision_receipt(
                subject, one, policy=loaded.policy, source=loaded.schema.source, ask=ask, exported=reading.exported
            )
            for subject, one in sorted(reading.judged.items())
        ]
        _write_inside(receipts, told)
    counted = counts(reading.judged.values())
    screen.answer("consent check", {"internal": True, **use, **counted})
    screen.say(f"{INTERNAL}\n")
    rows: list[tuple[str, ...]] = [(kind, name, str(n)) for kind, part in counted.items() for name, n in part.items()]
    screen.table(("", "of subjects", "how many"), rows)
    if receipts is not None:
        screen.say(f"\nreceipts: {receipts} (keep them inside)")


def consent_withdraw(
    register: Annotated[Path, typer.Argument(metavar="REGISTER", help="The consent register, a CSV file.")],
    subjects: Annotated[
        Path, typer.Option(metavar="FILE", help="Who withdraws, one id a line; /dev/stdin for a pipe.")
    ],
    purpose: Annotated[str, typer.Option(metavar="NAME", help="From which purpose; * for everything.")] = "*",
    recipient: Annotated[str, typer.Option(metavar="NAME", help="From which recipient; * for all.")] = "*",
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Write withdrawals at the end of a register.

    They count from now on, and from the next fit. No other line is touched. Ids are read from a file, so that none
    stands in the history of a shell.

    Example:  privsynth consent withdraw consent.csv --subjects today.txt --purpose medical-research
    """
    from privsynth.documents import read_bytes
    from privsynth.policy.consent.withdrawal import withdraw

    screen = Screen(json_, quiet)
    raw = read_bytes(subjects, error=UsageError, kind="subjects", limit=2**24, pipe=True)
    try:
        named = list(dict.fromkeys(line.strip() for line in raw.decode("utf-8-sig").splitlines() if line.strip()))
    except UnicodeDecodeError:
        raise UsageError("not UTF-8", where=str(subjects), mend="one id a line, in UTF-8") from None
    if not named:
        raise UsageError("nobody is named", where=str(subjects), mend="one id a line")
    added = withdraw(register, named, purpose=purpose, recipient=recipient, now=datetime.now(UTC))
    screen.answer("consent withdraw", {"internal": True, "withdrawn": added, "register": str(register)})
    screen.say(f"{added} withdrawn in {register}; they are out of the next fit")
    screen.say("`privsynth consent impact` tells which earlier fits held them")


def consent_impact(
    policy: POLICY,
    ledger: Annotated[str, typer.Option(metavar="URL", help="Its ledger, for example sqlite:///ledger.db.")],
    source: Annotated[str, typer.Option(metavar="NAME", help="A source of the policy.")],
    actor: Annotated[str, typer.Option(metavar="ADDRESS", help="Who asks: an address listed in the policy.")],
    register: REGISTER = None,
    fhir: FHIR = None,
    receipts: RECEIPTS = None,
    shelf: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The commitments of fits. Default: the folder that runs keep by the ledger."
        ),
    ] = None,
    key: KEY = None,
    witness: WITNESS = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """List fits that held who has since said no. INTERNAL.

    Each with its recipient, day, ε, and what the policy's `on withdrawal` makes follow. Numbers of people below five
    are not told. Never recall a release because of this list: recalls are by source and day, on fixed days.

    Example:  privsynth consent impact policy.yaml --ledger sqlite:///ledger.db --source ehr/encounters
    --actor a.kim@st-anna.example --register consent.csv
    """
    from privsynth.pipeline.study_ledger import LedgerPlace
    from privsynth.policy.consent import judge_named
    from privsynth.policy.consent.impact import FEWEST, FolderShelf, gone, impact
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    loaded = load_policy(policy)
    files = {"register": register, "fhir": fhir, "receipts": receipts}
    now = datetime.now(UTC)

    def withdrawn(purpose: str, recipient: str) -> frozenset[str]:
        return gone(judge_named(loaded, files=files, purpose=purpose, recipient=recipient, now=now).judged)

    place = LedgerPlace(ledger, key, witness)
    kept = place.shelf if shelf is None else FolderShelf(shelf)
    if not kept.folder.is_dir():
        raise ConsentError(
            "no commitments of fits are kept there",
            where=str(kept.folder),
            mend="runs keep them where the policy states `on withdrawal`; name another folder with --shelf",
        )
    population, secret = place.look(loaded, actor=actor).commitment_key(source)
    rung = loaded.consent.rung
    found = impact(kept.fits(population), key=secret, withdrawn=withdrawn, rung=rung)
    told = [
        {"hold": f.hold, "source": f.source, "purpose": f.purpose, "recipient": f.recipient, "day": f.day,
         "epsilon": f.epsilon, "action": f.action, "people": f.people}
        for f in found
    ]  # fmt: skip
    screen.answer("consent impact", {"internal": True, "rung": rung, "fits": told})
    screen.say(f"{INTERNAL}\n")
    if not found:
        screen.say("no kept fit held anybody who has since said no")
        return
    few = f"fewer than {FEWEST}"
    screen.table(
        ("hold", "recipient", "day", "ε", "people"),
        [(f.hold, f.recipient, f.day, f"{f.epsilon:g}", few if f.people is None else str(f.people)) for f in found],
    )
    screen.say(f"\n{rung}: {found[0].action}")


@on_books
def consent_audit(
    books: Books,
    file: Annotated[Path, typer.Argument(metavar="RECEIPTS", help="A file that a run kept.")],
) -> None:
    """Check that a run's receipts are as they were. INTERNAL.

    A run whose study says `consent: {decisions: FOLDER}` keeps a receipt of every decision there, and the ledger's
    second log notes a commitment to the file before the fit. A file that was changed since ends in exit code 4.

    Example:  privsynth consent audit policy.yaml decisions/RECEIPTS.ndjson --ledger sqlite:///ledger.db
    """
    from privsynth.pipeline.decisions import check_decisions

    found = check_decisions(file, books.look())
    told = {"hold": found.hold, "time": found.time, "sha256": found.sha256}
    books.screen.answer("consent audit", {"internal": True, "unchanged": True, **told})
    books.screen.say(f"unchanged: as noted for hold {found.hold} at {found.time}")


def consent_recall(
    out: Annotated[Path, typer.Argument(metavar="LIST", help="The new list of recalls.")],
    key: Annotated[Path, typer.Option(metavar="KEY", help="The key that signs it: one of role release.")],
    due: Annotated[str, typer.Option("--next", metavar="DAY", help="The day of the next list, by your calendar.")],
    recall: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE:FROM:UNTIL", help="Recall releases of a source made on these days. Repeatable."),
    ] = None,
    passphrase_file: PASSPHRASE = None,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Sign a list of recalls, by source and day.

    Issue one on every day of a fixed calendar, empty or not, and decide by the calendar which releases it names: a
    recall that followed a withdrawal would tell who was in the data. Receivers give it to `privsynth verify --recalls`.

    Example:  privsynth consent recall recalls.dsse.json --key release.key --next 2027-01-01 --recall
    ehr/encounters:2026-01-01:2026-06-30
    """
    from privsynth.release.recalls import Recall, Recalls, write_recalls
    from privsynth.signing import load_key

    screen = Screen(json_, quiet)
    form = "write SOURCE:2026-01-01:2026-06-30, and --next as a day after today"
    try:
        parts = [text.rsplit(":", 2) for text in recall or ()]
        named = [Recall.model_validate({"source": s, "from": a, "until": b}) for s, a, b in parts]
        listed = Recalls.of(*named, issued=datetime.now(UTC).date(), due=datetime.fromisoformat(due).date())
    except ValueError:
        raise UsageError("not a source and two days, or no later day", where="--recall, --next", mend=form) from None
    passphrase = passphrase_in(passphrase_file)
    write_recalls(out, listed, load_key(key, passphrase=passphrase))
    screen.answer("consent recall", {"list": str(out), "recalls": len(named), "next": listed.next})
    screen.say(f"signed {out}: {len(named)} recalls; the next list is due on {listed.next}")


CONSENT: Mapping[str, Any] = {
    "check": consent_check,
    "withdraw": consent_withdraw,
    "impact": consent_impact,
    "audit": consent_audit,
    "recall": consent_recall,
}


def _write_inside(path: Path, told: list[dict[str, Any]]) -> None:
    from privsynth.signing.files import write_new

    lines = "".join(json.dumps(one, sort_keys=True, ensure_ascii=False) + "\n" for one in told)
    write_new(path, lines.encode(), mode=0o600)
