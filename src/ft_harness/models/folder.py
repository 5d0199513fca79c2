"""Faults of a local model folder before it is loaded: what is missing, damaged, or leads out of
it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

from ft_harness.errors import FtHarnessError, InputError, PolicyError
from ft_harness.storage.safetensors_file import read_header
from ft_harness.storage.strict_files import read_json

INDEX = "model.safetensors.index.json"
# a layer has a tensor of its own, except where a few layers are used again and again
_FEWEST_LAYERS = 200
_COUNTS_LAYERS = re.compile(r"layers?$|blocks?$|depths?$|experts$|groups$")
_LARGEST_SIZE = 1 << 31  # tokens, positions or dimensions


def leaves(path: Path) -> bool:
    """Whether a file of a model folder is a link out of it; not in the hub cache's layout
    (snapshots/X/file -> ../../blobs/Y)."""
    target, folder = path.resolve(), path.parent.resolve()
    inside_cache = (
        folder.parent.name == "snapshots" and target.parent == folder.parent.parent / "blobs"
    )
    return not target.is_relative_to(folder) and not inside_cache


def leaving(paths: list[Path]) -> list[FtHarnessError]:
    """A refusal for each file of a model folder that is a link out of it."""
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
    if found := _strange_files(folder):
        return found
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
    for check in (_own_code, _index, _headers):
        try:
            found += check(folder)
        except InputError as error:
            found.append(error)
    return found


def _strange_files(folder: Path) -> list[FtHarnessError]:
    """Pipes and devices, which are never opened, and an adapter's files, which transformers would
    load into the base without a word."""
    for path in sorted(folder.iterdir()):
        if path.exists() and not path.is_file() and not path.is_dir():
            return [
                InputError(
                    f"{path}: not a regular file", "files and folders", "remove or replace it"
                )
            ]
        if path.name.startswith("adapter_") and path.suffix in (".json", ".safetensors", ".bin"):
            return [
                InputError(
                    f"{path}: an adapter's file in the base model's folder",
                    "the base model alone: transformers would add the adapter to it",
                    "move the adapter_* files to a folder of their own, and give it as the adapter",
                )
            ]
    return []


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a local model folder that transformers loads: one file, or those that the
    index names.

    Raises:
        InputError: the index is damaged.
    """
    index = folder / INDEX
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return sorted(folder.glob("model.safetensors")) or sorted(folder.glob("*.safetensors"))
    return [folder / name for name in shard_names(folder)]


def shard_names(folder: Path) -> list[str]:
    """The files that the index of a local model in several files names; empty where there is none.

    Raises:
        InputError: the index is damaged.
    """
    names = read_json(folder / INDEX).get("weight_map") if (folder / INDEX).is_file() else None
    return sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []


def _headers(folder: Path) -> list[FtHarnessError]:
    """Every header; no tensor in two files, and no size in the configuration that the files can't
    have."""
    for path in sorted(folder.glob("*.safetensors")):
        read_header(path)
    held: dict[str, Path] = {}
    for path in weight_files(folder):
        for name in read_header(path):
            if name in held:
                return [
                    InputError(
                        f"{path}: holds {name[:80]}, which {held[name].name} holds too",
                        "each tensor in one file",
                        "fetch or make the model again",
                    )
                ]
            held[name] = path
    return _sizes(folder, read_json(folder / "config.json"), len(held))


def _sizes(folder: Path, config: Mapping[str, Any], tensors: int) -> list[FtHarnessError]:
    """Sizes that would take time or memory before the weights show that they are wrong."""
    for name, value in _integers(config):
        most = max(_FEWEST_LAYERS, tensors) if _COUNTS_LAYERS.search(name) else _LARGEST_SIZE
        if value > most:
            return [
                InputError(
                    f"{folder / 'config.json'}: {name} is {value} for {tensors} tensors",
                    f"at most {most}",
                    "fetch the model again from a place you trust",
                )
            ]
    return []


def _integers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Every integer in a configuration, with the name of the field that it is in."""
    if type(value) is int:
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _integers(each, str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _integers(each, name)


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
    if not (folder / INDEX).is_file():
        return []
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict):
        return [
            InputError(
                f"{folder / INDEX}: no weight_map", "file names by tensor", "fetch the model again"
            )
        ]
    files = sorted(set(map(str, names.values())))
    outside = [name for name in files if Path(name).name != name or "\\" in name]
    if outside:
        return [
            PolicyError(
                f"{folder / INDEX}: weight_map leads to {outside[0][:80]}",
                "names of files in the folder",
                "fetch the model again from a place you trust",
            )
        ]
    return [
        InputError(
            f"{folder / name}: no such file, named in {INDEX}",
            "all of the model's files",
            "fetch it again",
        )
        for name in files
        if not (folder / name).is_file()
    ]
