"""Learning curves: every stretch of an adapter's training in one figure and one csv, and what the
report says of it."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from ft_harness.comparison.aggregator import AdapterRun, Study
from ft_harness.comparison.amounts import NONE
from ft_harness.records import Ancestor, EpochSummary, HistoryEntry
from ft_harness.report.figures import (
    CURVE_COLUMNS,
    curve_columns,
    curve_rows,
    curves,
    learning_curves,
)
from tests.builders.study import make_adapter, make_study, render_whole

HOSTILE = "<script>alert(1)</script> | `$x_{y$` \u202e\x1b]0;x\x07"


def make_history(steps: int, evaluated: int, **scores: float | None) -> list[HistoryEntry]:
    """Losses 1/step at every step, and an evaluation with twice that every `evaluated` steps."""
    history: list[HistoryEntry] = []
    for step in range(1, steps + 1):
        history.append(
            HistoryEntry(
                step=step, epoch=step / 4, loss=1 / step, learning_rate=1e-4, grad_norm=1.0
            )
        )
        if step % evaluated == 0:
            history.append(
                HistoryEntry(step=step, epoch=step / 4, eval_loss=2 / step, scores=scores or None)
            )
    return history


def make_ancestor(name: str, **changes: object) -> Ancestor:
    known = {"name": name, "identity": "sha256:1", "fingerprint": "f", "epochs": 1.0, "steps": 4}
    return Ancestor.model_validate(known | changes)


def continued(*, names: tuple[str, str] = ("first", "second"), **changes: object) -> AdapterRun:
    """Four steps, four steps, and then twelve."""
    run = make_adapter("third", "snli_custom")
    card = run.card.model_copy(
        update={"lineage": [make_ancestor(name) for name in names], "steps": 12} | changes
    )
    earlier = [make_history(4, 4, acc=0.5), make_history(4, 4, acc=0.6)]
    return AdapterRun(card=card, history=make_history(12, 4, acc=0.75, bleu=20.0), earlier=earlier)


def drawn(run: AdapterRun) -> Figure:
    figure = Figure()
    curves._draw(figure, run)
    return figure


def test_stretches_follow_one_after_the_other():
    loss, *_ = drawn(continued()).axes
    lines = [line.get_xydata().tolist() for line in loss.lines if len(line.get_xdata()) > 2]
    training = lines[:3]
    assert [[x for x, _ in line] for line in training] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        list(range(9, 21)),
    ]
    assert [line[0][1] for line in training] == [
        1.0,
        1.0,
        1.0,
    ]  # a loss of each stretch's own first step


def test_a_head_has_a_loss_per_label():
    run = continued()
    assert drawn(run).axes[0].get_ylabel() == "loss\n(nats per trained token)"
    run = continued(recipe={"adapter": {"task_type": "SEQ_CLS"}}, trained_tokens=24)
    assert drawn(run).axes[0].get_ylabel() == "loss\n(nats per label)"
    assert " truncated), 24 labels, " in page(run)


def test_boundaries_and_names_of_the_stretches():
    figure = drawn(continued())
    for axes in figure.axes:
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert marks == [4.5, 8.5]  # between the last step of one and the first of the next
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[-3:] == ["first", "second", "third"]


def test_names_without_room_become_numbers():
    """Of 70 characters over 20 steps, 4 steps have room for 14."""
    texts = [text.get_text() for text in drawn(continued(names=("a" * 14, "b" * 15))).axes[0].texts]
    assert texts[-3:] == ["1", "2", "3"]
    texts = [text.get_text() for text in drawn(continued(names=("a" * 14, "b" * 14))).axes[0].texts]
    assert texts[-3:] == ["a" * 14, "b" * 14, "third"]


def test_one_stretch_has_no_name_and_no_boundary():
    run = make_adapter("only", "snli_custom")
    figure = drawn(run)
    assert [text.get_text() for text in figure.axes[0].texts] == ["training", "validation"]
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]


def test_an_ancestor_without_a_history_is_left_out():
    run = continued().model_copy(update={"earlier": [[], make_history(4, 4)]})
    texts = [text.get_text() for text in drawn(run).axes[0].texts]
    assert texts[-2:] == ["second", "third"]
    assert curve_rows(run)[0][:3] == ["second", 1, 1]


def test_panels_have_axes_with_units():
    labels = [axes.get_ylabel() for axes in drawn(continued()).axes]
    assert labels == [
        "loss\n(nats per trained token)",
        "score (%)",
        "bleu",
        "learning rate",
        "gradient norm",
    ]
    assert drawn(continued()).axes[-1].get_xlabel() == "optimiser step"


def test_scores_are_drawn_in_per_cent_with_the_chosen_one_first():
    run = make_adapter("a", "snli_custom")
    card = run.card.model_copy(update={"recipe": {"train": {"metric_for_best_model": "f1_macro"}}})
    scores = {
        "acc": 0.5,
        "mcc": 0.25,
        "balanced_acc": 0.5,
        "f1_micro": 0.5,
        "f1_macro": 0.75,
        "recall_yes": None,
    }
    figure = drawn(AdapterRun(card=card, history=make_history(8, 4, **scores)))
    texts = {text.get_text() for text in figure.axes[1].texts}
    assert texts == {"f1_macro", "acc", "mcc", "balanced_acc"}  # four at most; the csv has all
    assert figure.axes[1].lines[0].get_ydata().tolist() == [75.0, 75.0]


def test_labels_of_equal_scores_are_moved_apart():
    run = make_adapter("a", "snli_custom").model_copy(
        update={"history": make_history(8, 4, acc=0.5, f1_macro=0.5)}
    )
    heights = [text.get_position()[1] for text in drawn(run).axes[1].texts]
    assert abs(heights[0] - heights[1]) == pytest.approx(curves._SCORE_GAP)


def test_the_kept_weights_are_ringed():
    def rings(run: AdapterRun) -> list[list[float]]:
        return [
            line.get_xydata()[0].tolist()
            for line in drawn(run).axes[0].lines
            if line.get_fillstyle() == "none"
        ]

    assert rings(continued(best_step=8)) == [[16.0, 0.25]]  # step 8 after 4 + 4; its loss is 2 / 8
    assert rings(continued(best_step=12)) == []  # the last ones, as nobody would doubt
    assert rings(continued()) == []


def test_the_csv_holds_every_entry_and_every_score():
    run = continued()
    assert curve_columns(run) == [*CURVE_COLUMNS, "acc", "bleu"]
    rows = [dict(zip(curve_columns(run), row, strict=True)) for row in curve_rows(run)]
    assert len(rows) == 5 + 5 + 15
    assert (rows[0]["adapter"], rows[0]["step"], rows[0]["total_step"], rows[0]["loss"]) == (
        "first",
        1,
        1,
        1.0,
    )
    assert (rows[9]["adapter"], rows[9]["total_step"], rows[9]["acc"], rows[9]["bleu"]) == (
        "second",
        8,
        0.6,
        None,
    )
    assert (rows[-1]["step"], rows[-1]["total_step"], rows[-1]["eval_loss"], rows[-1]["bleu"]) == (
        12,
        20,
        2 / 12,
        20.0,
    )


@pytest.mark.parametrize("form", ["png", "svg"])
def test_equal_runs_give_equal_bytes_whatever_the_names(form):
    run = continued(names=(HOSTILE, "$x_{y$"))
    first = learning_curves(run, form)
    assert first == learning_curves(run, form)
    if form == "svg":
        assert not [part for part in ("<script", "\x1b", "\u202e") if part.encode() in first]


# --- the report


def page(run: AdapterRun) -> str:
    study: Study = make_study()
    name = study.adapters[0].card.name  # an adapter that was compared
    named = run.model_copy(update={"card": run.card.model_copy(update={"name": name})})
    return render_whole(study.model_copy(update={"adapters": [named]}), {})


def test_the_stretches_are_told():
    run = continued(names=("first", "second"))
    lineage = [
        make_ancestor("first", best_step=3),
        make_ancestor("second", steps=None, epochs=None, fingerprint=None),
    ]
    text = page(run.model_copy(update={"card": run.card.model_copy(update={"lineage": lineage})}))
    assert (
        "first (4 steps, of which the weights of step 3 were kept), second (made elsewhere), "
        in text
    )
    assert "in stretches" not in page(make_adapter("a", "snli_custom"))


def test_what_validation_decided_is_told_twice():
    """Where the training is described, and where a reader is warned."""
    settings = {"train": {"metric_for_best_model": "acc", "early_stopping_patience": 3}}
    text = page(continued(best_step=8, best_value=0.75, validation_hash="v", recipe=settings))
    decided = "the weights of step 8 are kept (best acc, 0.75); 3 evaluations without a better acc would end the training"
    assert f"Validation decided: {decided}." in text
    assert f"validation steered it ({decided}): its validation scores flatter it" in text
    assert "validation steered it" not in page(continued())
    assert "its loss set the learning rate" in page(continued(validation_hash="v"))


def test_epochs_stand_in_a_table():
    run = continued()
    epochs = [
        EpochSummary(epoch=1.0, loss=1.23456, eval_loss=1.5, scores={"acc": 0.5}),
        EpochSummary(epoch=1.5, loss=0.5),
    ]
    cost = run.card.cost.model_copy(update={"epochs": epochs})
    text = page(run.model_copy(update={"card": run.card.model_copy(update={"cost": cost})}))
    lines = [" ".join(line.replace("|", " ").split()) for line in text.splitlines()]
    assert "Epoch Training loss Validation loss acc" in lines
    assert "1 1.235 1.5 50.0 %" in lines
    assert f"1.5 0.5 {NONE} {NONE}" in lines
