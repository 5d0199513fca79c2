"""The report of a sweep begins with its settings: a line each, with what varies and nothing else;
the control tasks likewise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ft_harness.comparison.amounts import counted, shown_value
from ft_harness.comparison.sentences import word_of
from ft_harness.comparison.setting_answers import (
    SettingAnswer,
    TaskAnswers,
    describe_lines,
    find_answers,
    kinds_of_losses,
)
from ft_harness.comparison.study import Study
from ft_harness.comparison.sweep_study import (
    Change,
    SettingScore,
    SweepStudy,
    field_name,
    name_values,
)
from ft_harness.report.cells import (
    UNDEFINED,
    best_rule,
    chance,
    change,
    count,
    score,
    score_span,
    span_of,
    spread_of,
)
from ft_harness.report.document import (
    Block,
    Cell,
    Figure,
    Paragraph,
    Span,
    Table,
    bullets,
)
from ft_harness.report.drawing import draw_differences

_OF_SEEDS = (
    "Scores are means over the seeds, SD is the standard deviation over them, in points where the "
    "score is in %. Intervals and p cover chance from both seeds and items: p is of a t test of "
    "the mean difference, its error from a two-way layout of seeds and items."
)
_BASE = (
    "Difference: the score minus that of the base. A verdict needs an interval that leaves out 0, "
    "and p below 0.05, which is not adjusted for the number of settings."
)
_REFERENCE = (
    "From reference: the score minus that of the reference, {name}, item by item on the same "
    "seeds. The reference has the values that sweep.reference in the recipe names, else the "
    "recipe's own; it need not be the best setting. Here p is adjusted for the number of settings "
    "(Holm), the interval is not; a setting differs from the reference only if both say so."
)
_CONTROLS = "Control tasks: not trained on, a loss here is what the training cost elsewhere."
_CONTROLS_OF_SEEDS = (
    "For control tasks, the smallest and the largest difference of a seed are shown. Each "
    "seed has a verdict of its own, and the table counts them."
)
_RULES = "Without a model: what guessing, or always giving the most frequent answer, scores."
_NOTE = (
    "Note: what cautions there are in any of the setting's seeds; the part Cautions has each in "
    "full. At chance: the 95 % interval of the control's score contains what guessing scores."
)
_NOT_CHOSEN = (
    "No setting was chosen on validation (sweep.choose in the recipe would do that). The highest "
    "of several {split} scores looks better than it is; settings whose interval contains 0 "
    "are not shown to differ."
)
_NONE_TO_CHOOSE = (
    "No setting was chosen, though the recipe asks for it (sweep.choose): none has a score that "
    "could decide."
)


class _Column(NamedTuple):
    name: str
    kind: str
    cells: Sequence[Cell]


def sweep_section(study: Study) -> list[Block]:
    """Settings, control tasks, one figure per axis, and points without a result."""
    sweep = study.sweep
    if sweep is None:
        return []
    blocks: list[Block] = []
    for said, table in sweep_tables(study):
        blocks += [Paragraph(said), table]
    legend = _legend(sweep, find_answers(study))
    if sweep.lacks_choice():
        legend.append(_NONE_TO_CHOOSE)
    elif len(sweep.settings) > 1 and sweep.choice is None:
        legend.append(_NOT_CHOSEN.format(split=sweep.split))
    blocks += bullets(legend)
    for number, axis in enumerate(sweep.axes):
        names = " and ".join(map(field_name, axis))
        caption = (
            f"{sweep.split.capitalize()} score against {names}: means with bands of 95 % "
            "intervals, seeds as points, the base dotted; the ring is the reference. A line holds "
            "settings that differ in nothing else; the band is the interval of the score itself, "
            "the paired difference in the table is known better"
        )
        blocks.append(Figure(f"sweep_{number}", caption))
    if failed := sweep.failed():
        lines: list[list[Cell]] = [[each.name, each.reason or ""] for each in failed]
        title = "Points without a result"
        blocks.append(Table("sweep_failed", title, ["Point", "Reason"], lines, "tt"))
    return blocks


def cost_figure(sweep: SweepStudy | None) -> list[Block]:
    """The score of each setting against what it took."""
    caption = (
        "Score against time, one point per setting, with 95 % intervals; the ring is the reference"
    )
    return [] if sweep is None else [Figure("sweep_cost", caption)]


def sweep_tables(study: Study) -> list[tuple[str, Table]]:
    """(what it is of, table) of the settings on the trained task, then on the control tasks; none
    where no point has a result."""
    sweep, answers = study.sweep, find_answers(study)
    if sweep is None:
        return []
    found = [
        (_state_task(each), _trained_table(sweep, each, answers))
        for each in answers
        if not each.is_control
    ]
    controls = [each for each in answers if each.is_control]
    return [*found, *([(_CONTROLS, _control_table(sweep, controls))] if controls else [])]


def _state_task(answers: TaskAnswers) -> str:
    """`Accuracy on demo_sentiment (test, 400 items). Majority class: 50.0 %.`"""
    word = word_of(answers.metric)
    on = f" on {answers.task}" if answers.task else ""
    items = f", {counted(answers.n, 'item')}" if answers.n is not None else ""
    said = f"{word[0].upper()}{word[1:]}{on} ({answers.split}{items})."
    rules = [
        f" {rule.capitalize()}: {score(answers.metric, value).text}."
        for rule, value in answers.rules.items()
    ]
    return said + "".join(rules)


def _legend(sweep: SweepStudy, answers: Sequence[TaskAnswers]) -> list[str]:
    """How the tables are read."""
    lines = [line for each in answers for line in each.lines]
    controls = [each for each in answers if each.is_control]
    reference = _REFERENCE.format(name=name_values(sweep.reference.values))
    needed = {
        _OF_SEEDS: any(map(describe_lines, answers)),
        _BASE: any(line.change for line in lines),
        reference: any(line.effect for line in lines),
        _CONTROLS_OF_SEEDS: any(map(describe_lines, controls)),
        _RULES: any(each.rules for each in controls),
        _NOTE: any(each.kinds or kinds_of_losses(answers, each.setting) for each in lines),
    }
    return [said for said, is_needed in needed.items() if is_needed]


def _trained_table(sweep: SweepStudy, answers: TaskAnswers, every: Sequence[TaskAnswers]) -> Table:
    lines, metric, digits = answers.lines, answers.metric, answers.digits
    several = describe_lines(answers)
    columns = _fields(sweep, lines)
    if len({line.seeds for line in lines}) > 1:
        columns.append(_Column("Seeds", "n", [count(line.seeds) for line in lines]))
    is_based = any(line.base is not None for line in lines)
    if is_based:
        columns.append(_Column("Base", "n", [score(metric, each.base, digits) for each in lines]))
    scored = f"Mean of {several}" if several else "Tuned" if is_based else "Score"
    columns.append(_Column(scored, "n", [score(metric, each.mean, digits) for each in lines]))
    if not is_based:
        own = [each.setting.score(answers.split) for each in lines]
        spans = [score_span(metric, each.low, each.high) if each else UNDEFINED for each in own]
        columns.append(_Column("95 % interval", "i", spans))
    if several:
        spread = [spread_of(metric, each.deviation) for each in lines]
        columns.append(_Column("SD of seeds", "n", spread))
    if any(line.change for line in lines):
        columns += _change_columns("Difference", metric, lines, digits)
        columns.append(_Column("p", "n", [chance(_p_of(line.change)) for line in lines]))
        columns.append(_Column("Verdict", "t", [line.said or UNDEFINED for line in lines]))
    if any(line.effect for line in lines):
        columns += _effect_columns(metric, lines, digits)
    notes = [_note(sweep, line, every) for line in lines]
    columns += [_Column("Note", "t", notes)] if any(notes) else []
    is_first = answers.split == sweep.split
    name = "sweep" if is_first else f"sweep_{answers.split}"
    title = f"Settings of the sweep, {answers.split}"
    return _table(name, title, columns)


def _control_table(sweep: SweepStudy, controls: Sequence[TaskAnswers]) -> Table:
    """The lines of all control tasks; an axis is that of one task."""
    lines = [line for each in controls for line in each.lines]
    of = [each for each in controls for _ in each.lines]
    several = next(filter(None, map(describe_lines, controls)), "")
    columns = [_Column("Control task", "t", [_name_control(each) for each in of])]
    columns += _fields(sweep, lines)
    numbers = list(zip(of, lines, strict=True))
    columns.append(
        _Column("Base", "n", [score(a.metric, each.base, a.digits) for a, each in numbers])
    )
    scored = f"Mean of {several}" if several else "Tuned"
    columns.append(
        _Column(scored, "n", [score(a.metric, each.mean, a.digits) for a, each in numbers])
    )
    parts = [_change_columns("Difference", a.metric, a.lines, a.digits) for a in controls]
    for same in zip(*parts, strict=True):
        title = "Smallest and largest seed" if several and same[0].kind == "i" else same[0].name
        columns.append(_Column(title, same[0].kind, [cell for part in same for cell in part.cells]))
    verdicts = [line.said or UNDEFINED for line in lines]
    columns.append(_Column(f"Verdicts of {several}" if several else "Verdict", "t", verdicts))
    if any(each.rules for each in controls):
        best = [best_rule(each.metric, each.rules) for each in of]
        columns.append(_Column("Without a model", "n", best))
    return _table("sweep_controls", "Settings of the sweep on control tasks", columns)


def _table(name: str, title: str, columns: Sequence[_Column]) -> Table:
    rows = list(zip(*(each.cells for each in columns), strict=True))
    header, kinds = [each.name for each in columns], "".join(each.kind for each in columns)
    return Table(name, title, header, rows, kinds, is_answer=True)


def _fields(sweep: SweepStudy, lines: Sequence[SettingAnswer]) -> list[_Column]:
    """What varies, each field by its own name."""
    return [
        _Column(field_name(name), "t", [shown_value(each.setting.values[name]) for each in lines])
        for name in sweep.varied
    ]


def _p_of(made: Change | None) -> float | None:
    return made.p if made else None


def _change_columns(
    title: str, metric: str, lines: Sequence[SettingAnswer], digits: int
) -> list[_Column]:
    """Difference from the base and its interval; of several seeds of a control task, their
    range."""
    numbers = [_numbers(line) for line in lines]
    drawn = draw_differences([metric] * len(lines), numbers)
    spans: list[Cell] = []
    for (_, _, low, high), its in zip(numbers, drawn, strict=True):
        text = span_of(metric, low, high).text
        spans.append(Span(text, low, high, its))
    deltas = [change(metric, line.change.delta if line.change else None, digits) for line in lines]
    return [_Column(title, "n", deltas), _Column("95 % interval", "i", spans)]


def _numbers(line: SettingAnswer) -> tuple[float | None, ...]:
    """(base, difference, its ends)."""
    made = line.change
    if made is None:
        return None, None, None, None
    low, high = made.low, made.high
    deltas = [row.delta for row in line.rows if row.delta is not None]
    if line.verdict is None and low is None and len(deltas) > 1:
        low, high = min(deltas), max(deltas)
    return line.base, made.delta, low, high


def _effect_columns(metric: str, lines: Sequence[SettingAnswer], digits: int) -> list[_Column]:
    deltas: list[Cell] = []
    spans: list[Cell] = []
    for line in lines:
        made = line.effect.change if line.effect else None
        shown = change(metric, made.delta if made else None, digits)
        deltas.append("reference" if line.setting.is_reference else shown)
        spans.append(span_of(metric, made.low, made.high) if made else UNDEFINED)
    adjusted = [chance(line.effect.p_adjusted if line.effect else None) for line in lines]
    return [
        _Column("From reference", "n", deltas),
        _Column("95 % interval", "i", spans),
        _Column("p (Holm)", "n", adjusted),
    ]


def _note(sweep: SweepStudy, line: SettingAnswer, every: Sequence[TaskAnswers]) -> str:
    setting = line.setting
    said = ["chosen"] if sweep.choice and sweep.choice.chosen == setting.values else []
    said += [f"{len(setting.failed)} without result"] if setting.failed else []
    return ", ".join([*said, *line.kinds, *kinds_of_losses(every, setting)])


def _name_control(answers: TaskAnswers) -> str:
    items = f", n = {answers.n}" if answers.n is not None else ""
    return f"{answers.task} ({word_of(answers.metric)}{items})"


def setting_metrics(study: Study) -> list[Block]:
    """Every metric of every setting on the splits that the answer shows, the change from the base
    over its seeds too; sweep.json has the other splits."""
    sweep = study.sweep
    if sweep is None:
        return []
    splits = [each.split for each in find_answers(study) if not each.is_control]
    fields = sweep.varied
    lines: list[list[Cell]] = []
    for setting in sweep.settings:
        values: Sequence[Cell] = [shown_value(setting.values[name]) for name in fields]
        for each in (found for found in setting.scores if found.split in splits):
            cells = [*values, each.split, each.metric, *_score_cells(each), *_change_cells(each)]
            lines.append(cells)
    header = [
        *map(field_name, fields),
        *("Split", "Metric", "Base", "Score", "95 % interval", "SD of seeds"),
        *("Change from base", "95 % interval", "p"),
    ]
    kinds = "t" * (len(fields) + 2) + "nninnin"
    title = "Every metric of every setting; the change from the base is over several seeds"
    return [Table("sweep_metrics", title, header, lines, kinds, appendix=True)] if lines else []


def _score_cells(found: SettingScore) -> list[Cell]:
    span = score_span(found.metric, found.low, found.high)
    spread = spread_of(found.metric, found.deviation)
    made = found.change
    digits = made.digits(found.metric) if made else None
    return [
        score(found.metric, found.base, digits),
        score(found.metric, found.mean, digits),
        span,
        spread,
    ]


def _change_cells(found: SettingScore) -> list[Cell]:
    made = found.change
    if made is None:
        return [UNDEFINED] * 3
    return [
        change(found.metric, made.delta, made.digits(found.metric)),
        span_of(found.metric, made.low, made.high),
        chance(made.p),
    ]
