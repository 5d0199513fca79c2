"""Scoring: `ft-causal` against lm-eval's stock `hf`, in one run, turn about.

    python benchmarks/scoring.py --data DIR [--items 200] [--repeats 3] [--batch-size 16] [--dtype
    float32]

`DIR` holds `tokenizers/gpt2`, `snli/snli_test.csv` and `squad/dev-v1.1.json`. Random Llamas of
hidden size 512 (42 M parameters with a vocabulary of 32k, 150 M with 256k) score SNLI items x 3
choices, without examples and behind three fixed ones, and answer SQuAD's questions: the first ones,
greedily by up to 16 or 64 tokens or with 4 beams by up to 16, and every 50th (`apart`), so that no
two ask about the same passage. With tied embeddings, as here by default, a random model writes one
token again and again, which is easy to guess; with `--untied` it doesn't. The tokenizer is GPT-2's, for 32k cut to its first merges; the
choices are the words entailment, neutral and contradiction. Both sides have the same batch size.
Ratios are medians over the repeats; peak memory is of a fresh process for each side, weights
included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from random_llamas import (
    HIDDEN,
    INNER,
    SIDES,
    SIZES,
    WORDS,
    build_model,
    load_tokenizer,
    make_side,
    snli_requests,
    squad_requests,
)

WORKS = {
    "snli 0-shot": lambda data, items: snli_requests(data, items, 0),
    "snli 3-shot": lambda data, items: snli_requests(data, items, 3),
    "squad greedy": squad_requests,
    "squad greedy 64": lambda data, items: squad_requests(data, items, max_gen_toks=64),
    "squad greedy apart": lambda data, items: squad_requests(data, items, apart=50),
    "squad beams": lambda data, items: squad_requests(data, items, num_beams=4),
}


def matmul_rate(model: Any, rows: int) -> float:
    """FLOP/s of the model's own matrix products (those of its layers) at `rows` tokens, the best of
    three."""
    import torch

    shapes = [(HIDDEN, HIDDEN)] * 4 + [(HIDDEN, INNER)] * 2 + [(INNER, HIDDEN)]
    layers, dtype = model.config.num_hidden_layers, model.dtype
    weights = [
        torch.randn(outputs, inputs).to(dtype) for _ in range(layers) for inputs, outputs in shapes
    ]
    inputs = {width: torch.randn(rows, width).to(dtype) for width in (HIDDEN, INNER)}
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
    """(FLOP of the matrix products that our plan needs, padding not counted; tokens through the
    layers)."""
    from ft_harness.evaluation.backends.planning import cut_left

    pairs = [lm._encode_pair(*request.args) for request in requests]
    batches = list(
        lm.scorer.plan([cut_left(*pair, lm.max_length) for pair in pairs], lm.scorer.traits)
    )
    rows = [row for batch in batches for row in batch.rows]
    tokens = sum(map(len, rows)) + sum(map(len, {batch.prefix for batch in batches}))
    kept = sum(len(row.kept) for row in rows)
    keys, rest = 2 * HIDDEN * HIDDEN, 2 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER
    layers = lm.config.num_hidden_layers * (keys + rest)
    # The last layer makes keys and values alone where nothing is read.
    unread = (tokens - kept) * rest if lm.scorer.traits.trims else 0
    return 2.0 * (tokens * layers - unread + kept * HIDDEN * lm.config.vocab_size), tokens


def run_once(lm: Any, requests: list[Any]) -> tuple[float, list[Any]]:
    start = time.perf_counter()
    generates = requests[0].request_type == "generate_until"
    results = (lm.generate_until if generates else lm.loglikelihood)(requests, disable_tqdm=True)
    return time.perf_counter() - start, results


def compare(name: str, work: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    tokenizer, model = (
        load_tokenizer(options.data, name),
        build_model(name, options.dtype, tied=not options.untied),
    )
    requests = WORKS[work](options.data, options.items)
    sides = {side: make_side(side, model, tokenizer, options.batch_size) for side in SIDES}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    results = {}
    for _ in range(options.repeats):
        for side, lm in sides.items():
            taken, results[side] = run_once(lm, requests)
            seconds[side].append(taken)
    ratios = [hf / own for hf, own in zip(seconds["hf"], seconds["ours"], strict=True)]
    pairs = list(zip(results["ours"], results["hf"], strict=True))
    row = {
        "model": name, "untied": options.untied, "work": work, "items": options.items, "batch_size": options.batch_size, "dtype": options.dtype,
        **{f"{side}_s": round(statistics.median(seconds[side]), 2) for side in SIDES},
        "ratio": round(statistics.median(ratios), 2), "ratios": [round(ratio, 2) for ratio in ratios],
    }  # fmt: skip
    if work.startswith("squad"):
        row["answers_differ"] = sum(ours != theirs for ours, theirs in pairs)
    else:
        row |= agreement(pairs)
        flops, row["tokens"] = count_work(sides["ours"], requests)
        rate = matmul_rate(model, 512)
        row["matmul_gflops"] = round(rate / 1e9, 1)
        row["share_of_matmul"] = round(flops / statistics.median(seconds["ours"]) / rate, 3)
    if options.memory:
        peaks = {side: peak_mib(side, name, work, options) for side in SIDES}
        row |= {f"{side}_mib": round(peak) for side, peak in peaks.items()}
        row["memory_ratio"] = round(peaks["ours"] / peaks["hf"], 3)
    return row


def agreement(pairs: list[Any]) -> dict[str, Any]:
    """How far the log-likelihoods of both sides lie apart, in nats, and what that changes."""
    return {
        "largest_difference": max(abs(a[0] - b[0]) for a, b in pairs),
        "flags_differ": sum(a[1] != b[1] for a, b in pairs),
        "flips": count_flips(pairs),
    }


def count_flips(pairs: list[Any]) -> int:
    """Items of which the two sides choose different words."""

    def choice(values: list[float]) -> int:
        return max(range(len(WORDS)), key=values.__getitem__)

    items = [pairs[i : i + len(WORDS)] for i in range(0, len(pairs), len(WORDS))]
    return sum(choice([a[0] for a, _ in item]) != choice([b[0] for _, b in item]) for item in items)


def peak_mib(side: str, name: str, work: str, options: argparse.Namespace) -> float:
    """Peak resident memory of a fresh process that scores with one side."""
    command = [
        sys.executable, __file__, "--data", str(options.data), "--items", str(options.items), "--models", name,
        "--works", work, "--batch-size", str(options.batch_size), "--dtype", options.dtype, "--alone", side,
        *["--untied"] * options.untied,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def run_alone(options: argparse.Namespace) -> float:
    """Score once with one side; this process's peak resident memory in MiB."""
    from ft_harness.models.memory import peak_rss_bytes, reset_peaks

    (name,), (work,) = options.models, options.works
    model = build_model(name, options.dtype, tied=not options.untied)
    lm = make_side(options.alone, model, load_tokenizer(options.data, name), options.batch_size)
    reset_peaks()
    run_once(lm, WORKS[work](options.data, options.items))
    return peak_rss_bytes() / 2**20


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument(
        "--untied",
        action="store_true",
        help="a head of its own: texts that don't repeat themselves",
    )
    parser.add_argument(
        "--no-memory", dest="memory", action="store_false", help="leave peak memory out"
    )
    parser.add_argument("--alone", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.alone:
        print(run_alone(options))
        return
    for name in options.models:
        for work in options.works:
            print(json.dumps(compare(name, work, options)), flush=True)


if __name__ == "__main__":
    main()
