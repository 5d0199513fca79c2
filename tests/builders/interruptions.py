"""A training that ends in its middle, for tests of what goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ft_harness.training import loop, monitoring, run


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


def around_losses(patched: pytest.MonkeyPatch, act: Callable[[Any, Any, Any], Any]) -> None:
    """Let `act(model, inputs, loss)` make the loss of each batch of training, not of evaluations."""
    original = run.make_objective

    def make(base, *given):
        objective = original(base, *given)

        def sums(model, inputs, labels):
            loss = objective.sums(model, inputs, labels)
            return act(model, inputs, loss) if model.training else loss

        return objective._replace(sums=sums)

    patched.setattr(run, "make_objective", make)
