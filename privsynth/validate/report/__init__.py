"""The internal report on a model: exact figures, watermarked, its opening logged."""

from privsynth.validate.report.build import validate
from privsynth.validate.report.value import Report

__all__ = ["Report", "validate"]
