"""The section "Commands" of a report, pasted into a new folder with the same data, makes the same
report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.test_report import fences, section

RECIPE = """\
task: {name: demo_sentiment}  # reviews
adapter: {r: 4, lora_alpha: 8}
train:
  num_train_epochs: 1
  learning_rate: 0.02
  per_device_train_batch_size: 8
"""
pytestmark = pytest.mark.slow  # trains and scores in processes of their own


def paste(report: Path, folder: Path) -> None:
    """Run what the report says in a shell."""
    (script,) = fences(section(report.read_text(), "Commands"))
    folder.mkdir()
    command = f'ft-harness() {{ "{sys.executable}" -m ft_harness "$@"; }}\nset -e\n{script}\n'
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stderr}"


def rows_of(folder: Path, name: str) -> bytes:
    return (folder / "results" / "reports" / name / "rows.json").read_bytes()


def write_recipe(folder: Path) -> Path:
    path = folder / "adapters" / "mine" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(RECIPE)
    return path


def options(model_folder: Path, reviews: Path) -> list[str]:
    settings = [f"model.pretrained={model_folder}", f"data.source={reviews}", "data.train_size=48"]
    return [word for setting in settings for word in ("--set", setting)]


def test_a_run_with_options_goes_on_without_them_and_is_repeated_by_its_commands(
    ft, tmp_path: Path, model_folder: Path, reviews: Path
):
    recipe = write_recipe(tmp_path)
    code, _, err = ft("run", recipe.parent, *options(model_folder, reviews))
    assert code == 0, err
    assert f"recipe.yaml now says data.source={reviews}\n" in err
    assert "task: {name: demo_sentiment}  # reviews" in recipe.read_text()
    code, _, err = ft("run", recipe.parent)
    assert code == 0, err
    assert "finished already" in err
    paste(tmp_path / "results" / "reports" / "mine" / "report.md", tmp_path / "fresh")
    assert rows_of(tmp_path / "fresh", "mine") == rows_of(tmp_path, "mine")


def test_a_copy_with_options_goes_on_without_them(
    ft, tmp_path: Path, model_folder: Path, reviews: Path
):
    recipe = write_recipe(tmp_path)
    command = ["train", recipe, "--name", "other"]
    assert ft(*command, *options(model_folder, reviews))[0] == 0
    code, _, err = ft(*command)
    assert code == 0, err
    assert "finished already" in err
    assert recipe.read_text() == RECIPE
    recipe.write_text(RECIPE.replace("0.02", "0.01"))  # what a person changes is not passed over
    code, _, err = ft(*command)
    assert code == 3
    assert "train.learning_rate: 0.02 -> 0.01" in err


def test_a_study_is_repeated_by_its_commands(ft, tmp_path: Path, model_folder: Path, reviews: Path):
    recipe = write_recipe(tmp_path)
    given = options(model_folder, reviews)
    assert ft("run", recipe, *given)[0] == 0
    assert ft("train", recipe, "--name", "seed-1", "--set", "train.seed=1")[0] == 0
    scored = ["--set", "eval.splits=[test]", "--set", "eval.limit=16"]
    adapters = [word for name in ("mine", "seed-1") for word in ("--adapter", f"adapters/{name}")]
    code, out, err = ft("eval", recipe, *adapters, *scored)
    assert code == 0, err
    assert "ft-harness report results/" in out
    study = ["report", tmp_path / "results", "--name", "study", "--metrics", "f1_macro"]
    assert ft(*study)[0] == 0
    report = tmp_path / "results" / "reports" / "study" / "report.md"
    assert "ft-harness report results --name study --metrics f1_macro\n" in report.read_text()
    paste(report, tmp_path / "fresh")
    assert rows_of(tmp_path / "fresh", "study") == rows_of(tmp_path, "study")


@pytest.mark.parametrize("short", [False, True])
def test_a_sweep_is_repeated_by_its_commands(
    short: bool, ft, tmp_path: Path, model_folder: Path, reviews: Path
):
    """A sweep that a recipe holds, and one of options."""
    recipe = write_recipe(tmp_path)
    given = options(model_folder, reviews)
    if short:
        command = ["run", recipe, "--seeds", 2, "--set", "train.learning_rate=0.02,0.01", *given]
    else:
        section = "sweep:\n  vary: {data.train_size: [16, 32], train.seed: [0, 1]}\n"
        recipe.write_text(f"{RECIPE}{section}  reference: {{data.train_size: 32}}\n")
        command = ["sweep", recipe, *given[:4]]
    code, _, err = ft(*command)
    assert code == 0, err
    paste(tmp_path / "results" / "reports" / "mine" / "report.md", tmp_path / "fresh")
    assert rows_of(tmp_path / "fresh", "mine") == rows_of(tmp_path, "mine")
