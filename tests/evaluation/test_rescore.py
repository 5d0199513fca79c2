"""Saved responses scored again with other metrics: what scoring with a model gives, without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ft_harness.errors import InputError
from ft_harness.evaluation.rescore import Definition, score_again
from ft_harness.paths import task_yamls_dir
from ft_harness.records import Evaluation
from ft_harness.records.finding import load_records
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

LABELS = """\
task: mine
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {source: nowhere, columns: {text: [], label: []}, labels: [negative, positive]}}
training_split: train
validation_split: validation
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "Review: {{text | trim}}\\nSentiment:"
doc_to_target: label
doc_to_choice: [bad, good]
target_delimiter: " "
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
ANSWERS = """\
task: mine
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {source: nowhere, columns: {passage: [], question: [], answer: []}}}
training_split: train
validation_split: validation
test_split: test
fewshot_split: train
output_type: generate_until
doc_to_text: "{{passage | trim}}\\nQuestion: {{question | trim}}\\nAnswer:"
doc_to_target: answer
target_delimiter: " "
generation_kwargs: {until: ["\\n"], max_gen_toks: 5, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
TEXTS = """\
task: mine
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {source: nowhere, columns: {text: []}}}
training_split: train
validation_split: validation
test_split: test
output_type: loglikelihood_rolling
doc_to_text: text
doc_to_target: text
process_results: !function ft_harness.metrics.score_text_ppl
metric_list:
  - {metric: token_ppl, aggregation: !function ft_harness.metrics.aggregate_token_ppl, higher_is_better: false}
  - {metric: byte_ppl, aggregation: !function ft_harness.metrics.aggregate_byte_ppl, higher_is_better: false}
  - {metric: char_ppl, aggregation: !function ft_harness.metrics.aggregate_char_ppl, higher_is_better: false}
metadata: {version: 1.0}
"""


def with_metrics(text: str, name: str) -> str:
    """A task with a shipped list of metrics in place of lm-eval's own metric."""
    metrics = (task_yamls_dir() / "metric_lists" / name).read_text()
    return re.sub(r"metric_list:\n( .*\n)+", metrics, text)


CHANGED = {  # a task -> the same with other metrics, or with nothing but another version
    "labels": (LABELS, with_metrics(LABELS, "negative_positive.yml")),
    "answers": (ANSWERS, with_metrics(ANSWERS, "answer.yml")),
    "texts": (TEXTS, TEXTS.replace("1.0", "2.0")),
}


def rows(start: int) -> list[dict]:
    return [
        {"text": f"the film {start + i} was good", "label": ("negative", "positive")[i % 2],
         "passage": f"Ann has {start + i} hats.", "question": "Who?", "answer": "Ann"}
        for i in range(8)
    ]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, model_folder: Path) -> Path:
    """A working folder with data and a recipe `mine`, whose task each test writes."""
    for start, split in enumerate(("train", "validation", "test")):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows(start * 10))
    recipe = tmp_path / "adapters" / "mine" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: mine, include_path: tasks}}\n"
        f"data: {{source: {tmp_path / 'data'}}}\neval: {{splits: [test]}}\n"
    )
    (tmp_path / "tasks").mkdir()
    return tmp_path


def write_task(project: Path, text: str) -> None:
    (project / "tasks" / "mine.yaml").write_text(text)


def evaluate(ft, *options: str) -> None:
    code, _, err = ft("eval", "adapters/mine", *options)
    assert code == 0, err


def only(results: Path) -> Evaluation:
    (found,) = load_records([results])
    return found


@pytest.mark.parametrize("kind", CHANGED)
def test_more_metrics_are_those_of_a_new_evaluation(
    ft, kind: str, project: Path, monkeypatch: pytest.MonkeyPatch
):
    text, changed = CHANGED[kind]
    write_task(project, text)
    evaluate(ft)
    first = only(project / "results")
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    write_task(project, changed)
    evaluate(ft, "--out", "fresh")  # by the model, where nothing is known
    expected = only(project / "fresh" / "results")
    with monkeypatch.context() as patch:
        patch.setattr(
            "transformers.AutoModelForCausalLM.from_pretrained",
            lambda *_, **__: pytest.fail("loaded"),
        )
        code, out, err = ft("rescore", "results", "--include-path", "tasks")
    assert code == 0, err
    (again,) = [
        found for found in load_records([project / "results"]) if found.folder != first.folder
    ]
    assert f"{again.folder.parent.relative_to(project)}: {again.folder.name}" in out
    assert again.record.scores == expected.record.scores
    assert len(again.record.scores) >= {"labels": 16, "answers": 5, "texts": 3}[kind]
    assert all(
        score.value is not None
        for score in again.record.scores
        if score.metric in ("token_ppl", "truncated")
    )
    assert list(again.samples()) == list(expected.samples())
    assert again.record.settings == expected.record.settings
    assert again.folder.name == expected.folder.name  # so that eval finds it
    assert again.record.rescored_from == first.record.eval_id
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before
    _, _, err = ft("eval", "adapters/mine")
    assert "scored already" in err


def test_an_unchanged_task_gives_back_what_there_is(ft, project: Path):
    write_task(project, LABELS)
    evaluate(ft)
    (first,) = load_records([project / "results"])
    assert score_again([first], Definition(include_path=str(project / "tasks"))) == [first]


CHANGES = {
    "delimiter": ('target_delimiter: " "', 'target_delimiter: " is "', "written in another way"),
    "example format": (
        "doc_to_target: label",
        'doc_to_target: label\nfewshot_delimiter: "@@"',
        "in another way",
    ),
    "prompt": ("Review:", "Text:", "the prompt has changed"),
    "choices": ("[bad, good]", "[poor, great]", "the choices are poor, great now"),
    "order": ("[bad, good]", "[good, bad]", "the choices are good, bad now"),
    "target": ("doc_to_target: label", 'doc_to_target: "{{1 - label}}"', "the right answer is"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_task_that_asks_something_else_is_refused(ft, change: str, project: Path):
    old, new, words = CHANGES[change]
    write_task(project, LABELS)
    evaluate(ft)
    write_task(project, LABELS.replace(old, new))
    code, _, err = ft("rescore", "results", "--include-path", "tasks")
    assert code == 3
    assert_three_lines(err, words, "ft-harness eval")
    assert len(load_records([project / "results"])) == 1


def test_another_stop_string_and_filters_are_refused(ft, project: Path):
    write_task(project, ANSWERS)
    evaluate(ft)
    filters = 'filter_list: [{name: x, filter: [{function: regex, regex_pattern: "(A)"}, {function: take_first}]}]\n'
    for text, words in (
        (ANSWERS.replace('["\\n"]', '["."]'), "it stops at"),
        (ANSWERS + filters, "filters responses"),
    ):
        write_task(project, text)
        with pytest.raises(InputError, match=words):
            score_again(
                load_records([project / "results"]), Definition(include_path=str(project / "tasks"))
            )


def test_another_task_that_asks_the_same(ft, project: Path):
    """--task: its name and metrics; few-shot examples stand before the saved prompts."""
    write_task(project, LABELS)
    evaluate(ft, "--set", "eval.num_fewshot=2")
    (project / "tasks" / "other.yaml").write_text(
        CHANGED["labels"][1].replace("task: mine", "task: other")
    )
    (first,) = load_records([project / "results"])
    code, _, err = ft("rescore", first.folder, "--task", "other", "--include-path", "tasks")
    assert code == 0, err
    (again,) = [
        found for found in load_records([project / "results"]) if found.folder != first.folder
    ]
    assert (again.record.settings.task, again.record.settings.num_fewshot) == ("other", 2)
    assert len(again.record.scores) == 20  # the shipped list of negative and positive
    assert again.record.scores[0].value == first.record.scores[0].value
