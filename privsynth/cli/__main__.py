"""``python -m privsynth.cli``."""

from privsynth.cli import main

main()
