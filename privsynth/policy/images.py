"""What a policy says of pictures of people: what they must not be used for, and by which marks each says that it is
synthetic.

``biometric use`` is about telling who somebody is, or which group a face belongs to: identification, verification,
surveillance, categorisation. A purpose that is for one of these says ``biometric: true``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from privsynth.policy.directions import ABSENT, SUPERSET, Ladder
from privsynth.policy.words import Part, each_once

Mark = Literal["iptc", "c2pa"]
"""How a picture says that it is synthetic: in XMP by the IPTC's word, or in a signed C2PA manifest."""


class Images(Part):
    """Of pictures. ``biometric use`` that is not stated is forbidden too, but only where it is stated does each picture
    say so; ``mark synthetic``: what each picture carries."""

    biometric_use: Annotated[
        Literal["forbidden", "allowed"] | None, Ladder(("forbidden", ABSENT, "allowed"), absent="forbidden")
    ] = None
    mark_synthetic: Annotated[
        tuple[Mark, ...] | None, pydantic.Field(min_length=1), pydantic.AfterValidator(each_once), SUPERSET
    ] = None
