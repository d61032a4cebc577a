"""Tables from noisy marginals and one mixture of products."""

from privsynth.generators.marginals.disk import load_model
from privsynth.generators.marginals.model import MarginalModel
from privsynth.generators.marginals.recipe import Marginals

__all__ = ["MarginalModel", "Marginals", "load_model"]
