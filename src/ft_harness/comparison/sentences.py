"""The plain words of a comparison, by fixed rules: pure functions of rows, records, cards and
answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ft_harness.comparison.amounts import amount, decimals, difference, interval, probability
from ft_harness.comparison.features import tell_apart
from ft_harness.comparison.power import Power
from ft_harness.comparison.repeats import Repeats
from ft_harness.comparison.study import Row, Study
from ft_harness.data.data_report import DataReport
from ft_harness.metrics import find_metric
from ft_harness.records import Record, describe_record
from ft_harness.stats import MIN_PAIRS, Interval

_WORDS = {
    "acc": "accuracy",
    "exact_match": "exact match",
    "token_f1": "token F1",
    "f1_macro": "macro F1",
    "bleu": "BLEU",
    "chrf": "chrF",
    "token_ppl": "token perplexity",
    "item_ppl": "item perplexity",
    "byte_ppl": "byte perplexity",
    "char_ppl": "character perplexity",
}
_IN_POINTS = (1, 100)  # largest values of metrics whose differences are points
_COLLAPSED = 0.95  # share of one answer from which a model counts as answering only that
_SPREAD = (
    0.80  # share of the most frequent gold answer up to which the gold answers count as spread
)
_QUOTED = 40  # characters of an answer in a sentence
_MOST_STATED = 12  # comparisons that get a sentence each
_NAMED = 3  # metrics in a note


def state_verdict(row: Row, detectable: float | None, *, adjusted: bool = False) -> str:
    """One sentence: what changed, by how much and how sure that is; without evidence, what could
    have been seen.

    Args:
        adjusted: whether p of the primary rows is adjusted over several.
    """
    word = _word(row.metric)
    clusters = f" in {row.n_clusters} clusters" if row.n_clusters else ""
    place = f"on {row.task} ({row.split}, {_count_paired(row)}{clusters})"
    if row.base is None or row.tuned is None or row.delta is None:
        return f"No difference can be stated: {word} {place} is undefined."
    digits = decimals(row.metric, row.low, row.high)
    before, after = amount(row.metric, row.base, digits), amount(row.metric, row.tuned, digits)
    change = f"{_state_change(row.metric, row.delta, digits)}{_state_ratio(row)}"
    certainty = f"{_state_interval(row.metric, row.low, row.high)}, {_state_p(row, adjusted)}"
    if row.verdict == "no evidence":
        limit = _state_limit(row, detectable)
        return f"No evidence of a difference: {word} {place} {before} -> {after} ({change}, {certainty}){limit}."
    verb = "improved" if row.verdict == "improved" else "got worse,"
    return f"{word[0].upper()}{word[1:]} {place} {verb} from {before} to {after}: {change} ({certainty})."


def _word(metric: str) -> str:
    return _WORDS.get(metric, metric)


def _state_change(metric: str, delta: float, digits: int | None = None) -> str:
    """A signed difference with its unit, if it has one."""
    points = " points" if find_metric(metric).scale in _IN_POINTS else ""
    return f"{difference(metric, delta, digits)}{points}"


def _state_size(metric: str, value: float, digits: int | None = None) -> str:
    """As `_state_change`, of what has no direction."""
    return _state_change(metric, value, digits).removeprefix("+")


def _state_ratio(row: Row) -> str:
    """What a metric without a largest value (a perplexity) was multiplied by."""
    is_ratio = math.isinf(find_metric(row.metric).scale) and row.base and row.tuned
    return f", a factor of {(row.tuned or 0) / (row.base or 1):.3g}" if is_ratio else ""


def state_count(verdicts: Sequence[str | None], most: int) -> str:
    """How many comparisons came out how, and that at most `most` of those with a verdict have a
    sentence each."""
    improved, worse, without = (
        verdicts.count(name) for name in ("improved", "worse", "no evidence")
    )
    said = f"Of {len(verdicts)} comparisons {improved} improved, {worse} got worse, {without} show no evidence"
    undefined = len(verdicts) - improved - worse - without
    said += f", {undefined} can't be stated" if undefined else ""
    judged = improved + worse
    rest = (
        f"the first {most} of these {judged} follow"
        if judged > most
        else "those with a verdict follow"
    )
    return f"{said} of a difference (p adjusted over all of them; {rest}, the table has all)."


def state_repeats(repeats: Repeats) -> str:
    """What several training seeds came to, and how much of the uncertainty is theirs."""
    metric = repeats.metric
    mean = _state_change(metric, repeats.mean, decimals(metric, repeats.low, repeats.high))
    return (
        f"Over {len(repeats.seeds)} training seeds {_word(metric)} on {repeats.task} ({repeats.split}) changes by "
        f"{mean} on average ({_state_interval(metric, repeats.low, repeats.high)}, for other seeds and other items); "
        f"the seeds differ by a standard deviation of {_state_size(metric, repeats.seed_deviation)}, "
        f"the choice of items adds a standard error of {_state_size(metric, repeats.test_error)}."
    )


def state_power(power: Power) -> list[str]:
    """What a test set can show, with the assumption that this rests on."""
    metric, word = power.metric, _word(power.metric)
    clusters = f" in {power.n_clusters} clusters" if power.n_clusters else ""
    where = f"{_count_items(power.n)}{clusters}, base {amount(metric, power.base)}"
    if power.detectable is None:
        lines = [f"{word}, {where}: no improvement can be shown."]
    else:
        least = _state_size(metric, power.detectable)
        lines = [
            f"{word}, {where}: an improvement of {least} or more is found with 80 % power (p < 0.05)."
        ]
    if power.effect is not None:
        wished = f"An improvement of {_state_size(metric, power.effect)}"
        needed = None if power.needed is None else f"{power.needed:,} items"
        lines.append(
            f"{wished} needs {needed}."
            if needed
            else f"{wished} can't be shown with any number of items."
        )
    said = (
        "as if independent, which is careful"
        if power.correlation == 0
        else f"{power.correlation:g}"
    )
    lines.append(f"Assumed correlation of base and tuned over the items: {said}.")
    return lines


def _count_items(n: int) -> str:
    return "1 item" if n == 1 else f"{n} items"


def _count_paired(row: Row) -> str:
    """The items that a row rests on; of how many, where some are left out."""
    all_items = row.n if row.n_items is None else row.n_items
    return _count_items(row.n) if all_items <= row.n else f"{row.n} of {_count_items(all_items)}"


def _state_interval(metric: str, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "interval undefined"
    return f"95 % interval {interval(metric, low, high)}"


def _state_p(row: Row, adjusted: bool) -> str:
    p, name = (
        (row.p_adjusted, "Holm-adjusted p")
        if adjusted and row.p_adjusted is not None
        else (row.p, "p")
    )
    if p is None:
        return "p undefined"
    shown = probability(p)
    return f"{name} {shown}" if shown.startswith("<") else f"{name} = {shown}"


def _state_limit(row: Row, detectable: float | None) -> str:
    if row.n < MIN_PAIRS:
        return f"; {_count_items(row.n)} can't show any difference"
    if detectable is None:
        return ""
    if find_metric(row.metric).scale not in _IN_POINTS:
        return f"; {row.n} items could only detect about {detectable:.2g}"
    scaled = detectable * 100 / find_metric(row.metric).scale
    return f"; {row.n} items could only detect about {_state_size(row.metric, detectable, 0 if scaled >= 2 else 1)}"


# --- what must stand beside a verdict
# -----------------------------------------------------------------------------


def remark_unscored(left_out: int, items: int) -> str:
    """That a number rests on fewer than the `items` that are paired."""
    are = "is" if left_out == 1 else "are"
    return f"{left_out} of {_count_items(items)} {are} left out: no score in base or tuned."


def remark_majority(share: float, excess: Interval | None) -> str | None:
    """A warning if the tuned model's accuracy is below the share of the most frequent gold label,
    or not shown to be above it: by the 95 % interval of their difference."""
    if excess is None or excess[0] > 0:
        return None
    relation = "below" if excess[1] < 0 else "not shown to be better than"
    certainty = f"95 % interval of tuned minus majority {interval('acc', *excess)} points"
    digits = decimals("acc", *excess)
    return f"The tuned model is {relation} the majority class ({amount('acc', share, digits)}; {certainty})."


def remark_empty(who: str, answers: Sequence[str | None]) -> str | None:
    """A warning if a model ("base" or "tuned") never answered."""
    if not answers or any(answer and not answer.isspace() for answer in answers):
        return None
    return f"Every answer of the {who} model is empty or unreadable."


def remark_collapse(
    base: Sequence[str | None], tuned: Sequence[str | None], golds: Sequence[str]
) -> str | None:
    """A warning if the tuned model gives nearly always the same answer to items whose gold answers
    are spread.

    If the base model gave that answer as often, the training taught nothing; else the training
    broke the model.
    """
    readable = [answer for answer in tuned if answer and not answer.isspace()]
    if not readable:
        return None
    answer, count = Counter(readable).most_common(1)[0]
    if count < _COLLAPSED * len(tuned) or max(Counter(golds).values()) > _SPREAD * len(golds):
        return None
    quoted = answer if len(answer) <= _QUOTED else f"{answer[: _QUOTED - 1]}…"
    said = f"The tuned model answers '{quoted}' for {100 * count // len(tuned)} % of the items"
    if Counter(base)[answer] >= _COLLAPSED * len(base):
        return f"{said}, as the base model does: the training has not taught the task."
    return f"{said}: the training has collapsed (often a too high learning rate)."


def remark_overlap(without: Row, left_out: int, left: int) -> str:
    """What the deciding metric is without the items that also stand in the training split; `left`
    items remain."""
    if not left:
        every = "The only item also occurs" if left_out == 1 else f"All {left_out} items also occur"
        return f"{every} in the training data: this says nothing about new items."
    stand = "items also occurs" if left_out == 1 else "items also occur"
    said = f"{left_out} of {left_out + left} {stand} in the training data, exactly or nearly"
    if without.base is None or without.tuned is None or without.delta is None:
        return f"{said}; without them nothing can be stated."
    metric, digits = without.metric, decimals(without.metric, without.low, without.high)
    before, after = amount(metric, without.base, digits), amount(metric, without.tuned, digits)
    certainty = _state_interval(metric, without.low, without.high)
    change = f"{_state_change(metric, without.delta, digits)}, {certainty}"
    return f"{said}; without them {_word(metric)} {before} -> {after} ({change})."


def remark_cut(who: str) -> str:
    """That no answer of a model ("base" or "tuned") was finished."""
    return f"Every answer of the {who} model was cut by the limit of generated tokens: none is finished."


def remark_overfitting(metric: str, trained: Row, tested: Row) -> str:
    """That the tuned model is far better on what it was trained on than on other items, by more
    than its base is."""
    sides = [(row, decimals(metric, row.low, row.high)) for row in (trained, tested)]
    there, here = (amount(metric, row.tuned, digits) for row, digits in sides)
    gains = [
        _state_change(metric, row.delta, digits) for row, digits in sides if row.delta is not None
    ]
    return (
        f"The tuned model scores {there} on the training examples and {here} here, {gains[0]} and {gains[1]} against "
        "its base: much of what it gained is learnt by heart (overfitting)."
    )


def remark_choosing(how: str | None, split: str) -> str:
    """That numbers on validation are no fair ones; `how` the training used the split, None: not
    known."""
    if how is None:
        return "These are validation items: where they helped to choose anything, new items would score lower."
    if split == "validation":
        return f"The training used these validation items ({how}): new items would score lower."
    return f"The training used the validation items ({how}): this number is a fair one, those on validation are not."


def remark_same(record: Record) -> str:
    """That an evaluation was compared with itself."""
    return f"Base and tuned are one and the same evaluation, {describe_record(record)}: this compares nothing."


# --- notes
# --------------------------------------------------------------------------------------------------------


def note_bad_items(record: Record) -> list[str]:
    """Counts of invalid and of truncated items: the largest over the metrics, which all rest on the
    same items."""
    counts = {
        "items have an answer that could not be read or scored": [
            score.n_invalid for score in record.scores
        ],
        "items had their prompt cut to fit the context": [
            score.n_truncated for score in record.scores
        ],
    }
    return [
        f"{describe_record(record)}: {max(bad)} {what}"
        for what, bad in counts.items()
        if max(bad, default=0)
    ]


def note_unscored(metrics: Sequence[str], left_out: int, items: int) -> str:
    """Which metrics rest on fewer than the paired items."""
    more = f" and {len(metrics) - _NAMED} more" if len(metrics) > _NAMED else ""
    return f"{', '.join(metrics[:_NAMED])}{more}: {remark_unscored(left_out, items).rstrip('.')}"


def note_unknown_overlap(record: Record, data: DataReport | None) -> list[str]:
    """A note if the adapter's data report is not about the docs of this evaluation."""
    settings = record.settings
    if data is None or settings.split == "train":
        return []
    found = data.split_data(settings.split)
    if found and (settings.sample_seed is not None or found.data_hash == settings.data_hash):
        return []
    return [
        f"{describe_record(record)}: the adapter's data report is not of these {settings.split} docs; "
        "whether they also occur among the training docs was not looked at"
    ]


def state_study(study: Study) -> list[str]:
    """The sentence of each primary comparison, led by what tells it apart from others of its task;
    then those of recipes that were trained with several seeds.

    Of more comparisons than a reader takes in, first how many came out how, then the sentences of
    those with a verdict, as many as are read.
    """
    primary = [each for each in study.comparisons if any(row.primary for row in each.rows)]
    shown, counted = primary, []
    if len(primary) > _MOST_STATED:
        verdicts = [next(row.verdict for row in each.rows if row.primary) for each in primary]
        counted = [state_count(verdicts, _MOST_STATED)]
        judged = [
            e
            for e, verdict in zip(primary, verdicts, strict=True)
            if verdict in ("improved", "worse")
        ]
        shown = judged[:_MOST_STATED]
    told = [", ".join(tell_apart(study, each)) for each in shown]
    stated = [
        f"{name}: {each.sentence}" if name else each.sentence
        for name, each in zip(told, shown, strict=True)
    ]
    return counted + stated + [state_repeats(repeats) for repeats in study.repeats]
