"""A witness behind a web address."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from privsynth.errors import LedgerError, StorageError
from privsynth.ledger.address import shown
from privsynth.ledger.entry import LogName
from privsynth.ledger.witness import MOST, TIMEOUT, WRITTEN, question


@dataclass(frozen=True)
class HttpWitness:
    """A server: GET ``url/LOG`` gives the note (204 or 404: none yet); POST to it takes the question (409: refused) and
    answers with its signature lines, if it has a key.

    Over https, or on this machine; redirects are not followed.
    """

    url: str = field(repr=False)

    @property
    def where(self) -> str:
        """For messages: scheme, host and port."""
        return shown(self.url)

    def head(self, log: LogName) -> str | None:
        """See :meth:`Witness.head`."""
        code, text = self._ask(log, None)
        if code in (204, 404):
            return None
        if code != 200:
            raise StorageError(f"the witness answers {code}", where=self.where, mend=WRITTEN)
        return text

    def accept(self, log: LogName, note: str, *, old: int, proof: Sequence[bytes]) -> str:
        """See :meth:`Witness.accept`."""
        code, said = self._ask(log, question(note, old=old, proof=proof).encode())
        if code in (409, 422):
            raise LedgerError("the witness refuses the checkpoint", where=self.where, mend="see what it holds")
        if code not in (200, 201, 204):
            raise StorageError(f"the witness answers {code}", where=self.where, mend=WRITTEN)
        return said

    def _ask(self, log: LogName, data: bytes | None) -> tuple[int, str]:
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/{log}", data=data, headers={"Content-Type": "text/plain; charset=utf-8"}
        )
        opener = urllib.request.build_opener(_Straight, urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.read(MOST).decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, ""
        except (OSError, ValueError, http.client.HTTPException) as fault:
            what = f"the witness does not answer ({type(fault).__name__})"
            raise StorageError(what, where=self.where, mend=WRITTEN) from None


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the witness is who was named."""

    def redirect_request(self, *_: Any) -> None:
        return None
