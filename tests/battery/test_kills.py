"""Kills and faults at every moment: K1, K6, K8 and K10 of the battery; docs/battery.md names the
others."""

from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ft_harness import storage
from ft_harness.errors import InputError, ResourceError, StorageLostError
from ft_harness.evaluation import ModelState, evaluate, plan_jobs, write_evaluation
from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.records import base_subject, read_evaluation
from ft_harness.records.finding import find_records
from ft_harness.records.score_table import check_whole, read_outcomes
from ft_harness.storage import writing
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.interruptions import kill_at_step
from tests.builders.records import label_samples, make_record

ROUNDS = 20


# --- K1: scoring killed at random ------------------------------------------------------------------


def killed(work: Callable[[], object], at: int) -> bool:
    """Do something in a child that is killed when it is about to put a file on disk for the `at`th
    time, or just after (odd); whether it came that far."""
    child = os.fork()
    if child == 0:
        whole, calls = os.fsync, [0]

        def fsync(number: int) -> None:
            calls[0] += 1
            if calls[0] == at // 2 + 1:
                if at % 2:
                    whole(number)
                os.kill(os.getpid(), signal.SIGKILL)
            whole(number)

        os.fsync = fsync
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.slow  # twenty processes
def test_twenty_kills_while_scoring(model_folder: Path, reviews: Path, tmp_path: Path):
    base = load_base_model(ModelSection(pretrained=str(model_folder)))
    state = ModelState(base_subject(base.info.pretrained), base)

    def score(out: Path) -> Path:
        task = find_task("demo_sentiment", metadata={"data_source": str(reviews)})
        section = EvalSection(splits=("test",), batch_size=3)
        (done,) = evaluate(state, plan_jobs(load_tasks(task, ["test"]), "x", base, section), out)
        return done.folder

    whole = score(tmp_path / "whole")
    draw, kills = random.Random(0), 0
    for _ in range(ROUNDS):
        kills += killed(lambda: score(tmp_path / "killed"), draw.randrange(6))
    assert kills >= 8  # what is whole is not done again, and so can't be killed
    again = score(tmp_path / "killed")
    name = "samples.jsonl.gz"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert read_evaluation(again).record.scores == read_evaluation(whole).record.scores
    (store,) = (tmp_path / "killed").rglob("responses-*.jsonl")
    # 48 requests; a batch of three prompts has six
    assert 48 <= len(store.read_text().splitlines()) <= 48 + 6 * kills
    assert len(list((tmp_path / "killed").rglob("record.json"))) == 1
    assert storage.problems(tmp_path) == []
    assert not list(tmp_path.rglob("*.tmp"))


# --- K6: each call of the file system fails in turn ----------------------------------------------


class Faults:
    """The `at`th call of the file system fails."""

    def __init__(self, at: int, number: int) -> None:
        self.at, self.number, self.calls = at, number, 0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*given: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                raise OSError(self.number, os.strerror(self.number))
            return call(*given, **options)

        return failing

    @contextmanager
    def injected(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            for name in ("fsync", "replace"):
                patched.setattr(writing.os, name, self.wrap(getattr(os, name)))
            for name in ("open", "mkdir"):
                patched.setattr(Path, name, self.wrap(getattr(Path, name)))
            patched.setattr(writing.fcntl, "flock", self.wrap(writing.fcntl.flock))
            yield


OLD, NEW = label_samples([0, 1], [0, 0]), label_samples([0, 1], [1, 1])


def write_all(folder: Path, samples: list[Any]) -> None:
    write_evaluation(folder, make_record(None), samples)
    storage.append_lines(folder / "responses.jsonl", [json.dumps({"n": 1})])
    storage.write_text(folder / "report.md", f"{samples[0].prediction}\n")


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EROFS]
)
def test_a_fault_of_each_call(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Old or new, never half; 5 or 7; the same again completes."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "aside"))
    (tmp_path / "aside").mkdir()
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fired = 0
    for at in range(1, 100):
        folder = tmp_path / str(at)
        write_all(folder, OLD)
        faults = Faults(at, number)
        try:
            with faults.injected():
                write_all(folder, NEW)
        except (ResourceError, StorageLostError) as error:
            fired += 1
            assert isinstance(error, ResourceError if full else StorageLostError)  # noqa: PT017
        except (OSError, InputError):  # of reading: the samples are read again for scores.parquet
            fired += 1
        if faults.calls < at:
            break
        for line in gzip.decompress((folder / "samples.jsonl.gz").read_bytes()).splitlines():
            json.loads(line)
        json.loads((folder / "record.json").read_bytes())
        for line in (folder / "responses.jsonl").read_text().splitlines():
            assert json.loads(line) == {"n": 1}
        assert not list(folder.glob(".*.tmp"))
        write_all(folder, NEW)
        check_whole(read_evaluation(folder))
        assert next(iter(read_evaluation(folder).samples())).prediction == NEW[0].prediction
    assert fired >= 8
    assert faults.calls < at  # the last one met no fault


# --- K8: read while it is written ------------------------------------------------------------------


def write_again_and_again(folder: Path, rounds: int) -> None:
    for turn in range(rounds):
        write_evaluation(folder / f"{turn % 3}", make_record(None), (OLD, NEW)[turn % 2])


def test_results_that_are_read_while_they_are_written(tmp_path: Path):
    """Whole, or named as not yet whole."""
    write_again_and_again(tmp_path, 3)
    writer = multiprocessing.get_context("fork").Process(
        target=write_again_and_again, args=(tmp_path, 100)
    )
    writer.start()
    whole = 0
    try:
        while writer.is_alive():
            for evaluation in find_records([tmp_path]).evaluations:
                try:
                    outcomes = read_outcomes(evaluation)
                except InputError as error:
                    assert str(tmp_path) in error.what  # noqa: PT017
                else:
                    whole += 1
                    assert len(outcomes.texts) == 2
    finally:
        writer.join()
    assert whole > 0
    found = find_records([tmp_path])
    assert found.unread == []
    for evaluation in found.evaluations:
        check_whole(evaluation)


# --- K10: moved between kill and resume --------------------------------------------------------------


def test_a_training_that_goes_on_in_another_place(
    ft: Any, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The working folder is moved after a kill: the adapter is that of an uninterrupted run. With
    other data it is refused, with the difference."""
    for place in ("whole", "killed"):
        recipe = tmp_path / place / "adapters/a/recipe.yaml"
        recipe.parent.mkdir(parents=True)
        recipe.write_text(
            f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
            f"data: {{source: {reviews}, train_size: 24}}\nadapter: {{r: 2, lora_dropout: 0.1}}\n"
            "train: {num_train_epochs: 2, save_steps: 1, learning_rate: 0.01}\n"
        )
    assert ft("train", "whole/adapters/a", "--out", "whole")[0] == 0
    with monkeypatch.context() as killing:
        kill_at_step(3, killing)
        assert ft("train", "killed/adapters/a", "--out", "killed")[0] != 0
    shutil.move(tmp_path / "killed", tmp_path / "moved")
    code, _, err = ft(
        "train", "moved/adapters/a", "--out", "moved", "--set", "train.learning_rate=0.02"
    )
    assert code == 3, err
    assert "learning_rate" in err
    code, _, err = ft("train", "moved/adapters/a", "--out", "moved")
    assert code == 0, err
    name = "adapters/a/adapter_model.safetensors"
    assert (tmp_path / "moved" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
