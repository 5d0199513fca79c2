"""JSON that says whether it is as it was written: a hash of all else in it, under `seal`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ft_harness.storage.hashing import canonical_json, sha256_text
from ft_harness.storage.redaction import redact_values

_SEAL = "seal"


def sealed_text(value: Mapping[str, Any]) -> str:
    """A JSON object as the text of a file, secrets taken out, with its seal last."""
    kept = redact_values(value)
    whole = {**kept, _SEAL: _seal_of(kept)}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def unsealed(content: Any) -> Any:
    """What was read without its seal; as it is where it has none, as older versions wrote it.

    Raises:
        ValueError: the seal is another value's.
    """
    if not isinstance(content, dict) or _SEAL not in content:
        return content
    kept = {name: value for name, value in content.items() if name != _SEAL}
    if content[_SEAL] != _seal_of(kept):
        raise ValueError("not as it was written: its seal differs")
    return kept


def _seal_of(value: Mapping[str, Any]) -> str:
    return sha256_text(canonical_json(value))
