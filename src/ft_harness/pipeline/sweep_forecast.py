"""What a sweep will do, need and take, without running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ft_harness.comparison.amounts import amount, counted, duration, size
from ft_harness.comparison.power import power_of_score
from ft_harness.evaluation import chosen_docs
from ft_harness.evaluation.jobs import declared_primary
from ft_harness.metrics import find_metric
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.heads import plan_head
from ft_harness.paths import model_folder
from ft_harness.pipeline.bench import Sweep, experiment_of, setting_of
from ft_harness.pipeline.dry_run import check_dry
from ft_harness.pipeline.preflight import Checked
from ft_harness.pipeline.reading import Reading
from ft_harness.recipe import Recipe
from ft_harness.stats import holm_factor
from ft_harness.sweep import SEEDS, Point
from ft_harness.training import (
    Forecast,
    TrainingPlan,
    build_training_set,
    empty_base,
    make_forecast,
    time_steps,
)

_GIB = 2**30
Lines = list[tuple[str, str]]


@dataclass
class _Bases:
    """The base of the last model section, without weights and with them."""

    gpu: bool
    empty: dict[str, BaseModel] = field(default_factory=dict)
    loaded: dict[str, BaseModel] = field(default_factory=dict)

    def of(self, recipe: Recipe, checked: Checked, *, weights: bool) -> BaseModel:
        head = plan_head(recipe, checked.tasks.values())
        key = f"{recipe.model.model_dump_json()} {head}"
        kept = self.loaded if weights else self.empty
        if key not in kept:
            kept.clear()
            kept[key] = (
                load_base_model(recipe.model, head)
                if weights
                else empty_base(recipe.model, head, gpu=self.gpu)
            )
        return kept[key]


def estimate_sweep(sweep: Sweep, gpu: float | None = None) -> Lines:
    """(point, what it takes) of every point in the order in which they run, the sum, and what the
    test set can show for so many comparisons; nothing is written.

    Points that differ in seeds alone are timed once.

    Args:
        gpu: as in `dry_run.estimate`.

    Raises:
        FtHarnessError: what preflight finds.
    """
    reading, bases = Reading(), _Bases(gpu is not None)
    known: dict[str, tuple[str, float | None]] = {}
    lines: Lines = []
    total: float | None = 0.0
    checked: Checked | None = None
    for point in sweep.grid.points:
        experiment = experiment_of(sweep, point, point.recipe)
        checked = check_dry(experiment, here=gpu is None, trains=sweep.trains, reading=reading)
        seconds: float | None = None
        if not sweep.trains:
            lines.append((point.name, _scoring(point.recipe, checked)))
            continue
        key = repr(setting_of(point.made_by))
        if key not in known:
            known[key] = _training(point, checked, bases, gpu)
        said, seconds = known[key]
        lines.append((point.name, f"{said}; {_scoring(point.recipe, checked)}"))
        total = None if total is None or seconds is None else total + seconds
    lines.append(("points", f"{len(sweep.grid.points):,}"))
    if sweep.trains:
        time = "not known" if total is None else f"about {duration(total)} of training"
        lines.append(("time in all", f"{time}; evaluations come on top"))
    return [*lines, *(_power(sweep, checked) if checked else [])]


def _training(
    point: Point, checked: Checked, bases: _Bases, gpu: float | None
) -> tuple[str, float | None]:
    """(steps, memory and time in words, seconds)."""
    recipe = point.made_by
    identity = checked.definition.training_hash
    base = bases.of(recipe, checked, weights=False)
    data = build_training_set(checked.tasks, base, recipe, identity, checked.form)
    room = None if gpu is None else round(gpu * _GIB)
    forecast = make_forecast(TrainingPlan(recipe, base, data), room)
    seconds: float | None = None
    if gpu is None and Path(model_folder(recipe.model.pretrained)).is_dir() and _fits(forecast):
        loaded = bases.of(recipe, checked, weights=True)
        seconds = time_steps(TrainingPlan(recipe, loaded, data))
    steps = f"{counted(forecast.work.steps, 'step')} of {forecast.batch.step} rows"
    time = "time not known" if seconds is None else f"about {duration(seconds)}"
    return f"{steps}, {_memory(forecast)}, {time}", seconds


def _fits(forecast: Forecast) -> bool:
    return forecast.memory is None or forecast.memory.fits


def _memory(forecast: Forecast) -> str:
    memory = forecast.memory
    if memory is None:
        return "memory not foreseen"
    fits = "" if memory.fits else ": MAY NOT FIT"
    return f"peak {size(memory.total)} of {size(memory.room)}{fits}"


def _scoring(recipe: Recipe, checked: Checked) -> str:
    docs = sum(
        len(chosen_docs(len(checked.tasks[split].eval_docs), split, recipe.eval)[0])
        for split in recipe.eval.splits
    )
    return f"{counted(docs * len(recipe.eval.protocols()), 'doc')} to score"


def _power(sweep: Sweep, checked: Checked) -> Lines:
    """The smallest difference from the reference that the deciding split shows, p Holm-adjusted
    over the settings, for scores of 0 and 1 near one half."""
    recipe = sweep.grid.recipe
    split = "test" if "test" in recipe.eval.splits else recipe.eval.splits[0]
    if sweep.grid.section.choose is not None:
        split = sweep.grid.section.choose.on
    task = checked.tasks.get(split)
    settings = {
        repr({name: each for name, each in point.values.items() if name not in SEEDS})
        for point in sweep.grid.points
    }
    comparisons = len(settings) - 1
    if task is None or comparisons < 1:
        return []
    metric = declared_primary(task, recipe.eval) or "acc"
    n = len(chosen_docs(len(task.eval_docs), split, recipe.eval)[0])
    what = f"what {split} can show"
    if metric not in task.higher_is_better() or not find_metric(metric).binary:
        return [(what, f"{n} items; of this metric ft-harness power says it from a base's scores")]
    alone = power_of_score(metric, n, 0.5).detectable
    found = None if alone is None else min(0.5, alone * holm_factor(comparisons))
    least = (
        "no difference"
        if found is None or found >= 0.5
        else (f"a difference of {amount(metric, found)} or more")
    )
    return [
        (
            what,
            f"{n} items, {counted(comparisons, 'comparison')} with the reference (Holm): {least} "
            f"is found with 80 % power ({metric} near 50 %, one seed, no correlation assumed)",
        )
    ]
