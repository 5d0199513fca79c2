"""Adapters by name: a folder here, or one that the hub has."""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import snapshot_download

from ft_harness.errors import InputError, first_line


def adapter_folder(name: str) -> Path:
    """The folder of an adapter: one here, else the hub's, fetched into its cache.

    Raises:
        InputError: neither.
    """
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        return path

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except Exception as error:  # the hub client raises many types
        raise InputError(
            f"{name}: no such adapter folder, and none on the hub ({first_line(error)})",
            "a PEFT adapter folder",
            "check the path",
        ) from error
