"""The report's section on what was not measured, in plain sentences: what a reader must not
conclude from the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ft_harness.comparison.aggregator import AdapterRun, Comparison, Study
from ft_harness.comparison.amounts import NONE, counted, scale_of, shown_value
from ft_harness.comparison.features import features_of
from ft_harness.comparison.sentences import state_change, word_of
from ft_harness.comparison.sweep_study import SweepStudy, field_name, name_values
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
_NO_CARD = (
    "its card was not found, so its training and its cost are not shown, and whether test items "
    "occur in its training data was not checked."
)
_REFERENCE_AND_ONE = 2  # settings of a sweep
_FEW_SEEDS = 5  # from which a standard deviation over them says something
_MOST_NAMED = 3  # adapters that share a sentence
_MOST_VALUES = 8  # of a varied field that are listed


def limits_section(study: Study) -> list[Block]:
    """One sentence for each thing that the study leaves open."""
    return bullets(state_limits(study))


def state_limits(study: Study) -> list[str]:
    """The sentences on what was not measured; none where nothing was compared."""
    if not study.comparisons:
        return []
    return [
        *_by_task(study),
        *_by_adapter(study),
        *_of_other_programs(study),
        *_of_seeds(study),
        *_of_controls(study),
        *(_of_sweep(study.sweep) if study.sweep else ()),
        *_of_the_whole(study),
    ]


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
    subjects = dict.fromkeys(each.tuned.subject for each in study.comparisons)
    shared: dict[str, list[str]] = {}
    for subject in subjects:
        lines = [*_of_adapter(known[subject])] if subject in known else [_NO_CARD]
        for each in lines:
            shared.setdefault(each, []).append(subject)
    for said, names in shared.items():
        yield f"{_name_all(names, len(subjects))}: {said}"


def _name_all(names: Sequence[str], of: int) -> str:
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    if len(names) == of:
        return f"each of the {of} adapters"
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"


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


def _of_other_programs(study: Study) -> Iterator[str]:
    """What lm-eval's files leave out."""
    foreign = [each for each in study.comparisons if each.tuned.foreign]
    if not foreign:
        return
    programs = ", ".join(
        dict.fromkeys(each.tuned.foreign.program for each in foreign if each.tuned.foreign)
    )
    known = {run.card.name for run in study.adapters}
    untold = dict.fromkeys(
        each.tuned.subject for each in foreign if each.tuned.subject not in known
    )
    if untold:
        yield (
            f"{', '.join(untold)}: the files of {programs} do not record the training: on what "
            "data, with which settings, from which seed. Two models were compared as they were "
            "scored; that the training made the difference is not shown by these files."
        )
    if any(
        "weights" in side.foreign.unknown
        for each in foreign
        for side in (each.base, each.tuned)
        if side.foreign
    ):
        yield (
            f"{programs} records the name of a base, not its weights: whether base and tuned were "
            "scored with the same base weights is not known."
        )
    if any(each.headline.is_stated for each in foreign):
        yield (
            "Samples were not written (--log_samples): whether base and tuned had the same items "
            "and prompts is not recorded, and nothing could be tested."
        )
    elif unchecked := dict.fromkeys(line for each in foreign for line in _unchecked(each)):
        yield (
            "The prompts are recorded and were compared item by item. Not recorded: "
            f"{'; '.join(unchecked)}."
        )


def _unchecked(comparison: Comparison) -> list[str]:
    return comparison.tuned.foreign.unchecked if comparison.tuned.foreign else []


def _of_seeds(study: Study) -> Iterator[str]:
    """What one seed, or a few, can't show."""
    tasks = {each.tuned.settings.task for each in main_comparisons(study)}
    seeds = [_seeds(study, task) for task in tasks]
    if all(len(each) < 2 for each in seeds):
        known = any(each - {NONE} for each in seeds)
        run = "One training seed" if known else "One training run, its seed not recorded"
        yield (
            f"{run}: the intervals cover the choice of test items and say nothing about "
            "other seeds."
        )
        return
    repeated = [each for each in study.repeats if each.varied == "training seed"]
    counts = sorted({len(each.seeds) for each in repeated if len(each.seeds) < _FEW_SEEDS})
    if counts:
        number = " or ".join(map(str, counts))
        yield (
            f"{number} training seeds: a standard deviation over so few is itself uncertain, and "
            "how far the next seed would lie is hardly known. The intervals of means allow for "
            "that, which makes them wide: no evidence of a difference is not evidence that there "
            "is none."
        )


def _of_controls(study: Study) -> Iterator[str]:
    controls: dict[str, list[Comparison]] = {}
    for each in study.comparisons:
        if each.role == "control task":
            controls.setdefault(each.headline.task, []).append(each)
    if not controls:
        hint = "; add controls to the recipe to measure it" if study.adapters else ""
        said = "No control task was scored: what the training cost on other tasks is not known"
        yield f"{said}{hint}."
        return
    said = "; ".join(_size_of(task, compared) for task, compared in controls.items())
    yield f"Losses elsewhere were looked for in these control tasks alone: {said}."


def _size_of(task: str, compared: Sequence[Comparison]) -> str:
    """`control_words (100 items, a loss of about 14 points shows with 80 % power)`."""
    rows = [each.headline for each in compared]
    items = counted(min(row.n for row in rows), "item")
    metric = rows[0].metric
    known = [each.detectable for each in compared if each.detectable is not None]
    if not known or scale_of(metric) != 1:
        return f"{task} ({items})"
    least = state_change(metric, max(known), 0).removeprefix("+")
    return f"{task} ({items}, a loss of about {least} shows with 80 % power)"


def _of_sweep(sweep: SweepStudy) -> Iterator[str]:
    if len(sweep.settings) > _REFERENCE_AND_ONE:
        yield "Settings of the sweep were compared with the reference only, not with each other."
    for axis in sweep.axes:
        yield from _of_axis(sweep, axis)
    if len(sweep.axes) > 1:
        names = ", ".join(" and ".join(map(field_name, axis)) for axis in sweep.axes)
        yield (
            f"How {names} depend on each other was not tested: what is said of one holds while the "
            "others have the values of the reference."
        )
    if sweep.choice is not None:
        yield (
            f"The setting was chosen on {sweep.choice.split} by {word_of(sweep.choice.metric)}; on "
            "test only it and the reference were scored, the other settings were not."
        )
    elif len(sweep.settings) > 1:
        yield (
            f"No setting was chosen on validation: the best of {len(sweep.settings)} "
            f"{sweep.split} scores looks better than it is, as the best of several."
        )


def _of_axis(sweep: SweepStudy, axis: Sequence[str]) -> Iterator[str]:
    values = list(dict.fromkeys(name_values(each.values, axis) for each in sweep.settings))
    if len(axis) > 1:
        yield (
            f"{' and '.join(map(field_name, axis))} vary together: which of them made a "
            "difference can't be told."
        )
    elif 1 < len(values) <= _MOST_VALUES and all(
        _is_number(each.values[axis[0]]) for each in sweep.settings
    ):
        shown = list(dict.fromkeys(shown_value(each.values[axis[0]]) for each in sweep.settings))
        yield (
            f"{field_name(axis[0])} was {', '.join(shown[:-1])} and {shown[-1]}: what lies between "
            "or beyond these values is not known."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_the_whole(study: Study) -> Iterator[str]:
    if any(
        each.tuned.settings.generation_kwargs.get("do_sample") is True for each in study.comparisons
    ):
        yield "Answers were sampled once: how much another draw would change is not known."


def _seeds(study: Study, task: str) -> set[str]:
    compared = [each for each in main_comparisons(study) if each.tuned.settings.task == task]
    return {features_of(study, comparison)["seed"] for comparison in compared}
