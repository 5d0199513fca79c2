"""Evaluation folders as the harness writes them, for tests that read records."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ft_harness.metrics import label_statistics, score_answer
from ft_harness.records import (
    RECORD_FILE,
    SAMPLES_FILE,
    AdapterInfo,
    Card,
    Cost,
    Evaluation,
    LiveProof,
    ModelInfo,
    Record,
    Sample,
    Score,
    Settings,
    TrainingCost,
)

MODEL = ModelInfo(pretrained="bundled", identity="model-1", dtype="float32", parameters=1000)
LABELS = ["negative", "positive"]
LABEL_METRICS = ("acc", "f1_macro", "f1_negative", "f1_positive")
ANSWER_METRICS = ("exact_match", "token_f1")


def make_settings(**changes: Any) -> Settings:
    """The settings of a zero-shot evaluation of `demo_nli` on its test split, with changes."""
    usual: dict[str, Any] = {
        "task": "demo_nli",
        "task_version": "1.0",
        "task_hash": "task-1",
        "data_hash": "data-1",
        "split": "test",
        "num_fewshot": 0,
        "limit": None,
        "sample_seed": None,
        "chat_template_hash": None,
        "generation_kwargs": {},
        "max_length": 512,
        "batch_size": 8,
        "seed": 1234,
        "back_end": "hf, softmax float32",
        "device": "cpu",
    }
    return Settings(**usual | changes)


def make_score(metric: str, **changes: Any) -> Score:
    """A score without a value: comparisons rest on the samples."""
    usual: dict[str, Any] = {
        "metric": metric,
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "n_invalid": 0,
        "n_truncated": 0,
        "higher_is_better": True,
        "signature": f"metric:{metric}",
    }
    return Score(**usual | changes)


def make_record(
    adapter: str | None = None, metrics: Sequence[str] = LABEL_METRICS, **settings: Any
) -> Record:
    """The record of the base model, or of an adapter of this name."""
    proof = LiveProof(prompts=4, max_logit_change=1.5, changed_prompts=4)
    return Record(
        eval_id=f"{settings.get('task', 'demo_nli')}@{settings.get('split', 'test')}",
        status="complete",
        subject=adapter or "base--bundled",
        model=MODEL,
        adapter=AdapterInfo(
            name=adapter,
            path=f"adapters/{adapter}",
            identity="weights-1",
            trainable_parameters=10,
            live_proof=proof,
        )
        if adapter
        else None,
        settings=make_settings(**settings),
        scores=[make_score(metric) for metric in metrics],
        cost=Cost(seconds=1.0, tokens=100, peak_rss_bytes=1000, peak_gpu_bytes=None),
        provenance={},
    )


def make_sample(
    number: int, target: str, prediction: str | None, scores: dict[str, Any], **changes: Any
) -> Sample:
    """The outcome for item `number`."""
    usual: dict[str, Any] = {
        "item_key": f"item{number:04d}-1",
        "doc_id": number,
        "doc": {"text": f"text {number}"},
        "prompt": f"text {number}\nanswer:",
        "prompt_hash": f"prompt-{number}",
        "target": target,
        "target_hash": f"target-{number}",
        "responses": [],
        "prediction": prediction,
        "invalid": prediction is None,
        "truncated": False,
        "scores": scores,
    }
    return Sample(**usual | changes)


def label_samples(
    golds: Sequence[int], predictions: Sequence[int | None], labels: Sequence[str] = LABELS
) -> list[Sample]:
    """Classified items: gold and predicted indices of labels, None for an answer that names
    none."""
    return [
        make_sample(
            number,
            labels[gold],
            None if predicted is None else labels[predicted],
            label_statistics(gold, predicted, labels),
        )
        for number, (gold, predicted) in enumerate(zip(golds, predictions, strict=True))
    ]


def answer_samples(golds: Sequence[str], predictions: Sequence[str]) -> list[Sample]:
    """Items with a generated answer."""
    return [
        make_sample(number, gold, predicted, score_answer({"answer": gold}, [predicted]))
        for number, (gold, predicted) in enumerate(zip(golds, predictions, strict=True))
    ]


def write_evaluation(folder: Path, record: Record, samples: Sequence[Sample]) -> Evaluation:
    """The evaluation, written to `folder`."""
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text(record.model_dump_json(), encoding="utf-8")
    with gzip.open(folder / SAMPLES_FILE, "wt", encoding="utf-8") as file:
        file.writelines(f"{sample.model_dump_json()}\n" for sample in samples)
    return Evaluation(folder=folder, record=record)


def make_card(name: str) -> Card:
    """The card of an adapter of this name."""
    return Card(
        name=name,
        recipe={},
        fingerprint="fingerprint-1",
        model=MODEL,
        task_hash="task-1",
        data_hash="data-1",
        chat_template_hash=None,
        trainable_parameters=10,
        examples=100,
        truncated_examples=0,
        trained_tokens=200,
        steps=10,
        final_loss=0.5,
        cost=TrainingCost(
            seconds=1.0,
            tokens=100,
            tokens_per_second=100.0,
            peak_rss_bytes=1000,
            peak_gpu_bytes=None,
            adapter_bytes=100,
            hardware="cpu",
        ),
        provenance={},
        files={},
    )
