"""When two names are one person's: one rule, wherever people are counted.

Names are typed by hand into policies, trust files and commands. Those that differ in case, in blanks, in marks that are
not seen or in how Unicode spells a letter are one name: who is counted once too often is noticed, who is counted twice
is not.
"""

from __future__ import annotations

import unicodedata


def person_key(name: str) -> str:
    """What the names of one person have in common: compatible letters (NFKC), without case, blanks as one space each,
    none around, and no unseen marks (Unicode's category Cf)."""
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return " ".join(folded.split())


def same_person(one: str, other: str) -> bool:
    """Whether two names or addresses are one person's."""
    return person_key(one) == person_key(other)
