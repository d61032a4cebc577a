"""``python -m privsynth.cli``."""

from privsynth.cli import console

console()
