"""What made a number: commit, packages and hardware, for records and cards."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

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


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that affect a score."""
    return dict(_read_versions())


@cache  # each is read from a file, and asked for with every score
def _read_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def cpu_name() -> str:
    """In provenance: the processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def hardware() -> str:
    """In provenance, in one line: processor, cores, memory, GPU."""
    import torch

    memory = psutil.virtual_memory().total / 2**30
    line = f"{cpu_name()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{line}, {gpu}"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def code_commit() -> dict[str, Any]:
    """Commit of the working folder's repository and whether it has uncommitted changes; nulls
    outside of one."""
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit,
        # Untracked files, of which a folder of results has many, are no code that ran.
        "dirty": bool(_git("status", "--porcelain", "-uno")) if commit else None,
    }


def snapshot() -> dict[str, Any]:
    """The provenance block of records and cards."""
    return {
        "packages": package_versions(),
        "hardware": hardware(),
        "code": code_commit(),
        "platform": platform.system(),
    }
