"""Saved responses scored again, with other metrics, by the task as it is now; no model is
loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import hash_string

from ft_harness.errors import InputError
from ft_harness.evaluation import (
    Job,
    ModelState,
    evaluation_folder,
    failed_score,
    failing_alone,
    make_scores,
    plain_scores,
    read_finished,
    request_hash,
    write_evaluation,
)
from ft_harness.evaluation.backends import GeneratedText, ScoredAnswer, ScoredText
from ft_harness.evaluation.jobs import primary_of_task
from ft_harness.models.base_model import BaseModel
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.records import Evaluation, Record, Sample, read_evaluation
from ft_harness.records.provenance import package_versions
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_task_over


@dataclass(frozen=True)
class Definition:
    """Which definition of a task scores saved responses again.

    Attributes:
        name: the task's; None: each evaluation's own task, as it is now.
        include_path: another folder with task YAMLs.
        trust_code: run the code that a task of this folder names.
    """

    name: str | None = None
    include_path: str | None = None
    trust_code: bool = False


def score_again(evaluations: Sequence[Evaluation], definition: Definition) -> list[Evaluation]:
    """New evaluations next to the old ones, made of their docs and responses; what was made before
    is reused.

    An evaluation is returned as it is if its task has not changed.

    Raises:
        ConfigError: no such task.
        InputError: the task's prompts, choices or right answers are not those of the saved samples,
            or it filters responses.
        PolicyError: a task from elsewhere would run code.
    """
    return [_score_again(evaluation, definition) for evaluation in evaluations]


def _score_again(evaluation: Evaluation, definition: Definition) -> Evaluation:
    record = evaluation.record
    # Responses of another program lack what a metric may need: tokens of an answer, whether it was
    # cut.
    if record.foreign:
        raise InputError(
            f"{record.foreign.file}: made by {record.foreign.program}",
            "evaluations made by ft-harness",
            "score the model here: ft-harness eval, or ft-harness eval RECIPE --adapter FOLDER",
        )
    # All in memory: a split is scored as a whole, and its samples are written again.
    samples = list(evaluation.samples())
    name = definition.name or record.settings.task
    found = find_task(name, definition.include_path, trust_code=definition.trust_code)
    task = load_task_over(found, record.settings.split, samples[0].doc)
    changed = {"task": name, "task_version": str(task.VERSION), "task_hash": found.task_hash}
    job = Job(
        task, record.settings.model_copy(update=changed), [sample.doc_id for sample in samples]
    )
    # Nothing of the task changed: the evaluation is its own result.
    if job.settings == record.settings:
        return evaluation
    # No model is loaded: its description is in the record, and nothing else of it is asked for.
    base = BaseModel(
        None, None, record.model, record.settings.max_length or 0, record.settings.device
    )
    state = ModelState(record.subject, base, record.adapter)
    # The responses were made by the releases in the record; only the scoring is of today.
    made_by = {**record.provenance["packages"], "ft-harness": package_versions()["ft-harness"]}
    folder = evaluation_folder(state, job, evaluation.folder.parent.parent, made_by)
    known = read_finished(folder)
    if known is not None:
        return known
    answered = (sample.doc_id for sample in samples if _is_answered(sample))
    with compiled_templates(), failing_alone(task, answered):
        scored = [_score(task, sample, record) for sample in samples]
    new = record.model_copy(
        update={
            "eval_id": folder.name,
            "settings": job.settings,
            "scores": make_scores(state, job, scored),
            "status": "partial" if any(sample.failed for sample in scored) else "complete",
            "rescored_from": record.eval_id,
            "primary_metric": primary_of_task(task),
        }
    )
    write_evaluation(folder, new, scored)
    return read_evaluation(folder)


def _score(task: ConfigurableTask, sample: Sample, record: Record) -> Sample:
    """A sample with the scores that the task gives its responses."""
    problems = _differences(task, sample, record)
    if problems:
        raise InputError(
            f"{record.eval_id}, doc {sample.doc_id}: {problems[0]}",
            "a task that asks the same and differs in its metrics only",
            "score the model on it with ft-harness eval, which reuses the responses it has",
        )
    if not _is_answered(sample):
        return sample.model_copy(update={"scores": dict.fromkeys(task.higher_is_better())})
    found = task.process_results(sample.doc, _responses(task, sample))
    failed = failed_score(found)
    scores = dict.fromkeys(found) if failed else plain_scores(found)
    invalid = scores.get("invalid") == 1.0
    return sample.model_copy(update={"scores": scores, "invalid": invalid, "failed": failed})


def _is_answered(sample: Sample) -> bool:
    """Whether there is something to score; else memory was not enough when it was asked."""
    return not sample.failed or bool(sample.responses)


def _responses(task: ConfigurableTask, sample: Sample) -> list[Any]:
    """The responses as the back-end gave them, with what it noted on them."""
    kinds = {"generate_until": GeneratedText, "loglikelihood_rolling": ScoredText}
    made = [kinds.get(task.OUTPUT_TYPE, ScoredAnswer)(response) for response in sample.responses]
    for name, notes in (("tokens", sample.tokens), ("truncated", sample.unfinished)):
        for response, note in zip(made, notes or (), strict=False):
            setattr(response, name, note)
    return made


def _differences(task: ConfigurableTask, sample: Sample, record: Record) -> list[str]:
    """How a task's request differs from the one that a sample answers."""
    found: list[str] = []
    # A filter would be applied to what it left the first time.
    if task.config.filter_list:
        found.append("the task filters responses, and only what its filters left is saved")
    if task.OUTPUT_TYPE == "generate_until":
        stop = (task.config.generation_kwargs or {}).get("until")
        before = record.settings.generation_kwargs.get("until")
        if stop != before:
            found.append(f"it stops at {stop}, the saved answers at {before}")
    # lm-eval hashes the target as text, and its hash is what the sample holds.
    target = task.doc_to_target(sample.doc)
    if hash_string(str(target)) != sample.target_hash:
        found.append(f"the right answer is {target!r} now")
    if not _same_prompt(task, sample, record):
        found.append("the prompt has changed")
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = [str(choice).strip() for choice in task.doc_to_choice(sample.doc)]
        gold = choices[target] if isinstance(target, int) else str(target).strip()
        scored = [choice.strip() for choice in sample.choices or ()]
        if gold != sample.target or choices != scored:
            found.append(f"the choices are {', '.join(choices)} now")
    # Last, as the other reasons say what is different: this one only says that something is.
    if not found and record.settings.request_hash not in (None, request_hash(task)):
        found.append("its prompts, delimiters, examples or decoding are written in another way")
    return found


def _same_prompt(task: ConfigurableTask, sample: Sample, record: Record) -> bool:
    """Whether a doc's prompt is the saved one; with few-shot examples or a chat template, whether
    the doc's own text is in it (the rest came from the training split and the tokenizer)."""
    settings = record.settings
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return str(hash_string(task.doc_to_target(sample.doc))) == sample.prompt_hash
    if settings.num_fewshot or settings.chat_template_hash:
        return str(task.doc_to_text(sample.doc)).strip() in sample.prompt
    prompt = task.fewshot_context(sample.doc, 0, gen_prefix=task.doc_to_prefix(sample.doc))
    return str(hash_string(prompt)) == sample.prompt_hash
