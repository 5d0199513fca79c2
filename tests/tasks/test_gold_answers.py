"""`check` scores the right answers themselves: what no model can get right is reported with the
reason and the cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ft_harness.errors import Findings
from ft_harness.paths import task_yamls_dir
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.gold_answers import check_gold
from ft_harness.tasks.loading import load_tasks
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, write_jsonl
from tests.tasks.test_rows import CHOSEN, GENERATED, load, put
from tests.tasks.test_task_checks import GENERATED as TASK

pytestmark = pytest.mark.usefixtures("no_model")
# our scoring of short answers, which is what the shipped tasks use
SCORED = f"""include: {task_yamls_dir() / "metric_lists" / "answer.yml"}
output_type: generate_until
doc_to_target: answer
generation_kwargs: {{until: UNTIL, max_gen_toks: 8}}
"""


def gold(folder: Path, answers: list[Any], until: str = '["\\n"]', extra: str = "") -> Findings:
    rows = [{"q": f"q {i}", "answer": answer} for i, answer in enumerate(answers)]
    return check_gold(load(folder, SCORED.replace("UNTIL", until) + extra, rows))


def train_notices(found: Findings) -> list[str]:
    return [notice.what for notice in found.notices if " of train " in notice.what]


def test_right_answers_that_score_are_no_finding(tmp_path: Path):
    found = gold(tmp_path, ["Paris", "Rome", "the Hague"])
    assert (found.faults, found.notices) == ([], [])


def test_a_stop_string_within_an_answer_is_named(tmp_path: Path):
    found = gold(tmp_path, ["Paris", "line one\nline two", "Rome", "Bonn"])
    (notice,) = train_notices(found)
    assert notice == (
        "1 of 4 right answers of train don't reach the top exact_match: a stop string of "
        "generation_kwargs.until cuts it (row 1, counted from 0; 'line one\\nline two')"
    )
    assert "choose a stop string that no answer holds" in found.notices[0].action


def test_a_delimiter_that_is_a_stop_string_cuts_every_answer(tmp_path: Path):
    found = gold(tmp_path, ["Paris", "Rome"], extra='target_delimiter: "\\n"\n')
    assert "2 of 2 right answers of train" in found.faults[0].what
    assert "a stop string of generation_kwargs.until cuts it" in found.faults[0].what


def test_a_turn_marker_within_an_answer_is_named(tmp_path: Path):
    """The answer of case F12: another question begins in its third line."""
    found = gold(tmp_path, ["Paris", "# T\n\n### Part\nQ: why?", "Rome"], until='["<end>"]')
    (notice,) = train_notices(found)
    assert "it holds what begins another turn" in notice
    assert "row 1, counted from 0" in notice


def test_label_words_that_the_parser_folds_to_one_are_refused(ft, tmp_path: Path):
    """Case F12: "US" and "us" are one word to the parser."""
    write_jsonl(tmp_path / "m.jsonl", [{"text": f"film {i}", "label": i % 2} for i in range(40)])
    options = [f"data.source={tmp_path / 'm.jsonl'}", "data.label_words=[US,us]"]
    words = [word for option in options for word in ("--set", option)]
    code, _, err = ft("check", "imdb_custom_gen", *words)
    assert code == 3
    assert_three_lines(err, "'US' and 'us' are read as the same answer")


def test_an_unfiltered_exact_match_scores_the_blank_before_an_answer(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i}"} for i in range(4)]
    found = check_gold(load(tmp_path, GENERATED, rows))
    assert found.faults == []
    assert "the white space before it" in found.notices[0].what
    filters = (
        "filter_list: [{name: plain, filter: [{function: remove_whitespace}, "
        "{function: take_first}]}]\n"
    )
    assert check_gold(load(tmp_path, GENERATED + filters, rows)).notices == []


def test_a_filter_that_reads_nothing_is_a_fault(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i}"} for i in range(4)]
    filters = (
        "filter_list: [{name: strict, filter: [{function: regex, regex_pattern: '(zzz)'}, "
        "{function: take_first}]}]\n"
    )
    found = check_gold(load(tmp_path, GENERATED + filters, rows))
    assert "4 of 4 right answers of train" in found.faults[0].what


def test_the_right_choice_scores(tmp_path: Path):
    rows = [{"q": f"q {i}", "c": ["x", "y", "z"], "a": i % 3} for i in range(6)]
    found = check_gold(load(tmp_path, CHOSEN, rows))
    assert (found.faults, found.notices) == ([], [])


def test_a_process_results_that_prefers_another_choice_is_a_fault(tmp_path: Path):
    rows = [{"q": f"q {i}", "c": ["x", "y"], "a": i % 2} for i in range(4)]
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "score.py").write_text(
        "def score(doc, results):\n"
        "    best = max(range(2), key=lambda i: results[i][0])\n"
        "    return {'acc': float(best != doc['a'])}\n"
    )
    body = CHOSEN + "process_results: !function score.score\n"
    tasks = put(tmp_path, body, rows)
    loaded = load_tasks(find_task("mine", str(tasks), trust_code=True), ["train"])
    assert "4 of 4 right answers of train" in check_gold(loaded).faults[0].what


def test_a_recipes_stop_strings_are_tried(ft, tmp_path: Path, model_folder: Path):
    """`eval.generation_kwargs` may cut what the task's own stop strings leave."""
    rows = [{"question": f"q {i}", "answer": "one, two" if i == 1 else f"{i}"} for i in range(12)]
    for split in ("train", "validation", "test"):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    assert ft("init", "my", "--task", "instruction_custom")[0] == 0
    options = [f"model.pretrained={model_folder}", f"data.source={tmp_path / 'data'}"]
    words = [word for option in options for word in ("--set", option)]
    code, out, err = ft(
        "check", "adapters/my", *words, "--set", "eval.generation_kwargs={max_gen_toks: 16}"
    )
    assert code == 0, err
    assert "a stop string" not in out
    code, out, err = ft(
        "check",
        "adapters/my",
        *words,
        "--set",
        "eval.generation_kwargs={max_gen_toks: 16, until: [',']}",
    )
    assert code == 0, err
    assert "1 of 12 right answers of train" in out
    assert "a stop string of generation_kwargs.until cuts it (row 1" in out


# task YAMLs of the wrong shape (H8), filters and late rows (H7)

SHAPES = {
    "until": ("generation_kwargs: {until: 5}\n", "generation_kwargs.until is 5"),
    "max_gen_toks": (
        "generation_kwargs: {max_gen_toks: -4}\n",
        "generation_kwargs.max_gen_toks is -4",
    ),
    "a pattern": (
        "filter_list: [{name: f, filter: [{function: regex, regex_pattern: '(('}]}]\n",
        "filter_list.0.filter.0.regex_pattern is '(('",
    ),
    "a filter's name": (
        "filter_list: [{name: f, filter: [{function: regexx}]}]\n",
        "Unknown filter 'regexx'. Did you mean: regex",
    ),
    "a filter's argument": (
        "filter_list: [{name: f, filter: [{function: take_first_k}]}]\n",
        "the filter f can't be made (take_first_k",
    ),
    "a key that YAML reads as false": ("no: 1\n", "unknown key no"),
    "repeats": ("repeats: 0\n", "repeats is 0"),
    "num_fewshot": ("num_fewshot: -1\n", "num_fewshot is -1"),
    "a list of metrics": ("metric_list: acc\n", "metric_list is 'acc'"),
    "a split": ("test_split: [test]\n", "test_split is ['test']"),
    "a loader": ("custom_dataset: data.csv\n", "a function, written as !function module.name"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_yaml_of_another_shape_is_refused_with_its_line(ft, shape: str, tmp_path: Path):
    text, word = SHAPES[shape]
    key = text.partition(":")[0]
    kept = "".join(
        line for line in TASK.splitlines(keepends=True) if not line.startswith(f"{key}:")
    )
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "mine.yaml").write_text(kept + text)
    write_jsonl(tmp_path / "d.jsonl", review_rows(40))
    code, _, err = ft(
        "check", "mine", "--include-path", folder, "--set", f"data.source={tmp_path / 'd.jsonl'}"
    )
    assert code == 3, err
    assert_three_lines(err, word)
    if "ilter " not in word:
        line = len(kept.splitlines()) + 1
        assert f"mine.yaml:{line}: " in err
