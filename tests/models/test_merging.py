"""Adapters merged into the base: the drift is recorded, and the base is the old one to the bit
afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from ft_harness.errors import InputError
from ft_harness.models.adapters import attached
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.lora_product import quick_products
from ft_harness.recipe import ModelSection

PROMPTS = ["the film was", "a quiet story"]


def base_of(folder: Path, quantization: str | None = None) -> BaseModel:
    return load_base_model(ModelSection(pretrained=str(folder), quantization=quantization))


@pytest.fixture(scope="module")
def adapter(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain PEFT adapter with random weights on both sides."""
    folder = tmp_path_factory.mktemp("merge") / "adapter"
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base_of(model_folder).model, config)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.1)
    model.save_pretrained(folder)
    return folder


def logits(base: BaseModel) -> torch.Tensor:
    ids = torch.tensor([base.tokenizer.encode(PROMPTS[0])])
    with torch.no_grad():
        return base.model(input_ids=ids).logits


@pytest.mark.parametrize("quantization", [None, "nf4"])
def test_merging_moves_logits_by_the_drift_that_is_recorded(
    model_folder: Path, adapter: Path, quantization
):
    base = base_of(model_folder, quantization)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    alone = logits(base)
    with attached(adapter, base, PROMPTS[:1]) as (tuned, info):
        assert info.merge_drift is None
        apart = logits(tuned)
    with attached(adapter, base, PROMPTS[:1], merge=True) as (tuned, info):
        together = logits(tuned)
        assert any("base_layer.weight" in name for name, _ in tuned.model.named_parameters())
    assert not torch.allclose(apart, alone, atol=1e-2)  # the adapter does something
    change = float((together - apart)[0, -1].float().abs().max())
    assert info.merge_drift == pytest.approx(
        change, rel=0.1
    )  # one position alone is rounded another way
    limit = (
        1e-4 if quantization is None else 1.0
    )  # merging into 4 bits rounds the sum to 4 bits again
    assert 0 < info.merge_drift < limit
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(base), alone)


def test_products_in_one_go_are_those_of_peft(model_folder: Path, adapter: Path):
    """14 layers: q, k, v, o, gate, up and down in each of two."""
    base = base_of(model_folder)
    with attached(adapter, base, PROMPTS[:1], merge=True) as (tuned, _):
        expected = logits(tuned)  # by PEFT's own product of A and B
    with attached(adapter, base, PROMPTS[:1]) as (tuned, _):
        variants = [
            each.lora_variant for each in tuned.model.modules() if hasattr(each, "lora_variant")
        ]
        assert [*map(len, variants)] == [1] * 14
        assert torch.allclose(logits(tuned), expected, atol=1e-4)


def test_products_in_one_go_leave_layers_of_other_kinds_alone(model_folder: Path):
    for other, layers in (({}, 14), ({"use_dora": True}, 0), ({"lora_bias": True}, 0)):
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **other)
        model = get_peft_model(base_of(model_folder).model, config)
        with quick_products(model) as changed:
            assert changed == layers
        with quick_products(model.to(torch.bfloat16)) as changed:
            assert changed == 0


def test_a_merged_adapter_is_an_evaluation_of_its_own(
    ft, tmp_path: Path, model_folder: Path, adapter: Path, reviews
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "eval: {splits: [test]}\n",
        encoding="utf-8",
    )
    for settings in ((), ("--set", "eval.merge=true")):
        code, _, err = ft("eval", recipe, "--adapter", adapter, *settings)
        assert code == 0, err
        assert ("adapter: merged into the base, which changes a logit by" in err) == bool(settings)
    records = [
        json.loads(path.read_text())
        for path in (tmp_path / "results" / "adapter").rglob("record.json")
    ]
    drifts = [record["adapter"]["merge_drift"] for record in records]
    assert sorted(drift is None for drift in drifts) == [False, True]
    assert (
        len(list((tmp_path / "results" / "base--tiny").rglob("record.json"))) == 1
    )  # merging says nothing of the base
    assert len(list((tmp_path / "results" / "adapter").glob("responses-*.jsonl"))) == 2


def test_weights_in_8_bits_are_not_merged_into(model_folder: Path, adapter: Path):
    """bitsandbytes keeps what it merged beside the weight, so that the base could not be put
    back."""
    base = base_of(model_folder, "int8")
    with (
        pytest.raises(InputError, match="8 bits"),
        attached(adapter, base, PROMPTS[:1], merge=True),
    ):
        pass


def test_merging_that_drowns_the_adapter_is_warned_of(model_folder: Path, adapter: Path, caplog):
    base = base_of(model_folder, "nf4")
    with attached(adapter, base, PROMPTS[:1], merge=True) as (_, info):
        drowned = info.merge_drift > 0.5 * info.live_proof.max_logit_change
    assert ("most of it may be lost" in caplog.text) == drowned
