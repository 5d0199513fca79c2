"""One browser for all pages that tests of the report look at."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ft_harness.comparison.cases import CaseSummary, Listing
from tests.builders.browser import CHROMIUM, Browser
from tests.builders.cases import list_pair, nli_pair, summarize


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="session")
def browser(folder: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: no chromium, chromium-browser or google-chrome in the path")
    with Browser(folder / "profile") as found:
        yield found


@pytest.fixture(scope="session")
def nli(folder: Path) -> tuple[CaseSummary, Listing]:
    """Of 40 items without a negation 30 are corrected, of 40 with one 30 are broken; all others
    stay right."""
    base, tuned = nli_pair(folder / "nli")
    summary = summarize(base, tuned, ["genre"])
    listing = list_pair(summary, base, tuned, 20_000, ["genre"])
    assert listing
    return summary, listing
