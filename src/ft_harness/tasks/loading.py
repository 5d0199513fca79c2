"""Find, check, list and load tasks: ours, the user's and lm-eval's own; one lm-eval task object a
split."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from jinja2 import UndefinedError
from jinja2.exceptions import SecurityError
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from ft_harness.data import LOADER_VERSION, load_splits
from ft_harness.data.files import SPLITS, Split
from ft_harness.errors import (
    ConfigError,
    FtHarnessError,
    InputError,
    PolicyError,
    raise_problems,
    suggest,
)
from ft_harness.metrics import metric_versions
from ft_harness.models.lm_eval_private import load_yaml
from ft_harness.models.trust import trusting
from ft_harness.paths import task_yamls_dir
from ft_harness.storage import canonical_json, sha256_file, sha256_text
from ft_harness.storage.strict_files import read_yaml
from ft_harness.tasks.checks import (
    LOADER,
    choice_problems,
    cluster_problems,
    code_problems,
    label_problems,
    metric_problems,
    mock_problems,
    with_includes,
    yaml_problems,
)

_SPLIT_KEYS = {"train": "training_split", "validation": "validation_split", "test": "test_split"}
_LOADER_KEYS = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset")
_SCORING_KEYS = (
    "metric_list",
    "process_results",
    "filter_list",
)  # an adapter is the same whatever it is scored by
_OUTPUT_TYPES = ("multiple_choice", "generate_until", "loglikelihood")


@dataclass(frozen=True)
class TaskSpec:
    """Which task, from where, with which data.

    Attributes:
        include_path: a further folder with task YAMLs.
        metadata: what `lm_eval --metadata` would carry: `data_source`, ..., `test_all`.
        trust_code: run the code that a task of the further folder names.
    """

    name: str
    include_path: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trust_code: bool = False


def task_files(include_path: str | None = None) -> dict[str, Path]:
    """Task name -> YAML file of the shipped tasks and of the user's folder (which may not reuse a
    shipped name).

    Raises:
        InputError: the folder is missing, a YAML is broken, or a name stands twice.
    """
    found: dict[str, Path] = {}
    for folder in [task_yamls_dir(), *([Path(include_path)] if include_path else [])]:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder", "a folder with task YAMLs", "check task.include_path"
            )
        for path in sorted(folder.rglob("*.yaml")):
            content, _ = read_yaml(path)
            name = content.get("task")
            if not isinstance(name, str):
                continue
            if name in found:
                raise InputError(
                    f"{path}: the task {name} is also in {found[name]}",
                    "one file a task",
                    "rename one",
                )
            found[name] = path
    return found


@cache
def _lm_eval_index() -> dict[str, Any]:
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


def task_hash(path: Path, *, trust_code: bool = False) -> str:
    """Identity of what a task scores: its YAML's content (includes followed), the versions of our
    loader and of our metrics that it names, and the code of a stranger's functions."""
    content = with_includes(path, trust_code=trust_code)
    named = [
        str(entry.get("metric"))
        for entry in content.get("metric_list") or []
        if isinstance(entry, Mapping)
    ]
    return _hash_content(content, path.parent, metric_versions(named))


def training_hash(path: Path, *, trust_code: bool = False) -> str:
    """Identity of what a task trains on: as `task_hash`, without what only scores."""
    content = with_includes(path, trust_code=trust_code)
    return _hash_content(
        {key: value for key, value in content.items() if key not in _SCORING_KEYS}, path.parent, {}
    )


def _hash_content(content: Mapping[str, Any], folder: Path, metrics: Mapping[str, int]) -> str:
    text = canonical_json(content)
    modules = sorted(set(re.findall(r"!function ([\w.]+)\.\w+", text)))
    foreign = [folder / f"{module.replace('.', '/')}.py" for module in modules]
    parts = {
        "content": text,
        "loader": LOADER_VERSION if LOADER in text else None,
        "metrics": dict(metrics),
        "code": [sha256_file(file) for file in foreign if file.is_file()],
    }
    return sha256_text(canonical_json(parts))[:16]


def _uses_our_loader(config: Mapping[str, Any]) -> bool:
    return config.get("custom_dataset") is load_splits


def _base_config(spec: TaskSpec, path: Path) -> dict[str, Any]:
    """The task's configuration with the spec's data in place."""
    try:
        config: dict[str, Any] = load_yaml(path)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise InputError(
            f"{path}: can't be loaded ({error})", "an lm-eval task YAML", "mend the file"
        ) from error
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
            f"the task {name} has no {split} split",
            f"{_SPLIT_KEYS[split]} in its YAML",
            "leave it out of eval.splits",
        )
    return {
        **config,
        "task": f"{name}@{split}",
        "test_split": source,
        "metadata": dict(config["metadata"]),
    }


def _build(config: dict[str, Any], name: str) -> ConfigurableTask:
    try:
        return ConfigurableTask(config=config)
    except FtHarnessError:
        raise
    except SecurityError as error:
        raise PolicyError(
            f"the task {name}: a template reaches into Python ({error})",
            "templates over the data's fields; no flag allows more",
            "mend doc_to_text, doc_to_target or doc_to_choice",
        ) from error
    except UndefinedError as error:
        raise InputError(
            f"the task {name}: a template names a field that the data lacks ({error})",
            f"templates over the data's own fields{_fields_of(config)}",
            "mend doc_to_text or doc_to_target, or map the column in data.columns",
        ) from error
    except Exception as error:  # lm-eval raises bare types for faults of YAML and data
        if isinstance(error, IndexError) and "size 0" in str(error):
            raise InputError(
                f"{config['task']}: the split has no rows",
                "rows in every split that is asked for",
                "leave it out (--set 'eval.splits=[train,test]'), or change data.split, the sizes or test_all",
            ) from error
        raise InputError(
            f"the task {name} can't be built ({type(error).__name__}: {error})",
            "a task that lm-eval can load",
            "see ft-harness check, or --debug for the traceback",
        ) from error


def _fields_of(config: Mapping[str, Any]) -> str:
    """The fields of our loader's docs, where they can be told without reading the data again."""
    data = (config.get("dataset_kwargs") or {}).get("data") or {}
    return f" ({', '.join(data['columns'])}, ...)" if data.get("columns") else ""


def _already_loaded(dataset: DatasetDict) -> Callable[..., DatasetDict]:
    def load(**_: Any) -> DatasetDict:
        return dataset

    return load


def load_tasks(spec: TaskSpec, splits: Sequence[Split]) -> dict[Split, ConfigurableTask]:
    """One lm-eval task object for each split, named `<task>@<split>`; the data is read once.

    Raises:
        ConfigError: no such task.
        InputError: the YAML, its data, templates, choices or metrics are at fault.
        PolicyError: a task from elsewhere would run code.
    """
    path, tasks = _checked_path(spec), dict[Split, ConfigurableTask]()
    with trusting(spec.trust_code):
        config = _base_config(spec, path)
        for split in splits:
            tasks[split] = _build(_split_config(config, spec.name, split), spec.name)
            config["custom_dataset"] = _already_loaded(tasks[split].dataset)
    for task in list(tasks.values())[:1]:
        raise_problems([*choice_problems(task), *cluster_problems(task), *mock_problems(task)])
    return tasks


def load_task_over(spec: TaskSpec, split: Split, doc: dict[str, Any]) -> ConfigurableTask:
    """The task object of one split, made over one of its docs: its data is not read.

    Raises:
        FtHarnessError: as in `load_tasks`.
    """
    path = _checked_path(spec)
    with trusting(spec.trust_code):
        config = _base_config(spec, path)
    rows = Dataset.from_list([doc])
    names = {
        name
        for key, name in config.items()
        if key in (*_SPLIT_KEYS.values(), "fewshot_split") and name
    }
    config |= {
        "custom_dataset": _already_loaded(DatasetDict(dict.fromkeys(names, rows))),
        "dataset_kwargs": {},
    }
    config.pop("process_docs", None)  # they are docs already
    with trusting(spec.trust_code):
        return _build(_split_config(config, spec.name, split), spec.name)


def _checked_path(spec: TaskSpec) -> Path:
    """The task's YAML, after the checks that need no data."""
    path, trust = find_task(spec), spec.trust_code
    raise_problems([] if trust else code_problems(path))
    problems = [*yaml_problems(path, trust_code=trust), *metric_problems(path, trust_code=trust)]
    if "data_labels" not in spec.metadata:
        problems += label_problems(path, trust_code=trust)
    raise_problems(problems)
    return path


def splits_of(spec: TaskSpec) -> tuple[Split, ...]:
    """The splits that a task's YAML names; all of them where the spec replaces its data.

    Raises:
        FtHarnessError: as in `load_tasks`, for faults of the YAML.
    """
    content = with_includes(_checked_path(spec), trust_code=spec.trust_code)
    ours = content.get("custom_dataset") == LOADER
    replaced = "data_source" in spec.metadata and not ours
    return tuple(split for split in SPLITS if content.get(_SPLIT_KEYS[split]) or replaced)


def training_problems(task: ConfigurableTask) -> list[InputError]:
    """Why a task can't be trained on, if it can't."""
    name = task.config.task
    reasons: list[str] = []
    if task.OUTPUT_TYPE not in _OUTPUT_TYPES:
        reasons.append(f"its output_type is {task.OUTPUT_TYPE}")
    if task.multiple_input:
        reasons.append("its choices are whole prompts, not answers")
    return [
        InputError(
            f"{name} can't be trained on: {reason}", "one text target a doc", "only score it"
        )
        for reason in reasons
    ]


def list_tasks(include_path: str | None = None) -> list[dict[str, str]]:
    """Name, output type, data source and file of the shipped and the user's tasks."""
    listed: list[dict[str, str]] = []
    for name, path in sorted(task_files(include_path).items()):
        try:
            content = with_includes(path)
        except PolicyError:
            content, _ = read_yaml(
                path
            )  # listed as it stands; its includes lie elsewhere and are not read
        data = (content.get("dataset_kwargs") or {}).get("data") or {}
        source = str(data.get("source") or content.get("dataset_path") or "-")
        listed.append(
            {
                "task": name,
                "output": str(content.get("output_type", "-")),
                "data": source,
                "file": path.name,
            }
        )
    return listed
