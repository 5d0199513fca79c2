"""Figures: valid and repeatable bytes, honest axes, no surprise from odd data."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from ft_harness import plots
from ft_harness.aggregator import Study
from ft_harness.plots import Form, before_after, loss_curve
from ft_harness.records import HistoryEntry
from tests.make_study import make_adapter, make_comparison, make_row, make_study

EMPTY = Study(name="empty", comparisons=[], adapters=[], notes=[], command="ft-harness report")
HOSTILE = "$x_{y$ <script>alert(1)</script> -- \u202e\x1b]0;x\x07"


def study_of(task: str, base: float | None, tuned: float | None) -> Study:
    row = make_row(task, "test", "acc", (base, tuned), primary=True, tuned_subject=task)
    return EMPTY.model_copy(update={"comparisons": [make_comparison(task, "test", {"acc": (base, tuned)}, [row])]})


def drawn(study: Study) -> Figure:
    figure = Figure()
    compared = [(comparison, row) for comparison in study.comparisons for row in comparison.rows if row.primary]
    plots._draw_before_after(figure.subplots(), compared)
    return figure


def texts(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in [*axes.texts, *axes.get_yticklabels()]]


def assert_valid(data: bytes, form: Form) -> None:
    if form == "png":
        height, width, _ = imread(io.BytesIO(data), format="png").shape
        assert (width, height > 100) == (1400, True)
        assert b"Software" not in data
    else:
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(data).iter()}
        assert "path" in tags
        assert tags.isdisjoint({"script", "date", "creator", "a", "image", "foreignObject"})


@pytest.mark.parametrize("form", ["png", "svg"])
@pytest.mark.parametrize("study", [make_study(), EMPTY, study_of(HOSTILE, 0.0, 1.0), study_of("undefined", None, 0.5)])
def test_before_after_is_valid_and_repeatable(study, form):
    first = before_after(study, form)
    assert_valid(first, form)
    assert first == before_after(study, form)


@pytest.mark.parametrize("form", ["png", "svg"])
@pytest.mark.parametrize("kept", [slice(None), slice(0), slice(0, 1), slice(-1, None)])
def test_loss_curve_is_valid_and_repeatable(kept, form):
    run = make_adapter("snli_lora", "snli_custom")
    run = run.model_copy(update={"history": run.history[kept]})
    first = loss_curve(run, form)
    assert_valid(first, form)
    assert first == loss_curve(run, form)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_readers_own_style_changes_nothing(form):
    usual = before_after(make_study(), form)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "other"}):
        assert before_after(make_study(), form) == usual


@pytest.mark.parametrize("study", [make_study(), EMPTY, study_of("narrow", 0.501, 0.502)])
def test_the_axis_runs_from_0_to_100(study):
    (axes,) = drawn(study).axes
    assert axes.get_xlim() == (0, 100)


def test_a_perplexity_is_left_to_the_table():
    row = make_row("ppl", "test", "token_ppl", (120.0, 8.0), primary=True, tuned_subject="ppl")
    comparison = make_comparison("ppl", "test", {"token_ppl": (120.0, 8.0)}, [row])
    assert before_after(EMPTY.model_copy(update={"comparisons": [comparison]}), "png") == before_after(EMPTY, "png")


def test_every_test_row_is_named_with_its_numbers():
    # 39.12, 73.12 and 33.67 % are the accuracies of make_study, 10.34 and 31.41 % its exact matches
    shown = texts(drawn(make_study()))
    assert shown[:5] == ["Base 39.1", "Tuned 73.1", "Majority 33.7", "Base 10.3", "Tuned 31.4"]
    assert shown[5:] == [
        "snli_custom (test)\nsnli_lora, 0-shot\nacc, n = 300",
        "squad_custom (test)\nsquad_lora, 0-shot\nexact_match, n = 300",
    ]


def test_long_and_odd_names_are_short_and_visible():
    assert texts(drawn(study_of("a" * 27 + "bc\n", 0.1, 0.2)))[-1].startswith(f"{'a' * 27}… (test)\n")
    assert texts(drawn(study_of("a\nb\x1b", 0.1, 0.2)))[-1].startswith("a b\\x1b (test)\n")


def test_an_undefined_score_is_named_not_drawn():
    figure = drawn(study_of("undefined", None, 0.5))
    assert texts(figure)[:2] == ["Base undefined", "Tuned 50.0"]
    assert len(figure.axes[0].lines) == 1  # the tuned dot; no base dot and no line between


def test_an_interval_beside_its_value_is_drawn():
    # a percentile interval of the bootstrap need not contain the value
    study = study_of("beside", 0.5, 0.6)
    score = study.comparisons[0].base.scores[0].model_copy(update={"low": 0.52, "high": 0.58})
    record = study.comparisons[0].base.model_copy(update={"scores": [score]})
    comparison = study.comparisons[0].model_copy(update={"base": record})
    segments = drawn(study.model_copy(update={"comparisons": [comparison]})).axes[0].collections[0].get_segments()
    assert [point[0] for point in segments[0]] == [pytest.approx(52), pytest.approx(58)]


def test_the_majority_tick_belongs_to_the_primary_metric():
    study = study_of("macro", 0.4, 0.6)
    other = make_row("macro", "test", "f1_macro", (0.2, None), tuned_subject=None)
    comparison = study.comparisons[0].model_copy(update={"rows": [other, *study.comparisons[0].rows]})
    assert "Majority 20.0" not in texts(drawn(study.model_copy(update={"comparisons": [comparison]})))


def test_close_labels_of_the_loss_curve_are_moved_apart():
    figure = Figure()
    history = [
        HistoryEntry(step=step, epoch=1, loss=0.5 - step / 1000, eval_loss=0.5 - step / 1000) for step in (1, 100)
    ]
    plots._draw_loss(figure.subplots(), history)
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert abs(heights["training"] - heights["validation"]) == pytest.approx(plots._LABEL_GAP)


def test_an_empty_history_says_so():
    figure = Figure()
    plots._draw_loss(figure.subplots(), [])
    assert [text.get_text() for text in figure.axes[0].texts] == ["no loss was recorded"]
