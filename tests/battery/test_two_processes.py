"""Two commands at once on one folder: each ends with a right result or names what is in its way, and
what is left is what one process alone leaves."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from ft_harness import cli
from tests.builders.hub import TOKEN, running_hub
from tests.builders.tiny import review_task

pytestmark = pytest.mark.usefixtures("small_index")
TRIES = 20
RUN, TRAIN, EVAL = ["run", "adapters/a"], ["train", "adapters/a"], ["eval", "adapters/a"]
SWEEP = ["sweep", "adapters/a", "--set", "adapter.r=2,4"]
RESCORE = ["rescore", "results", "--include-path", "tasks"]
REPORT, PUSH = ["report", "results"], ["push", "adapters/a", "me/a", "--yes", "--base", "x/y"]
PAIRS: dict[str, tuple[list[list[str]], list[str], list[str]]] = {  # (before, one, the other)
    "run and the same run": ([], RUN, RUN),
    "run and another recipe's run": ([], RUN, ["run", "adapters/b"]),
    "run and report": ([], RUN, REPORT),
    "train and eval": ([], TRAIN, [*EVAL, "--adapter", "adapters/a"]),
    "train and eval of the base": ([], TRAIN, EVAL),
    "sweep and sweep": ([], SWEEP, SWEEP),
    "rescore and report": ([RUN], RESCORE, REPORT),
    "rescore and rescore": ([RUN], RESCORE, RESCORE),
    "push and train": ([], PUSH, TRAIN),
    "push and push": ([RUN], PUSH, PUSH),
}
# what is in the way: the other one, or what it has not made yet
NOT_YET = (
    "in use by process", "nothing else to read", "no evaluation found", "no adapter_config.json",
    "no card.json", "no score of it",
)  # fmt: skip
TASK = review_task("mine")


def start(folder: Path, words: list[str], delay: float, name: str) -> int:
    """The command in a child process, after a delay; its output goes to a file of this name."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.chdir(folder)
        for number in (1, 2):
            file = os.open(folder / f"{name}.{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2)
        )
        sys.argv = ["ft-harness", *words]
        time.sleep(delay)
        cli.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def alone(folder: Path, words: list[str]) -> None:
    code = ended(start(folder, words, 0.0, "alone"))
    assert code == 0, (words, (folder / "alone.2").read_text())


@pytest.fixture
def make(tmp_path: Path, model_folder: Path, reviews: Path) -> Callable[[str], Path]:
    """A working folder of this name, with two recipes."""

    def folder(name: str) -> Path:
        out = tmp_path / name
        (out / "tasks").mkdir(parents=True)
        (out / "tasks/mine.yaml").write_text(TASK)
        for recipe, seed in (("a", 0), ("b", 1)):
            path = out / "adapters" / recipe / "recipe.yaml"
            path.parent.mkdir(parents=True)
            path.write_text(
                f"model: {{pretrained: {model_folder}}}\ntask: {{name: mine, include_path: tasks}}\n"
                f"data: {{source: {reviews}}}\nadapter: {{r: 2, target_modules: [q_proj]}}\n"
                f"train: {{max_steps: 3, learning_rate: 0.01, seed: {seed}}}\n"
                "eval: {splits: [validation, test], limit: 8}\n"
            )
        return out

    return folder


def rows(out: Path) -> bytes:
    """Those of a report on all that is there, without which nothing is compared."""
    alone(out, ["report", "results", "--name", "last"])
    return (out / "results/reports/last/rows.json").read_bytes()


def finish(out: Path, pair: str) -> bytes:
    """The rows once both commands were run again, one after the other."""
    for words in PAIRS[pair][1:]:
        if words[0] != "push":
            alone(out, words)
    alone(out, RUN)  # where nothing was scored
    return rows(out)


def again(text: str) -> str:
    """A task with another metric."""
    return text.replace(
        "metric_list: [", "metric_list: [{metric: exact_match, aggregation: mean}, "
    )


@pytest.mark.skipif(os.environ.get("FT_HARNESS_FUZZ") != "hour", reason="make fuzz runs it")
@pytest.mark.slow  # a hundred runs
@pytest.mark.parametrize("pair", PAIRS)
def test_two_at_once(pair: str, make: Any, monkeypatch: pytest.MonkeyPatch):
    before, one, other = PAIRS[pair]
    draw = random.Random(pair)
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", "push" not in pair)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        faults: list[str] = []
        expected = b""
        for number in range(TRIES + 1):
            out = make(str(number))
            for words in before:
                alone(out, words)
            if "rescore" in pair:
                (out / "tasks/mine.yaml").write_text(again(TASK))
            if number == 0:  # nobody disturbs it
                expected = finish(out, pair)
                continue
            wait = draw.uniform(0, 3)
            children = [
                start(out, words, delay, name)
                for words, delay, name in ((one, 0.0, "one"), (other, wait, "other"))
            ]
            for child, name in zip(children, ("one", "other"), strict=True):
                code, said = ended(child), (out / f"{name}.2").read_text()
                lines = [line.partition(":")[0] for line in said.splitlines()]
                named = any(each in said for each in NOT_YET) and lines[-3:] == [
                    "error", "expected", "do",
                ]  # fmt: skip
                if "Traceback" in said or not (code == 0 or (code in (3, 4, 6) and named)):
                    faults.append(f"try {number} after {wait:.2f} s, {name}: {code}\n{said}")
            if finish(out, pair) != expected:
                faults.append(f"try {number} after {wait:.2f} s: other rows")
    assert not faults, "\n\n".join(faults)
