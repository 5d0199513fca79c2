"""The plain sentences of a comparison and of a study, by fixed rules: pure functions of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ft_harness.comparison.amounts import amount, decimals, difference, interval, probability
from ft_harness.comparison.features import tell_apart
from ft_harness.comparison.power import Power
from ft_harness.comparison.repeats import Repeats
from ft_harness.comparison.study import Row, Study
from ft_harness.metrics import find_metric
from ft_harness.stats import MIN_PAIRS

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
_MOST_STATED = 12  # comparisons that get a sentence each


def state_verdict(row: Row, detectable: float | None, *, adjusted: bool = False) -> str:
    """One sentence: what changed, by how much and how sure that is; without evidence, what could
    have been seen.

    Args:
        adjusted: whether p of the primary rows is adjusted over several.
    """
    word = word_of(row.metric)
    clusters = f" in {row.n_clusters} clusters" if row.n_clusters else ""
    place = f"on {row.task} ({row.split}, {_count_paired(row)}{clusters})"
    if row.base is None or row.tuned is None or row.delta is None:
        return f"No difference can be stated: {word} {place} is undefined."
    digits = decimals(row.metric, row.low, row.high)
    before, after = amount(row.metric, row.base, digits), amount(row.metric, row.tuned, digits)
    change = f"{state_change(row.metric, row.delta, digits)}{_state_ratio(row)}"
    certainty = f"{state_interval(row.metric, row.low, row.high)}, {_state_p(row, adjusted)}"
    if row.verdict == "no evidence":
        limit = _state_limit(row, detectable)
        numbers = f"{before} -> {after} ({change}, {certainty})"
        return f"No evidence of a difference: {word} {place} {numbers}{limit}."
    verb = "improved" if row.verdict == "improved" else "got worse,"
    what = f"{word[0].upper()}{word[1:]} {place}"
    return f"{what} {verb} from {before} to {after}: {change} ({certainty})."


def word_of(metric: str) -> str:
    return _WORDS.get(metric, metric)


def state_change(metric: str, delta: float, digits: int | None = None) -> str:
    """A signed difference with its unit, if it has one."""
    points = " points" if find_metric(metric).scale in _IN_POINTS else ""
    return f"{difference(metric, delta, digits)}{points}"


def _state_size(metric: str, value: float, digits: int | None = None) -> str:
    """As `state_change`, of what has no direction."""
    return state_change(metric, value, digits).removeprefix("+")


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
    said = f"Of {len(verdicts)} comparisons {improved} improved, {worse} got worse, "
    said += f"{without} show no evidence"
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
    mean = state_change(metric, repeats.mean, decimals(metric, repeats.low, repeats.high))
    where = f"{word_of(metric)} on {repeats.task} ({repeats.split})"
    certainty = state_interval(metric, repeats.low, repeats.high)
    return (
        f"Over {len(repeats.seeds)} training seeds {where} changes by {mean} on average "
        f"({certainty}, for other seeds and other items); the seeds differ by a standard "
        f"deviation of {_state_size(metric, repeats.seed_deviation)}, "
        f"the choice of items adds a standard error of {_state_size(metric, repeats.test_error)}."
    )


def state_power(power: Power) -> list[str]:
    """What a test set can show, with the assumption that this rests on."""
    metric, word = power.metric, word_of(power.metric)
    clusters = f" in {power.n_clusters} clusters" if power.n_clusters else ""
    where = f"{count_items(power.n)}{clusters}, base {amount(metric, power.base)}"
    if power.detectable is None:
        lines = [f"{word}, {where}: no improvement can be shown."]
    else:
        least = f"an improvement of {_state_size(metric, power.detectable)} or more"
        lines = [f"{word}, {where}: {least} is found with 80 % power (p < 0.05)."]
    if power.effect is not None:
        target = f"An improvement of {_state_size(metric, power.effect)}"
        if power.needed is None:
            lines.append(f"{target} can't be shown with any number of items.")
        else:
            lines.append(f"{target} needs {power.needed:,} items.")
    assumed = "0, which is conservative" if power.correlation == 0 else f"{power.correlation:g}"
    lines.append(f"Assumed correlation between base and tuned scores of an item: {assumed}.")
    return lines


def count_items(n: int) -> str:
    return "1 item" if n == 1 else f"{n} items"


def _count_paired(row: Row) -> str:
    """The items that a row rests on; of how many, where some are left out."""
    all_items = row.n if row.n_items is None else row.n_items
    return count_items(row.n) if all_items <= row.n else f"{row.n} of {count_items(all_items)}"


def state_interval(metric: str, low: float | None, high: float | None) -> str:
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
        return f"; {count_items(row.n)} can't show any difference"
    if detectable is None:
        return ""
    if find_metric(row.metric).scale not in _IN_POINTS:
        return f"; {row.n} items could only detect about {detectable:.2g}"
    digits = 0 if detectable * 100 / find_metric(row.metric).scale >= 2 else 1
    size = _state_size(row.metric, detectable, digits)
    return f"; {row.n} items could only detect about {size}"


def state_study(study: Study) -> list[str]:
    """The sentence of each primary comparison, led by what distinguishes it from others of its
    task; then those of recipes that were trained with several seeds.

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
    names = [", ".join(tell_apart(study, each)) for each in shown]
    stated = [
        f"{name}: {each.sentence}" if name else each.sentence
        for name, each in zip(names, shown, strict=True)
    ]
    return counted + stated + [state_repeats(repeats) for repeats in study.repeats]
