"""An adapter folder: card, configuration and header, each read once and passed on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ft_harness.errors import FtHarnessError, InputError, raise_problems
from ft_harness.records.adapter_files import (
    CARD_FILE,
    CONFIG_FILE,
    KEPT_FILES,
    MODEL_CONFIG_FILE,
    MODEL_FILE,
    read_card,
    weights_file,
)
from ft_harness.records.cards import Card
from ft_harness.storage import canonical_json, sha256_file, sha256_text
from ft_harness.storage.safetensors_file import TensorInfo, read_header
from ft_harness.storage.strict_files import parse_json, read_bytes, read_json


@dataclass(frozen=True, eq=False)
class AdapterFolder:
    """A folder with an adapter, or with a fully trained model, each of its files read once.

    Its files are read when they are first asked for, so that faults appear in the order in which
    they are looked for. Make another object where files may have changed.
    """

    path: Path

    @classmethod
    def of(cls, folder: Path | Self) -> Self:
        return folder if isinstance(folder, cls) else cls(Path(str(folder)))

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def card(self) -> Card | None:
        """None: unfinished, or made by another trainer.

        Raises:
            InputError: the card is damaged.
        """
        return read_card(self.path)

    @cached_property
    def is_whole(self) -> bool:
        """Whether, by its card, all weights of the model were trained."""
        return self.card is not None and self.card.is_whole

    @property
    def weights(self) -> Path:
        """The file of trained weights."""
        return self.path / MODEL_FILE if self.is_whole else weights_file(self.path)

    @cached_property
    def _configuration(self) -> bytes:
        return read_bytes(self.path / CONFIG_FILE)

    @cached_property
    def config(self) -> dict[str, Any]:
        """PEFT's configuration, as it is written.

        Raises:
            InputError: missing, or no JSON object.
        """
        return parse_json(self.path / CONFIG_FILE, self._configuration)

    @cached_property
    def held(self) -> dict[str, TensorInfo]:
        """The tensors that the header of the trained weights declares.

        Raises:
            InputError: damaged.
        """
        return read_header(self.weights)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """sha256 of the files that decide what the adapter does."""
        return {
            name: hashlib.sha256(self._configuration).hexdigest()
            if name == CONFIG_FILE
            else sha256_file(self.path / name)
            for name in KEPT_FILES
            if (self.path / name).is_file()
        }

    def check_files(self) -> None:
        """Compare the files with those that the card was written for.

        Raises:
            InputError: one differs or is missing.
        """
        raise_problems(self.changed_files())

    def changed_files(self) -> list[FtHarnessError]:
        """A fault for each file that is not the one that the card was written for."""
        known = self.card.files if self.card else {}
        changed = [name for name, value in known.items() if self.hashes.get(name) != value]
        return [
            InputError(
                f"{self.path / name}: not the file that the card was written for",
                "an unchanged file",
                f"restore it, or delete {CARD_FILE} and train again",
            )
            for name in changed
        ]

    @cached_property
    def identity(self) -> str:
        """One hash over the trained weights and their configuration."""
        whole = self.weights.name == MODEL_FILE
        config = read_json(self.path / MODEL_CONFIG_FILE) if whole else self.config
        ordered = {  # PEFT writes sets of names in any order
            key: sorted(value)
            if isinstance(value, list) and all(isinstance(each, str) for each in value)
            else value
            for key, value in config.items()
        }
        text = self.hashes[self.weights.name] + canonical_json(ordered)
        return f"sha256:{sha256_text(text)[:32]}"

    @property
    def base_name(self) -> str:
        """The base model that it was trained on, by its card, else by PEFT's configuration.

        Raises:
            InputError: neither names one.
        """
        if self.card is not None:
            return self.card.model.pretrained
        named = (self.path / CONFIG_FILE).is_file() and self.config.get("base_model_name_or_path")
        if not named:
            raise InputError(
                f"{self}: nothing names its base model",
                "base_model_name_or_path",
                "give pretrained= too",
            )
        return str(named)
