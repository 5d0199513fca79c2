"""Controls in a recipe: scored before and after by the same command, a family of their own, no part
of the adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ft_harness.pipeline import runs
from ft_harness.recipe import load_recipe
from ft_harness.records.finding import load_records
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

CONTROLS = ["control_text", "control_grammar", "control_words"]
FEW = ("--set", "controls.limit=12", "--set", "train.max_steps=4", "--set", "model.max_length=128")


@pytest.fixture
def made(ft, model_folder: Path, reviews: Path) -> list[Any]:
    """A recipe as `init` writes it, and what makes it small."""
    code, _, err = ft("init", "my", "--task", "demo_sentiment")
    assert code == 0, err
    sets = {"model.pretrained": model_folder, "data.source": reviews}
    given = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
    return ["adapters/my", *given, *FEW]


def rows_of(report: str) -> list[dict[str, Any]]:
    return json.loads(Path("results/reports", report, "rows.json").read_text())


def test_one_command_scores_controls_before_and_after(ft, made: list[Any]):
    assert load_recipe("adapters/my").controls.tasks == tuple(CONTROLS)
    code, out, err = ft("run", *made)
    assert code == 0, err
    decided = {row["task"]: row["family"] for row in rows_of("my") if row["family"]}
    assert decided == dict.fromkeys(CONTROLS, "control task") | {"demo_sentiment": "trained task"}
    assert not any(row["primary"] for row in rows_of("my") if row["task"] in CONTROLS)
    records = [each.record for each in load_records([Path("results")])]
    of_controls = [each for each in records if each.settings.task in CONTROLS]
    assert len(of_controls) == 2 * len(CONTROLS)
    assert {each.settings.limit for each in of_controls} == {12}
    assert {each.is_control for each in of_controls if each.adapter} == {True}
    text = Path("results/reports/my/report.md").read_text()
    section = text.partition("## Forgetting")[2].partition("\n## ")[0]
    assert all(name.replace("_", "\\_") in section for name in CONTROLS)
    assert "No control task was scored" not in text
    said = [line for line in text.splitlines() if line.startswith("- control task of my")]
    assert len(said) == len(CONTROLS)
    for words in ("taught", "steps at a learning rate", "validation items"):
        assert not any(words in line for line in said)
    assert "demo_sentiment" not in out.partition("control task of my")[2]


@pytest.mark.slow  # two whole runs
def test_the_adapter_is_the_same_with_and_without_controls(ft, made: list[Any]):
    without = [*made, "--set", "controls.tasks=[]"]
    assert ft("run", *without)[0] == 0
    assert not any(row["family"] == "control task" for row in rows_of("my"))
    again = ["--set", f"controls.tasks={json.dumps(CONTROLS)}"]  # the folder's recipe has none now
    code, _, err = ft("run", *made, *again)
    assert code == 0, err
    assert "my: the adapter is finished already" in err
    assert {row["task"] for row in rows_of("my") if row["family"] == "control task"} == {*CONTROLS}


@pytest.mark.slow  # a whole run
def test_a_control_stays_one_where_the_adapters_folder_is_gone(ft, made: list[Any]):
    """The record says so: without a card the task would be taken for the trained one."""
    assert ft("run", *made)[0] == 0
    before = {row["task"]: (row["family"], row["verdict"], row["p"]) for row in rows_of("my")}
    shutil.rmtree("adapters")
    code, _, err = ft("report", "results", "--name", "again")
    assert code == 0, err
    after = {row["task"]: (row["family"], row["verdict"], row["p"]) for row in rows_of("again")}
    assert after == before


@pytest.mark.slow  # a training and four scorings
def test_eval_scores_them_too(ft, made: list[Any]):
    assert ft("run", *made)[0] == 0
    recipe, *given = made
    code, _, err = ft("eval", recipe, "--adapter", "adapters/my", *given)
    assert code == 0, err
    assert err.count("scored already") == 2 * (3 + len(CONTROLS))


@pytest.mark.slow  # a whole run
def test_a_control_with_validation_docs_alone_warns_of_no_choice(
    ft, made: list[Any], tmp_path: Path
):
    """The training chose nothing by the validation items of another task."""
    rows = [{"q": f"is {i} odd?", "a": ("no", "yes")[i % 2]} for i in range(20)]
    source = write_jsonl(tmp_path / "odd.jsonl", rows)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "odd.yaml").write_text(
        "task: odd\ncustom_dataset: !function ft_harness.data.load_splits\n"
        f"dataset_kwargs: {{data: {{source: '{source}', columns: {{q: [], a: []}}}}}}\n"
        "validation_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: '{{q}}'\ndoc_to_target: a\ndoc_to_choice: ['no', 'yes']\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
        "metadata: {version: 1.0, test_all: true}\n"
    )
    more = ("--set", f"task.include_path={folder}", "--set", "controls.tasks=[odd]")
    code, _, err = ft("run", *made, *more)
    assert code == 0, err
    text = Path("results/reports/my/report.md").read_text()
    (said,) = [line for line in text.splitlines() if line.startswith("- control task of my")]
    assert "on odd (validation)" in said
    assert "new items would" not in said


@pytest.mark.slow  # a whole run
def test_a_task_without_data_is_asked_on_the_recipes_with_and_without_examples(
    ft, model_folder: Path, tmp_path: Path
):
    """Another form of the trained data: it describes, and is neither a control nor decides."""
    rows = [{"instruction": f"say {i}", "output": f"it is {i % 7}"} for i in range(40)]
    source = write_jsonl(tmp_path / "own.jsonl", rows)
    assert ft("init", "my", "--task", "instruction_custom")[0] == 0
    sets = {
        "model.pretrained": model_folder,
        "data.source": source,
        "train.max_steps": 4,
        "eval.splits": "[test]",
        "eval.generation_kwargs": "{max_gen_toks: 4}",
        "controls.tasks": "[instruction_ppl_custom]",
        "controls.num_fewshot": "[0, 1]",
    }
    given = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
    code, _, err = ft("run", "adapters/my", *given)
    assert code == 0, err
    form = [row for row in rows_of("my") if row["task"] == "instruction_ppl_custom"]
    shots = {row["tuned_settings"]["num_fewshot"] for row in form if row["metric"] == "token_ppl"}
    assert shots == {0, 1}
    assert {row["family"] for row in form} == {None}
    assert {row["n"] for row in form} == {4}  # a tenth of 40 is the test split of both
    text = Path("results/reports/my/report.md").read_text()
    assert "## Other forms of the data" in text
    assert "## Forgetting" not in text


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ("controls.tasks=[control_texts]", 2, "no task control_texts; did you mean control_text?"),
        ("controls.tasks=[control_text, control_text]", 2, "once"),
        ("controls.tasks=[demo_sentiment]", 2, "other tasks than demo_sentiment"),
        ("controls.tasks=control_text", 2, "controls.tasks is 'control_text'"),
        ("controls.num_fewshot=[0, 0]", 2, "once"),
        ("controls.limit=0", 2, "greater than or equal to 1"),
        ("controls.task=[control_text]", 2, "unknown key controls.task; did you mean tasks?"),
        ("adapter.task_type=SEQ_CLS", 2, "a head knows its own labels alone"),
    ],
)
def test_what_can_be_no_control_is_refused_before_a_model_is_loaded(
    ft, made: list[Any], no_model: None, small_index: None, given: str, code: int, words: str
):
    if given.startswith("controls.limit"):  # which is given already
        made = [given if part == FEW[1] else part for part in made]
        given = "eval.limit=8"
    found, _, err = ft("run", *made, "--set", given)
    assert found == code, err
    assert_three_lines(err, words)


def test_faults_of_a_control_are_found_before_anything_is_scored(
    ft, made: list[Any], no_model: None, tmp_path: Path
):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "only_train.yaml").write_text(
        "task: only_train\ncustom_dataset: !function ft_harness.data.load_splits\n"
        "dataset_kwargs: {data: {source: bundled/demo_qa, columns: {question: [], answer: []}}}\n"
        "training_split: train\noutput_type: generate_until\n"
        "doc_to_text: '{{question}}'\ndoc_to_target: answer\n"
        "metric_list: [{metric: exact_match}]\nmetadata: {version: 1.0}\n"
    )
    more = ("--set", f"task.include_path={folder}", "--set", "controls.tasks=[only_train]")
    code, _, err = ft("run", *made, *more)
    assert code == 3
    assert_three_lines(err, "only_train has neither a test nor a validation split")


def test_examples_for_a_control_without_a_train_split_are_refused(
    ft, made: list[Any], no_model: None
):
    code, _, err = ft("run", *made, "--set", "controls.num_fewshot=2")
    assert code == 3
    assert_three_lines(err, "control_words", "controls.num_fewshot")


def test_a_dry_run_counts_their_docs(ft, made: list[Any]):
    code, out, err = ft("run", *made, "--dry-run")
    assert code == 0, err
    lines = {line[:26].strip(): line[28:] for line in out.splitlines()}
    assert lines["docs, control_grammar"] == "200, 12 scored with base and tuned each"


@pytest.mark.slow  # a whole run
def test_run_ends_with_1_where_a_requirement_is_not_met(ft, made: list[Any]):
    """12 items can't show that nothing was lost; what isn't scored is refused before that."""
    code, _, err = ft("run", *made, "--require", "controls>=-1", "--require", "acc>=-100")
    assert code == 1
    assert "controls>=-1 is not met by my: " in err
    assert "acc>=-100 is met: acc of my on demo_sentiment (test)" in err
    assert Path("results/reports/my/report.md").is_file()


def test_what_run_cannot_show_is_refused_before_a_model_is_loaded(
    ft, made: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "load_base_model", lambda *_: pytest.fail("a model was loaded"))
    code, _, err = ft("run", *made, "--require", "exact_match>=1")
    assert code == 2
    assert_three_lines(err, "--require 'exact_match>=1': the trained task has no metric")
    given = ("--set", "controls.tasks=[]", "--require", "controls>=-1")
    code, _, err = ft("run", *made, *given)
    assert code == 2
    assert_three_lines(err, "no control task is scored")
