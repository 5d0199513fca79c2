"""Points in other processes: what is sent, what comes back, and what a death in the middle leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ft_harness.pipeline import dispatch, work
from ft_harness.sweep import Request, read_grid
from ft_harness.sweep.executors import slurm
from ft_harness.sweep.executors.local import LocalExecutor
from ft_harness.sweep.orders import arrange
from ft_harness.training.forecast import forecast
from tests.builders.command import assert_three_lines
from tests.sweep.killing import FIRST, SIZES, STEPS, kill, kill_in_training, resumed, rows


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


@pytest.mark.slow  # several sweeps
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


@pytest.mark.slow  # a sweep twice
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
