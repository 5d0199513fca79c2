"""Several servers that share requests: each takes the next one as soon as it has room; those of a
server that fails go to the others."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ft_harness.errors import FtHarnessError, ResourceError
from ft_harness.evaluation.backends.server.client import Client, NoAnswerError

logger = logging.getLogger(__name__)

COMPLETIONS = "/v1/completions"
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds after a fault; doubled with each in a row
MOST_FAILURES = 6  # of one request that servers take and fail on, before it is given up
Body = dict[str, Any]


@dataclass
class _Server:
    """The state of one server.

    Attributes:
        flying: requests that it has.
        failures: in a row.
        since: when they began.
        ready: when it may get the next request.
    """

    client: Client
    flying: int = 0
    failures: int = 0
    since: float = 0.0
    ready: float = 0.0

    def fail(self, now: float) -> None:
        self.since = self.since if self.failures else now
        self.failures += 1
        self.ready = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.failures - 1))


class Pool:
    """Servers that compute the same.

    Attributes:
        clients: one per server.
    """

    def __init__(self, clients: Sequence[Client], concurrency: int, timeout: float) -> None:
        """`concurrency`: requests in flight to each server at most. `timeout`: seconds that one may
        fail without a success between; then it is left out."""
        self.clients = clients
        self.concurrency = concurrency
        self.timeout = timeout
        self._servers = [_Server(client) for client in clients]

    def alone(self, client: Client, concurrency: int) -> Pool:
        """One of the servers as a pool of its own."""
        return Pool([client], concurrency, self.timeout)

    def ask(self, bodies: Sequence[Body]) -> Iterator[dict[int, Any]]:
        """The answers by the numbers of their requests, some at a time as they come.

        Raises:
            ResourceError: no server is left, or they fail on one request again and again.
            InputError, ConfigError: a server refuses.
        """
        waiting = deque(range(len(bodies)))
        failures = Counter[int]()
        flying: dict[Future[Any], tuple[int, _Server]] = {}
        threads = ThreadPoolExecutor(self.concurrency * len(self._servers))
        try:
            while waiting or flying:
                while waiting and (server := self._free()):
                    number = waiting.popleft()
                    server.flying += 1
                    sent = threads.submit(server.client.post, COMPLETIONS, bodies[number])
                    flying[sent] = number, server
                done = wait(flying, self._pause(), FIRST_COMPLETED).done if flying else set()
                if not flying:  # each server fails
                    time.sleep(self._pause())
                found: dict[int, Any] = {}
                refusals: list[FtHarnessError] = []
                for each in done:
                    number, server = flying.pop(each)
                    server.flying -= 1
                    try:
                        found[number] = each.result()
                        # Only failures in a row leave a server out: under load some are dropped.
                        server.failures = 0
                    except NoAnswerError as error:
                        # To the end: a request that breaks servers must not hold up the others.
                        waiting.append(number)
                        failures[number] += error.by_request
                        refusals += self._note(server, error, failures[number])
                    except FtHarnessError as error:
                        refusals.append(error)
                if found:
                    yield found
                if refusals:
                    raise refusals[0]
        finally:
            for _, left in flying.values():  # behind by an error
                left.flying = 0
            # Not waited for: what is in flight may take as long as `timeout`.
            threads.shutdown(wait=False, cancel_futures=True)

    def _free(self) -> _Server | None:
        """The server with the most room; None: none has any. One that fails is tried with a single
        request."""
        now = time.monotonic()
        # A server that comes back after a fault would fail again under all requests at once.
        free = [
            server
            for server in self._servers
            if server.flying < (1 if server.failures else self.concurrency) and server.ready <= now
        ]
        return min(free, key=lambda server: server.flying, default=None)

    def _pause(self) -> float:
        """Seconds until a server that fails is tried again."""
        now = time.monotonic()
        later = (server.ready - now for server in self._servers if server.ready > now)
        return min(later, default=LONGEST_PAUSE)

    def _note(self, server: _Server, error: NoAnswerError, failures: int) -> list[FtHarnessError]:
        """What a fault means: a pause for its server, or that it is left out; the error that ends
        all, if it does.

        Args:
            failures: of this request, that servers took and failed on.
        """
        server.fail(time.monotonic())
        address = server.client.address
        if failures >= MOST_FAILURES:
            return [_lost(f"{address}: one request failed {failures} times: {error}")]
        if time.monotonic() - server.since < self.timeout or server not in self._servers:
            return []
        logger.warning("%s: left out after failing for %g s: %s", address, self.timeout, error)
        self._servers.remove(server)
        return [] if self._servers else [_lost(f"{address}: {error}")]


def _lost(what: str) -> ResourceError:
    return ResourceError(
        what,
        "a server that answers; what it answered so far is kept",
        "look at the server's log, start it again, and run the same command again",
    )
