"""Run lm-eval for one model state over the splits of a task -> records."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ft_harness.base_model import BaseModel
from ft_harness.errors import InputError
from ft_harness.fewshot import Shots, find_shots
from ft_harness.files import Split
from ft_harness.metrics import Metric, describe, find_metric
from ft_harness.prompts import PLAIN, PromptForm, compiled_templates
from ft_harness.provenance import package_versions, peak_gpu_bytes, peak_rss_bytes, snapshot
from ft_harness.recipe import EvalSection
from ft_harness.records import (
    RECORD_FILE,
    SAMPLES_FILE,
    AdapterInfo,
    Cost,
    Evaluation,
    Record,
    Sample,
    Score,
    Settings,
    read_evaluation,
)
from ft_harness.scoring import BACK_END, make_causal_lm
from ft_harness.stats import bootstrap_interval, wilson_interval
from ft_harness.storage import canonical_json, sha256_text, write_gzip_lines, write_text

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

FINGERPRINT_VERSION = "eval-1"


@dataclass(frozen=True)
class ModelState:
    """What is scored: the loaded base, with an adapter attached or without.

    Attributes:
        subject: the adapter's name, or base--<model>.
    """

    subject: str
    base: BaseModel
    adapter: AdapterInfo | None = None


@dataclass(frozen=True)
class Job:
    """One evaluation to be done: a task object of one split, and the docs of it that are scored.

    Attributes:
        form: how the prompts are rendered.
        shots: where few-shot examples come from; None: zero-shot.
    """

    task: ConfigurableTask
    settings: Settings
    doc_ids: list[int]
    form: PromptForm = PLAIN
    shots: Shots | None = None

    @property
    def eval_id(self) -> str:
        """The part of the folder's name that a person reads."""
        return f"{self.settings.task}@{self.settings.split}"


def base_subject(pretrained: str) -> str:
    """The subject of a base model: a name that is one folder."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(pretrained).name or pretrained)
    return f"base--{plain[:80]}"


def item_hash(doc: Mapping[str, Any]) -> str:
    """Hash of a doc's content: the same item in every evaluation, wherever it stands."""
    return sha256_text(json.dumps(doc, sort_keys=True, ensure_ascii=False, default=str))[:16]


def chosen_docs(total: int, split: Split, settings: EvalSection) -> tuple[list[int], bool]:
    """(sorted indices of the docs to score, whether they are a sample)."""
    limits = [limit for limit in (settings.limit, settings.train_limit if split == "train" else None) if limit]
    count = min([total, *limits])
    if count == total:
        return list(range(total)), False
    chosen = np.random.default_rng(settings.seed).permutation(total)[:count]
    return sorted(chosen.tolist()), True


def _docs_hash(docs: Iterable[Mapping[str, Any]]) -> str:
    return sha256_text(canonical_json([item_hash(doc) for doc in docs]))[:16]


def plan_jobs(
    tasks: Mapping[Split, ConfigurableTask],
    task_hash: str,
    base: BaseModel,
    settings: EvalSection,
    form: PromptForm = PLAIN,
) -> list[Job]:
    """One job a split, with everything that makes its scores.

    Raises:
        InputError: few-shot examples can't be taken from the training split without showing a scored item.
    """
    jobs: list[Job] = []
    for split, task in tasks.items():
        name = task.config.task.partition("@")[0]
        doc_ids, sampled = chosen_docs(len(task.eval_docs), split, settings)
        generated = task.OUTPUT_TYPE == "generate_until"
        shots = find_shots(task, settings)
        fixed = Settings(
            task=name,
            task_version=str(task.VERSION),
            task_hash=task_hash,
            data_hash=_docs_hash(task.eval_docs[i] for i in doc_ids),
            split=split,
            num_fewshot=settings.num_fewshot,
            fewshot_ids=shots.ids if shots else None,
            fewshot_hash=_docs_hash(shots.rows) if shots else None,
            fewshot_as_multiturn=form.fewshot_as_multiturn if shots and form.apply_chat_template else None,
            limit=settings.limit,
            sample_seed=settings.seed if sampled else None,
            chat_template_hash=form.chat_template_hash,
            system_instruction=form.system_instruction,
            generation_kwargs=dict(task.config.generation_kwargs or {}) if generated else {},
            max_length=base.max_length,
            batch_size=settings.batch_size,
            seed=settings.seed,
            back_end=BACK_END,
            device=base.device,
        )
        jobs.append(Job(task, fixed, doc_ids, form, shots))
    return jobs


def fingerprint(state: ModelState, job: Job) -> str:
    """Hash of everything that makes the scores of one evaluation."""
    versions = package_versions()
    parts = {
        "model": [state.base.info.identity, state.base.info.dtype, state.base.info.quantization],
        "adapter": state.adapter.identity if state.adapter else None,
        "settings": job.settings.model_dump(mode="json"),
        "versions": [versions[name] for name in ("ft-harness", "lm-eval", "transformers", "peft", "torch")],
    }
    return sha256_text(f"{FINGERPRINT_VERSION}:{canonical_json(parts)}")


def evaluation_folder(state: ModelState, job: Job, results: Path) -> Path:
    """Where this evaluation lies; another setting is another folder, so nothing is overwritten."""
    return results / state.subject / f"{job.eval_id}-{fingerprint(state, job)[:12]}"


def finished(state: ModelState, job: Job, results: Path) -> Evaluation | None:
    """The evaluation, if it was done before and is whole."""
    folder = evaluation_folder(state, job, results)
    if not (folder / RECORD_FILE).exists() or not (folder / SAMPLES_FILE).exists():
        return None
    evaluation = read_evaluation(folder)
    return evaluation if evaluation.record.status == "complete" else None


def evaluate(state: ModelState, jobs: Sequence[Job], results: Path) -> list[Evaluation]:
    """Score one model state on each job; finished evaluations are reused.

    Raises:
        NonFiniteError: the model gives NaN; nothing is written for that job.
        InputError: a task's metric failed.
    """
    done: list[Evaluation] = []
    for job in jobs:
        evaluation = finished(state, job, results)
        done.append(evaluation or _score(state, job, evaluation_folder(state, job, results)))
    return done


def _run_lm_eval(lm: Any, job: Job) -> list[dict[str, Any]]:
    """lm-eval's samples of one job, in the order of its docs.

    `evaluate` rather than `simple_evaluate`: the latter gathers the whole environment into each result.
    """
    import lm_eval

    name = job.task.config.task
    job.task.set_config(key="num_fewshot", value=job.settings.num_fewshot)
    if job.shots:
        job.shots.install(job.task, job.settings.seed)
    with compiled_templates():
        outcome = lm_eval.evaluate(
            lm=lm,
            task_dict={"tasks": {name: job.task}},
            samples={name: job.doc_ids},
            bootstrap_iters=0,
            log_samples=True,
            system_instruction=job.form.system_instruction,
            apply_chat_template=job.form.apply_chat_template,
            fewshot_as_multiturn=job.form.fewshot_as_multiturn,
        )
    samples: list[dict[str, Any]] = outcome["samples"][name]
    return samples


def _score(state: ModelState, job: Job, folder: Path) -> Evaluation:
    lm = make_causal_lm(state.base, job.settings.batch_size, job.settings.seed)
    started = time.monotonic()
    raw = _run_lm_eval(lm, job)
    seconds = time.monotonic() - started
    if len(raw) != len(job.doc_ids):
        raise InputError(
            f"{job.eval_id}: lm-eval returned {len(raw)} samples for {len(job.doc_ids)} docs",
            "one sample a doc",
            "a task with several filters can't be scored yet; leave one in filter_list",
        )
    occurrences: Counter[str] = Counter()
    samples = [_sample(job, item, lm.truncated_prompts, occurrences) for item in raw]
    record = Record(
        eval_id=folder.name,
        status="complete",
        subject=state.subject,
        model=state.base.info,
        adapter=state.adapter,
        settings=job.settings,
        scores=_scores(state, job, samples),
        cost=Cost(
            seconds=seconds, tokens=lm.scored_tokens, peak_rss_bytes=peak_rss_bytes(), peak_gpu_bytes=peak_gpu_bytes()
        ),
        provenance=snapshot(),
    )
    write_gzip_lines(folder / SAMPLES_FILE, [sample.model_dump_json() for sample in samples])
    write_text(folder / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
    return Evaluation(folder=folder, record=record)


def _sample(job: Job, item: Mapping[str, Any], truncated: set[str], occurrences: Counter[str]) -> Sample:
    """lm-eval's sample of one doc as ours."""
    key = item_hash(item["doc"])
    occurrences[key] += 1
    rolling = job.task.OUTPUT_TYPE == "loglikelihood_rolling"
    prompt = "" if rolling else item["arguments"][0][0]  # a running text follows upon nothing
    responses = [_response(response) for response in item["filtered_resps"]]
    prediction, target = _answers(job.task.OUTPUT_TYPE, item, responses)
    scores = {metric: _plain(item[metric]) for metric in item["metrics"]}
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
    )


def _response(response: Any) -> Any:
    """A model's response as JSON knows it: the back-end's are tuples, floats and texts with attributes of their own."""
    plain = {tuple: list, float: float, str: str}
    return next((make(response) for kind, make in plain.items() if isinstance(response, kind)), response)


def _answers(output_type: str, item: Mapping[str, Any], responses: list[Any]) -> tuple[str | None, str]:
    """(what the model answered, what was right), as text without the delimiter.

    Where only the likelihood of the right text was asked for, the model answered nothing: None.
    """
    target = item["target"]
    if output_type == "multiple_choice":
        choices = [arguments[1] for arguments in item["arguments"]]
        gold = choices[target] if isinstance(target, int) else str(target)
        return choices[int(np.argmax([response[0] for response in responses]))].strip(), gold.strip()
    right = str(next(iter(target), "") if isinstance(target, list) else target)
    if output_type == "loglikelihood":
        return None, right.strip()
    return None if output_type == "loglikelihood_rolling" else str(responses[0]).strip(), right


def _plain(value: Any) -> float | list[float] | None:
    if value is None:
        return None
    return [float(part) for part in value] if isinstance(value, list | tuple) else float(value)


def _scores(state: ModelState, job: Job, samples: Sequence[Sample]) -> list[Score]:
    scores: list[Score] = []
    languages = {language for sample in samples if isinstance(language := sample.doc.get("language"), str)}
    for name, higher_is_better in job.task.higher_is_better().items():
        metric = find_metric(name)
        values = [value for sample in samples if (value := sample.scores.get(name)) is not None]
        low, high = _interval(metric, values)
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


def _interval(metric: Metric, values: Sequence[float | list[float]]) -> tuple[float | None, float | None]:
    """95 % interval of one score: Wilson's for a mean of zeros and ones, else the bootstrap's."""
    if not values:
        return None, None
    rows = np.array(values, dtype=np.float64).reshape(len(values), -1)
    if metric.binary:
        return wilson_interval(int(rows.sum()), len(rows)) or (None, None)
    return bootstrap_interval(rows, metric.aggregate) or (None, None)


def _signature(state: ModelState, job: Job, metric: str, languages: Collection[str]) -> str:
    """The line of what made a score; `languages` are those that the docs name."""
    from importlib.metadata import version

    settings = job.settings
    texts = {describe(metric, language) for language in languages} if languages else {describe(metric, None)}
    definitions = sorted(texts - {""})
    parts = {
        "metric": metric,
        **({"definition": " or ".join(definitions)} if definitions else {}),
        "task": f"{settings.task} v{settings.task_version} ({settings.task_hash})",
        "shots": settings.num_fewshot,
        "back-end": settings.back_end,
        "dtype": state.base.info.dtype,
        "max_length": settings.max_length,
        "lm-eval": version("lm-eval"),
        "ft-harness": version("ft-harness"),
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())
