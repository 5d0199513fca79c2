"""Figures: valid and repeatable bytes, honest axes, no surprise from odd data."""

from __future__ import annotations

import io
import math
import re
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sweep_study import Setting, SettingScore, SweepStudy
from ft_harness.records import HistoryEntry
from ft_harness.report import sized, timed
from ft_harness.report.figures import (
    CURVE_COLUMNS,
    SCORE_COLUMNS,
    TRADEOFF_COLUMNS,
    Form,
    before_after,
    curve_rows,
    curves,
    learning_curves,
    score_by_cost,
    score_by_size,
    score_rows,
    scores,
    style,
    tradeoff_rows,
    tradeoffs,
)
from ft_harness.report.figures import sweeps as figure_sweeps
from tests.builders.study import (
    make_adapter,
    make_comparison,
    make_row,
    make_study,
    make_varied_study,
)

EMPTY = Study(name="empty", comparisons=[], adapters=[], notes=[], command="ft-harness report")
HOSTILE = "$x_{y$ <script>alert(1)</script> -- \u202e\x1b]0;x\x07"


def study_of(task: str, base: float | None, tuned: float | None) -> Study:
    row = make_row(task, "test", "acc", (base, tuned), primary=True, tuned_subject=task)
    return EMPTY.model_copy(
        update={"comparisons": [make_comparison(task, "test", {"acc": (base, tuned)}, [row])]}
    )


def drawn(study: Study) -> Figure:
    figure = Figure()
    scores._draw(figure, study, scores._compared(study))
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
@pytest.mark.parametrize(
    "study", [make_study(), EMPTY, study_of(HOSTILE, 0.0, 1.0), study_of("undefined", None, 0.5)]
)
def test_before_after_is_valid_and_repeatable(study, form):
    first = before_after(study, form)
    assert_valid(first, form)
    assert first == before_after(study, form)


@pytest.mark.parametrize("form", ["png", "svg"])
@pytest.mark.parametrize("kept", [slice(None), slice(0), slice(0, 1), slice(-1, None)])
def test_learning_curves_are_valid_and_repeatable(kept, form):
    run = make_adapter("snli_lora", "snli_custom")
    run = run.model_copy(update={"history": run.history[kept]})
    first = learning_curves(run, form)
    assert_valid(first, form)
    assert first == learning_curves(run, form)


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
    assert before_after(
        EMPTY.model_copy(update={"comparisons": [comparison]}), "png"
    ) == before_after(EMPTY, "png")


def test_every_test_row_is_named_with_its_numbers():
    # 39.12, 73.12 and 33.67 % are the accuracies of make_study, 10.34 and 31.41 % its exact matches
    shown = texts(drawn(make_study()))
    assert shown[:5] == ["Base 39.1", "Tuned 73.1", "Majority 33.7", "Base 10.3", "Tuned 31.4"]
    assert shown[5:] == [
        "snli_custom (test)\nsnli_lora, 0-shot\nacc, n = 300\nimproved",
        "squad_custom (test)\nsquad_lora, 0-shot\nexact_match, n = 300\nimproved",
    ]


def test_long_and_odd_names_are_short_and_visible():
    assert texts(drawn(study_of("a" * 27 + "bc\n", 0.1, 0.2)))[-1].startswith(
        f"{'a' * 27}… (test)\n"
    )
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
    segments = (
        drawn(study.model_copy(update={"comparisons": [comparison]}))
        .axes[0]
        .collections[0]
        .get_segments()
    )
    assert [point[0] for point in segments[0]] == [pytest.approx(52), pytest.approx(58)]


def test_the_majority_tick_belongs_to_the_primary_metric():
    study = study_of("macro", 0.4, 0.6)
    other = make_row("macro", "test", "f1_macro", (0.2, None), tuned_subject=None)
    comparison = study.comparisons[0].model_copy(
        update={"rows": [other, *study.comparisons[0].rows]}
    )
    assert "Majority 20.0" not in texts(
        drawn(study.model_copy(update={"comparisons": [comparison]}))
    )


def curves_of(history: list[HistoryEntry]) -> Figure:
    figure = Figure()
    curves._draw(
        figure, make_adapter("snli_lora", "snli_custom").model_copy(update={"history": history})
    )
    return figure


def test_close_labels_of_the_loss_curve_are_moved_apart():
    history = [
        HistoryEntry(step=step, epoch=1, loss=0.5 - step / 1000, eval_loss=0.5 - step / 1000)
        for step in (1, 100)
    ]
    (axes,) = curves_of(history).axes
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert abs(heights["training"] - heights["validation"]) == pytest.approx(style.LABEL_GAP)


def test_an_empty_history_says_so():
    (axes,) = curves_of([]).axes
    assert [text.get_text() for text in axes.texts] == ["no loss was recorded"]


def test_learning_rate_and_gradient_norm_stand_under_the_loss():
    history = [
        HistoryEntry(step=step, epoch=1, loss=1.0, learning_rate=1e-3, grad_norm=2.0)
        for step in (1, 2)
    ]
    figure = curves_of(history)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss\n(nats per trained token)",
        "learning rate",
        "gradient norm",
    ]
    assert [list(axes.lines[0].get_ydata()) for axes in figure.axes] == [
        [1.0, 1.0],
        [1e-3, 1e-3],
        [2.0, 2.0],
    ]
    assert [axes.get_ylim()[0] for axes in figure.axes[1:]] == [0, 0]


@pytest.mark.parametrize("form", ["png", "svg"])
@pytest.mark.parametrize("draw", [score_by_size, score_by_cost])
@pytest.mark.parametrize("study", [make_varied_study(), EMPTY])
def test_tradeoffs_are_valid_and_repeatable(study, draw, form):
    first = draw(sized(study), form)
    assert_valid(first, form)
    assert first == draw(sized(study), form)


def test_score_by_training_time_names_the_adapters():
    figure = Figure()
    tradeoffs._draw_panel(figure.subplots(), timed(make_varied_study()), curve=False)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == [
        "Base 40.0",
        *(f"{name}, {shots}-shot" for name in ("small", "large") for shots in (0, 3)),
    ]
    # make_varied_study: 60 s and 240 s of training
    assert [line.get_xdata()[0] for line in figure.axes[0].lines[1:]] == [60, 60, 240, 240]


def test_score_by_training_size_is_a_line_through_the_means():
    figure = Figure()
    tradeoffs._draw_panel(figure.subplots(), sized(make_varied_study()), curve=True)
    (line,) = [
        line
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"
    ]
    assert list(line.get_xdata()) == [100, 400]
    assert list(line.get_ydata()) == pytest.approx(
        [52.5, 67.5]
    )  # means of 50 and 55, and of 70 and 65
    assert figure.axes[0].get_xscale() == "log"


def test_a_curve_over_training_sizes_is_of_one_number_of_shots():
    # make_varied_study has 0 and 3 shots: a panel each, against one panel of points by cost
    curves, points = (
        float(re.search(rb'height="([\d.]+)pt"', draw(measured(make_varied_study()), "svg"))[1])
        for draw, measured in ((score_by_size, sized), (score_by_cost, timed))
    )
    assert curves == pytest.approx(2 * points)


def test_a_curve_over_training_sizes_mixes_no_other_recipe():
    """The adapters of 400 rows had another learning rate: one size is no curve."""
    study = make_varied_study()
    assert {size for size, _, _ in sized(study)} == {100, 400}
    changed = [
        run.model_copy(
            update={
                "card": run.card.model_copy(
                    update={
                        "recipe": run.card.recipe
                        | {"train": {"learning_rate": run.card.examples / 1e5}}
                    }
                )
            }
        )
        for run in study.adapters
    ]
    assert sized(study.model_copy(update={"adapters": changed})) == []


def test_one_adapter_a_task_gives_nothing_to_trade_off():
    assert sized(make_study()) == timed(make_study()) == []


def test_the_numbers_of_every_figure_are_at_hand():
    study = make_varied_study()
    first, second, *_ = score_rows(study)
    # make_score: the interval is from 0.05 below the value to 0.04 above
    small = ["snli_custom", "test", "small", "acc"]
    assert dict(zip(SCORE_COLUMNS, first, strict=True)) == dict(
        zip(
            SCORE_COLUMNS,
            [*small, "base", 0.4, pytest.approx(0.35), pytest.approx(0.44), 300, None],
            strict=True,
        )
    )
    assert second[4:6] == ["tuned", 0.5]
    assert score_rows(make_study())[2][4:6] == ["majority class", 0.3367]
    (entry, *_) = curve_rows(study.adapters[0])
    assert dict(zip(CURVE_COLUMNS, entry, strict=True))["learning_rate"] == 2e-4
    spent = dict(zip(TRADEOFF_COLUMNS, tradeoff_rows(timed(study))[0], strict=True))
    assert (spent["spent"], spent["base"], spent["tuned"]) == (60.0, 0.4, 0.5)


def test_what_tells_long_names_apart_is_kept():
    """28 characters are shown: what all names begin with goes first, then what is in the middle."""
    names = [f"exam-learning_rate_{rate}-seed_0" for rate in ("0.0001", "0.001")]
    assert style.short_names(names) == {
        names[0]: "…learning_rate_0.0001-seed_0",
        names[1]: "…learning_rate_0.001-seed_0",
    }
    assert style.short_names(["mine", "yours"]) == {"mine": "mine", "yours": "yours"}
    long = [f"study-{'batch_size_16-' * 4}seed_{seed}" for seed in (0, 1)]
    assert list(style.short_names(long).values()) == ["…seed_0", "…seed_1"]
    apart = [f"{start}-{'x' * 40}-{start}" for start in ("first", "second")]
    assert list(style.short_names(apart).values()) == [
        "first-xxxxxxxx…xxxxxxx-first",
        "second-xxxxxxx…xxxxxx-second",
    ]
    assert list(style.short_names(["a" * 40]).values()) == [f"{'a' * 27}…"]
    inner = [f"{'x' * 30}{middle}{'y' * 30}" for middle in ("one", "two")]
    assert list(style.short_names(inner).values()) == [
        f"…{'x' * 14}one{'y' * 9}…",
        f"…{'x' * 14}two{'y' * 9}…",
    ]


@pytest.mark.parametrize(
    ("metric", "values", "scale"),
    [
        ("token_ppl", [66.9, 77.0, None, 483269.0], "log"),
        ("token_ppl", [66.9, 77.0, 140.0], "linear"),
        ("token_ppl", [None], "linear"),
        ("acc", [0.01, 0.9], "linear"),
        ("another_programs_metric", [0.01, 0.9], "linear"),
    ],
)
def test_perplexities_over_a_decade_have_a_logarithmic_axis(metric, values, scale):
    axes = Figure().subplots()
    style.fit_scores(axes, metric, values)
    assert axes.get_yscale() == scale
    if scale == "log":
        low, high = axes.get_ylim()
        assert low < 66.9
        assert high > 483269.0
        assert "10,000" in [each.get_text() for each in axes.get_yticklabels()]


@pytest.mark.parametrize(
    "values", [[2.0, 1e290], [1e-300, 2.0], [2.3e-308, 1.7e308], [1e307, 1.7e308]]
)
def test_a_logarithmic_axis_ends_within_the_range_of_a_float(values: list[float]):
    figure = Figure()
    axes = figure.subplots()
    style.fit_scores(axes, "token_ppl", values)
    axes.plot([0, 1], values)
    figure.canvas.draw()
    low, high = axes.get_ylim()
    assert 0 < low <= values[0]
    assert values[1] <= high < math.inf


def test_labels_at_the_edge_stand_at_their_values_on_a_logarithmic_axis():
    """1000 is two thirds of the way from 10 to 10,000."""
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(10, 10_000)
    style.label_ends(axes, [("here", "black", 1000.0)])
    (text,) = axes.texts
    assert text.get_position()[1] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("values", "width", "turn"),
    [
        ([100, 400, 1600], 1.2, 0),
        (["one", "two", "three"], 0.0, 0),
        ([f"a long name of a decoding {number}" for number in "123"], 0.0, 20),
    ],
    ids=["numbers", "names", "long names"],
)
def test_only_numbers_are_joined_and_long_names_are_turned(values, width, turn):
    scores = [
        SettingScore(
            split="test",
            metric="acc",
            values=[0.5],
            mean=0.5,
            low=0.4,
            high=0.6,
            deviation=None,
            n=9,
            is_primary=True,
            higher_is_better=True,
            evaluations=["demo-test-0a1b2c"],
        )
        for _ in values
    ]
    settings = [
        Setting(
            values={"a.b": value}, is_reference=not number, points=[], failed=[], seeds=1,
            scores=[score], effort=None,
        )
        for number, (value, score) in enumerate(zip(values, scores, strict=True))
    ]  # fmt: skip
    sweep = SweepStudy(
        name="mine",
        axes=[["a.b"]],
        stretches=[],
        trains=True,
        points=[],
        settings=settings,
        effects=[],
    )
    figure = Figure()
    figure_sweeps._draw_axis(figure, sweep, ["a.b"])
    (axes,) = figure.axes
    assert axes.lines[0].get_linewidth() == width
    assert [label.get_rotation() for label in axes.get_xticklabels()] == [turn] * 3
    # three intervals are a band between numbers, and three bars at names
    assert len(axes.collections) == (1 if width else 3)
