"""Recipes in adapter folders: the adapter's name, and how a recipe is kept there, or written
anew."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from operator import methodcaller
from pathlib import Path
from typing import Any

from ft_harness import storage
from ft_harness.errors import ConfigError, InputError, raise_problems
from ft_harness.paths import bundled_recipe
from ft_harness.recipe.comparing import differences
from ft_harness.recipe.edits import edit, write_recipe
from ft_harness.recipe.loading import RECIPE_FILE, load_recipe, recipe_file
from ft_harness.recipe.overrides import write_overrides
from ft_harness.recipe.sections import Recipe
from ft_harness.storage import redact, redact_values, write_text

_SET = "# --set "  # begins a line at the top of a copy
_RATE_OF_PAIRS = (
    "  learning_rate: 1.0e-4      # too high makes both answers unlikely, and the report says so; "
    "large models want 1e-5 or less"
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")


def check_name(name: str) -> str:
    """A text as an adapter's name, if it is one folder's.

    Raises:
        ConfigError: it could lead elsewhere.
    """
    if not _NAME.fullmatch(name) or redact(name) != name:
        raise ConfigError(
            f"{name!r} is not a valid name",
            "letters, digits, '.', '_', '-'; at most 80, and no secret",
            "use another name",
        )
    return name


def experiment_name(path: str | Path) -> str:
    """An adapter's name: the folder that holds its recipe."""
    return check_name(recipe_file(path).resolve().parent.name)


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What of it must be equal in one folder: what makes the adapter, and of the other sections
    what was written."""
    empty: dict[str, Any] = {name: {} for name in Recipe.model_fields}
    made = {"adapter": recipe.adapter.model_dump(mode="json"), "train": recipe.train.identity()}
    return {**empty, **recipe.written(), **made}


def keep_recipe(source: Path, recipe: Recipe, folder: Path) -> list[str]:
    """Put the recipe into its adapter folder, with what `--set` changed: the folder's own file is
    edited; into another folder goes a copy, which names those changes at its top.

    Returns:
        What was changed in the folder's own file, one line per field.

    Raises:
        InputError: the folder holds another recipe.
    """
    target = folder / RECIPE_FILE
    if not target.exists():
        write_text(target, _copy(source, recipe))
    elif target.resolve() != source.resolve():
        there, here = (redact_values(_identity(each)) for each in (load_recipe(target), recipe))
        if found := differences(there, here):
            raise InputError(
                f"{target}: holds another recipe ({'; '.join(found)})",
                "the recipe that the folder was made with",
                f"undo the change, use --name NEW for a new folder, or delete {folder} to make "
                "this one again",
            )
    elif (own := load_recipe(target)).sweep == recipe.sweep and own.written() != recipe.written():
        text = edit(target.read_text(encoding="utf-8"), recipe)
        if redact(text) == text:  # else what a person wrote would be lost with it
            write_text(target, text)
            return write_overrides(own, recipe) or differences(own.written(), recipe.written())
    return []


def _copy(source: Path, recipe: Recipe) -> str:
    """The source's text, with the fields that `--set` changed; only the fields of a source that was
    removed since it was read."""
    if not source.is_file():
        return write_recipe(redact_values(recipe.written()))
    text, own = source.read_text(encoding="utf-8"), load_recipe(source)
    settings = write_overrides(own, recipe)
    if settings != []:
        named = "".join(f"{_SET}{json.dumps(setting)}\n" for setting in settings or [])
        text = f"{named}{edit(text, recipe)}"
    # With a secret in it, perhaps in a comment, only what the fields say is kept.
    return text if redact(text) == text else write_recipe(redact_values(recipe.written()))


def kept_settings(folder: Path) -> list[str]:
    """What `--set` changed of the recipe that a folder keeps a copy of, so that the same command
    without it goes on; empty where nothing is known."""
    is_set = methodcaller("startswith", _SET)
    try:
        lines = (folder / RECIPE_FILE).read_text(encoding="utf-8").splitlines()
        return [str(json.loads(line.removeprefix(_SET))) for line in takewhile(is_set, lines)]
    except (OSError, ValueError, RecursionError):
        return []


def write_new_recipe(
    folder: Path,
    task: str,
    include_path: str | None = None,
    max_steps: int | None = None,
    *,
    pairs: bool = False,
) -> Path:
    """Write a commented recipe for a task into a new adapter folder; the file's path.

    Args:
        include_path: the further folder that holds the task, if it is not a shipped one.
        max_steps: training stops there whatever the epochs.
        pairs: the task's rows are pairs of answers, to be learnt as such.

    Raises:
        ConfigError: the folder holds a recipe already.
    """
    target = folder / RECIPE_FILE
    if target.exists():
        raise ConfigError(
            f"{target} exists", "a new name", "choose another name, or edit this recipe"
        )
    raise_problems(storage.problems(folder))
    text = bundled_recipe("template").read_text(encoding="utf-8")
    place = (
        f"\n  include_path: {json.dumps(include_path, ensure_ascii=False)}" if include_path else ""
    )
    text = text.replace("  name: <task>", f"  name: {task}{place}", 1)
    if max_steps is not None:
        text = text.replace("#  max_steps: 500  ", f"  max_steps: {max_steps:<6}", 1)
    if pairs:
        text = text.replace("#  objective: preference  ", "  objective: preference   ", 1)
        text = text.replace("#  preference: {", "  preference: {", 1)
        text = text.replace("lora_dropout: 0.05", "lora_dropout: 0.0", 1)  # as the reference has
        text = re.sub("  learning_rate: .*", _RATE_OF_PAIRS, text, count=1)
    write_text(target, text.replace("<name>", folder.name).replace("<task>", task))
    return target
