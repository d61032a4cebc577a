"""Tables from paid marginals and one masked network that noisy steps trained."""

from privsynth.generators.autoregressive.disk import load_network
from privsynth.generators.autoregressive.model import AutoregressiveModel
from privsynth.generators.autoregressive.recipe import Autoregressive

__all__ = ["Autoregressive", "AutoregressiveModel", "load_network"]
