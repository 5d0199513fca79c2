"""Speed of resampling beside lm-eval's `bootstrap_stderr`, and of the comparison of two runs of a
million samples.

Run `python benchmarks/stats.py [SAMPLES]` (default 1,000,000). In one process and one run: 100,000
resamples of macro F1 at n = 2,000 and of BLEU at n = 500, per resample beside lm-eval's own
bootstrap of its own `f1` and `bleu` (which is repeated fewer times, as it is slow). Then two
evaluations are written and compared from `scores.parquet`, with their rows, cases and sentence;
time and the peak memory of that process are printed. Fails if macro F1 is not 300 times, BLEU not
1,000 times as fast, or the comparison takes more than ten seconds.
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

import numpy as np

LM_EVAL_ROUNDS = {"f1": 200, "bleu": 10}
ROUNDS = 100_000
LABELS = ["entailment", "neutral", "contradiction"]
WORDS = [f"word{number}" for number in range(18)]


def time_lm_eval(name: str, items: list) -> float:
    """Seconds a resample."""
    os.environ["DISABLE_MULTIPROC"] = "1"  # else it starts one process per core
    from lm_eval.api import metrics

    aggregate = {"f1": metrics.f1_score, "bleu": metrics.bleu}[name]
    aggregate(items)  # its first call imports
    started = time.perf_counter()
    metrics.bootstrap_stderr(aggregate, items, LM_EVAL_ROUNDS[name])
    return (time.perf_counter() - started) / LM_EVAL_ROUNDS[name]


def time_ours(metric: str, statistics: np.ndarray) -> float:
    """Seconds a resample, the finding of distinct rows included."""
    from ft_harness import stats
    from ft_harness.metrics import find_metric

    started = time.perf_counter()
    how = stats.Resampling(ROUNDS)
    assert stats.score_interval(statistics, find_metric(metric), resampling=how)
    return (time.perf_counter() - started) / ROUNDS


def compare_resampling() -> dict[str, float]:
    """How many times as fast a resample is."""
    from ft_harness.metrics import label_statistics
    from ft_harness.metrics.overlap import bleu_statistics

    generator = random.Random(0)
    labels = [(generator.randrange(2), generator.randrange(2)) for _ in range(2000)]
    rows = np.array(
        [label_statistics(gold, predicted, ["no", "yes"])["f1_macro"] for gold, predicted in labels]
    )
    texts = [
        (" ".join(generator.choices(WORDS, k=20)), " ".join(generator.choices(WORDS, k=20)))
        for _ in range(500)
    ]
    counts = np.array([bleu_statistics(answer, [gold]) for gold, answer in texts])
    times = {
        "f1": (time_lm_eval("f1", labels), time_ours("f1_macro", rows)),
        "bleu": (time_lm_eval("bleu", texts), time_ours("bleu", counts)),
    }
    for name, (theirs, ours) in times.items():
        print(
            f"{name}: lm-eval {theirs * 1e3:.3f} ms a resample, ours {ours * 1e6:.2f} us: {theirs / ours:,.0f} times"
        )
    return {name: theirs / ours for name, (theirs, ours) in times.items()}


def write_evaluation(folder: Path, samples: int, adapter: str | None) -> None:
    """An evaluation of a three-way classification with every metric of labels by likelihood."""
    from ft_harness.metrics import label_metrics, label_statistics
    from ft_harness.metrics.labels import calibration_statistics
    from ft_harness.records import SAMPLES_FILE, Evaluation
    from ft_harness.records.score_table import write_scores
    from ft_harness.storage import write_gzip_lines
    from tests.builders.records import make_record

    folder.mkdir(parents=True)
    record = make_record(adapter, metrics=label_metrics(LABELS))
    (folder / "record.json").write_text(record.model_dump_json())
    generator = random.Random(1 if adapter else 0)
    scores = {
        (gold, predicted, level): label_statistics(gold, predicted, LABELS)
        | calibration_statistics(gold, [level / 50 if index == predicted else 0.0 for index in range(3)])
        for gold in range(3) for predicted in range(3) for level in range(1, 100)
    }  # fmt: skip
    texts = {key: json.dumps(value, separators=(",", ":")) for key, value in scores.items()}

    def lines() -> Iterator[str]:
        for number in range(samples):
            gold = number * 2654435761 % 3
            right = generator.random() < (0.7 if adapter else 0.6)
            predicted = gold if right else (gold + generator.choice([1, 2])) % 3
            sample = {
                "item_key": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}-1", "doc_id": number,
                "doc": {"premise": f"premise {number // 3}"}, "prompt": f"premise {number // 3}\nAnswer:",
                "prompt_hash": f"{number:016x}", "target": LABELS[gold], "target_hash": f"{gold:016x}",
                "responses": [], "prediction": LABELS[predicted], "invalid": False, "truncated": False,
            }  # fmt: skip
            yield f'{json.dumps(sample)[:-1]}, "scores": {texts[gold, predicted, generator.randrange(1, 100)]}}}'

    write_gzip_lines(folder / SAMPLES_FILE, lines())
    write_scores(Evaluation(folder=folder, record=record))


def time_comparison(folder: Path) -> float:
    """Seconds in a process of its own, which prints its memory."""
    code = (
        "import sys, time, resource; from pathlib import Path; from ft_harness.records.finding import load_records;"
        "from ft_harness.comparison.aggregator import compare; started = time.perf_counter();"
        f"base, tuned = load_records([Path({str(folder)!r})]); found = compare(base, tuned);"
        "seconds = time.perf_counter() - started; print(found.sentence);"
        "print(len(found.rows), 'rows,', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, 'MiB,',"
        "f'{time.process_time():.1f} s of CPU time, imports included');"
        "print(seconds)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *said, seconds = done.stdout.strip().split("\n")
    print(*said, f"{float(seconds):.1f} s", sep="\n")
    return float(seconds)


def main(samples: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    faster = compare_resampling()
    with tempfile.TemporaryDirectory() as folder:
        for name, adapter in (("base", None), ("tuned", "tuned")):
            started = time.perf_counter()
            write_evaluation(Path(folder) / name, samples, adapter)
            size = (Path(folder) / name / "scores.parquet").stat().st_size
            seconds = time.perf_counter() - started
            print(
                f"{name}: {samples:,} samples written in {seconds:.0f} s, scores.parquet {size:,} bytes",
                flush=True,
            )
        seconds = time_comparison(Path(folder))
    if faster["f1"] < 300 or faster["bleu"] < 1000 or seconds > 10:
        sys.exit("slower than promised")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
