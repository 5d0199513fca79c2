"""Requests that several servers share."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from ft_harness.errors import ConfigError, InputError, ResourceError
from ft_harness.evaluation.backends.server import pool as pools
from ft_harness.evaluation.backends.server.client import Client
from ft_harness.evaluation.backends.server.pool import MOST_FAILURES, Pool


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(pools, "LONGEST_PAUSE", 0.01)


class Fake:
    """A server that is a function of the request: (status, JSON), or an error."""

    def __init__(self, reply, address: str = "http://here") -> None:
        self.asked: list[dict] = []
        self.together = self.most = 0
        self.client = Client(address, None, 5, 8)
        self.client._http = httpx.Client(base_url=address, transport=httpx.MockTransport(self.hear))
        self.reply = reply

    def hear(self, request: httpx.Request) -> httpx.Response:
        import json

        body = json.loads(request.content)
        self.asked.append(body)
        self.together += 1
        self.most = max(self.most, self.together)
        try:
            time.sleep(0.002)
            found = self.reply(body)
        finally:
            self.together -= 1
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found[0], json=found[1])


def echo(body: dict):
    return 200, body["n"]


def bodies(count: int) -> list[dict]:
    return [{"n": number} for number in range(count)]


def answers(pool: Pool, count: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for some in pool.ask(bodies(count)):
        assert not some.keys() & found.keys()
        found |= some
    return found


def test_every_request_is_answered_once_and_no_server_has_more_than_it_may():
    servers = [Fake(echo), Fake(echo)]
    pool = Pool([server.client for server in servers], 3, 1)
    assert answers(pool, 40) == {n: n for n in range(40)}
    assert sum(len(server.asked) for server in servers) == 40
    assert all(server.asked and server.most <= 3 for server in servers)


def test_requests_of_a_dead_server_go_to_the_others(caplog):
    dead = Fake(lambda body: httpx.ConnectError("refused"), "http://dead")
    live = Fake(echo)
    pool = Pool([dead.client, live.client], 2, 0.03)
    assert answers(pool, 60) == {n: n for n in range(60)}
    assert len(live.asked) == 60


def test_a_server_that_dies_on_the_way_is_left_out(caplog):
    dying = Fake(
        lambda body: echo(body) if len(dying.asked) < 5 else httpx.ReadError("gone"), "http://dying"
    )
    slow = Fake(echo)
    pool = Pool([dying.client, slow.client], 1, 0.005)
    assert answers(pool, 80) == {n: n for n in range(80)}
    assert caplog.text.count("http://dying: left out") == 1  # and never tried again


def test_where_no_server_is_left_the_run_ends_with_what_it_has():
    dying = Fake(lambda body: echo(body) if len(dying.asked) < 5 else httpx.ReadError("gone"))
    found: dict[int, int] = {}

    def collect() -> None:
        for some in Pool([dying.client], 1, 0.02).ask(bodies(20)):
            found.update(some)

    with pytest.raises(ResourceError, match="gone"):
        collect()
    assert len(found) == 4


def test_a_server_that_recovers_in_time_goes_on():
    hiccup = Fake(lambda body: httpx.ReadError("gone") if 5 < len(hiccup.asked) < 9 else echo(body))
    assert len(answers(Pool([hiccup.client], 2, 5), 20)) == 20


def test_a_server_that_fails_is_tried_with_one_request_at_a_time():
    """All at once would make it fail again."""
    together: list[int] = []

    def reply(body: dict):
        together.append(starting.together)
        return (503, "loading") if len(together) < 12 else echo(body)

    starting = Fake(reply)
    assert len(answers(Pool([starting.client], 4, 5), 8)) == 8
    assert set(together[4:12]) == {1}  # the first four were under way


def test_a_request_that_servers_fail_on_is_given_up():
    broken = Fake(lambda body: (500, "boom") if body["n"] == 3 else echo(body))
    with pytest.raises(ResourceError, match=f"failed {MOST_FAILURES} times.*boom"):
        answers(Pool([broken.client], 2, 60), 6)
    assert sum(body["n"] == 3 for body in broken.asked) == MOST_FAILURES


def test_a_busy_server_is_waited_for():
    busy = Fake(lambda body: (503, "loading") if len(busy.asked) < 12 else echo(body))
    assert len(answers(Pool([busy.client], 2, 5), 4)) == 4


@pytest.mark.parametrize(
    ("status", "error"), [(404, InputError), (400, InputError), (401, ConfigError)]
)
def test_a_refusal_ends_the_run_at_once(status, error):
    refusing = Fake(lambda body: (status, "no"))
    with pytest.raises(error, match=f"status {status}"):
        answers(Pool([refusing.client], 1, 60), 4)
    assert len(refusing.asked) == 1


def test_answers_that_came_before_a_refusal_are_handed_on():
    some = Fake(lambda body: (404, "no") if body["n"] == 3 else echo(body))
    found: dict[int, int] = {}

    def collect() -> None:
        for each in Pool([some.client], 1, 60).ask(bodies(6)):
            found.update(each)

    with pytest.raises(InputError):
        collect()
    assert found == {0: 0, 1: 1, 2: 2}


def test_half_an_answer_is_none(tmp_path: Path):
    half = Fake(
        lambda body: (
            httpx.RemoteProtocolError("peer closed") if len(half.asked) == 1 else echo(body)
        )
    )
    assert answers(Pool([half.client], 1, 5), 2) == {0: 0, 1: 1}
