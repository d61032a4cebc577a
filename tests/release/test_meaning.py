"""What `explain-budget` says: the words and figures of the statement, from numbers, releases and policies."""

from __future__ import annotations

import builtins
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from privsynth.errors import BudgetError, BundleError, MissingExtra, StorageError, UsageError
from privsynth.policy.document import load_policy
from privsynth.privacy.meaning import Bound
from privsynth.release.meaning import explain, explain_policy, explain_receipt, explain_release
from privsynth.release.meaning_plot import draw_meaning
from privsynth.release.statement import privacy_statement, up
from tests.desk import Desk, cli
from tests.receipts import receipt

ROOT = Path(__file__).parents[2]
SAID = """\
One release of ε = 1, δ = 1e-09

Whoever else is in the data, nobody who already holds all earlier outputs can by this one change their odds that a \
given person is in it, too, by more than a factor 2.72: what was a 1-in-2 guess becomes at most 73.2 in 100; except \
with probability 1.18e-7.
By what this one adds to all earlier outputs, the best possible attacker who may be wrong about 1 in 100 outsiders \
recognises at most 1.61 in 100 insiders (1 in 100 is guessing).
n·δ = 4e-5 for the 40,000 subjects declared.

attacked         μ      ε at this δ  insiders found, of 100  a 1-in-2 guess becomes, of 100
---------------  -----  -----------  ----------------------  ------------------------------
presence         0.182  1            1.61                    73.2
a changed value  0.364  2.08         2.49                    88.9
a family of 4    0.728  4.37         5.5                     98.8

"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with the statement of a release at (1, 1e-9), not the first of its population."""
    paid = receipt(cap_epsilon=6.0, cap_delta=2e-8, filter="gdp", subjects=41_250)
    (tmp_path / "privacy.json").write_text(json.dumps(privacy_statement(paid)))
    return tmp_path


# --- the words -----------------------------------------------------------------------------------


def test_the_words_for_people() -> None:
    said = cli("explain-budget", "--epsilon", "1", "--delta", "1e-9", "--subjects", "40000", "--family", "4")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(SAID)


def test_the_answer_for_machines() -> None:
    said = cli("explain-budget", "--epsilon", "1", "--delta", "1e-9", "--subjects", "40000", "--family", "4", "--json")
    [told] = said.json["explained"]
    assert told == explain(1.0, 1e-9, subjects=40_000, family=4).to_json()
    assert told["odds"]["factor"] == pytest.approx(math.e)
    assert [row["of"] for row in told["attacked"]] == ["presence", "a changed value", "a family of 4"]


def test_a_delta_that_is_too_large_is_told() -> None:
    assert "read it as too large" in explain(1.0, 1e-6, subjects=40_000).beside()
    assert explain(1.0, 1e-6).beside() == ""


# --- the sources ---------------------------------------------------------------------------------


def test_a_release_is_explained_by_its_statement(bundle: Path) -> None:
    """The same figures and words as in its own statement."""
    part, told = explain_release(bundle), json.loads((bundle / "privacy.json").read_text())
    odds, attacker = part.sentences()
    assert odds[: odds.index(" in 100;")] in told["odds"]["sentence"]
    assert told["attacker"]["insiders recognised"] == pytest.approx(part.known.caught(0.01), rel=1e-6)
    assert told["odds"]["exceeded with probability"] == pytest.approx(part.known.surprise, rel=1e-3)
    assert part.mu == told["release"]["mu"]
    assert attacker == told["attacker"]["sentence"]
    assert "already holds all earlier outputs of st-anna-patients" in odds


def test_a_receipt_is_explained_as_its_release_is(bundle: Path) -> None:
    paid = receipt(cap_epsilon=6.0, cap_delta=2e-8, filter="gdp", subjects=41_250)
    of_receipt, of_release = explain_receipt(paid), explain_release(bundle)
    assert of_receipt.sentences() == of_release.sentences()
    assert of_receipt.rows() == of_release.rows()
    first = explain_receipt(receipt(subjects=10, first_of_population=True))
    assert first.sentences()[0].startswith(of_release.sentences()[0].partition(" can ")[0]), "committed or not"


def test_the_command_reads_a_release_and_its_model(ended: Desk) -> None:
    release, model = (
        cli("explain-budget", name, ended.folder / place, "--json").json["explained"][0]
        for name, place in (("--release", "release"), ("--model", "model"))
    )
    assert release["sentences"] == model["sentences"]
    assert release["attacked"] == model["attacked"]
    assert release["title"] != model["title"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"release": {"epsilon": 1}, "unit": {}}', '{"release": []}'])
def test_what_is_no_statement_is_refused(bundle: Path, text: str) -> None:
    (bundle / "privacy.json").write_text(text)
    with pytest.raises(BundleError) as refusal:
        explain_release(bundle)
    assert refusal.value.mend


def test_a_folder_without_a_statement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        explain_release(tmp_path)


def test_a_policy_is_explained_by_its_caps_and_its_dearest_releases() -> None:
    policy = load_policy(ROOT / "policies" / "healthcare.yaml")
    cap, one = explain_policy(policy)[:2]
    line = policy.privacy.line("population")
    assert line is not None
    assert (cap.epsilon, cap.delta) == (line.epsilon, line.delta)
    assert one.epsilon == policy.privacy.per_release.max_epsilon
    assert one.delta <= policy.privacy.per_release.max_delta
    assert one.subjects is not None
    assert one.subjects * one.delta < 0.001
    assert "everything that was ever released" in cap.sentences()[0]


def test_under_a_renyi_filter_only_the_bound_is_known(tmp_path: Path) -> None:
    from tests.ledger.world import POLICY

    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("{kind: gdp}", "{kind: rdp}"))
    cap, one = explain_policy(load_policy(path))[:2]
    assert isinstance(cap.known, Bound)
    assert cap.mu is None
    assert one.mu is not None
    said = cli("explain-budget", "--policy", path)
    assert "2·e^ε" in said.out


# --- the plot ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_the_plot_is_a_file_of_its_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    said = cli("explain-budget", "--epsilon", "1", "--delta", "1e-9", "--plot", path)
    assert (said.code, said.err) == (0, "")
    begins = path.read_bytes()[:300]
    assert begins.startswith(b"\x89PNG") if name.endswith("png") else b"<svg" in path.read_bytes()[:2000]


def test_a_plot_that_cannot_be_made_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = explain(1.0, 1e-9)
    with pytest.raises(UsageError, match="PNG or SVG"):
        draw_meaning(part, tmp_path / "a.pdf")
    with pytest.raises(StorageError):
        draw_meaning(part, tmp_path / "nowhere" / "a.png")
    real = builtins.__import__

    def absent(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra, match="matplotlib") as refusal:
        draw_meaning(part, tmp_path / "a.png")
    assert "plots" in refusal.value.mend


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--epsilon", "1"],
        ["--delta", "1e-9"],
        ["--epsilon", "1", "--delta", "1e-9", "--release", "x"],
        ["--release", "x", "--policy", "y"],
        ["--release", "x", "--subjects", "5"],
    ],
)
def test_one_thing_is_explained_at_a_time(given: list[str]) -> None:
    said = cli("explain-budget", *given)
    assert said.code == 2
    assert "Mend:" in said.err


@pytest.mark.parametrize(
    ("epsilon", "delta", "more"),
    [(0.0, 1e-9, {}), (math.nan, 1e-9, {}), (51.0, 1e-9, {}), (1.0, 1.0, {}), (1.0, 1e-9, {"subjects": 0}),
     (1.0, 1e-9, {"family": 1}), (1.0, 1e-9, {"family": 2000})],
)  # fmt: skip
def test_absurd_numbers_are_refused(epsilon: float, delta: float, more: dict[str, int]) -> None:
    with pytest.raises(BudgetError):
        explain(epsilon, delta, **more)


def test_the_table_of_the_page_is_right() -> None:
    rows = re.findall(r"^\| ([\d.]+) \| (.+) \|$", (ROOT / "docs" / "epsilon.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 5
    for epsilon, cells in rows:
        known = explain(float(epsilon), 1e-9).known
        caught = [up(100 * known.caught(0.01, subjects=r)) for r in (1, 2, 4)]
        assert cells == " | ".join([up(known.factor), *caught, up(known.surprise)])


def test_the_page_s_comparison_at_epsilon_5_is_right() -> None:
    assert Bound(5.0, 1e-9).caught(0.01) > 0.99
    assert up(100 * explain(5.0, 1e-9).known.caught(0.01)) == "6.67"
