"""Which cautions belong next to a verdict: what its numbers alone don't show, found in samples,
other splits and the adapter's card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ft_harness import stats
from ft_harness.comparison import remarks
from ft_harness.comparison.cases import DECIDING_METRICS
from ft_harness.comparison.cases.transitions import find_deciding
from ft_harness.comparison.measurement import Baseline, Measurement
from ft_harness.comparison.pairing import Pairs
from ft_harness.comparison.primary import is_too_short_for_bleu
from ft_harness.comparison.remarks import Recall
from ft_harness.comparison.study import AdapterRun, Comparison, Row
from ft_harness.metrics import find_metric
from ft_harness.metrics.labels import recalled_label
from ft_harness.records import Evaluation, Record

# share of a metric's largest value by which the gain on train must certainly exceed another gain
_FAR = 0.05


def find_cautions(
    rows: Mapping[str, Row],
    leading: str,
    sides: tuple[Evaluation, Evaluation],
    pairs: Pairs,
    majority: Baseline | None,
    lost: str | None,
) -> list[str]:
    """Return the cautions that follow from one comparison alone.

    Args:
        rows: metric -> its row, with its verdict.
        leading: the metric of the headline.
        sides: base and tuned; `pairs` are their items.
        majority: the majority baseline; None: always giving one answer is no baseline here.
        lost: the remark on lost classes, if any.
    """
    base, tuned = pairs.texts("prediction")
    headline = rows[leading]
    found: list[str | None] = [
        remarks.remark_same(sides[0].record) if _is_same(*sides) else None,
        remarks.remark_unverified(sides[1].record.adapter),
        remarks.remark_unscored(len(pairs) - headline.n, len(pairs))
        if headline.n < len(pairs)
        else None,
        remarks.remark_majority(majority.share, majority.interval) if majority else None,
    ]
    # a task that only asks for the likelihood of a text has no answers, which is no fault
    if any(answer is not None for answer in chain(base, tuned)):
        found += [remarks.remark_empty("base", base), remarks.remark_empty("tuned", tuned)]
    found += [
        remarks.remark_cut(who)
        for who, side in zip(("base", "tuned"), sides, strict=True)
        if _is_cut_throughout(side)
    ]
    found += [lost, _find_gain_of_format(pairs)]
    if leading == "bleu" and is_too_short_for_bleu(pairs.texts("target")[0]):
        found.append(f"{remarks.BLEU_OF_SHORT_ANSWERS}: another metric should lead.")
    return [remark for remark in found if remark]


def is_above_majority(majority: Baseline, pairs: Pairs) -> bool | None:
    """For cautions: whether the tuned model is shown to be above the majority class and gives more
    than one answer; None: that can't be said of so few items."""
    # Too few items for an interval, which is not the same as "not above".
    if majority.interval is None:
        return None
    golds, _ = pairs.texts("target")
    _, answers = pairs.texts("prediction")
    # A model that always gives the second most frequent answer can be above the majority class on
    # another split's distribution, and is of no use all the same.
    return majority.interval[0] > 0 and remarks.find_collapse(answers, golds) is None


def find_lost_classes(rows: Mapping[str, Row], pairs: Pairs, *, has_classes: bool) -> str | None:
    """Return the caution on the classes whose recall is shown to have fallen (Holm over the
    classes), whatever the overall score did: it may hide such a loss.

    Args:
        rows: hold recalls if the task has label metrics.
        has_classes: the right answers are classes, so without such rows their items give recalls.
    """
    recalls = [
        Recall(label, row.base, row.tuned, row.p, row.verdict == "worse")
        for name, row in rows.items()
        if (label := recalled_label(name)) and row.p is not None
    ]
    # lm-eval's own tasks have accuracy without recalls; the recall of a class is the accuracy on
    # its items.
    if not recalls and has_classes:
        recalls = _count_recalls(pairs)
    # Of ten classes one would fall by chance alone in about a fifth of all studies.
    adjusted = stats.holm([each.p for each in recalls if each.p is not None])
    lost = [
        each for each, p in zip(recalls, adjusted, strict=True) if p < stats.ALPHA and each.is_worse
    ]
    found = [each.label for each in recalls if each.base]  # classes that the base finds at all
    return remarks.remark_lost_classes(
        sorted(lost, key=lambda each: (each.tuned or 0.0) - (each.base or 0.0)),
        found[0] if len(found) == 1 < len(recalls) else None,
    )


def _count_recalls(pairs: Pairs) -> list[Recall]:
    """The accuracy on the items of each right answer, where that is tested."""
    targets = np.array(pairs.texts("target")[0], dtype=object)
    found: list[Recall] = []
    for label in dict.fromkeys(targets.tolist()):
        part = Measurement(pairs.only(targets == label)).difference("acc")
        if part.p is not None and part.interval is not None:
            worse = part.interval[1] < 0
            found.append(Recall(str(label), part.base, part.tuned, part.p, worse))
    return found


def _find_gain_of_format(pairs: Pairs) -> str | None:
    """How many gained items had an answer of the base that could not be read, or none."""
    columns = pairs.base.columns
    deciding = find_deciding(columns.keys() & pairs.tuned.columns.keys())
    if deciding not in DECIDING_METRICS:
        return None
    # NaN, a missing score, is equal to neither 0 nor 1: such items are in no count.
    before, after = (side[:, 0] for side in pairs.statistics(deciding))
    gained = (before == 0) & (after == 1)
    # in SQuAD v2 an empty answer says that there is none
    readable = {"empty"} if "NoAns_exact" in columns else set[str]()
    for what, names in remarks.UNREADABLE.items():
        if known := [name for name in names if name in columns.keys() - readable]:
            unread = np.any([pairs.statistics(name)[0][:, 0] == 1 for name in known], axis=0)
            return remarks.remark_format(what, int((gained & unread).sum()), int(gained.sum()))
    return None


def _is_same(base: Evaluation, tuned: Evaluation) -> bool:
    """Whether both sides were read from one place."""
    # lm-eval's output is read into a new folder each time, so that folders say nothing of these.
    if base.record.foreign and tuned.record.foreign:
        return (base.record.foreign.file, base.record.eval_id) == (
            tuned.record.foreign.file,
            tuned.record.eval_id,
        )
    return base.folder.resolve() == tuned.folder.resolve()


def _is_cut_throughout(evaluation: Evaluation) -> bool:
    """Whether the token limit ended every generated answer; stops reading at the first other
    one."""
    samples = (sample for sample in evaluation.samples() if sample.failed is None)
    # Nearly always the first sample was finished, and the file of a million need not be read.
    first = next(samples, None)
    if first is None or not first.unfinished:
        return False
    return all(sample.unfinished and all(sample.unfinished) for sample in chain([first], samples))


def place_of(tuned: Record) -> tuple[Any, ...]:
    """For cautions: the key that evaluations of one adapter on several splits of one task share."""
    settings = tuned.settings
    decoding = repr(sorted(settings.generation_kwargs.items()))
    return (
        tuned.subject,
        settings.task,
        settings.num_fewshot,
        decoding,
        repr(settings.text_fields),
        tuned.model.quantization,
    )


def find_context(
    comparison: Comparison, same_place: Sequence[Comparison], run: AdapterRun | None
) -> list[str]:
    """Return the cautions that follow from other splits of the task and from the adapter's card.

    Args:
        same_place: the comparisons of this adapter on each split of the task.
        run: the adapter; None: its folder is not known.
    """
    headline, tuned = comparison.headline, comparison.tuned
    splits = [each.tuned.settings.split for each in same_place]
    # the training chose nothing by another task's items
    is_control = comparison.role == "control task"
    recipe = run.card.recipe if run else None
    found = [None if is_control else warn_of_choosing(tuned, recipe, splits)]
    if tuned.settings.split != "train":
        trained = (each.headline for each in same_place if each.tuned.settings.split == "train")
        found += [
            warn_of_overfitting(row, headline) for row in trained if row.metric == headline.metric
        ]
    return [remark for remark in found if remark]


def warn_of_overfitting(trained: Row, tested: Row) -> str | None:
    """A caution if the gain on the train split is far larger than on another one.

    Far more: the 95 % interval of gain on train minus gain elsewhere (each tuned minus base, in the
    better direction) lies wholly above 5 % of the metric's largest value; for perplexities, above
    0.05 in the logarithm.
    """
    there, here = _gain(trained), _gain(tested)
    # Items of train and test are different ones, so that this difference has no pairs and its
    # interval is that of two independent estimates.
    if there is None or here is None or stats.independent_difference(there, here)[0] <= _FAR:
        return None
    return remarks.remark_overfitting(trained.metric, trained, tested)


def _gain(row: Row) -> stats.Estimate | None:
    """What tuning gained, as a share of the metric's largest value, and its interval; None:
    undefined."""
    metric = find_metric(row.metric)
    if row.base is None or row.delta is None or row.low is None or row.high is None:
        return None
    if math.isnan(metric.scale):
        return None
    changes = [row.low, row.delta, row.high]
    if not math.isinf(metric.scale):
        changes = [change / metric.scale for change in changes]
    # Perplexities are compared by their ratio: a fall by 2 means much from 4, and little from 400.
    elif row.base > 0 and row.low > -row.base:
        changes = [math.log1p(change / row.base) for change in changes]
    else:
        return None
    low, delta, high = (
        changes if metric.higher_is_better else [-change for change in reversed(changes)]
    )
    return delta, (low, high)


def warn_of_choosing(
    tuned: Record, recipe: Mapping[str, Any] | None, splits: Sequence[str]
) -> str | None:
    """A caution that validation items were used for choosing, or may have been; `splits` are all
    that were scored for the same adapter and task, `recipe` comes from the adapter's card."""
    settings = tuned.settings
    how = (
        _choice(recipe or {})
        if (recipe or {}).get("task", {}).get("name") == settings.task
        else None
    )
    if settings.split == "validation" or (
        settings.split == "test" and how and "validation" in splits
    ):
        return remarks.remark_choosing(how, settings.split)
    return None


def _choice(recipe: Mapping[str, Any]) -> str | None:
    """What the training decided by its validation split."""
    train = recipe.get("train", {})
    ways = {
        "the best checkpoint was kept": train.get("load_best_model_at_end"),
        "it was stopped early": train.get("early_stopping_patience"),
    }
    return ", ".join(way for way, is_used in ways.items() if is_used) or None
