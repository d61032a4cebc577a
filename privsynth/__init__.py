"""privsynth: sensitive tables in; a signed release of synthetic data out, or a refusal that says which rule refused.

The names below are the public face. Each is loaded when it is first used, so that verifying a
release needs neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privsynth.data.codec import Between
    from privsynth.data.schema import load_schema
    from privsynth.data.tables import read_images, read_table
    from privsynth.generators.autoregressive import Autoregressive
    from privsynth.generators.images.choose import Images
    from privsynth.generators.images.diffusion import ImageDiffusion
    from privsynth.generators.images.pretrained import PublicWeights
    from privsynth.generators.images.statistics import ImageStatistics
    from privsynth.generators.joint import Joint
    from privsynth.generators.kept import load_model, load_transcript
    from privsynth.generators.marginals import Marginals, PublicHelp, Query, Workload, read_public
    from privsynth.generators.ranks import together
    from privsynth.ledger.store import Wish, open_ledger
    from privsynth.policy.consent import filter_consent
    from privsynth.policy.document import load_policy
    from privsynth.privacy.budget import Budget
    from privsynth.release.gate import gate
    from privsynth.release.sealed import open_sealed, seal
    from privsynth.release.verify import verify
    from privsynth.validate.report import validate

__version__ = "0.1.0"

__all__ = [
    "Autoregressive",
    "Between",
    "Budget",
    "ImageDiffusion",
    "ImageStatistics",
    "Images",
    "Joint",
    "Marginals",
    "PublicHelp",
    "PublicWeights",
    "Query",
    "Wish",
    "Workload",
    "__version__",
    "filter_consent",
    "gate",
    "load_model",
    "load_policy",
    "load_schema",
    "load_transcript",
    "open_ledger",
    "open_sealed",
    "read_images",
    "read_public",
    "read_table",
    "seal",
    "together",
    "validate",
    "verify",
]

_HOMES = {
    "Autoregressive": "privsynth.generators.autoregressive",
    "Between": "privsynth.data.codec",
    "Budget": "privsynth.privacy.budget",
    "ImageDiffusion": "privsynth.generators.images.diffusion",
    "ImageStatistics": "privsynth.generators.images.statistics",
    "Images": "privsynth.generators.images.choose",
    "Joint": "privsynth.generators.joint",
    "Marginals": "privsynth.generators.marginals",
    "PublicHelp": "privsynth.generators.marginals",
    "PublicWeights": "privsynth.generators.images.pretrained",
    "Query": "privsynth.generators.marginals",
    "Wish": "privsynth.ledger.store",
    "Workload": "privsynth.generators.marginals",
    "filter_consent": "privsynth.policy.consent",
    "gate": "privsynth.release.gate",
    "load_model": "privsynth.generators.kept",
    "load_policy": "privsynth.policy.document",
    "load_schema": "privsynth.data.schema",
    "load_transcript": "privsynth.generators.kept",
    "open_ledger": "privsynth.ledger.store",
    "open_sealed": "privsynth.release.sealed",
    "read_images": "privsynth.data.tables",
    "read_public": "privsynth.generators.marginals",
    "read_table": "privsynth.data.tables",
    "seal": "privsynth.release.sealed",
    "together": "privsynth.generators.ranks",
    "validate": "privsynth.validate.report",
    "verify": "privsynth.release.verify",
}


if not TYPE_CHECKING:  # a type checker reads the imports above, and so still refuses a misspelt name

    def __getattr__(name: str) -> object:
        """Load a public name at its first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'privsynth' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
