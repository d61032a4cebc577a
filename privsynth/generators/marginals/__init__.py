"""Tables from noisy marginals and one mixture of products."""

from privsynth.generators.marginals.disk import load_model
from privsynth.generators.marginals.model import MarginalModel
from privsynth.generators.marginals.public import PublicHelp, read_public
from privsynth.generators.marginals.published import load_transcript
from privsynth.generators.marginals.recipe import Marginals
from privsynth.generators.marginals.workload import Query, Workload

__all__ = [
    "MarginalModel",
    "Marginals",
    "PublicHelp",
    "Query",
    "Workload",
    "load_model",
    "load_transcript",
    "read_public",
]
