"""The random generators of Python, numpy and PyTorch, of every device: as they are, to be given back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class RandomState:
    """All generators as they are now."""

    def __init__(self) -> None:
        import torch

        self._python, self._numpy, self._torch = (
            random.getstate(),
            np.random.get_state(),
            torch.get_rng_state(),
        )
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore(self) -> None:
        import torch

        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)


@contextmanager
def draws_undone() -> Iterator[None]:
    """Whatever is drawn inside, the generators are as before afterwards."""
    before = RandomState()
    try:
        yield
    finally:
        before.restore()
