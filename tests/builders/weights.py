"""Trained weights, as a folder holds them and as a test draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ft_harness.models.adapters import weights_file


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What an adapter's folder, or a checkpoint, holds of trained weights."""
    return load_file(weights_file(folder))


def largest_difference(one: Path, other: Path) -> float:
    """Of a number in the weights of two folders, which have the same keys."""
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    return max(float((left[key] - right[key]).abs().max()) for key in left)


def draw_weights(model: Any) -> list[torch.nn.Parameter]:
    """What is trained, drawn anew: LoRA's B is zero else."""
    torch.manual_seed(0)
    learnt = [each for each in model.parameters() if each.requires_grad]
    for each in learnt:
        torch.nn.init.normal_(each, std=0.1)
    return learnt
