"""What training takes of other packages' private parts: the names and parameters that it was
written against.

A failure here means that a new version changed them: read its source before the ranges in
pyproject.toml are widened.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from peft.tuners.lora.layer import Linear, LoraVariant
from transformers import PreTrainedModel

TRAINING = Path(__file__).resolve().parents[2] / "src" / "ft_harness" / "training"
SOURCES = sorted(TRAINING.rglob("*.py"))


def test_training_needs_no_trainer_but_its_optimizers():
    """Neither the class itself nor a private method of it; `get_optimizer_cls_and_kwargs` is public and static."""
    uses = [
        line
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        if "Trainer" in line
    ]
    assert [re.findall(r"\bTrainer(?:\.\w+)?", line) for line in uses] == [
        ["Trainer"],
        ["Trainer.get_optimizer_cls_and_kwargs"],
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_private_is_imported(path: Path):
    for line in re.findall(
        r"from (?:transformers|accelerate|peft|lm_eval)\S* import .*",
        path.read_text(encoding="utf-8"),
    ):
        assert not re.search(r"[. ]_\w", line), line


def test_pefts_hook_for_another_product():
    assert list(inspect.signature(LoraVariant.forward).parameters) == [
        "module",
        "active_adapter",
        "x",
        "result",
        "kwargs",
    ]
    assert "lora_variant[active_adapter].forward" in inspect.getsource(Linear.forward)


def test_the_layers_that_transformers_keeps_together():
    """What a base is held in parts by, where accelerate's configuration names no class."""
    assert "_no_split_modules" in vars(PreTrainedModel)
