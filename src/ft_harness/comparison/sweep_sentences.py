"""The sentences of a sweep's report: one for each question that the sweep answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ft_harness.comparison.amounts import (
    amount,
    counted,
    probability,
    shorten,
    shown_value,
)
from ft_harness.comparison.sentences import state_change, state_interval, word_of
from ft_harness.comparison.setting_answers import (
    SettingAnswer,
    TaskAnswers,
    describe_lines,
    find_answers,
)
from ft_harness.comparison.study import Study
from ft_harness.comparison.sweep_study import (
    Change,
    ChoiceMade,
    Effect,
    PointResult,
    SettingScore,
    SweepStudy,
    field_name,
    find_best_stretch,
    name_values,
)

_MOST_FAILED = 5  # points whose reasons are stated
_LONGEST = 120  # characters of a reason
_MOST_NAMED = 8  # settings that are named with their numbers


def state_sweep(sweep: SweepStudy) -> list[str]:
    """Return the number of points, then the answer to each question: what tuning changed, what each
    parameter does, which setting was chosen, where overfitting begins, and what failed."""
    said = [_state_size(sweep), *_state_items(sweep), *_state_tuning(sweep)]
    questions = [fields for axis in sweep.axes for fields in _find_questions(sweep, axis)]
    said += [line for fields in questions for line in _state_axis(sweep, fields)]
    said += _state_overfitting(sweep)
    said += _state_choice(sweep, sweep.choice) if sweep.choice else []
    return [*said, *_state_failed(sweep)]


def state_settings(study: Study) -> list[str]:
    """State how the settings of a sweep differ from their base, on the trained task and on each
    control task."""
    return [
        _state_answers(each) for each in find_answers(study) if any(map(_has_change, each.lines))
    ]


def _has_change(line: SettingAnswer) -> bool:
    return line.change is not None


def _state_answers(answers: TaskAnswers) -> str:
    """`Against the base, accuracy on demo_sentiment (test, means of 2 seeds): learning_rate 0.001
    +10.8 points (improved), ...; cautions: learning_rate 0.001 (recall fell).`"""
    lines = [each for each in answers.lines if each.change is not None]
    seeds = describe_lines(answers)
    place = f"{answers.split}, means of {seeds}" if seeds else answers.split
    task = f"{'control task ' if answers.is_control else ''}{answers.task}"
    if len(lines) <= _MOST_NAMED:
        said = ", ".join(_state_line(answers, each) for each in lines)
    else:
        found = [each.said or "undefined" for each in lines]
        said = ", ".join(f"{found.count(each)} settings {each}" for each in dict.fromkeys(found))
    doubtful = [each for each in lines if each.kinds]
    named = [
        f"{name_values(each.setting.values)} ({', '.join(each.kinds)})"
        for each in doubtful[:_MOST_NAMED]
    ]
    more = f" and {len(doubtful) - _MOST_NAMED} more" if len(doubtful) > _MOST_NAMED else ""
    caution = f"; cautions: {', '.join(named)}{more}" if doubtful else ""
    return f"Against the base, {word_of(answers.metric)} on {task} ({place}): {said}{caution}."


def _state_line(answers: TaskAnswers, line: SettingAnswer) -> str:
    change = line.change
    delta = change.delta if change else None
    amount_of = (
        "undefined" if delta is None else state_change(answers.metric, delta, answers.digits)
    )
    return f"{name_values(line.setting.values)} {amount_of} ({line.said or 'not tested'})"


def describe_seeds(sweep: SweepStudy) -> str:
    """In a sweep's sentence: `one seed`, or how many."""
    counts = {each.seeds for each in sweep.settings if each.seeds} or {0}
    # A spread over seeds is what separates luck from a setting's effect; one seed has none.
    if counts == {1}:
        return "one seed"
    most, least = max(counts), min(counts)
    return counted(most, "seed") if most == least else f"{least} to {most} seeds"


def _state_size(sweep: SweepStudy) -> str:
    settings = counted(len(sweep.settings), "setting")
    kind = "" if sweep.trains else ", of base models without training"
    runs = f"{counted(len(sweep.points), 'run')} (points of a sweep)"
    said = f"{runs}: {settings}, {describe_seeds(sweep)} each{kind}."
    if describe_seeds(sweep) == "one seed" and sweep.trains:
        said += " With one seed each, a difference between settings may be the seed's."
    return said


def _state_items(sweep: SweepStudy) -> list[str]:
    """State why means over seeds that drew different items have no interval."""
    scores = (each.score(sweep.split) for each in sweep.settings)
    if all(score is None or score.same_items for score in scores):
        return []
    return [
        "Scores and differences over several seeds have no interval: each seed drew other items "
        "(eval.limit with eval.seed). With data.test_size in place of eval.limit they are the same."
    ]


def _state_tuning(sweep: SweepStudy) -> list[str]:
    """State how the reference differs from its base, over its seeds."""
    score = sweep.reference.score(sweep.split)
    if score is None or score.change is None:
        return []
    change = score.change
    where = f"The reference, {name_values(sweep.reference.values)}: " if sweep.axes else ""
    said = f"{where}{word_of(score.metric)} ({sweep.split}) "
    said += _state_change(score.metric, change, sweep.digits(sweep.split))
    spread = _state_deviation(score)
    return [f"{said} against the base{spread}."]


def _state_deviation(score: SettingScore) -> str:
    if score.deviation is None:
        return ""
    size = state_change(score.metric, score.deviation).removeprefix("+")
    return f"; its seeds differ by a standard deviation of {size}"


def _state_change(metric: str, change: Change, digits: int | None = None) -> str:
    """`51.0 % -> 60.1 % (+9.1 points, 95 % interval ..., p ...)`."""
    if change.delta is None:
        return f"has no difference ({change.note or 'undefined'})"
    digits = digits or change.digits(metric)
    sides = f"{amount(metric, change.before, digits)} -> {amount(metric, change.after, digits)}"
    return f"{sides} ({_certainty(metric, change, change.p, digits=digits)})"


def _certainty(
    metric: str, change: Change, p: float | None, word: str = "p", digits: int | None = None
) -> str:
    digits = digits or change.digits(metric)
    parts = [
        state_change(metric, change.delta or 0.0, digits),
        state_interval(metric, change.low, change.high),
    ]
    if p is not None:
        chance = probability(p)
        parts.append(f"{word} {chance}" if chance.startswith("<") else f"{word} = {chance}")
    return ", ".join(parts)


def _find_questions(sweep: SweepStudy, axis: Sequence[str]) -> list[Sequence[str]]:
    """The fields of an axis that some setting changes alone, each by itself; the whole axis where a
    setting changes several of them, or none can be compared."""
    changed = [
        set(each.differs_in)
        for each in sweep.effects
        if each.split == sweep.split and set(each.differs_in) <= set(axis)
    ]
    # Fields that only ever change together have one answer between them: which of them did it can't
    # be told.
    alone: list[Sequence[str]] = [[name] for name in axis if {name} in changed]
    several = any(len(each) > 1 for each in changed)
    return [*alone, axis] if several or not alone else alone


def _state_axis(sweep: SweepStudy, axis: Sequence[str]) -> list[str]:
    """State the effect of one axis while all other fields have the reference's values."""
    alone = [
        each
        for each in sweep.effects
        if each.split == sweep.split and set(each.differs_in) <= set(axis)
    ]
    known = [each for each in alone if each.change.delta is not None]
    names = " and ".join(map(field_name, axis))
    if not known:
        reasons = sorted({each.change.note or "undefined" for each in alone})
        why = f" ({'; '.join(reasons)})" if reasons else ""
        return [f"{names}: no two values can be compared{why}."] if sweep.settings[1:] else []
    # Largest changes are stated of those that are significant, so that noise among many values
    # does not pick the sentence.
    significant = [each for each in known if each.is_significant]
    said = "; ".join(_state_step(sweep, axis, each) for each in _extremes(significant or known))
    rest = _others(sweep, axis)
    others = f" with {rest}" if rest else ""
    if not significant:
        # An interval is of one difference, the adjusted p of the largest among several.
        apart = any(_leaves_out_zero(each.change) for each in known)
        decides = (
            "; the interval leaves out 0, but the adjusted p does not pass: not shown"
            if apart
            else ""
        )
        seen = f"{names}: no other value is shown to differ from the reference{others}"
        return [f"{seen}; the largest difference is {said}{decides}."]
    differ = "differs" if len(significant) == 1 else "differ"
    count = f"; {len(significant)} of {len(known)} values {differ} significantly"
    return [f"{names}{others}, {said}{'' if len(known) == 1 else count} from the reference."]


def _leaves_out_zero(change: Change) -> bool:
    return (change.low or 0.0) > 0 or (change.high or 0.0) < 0


def _extremes(effects: Sequence[Effect]) -> list[Effect]:
    """The largest rise and the largest fall, the larger change first; one where all go one way."""
    by_delta = sorted(effects, key=lambda each: each.change.delta or 0.0)
    ends = [by_delta[0], by_delta[-1]] if len(effects) > 1 else list(effects)
    falls, rises = ends[0].change.delta or 0.0, ends[-1].change.delta or 0.0
    ends.sort(key=lambda each: -abs(each.change.delta or 0.0))
    return ends if falls < 0 < rises else ends[:1]


def _others(sweep: SweepStudy, axis: Sequence[str]) -> str:
    """The reference's values of the other fields that vary; "": there are none."""
    # Without them "r makes no difference" would read as if it held everywhere.
    rest = [name for group in sweep.axes for name in group if name not in axis]
    return name_values(sweep.reference.values, rest) if rest else ""


def _state_step(sweep: SweepStudy, axis: Sequence[str], effect: Effect) -> str:
    """State the difference from the smaller to the larger value, else from the reference."""
    start, end = sweep.reference.values, effect.values
    change = effect.change
    # A reader expects "from 100 to 200 rows", also where the reference is the larger one: the
    # difference changes its sign, and the scores and the ends of the interval their places.
    if len(axis) == 1 and _is_smaller(end[axis[0]], start[axis[0]]):
        start, end = end, start
        change = change.model_copy(
            update={
                "before": change.after,
                "after": change.before,
                "delta": -(change.delta or 0.0),
                "low": None if change.high is None else -change.high,
                "high": None if change.low is None else -change.low,
            }
        )
    ends = [", ".join(shown_value(values[name]) for name in axis) for values in (start, end)]
    digits = sweep.digits(effect.split)
    certainty = _certainty(effect.metric, change, effect.p_adjusted, "Holm-adjusted p", digits)
    return f"from {ends[0]} to {ends[1]}: {word_of(effect.metric)} ({effect.split}) {certainty}"


def _is_smaller(value: Any, other: Any) -> bool:
    numbers = (int, float)
    return isinstance(value, numbers) and isinstance(other, numbers) and value < other


def _state_overfitting(sweep: SweepStudy) -> list[str]:
    found, effect = find_best_stretch(sweep.settings, sweep.stretches), sweep.overfitting
    if found is None:
        return []
    score, best, last = found
    if best is last:
        return [f"The last stretch is the best on {score.split}: no overfitting is seen."]
    if effect is None:  # no seed has both
        return []
    where = name_values(best.values, sweep.stretches)
    seen = (
        ""
        # One question was asked of this pair, so that its own p decides.
        if effect.model_copy(update={"p_adjusted": effect.change.p}).is_significant
        else (", which is within noise")
    )
    certainty = _certainty(effect.metric, effect.change, effect.change.p)
    return [
        f"Overfitting begins after {where}: from there to the last stretch "
        f"{word_of(effect.metric)} ({effect.split}) changes by {certainty}{seen}."
    ]


def _state_choice(sweep: SweepStudy, choice: ChoiceMade) -> list[str]:
    best = next(each for each in sweep.settings if each.values == choice.chosen)
    score = best.score(choice.split, choice.metric)
    shown = amount(choice.metric, score.mean if score else None)
    why = (
        f"the best of {len(choice.ranking)} settings. As the best of several, it looks too good on "
        f"{choice.split}; only test tells how good it is."
        if len(choice.ranking) > 1
        else "the only setting with a result."
    )
    said = [
        f"Chosen on {choice.split} by {word_of(choice.metric)}: {name_values(choice.chosen)} "
        f"({shown}), {why}"
    ]
    if choice.is_within_noise:
        said.append(
            f"The best is within noise of the simplest, {name_values(choice.simplest)}: nothing "
            "shows that it is better."
        )
    # Only what was chosen on validation, and the reference, are scored on test.
    for effect in (each for each in sweep.effects if each.split == "test"):
        change = _state_change(effect.metric, effect.change, sweep.digits("test"))
        said.append(
            f"On test the chosen setting against the reference: {word_of(effect.metric)} {change}."
        )
    count, rest = len(choice.looks), "of this recipe" if sweep.trains else "of base models"
    looks = counted(count, "adapter" if sweep.trains else "evaluation")
    said.append(
        f"Looks at this test set so far: {looks} {rest} besides the reference's. Each choice "
        "that is made with test scores at hand makes them look better than they are."
    )
    return said


def cut_reason(point: PointResult) -> str:
    """Why the point has no result, short enough for a sentence."""
    return shorten(point.reason or "", _LONGEST)


def _state_failed(sweep: SweepStudy) -> list[str]:
    failed = sweep.failed()
    if not failed:
        return []
    shown = "; ".join(f"{each.name}: {cut_reason(each)}" for each in failed[:_MOST_FAILED])
    more = len(failed) - _MOST_FAILED
    rest = f"; {more} more" if more > 0 else ""
    return [f"{len(failed)} of {len(sweep.points)} points have no result ({shown}{rest})."]
