"""Panics of libraries in Rust: what they raise where a file leads them beyond an end is no
Exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ft_harness.errors import InputError, first_line


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust has stopped; the class can't be imported."""
    return type(error).__name__ == "PanicException"


@contextmanager
def panics_named(place: str | Path) -> Iterator[None]:
    """A panic within is a fault of a file.

    Raises:
        InputError: the library has stopped.
    """
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise panic_fault(place, error) from error


def panic_fault(place: str | Path, error: BaseException) -> InputError:
    """The error of a library that has stopped."""
    return InputError(
        f"{place}: the library that reads it stopped ({first_line(error)})",
        "whole files, with steps that suit every text",
        "fetch the tokenizer and the model again from a place you trust",
    )
