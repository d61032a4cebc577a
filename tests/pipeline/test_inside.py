"""`privsynth report`: for readers of internal reports only, logged, and never from the requester's hand."""

from __future__ import annotations

import stat

from tests.desk import AUDITOR, SECRET, Desk, cli


def test_a_requester_may_not_read_and_an_auditor_may(finished: Desk) -> None:
    out = finished.folder / "report.internal.html"
    said = cli("report", finished.study, "--out", out, "--json")
    assert (said.code, said.json["error"], said.json["refused_by"]) == (1, "RequestDenied", ["PS-ROL-002"])
    assert not out.exists() and "report" not in finished.kinds()

    assert cli("report", finished.study, "--out", out, "--actor", AUDITOR).code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    page = out.read_text("utf-8")
    assert "internal: contains personal data" in page
    assert SECRET not in page
    assert finished.kinds().count("report") == 1
    finished.edit("study.yaml", ("model: model/", "request: later"))
    finished.reserve()
    later = finished.ledger().find("later")
    assert later is not None and not later.chosen_after_report  # whoever read it asks for nothing


def test_a_place_that_cannot_be_written_is_told_before_the_opening_is_logged(finished: Desk) -> None:
    for out in (finished.folder, finished.folder / "no" / "r.html", finished.folder / "study.yaml" / "r.html"):
        said = cli("report", finished.study, "--out", out, "--actor", AUDITOR, "--json")
        assert (said.code, said.json["error"]) == (2, "StorageError")
    assert "report" not in finished.kinds()


def test_without_model_or_ledger_nothing_is_made(desk: Desk, finished: Desk) -> None:
    said = cli("report", desk.study, "--out", desk.folder / "r.html", "--actor", AUDITOR, "--json")
    assert (said.code, said.json["error"]) == (4, "ModelError")
    (finished.folder / "ledger.db").unlink()
    said = cli("report", finished.study, "--out", finished.folder / "r.html", "--actor", AUDITOR, "--json")
    assert (said.code, said.json["error"]) == (4, "LedgerError")
    assert {"ledger.db", "r.html"}.isdisjoint(desk.files() | finished.files())
