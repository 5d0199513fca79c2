"""What can be found wrong with a task before a model is loaded: keys, metrics, code of strangers,
mock answers."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.task import ConfigurableTask
from lm_eval.config.task import TaskConfig

from ft_harness.data.options import DataOptions
from ft_harness.errors import FtHarnessError, InputError, PolicyError, suggest
from ft_harness.metrics import find_metric
from ft_harness.models.trust import TRUST_FLAG
from ft_harness.paths import is_installed
from ft_harness.storage.strict_files import KeyPath, read_yaml

LOADER = "!function ft_harness.data.load_splits"
# What a task of anybody's may name: the loader, and what scores and aggregates.
_OUR_CODE = re.compile(r"!function ft_harness\.(data\.load_splits|metrics\.(score|aggregate)_\w+)")
_MOCK_DOCS = 3
_SEARCHED_DOCS = 200
_WRONG_TEXTS = ("a wrong answer", "", "\x00 ?? 。\n")


def files_of(path: Path, *, trust_code: bool = False) -> list[Path]:
    """A task's YAML and the files it includes, the included ones first (later files win).

    Raises:
        InputError: a file is missing or broken, or includes itself.
        PolicyError: a stranger's YAML includes a file outside its own folder; that file is not
            read.
    """
    anywhere = trust_code or is_installed(path)
    return list(_follow(path.resolve(), None if anywhere else path.resolve().parent, ()))


def _follow(path: Path, within: Path | None, including: Sequence[Path]) -> Iterator[Path]:
    if path in including:
        raise InputError(
            f"{path}: includes itself", "includes without a circle", "remove one include"
        )
    if within and not path.is_relative_to(within) and not is_installed(path):
        raise PolicyError(
            f"{including[-1]}: includes {path}, which lies outside its folder",
            f"files in or below {within}",
            f"move the file there, or pass {TRUST_FLAG} if you know what it holds",
        )
    content, _ = read_yaml(path)
    named = content.get("include") or []
    for name in [named] if isinstance(named, str) else named:
        yield from _follow((path.parent / str(name)).resolve(), within, (*including, path))
    yield path


def with_includes(path: Path, *, trust_code: bool = False) -> dict[str, Any]:
    """The content of a task YAML, laid over that of the files it includes, as lm-eval lays them."""
    merged: dict[str, Any] = {}
    for file in files_of(path, trust_code=trust_code):
        content, _ = read_yaml(file)
        merged |= {key: value for key, value in content.items() if key != "include"}
    return merged


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in (*value, *value.values()):
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def code_problems(path: Path) -> list[PolicyError]:
    """Code that a stranger's task would run: functions other than our loader, scores and
    aggregations, loading scripts, metrics of the hub. None for tasks of ours and of lm-eval."""
    if is_installed(path):
        return []
    found: list[tuple[Path, str]] = []
    for file in files_of(path):
        content, _ = read_yaml(file)
        named = dict.fromkeys(text for text in _texts(content) if text.startswith("!function "))
        shadowed = (file.parent / "ft_harness").exists()  # lm-eval prefers a module beside the YAML
        found += [(file, text) for text in named if shadowed or not _OUR_CODE.fullmatch(text)]
        if str(content.get("dataset_path", "")).endswith(".py"):
            found.append((file, f"dataset_path: {content['dataset_path']}"))
        if (content.get("dataset_kwargs") or {}).get("trust_remote_code"):
            found.append((file, "dataset_kwargs.trust_remote_code"))
        metrics = [
            entry for entry in content.get("metric_list") or [] if isinstance(entry, Mapping)
        ]
        found += [
            (file, f"hf_evaluate of {entry.get('metric')}")
            for entry in metrics
            if entry.get("hf_evaluate")
        ]
    return [
        PolicyError(
            f"{file}: would run code of its own ({code})",
            "a task without code, or ft_harness.data.load_splits and the scores of ft_harness.metrics",
            f"read the code, then pass {TRUST_FLAG}",
        )
        for file, code in found
        if not is_installed(file)
    ]


def yaml_problems(path: Path, *, trust_code: bool = False) -> list[InputError]:
    """Unknown keys of a task YAML and its includes, with line and suggestion; lm-eval would not
    name them."""
    known = {item.name for item in dataclasses.fields(TaskConfig)} | {
        "include",
        "tag",
        "group",
        "task_list",
        "class",
    }
    problems: list[InputError] = []
    ours = with_includes(path, trust_code=trust_code).get("custom_dataset") == LOADER
    for file in files_of(path, trust_code=trust_code):
        content, lines = read_yaml(file)
        problems += _unknown_keys(file, content, lines, (), known)
        arguments = content.get("dataset_kwargs")
        if ours and isinstance(arguments, Mapping):
            problems += _unknown_keys(file, arguments, lines, ("dataset_kwargs",), {"data"})
        if ours and isinstance(arguments, Mapping) and isinstance(arguments.get("data"), Mapping):
            options = set(DataOptions.model_fields)
            problems += _unknown_keys(
                file, arguments["data"], lines, ("dataset_kwargs", "data"), options
            )
    return problems


def _unknown_keys(
    file: Path,
    content: Mapping[Any, Any],
    lines: Mapping[KeyPath, int],
    prefix: KeyPath,
    known: set[str],
) -> list[InputError]:
    expected = "an option of our data loader" if prefix else "a key of lm-eval's task YAMLs"
    unknown = [(*prefix, str(key)) for key in content if key not in known]
    return [
        InputError(
            f"{file}:{lines[path]}: unknown key {'.'.join(path)}{suggest(path[-1], known)}",
            expected,
            "rename it",
        )
        for path in unknown
    ]


def metric_problems(path: Path, *, trust_code: bool = False) -> list[InputError]:
    """Metrics of a task YAML that can't be aggregated and compared; lm-eval would ask the hub for
    an unknown one."""
    problems: list[InputError] = []
    for entry in with_includes(path, trust_code=trust_code).get("metric_list") or []:
        name = str(entry.get("metric") if isinstance(entry, Mapping) else entry)
        try:
            metric = find_metric(name)
        except InputError as error:
            problems.append(InputError(f"{path}: {error.what}", error.expected, error.action))
            continue
        if isinstance(entry, Mapping) and entry.get(
            "higher_is_better", metric.higher_is_better
        ) != (metric.higher_is_better):
            right = str(metric.higher_is_better).lower()
            problems.append(
                InputError(
                    f"{path}: {name} has the wrong direction",
                    f"higher_is_better: {right}",
                    "change the line",
                )
            )
    return problems


def label_problems(path: Path, *, trust_code: bool = False) -> list[InputError]:
    """Lists of answers in a task YAML that are not one for each of its labels."""
    content = with_includes(path, trust_code=trust_code)
    arguments = content.get("dataset_kwargs")
    data = arguments.get("data") if isinstance(arguments, Mapping) else None
    labels = data.get("labels") if isinstance(data, Mapping) else None
    if not isinstance(labels, list) or not isinstance(data, Mapping):
        return []
    lists = {
        "doc_to_choice": content.get("doc_to_choice"),
        "data.label_words": data.get("label_words"),
    }
    return [
        InputError(
            f"{path}: {name} has {len(words)} answers, data.labels {len(labels)} labels",
            "one answer a label, in the same order",
            f"mend {name}",
        )
        for name, words in lists.items()
        if isinstance(words, list) and len(words) != len(labels)
    ]


def choice_problems(task: ConfigurableTask) -> list[InputError]:
    """Choices of the first doc that can't be told apart or would stand behind two blanks."""
    if task.config.doc_to_choice is None or task.multiple_input:
        return []
    choices, name = task.doc_to_choice(task.eval_docs[0]), task.config.task
    reasons: list[str] = []
    if len(set(choices)) < len(choices) or not all(choice.strip() for choice in choices):
        reasons.append("are empty or not distinct")
    delimiter = task.config.target_delimiter
    if delimiter.endswith(" ") and any(choice.startswith(" ") for choice in choices):
        reasons.append("begin with a blank, as target_delimiter ends with one")
    return [
        InputError(
            f"{name}: the choices {choices} {reason}",
            "one distinct text a label",
            "mend doc_to_choice",
        )
        for reason in reasons
    ]


def cluster_problems(task: ConfigurableTask) -> list[InputError]:
    """A field by which docs belong together (`metadata.cluster`) that the first doc lacks."""
    field, doc = (task.config.metadata or {}).get("cluster"), task.eval_docs[0]
    if field is None or field in doc:
        return []
    return [
        InputError(
            f"{task.config.task}: metadata.cluster is {field!r}, a field that the docs lack{suggest(str(field), doc)}",
            f"one of {', '.join(doc)}",
            "mend metadata.cluster in the task's YAML",
        )
    ]


def prompt_problems(task: ConfigurableTask) -> list[InputError]:
    """Prompts of the first docs that end in white space, where the answer's tokens would merge with
    it."""
    prompts = [
        task.doc_to_text(task.eval_docs[i]) for i in range(min(len(task.eval_docs), _MOCK_DOCS))
    ]
    bad = [prompt for prompt in prompts if isinstance(prompt, str) and prompt != prompt.rstrip()]
    return [
        InputError(
            f"{task.config.task}: a prompt ends in white space ({prompt[-20:]!r})",
            "a prompt that ends in text; the blank belongs to target_delimiter",
            "trim doc_to_text in the task's YAML",
        )
        for prompt in bad[:1]
    ]


def _mock_docs(task: ConfigurableTask) -> list[dict[str, Any]]:
    """The first doc of each of up to three right answers."""
    docs: dict[str, dict[str, Any]] = {}
    for index in range(min(len(task.eval_docs), _SEARCHED_DOCS)):
        doc = task.eval_docs[index]
        docs.setdefault(repr(task.doc_to_target(doc)), doc)
        if len(docs) == _MOCK_DOCS:
            break
    return list(docs.values())


def _mock_results(task: ConfigurableTask, doc: dict[str, Any]) -> list[list[Any]]:
    """What a model might answer: each of some choices as the best one; the right text, a wrong one,
    none, garbage."""
    if task.OUTPUT_TYPE == "multiple_choice":
        count = len(task.doc_to_choice(doc))
        bests = sorted({*range(min(count, _MOCK_DOCS)), count - 1})
        return [
            [(-1.0 - (index != best), index == best) for index in range(count)] for best in bests
        ]
    if task.OUTPUT_TYPE == "generate_until":
        target = task.doc_to_target(doc)
        if isinstance(target, int) and task.config.doc_to_choice is not None:
            target = task.doc_to_choice(doc)[target]
        right = target[0] if isinstance(target, list) and target else target
        return [[str(right)], *([text] for text in _WRONG_TEXTS)]
    return [[(-3.5, False)]] if task.OUTPUT_TYPE == "loglikelihood" else [[-12.5]]


def mock_problems(task: ConfigurableTask) -> list[FtHarnessError]:
    """Faults of a task's metrics, found by scoring mock answers of up to three docs: what
    `process_results` gives must be listed, of numbers, and aggregate to a number or to nothing.
    lm-eval would fail after the model has answered."""
    if getattr(task.config.process_results, "__module__", "").startswith("lm_eval."):
        return []
    name = task.config.task
    items: dict[str, list[Any]] = {}
    for doc in _mock_docs(task):
        for results in _mock_results(task, doc):
            try:
                scores = task.process_results(doc, results)
            except FtHarnessError as error:
                return [error]
            except Exception as error:  # whatever a task's own function raises
                return [
                    _mock_problem(
                        name, f"fails on the answer {results!r} ({type(error).__name__}: {error})"
                    )
                ]
            if not isinstance(scores, Mapping):
                return [
                    _mock_problem(name, f"gives {type(scores).__name__}, not a mapping of metrics")
                ]
            for metric, value in scores.items():
                items.setdefault(metric, []).append(value)
    listed = list(task.higher_is_better())
    problems: list[FtHarnessError] = []
    if missing := [metric for metric in items if metric not in listed]:
        problems.append(
            _mock_problem(name, f"gives what metric_list leaves out: {', '.join(missing)}")
        )
    if idle := [metric for metric in listed if metric not in items]:
        problems.append(
            _mock_problem(name, f"never gives what metric_list names: {', '.join(idle)}")
        )
    return problems + [
        problem for metric in listed if metric in items for problem in _misfits(task, metric, items)
    ]


def _mock_problem(name: str, what: str) -> InputError:
    return InputError(
        f"{name.partition('@')[0]}: process_results {what}",
        "the metrics of metric_list, each a number, a list of numbers or null",
        "mend metric_list or process_results in the task's YAML",
    )


def _misfits(
    task: ConfigurableTask, metric: str, items: Mapping[str, list[Any]]
) -> Iterator[InputError]:
    """The fault of one metric's mock values, if there is one."""
    values, name = items[metric], task.config.task
    if odd := [value for value in values if not _is_score(value)]:
        yield _mock_problem(name, f"gives {metric} as {odd[0]!r} ({type(odd[0]).__name__})")
        return
    for aggregate in (task.aggregation()[metric], find_metric(metric).value):
        try:
            total = aggregate(values)
        except (
            Exception
        ) as error:  # a task's own aggregation, or statistics of another metric's shape
            yield _mock_problem(
                name, f"gives {metric} in a form that can't be aggregated ({error})"
            )
            return
        if not (total is None or _is_score(total)):
            yield _mock_problem(name, f"gives {metric}, whose aggregate is {total!r}")
            return


def _is_score(value: Any) -> bool:
    """A finite number, a list of them, or None."""
    if value is None:
        return True
    parts = value if isinstance(value, list | tuple) else [value]
    try:
        return bool(parts) and all(
            not isinstance(part, str) and math.isfinite(part) for part in parts
        )
    except TypeError:
        return False
