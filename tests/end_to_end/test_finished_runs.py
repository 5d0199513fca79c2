"""A finished run is reported again as it is, and a check without a fault is shown again; whatever
has changed since takes the long way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ft_harness.pipeline import finished, identity, recipe_checks, runs
from ft_harness.pipeline.experiment import Experiment
from ft_harness.recipe import Recipe
from tests.builders.tiny import review_rows, write_jsonl

TASK = """
task: mine_custom
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {columns: {text: [], label: []}, labels: [negative, positive]}}
training_split: train
test_split: test
output_type: multiple_choice
doc_to_text: "Review: {{text}}\\nSentiment:"
doc_to_target: label
doc_to_choice: [bad, good]
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
RECIPE = {
    "model": {"pretrained": "./model"},
    "task": {"name": "mine_custom", "include_path": "tasks"},
    "data": {"source": "data"},
    "adapter": {"r": 2},
    "train": {"max_steps": 2},
    "eval": {"splits": ["test"], "limit": 8},
}


class LongWayError(Exception):
    """The run was not taken for finished."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "work"


@pytest.fixture
def work(ft, kept: Path, model_folder: Path, tmp_path: Path) -> Path:
    """The current folder, with a finished run of `adapters/mine`; made once."""
    if not kept.exists():
        shutil.copytree(model_folder, tmp_path / "model")
        for folder in ("tasks", "data", "adapters/mine"):
            (tmp_path / folder).mkdir(parents=True)
        write_jsonl(tmp_path / "data" / "train.jsonl", review_rows(32))
        write_jsonl(tmp_path / "data" / "test.jsonl", review_rows(8, start=200))
        (tmp_path / "tasks" / "mine.yaml").write_text(TASK)
        (tmp_path / "adapters" / "mine" / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
        code, _, said = ft("run", "adapters/mine")
        assert code == 0, said
        assert ft("check", "adapters/mine")[0] == 0
        shutil.copytree(tmp_path, kept)
    else:
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def no_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LongWayError

    monkeypatch.setattr(runs, "run", refuse)
    monkeypatch.setattr(recipe_checks, "check_recipe", refuse)


def is_long(ft) -> bool:
    return "LongWayError" in ft("run", "adapters/mine")[2]


def test_a_finished_run_is_reported_as_it_was(ft, work: Path, no_long_way: None):
    report = work / "results" / "reports" / "mine"
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    shutil.rmtree(report)
    code, out, said = ft("run", "adapters/mine")
    assert code == 0, said
    assert "mine: the adapter is finished already" in said
    assert said.count("scored already") == 2
    assert str(Path("results/reports/mine/report.md")) in out
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before


def append(name: str) -> Callable[[Path], None]:
    """One more byte at a file's end."""

    def change(work: Path) -> None:
        (path,) = work.glob(name)
        path.write_bytes(path.read_bytes() + b"\n")

    return change


def damage(name: str) -> Callable[[Path], None]:
    """Another letter in a file."""

    def change(work: Path) -> None:
        (path,) = work.glob(name)
        path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))

    return change


def ask_otherwise(work: Path) -> None:
    path = work / "tasks" / "mine.yaml"
    path.write_text(path.read_text().replace("Review:", "Text:"))


def remove(name: str) -> Callable[[Path], None]:
    return lambda work: next(work.glob(name)).unlink()


@pytest.mark.parametrize(
    "change",
    [
        append("data/train.jsonl"),
        lambda work: write_jsonl(work / "data" / "validation.jsonl", review_rows(4, start=300)),
        ask_otherwise,
        append("model/config.json"),
        append("model/model.safetensors"),
        lambda work: (work / "model" / "chat_template.jinja").write_text("{{ messages }}"),
        append("adapters/mine/adapter_model.safetensors"),
        remove("adapters/mine/card.json"),
        append("adapters/mine/README.md"),
        append("results/base--model/*/record.json"),
        remove("results/base--model/*/samples.jsonl.gz"),
        append("results/mine/*/samples.jsonl.gz"),
        damage("results/mine/run.json"),
        lambda work: (work / "results/mine/run.json").write_text("{}"),
    ],
    ids=[
        "a row", "a split", "the task", "the model's configuration", "the model's weights",
        "a chat template", "the adapter's weights", "no card", "the model card",
        "the base's record", "no samples", "the tuned samples", "the note", "another note",
    ],
)  # fmt: skip
def test_a_changed_file_is_looked_at(
    ft, work: Path, no_long_way: None, change: Callable[[Path], None]
):
    assert not is_long(ft)
    change(work)
    assert is_long(ft)


@pytest.mark.parametrize(
    "setting", ["eval.limit=4", "train.max_steps=3", "eval.num_fewshot=1", "data.source=model"]
)
def test_another_recipe_is_looked_at(ft, work: Path, no_long_way: None, setting: str):
    assert "LongWayError" in ft("run", "adapters/mine", "--set", setting)[2]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("_environment", lambda: ["torch-99.0.dist-info"]),
        ("_own_code", lambda: "another"),
    ],
)
def test_another_installation_or_machine_is_looked_at(
    ft, work: Path, no_long_way: None, monkeypatch: pytest.MonkeyPatch, name: str, changed
):
    monkeypatch.setattr(identity, name, changed)
    assert is_long(ft)


def test_a_strangers_code_is_looked_at(ft, work: Path, no_long_way: None):
    assert "LongWayError" in ft("run", "adapters/mine", "--trust-task-code")[2]


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("model", "pretrained", "somebody/model"),
        ("data", "source", "somebody/data"),
        ("task", "name", "arc_easy"),
        ("eval", "server", {"url": "http://127.0.0.1:8000"}),
    ],
)
def test_what_the_hub_may_have_changed_is_not_noted(
    work: Path, section: str, name: str, value: str
):
    changed = RECIPE | {section: RECIPE[section] | {name: value}}
    recipe = Recipe.model_validate(changed)
    experiment = Experiment("hub", recipe, work / "adapters" / "mine", Path(), "ft-harness run")
    finished.note_finished(experiment, [])
    assert not (work / "results" / "hub" / "run.json").exists()
    known = Experiment("hub", Recipe.model_validate(RECIPE), work, Path(), "ft-harness run")
    (work / "adapters" / "hub").mkdir()
    finished.note_finished(known, [])
    assert (work / "results" / "hub" / "run.json").exists()


def test_what_is_required_is_checked(ft, work: Path, no_long_way: None):
    code, _, said = ft("run", "adapters/mine", "--require", "token_f1>=0")
    assert code == 2
    assert "has no metric 'token_f1'" in said
    assert ft("run", "adapters/mine", "--require", "acc>=-100")[0] == 0


def test_what_a_person_writes_is_read(ft, work: Path, no_long_way: None):
    cases = work / "results" / "reports" / "mine" / "cases.csv"
    lines = cases.read_text(encoding="utf-8-sig").splitlines()
    lines[1] += "a reason of mine"
    cases.write_text("\n".join(lines))
    assert ft("run", "adapters/mine")[0] == 0
    assert "a reason of mine" in (cases.parent / "report.html").read_text(encoding="utf-8")


def test_a_check_is_shown_again(ft, work: Path, monkeypatch: pytest.MonkeyPatch, no_long_way: None):
    code, shown, said = ft("check", "adapters/mine")
    assert code == 0, said
    assert "training rows of" in shown
    monkeypatch.undo()
    monkeypatch.chdir(work)
    (work / "results" / "mine" / "check.json").unlink()
    assert ft("check", "adapters/mine")[1] == shown


@pytest.mark.parametrize(
    "change",
    [
        append("data/test.jsonl"),
        ask_otherwise,
        append("model/tokenizer.json"),
        append("adapters/mine/adapter_config.json"),
        damage("results/mine/check.json"),
        lambda work: (
            shutil.rmtree(work / "results/reports/mine")
            or (work / "results/reports/mine").write_text("no folder")
        ),
    ],
    ids=["a row", "the task", "the tokenizer", "the adapter", "the note", "a folder"],
)
def test_a_change_is_checked(ft, work: Path, no_long_way: None, change: Callable[[Path], object]):
    change(work)
    assert "LongWayError" in ft("check", "adapters/mine")[2]


@pytest.mark.parametrize(
    "options",
    [["--baseline"], ["--no-privacy-check"], ["--trust-task-code"], ["--set", "adapter.r=4"]],
)
def test_another_look_is_taken(ft, work: Path, no_long_way: None, options: list[str]):
    assert "LongWayError" in ft("check", "adapters/mine", *options)[2]
