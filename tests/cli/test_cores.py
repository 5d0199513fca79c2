"""Threads wait with a bounded spin and keep to the cores that the process really has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ft_harness import processes

VARIABLES = (
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that the end of the test restores what was there
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def groups(tmp_path: Path, unset: pytest.MonkeyPatch) -> Path:
    """Control groups of both versions, of which the process is in none that is limited."""
    membership = tmp_path / "membership"
    membership.write_text("5:cpuacct,cpu:/job\n4:memory:/job\n0::/job/step\n")
    unset.setattr(processes, "_MEMBERSHIP", membership)
    unset.setattr(processes, "_CGROUPS", tmp_path)
    unset.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_spin_is_bounded_before_torch_is_loaded(unset: pytest.MonkeyPatch):
    script = (
        "import os, sys; from ft_harness import cli; sys.argv = ['ft-harness', '--help']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
        "print('spin', os.environ['GOMP_SPINCOUNT'], os.environ['KMP_BLOCKTIME'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "spin 3000 1"


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "20000"), ("KMP_BLOCKTIME", "200")])
def test_what_the_user_has_set_remains(groups: Path, unset: pytest.MonkeyPatch, name, value):
    unset.setenv(name, value)
    processes.share_cores()
    assert os.environ[name] == value


def test_a_waiting_policy_of_the_user_is_left_alone(groups: Path, unset: pytest.MonkeyPatch):
    unset.setenv("OMP_WAIT_POLICY", "active")
    processes.share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ
    assert "KMP_BLOCKTIME" not in os.environ


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, None),
        ({"job/cpu.max": "max 100000\n"}, None),
        ({"job/cpu.max": "250000 100000\n"}, "3"),  # two and a half cores
        ({"job/cpu.max": "50000 100000\n"}, "1"),
        ({"job/cpu.max": "1600000 100000\n"}, None),  # more than there are
        # the smallest of the groups above counts
        ({"job/step/cpu.max": "600000 100000\n", "job/cpu.max": "400000 100000\n"}, "4"),
        (
            {"cpu/job/cpu.cfs_quota_us": "200000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            "2",
        ),
        ({"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, None),
        # in a container the own group is mounted as the root
        ({"cpu.max": "200000 100000\n"}, "2"),
    ],
)
def test_threads_keep_to_the_quota_of_the_control_group(groups: Path, files, threads):
    for name, text in files.items():
        write(groups / name, text)
    processes.share_cores()
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_threads_set_by_the_user_remain(groups: Path, unset: pytest.MonkeyPatch):
    write(groups / "job/cpu.max", "200000 100000\n")
    unset.setenv("OMP_NUM_THREADS", "6")
    processes.share_cores()
    assert os.environ["OMP_NUM_THREADS"] == "6"


def test_systems_without_control_groups_have_no_quota(groups: Path, unset: pytest.MonkeyPatch):
    unset.setattr(processes, "_MEMBERSHIP", groups / "none")
    processes.share_cores()
    assert "OMP_NUM_THREADS" not in os.environ
