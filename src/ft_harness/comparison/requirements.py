"""Conditions on a study, for builds and scripts: `acc>=+2`, `controls>=-1`.

A requirement is met only if the whole 95 % interval of each difference that it covers lies on the
right side of the number, so that chance alone passes it once in forty times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ft_harness.comparison.amounts import on_scale, scale_of
from ft_harness.comparison.sentences import state_verdict
from ft_harness.comparison.study import Comparison, Row, Study
from ft_harness.errors import ConfigError, InputError, raise_problems, suggest
from ft_harness.metrics import find_metric
from ft_harness.metrics.labels import recalled_label

CONTROLS, CLASSES = "controls", "classes"  # the control tasks; the recall of each class
_GROUPS = (CONTROLS, CLASSES)
_FORM = re.compile(
    r"\s*(?P<name>[^\s<>=](?:[^<>=]*[^\s<>=])?)\s*(?P<sign>>=|<=)\s*(?P<rest>.*?)\s*"
)
_NUMBER = re.compile(r"(?P<number>[+-]?\d+(?:\.\d+)?)\s*(?P<unit>%?)")
_MOST = 100  # points, or per cent that can be lost
_MOST_DECIMALS = 6
_EXAMPLES = "NAME>=NUMBER or NAME<=NUMBER, like acc>=+2, token_ppl<=-5% or controls>=-1"


@dataclass(frozen=True)
class Requirement:
    """A bound on differences, tuned minus base.

    Attributes:
        text: as it was written.
        name: a metric; or `controls`, all control tasks; or `classes`, the recall of each class.
        is_least: the difference is to be at least the bound; else at most.
        bound: in points on the scale shown; of perplexities in per cent of the base's.
    """

    text: str
    name: str
    is_least: bool
    bound: float


def read_requirements(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """The requirements, each as it is written on the command line.

    Raises:
        ConfigError: malformed requirements, or ones that want a metric to be worse or have the
            wrong unit; all at once.
    """
    found: list[Requirement] = []
    problems: list[ConfigError] = []
    for text in texts:
        try:
            found.append(_read(text))
        except ConfigError as error:
            problems.append(error)
    raise_problems(problems)
    return tuple(found)


def _read(text: str) -> Requirement:
    match = _FORM.fullmatch(text)
    if match is None:
        raise _fault(text, "no requirement", _EXAMPLES)
    number = _NUMBER.fullmatch(match["rest"])
    if number is None:
        said = f"{match['rest']!r} is no number" if match["rest"] else "the number is missing"
        raise _fault(text, said, _EXAMPLES)
    name, is_least, bound = match["name"], match["sign"] == ">=", float(number["number"])
    is_ppl, higher = scale_of(name) == math.inf, _is_better_higher(name)
    # `acc<=+2` would pass a model that lost everything, and is always a slip of the sign.
    if is_least != higher:
        better, sign = ("higher", ">=") if higher else ("lower", "<=")
        raise _fault(text, f"{name} is better the {better} it is", f"{name}{sign}{number[0]}")
    # Points of a perplexity mean nothing without knowing where it starts, and per cent of a
    # percentage is read both ways.
    if is_ppl != bool(number["unit"]):
        unit = "per cent of the base's, like" if is_ppl else "points as the tables show, like"
        raise _fault(text, "the wrong unit", f"{unit} {name}{match['sign']}{_show(bound, is_ppl)}")
    if abs(bound) > _MOST and (not is_ppl or bound < 0):
        raise _fault(text, "no difference is that large", f"-{_MOST} to +{_MOST}")
    return Requirement(text.strip(), name, is_least, bound)


def _fault(text: str, what: str, expected: str) -> ConfigError:
    return ConfigError(f"--require {text!r}: {what}", expected, "correct the option")


def _is_better_higher(name: str) -> bool:
    try:
        return name in _GROUPS or find_metric(name).higher_is_better
    except InputError:
        return True  # one of another program's, or none: that shows where the names are checked


def _show(bound: float, is_ppl: bool) -> str:
    return f"{bound:+g}{'%' if is_ppl else ''}"


def check_names(
    required: Sequence[Requirement], metrics: Collection[str], *, has_controls: bool
) -> None:
    """Every requirement must be about something that is scored.

    Args:
        metrics: of the trained task.

    Raises:
        ConfigError: a metric is not, no control task is, or the task has no classes.
    """
    known = [*metrics, *_groups(metrics, has_controls=has_controls)]
    problems: list[ConfigError] = []
    for each in required:
        if each.name in known:
            continue
        what = {
            CONTROLS: "no control task is scored",
            CLASSES: "the task has no recall of classes",
        }.get(each.name, f"the trained task has no metric {each.name!r}{suggest(each.name, known)}")
        problems.append(_fault(each.text, what, f"one of {', '.join(known)}"))
    raise_problems(problems)


def _groups(metrics: Collection[str], *, has_controls: bool) -> list[str]:
    classes = [CLASSES] if any(map(recalled_label, metrics)) else []
    return [*classes, *([CONTROLS] if has_controls else [])]


def check_required(study: Study, required: Sequence[Requirement]) -> None:
    """Every requirement must be about something in this study, which exists already.

    Raises:
        ConfigError: as there.
    """
    metrics = dict.fromkeys(row.metric for each in _find_trained(study) for row in _measured(each))
    check_names(required, metrics, has_controls=bool(_find_controls(study)))


def judge(study: Study, required: Sequence[Requirement]) -> list[tuple[bool, str]]:
    """(whether it is met, that in a sentence) of each requirement; one that is not met has a
    sentence for each difference that misses it, one that is met is shown by its closest.

    Whatever is required, no class may be lost, unless one requirement says how much of its recall
    may be.
    """
    verdicts = [verdict for each in required for verdict in _judge(study, each)]
    if not required or any(each.name == CLASSES for each in required):
        return verdicts
    return [
        *verdicts,
        *((False, _state_lost(each)) for each in _find_trained(study) if each.lost_classes),
    ]


def _state_lost(comparison: Comparison) -> str:
    row = comparison.headline
    return (
        f"No class may be lost, and by {row.tuned_subject} on {row.task} ({row.split}) one is: "
        f"{comparison.lost_classes} --require 'classes>=-N' says how much may be."
    )


def _judge(study: Study, requirement: Requirement) -> list[tuple[bool, str]]:
    rows = _find_rows(study, requirement.name)
    if not rows:
        return [(False, f"{requirement.text} is not met: no difference was measured.")]
    room = [(_room(row, requirement), row) for row in rows]
    missed = [row for left, row in room if left is None or left < 0]
    # Each miss is named, as a build that fails must say all that has to change.
    if missed:
        return [(False, _state_missed(row, requirement)) for row in missed]
    _, closest = min(((left or 0.0, row) for left, row in room), key=lambda each: each[0])
    several = f" {len(rows)} differences, the closest" if len(rows) > 1 else ""
    end = _state_end(closest, requirement)
    return [(True, f"{requirement.text} is met:{several} {_place(closest)}, {end}.")]


def _find_rows(study: Study, name: str) -> list[Row]:
    """The differences that a requirement is about: of the items that the training did not see,
    where these decide."""
    if name == CONTROLS:
        return [_deciding(each, each.headline) for each in _find_controls(study)]
    trained = _find_trained(study)
    return [
        _deciding(each, row)
        for each in trained
        for row in _measured(each)
        if row.metric == name or (name == CLASSES and recalled_label(row.metric))
    ]


def _find_trained(study: Study) -> list[Comparison]:
    """Those that decide of the trained tasks; where none does, all of these."""
    trained = [each for each in study.comparisons if each.role == "trained task"]
    # Of a study on validation alone no row is primary, and it is still what was asked about.
    return [each for each in trained if any(row.primary for row in each.rows)] or trained


def _find_controls(study: Study) -> list[Comparison]:
    controls = [each for each in study.comparisons if each.role == "control task"]
    return [each for each in controls if any(row.family for row in each.rows)]


def _measured(comparison: Comparison) -> list[Row]:
    return [row for row in comparison.rows if row.tuned_subject is not None]


def _deciding(comparison: Comparison, row: Row) -> Row:
    clean = comparison.without
    return clean if clean is not None and clean.metric == row.metric else row


def _end(row: Row) -> float | None:
    """The worse end of the interval: in points, of perplexities in per cent of the base's; None: it
    has no interval."""
    end = row.low if _is_better_higher(row.metric) else row.high
    if end is None or row.delta is None:
        return None
    if scale_of(row.metric) != math.inf:
        return on_scale(row.metric, end)
    return 100 * end / row.base if row.base else None


def _bound(row: Row, requirement: Requirement) -> float:
    """The requirement's number for the difference of this row: what a control may lose at most is
    added where lower is better."""
    # `controls>=-1` is written for all controls at once, also for one whose perplexity must not
    # rise.
    flipped = requirement.is_least and not _is_better_higher(row.metric)
    return -requirement.bound if flipped else requirement.bound


def _room(row: Row, requirement: Requirement) -> float | None:
    """How far the interval's end is on the right side of the bound; below 0: it is not."""
    end = _end(row)
    if end is None:
        return None
    room = end - _bound(row, requirement)
    return room if _is_better_higher(row.metric) else -room


def _state_missed(row: Row, requirement: Requirement) -> str:
    said = state_verdict(row, None).removesuffix(".")
    who, end = row.tuned_subject, _state_end(row, requirement)
    return f"{requirement.text} is not met by {who}: {said}; {end}."


def _state_end(row: Row, requirement: Requirement) -> str:
    """Which end of the interval decides, with as many digits as put it on its side of the bound."""
    end, bound = _end(row), _bound(row, requirement)
    if end is None:
        return "there is no interval"
    digits = 1
    while digits < _MOST_DECIMALS and (round(end, digits) < bound) != (end < bound):
        digits += 1
    unit = " %" if scale_of(row.metric) == math.inf else ""
    which = "lower" if _is_better_higher(row.metric) else "upper"
    return f"the {which} end of the interval is {end:+.{digits}f}{unit}, the bound {bound:+g}{unit}"


def _place(row: Row) -> str:
    return f"{row.metric} of {row.tuned_subject} on {row.task} ({row.split})"
