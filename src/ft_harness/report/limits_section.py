"""The report's section on what was not measured, in plain sentences: what a reader must not
conclude from the tables."""

from __future__ import annotations

from collections.abc import Iterator

from ft_harness.comparison.aggregator import AdapterRun, Study
from ft_harness.comparison.features import features_of
from ft_harness.report.document import Block, bullets
from ft_harness.report.training_section import steering
from ft_harness.report.view import main_comparisons

_WITHOUT_SPLIT = {
    "train": "the train split was not scored: it is not known whether the adapter memorised its "
    "examples.",
    "validation": "the validation split was not scored: if a setting was chosen by its test score, "
    "this report can't show it.",
    "test": "the test split was not scored: items that steered the training overstate what new "
    "items would give.",
}
_REFERENCE_AND_ONE = 2  # settings of a sweep


def limits_section(study: Study) -> list[Block]:
    """One sentence for each thing that the study leaves open."""
    return bullets(state_limits(study))


def state_limits(study: Study) -> list[str]:
    """The sentences on what was not measured; none where nothing was compared."""
    if not study.comparisons:
        return []
    return [*_by_task(study), *_by_adapter(study), *_of_the_whole(study)]


def _by_task(study: Study) -> Iterator[str]:
    """Splits that were left out, and items of those that were not."""
    for task in dict.fromkeys(
        comparison.tuned.settings.task for comparison in main_comparisons(study)
    ):
        of_task = [
            comparison.tuned.settings
            for comparison in study.comparisons
            if comparison.tuned.settings.task == task
        ]
        scored = {settings.split for settings in of_task}
        for split, said in _WITHOUT_SPLIT.items():
            if split not in scored:
                yield f"{task}: {said}"
        limits = {(s.split, s.limit): s.sample_seed for s in of_task if s.limit is not None}
        for (split, limit), seed in limits.items():
            which = "the first items only" if seed is None else f"a sample, drawn with seed {seed}"
            yield f"{task}: at most {limit} items of the {split} split were scored, {which}."


def _by_adapter(study: Study) -> Iterator[str]:
    scored = [each.tuned for each in study.comparisons]
    doubts = {each.subject: each.adapter.doubt_of_base for each in scored if each.adapter}
    yield from (
        f"{subject}: it is not known whether it was trained on this base: {doubt}."
        for subject, doubt in doubts.items()
        if doubt
    )
    known = {run.card.name: run for run in study.adapters}
    for subject in dict.fromkeys(comparison.tuned.subject for comparison in study.comparisons):
        if subject in known:
            yield from (f"{subject}: {said}" for said in _of_adapter(known[subject]))
        else:
            yield (
                f"{subject}: its card was not found, so its training and its cost are not shown, "
                "and whether test items occur in its training data was not checked."
            )


def _of_adapter(run: AdapterRun) -> Iterator[str]:
    if run.data is None:
        yield "whether test items occur in its training data was not checked."
    if not any(entry.eval_loss is not None for entry in run.history):
        yield "no validation loss was measured during training."
    if decided := steering(run):
        yield (
            f"validation steered it ({decided}): its validation scores flatter it, its test scores "
            "do not."
        )


def _of_the_whole(study: Study) -> Iterator[str]:
    tasks = {each.tuned.settings.task for each in main_comparisons(study)}
    if all(len(_seeds(study, task)) < 2 for task in tasks):
        yield (
            "One training seed: the intervals cover the choice of test items and say nothing about "
            "other seeds."
        )
    if not any(comparison.role == "control task" for comparison in study.comparisons):
        yield (
            "No control task was scored: what the training cost on other tasks is not known "
            "(controls in the recipe)."
        )
    if study.sweep is not None and len(study.sweep.settings) > _REFERENCE_AND_ONE:
        yield "Settings of the sweep were compared with the reference only, not with each other."
    if any(
        each.tuned.settings.generation_kwargs.get("do_sample") is True for each in study.comparisons
    ):
        yield "Answers were sampled once: how much another draw would change is not known."


def _seeds(study: Study, task: str) -> set[str]:
    compared = [each for each in main_comparisons(study) if each.tuned.settings.task == task]
    return {features_of(study, comparison)["seed"] for comparison in compared}
