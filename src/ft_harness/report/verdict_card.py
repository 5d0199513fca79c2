"""The answer of a study at a glance: one card per task, one line per deciding comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ft_harness.comparison.aggregator import Comparison, Row, Study
from ft_harness.comparison.amounts import NONE, amount, digits_of
from ft_harness.comparison.features import tell_apart
from ft_harness.comparison.repeats import count_training_seeds
from ft_harness.comparison.sentences import state_change, state_p, state_seeds, word_of
from ft_harness.comparison.setting_answers import find_answers
from ft_harness.report.cells import measured_cells
from ft_harness.report.document import Drawn, text_of
from ft_harness.report.drawing import draw_differences
from ft_harness.report.view import main_comparisons

Tone = Literal["better", "worse", "vain", "none"]
_TONES: dict[str | None, Tone] = {
    "improved": "better",
    "worse": "worse",
    "improved, not above majority": "vain",
}
_COUNTED = ("improved", "improved, not above majority", "worse", "no evidence")
_MOST_CARDS = 9  # that fit a screen


@dataclass(frozen=True)
class Line:
    """On a verdict card: one comparison, texts as the reader sees them.

    Attributes:
        name: what distinguishes it from the others of its task; empty where nothing does.
        change: the difference with its unit.
        certainty: interval, p, number of items, and how many seeds it speaks for.
        drawn: None: no difference or no interval.
    """

    name: str
    base: str
    tuned: str
    difference: str
    change: str
    certainty: str
    n: str
    verdict: str
    tone: Tone
    cautions: list[str]
    drawn: Drawn | None


@dataclass(frozen=True)
class VerdictCard:
    """Comparisons that are read together.

    Attributes:
        title: the task; of single comparisons of many tasks, how many these are.
        place: split, metric, what rules without a model score, and the number of items where all
            lines share it.
    """

    title: str
    place: str
    lines: list[Line]

    @property
    def has_items(self) -> bool:
        """Whether each line has its own number of items; asked by page.html."""
        return len({line.n for line in self.lines}) > 1

    @property
    def cautions(self) -> list[tuple[str, str]]:
        """(the lines that it belongs to, caution), each caution once."""
        found: dict[str, list[str]] = {}
        for line in self.lines:
            for caution in line.cautions:
                found.setdefault(caution, []).append(line.name)
        return [("; ".join(filter(None, names)), caution) for caution, names in found.items()]


@dataclass(frozen=True)
class Verdicts:
    """The verdict cards, trained tasks first; and of several lines how many came out how, where
    there are control tasks of these and of the trained tasks apart, each by its name."""

    cards: list[VerdictCard]
    tallies: list[tuple[str, list[tuple[str, Tone, int]]]]


def find_verdicts(study: Study) -> Verdicts:
    """A card for each task, split and metric that decides; where nothing decides, for all that was
    compared. Of more cards than a screen holds, those of a single line become one.

    None of a sweep, which begins with the table of its settings."""
    if find_answers(study):
        return Verdicts([], [])
    deciding = [each for each in study.comparisons if any(row.family for row in each.rows)]
    grouped: dict[tuple[bool, str, str, str], list[Comparison]] = {}
    for each in deciding or main_comparisons(study):
        row = each.answer
        key = each.role == "control task", row.task, row.split, row.metric
        grouped.setdefault(key, []).append(each)
    groups = sorted(grouped.items(), key=lambda group: group[0][0])
    single = [found[0] for _, found in groups if len(found) == 1]
    gathers = len(groups) > _MOST_CARDS and len(single) > 1
    cards = [
        _make_card(study, task, is_control, found)
        for (is_control, task, _, _), found in groups
        if len(found) > 1 or not gathers
    ]
    cards += [_gather(study, single)] if gathers else []
    by_kind: dict[str, list[str | None]] = {}
    for (is_control, *_), found in groups:
        verdicts = by_kind.setdefault("Control tasks" if is_control else "Trained tasks", [])
        verdicts += [each.answer.verdict for each in found]
    tallies = [(kind if len(by_kind) > 1 else "", _count(found)) for kind, found in by_kind.items()]
    return Verdicts(cards, tallies if sum(map(len, by_kind.values())) > 1 else [])


def _count(verdicts: Sequence[str | None]) -> list[tuple[str, Tone, int]]:
    """(verdict, tone, how many came out so)."""
    counts = {name: verdicts.count(name) for name in _COUNTED}
    others = len(verdicts) - sum(counts.values())
    tally = [(name, _TONES.get(name, "none"), count) for name, count in counts.items() if count]
    return [*tally, *([("without a verdict", _TONES.get(None, "none"), others)] if others else [])]


def _make_card(
    study: Study, task: str, is_control: bool, comparisons: Sequence[Comparison]
) -> VerdictCard:
    names = [", ".join(tell_apart(study, each)) for each in comparisons]
    lines = _make_lines(study, comparisons, names)
    place = [_place(comparisons[0].answer)]
    items = {line.n for line in lines}
    place += [f"n = {items.pop()}"] if len(items) == 1 and len(lines) > 1 else []
    place += ["control task"] if is_control else []
    place += _rules(comparisons)
    return VerdictCard(task, ", ".join(place), lines)


def _rules(comparisons: Sequence[Comparison]) -> list[str]:
    """`majority class 50.0 %`, where it is the same of all lines."""
    every = [each.rules() for each in comparisons]
    if any(rules != every[0] for rules in every):
        return []
    metric = comparisons[0].answer.metric
    return [f"{rule} {amount(metric, value)}" for rule, value in every[0].items()]


def _gather(study: Study, comparisons: Sequence[Comparison]) -> VerdictCard:
    names = [f"{each.answer.task} ({_place(each.answer)})" for each in comparisons]
    lines = _make_lines(study, comparisons, names)
    return VerdictCard(f"{len(lines)} comparisons", "one task each", lines)


def _place(row: Row) -> str:
    return f"{row.split}, {word_of(row.metric)}"


def _make_lines(
    study: Study, comparisons: Sequence[Comparison], names: Sequence[str]
) -> list[Line]:
    """The lines on one axis."""
    rows = [each.answer for each in comparisons]
    numbers = [(row.base, row.delta, row.low, row.high) for row in rows]
    drawn = draw_differences([row.metric for row in rows], numbers)
    return [
        _make_line(study, each, name, its)
        for each, name, its in zip(comparisons, names, drawn, strict=True)
    ]


def _make_line(study: Study, comparison: Comparison, name: str, drawn: Drawn | None) -> Line:
    row = comparison.answer
    cells = {column: text_of(cell) for column, cell in measured_cells(row).items()}
    has_card = any(run.card.name == comparison.tuned.subject for run in study.adapters)
    seeds = count_training_seeds(comparison.tuned, study.repeats, has_card=has_card)
    certainty = [f"95 % interval {cells['95 % interval']}"] if row.low is not None else []
    certainty += [] if row.p is None else [state_p(row)]
    certainty += [f"n = {cells['n']}"]
    certainty += [] if seeds is None or row.p is None else [state_seeds(seeds)]
    unchanged = [] if comparison.changed else [comparison.finding]
    return Line(
        name=name,
        base=cells["Base"],
        tuned=cells["Tuned"],
        difference=cells["Difference"],
        change=NONE if row.delta is None else state_change(row.metric, row.delta, digits_of(row)),
        certainty=", ".join(certainty),
        n=cells["n"],
        verdict=row.verdict or ("not tested" if row.is_stated else "undefined"),
        tone=_TONES.get(row.verdict, "none"),
        cautions=[*unchanged, *comparison.cautions],
        drawn=drawn,
    )
