"""Faults of a task's YAML, found before its data is read: keys and their types, metrics, labels,
code from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ft_harness.data.options import reordered
from ft_harness.errors import FtHarnessError, InputError, PolicyError, suggest
from ft_harness.metrics import find_metric
from ft_harness.models.trust import TRUST_FLAG, is_ours
from ft_harness.paths import is_installed
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskFile
from ft_harness.tasks.task_yaml import key_problems, loader_problems

_FUNCTION = "!function "
_WORD_READER = "ft_harness.metrics.score_label_answer"  # reads the label words of each doc


def definition_problems(definition: TaskDefinition) -> list[FtHarnessError]:
    """All faults of a task's YAML; if its code is refused, only that."""
    if refused := code_problems(definition):
        return [*refused]
    problems = [problem for file in definition.files for problem in key_problems(file)]
    if definition.uses_our_loader:
        problems += [fault for file in definition.files for fault in loader_problems(file)]
    # The other checks read what these faults are about.
    if not any("metric_list" in problem.what for problem in problems):
        metrics = metric_problems(definition)
    else:
        metrics = []
    if problems:
        return [*problems, *metrics]
    return [*metrics, *label_problems(definition), *_unused_words(definition)]


def code_problems(definition: TaskDefinition) -> list[PolicyError]:
    """In a task's YAML: code from elsewhere that it would run: functions other than our loader,
    scores and aggregations, loading scripts, metrics of the hub. None for tasks of ours and of
    lm-eval, and where the code is trusted."""
    if definition.trust_code or is_installed(definition.path):
        return []
    return [
        PolicyError(
            f"{file.path}: would run code of its own ({code})",
            "a task without code, or ft_harness.data.load_splits and the scores of "
            "ft_harness.metrics",
            f"read the code, then pass {TRUST_FLAG}",
        )
        for file in definition.files
        if not is_installed(file.path)
        for code in _code_of(file)
    ]


def _code_of(file: TaskFile) -> Iterator[str]:
    content = file.content
    # lm-eval prefers a module next to the YAML to the installed one
    shadowed = (file.path.resolve().parent / "ft_harness").exists()
    named = dict.fromkeys(text for text in _texts(content) if text.startswith(_FUNCTION))
    yield from (text for text in named if shadowed or not is_ours(text.removeprefix(_FUNCTION)))
    if str(content.get("dataset_path", "")).endswith(".py"):
        yield f"dataset_path: {content['dataset_path']}"
    arguments = content.get("dataset_kwargs")
    if isinstance(arguments, Mapping) and arguments.get("trust_remote_code"):
        yield "dataset_kwargs.trust_remote_code"
    decoding = content.get("generation_kwargs")
    for name in ("custom_generate", "trust_remote_code"):
        if isinstance(decoding, Mapping) and decoding.get(name):
            yield f"generation_kwargs.{name}"
    metrics = content.get("metric_list")
    for entry in metrics if isinstance(metrics, list) else []:
        if isinstance(entry, Mapping) and entry.get("hf_evaluate"):
            yield f"hf_evaluate of {entry.get('metric')}"


def _texts(value: Any) -> Iterator[str]:
    """All texts in a YAML's content, keys too: lm-eval resolves functions there as well."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(key)
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def metric_problems(definition: TaskDefinition) -> list[InputError]:
    """In a task's YAML: metrics that can't be aggregated and compared; lm-eval would ask the hub
    for an unknown one."""
    problems: list[InputError] = []
    for entry in definition.metric_entries:
        name = str(entry.get("metric") if isinstance(entry, Mapping) else entry)
        try:
            right = find_metric(name).higher_is_better
        except InputError as error:
            problems.append(
                InputError(f"{definition.path}: {error.what}", error.expected, error.action)
            )
            continue
        if isinstance(entry, Mapping) and entry.get("higher_is_better", right) != right:
            problems.append(
                InputError(
                    f"{definition.path}: {name} has the wrong direction",
                    f"higher_is_better: {str(right).lower()}",
                    "change the line",
                )
            )
    return [*problems, *_primary_problems(definition)]


def _primary_problems(definition: TaskDefinition) -> list[InputError]:
    """A declared primary metric that the task does not score."""
    metadata, entries = definition.content.get("metadata"), definition.metric_entries
    declared = metadata.get("primary_metric") if isinstance(metadata, Mapping) else None
    scored = [str(each.get("metric")) for each in entries if isinstance(each, Mapping)]
    if declared is None or not scored or declared in scored:
        return []
    return [
        InputError(
            f"metadata.primary_metric: {definition.name} does not score {declared!r}"
            f"{suggest(str(declared), scored)}",
            f"one of {', '.join(scored)}",
            "change metadata.primary_metric, or add the metric to the task's metric_list",
        )
    ]


def label_problems(definition: TaskDefinition) -> list[InputError]:
    """In a task's YAML: lists of answers that are not one for each of the task's labels."""
    arguments = definition.content.get("dataset_kwargs")
    data = arguments.get("data") if isinstance(arguments, Mapping) else None
    declared = data.get("labels") if isinstance(data, Mapping) else None
    labels = definition.metadata.get("data_labels", declared)
    if not isinstance(declared, list) or not isinstance(data, Mapping):
        return []
    if not isinstance(labels, list) or "data_label_words" in definition.metadata:
        return []  # the loader checks these
    lists = {
        "doc_to_choice": definition.content.get("doc_to_choice"),
        "data.label_words": data.get("label_words"),
    }
    problems = [
        InputError(
            f"{definition.path}: {name} has {len(words)} answers, data.labels {len(labels)} labels",
            "one answer for each label, in the same order",
            f"fix {name}",
        )
        for name, words in lists.items()
        if isinstance(words, list) and len(words) != len(labels)
    ]
    if isinstance(lists["doc_to_choice"], list):
        problems += reordered(f"{definition.path}: doc_to_choice", declared, labels)
    return problems


def _unused_words(definition: TaskDefinition) -> Iterator[InputError]:
    """Label words that are given, and that nothing of the task reads."""
    if "data_label_words" not in definition.metadata:
        return
    kept = {key: value for key, value in definition.content.items() if key != "dataset_kwargs"}
    texts = list(_texts(kept))
    functions = [text for text in texts if text.startswith(_FUNCTION)]
    if any("label_words" in text or _WORD_READER in text for text in texts):
        return
    if all(is_ours(text.removeprefix(_FUNCTION)) for text in functions):
        yield InputError(
            f"data.label_words is given, and the task {definition.name} has answers of its own",
            'a task whose templates name label_words, such as doc_to_choice: "{{label_words}}"',
            f"leave it out, or change doc_to_choice in {definition.path}",
        )
