"""What was right in plain lm-eval results, as lm-eval's own `doc_to_target` and `process_results`
decide it; and metrics that only lm-eval knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ft_harness.comparison.aggregator import compare
from ft_harness.comparison.amounts import amount, difference
from ft_harness.records import Evaluation
from ft_harness.records.finding import load_records
from tests.builders.lm_eval_output import Line, make_line, make_lines, sha, write_output

CHOICES = ("x", "y", "z")


def choose(number: int, target: Any, best: int, accuracy: float, **doc: Any) -> Line:
    """One of three choices; `target` is what `doc_to_target` gave, as text."""
    values = [["-9.5", "False"] for _ in CHOICES]
    values[best] = ["-7.25", "True"]
    choices = doc.pop("choices", CHOICES)
    asked = {
        f"gen_args_{at}": {"arg_0": f"pick {number}:", "arg_1": f" {choice}"}
        for at, choice in enumerate(choices)
    }
    changed = {"arguments": asked, "resps": [[value] for value in values], "acc": accuracy}
    line = make_line(number, 0, 0, doc={"q": f"pick {number}"} | doc, target=str(target))
    return line | changed | {"filtered_resps": values, "target_hash": sha(str(target))}


def read(folder: Path, lines: list[Line], gold_field: str | None = None) -> Evaluation:
    def change(results: dict[str, Any]) -> None:
        (config,) = results["configs"].values()
        config["doc_to_target"] = gold_field

    write_output(folder, lines, change=change)
    (evaluation,) = load_records([folder])
    return evaluation


def test_several_right_choices_are_a_set_and_make_no_majority_class(tmp_path: Path):
    """F10: of [0, 1] and [0, 2] the first choice is always right; "majority" would be 0.5."""
    lines = [
        choose(n, [0, 1 + n % 2], n % 3, float(n % 3 in (0, 1 + n % 2)), g=[0]) for n in range(24)
    ]
    base, tuned = read(tmp_path / "b", lines), read(tmp_path / "t", lines)
    first, second = list(base.samples())[:2]
    assert (first.targets, second.targets) == (["x", "y"], ["x", "z"])
    assert base.record.foreign is not None
    assert base.record.foreign.several_right == 24
    compared = compare(base, tuned)
    assert [row.base_subject for row in compared.rows if row.tuned_subject is None] == []
    assert compared.above_majority is None


def test_texts_that_differ_from_item_to_item_are_no_classes(tmp_path: Path):
    lines = [choose(n, 0, 0, 1.0, choices=[f"a{n}", f"b{n}", f"c{n}"]) for n in range(24)]
    base, tuned = read(tmp_path / "b", lines), read(tmp_path / "t", lines)
    rules = [row for row in compare(base, tuned).rows if row.tuned_subject is None]
    assert [(row.base_subject, row.metric) for row in rules] == [("chance", "acc")]
    assert rules[0].base == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("target", "gold_field", "doc", "accuracy", "right"),
    [
        ("1", None, {}, 1.0, "2"),  # an index: the likeliest choice, the second, was right
        ("1", "g", {"g": 1}, 0.0, "2"),  # the field holds a number: an index
        ("1", "g", {"g": "1"}, 0.0, "1"),  # the field holds a text: a choice's own
        ("1", None, {}, 0.0, "1"),  # the likeliest choice is the second and was wrong
        ("5", None, {}, 0.0, "5"),  # no such index
        ("2", "{{g}}", {"g": "2"}, 0.0, "3"),  # a template's digits are an index
    ],
)
def test_a_digit_is_a_text_or_an_index_as_lm_eval_decides(
    tmp_path: Path,
    target: str,
    gold_field: str | None,
    doc: dict[str, Any],
    accuracy: float,
    right: str,
):
    """Choices "1", "2", "3"; the second is the likeliest."""
    lines = [choose(n, target, 1, accuracy, choices=["1", "2", "3"], **doc) for n in range(3)]
    assert {sample.target for sample in read(tmp_path, lines, gold_field).samples()} == {right}


def test_a_metric_that_only_lm_eval_knows_is_shown_as_it_states_it(tmp_path: Path):
    def state(value: float) -> Any:
        def change(results: dict[str, Any]) -> None:
            (scores,) = results["results"].values()
            scores |= {"word_perplexity,none": value, "sample_len": 20}
            (directions,) = results["higher_is_better"].values()
            directions["word_perplexity"] = False

        return change

    sides = []
    for name, value in (("b", 41.5), ("t", 30.25)):
        write_output(tmp_path / name, make_lines([0, 1] * 10, [0] * 20), change=state(value))
        sides += load_records([tmp_path / name])
    row = next(row for row in compare(*sides).rows if row.metric == "word_perplexity")
    assert (row.base, row.tuned, row.delta) == (41.5, 30.25, -11.25)
    assert (row.low, row.p, row.verdict, row.is_stated, row.n) == (None, None, None, True, 20)
    assert [score.metric for score in sides[0].record.scores] == ["acc", "word_perplexity"]
    assert amount(row.metric, row.base) == "41.5000"
    assert difference(row.metric, row.delta) == "-11.2500"
