"""Typed files that ft-harness keeps in folders, sealed against damage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ft_harness.errors import InputError, first_line
from ft_harness.records.schema import Frozen
from ft_harness.storage import sealed_parts, sealed_text, unsealed, write_parts, write_text
from ft_harness.storage.strict_files import no_pipe

_LONGEST = 1 << 26  # bytes
_Kept = TypeVar("_Kept", bound=Frozen)


def write_kept(path: Path, kept: Frozen) -> None:
    """Write a typed file that `read_kept` reads, with a seal that reveals damage."""
    write_text(path, sealed_text(kept.model_dump(mode="json")))


class _TooLongError(Exception):
    """What is being written is longer than what is read."""


def write_kept_list(path: Path, kept: Frozen) -> bool:
    """As `write_kept`, but each item of a list by itself and without an indent: for what is too
    long to be held as a text. False: not written, as `read_kept` would refuse its length."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return (plain(item) for item in value)
        return value.model_dump(mode="json") if isinstance(value, Frozen) else value

    parts = sealed_parts({name: plain(value) for name, value in kept})
    try:
        write_parts(path, _bounded(parts))
    except _TooLongError:
        return False
    return True


def _bounded(parts: Iterable[str]) -> Iterator[str]:
    length = 0
    for part in parts:
        length += len(part.encode("utf-8"))
        if length > _LONGEST:
            raise _TooLongError
        yield part


def read_kept(path: Path, kind: type[_Kept], what: str, action: str) -> _Kept | None:
    """A typed file that ft-harness keeps in a folder; None where it is not there.

    Args:
        what: what kind of file it is, for the error.
        action: what to do about a damaged one.

    Raises:
        InputError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        return kind.model_validate(read_sealed(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not {what} ({first_line(error)})", f"{path.name} as written", action
        ) from error


def read_sealed(path: Path) -> Any:
    """The JSON of a typed file that ft-harness keeps.

    Raises:
        OSError, ValueError, RecursionError: it can't be read, or is not as it was written.
    """
    # Before it is read: parsed JSON takes many times the memory of its text.
    if no_pipe(path).stat().st_size > _LONGEST:
        raise ValueError(f"more than {_LONGEST:,} bytes")
    return unsealed(json.loads(path.read_bytes()))
