"""Continue a finished adapter: start from its weights, and keep its history with the new one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.models import adapters
from ft_harness.models.adapters import CONFIG_FILE, LINEAGE_FILE, MODEL_FILE, WEIGHTS_FILE
from ft_harness.recipe import Recipe
from ft_harness.records import Ancestor, LineageEntry
from ft_harness.storage import write_text
from ft_harness.storage.strict_files import read_json

_SHOWN = 5  # differences between two adapters
_SHAPE = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias")


def parent_of(recipe: Recipe) -> Path | None:
    """The folder of the adapter that training continues; None: a new adapter."""
    named = recipe.train.continue_from
    return Path(os.path.expanduser(named)) if named else None


def find_lineage(recipe: Recipe, folder: Path | None) -> list[Ancestor]:
    """The adapters before this one, oldest first. Where the parent's folder is gone, those that the
    card of this one's folder names, if it is finished.

    Raises:
        InputError: there is no such folder, and no card.
    """
    parent = parent_of(recipe)
    if parent is None:
        return []
    if not parent.is_dir():
        card = adapters.read_card(folder) if folder else None
        if (
            card is not None
            and card.lineage
            and card.recipe["train"]["continue_from"] == recipe.train.continue_from
        ):
            return card.lineage
        raise _missing(parent)
    read, history = adapters.AdapterFolder(parent), adapters.read_history(parent)
    card = read.card
    own = Ancestor(
        name=parent.resolve().name,
        identity=read.identity,
        fingerprint=card.fingerprint if card else None,
        epochs=history[-1].epoch if card and history else None,
        steps=card.steps if card else None,
        best_step=card.best_step if card else None,
    )
    return [*(card.lineage if card else []), own]


def parent_problems(recipe: Recipe, folder: Path) -> list[FtHarnessError]:
    """Faults of the finished adapter that training continues, which show before a model is loaded;
    none where `folder` is finished.

    The prompts may have another form than the parent's were: what it learns from here on is this
    recipe's.
    """
    parent = parent_of(recipe)
    if parent is None or adapters.read_card(folder) is not None:
        return []
    if not parent.is_dir():
        return [_missing(parent)]
    found = adapters.problems(parent, None, recipe.model, head=recipe.adapter.has_head)
    return found or _other_shape(recipe, parent)


def _missing(parent: Path) -> InputError:
    return InputError(
        f"train.continue_from {parent}: no such folder",
        "the folder of a finished adapter",
        "check the path",
    )


def _other_shape(recipe: Recipe, parent: Path) -> list[FtHarnessError]:
    """What makes another function of the same tensors; the tensors themselves are compared when the
    model is there."""
    # A whole model and an adapter have no field in common that could be compared.
    whole = adapters.weights_file(parent).name == MODEL_FILE
    if whole or recipe.adapter.all_weights:
        there, here = (
            {"peft_type": None if all_weights else "LORA"}
            for all_weights in (whole, recipe.adapter.all_weights)
        )
    else:
        written, section = read_json(parent / CONFIG_FILE), recipe.adapter.model_dump(mode="json")
        # Absent, null and empty are the same to PEFT.
        there, here = (
            {name: values.get(name) or None for name in _SHAPE} for values in (written, section)
        )
    differences = [
        f"adapter.{name}: {there[name]!r} there, {here[name]!r} here"
        for name in there
        if there[name] != here[name]
    ]
    return [_other(str(parent), differences)] if differences else []


def _other(what: str, differences: list[str]) -> InputError:
    more = len(differences) - _SHOWN
    shown = "; ".join(differences[:_SHOWN]) + (f"; {more} more" if more > 0 else "")
    return InputError(
        f"{what}: not an adapter of this recipe's shape ({shown})",
        "an adapter of the same rank, scale and modules",
        "take the adapter section of that adapter's recipe, or leave train.continue_from out",
    )


def keep_histories(recipe: Recipe, folder: Path) -> None:
    """Keep the history of all adapters before this one in its folder: its curve is drawn when
    theirs are gone."""
    parent = parent_of(recipe)
    if parent is None or not parent.is_dir():
        return
    stretches = [
        *adapters.read_lineage(parent, adapters.read_card(parent)),
        adapters.read_history(parent),
    ]
    lines = [
        LineageEntry(stretch=number, **entry.model_dump()).model_dump_json(exclude_none=True)
        for number, history in enumerate(stretches)
        for entry in history
    ]
    write_text(folder / LINEAGE_FILE, "".join(f"{line}\n" for line in lines))


def start_from_parent(recipe: Recipe, model: Any) -> None:
    """Give a fresh model its parent's weights; optimizer and schedule start afresh.

    Raises:
        InputError: the parent's tensors aren't those of this model.
    """
    parent = parent_of(recipe)
    if parent is not None:
        load_weights(model, parent)


def load_weights(model: Any, folder: Path) -> None:
    """Load the trained weights of a finished folder, an adapter's or a whole model's, into a model
    of the same shape.

    Raises:
        InputError: keys or shapes differ; nothing is loaded.
    """
    adapted = hasattr(model, "peft_config")
    path = folder / (WEIGHTS_FILE if adapted else MODEL_FILE)
    tensors = adapters.read_tensors(path)
    own = get_peft_model_state_dict(model) if adapted else model.state_dict()
    # PEFT reports missing keys and loads the rest: compared here, nothing is half loaded.
    # Tied weights are in the file once, under one of their names.
    tied = set() if adapted else set(model.all_tied_weights_keys)
    differences = [
        f"{key}: {_shape(tensors, key)} there, {_shape(own, key)} here"
        for key in sorted(own.keys() | tensors.keys())
        if _shape(tensors, key) != _shape(own, key) and not (key in tied and key not in tensors)
    ]
    if differences:
        raise _other(str(path), differences)
    if adapted:
        set_peft_model_state_dict(model, tensors)
    else:
        model.load_state_dict(tensors, strict=False)


def _shape(tensors: dict[str, Any], key: str) -> str:
    return "x".join(map(str, tensors[key].shape)) if key in tensors else "none"
