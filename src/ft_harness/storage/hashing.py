"""The canonical text of a value, and hashes of values and files."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ft_harness.storage.strict_files import no_pipe


def canonical_json(value: Any) -> str:
    """The canonical text of a JSON value for hashing: sorted keys, no blanks, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def sha256_text(text: str) -> str:
    """Hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash of a file."""
    with no_pipe(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """Hash of a whole file, which is read once in a process as long as it stays the same file."""
    state = path.stat()
    return _hash_of_state(path, (state.st_size, state.st_mtime_ns, state.st_ino))


@cache
def _hash_of_state(path: Path, state: tuple[int, int, int]) -> str:
    return sha256_file(path)
