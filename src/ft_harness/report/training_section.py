"""The report's section on how each adapter was trained: its examples, the course of losses and
scores, and what validation decided."""

from __future__ import annotations

from ft_harness.comparison.aggregator import MOST_SHOWN, AdapterRun, Study
from ft_harness.comparison.amounts import fixed
from ft_harness.report.cells import UNDEFINED, score
from ft_harness.report.document import Block, Cell, Figure, Heading, Number, Paragraph, Table

_MOST_SCORES = 6  # columns of a table that is still read; the figure's csv has all


def training_section(study: Study) -> list[Block]:
    """The section on training: each adapter's in a few sentences, and the learning curves of as
    many as are looked at."""
    return [
        block
        for number, run in enumerate(study.adapters)
        for block in _training(run, drawn=number < MOST_SHOWN)
    ]


def steering(run: AdapterRun) -> str | None:
    """In the section on training: what the validation split decided of the adapter; None:
    nothing."""
    card, train = run.card, run.card.recipe.get("train", {})
    metric = train.get("metric_for_best_model")
    decided: list[str] = []
    if card.best_step is not None and card.best_value is not None:
        decided.append(
            f"the weights of step {card.best_step:,} are kept (best {metric}, "
            f"{card.best_value:.3g})"
        )
    if train.get("early_stopping_patience"):
        patience = train["early_stopping_patience"]
        decided.append(f"{patience} evaluations without a better {metric} would end the training")
    if not decided and card.validation_hash:
        decided.append("its loss set the learning rate")
    return "; ".join(decided) or None


def _training(run: AdapterRun, *, drawn: bool) -> list[Block]:
    card = run.card
    summary = (
        f"{card.examples:,} examples ({card.truncated_examples:,} truncated), "
        f"{card.trained_tokens:,} {card.target}s, {card.steps:,} steps, final training loss "
        f"{fixed(card.final_loss, 3)}."
    )
    decided = steering(run)
    said = [summary, *([f"Validation decided: {decided}."] if decided else []), *_lineage(run)]
    figure = Figure(f"curves:{card.name}", f"Learning curves of {card.name}")
    return [
        Heading(3, card.name), *map(Paragraph, said), *([figure] if drawn else [])
    ]  # fmt: skip


def epoch_blocks(study: Study) -> list[Block]:
    """In the section on training: the losses and scores of each epoch, one table per adapter."""
    return [block for run in study.adapters for block in _epochs(run)]


def _lineage(run: AdapterRun) -> list[str]:
    """The adapters that this one continues, stretch by stretch."""
    if not run.card.lineage:
        return []
    earlier = [
        f"{each.name} ({'made elsewhere' if each.steps is None else f'{each.steps:,} steps'}"
        + (
            f", of which the weights of step {each.best_step:,} were kept)"
            if each.best_step
            else ")"
        )
        for each in run.card.lineage
    ]
    stretches = ", ".join([*earlier, f"{run.card.name} ({run.card.steps:,} steps)"])
    return [f"Trained in stretches, each with its own optimizer and schedule: {stretches}."]


def _epochs(run: AdapterRun) -> list[Block]:
    epochs = run.card.cost.epochs
    metrics = list(dict.fromkeys(metric for epoch in epochs for metric in epoch.scores or {}))[
        :_MOST_SCORES
    ]
    if len(epochs) < 2 and not metrics:
        return []
    lines: list[list[Cell]] = [
        [
            *(_number(epoch.epoch, 4), _number(epoch.loss, 4), _number(epoch.eval_loss, 4)),
            *(score(metric, (epoch.scores or {}).get(metric)) for metric in metrics),
        ]
        for epoch in epochs
    ]
    header = ["Epoch", "Training loss", "Validation loss", *metrics]
    title = f"{run.card.name} by epoch"
    return [Heading(3, title), Table("epochs", title, header, lines, "n" * len(header))]


def _number(value: float | None, digits: int) -> Cell:
    return UNDEFINED if value is None else Number(f"{value:.{digits}g}", value)
