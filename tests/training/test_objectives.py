"""What is learnt: the gradient of a step against a loop written by hand, the padding of batches, the number formats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ft_harness.models.adapters import read_card
from ft_harness.models.base_model import BaseModel, fitting_dtype, load_base_model
from ft_harness.models.number_formats import sixteen_bits
from ft_harness.recipe import Recipe
from ft_harness.tasks.examples import Example
from ft_harness.training import TrainingPlan, TrainingSet, train
from ft_harness.training.adapter_model import adapter_model
from ft_harness.training.batches import steps_of_epoch
from ft_harness.training.numerics import compute_in_base_dtype, describe_precision
from ft_harness.training.objectives import make_objective

RATE = 0.05


@pytest.fixture(scope="module")
def base(model_folder: Path) -> BaseModel:
    return load_base_model(make_recipe(model_folder).model)


def make_recipe(folder: Path, dtype: str = "auto", **settings) -> Recipe:
    plain = {
        "learning_rate": RATE,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "seed": 5,
    }
    return Recipe.model_validate(
        {
            "model": {"pretrained": str(folder), "dtype": dtype},
            "task": {"name": "demo_sentiment"},
            "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
            "train": {**plain, "num_train_epochs": 2, "max_grad_norm": 1e9, **settings},
        }
    )


def make_examples(count: int) -> list[Example]:
    """Rows of 4 to 13 tokens of context and 1 to 3 of answer."""
    draw = torch.Generator().manual_seed(1)

    def ids(length: int) -> list[int]:
        return torch.randint(4, 300, (length,), generator=draw).tolist()

    return [
        Example(ids(4 + 7 * row % 10), ids(1 + row % 3), truncated=False) for row in range(count)
    ]


def learn_by_hand(
    recipe: Recipe, base: BaseModel, examples: list[Example]
) -> dict[str, torch.Tensor]:
    """Plain gradient descent, row by row without padding, from the full logits; the mean over the tokens of a step."""
    lengths = [len(example.input_ids) for example in examples]
    with adapter_model(recipe, base) as model:
        trained = {
            name: weight for name, weight in model.named_parameters() if weight.requires_grad
        }
        for epoch in range(2):
            for step in steps_of_epoch(lengths, 8, recipe.train.seed, epoch):
                losses = []
                for example in (examples[row] for row in step):
                    ids = torch.tensor([example.context_ids + example.answer_ids])
                    logits = model(input_ids=ids).logits[0].log_softmax(-1)
                    first = len(example.context_ids)
                    losses += [-logits[at - 1, ids[0, at]] for at in range(first, ids.shape[1])]
                gradients = torch.autograd.grad(sum(losses) / len(losses), list(trained.values()))
                with torch.no_grad():
                    for weight, gradient in zip(trained.values(), gradients, strict=True):
                        weight -= RATE * gradient
        return {
            name.replace(".default", ""): weight.detach().clone()
            for name, weight in trained.items()
        }


def test_a_step_learns_the_same_however_it_is_cut(base: BaseModel, tmp_path: Path):
    """21 rows are steps of 8, 8 and 5: the last one is 4 + 1 rows, 2 + 2 + 1, or 5 single ones."""
    examples = make_examples(21)
    data = TrainingSet(examples, [], "task")
    expected = learn_by_hand(make_recipe(Path(base.info.pretrained)), base, examples)
    for batch, accumulation in ((8, 1), (4, 2), (2, 4), (1, 8)):
        cut = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        folder = tmp_path / f"{batch}x{accumulation}"
        card = train(
            TrainingPlan(make_recipe(Path(base.info.pretrained), **cut), base, data), folder
        )
        assert card.steps == 6
        found = load_file(folder / "adapter_model.safetensors")
        assert found.keys() == expected.keys()
        moved = max(float(found[name].abs().max()) for name in found if "lora_B" in name)
        assert moved > 1e-3  # lora_B starts at zero
        assert max(float((found[name] - expected[name]).abs().max()) for name in found) < 1e-6, (
            batch,
            accumulation,
        )


def test_a_batch_is_as_wide_as_its_longest_row(base: BaseModel):
    objective = make_objective(base)
    batch = objective.collate(
        [Example([5, 6, 7], [8], truncated=False), Example([9], [10, 11], truncated=False)]
    )
    pad = base.tokenizer.pad_token_id
    # all but the last token is read; the label of a position is the token behind it
    assert batch["input_ids"].tolist() == [[5, 6, 7], [9, 10, pad]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 8], [10, 11, -100]]
    assert objective.counts(batch) == [3]


def test_a_batch_of_no_rows_has_no_target_and_no_gradient(base: BaseModel):
    """A process without a row of its own in the last step still takes part in it."""
    objective = make_objective(base)
    batch = objective.collate([])
    assert objective.counts(batch) == [0]
    with adapter_model(make_recipe(Path(base.info.pretrained)), base) as model:
        loss = objective.sums(model, batch, batch.pop("labels"))
        loss.backward()
        gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
        assert loss.item() == 0
        assert all(gradient is not None and not gradient.any() for gradient in gradients)


def gradients(base: BaseModel, recipe: Recipe, *, quick: bool) -> tuple[float, torch.Tensor, int]:
    """(loss, all gradients of the adapter, number of layers that compute in 16 bits)."""
    objective = make_objective(base)
    batch = objective.collate(make_examples(6))
    with adapter_model(recipe, base) as model:
        torch.manual_seed(0)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        for weight in weights:
            torch.nn.init.normal_(weight, std=0.1)
        changed = compute_in_base_dtype(model) if quick else 0
        loss = objective.sums(model, batch, batch.pop("labels"))
        loss.backward()
        assert (
            {weight.dtype for weight in weights}
            == {weight.grad.dtype for weight in weights}
            == {torch.float32}
        )
        return loss.item(), torch.cat([weight.grad.flatten() for weight in weights]), changed


def test_products_in_16_bits_learn_what_peft_learns(model_folder: Path):
    """bfloat16 has 8 bits of precision: a product is off by up to 0.4 %, a gradient through two layers by 2 or 3 %."""
    recipe = make_recipe(model_folder, "bfloat16")
    base = load_base_model(recipe.model)
    plain_loss, plain, _ = gradients(base, recipe, quick=False)
    loss, found, changed = gradients(base, recipe, quick=True)
    assert changed == 14  # q, k, v, o, gate, up, down in each of two layers
    assert loss == pytest.approx(plain_loss, rel=0.01)
    assert float((found - plain).norm() / plain.norm()) < 0.03


def test_float32_and_other_kinds_of_lora_stay_as_peft_has_them(base: BaseModel, model_folder: Path):
    recipe = make_recipe(model_folder)
    assert gradients(base, recipe, quick=True)[2] == 0
    half = load_base_model(make_recipe(model_folder, "bfloat16").model)
    for other in ("use_dora", "lora_bias"):
        kind = recipe.model_copy(
            update={"adapter": recipe.adapter.model_copy(update={other: True})}
        )
        with adapter_model(kind, half) as model:
            assert compute_in_base_dtype(model) == 0


def test_the_card_says_the_number_formats(model_folder: Path, tmp_path: Path):
    recipe = make_recipe(model_folder, "bfloat16", num_train_epochs=1)
    half = load_base_model(recipe.model)
    train(TrainingPlan(recipe, half, TrainingSet(make_examples(8), [], "task")), tmp_path / "a")
    assert read_card(tmp_path / "a").cost.precision == "base bfloat16, trained weights float32"
    stored = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    quantised = BaseModel(
        half.model, half.tokenizer, half.info.model_copy(update={"quantization": "nf4"}), 8, "cpu"
    )
    with adapter_model(recipe, half) as model:
        assert describe_precision(quantised, model) == "base nf4, trained weights float32"


@pytest.mark.parametrize(
    ("cuda", "cuda_bf16", "cpu", "expected"),
    [
        (True, True, {}, "bfloat16"),
        (True, False, {"avx512_bf16": True}, "float16"),
        (False, False, {"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        (False, False, {"avx512_bf16": False, "avx512_f": True}, "float32"),
    ],
)
def test_the_16_bits_of_the_hardware(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, cuda_bf16: bool, cpu, expected: str
):
    """A T4 emulates bfloat16, slowly, and torch counts that as support unless told otherwise."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or cuda_bf16,
    )
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert sixteen_bits() == expected


def test_a_checkpoint_is_loaded_as_stored_or_in_the_16_bits_of_the_hardware(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stored = load_base_model(make_recipe(model_folder).model)
    assert stored.info.dtype == "float32"  # exact, whatever the hardware has
    stored.model.to(torch.float16).save_pretrained(tmp_path)
    stored.tokenizer.save_pretrained(tmp_path)
    for here in ("bfloat16", "float16", "float32"):
        monkeypatch.setattr("ft_harness.models.base_model.sixteen_bits", lambda here=here: here)
        assert load_base_model(make_recipe(tmp_path).model).info.dtype == here
        assert fitting_dtype(make_recipe(model_folder).model) == "auto"
        assert fitting_dtype(make_recipe(tmp_path, "float16").model) == "float16"
