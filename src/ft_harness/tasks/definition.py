"""A task as one object: its YAML with includes, its options and whether its code is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from ft_harness.data import LOADER_VERSION
from ft_harness.data.files import SPLITS, Split
from ft_harness.errors import ConfigError, InputError, suggest
from ft_harness.metrics import metric_versions
from ft_harness.models.lm_eval_private import import_function
from ft_harness.storage import canonical_json, sha256_file, sha256_text
from ft_harness.tasks.listing import TaskFile, TaskReader, merge_includes, task_files

LOADER = "!function ft_harness.data.load_splits"
SPLIT_KEYS = {"train": "training_split", "validation": "validation_split", "test": "test_split"}
_FUNCTION = "!function "
# An adapter is the same whatever it is scored by.
_SCORING_KEYS = ("metric_list", "process_results", "filter_list")


@dataclass(frozen=True)
class TaskDefinition:
    """A task, found and read once, and passed on.

    Attributes:
        files: its YAML last, before it the files it includes.
        metadata: what `lm_eval --metadata` would carry: `data_source`, ..., `test_all`.
        trust_code: run the code that a task from elsewhere names.
    """

    name: str
    files: tuple[TaskFile, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trust_code: bool = False

    @property
    def path(self) -> Path:
        return self.files[-1].path

    @cached_property
    def content(self) -> dict[str, Any]:
        """The YAML over its includes; functions are texts."""
        return merge_includes(self.files)

    @property
    def uses_our_loader(self) -> bool:
        return bool(self.content.get("custom_dataset") == LOADER)

    @property
    def data_options(self) -> Mapping[str, Any]:
        """The options of our loader that the YAML names."""
        return (self.content.get("dataset_kwargs") or {}).get("data") or {}

    @property
    def names_data(self) -> bool:
        """Whether the YAML names its data; else the options have to."""
        return bool(self.data_options.get("source") or self.content.get("dataset_path"))

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the YAML names; all of them where the options replace its data."""
        replaced = "data_source" in self.metadata and not self.uses_our_loader
        return tuple(split for split in SPLITS if self.content.get(SPLIT_KEYS[split]) or replaced)

    @cached_property
    def task_hash(self) -> str:
        """Identity of what the task scores: the YAML's content, the versions of our loader and of
        our metrics that it names, and the code of other people's functions."""
        named = [
            str(entry.get("metric"))
            for entry in self.content.get("metric_list") or []
            if isinstance(entry, Mapping)
        ]
        return self._hash(self.content, metric_versions(named))

    @cached_property
    def training_hash(self) -> str:
        """Identity of what the task trains on: as `task_hash`, without what only scores."""
        kept = {key: value for key, value in self.content.items() if key not in _SCORING_KEYS}
        return self._hash(kept, {})

    def _hash(self, content: Mapping[str, Any], metrics: Mapping[str, int]) -> str:
        metadata = content.get("metadata")
        if isinstance(metadata, Mapping) and "primary_metric" in metadata:
            # it says which score is read first, and makes none
            kept = {key: value for key, value in metadata.items() if key != "primary_metric"}
            content = {**content, "metadata": kept}
        text = canonical_json(content)
        modules = sorted(set(re.findall(r"!function ([\w.]+)\.\w+", text)))
        foreign = [self.path.parent / f"{module.replace('.', '/')}.py" for module in modules]
        parts = {
            "content": text,
            "loader": LOADER_VERSION if LOADER in text else None,
            "metrics": dict(metrics),
            "code": [sha256_file(file) for file in foreign if file.is_file()],
        }
        return sha256_text(canonical_json(parts))[:16]

    def configuration(self) -> dict[str, Any]:
        """The content with the functions it names in place of their names.

        Raises:
            InputError: there is no such function, or its module can't be imported.
        """
        merged: dict[str, Any] = {}
        for file in self.files:
            try:
                merged |= {
                    key: _import_functions(value, file.path.resolve().parent)
                    for key, value in file.content.items()
                }
            except (ImportError, AttributeError, ValueError, SyntaxError) as error:
                raise InputError(
                    f"{file.path}: can't be loaded ({error})",
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


@cache
def _lm_eval_index() -> dict[str, Any]:
    index: dict[str, Any] = TaskManager().task_index  # reads 14,000 files
    return index


def find_task(
    name: str,
    include_path: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    trust_code: bool = False,
    reader: TaskReader | None = None,
) -> TaskDefinition:
    """The task of this name: ours or the user's, else lm-eval's own.

    Args:
        include_path: a further folder with task YAMLs.
        reader: what has read YAMLs already, where several tasks are looked for.

    Raises:
        ConfigError: no such task.
        InputError: a YAML is broken, or the name is a group of tasks.
        PolicyError: a YAML from elsewhere includes a file outside its own folder.
    """
    reader = reader or TaskReader()
    ours = task_files(include_path, reader)
    path = ours[name] if name in ours else _find_in_lm_eval(name, ours)
    files = reader.follow(path, trust_code=trust_code)
    return TaskDefinition(name, files, metadata or {}, trust_code)


def _find_in_lm_eval(name: str, ours: Mapping[str, Path]) -> Path:
    index = _lm_eval_index()
    entry = index.get(name)
    if entry is None:
        raise ConfigError(
            f"no task {name}{suggest(name, ours) or suggest(name, index)}",
            f"one of {', '.join(sorted(ours))}, or a task of lm-eval",
            "see ft-harness tasks list",
        )
    if entry.kind.name != "TASK" or entry.yaml_path is None:
        raise InputError(
            f"{name} is a {entry.kind.name.lower()} of lm-eval, not a single YAML task",
            "a task with a YAML of its own",
            "name one of its tasks",
        )
    return Path(entry.yaml_path)
