"""The demo's recipes run at the same time where there are cores for it."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from ft_harness import processes
from ft_harness.pipeline import demo as demo_module
from ft_harness.pipeline.demo import NAMES, demo
from ft_harness.pipeline.experiment import Experiment
from ft_harness.storage.terminal import WholeLines


class Pool:
    """Runs what it is given at once, in this process."""

    def __init__(self, run: Callable[..., None]) -> None:
        self.run, self.given = run, list[str]()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *caught: object) -> None: ...

    def submit(self, work: Callable[..., None], name: str, out: Path) -> Future[None]:
        self.given.append(name)
        future: Future[None] = Future()
        try:
            future.set_result(self.run(name))
        except RuntimeError as error:
            future.set_exception(error)
        return future


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the demo asks for, on a machine of two cores without a GPU; `broken` experiments end
    without a result."""
    seen: dict[str, Any] = {"finished": set[str](), "broken": set[str](), "started": [], "runs": []}

    def run_alone(name: str) -> None:
        if name in seen["broken"]:
            raise RuntimeError(name)
        seen["finished"].add(name)

    def start(count: int, variables: dict[str, str]) -> Pool:
        seen["pool"] = Pool(run_alone)
        seen["started"].append((count, variables))
        return seen["pool"]

    def run(experiments: list[Experiment], name: str, say: Any, **given: Any) -> tuple[None, Path]:
        say("said")
        seen["runs"].append(([each.name for each in experiments], name))
        return None, Path()

    def find(experiment: Experiment) -> list[str] | None:
        return ["evaluation"] if experiment.name in seen["finished"] else None

    monkeypatch.setattr(demo_module, "start_processes", start)
    monkeypatch.setattr(demo_module, "run", run)
    monkeypatch.setattr(demo_module, "find_finished", find)
    monkeypatch.setattr(demo_module, "gpu_devices", list)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    return seen


def test_two_cores_run_two_recipes_at_a_time(calls, tmp_path: Path) -> None:
    said: list[str] = []
    demo(tmp_path, said.append)
    assert calls["started"] == [(2, {"OMP_NUM_THREADS": "1"})]
    assert calls["pool"].given == ["demo-qa", "demo-nli", "demo-sentiment"]  # the longest first
    assert calls["runs"] == [(list(NAMES), "demo")]
    assert said == ["demo-qa, demo-nli, demo-sentiment: 2 of them at the same time"]


def test_what_a_process_leaves_undone_is_run_here(calls, tmp_path: Path) -> None:
    calls["broken"].add("demo-nli")
    said: list[str] = []
    demo(tmp_path, said.append)
    assert calls["runs"] == [(list(NAMES), "demo")]
    assert said[-1] == "said"


@pytest.mark.parametrize(
    "change",
    [
        lambda patch, calls: patch.setenv("OMP_NUM_THREADS", "1"),
        lambda patch, calls: patch.setattr(demo_module, "gpu_devices", lambda: ["/dev/nvidia0"]),
        lambda patch, calls: patch.setenv("WORLD_SIZE", "2"),
        lambda patch, calls: calls["finished"].update(NAMES[1:]),
    ],
    ids=["one core", "a GPU", "a launcher's processes", "one left"],
)
def test_else_this_process_runs_them(change, calls, monkeypatch, tmp_path: Path) -> None:
    change(monkeypatch, calls)
    said: list[str] = []
    demo(tmp_path, said.append)
    assert calls["started"] == []
    assert said == ["said"]


@pytest.mark.parametrize(("asked", "cores"), [("3", 3), ("0", 5), ("2,1", 5), ("", 5)])
def test_cores_are_what_openmp_is_told(asked: str, cores: int, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid: set(range(5)))
    assert processes.core_count() == cores


def test_a_process_among_others_writes_whole_lines_and_no_bar() -> None:
    stream = io.StringIO()
    lines = WholeLines(stream)
    for text in ("one ", "line\ntwo", "\r 10%|#\r 20%|##", "\n", "\n", "three\nfour"):
        lines.write(text)
    assert stream.getvalue() == "one line\nthree\n"


@pytest.mark.parametrize("leave", [False, None])
@pytest.mark.parametrize("total", [3, None])
def test_what_is_said_after_a_bar_in_its_line_is_passed_on(leave, total) -> None:
    """A bar that is wiped, and one that is neither finished nor ended with a line."""
    stream = io.StringIO()
    lines = WholeLines(stream)
    bar = tqdm(total=total, file=lines, mininterval=0, leave=False)
    bar.update(2)
    if leave is False:
        bar.close()
    lines.write("WARNING: 3 rows are 100 % [blank]\n")
    lines.write("next\n")
    assert stream.getvalue() == "WARNING: 3 rows are 100 % [blank]\nnext\n"


def test_of_two_bars_nothing_is_passed_on() -> None:
    stream = io.StringIO()
    lines = WholeLines(stream)
    for _ in tqdm(range(2), file=lines, mininterval=0):
        for _ in tqdm(range(2), file=lines, mininterval=0, position=1, leave=False):
            pass
    lines.write("said\n")
    assert stream.getvalue() == "said\n"
