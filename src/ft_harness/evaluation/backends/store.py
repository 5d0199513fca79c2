"""Responses on disk, so that no request is computed twice: append-only JSONL, one file for each
model state.

A line is `{"check": ..., "key": ..., "response": ...}`. The key is the hash of everything that
makes the response; a response is a list of JSON values, or null for a request that memory was not
enough for. Later lines win.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ft_harness.storage import append_lines, canonical_json, redact_values, sha256_text

logger = logging.getLogger(__name__)

STORE_VERSION = "responses-2"  # raise it when a request or a response is written otherwise
_KEY_LENGTH, _CHECK_LENGTH = 32, 8  # hexadecimal digits
Response = list[Any]


def _line(key: str, response: Response | None) -> str:
    """A line of the store. The checksum is of the text without secrets, as it is written."""
    # Without secrets first, then the check: what is read back is what was written.
    body = canonical_json(redact_values({"key": key, "response": response}))
    return f'{{"check":"{sha256_text(body)[:_CHECK_LENGTH]}",{body[1:]}'


def _parse(line: bytes) -> tuple[str, Response | None]:
    """(key, response) of a line.

    Raises:
        ValueError: it is damaged.
    """
    entry = json.loads(line)
    if not isinstance(entry, dict) or entry.keys() != {"check", "key", "response"}:
        raise ValueError("not a response")
    body = canonical_json({"key": entry["key"], "response": entry["response"]})
    if sha256_text(body)[:_CHECK_LENGTH] != entry["check"]:
        raise ValueError("the check differs")
    return entry["key"], entry["response"]


class ResponseStore:
    """The responses of one model state.

    Several processes may share a file: each sees what was there when it began, and what it adds
    itself.
    """

    def __init__(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Read what is there; damaged lines are left out with a warning, an unfinished last one
        without.

        Args:
            state: everything that makes a response besides the request, as JSON.
        """
        self.state = sha256_text(f"{STORE_VERSION}:{canonical_json(state)}")
        self.path = folder / f"responses-{self.state[:16]}.jsonl"
        self._known: dict[str, Response | None] = dict(self._read())

    def _read(self) -> Iterator[tuple[str, Response | None]]:
        damaged: list[int] = []
        try:
            # Bytes, as a killed process can leave half of a character.
            # what follows the last newline is unfinished
            lines = self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, start=1):
            try:
                yield _parse(line)
            except ValueError:
                damaged.append(number)
        if damaged:
            logger.warning(
                "%s: %d damaged lines are left out (first: line %d), their requests computed again",
                self.path, len(damaged), damaged[0],
            )  # fmt: skip

    def key(self, request: str) -> str:
        """The key of a request, given as a text that says all of it."""
        return sha256_text(f"{self.state}|{request}")[:_KEY_LENGTH]

    def __contains__(self, key: str) -> bool:
        """Whether a key has a line, a failure's included."""
        return key in self._known

    def __getitem__(self, key: str) -> Response | None:
        """The response; None: memory was not enough for it."""
        return self._known[key]

    def add(self, responses: Mapping[str, Response | None]) -> None:
        """Append responses, on disk when this returns.

        Raises:
            ValueError: one holds NaN or infinity; nothing is added.
            ResourceError, StorageLostError: the file can't be written.
        """
        # On disk before it is used: what was reported as done survives a kill.
        append_lines(self.path, [_line(key, response) for key, response in responses.items()])
        self._known |= responses


class Ledger:
    """The requests of one call, by number: what the store holds of them, and where new responses
    go.

    Without a store nothing is held and nothing is kept.
    """

    def __init__(self, store: ResponseStore | None, requests: Iterable[str] = ()) -> None:
        """`requests`: texts that say all of each request; the same one again is another request
        (the second of its kind), so that each keeps the response that its own batch or seed
        gave."""
        self._store = store
        self._keys: list[str] = []
        if store is not None:
            asked: Counter[str] = Counter()
            for request in requests:
                # The second of two equal requests may have been in another batch, and a sampled one
                # has another seed.
                asked[request] += 1
                self._keys.append(store.key(f"{asked[request]}|{request}"))

    def stored(self, numbers: Iterable[int]) -> dict[int, Response]:
        """The responses that the store holds."""
        if self._store is None:
            return {}
        held = ((n, self._store[self._keys[n]]) for n in numbers if self._keys[n] in self._store)
        return {number: response for number, response in held if response is not None}

    def failed_before(self, numbers: Iterable[int]) -> bool:
        """Whether memory was not enough for one of these."""
        store = self._store
        return store is not None and any(
            self._keys[n] in store and store[self._keys[n]] is None for n in numbers
        )

    def holds_all(self) -> bool:
        """Whether no request needs the model."""
        return self._store is not None and len(self.stored(range(len(self._keys)))) == len(
            self._keys
        )

    def keep(self, found: Mapping[int, Sequence[Any] | None]) -> None:
        """Store the responses of a batch, None for those that memory was not enough for."""
        if self._store is not None:
            self._store.add(
                {self._keys[n]: None if one is None else list(one) for n, one in found.items()}
            )
