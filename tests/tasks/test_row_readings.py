"""Rows that can be read in two ways, and names in templates that no row has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.rendering import answer_index
from ft_harness.tasks.row_checks import check_rows
from tests.builders.tiny import write_jsonl
from tests.tasks.test_rows import CHOSEN, HEAD, check, load, put

pytestmark = pytest.mark.usefixtures("no_model")


def rows_of(targets: list[Any], choices: list[Any]) -> list[dict[str, Any]]:
    return [{"q": f"q{i}", "a": target, "c": choices} for i, target in enumerate(targets)]


def test_numbers_that_are_partly_texts_and_partly_places_are_refused(tmp_path: Path):
    """3 can only be the text "3", so that 1 and 2 aren't the places of "2" and "3"."""
    found = check(tmp_path, CHOSEN, rows_of([1, 2, 3, 1], ["1", "2", "3"]))
    assert found.faults[0].what == (
        "mine@train: 3 targets are the text of one choice and the place of another (rows 0, 1, 3, "
        "counted from 0), next to 1 that can only be texts (row 2, counted from 0)"
    )


def test_numbers_that_may_be_texts_or_places_are_warned_of(tmp_path: Path):
    found = check(tmp_path, CHOSEN, rows_of([1, 2, 2, 1], ["1", "2", "3"]))
    assert found.faults == []
    assert found.notices[0].what == (
        "4 of 4 train targets are read as places among the choices, counted from 0, and are also "
        "texts of other ones (rows 0, 1, 2, 3, counted from 0)"
    )


@pytest.mark.parametrize(
    ("targets", "choices", "right"),
    [
        ([0, 1, 2, 1], ["1", "2", "3"], [0, 1, 2, 1]),  # 0 is a place alone
        ([1999, 2000, 2001, 2000], ["1999", "2000", "2001"], [0, 1, 2, 1]),
        (["1", "2", "3", "1"], ["1", "2", "3"], [0, 1, 2, 0]),
        ([0, 1, 0, 1], ["0", "1"], [0, 1, 0, 1]),
        ([0, 1, 0, 1], ["no", "yes"], [0, 1, 0, 1]),
    ],
)
def test_numbers_with_one_reading_are_read_so(
    targets: list[Any], choices: list[str], right: list[int], tmp_path: Path
):
    rows = rows_of(targets, choices)
    found = check(tmp_path, CHOSEN, rows)
    assert found.faults == []
    assert not any("targets are read" in notice.what for notice in found.notices)
    task = load(tmp_path, CHOSEN, rows)["train"]
    assert [answer_index(task, doc) for doc in task.eval_docs] == right


def test_labels_with_names_are_places(tmp_path: Path):
    """The loader has made them so: of the labels 2 and 3 the places 1 and 2."""
    rows = [{"q": f"q{i}", "label": str(2 + i % 2)} for i in range(8)]
    head = HEAD.replace("{source: SOURCE}", '{source: SOURCE, labels: ["1", "2", "3"]}')
    body = CHOSEN.replace(
        "doc_to_target: a\ndoc_to_choice: c", 'doc_to_target: label\ndoc_to_choice: ["1", "2", "3"]'
    )
    tasks = load_tasks(find_task("mine", str(put(tmp_path, body, rows, head))), ["train", "test"])
    found = check_rows(tasks, privacy=False)
    assert found.faults == []
    assert not any("targets are read" in notice.what for notice in found.notices)


def test_choices_that_differ_in_white_space_alone_are_refused(tmp_path: Path):
    rows = rows_of([0, 1, 0, 1], ["yes", "yes ", "no"])
    fault = check(tmp_path, CHOSEN, rows).faults[0]
    assert "choices that differ in white space alone in 4 of 4 rows (rows 0, 1" in fault.what


@pytest.mark.parametrize(
    ("template", "named"),
    [
        (
            "{{qq | default('')}} {{q}}",
            "doc_to_text names qq, a field that the data lacks; did you mean q?",
        ),
        ("{% if hint is defined %}{{hint}}{% endif %}{{q}}", "doc_to_text names hint, a field"),
        (
            "{{qq | default('')}} {{q | regex_replace('x', '')}}",
            "doc_to_text names qq, a field that the data lacks; did you mean q?",
        ),
        ("{{q | regex_replace('x', '')}}", None),
        ("{% for i in range(2) %}{{q}}{{i}}{% endfor %}", None),
        ("{% set x = q %}{{x | trim}}", None),
        ("{{q if a else c}}", None),
    ],
)
def test_a_name_that_no_row_has_is_warned_of(template: str, named: str | None, tmp_path: Path):
    head = HEAD.replace('"{{q}}\\nAnswer:"', f'"{template}"')
    assert template in head
    folder = put(tmp_path, CHOSEN, rows_of([0, 1, 0, 1], ["no", "yes"]), head)
    found = check_rows(load_tasks(find_task("mine", str(folder)), ["train", "test"]))
    said = [notice.what for notice in found.notices if "names" in notice.what]
    assert found.faults == []
    assert len(said) == (named is not None)
    assert named is None or said[0].startswith(named)


def test_warnings_of_the_loader_are_counted_and_have_a_cure(ft, tmp_path: Path):
    rows = [{"text": f"a film {i}", "label": ["positive", "negative"][i % 2]} for i in range(40)]
    for split in ("train", "validation", "test"):
        write_jsonl(
            tmp_path / "d" / f"{split}.jsonl",
            [{**row, "text": f"{row['text']} {split}"} for row in rows],
        )
    given = ["--set", "data.source=d", "--set", "data.seed=7"]
    recipe = tmp_path / "r" / "recipe.yaml"
    recipe.parent.mkdir()
    recipe.write_text("task: {name: demo_sentiment}\n")
    for _ in range(2):  # the second time what was kept is shown
        code, out, err = ft("check", recipe, *given)
        assert code == 0, err
        assert "1 warning," in out.splitlines()[0]
        assert "warning: data.seed is not used: every split is read whole" in out
        assert "leave the option out" in out
        assert "WARNING" not in err
