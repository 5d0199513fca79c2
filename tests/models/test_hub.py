"""A hub that takes connections and never answers is waited for, for a bounded time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import constants, get_session, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from ft_harness.models import hub
from tests.builders.command import assert_three_lines


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client of its own, which waits a moment."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(constants, name, 0.1)
    hub._bound_waiting()
    yield
    hub._bound_waiting()


@pytest.mark.usefixtures("impatient")
def test_a_request_without_a_limit_gets_one_and_the_fourth_is_not_sent(silent: str):
    for _ in range(3):
        with pytest.raises(Exception, match="timed out") as found:
            get_session().get(silent, timeout=None)
        assert "Timeout" in type(found.value).__name__
    with pytest.raises(OfflineModeIsEnabled, match="has not answered 3 requests"):
        get_session().get("http://127.0.0.1:1")


@pytest.mark.usefixtures("impatient")
def test_requests_at_once_wait_for_their_own_answers():
    """Many files of one model are asked for in threads."""
    ready = threading.Barrier(8)
    client = get_session()
    send = hub._Patience(lambda request, **_: ready.wait(timeout=30))
    request = client.build_request("GET", "http://127.0.0.1:1")
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(send, [request] * 8))) == 8


@pytest.mark.usefixtures("impatient")
def test_what_the_cache_lacks_is_said_to_be_missing(silent: str, tmp_path: Path):
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("org/model", "config.json", endpoint=silent, cache_dir=tmp_path)


@pytest.mark.slow  # commands in processes of their own
@pytest.mark.parametrize(
    ("command", "setting"),
    [
        ("check", "model.pretrained=org/model"),
        ("run", "model.pretrained=org/model"),
        ("check", "data.source=org/data"),
        ("eval", "data.source=org/data"),
    ],
)
def test_commands_end_in_three_lines(command: str, setting: str, silent: str, tmp_path: Path):
    """Case K9."""
    (tmp_path / "recipe.yaml").write_text("task: {name: demo_sentiment}\n")
    environment = {
        **os.environ, "HF_ENDPOINT": silent, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ft_harness", command, "recipe.yaml", "--set", setting],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert_three_lines(done.stderr, setting.partition("=")[2])
