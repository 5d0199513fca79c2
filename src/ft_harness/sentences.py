"""The plain words of a comparison, by fixed rules: pure functions of rows, records, cards and answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ft_harness.metrics import find_metric
from ft_harness.records import Record
from ft_harness.stats import MIN_PAIRS

if TYPE_CHECKING:
    from ft_harness.aggregator import Row
    from ft_harness.data_report import DataReport
    from ft_harness.power import Forecast
    from ft_harness.repeats import Repeats

_WORDS = {"acc": "accuracy", "exact_match": "exact match", "token_f1": "token F1", "f1_macro": "macro F1"}
_COLLAPSED = 0.95  # share of one answer from which a model counts as answering only that
_SPREAD = 0.80  # share of the most frequent gold answer up to which the gold answers count as spread


def state_verdict(row: Row, detectable: float | None) -> str:
    """One sentence: what changed, by how much and how sure that is; without evidence, what could have been seen."""
    word = _WORDS.get(row.metric, row.metric)
    clusters = f" in {row.n_clusters} clusters" if row.n_clusters else ""
    place = f"on {row.task} ({row.split}, {_count_items(row.n)}{clusters})"
    if row.base is None or row.tuned is None or row.delta is None:
        return f"No difference can be stated: {word} {place} is undefined."
    factor, unit = (100.0, " %") if find_metric(row.metric).scale == 1 else (1.0, "")
    before, after = f"{_round(row.base * factor)}{unit}", f"{_round(row.tuned * factor)}{unit}"
    change = f"{_round(row.delta * factor, sign='+')} points{_state_ratio(row)}"
    certainty = f"{_state_interval(row, factor)}, {_state_p(row)}"
    if row.verdict == "no evidence":
        limit = _state_limit(row.n, detectable, factor)
        return f"No evidence of a difference: {word} {place} {before} -> {after} ({change}, {certainty}){limit}."
    verb = "improved" if row.verdict == "improved" else "got worse,"
    return f"{word[0].upper()}{word[1:]} {place} {verb} from {before} to {after}: {change} ({certainty})."


def _state_ratio(row: Row) -> str:
    """What a metric without a largest value (a perplexity) was multiplied by."""
    is_ratio = math.isinf(find_metric(row.metric).scale) and row.base and row.tuned
    return f", a factor of {(row.tuned or 0) / (row.base or 1):.2f}" if is_ratio else ""


def state_count(verdicts: Sequence[str | None], most: int) -> str:
    """How many comparisons came out how, and that at most `most` of those with a verdict have a sentence each."""
    improved, worse, without = (verdicts.count(name) for name in ("improved", "worse", "no evidence"))
    said = f"Of {len(verdicts)} comparisons {improved} improved, {worse} got worse, {without} show no evidence"
    undefined = len(verdicts) - improved - worse - without
    said += f", {undefined} can't be stated" if undefined else ""
    judged = improved + worse
    rest = f"the first {most} of these {judged} follow" if judged > most else "those with a verdict follow"
    return f"{said} of a difference (p adjusted over all of them; {rest}, the table has all)."


def state_repeats(repeats: Repeats) -> str:
    """What several training seeds came to, and how much of the uncertainty is theirs."""
    factor = 100.0 if find_metric(repeats.metric).scale == 1 else 1.0
    interval = "interval undefined"
    if repeats.low is not None and repeats.high is not None:
        interval = f"95 % interval {_round(repeats.low * factor)} to {_round(repeats.high * factor)}"
    word = _WORDS.get(repeats.metric, repeats.metric)
    return (
        f"Over {len(repeats.seeds)} training seeds {word} on {repeats.task} ({repeats.split}) changes by "
        f"{_round(repeats.mean * factor, sign='+')} points on average ({interval}, for other seeds and other items); "
        f"the seeds differ by a standard deviation of {_round(repeats.seed_deviation * factor)} points, "
        f"the choice of items adds a standard error of {_round(repeats.test_error * factor)}."
    )


def state_forecast(forecast: Forecast) -> list[str]:
    """What a test set can show, with the assumption that this rests on."""
    metric = find_metric(forecast.metric)
    factor, unit = (100.0, " %") if metric.scale == 1 else (1.0, "")
    clusters = f" in {forecast.n_clusters} clusters" if forecast.n_clusters else ""
    where = f"{_count_items(forecast.n)}{clusters}, base {_round(forecast.base * factor)}{unit}"
    word = _WORDS.get(forecast.metric, forecast.metric)
    if forecast.detectable is None:
        lines = [f"{word}, {where}: no improvement can be shown."]
    else:
        least = _round(forecast.detectable * factor)
        lines = [f"{word}, {where}: an improvement of {least} points or more is found with 80 % power (p < 0.05)."]
    if forecast.effect is not None:
        wished = f"An improvement of {_round(forecast.effect * factor)} points"
        needed = None if forecast.needed is None else f"{forecast.needed:,} items"
        lines.append(f"{wished} needs {needed}." if needed else f"{wished} can't be shown with any number of items.")
    said = "as if independent, which is careful" if forecast.correlation == 0 else f"{forecast.correlation:g}"
    lines.append(f"Assumed correlation of base and tuned over the items: {said}.")
    return lines


def _count_items(n: int) -> str:
    return "1 item" if n == 1 else f"{n} items"


def _round(number: float, sign: str = "") -> str:
    return f"{round(number, 1) + 0.0:{sign}.1f}"  # + 0.0 makes -0.0 positive


def _state_interval(row: Row, factor: float) -> str:
    if row.low is None or row.high is None:
        return "interval undefined"
    return f"95 % interval {_round(row.low * factor)} to {_round(row.high * factor)}"


def _state_p(row: Row) -> str:
    p, name = row.p, "p"
    if row.p_adjusted is not None and row.p_adjusted != row.p:
        p, name = row.p_adjusted, "Holm-adjusted p"
    if p is None:
        return "p undefined"
    return f"{name} < 0.001" if p < 0.001 else f"{name} = {p:.{3 if p < 0.1 else 2}f}"


def _state_limit(n: int, detectable: float | None, factor: float) -> str:
    if n < MIN_PAIRS:
        return f"; {_count_items(n)} can't show any difference"
    if detectable is None:
        return ""
    points = detectable * factor
    return f"; {n} items could only detect about {points:.{0 if points >= 2 else 1}f} points"


def remark_majority(tuned: float | None, majority: float | None) -> str | None:
    """A warning if the tuned model's accuracy does not exceed the share of the most frequent gold label."""
    if tuned is None or majority is None or tuned > majority:
        return None
    relation = "below" if tuned < majority else "not better than"
    return f"The tuned model is {relation} the majority class ({_round(majority * 100)} %)."


def remark_empty(who: str, answers: Sequence[str | None]) -> str | None:
    """A warning if a model ("base" or "tuned") never answered."""
    if not answers or any(answer and not answer.isspace() for answer in answers):
        return None
    return f"Every answer of the {who} model is empty or unreadable."


def remark_collapse(base: Sequence[str | None], tuned: Sequence[str | None], golds: Sequence[str]) -> str | None:
    """A warning if the tuned model gives nearly always the same answer to items whose gold answers are spread.

    If the base model gave that answer as often, the training taught nothing; else the training broke the model.
    """
    readable = [answer for answer in tuned if answer and not answer.isspace()]
    if not readable:
        return None
    answer, count = Counter(readable).most_common(1)[0]
    if count < _COLLAPSED * len(tuned) or max(Counter(golds).values()) > _SPREAD * len(golds):
        return None
    said = f"The tuned model answers '{answer}' for {100 * count // len(tuned)} % of the items"
    if Counter(base)[answer] >= _COLLAPSED * len(base):
        return f"{said}, as the base model does: the training has not taught the task."
    return f"{said}: the training has collapsed (often a too high learning rate)."


def remark_overlap(without: Row, left_out: int, left: int) -> str:
    """What the deciding metric is without the items that also stand in the training split; `left` items remain."""
    if not left:
        return f"All {_count_items(left_out)} also occur in the training data: this says nothing about new items."
    stand = "items also occurs" if left_out == 1 else "items also occur"
    said = f"{left_out} of {left_out + left} {stand} in the training data, exactly or nearly"
    if without.base is None or without.tuned is None or without.delta is None:
        return f"{said}; without them nothing can be stated."
    factor, unit = (100.0, " %") if find_metric(without.metric).scale == 1 else (1.0, "")
    before, after = (f"{_round(value * factor)}{unit}" for value in (without.base, without.tuned))
    change = f"{_round(without.delta * factor, sign='+')} points, {_state_interval(without, factor)}"
    return f"{said}; without them {_WORDS.get(without.metric, without.metric)} {before} -> {after} ({change})."


def describe(record: Record) -> str:
    """Where one evaluation lies below the results folder."""
    return f"{record.subject}/{record.eval_id}"


def note_bad_items(record: Record) -> list[str]:
    """Counts of invalid and of truncated items: the largest over the metrics, which all rest on the same items."""
    counts = {
        "items have an answer that could not be read or scored": [score.n_invalid for score in record.scores],
        "items had their prompt cut to fit the context": [score.n_truncated for score in record.scores],
    }
    return [f"{describe(record)}: {max(bad)} {what}" for what, bad in counts.items() if max(bad, default=0)]


def note_unknown_overlap(record: Record, data: DataReport | None) -> list[str]:
    """A note if the adapter's data report is not about the docs of this evaluation."""
    settings = record.settings
    if data is None or settings.split == "train":
        return []
    found = data.split_data(settings.split)
    if found and (settings.sample_seed is not None or found.data_hash == settings.data_hash):
        return []
    return [
        f"{describe(record)}: the adapter's data report is not of these {settings.split} docs; "
        "whether they also occur among the training docs was not looked at"
    ]
