"""Task YAMLs on disk: each is read once, together with the files it includes, whose keys it
replaces; and which there are.

The one light module of the wing: listing tasks loads neither torch nor lm-eval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ft_harness.errors import InputError, PolicyError
from ft_harness.models.trust import TRUST_FLAG
from ft_harness.paths import is_installed, task_yamls_dir
from ft_harness.storage.strict_files import KeyPath, read_yaml

MOST_INCLUDES = (
    200  # of a task, each time that one is named: a few that name others twice are millions
)


class TaskFile(NamedTuple):
    """One task YAML on disk: its content, where `!function x` is the text of that name, and each
    key's line."""

    path: Path
    content: Mapping[str, Any]
    lines: Mapping[KeyPath, int]


class TaskReader:
    """Reads each task YAML once, however many tasks include it."""

    def __init__(self) -> None:
        self._read: dict[Path, TaskFile] = {}

    def read(self, path: Path) -> TaskFile:
        """Raises: InputError: the file is missing or broken."""
        key = path.resolve()
        if key not in self._read:
            self._read[key] = TaskFile(path, *read_yaml(path))
        return self._read[key]

    def follow(self, path: Path, *, trust_code: bool = False) -> tuple[TaskFile, ...]:
        """A task's YAML and the files it includes, the included ones first (later files win).

        Raises:
            InputError: a file is missing or broken, includes itself, or there are too many.
            PolicyError: a YAML from elsewhere includes a file outside its own folder; that file is
                not read.
        """
        anywhere = trust_code or is_installed(path)
        found: list[TaskFile] = []
        for file in self._follow(path, None if anywhere else path.resolve().parent, ()):
            found.append(file)
            if len(found) > MOST_INCLUDES:
                raise InputError(
                    f"{path}: more than {MOST_INCLUDES} includes, each counted as often as it is "
                    "named",
                    "a task of a few files",
                    "name each file once",
                )
        return tuple(found)

    def _follow(
        self, path: Path, within: Path | None, including: Sequence[Path]
    ) -> Iterator[TaskFile]:
        resolved = path.resolve()
        if resolved in including:
            raise InputError(
                f"{path}: includes itself", "includes without a circle", "remove one include"
            )
        if within and not resolved.is_relative_to(within) and not is_installed(path):
            raise PolicyError(
                f"{including[-1]}: includes {path}, which lies outside its folder",
                f"files in or below {within}",
                f"move the file there, or pass {TRUST_FLAG} if you know what it holds",
            )
        file = self.read(path)
        for name in _included(file):
            yield from self._follow(path.parent / name, within, (*including, resolved))
        yield file


def _included(file: TaskFile) -> list[str]:
    """Names of the files that a YAML includes.

    Raises:
        InputError: no names.
    """
    named = file.content.get("include") or []
    names = [named] if isinstance(named, str) else named
    if isinstance(names, list) and all(map(_is_name, names)):
        return names
    raise InputError(
        f"{file.path}:{file.lines.get(('include',), 1)}: include is {repr(named)[:80]}",
        "the name of a file, or a list of names",
        "fix include",
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def merge_includes(files: Sequence[TaskFile]) -> dict[str, Any]:
    """A task YAML laid over the files it includes."""
    merged: dict[str, Any] = {}
    for file in files:
        merged |= {key: value for key, value in file.content.items() if key != "include"}
    return merged


def task_files(
    include_path: str | None = None, reader: TaskReader | None = None
) -> dict[str, Path]:
    """Which task YAMLs there are: task name -> file, of the shipped tasks and of the user's folder
    (which may not reuse a shipped name).

    Raises:
        InputError: the folder is missing, a YAML is broken, or a name is used twice.
    """
    reader = reader or TaskReader()
    found: dict[str, Path] = {}
    for folder in [task_yamls_dir(), *([Path(include_path)] if include_path else [])]:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder", "a folder with task YAMLs", "check task.include_path"
            )
        for path in sorted(folder.rglob("*.yaml")):
            name = reader.read(path).content.get("task")
            if not isinstance(name, str):
                continue
            if name in found:
                raise InputError(
                    f"{path}: the task {name} is also in {found[name]}",
                    "one file for each task",
                    "rename one",
                )
            found[name] = path
    return found


def list_tasks(include_path: str | None = None) -> list[dict[str, str]]:
    """A list of the task YAMLs that are shipped or in the user's folder: name, output type, data
    source and file."""
    reader = TaskReader()
    listed: list[dict[str, str]] = []
    for name, path in sorted(task_files(include_path, reader).items()):
        try:
            content = merge_includes(reader.follow(path))
        except PolicyError:  # its includes lie elsewhere and are not read
            content = merge_includes([reader.read(path)])
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
