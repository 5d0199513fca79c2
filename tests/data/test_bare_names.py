"""Names without what shows nothing at their ends."""

from __future__ import annotations

import time

import pytest

from ft_harness.data.values import bare_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ""),
        (" \u200b", ""),
        ("a", "a"),
        ("\ufeff text\u2060 ", "text"),
        ("two  words\n", "two  words"),
    ],
)
def test_only_the_ends_are_cut(text: str, name: str):
    assert bare_name(text) == name


def test_a_long_gap_within_a_cell_takes_no_time():
    began = time.process_time()
    text = f"a{' ' * 300_000}b"
    assert bare_name(text) == text
    assert time.process_time() - began < 5  # a search for ends took over ten minutes
