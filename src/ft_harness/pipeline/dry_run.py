"""A dry run: what a run will do, need and take, without running it."""

from __future__ import annotations

from pathlib import Path

from ft_harness.comparison.amounts import duration
from ft_harness.errors import Findings
from ft_harness.evaluation import chosen_docs
from ft_harness.models.base_model import load_base_model
from ft_harness.models.heads import plan_head
from ft_harness.paths import model_folder, results_dir
from ft_harness.pipeline import preflight
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.forecast_lines import memory_lines, work_lines
from ft_harness.pipeline.preflight import Checked, Scope
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.stages import Stage, check_rates, training_problems
from ft_harness.training import TrainingPlan, describe_warmup, empty_base, make_forecast, time_steps

_GIB = 2**30


def estimate(experiment: Experiment, gpu: float | None = None) -> list[tuple[str, str]]:
    """(quantity, amount) lines on what a run of the experiment will do and need; nothing is
    written.

    Steps are timed where the weights are in a local folder and fit; else shapes are all that is
    needed of the model.

    Args:
        gpu: GiB of a GPU that the run is meant for, which needn't be here; None: this machine's
            device.

    Raises:
        FtHarnessError: what preflight finds.
    """
    recipe, checked = experiment.recipe, check_dry(experiment, here=gpu is None)
    head = plan_head(recipe, checked.tasks.values())
    base = empty_base(recipe.model, head, gpu=gpu is not None)
    plan = Stage(experiment, checked, base).training_plan()
    room = None if gpu is None else round(gpu * _GIB)
    forecast = make_forecast(plan, room)
    warning = describe_warmup(recipe.train, len(plan.data.examples))
    lines = [
        *_docs(experiment, checked, len(plan.data.validation)),
        *work_lines(forecast),
        *([("learning rate", warning)] if warning else []),
        *memory_lines(forecast),
    ]
    if gpu is not None:
        return [*lines, ("time", "not known: steps are timed on the machine that they run on")]
    local = Path(model_folder(recipe.model.pretrained)).is_dir()
    if not local:
        return [*lines, ("time", "not known: no weights of a hub model are fetched for this")]
    if forecast.memory is not None and not forecast.memory.fits:
        return [*lines, ("time", "not known: it may not fit")]
    loaded = load_base_model(recipe.model, head)
    seconds = time_steps(TrainingPlan(recipe, loaded, plan.data))
    return [
        *lines,
        (
            "time",
            f"about {duration(seconds)} of training, by two timed steps; evaluations come on top",
        ),
    ]


def check_dry(
    experiment: Experiment, *, here: bool, trains: bool = True, reading: Reading | None = None
) -> Checked:
    """The check of a dry run: preflight as before a run, without making any folder.

    Args:
        here: it is to run on this machine's device; else on a GPU.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    folders = [
        next(each for each in (folder, *folder.absolute().parents) if each.exists())
        for folder in (results_dir(experiment.out), experiment.folder)
    ]
    scope = Scope(trains=trains, trust_code=experiment.trust_task_code, here=here)
    known = Findings(training_problems(experiment, here=here) if trains else [])
    checked = preflight.check(experiment.recipe, folders, scope, known, reading)
    return check_rates(experiment.recipe.train, checked) if trains else checked


def _docs(experiment: Experiment, checked: Checked, validated: int) -> list[tuple[str, str]]:
    """Docs of each split and control task, and of those the ones that are scored."""
    section, protocols = experiment.recipe.eval, len(experiment.recipe.eval.protocols())
    lines: list[tuple[str, str]] = []
    for split, task in checked.tasks.items():
        total = len(task.eval_docs)
        uses = {
            "train": ["trained on"],
            "validation": [f"{validated:,} evaluated in training"],
            "test": [],
        }[split]
        if split in section.splits:
            scored = (
                f"{len(chosen_docs(total, split, section)[0]):,} scored with base and tuned each"
            )
            uses.append(f"{scored}, in {protocols} ways" if protocols > 1 else scored)
        lines.append((f"docs, {split}", ", ".join([f"{total:,}", *uses])))
    for each in checked.controls:
        scoring = experiment.recipe.controls.scoring(section, each.split)
        total = len(each.task.eval_docs)
        count = len(chosen_docs(total, each.split, scoring)[0])
        what = f"{total:,}, {count:,} scored with base and tuned each"
        lines.append((f"docs, {each.definition.name}", what))
    return lines
