"""Run lm-eval for one model state over the splits of a task -> records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ft_harness.errors import InputError
from ft_harness.evaluation.jobs import Job, ModelState, evaluation_folder, finished
from ft_harness.evaluation.outcomes import make_sample, make_scores
from ft_harness.prompts import compiled_templates
from ft_harness.provenance import peak_gpu_bytes, peak_rss_bytes, snapshot
from ft_harness.records import (
    RECORD_FILE,
    SAMPLES_FILE,
    Cost,
    Evaluation,
    Record,
)
from ft_harness.scoring import make_causal_lm
from ft_harness.storage import write_gzip_lines, write_text


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
    if job.settings.generation_kwargs:
        job.task.set_config(key="generation_kwargs", value=job.settings.generation_kwargs)
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
    samples = [make_sample(job, item, lm.truncated_prompts, occurrences) for item in raw]
    record = Record(
        eval_id=folder.name,
        status="complete",
        subject=state.subject,
        model=state.base.info,
        adapter=state.adapter,
        settings=job.settings,
        scores=make_scores(state, job, samples),
        cost=Cost(
            seconds=seconds, tokens=lm.scored_tokens, peak_rss_bytes=peak_rss_bytes(), peak_gpu_bytes=peak_gpu_bytes()
        ),
        provenance=snapshot(),
    )
    write_gzip_lines(folder / SAMPLES_FILE, [sample.model_dump_json() for sample in samples])
    write_text(folder / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
    return Evaluation(folder=folder, record=record)
