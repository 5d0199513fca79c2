"""One adapter to be made and measured: its recipe, its name and where it works."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ft_harness.paths import adapters_dir
from ft_harness.recipe import (
    Recipe,
    check_name,
    experiment_name,
    kept_settings,
    load_recipe,
    recipe_file,
)

Say = Callable[[str], None]
_PLACE = "eval.server."


@dataclass(frozen=True)
class Experiment:
    """One adapter to be made and measured.

    Attributes:
        name: the adapter's name, also its folder's and its subject's.
        source: the recipe's file.
        out: the working folder with `adapters/` and `results/`.
        command: the command as it was given, which continues it.
        trust_task_code: run the code that a task from elsewhere names.
    """

    name: str
    recipe: Recipe
    source: Path
    out: Path
    command: str
    trust_task_code: bool = False

    @property
    def folder(self) -> Path:
        return adapters_dir(self.out) / self.name

    def repeating_command(self) -> str:
        """What runs the recipe in its adapter folder again, from a working folder that holds
        both."""
        trust = ["--trust-task-code"] if self.trust_task_code else []
        return shlex.join(["ft-harness", "run", f"adapters/{self.name}", *trust])


def read_experiment(
    path: Path,
    overrides: Sequence[str],
    out: Path,
    command: str,
    name: str | None = None,
    trust_task_code: bool = False,
) -> Experiment:
    """The experiment of a recipe, given its file or the adapter folder that holds it. Without
    overrides it goes on with those of the copy that its own folder keeps; where it is scored is
    none of them.

    Raises:
        ConfigError: the recipe, an override or the name is at fault.
    """
    chosen = check_name(name) if name else experiment_name(path)
    source, folder = recipe_file(path), adapters_dir(out) / chosen
    is_copied = recipe_file(folder).resolve() != source.resolve()
    kept = kept_settings(folder) if is_copied else []
    only_place = all(setting.startswith(_PLACE) for setting in overrides)
    recipe = load_recipe(path, overrides, kept if only_place else ())
    return Experiment(chosen, recipe, source, out, command, trust_task_code)
