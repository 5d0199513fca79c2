"""4-bit and 8-bit bases: what is loaded, what is refused before loading, and that scores and
training hold on them."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.evaluation import ModelState, fingerprint, plan_jobs
from ft_harness.evaluation.backends import CausalLM, make_lm
from ft_harness.models import base_model, quantization
from ft_harness.models.adapters import attached, read_card
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import EvalSection, ModelSection, Recipe
from ft_harness.records import base_subject
from ft_harness.records.finding import load_records
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import TrainingPlan, build_training_set, train
from tests.builders.command import assert_three_lines
from tests.builders.tiny import build_tokenizer

PROMPTS = [
    "the film was",
    "Review: a slow, dull story. Sentiment:",
    "the cast",
    "the film was bad and the cast was",
]
ANSWERS = [" good", " bad", " warm and bright"]


def save_wide(folder: Path, **settings) -> Path:
    """A random Llama whose output dimensions are multiples of 32, but for the head (320 tokens +
    1)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer("bpe_bos")
    torch.manual_seed(0)
    shapes = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    config = LlamaConfig(
        **(shapes | settings), vocab_size=len(tokenizer) + 1, num_hidden_layers=2, max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wide(tmp_path_factory.mktemp("models") / "wide")


def section(folder: Path, kind: str | None, **settings) -> ModelSection:
    return ModelSection(pretrained=str(folder), quantization=kind, **settings)


@pytest.fixture(scope="module")
def nf4(wide: Path) -> BaseModel:
    return load_base_model(section(wide, "nf4"))


@pytest.fixture(scope="module")
def int8(wide: Path) -> BaseModel:
    return load_base_model(section(wide, "int8"))


def requests() -> list:
    from lm_eval.api.instance import Instance

    pairs = [(prompt, answer) for prompt in PROMPTS for answer in ANSWERS]
    return [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]


def likelihoods(lm) -> torch.Tensor:
    return torch.tensor([score for score, _ in lm.loglikelihood(requests())])


def stock(model, base: BaseModel):
    """lm-eval's own `hf` on a loaded model."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=model,
        tokenizer=base.tokenizer,
        max_length=128,
        batch_size=1,
        softmax_dtype="float32",
    )


# --- what is loaded
# -------------------------------------------------------------------------------------------------


def test_four_bits_are_held_and_said(nf4: BaseModel):
    assert nf4.info.quantization == "nf4, double quantised, compute float32"
    weight = nf4.model.model.layers[0].self_attn.q_proj.weight
    # 64 x 64 weights, two to a byte
    assert (weight.dtype, weight.numel()) == (torch.uint8, 64 * 64 // 2)
    # logical: embedding and head 2 * 321 * 64; a layer's q, k, v, o 64*64 + 2 * 32*64 + 64*64,
    # gate, up, down 3 * 64*96 and two norms of 64; a last norm
    assert nf4.info.parameters == 2 * 321 * 64 + 2 * (12288 + 18432 + 128) + 64


def test_eight_bits_are_held_and_said(int8: BaseModel, nf4: BaseModel):
    assert int8.info.quantization == "int8, outliers above 6 in 16 bits"
    assert int8.model.model.layers[0].self_attn.q_proj.weight.dtype == torch.int8
    assert int8.info.parameters == nf4.info.parameters


def test_the_identity_is_that_of_the_files(wide: Path, nf4: BaseModel):
    plain = load_base_model(section(wide, None))
    assert plain.info.quantization is None
    assert plain.info.identity == nf4.info.identity
    assert plain.info.parameters == nf4.info.parameters


@pytest.mark.parametrize(
    ("dtype", "gpu", "bf16", "expected"),
    [
        ("auto", False, False, "float32"),
        ("auto", True, True, "bfloat16"),
        ("auto", True, False, "float32"),
        ("float16", True, True, "float16"),
        ("bfloat16", False, False, "bfloat16"),
    ],
)
def test_the_compute_dtype_is_the_sections_or_the_hardwares(
    dtype: str, gpu: bool, bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    chosen = quantization.options(ModelSection(quantization="nf4", dtype=dtype))
    assert chosen["dtype"] == expected
    assert chosen["quantization_config"].bnb_4bit_compute_dtype == getattr(torch, expected)
    assert chosen["device_map"] == {"": "cuda" if gpu else "cpu"}


def test_the_dtype_of_the_recipe_is_computed_in(wide: Path):
    base = load_base_model(section(wide, "nf4", dtype="bfloat16"))
    assert base.info.quantization == "nf4, double quantised, compute bfloat16"
    assert base.info.dtype == "bfloat16"


# --- what is refused before loading
# ---------------------------------------------------------------------------------


def test_odd_dimensions_are_refused_on_a_cpu(model_folder: Path):
    """tiny: 2 key heads of 8; the other output dimensions are 32 and 64, the head is not
    quantised."""
    (found,) = base_model.problems(section(model_folder, "nf4"))
    assert found.exit_code == 3
    assert "4 modules" in found.what
    assert "model.layers.0.self_attn.k_proj (16)" in found.what
    assert base_model.problems(section(model_folder, "int8")) == []
    assert base_model.problems(section(model_folder, None)) == []


def test_odd_dimensions_are_no_matter_on_a_gpu(model_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert base_model.problems(section(model_folder, "nf4")) == []


def test_even_dimensions_pass_whatever_the_head(wide: Path):
    assert base_model.problems(section(wide, "nf4")) == []


def recipe_file(folder: Path, model: Path, source: Path, kind: str) -> Path:
    folder.mkdir(parents=True)
    content = {
        "model": {"pretrained": str(model), "quantization": kind},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(source)},
        "adapter": {"r": 4, "lora_dropout": 0.0},
        "train": {"max_steps": 6, "learning_rate": 0.02},
        "eval": {"splits": ["test"]},
    }
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return folder / "recipe.yaml"


def test_the_command_refuses_odd_dimensions_before_loading(
    ft, no_model, model_folder: Path, reviews: Path, tmp_path
):
    code, _, error = ft(
        "eval", recipe_file(tmp_path / "adapters/odd", model_folder, reviews, "nf4")
    )
    assert code == 3
    assert_three_lines(error, "k_proj (16)", "multiples of 32", "int8")


def test_an_unknown_quantisation_is_a_fault_of_the_recipe(
    ft, model_folder: Path, reviews: Path, tmp_path: Path
):
    code, _, error = ft(
        "eval", recipe_file(tmp_path / "adapters/odd", model_folder, reviews, "nf5")
    )
    assert code == 2
    assert_three_lines(error, "model.quantization", "nf5", "'nf4' or 'int8'")


@pytest.fixture(scope="module")
def quantised_folder(nf4: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "stored"
    nf4.model.save_pretrained(folder)
    nf4.tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_that_is_quantised_by_bitsandbytes_is_taken_as_it_is(
    quantised_folder: Path, nf4: BaseModel
):
    assert base_model.problems(section(quantised_folder, None)) == []
    stored = load_base_model(section(quantised_folder, None))
    assert stored.info.quantization == nf4.info.quantization
    assert stored.info.parameters == nf4.info.parameters
    torch.testing.assert_close(
        likelihoods(make_lm(stored, 4, 0)), likelihoods(make_lm(nf4, 4, 0)), atol=1e-4, rtol=0
    )


def test_quantising_twice_is_refused(quantised_folder: Path):
    (found,) = base_model.problems(section(quantised_folder, "int8"))
    assert found.exit_code == 3
    assert "quantised already" in found.what


def test_other_quantisations_are_refused_by_name(wide: Path, tmp_path: Path):
    folder = Path(shutil.copytree(wide, tmp_path / "gptq"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    (found,) = base_model.problems(section(folder, None))
    assert found.exit_code == 3
    assert "gptq" in found.what


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_nan_is_found_in_weights_that_are_rounded_on_loading(
    kind: str, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(wide, tmp_path / "nan"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NonFiniteError, match=r"layers\.1\.mlp\.up_proj"):
        load_base_model(section(folder, kind))


# --- scores
# ---------------------------------------------------------------------------------------------------------


def test_nf4_scores_are_those_of_its_rounded_weights(nf4: BaseModel, wide: Path):
    """Against lm-eval's `hf` on a float32 model that holds the weights as bitsandbytes dequantises
    them."""
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(wide)
    before = likelihoods(stock(plain, nf4))
    with torch.no_grad():
        for name, parameter in nf4.model.named_parameters():
            if parameter.dtype == torch.uint8:
                plain.get_parameter(name).copy_(
                    dequantize_4bit(parameter.data, parameter.quant_state)
                )
    expected = likelihoods(stock(plain, nf4))
    lm = make_lm(nf4, 4, 0)
    torch.testing.assert_close(likelihoods(lm), expected, atol=1e-4, rtol=0)
    assert lm.fallback is None
    assert (expected - before).abs().max() > 0.01  # rounding to 4 bits is seen


def test_int8_scores_agree_with_hf_within_half_precision(int8: BaseModel, wide: Path):
    from transformers import AutoModelForCausalLM

    ours = likelihoods(make_lm(int8, 4, 0))
    torch.testing.assert_close(ours, likelihoods(stock(int8.model, int8)), atol=0.25, rtol=0)
    plain = likelihoods(stock(AutoModelForCausalLM.from_pretrained(wide), int8))
    assert 0 < (ours - plain).abs().max() < 0.5


def test_quantization_is_a_model_argument(wide: Path, nf4: BaseModel):
    lm = CausalLM.create_from_arg_string(f"pretrained={wide},quantization=nf4", {"device": "cpu"})
    assert quantization.describe(lm.model) == "nf4, double quantised, compute float32"
    torch.testing.assert_close(likelihoods(lm), likelihoods(make_lm(nf4, 4, 0)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("arguments", ["quantization=nf5", "quantization=nf4,dtype=half"])
def test_a_wrong_model_argument_is_named(arguments: str, wide: Path):
    with pytest.raises(InputError, match=r"quantization=nf"):
        CausalLM.create_from_arg_string(f"pretrained={wide},{arguments}", {"device": "cpu"})


def test_the_model_argument_refuses_odd_dimensions_too(model_folder: Path):
    with pytest.raises(InputError, match="k_proj"):
        CausalLM.create_from_arg_string(
            f"pretrained={model_folder},quantization=nf4", {"device": "cpu"}
        )


def test_quantisation_makes_another_evaluation(wide: Path, nf4: BaseModel, reviews: Path):
    tasks = load_tasks(
        find_task("demo_sentiment", metadata={"data_source": str(reviews)}), ("test",)
    )
    plain = load_base_model(section(wide, None))
    settings = EvalSection(splits=("test",))
    ids = {
        fingerprint(
            ModelState(base_subject("m"), base), plan_jobs(tasks, "hash", base, settings)[0]
        )
        for base in (plain, nf4)
    }
    assert len(ids) == 2


# --- training
# -------------------------------------------------------------------------------------------------------


def make_recipe(wide: Path, reviews: Path, kind: str | None) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"pretrained": str(wide), "quantization": kind},
            "task": {"name": "demo_sentiment"},
            "data": {"source": str(reviews)},
            "adapter": {"r": 4, "lora_dropout": 0.0},
            "train": {"max_steps": 4, "per_device_train_batch_size": 8, "learning_rate": 0.01},
        }
    )


def train_on(base: BaseModel, recipe: Recipe, folder: Path) -> dict[str, torch.Tensor]:
    spec = find_task("demo_sentiment", metadata=recipe.task_metadata())
    data = build_training_set(load_tasks(spec, ["train", "validation"]), base, recipe, "task")
    card = train(TrainingPlan(recipe, base, data), folder)
    assert card.model.quantization == base.info.quantization
    assert card.fingerprint == TrainingPlan(recipe, base, data).fingerprint
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_scoring_first_does_not_change_what_is_learnt(
    kind: str, wide: Path, reviews: Path, tmp_path: Path
):
    """bitsandbytes packs 4-bit weights anew on CPUs with bfloat16 instructions, and passes no
    gradient through them."""
    recipe = make_recipe(wide, reviews, kind)
    fresh = train_on(load_base_model(recipe.model), recipe, tmp_path / "fresh")
    base = load_base_model(recipe.model)
    before = likelihoods(make_lm(base, 4, 0))
    scored = train_on(base, recipe, tmp_path / "scored")
    assert fresh.keys() == scored.keys()
    assert all(torch.equal(fresh[key], scored[key]) for key in fresh)
    assert all(
        scored[key].any() for key in scored if "lora_B" in key
    )  # every layer was reached by the gradient
    assert torch.equal(likelihoods(make_lm(base, 4, 0)), before)


def test_quantisation_makes_another_adapter(wide: Path, reviews: Path):
    plain, nf4 = (make_recipe(wide, reviews, kind) for kind in (None, "nf4"))
    assert plain.fingerprint() != nf4.fingerprint()


def test_an_adapter_scored_on_other_bits_than_it_was_trained_on_is_warned_of(
    nf4: BaseModel, wide: Path, reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    train_on(nf4, make_recipe(wide, reviews, "nf4"), tmp_path / "a")
    card = read_card(tmp_path / "a")
    assert card is not None
    with (
        caplog.at_level(logging.WARNING, logger="ft_harness"),
        attached(tmp_path / "a", nf4, PROMPTS),
    ):
        assert not [
            record for record in caplog.records if "was trained on the base" in record.message
        ]
    plain = load_base_model(section(wide, None))
    with (
        caplog.at_level(logging.WARNING, logger="ft_harness"),
        attached(tmp_path / "a", plain, PROMPTS),
    ):
        assert (
            "nf4, double quantised, compute float32, it is scored on the base unquantised"
            in caplog.text
        )


def test_the_command_trains_and_scores_on_four_bits(ft, wide: Path, reviews: Path, tmp_path: Path):
    recipe = recipe_file(tmp_path / "adapters/bits", wide, reviews, "nf4")
    code, out, error = ft("run", recipe)
    assert code == 0, out + error
    records = [found.record for found in load_records([tmp_path / "results"])]
    assert {record.subject for record in records} == {"base--wide", "bits"}
    assert {record.model.quantization for record in records} == {
        "nf4, double quantised, compute float32"
    }
    assert [record.adapter.unchecked for record in records if record.adapter] == [[]]
    code, out, error = ft("run", recipe)
    assert code == 0, error
    assert (out + error).count("scored already") == 2
    assert "the adapter is finished already" in out + error
