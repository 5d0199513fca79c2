"""Points in other processes: what is sent, what comes back, and what a death in the middle leaves."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ft_harness.pipeline import dispatch, work
from ft_harness.sweep import Request, read_grid
from ft_harness.sweep.executors import slurm
from ft_harness.sweep.executors.local import LocalExecutor
from ft_harness.sweep.orders import arrange
from ft_harness.training.forecast import forecast
from tests.builders.command import assert_three_lines

SIZES = "sweep: {vary: {data.train_size: [16, 32], train.seed: [0, 1]}, reference: {data.train_size: 32}}"


class FarExecutor(LocalExecutor):
    """Works orders off as a process of its own would, in this one: quick to test."""

    is_here = False

    def __init__(self) -> None:
        super().__init__(work.run_order)
        self.sent = []

    def run(self, orders):
        self.sent.append(list(orders))
        yield from reversed(list(super().run(orders)))  # the last one was the fastest


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> FarExecutor:
    executor = FarExecutor()
    monkeypatch.setattr(dispatch, "make_executor", lambda *given, **options: executor)
    return executor


def rows(folder: Path) -> bytes:
    return (folder / "results" / "reports" / "mine" / "rows.json").read_bytes()


def test_orders_name_a_recipe_and_bases_are_scored_first(ft, write, far, scored, tmp_path: Path):
    recipe = write(SIZES)
    code, _, err = ft("sweep", recipe, "--out", "far")
    assert code == 0, err
    bases, points = far.sent
    assert [(order.points, order.base_only) for order in bases] == [
        (("mine-train_size_32-seed_0", "mine-train_size_16-seed_0"), True)
    ]
    assert [order.points for order in points] == [
        (f"mine-train_size_{size}-seed_{seed}",) for seed in (0, 1) for size in (32, 16)
    ]
    order = points[0]
    assert (order.request.path, order.out, order.here) == (recipe, Path("far"), tmp_path)
    assert scored[:2] == ["base--tiny", "base--tiny"]
    assert scored.count("base--tiny") == 2

    assert ft("sweep", recipe, "--out", "near")[0] == 0
    assert rows(tmp_path / "far") == rows(tmp_path / "near")


def test_what_shares_an_adapter_runs_in_one_process(write):
    section = (
        "sweep: {stretches: {train.num_train_epochs: [1, 2]}, vary: {train.seed: [0, 1], "
        "eval.num_fewshot: [0, 1]}}"
    )
    points = read_grid(Request(write(section), "mine")).points
    groups = [[point.name for point in group] for group in arrange(points, trains=True)]
    assert len(groups) == 2  # one a seed
    assert all(len(group) == 4 for group in groups)
    alone = read_grid(
        Request(write("sweep: {trains: false, vary: {eval.num_fewshot: [0, 1]}}"), "mine")
    ).points
    assert len(arrange(alone, trains=False)) == 2


def test_a_process_that_died_with_several_points_loses_only_one(ft, write, far, monkeypatch):
    """Points of one adapter are one order; sent again one by one, the finished are found."""
    recipe = write("sweep: {vary: {eval.num_fewshot: [0, 1, 3]}}")
    deadly = "mine-num_fewshot_1"
    whole = work.run_order

    def die(order):
        return order.lose() if deadly in order.points else whole(order)

    monkeypatch.setattr(far, "work", die)
    code, _, err = ft("sweep", recipe)
    assert code == 6
    assert_three_lines(err, f"1 of 3 points have no result, first {deadly}: the process that ran")


def test_a_recipe_that_changed_meanwhile_is_not_run(ft, write, far, monkeypatch):
    recipe = write(SIZES)

    def change(order):
        write(SIZES.replace("vary: {", "vary: {adapter.lora_dropout: [0.5], "))
        return work.run_order(order)

    monkeypatch.setattr(far, "work", change)
    code, _, err = ft("sweep", recipe)
    assert code == 6
    assert "changed since the sweep began" in err


def test_a_machine_without_the_shared_folder_says_so(ft, write, far, monkeypatch):
    def elsewhere(order):
        return work.run_order(type(order)(**(vars(order) | {"here": Path("/nowhere")})))

    monkeypatch.setattr(far, "work", elsewhere)
    code, _, err = ft("sweep", write(SIZES))
    assert code == 6
    assert "has no folder /nowhere, which all machines of a sweep share" in err


def test_a_point_without_room_on_any_machine_is_not_sent(ft, write, far, monkeypatch):
    """A machine has room for Python, its libraries, and an adapter of rank 4."""
    python = 2**27
    monkeypatch.setattr(forecast, "rss_bytes", lambda: python)
    monkeypatch.setattr(far, "reserves", True, raising=False)
    monkeypatch.setattr(far, "room", round(1.15 * (python + 20 * 2**20)), raising=False)
    code, _, err = ft("sweep", write("sweep: {vary: {adapter.r: [4, 1024]}}"))
    assert code == 6
    assert_three_lines(err, "1 of 2 points have no result, first mine-r_1024: not tried")
    (sent,) = far.sent[-1]
    assert sent.points == ("mine-r_4",)
    assert 1.15 * python < sent.memory < far.room


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_three_lines(ft, write, no_model, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"ft_harness.sweep.executors.{name}", raising=False)
    code, _, err = ft("sweep", write(SIZES), "--executor", name)
    assert code == 2
    assert_three_lines(err, f"the package {package} is not installed", f"ft-harness[{name}]")


def test_an_unknown_executor_and_one_run_are_three_lines(ft, write, no_model):
    code, _, err = ft("sweep", write(SIZES), "--executor", "cloud")
    assert code == 2
    assert_three_lines(err, "'cloud'", "'ray'")
    code, _, err = ft("run", write(""), "--executor", "ray")
    assert code == 2
    assert_three_lines(err, "is one run, not a sweep", "--seeds 3")


def test_slurm_that_is_not_here_is_three_lines(ft, write, no_model):
    code, _, err = ft("sweep", write(SIZES), "--executor", "slurm")
    assert code == 2
    assert_three_lines(err, "srun", "sbatch and srun")


def in_folder(folder: Path) -> list[psutil.Process]:
    """The processes that hold the lock of an adapter's folder."""
    lock = folder / ".lock"
    words = lock.read_text().split() if lock.is_file() else []
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(int(words[0]))] if words else []
    return []


def kill_in_training(folder: Path, kill) -> threading.Thread:
    """Calls `kill(process)` once, when an adapter's first checkpoint is there."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if list(folder.glob("checkpoints/checkpoint-*")) and (found := in_folder(folder)):
                kill(found[0])
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


STEPS = "max_steps: 80, num_train_epochs: 100, save_steps: 10"
FIRST, SECOND = (f"mine-train_size_{size}-seed_0" for size in (32, 16))


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over other numbers of threads differ in their last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def local(ft, write, one_thread, tmp_path: Path) -> bytes:
    """`rows.json` of the sweep in one process that nobody disturbs."""
    code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "local")
    assert code == 0, err
    return rows(tmp_path / "local")


def resumed(folder: Path) -> int | None:
    return json.loads((folder / "card.json").read_text())["cost"]["resumed_from_step"]


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)


@pytest.mark.slow  # two sweeps, one of them in processes that import everything
def test_a_process_for_each_gpu(ft, write, local, monkeypatch, tmp_path: Path):
    """One is killed in the middle: the others go on, and the same command goes on with it."""
    monkeypatch.setattr(dispatch, "find_gpus", lambda: ["0", "1"])
    recipe, adapters = write(SIZES, STEPS), tmp_path / "gpus" / "adapters"
    killing = kill_in_training(adapters / FIRST, kill)
    code, _, err = ft("sweep", recipe, "--out", "gpus")
    killing.join()
    assert code == 6, err
    assert_three_lines(err, f"1 of 4 points have no result, first {FIRST}: the process that ran it")
    code, _, err = ft("sweep", recipe, "--out", "gpus")
    assert code == 0, err
    assert resumed(adapters / FIRST)
    assert rows(tmp_path / "gpus") == local


@pytest.mark.slow  # two sweeps, one of them in jobs that import everything
def test_slurm_sends_a_killed_job_again(ft, write, local, monkeypatch, tmp_path: Path):
    """By submitit's executor of this machine."""
    monkeypatch.setattr(slurm, "CLUSTER", "local")
    adapters = tmp_path / "jobs" / "adapters"
    killing = kill_in_training(adapters / FIRST, kill)
    code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "jobs", "--executor", "slurm")
    killing.join()
    assert code == 0, err
    assert resumed(adapters / FIRST)
    assert rows(tmp_path / "jobs") == local


@pytest.mark.slow  # two sweeps, one of them on a cluster of three Ray nodes
def test_ray_goes_on_where_a_worker_and_a_whole_node_died(
    ft, write, local, monkeypatch, tmp_path: Path
):
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    assert cluster.address.startswith("127.0.0.1:")
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

    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    adapters = tmp_path / "ray" / "adapters"
    try:
        killings = [
            kill_in_training(adapters / FIRST, kill),
            kill_in_training(adapters / SECOND, kill_node),
        ]
        code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "ray", "--executor", "ray")
        for killing in killings:
            killing.join()
    finally:
        cluster.shutdown()
    assert code == 0, err
    assert len(removed) == 1
    assert resumed(adapters / FIRST)
    assert resumed(adapters / SECOND)
    assert rows(tmp_path / "ray") == local


def test_a_cluster_that_is_gone_is_three_lines(ft, write, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, _, err = ft("sweep", write(SIZES), "--executor", "ray")
    assert code == 2
    assert_three_lines(err, "no Ray cluster answers at 127.0.0.1:1", "ray start")
