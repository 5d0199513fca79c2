"""Tied weights that differ in the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.storage.safetensors_file import read_header


def tied_in_files(name: str, model: Any, files: Sequence[Path]) -> list[FtHarnessError]:
    """Two tensors that the files hold with different values though the configuration ties them:
    programs differ in which one they use."""
    held = {key: path for path in files for key in read_header(path)}
    for left, right in (getattr(model, "all_tied_weights_keys", None) or {}).items():
        if left in held and right in held and not _equal(held, left, right):
            return [tied_apart(name, left, right)]
    return []


def tied_apart(name: str, left: str, right: str) -> InputError:
    """The fault of a model folder in which two tied tensors differ."""
    return InputError(
        f"{name}: {left} and {right} differ, and config.json says that they are tied",
        "one tensor for both, or a configuration that doesn't tie them",
        'if the model has a head of its own, put "tie_word_embeddings": false into config.json',
    )


def _equal(held: Mapping[str, Path], left: str, right: str) -> bool:
    tensors = []
    for key in (left, right):
        with safe_open(held[key], framework="pt") as file:
            tensors.append(file.get_tensor(key))
    return torch.equal(*tensors)
