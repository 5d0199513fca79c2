"""The files of a hub model in the hub's cache, to be looked at before they are loaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from ft_harness.models.folder import INDEX, shard_names
from ft_harness.recipe import ModelSection

_SINGLE = "model.safetensors"


def _address(section: ModelSection) -> dict[str, Any]:
    return {"repo_id": section.pretrained, "revision": section.revision or "main"}


def held(section: ModelSection) -> Path | None:
    """The cached folder of a hub model; None: its weights, or some of them, are still to be
    fetched."""
    try:
        config = try_to_load_from_cache(filename="config.json", **_address(section))
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    names = [_SINGLE] if (folder / _SINGLE).exists() else shard_names(folder)
    return folder if names and all((folder / name).exists() for name in names) else None


def fetch(section: ModelSection) -> Path | None:
    """Fetch a hub model's safetensors into the cache: their folder; None where it has none.

    Files that the index names outside of the folder are not fetched.
    """
    folder: Path | None = None
    for name in (_SINGLE, INDEX):
        try:
            folder = Path(hf_hub_download(filename=name, **_address(section))).parent
        except EntryNotFoundError:
            continue
        break
    for name in shard_names(folder) if folder and not (folder / _SINGLE).exists() else ():
        if Path(name).name == name:
            hf_hub_download(filename=name, **_address(section))
    return folder


def fetch_files(pretrained: str, commit: str, patterns: Collection[str]) -> Path:
    """The cached folder of a hub model at this commit, with those files of its top folder that the
    patterns name; what is not in the cache yet is fetched."""
    wanted = {"allow_patterns": list(patterns), "ignore_patterns": "*/*"}
    return Path(snapshot_download(pretrained, revision=commit, **wanted))
