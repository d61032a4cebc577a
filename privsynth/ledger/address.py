"""Addresses of ledgers and witnesses: whether one is usable, and how it is told without what may be a password."""

from __future__ import annotations

import re
import shlex
import unicodedata
from pathlib import PurePath
from urllib.parse import urlsplit

UNSHOWN = "an address that cannot be shown"
FILES = "sqlite"
SERVERS = ("postgresql", "postgres")
_SECRET = re.compile(r"(?i)\b(https?|postgres(?:ql)?):/+\S*@|\b(\w*(?:passw(?:or)?d|token|secret))=[^\s&]*")
_PLAIN = re.compile(r"[\w.+-]+")


def is_ledger(url: object) -> bool:
    """Whether that may be a ledger's address: a known scheme and something after it. A file takes no parameters."""
    scheme, _, named = url.partition("://") if isinstance(url, str) else ("", "", "")
    if not named or unprintable(named):
        return False
    file = scheme == FILES and named.startswith("/") and named.strip("/") and not re.search(r"\?\w+=", named)
    return scheme in SERVERS or bool(file)


def unprintable(text: str) -> bool:
    """Whether a control character stands in it, or half of one that UTF-8 cannot write."""
    return any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def shown(address: str) -> str:
    """An address for messages, with nothing in it that may be a password.

    Of a web address the scheme, host and port; of a command its program's name; of a database what follows the last
    ``@`` and stands before the query; of a file its path. Where none of that can be told from the rest, only that
    it cannot be shown.
    """
    kind, _, rest = address.partition(":")
    if kind == "cmd":
        try:
            name = PurePath(shlex.split(rest)[0]).name
        except (ValueError, IndexError):
            return UNSHOWN
        return name if _PLAIN.fullmatch(name) else UNSHOWN
    if kind in ("http", "https", *SERVERS) and rest.startswith("//"):
        text, _, query = rest.removeprefix("//").partition("?")
        if "@" in query or "#" in text:
            return UNSHOWN
        named = f"{kind}://{text.rpartition('@')[2]}"
        if kind in SERVERS:
            return named
        try:
            web = urlsplit(named)
            port = "" if web.port is None else f":{web.port}"
        except ValueError:
            return UNSHOWN
        host = f"[{web.hostname}]" if ":" in (web.hostname or "") else web.hostname
        return f"{kind}://{host}{port}" if host else UNSHOWN
    return address.removeprefix("file:") if kind in ("file", FILES) else UNSHOWN


def without_secrets(text: str) -> str:
    """A message in which an address was written where no address belongs, such as in a path's place."""
    return _SECRET.sub(lambda found: f"{found[1]}://…@" if found[1] else f"{found[2]}=…", text)
