"""Secrets are removed from everything that is written."""

from __future__ import annotations

import json
import os
import re

_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
# A token begins a word, or follows a JSON escape like \n. A URL's user part ends where its host's
# path, its query or a JSON string does, so that nothing but the secret is removed from a JSON text.
_SECRET_SHAPE = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt]))(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})"
    r"""|(?<=://)[^/?#\s:@"'<>\\]+(?::[^/?#\s"'<>\\]*)?(?=@)"""
)
_SHORTEST_SECRET = 8
REDACTED = "[redacted]"


def _known_secrets() -> list[str]:
    """Values of environment variables whose name says that they are secret, as text and in JSON,
    longest first."""
    values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    known = {value for value in values if len(value) >= _SHORTEST_SECRET}
    known |= {json.dumps(value, ensure_ascii=False)[1:-1] for value in known}
    return sorted(known, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without any secret known to this process or shaped like a token."""
    for secret in _known_secrets():
        text = text.replace(secret, REDACTED)
    return _SECRET_SHAPE.sub(REDACTED, text)
