"""Small models, tokenizers and data, made in a second; nothing is downloaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

CORPUS = [
    "the film was good and the cast was warm",
    "the film was bad and the cast was cold",
    "Review: a slow, dull story. Sentiment: bad",
    "Review: a bright, funny story. Sentiment: good",
]
TOKENIZERS = ("bpe_bos", "bpe_plain", "byte_fallback")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models; the test is skipped where FT_HARNESS_SHARED is not set."""
    folder = os.environ.get("FT_HARNESS_SHARED")
    if not folder:
        pytest.skip("FT_HARNESS_SHARED is not set")
    return Path(folder)


def build_tokenizer(kind: str):
    """A tokenizer of ~300 tokens: byte-level BPE with or without BOS, or BPE over characters with byte fallback and BOS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    if kind == "byte_fallback":
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special += [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=special, show_progress=False)
    else:
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    core.train_from_iterator(CORPUS, trainer)
    if kind != "bpe_plain":
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=128
    )


@pytest.fixture(scope="session", params=TOKENIZERS)
def tokenizer(request):
    return build_tokenizer(request.param)


def save_model(folder: Path, seed: int) -> Path:
    """A random Llama (hidden 32, two layers) with the byte-level tokenizer that adds BOS."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer("bpe_bos")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)


def review_rows(count: int, start: int = 0) -> list[dict[str, str]]:
    """Rows with an easy rule: 'warm' is positive, 'cold' negative."""
    words = {"positive": "warm", "negative": "cold"}
    rows = []
    for i in range(start, start + count):
        label = ("positive", "negative")[i % 2]
        rows.append({"text": f"the film number {i} was {words[label]}", "label": label})
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the columns of demo_sentiment: 64 / 16 / 24 rows."""
    folder = tmp_path_factory.mktemp("reviews")
    write_jsonl(folder / "train.jsonl", review_rows(64))
    write_jsonl(folder / "validation.jsonl", review_rows(16, start=100))
    write_jsonl(folder / "test.jsonl", review_rows(24, start=200))
    return folder
