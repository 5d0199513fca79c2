"""Pretrain the bundled demo model: a small Llama on real English text, on two CPU cores.

    python tools/pretrain_demo_model.py train  --shared DIR --work DIR     # resumes from its newest
    checkpoint python tools/pretrain_demo_model.py export --shared DIR --work DIR --out
    src/ft_harness/bundled/model

`--shared` is a folder with `data/` in it (see CONTRIBUTING.md). Text used: unlabelled IMDB reviews
without any text that occurs in IMDB's test half, TinyStories, SST-2 training sentences, SNLI dev
and snli_cad training sentences. Nothing else, and no labels. The order of rows is a pure function
of (seed, step), so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SEED = 20261120
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
HELD_OUT_REVIEWS, HELD_OUT_STORIES = 200, 100


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate; it starts from the weights before it, rounded to bf16
    as exported."""

    steps: int
    peak: float
    decay_share: float


@dataclass(frozen=True)
class Plan:
    """Everything that decides the result: model shape, data repeats and optimisation."""

    vocab_size: int = 4096
    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 6
    num_attention_heads: int = 3
    context: int = 512
    batch_rows: int = 16
    cycles: tuple[Cycle, ...] = (
        Cycle(2700, peak=1.0, decay_share=0.4),
        Cycle(1500, peak=0.7, decay_share=0.96),
    )
    warmup_steps: int = 60
    muon_lr: float = 0.02
    adam_lr: float = 4e-3
    short_text_repeats: int = 3

    @property
    def total_steps(self) -> int:
        return sum(cycle.steps for cycle in self.cycles)

    def cycle_at(self, step: int) -> tuple[Cycle, int]:
        """The cycle that `step` belongs to, and the step's number within it."""
        for cycle in self.cycles:
            if step < cycle.steps:
                return cycle, step
            step -= cycle.steps
        raise ValueError("the step is beyond the plan")


def normalise(text: str) -> str:
    return " ".join(text.replace("<br />", " ").lower().split())


def clean_review(text: str) -> str:
    return text.replace("<br /><br />", "\n").replace("<br />", "\n").strip()


def read_jsonl_gz(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_reviews(data: Path) -> list[str]:
    """Unlabelled reviews, without those whose text occurs in IMDB's test half."""
    forbidden = {normalise(row["text"]) for row in read_jsonl_gz(data / "imdb/imdb_test.jsonl.gz")}
    rows = [row["text"] for row in read_jsonl_gz(data / "imdb/imdb_unsup.jsonl.gz")]
    kept = [clean_review(text) for text in rows if normalise(text) not in forbidden]
    print(
        f"reviews: {len(rows)} read, {len(rows) - len(kept)} left out because IMDB's test half holds them"
    )
    return list(dict.fromkeys(kept))


def read_stories(data: Path) -> list[str]:
    text = (data / "tinystories_sample/tinystories_sample.txt").read_text(encoding="utf-8")
    return [story.strip() for story in text.split("<|endoftext|>")[:-1] if story.strip()]


def read_sentences(data: Path) -> list[str]:
    """SST-2 training sentences and the sentences of SNLI dev and snli_cad train, each once, without
    labels."""
    with (data / "sst2_sentences/train.tsv").open(encoding="utf-8") as lines:
        sentences = [line.rpartition("\t")[0].strip() for line in lines]
    for path, delimiter in ((data / "snli/snli_dev.csv", ","), (data / "snli_cad/train.tsv", "\t")):
        with path.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle, delimiter=delimiter):
                sentences += [row["sentence1"].strip(), row["sentence2"].strip()]
    return list(dict.fromkeys(filter(None, sentences)))


def split_corpus(data: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """(training texts, held-out texts) by source; the held-out texts are the same for every run."""
    rng = np.random.default_rng(SEED)
    train: dict[str, list[str]] = {"sentences": read_sentences(data)}
    held_out: dict[str, list[str]] = {}
    for name, texts, count in (
        ("reviews", read_reviews(data), HELD_OUT_REVIEWS),
        ("stories", read_stories(data), HELD_OUT_STORIES),
    ):
        order = rng.permutation(len(texts))
        held_out[name] = [texts[i] for i in order[:count]]
        train[name] = [texts[i] for i in order[count:]]
    return train, held_out


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE that puts BOS in front, once."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS) or 0)],
    )
    return tokenizer


def prepare(data: Path, work: Path, plan: Plan) -> tuple[Tokenizer, np.ndarray]:
    """The tokenizer and the token stream of the whole corpus, made once and kept in `work`."""
    tokens_path, tokenizer_path = work / "tokens.npy", work / "tokenizer.json"
    if tokens_path.exists():
        return Tokenizer.from_file(str(tokenizer_path)), np.load(tokens_path)
    train, _ = split_corpus(data)
    # The short sources are few: sentences and stories are seen more often than each review.
    documents = train["reviews"] + plan.short_text_repeats * (train["stories"] + train["sentences"])
    tokenizer = train_tokenizer(documents, plan.vocab_size)
    order = np.random.default_rng(SEED + 1).permutation(len(documents))
    eos = tokenizer.token_to_id(EOS) or 0
    pieces: list[int] = []
    for start in range(0, len(order), 1000):
        batch = tokenizer.encode_batch([documents[i] for i in order[start : start + 1000]])
        for encoding in batch:
            pieces += [*encoding.ids, eos]
    tokens = np.array(pieces, dtype=np.uint16)
    tokenizer.save(str(tokenizer_path))
    np.save(tokens_path, tokens)
    print(f"corpus: {len(documents)} documents, {len(tokens)} tokens")
    return tokenizer, tokens


def build_model(plan: Plan, tokenizer: Tokenizer) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=plan.vocab_size,
        hidden_size=plan.hidden_size,
        intermediate_size=plan.intermediate_size,
        num_hidden_layers=plan.num_hidden_layers,
        num_attention_heads=plan.num_attention_heads,
        num_key_value_heads=plan.num_attention_heads,
        max_position_embeddings=plan.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(BOS),
        eos_token_id=tokenizer.token_to_id(EOS),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    return LlamaForCausalLM(config)


def build_optimizers(model: Any, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""
    inside = [
        p
        for n, p in model.named_parameters()
        if p.ndim == 2 and "embed" not in n and "lm_head" not in n
    ]
    chosen = {id(p) for p in inside}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(inside, lr=plan.muon_lr, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=plan.adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def lr_share(step: int, plan: Plan) -> float:
    """In each cycle: warm up, hold the peak, then fall linearly to zero over the last `decay_share`
    of its steps."""
    cycle, done = plan.cycle_at(step)
    decay_start = int(cycle.steps * (1 - cycle.decay_share))
    rise = min(1.0, (done + 1) / plan.warmup_steps)
    fall = min(1.0, (cycle.steps - done) / (cycle.steps - decay_start))
    return cycle.peak * min(rise, fall)


def start_cycle(model: Any, plan: Plan) -> list[torch.optim.Optimizer]:
    """Round the weights to bf16, as `export` writes them, and begin with fresh optimizers."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
    return build_optimizers(model, plan)


def batch_at(tokens: np.ndarray, step: int, plan: Plan) -> torch.Tensor:
    """Rows for one step, [batch_rows, context + 1]: a pure function of the step."""
    per_epoch = (len(tokens) - 1) // (plan.context * plan.batch_rows)
    epoch, index = divmod(step, per_epoch)
    rows = np.random.default_rng((SEED, epoch)).permutation(per_epoch * plan.batch_rows)
    chosen = rows[index * plan.batch_rows : (index + 1) * plan.batch_rows] * plan.context
    return torch.from_numpy(
        np.stack([tokens[i : i + plan.context + 1] for i in chosen]).astype(np.int64)
    )


def save_checkpoint(
    work: Path, step: int, model: Any, optimizers: list[torch.optim.Optimizer]
) -> None:
    """Tensors and step in one safetensors file, replaced atomically."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    for i, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            tensors |= {
                f"opt.{i}.{key}.{name}": torch.as_tensor(value) for name, value in state.items()
            }
    unfinished = work / "checkpoint.tmp"
    save_file(
        {k: v.contiguous() for k, v in tensors.items()}, unfinished, metadata={"step": str(step)}
    )
    os.replace(unfinished, work / "checkpoint.safetensors")


def load_checkpoint(work: Path, model: Any, optimizers: list[torch.optim.Optimizer]) -> int:
    """Restore in place; the number of finished steps (0 without a checkpoint)."""
    from safetensors import safe_open

    path = work / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    model.load_state_dict(
        {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False
    )
    for i, optimizer in enumerate(optimizers):
        saved = optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith(f"opt.{i}."):
                _, _, index, name = key.split(".")
                saved["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(saved)
    with safe_open(path, "pt") as handle:
        return int(handle.metadata()["step"])


def rewind_history(path: Path, step: int) -> None:
    """Drop entries after the checkpoint: those steps are done again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    path.write_text(
        "".join(line for line in lines if json.loads(line)["step"] <= step), encoding="utf-8"
    )


def mean_loss(model: Any, rows: torch.Tensor) -> torch.Tensor:
    """Next-token loss of rows [B, T + 1]: bf16 inside the model, softmax in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def train(data: Path, work: Path, plan: Plan, stop_after: int | None) -> None:
    work.mkdir(parents=True, exist_ok=True)
    tokenizer, tokens = prepare(data, work, plan)
    model = build_model(plan, tokenizer)
    optimizers = build_optimizers(model, plan)
    first = load_checkpoint(work, model, optimizers)
    rewind_history(work / "history.jsonl", first)
    compiled = torch.compile(partial(mean_loss, model))
    bases = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    print(
        f"parameters {sum(p.numel() for p in model.parameters()):,}; from step {first} of {plan.total_steps}"
    )
    started, losses = time.monotonic(), []
    for step in range(first, min(plan.total_steps, stop_after or plan.total_steps)):
        if step and plan.cycle_at(step)[1] == 0:
            optimizers = start_cycle(model, plan)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, base in zip(groups, bases, strict=True):
            group["lr"] = base * lr_share(step, plan)
        rows = batch_at(tokens, step, plan)
        loss = compiled(rows)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        done = step + 1
        if done % 20 == 0:
            speed = (done - first) * plan.batch_rows * plan.context / (time.monotonic() - started)
            entry = {
                "step": done,
                "loss": round(float(np.mean(losses)), 4),
                "lr_share": round(lr_share(step, plan), 4),
            }
            with (work / "history.jsonl").open("a", encoding="utf-8") as history:
                history.write(json.dumps(entry) + "\n")
            print(entry, f"{speed:.0f} tokens/s", flush=True)
            losses = []
        if done % 100 == 0 or done == plan.total_steps:
            save_checkpoint(work, done, model, optimizers)


def bits_per_byte(model: Any, encode: Any, bos: int, texts: list[str], window: int = 512) -> float:
    """Negative log2-likelihood of the texts over their UTF-8 bytes; each window opens with BOS, BOS
    is never scored."""
    nats, size = 0.0, 0
    for text in texts:
        ids = encode(text)
        size += len(text.encode())
        for start in range(0, len(ids), window - 1):
            row = torch.tensor([[bos, *ids[start : start + window - 1]]])
            with torch.inference_mode():
                logits = model(input_ids=row).logits[0, :-1].float()
            nats += torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
    return nats / math.log(2) / size


def held_out_texts(data: Path) -> dict[str, list[str]]:
    _, held_out = split_corpus(data)
    wiki = (data / "wikitext2_raw/wiki.test.raw").read_text(encoding="utf-8").splitlines()
    return held_out | {"wikitext": [line.strip() for line in wiki if len(line.strip()) > 200][:200]}


def measure(data: Path, folder: Path) -> dict[str, float]:
    """Bits per byte of a model folder on the held-out texts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return {
        name: round(bits_per_byte(model, encode, tokenizer.bos_token_id, texts), 3)
        for name, texts in held_out_texts(data).items()
    }


def export(work: Path, out: Path, plan: Plan) -> None:
    """Write the newest checkpoint as a Hugging Face folder: bf16 on disk, float32 in use."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    model = build_model(plan, tokenizer)
    step = load_checkpoint(work, model, build_optimizers(model, plan))
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    config["dtype"] = "float32"
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=plan.context,
    ).save_pretrained(out)
    (out / "pretraining_history.jsonl").write_text((work / "history.jsonl").read_text())
    print(f"step {step}: {sum(p.numel() for p in model.parameters()):,} parameters in {out}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["train", "export", "measure"])
    parser.add_argument("--shared", type=Path, default=os.environ.get("FT_HARNESS_SHARED"))
    parser.add_argument("--work", type=Path, default=Path("pretraining"))
    parser.add_argument("--out", type=Path, help="model folder to write (export) or to measure")
    parser.add_argument(
        "--stop-after", type=int, help="stop after this step (the schedule stays that of the plan)"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="1 where other work shares the machine"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = Path(arguments.shared) / "data"
    if arguments.command == "train":
        train(data, arguments.work, Plan(), arguments.stop_after)
    elif arguments.command == "export":
        export(arguments.work, arguments.out, Plan())
    else:
        print(json.dumps(measure(data, arguments.out)))


if __name__ == "__main__":
    main()
