"""A first recipe for a task, with a length of training that suits the size of its data."""

from __future__ import annotations

from pathlib import Path

from ft_harness.errors import FtHarnessError
from ft_harness.paths import adapters_dir
from ft_harness.recipe import TrainSection, check_name, write_new_recipe
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks

# On the default model a step of 16 short rows takes about a third of a second on two cores, so
# that this many steps are a few minutes. Reports of more data than this come from larger recipes.
_MOST_STEPS = 500
_EPOCHS = TrainSection().num_train_epochs


def init_recipe(name: str, task: str, include_path: str | None, out: Path) -> list[str]:
    """Write adapters/NAME/recipe.yaml; returns its path, and a note if the training is cut short.

    Raises:
        ConfigError: no such task, a bad name, or the folder holds a recipe already.
    """
    definition = find_task(task, include_path)
    folder = adapters_dir(out) / check_name(name)
    pairs = bool(definition.data_options.get("pairs"))
    if not definition.names_data:  # the recipe's data.source will
        return [str(write_new_recipe(folder, task, include_path, pairs=pairs))]
    try:
        rows = len(load_tasks(definition, ["train"])["train"].eval_docs)
    except FtHarnessError as error:
        size = f"the task's data can't be read here ({error.what})"
        steps = None
    else:
        steps = TrainSection().planned_steps(rows)
        size = f"{rows:,} training rows are {steps:,} steps in {_EPOCHS:g} epochs"
    most = _MOST_STEPS if steps is None or steps > _MOST_STEPS else None
    path = write_new_recipe(folder, task, include_path, most, pairs=pairs)
    if most is None:
        return [str(path)]
    return [str(path), f"{size}; the recipe stops after {most} (train.max_steps)"]
