"""Back-ends whose docs several processes share."""

from __future__ import annotations

from typing import Any

import torch
from lm_eval.api.model import LM
from torch import distributed

from ft_harness import processes


class DistributedLM(LM):  # type: ignore[misc]
    """A model that is loaded before lm-eval sees it: lm-eval splits the docs over the processes of
    the launcher after `join`, and scores all of them in each process without it."""

    # A class attribute, as lm-eval's constructor asks for rank and size before ours has run.
    _joined = False

    def join(self) -> None:
        """Share the docs with the other processes from now on."""
        processes.connect()
        self._joined = processes.count() > 1

    @property
    def rank(self) -> int:
        return processes.rank() if self._joined else int(super().rank)

    @property
    def world_size(self) -> int:
        return processes.count() if self._joined else int(super().world_size)

    def all_gather(self, tensor: Any) -> Any:
        """The tensors of all processes by rank, one after the other."""
        if not self._joined:
            return super().all_gather(tensor)
        # lm-eval gathers through accelerate, which it sets up only for models that it loads itself.
        gathered = [torch.zeros_like(tensor) for _ in range(self.world_size)]
        distributed.all_gather(gathered, tensor)
        return torch.cat([part.reshape(-1) for part in gathered])

    def gather_object(self, obj: Any, dst: int = 0) -> list[Any] | None:
        """The objects of all processes by rank, in the process `dst`; None in the others."""
        if not self._joined:
            own: list[Any] | None = super().gather_object(obj, dst)
            return own
        gathered: list[Any] | None = [None] * self.world_size if self.rank == dst else None
        distributed.gather_object(obj, gathered, dst=dst)
        return gathered

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self._joined:
            distributed.barrier()
        else:
            super().barrier()
