"""An evaluation in lm-eval's own layout: a results file and a file of samples, as its command
writes them with `--log_samples --output_path`.

What reads lm-eval's files reads these, this package included: scores, items, prompts, targets,
responses and settings come back equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ft_harness.records import Evaluation, Record, Sample

_FORMAT = "%Y-%m-%dT%H-%M-%S.%f"
_PLAIN = "none"  # lm-eval's name of no filter
_SPLITS = {"train": "training", "validation": "validation", "test": "test"}
_BOOLEANS = {True: "True", False: "False"}


def lm_eval_folder(record: Record) -> str:
    """Where an evaluation's files go below an output folder in lm-eval's layout: it has one folder
    per model."""
    return f"{record.subject}/{record.eval_id}".replace("@", "-")


def lm_eval_date(seconds: float) -> str:
    """The date in the names of lm-eval's files, in UTC, from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_FORMAT)


def lm_eval_results(evaluation: Evaluation, date: float) -> str:
    """An evaluation as the content of lm-eval's `results_<date>.json`.

    Scores of a metric are named as lm-eval names them, `acc,none`; an undefined one is `N/A`. The
    interval has no place there: `acc_stderr,none` is `N/A`.
    """
    record = evaluation.record
    settings, task = record.settings, record.settings.task
    packages = record.provenance.get("packages") or {}
    count = sum(1 for _ in evaluation.samples())
    content: dict[str, Any] = {
        "results": {task: {"alias": task, **_numbers(record)}},
        "group_subtasks": {task: []},
        "configs": {task: _task_config(evaluation)},
        "versions": {task: _version(settings.task_version)},
        "n-shot": {task: settings.num_fewshot},
        "higher_is_better": {
            task: {score.metric: score.higher_is_better for score in record.scores}
        },
        "n-samples": {task: dict.fromkeys(("original", "effective"), count)},
        "config": _run_config(record),
        "date": date,
        "lm_eval_version": packages.get("lm-eval"),
        "transformers_version": packages.get("transformers"),
        "git_hash": (record.provenance.get("code") or {}).get("commit"),
        "max_length": settings.max_length,
        "chat_template_sha": settings.chat_template_hash,
        "system_instruction": settings.system_instruction,
        "fewshot_as_multiturn": settings.fewshot_as_multiturn,
        "model_name": record.adapter.path if record.adapter else record.model.pretrained,
        "total_evaluation_time_seconds": str(record.cost.seconds) if record.cost else None,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def lm_eval_samples(evaluation: Evaluation) -> Iterator[str]:
    """An evaluation as the lines of lm-eval's `samples_<task>_<date>.jsonl`, one per doc, without
    line ends."""
    name = _filter(evaluation.record)
    for sample in evaluation.samples():
        yield json.dumps(_line(sample, name), ensure_ascii=False, allow_nan=False)


def _filter(record: Record) -> str:
    return (record.foreign.filter if record.foreign else None) or _PLAIN


def _numbers(record: Record) -> dict[str, float | str]:
    name = _filter(record)
    found: dict[str, float | str] = {}
    for score in record.scores:
        found[f"{score.metric},{name}"] = "N/A" if score.value is None else score.value
        found[f"{score.metric}_stderr,{name}"] = "N/A"
    return found


def _version(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _task_config(evaluation: Evaluation) -> dict[str, Any]:
    """What the record knows of the task: its prompts and answers are named by their hash."""
    settings = evaluation.record.settings
    metadata: dict[str, Any] = {"version": _version(settings.task_version)}
    if evaluation.record.primary_metric:
        metadata["primary_metric"] = evaluation.record.primary_metric
    if settings.cluster:
        metadata["cluster"] = settings.cluster
    return {
        "task": settings.task,
        f"{_SPLITS[settings.split]}_split": settings.split,
        "output_type": _output_type(evaluation),
        "num_fewshot": settings.num_fewshot,
        "generation_kwargs": settings.generation_kwargs,
        "metadata": {**metadata, "task_hash": settings.task_hash, "split": settings.split},
        "description": f"definition {settings.task_hash}",
    }


def _output_type(evaluation: Evaluation) -> str:
    first = next(evaluation.samples(), None)
    if first is not None and first.choices is not None:
        return "multiple_choice"
    if evaluation.record.settings.generation_kwargs:
        return "generate_until"
    scored = first is not None and any(isinstance(each, list) for each in first.responses)
    return "loglikelihood" if scored else "loglikelihood_rolling"


def _model_arguments(record: Record) -> dict[str, str]:
    """`--model_args` that name the same model."""
    model = record.model
    given = {"pretrained": model.pretrained, "dtype": model.dtype}
    if model.revision:
        given["revision"] = model.revision
    if model.quantization:
        given["quantization"] = model.quantization
    if record.adapter:
        given["peft"] = record.adapter.path
    return given


def _run_config(record: Record) -> dict[str, Any]:
    settings = record.settings
    return {
        "model": settings.back_end,
        "model_args": _model_arguments(record),
        "model_num_parameters": record.model.parameters or -1,  # as lm-eval where it knows none
        "model_dtype": record.model.dtype,
        "model_sha": record.model.identity,
        "batch_size": settings.batch_size,
        "device": settings.device,
        "limit": settings.limit,
        "gen_kwargs": None,
        "fewshot_seed": settings.seed,
        "text_fields": settings.text_fields,
    }


def _line(sample: Sample, name: str) -> dict[str, Any]:
    """One sample with lm-eval's own names; numbers of responses are texts there."""
    texts = sample.choices or [""] * max(1, len(sample.responses))
    arguments = {
        f"gen_args_{place}": {"arg_0": sample.prompt, "arg_1": text}
        for place, text in enumerate(texts)
    }
    responses = [
        [str(each[0]), _BOOLEANS[bool(each[1])]] if isinstance(each, list) else each
        for each in sample.responses
    ]
    doc = json.dumps(sample.doc, indent=2, ensure_ascii=False)  # as lm-eval hashes it
    return {
        "doc_id": sample.doc_id,
        "doc": sample.doc,
        "target": _target(sample),
        "arguments": arguments,
        "resps": [[each] for each in responses],
        "filtered_resps": responses,
        "filter": name,
        "metrics": [*sample.scores],
        "doc_hash": sha256(doc.encode()).hexdigest(),
        "prompt_hash": sample.prompt_hash,
        "target_hash": sample.target_hash,
        **sample.scores,
    }


def _target(sample: Sample) -> str:
    """The right answer as lm-eval writes it: of choices their number, of several texts a list."""
    plain = [choice.strip() for choice in sample.choices or []]
    golds = sample.targets or [sample.target]
    if plain and all(gold in plain for gold in golds):
        places = [plain.index(gold) for gold in golds]
        return str(places if len(places) > 1 else places[0])
    return str(golds) if len(golds) > 1 else sample.target
