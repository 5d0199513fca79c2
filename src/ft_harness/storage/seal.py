"""JSON that says whether it is as it was written: a hash of all else in it, under `seal`."""

from __future__ import annotations

from collections.abc import Mapping
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


def unsealed(content: Any) -> Any:
    """What was read without its seal; as it is where it has none, as older versions wrote it.

    Raises:
        ValueError: the seal is another value's.
    """
    if not isinstance(content, dict) or _SEAL not in content:
        return content
    kept = {name: value for name, value in content.items() if name != _SEAL}
    if content[_SEAL] != sha256_text(canonical_json(kept)):
        raise ValueError("not as it was written: its seal differs")
    return kept
