"""Which legal bases cover special categories of personal data: text only, whether they hold is not judged."""

from __future__ import annotations

from collections.abc import Collection

_HIPAA = ("45CFR164.508", "45CFR164.512(i)", "45CFR164.514(b)")


def lifts(basis: Collection[str]) -> bool:
    """Whether a legal basis covers special categories: GDPR Art. 6 and 9 are a pair; HIPAA has its own. A longer
    list never covers less."""
    both = all(any(item.startswith(article) for item in basis) for article in ("Art6(1)", "Art9(2)"))
    return both or any(item.startswith(rule) for item in basis for rule in _HIPAA)
