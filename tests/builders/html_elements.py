"""A page as a browser sees it: its elements, attributes and tables; what is open is closed in
order, no comments."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest


class Elements(HTMLParser):
    """What is common to the pages that tests look at."""

    void: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: list[list[list[str]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.void:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_comment(self, data):
        pytest.fail(f"a comment in the page: {data}")
