"""`privsynth inspect`: free figures of a saved model, as words, one object and a page; it asks for no data."""

from __future__ import annotations

from tests.desk import SECRET, Desk, cli


def test_it_needs_the_model_alone_and_spends_nothing(finished: Desk) -> None:
    entries = finished.entries()
    for name in ("data.parquet", "consent.csv", "policy.yaml", "study.yaml", "ledger.db"):
        (finished.folder / name).rename(finished.folder / f"{name}.away")
    page = finished.folder / "d.html"
    said = cli("inspect", finished.folder / "model", "--out", page, "--plots", "3")
    assert said.code == 0
    for part in ("one-way", "held-back", "share of µ²", "training rows: about", "measured pairs stand out", str(page)):
        assert part in said.out
    text = page.read_text("utf-8")
    assert "diagnostics: paid figures only" in text and SECRET not in text + said.out
    told = cli("inspect", finished.folder / "model", "--json").json
    assert (told["page"], told["diagnostics"]["privsynth-diagnostics"]) == (None, 1)
    (finished.folder / "ledger.db.away").rename(finished.folder / "ledger.db")
    assert finished.entries() == entries


def test_only_an_older_page_is_written_over(finished: Desk) -> None:
    page, model = finished.folder / "d.html", finished.folder / "model"
    assert cli("inspect", model, "--out", page).code == cli("inspect", model, "--out", page).code == 0
    page.write_text("something else")
    before = finished.files()
    for out in (page, finished.study, finished.folder, finished.release / "d.html", finished.folder / "no" / "d.html"):
        said = cli("inspect", model, "--out", out, "--json")
        assert (said.code, said.json["error"]) == (2, "StorageError")
        assert said.json["mend"]
    assert page.read_text() == "something else" and finished.files() == before


def test_no_model_and_an_altered_one_are_told(finished: Desk) -> None:
    said = cli("inspect", finished.folder, "--json")
    assert (said.code, said.json["error"]) == (4, "ModelError")
    path = finished.folder / "model" / "transcript.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    said = cli("inspect", finished.folder / "model", "--json")
    assert (said.code, said.json["error"]) == (4, "ModelError")
