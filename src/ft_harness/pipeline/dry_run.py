"""What a run will do, need and take, without running it."""

from __future__ import annotations

from pathlib import Path

from ft_harness.amounts import duration
from ft_harness.base_model import load_base_model, model_folder
from ft_harness.evaluation import chosen_docs
from ft_harness.heads import plan_head
from ft_harness.pipeline.experiment import Experiment, check_experiment
from ft_harness.pipeline.foresight import memory_lines, work_lines
from ft_harness.preflight import Checked
from ft_harness.training import build_training_set, empty_base, foresee, time_steps


def dry_run(experiment: Experiment) -> list[tuple[str, str]]:
    """(quantity, amount) of all that a run of the experiment will do and need; nothing is written.

    Steps are timed where the weights are in a local folder and fit; else shapes are all that is needed of the model.

    Raises:
        FtHarnessError: what preflight finds.
    """
    recipe, checked = experiment.recipe, check_experiment(experiment, trains=True)
    plan = plan_head(recipe, checked.tasks.values())
    base = empty_base(recipe.model, plan)
    data = build_training_set(checked.tasks, base, recipe, checked.task_hash, checked.form, experiment.folder)
    forecast = foresee(recipe, base, data)
    lines = [*_docs(experiment, checked, len(data.validation)), *work_lines(forecast), *memory_lines(forecast)]
    local = Path(model_folder(recipe.model.pretrained)).is_dir()
    if not local:
        return [*lines, ("time", "not known: no weights of a hub model are fetched for this")]
    if forecast.memory is not None and not forecast.memory.fits:
        return [*lines, ("time", "not known: it may not fit")]
    seconds = time_steps(recipe, load_base_model(recipe.model, plan), data)
    return [*lines, ("time", f"about {duration(seconds)} of training, by two timed batches; evaluations come on top")]


def _docs(experiment: Experiment, checked: Checked, validated: int) -> list[tuple[str, str]]:
    """Docs of each split, and of those the ones that are scored."""
    settings, protocols = experiment.recipe.eval, len(experiment.recipe.eval.protocols())
    lines: list[tuple[str, str]] = []
    for split, task in checked.tasks.items():
        total = len(task.eval_docs)
        uses = {"train": ["trained on"], "validation": [f"{validated:,} looked at in training"], "test": []}[split]
        if split in settings.splits:
            scored = f"{len(chosen_docs(total, split, settings)[0]):,} scored with base and tuned each"
            uses.append(f"{scored}, in {protocols} ways" if protocols > 1 else scored)
        lines.append((f"docs, {split}", ", ".join([f"{total:,}", *uses])))
    return lines
