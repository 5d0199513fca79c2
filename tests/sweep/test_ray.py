"""Points as tasks of a real Ray cluster on this machine, and what dies of it in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import ray

from ft_harness.sweep import Request
from ft_harness.sweep.executors.ray import RayExecutor
from ft_harness.sweep.orders import Order
from tests.builders.command import assert_three_lines
from tests.sweep.killing import (
    FIRST,
    SECOND,
    SIZES,
    STEPS,
    kill,
    kill_in_training,
    resumed,
    rows,
)

HEAD = {"num_cpus": 0, "include_dashboard": False}  # it runs no point
Sweep = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A cluster of a head alone, which RAY_ADDRESS names."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=HEAD)
    assert made.address.startswith("127.0.0.1:")
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


@pytest.fixture
def start(write, one_thread, tmp_path: Path) -> Iterator[Sweep]:
    """Starts the sweep as a shell does, in a group of processes of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(**variables: str) -> subprocess.Popen[str]:
        recipe = write(SIZES, STEPS)
        words = ["-m", "ft_harness", "sweep", str(recipe), "--out", "ray", "--executor", "ray"]
        started.append(
            subprocess.Popen(
                [sys.executable, *words], cwd=tmp_path, env=os.environ | variables, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    yield begin
    for each in started:
        each.kill()
        each.communicate()


def wait_until(is_so: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(found)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What the machines of a cluster that answers say they have."""
    found: list[dict[str, float]] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda *given, **options: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": n} for n in found])
    return found


def orders(count: int) -> list[Order]:
    return [Order(Request(Path("r"), "r"), (str(n),), Path(), Path(), "", "") for n in range(count)]


def test_a_head_that_runs_no_points_has_no_room_and_no_cores(nodes):
    """Kubernetes' usual head has 0 cores: a point that only it has the memory for would wait for
    ever, and a point would have one core of eight."""
    nodes += [{"memory": 64e9}, {"CPU": 8, "memory": 16e9}]
    with RayExecutor(list) as executor:
        assert executor.room == 16e9
        assert executor._cores(orders(1)) == 8
        assert executor._cores(orders(4)) == 2


def test_points_with_a_gpu_have_the_room_of_machines_with_one(nodes):
    nodes += [{"CPU": 64, "memory": 256e9}, {"CPU": 16, "GPU": 4, "memory": 32e9}]
    with RayExecutor(list) as executor:
        assert executor.has_gpus
        assert executor.room == 32e9
        assert executor._cores(orders(4)) == 4


def test_no_machine_stays_idle_because_another_has_more_cores(nodes):
    nodes += [{"CPU": 64, "GPU": 1, "memory": 32e9}, {"CPU": 8, "GPU": 1, "memory": 32e9}]
    with RayExecutor(list) as executor:
        assert executor._cores(orders(2)) == 8


def test_a_cluster_without_cores_is_three_lines(ft, write, nodes):
    nodes += [{"memory": 64e9}]
    code, _, err = ft("sweep", write(SIZES), "--executor", "ray")
    assert code == 2
    words = "no machine of the Ray cluster at local has cores for a point"
    assert_three_lines(err, words, "min_workers: 1")  # of a cluster that scales itself


@pytest.mark.slow  # two sweeps, one of them on a cluster of three Ray nodes
def test_ray_goes_on_where_a_worker_and_a_whole_node_died(
    ft, write, local, cluster, tmp_path: Path
):
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    removed = []

    def kill_node(process: psutil.Process) -> None:
        above = {each.pid for each in process.parents()}
        (node,) = (
            each
            for each in nodes
            if above & {info.process.pid for info in each.all_processes["raylet"]}
        )
        cluster.remove_node(node, allow_graceful=False)
        removed.append(node)

    adapters = tmp_path / "ray" / "adapters"
    killings = [
        kill_in_training(adapters / FIRST, kill),
        kill_in_training(adapters / SECOND, kill_node),
    ]
    code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "ray", "--executor", "ray")
    for killing in killings:
        killing.join()
    assert code == 0, err
    assert len(removed) == 1
    assert resumed(adapters / FIRST)
    assert resumed(adapters / SECOND)
    assert rows(tmp_path / "ray") == local


@pytest.mark.slow  # starts and ends a cluster
def test_ctrl_c_ends_the_workers_of_a_cluster_that_goes_on(
    ft, write, local, cluster, start, tmp_path: Path
):
    cluster.add_node(num_cpus=1)
    adapters = tmp_path / "ray" / "adapters"
    workers: list[psutil.Process] = []
    running = start()

    def interrupt(worker: psutil.Process) -> None:
        workers.append(worker)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does

    kill_in_training(adapters / FIRST, interrupt, goes_on=False).join()
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted: finished evaluations and checkpoints are saved" in err
    assert "Traceback" not in err
    assert wait_until(lambda: not workers[0].is_running(), 30)
    code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "ray", "--executor", "ray")
    assert code == 0, err
    assert resumed(adapters / FIRST)
    assert rows(tmp_path / "ray") == local


@pytest.mark.slow  # starts and ends a cluster
def test_ctrl_c_leaves_nothing_of_a_cluster_of_this_sweep(
    ft, write, local, monkeypatch, start, tmp_path: Path
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    adapters = tmp_path / "ray" / "adapters"
    below: list[psutil.Process] = []
    running = start()

    def interrupt(worker: psutil.Process) -> None:
        below.extend(psutil.Process(running.pid).children(recursive=True))
        os.killpg(running.pid, signal.SIGINT)

    kill_in_training(adapters / FIRST, interrupt, goes_on=False).join()
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted: finished evaluations and checkpoints are saved" in err
    assert "Traceback" not in err
    assert len(below) > 1
    assert wait_until(lambda: not any(each.is_running() for each in below), 30)
    code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "ray")
    assert code == 0, err
    assert resumed(adapters / FIRST)
    assert rows(tmp_path / "ray") == local


@pytest.mark.slow  # two clusters
def test_a_cluster_whose_head_died_in_the_middle_is_three_lines(
    ft, write, local, cluster, start, monkeypatch, tmp_path: Path
):
    """Ray itself would end the process without a word of ours, after a minute."""
    from ray.cluster_utils import Cluster

    cluster.add_node(num_cpus=1)
    adapters = tmp_path / "ray" / "adapters"
    workers: list[psutil.Process] = []
    running = start()

    def kill_head(worker: psutil.Process) -> None:
        workers.append(worker)
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    # the worker stays in the middle of its point
    kill_in_training(adapters / FIRST, kill_head, goes_on=False).join()
    _, err = running.communicate(timeout=120)
    workers[0].kill()
    assert running.returncode == 5, err
    assert_three_lines(err, f"the Ray cluster at {cluster.address} is gone", "the same command")

    another = Cluster(initialize_head=True, head_node_args=HEAD)
    try:
        another.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", another.address)
        code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "ray", "--executor", "ray")
    finally:
        another.shutdown()
    assert code == 0, err
    assert resumed(adapters / FIRST)
    assert rows(tmp_path / "ray") == local


@pytest.mark.parametrize("address", ["ray://head", "head", "ray://[::1]", "head:", "head:x", ":1"])
def test_an_address_without_host_or_port_is_three_lines(ft, write, monkeypatch, address: str):
    monkeypatch.setenv("RAY_ADDRESS", address)
    code, _, err = ft("sweep", write(SIZES), "--executor", "ray")
    assert code == 2
    assert_three_lines(err, f"RAY_ADDRESS is {address}", "HOST:PORT", "ray://HOST:10001")


def test_a_cluster_that_wants_a_token_says_so(ft, write, nodes, monkeypatch):
    """Ray 2.60 asks for one as soon as one was ever made, and takes none from who names it."""

    def refuse(*given, **options):
        try:
            raise RuntimeError("ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken")
        except RuntimeError as error:
            raise ConnectionError("Failed to connect to Ray cluster") from error

    monkeypatch.setattr(ray, "init", refuse)
    code, _, err = ft("sweep", write(SIZES), "--executor", "ray")
    assert code == 2
    assert_three_lines(err, "the Ray cluster at local asks for a token", "RAY_AUTH_MODE=token")


def test_a_cluster_that_is_gone_is_three_lines(ft, write, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, _, err = ft("sweep", write(SIZES), "--executor", "ray")
    assert code == 2
    assert_three_lines(err, "no Ray cluster answers at 127.0.0.1:1", "ray start")
