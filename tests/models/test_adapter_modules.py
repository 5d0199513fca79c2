"""Which modules an adapter belongs to: named by its weights, never by running an expression."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from ft_harness.models.adapters import attached, lora_config, problems
from ft_harness.models.base_model import BaseModel
from ft_harness.models.prompts import PLAIN
from ft_harness.recipe import AdapterSection, ModelSection
from tests.builders.tiny import build_tokenizer
from tests.models.test_adapter_checks import PROMPTS, likelihoods, make_adapter, stock_scores

# as another trainer writes it for models with several towers
EXPRESSION = (
    r"(?:.*?(?:language|text).*?\.(?:q_proj|v_proj))|"
    r"(?:\bmodel\.layers\.[\d]{1,}\..*?(?:self_attn|mlp).*?\.(?:q_proj|v_proj))"
)


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[1, 5, 6, 7, 8]])).logits


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": EXPRESSION},
        {"target_modules": r".*\.(q_proj|down_proj)", "exclude_modules": r".*layers\.1\..*"},
        {
            "target_modules": r".*_proj",
            "rank_pattern": {"q_proj": 2},
            "alpha_pattern": {"v_proj": 3},
        },
        {"target_modules": EXPRESSION, "use_dora": True},
        {
            "ia3": True,
            "target_modules": r".*\.(k_proj|down_proj)",
            "feedforward_modules": r".*\.down_proj",
        },
    ],
    ids=["several towers", "exclude", "patterns", "dora", "ia3"],
)
def test_an_expression_for_modules_scores_as_pefts_own_loading(
    base: BaseModel, model_folder: Path, tmp_path: Path, settings: dict
):
    made = make_adapter(model_folder, tmp_path / "a", **settings)
    assert problems(made, PLAIN, ModelSection(pretrained=str(model_folder))) == []
    with attached(made, base, PROMPTS) as (tuned, info):
        from ft_harness.evaluation.backends import make_lm

        ours = likelihoods(make_lm(tuned, 4))
    assert torch.allclose(ours, stock_scores(model_folder, made, base), atol=1e-4)
    assert any("was not run" in note for note in info.unchecked)


def test_an_endless_expression_is_never_run(base: BaseModel, model_folder: Path, tmp_path: Path):
    made = make_adapter(model_folder, tmp_path / "a")
    path = made / "adapter_config.json"
    config = json.loads(path.read_text()) | {"target_modules": "((.+)+)+!" * 50}
    path.write_text(json.dumps(config))
    with attached(made, base, PROMPTS) as (_, info):
        assert info.live_proof.changed_prompts > 0


@pytest.mark.parametrize("key", ["(.+)+x", "(a*)*", ".*.*.*.*x", "(?:.|x)+{3}"])
def test_a_pattern_that_peft_would_run_may_not_be_endless(
    model_folder: Path, tmp_path: Path, key: str
):
    made = make_adapter(model_folder, tmp_path / "a")
    path = made / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"alpha_pattern": {key: 3}}))
    (found,) = problems(made)
    assert "alpha_pattern" in found.what


def test_towers_that_no_text_passes_get_no_adapter():
    from peft import get_peft_model
    from transformers import AutoModelForImageTextToText, Gemma3Config

    text = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 64,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    model = AutoModelForImageTextToText.from_config(config)
    tuned = get_peft_model(model, lora_config(AdapterSection(), (), model))
    adapted = [name for name, _ in tuned.named_parameters() if ".lora_A." in name]
    # q, k, v, o, gate, up and down of two text layers, by the architecture's description
    assert len(adapted) == 14
    assert all("language_model" in name for name in adapted)


def test_training_goes_on_with_layers_that_peft_turns_itself(ft, reviews: Path, tmp_path: Path):
    """GPT-2's Conv1D holds its weights the other way round; PEFT writes so into the configuration
    of the first adapter, and the recipe doesn't."""
    from transformers import AutoModelForCausalLM, GPT2Config

    model = tmp_path / "gpt2"
    tokenizer = build_tokenizer("bpe_bos")
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=128,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(model)
    tokenizer.save_pretrained(model)
    recipe = {
        "model": {"pretrained": str(model)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "train": {"max_steps": 2, "learning_rate": 0.01},
    }
    for name in ("one", "two"):
        path = tmp_path / "adapters" / name / "recipe.yaml"
        path.parent.mkdir(parents=True)
        if name == "two":
            recipe["train"]["continue_from"] = str(tmp_path / "adapters" / "one")
        path.write_text(yaml.safe_dump(recipe))
        code, _, error = ft("train", path)
        assert code == 0, error
    written = json.loads((tmp_path / "adapters/one/adapter_config.json").read_text())
    assert written["fan_in_fan_out"] is True
    shutil.rmtree(tmp_path / "adapters")
