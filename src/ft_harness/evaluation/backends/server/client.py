"""One server with an OpenAI-style API: a request and its answer, or the reason why there is
none."""

from __future__ import annotations

import logging
import weakref
from typing import Any

import httpx

from ft_harness.errors import ConfigError, InputError, first_line
from ft_harness.storage import redact

logging.getLogger("httpx").setLevel(logging.WARNING)  # it reports each request
_LATER = {408, 425, 429, 502, 503, 504}  # the server is busy, or starting
_SHOWN = 300  # characters of what a server says


class NoAnswerError(Exception):
    """A server gave no answer now; the same request may have one later, or from another server.

    Attributes:
        by_request: the server took the request and failed, which the request itself may cause.
    """

    def __init__(self, reason: str, *, by_request: bool = False) -> None:
        super().__init__(reason)
        self.by_request = by_request


class Client:
    """One server's address with its connections, which threads may share."""

    def __init__(self, address: str, key: str | None, timeout: float, connections: int) -> None:
        """`timeout`: seconds for each answer. `connections`: at once at most."""
        self.address = address
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections),
        )
        weakref.finalize(self, self._http.close)

    def get(self, path: str) -> Any:
        """The JSON at a path.

        Raises:
            NoAnswerError: there is none now.
            InputError, ConfigError: it refuses.
        """
        return self._send("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """The JSON that answers a JSON body; a text where the answer is none.

        Raises:
            NoAnswerError: there is none now.
            InputError, ConfigError: it refuses.
        """
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: Any) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:  # refused, dropped, cut short or too slow
            raise NoAnswerError(f"{type(error).__name__}: {first_line(error)}") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ConfigError(
                f"{self.address}: {first_line(error)}", "http://HOST:PORT", "correct the address"
            ) from error
        if answer.is_success:
            return self._parse(answer)
        # A server may repeat the key that it refuses.
        said = redact(answer.text)[:_SHOWN].strip() or answer.reason_phrase
        if answer.is_server_error or answer.status_code in _LATER:
            # Of 408, 425 and 429 the request has no fault; a 5xx may be the fault of what it holds.
            by_request = answer.status_code not in _LATER
            raise NoAnswerError(f"status {answer.status_code}: {said}", by_request=by_request)
        if answer.status_code in (401, 403):
            raise ConfigError(
                f"{self.address}: status {answer.status_code}: {said}",
                "a key that the server takes",
                "set eval.server.api_key_env to the variable that holds it",
            )
        raise InputError(
            f"{self.address}{path}: status {answer.status_code}: {said}",
            "a completions API with the model that is asked for",
            "check eval.server, and how the server was started: docs/server.md",
        )

    def _parse(self, answer: httpx.Response) -> Any:
        if "json" not in answer.headers.get("content-type", ""):
            return answer.text
        try:
            return answer.json()
        except ValueError as error:
            raise NoAnswerError(f"an answer that is no JSON: {first_line(error)}") from error
