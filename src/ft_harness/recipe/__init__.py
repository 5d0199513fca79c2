"""The recipe: one typed, strict, frozen description of base model, task, data, adapter, training
and evaluation."""

from ft_harness.recipe.adapter_section import AdapterSection
from ft_harness.recipe.comparing import differences
from ft_harness.recipe.edits import write_recipe
from ft_harness.recipe.eval_section import EvalSection
from ft_harness.recipe.fields import RecipeField, list_fields
from ft_harness.recipe.folders import (
    check_name,
    experiment_name,
    keep_recipe,
    kept_settings,
    write_new_recipe,
)
from ft_harness.recipe.loading import RECIPE_FILE, load_recipe, recipe_file, recipe_of_task
from ft_harness.recipe.overrides import write_overrides
from ft_harness.recipe.protocol import Protocol
from ft_harness.recipe.sections import ModelSection, Recipe, TaskSection
from ft_harness.recipe.train_section import TrainSection

__all__ = [
    "RECIPE_FILE",
    "AdapterSection",
    "EvalSection",
    "ModelSection",
    "Protocol",
    "Recipe",
    "RecipeField",
    "TaskSection",
    "TrainSection",
    "check_name",
    "differences",
    "experiment_name",
    "keep_recipe",
    "kept_settings",
    "list_fields",
    "load_recipe",
    "recipe_file",
    "recipe_of_task",
    "write_new_recipe",
    "write_overrides",
    "write_recipe",
]
