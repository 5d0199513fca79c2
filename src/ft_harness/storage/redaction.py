"""Secrets are removed from everything that is written."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

_SECRET_NAME = re.compile(
    r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL|(?:^|_)(?:PAT|AUTH)(?:_|$)", re.IGNORECASE
)
# A token begins a word, or follows a JSON escape like \n. A URL's user part ends where its host's
# path, its query or a JSON string does, so that nothing but the secret is removed from a JSON text.
# Patterns begin with fixed text, and are searched only where it occurs: half as many seconds go
# into writing a million samples.
_TOKEN_STARTS = ("sk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_")
_TOKENS = {
    start: re.compile(
        rf"{start}(?:(?<![A-Za-z0-9]{start})|(?<=\\[bfnrt]{start}))"
        rf"[A-Za-z0-9{'_-' if start == 'sk-' else ''}]{{20,}}"
    )
    for start in _TOKEN_STARTS
}
_URL = "://"
_URL_USER = re.compile(rf"""{_URL}[^/?#\s:@"'<>\\]+(?::[^/?#\s"'<>\\]*)?(?=@)""")
_SHORTEST_SECRET = 8
REDACTED = "[redacted]"
_LEARNT: set[str] = set()


def learn_secrets(options: Mapping[str, Any]) -> None:
    """Remember the values of options whose name says that they are secret, to redact them."""
    _LEARNT.update(
        value
        for name, value in options.items()
        if isinstance(value, str) and _SECRET_NAME.search(name)
    )


def _known_secrets() -> list[str]:
    """Values of environment variables and options whose name says that they are secret, as text and
    in JSON, longest first."""
    values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    known = {value for value in (*values, *_LEARNT) if len(value) >= _SHORTEST_SECRET}
    known |= {json.dumps(value, ensure_ascii=False)[1:-1] for value in known}
    return sorted(known, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without any secret known to this process or shaped like a token."""
    for secret in _known_secrets():
        text = text.replace(secret, REDACTED)
    for start, token in _TOKENS.items():
        if start in text:
            text = token.sub(REDACTED, text)
    return _URL_USER.sub(f"{_URL}{REDACTED}", text) if _URL in text else text


def redact_values(value: Any, names: Collection[str] = ()) -> Any:
    """The same structure, secrets taken out of its texts.

    Keys and numbers stay, and so do the texts that are one of `names`: an identifier that a secret
    happens to be part of is none.
    """
    if isinstance(value, str):
        return value if value in names else redact(value)
    if isinstance(value, Mapping):
        return {key: redact_values(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact_values(part, names) for part in value)
    return value


class _RedactedStream:
    """A text stream that writes without secrets, and is the other one in all else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def redacted_output() -> Iterator[None]:
    """What is printed within it, and logged by handlers made within it, has no secrets."""
    out, err = (cast(TextIO, _RedactedStream(stream)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield
