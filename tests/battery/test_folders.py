"""Folders and disks: found before anything is computed, or named with what is kept and what goes on."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ft_harness import storage
from ft_harness.errors import ConfigError, InputError, StorageLostError
from ft_harness.storage import lock, writing
from ft_harness.training import monitoring
from tests.builders.command import assert_three_lines

pytestmark = pytest.mark.usefixtures("small_index")


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path, reviews: Path) -> Path:
    path = tmp_path / "adapters/a/recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {reviews}}}\nadapter: {{r: 2}}\n"
        "train: {max_steps: 4, save_steps: 1, learning_rate: 0.01}\n"
        "eval: {splits: [test], limit: 12}\n"
    )
    return path


# --- found before ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["results/reports", "results/base--tiny", "results/a"])
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_file_in_place_of_any_folder_that_a_run_writes(
    place: str, command: str, ft: Any, recipe: Path, tmp_path: Path, no_model: None
):
    (tmp_path / "results").mkdir()
    (tmp_path / place).write_text("")
    code, _, err = ft(command, recipe)
    assert code == 2, err
    assert_three_lines(err, place, "can't be written")


@pytest.mark.slow  # processes that import everything
@pytest.mark.parametrize("kilobytes", [0, 1])
def test_a_limit_of_file_sizes_from_the_start(kilobytes: int, recipe: Path, tmp_path: Path):
    """`ulimit -f`: more space, or another folder, helps nobody."""
    command = [sys.executable, "-m", "ft_harness", "run", str(recipe)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=limited(1024 * kilobytes),
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert_three_lines(done.stderr, "do: raise the limit (ulimit -f")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nope"], ["run"], ["run", "a", "b"], ["eval", "r", "--adapter"], ["nope"],
        ["report", "x", "--explorer", "many"], ["tasks", "show"], ["lm-eval", "run", "--nope"],
        ["lm-eval", "nope"], ["run", "r", "--dry-run=x"], ["run", "--set\nexpected: x", "r"],
    ],
)  # fmt: skip
def test_usage_errors_are_three_lines(arguments: list[str], ft: Any):
    code, out, err = ft(*arguments)
    assert code == 2
    assert out == ""
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "expected", "do"]


def test_without_arguments_there_is_help(ft: Any):
    code, _, err = ft()
    assert code == 2
    assert "Usage" in err


def test_help_of_lm_eval_is_its_own(ft: Any):
    code, out, _ = ft("lm-eval", "run", "--help")
    assert code == 0
    assert "--model_args" in out


# --- lost on the way ------------------------------------------------------------------------------


def at_step(step: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something before the history of a step is written."""
    whole = monitoring.Monitor.log

    def log(self: Any, entry: Any) -> None:
        if entry.step == step and entry.loss is not None:
            act()
        whole(self, entry)

    monkeypatch.setattr(monitoring.Monitor, "log", log)


@pytest.mark.slow  # a process that imports everything
def test_an_adapter_folder_that_is_removed_while_training(
    ft: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    at_step(3, lambda: shutil.rmtree(recipe.parent), monkeypatch)
    code, _, err = ft("run", recipe)
    assert code == 7, err
    assert_three_lines(err, "adapters/a/history.jsonl", "removed", "copy of the weights in")
    copy = Path(err.partition("copy of the weights in ")[2].splitlines()[0])
    assert (copy / "adapter_model.safetensors").is_file()
    # the recipe was removed too, and the same command needs it
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, _, err = ft("run", recipe)
    assert code == 0, err


@pytest.mark.slow  # processes that import everything
@pytest.mark.parametrize("where", ["save_recipe", "train"])
def test_an_adapter_folder_that_is_removed_before_training(
    where: str, ft: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was saved by then is missing at the end; before anything was saved, nothing is."""
    from ft_harness.pipeline import runs, stages

    owner: Any = runs if where == "save_recipe" else stages
    whole = getattr(owner, where)

    def removed(*given: Any) -> Any:
        shutil.rmtree(recipe.parent)
        recipe.parent.mkdir()
        return whole(*given)

    monkeypatch.setattr(owner, where, removed)
    code, _, err = ft("run", recipe)
    if where == "train":
        assert code == 7, err
        assert_three_lines(
            err, "adapters/a/recipe.yaml (and 1 more): saved by this run and removed"
        )
        monkeypatch.setattr(owner, where, whole)
        code, _, err = ft("run", recipe)
    assert code == 0, err
    assert {path.name for path in recipe.parent.iterdir()} >= {"recipe.yaml", "data_report.json"}


def test_results_that_are_removed_while_training(
    ft: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    at_step(2, lambda: shutil.rmtree(tmp_path / "results"), monkeypatch)
    code, _, err = ft("run", recipe)
    assert code == 7, err
    assert_three_lines(err, "results/base--tiny", "record.json", "removed")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, _, err = ft("run", recipe)
    assert code == 0, err
    assert "finished already" in err


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_an_adapter_folder_that_becomes_read_only(
    number: int, ft: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What has no way to be deleted either, the lock among it, hides no exit code."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    error = OSError(number, os.strerror(number))
    whole = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if recipe.parent in path.parents:
            raise error
        whole(path, missing_ok)

    def fail(*_: Any) -> None:
        raise error

    def read_only() -> None:
        monkeypatch.setattr(lock.Path, "unlink", unlink)
        monkeypatch.setattr(writing.os, "fsync", fail)
        monkeypatch.setattr(writing.os, "replace", fail)

    at_step(2, read_only, monkeypatch)
    code, _, err = ft("train", recipe)
    assert code == 7, err
    assert_three_lines(err, "adapters/a", "emergency copy of the weights in")


def limited(bytes_: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@pytest.mark.slow  # several trainings in processes of their own
def test_a_limit_of_file_sizes_within_safetensors(recipe: Path, tmp_path: Path):
    """`ulimit -f`: a checkpoint's weights fit, the optimizer's state doesn't."""
    command = [sys.executable, "-m", "ft_harness", "train", str(recipe), "--set", "adapter.r=128"]
    whole = subprocess.run(
        [*command, "--out", "whole"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert whole.returncode == 0, whole.stderr
    adapter = tmp_path / "whole/adapters/a/adapter_model.safetensors"
    weights = adapter.stat().st_size
    for limit in (weights // 2, weights + 1024):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False,
            preexec_fn=limited(limit),
        )  # fmt: skip
        assert done.returncode == 5, done.stderr
        assert_three_lines(done.stderr, "ulimit -f", "checkpoint was not saved")
        assert not list(tmp_path.rglob("*.tmp"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (recipe.parent / adapter.name).read_bytes() == adapter.read_bytes()


@pytest.mark.slow  # a command in a process of its own
def test_no_temporary_folder_has_room(ft: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch):
    """tempfile tries to write into each before it names one; see above for a limit of file sizes."""

    def fail(*_: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("ft_harness.cli.experiments._experiment", fail)
    code, _, err = ft("run", recipe)
    assert code == 5, err
    assert_three_lines(err, "TMPDIR")


def test_a_full_disk_while_scoring_names_the_command_that_goes_on(
    ft: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, written = writing.os.fsync, []

    def fsync(number: int) -> None:
        if os.readlink(f"/proc/self/fd/{number}").endswith(".jsonl"):
            written.append(number)
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(number)

    with monkeypatch.context() as full:
        full.setattr(writing.os, "fsync", fsync)
        code, _, err = ft("eval", recipe, "--set", "eval.limit=8")
    assert written
    assert code == 5, err
    assert_three_lines(err, "disk is full", f"run the same command again: ft-harness eval {recipe}")
    code, _, err = ft("eval", recipe, "--set", "eval.limit=8")
    assert code == 0, err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 3 MB; skipped where it can't be made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(
    small_disk: Path, ft: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing, "MIN_FREE_BYTES", 1000)
    (small_disk / "filling").write_bytes(bytes(2_900_000))
    code, _, err = ft("run", recipe, "--out", small_disk)
    assert code == 5, err
    assert_three_lines(err, "the disk is full")
    assert not [path for path in small_disk.rglob("*") if path.name.endswith(".tmp")]
    (small_disk / "filling").unlink()
    code, _, err = ft("run", recipe, "--out", small_disk)
    assert code == 0, err


# --- left behind ----------------------------------------------------------------------------------


def test_unfinished_files_of_dead_processes_are_swept(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    dead, mine = int(done.stdout), os.getpid()
    here = writing._MACHINE
    names = {
        f".record.json.{here}-{dead}.tmp": False, f".record.json.{here}-{mine}.tmp": True,
        f".record.json.{'0' * 8}-{dead}.tmp": True, "notes.tmp": True, ".mine.tmp": True,
    }  # fmt: skip
    for name in names:
        (tmp_path / "a/b").mkdir(parents=True, exist_ok=True)
        (tmp_path / "a/b" / name).write_text("")
    old = tmp_path / "a" / f".x.{'0' * 8}-{mine}.tmp"
    old.write_text("")
    os.utime(old, (0, 0))
    assert storage.problems(tmp_path) == []
    assert {name: (tmp_path / "a/b" / name).exists() for name in names} == names
    assert not old.exists()


def test_what_a_killed_write_leaves_is_swept_at_the_next_start(tmp_path: Path):
    code = (
        "import os, signal, sys; from pathlib import Path; from ft_harness.storage import writing\n"
        "writing.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "writing.write_text(Path(sys.argv[1]) / 'record.json', '{}')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".tmp")
    assert storage.problems(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_given_back_between_opening_and_holding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first one deletes the file that the second one has opened; a third one makes it anew and
    holds it. The second one holds a file that nobody else will ever see."""
    whole, third = fcntl.flock, []

    def flock(handle: Any, how: int) -> None:
        monkeypatch.setattr(lock.fcntl, "flock", whole)
        (tmp_path / lock.LOCK_FILE).unlink()  # as the first one does
        third.append(storage.locked(tmp_path))
        third[0].__enter__()
        whole(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(InputError, match="in use by process"), storage.locked(tmp_path):
        pytest.fail("the lock is held twice")
    third[0].__exit__(None, None, None)
    with storage.locked(tmp_path):
        pass


def test_a_folder_in_place_of_a_lock(tmp_path: Path):
    (tmp_path / lock.LOCK_FILE).mkdir()
    with pytest.raises(ConfigError, match="can't be opened"), storage.locked(tmp_path):
        pytest.fail("there is no lock")


def test_a_lock_that_cannot_be_deleted_hides_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    held = storage.locked(tmp_path)
    held.__enter__()
    monkeypatch.setattr(lock.Path, "unlink", fail)
    error = StorageLostError("x", "y", "z")
    assert not held.__exit__(StorageLostError, error, None)  # it goes on as it was
