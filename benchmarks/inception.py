"""The Fréchet Inception distance (Heusel et al. 2017), by torch-fidelity from a file of weights that the user declares.

Nothing is downloaded and no code of the file runs: it is read once, compared with its declared SHA-256, and opened as
tensors alone. It is that of the FID's own network, torch-fidelity's ``weights-inception-2015-12-05-6726825d.pth``;
another network's weights do not fit and are refused. torch-fidelity is installed by hand (:data:`REQUIREMENT`), and
with it a torchvision of the same build as torch; it is no dependency of the project.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from privsynth.data.pictures import Pixels

REQUIREMENT = "torch-fidelity==0.4.0"
LAYER, BATCH = "2048", 64


@dataclass(frozen=True, eq=False)
class Inception:
    """The network with the declared weights.

    Attributes:
        network: torch-fidelity's; of (n, 3, height, width) bytes a tuple of (n, 2048).
        metric: torch-fidelity's module of the distance.
    """

    network: Any
    metric: Any
    device: str = "cpu"

    def fid(self, real: Pixels, drawn: Pixels, *, most: int) -> float:
        """Of the first ``most`` of each, grey ones with their plane three times.

        It depends on how many there are: at 60,000 it compares with published ones, at fewer it is greater.
        """
        one, other = (self.metric.fid_features_to_statistics(self.features(p[:most])) for p in (real, drawn))
        return float(self.metric.fid_statistics_to_metric(one, other, False)[self.metric.KEY_METRIC_FID])

    def features(self, pixels: Pixels) -> torch.Tensor:
        """(n, 2048) of (n, height, width[, 3]) bytes."""
        with torch.no_grad():
            parts = [self._seen(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH)]
        return torch.cat(parts)

    def _seen(self, part: Pixels) -> torch.Tensor:
        planes = torch.from_numpy(part)
        planes = planes[:, None].expand(-1, 3, -1, -1) if planes.ndim == 3 else planes.permute(0, 3, 1, 2)
        (seen,) = self.network(planes.contiguous().to(self.device))
        out: torch.Tensor = seen.cpu()
        return out


def load(path: Path, sha256: str, *, device: str = "cpu") -> Inception:
    """The network of the weights in ``path``.

    Raises:
        ValueError: the file is not the declared one, holds more than tensors, or is of another network; torch-fidelity
            cannot be loaded. Says which, and what to do.
        OSError: the file cannot be read.
    """
    weights = _tensors(path, sha256)
    try:
        network_of = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
        metric = importlib.import_module("torch_fidelity.metric_fid")
    except (ImportError, RuntimeError) as why:  # a torchvision of another build of torch is a RuntimeError
        needs = f"pip install {REQUIREMENT} and a torchvision of the same build as torch"
        raise ValueError(f"torch-fidelity cannot be loaded ({why}): {needs}") from why
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "weights.pth"  # the library unpickles what it gets: a file of these tensors, made here
        torch.save(weights, plain)
        try:
            network = network_of("inception-v3-compat", [LAYER], feature_extractor_weights_path=str(plain))
        except RuntimeError as why:
            raise ValueError(f"{path} holds another network's weights: {str(why).splitlines()[0]}") from why
    return Inception(network.to(device), metric, device)


def _tensors(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256.lower():
        raise ValueError(f"{path} has SHA-256 {found}, declared was {sha256}: take the file that you mean")
    try:
        held = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as why:
        raise ValueError(f"{path} does not open as tensors alone ({type(why).__name__}): give a state dict") from why
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise ValueError(f"{path} holds other things than named tensors: give a state dict")
    return {str(name): value for name, value in held.items()}
