"""lm-eval task objects from a task's definition: one for each split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from jinja2 import UndefinedError
from jinja2.exceptions import SecurityError
from lm_eval.api.task import ConfigurableTask

from ft_harness.data import load_splits
from ft_harness.data.files import Split
from ft_harness.errors import FtHarnessError, InputError, PolicyError, first_line, raise_problems
from ft_harness.models.lm_eval_private.tasks import import_function
from ft_harness.models.trust import trusting
from ft_harness.tasks.checks import definition_problems
from ft_harness.tasks.definition import SPLIT_KEYS, TaskDefinition
from ft_harness.tasks.mock_answers import mock_problems
from ft_harness.tasks.rendering import RenderedTask
from ft_harness.tasks.row_checks import cluster_problems

_LOADER_KEYS = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset")
_FUNCTION = "!function "
_OUTPUT_TYPES = ("multiple_choice", "generate_until", "loglikelihood")


def _base_configuration(definition: TaskDefinition) -> dict[str, Any]:
    """lm-eval's configuration of the task with the data that the options ask for.

    Raises:
        FtHarnessError: what can be found wrong with the YAML alone.
    """
    raise_problems(definition_problems(definition))
    config = _configuration(definition)
    written = config.get("metadata")
    config["metadata"] = {**(written if isinstance(written, dict) else {}), **definition.metadata}
    if definition.metadata and not definition.uses_our_loader:
        if "data_source" not in definition.metadata:
            raise InputError(
                f"the task {definition.name} has its own data",
                "data.source together with other data options",
                "set data.source",
            )
        config = {key: value for key, value in config.items() if key not in _LOADER_KEYS}
        config |= {"custom_dataset": load_splits, "dataset_kwargs": {"data": {}}}
        config |= {key: split for split, key in SPLIT_KEYS.items()} | {"fewshot_split": "train"}
    return config


def _configuration(definition: TaskDefinition) -> dict[str, Any]:
    """The definition's content with the functions it names in place of their names.

    Raises:
        InputError: there is no such function, or its module can't be imported.
    """
    merged: dict[str, Any] = {}
    for file in definition.files:
        try:
            merged |= {
                key: _import_functions(value, file.path.resolve().parent)
                for key, value in file.content.items()
            }
        except (FtHarnessError, MemoryError):
            raise
        except Exception as error:  # whatever a module of the task's own raises
            raise InputError(
                f"{file.path}: can't be loaded ({first_line(error)})",
                "functions that can be imported",
                "fix the file",
            ) from error
    for key in ("include", "tag", "group", "task_list"):
        merged.pop(key, None)
    return merged


def _import_functions(value: Any, folder: Path) -> Any:
    """Keys are left alone: lm-eval has no use for a function there."""
    if isinstance(value, str) and value.startswith(_FUNCTION):
        return import_function(value.removeprefix(_FUNCTION), folder)
    if isinstance(value, Mapping):
        return {key: _import_functions(part, folder) for key, part in value.items()}
    if isinstance(value, list):
        return [_import_functions(part, folder) for part in value]
    return value


def _split_configuration(config: Mapping[str, Any], name: str, split: str) -> dict[str, Any]:
    """The configuration that makes lm-eval score this split."""
    source = config.get(SPLIT_KEYS[split])
    if source is None:
        raise InputError(
            f"the task {name} has no {split} split",
            f"{SPLIT_KEYS[split]} in its YAML",
            "leave it out of eval.splits",
        )
    return {
        **config,
        "task": f"{name}@{split}",
        "test_split": source,
        "metadata": dict(config["metadata"]),
    }


def _build(config: dict[str, Any], name: str) -> RenderedTask:
    try:
        return RenderedTask(config=config)
    except FtHarnessError:
        raise
    except SecurityError as error:
        raise PolicyError(
            f"the task {name}: a template reaches into Python ({error})",
            "templates over the data's fields; no flag allows more",
            "fix doc_to_text, doc_to_target or doc_to_choice",
        ) from error
    except UndefinedError as error:
        raise InputError(
            f"the task {name}: a template names a field that the data lacks ({error})",
            f"templates over the data's own fields{_fields_of(config)}",
            "fix doc_to_text or doc_to_target, or map the column in data.columns",
        ) from error
    except Exception as error:  # lm-eval raises bare types for faults of YAML and data
        if isinstance(error, IndexError) and "size 0" in str(error):
            raise InputError(
                f"{config['task']}: the split has no rows",
                "rows in every split that is asked for",
                "leave it out (--set 'eval.splits=[train,test]'), or change data.split, the sizes "
                "or test_all",
            ) from error
        raise InputError(
            f"the task {name} can't be built ({type(error).__name__}: {first_line(error)})",
            "a task that lm-eval can load",
            "see ft-harness check, or --debug for the traceback",
        ) from error


def _fields_of(config: Mapping[str, Any]) -> str:
    """The fields of our loader's docs, where they are known without reading the data again."""
    data = (config.get("dataset_kwargs") or {}).get("data") or {}
    return f" ({', '.join(data['columns'])}, ...)" if data.get("columns") else ""


def _already_loaded(dataset: DatasetDict) -> Callable[..., DatasetDict]:
    def load(**_: Any) -> DatasetDict:
        return dataset

    return load


def load_tasks(definition: TaskDefinition, splits: Sequence[Split]) -> dict[Split, RenderedTask]:
    """One lm-eval task object for each split, named `<task>@<split>`; the data is read once.

    Raises:
        InputError: the YAML, its data, templates, choices or metrics are at fault.
        PolicyError: a task from elsewhere would run code.
    """
    tasks: dict[Split, RenderedTask] = {}
    with trusting(definition.trust_code):
        config = _base_configuration(definition)
        for split in splits:
            settings = _split_configuration(config, definition.name, split)
            tasks[split] = _build(settings, definition.name)
            config["custom_dataset"] = _already_loaded(tasks[split].dataset)
    # Metrics and fields are the same in each split.
    for task in list(tasks.values())[:1]:
        raise_problems([*cluster_problems(task), *mock_problems(task)])
    return tasks


def load_task_over(definition: TaskDefinition, split: Split, doc: dict[str, Any]) -> RenderedTask:
    """The task object of one split, made over one of its docs: its data is not read.

    Raises:
        FtHarnessError: as in `load_tasks`.
    """
    with trusting(definition.trust_code):
        config = _base_configuration(definition)
    rows = Dataset.from_list([doc])
    names = {
        name
        for key, name in config.items()
        if key in (*SPLIT_KEYS.values(), "fewshot_split") and name
    }
    config |= {
        "custom_dataset": _already_loaded(DatasetDict(dict.fromkeys(names, rows))),
        "dataset_kwargs": {},
    }
    config.pop("process_docs", None)  # they are docs already
    with trusting(definition.trust_code):
        return _build(_split_configuration(config, definition.name, split), definition.name)


def task_training_problems(task: ConfigurableTask, objective: str = "answer") -> list[InputError]:
    """Why a task can't be trained on, if it can't.

    Args:
        objective: as `train.objective`.
    """
    reasons: list[str] = []
    if objective == "preference" and task.OUTPUT_TYPE != "multiple_choice":
        reasons.append(
            f"its output_type is {task.OUTPUT_TYPE}, and pairs are two choices of multiple_choice"
        )
    elif task.OUTPUT_TYPE not in _OUTPUT_TYPES:
        reasons.append(f"its output_type is {task.OUTPUT_TYPE}")
    if task.multiple_input:
        reasons.append("its choices are whole prompts, not answers")
    return [
        InputError(
            f"{task.config.task} can't be trained on: {reason}",
            "one text target for each doc",
            "only score it",
        )
        for reason in reasons
    ]
