"""Bars of progress: on a terminal alone, and only of what takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

_DELAY = 2.0  # seconds
_Item = TypeVar("_Item")


def progress(items: Iterable[_Item], what: str) -> Iterable[_Item]:
    """The items, with a bar of how many of them are done."""
    bar: Iterable[_Item] = tqdm(items, desc=what, delay=_DELAY, disable=None)
    return bar


def byte_progress(total: int, what: str) -> tqdm[None]:
    """A bar of how many bytes are done, which is closed at the end of its block."""
    return tqdm(total=total, unit="B", unit_scale=True, desc=what, delay=_DELAY, disable=None)
