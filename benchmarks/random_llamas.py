"""What the benchmarks of models share: random Llamas with GPT-2's tokenizer, SNLI prompts, lm-eval
models.

Hidden size 512: 42 M parameters with a vocabulary of 32k, 150 M with 256k.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

WORDS = ("entailment", "neutral", "contradiction")
SIZES = {"42M/32k": (32_000, 8), "150M/256k": (256_000, 6)}  # vocabulary, layers
HIDDEN, INNER, HEADS, CONTEXT = 512, 1408, 8, 1024
SIDES = ("ours", "hf")


def load_tokenizer(data: Path, name: str) -> Any:
    """GPT-2's tokenizer out of the data folder, cut to its first merges where it is larger than the
    vocabulary."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    vocabulary, _ = SIZES[name]
    content = json.loads(
        (data / "tokenizers" / "gpt2" / "tokenizer.json").read_text(encoding="utf-8")
    )
    model = content["model"]
    excess = max(0, len(model["vocab"]) - vocabulary)
    if excess:
        model["merges"] = model["merges"][: len(model["merges"]) - excess]
        kept = sorted(model["vocab"], key=model["vocab"].get)
        kept = [token for token in kept if token != "<|endoftext|>"][: vocabulary - 1]
        model["vocab"] = {token: number for number, token in enumerate(kept)}
    content["added_tokens"] = []
    core = Tokenizer.from_str(json.dumps(content))
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=end, eos_token=end, pad_token=end
    )
    assert len(tokenizer) <= vocabulary or excess == 0
    return tokenizer


def build_model(name: str, dtype: str = "float32", *, tied: bool = True) -> Any:
    """A Llama of one of `SIZES` with random weights, the same for each call.

    Args:
        tied: its head to its embedding: what it then writes is the same token again and again.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary, layers = SIZES[name]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=layers,
        num_attention_heads=HEADS, max_position_embeddings=CONTEXT, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().to(getattr(torch, dtype))


def read_prompts(data: Path, items: int, shots: int) -> list[str]:
    """Prompts of SNLI items behind `shots` fixed examples."""
    path = data / "snli" / "snli_test.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["gold_label"] in WORDS][
            : items + shots
        ]
    texts = [
        f"{row['sentence1']}\nQuestion: {row['sentence2']} True, false or neither?\nAnswer:"
        for row in rows
    ]
    examples = "".join(
        f"{text} {row['gold_label']}\n\n" for text, row in zip(texts[:shots], rows, strict=False)
    )
    return [examples + text for text in texts[shots:]]


def snli_requests(data: Path, items: int, shots: int) -> list[Any]:
    """lm-eval's requests for the log-likelihoods of the three words behind each prompt."""
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type="loglikelihood", doc={}, arguments=(prompt, f" {word}"), idx=i)
        for prompt in read_prompts(data, items, shots)
        for i, word in enumerate(WORDS)
    ]


def squad_requests(data: Path, items: int, apart: int = 1, **settings: Any) -> list[Any]:
    """lm-eval's requests to answer questions of SQuAD v1.1 as `squad_custom` asks them, each of so
    many; neighbours mostly ask about the same passage."""
    from lm_eval.api.instance import Instance

    content = json.loads((data / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))
    prompts = [
        f"{paragraph['context'].strip()}\nQuestion: {question['question'].strip()}\nAnswer:"
        for article in content["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    settings = {"until": ["\n"], "max_gen_toks": 16, "do_sample": False, **settings}
    return [
        Instance(request_type="generate_until", doc={}, arguments=(prompt, dict(settings)), idx=0)
        for prompt in prompts[::apart][:items]
    ]


def make_side(side: str, model: Any, tokenizer: Any, batch_size: int) -> Any:
    from lm_eval.models.huggingface import HFLM

    from ft_harness.evaluation.backends import CausalLM

    options = {"pretrained": model, "tokenizer": tokenizer, "max_length": CONTEXT, "device": "cpu"}
    if side == "ours":
        return CausalLM(batch_size=batch_size, **options)
    return HFLM(batch_size=batch_size, softmax_dtype="float32", **options)
