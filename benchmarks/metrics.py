"""Time and memory of exact match, token F1 and precision, recall and F1 over many generated
answers, in one pass.

Run `python benchmarks/metrics.py [ITEMS]` (default 1,000,000). Every item is one generated text,
scored both as a short answer with one to three references (`score_answer`) and as one of three
labels (`score_label_answer`). Items are made, scored and forgotten one by one; what is kept are the
statistics, in one compact array a metric. Then every metric is aggregated, and macro F1 from 100
bootstrap resamples too. The peak memory of the process must stay below 1 GB: the script ends with
an error if it does not.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np

from ft_harness.metrics import find_metric, score_answer, score_label_answer
from ft_harness.metrics.core import Scores

LIMIT_BYTES = 1_000_000_000
CHUNK = 10_000
LABELS = ["entailment", "neutral", "contradiction"]
LABEL_WORDS = ["yes", "maybe", "no"]
WORDS = [
    "the",
    "cat",
    "Paris",
    "in",
    "1999",
    "river,",
    "a",
    "Eiffel",
    "tower",
    "of",
    "green",
    "house.",
    "straße",
    "北京",
]
OPENINGS = ["Yes.", "no", "maybe", "No,", "I don't know:", "“Maybe”", "yes\nUSER: and now?", ""]
KEPT = {
    "exact_match": np.uint8,
    "token_f1": np.float64,
    "acc": np.uint8,
    "f1_macro": np.uint8,
    "invalid": np.uint8,
}


def scored_items(items: int) -> Iterator[Scores]:
    """Scores of random items."""
    generator = random.Random(0)

    def words(count: int) -> str:
        return " ".join(generator.choices(WORDS, k=count))

    for index in range(items):
        text = f"{generator.choice(OPENINGS)} {words(4)}"
        answers = [f"no {words(3)}" for _ in range(1 + index % 3)]
        doc = {
            "answer": answers,
            "label": index % 3,
            "label_names": LABELS,
            "label_words": LABEL_WORDS,
        }
        yield score_answer(doc, [text]) | score_label_answer(doc, [text])


def collect(items: int) -> dict[str, np.ndarray]:
    """Statistics of each kept metric, [items, statistics]; at most a chunk of them as Python
    objects."""
    waiting: dict[str, list[list[float]]] = {name: [] for name in KEPT}
    chunks: dict[str, list[np.ndarray]] = {name: [] for name in KEPT}

    def store() -> None:
        for name, rows in waiting.items():
            chunks[name].append(np.array(rows, dtype=KEPT[name]))
            rows.clear()

    for count, scores in enumerate(scored_items(items), start=1):
        for name, rows in waiting.items():
            found = scores[name]
            rows.append(found if isinstance(found, list) else [found])
        if count % CHUNK == 0 or count == items:
            store()
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


def aggregate(statistics: dict[str, np.ndarray]) -> dict[str, float]:
    """Every metric that these statistics make, precision, recall and F1 of each label among
    them."""
    values: dict[str, float] = {}
    for name, rows in statistics.items():
        sums = rows.sum(axis=0, dtype=np.float64)
        values[name] = float(find_metric(name).aggregate(sums, len(rows)))
        if name == "f1_macro":
            for kind in ("balanced_acc", "mcc", "f1_weighted", "precision_macro", "recall_macro"):
                values[kind] = float(find_metric(kind).aggregate(sums, len(rows)))
            for index, label in enumerate(LABELS):
                for kind in ("precision", "recall", "f1"):
                    metric = find_metric(f"{kind}_{label}")
                    values[metric.name] = float(
                        metric.aggregate(sums[3 * index : 3 * index + 3], len(rows))
                    )
    return values


def resample(rows: np.ndarray, rounds: int = 100) -> tuple[float, float]:
    """95 % interval of macro F1; items with equal statistics are drawn together."""
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(
        len(rows), counts / len(rows), rounds
    ) @ distinct.astype(np.float64)
    low, high = np.quantile(find_metric("f1_macro").aggregate(drawn, len(rows)), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    started = time.perf_counter()
    statistics = collect(items)
    scored = time.perf_counter()
    values = aggregate(statistics)
    interval = resample(statistics["f1_macro"])
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for name, value in values.items():
        print(f"{name:24} {value:.4f}")
    print(f"{'f1_macro, 95 %':24} {interval[0]:.4f} to {interval[1]:.4f}")
    print(
        f"{items:,} items made and scored in {scored - started:.1f} s ({items / (scored - started):,.0f} a second)"
    )
    print(f"aggregated in {done - scored:.2f} s; peak memory {peak / 1e6:.0f} MB")
    if peak >= LIMIT_BYTES:
        sys.exit(f"peak memory is above {LIMIT_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
