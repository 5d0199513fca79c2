"""What made a number: commit, packages, hardware; and the redaction of secrets from everything that is written."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "ft-harness",
    "lm-eval",
    "torch",
    "transformers",
    "peft",
    "datasets",
    "bitsandbytes",
    "tokenizers",
    "numpy",
)
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
# A token begins a word, or follows a JSON escape like \n. A URL's user part ends where its host's path, its query or a
# JSON string does, so that nothing but the secret is taken out of a JSON text.
_SECRET_SHAPE = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt]))(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})"
    r"""|(?<=://)[^/?#\s:@"'<>\\]+(?::[^/?#\s"'<>\\]*)?(?=@)"""
)
_SHORTEST_SECRET = 8
_CONTROL_GROUP = Path("/sys/fs/cgroup")
REDACTED = "[redacted]"


def _known_secrets() -> list[str]:
    """Values of environment variables whose name says that they are secret, as text and in JSON, longest first."""
    values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    known = {value for value in values if len(value) >= _SHORTEST_SECRET}
    known |= {json.dumps(value, ensure_ascii=False)[1:-1] for value in known}
    return sorted(known, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without any secret known to this process or shaped like a token."""
    for secret in _known_secrets():
        text = text.replace(secret, REDACTED)
    return _SECRET_SHAPE.sub(REDACTED, text)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide a score."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def hardware() -> str:
    """One line: processor, cores, memory, GPU."""
    import psutil
    import torch

    memory = psutil.virtual_memory().total / 2**30
    line = f"{_cpu_name()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    return f"{line}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{line}, no GPU"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def code_commit() -> dict[str, Any]:
    """Commit of the working folder's repository and whether it has uncommitted changes; nulls outside of one."""
    commit = _git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "-uno")) if commit else None}


def snapshot() -> dict[str, Any]:
    """The provenance block of records and cards."""
    return {
        "packages": package_versions(),
        "hardware": hardware(),
        "code": code_commit(),
        "platform": platform.system(),
    }


def reset_peaks() -> None:
    """Count peaks of memory from now on; that of resident memory only where the system can (Linux)."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        switch = os.open("/proc/self/clear_refs", os.O_WRONLY)  # the kernel's own, no file that `storage` would write
        try:
            os.write(switch, b"5")
        finally:
            os.close(switch)


def peak_rss_bytes() -> int:
    """Peak resident memory of this process since `reset_peaks`, or its start, as the operating system counts it."""
    import resource

    status = Path("/proc/self/status")  # of this program alone; `getrusage` knows that of the one that started it too
    for line in status.read_text(encoding="utf-8").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def rss_bytes() -> int:
    """Resident memory of this process now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def free_memory_bytes(device: str) -> int:
    """Memory that this process could still take on a device ("cpu" or "cuda"): on a GPU that which is free, or kept by
    PyTorch for later; else what the machine, or the limit set for a container, has left."""
    import psutil
    import torch

    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
    available = int(psutil.virtual_memory().available)
    limit, used = (_CONTROL_GROUP / name for name in ("memory.max", "memory.current"))
    try:
        return min(available, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no container, or one that says "max"
        return available


def peak_gpu_bytes() -> int | None:
    """Peak GPU memory allocated by this process since the last reset; None without a GPU."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None


def reserved_gpu_bytes() -> int | None:
    """Peak GPU memory that PyTorch kept for this process, handed out or not; None without a GPU."""
    import torch

    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else None
