"""Commands that need no model start without torch, and each task YAML is read once."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "peft", "lm_eval", "datasets"}
SCRIPT = """
import sys
sys.argv = ["ft-harness", *{arguments!r}]
from ft_harness import cli
try:
    cli.main()
except SystemExit as stop:
    print("code", stop.code or 0)
print("loaded", " ".join(sys.modules))
"""


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """Top-level packages that a command loads; it must end with code 0."""
    # libraries that these tests have loaded set variables, as a launcher does
    environment = {name: os.environ[name] for name in os.environ if "ACCELERATE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    assert "code 0" in done.stdout, done.stdout + done.stderr
    modules = done.stdout.rpartition("loaded ")[2].split()
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("tasks", "list"),
        ("tasks", "path"),
        ("path", "model"),
        ("power", "--n", "300", "--base", "0.6"),
    ],
    ids=" ".join,
)
def test_a_command_without_a_model_is_light(arguments: tuple[str, ...], tmp_path: Path):
    assert not loaded_by(tmp_path, *arguments) & HEAVY


def test_check_reads_each_yaml_once(
    ft, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert ft("init", "mine", "--task", "sst2_stories_custom")[0] == 0
    read: Counter[str] = Counter()
    open_file, open_path = io.open, Path.open

    def counted(file, *arguments, **options):
        if str(file).endswith((".yaml", ".yml")):
            read[str(Path(file).resolve())] += 1
        return open_file(file, *arguments, **options)

    def counted_path(self: Path, *arguments, **options):
        return counted(self, *arguments, **options)

    monkeypatch.setattr(builtins, "open", counted)
    monkeypatch.setattr(io, "open", counted)
    monkeypatch.setattr(Path, "open", counted_path)
    settings = [f"model.pretrained={model_folder}", f"data.source={reviews}"]
    settings.append("data.columns={sentence: [text]}")
    options = [word for setting in settings for word in ("--set", setting)]
    code, _, err = ft("check", "adapters/mine", *options)
    monkeypatch.setattr(Path, "open", open_path)
    assert code == 0, err
    # sst2_stories_custom.yaml includes sst2_custom.yaml, which includes metric_lists/*.yml
    names = {Path(path).name for path in read}
    assert {"recipe.yaml", "sst2_stories_custom.yaml", "sst2_custom.yaml"} <= names
    assert {path: times for path, times in read.items() if times > 1} == {}


@pytest.mark.parametrize(
    "arguments", [("tasks", "show", "demo_nli"), ("init", "m", "--task", "demo_qa")]
)
def test_tasks_are_read_without_torch(arguments: tuple[str, ...], tmp_path: Path):
    """By lm-eval's own task objects, which load datasets."""
    heavy = HEAVY - {"lm_eval", "datasets"} | {"accelerate", "sklearn", "matplotlib", "scipy"}
    assert not loaded_by(tmp_path, *arguments) & heavy


def test_report_and_compare_are_light(ft, model_folder: Path, reviews: Path, tmp_path: Path):
    """On evaluations of an adapter whose folder is there: its card, history and weights are read."""
    recipe = tmp_path / "adapters" / "mine" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {reviews}}}\nadapter: {{r: 4}}\ntrain: {{max_steps: 4}}\n"
        "eval: {splits: [test], limit: 8}\n"
    )
    code, _, err = ft("run", recipe)
    assert code == 0, err
    assert not loaded_by(tmp_path, "run", str(recipe)) & (HEAVY | {"sklearn"})
    assert not loaded_by(tmp_path, "report", "results", "--name", "again") & HEAVY
    assert "## Cost" in (tmp_path / "results" / "reports" / "again" / "report.md").read_text()
    (base,) = (tmp_path / "results").glob("base--*")
    assert not loaded_by(tmp_path, "compare", str(base), "results/mine") & HEAVY
    assert not loaded_by(tmp_path, "power", str(base)) & HEAVY
