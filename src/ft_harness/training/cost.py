"""What a training cost, for its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ft_harness.adapters import WEIGHTS_FILE
from ft_harness.provenance import hardware, peak_gpu_bytes, peak_rss_bytes
from ft_harness.records import TrainingCost
from ft_harness.training.checkpoints import step_of


def measure_cost(trainer: Any, folder: Path, seconds: float, checkpoint: Path | None) -> TrainingCost:
    """The cost of a training that has just ended."""
    return TrainingCost(
        seconds=seconds,
        tokens=trainer.read_tokens,
        tokens_per_second=trainer.read_tokens / seconds,
        resumed_from_step=step_of(checkpoint) if checkpoint else None,
        peak_rss_bytes=peak_rss_bytes(),
        peak_gpu_bytes=peak_gpu_bytes(),
        adapter_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        hardware=hardware(),
    )
