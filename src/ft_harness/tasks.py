"""Find, check, list and load tasks: ours, the user's and lm-eval's own; one lm-eval task object a split."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.data import load_splits
from ft_harness.errors import ConfigError, FtHarnessError, InputError, raise_problems, suggest
from ft_harness.files import Split
from ft_harness.metrics import find_metric, label_metrics
from ft_harness.paths import task_yamls_dir
from ft_harness.storage import canonical_json, sha256_file, sha256_text
from ft_harness.yaml_source import read_yaml

if TYPE_CHECKING:
    from datasets import DatasetDict
    from lm_eval.api.task import ConfigurableTask

_log = logging.getLogger(__name__)
_SPLIT_KEYS = {"train": "training_split", "validation": "validation_split", "test": "test_split"}
_LOADER_KEYS = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset")
_OUTPUT_TYPES = ("multiple_choice", "generate_until", "loglikelihood")


@dataclass(frozen=True)
class TaskSpec:
    """Which task, from where, with which data.

    Attributes:
        include_path: a further folder with task YAMLs.
        metadata: what `lm_eval --metadata` would carry: `data_source`, ..., `test_all`.
    """

    name: str
    include_path: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def task_files(include_path: str | None = None) -> dict[str, Path]:
    """Task name -> YAML file of the shipped tasks and of the user's folder (which may not reuse a shipped name).

    Raises:
        InputError: the folder is missing, a YAML is broken, or a name stands twice.
    """
    found: dict[str, Path] = {}
    for folder in [task_yamls_dir(), *([Path(include_path)] if include_path else [])]:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder", "a folder with task YAMLs", "check task.include_path")
        for path in sorted(folder.rglob("*.yaml")):
            content, _ = read_yaml(path)
            name = content.get("task")
            if not isinstance(name, str):
                continue
            if name in found:
                raise InputError(f"{path}: the task {name} is also in {found[name]}", "one file a task", "rename one")
            found[name] = path
    return found


@cache
def _lm_eval_index() -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    index: dict[str, Any] = TaskManager().task_index  # reads 14,000 files
    return index


def find_task(spec: TaskSpec) -> Path:
    """The YAML file of a task: ours or the user's, else lm-eval's own.

    Raises:
        ConfigError: no such task.
    """
    ours = task_files(spec.include_path)
    if spec.name in ours:
        return ours[spec.name]
    index = _lm_eval_index()
    entry = index.get(spec.name)
    if entry is None:
        raise ConfigError(
            f"no task {spec.name}{suggest(spec.name, ours) or suggest(spec.name, index)}",
            f"one of {', '.join(sorted(ours))}, or a task of lm-eval",
            "see ft-harness tasks list",
        )
    if entry.kind.name != "TASK" or entry.yaml_path is None:
        raise InputError(
            f"{spec.name} is a {entry.kind.name.lower()} of lm-eval, not a single YAML task",
            "a task with a YAML of its own",
            "name one of its tasks",
        )
    return Path(entry.yaml_path)


def yaml_problems(path: Path) -> list[InputError]:
    """Unknown keys of a task YAML, with line and suggestion; lm-eval itself would fail without naming the file."""
    from lm_eval.config.task import TaskConfig

    content, lines = read_yaml(path)
    known = {item.name for item in dataclasses.fields(TaskConfig)} | {"include", "tag", "group", "task_list", "class"}
    return [
        InputError(
            f"{path}:{lines[(str(key),)]}: unknown key {key}{suggest(str(key), known)}",
            "a key of lm-eval's task YAMLs",
            "rename it",
        )
        for key in content
        if key not in known
    ]


def _with_includes(path: Path, including: Sequence[Path] = ()) -> dict[str, Any]:
    """The content of a task YAML, laid over that of the files it includes."""
    path = path.resolve()
    if path in including:
        raise InputError(f"{path}: includes itself", "includes without a circle", "remove one include")
    content, _ = read_yaml(path)
    included = content.pop("include", [])
    merged: dict[str, Any] = {}
    for name in [included] if isinstance(included, str) else included or []:
        merged |= _with_includes(path.parent / name, (*including, path))
    return merged | content


def metric_problems(path: Path) -> list[InputError]:
    """Metrics of a task YAML that can't be aggregated and compared; lm-eval would ask the hub for an unknown one."""
    problems: list[InputError] = []
    content = _with_includes(path)
    for entry in content.get("metric_list") or []:
        name = str(entry.get("metric") if isinstance(entry, Mapping) else entry)
        try:
            find_metric(name)
        except InputError as error:
            problems.append(InputError(f"{path}: {error.what}", error.expected, error.action))
    return problems + _unlisted_metrics(path, content)


def _unlisted_metrics(path: Path, content: Mapping[str, Any]) -> list[InputError]:
    """Metrics that `score_label` gives but the YAML leaves out: lm-eval would take the mean of their counts."""
    if content.get("process_results") != "!function ft_harness.metrics.score_label":
        return []
    labels = ((content.get("dataset_kwargs") or {}).get("data") or {}).get("labels") or []
    listed = {entry.get("metric") for entry in content.get("metric_list") or [] if isinstance(entry, Mapping)}
    missing = [name for name in label_metrics(labels) if name not in listed]
    if not missing:
        return []
    return [
        InputError(
            f"{path}: metric_list leaves out {', '.join(missing)}",
            "every metric that score_label gives, with its aggregation",
            f"add lines like those of {task_yamls_dir() / 'sst2' / 'sst2_custom.yaml'}",
        )
    ]


def task_hash(path: Path) -> str:
    """Hash of a task's definition (includes followed): prompts, answers, stop rule, metrics, version, and the code
    of the functions that it names."""
    content = canonical_json(_with_includes(path))
    named = sorted(set(re.findall(r"!function ([\w.]+)\.\w+", content)))
    code = [sha256_file(file) for module in named for file in _module_files(module, path.parent)]
    return sha256_text(canonical_json([content, code]))[:16]


def _module_files(module: str, folder: Path) -> list[Path]:
    """The files that lm-eval takes a `!function` from: beside the YAML, else a room of ours (all of its modules)."""
    beside = folder / f"{module.replace('.', '/')}.py"
    if beside.is_file():
        return [beside]
    if not module.startswith("ft_harness."):
        return []
    room = Path(__file__).parent / module.split(".")[1]
    return (
        sorted(room.glob("*.py")) if room.is_dir() else [file for file in [room.with_suffix(".py")] if file.is_file()]
    )


def _uses_our_loader(config: Mapping[str, Any]) -> bool:
    loader = config.get("custom_dataset")
    return getattr(loader, "__module__", "") == "ft_harness.data"


def _base_config(spec: TaskSpec, path: Path) -> dict[str, Any]:
    """The task's configuration with the spec's data in place."""
    from lm_eval.tasks._yaml_loader import load_yaml

    _with_includes(path)  # names file and line where lm-eval's own reader would not
    try:
        config: dict[str, Any] = load_yaml(path)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: can't be loaded ({error})", "an lm-eval task YAML", "mend the file") from error
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    metadata = config.get("metadata")
    config["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), **spec.metadata}
    if spec.metadata and not _uses_our_loader(config):
        if "data_source" not in spec.metadata:
            raise InputError(
                f"the task {spec.name} has its own data",
                "data.source together with other data options",
                "set data.source",
            )
        config = {key: value for key, value in config.items() if key not in _LOADER_KEYS}
        config |= {"custom_dataset": load_splits, "dataset_kwargs": {"data": {}}}
        config |= {key: split for split, key in _SPLIT_KEYS.items()} | {"fewshot_split": "train"}
    return config


def _split_config(config: Mapping[str, Any], name: str, split: str) -> dict[str, Any]:
    """The configuration that makes lm-eval score this split."""
    source = config.get(_SPLIT_KEYS[split])
    if source is None:
        raise InputError(
            f"the task {name} has no {split} split", f"{_SPLIT_KEYS[split]} in its YAML", "leave it out of eval.splits"
        )
    return {**config, "task": f"{name}@{split}", "test_split": source, "metadata": dict(config["metadata"])}


def _build(config: dict[str, Any], name: str) -> ConfigurableTask:
    from jinja2 import UndefinedError
    from lm_eval.api.task import ConfigurableTask

    try:
        return ConfigurableTask(config=config)
    except FtHarnessError:
        raise
    except UndefinedError as error:
        raise InputError(
            f"the task {name}: a template names a field that the data lacks ({error})",
            "templates over the data's own fields",
            "mend doc_to_text or doc_to_target, or map the column in data.columns",
        ) from error
    except Exception as error:  # lm-eval raises bare types for faults of YAML and data
        raise InputError(
            f"the task {name} can't be built ({type(error).__name__}: {error})",
            "a task that lm-eval can load",
            "see ft-harness check, or --debug for the traceback",
        ) from error


def _already_loaded(dataset: DatasetDict) -> Callable[..., DatasetDict]:
    def load(**_: Any) -> DatasetDict:
        return dataset

    return load


def load_tasks(spec: TaskSpec, splits: Sequence[Split]) -> dict[Split, ConfigurableTask]:
    """One lm-eval task object for each split, named `<task>@<split>`; the data is read once.

    Raises:
        ConfigError: no such task.
        InputError: the YAML, its data or its templates are at fault.
    """
    path = find_task(spec)
    raise_problems([*yaml_problems(path), *metric_problems(path)])
    config = _base_config(spec, path)
    tasks: dict[Split, ConfigurableTask] = {}
    for split in splits:
        tasks[split] = _build(_split_config(config, spec.name, split), spec.name)
        config["custom_dataset"] = _already_loaded(tasks[split].dataset)
    return tasks


def training_problems(task: ConfigurableTask) -> list[InputError]:
    """Why a task can't be trained on, if it can't."""
    name = task.config.task
    reasons: list[str] = []
    if task.OUTPUT_TYPE not in _OUTPUT_TYPES:
        reasons.append(f"its output_type is {task.OUTPUT_TYPE}")
    if task.multiple_input:
        reasons.append("its choices are whole prompts, not answers")
    return [
        InputError(f"{name} can't be trained on: {reason}", "one text target a doc", "only score it")
        for reason in reasons
    ]


def list_tasks(include_path: str | None = None) -> list[dict[str, str]]:
    """Name, output type, data source and file of the shipped and the user's tasks."""
    listed: list[dict[str, str]] = []
    for name, path in sorted(task_files(include_path).items()):
        content = _with_includes(path)
        data = (content.get("dataset_kwargs") or {}).get("data") or {}
        source = str(data.get("source") or content.get("dataset_path") or "-")
        listed.append({"task": name, "output": str(content.get("output_type", "-")), "data": source, "file": path.name})
    return listed
