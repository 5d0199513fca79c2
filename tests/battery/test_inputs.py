"""Inputs and surroundings that no other wing's tests have."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ft_harness.cli import experiments
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, write_jsonl

ROOT = Path(__file__).parents[2]


def command(*arguments: object, flags: tuple[str, ...] = (), **options: Any) -> Any:
    given = [sys.executable, *flags, "-m", "ft_harness", *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, check=False, **options)


def test_a_gpu_is_asked_for_where_there_is_none(
    ft: Any, model_folder: Path, monkeypatch: pytest.MonkeyPatch, small_index: None
):
    """Case 14: before a model is loaded."""
    from ft_harness.evaluation import lm_eval_command

    monkeypatch.setattr(lm_eval_command.torch.cuda, "is_available", lambda: False)
    code, _, err = ft(
        "lm-eval", "run", "--model", "ft-causal", "--model_args", f"pretrained={model_folder}",
        "--tasks", "demo_sentiment", "--device", "cuda:0",
    )  # fmt: skip
    assert code == 5, err
    assert_three_lines(err, "cuda:0", "--device cpu")


def test_a_typing_error_in_a_dtype(ft: Any, tmp_path: Path):
    """Case 31."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r/recipe.yaml").write_text("task: {name: demo_sentiment}\n")
    code, _, err = ft("check", "r", "--set", "model.dtype=flaot16")
    assert code == 2, err
    assert_three_lines(err, "model.dtype", "float16")


LONG = "x" * 300  # more than any file system takes


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", LONG], ["report", LONG], ["compare", LONG, "b"], ["run", "r", "--out", LONG],
        ["check", "r", "--set", f"model.pretrained={LONG}"],
        ["check", "r", "--set", f"data.source={LONG}"],
        ["check", "r", "--set", "data.source=~nobody-of-this-name/x"],
        ["eval", "r", "--adapter", "~nobody-of-this-name/x"],
        ["tasks", "list", "--include-path", LONG],
    ],
)  # fmt: skip
@pytest.mark.usefixtures("small_index")
def test_a_path_that_the_system_does_not_take(arguments: list[str], ft: Any, tmp_path: Path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r/recipe.yaml").write_text("task: {name: demo_sentiment}\n")
    code, _, err = ft(*arguments)
    assert code in (2, 3), err
    assert_three_lines(err)


def test_a_path_that_may_not_be_read(ft: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "private/x")

    monkeypatch.setattr(experiments, "_experiment", refuse)
    code, _, err = ft("train", "r")
    assert code == 2, err
    assert_three_lines(err, "private/x: Permission denied")


def test_a_link_that_leads_to_itself(ft: Any, tmp_path: Path):
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "adapters").symlink_to("adapters")
    (tmp_path / "r").mkdir()
    (tmp_path / "r/recipe.yaml").write_text("task: {name: demo_sentiment}\n")
    for arguments in (["run", "loop.yaml"], ["run", "r"]):
        code, _, err = ft(*arguments)
        assert code == 2, err
        assert_three_lines(err)


def test_a_current_folder_that_was_removed(
    ft: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = ft("report", ".")
    assert code in (2, 3), err
    assert_three_lines(err)


HOSTILE = "task: x\nprocess_docs: !function evil.x\n"


@pytest.mark.slow  # many commands in processes of their own
def test_refusals_hold_without_asserts(tmp_path: Path):
    """Case 59: `python -O` takes assert statements out."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/x.yaml").write_text(HOSTILE)
    (tmp_path / "t/evil.py").write_text("open('ran', 'w')\n")
    done = command("check", "x", "--include-path", "t", flags=("-O",), cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert_three_lines(done.stderr, "evil.x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "a/adapter_model.bin").write_bytes(b"x")
    (tmp_path / "r").mkdir()
    (tmp_path / "r/recipe.yaml").write_text("task: {name: demo_sentiment}\n")
    done = command("eval", "r", "--adapter", "a", flags=("-O",), cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert_three_lines(done.stderr, "adapter_model.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow  # trains in a process of its own
def test_a_poor_environment(tmp_path: Path, model_folder: Path):
    """Case 60: no locale, no home, blanks and an umlaut in the path, output to an ASCII pipe."""
    folder = tmp_path / "with blanks und ü"
    source = write_jsonl(folder / "data ü.jsonl", review_rows(80)).parent
    (folder / "adapters/a").mkdir(parents=True)
    (folder / "adapters/a/recipe.yaml").write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: '{source}/data ü.jsonl'}}\nadapter: {{r: 2}}\n"
        "train: {max_steps: 2, learning_rate: 0.01}\neval: {splits: [test], limit: 8}\n",
        encoding="utf-8",
    )
    bare = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1",
        "LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict",
    }  # fmt: skip
    done = command("run", "adapters/a", cwd=folder, env=bare)
    assert done.returncode == 0, done.stderr
    assert (folder / "results/reports/a/report.md").is_file()
