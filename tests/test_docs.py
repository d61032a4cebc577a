"""What the documentation says and points at is so."""

from __future__ import annotations

import ast
import math
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pydantic
import pytest
from packaging.requirements import Requirement

import privsynth
from privsynth.data.schema import parse_schema
from privsynth.documents import Document, build, parse_yaml
from privsynth.errors import StudyError
from privsynth.generators.marginals.estimate import FEWEST_COMPONENTS, MOST_COMPONENTS
from privsynth.generators.marginals.plan import LOOSE_SHARE, TRIPLE_SHARE, lay_out
from privsynth.generators.marginals.workload import (
    MOST_QUERIES,
    MOST_TRIPLES,
    QUERY_WEIGHT,
    TARGET_WEIGHT,
    Workload,
)
from privsynth.pipeline.study import StudyFile
from privsynth.pipeline.study_generator import MarginalsSpec, WorkloadSpec
from privsynth.policy.document import load_policy
from privsynth.privacy.accountant import epsilon_of, odds_exceed, share_out
from privsynth.privacy.budget import Budget
from privsynth.privacy.filters import Filter, make_filter
from privsynth.release.statement import privacy_statement, up
from privsynth.validate import paid
from privsynth.validate.bounds import advantage_bound
from tests.receipts import receipt

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
LONGEST = 200  # lines; most pages are below 150


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of all functions and classes of a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))


def cited(text: str) -> Iterator[tuple[str, str]]:
    """(file, function or empty) of every test that a page names; ``::name`` alone is of the file named before."""
    before = ""
    for code in re.findall(r"`([^`\n]+)`", text):
        if found := re.fullmatch(r"([\w/]*\btest_\w+\.py)?(?:::(\w+))?|(test_\w+)", code):
            before = found[1] or before
            yield before, found[2] or found[3] or ""


def exists(file: str, function: str) -> bool:
    """Whether some test file ends in this path and holds the function."""
    tail = file.removeprefix("tests/")
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if f"/{named(path)}".endswith(f"/{tail}")]
    return any(not function or function in functions(path) for path in files)


@pytest.mark.parametrize("path", PAGES + OTHERS, ids=named)
def test_every_test_that_is_named_exists(path: Path) -> None:
    missing = [f"{file}::{name}" for file, name in cited(path.read_text("utf-8")) if not exists(file, name)]
    assert missing == []


def test_a_test_that_does_not_exist_is_told() -> None:
    assert list(cited("`tests/test_docs.py::test_x`, `::test_y` and `test_z`")) == [
        ("tests/test_docs.py", f"test_{letter}") for letter in "xyz"
    ]
    assert exists("test_docs.py", "test_a_test_that_does_not_exist_is_told")
    assert not exists("tests/test_docs.py", "test_nowhere")
    assert not exists("tests/nowhere/test_docs.py", "")


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_place_that_is_named_exists(path: Path) -> None:
    """``release/gate.py`` is of the package; a bare ``gate.py`` is of some room of it."""
    roots = (ROOT, ROOT / "privsynth", ROOT / "tests")
    missing = [
        file
        for file in set(re.findall(r"`(\w[\w/]*\.py)`", path.read_text("utf-8")))
        if not any((root / file).is_file() for root in roots)
        and not ("/" not in file and any((ROOT / "privsynth").rglob(file)))
        and not (file.startswith("test_") and exists(file, ""))
    ]
    assert missing == []


MADE = ("cli.md", "results.md")  # help texts, and figures


@pytest.mark.parametrize("path", [path for path in PAGES if path.name not in MADE], ids=named)
def test_a_page_is_short_enough_to_be_read(path: Path) -> None:
    """What the command line or a schema prints word for word is not counted."""
    told = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(told.splitlines()) < LONGEST


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    assert sorted(listed) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in PAGES)


def built(site: Path) -> int:
    """The exit code of the command of `make docs`, run in ``site``."""
    [recipe] = re.findall(r"^docs:.*\n\t(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    command = recipe.replace("$(PY)", sys.executable)
    return subprocess.run(command, shell=True, cwd=site, capture_output=True, check=False, timeout=120).returncode


@pytest.mark.slow
def test_the_build_of_the_pages_fails_on_a_dead_link(tmp_path: Path) -> None:
    home = [line for line in (ROOT / "mkdocs.yml").read_text("utf-8").splitlines() if not line.startswith("      -")]
    (tmp_path / "mkdocs.yml").write_text("\n".join(home[: home.index("nav:") + 2]))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home\n")
    assert built(tmp_path) == 0
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[nowhere](nowhere.md)\n")
    assert built(tmp_path) != 0


# --- docs/study.md ---------------------------------------------------------------------------------


def keys(model: type[pydantic.BaseModel]) -> Iterator[str]:
    """Every key that some part of the file may hold."""
    schema: Any = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", {})


def test_every_key_of_the_study_is_explained() -> None:
    prose = re.sub(r"```yaml\n.*?```", "", page("study.md"), flags=re.DOTALL)
    missing = [key for key in keys(StudyFile) if not re.search(rf"`[^`\n]*\b{key}\b[^`\n]*`", prose)]
    assert missing == []


def test_the_example_of_a_study_loads() -> None:
    whole, _ = examples_of_studies()
    file = build(StudyFile, whole, error=StudyError)
    assert (file.generator.epsilon, file.sample.rows, file.out) == (1.0, 50_000, "release/")


def test_the_ledger_of_the_study_page_is_a_study_s() -> None:
    text, server, _ = re.findall(r"```yaml\n(.*?)```", page("study.md"), re.DOTALL)
    text = re.sub(r"^ledger:.*\n", server, text, flags=re.MULTILINE)
    document = parse_yaml(text.encode(), path="docs/study.md", error=StudyError)
    ledger = build(StudyFile, document, error=StudyError).ledger
    assert (ledger.key, ledger.witness) == ("/etc/privsynth/ledger.key", "file:/srv/witness/hospital")


def examples_of_studies() -> tuple[Document, Document]:
    """The whole study, and the same with the generator that has a workload."""
    whole, _, generator = re.findall(r"```yaml\n(.*?)```", page("study.md"), re.DOTALL)
    other = re.sub(r"^generator:.*\n", generator, whole, flags=re.MULTILINE)
    texts = (whole, other)
    first, second = (parse_yaml(text.encode(), path="docs/study.md", error=StudyError) for text in texts)
    return first, second


def test_the_workload_of_the_guide_is_that_of_the_study_page() -> None:
    """Its YAML and its Python ask the same of a schema with these columns."""
    _, document = examples_of_studies()
    file = build(StudyFile, document, error=StudyError)
    schema = parse_schema(
        "privsynth-schema: 1\nsource: ehr/encounters\nsubject: {each row is a: visit, a person has at most: 1 row}\n"
        "columns:\n  age: {kind: integer, min: 0, max: 120}\n  sex: {kind: categorical, values: [F, M, X]}\n"
        "  diagnosis: {kind: categorical, values: [A, B, C]}\n  readmitted: {kind: boolean}\n"
    )
    [code] = [c for c in re.findall(r"```python\n(.*?)```", page("guide.md"), re.DOTALL) if "ps.Workload" in c]
    names: dict[str, Any] = {"ps": privsynth, "schema": schema, "budget": Budget(1.0, 1e-9)}
    exec(compile(code, "docs/guide.md", "exec"), names)
    written = file.generator.recipe(schema, document)
    assert written.identity == names["recipe"].identity
    assert names["workload"].queries and names["workload"] != Workload()


def test_the_defaults_of_the_generator_are_told() -> None:
    """docs/study.md: the last cell of each row that is about ``marginals``."""
    of_tables = re.sub(r"### (Rows with pictures|Autoregressive)\n.*?(?=\n##)", "", page("study.md"), flags=re.DOTALL)
    told = {
        name: default
        for line in re.findall(r"^\| `.*\|$", of_tables, re.MULTILINE)
        for name in re.findall(r"`([a-z ]+)`", line.split("|")[1])
        for default in [line.rstrip("| ").rpartition("|")[2].strip()]
    }
    assert told["steps"] == f"{MarginalsSpec.model_fields['steps'].default}"
    assert told["components"].startswith(f"{FEWEST_COMPONENTS} to {MOST_COMPONENTS:,}")
    assert told["up to"] == f"{WorkloadSpec().up_to}"
    assert told["target weight"] == f"{TARGET_WEIGHT:g}"
    assert told["queries"] == f"none; {QUERY_WEIGHT:g}"
    assert f"at most {MOST_TRIPLES:,}" in page("study.md") and f"at most {MOST_QUERIES:,}" in page("study.md")
    assert f"{TRIPLE_SHARE / (1 - TRIPLE_SHARE):.2f} of what" in page("study.md")
    assert f"at most {LOOSE_SHARE / (1 - LOOSE_SHARE):.2f} of it" in page("study.md")


# --- figures ---------------------------------------------------------------------------------------


def test_the_table_of_odds_is_right() -> None:
    """docs/numbers.md: every figure from the curve, rounded up as statements round."""
    rows = re.findall(r"^\| ([0-9.]+) \| (.+) \|$", page("numbers.md"), re.MULTILINE)
    assert [float(epsilon) for epsilon, _ in rows] == [0.1, 0.5, 1, 2, 5, 10]
    normal, delta = NormalDist(), 1e-9
    for text, told in rows:
        epsilon = float(text)
        mu = share_out(Budget(epsilon, delta), gate_share=0.15).mu
        figures = (
            mu,
            math.exp(epsilon),
            100 / (1 + math.exp(-epsilon)),
            100 * normal.cdf(normal.inv_cdf(0.01) + mu),
            epsilon_of(2 * mu, delta=delta),
            odds_exceed(mu, epsilon=epsilon),
        )
        assert told.split(" | ") == [up(figure) for figure in figures]


def test_the_odds_are_quoted_from_the_statement() -> None:
    """docs/numbers.md: the very sentence of a first release at (1, 1e-9)."""
    prices = share_out(Budget(1.0, 1e-9), gate_share=0.15)
    paid_for = receipt(
        mu=prices.mu,
        mu_fit=prices.mu_fit,
        mu_gate=prices.mu_gate,
        cap_epsilon=6.0,
        cap_delta=2e-8,
        filter="gdp",
        subjects=41_250,
        first_of_population=True,
    )
    said = privacy_statement(paid_for)["odds"]["sentence"]
    quoted = " ".join(re.sub(r"^> ", "", page("numbers.md"), flags=re.MULTILINE).split())
    assert said[: said.index(" (From the privacy curve")] in quoted


def test_the_size_for_the_membership_rule() -> None:
    """docs/numbers.md: at the shipped limit 10,000 declared people suffice for 1 in 1,000, and 5,000 do not."""
    prices = share_out(Budget(1.0, 1e-9), gate_share=0.15)

    def refused(people: int) -> float:
        return paid.false_refusal(
            limit=0.14,
            members=0.8 * people,
            others=0.2 * people,
            mu=prices.mu_gate / math.sqrt(2),
            advantage=advantage_bound(prices.mu_fit),
        )

    assert refused(10_000) < 1e-3 < refused(5_000)


def test_how_many_releases_a_budget_pays_for() -> None:
    """docs/guide.md: under policies/healthcare.yaml 33 releases at (1, 1e-9), 9 of them for one recipient."""
    policy = load_policy(ROOT / "policies" / "healthcare.yaml")
    prices = share_out(Budget(1.0, 1e-9), gate_share=policy.gate.budget.share)
    for over, most, share in (("population", 33, "3.0%"), ("recipient", 9, "10.5%")):
        line = next(x for x in policy.privacy.budget if x.over == over)
        left: Filter = make_filter("gdp", epsilon=line.epsilon, delta=line.delta)
        for spent in range(most):
            left = left.charge(prices.event, delta=prices.delta_own)
            assert spent or f"{left.spent_share():.1%}" == share
        assert not left.admits(prices.event, delta=prices.delta_own)


def test_what_a_contribution_bound_costs() -> None:
    """docs/guide.md: the noise of a one-way count at ε = 1, eight columns of 20 values, 33,000 declared subjects."""
    mu = share_out(Budget(1.0, 1e-9), gate_share=0.15).mu_fit
    plans = [
        lay_out(
            names=[f"c{i}" for i in range(8)],
            cells=[20] * 8,
            mu=mu,
            contribution=k,
            rows=33_000,
            target=7,
            workload=Workload(),
            recipe="any",
            hold_back=True,
        )
        for k in (1, 3, 12)
    ]
    assert [plan.sigmas()["one-way"][1] for plan in plans] == [25.5, 66.0, 244.0]


# --- docs/dependencies.md --------------------------------------------------------------------------


def test_each_direct_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {Requirement(line).name for group in groups for line in group} - {"privsynth"}
    text = page("dependencies.md")
    assert sorted(name for name in names if name not in text) == []


def test_each_direct_dependency_but_torch_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {Requirement(line).name.lower().replace("_", "-") for group in groups for line in group}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert wanted - pinned == {"privsynth", "torch"}
