"""What a training cost, for its card: time, tokens, memory, and how much of the machine's speed was
used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft.utils import ModulesToSaveWrapper
from pydantic import BaseModel, ConfigDict
from transformers.pytorch_utils import Conv1D

from ft_harness import processes
from ft_harness.models.adapters import weights_file
from ft_harness.models.memory import peak_gpu_bytes, peak_rss_bytes, reserved_gpu_bytes
from ft_harness.records import TrainingCost
from ft_harness.records.provenance import hardware
from ft_harness.training.plan import TrainingSet

_SIDES = {"cpu": 1024, "cuda": 4096}  # of the square matrices whose product is timed
_TIMED_SECONDS = 0.2


class Spent(BaseModel):
    """The cost of a training so far, over all its stretches.

    Attributes:
        evaluation_seconds: of the seconds, on validation and on the reference of pairs.
        tokens: read by all processes.
        process_seconds: seconds of learning, those of each process added up.
    """

    model_config = ConfigDict(extra="forbid")
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    tokens: int = 0
    process_seconds: float = 0.0


@cache
def matmul_rate(device: str, dtype: str) -> float:
    """For the cost: the machine's speed, as floating-point operations per second in products of
    square matrices: 2 n^3 over the shortest time within 0.2 s."""
    side = _SIDES[device]
    left = torch.ones(side, side, device=device, dtype=getattr(torch, dtype))
    best, started = float("inf"), time.perf_counter()
    torch.mm(left, left)
    while time.perf_counter() - started < _TIMED_SECONDS or best == float("inf"):
        before = time.perf_counter()
        torch.mm(left, left)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - before)
    return 2 * side**3 / best


def useful_flops(model: Any, tokens: float, targets: float) -> float:
    """For the cost: floating-point operations of learning from this many tokens; `targets` of them
    go through the output head.

    A product with a weight matrix takes 2 operations per weight forward and 2 backward, for the
    gradient of its input; 2 more where the weight itself is trained. Padding, attention's own
    products, norms and what is computed twice don't count.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head, total = base.get_output_embeddings(), 0.0
    # Only targets go through the output head, which of a small model is most of its weights.
    of_head = set(head.modules()) if head is not None else set()
    wrappers = [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]
    # a copy is trained
    idle = {inner for wrapper in wrappers for inner in wrapper.original_module.modules()}
    for module in set(model.modules()) - idle:
        if isinstance(module, (torch.nn.Linear, Conv1D)):
            size = (
                module.nf * module.nx
                if isinstance(module, Conv1D)
                else module.in_features * module.out_features
            )
            total += (
                (6 if module.weight.requires_grad else 4)
                * size
                * (targets if module in of_head else tokens)
            )
    return total


class Meter:
    """Counts time and tokens of a training, over all its stretches: each checkpoint keeps what they
    cost so far.

    Attributes:
        tokens: read by all processes in this stretch.
    """

    def __init__(self, earlier: Spent) -> None:
        self.tokens = 0
        self._earlier = earlier
        self._evaluated = 0.0
        # A clock that the system does not set back.
        self._started = time.monotonic()
        self._ended: float | None = None

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context for time that is not spent learning."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._evaluated += time.monotonic() - started

    def stop(self) -> None:
        """The last step is done."""
        self._ended = time.monotonic()

    def spent(self) -> Spent:
        """The cost of all stretches so far."""
        seconds = (self._ended or time.monotonic()) - self._started
        before = self._earlier
        return Spent(
            seconds=before.seconds + seconds,
            evaluation_seconds=before.evaluation_seconds + self._evaluated,
            tokens=before.tokens + self.tokens,
            process_seconds=before.process_seconds
            + (seconds - self._evaluated) * processes.count(),
        )


def largest_peaks() -> dict[str, int | None]:
    """Peaks of memory up to now, each of the process that has the largest, by the cost's fields."""
    own = {
        "peak_rss_bytes": peak_rss_bytes(),
        "peak_gpu_bytes": peak_gpu_bytes(),
        "reserved_gpu_bytes": reserved_gpu_bytes(),
    }
    found = processes.from_all(own)
    known = {name: [peak for peaks in found if (peak := peaks[name]) is not None] for name in own}
    return {name: max(peaks, default=None) for name, peaks in known.items()}


def measure_cost(
    spent: Spent, model: Any, data: TrainingSet, folder: Path, known: Mapping[str, Any]
) -> TrainingCost:
    """The cost of a training that has just ended, and whose weights are in the folder.

    Args:
        known: further fields of the cost, the peaks of memory among them.
    """
    learning = spent.seconds - spent.evaluation_seconds
    # Targets were not counted while training: by the share of the tokens that was read, which is
    # exact for whole epochs.
    read_once = sum(len(row.input_ids) for row in data.examples)
    targets = data.trained_tokens * spent.tokens / read_once
    device, dtype = model.device.type, str(model.dtype).removeprefix("torch.")
    # What was computed twice (checkpointing, parts of a step) is not useful, and not counted.
    operations = useful_flops(model, spent.tokens, targets)
    return TrainingCost(
        seconds=spent.seconds,
        evaluation_seconds=spent.evaluation_seconds,
        tokens=spent.tokens,
        tokens_per_second=spent.tokens / learning,
        matmul_share=operations / spent.process_seconds / matmul_rate(device, dtype),
        processes=processes.count(),
        adapter_bytes=weights_file(folder).stat().st_size,
        hardware=hardware(),
        **known,
    )
