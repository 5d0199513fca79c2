"""An evaluation in the schema of Every Eval Ever, a shared collection of evaluation results.

Source: https://github.com/evaleval/every_eval_ever, eval.schema.json 0.3.0.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

from ft_harness.comparison.amounts import scale_of
from ft_harness.errors import InputError
from ft_harness.metrics import find_metric
from ft_harness.paths import is_hub_id
from ft_harness.publish.base_name import shown_base
from ft_harness.records import Evaluation, Record, Score
from ft_harness.stats import wilson_interval
from ft_harness.storage import canonical_json, sha256_text

SCHEMA_VERSION = "0.3.0"
_LIBRARY = "ft_harness"
_UNKNOWN = "unknown"
_LOCAL = "local"
_SPLITS = {"train": "train", "validation": "val", "test": "test"}
_LEVEL = 0.95


def every_eval_ever_path(record: Record) -> str:
    """Where the collection has the file of an evaluation: `data/TASK/DEVELOPER/MODEL/UUID.json`.

    The number is made of what the record says, so that the same evaluation has the same one.
    """
    owner, _, name = _model_id(record).rpartition("/")
    digest = sha256_text(canonical_json(record.model_dump(mode="json")))
    number = uuid.UUID(digest[:32], version=4)
    return f"data/{record.settings.task}/{owner or _LOCAL}/{name}/{number}.json"


def every_eval_ever_json(evaluation: Evaluation, date: float) -> str:
    """An evaluation's defined scores with their intervals; undefined ones have no place there.

    An adapter is named by itself, its base in the details.

    Args:
        date: when the record was made, in seconds since 1970.
    """
    record = evaluation.record
    made = f"{date:.0f}"
    content = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{record.settings.task}/{_model_id(record)}/{made}",
        "evaluation_timestamp": made,
        "retrieved_timestamp": made,
        "source_metadata": {
            "source_name": "ft-harness",
            "source_type": "evaluation_run",
            "source_organization_name": _UNKNOWN,
            "evaluator_relationship": "other",
        },
        "eval_library": _library(record),
        "model_info": _model(record),
        "evaluation_results": [
            _result(record, score) for score in record.scores if score.value is not None
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _model_id(record: Record) -> str:
    if record.adapter is not None:
        return record.adapter.name
    given = record.model.pretrained
    return given if is_hub_id(given) else record.subject.removeprefix("base--")


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """The details that are known, as the texts that the schema takes."""
    return {name: str(value) for name, value in given.items() if value is not None}


def _library(record: Record) -> dict[str, Any]:
    packages = record.provenance.get("packages") or {}
    if record.foreign is not None:
        name, _, version = record.foreign.program.rpartition(" ")
        return {"name": name.rstrip(",") or version, "version": version}
    return {
        "name": _LIBRARY,
        "version": str(packages.get("ft-harness", _UNKNOWN)),
        "additional_details": _texts(
            {"lm_eval": packages.get("lm-eval"), "back_end": record.settings.back_end}
        ),
    }


def _model(record: Record) -> dict[str, Any]:
    model, adapter = record.model, record.adapter
    name = _model_id(record)
    hub = adapter is None and is_hub_id(model.pretrained)
    details = _texts(
        {
            "deployment_type": "self_deployed",
            "model_availability": "open_weights" if hub else _UNKNOWN,
            "base_model": shown_base(model) if adapter else None,
            "base_revision": model.revision,
            "base_identity": model.identity,
            "adapter_identity": adapter and adapter.identity,
            "dtype": model.dtype,
            "quantization": model.quantization,
            "parameters": model.parameters,
            "trainable_parameters": adapter and adapter.trainable_parameters,
        }
    )
    developer = {"developer": name.partition("/")[0]} if hub and "/" in name else {}
    return {"name": name, "id": name, **developer, "additional_details": details}


def _result(record: Record, score: Score) -> dict[str, Any]:
    settings = record.settings
    name = f"{settings.task} ({settings.split})"
    details = _texts(
        {
            "n_invalid": score.n_invalid,
            "n_truncated": score.n_truncated,
            "signature": score.signature,
            "as_stated": score.is_stated or None,
        }
    )
    return {
        "evaluation_result_id": f"{record.eval_id}/{score.metric}",
        "evaluation_name": name,
        "source_data": {
            "dataset_name": settings.task,
            "source_type": "other",
            "additional_details": _texts(
                {
                    "split": _SPLITS[settings.split],
                    "data_hash": settings.data_hash,
                    "task_version": settings.task_version,
                    "task_hash": settings.task_hash,
                    "limit": settings.limit,
                }
            ),
        },
        "metric_config": _metric(score),
        "score_details": {
            "score": score.value,
            "details": details,
            "uncertainty": _uncertainty(record, score),
        },
        "generation_config": _generation(record),
    }


def _metric(score: Score) -> dict[str, Any]:
    scale = scale_of(score.metric)
    if scale is None:
        limits: dict[str, Any] = {}
    else:
        highest = "Infinity" if math.isinf(scale) else scale
        limits = {
            "score_type": "continuous",
            "min_score": _lowest(score.metric),
            "max_score": highest,
        }
    unit = {1.0: "proportion", 100.0: "points"}.get(scale or 0.0)
    return {
        "metric_id": score.metric,
        "metric_name": score.metric,
        "lower_is_better": not score.higher_is_better,
        **({"metric_unit": unit} if unit else {}),
        **limits,
    }


def _lowest(metric: str) -> float:
    """Of a correlation -1, of a perplexity 1, of all others 0."""
    if metric == "mcc":
        return -1.0
    return 1.0 if metric.endswith("_ppl") else 0.0


def _uncertainty(record: Record, score: Score) -> dict[str, Any]:
    if score.low is None or score.high is None:
        return {"num_samples": score.n}
    interval = {
        "lower": score.low,
        "upper": score.high,
        "confidence_level": _LEVEL,
        "method": _method(record, score),
    }
    return {"confidence_interval": interval, "num_samples": score.n}


def _method(record: Record, score: Score) -> str:
    """As `stats.score_interval` chooses it."""
    cluster = record.settings.cluster
    try:
        binary = find_metric(score.metric).binary
    except InputError:  # a metric of another program's
        binary = False
    # a task's own function may give others than zeros and ones
    right = round((score.value or 0.0) * score.n)
    if binary and cluster is None and (score.low, score.high) == wilson_interval(right, score.n):
        return "Wilson score interval"
    return f"random weights of {'clusters' if cluster else 'items'} (ft-harness docs/statistics.md)"


def _generation(record: Record) -> dict[str, Any]:
    """Decoding, where anything was generated, and the number of examples in the prompt."""
    settings = record.settings
    kwargs = settings.generation_kwargs
    named = {
        "temperature": kwargs.get("temperature"),
        "top_p": kwargs.get("top_p"),
        "top_k": kwargs.get("top_k"),
        "max_tokens": kwargs.get("max_gen_toks"),
    }
    arguments = {name: value for name, value in named.items() if isinstance(value, int | float)}
    details = _texts(
        {
            "num_fewshot": settings.num_fewshot,
            "chat_template_hash": settings.chat_template_hash,
            "generation_kwargs": canonical_json(kwargs) if kwargs else None,
        }
    )
    return {"generation_args": arguments, "additional_details": details}
