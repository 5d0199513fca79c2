"""Processes that share the machine's cores, or a training or an evaluation that accelerate launch
or torchrun started in several, each with the whole model or with a part of it."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from ft_harness.errors import ConfigError

T = TypeVar("T")
THREADS = "OMP_NUM_THREADS"  # with which a process computes
ASKS_FOR_PARTS = "ACCELERATE_USE_FSDP"  # what accelerate's launcher sets
# one process may be done hours before another; the launcher notices a dead one
_LONG = timedelta(weeks=52)
_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def share_cores() -> None:
    """Limit the spinning of OpenMP threads, for the sake of other programs; call before torch is
    loaded.

    A thread that waits for another one spins. Where other programs want the cores, it spins while
    the one it waits for is off its core, which makes a training five times slower and more; a spin
    of a few microseconds costs an idle machine nearly nothing (`benchmarks/busy.py`). What the user
    has set remains, and child processes inherit what is set here.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # GNU's runtime, which torch's wheels bring
        os.environ.setdefault("KMP_BLOCKTIME", "1")  # Intel's and LLVM's, in milliseconds
    quota = _core_quota()
    # OpenMP counts the cores this process may use, but not the quota of its control group
    if quota is not None and quota < len(os.sched_getaffinity(0)):
        os.environ.setdefault(THREADS, str(max(1, ceil(quota))))


def core_count() -> int:
    """How many cores this process computes with: OMP_NUM_THREADS, which `share_cores` sets too;
    else all that it may use."""
    asked = os.environ.get(THREADS, "")
    return int(asked) if asked.isdecimal() and int(asked) else len(os.sched_getaffinity(0))


def _core_quota() -> float | None:
    """The smallest number of cores that the control groups of this process grant it; None: no
    limit."""
    found = []
    for folder, version in control_groups("cpu"):
        names = ["cpu.max"] if version > 1 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        files = [folder / name for name in names]
        if all(file.is_file() for file in files):
            quota, period = " ".join(file.read_text() for file in files).split()
            if quota not in ("max", "-1"):
                found.append(int(quota) / int(period))
    return min(found, default=None)


def control_groups(controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the control groups that this process is in, its own and those above, each with the
    version (1 or 2); none where the system is not Linux.

    Args:
        controller: what the groups of version 1 limit, as "cpu" or "memory".
    """
    if not _MEMBERSHIP.is_file():
        return
    for line in _MEMBERSHIP.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = _CGROUPS / controller if controllers else _CGROUPS
        # in a container the group's own folder may be mounted as the root
        folder = top / group.lstrip("/")
        for each in (folder, *folder.parents):
            if not each.is_relative_to(top):
                break
            yield each, 1 if controllers else 2


def rank() -> int:
    """The number of this process among several, from 0; the first one writes and prints."""
    return _number("RANK", "0")


def count() -> int:
    """How many processes a launcher started."""
    return _number("WORLD_SIZE", "1")


def _number(name: str, alone: str) -> int:
    """What the launcher says; `alone` without one.

    Raises:
        ConfigError: no number.
    """
    found = os.environ.get(name, alone)
    if not found.isdecimal():
        raise ConfigError(
            f"the environment variable {name} is {found!r}", "a whole number", f"unset {name}"
        )
    return int(found)


def refuse_several(what: str, instead: str) -> None:
    """Refuse what one process must do alone.

    Args:
        instead: the commands that several can share.

    Raises:
        ConfigError: there are several.
    """
    if count() > 1:
        raise ConfigError(
            f"{what} was started in {count()} processes", "one process", f"run {instead} in several"
        )


def in_parts() -> bool:
    """Whether the launcher wants each process to hold a part of the model (sharding)."""
    return os.environ.get(ASKS_FOR_PARTS, "false").lower() == "true"


@contextmanager
def kept_from_libraries() -> Iterator[None]:
    """Context in which transformers and accelerate don't see what accelerate's launcher asks for:
    sharding, number formats, compiling. The recipe decides all that, so that the adapter is the
    same with any launcher."""
    asked = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ACCELERATE_")
    }
    try:
        yield
    finally:
        os.environ.update(asked)


def refuse_parts(what: str) -> None:
    """Where each process would hold a part of the model: refuse what needs the whole model in each.

    Raises:
        ConfigError: the launcher asks for a model in parts.
    """
    if in_parts():
        raise ConfigError(
            f"{what} was started to shard one model ({ASKS_FOR_PARTS})",
            "a whole model in each process",
            "start it with torchrun, or accelerate launch --multi_gpu",
        )


def is_part(tensor: Any) -> bool:
    """Whether of a parameter this process holds a part only (PyTorch's DTensor)."""
    return hasattr(tensor, "to_local")


def begin() -> None:
    """Set up several processes: each takes its own GPU, if there are some, and connects with the
    others."""
    import torch

    if count() > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    connect()


def connect() -> None:
    """Connect the processes with each other; a single one has nothing to connect.

    Before accelerate does it, which waits for half an hour only and leaves the connection open at
    the end.

    Raises:
        ConfigError: the launcher left out how they find each other.
    """
    import torch

    if count() > 1 and not torch.distributed.is_initialized():
        missing = [
            name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ
        ]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE is {count()}, but the environment lacks {', '.join(missing)}",
                "what torchrun or accelerate launch set; or one process",
                "start with one of them, or unset WORLD_SIZE",
            )
        torch.distributed.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo", timeout=_LONG
        )
        atexit.register(torch.distributed.destroy_process_group)


def from_first(value: T) -> T:
    """The first process's value, in all processes; they wait for it."""
    if count() == 1:
        return value
    from torch import distributed

    connect()
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def from_all(value: T) -> list[T]:
    """Every process's value, by rank, in all processes."""
    if count() == 1:
        return [value]
    from torch import distributed

    connect()
    values = [value] * count()
    distributed.all_gather_object(values, value)
    return values


def add_up(tensors: Sequence[Any]) -> None:
    """Replace tensors of one device by their sums over the processes, in one exchange for each
    dtype."""
    if count() == 1 or not tensors:
        return
    import torch

    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat: Any = torch.cat([tensor.reshape(-1) for tensor in alike])
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(
            alike, flat.split([tensor.numel() for tensor in alike]), strict=True
        ):
            tensor.copy_(part.view_as(tensor))
