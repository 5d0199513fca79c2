"""A local model folder before it is loaded: what is missing, damaged, or leads out of it."""

from __future__ import annotations

from pathlib import Path

from transformers import CONFIG_MAPPING

from ft_harness.errors import FtHarnessError, InputError, PolicyError
from ft_harness.storage.safetensors_file import read_header
from ft_harness.storage.strict_files import read_json

_INDEX = "model.safetensors.index.json"


def leaves(path: Path) -> bool:
    """Whether a file is a link out of its folder; not in the hub cache's layout (snapshots/X/file
    -> ../../blobs/Y)."""
    target, folder = path.resolve(), path.parent.resolve()
    inside_cache = (
        folder.parent.name == "snapshots" and target.parent == folder.parent.parent / "blobs"
    )
    return not target.is_relative_to(folder) and not inside_cache


def leaving(paths: list[Path]) -> list[FtHarnessError]:
    """A refusal for each file that is a link out of its folder."""
    return [
        PolicyError(
            f"{path}: a link to {path.resolve()}",
            "files that lie in their folder",
            "copy the file into the folder, or give the folder that it lies in",
        )
        for path in paths
        if leaves(path)
    ]


def problems(folder: Path) -> list[FtHarnessError]:
    """Faults of a local model folder that show without loading it."""
    if not (folder / "config.json").is_file():
        return [
            InputError(
                f"{folder}: no config.json", "a Hugging Face model folder", "check model.pretrained"
            )
        ]
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return [
            InputError(
                f"{folder}: no safetensors weights",
                "model.safetensors (pickled weights are not loaded)",
                "convert: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...), "
                "where you trust them",
            )
        ]
    found = leaving([*sorted(folder.glob("*.json")), *weights])
    if found:
        return found
    for check in (_own_code, _index, *(lambda _, path=path: _header(path) for path in weights)):
        try:
            found += check(folder)
        except InputError as error:
            found.append(error)
    return found


def _header(path: Path) -> list[FtHarnessError]:
    read_header(path)
    return []


def _own_code(folder: Path) -> list[FtHarnessError]:
    """An architecture that only the folder's own code knows; where transformers knows it too, that
    code isn't run."""
    config = read_json(folder / "config.json")
    if "auto_map" not in config or config.get("model_type") in CONFIG_MAPPING:
        return []
    return [
        PolicyError(
            f"{folder / 'config.json'}: auto_map names code of the folder "
            f"({str(config['auto_map'])[:80]})",
            "an architecture that transformers has; no flag runs a model's own code",
            "use a model whose model_type transformers knows, or a newer transformers",
        )
    ]


def _index(folder: Path) -> list[FtHarnessError]:
    """The index of a model in several files: plain names of files in the folder."""
    if not (folder / _INDEX).is_file():
        return []
    names = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(names, dict):
        return [
            InputError(
                f"{folder / _INDEX}: no weight_map", "file names by tensor", "fetch the model again"
            )
        ]
    files = sorted(set(map(str, names.values())))
    outside = [name for name in files if Path(name).name != name or "\\" in name]
    if outside:
        return [
            PolicyError(
                f"{folder / _INDEX}: weight_map leads to {outside[0][:80]}",
                "names of files in the folder",
                "fetch the model again from a place you trust",
            )
        ]
    return [
        InputError(
            f"{folder / name}: no such file, named in {_INDEX}",
            "all of the model's files",
            "fetch it again",
        )
        for name in files
        if not (folder / name).is_file()
    ]
