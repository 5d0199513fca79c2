"""What an experiment is made of, determined from files alone: no model is loaded, no row is
read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from ft_harness.data import source_files
from ft_harness.data.options import merge_options
from ft_harness.paths import PACKAGE, model_folder
from ft_harness.pipeline.experiment import Experiment
from ft_harness.recipe import RECIPE_FILE, Recipe
from ft_harness.records.provenance import cpu_name
from ft_harness.storage import canonical_json, sha256_file, sha256_once, sha256_text
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader, task_files

_COMMIT_DIGITS = 40
_DEVICES = ("nvidia[0-9]*", "kfd", "dri/renderD*")  # in /dev, by which torch finds GPUs
# what says of which model a GPU is, and so which number formats it has
_GPUS = ("proc/driver/nvidia/gpus/*/information", "sys/class/kfd/kfd/topology/nodes/*/name")
_NAMES = (
    *("ACCELERATE_", "FSDP_", "WORLD_SIZE", "HF_HUB_OFFLINE", "HF_HOME"),
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
)
# What launchers set, what hides GPUs, and where the hub's files are, before libraries set more.
_VARIABLES = sorted(f"{name}={os.environ[name]}" for name in os.environ if name.startswith(_NAMES))


class NotToldByFilesError(Exception):
    """What an experiment is made of can't be told from files: a hub's data, a stranger's code, a
    server."""


def identify(
    experiment: Experiment, folders: Sequence[Path], reader: TaskReader | None = None
) -> str:
    """Hash of everything that an experiment is made of: this package, its environment, the recipe,
    its tasks, and each file of data, base model and the given folders.

    Args:
        folders: that hold what was made; none of them need be there.
        reader: what has read YAMLs already, or will be asked for them again.

    Raises:
        NotToldByFilesError: files don't tell.
        FtHarnessError, OSError: a task or a file can't be read.
    """
    recipe = experiment.recipe
    if experiment.trust_task_code or recipe.eval.server:
        raise NotToldByFilesError
    parent = [Path(recipe.train.continue_from).expanduser()] if recipe.train.continue_from else []
    tasks = _find_tasks(recipe, reader or TaskReader())
    files = [*_data_files(recipe, tasks), *_model_files(recipe)]
    files += [file for folder in (*folders, *parent) for file in _files_in(folder)]
    parts = [
        _own_code(),
        _environment(),
        recipe.model_dump_json(),
        repr([file.content for each in tasks for file in each.files]),
        [[str(file), sha256_once(file)] for file in files],
    ]
    return sha256_text(canonical_json(parts))


@cache
def _own_code() -> str:
    """Hash of this package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return sha256_text("".join(sha256_file(file) for file in files))


def _environment() -> list[list[str]]:
    """Installed packages with their versions, processor and GPUs, and variables."""
    places = (Path(each) for each in sys.path if Path(each).is_dir())
    packages = {info.name for place in places for info in place.glob("*.dist-info")}
    described = (file for pattern in _GPUS for file in sorted(Path("/").glob(pattern)))
    named = [line for file in described for line in file.read_text().splitlines()]
    models = [cpu_name(), *(line for line in named if ":" not in line or "Model" in line)]
    return [[sys.version], sorted(packages), gpu_devices(), models, _VARIABLES]


def gpu_devices() -> list[str]:
    """The files by which torch finds GPUs."""
    return sorted(str(each) for pattern in _DEVICES for each in Path("/dev").glob(pattern))


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder, if it is there; a recipe is compared by what it says."""
    return sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.is_file() and path.name != RECIPE_FILE and not path.name.startswith(".")
    )


def _find_tasks(recipe: Recipe, reader: TaskReader) -> list[TaskDefinition]:
    """The task and the control tasks; lm-eval's own are of the hub's data."""
    known = task_files(recipe.task.include_path, reader)
    names = [recipe.task.name, *recipe.controls.tasks]
    if not known.keys() >= set(names):
        raise NotToldByFilesError
    return [TaskDefinition(name, reader.follow(known[name])) for name in names]


def _data_files(recipe: Recipe, tasks: Sequence[TaskDefinition]) -> Iterator[Path]:
    for task in tasks:
        is_recipes = task.name == recipe.task.name or not task.names_data
        metadata = recipe.task_metadata() if is_recipes else {}
        if not task.uses_our_loader and "data_source" not in metadata:
            raise NotToldByFilesError
        found = source_files(merge_options(task.data_options, metadata))
        if found is None:
            raise NotToldByFilesError
        yield from found


def _model_files(recipe: Recipe) -> list[Path]:
    """The base model's files; none of a hub's model that is named by its commit.

    Raises:
        NotToldByFilesError: a hub's model that may change.
    """
    folder = Path(model_folder(recipe.model.pretrained))
    if folder.is_dir():
        return _files_in(folder)
    if len(recipe.model.revision or "") == _COMMIT_DIGITS:
        return []
    raise NotToldByFilesError
