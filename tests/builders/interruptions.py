"""A training that ends in its middle, for tests of what goes on from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.training import loop, monitoring


def kill_at_step(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt training when the history of this step would be written; until then checkpoints are
    written however short it is."""
    monkeypatch.setattr(loop, "_WORTH_SAVING", 0.0)
    original = monitoring.append_line

    def interrupt(path: Path, line: str) -> None:
        if json.loads(line)["step"] == step:
            raise KeyboardInterrupt
        original(path, line)

    monkeypatch.setattr(monitoring, "append_line", interrupt)
