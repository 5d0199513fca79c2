"""`tokenizer.json` before the tokenizers library reads it, which ends the process where memory is
not enough."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ft_harness.errors import InputError, first_line
from ft_harness.storage.strict_files import read_json

TOKENIZER_FILE = "tokenizer.json"
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_KINDS = {  # by a field that no other kind of step has
    "pattern": "Replace",
    "precompiled_charsmap": "Precompiled",
    "prepend": "Prepend",
    "single": "TemplateProcessing",
}
_MOST_PARTS = 200
_MOST_GROWTH = 64  # a character may become so many, by all steps together
_MOST_ADDED = 1000  # characters or tokens around a text
_LONGEST_CHARACTER = 256  # bytes that a table of characters may put in place of one
_MAY_BE_EMPTY = re.compile(r"[*?|^$]|\\[AbBGKzZ]|\{0|\{,")  # what an expression without width has


def check_tokenizer_file(path: Path) -> None:
    """Refuse a file with steps that make texts without bounds; it is read again only if it
    changes.

    Raises:
        InputError: it has such steps, or is no JSON object.
    """
    try:
        found = path.stat()
    except OSError:
        return  # whoever needs it says so
    fault = _fault_of(path, found.st_mtime_ns, found.st_size)
    if fault is not None:
        raise InputError(
            f"{path}: {fault}",
            f"steps that turn one character into at most {_MOST_GROWTH}",
            "fetch the tokenizer again from a place you trust",
        )


@lru_cache(maxsize=16)
def _fault_of(path: Path, _changed: int, _size: int) -> str | None:
    content = read_json(path)
    steps = [step for name in _PARTS for step in _steps(content.get(name))]
    if len(steps) > _MOST_PARTS:
        return f"more than {_MOST_PARTS} steps"
    try:
        if math.prod(max(1.0, _growth(step)) for step in steps) > _MOST_GROWTH:
            return f"its steps make more than {_MOST_GROWTH} characters of one"
        if sum(map(_added, steps)) > _MOST_ADDED:
            return f"its steps add more than {_MOST_ADDED} characters or tokens to a text"
    except (AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        return f"a step can't be read ({first_line(error)})"
    return None


def _steps(value: Any) -> Iterator[Mapping[str, Any]]:
    """All steps in a part, those within sequences too."""
    if isinstance(value, list):
        for each in value:
            yield from _steps(each)
    elif isinstance(value, Mapping):
        # The library takes a step without a type for the kind whose fields it has.
        kind = next((kind for field, kind in _KINDS.items() if field in value), None)
        if value.get("type", kind) is not None:
            yield {"type": kind, **value}
        for name in ("normalizers", "pretokenizers", "processors", "decoders"):
            yield from _steps(value.get(name))


def _growth(step: Mapping[str, Any]) -> float:
    """How many characters a step makes of one."""
    if step["type"] == "Replace":
        old = step["pattern"].get("String")
        if old:
            return len(step["content"]) / len(old)
        # an expression matches single characters, or nothing before each of them
        pattern = step["pattern"].get("Regex", "")
        between = not pattern or _MAY_BE_EMPTY.search(pattern) is not None
        return between + len(step["content"])
    if step["type"] == "Precompiled":
        return _longest_text(step["precompiled_charsmap"]) / _LONGEST_CHARACTER * _MOST_GROWTH
    return 1.0


def _longest_text(encoded: str | None) -> int:
    """Of a table of characters: four bytes with the size of an index, the index, and texts.

    Raises:
        ValueError: the index is longer than the table, or no whole one.
    """
    table = base64.b64decode(encoded or "", validate=True)
    if not table:
        return 0
    (size,) = struct.unpack_from("<I", table)
    if size % 4 or size > len(table) - 4:
        raise ValueError("a truncated table of characters")
    return max(map(len, re.split(rb"\0", table[4 + size :])))


def _added(step: Mapping[str, Any]) -> int:
    """Characters or tokens that a step puts around a text."""
    if step["type"] == "Prepend":
        return len(step["prepend"])
    if step["type"] != "TemplateProcessing":
        return 0
    held = {name: len(token["ids"]) for name, token in step["special_tokens"].items()}
    return sum(
        held.get(part["SpecialToken"]["id"], 0)
        for form in ("single", "pair")
        for part in step[form]
        if "SpecialToken" in part
    )
