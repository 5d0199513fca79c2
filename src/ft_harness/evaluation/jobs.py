"""What is scored and how: model states, jobs with their settings, and the hashes by which requests
and scores are known again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.task import ConfigurableTask

from ft_harness.data.files import Split
from ft_harness.evaluation.backends import back_end
from ft_harness.models.base_model import BaseModel, generation_settings
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.recipe import EvalSection, Protocol
from ft_harness.records import (
    AdapterInfo,
    Settings,
    item_hash,
)
from ft_harness.records.provenance import package_versions
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.tasks.fewshot import Shots, find_shots

SCORING_VERSION = 3  # raise it when the same model and settings give other scores
_PROGRAMS = ("lm-eval", "transformers", "peft", "torch")  # whose release may change a score
_REQUEST_KEYS = (
    "output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "target_delimiter",
    "description", "gen_prefix", "fewshot_delimiter", "fewshot_config", "fewshot_split",
    "generation_kwargs", "process_docs", "filter_list",
)  # fmt: skip


@dataclass(frozen=True)
class ModelState:
    """What a job scores: the loaded base, with an adapter attached or without.

    Attributes:
        subject: the adapter's name, or base--<model>.
    """

    subject: str
    base: BaseModel
    adapter: AdapterInfo | None = None

    @property
    def adapter_identity(self) -> str | None:
        """Hash of the adapter, whether it is merged, and its own end tokens; None: the base
        alone."""
        if self.adapter is None:
            return None
        # Merging rounds the sum of base and adapter once, so that a merged adapter has scores of
        # its own.
        merged = " merged" if self.adapter.merge_drift is not None else ""
        ends = f" ends {self.adapter.ends}" if self.adapter.ends else ""
        return f"{self.adapter.identity}{merged}{ends}"


@dataclass(frozen=True)
class Job:
    """One evaluation to be done: a task object of one split, and the docs of it that are scored.

    Attributes:
        form: how the prompts are rendered.
        shots: where few-shot examples come from; None: zero-shot.
        primary_metric: declared by the recipe or the task. It affects how scores are read, not the
            scores, so it is not part of an evaluation's identity.
        is_control: the task is one that training should not harm; not part of the identity either.
        recipe: what asked for it, so that a report's commands repeat it; None: not known. It is no
            part of the identity either.
    """

    task: ConfigurableTask
    settings: Settings
    doc_ids: list[int]
    form: PromptForm = PLAIN
    shots: Shots | None = None
    primary_metric: str | None = None
    is_control: bool = False
    recipe: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """Task, split and shots: what the folder's name begins with, before a hash."""
        shots = f"-{self.settings.num_fewshot}shot" if self.settings.num_fewshot else ""
        return f"{self.settings.task}@{self.settings.split}{shots}"


def chosen_docs(total: int, split: Split, section: EvalSection) -> tuple[list[int], bool]:
    """Which docs a job scores: (their sorted indices, whether they are a sample)."""
    limits = [
        limit
        for limit in (section.limit, section.train_limit if split == "train" else None)
        if limit
    ]
    count = min([total, *limits])
    # A limit that takes all docs is no sample: the evaluation has the same identity as one without
    # it.
    if count == total:
        return list(range(total)), False
    chosen = np.random.default_rng(section.seed).permutation(total)[:count]
    # Sorted, as lm-eval hands samples back by document number.
    return sorted(chosen.tolist()), True


def _docs_hash(docs: Iterable[Mapping[str, Any]]) -> str:
    return sha256_text(canonical_json([item_hash(doc) for doc in docs]))[:16]


def request_hash(task: ConfigurableTask) -> str:
    """Hash of what determines a task's requests; its metrics don't."""
    values = {key: getattr(task.config, key, None) for key in _REQUEST_KEYS}
    # Functions by their name: their bytes would make a comment part of a score's identity (decision
    # 022). A task's YAML is in `task_hash`.
    code = {
        key: f"{v.__module__}.{v.__qualname__}" if callable(v) else str(v)
        for key, v in values.items()
    }
    return sha256_text(canonical_json(code))[:16]


def plan_jobs(
    tasks: Mapping[Split, ConfigurableTask],
    task_hash: str,
    base: BaseModel,
    section: EvalSection,
    form: PromptForm = PLAIN,
) -> list[Job]:
    """One job per split and protocol, with everything that determines its scores.

    Raises:
        InputError: few-shot examples can't be taken from the training split without showing a
            scored item.
    """
    same: dict[str, Any] = {
        "task_hash": task_hash,
        "limit": section.limit,
        "batch_size": section.batch_size,
        "seed": section.seed,
        "chat_template_hash": form.chat_template_hash,
        "system_instruction": form.system_instruction,
        "text_fields": list(base.head.plan.text_fields or ()) or None if base.head else None,
        "max_length": base.max_length,
        "back_end": back_end(base),
        "device": base.device,
    }
    jobs: list[Job] = []
    for split, task in tasks.items():
        doc_ids, sampled = chosen_docs(len(task.eval_docs), split, section)
        docs = {
            **same,
            **_describe_task(task),
            "split": split,
            "data_hash": _docs_hash(task.eval_docs[i] for i in doc_ids),
            "sample_seed": section.seed if sampled else None,
            # Only a task that generates depends on the model's generation_config.json.
            "generation_hash": _generation_hash(base) if _generates(task) else None,
        }
        for protocol in section.protocols():
            shots = find_shots(task, protocol)
            settings = Settings(**docs, **_protocol_settings(task, protocol, shots, form))
            jobs.append(Job(task, settings, doc_ids, form, shots, declared_primary(task, section)))
    return jobs


def declared_primary(task: ConfigurableTask, section: EvalSection) -> str | None:
    """The primary metric of a job: the recipe's, else the task's; None: neither declares one."""
    return section.primary_metric or primary_of_task(task)


def primary_of_task(task: ConfigurableTask) -> str | None:
    """The primary metric of a job by its task's metadata; None: it declares none."""
    own: str | None = (task.config.metadata or {}).get("primary_metric")
    return own


def _generates(task: ConfigurableTask) -> bool:
    return bool(task.OUTPUT_TYPE == "generate_until")


def _generation_hash(base: BaseModel) -> str:
    return sha256_text(canonical_json(generation_settings(base.model)))[:16]


def _describe_task(task: ConfigurableTask) -> dict[str, Any]:
    """What a record says of a task."""
    return {
        "task": task.config.task.partition("@")[0],
        "task_version": str(task.VERSION),
        "request_hash": request_hash(task),
        "cluster": (task.config.metadata or {}).get("cluster"),
    }


def _protocol_settings(
    task: ConfigurableTask, protocol: Protocol, shots: Shots | None, form: PromptForm
) -> dict[str, Any]:
    """The settings that a protocol gives: lm-eval is run with them, and the record keeps them."""
    # Without shots or a template `fewshot_as_multiturn` decides nothing, and must not part two
    # evaluations.
    chat = shots is not None and form.apply_chat_template
    own = task.config.generation_kwargs or {}
    return {
        "num_fewshot": protocol.shots,
        "fewshot_ids": shots.ids if shots else None,
        "fewshot_hash": _docs_hash(shots.rows) if shots else None,
        "fewshot_as_multiturn": form.fewshot_as_multiturn if chat else None,
        "generation_kwargs": {**own, **protocol.decoding} if _generates(task) else {},
    }


def fingerprint(state: ModelState, job: Job, packages: Mapping[str, str] | None = None) -> str:
    """Hash of everything that makes the scores of a job, in its folder's name; `packages`:
    versions, None: the installed ones."""
    # An upgrade of a library may change the last digits: scores of two releases are never mixed
    # (decision 002).
    versions, info = packages or package_versions(), state.base.info
    parts = {
        "model": [info.identity, info.dtype, info.quantization, info.head],
        "adapter": state.adapter_identity,
        "settings": job.settings.model_dump(mode="json"),
        "scoring": SCORING_VERSION,
        "versions": [versions[name] for name in _PROGRAMS],
    }
    return sha256_text(canonical_json(parts))


def declarations(state: ModelState, job: Job) -> dict[str, Any]:
    """What a job declares in its record: how the scores are to be read, and what asked for them. A
    base's scores are those of many recipes, so that only an adapter's are of a control task."""
    # The base is scored once for all recipes of a folder; what is a control for one is the trained
    # task of another.
    is_control = job.is_control and state.adapter is not None
    recipe = None if job.recipe is None else dict(job.recipe)
    return {"primary_metric": job.primary_metric, "is_control": is_control, "recipe": recipe}
