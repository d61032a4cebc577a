"""The report's value: figures, verdict and what they were held against; a page, or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privsynth.privacy.events import Receipt
from privsynth.validate.bounds import advantage_bound, auc_bound, tpr_bound
from privsynth.validate.fidelity import Fidelity
from privsynth.validate.membership.judge import detectable_auc
from privsynth.validate.metric import Metric, Verdict
from privsynth.validate.page import write
from privsynth.validate.report.curve import Curve
from privsynth.validate.utility import Score

FORMAT = 1
WATERMARK = "internal: contains personal data"


@dataclass(frozen=True)
class Sizes:
    """How many subjects and rows stand behind the figures; exact, so internal."""

    train_subjects: int
    train_rows: int
    holdout_subjects: int
    holdout_rows: int
    synthetic_rows: int


@dataclass(frozen=True, repr=False, eq=False)
class Report:
    """The figures, their verdict and what they were held against. Prints only where it came from.

    Attributes:
        receipt: of the model: the guarantee that the attacks are held against (``mu_fit``).
        model: the model's id.
        sizes: subjects and rows.
        metrics: every figure with floor, interval, ceiling and n.
        fidelity: the tables behind the fidelity figures.
        utility: the scores behind the utility figures, with their paired gaps.
        curve: histogram and ROC of the attack, binned; None where no attack was run.
        attacked: subjects a side whom the attack scored.
        verdict: the worst of the membership figures.
        reasons: one sentence each.
    """

    receipt: Receipt
    model: str
    sizes: Sizes
    metrics: tuple[Metric, ...]
    fidelity: tuple[Fidelity, ...]
    utility: tuple[Score, ...]
    curve: Curve | None
    attacked: int
    verdict: Verdict
    reasons: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Report({self.receipt.source!r}, {WATERMARK!r})"

    def to_json(self) -> dict[str, Any]:
        """Everything but the plots, as JSON values; as internal as the page."""
        paid = self.receipt
        return {
            "privsynth-report": FORMAT,
            "visibility": "internal",
            "watermark": WATERMARK,
            "source": paid.source,
            "population": paid.population,
            "purpose": paid.purpose,
            "recipient": paid.recipient,
            "model": self.model,
            "n": dict(vars(self.sizes)),
            "guarantee": {
                "epsilon": paid.epsilon,
                "delta": paid.delta,
                "mu fit": paid.mu_fit,
                "unit": paid.unit,
                "neighbours": paid.neighbours,
                "contribution": paid.contribution,
                "person rows": paid.person_rows,
                "noise": paid.noise,
                "bounds": {
                    "auc": auc_bound(paid.mu_fit),
                    "advantage": advantage_bound(paid.mu_fit),
                    "tpr at": {str(fpr): tpr_bound(fpr, mu=paid.mu_fit) for fpr in (0.01, 0.001)},
                },
            },
            "checks": [metric.to_json() for metric in self.metrics],
            "worst tables": [
                {"columns": list(t.columns), "value": t.value, "floor": t.floor, "ceiling": t.ceiling}
                for fidelity in self.fidelity
                for t in fidelity.worst()
            ],
            "power": {
                "subjects a side": self.attacked,
                "detectable auc": detectable_auc(self.attacked) if self.attacked > 1 else None,
            },
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
        }

    def write(self, path: str | Path) -> Path:
        """Write one self-contained HTML page that only you may read; whole or not at all.

        Raises:
            StorageError: the place cannot be written.
        """
        from privsynth.validate.report.html import page

        return write(path, page(self, watermark=WATERMARK), what="report")
