"""Run lm-eval for one model state on the splits of a task -> evaluations on disk, whole or
marked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import lm_eval

from ft_harness.errors import IncompleteError, InputError, ResourceError
from ft_harness.evaluation.backends import make_lm
from ft_harness.evaluation.backends.recovery import Effort
from ft_harness.evaluation.backends.server import ServedBase
from ft_harness.evaluation.backends.store import ResponseStore
from ft_harness.evaluation.folder import evaluation_folder, finished, write_evaluation
from ft_harness.evaluation.generations import keep_generations
from ft_harness.evaluation.item_scores import failing_alone
from ft_harness.evaluation.jobs import Job, ModelState, declarations, response_state
from ft_harness.evaluation.outcomes import make_sample, make_scores, metric_values
from ft_harness.metrics import find_metric
from ft_harness.models.base_model import BaseModel
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.models.memory import peak_gpu_bytes, peak_rss_bytes
from ft_harness.records import (
    BackEndInfo,
    Cost,
    Evaluation,
    Record,
    Sample,
    read_evaluation,
)
from ft_harness.records.provenance import snapshot


@dataclass(frozen=True)
class _Share:
    """What one process reports of its share of an evaluation."""

    truncated: set[str]
    cost: Cost
    effort: Effort
    fallback: str | None


def evaluate(state: ModelState, jobs: Sequence[Job], results: Path) -> list[Evaluation]:
    """Run one model state on each job; finished evaluations are reused.

    Responses are kept as they come, in `responses-<state>.jsonl` next to the evaluations, so that a
    killed evaluation goes on where it was, and other metrics of the same task need no model. Where
    memory was not enough for an item, or its metric failed, the evaluation is partial; the next
    call tries again what failed.

    Raises:
        NonFiniteError: the model gives NaN; nothing is written for that job.
        InputError: lm-eval gave other samples than it was asked for.
        ResourceError: memory was enough for no item.
    """
    done: list[Evaluation] = []
    for job in jobs:
        evaluation = finished(state, job, results)
        done.append(evaluation or _score(state, job, evaluation_folder(state, job, results)))
        keep_generations(state, job, done[-1].folder)
    return done


def score_once(base: BaseModel, job: Job) -> dict[str, float | None]:
    """Run the task's metrics on one job's docs, as `evaluate` does, without intervals and with
    nothing kept.

    Raises:
        NonFiniteError: the model gives NaN.
        ResourceError: memory was not enough for an item alone.
    """
    lm = make_lm(base, job.settings.batch_size or 1, job.settings.seed or 0)
    samples = _make_samples(job, _run_lm_eval(lm, job), lm.truncated_prompts)
    return {
        name: find_metric(name).value(metric_values(samples, name))
        for name in job.task.higher_is_better()
    }


def time_docs(base: BaseModel, job: Job) -> float:
    """Run a batch of evenly spread docs of a job for the average seconds that one takes; nothing is
    kept.

    Raises:
        NonFiniteError, ResourceError: as `score_once`.
    """
    size = job.settings.batch_size or 1
    some = job.doc_ids[:: max(1, len(job.doc_ids) // size)][:size]
    lm = make_lm(base, size, job.settings.seed or 0)
    _run_lm_eval(lm, replace(job, doc_ids=some[:1]))  # warms up
    started = time.monotonic()
    _run_lm_eval(lm, replace(job, doc_ids=some))
    return (time.monotonic() - started) / len(some)


@contextmanager
def _decoding_as_asked(job: Job) -> Iterator[None]:
    """The job's generation arguments in its task; the task's own again afterwards, for the jobs
    planned from it."""
    # One task object serves all decodings of a split, and lm-eval reads the arguments off the task.
    own = job.task.config.generation_kwargs
    if job.settings.generation_kwargs:
        job.task.set_config(key="generation_kwargs", value=job.settings.generation_kwargs)
    try:
        yield
    finally:
        job.task.set_config(key="generation_kwargs", value=own)


def _run_lm_eval(lm: Any, job: Job) -> list[dict[str, Any]]:
    """lm-eval's samples of one job; where several processes share it, all of them in the first
    process and none in the others.

    `evaluate` rather than `simple_evaluate`: the latter gathers the whole environment into each
    result.
    """
    name = job.task.config.task
    # lm-eval's own way of setting shots; without it the YAML's number would hold.
    job.task.set_config(key="num_fewshot", value=job.settings.num_fewshot)
    if job.shots:
        job.shots.install(job.task, job.settings.seed or 0)
    share = sorted(job.doc_ids)[lm.rank :: lm.world_size]
    scored = failing_alone(job.task, cycle(share))  # again for each filter
    with compiled_templates(), _decoding_as_asked(job), scored:
        outcome = lm_eval.evaluate(
            lm=lm,
            task_dict={"tasks": {name: job.task}},
            samples={name: job.doc_ids},
            # Intervals are ours (decision 003); lm-eval's bootstrap would score nothing new and
            # take minutes.
            bootstrap_iters=0,
            log_samples=True,
            system_instruction=job.form.system_instruction,
            apply_chat_template=job.form.apply_chat_template,
            fewshot_as_multiturn=job.form.fewshot_as_multiturn,
        )
    # Only the first process has an outcome.
    samples: list[dict[str, Any]] = outcome["samples"][name] if outcome else []
    return samples


def check_complete(evaluations: Sequence[Evaluation]) -> None:
    """Refuse to call a run of lm-eval done while items have no score.

    Raises:
        IncompleteError: an evaluation is partial; its results are saved and marked.
    """
    partial = [each for each in evaluations if each.record.status != "complete"]
    if not partial:
        return
    failed = {
        each.folder: [sample for sample in each.samples() if sample.failed] for each in partial
    }
    first, samples = next(iter(failed.items()))
    what = f"{sum(map(len, failed.values()))} items have no score, first in {first}"
    # A response without a score: the model did its part, and only the metric must be run again.
    if samples[0].responses:
        raise IncompleteError(
            f"{what}, doc {samples[0].doc_id}: {samples[0].failed}",
            "a number or null for every item; what was scored is saved and marked as partial",
            "fix the task's metric, then run the same command again: the responses are kept",
        )
    raise IncompleteError(
        f"{what}: {samples[0].failed}",
        "memory for each item alone; what was scored is saved and marked as partial",
        "free memory as said above, then run the same command again: only what failed is computed",
    )


def _score(state: ModelState, job: Job, folder: Path) -> Evaluation:
    lm = make_lm(state.base, job.settings.batch_size or 1, job.settings.seed or 0)
    # From here on lm-eval gives each process its share of the docs.
    lm.join()
    if len(job.doc_ids) < lm.world_size:
        raise InputError(
            f"{job.label}: {len(job.doc_ids)} docs for {lm.world_size} processes",
            "a doc for each process",
            "start fewer processes",
        )
    lm.store = ResponseStore(folder.parent, response_state(state, job))
    # Not `time.time`, which jumps when the clock is set.
    started = time.monotonic()
    raw = _run_lm_eval(lm, job)
    cost = Cost(
        seconds=time.monotonic() - started,
        tokens=lm.scored_tokens,
        peak_rss_bytes=peak_rss_bytes(),
        peak_gpu_bytes=peak_gpu_bytes(),
    )
    # What each process has on its own: prompts that it cut, and its cost. The samples come through
    # lm-eval.
    shares = lm.gather_object(_Share(lm.truncated_prompts, cost, lm.effort, lm.fallback))
    if shares is not None:  # the first process
        samples = _make_samples(job, raw, set().union(*(share.truncated for share in shares)))
        record = Record(
            eval_id=folder.name,
            status="partial" if any(sample.failed for sample in samples) else "complete",
            subject=state.subject,
            model=state.base.info,
            adapter=state.adapter,
            settings=job.settings,
            scores=make_scores(state, job, samples),
            cost=_total([share.cost for share in shares]),
            back_end=_describe(job, lm, shares),
            agreement=state.base.agreement if isinstance(state.base, ServedBase) else None,
            provenance=snapshot(),
            **declarations(state, job),
        )
        write_evaluation(folder, record, samples)
    # The other processes must not read what the first is still writing.
    lm.barrier()
    return read_evaluation(folder)


def _make_samples(job: Job, raw: Sequence[Mapping[str, Any]], truncated: set[str]) -> list[Sample]:
    """lm-eval's samples as ours, in the order of the docs.

    Raises:
        InputError: their number is not that of the docs.
        ResourceError: memory was not enough for any.
    """
    # lm-eval gives one sample per doc and filter, and says nothing when they are more or fewer.
    if len(raw) != len(job.doc_ids):
        raise InputError(
            f"{job.label}: lm-eval returned {len(raw)} samples for {len(job.doc_ids)} docs",
            "one sample per doc",
            "a task with several filters can't be scored yet; leave one in filter_list",
        )
    # Counted over the whole split, as docs of equal content are items of their own.
    occurrences: Counter[str] = Counter()
    # several processes hand them in one after the other
    ordered = sorted(raw, key=lambda item: item["doc_id"])
    samples = [make_sample(job, item, truncated, occurrences) for item in ordered]
    if all(sample.failed and not sample.responses for sample in samples):
        raise ResourceError(
            f"{job.label}: no item could be scored, {samples[0].failed}",
            "memory for an item alone",
            "free memory as said above, then run the same command again",
        )
    return samples


def _total(costs: Sequence[Cost]) -> Cost:
    """The cost of all processes: the largest time and memory, the sum of the tokens."""
    # Each process has a GPU and a memory of its own: the largest is what such a run needs.
    gpu = [cost.peak_gpu_bytes for cost in costs if cost.peak_gpu_bytes is not None]
    return Cost(
        seconds=max(cost.seconds for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        peak_rss_bytes=max(cost.peak_rss_bytes for cost in costs),
        peak_gpu_bytes=max(gpu, default=None),
    )


def _describe(job: Job, lm: Any, shares: Sequence[_Share]) -> BackEndInfo:
    effort = sum((share.effort for share in shares), Effort())
    return BackEndInfo(
        name=job.settings.back_end,
        budget_bytes=lm.budget_bytes,
        fallback=next((share.fallback for share in shares if share.fallback), None),
        processes=lm.world_size,
        **asdict(effort),
    )
