"""lm-eval's samples as ours, and the scores of a split from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.evaluation.item_scores import failed_score, plain_scores
from ft_harness.evaluation.jobs import Job, ModelState
from ft_harness.metrics import describe, find_metric
from ft_harness.records import Sample, Score, item_hash
from ft_harness.records.provenance import package_versions
from ft_harness.stats import score_interval


def make_sample(
    job: Job, item: Mapping[str, Any], truncated: set[str], occurrences: Counter[str]
) -> Sample:
    """lm-eval's sample of one doc as ours."""
    key = item_hash(item["doc"])
    # Equal docs are told from each other by their number, so that both sides pair them in one
    # order.
    occurrences[key] += 1
    rolling = job.task.OUTPUT_TYPE == "loglikelihood_rolling"
    prompt = "" if rolling else item["arguments"][0][0]  # a running text follows upon nothing
    # Before the scores: of a response that never came lm-eval computes a score of the placeholder.
    failed = _failure(item)
    # After the filters: what a metric was given is what is saved and shown.
    given = [] if failed else item["filtered_resps"]
    failed = failed or failed_score({metric: item[metric] for metric in item["metrics"]})
    responses = [_response(response) for response in given]
    prediction, target = _answers(job.task.OUTPUT_TYPE, item, responses)
    scores = plain_scores({metric: None if failed else item[metric] for metric in item["metrics"]})
    return Sample(
        item_key=f"{key}-{occurrences[key]}",
        doc_id=item["doc_id"],
        doc=item["doc"],
        prompt=prompt,
        prompt_hash=item["prompt_hash"],
        target=target,
        target_hash=item["target_hash"],
        responses=responses,
        prediction=prediction,
        invalid=scores.get("invalid") == 1.0,
        truncated=not rolling and prompt in truncated,
        scores=scores,
        choices=_choices(job.task.OUTPUT_TYPE, item),
        tokens=_noted(given, "tokens"),
        unfinished=_noted(given, "truncated"),
        failed=failed,
    )


def _choices(output_type: str, item: Mapping[str, Any]) -> list[str] | None:
    """The answers that were scored, with their delimiters; None where nothing was chosen."""
    if output_type != "multiple_choice":
        return None
    return [arguments[1] for arguments in item["arguments"]]


def _failure(item: Mapping[str, Any]) -> str | None:
    """Why a request of a doc has no answer; read off what the model gave, before filters made
    something else of it."""
    given = (response for responses in item["resps"] for response in responses)
    return next(
        (reason for response in given if (reason := getattr(response, "failed", None))), None
    )


def _noted(responses: Sequence[Any], name: str) -> list[Any] | None:
    """What the back-end noted on each response; None where it did not, or a filter made another
    text of one."""
    values = [getattr(response, name, None) for response in responses]
    return None if not values or None in values else values


def _response(response: Any) -> Any:
    """A model's response as JSON knows it: the back-end's are tuples, floats and texts with
    attributes of their own."""
    plain = {tuple: list, float: float, str: str}
    return next(
        (make(response) for kind, make in plain.items() if isinstance(response, kind)), response
    )


def _answers(
    output_type: str, item: Mapping[str, Any], responses: list[Any]
) -> tuple[str | None, str]:
    """(what the model answered, what was right), as text without the delimiter.

    Where only the likelihood of the right text was asked for, the model answered nothing: None.
    """
    # An index of the choices, a text, or a list of accepted texts.
    target = item["target"]
    if output_type == "multiple_choice":
        choices = _choices(output_type, item) or []
        gold = choices[target] if isinstance(target, int) else str(target)
        if not responses:
            return None, gold.strip()
        chosen = int(np.argmax([response[0] for response in responses]))
        return choices[chosen].strip(), gold.strip()
    right = str(next(iter(target), "") if isinstance(target, list) else target)
    if output_type == "loglikelihood":
        return None, right.strip()
    generated = output_type == "generate_until" and responses
    return str(responses[0]).strip() if generated else None, right


def metric_values(samples: Sequence[Sample], metric: str) -> list[float | list[float]]:
    """What one metric gave for each doc; docs for which it is undefined are left out."""
    return [value for sample in samples if (value := sample.scores.get(metric)) is not None]


def make_scores(state: ModelState, job: Job, samples: Sequence[Sample]) -> list[Score]:
    """The scores of a split, metric by metric, from the outcomes of its docs."""
    scores: list[Score] = []
    # A metric's definition may depend on the language of a doc (BLEU's tokeniser), which its
    # signature must say.
    languages = {
        language for sample in samples if isinstance(language := sample.doc.get("language"), str)
    }
    for name, higher_is_better in job.task.higher_is_better().items():
        metric = find_metric(name)
        # A metric that is undefined for an item (no answer among the answerable questions) rests on
        # the others; n says on how many.
        scored = [sample for sample in samples if sample.scores.get(name) is not None]
        values = metric_values(scored, name)
        rows = np.array(values, dtype=np.float64).reshape(len(values), -1 if values else 1)
        # Of the items with a score: others are in no sum.
        clusters = _clusters(job.settings.cluster, scored)
        interval = None if metric.descriptive else score_interval(rows, metric, clusters)
        low, high = interval or (None, None)
        scores.append(
            Score(
                metric=name,
                value=metric.value(values),
                low=low,
                high=high,
                n=len(values),
                n_invalid=sum(sample.invalid for sample in samples),
                n_truncated=sum(sample.truncated for sample in samples),
                higher_is_better=bool(higher_is_better),
                signature=_signature(state, job, name, languages),
            )
        )
    return scores


def _clusters(field: str | None, samples: Sequence[Sample]) -> NDArray[np.int64] | None:
    """Which cluster each item belongs to, from 0; None where each item is its own."""
    texts = [str(sample.doc[field]) for sample in samples if field in sample.doc] if field else []
    # Items that the field says nothing of can't be put into clusters, and as many clusters as items
    # are none.
    if not texts or len(texts) < len(samples) or len(set(texts)) == len(texts):
        return None
    return np.unique(np.array(texts), return_inverse=True)[1].astype(np.int64)


def _signature(state: ModelState, job: Job, metric: str, languages: Collection[str]) -> str:
    """The line of what made a score; `languages` are those that the docs name."""
    settings, versions = job.settings, package_versions()
    named: list[str | None] = list(languages) or [None]
    definitions = sorted({describe(metric, language) for language in named} - {""})
    parts = {
        "metric": metric,
        **({"definition": " or ".join(definitions)} if definitions else {}),
        "task": f"{settings.task} v{settings.task_version} ({settings.task_hash})",
        "shots": settings.num_fewshot,
        "back-end": settings.back_end,
        "dtype": state.base.info.dtype,
        "max_length": settings.max_length,
        **{name: versions[name] for name in ("lm-eval", "ft-harness")},
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())
