"""The report's section on a sweep: one line per setting, with what varies and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from ft_harness.comparison.amounts import difference, duration, shown_value
from ft_harness.comparison.sweep_sentences import describe_seeds, field_name
from ft_harness.comparison.sweep_study import Change, Effect, Setting, SettingScore, SweepStudy
from ft_harness.report.cells import UNDEFINED, chance, count, score, score_span, span_of
from ft_harness.report.document import Block, Cell, Figure, Number, Paragraph, Table

_SAID = (
    "Each line is a setting; the difference is from the reference, item by item on the same "
    "seeds. "
    "The reference is what sweep.reference in the recipe names, else the recipe's own values; it "
    "need not be the best setting. "
    "With several seeds the score is their mean, and intervals hold for other seeds and other "
    "items alike; SD is the standard deviation over the seeds. A setting differs from the "
    "reference only if p, Holm-adjusted over the settings, is below 0.05 and the interval, which "
    "is of one difference and not adjusted, leaves out 0."
)
_NOT_CHOSEN = (
    "No setting was chosen on validation (sweep.choose in the recipe would do that). The highest "
    "of several {split} scores looks better than it is; settings whose difference has an interval "
    "around 0 are not shown to differ."
)
_NONE_TO_CHOOSE = (
    "No setting was chosen, though the recipe asks for it (sweep.choose): none has a score that "
    "could decide."
)
_ROLES = {True: "reference", False: ""}


def sweep_section(sweep: SweepStudy | None) -> list[Block]:
    """The section on a sweep: settings, points without a result, one figure per axis, and every
    metric."""
    if sweep is None:
        return []
    table = sweep_table(sweep)
    blocks: list[Block] = [*([table] if table else []), Paragraph(_SAID)]
    if sweep.lacks_choice():
        blocks.append(Paragraph(_NONE_TO_CHOOSE))
    elif len(sweep.settings) > 1 and sweep.choice is None:
        blocks.append(Paragraph(_NOT_CHOSEN.format(split=sweep.split)))
    if failed := sweep.failed():
        lines: list[list[Cell]] = [[each.name, each.reason or ""] for each in failed]
        title = "Points without a result"
        blocks.append(Table("sweep_failed", title, ["Point", "Reason"], lines, "tt"))
    for number, axis in enumerate(sweep.axes):
        names = " and ".join(map(field_name, axis))
        caption = (
            f"{sweep.split.capitalize()} score against {names}: means with bands of 95 % "
            "intervals, seeds as points, the base dotted; the ring is the reference. A line holds "
            "settings that differ in nothing else"
        )
        blocks.append(Figure(f"sweep_{number}", caption))
    caption = (
        "Score against time, one point per setting, with 95 % intervals; the ring is the reference"
    )
    blocks.append(Figure("sweep_cost", caption))
    return [*blocks, *_metric_tables(sweep)]


def sweep_table(sweep: SweepStudy) -> Table | None:
    """In the section on a sweep: one line per setting: its score, and its difference from the
    reference; None where no point has a result."""
    lines = [_line(sweep, each) for each in sweep.settings]
    metric = next((score.metric for score in _scores(sweep)), None)
    if metric is None:
        return None
    fields = [field_name(name) for axis in sweep.axes for name in axis]
    based = any(each.base is not None for each in _scores(sweep))
    header = [
        *fields,
        "Seeds",
        *(["Base"] if based else []),
        f"{metric} ({sweep.split}, {describe_seeds(sweep)})",
        "95 % interval",
        "SD of seeds",
        "Difference",
        "95 % interval",
        "p (Holm)",
        "Time",
        "",
    ]
    if not based:
        lines = [[*line[: len(fields) + 1], *line[len(fields) + 2 :]] for line in lines]
    kinds = "t" * len(fields) + "n" * (2 if based else 1) + "ninninnt"
    return Table("sweep", "Settings of the sweep", header, lines, kinds)


def _scores(sweep: SweepStudy) -> list[SettingScore]:
    found = (each.score(sweep.split) for each in sweep.settings)
    return [each for each in found if each is not None]


def _line(sweep: SweepStudy, setting: Setting) -> list[Cell]:
    found = setting.score(sweep.split)
    fields = [name for axis in sweep.axes for name in axis]
    effect = effect_of(sweep, setting)
    seconds = setting.effort.seconds if setting.effort else None
    return [
        *(shown_value(setting.values[name]) for name in fields),
        count(setting.seeds),
        *_score_cells(found),
        *_effect_cells(effect),
        UNDEFINED if seconds is None else duration(seconds),
        _role(sweep, setting),
    ]


def effect_of(sweep: SweepStudy, setting: Setting) -> Effect | None:
    """In the section on a sweep: a setting's difference from the reference on the split that
    decides."""
    found = (each for each in sweep.effects if each.values == setting.values)
    return next((each for each in found if each.split == sweep.split), None)


def _role(sweep: SweepStudy, setting: Setting) -> str:
    said = [_ROLES[setting.is_reference]] if setting.is_reference else []
    said += ["chosen"] if sweep.choice and sweep.choice.chosen == setting.values else []
    said += [f"{len(setting.failed)} without result"] if setting.failed else []
    return ", ".join(said)


def _score_cells(found: SettingScore | None) -> list[Cell]:
    if found is None:
        return [UNDEFINED] * 4
    span = score_span(found.metric, found.low, found.high)
    deviation = UNDEFINED if found.deviation is None else score(found.metric, found.deviation)
    return [score(found.metric, found.base), score(found.metric, found.mean), span, deviation]


def _effect_cells(effect: Effect | None) -> list[Cell]:
    if effect is None:
        return [UNDEFINED] * 3
    return [*_shown_change(effect.metric, effect.change), chance(effect.p_adjusted)]


def _metric_tables(sweep: SweepStudy) -> list[Block]:
    """Every metric of every setting on the split that decides, the change from the base over its
    seeds too; sweep.json has the other splits."""
    fields = [name for axis in sweep.axes for name in axis]
    lines: list[list[Cell]] = []
    for setting in sweep.settings:
        values: Sequence[Cell] = [shown_value(setting.values[name]) for name in fields]
        for each in (found for found in setting.scores if found.split == sweep.split):
            cells = [*values, each.metric, *_score_cells(each), *_change_cells(each)]
            lines.append(cells)
    header = [
        *map(field_name, fields),
        *("Metric", "Base", "Score", "95 % interval", "SD of seeds"),
        *("Change from base", "95 % interval", "p"),
    ]
    kinds = "t" * (len(fields) + 1) + "nninnin"
    title = f"Every metric on {sweep.split}; the change from the base is over several seeds"
    return [Table("sweep_metrics", title, header, lines, kinds, appendix=True)] if lines else []


def _change_cells(found: SettingScore) -> list[Cell]:
    made = found.change
    if made is None:
        return [UNDEFINED] * 3
    return [*_shown_change(found.metric, made), chance(made.p)]


def _shown_change(metric: str, made: Change) -> list[Cell]:
    """A difference and its interval; it is that of the shown scores."""
    shown, digits = made.shown(metric)
    shown = None if made.delta is None else shown
    return [
        Number(difference(metric, shown, digits), made.delta),
        span_of(metric, made.low, made.high, digits),
    ]
