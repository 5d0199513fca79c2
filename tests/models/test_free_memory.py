"""Memory that is free is what the control groups of the process leave it."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from ft_harness import processes
from ft_harness.models.memory import free_memory_bytes

GIB = 2**30
Machine = namedtuple("Machine", "available")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of both versions on a machine with 16 GiB left."""
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/job\n0::/job/step\n")
    monkeypatch.setattr(processes, "_MEMBERSHIP", membership)
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(16 * GIB))
    return tmp_path


def limit(folder: Path, most: object, used: int, files: int = 0, version: int = 2) -> None:
    """A group that holds `used` GiB, of which `files` are pages of files, one active for each that
    is not."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: ("memory.max", "memory.current"),
    }
    (folder / names[version][0]).write_text(f"{most}\n")
    (folder / names[version][1]).write_text(f"{used * GIB}\n")
    total = "total_" if version == 1 else ""
    half = files * GIB // 2
    (folder / "memory.stat").write_text(
        f"anon 5\n{total}inactive_file {half}\n{total}active_file {half}\n"
    )


def test_a_machine_without_limits(groups: Path):
    assert free_memory_bytes("cpu") == 16 * GIB
    limit(groups / "job", "max", 2)
    assert free_memory_bytes("cpu") == 16 * GIB
    (groups / "membership").unlink()
    assert free_memory_bytes("cpu") == 16 * GIB


def test_the_limit_of_a_job_and_of_those_above_it(groups: Path):
    """Slurm's jobs are in groups of their own; a container's is mounted as the root."""
    limit(groups / "job" / "step", 8 * GIB, 2)
    assert free_memory_bytes("cpu") == 6 * GIB
    limit(groups / "job", 9 * GIB, 7)
    assert free_memory_bytes("cpu") == 2 * GIB
    limit(groups, 4 * GIB, 3)
    assert free_memory_bytes("cpu") == GIB


def test_a_limit_of_version_1(groups: Path):
    limit(groups / "memory" / "job", 2**63 - 4096, 2, version=1)
    assert free_memory_bytes("cpu") == 16 * GIB
    limit(groups / "memory" / "job", 8 * GIB, 5, version=1)
    assert free_memory_bytes("cpu") == 3 * GIB


@pytest.mark.parametrize(("folder", "version"), [("job", 2), ("memory/job", 1)])
def test_pages_of_files_are_given_back(groups: Path, folder: str, version: int):
    """Else a container that has read its weights would seem full."""
    limit(groups / folder, 8 * GIB, 7, files=4, version=version)
    assert free_memory_bytes("cpu") == 5 * GIB
