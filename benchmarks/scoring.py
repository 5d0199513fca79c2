"""Log-likelihood scoring: `ft-causal` against lm-eval's stock `hf`, in one run, turn about.

    python benchmarks/scoring.py --data DIR [--items 200] [--repeats 3] [--batch-size 16]

`DIR` holds `tokenizers/gpt2` and `snli/snli_test.csv`. Random Llamas of hidden size 512 in float32 (42 M parameters
with a vocabulary of 32k, 150 M with 256k) score SNLI items x 3 choices, without examples and behind three fixed ones.
The tokenizer is GPT-2's, for 32k cut to its first merges. Ratios are medians over the repeats; peak memory is of a
fresh process for each side, weights included.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORDS = ("entailment", "neutral", "contradiction")
SIZES = {"42M/32k": (32_000, 8), "150M/256k": (256_000, 6)}  # vocabulary, layers
HIDDEN, INNER, HEADS, CONTEXT = 512, 1408, 8, 1024
SIDES = ("ours", "hf")


def load_tokenizer(folder: Path, vocabulary: int) -> Any:
    """GPT-2's tokenizer, cut to its first merges where it is larger than the vocabulary."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
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
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=end, eos_token=end, pad_token=end)
    assert len(tokenizer) <= vocabulary or excess == 0
    return tokenizer


def build_model(vocabulary: int, layers: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=layers,
        num_attention_heads=HEADS, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def read_prompts(path: Path, items: int, shots: int) -> list[str]:
    """Prompts of SNLI items behind `shots` fixed examples."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["gold_label"] in WORDS][: items + shots]
    texts = [f"{row['sentence1']}\nQuestion: {row['sentence2']} True, false or neither?\nAnswer:" for row in rows]
    examples = "".join(f"{text} {row['gold_label']}\n\n" for text, row in zip(texts[:shots], rows, strict=False))
    return [examples + text for text in texts[shots:]]


def make_requests(prompts: list[str]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type="loglikelihood", doc={}, arguments=(prompt, f" {word}"), idx=i)
        for prompt in prompts
        for i, word in enumerate(WORDS)
    ]


def make_side(side: str, model: Any, tokenizer: Any, batch_size: int) -> Any:
    from lm_eval.models.huggingface import HFLM

    from ft_harness.scoring import causal_class

    options = {"pretrained": model, "tokenizer": tokenizer, "max_length": CONTEXT, "device": "cpu"}
    if side == "ours":
        return causal_class()(batch_size=batch_size, **options)
    return HFLM(batch_size=batch_size, softmax_dtype="float32", **options)


def matmul_rate(layers: int, rows: int) -> float:
    """FLOP/s of the model's own matrix products (those of its layers) at `rows` tokens, the best of three."""
    import torch

    shapes = [(HIDDEN, HIDDEN)] * 4 + [(HIDDEN, INNER)] * 2 + [(INNER, HIDDEN)]
    weights = [torch.randn(outputs, inputs) for _ in range(layers) for inputs, outputs in shapes]
    inputs = {width: torch.randn(rows, width) for width in (HIDDEN, INNER)}
    flops = sum(2 * rows * weight.numel() for weight in weights)
    rates = []
    with torch.no_grad():
        for _ in range(4):
            start = time.perf_counter()
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)
            rates.append(flops / (time.perf_counter() - start))
    return max(rates[1:])


def count_work(lm: Any, requests: list[Any]) -> tuple[float, int]:
    """(FLOP of the matrix products that our plan needs, padding not counted; tokens through the layers)."""
    from ft_harness.scoring.planning import cut

    pairs = [lm._encode_pair(*request.args) for request in requests]
    batches = list(lm.scorer.plan([cut(*pair, lm.max_length) for pair in pairs], lm.scorer.traits))
    rows = [row for batch in batches for row in batch.rows]
    tokens = sum(map(len, rows)) + sum(map(len, {batch.prefix for batch in batches}))
    kept = sum(len(row.kept) for row in rows)
    layer = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER
    return 2.0 * (tokens * layer * lm.config.num_hidden_layers + kept * HIDDEN * lm.config.vocab_size), tokens


def run_once(lm: Any, requests: list[Any]) -> tuple[float, list[Any]]:
    start = time.perf_counter()
    results = lm.loglikelihood(requests, disable_tqdm=True)
    return time.perf_counter() - start, results


def compare(name: str, shots: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    vocabulary, layers = SIZES[name]
    tokenizer = load_tokenizer(options.data / "tokenizers" / "gpt2", vocabulary)
    model = build_model(vocabulary, layers)
    requests = make_requests(read_prompts(options.data / "snli" / "snli_test.csv", options.items, shots))
    sides = {side: make_side(side, model, tokenizer, options.batch_size) for side in SIDES}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    results = {}
    for _ in range(options.repeats):
        for side, lm in sides.items():
            taken, results[side] = run_once(lm, requests)
            seconds[side].append(taken)
    flops, tokens = count_work(sides["ours"], requests)
    rate = matmul_rate(layers, 512)
    ours = statistics.median(seconds["ours"])
    pairs = list(zip(results["ours"], results["hf"], strict=True))
    return {
        "model": name, "shots": shots, "items": options.items, "batch_size": options.batch_size,
        "hf_s": statistics.median(seconds["hf"]), "ours_s": ours,
        "ratio": statistics.median(hf / own for hf, own in zip(seconds["hf"], seconds["ours"], strict=True)),
        "ratios": [round(hf / own, 2) for hf, own in zip(seconds["hf"], seconds["ours"], strict=True)],
        "largest_difference": max(abs(a[0] - b[0]) for a, b in pairs),
        "flags_differ": sum(a[1] != b[1] for a, b in pairs), "flips": count_flips(pairs),
        "tokens": tokens, "matmul_gflops": rate / 1e9, "share_of_matmul": flops / ours / rate,
        **{f"{side}_mib": peak_mib(side, name, shots, options) for side in (SIDES if options.memory else ())},
    }  # fmt: skip


def count_flips(pairs: list[Any]) -> int:
    """Items of which the two sides choose different words."""

    def choice(values: list[float]) -> int:
        return max(range(len(WORDS)), key=values.__getitem__)

    items = [pairs[i : i + len(WORDS)] for i in range(0, len(pairs), len(WORDS))]
    return sum(choice([a[0] for a, _ in item]) != choice([b[0] for _, b in item]) for item in items)


def peak_mib(side: str, name: str, shots: int, options: argparse.Namespace) -> float:
    """Peak resident memory of a fresh process that scores with one side."""
    command = [
        sys.executable, __file__, "--data", str(options.data), "--items", str(options.items), "--models", name,
        "--shots", str(shots), "--batch-size", str(options.batch_size), "--alone", side,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def own_peak_mib() -> float:
    """This process's peak resident memory. `getrusage` counts that of the process it was started by where it was
    larger, so Linux is asked about this program alone."""
    status = Path("/proc/self/status")
    if status.is_file():
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_alone(options: argparse.Namespace) -> float:
    """Score once with one side; this process's peak resident memory in MiB."""
    vocabulary, layers = SIZES[options.models[0]]
    tokenizer = load_tokenizer(options.data / "tokenizers" / "gpt2", vocabulary)
    prompts = read_prompts(options.data / "snli" / "snli_test.csv", options.items, options.shots[0])
    lm = make_side(options.alone, build_model(vocabulary, layers), tokenizer, options.batch_size)
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # making random weights takes more than scoring with them
    run_once(lm, make_requests(prompts))
    return own_peak_mib()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 3])
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave peak memory out")
    parser.add_argument("--alone", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.alone:
        print(run_alone(options))
        return
    for name in options.models:
        for shots in options.shots:
            print(json.dumps(compare(name, shots, options)), flush=True)


if __name__ == "__main__":
    main()
