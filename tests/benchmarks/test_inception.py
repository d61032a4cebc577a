"""The real FID: whose file it is, that opening it runs nothing, and what the library makes of it."""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import inception
from privsynth.validate.images.frechet import frechet


def kept(path: Path, held: object) -> tuple[Path, str]:
    """A file of ``held`` and its SHA-256."""
    raw = io.BytesIO()
    torch.save(held, raw)
    path.write_bytes(raw.getvalue())
    return path, hashlib.sha256(raw.getvalue()).hexdigest()


class Means:
    """Stands for the network: a picture's three planes by their means, and the file that it was built from."""

    given: Path

    def __init__(self, name: str, layers: list[str], *, feature_extractor_weights_path: str) -> None:
        Means.given = Path(feature_extractor_weights_path)
        if set(torch.load(feature_extractor_weights_path, weights_only=True)) != {"w"}:
            raise RuntimeError("Missing key(s) in state_dict: w\nand more")

    def to(self, device: str) -> Means:
        return self

    def __call__(self, planes: torch.Tensor) -> tuple[torch.Tensor]:
        assert planes.dtype == torch.uint8 and planes.shape[1] == 3
        return (planes.float().mean(dim=(2, 3)),)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of torch-fidelity: the distance of two means."""

    def distance(one: Any, other: Any, told: bool) -> dict[str, float]:
        return {"fid": float(((one - other) ** 2).sum())}

    parts: dict[str, dict[str, Any]] = {
        "torch_fidelity": {},
        "torch_fidelity.feature_extractor_inceptionv3": {"FeatureExtractorInceptionV3": Means},
        "torch_fidelity.metric_fid": {
            "KEY_METRIC_FID": "fid",
            "fid_features_to_statistics": lambda features: features.numpy().mean(axis=0),
            "fid_statistics_to_metric": distance,
        },
    }
    for name, held in parts.items():
        module = ModuleType(name)
        vars(module).update(held)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("library")
def test_grey_and_colour_are_seen_as_three_planes(tmp_path: Path) -> None:
    file, told = kept(tmp_path / "w.pth", {"w": torch.ones(2)})
    found = inception.load(file, told.upper())
    assert Means.given != file and not Means.given.exists(), "the library unpickles a copy, and it is gone"
    grey = np.full((70, 4, 5), 9, dtype=np.uint8)
    assert found.features(grey).shape == (70, 3)
    colours = np.stack([grey, grey + 1, grey], axis=3)
    assert found.fid(grey, colours, most=70) == 1.0
    colours[50:] = 0
    assert found.fid(grey, colours, most=50) == 1.0


@pytest.mark.usefixtures("library")
def test_another_file_than_declared_is_refused(tmp_path: Path) -> None:
    file, told = kept(tmp_path / "w.pth", {"w": torch.ones(2)})
    with pytest.raises(ValueError, match=f"SHA-256 {told}, declared was 00ff"):
        inception.load(file, "00ff")


@pytest.mark.usefixtures("library")
def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    file, told = kept(tmp_path / "w.pth", {"w": Trap()})
    with pytest.raises(ValueError, match="does not open as tensors alone"):
        inception.load(file, told)
    assert not (tmp_path / "ran").exists()
    torch.load(file, weights_only=False)
    assert (tmp_path / "ran").exists(), "the trap is one"


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("held", "told"),
    [({"w": 3}, "other things than named tensors"), ([torch.ones(1)], "other things"), ({"v": torch.ones(1)}, "w$")],
)
def test_what_is_no_such_network_is_refused(tmp_path: Path, held: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        inception.load(*kept(tmp_path / "w.pth", held))


def test_without_the_library_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ValueError, match="pip install torch-fidelity==0"):
        inception.load(*kept(tmp_path / "w.pth", {"w": torch.ones(2)}))


@pytest.mark.slow
def test_the_library_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch-fidelity is installed: its network with weights of no meaning, its distance beside ours."""
    try:
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError) as why:
        pytest.skip(f"torch-fidelity: {why}")
    file, _ = kept(tmp_path / "none.pth", {})
    with monkeypatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        blank = module.FeatureExtractorInceptionV3("any", ["2048"], feature_extractor_weights_path=str(file))
    weights = {name: value * 6**0.5 if value.ndim == 4 else value for name, value in blank.state_dict().items()}
    found = inception.load(*kept(tmp_path / "w.pth", weights))  # at that scale features do not fade
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, most, (12, 8, 8)).astype(np.uint8) for most in (255, 90))
    same, apart = found.fid(one, one, most=12), found.fid(one, other, most=12)
    # Ours divides covariances by n, theirs by n − 1; both take roots of 12 vectors in 2,048 directions.
    ours = frechet(*(found.features(p).numpy().astype(np.float64) for p in (one, other)))
    assert abs(same) < apart / 50
    assert apart == pytest.approx(ours, rel=0.1)
