"""A task as one object: its YAML with includes, its options and whether its code is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ft_harness.data import LOADER_VERSION
from ft_harness.data.files import SPLITS, Split
from ft_harness.errors import InputError, first_line
from ft_harness.metrics import metric_versions
from ft_harness.storage import canonical_json, sha256_file, sha256_text
from ft_harness.tasks.listing import TaskFile, merge_includes

LOADER = "!function ft_harness.data.load_splits"
SPLIT_KEYS = {"train": "training_split", "validation": "validation_split", "test": "test_split"}
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

    @property
    def metric_entries(self) -> list[Any]:
        """What `metric_list` holds; nothing where it is no list, which is a fault of its own."""
        listed = self.content.get("metric_list")
        return listed if isinstance(listed, list) else []

    @cached_property
    def task_hash(self) -> str:
        """Identity of what the task scores: the YAML's content, the versions of our loader and of
        our metrics that it names, and the code of other people's functions."""
        entries = self.metric_entries
        named = [str(entry.get("metric")) for entry in entries if isinstance(entry, Mapping)]
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
        try:
            text = canonical_json(content)
        except (TypeError, ValueError) as error:  # NaN, bytes or a set, which YAML can spell
            raise InputError(
                f"{self.path}: {first_line(error)}",
                "texts, numbers, true, false, null, lists and mappings, as JSON has them",
                "write the value in quotes",
            ) from error
        modules = sorted(set(re.findall(r"!function ([\w.]+)\.\w+", text)))
        foreign = [self.path.parent / f"{module.replace('.', '/')}.py" for module in modules]
        parts = {
            "content": text,
            "loader": LOADER_VERSION if LOADER in text else None,
            "metrics": dict(metrics),
            "code": [sha256_file(file) for file in foreign if file.is_file()],
        }
        return sha256_text(canonical_json(parts))[:16]
