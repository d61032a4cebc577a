"""A page of HTML as tests read it."""

from __future__ import annotations

from collections.abc import Collection
from html.parser import HTMLParser


class Page(HTMLParser):
    """Every tag closed but the ``void`` ones; the words, tags and attributes of a page."""

    def __init__(self, text: str, *, void: Collection[str] = ("meta",)) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words = ""
        self.attributes: list[str] = []
        self._void = void
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in self._void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
