"""The plain sentences of a comparison and of a study (finding, verdict, controls, seeds, power),
and the words that they use: pure functions of rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ft_harness.comparison.amounts import (
    amount,
    counted,
    decimals,
    difference,
    digits_of,
    interval,
    probability,
    scale_of,
)
from ft_harness.comparison.features import tell_apart
from ft_harness.comparison.power import Power
from ft_harness.comparison.repeats import Repeats
from ft_harness.comparison.study import Comparison, FamilyOf, Row, Study
from ft_harness.stats import ALPHA, MIN_PAIRS

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
    "preference_acc": "preference accuracy",
    "preference_acc_token": "preference accuracy per token",
    "preference_margin": "preference margin",
    "implicit_reward_acc": "implicit reward accuracy",
    "chosen_byte_ppl": "byte perplexity of the chosen answers",
}
_IN_POINTS = (1, 100)  # largest values of metrics whose differences are points
_MOST_STATED = 12  # comparisons that get a sentence each
_NO_INTERVAL = {
    "too few items for an interval": "too few items for an interval or a test",
    "descriptive": "no interval holds for this metric",
}
_COUNTED = {
    "improved": "improved",
    "improved, not above majority": "improved, not above the majority class",
    "worse": "got worse",
    "no evidence": "show no evidence of a difference",
}


def state_finding(comparison: Comparison, seeds: int | None = None) -> str:
    """Return the sentence of a comparison; where unseen items decide, it is about these.

    Args:
        seeds: with how many training seeds the recipe was scored; None: no adapter.
    """
    row, clean = comparison.answer, comparison.without
    if nothing := _state_nothing_changed(comparison, row):
        return nothing
    # All items overlap with the training data, or too few are left for a number.
    if clean is not None and clean.delta is None and row.delta is not None:
        place = f"{word_of(row.metric)} on {row.task} ({row.split}, {_count_paired(row)})"
        return f"Nothing can be said about new items: {place} {state_numbers(row, seeds)}."
    return state_verdict(row, comparison.detectable, seeds=seeds)


def state_verdict(row: Row, detectable: float | None, *, seeds: int | None = None) -> str:
    """One sentence: what changed, by how much and how sure that is; without evidence, what could
    have been seen."""
    word = word_of(row.metric)
    clusters = f" in {row.n_clusters} clusters" if row.n_clusters else ""
    place = f"on {row.task} ({row.split}, {_count_paired(row)}{clusters})"
    if row.delta is None:
        return f"No difference can be stated: {word} {place} is undefined."
    if row.no_interval in _NO_INTERVAL:
        return f"Nothing was tested: {word} {place} {state_numbers(row, seeds)}."
    if row.verdict == "no evidence":
        limit = _state_limit(row, detectable)
        return f"No evidence of a difference: {word} {place} {state_numbers(row, seeds)}{limit}."
    before, after, change, certainty = _numbers(row, seeds)
    if row.is_stated:
        said = f"{word} {place} {before} -> {after} ({change})"
        return f"Nothing was tested, as another program stated the scores: {said}."
    verb = "got worse," if row.verdict == "worse" else "improved"
    said = f"{word[0].upper()}{word[1:]} {place} {verb} from {before} to {after}"
    if row.verdict == "improved, not above majority":
        said += ", but not above the majority class"
    return f"{said}: {change} ({certainty})."


def state_numbers(row: Row, seeds: int | None = None) -> str:
    """In a sentence: both scores, their difference, its interval and p, and on how many seeds they
    rest."""
    before, after, change, certainty = _numbers(row, seeds)
    return f"{before} -> {after} ({change}, {certainty})"


def _numbers(row: Row, seeds: int | None) -> tuple[str, str, str, str]:
    """(base, tuned, their difference, how sure it is)."""
    metric, digits = row.metric, digits_of(row)
    before, after = amount(metric, row.base, digits), amount(metric, row.tuned, digits)
    change = f"{state_change(metric, row.delta or 0.0, digits)}{_state_ratio(row)}"
    certainty = f"{state_interval(metric, row.low, row.high, digits)}, {state_p(row)}"
    if row.no_interval in _NO_INTERVAL:
        certainty = _NO_INTERVAL[row.no_interval]
    if seeds is not None:
        certainty += f", {state_seeds(seeds)}"
    return before, after, change, certainty


def state_seeds(seeds: int) -> str:
    """In a sentence: how many training runs one adapter's number speaks for."""
    return "one training seed" if seeds == 1 else f"1 of {seeds} training seeds"


def _state_nothing_changed(comparison: Comparison, row: Row) -> str | None:
    """Say that no item's score changed; None if one did."""
    if comparison.changed or row.base is None:
        return None
    adapter = comparison.tuned.adapter
    said = (
        f"Nothing changed on {row.task} ({row.split}): base and tuned have the same scores on each "
        f"of {counted(row.n, 'item')} ({word_of(row.metric)} {amount(row.metric, row.base)})"
    )
    if adapter is None:
        return f"{said}."
    # An adapter that was never applied is a frequent cause of equal scores, and must not read as
    # "fine-tuning does nothing".
    if adapter.live_proof is None:
        return f"{said}. Check that the adapter was in use: nothing has shown that it was."
    return f"{said}, though the adapter was in use: it changes logits, but no answer."


def word_of(metric: str) -> str:
    """The name of a metric in a sentence: `accuracy` for `acc`."""
    return _WORDS.get(metric, metric)


def state_change(metric: str, delta: float, digits: int | None = None) -> str:
    """In a sentence: a signed difference with its unit, if it has one."""
    points = " points" if scale_of(metric) in _IN_POINTS else ""
    return f"{difference(metric, delta, digits)}{points}"


def _state_size(metric: str, value: float, digits: int | None = None) -> str:
    """As `state_change`, for a value that has no direction."""
    return state_change(metric, value, digits).removeprefix("+")


def _state_ratio(row: Row) -> str:
    """What a metric without a largest value (a perplexity) was multiplied by, unless by 1."""
    scale = scale_of(row.metric)
    is_ratio = scale is not None and math.isinf(scale) and row.base and row.tuned
    ratio = f"{(row.tuned or 0) / (row.base or 1):.3g}" if is_ratio else "1"
    return "" if ratio == "1" else f", a factor of {ratio}"


def state_count(verdicts: Sequence[str | None], most: int) -> str:
    """Count the comparisons by verdict; at most `most` of those with a verdict get a sentence."""
    counts = {name: verdicts.count(name) for name in _COUNTED}
    shown = ", ".join(
        f"{count} {words}"
        for (name, words), count in zip(_COUNTED.items(), counts.values(), strict=True)
        if count or name != "improved, not above majority"
    )
    undefined = len(verdicts) - sum(counts.values())
    shown += f", {undefined} are undefined" if undefined else ""
    judged = len(verdicts) - undefined - counts["no evidence"]
    rest = f"the first {most} of these {judged}" if judged > most else "those with a verdict"
    return f"Of {len(verdicts)} comparisons {shown} ({rest} follow; the table has all)."


def state_family(family: FamilyOf) -> str:
    """The sentence on families: how many comparisons decide, and what p was adjusted for."""
    count, holm = len(family.members), family.holm
    many = f"{counted(count, 'comparison')} of {family.name}s"
    if count == 1:
        return f"{many} decides, so p needs no adjustment."
    if holm:
        return f"{many} decide; p is Holm-adjusted over them, as requested."
    return (
        f"{many} decide, each by its own p; false verdicts to expect if nothing had changed "
        f"anywhere: {count} x {100 * ALPHA:g} % = {ALPHA * count:.2g}."
    )


def state_controls(study: Study) -> str:
    """The sentence on control tasks: how many got worse, and what the others don't prove."""
    controls = [each for each in study.comparisons if each.role == "control task"]
    runs = Counter(each.headline.task for each in controls)
    worse = Counter(each.headline.task for each in controls if each.headline.verdict == "worse")
    if not worse:
        doubtful = sum(bool(each.cautions) for each in controls)
        comes = "comes with a caution" if doubtful == 1 else "come with cautions"
        hold = f", and {doubtful} of them {comes}" if doubtful else ""
        said = f"None of {len(controls)} is shown to be worse"
        return f"{said}, which does not prove that nothing was lost{hold}."
    if len(controls) == len(runs):
        return f"{len(worse)} of {len(controls)} got worse: {', '.join(worse)}."
    named = [
        f"{task} in {worse[task]} of {counted(count, 'run')}"
        for task, count in runs.items()
        if worse[task]
    ]
    return f"Got worse: {', '.join(named)}."


def state_repeats(repeats: Repeats) -> str:
    """The sentence on several seeds: their mean, and how much of the uncertainty is due to them."""
    metric, count = repeats.metric, len(repeats.seeds)
    mean = state_change(metric, repeats.mean, decimals(metric, repeats.low, repeats.high))
    where = f"{word_of(metric)} on {repeats.task} ({repeats.split})"
    said = f"Over {count} {repeats.varied}s {where} changes by {mean} on average"
    if repeats.low is None:
        said += " (the seeds were scored on different items)"
    else:
        certainty = state_interval(metric, repeats.low, repeats.high)
        said += f" ({certainty}, for other seeds and other items)"
    said += "; the seeds differ by a standard deviation of "
    said += _state_size(metric, repeats.seed_deviation)
    if repeats.test_error is not None:
        error = _state_size(metric, repeats.test_error)
        said += f", the choice of items adds a standard error of {error}"
    if repeats.elsewhere:
        said += f"; not scored on this split: {', '.join(repeats.elsewhere)}"
    return f"{said}."


def state_power(power: Power) -> list[str]:
    """The sentences on the power of a test set: what it can show, and the assumption behind
    that."""
    metric, word = power.metric, word_of(power.metric)
    clusters = f" in {power.n_clusters} clusters" if power.n_clusters else ""
    where = f"{counted(power.n, 'item')}{clusters}, base {amount(metric, power.base)}"
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


def _count_paired(row: Row) -> str:
    """The number of items that a row rests on, out of how many if some are left out."""
    if row.n_items is None or row.n_items <= row.n:
        return counted(row.n, "item")
    return f"{row.n:,} of {counted(row.n_items, 'item')}"


def state_interval(
    metric: str, low: float | None, high: float | None, digits: int | None = None
) -> str:
    """In a sentence: the interval of a difference."""
    if low is None or high is None:
        return "interval undefined"
    return f"95 % interval {interval(metric, low, high, digits)}"


def state_p(row: Row) -> str:
    """In a sentence: the deciding p; where interval and test disagree, also which of the two
    decides."""
    p, name = (row.p, "p") if row.p_adjusted is None else (row.p_adjusted, "Holm-adjusted p")
    if p is None:
        return "p undefined"
    shown = probability(p)
    said = f"{name} {shown}" if shown.startswith("<") else f"{name} = {shown}"
    decides = {"test": "; the test decides", "interval": "; the interval decides"}
    return said + decides.get(row.decided_by or "", "")


def _state_limit(row: Row, detectable: float | None) -> str:
    if row.n < MIN_PAIRS:
        return f"; {counted(row.n, 'item')} can't show any difference"
    if detectable is None:
        return ""
    scale = scale_of(row.metric)
    if scale not in _IN_POINTS or scale is None:
        return f"; {row.n} items could only detect about {detectable:.2g}"
    digits = 0 if detectable * 100 / scale >= 2 else 1
    # Rounded: it is an estimate from one run, of what could have been seen.
    size = _state_size(row.metric, detectable, digits)
    return f"; {row.n} items could only detect about {size}"


def state_study(study: Study) -> list[str]:
    """The sentence of each comparison that decides something, led by what distinguishes it from
    others of its task; then the families, then what several seeds came to.

    If there are too many to read, a count by verdict comes first, then the first sentences of those
    with a verdict. Controls follow the trained tasks.
    """
    deciding = [each for each in study.comparisons if any(row.family for row in each.rows)]
    # `sort` is stable: within each role the order of the study stays.
    deciding.sort(key=lambda each: each.role == "control task")
    shown, counts = deciding, []
    # A sweep of a hundred points would else open with a hundred sentences.
    if len(deciding) > _MOST_STATED:
        verdicts = [each.headline.verdict for each in deciding]
        counts = [state_count(verdicts, _MOST_STATED)]
        judged = [each for each in deciding if each.headline.verdict not in (None, "no evidence")]
        shown = judged[:_MOST_STATED]
    stated = [
        f"{name}: {each.sentence}" if (name := _name(study, each)) else each.sentence
        for each in shown
    ]
    # A family of one needs no sentence on its size.
    families = [state_family(family) for family in study.families if len(family.members) > 1]
    return counts + stated + families + [state_repeats(repeats) for repeats in study.repeats]


def _name(study: Study, comparison: Comparison) -> str:
    parts = tell_apart(study, comparison)
    if comparison.role == "control task":
        return f"control task of {', '.join(parts) or comparison.tuned.subject}"
    return ", ".join(parts)
