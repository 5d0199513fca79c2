"""CPU seconds and peak memory of `ft-harness report` over many small evaluations, and of
`ft-harness compare` of two runs of a million samples that `lm_eval` wrote.

    python benchmarks/studies.py report [EVALUATIONS ...]      # default 1,000 and 5,000, of 60 items
    python benchmarks/studies.py compare [SAMPLES]             # default 1,000,000

Evaluations are of 20 tasks, each with a base and as many adapters as it takes; three classes, by
likelihood. The commands run in processes of their own, imports included.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TASKS = 20
ITEMS = 60
LABELS = ["entailment", "neutral", "contradiction"]


def write_study(folder: Path, evaluations: int) -> None:
    """Evaluations as `ft-harness run` writes them, with scores.parquet."""
    from ft_harness.metrics import label_metrics, label_statistics
    from ft_harness.records.score_table import write_scores
    from tests.builders.records import make_record, make_sample, write_evaluation

    metrics = label_metrics(LABELS)
    for number in range(evaluations):
        task, subject = number % TASKS, number // TASKS
        generator, name = random.Random(number), f"adapter-{subject:03d}" if subject else None
        samples = []
        for item in range(ITEMS):
            gold = item % 3
            right = generator.random() < 0.5 + 0.002 * subject
            predicted = gold if right else (gold + generator.choice([1, 2])) % 3
            scores = label_statistics(gold, predicted, LABELS)
            samples.append(make_sample(item, LABELS[gold], LABELS[predicted], scores))
        record = make_record(name, metrics, task=f"task_{task:02d}")
        at = folder / (name or "base--bundled") / record.eval_id
        write_scores(write_evaluation(at, record, samples))


def write_lm_eval(folder: Path, samples: int, adapter: str | None) -> None:
    """A run of `lm_eval --log_samples` over a task of three choices."""
    generator = random.Random(1 if adapter else 0)
    hits, at = 0, folder / "model"
    at.mkdir(parents=True)
    stamp = "2026-01-01T00-00-00.000000"
    with (at / f"samples_nli_{stamp}.jsonl").open("w", encoding="utf-8") as file:
        for number in range(samples):
            gold = number * 2654435761 % 3
            right = generator.random() < (0.7 if adapter else 0.6)
            predicted = gold if right else (gold + generator.choice([1, 2])) % 3
            hits += predicted == gold
            values = [-1.0 if index == predicted else -3.0 for index in range(3)]
            context = f"premise {number // 3} hypothesis {number}\nAnswer:"
            sample = {
                "doc_id": number, "doc": {"premise": f"premise {number // 3}", "hypothesis": f"hypothesis {number}", "label": gold},
                "target": str(gold),
                "arguments": {f"gen_args_{index}": {"arg_0": context, "arg_1": f" {label}"} for index, label in enumerate(LABELS)},
                "resps": [[[str(value), "False"]] for value in values],
                "filtered_resps": [[str(value), "False"] for value in values],
                "filter": "none", "metrics": ["acc"], "doc_hash": f"{number:064x}",
                "prompt_hash": f"{number + 1:064x}", "target_hash": f"{gold:064x}", "acc": float(predicted == gold),
            }  # fmt: skip
            file.write(f"{json.dumps(sample)}\n")
    arguments = "pretrained=models/llama,dtype=float32" + (
        f",peft=adapters/{adapter}" if adapter else ""
    )
    results = {
        "results": {"nli": {"alias": "nli", "acc,none": hits / samples, "acc_stderr,none": 0.001}},
        "group_subtasks": {"nli": []},
        "configs": {"nli": {"task": "nli", "output_type": "multiple_choice", "test_split": "test", "metadata": {"version": 1.0}}},
        "versions": {"nli": 1.0}, "n-shot": {"nli": 0}, "higher_is_better": {"nli": {"acc": True}},
        "n-samples": {"nli": {"original": samples, "effective": samples}},
        "config": {"model": "hf", "model_args": arguments, "batch_size": "8", "limit": None, "gen_kwargs": {}, "random_seed": 0},
        "lm_eval_version": "0.4.12", "model_name": "models/llama",
    }  # fmt: skip
    (at / f"results_{stamp}.json").write_text(json.dumps(results), encoding="utf-8")


def measure(*arguments: str) -> str:
    """How long one command takes, and how much memory."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "ft_harness", *arguments]
    done = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(done.pid, 0)
    if status:
        sys.exit(f"{' '.join(arguments)}: exit code {os.waitstatus_to_exitcode(status)}")
    return (
        f"{used.ru_utime + used.ru_stime:.1f} s of CPU time, {time.perf_counter() - started:.1f} s, "
        f"{used.ru_maxrss // 1024:,} MiB"
    )


def lines(what: str, sizes: list[int]) -> Iterator[str]:
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if what == "report":
                write_study(folder / "results", size)
                used = measure("report", str(folder / "results"), "--out", name)
                yield f"report over {size:,} evaluations of {ITEMS} items: {used}"
            else:
                for side, adapter in (("base", None), ("tuned", "tuned")):
                    write_lm_eval(folder / side, size, adapter)
                sides = [str(folder / side) for side in ("base", "tuned")]
                used = measure("compare", *sides, "--out", name)
                yield f"compare of two runs of lm_eval of {size:,} samples: {used}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    given = [int(size) for size in sys.argv[2:]]
    usual = {"report": [1000, 5000], "compare": [1_000_000]}
    for line in lines(sys.argv[1], given or usual[sys.argv[1]]):
        print(line, flush=True)
