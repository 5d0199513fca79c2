"""A sweep's dry run: what all its points will do, need and take, without running them."""

from __future__ import annotations

from collections.abc import Sequence

from ft_harness.comparison.amounts import counted, duration, on_scale, size
from ft_harness.comparison.power import power_of_score
from ft_harness.evaluation import chosen_docs
from ft_harness.evaluation.jobs import declared_primary
from ft_harness.metrics import find_metric
from ft_harness.pipeline.dry_run import check_dry
from ft_harness.pipeline.foresight import Foresight
from ft_harness.pipeline.point_runner import Sweep, experiment_of
from ft_harness.pipeline.preflight import Checked, check_choice, count_scored
from ft_harness.pipeline.reading import Reading
from ft_harness.stats import holm_factor
from ft_harness.training import Forecast

_GIB = 2**30
Lines = list[tuple[str, str]]


def estimate_sweep(sweep: Sweep, gpu: float | None = None) -> Lines:
    """(point, what it takes) of every point in the order in which they run, the sum, and what the
    test set can show for this many comparisons; nothing is written.

    Args:
        gpu: as in `dry_run.estimate`.

    Raises:
        FtHarnessError: what preflight finds.
    """
    reading = Reading()
    room = None if gpu is None else round(gpu * _GIB)
    foresight = Foresight(sweep, reading, gpu=gpu is not None, room=room)
    lines: Lines = []
    times: list[tuple[float | None, float | None]] = []
    checked: Checked | None = None
    for point in sweep.grid.points:
        experiment = experiment_of(sweep, point, point.recipe)
        checked = check_dry(experiment, here=gpu is None, trains=sweep.trains, reading=reading)
        check_choice(sweep.grid.section.choose, [checked])
        said: list[str] = []
        training: float | None = 0.0
        if sweep.trains:
            forecast = foresight.forecast(point, checked)
            training = foresight.time_training(point, checked)
            steps = f"{counted(forecast.work.steps, 'step')} of {forecast.batch.step} rows"
            said = [f"{steps}, {_memory(forecast)}, {_time(training)} of training"]
        scoring = foresight.time_scoring(point, checked)
        docs = counted(count_scored(checked, point.recipe.eval), "doc")
        said.append(f"{docs} to score, {_time(scoring)}")
        lines.append((point.name, "; ".join(said)))
        times.append((training, scoring))
    lines.append(("points", f"{len(sweep.grid.points):,}"))
    lines.append(("time in all", _total(times, trains=sweep.trains)))
    return [*lines, *(_power(sweep, checked) if checked else [])]


def _time(seconds: float | None) -> str:
    return "time not known" if seconds is None else f"about {duration(seconds)}"


def _total(times: Sequence[tuple[float | None, float | None]], *, trains: bool) -> str:
    """The sum over the points whose time is known: one after the other on this machine."""
    known = [(training, scoring) for training, scoring in times if training is not None]
    sums = [sum(each for each in part if each is not None) for part in zip(*known, strict=True)]
    if not any(sums):
        return "not known"
    parts = f" ({duration(sums[0])} of training, {duration(sums[1])} of scoring)" if trains else ""
    unknown = len(times) - len(known)
    rest = f"; without {counted(unknown, 'point')} whose time is not known" if unknown else ""
    return f"about {duration(sum(sums))}{parts}{rest}"


def _memory(forecast: Forecast) -> str:
    memory = forecast.memory
    if memory is None:
        return "memory not forecast"
    fits = "" if memory.fits else ": MAY NOT FIT"
    return f"peak {size(memory.total)} of {size(memory.room)}{fits}"


def _power(sweep: Sweep, checked: Checked) -> Lines:
    """The smallest difference from the reference that the deciding split shows, p Holm-adjusted
    over the settings, for scores of 0 and 1 near one half."""
    recipe = sweep.grid.recipe
    split = "test" if "test" in recipe.eval.splits else recipe.eval.splits[0]
    if sweep.grid.section.choose is not None:
        split = sweep.grid.section.choose.on
    task = checked.tasks.get(split)
    settings = {repr(point.setting) for point in sweep.grid.points}
    comparisons = len(settings) - 1
    if task is None or comparisons < 1:
        return []
    metric = declared_primary(task, recipe.eval) or "acc"
    n = len(chosen_docs(len(task.eval_docs), split, recipe.eval)[0])
    what = f"what {split} can show"
    if metric not in task.higher_is_better() or not find_metric(metric).binary:
        said = "ft-harness power says it for this metric, from the scores of a base"
        return [(what, f"{n} items; {said}")]
    alone = power_of_score(metric, n, 0.5).detectable
    found = None if alone is None else min(0.5, alone * holm_factor(comparisons))
    least = (
        "no difference"
        if found is None or found >= 0.5
        else f"a difference of {on_scale(metric, found):.1f} points or more"
    )
    return [
        (
            what,
            f"{n} items, {counted(comparisons, 'comparison')} with the reference (Holm): {least} "
            f"is found with 80 % power ({metric} near 50 %, one seed, no correlation assumed)",
        )
    ]
