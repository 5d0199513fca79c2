"""Used and free memory, of the machine and of its GPUs; recognising that memory ran out, and trying
again. For scoring and training alike."""

from __future__ import annotations

import gc
import os
import platform
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from ft_harness import processes

# As PyTorch (CUDA, HIP, XPU and MPS), cuBLAS, cuDNN, its CPU allocator and Gaudi say it. cuDNN
# calls what it finds no workspace for "not supported", as accelerate knows too.
_FORMS = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn error: cudnn_status_not_supported",
    "defaultcpuallocator",
    "pt_devmem allocation failed",
)
R = TypeVar("R")
T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left.

    Source: the messages of PyTorch and those in accelerate's `should_reduce_batch_size`, which
        misses some.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(form in str(error).lower() for form in _FORMS)


def free_memory() -> None:
    """Give back the memory that a failed try has left behind."""
    gc.collect(1)  # cycles of the failed try are young; the whole heap takes half a second
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def attempt(compute: Callable[[], T]) -> T | None:
    """Try `compute`: what it returns; None if memory ran out, after freeing as much as possible.

    Where processes hold parts of one model the error is raised: they compute together, and none can
    try again alone.
    """
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error) or processes.in_parts():
            raise
    free_memory()  # not above: until the except block is left, the traceback holds the tensors
    return None


def in_halves(compute: Callable[[Sequence[R]], T], rows: Sequence[R]) -> list[T]:
    """Try `compute` on all rows, and on halves, quarters, ... where memory is not enough: what it
    gives of the rows, in their order."""
    found = compute(rows) if len(rows) <= 1 else attempt(lambda: compute(rows))
    if found is not None:
        return [found]
    half = len(rows) // 2
    return [*in_halves(compute, rows[:half]), *in_halves(compute, rows[half:])]


# of a control group by its version: its limit, what it holds, and within that the pages of files,
# which the system takes back when memory is short
_GROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    2: ("memory.max", "memory.current", ""),
}


def reset_peaks() -> None:
    """Count peaks of used memory from now on; of resident memory only where the system can
    (Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        # a switch of the kernel, not a file that `storage` would write
        switch = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(switch, b"5")
        finally:
            os.close(switch)


def peak_rss_bytes() -> int:
    """Peak resident memory of this process since `reset_peaks`, or its start, as the operating
    system counts it."""
    # of this program alone; `getrusage` counts the program that started it too
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="utf-8").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def free_memory_bytes(device: str) -> int:
    """Memory that this process could still take on a device ("cpu" or "cuda"): on a GPU what
    is free, or kept by PyTorch for later; else what the machine, or the limit set for a container
    or a job, has left."""
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
    available = int(psutil.virtual_memory().available)
    return min([available, *_group_rooms()])


def _group_rooms() -> Iterator[int]:
    """Bytes that each limited control group of this process (a container, a job) has left."""
    for folder, version in processes.control_groups("memory"):
        limit, used, total = _GROUP_FILES[version]
        # no such file: a group that limits nothing; no number: "max"
        with suppress(OSError, ValueError):
            room = int((folder / limit).read_text()) - int((folder / used).read_text())
            stated = dict(
                line.split() for line in (folder / "memory.stat").read_text().splitlines()
            )
            files = (stated.get(f"{total}{kind}_file", 0) for kind in ("active", "inactive"))
            yield room + sum(map(int, files))


def find_gpus() -> list[str]:
    """The GPUs whose memory this process may use, as CUDA_VISIBLE_DEVICES names them."""
    found = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(found)))
    return named.split(",")[:found]


def peak_gpu_bytes() -> int | None:
    """Peak GPU memory allocated by this process since the last reset; None without a GPU."""
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None


def reserved_gpu_bytes() -> int | None:
    """Peak GPU memory that PyTorch kept for this process, handed out or not; None without a GPU."""
    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None
