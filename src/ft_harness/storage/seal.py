"""JSON that reveals changes: it holds a hash of everything else in it, under `seal`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import chain, repeat
from typing import Any

from pydantic_core import to_json

from ft_harness.storage.hashing import canonical_json, sha256_text
from ft_harness.storage.redaction import redact, redact_values

_SEAL = "seal"


def sealed_text(value: Mapping[str, Any]) -> str:
    """A JSON object as the text of a file, secrets taken out, with its seal last."""
    spelt = canonical_json(value)
    if redact(spelt) != spelt:
        value = redact_values(value)
        spelt = canonical_json(value)
    # takes a fifth of the time of `json`, which has no quick way with an indent
    return f"{to_json({**value, _SEAL: sha256_text(spelt)}, indent=2).decode()}\n"


def sealed_parts(fields: Mapping[str, Any]) -> Iterator[str]:
    """A sealed JSON object in parts and without an indent, if it is too long to be held as a text:
    an iterator is written as a list, one item at a time."""
    digest = sha256()
    for before, name in zip(chain("{", repeat(",")), sorted(fields), strict=False):
        parts = chain([f"{before}{canonical_json(name)}:"], _spell(name, fields[name]))
        for part in parts:
            digest.update(part.encode("utf-8", "surrogatepass"))
            yield part
    digest.update(b"}")
    yield f',"{_SEAL}":"{digest.hexdigest()}"}}\n'


def _spell(name: str, value: Any) -> Iterator[str]:
    """The canonical text of a field's value, secrets taken out."""
    if not isinstance(value, Iterator):
        yield _spell_clean(name, value)
        return
    yield "["
    for before, item in zip(chain([""], repeat(",")), value, strict=False):
        yield f"{before}{_spell_clean(name, item)}"
    yield "]"


def _spell_clean(name: str, value: Any) -> str:
    spelt = canonical_json(value)
    return spelt if redact(spelt) == spelt else canonical_json(redact_values({name: value})[name])


def unsealed(content: Any) -> Any:
    """A sealed JSON object without its seal; unchanged if it has none, as older versions wrote it.

    Raises:
        ValueError: the seal is another value's.
    """
    if not isinstance(content, dict) or _SEAL not in content:
        return content
    kept = {name: value for name, value in content.items() if name != _SEAL}
    if content[_SEAL] != sha256_text(canonical_json(kept)):
        raise ValueError("not as it was written: its seal differs")
    return kept
