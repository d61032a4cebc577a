"""Guidance: how hard pictures are pushed to look like their row's values. Free, as all drawing is; 0 as was learned."""

from __future__ import annotations

from privsynth.errors import ConditionError

MOST_GUIDANCE = 3.0
"""Above it drawn pictures may turn black or white: the way to draw takes steps that are too long for it."""


def check_guidance(guidance: object, *, guides: bool, where: str = "sample") -> float:
    """The guidance, if whoever is asked can draw with it.

    Args:
        guides: whether a network draws the pictures.

    Raises:
        ConditionError: out of range, or asked of what draws no pictures by a network.
    """
    number = isinstance(guidance, int | float) and not isinstance(guidance, bool)
    asked = float(guidance) if number else -1.0  # type: ignore[arg-type]
    if not 0.0 <= asked <= MOST_GUIDANCE:
        raise ConditionError(f"guidance is {guidance!r}", where=where, mend=f"a number from 0 to {MOST_GUIDANCE:g}")
    if asked and not guides:
        raise ConditionError(
            "nothing here is drawn by a network that guidance could push",
            where=where,
            mend="leave guidance out; the pictures of `image-diffusion` take it",
        )
    return asked
