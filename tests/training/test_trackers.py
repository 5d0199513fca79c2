"""Trackers: what they are given, what they are not, and that nothing depends on them.

The packages are stood in for by small ones of the same interface, as accelerate's trackers use it; where TensorBoard
itself is installed, its files are read too.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ft_harness.models.adapters import read_history
from ft_harness.recipe import Recipe
from ft_harness.training import monitoring
from ft_harness.training.monitoring import shown_config, tracker_problems
from tests.builders.command import assert_three_lines

SECRET = "hf_" + "a1B2" * 8
STUBS = {
    "wandb/__init__.py": """
import os
run, calls = None, []
class Config(dict):
    def update(self, values, allow_val_change=False):
        calls.append(("config", values))
class Run:
    def log(self, values, step=None):
        if os.environ.get("STUB_FAILS"): raise ConnectionError("no route to " + os.environ["HF_TOKEN"])
        calls.append(("log", values, step))
    def finish(self): calls.append(("finish",))
    def log_artifact(self, *_, **__): raise AssertionError("nothing is uploaded")
config = Config()
def init(**options):
    global run
    run = Run()
    calls.append(("init", options, {k: v for k, v in os.environ.items() if k.startswith("WANDB")}))
    return run
def watch(*_, **__): raise AssertionError("the model is not shown")
""",
    "trackio.py": """
calls = []
class Config(dict):
    def update(self, values, allow_val_change=False):
        calls.append(("config", values))
config = Config()
class Run:
    def log(self, values, step=None): calls.append(("log", values, step))
    def finish(self): calls.append(("finish",))
def init(**options):
    calls.append(("init", options))
    return Run()
def freeze(**options): raise AssertionError("nothing is published")
sync = freeze
""",
    "tensorboardX.py": """
calls = []
class SummaryWriter:
    def __init__(self, log_dir=None): calls.append(("init", log_dir))
    def add_text(self, name, text, step=None): calls.append(("text", name, text))
    def add_scalar(self, name, value, global_step): calls.append(("scalar", name, value, global_step))
    def flush(self): pass
    def close(self): calls.append(("close",))
""",
}


@pytest.fixture
def packages(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins, importable as the packages are."""
    folder = tmp_path_factory.mktemp("packages")
    for name, source in STUBS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(
        sys.modules, "tensorboard", None
    )  # as if it were not there: accelerate takes tensorboardX
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    importlib.invalidate_caches()
    yield
    for name in [
        name
        for name in sys.modules
        if name.partition(".")[0] in ("wandb", "trackio", "tensorboardX")
    ]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, model_folder: Path, reviews: Path):
    def write(name: str, report_to: list[str], **train: object) -> Path:
        recipe = {
            "model": {"pretrained": str(model_folder)},
            "task": {"name": "demo_sentiment"},
            "data": {"source": str(reviews)},
            "adapter": {"r": 4},
            "train": {"max_steps": 3, "eval_scores": 4, "report_to": report_to, **train},
        }
        path = tmp_path / "adapters" / name / "recipe.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(recipe), encoding="utf-8")
        return path

    return write


def test_numbers_and_the_recipe_reach_all_three(
    ft, write, packages, tmp_path: Path, model_folder: Path
):
    path = write("tracked", ["tensorboard", "wandb", "trackio"])
    code, _, error = ft("train", path)
    assert code == 0, error
    import tensorboardX
    import trackio
    import wandb

    losses = [entry.loss for entry in read_history(path.parent) if entry.loss is not None]
    accuracy = [entry.scores["acc"] for entry in read_history(path.parent) if entry.scores]
    assert len(losses) == 3
    for calls in (wandb.calls, trackio.calls):
        logged = [call[1] for call in calls if call[0] == "log"]
        assert [values["train/loss"] for values in logged if "train/loss" in values] == losses
        assert [values["eval/acc"] for values in logged if "eval/acc" in values] == accuracy
        assert [call[2] for call in calls if call[0] == "log" and "train/loss" in call[1]] == [
            1,
            2,
            3,
        ]
        assert calls[-1] == ("finish",)
        (config,) = (call[1] for call in calls if call[0] == "config")
        assert config["train"]["max_steps"] == 3
    scalars = [call[1:] for call in tensorboardX.calls if call[0] == "scalar"]
    assert [(value, step) for name, value, step in scalars if name == "train/loss"] == list(
        zip(losses, [1, 2, 3], strict=True)
    )
    assert Path(tensorboardX.calls[0][1]).resolve() == path.parent / "tensorboard"
    assert tensorboardX.calls[-1] == ("close",)

    environment = wandb.calls[0][2]
    assert environment["WANDB_MODE"] == "offline"
    assert (
        environment["WANDB_X_DISABLE_META"] == "true"
    )  # W&B would keep the command line, paths and host
    assert Path(environment["WANDB_DIR"]).resolve() == path.parent
    assert Path(wandb.calls[0][1].pop("dir")).resolve() == path.parent
    assert trackio.calls[0][1]["space_id"] is None
    assert not [name for name in os.environ if name.startswith("WANDB")]  # ours are gone again
    told = json.dumps([wandb.calls[0][1], wandb.calls[1:], trackio.calls, tensorboardX.calls[1:]])
    for private in (
        SECRET,
        str(tmp_path),
        str(model_folder),
        str(model_folder.parent),
        os.path.expanduser("~"),
    ):
        assert private not in told


def test_the_users_own_settings_win(ft, write, packages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_LOG_MODEL", "end")  # would upload the weights
    assert ft("train", write("tracked", ["wandb"]))[0] == 0
    import wandb

    assert wandb.calls[0][2]["WANDB_MODE"] == "online"
    assert any(
        call[0] == "log" for call in wandb.calls
    )  # the stand-in has no artifacts: an upload would have failed
    assert os.environ["WANDB_MODE"] == "online"


def test_a_tracker_that_fails_stops_nothing(
    ft, write, packages, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.setenv("STUB_FAILS", "yes")
    tracked, plain = write("tracked", ["wandb", "trackio"]), write("plain", [])
    with caplog.at_level(logging.WARNING):
        assert [ft("train", path)[0] for path in (tracked, plain)] == [0, 0]
    assert "wandb failed and is left out from here on (no route to" in caplog.text
    assert caplog.text.count("wandb failed") == 1
    assert SECRET not in caplog.text
    assert read_history(tracked.parent) == read_history(plain.parent)
    left, right = (
        load_file(path.parent / "adapter_model.safetensors") for path in (tracked, plain)
    )
    assert all((left[key] == right[key]).all() for key in right)
    import trackio

    assert sum(call[0] == "log" for call in trackio.calls) > 3


@pytest.mark.slow  # a whole run with three trackers
def test_base_and_tuned_reach_all_three_once(ft, write, packages):
    path = write("tracked", ["tensorboard", "wandb", "trackio"])
    assert ft("run", path)[0] == 0
    import tensorboardX
    import trackio
    import wandb

    rows = json.loads(Path("results/reports/tracked/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    names = {"base": "base", "tuned": "tuned", "delta": "difference", "low": "low", "high": "high"}
    wanted = {f"test/acc/{name}": primary[field] for field, name in names.items()}
    scalars = {call[1]: call[2:] for call in tensorboardX.calls if call[0] == "scalar"}
    assert {name: scalars[name] for name in wanted} == {
        name: (value, 3) for name, value in wanted.items()
    }
    for calls in (wandb.calls, trackio.calls):
        logged = [call[1] for call in calls if call[0] == "log"]
        (final,) = [values for values in logged if "test/acc/tuned" in values]
        assert wanted.items() <= final.items()
        assert calls[-1] == ("finish",)
    starts = [call[1]["id"] for call in wandb.calls if call[0] == "init"]
    assert len(starts) == 2  # the training, then its results
    assert len(set(starts)) == 1  # in one run
    before = len(wandb.calls)
    assert ft("run", path)[0] == 0  # everything is finished: nothing is new
    assert len(wandb.calls) == before


def test_by_default_nothing_is_tracked(ft, write, packages):
    assert ft("train", write("plain", []))[0] == 0
    assert not {"wandb", "trackio", "tensorboardX"} & sys.modules.keys()


def test_a_missing_package_is_refused_before_a_model_is_loaded(
    ft, write, no_model, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(monitoring, "find_spec", lambda _: None)
    code, _, error = ft("train", write("tracked", ["trackio"]))
    assert code == 3
    assert_three_lines(error)
    assert "trackio is not installed" in error
    assert "pip install trackio" in error


def test_problems_name_each_missing_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        monitoring, "find_spec", lambda name: object() if name == "tensorboardX" else None
    )
    recipe = Recipe.model_validate(
        {"task": {"name": "t"}, "train": {"report_to": ["tensorboard", "wandb", "trackio"]}}
    )
    assert [problem.what.split()[1] for problem in tracker_problems(recipe)] == [
        "wandb:",
        "trackio:",
    ]


def test_paths_are_told_by_their_last_part():
    recipe = Recipe.model_validate(
        {
            "model": {"pretrained": "somewhere/models/tiny"},
            "task": {"name": "t"},
            "data": {"source": "https://user:password@host/data.csv"},
            "train": {"continue_from": "somewhere/adapters/first"},
        }
    )
    told = shown_config(recipe, "second")
    assert (told["model"], told["train"]["continue_from"]) == ("tiny", "first")
    assert not {"somewhere", "password"} & set(re.findall(r"\w+", json.dumps(told)))


def test_tensorboards_own_files(ft, write):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    path = write("tracked", ["tensorboard"])
    assert ft("train", path)[0] == 0
    events = accumulator.EventAccumulator(str(path.parent / "tensorboard"))
    events.Reload()
    losses = [entry.loss for entry in read_history(path.parent) if entry.loss is not None]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(
        losses, rel=1e-6
    )
