"""The recipe: one typed, strict, frozen description of base model, task, data, adapter, training
and evaluation."""

from ft_harness.recipe.adapter_section import AdapterSection
from ft_harness.recipe.comparing import differences
from ft_harness.recipe.edits import write_recipe
from ft_harness.recipe.eval_section import EvalSection
from ft_harness.recipe.fields import list_fields
from ft_harness.recipe.folders import (
    check_name,
    experiment_name,
    keep_recipe,
    kept_settings,
    write_new_recipe,
)
from ft_harness.recipe.idle import idle_fields
from ft_harness.recipe.loading import (
    RECIPE_FILE,
    Draft,
    load_recipe,
    read_draft,
    recipe_file,
    recipe_of_task,
)
from ft_harness.recipe.overrides import parse_override, write_overrides, write_setting
from ft_harness.recipe.preference_section import PreferenceSection
from ft_harness.recipe.protocol import Protocol
from ft_harness.recipe.sections import ModelSection, Recipe, TaskSection
from ft_harness.recipe.server_section import ServerSection
from ft_harness.recipe.sweep_section import Choice, SweepSection
from ft_harness.recipe.train_section import TrainSection
