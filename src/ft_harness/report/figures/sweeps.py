"""A sweep's figures: the score against what varies, one panel of curves per axis; and against
time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ft_harness.comparison.amounts import shown_value
from ft_harness.comparison.sweep_study import (
    Setting,
    SettingScore,
    SweepStudy,
    field_name,
    find_best_stretch,
    name_values,
)
from ft_harness.report.figures.style import (
    BASE,
    GREY,
    TUNED,
    Axes,
    Figure,
    Form,
    Value,
    axis_scale,
    fit_scores,
    label_ends,
    render,
    short_name,
    short_names,
    write_nothing,
)

_COLOURS = (TUNED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY)
_MARKERS = ("s", "o", "^", "D", "v", "P")
_LOGARITHMIC = 5.0  # ratio of the ends from which an axis is logarithmic
_HEIGHT = 3.2  # inches
_TICKS = 60  # characters of all names on an axis that stand side by side
_TURNED: dict[str, Any] = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}
SWEEP_COLUMNS = ["x", "line", "split", "metric", "mean", "low", "high", "seeds", "base", "seconds"]
_Scored = list[tuple[Setting, SettingScore]]


def score_by_axis(sweep: SweepStudy, axis: Sequence[str], form: Form) -> bytes:
    """The score against one axis: a line holds settings that differ in nothing else, at most six
    lines are drawn, that of the reference first."""
    return render(lambda figure: _draw_axis(figure, sweep, axis), _HEIGHT, form)


def score_by_time(sweep: SweepStudy, form: Form) -> bytes:
    """The score against seconds of training, or of scoring where nothing was trained."""
    return render(lambda figure: _draw_time(figure, sweep), _HEIGHT, form)


def sweep_rows(sweep: SweepStudy, axis: Sequence[str]) -> list[list[Value]]:
    """The numbers of a sweep's figure with the columns `SWEEP_COLUMNS`."""
    return [
        [
            _label(setting, axis), name, score.split, score.metric, score.mean, score.low,
            score.high, setting.seeds, score.base,
            setting.effort.seconds if setting.effort else None,
        ]
        for name, line in _lines(sweep, axis)
        for setting, score in line
    ]  # fmt: skip


def _scored(sweep: SweepStudy) -> _Scored:
    found = ((each, each.score(sweep.split)) for each in sweep.settings)
    return [(each, score) for each, score in found if score is not None and score.mean is not None]


def _lines(sweep: SweepStudy, axis: Sequence[str]) -> list[tuple[str, _Scored]]:
    """(the values of all other fields, the settings that have them), the reference's first."""
    others = [name for group in sweep.axes for name in group if name not in axis]
    lines: dict[str, _Scored] = {}
    for setting, score in _scored(sweep):
        lines.setdefault(name_values(setting.values, others) if others else "", []).append(
            (setting, score)
        )
    return sorted(
        lines.items(), key=lambda line: not any(setting.is_reference for setting, _ in line[1])
    )


def _label(setting: Setting, axis: Sequence[str]) -> str:
    return ", ".join(shown_value(setting.values[name]) for name in axis)


def _number(value: Any) -> float | None:
    """Of a list, which stretches have, the sum: all that was trained."""
    if isinstance(value, list | tuple):
        parts = [_number(each) for each in value]
        return None if None in parts else sum(part for part in parts if part is not None)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _places(sweep: SweepStudy, axis: Sequence[str]) -> tuple[dict[str, float], bool]:
    """(label -> place on the axis, whether places are numbers); names are placed in their order."""
    settings = [setting for setting, _ in _scored(sweep)]
    labels = list(dict.fromkeys(_label(each, axis) for each in settings))
    numbers = {_label(each, axis): _number(each.values[axis[0]]) for each in settings}
    known = {label: number for label, number in numbers.items() if number is not None}
    if len(axis) == 1 and len(known) == len(labels):
        return known, True
    return {label: float(place) for place, label in enumerate(labels)}, False


def _draw_axis(figure: Figure, sweep: SweepStudy, axis: Sequence[str]) -> None:
    axes, lines = figure.subplots(), _lines(sweep, axis)
    axes.set_xlabel(short_name(" and ".join(map(field_name, axis))))
    if not lines:
        write_nothing(axes, "no point has a result")
        return
    places, is_number = _places(sweep, axis)
    scale, name = axis_scale(lines[0][1][0][1].metric)
    axes.set_ylabel(short_name(f"{name}, {sweep.split}"))
    names = short_names([said for said, _ in lines[: len(_COLOURS)]])
    ends: list[tuple[str, str, float]] = []
    for (said, line), colour, marker in zip(lines, _COLOURS, _MARKERS, strict=False):
        points = sorted(line, key=lambda entry: places[_label(entry[0], axis)])
        xs = [places[_label(setting, axis)] for setting, _ in points]
        _draw_line(axes, xs, points, scale, (colour, marker), joined=is_number)
        if len(lines) > 1:
            ends.append((names[said], colour, scale * (points[-1][1].mean or 0.0)))
    _draw_base(
        axes, lines[0][1], [places[_label(setting, axis)] for setting, _ in lines[0][1]], scale
    )
    _mark_overfitting(axes, sweep, axis, places)
    found = sorted(places.values())
    if is_number and found[0] > 0 and found[-1] / found[0] >= _LOGARITHMIC:
        axes.set_xscale("log")
        axes.minorticks_off()
    labels = short_names(list(places))
    turned = {} if is_number or sum(map(len, labels.values())) <= _TICKS else _TURNED
    axes.set_xticks(list(places.values()), [labels[label] for label in places], **turned)
    axes.margins(x=0.08, y=0.15)
    scored = [score for _, line in lines for _, score in line]
    fit_scores(axes, scored[0].metric, _drawn_scores(scored))
    label_ends(axes, ends)
    if len(lines) > len(_COLOURS):
        axes.set_title(f"{len(_COLOURS)} of {len(lines)} lines", loc="left", fontsize=9)


def _draw_line(
    axes: Axes,
    xs: Sequence[float],
    line: _Scored,
    scale: float,
    look: tuple[str, str],
    *,
    joined: bool,
) -> None:
    """The means, seeds as points, and the means' intervals: a band where values between those of
    the settings have a meaning, and each setting has one; else bars."""
    colour, marker = look
    means = [scale * (score.mean or 0.0) for _, score in line]
    width = 1.2 if joined else 0.0
    axes.plot(xs, means, color=colour, marker=marker, markersize=6, linewidth=width)
    ends = [(score.low, score.high) for _, score in line]
    known = [(x, low, high) for x, (low, high) in zip(xs, ends, strict=True)
             if low is not None and high is not None]  # fmt: skip
    if joined and len(known) == len(xs) > 1:
        lows, highs = ([scale * each[side] for each in known] for side in (1, 2))
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.13, linewidth=0)
    else:
        for x, low, high in known:
            axes.vlines(x, scale * low, scale * high, color=colour, linewidth=1.2)
    for x, (setting, score) in zip(xs, line, strict=True):
        seeds = [scale * value for value in score.values if value is not None]
        if len(seeds) > 1:
            axes.plot([x] * len(seeds), seeds, color=colour, marker=".", linestyle="", alpha=0.7)
        if setting.is_reference:
            at = (x, scale * (score.mean or 0.0))
            axes.plot(*at, color=GREY, marker="o", markersize=13, fillstyle="none", linestyle="")


def _draw_base(axes: Axes, line: _Scored, xs: Sequence[float], scale: float) -> None:
    """The base asked likewise, which may differ along the axis."""
    known = sorted((x, scale * score.base) for x, (_, score) in zip(xs, line, strict=True)
                   if score.base is not None)  # fmt: skip
    if not known:
        return
    if len({value for _, value in known}) == 1:
        axes.axhline(known[0][1], color=BASE, linewidth=1.2, linestyle=":")
    else:
        axes.plot(*zip(*known, strict=True), color=BASE, linewidth=1.2, linestyle=":", marker=".")
    axes.annotate(
        "base", known[0], (-4, 4), textcoords="offset points", color=BASE, fontsize=9, ha="right"
    )


def _mark_overfitting(
    axes: Axes, sweep: SweepStudy, axis: Sequence[str], places: dict[str, float]
) -> None:
    """A line at the best stretch, where later ones are worse."""
    found = find_best_stretch(sweep.settings, sweep.stretches)
    if found is None or sweep.overfitting is None or list(axis) != sweep.stretches:
        return
    score, best, _ = found
    if _label(best, axis) in places:
        x, top = places[_label(best, axis)], axes.get_xaxis_transform()
        axes.axvline(x, color=GREY, linewidth=0.8, linestyle="--")
        text = f"best on {score.split}"
        axes.text(x, 1.02, text, transform=top, color=GREY, fontsize=9, ha="center")


def _draw_time(figure: Figure, sweep: SweepStudy) -> None:
    axes = figure.subplots()
    axes.set_xlabel("training time (s)" if sweep.trains else "scoring time (s)")
    timed = [
        (setting.effort.seconds, setting, score)
        for setting, score in _scored(sweep)
        if setting.effort and setting.effort.seconds is not None
    ]
    if not timed:
        write_nothing(axes, "no time is known")
        return
    scale, name = axis_scale(timed[0][2].metric)
    axes.set_ylabel(short_name(f"{name}, {sweep.split}"))
    names = short_names([name_values(setting.values) for _, setting, _ in timed])
    for seconds, setting, score in timed:
        at = (seconds, scale * (score.mean or 0.0))
        if score.low is not None and score.high is not None:
            axes.vlines(seconds, scale * score.low, scale * score.high, color=TUNED, linewidth=1.0)
        axes.plot(*at, color=TUNED, marker="s", markersize=6)
        if setting.is_reference:
            axes.plot(*at, color=GREY, marker="o", markersize=13, fillstyle="none", linestyle="")
        axes.annotate(
            names[name_values(setting.values)], at, (6, 5),
            textcoords="offset points", color=GREY, fontsize=8,
        )  # fmt: skip
    found = sorted(seconds for seconds, _, _ in timed)
    if found[0] > 0 and found[-1] / found[0] >= _LOGARITHMIC:
        axes.set_xscale("log")
        ticks = [
            factor * 10**power
            for power in range(-3, 8)
            for factor in (1, 2, 5)
            if found[0] / 2 <= factor * 10**power <= 2 * found[-1]
        ]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.margins(x=0.2, y=0.15)
    fit_scores(axes, timed[0][2].metric, _drawn_scores([score for _, _, score in timed]))


def _drawn_scores(scores: Sequence[SettingScore]) -> list[float | None]:
    return [value for each in scores for value in (each.base, each.mean, *each.values)]
