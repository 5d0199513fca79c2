"""What loader, metrics, scoring and training give for fixed inputs, next to the versions they have.

`python -m tests.builders.golden` writes the file anew, after a version was raised on purpose.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ft_harness import metrics
from ft_harness.data import LOADER_VERSION, load_splits
from ft_harness.evaluation.backends import GeneratedText, ScoredAnswer, ScoredText
from ft_harness.evaluation.jobs import SCORING_VERSION
from ft_harness.metrics import find_metric
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.training.plan import TRAINING_VERSION

FILE = Path(__file__).with_name("golden.json")
ROWS = [
    ("a warm film", "pos", "x"),
    ("a cold film", "neg", "x"),
    ("a dull story", "neg", "y"),
    ("a bright story", "pos", "y"),
    ("Ça va très bien, 映画は良かった", "pos", "z"),
    ('said "so so", then left', "neg", "z"),
    ("a film of 3.0 hours", "neg", "u"),
    ("a short film", "pos", "v"),
    ("a film\nin two lines", "pos", "w"),
    ("a last film", "neg", "w"),
]
SOURCES: dict[str, dict[str, Any]] = {
    "carved": {},
    "sized": {"train_size": 4, "test_size": 3, "seed": 1},
    "grouped": {"group_by": "group"},
}
ANSWERS = [
    ("the cat sat on the mat", "a cat sat on the mat"),
    ("Paris", "in Paris, France"),
    ("no", ""),
]
RECIPE = """
model: {pretrained: bundled}
task: {name: demo_sentiment}
data: {train_size: 24}
adapter: {r: 4, lora_alpha: 8, lora_dropout: 0.0}
train: {learning_rate: 1.0e-3, max_steps: 3, per_device_train_batch_size: 8}
eval: {splits: [test], limit: 6, batch_size: 6}
"""


def measure_loader() -> dict[str, Any]:
    """A digest of the docs of every split, for each of a few ways to split one file."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.jsonl"
        rows = [{"text": text, "label": label, "group": group} for text, label, group in ROWS]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        options = {
            "source": str(source),
            "columns": {"text": [], "label": []},
            "labels": ["neg", "pos"],
        }
        found = {name: load_splits(options | more) for name, more in SOURCES.items()}
        docs = {name: {s: list(d) for s, d in splits.items()} for name, splits in found.items()}
    return {"version": LOADER_VERSION, "value": sha256_text(canonical_json(docs))}


def _statistics() -> list[Mapping[str, Any]]:
    """Per-item scores of every scoring function of ours on a few docs."""
    doc = {"label": 1, "label_names": ["neg", "pos"], "label_words": ["bad", "good"]}
    scored: list[Mapping[str, Any]] = [
        metrics.score_label(doc, [(-2.0, False), (-1.0, True)]),
        metrics.score_label(doc | {"label": 0}, [(-1.5, False), (-1.0, True)]),
        metrics.score_label(doc, [(-0.5, True), (-3.0, False)]),
    ]
    for answer in ("good", "It is bad.", "who knows"):
        scored.append(metrics.score_label_answer(doc, [answer]))
    for gold, answer in ANSWERS:
        text = GeneratedText(answer)
        text.truncated = len(answer) > 10
        scored.append(metrics.score_answer({"answer": gold}, [text]))
        scored.append(metrics.score_text({"answer": gold}, [answer]))
        scored.append(metrics.score_squad({"answers": [gold]}, [answer]))
        likelihood, rolling = ScoredAnswer((-4.5, False)), ScoredText(-20.25)
        likelihood.tokens, rolling.tokens = 3, 9
        scored.append(metrics.score_answer_ppl({"answer": gold}, [likelihood]))
        scored.append(metrics.score_text_ppl({"text": gold}, [rolling]))
    scored.append(metrics.score_squad({"answers": []}, ["unanswerable"]))
    scored.append(
        metrics.score_preference({"chosen": "a cat", "rejected": "a dog it is"}, likelihoods())
    )
    return scored


def likelihoods() -> list[ScoredAnswer]:
    """Those of a pair of answers of 3 and 6 tokens."""
    found = []
    for value, tokens in ((-4.5, 3), (-8.0, 6)):
        scored = ScoredAnswer((value, False))
        scored.tokens = tokens
        found.append(scored)
    return found


def measure_metrics() -> dict[str, Any]:
    """Each metric over the docs of `_statistics` that have it."""
    items: dict[str, list[Any]] = {}
    for scores in _statistics():
        for name, value in scores.items():
            items.setdefault(name, []).append(value)
    return {
        name: {"version": find_metric(name).version, "value": _value(name, values)}
        for name, values in sorted(items.items())
    }


def _value(name: str, values: list[Any]) -> float | None:
    kinds = {len(value) if isinstance(value, list) else 0 for value in values if value is not None}
    widest = max(kinds, default=0)  # a metric of two scoring functions: those with the most counts
    return find_metric(name).value(
        [v for v in values if v is None or (len(v) if isinstance(v, list) else 0) == widest]
    )


def measure_run() -> dict[str, Any]:
    """Log-likelihoods of the bundled base and of an adapter of three steps, and its losses."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "golden" / "recipe.yaml"
        recipe.parent.mkdir()
        recipe.write_text(RECIPE, encoding="utf-8")
        command = [sys.executable, "-m", "ft_harness", "run", str(recipe), "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        history = (Path(folder) / "adapters" / "golden" / "history.jsonl").read_text("utf-8")
        losses = [
            entry["loss"] for entry in map(json.loads, history.splitlines()) if "loss" in entry
        ]
        base, tuned = (
            _likelihoods(Path(folder) / "results" / subject)
            for subject in ("base--bundled", "golden")
        )
    losses = [loss for loss in losses if loss is not None]
    return {
        "scoring": {"version": SCORING_VERSION, "value": base},
        "training": {"version": TRAINING_VERSION, "value": [*losses, *tuned]},
    }


def _likelihoods(subject: Path) -> list[float]:
    """Log-likelihood of every choice of every doc of a subject's one evaluation."""
    (samples,) = subject.glob("*/samples.jsonl.gz")
    with gzip.open(samples, "rt", encoding="utf-8") as lines:
        responses = [json.loads(line)["responses"] for line in lines]
    return [float(choice[0]) for doc in responses for choice in doc]


def measure() -> dict[str, Any]:
    return {"loader": measure_loader(), "metrics": measure_metrics(), **measure_run()}


if __name__ == "__main__":
    FILE.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
