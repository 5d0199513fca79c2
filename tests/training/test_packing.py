"""A batch without its padding, and a last layer that is made where it is read: the same logits and
gradients as each row alone, from fewer tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import Recipe
from ft_harness.training.adapter_model import trained_model
from ft_harness.training.likelihoods import Shortcuts, TargetLogits
from ft_harness.training.packing import Packing
from tests.builders.tiny import save_backbone
from tests.builders.weights import draw_weights

LENGTHS, WIDTH = (7, 3, 5), 7
TARGETS = {0: (4, 6), 1: (2,), 2: (3,)}  # positions by row


def make_batch() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Three rows of 15 tokens in all, 4 of them with a target."""
    dice = torch.Generator().manual_seed(1)
    ids, mask = torch.zeros(3, WIDTH, dtype=torch.long), torch.zeros(3, WIDTH, dtype=torch.long)
    trained = torch.zeros(3, WIDTH, dtype=torch.bool)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = torch.randint(4, 60, (length,), generator=dice)
        mask[row, :length] = 1
        trained[row, list(TARGETS[row])] = True
    return {"input_ids": ids, "attention_mask": mask}, trained


def make_recipe(folder: Path, **train: Any) -> Recipe:
    sections = {
        "model": {"pretrained": str(folder)},
        "task": {"name": "demo_sentiment"},
        "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
        "train": train,
    }
    return Recipe.model_validate(sections)


def slopes(learnt: list[torch.nn.Parameter], logits: torch.Tensor) -> torch.Tensor:
    """The gradient of a sum that weighs each logit its own way."""
    weights = torch.linspace(-1, 1, logits.numel()).view(logits.shape)
    found = torch.autograd.grad((logits * weights).sum(), learnt)
    return torch.cat([each.flatten() for each in found])


def test_tokens_one_behind_the_other_by_hand():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    rows = torch.tensor([[5.0, 6, 9], [7, 9, 9]], requires_grad=True)
    packing = Packing(mask)
    packed = packing.pack(rows)
    assert packed.tolist() == [[5, 6, 7]]
    assert packing.positions().tolist() == [[0, 1, 0]]
    assert packing.unpack(packed).tolist() == [[5, 6, 0], [7, 0, 0]]
    (slope,) = torch.autograd.grad((packed * torch.tensor([1.0, 2, 3])).sum(), rows)
    assert slope.tolist() == [[1, 2, 0], [3, 0, 0]]
    narrow = torch.tensor([[[5.0], [6], [7]]], requires_grad=True)
    weights = torch.tensor([[1.0, 2, 4], [3, 4, 4]])[..., None]
    (slope,) = torch.autograd.grad((packing.unpack(narrow) * weights).sum(), narrow)
    assert slope.tolist() == [[[1], [2], [3]]]


KINDS = {  # what is left out of each: padding, the last layer's other positions
    "llama": Shortcuts(packs=True, trims=True),
    "qwen2": Shortcuts(packs=True, trims=True),
    "gpt2": Shortcuts(packs=True, trims=True),
    "gemma": Shortcuts(packs=True, trims=True),
    "gemma2": Shortcuts(packs=False, trims=True),  # a sliding window
    "bloom": Shortcuts(packs=False, trims=True),  # positions in the mask; nothing is there to trim
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_learns_what_its_rows_learn_alone(tmp_path: Path, kind: str):
    recipe = make_recipe(save_backbone(tmp_path / kind, kind))
    base = load_base_model(recipe.model)
    inputs, trained = make_batch()
    with trained_model(recipe, base) as model:
        learnt, logits = draw_weights(model.eval()), TargetLogits(base.model)  # without dropout
        found = logits(model, inputs, trained)
        alone = [
            model(input_ids=inputs["input_ids"][row : row + 1, :length]).logits[0, TARGETS[row]]
            for row, length in enumerate(LENGTHS)
        ]
        exact = torch.cat(alone)
        assert logits._taken == KINDS[kind]
        assert torch.allclose(found, exact, atol=1e-5)
        one, other = slopes(learnt, found), slopes(learnt, exact)
        assert float((one - other).norm() / other.norm()) < 1e-5


@pytest.mark.parametrize(("checkpointing", "last"), [(False, 4), (True, 15)])
def test_padding_is_not_computed_nor_what_nothing_reads(
    model_folder: Path, checkpointing: bool, last: int
):
    recipe = make_recipe(model_folder, gradient_checkpointing=checkpointing)
    base, seen = load_base_model(recipe.model), []
    inputs, trained = make_batch()
    with trained_model(recipe, base) as model:
        learnt, logits = draw_weights(model), TargetLogits(base.model)
        logits(model, inputs, trained)  # decides
        hooks = [
            module.register_forward_hook(lambda module, given, made: seen.append(made[0].numel()))
            for layer in base.model.model.layers
            for module in (layer.self_attn.q_proj.base_layer, layer.mlp.gate_proj.base_layer)
        ]
        found = logits(model, inputs, trained)
        for hook in hooks:
            hook.remove()
        slopes(learnt, found)
    assert seen == [15 * 32, 15 * 64, last * 32, last * 64]


def test_attention_that_never_gets_rows_is_seen(model_folder: Path):
    """Without our attention all 15 tokens would see each other."""
    base = load_base_model(make_recipe(model_folder).model)
    logits = TargetLogits(base.model)
    inputs, trained = make_batch()
    found = logits(base.model, inputs, trained)
    assert logits._taken == Shortcuts(packs=False, trims=True)
    assert torch.allclose(found, base.model(**inputs).logits[trained], atol=1e-5)


def test_a_last_layer_that_mixes_tokens_is_seen(model_folder: Path):
    """An MLP that adds the token before."""
    base = load_base_model(make_recipe(model_folder).model)
    last = base.model.model.layers[-1].mlp
    plain = last.forward
    last.forward = lambda given: plain(given) + given.roll(1, dims=1)
    logits = TargetLogits(base.model)
    inputs, trained = make_batch()
    found = logits(base.model, inputs, trained)
    assert logits._taken == Shortcuts(packs=False, trims=False)
    assert torch.allclose(found, base.model(**inputs).logits[trained], atol=1e-5)
