"""A model of which all weights were trained, in an adapter's place: its files, and its weights in
the loaded base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.models.adapters.card import MODEL_FILE, read_card
from ft_harness.models.adapters.fit import nonfinite_problems, read_tensors
from ft_harness.storage.safetensors_file import read_header


def is_whole(folder: Path) -> bool:
    """Whether the folder holds, by its card, a model of which all weights were trained.

    Raises:
        InputError: the card is damaged.
    """
    card = read_card(folder)
    return card is not None and card.recipe.get("adapter", {}).get("peft_type", "LORA") is None


def problems(folder: Path, empty: Any) -> list[FtHarnessError]:
    """Faults of the weights beside the base: names both ways, shapes, values.

    Args:
        empty: the base on the meta device.
    """
    stored = {name: info.shape for name, info in read_header(folder / MODEL_FILE).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    tied = set(empty.all_tied_weights_keys)  # saved once, under one of their names
    names = sorted((stored.keys() ^ wanted.keys()) - tied)
    names = names or [
        name for name in sorted(stored.keys() & wanted.keys()) if stored[name] != wanted[name]
    ]
    if names:
        return [
            InputError(
                f"{folder}: {len(names)} weights don't match the base model, first {', '.join(names[:3])}",
                "all weights of this base, in their shapes",
                "use the base it was trained on",
            )
        ]
    return nonfinite_problems(folder, read_tensors(folder / MODEL_FILE))


def load(folder: Path, model: Any) -> None:
    """Put the trained weights into the base, in place."""
    model.load_state_dict(
        read_tensors(folder / MODEL_FILE), strict=False
    )  # `problems` held the names against it
