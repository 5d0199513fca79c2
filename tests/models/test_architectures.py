"""Scores of many architectures, made tiny, against one text at a time through transformers alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance

from ft_harness.errors import InputError
from ft_harness.evaluation.backends import make_lm
from ft_harness.models.base_model import load_base_model
from ft_harness.models.heads import HeadPlan
from ft_harness.recipe import ModelSection
from tests.builders.tiny import build_tokenizer, pair_tokenizer

pytestmark = pytest.mark.slow

# every name that an architecture may have for one of its sizes
SIZES = dict.fromkeys(
    [
        "hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim",
        "attention_hidden_size", "embedding_dim",
    ],
    32,
) | dict.fromkeys(
    ["intermediate_size", "ffn_dim", "hidden_dim", "d_inner", "d_ff", "encoder_ffn_dim",
     "decoder_ffn_dim", "n_inner", "ffn_hidden_size"],
    64,
) | dict.fromkeys(
    ["num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers"],
    2,
) | dict.fromkeys(
    ["num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads",
     "decoder_attention_heads"],
    4,
) | {
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "rotary_dim": 4, "num_local_experts": 4, "num_experts": 4,
    "moe_intermediate_size": 16, "num_experts_per_tok": 2, "state_size": 4,
}  # fmt: skip

# transformers loads these as language models, but each position sees what follows
BOTH_WAYS = [
    "bert", "camembert", "electra", "megatron-bert", "rembert", "roberta", "roformer",
    "xlm-roberta", "xlnet",
]  # fmt: skip
CAUSAL = [
    "arcee", "biogpt", "bloom", "codegen", "cohere", "cohere2", "ctrl", "cwm", "doge", "ernie4_5",
    "exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode",
    "gpt_neo", "gpt_neox", "gpt_neox_japanese", "gptj", "granite", "helium", "hunyuan_v1_dense",
    "llama", "mamba", "mamba2", "ministral", "mistral", "mixtral", "mpt", "nemotron", "olmo",
    "olmo2", "olmo3", "olmoe", "openai-gpt", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3",
    "qwen3_moe", "rwkv", "seed_oss", "smollm3", "stablelm", "starcoder2", "vaultgemma", "xglm",
]  # fmt: skip
HEADS = [
    "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta",
    "deberta-v2", "distilbert", "electra", "ernie", "esm", "falcon", "fnet", "funnel", "gemma",
    "gemma2", "glm", "gpt2", "gpt_neo", "gpt_neox", "gptj", "ibert", "layoutlm", "llama",
    "megatron-bert", "mistral", "mobilebert", "modernbert", "mpnet", "mra", "nystromformer",
    "openai-gpt", "opt", "phi", "qwen2", "rembert", "roberta", "roberta-prelayernorm", "roformer",
    "squeezebert", "stablelm", "xlm-roberta", "xlnet", "xmod", "yoso",
]  # fmt: skip
SPECIAL = {
    "ctrl": {"dff": 64},
    "gpt_neo": {"attention_types": [[["global"], 2]]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
    "falcon": {"alibi": False, "new_decoder_architecture": False},
    "big_bird": {"attention_type": "original_full"},
    "funnel": {"block_sizes": [1, 1], "d_head": 8, "d_model": 32, "n_head": 4},
    "mobilebert": {"intra_bottleneck_size": 32, "true_hidden_size": 32, "embedding_size": 32},
    "squeezebert": {"embedding_size": 32},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "fnet": {"tpu_short_seq_length": 64},
    "modernbert": {"global_attn_every_n_layers": 1},
    "esm": {"mask_token_id": 3, "token_dropout": False},
}
PAIRS = [
    ("the film was", " good"),
    ("the film was", " bad and cold"),
    ("Review: a slow, dull story. Sentiment:", " bad"),
    ("Review: a slow, dull story. Sentiment:", " good"),
    ("a", " b"),
]


def tiny_config(kind: str, vocabulary: int):
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[kind]
    known = config_class()
    own = vars(known).keys() | known.attribute_map.keys()  # other names are read only
    values = {name: size for name, size in SIZES.items() if name in own}
    return config_class(**(values | SPECIAL.get(kind, {}) | {"vocab_size": vocabulary}))


def save_tiny(folder: Path, kind: str, tokenizer, *, head: bool) -> Path:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    factory = AutoModelForSequenceClassification if head else AutoModelForCausalLM
    config = tiny_config(kind, len(tokenizer))
    with torch.device("meta"):  # a size of another name would make a model of gigabytes
        size = sum(parameter.numel() for parameter in factory.from_config(config).parameters())
    assert size < 3e6, f"{kind}: {size} parameters"
    torch.manual_seed(0)
    model = factory.from_config(config)
    with torch.no_grad():  # away from zero, so that answers differ
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", CAUSAL)
def test_likelihoods_equal_those_of_one_text_at_a_time(kind: str, tmp_path: Path):
    tokenizer = build_tokenizer("bpe_bos")
    base = load_base_model(
        ModelSection(pretrained=str(save_tiny(tmp_path, kind, tokenizer, head=False)))
    )
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(PAIRS)]
    found = [score for score, _ in make_lm(base, 16).loglikelihood(requests)]

    expected = []
    for prompt, answer in PAIRS:
        before, ids = tokenizer.encode(prompt), tokenizer.encode(prompt + answer)
        with torch.inference_mode():
            logits = base.model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).logits[0]
        told = logits.float().log_softmax(dim=-1)
        targets = range(len(before), len(ids))
        expected.append(math.fsum(float(told[at - 1, ids[at]]) for at in targets))
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", BOTH_WAYS)
def test_models_that_see_what_follows_are_refused_as_language_models(kind: str, tmp_path: Path):
    folder = save_tiny(tmp_path, kind, build_tokenizer("bpe_bos"), head=False)
    with pytest.raises(InputError, match="depends on the tokens after it"):
        load_base_model(ModelSection(pretrained=str(folder)))


@pytest.mark.parametrize("kind", HEADS)
def test_labels_equal_those_of_one_text_at_a_time(kind: str, tmp_path: Path):
    tokenizer = pair_tokenizer("bert" if kind in ("bert", "albert") else "distilbert")
    folder = save_tiny(tmp_path, kind, tokenizer, head=True)
    labels = ("bad", "good")
    plan = HeadPlan(("LABEL_0", "LABEL_1"), labels, ("text",))
    base = load_base_model(ModelSection(pretrained=str(folder)), plan)
    texts = ["a", "the film", "the film was good and the cast was warm", "Review: dull", "b c d e"]
    requests = [
        Instance(
            "loglikelihood", {"text": text}, (text, f" {label}"), idx,
            metadata=("task", number, 1),
        )
        for number, text in enumerate(texts)
        for idx, label in enumerate(labels)
    ]  # fmt: skip
    found = [score for score, _ in make_lm(base, 16).loglikelihood(requests)]

    expected = []
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            expected += base.model(**encoded).logits[0].float().log_softmax(dim=-1).tolist()
    assert found == pytest.approx(expected, abs=1e-3)
