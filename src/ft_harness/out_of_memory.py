"""Memory that ran out: how it is recognised, and a try that may fail for it; for scoring and training alike."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

from ft_harness import processes

# As PyTorch (CUDA, HIP, XPU and MPS), cuBLAS, cuDNN, its CPU allocator and Gaudi say it. cuDNN calls what it finds no
# workspace for "not supported", as accelerate knows too.
_FORMS = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn error: cudnn_status_not_supported",
    "defaultcpuallocator",
    "pt_devmem allocation failed",
)
T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left.

    Source: the messages of PyTorch and those in accelerate's `should_reduce_batch_size`, which misses some.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(form in str(error).lower() for form in _FORMS)


def free_memory() -> None:
    """Give back what a failed try has left behind."""
    import torch

    gc.collect(1)  # cycles of the failed try are young; the whole heap takes half a second
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def attempt(compute: Callable[[], T]) -> T | None:
    """What `compute` gives; None if memory ran out, of which as much as possible is free again.

    Where processes hold parts of one model the error is raised: they compute together, and none can try again alone.
    """
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error) or processes.in_parts():
            raise
    free_memory()  # not above: until the except block is left, the traceback holds the tensors
    return None
