"""Builders of small models, tokenizers and data."""

from __future__ import annotations

import json
from pathlib import Path

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
DECODER = SHAPE | {
    "intermediate_size": 64,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ENCODERS = ("distilbert", "bert", "roberta")
CORPUS = [
    "the film was good and the cast was warm",
    "the film was bad and the cast was cold",
    "Review: a slow, dull story. Sentiment: bad",
    "Review: a bright, funny story. Sentiment: good",
]


def build_tokenizer(kind: str):
    """A tokenizer of ~300 tokens: byte-level BPE with or without BOS, or over characters with byte
    fallback and BOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    if kind == "byte_fallback":
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        core.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
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
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=128,
    )


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


def save_adapter(folder: Path, model_folder: Path, seed: int, **options) -> Path:
    """A LoRA whose B is random too, so that it changes everything."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings = {"r": 4, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    config = LoraConfig(**settings | options, init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_folder), config)
    model.save_pretrained(folder)
    return folder


def config_of(kind: str, vocabulary: int):
    from transformers import AutoConfig

    shapes = {
        "distilbert": {
            "dim": 32,
            "hidden_dim": 64,
            "n_layers": 2,
            "n_heads": 4,
            "max_position_embeddings": 64,
        },
        "bert": SHAPE | {"intermediate_size": 64},
        "roberta": SHAPE | {"intermediate_size": 64, "pad_token_id": 0, "type_vocab_size": 1},
        "gemma": DECODER | {"head_dim": 8},
        "gemma2": DECODER | {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 32},
    }
    config = AutoConfig.for_model(kind, **shapes.get(kind, DECODER))
    config.vocab_size = vocabulary
    return config


def pair_tokenizer(kind: str):
    """As the architecture's own: encoders mark both ends and token types, decoders put BOS before
    each text."""
    from tokenizers import processors

    tokenizer = build_tokenizer("bpe_bos")
    encoder = kind in ENCODERS
    ends = [("<s>", 1), ("</s>", 2)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if encoder else "<s> $A",
        pair="<s> $A </s> $B:1 </s>:1" if encoder else "<s> $A <s> $B:1",
        special_tokens=ends,
    )
    if kind == "bert":
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def save_tokenizer(folder: Path, kind: str) -> None:
    """With the names of its outputs, which transformers doesn't save for a tokenizer without a
    class of its own."""
    tokenizer = pair_tokenizer(kind)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(
        json.dumps(
            json.loads(path.read_text()) | {"model_input_names": tokenizer.model_input_names}
        )
    )


def save_backbone(folder: Path, kind: str, seed: int = 0, **changes: int) -> Path:
    """A random language model of an architecture, with changes to its configuration, without a
    classification head."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    config = config_of(kind, len(pair_tokenizer(kind)))
    config.update(changes)
    masked = kind in ENCODERS
    torch.manual_seed(seed)
    (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_config(config).save_pretrained(
        folder
    )
    save_tokenizer(folder, kind)
    return folder


def review_task(name: str, scoring: str = "") -> str:
    """A task's YAML on rows of `review_rows`; `scoring`: lines before its metric, acc."""
    return f"""\
task: {name}
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {{data: {{source: x, columns: {{text: [], label: []}}, labels: [negative, positive]}}}}
training_split: train
validation_split: validation
test_split: test
output_type: multiple_choice
doc_to_text: "Review: {{{{text}}}}"
doc_to_target: label
doc_to_choice: [bad, good]
{scoring}metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


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
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path
