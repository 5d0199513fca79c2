"""Attention while a model learns on a CPU: nearer to the exact result than 16-bit products, and only there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import Recipe
from ft_harness.training.adapter_model import trained_model
from ft_harness.training.numerics import quick_attention

WIDTH = 8  # of a head
USUAL = ALL_ATTENTION_FUNCTIONS["sdpa"]


def draw(
    tokens: int, dtype: torch.dtype = torch.bfloat16, *, learns: bool = True
) -> list[torch.Tensor]:
    """Query, key and value [1, 2, tokens, 8]."""
    dice = torch.Generator().manual_seed(tokens)
    drawn = [torch.randn(1, 2, tokens, WIDTH, generator=dice).mul(2).to(dtype) for _ in range(3)]
    return [tensor.requires_grad_(learns) for tensor in drawn]


def masks(tokens: int) -> list[torch.Tensor | None]:
    """Causal: left to `is_causal`, as booleans, as numbers to be added."""
    allowed = torch.ones(tokens, tokens, dtype=torch.bool).tril()[None, None]
    return [
        None,
        allowed,
        torch.zeros(allowed.shape)
        .masked_fill(~allowed, torch.finfo(torch.bfloat16).min)
        .bfloat16(),
    ]


def by_hand(inputs: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Causal attention [1, tokens, 2, 8] in float64, row by row, and the gradients of the sum of its squares."""
    query, key, value = (tensor.detach().double().requires_grad_() for tensor in inputs)
    rows = []
    for place in range(query.shape[2]):
        scores = (query[:, :, place, None] * key[:, :, : place + 1]).sum(-1) / WIDTH**0.5
        shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
        rows.append((shares[..., None] * value[:, :, : place + 1]).sum(2))
    result = torch.stack(rows, dim=1)
    result.square().sum().backward()
    return result, [query.grad, key.grad, value.grad]


def attend(
    function: Callable[..., Any], inputs: list[torch.Tensor], mask: torch.Tensor | None
) -> list[torch.Tensor]:
    """The result and the three gradients, in float64."""
    module = torch.nn.Module()
    module.is_causal = True
    result, _ = function(module, *inputs, mask, scaling=WIDTH**-0.5, dropout=0.0)
    result.double().square().sum().backward()
    found = [result, *(tensor.grad for tensor in inputs)]
    assert {tensor.dtype for tensor in found} == {torch.bfloat16}
    return [tensor.detach().double() for tensor in found]


def distance(found: list[torch.Tensor], exact: list[torch.Tensor]) -> float:
    return sum(
        float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)
    )


@pytest.mark.parametrize("kind", range(3))
def test_short_rows_attend_as_by_hand(kind: int):
    inputs = draw(12)
    result, gradients = by_hand(inputs)
    exact = [result.detach(), *gradients]
    usual = distance(attend(USUAL, draw(12), masks(12)[kind]), exact)
    with quick_attention():
        found = distance(attend(ALL_ATTENTION_FUNCTIONS["sdpa"], inputs, masks(12)[kind]), exact)
    assert found < 4 * 2**-8  # four numbers, each rounded to 8 bits
    assert found < usual


@pytest.mark.parametrize(
    ("tokens", "dtype", "learns"),
    [(256, torch.bfloat16, True), (12, torch.float32, True), (12, torch.bfloat16, False)],
)
def test_long_rows_exact_ones_and_scoring_are_left_alone(
    tokens: int, dtype: torch.dtype, learns: bool
):
    seen: list[torch.dtype] = []

    def watched(module: Any, query: torch.Tensor, *given: Any, **more: Any) -> Any:
        seen.append(query.dtype)
        return USUAL(module, query, *given, **more)

    ALL_ATTENTION_FUNCTIONS["sdpa"] = watched
    try:
        with quick_attention():
            ALL_ATTENTION_FUNCTIONS["sdpa"](
                torch.nn.Module(), *draw(tokens, dtype, learns=learns), None
            )
            ALL_ATTENTION_FUNCTIONS["sdpa"](torch.nn.Module(), *draw(12), None)
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is watched
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = USUAL
    assert seen == [dtype, torch.float32]


def test_what_was_there_is_there_again_after_a_fault():
    with pytest.raises(ZeroDivisionError), quick_attention():
        raise ZeroDivisionError
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is USUAL


def test_a_model_in_training_attends_so_whichever_of_its_parts_learn(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """With LoRA on the values alone nothing is learnt through the first layer's queries. Two layers, grouped heads."""
    sections = {
        "model": {"pretrained": str(model_folder), "dtype": "bfloat16"},
        "task": {"name": "demo_sentiment"},
    }
    recipe = Recipe.model_validate(sections | {"adapter": {"target_modules": ["v_proj"]}})
    base, ids = load_base_model(recipe.model), torch.tensor([[5, 6, 7, 8]])
    seen, kernel = [], torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        seen.append(query.dtype)
        return kernel(query, *given, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    with trained_model(recipe, base) as model:
        model(input_ids=ids).logits.sum().backward()
    base.model(input_ids=ids)
    assert seen == [torch.float32] * 2 + [torch.bfloat16] * 2
