"""Sweeps whose points die in the middle of a training."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

SIZES = "sweep: {vary: {data.train_size: [16, 32], train.seed: [0, 1]}, reference: {data.train_size: 32}}"
STEPS = "max_steps: 120, num_train_epochs: 100, save_steps: 20"
FIRST, SECOND = (f"mine-train_size_{size}-seed_0" for size in (32, 16))


def rows(folder: Path) -> bytes:
    return (folder / "results" / "reports" / "mine" / "rows.json").read_bytes()


def in_folder(folder: Path) -> list[psutil.Process]:
    """The processes that hold the lock of an adapter's folder."""
    lock = folder / ".lock"
    words = lock.read_text().split() if lock.is_file() else []
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(int(words[0]))] if words else []
    return []


def kill_in_training(
    folder: Path, kill: Callable[[psutil.Process], object], *, goes_on: bool = True
) -> threading.Thread:
    """Calls `kill(process)` once, when an adapter's first checkpoint is there.

    The process is stopped meanwhile, as a short training may end before it is killed, and goes on
    after that, if it can. Processes that import everything may need minutes before they train.
    """

    def wait() -> None:
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline and not (folder / "card.json").is_file():
            if list(folder.glob("checkpoints/checkpoint-*")) and (found := in_folder(folder)):
                with suppress(psutil.NoSuchProcess):
                    found[0].suspend()
                    kill(found[0])
                    if goes_on:
                        found[0].resume()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def resumed(folder: Path) -> int | None:
    return json.loads((folder / "card.json").read_text())["cost"]["resumed_from_step"]


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
