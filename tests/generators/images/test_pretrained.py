"""Public weights: declared by hash, taken over only where they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from privsynth.errors import HoldError, SchemaError
from privsynth.generators.images.networks import Layout, drawn
from privsynth.generators.images.pretrained import PublicWeights

LAYOUT = Layout((1, 8, 8), (2,), 8)
SAID = {"licence": "CC0", "note": "pictures of strokes, made by a program"}


def weights(layout: Layout, seed: int) -> dict[str, torch.Tensor]:
    return dict(drawn(layout, torch.Generator().manual_seed(seed)).state_dict())


def test_a_network_begins_with_the_declared_weights(tmp_path: Path) -> None:
    """Those of attributes are its own: the public set had others."""
    theirs = weights(Layout((1, 8, 8), (7, 3), 8), 5)
    save_file(theirs, tmp_path / "w.safetensors")
    declared = PublicWeights.of(tmp_path / "w.safetensors", **SAID)
    own = weights(LAYOUT, 1)
    begun = declared.begin(own, LAYOUT)
    assert torch.equal(begun["first.weight"], theirs["first.weight"])
    assert torch.equal(begun["told.attributes.0.weight"], own["told.attributes.0.weight"])
    assert set(begun) == set(own)
    assert PublicWeights.from_json(declared.to_json()) == declared
    assert PublicWeights.from_json(declared.to_json()).path is None
    assert "path" not in declared.to_json()
    assert declared.sha256 in declared.told
    assert "CC0" in declared.told


def test_other_bytes_than_the_declared_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights(LAYOUT, 5), path)
    declared = PublicWeights.of(path, **SAID)
    save_file(weights(LAYOUT, 6), path)
    with pytest.raises(HoldError, match="not those"):
        declared.begin(weights(LAYOUT, 1), LAYOUT)
    with pytest.raises(HoldError, match="not here"):
        PublicWeights.from_json(declared.to_json()).begin(weights(LAYOUT, 1), LAYOUT)


@pytest.mark.parametrize("kind", ["network", "bytes"])
def test_weights_of_something_else_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w.safetensors"
    if kind == "bytes":
        path.write_bytes(b"x" * 100)
    else:
        save_file(weights(Layout((1, 8, 8), (2,), 16), 5), path)
    with pytest.raises(SchemaError):
        PublicWeights.of(path, **SAID).begin(weights(LAYOUT, 1), LAYOUT)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"sha256": "ab"}, "no SHA-256"),
        ({"licence": " "}, "no licence"),
        ({"note": "two\nlines"}, "no note"),
    ],
)
def test_declarations_that_say_nothing(given: dict[str, Any], what: str) -> None:
    with pytest.raises(SchemaError, match=what):
        PublicWeights(**{"sha256": "a" * 64, **SAID, **given})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="cannot be read"):
        PublicWeights.of(tmp_path / "none.safetensors", **SAID)
