"""The house of DESIGN.md: who may import whom, and what no room may do at all.

Read from the syntax tree, so imports inside functions and under ``TYPE_CHECKING`` count too. Each
rule is also shown to fire on a planted line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "privsynth"
BRACES = (
    {"errors", "progress"},
    {"documents"},
    {"privacy", "signing"},
    {"data"},
    {"policy"},
    {"ledger"},
    {"validate"},
    {"generators", "release"},
    {"pipeline"},
    {"cli"},
)
FLOOR = {room: floor for floor, brace in enumerate(BRACES) for room in brace}
TENSORS = ("generators/", "privacy/dpsgd", "privacy/noise.py", "validate/images")
ONLY_IN = {  # a package -> the paths under privsynth/ that may import it
    "torch": TENSORS,
    "opacus": TENSORS,
    "typer": ("cli/",),
    "rich": ("cli/",),
    "cryptography": ("signing",),
    "securesystemslib": ("signing",),
    "pyrage": ("signing",),
    "sqlite3": ("ledger/",),
    "psycopg": ("ledger/",),
    "c2pa": ("release/c2pa_mark.py",),
    **dict.fromkeys(("random", "pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "opendp"), ()),
}
OWN_RANDOMNESS = {"Generator", "default_rng", "SeedSequence", "BitGenerator", "PCG64", "Philox"}  # of numpy.random
DRAWS = {"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli"}  # of torch: need generator=
LIKE = {"rand_like", "randn_like", "randint_like", "poisson", "dropout"}  # of torch: cannot be given one
FORBIDDEN = {"torch.load", "torch.manual_seed", "torch.seed", "torch.random.manual_seed", "torch.cuda.manual_seed_all"}


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """(local name, full dotted name) of everything that the file imports; ``package`` resolves relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            for alias in node.names:
                yield alias.asname or alias.name, ".".join([*above, *filter(None, [node.module]), alias.name])


def dotted(node: ast.AST, known: dict[str, str]) -> str:
    """``np.random.rand`` as ``numpy.random.rand``; empty where it is no chain of names."""
    if isinstance(node, ast.Attribute) and (base := dotted(node.value, known)):
        return f"{base}.{node.attr}"
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def faults(path: str, source: str) -> list[str]:
    """What ``source``, lying at ``path`` under privsynth/, breaks."""
    tree, room = ast.parse(source), path.partition("/")[0].removesuffix(".py")
    package = ".".join(["privsynth", *path.split("/")[:-1]])
    bound = list(imports(tree, package))
    found = [] if room in FLOOR or path == "__init__.py" else [f"{room} is no room of the house"]
    for _, name in bound:
        top, _, rest = name.partition(".")
        if top == "privsynth" and room in FLOOR and rest != "__version__":
            other = rest.split(".")[0]
            if other != room and not FLOOR.get(other, 99) < FLOOR[room]:
                found.append(f"imports {other} from {room}")
        if top in ONLY_IN and not path.startswith(ONLY_IN[top]):
            found.append(f"imports {top}")
    known = {local: name if local != name.split(".")[0] else local for local, name in bound}
    for node in ast.walk(tree):
        name = dotted(node, known) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name == "print" and not path.startswith("cli/"):
            found.append("print")
        if name in FORBIDDEN or (name.startswith("numpy.random.") and name.split(".")[2] not in OWN_RANDOMNESS):
            found.append(name)
        if isinstance(node, ast.Call) and (name := dotted(node.func, known)).startswith("torch."):
            last, given = name.rpartition(".")[2], {keyword.arg for keyword in node.keywords}
            if last in LIKE or (last in DRAWS and "generator" not in given):
                found.append(f"{name} from the global generator")
    return found


@pytest.mark.parametrize("path", sorted(p.relative_to(HOUSE).as_posix() for p in HOUSE.rglob("*.py")))
def test_the_house_keeps_its_rules(path: str) -> None:
    assert faults(path, (HOUSE / path).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("data/schema.py", "from privsynth.policy.document import load_policy", "imports policy from data"),
        ("data/schema.py", "from privsynth import ledger", "imports ledger from data"),
        ("data/schema.py", "from ..policy import document", "imports policy from data"),
        ("data/schema.py", "import privsynth.cli", "imports cli from data"),
        ("privacy/noise.py", "def f():\n    import privsynth.signing", "imports signing from privacy"),
        ("generators/base.py", "from privsynth.release.gate import gate", "imports release from generators"),
        ("release/gate.py", "if TYPE_CHECKING:\n    import privsynth.generators", "imports generators from release"),
        ("errors.py", "from privsynth import documents", "imports documents from errors"),
        ("policy/decide.py", "from privsynth import load_policy", "imports load_policy from policy"),
        ("utilities.py", "", "utilities is no room of the house"),
        ("data/codec.py", "import torch.nn as nn", "imports torch"),
        ("release/gate.py", "def f():\n    from opacus import PrivacyEngine", "imports opacus"),
        ("pipeline.py", "import typer", "imports typer"),
        ("progress.py", "from rich.progress import Progress", "imports rich"),
        ("release/verify.py", "from cryptography.hazmat.primitives import hashes", "imports cryptography"),
        ("release/verify.py", "import c2pa", "imports c2pa"),
        ("ledger/store.py", "import securesystemslib.dsse", "imports securesystemslib"),
        ("release/sealed.py", "def f():\n    import pyrage", "imports pyrage"),
        ("policy/decide.py", "import sqlite3", "imports sqlite3"),
        ("data/tables.py", "import psycopg", "imports psycopg"),
        ("privacy/noise.py", "from random import gauss", "imports random"),
        ("generators/marginals/model.py", "import pickle", "imports pickle"),
        ("privacy/noise.py", "import opendp", "imports opendp"),
        ("pipeline.py", "print('done')", "print"),
        ("ledger/store.py", "log = print", "print"),
        ("data/codec.py", "import numpy as np\nnp.random.seed(0)", "numpy.random.seed"),
        ("data/codec.py", "import numpy\nx = numpy.random.rand(3)", "numpy.random.rand"),
        ("data/codec.py", "from numpy.random import normal\nnormal()", "numpy.random.normal"),
        ("generators/base.py", "import torch\ntorch.manual_seed(0)", "torch.manual_seed"),
        ("generators/base.py", "from torch import load\nload('m')", "torch.load"),
        ("generators/base.py", "import torch\ntorch.randn(3)", "torch.randn from the global generator"),
        ("generators/base.py", "import torch as t\nt.rand_like(x)", "torch.rand_like from the global generator"),
    ],
)
def test_each_rule_fires(path: str, source: str, fault: str) -> None:
    assert faults(path, source) == [fault]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cli/screen.py", "import rich\nfrom privsynth import pipeline, __version__\nprint(1)"),
        ("generators/base.py", "import torch\ntorch.randn(3, generator=g)\nimport privsynth.validate.paid"),
        ("data/codec.py", "import numpy as np\nrng = np.random.default_rng(seed)\nfrom privsynth.privacy import noise"),
        ("ledger/store.py", "import sqlite3\nfrom .entry import Entry\nsheet.print()"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert faults(path, source) == []
