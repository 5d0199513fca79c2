"""Answers of every type, choices of every row, contradictions and personal data, with their
places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ft_harness.errors import Findings, InputError
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.privacy import find_private, is_card_number
from ft_harness.tasks.rendering import answer_text
from ft_harness.tasks.row_checks import check_rows
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

pytestmark = pytest.mark.usefixtures("no_model")
METRIC = "metric_list: [{metric: NAME, aggregation: mean, higher_is_better: true}]\n"
HEAD = """task: mine
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {source: SOURCE}}
training_split: train
validation_split: validation
test_split: test
fewshot_split: train
doc_to_text: "{{q}}\\nAnswer:"
"""
GENERATED = "output_type: generate_until\ndoc_to_target: a\n" + METRIC.replace(
    "NAME", "exact_match"
)
CHOSEN = "output_type: multiple_choice\ndoc_to_target: a\ndoc_to_choice: c\n" + METRIC.replace(
    "NAME", "acc"
)
# lm-eval's own scoring by likelihood: acc says whether the answer is the most likely text
LIKELIHOOD = "output_type: loglikelihood\ndoc_to_target: a\n" + METRIC.replace("NAME", "acc")


def put(folder: Path, body: str, rows: list[dict[str, Any]], head: str = HEAD) -> Path:
    """A folder with the task `mine` over these rows, which are its train split; four of them are
    test and validation too."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    for split in ("train", "validation", "test"):
        write_jsonl(data / f"{split}.jsonl", rows)
    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)
    (tasks / "mine.yaml").write_text(head.replace("SOURCE", json.dumps(str(data))) + body)
    return tasks


def load(folder: Path, body: str, rows: list[dict[str, Any]]):
    return load_tasks(find_task("mine", str(put(folder, body, rows))), ["train", "test"])


def check(folder: Path, body: str, rows: list[dict[str, Any]], *, privacy: bool = True) -> Findings:
    return check_rows(load(folder, body, rows), privacy=privacy)


# answers of every type

ANSWERS: dict[str, tuple[list[Any], list[str]]] = {
    "int": ([1, 20, 0], ["1", "20", "0"]),
    "bool": ([True, False, True], ["True", "False", "True"]),
    "float": ([0.5, 1.25, 3.0], ["0.5", "1.25", "3.0"]),
    "text": (["a", "b", "c"], ["a", "b", "c"]),
    "digits": (["1", "2", "007"], ["1", "2", "007"]),
    "texts": ([["a", "b"], ["c", "d"], ["e", "f"]], ["a", "c", "e"]),
    "numbers": ([[1, 2], [3, 4], [5, 6]], ["1", "3", "5"]),
    "blanks": ([" a", "b\n", "\tc "], ["a", "b", "c"]),
}


@pytest.mark.parametrize("body", [GENERATED, LIKELIHOOD], ids=["generated", "likelihood"])
@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_of_any_type_is_the_same_text_with_and_without_examples(
    kind: str, body: str, tmp_path: Path
):
    answers, expected = ANSWERS[kind]
    rows = [{"q": f"question {i}", "a": answer} for i, answer in enumerate(answers)]
    loaded = load(tmp_path, body, rows)
    task = loaded["train"]
    assert [answer_text(task, doc) for doc in task.eval_docs] == expected
    shown = loaded["test"].fewshot_context(loaded["test"].eval_docs[0], 2)
    pairs = list(zip(range(3), expected, strict=True))
    for number, text in pairs:
        if f"question {number}\nAnswer: " in shown:
            assert f"question {number}\nAnswer: {text}\n\n" in shown
    assert shown.count("\n\n") == 2


def test_a_likelihood_scores_the_first_reference(tmp_path: Path):
    rows = [{"q": f"question {i}", "a": [f"yes {i}", "yes"]} for i in range(4)]
    task = load(tmp_path, LIKELIHOOD, rows)["test"]
    request = task.construct_requests(
        task.eval_docs[1], "question 1\nAnswer:", metadata=("mine", 1, 1)
    )
    assert request.args == ("question 1\nAnswer:", "yes 1")


def test_running_text_takes_the_first_of_several(tmp_path: Path):
    names = ("token_ppl", "byte_ppl", "char_ppl")
    body = (
        "output_type: loglikelihood_rolling\ndoc_to_target: a\n"
        "process_results: !function ft_harness.metrics.score_text_ppl\nmetric_list:\n"
    )
    body += "".join(
        f"  - {{metric: {name}, aggregation: !function ft_harness.metrics.aggregate_{name}, "
        "higher_is_better: false}\n"
        for name in names
    )
    rows = [{"q": "x", "text": f"text {i}", "a": [f"text {i}", "other"]} for i in range(3)]
    task = load(tmp_path, body, rows)["test"]
    request = task.construct_requests(task.eval_docs[2], "", metadata=("mine", 2, 1))
    assert request.args == ("text 2",)


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ([0, 2, 1], [0, 2, 1]),
        (["x", "z", "y"], [0, 2, 1]),
        ([[0, 1], [2], [1, 2]], [[0, 1], [2], [1, 2]]),
        ([["x", "y"], ["z"], ["y"]], [[0, 1], [2], [1]]),
        ([0.0, 2.0, 1.0], [0, 2, 1]),
    ],
)
def test_labels_of_any_type_are_indices(gold: list[Any], expected: list[Any], tmp_path: Path):
    rows = [{"q": f"q {i}", "c": ["x", "y", "z"], "a": each} for i, each in enumerate(gold)]
    loaded = load(tmp_path, CHOSEN, rows)
    task = loaded["test"]
    assert [task.doc_to_target(doc) for doc in task.eval_docs] == expected
    firsts = [each[0] if isinstance(each, list) else each for each in expected]
    assert [answer_text(task, doc) for doc in task.eval_docs] == ["xyz"[i] for i in firsts]
    shown = task.fewshot_context(task.eval_docs[0], 2)
    assert shown.count("Answer: ") == 2
    best = [(-1.0 - (i != firsts[2]), i == firsts[2]) for i in range(3)]
    assert task.process_results(task.eval_docs[2], best) == {"acc": 1.0}


def test_a_number_that_is_one_choice_by_text_and_another_by_index_is_refused(tmp_path: Path):
    rows = [{"q": f"q {i}", "c": ["1", "2", "3"], "a": 1 + i % 2} for i in range(4)]
    body = CHOSEN.replace("doc_to_target: a", 'doc_to_target: "{{a}}"')
    with pytest.raises(InputError) as caught:
        load(tmp_path, body, rows)
    assert "label 1 is choice 0 by its text and choice 1 by its number" in caught.value.what
    texts = [{**row, "a": str(row["a"])} for row in rows]
    task = load(tmp_path, CHOSEN, texts)["test"]
    assert [answer_text(task, doc) for doc in task.eval_docs] == ["1", "2", "1", "2"]


def test_several_answers_in_a_later_row_alone_are_refused_with_the_row(tmp_path: Path):
    """lm-eval decides by the first doc and would compare with "['b', 'c']" as one text."""
    rows = [{"q": f"q {i}", "a": "a"} for i in range(3)]
    body = GENERATED.replace("doc_to_target: a", "doc_to_target: \"{{a if n < 2 else [a, 'b']}}\"")
    rows = [{**row, "n": i} for i, row in enumerate(rows)]
    found = check_any(tmp_path, body, rows)
    assert "mine@train, row 2 (counted from 0): several right answers" in found


def test_a_list_written_out_in_an_answer_is_refused(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": [f"yes {i}", "yes"]} for i in range(3)]
    body = GENERATED.replace("doc_to_target: a", "doc_to_target: \"{{'It is ' ~ a}}\"")
    with pytest.raises(InputError, match=r"row 0 .* writes out the list a") as caught:
        load(tmp_path, body, rows)
    assert "{{a[0]}}" in caught.value.expected


LATE = {
    "an empty list": (GENERATED, {"a": []}, "doc_to_target gives []"),
    "a list without a first": (
        GENERATED.replace("doc_to_target: a", 'doc_to_target: "{{a[0]}}"'),
        {"a": []},
        "doc_to_target: a template names a field that the data lacks",
    ),
    "null in a list": (GENERATED, {"a": [None]}, "doc_to_target gives None"),
    "a label outside": (CHOSEN, {"a": 7, "c": ["x", "y"]}, "label 7 is not among the choices"),
    "a null choice": (CHOSEN, {"a": 0, "c": ["x", None]}, "doc_to_choice gives ['x', None]"),
    "no choices": (CHOSEN, {"a": 0, "c": []}, "doc_to_choice gives []"),
}


@pytest.mark.parametrize("fault", LATE)
def test_what_cannot_be_rendered_is_an_input_error_with_its_row(fault: str, tmp_path: Path):
    body, late, word = LATE[fault]
    good = {"a": 0, "c": ["x", "y"]} if body is CHOSEN else {"a": ["text"]}
    rows = [{"q": f"q {i}", **good} for i in range(30)]
    rows[20] |= late
    found = check_any(tmp_path, body, rows)
    assert f"row 20 (counted from 0): {word}" in found
    assert "mine@train" in found


def check_any(folder: Path, body: str, rows: list[dict[str, Any]]) -> str:
    try:
        return check(folder, body, rows).faults[0].what
    except InputError as error:
        return error.what


# choices


def rows_of_choices(*choices: list[str]) -> list[dict[str, Any]]:
    return [{"q": f"q {i}", "c": each, "a": i % 2} for i, each in enumerate(choices)]


def test_equal_and_empty_choices_of_any_row_are_found(tmp_path: Path):
    good = ["x", "y"]
    found = check(tmp_path, CHOSEN, rows_of_choices(good, good, good, ["x", "x"], good, ["x", " "]))
    texts = [fault.what for fault in found.faults]
    assert "mine@train: equal choices in 1 of 6 rows (row 3, counted from 0): ['x', 'x']" in texts
    assert "mine@train: an empty choice in 1 of 6 rows (row 5, counted from 0): ['x', ' ']" in texts


def test_a_choice_of_invisible_characters_is_empty(tmp_path: Path):
    rows = [{"q": f"q {i}", "c": ["a", "\u200b" if i == 2 else "b"], "a": 0} for i in range(4)]
    faults = [fault.what for fault in check(tmp_path, CHOSEN, rows).faults]
    assert any("an empty choice in 1 of 4 rows (row 2" in fault for fault in faults)


def test_rows_that_cannot_be_rendered_are_counted_and_hide_no_others(tmp_path: Path):
    """Case F11: null in one row, equal choices in others."""
    rows = rows_of_choices(*[["x", "y"]] * 6)
    rows[2]["c"], rows[4]["c"], rows[5]["c"] = ["x", None], ["x", None], ["y", "y"]
    first, second, *_ = check(tmp_path, CHOSEN, rows).faults
    assert "mine@train, row 2 (counted from 0): doc_to_choice gives ['x', None]" in first.what
    assert first.what.endswith("(2 such rows)")
    assert second.what.startswith("mine@train: equal choices in 1 of 6 rows (row 5, ")


def test_another_number_of_choices_is_a_notice_with_rows(tmp_path: Path):
    good = ["x", "y"]
    found = check(tmp_path, CHOSEN, rows_of_choices(good, good, ["x", "y", "z"], good))
    assert found.faults == []
    assert "1 of 4 train rows have another number of choices than 2 (row 2, counted from 0)" in [
        notice.what for notice in found.notices
    ]


# templates

TEMPLATES = {
    "a mistyped field": ("doc_to_target: a", "doc_to_target: aa", "neither a field nor a template"),
    "single braces": ("doc_to_target: a", 'doc_to_target: "{a}"', "a in single braces"),
}


@pytest.mark.parametrize("fault", TEMPLATES)
def test_a_template_that_shows_nothing_of_a_row_is_a_fault(fault: str, tmp_path: Path):
    old, new, word = TEMPLATES[fault]
    rows = [{"q": f"q {i}", "a": f"a {i}"} for i in range(4)]
    found = check(tmp_path, GENERATED.replace(old, new), rows)
    (problem,) = found.faults
    assert word in problem.what


def test_prompts_that_are_all_equal_are_a_fault(tmp_path: Path):
    head = HEAD.replace("{{q}}", "{{'Say it'}}")
    tasks = put(tmp_path, GENERATED, [{"q": f"q {i}", "a": f"{i}"} for i in range(4)], head)
    found = check_rows(load_tasks(find_task("mine", str(tasks)), ["train"]))
    (problem,) = found.faults
    assert problem.what == "mine@train: all 4 prompts are equal"


def test_training_answers_that_are_all_equal_are_a_fault_and_scored_ones_a_notice(tmp_path: Path):
    found = check(tmp_path, GENERATED, [{"q": f"q {i}", "a": "yes"} for i in range(4)])
    assert [fault.what for fault in found.faults] == ["mine@train: all 4 right answers are equal"]
    assert "all 4 right answers of test are equal" in [notice.what for notice in found.notices]


# contradictions, white space, personal data


def test_prompts_that_end_in_their_answer_are_counted_with_rows(tmp_path: Path):
    head = HEAD.replace("{{q}}\\nAnswer:", "{{q}}\\nAnswer: {{a}}")
    rows = [{"q": f"q {i}", "a": f"word {i}"} for i in range(9)] + [{"q": "q", "a": "x"}]
    tasks = put(tmp_path, GENERATED, rows, head)
    found = check_rows(load_tasks(find_task("mine", str(tasks)), ["train"]))
    notices = [notice.what for notice in found.notices]
    assert (
        "10 of 10 train prompts end in their right answer (rows 0, 1, 2, 3, 4, ..., counted from "
        "0)" in notices
    )


def test_a_last_choice_that_is_right_now_and_then_gives_nothing_away(tmp_path: Path):
    head = HEAD.replace("\\nAnswer:", " yes or no")
    rows = [{"q": f"{i}?", "a": i % 2, "c": ["yes", "no"]} for i in range(10)]
    tasks = put(tmp_path, CHOSEN, rows, head)
    found = check_rows(load_tasks(find_task("mine", str(tasks)), ["train"]))
    assert not any("end in their right answer" in notice.what for notice in found.notices)


def test_contradictions_are_counted_with_both_rows(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i}"} for i in range(4)]
    rows += [{"q": "Q  1", "a": "other"}, {"q": "q 2", "a": "2"}]
    notices = [notice.what for notice in check(tmp_path, GENERATED, rows).notices]
    assert (
        "1 of 6 train rows have the prompt of an earlier row and another answer (rows 4 and 1, "
        "counted from 0)" in notices
    )


def test_white_space_around_answers_is_left_out_and_noted(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i} " if i == 2 else f"{i}"} for i in range(4)]
    notices = [notice.what for notice in check(tmp_path, GENERATED, rows).notices]
    assert "white space around 1 of 4 train answers is left out (row 2, counted from 0)" in notices


def test_a_blank_that_the_template_writes_stays(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i}"} for i in range(4)]
    body = LIKELIHOOD.replace("doc_to_target: a", "doc_to_target: \"{{' ' ~ a}}\"")
    task = load(tmp_path, body, rows)["test"]
    assert task.doc_to_target(task.eval_docs[3]) == " 3"
    body = LIKELIHOOD.replace("doc_to_target: a", 'doc_to_target: " {{a}}"')
    task = load(tmp_path, body, rows)["test"]
    assert task.doc_to_target(task.eval_docs[3]) == " 3"


# 4111111111111111 and 378282246310005 are the card schemes' public test numbers; Luhn's sum of the
# second, from the right: 5+0+0+0+1+6+4+4+2+4+8+4... is a multiple of 10.
@pytest.mark.parametrize(
    ("text", "is_card"),
    [
        ("4111111111111111", True),
        ("4111 1111 1111 1111", True),
        ("5500-0000-0000-0004", True),
        ("378282246310005", True),
        ("4111111111111112", False),  # wrong check digit
        ("9111111111111117", False),  # no scheme begins with 9
        ("0000000000000000", False),
        ("411111111111", False),
    ],
)
def test_card_numbers_by_luhns_formula(text: str, is_card: bool):
    assert is_card_number(text) == is_card


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to anna.b+x@mail.uni-bonn.de today", {"e-mail addresses"}),
        ("Write to anna@example.com or b@sub.example.org", set()),
        ("@anna said 5 @ 3 a.m.", set()),
        ("card 4111 1111 1111 1111.", {"card numbers"}),
        ("ISBN 978-3-16-148410-0, pi 3.14159265358979323846", set()),
        ("id 4111111111111111234567890", set()),
        ("key AKIAIOSFODNN7EXAMPLE here", {"access keys"}),
        ("token ghp_" + "a1B2" * 9, {"access keys"}),
        ("-----BEGIN RSA PRIVATE KEY-----", {"access keys"}),
        ("a sk-inny boy, hf_ranch", set()),
        ("a@b.io 5500-0000-0000-0004", {"e-mail addresses", "card numbers"}),
        ("info@m\u00fcller.de; \u8054\u7cfbanna@firma.com\u8c22\u8c22", {"e-mail addresses"}),
        ("4111.1111.1111.1111", {"card numbers"}),
        ("4111\u00a01111\u00a01111\u20111111", {"card numbers"}),
        ("4.111111111111111 is no card", set()),
        ("clone git@github.com:x/y.git", set()),
        ("sk-learn-is-a-well-known-library-for-machine-learning", set()),
        ("sk-proj-" + "a1B2" * 9, {"access keys"}),
    ],
)
def test_private_data_is_recognised(text: str, kinds: set[str]):
    assert find_private(text) == kinds


def test_private_data_in_training_text_is_a_notice_with_rows(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i}"} for i in range(8)]
    rows[3]["q"] = "mail anna@uni-bonn.de"
    rows[5]["a"] = "bob@uni-bonn.de"
    notices = check(tmp_path, GENERATED, rows).notices
    (found,) = [notice for notice in notices if "e-mail" in notice.what]
    assert found.what == "e-mail addresses in 2 of 8 training rows (rows 3, 5, counted from 0)"
    assert "--no-privacy-check" in found.action
    notices = check(tmp_path, GENERATED, rows, privacy=False).notices
    assert not [notice for notice in notices if "e-mail" in notice.what]


# the command


def test_check_counts_faults_warnings_and_what_it_looked_at(ft, tmp_path: Path):
    rows = [{"q": f"q {i}", "a": f"{i}"} for i in range(4)]
    rows += [{"q": "q 1", "a": "anna@uni-bonn.de"}]
    tasks = put(tmp_path, GENERATED, rows)
    code, out, err = ft("check", "mine", "--include-path", tasks)
    assert code == 0, err
    first, *lines = out.splitlines()
    facts = [line for line in lines if not line.strip().startswith(("warning:", "do:"))]
    warnings = [line for line in lines if line.startswith("  warning: ")]
    assert first == f"no fault, {len(warnings)} warnings, {len(facts)} things checked"
    assert lines[0].startswith("  warning: ")
    assert sum(line.startswith("       do: ") for line in lines) == len(warnings)
    assert any("e-mail addresses in 1 of 5 training rows (row 4" in line for line in warnings)
    assert any("5 of 5 test docs also occur among the training docs" in line for line in warnings)
    code, out, _ = ft("check", "mine", "--include-path", tasks, "--no-privacy-check")
    assert "e-mail" not in out


def test_check_counts_faults_too(ft, tmp_path: Path):
    tasks = put(tmp_path, GENERATED, [{"q": f"q {i}", "a": "yes"} for i in range(4)])
    code, out, err = ft("check", "mine", "--include-path", tasks)
    assert code == 3
    assert out.splitlines()[0] == "1 fault, 2 warnings, 3 things checked"
    assert_three_lines(err, "all 4 right answers are equal")


@pytest.mark.parametrize(
    ("body", "row", "what"),
    [
        (GENERATED, {"q": "q", "a": "['x', 'y']"}, "answers"),
        (GENERATED, {"q": "q", "a": "{'text': array(['x'], dtype=object)}"}, "answers"),
        (GENERATED, {"q": ["one", "two"], "a": "x"}, "prompts"),
        (GENERATED, {"q": [{"role": "user", "content": "hi"}], "a": "x"}, "prompts"),
    ],
)
def test_what_python_writes_for_lists_is_warned_of(tmp_path: Path, body: str, row: dict, what: str):
    other = {**row, "a": "no list"} | ({"q": "other"} if what == "answers" else {})
    found = check(tmp_path, body, [other, row])
    rows = {"answers": "1 of 2", "prompts": "2 of 2"}[what]
    assert any(
        notice.what.startswith(f"{rows} train {what} hold a list or an object as Python writes it")
        for notice in found.notices
    )


def test_json_as_an_answer_and_choices_in_a_prompt_are_fine(tmp_path: Path):
    rows = [
        {"q": f"q {i}", "a": f'{{"x": {i}}}', "c": ["a", "b"]} for i in range(4)
    ]  # c is not shown
    assert not [each for each in check(tmp_path, GENERATED, rows).notices if "Python" in each.what]


def test_an_empty_answer_among_others_is_refused(tmp_path: Path):
    found = check(tmp_path, GENERATED, [{"q": "q 0", "a": ["x"]}, {"q": "q 1", "a": ["y", " "]}])
    assert "row 1 (counted from 0): doc_to_target gives ['y', ' ']" in found.faults[0].what


def test_a_single_choice_is_no_choice(tmp_path: Path):
    rows = [{"q": f"q {i}", "a": 0, "c": ["x", "y"] if i else ["x"]} for i in range(3)]
    faults = check(tmp_path, CHOSEN, rows).faults
    assert "a single choice, which is always right, in 1 of 3 rows (row 0" in faults[0].what
