"""The files of an adapter folder as they are published: no path of this machine, no data, no
secret."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from ft_harness.errors import FtHarnessError, PolicyError
from ft_harness.publish.model_card import CARD_NAME
from ft_harness.recipe import RECIPE_FILE
from ft_harness.records import RECORD_FILE, SAMPLES_FILE, Evaluation
from ft_harness.records.adapter_files import (
    CARD_FILE,
    CONFIG_FILE,
    HEAD_FILE,
    HISTORY_FILE,
    LINEAGE_FILE,
    MODEL_CONFIG_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
)
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.storage import redact, sealed_text
from ft_harness.storage.escaping import visible

_AS_THEY_ARE = (
    *(WEIGHTS_FILE, HEAD_FILE, MODEL_FILE, MODEL_CONFIG_FILE, HISTORY_FILE, LINEAGE_FILE),
    *("generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"),
    "chat_template.jinja",
)
_BINARY = (".safetensors", ".model")
_HEADER = 1 << 20  # bytes of a binary file in which a secret is looked for
_SHOWN = 120  # characters of a name: an evaluation is part of it


@dataclass(frozen=True)
class PackedFile:
    """One file of a package that is published: its name there, and a file of this machine or its
    content."""

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def searched(self) -> Iterator[str]:
        """The texts in which a secret is looked for; of a binary file its beginning."""
        if isinstance(self.content, bytes):
            yield self.content.decode("utf-8", errors="replace")
        elif self.content.suffix == ".gz":
            with gzip.open(self.content, "rt", encoding="utf-8", errors="replace") as lines:
                yield from lines
        else:
            with self.content.open("rb") as file:
                most = _HEADER if self.content.suffix in _BINARY else -1
                yield file.read(most).decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Package:
    """Everything that one upload holds, and the text of its model card."""

    files: list[PackedFile]
    readme: str

    @property
    def size(self) -> int:
        return sum(each.size for each in self.files)


def make_package(
    folder: AdapterFolder,
    readme: str,
    base: str | None,
    samples: Sequence[Evaluation] = (),
    results: Mapping[str, str] | None = None,
) -> Package:
    """The files of a finished adapter to publish.

    The base is named by its hub id in PEFT's configuration, the card and the recipe; other paths of
    this machine are cut to their last part, and the card's checksums are those of the files as they
    are published.

    Args:
        base: hub id of the base model, in the place of what the card says.
        samples: evaluations whose samples are published too.
        results: further files by name.
    """
    card = folder.card
    assert card is not None
    files = [
        PackedFile(name, folder.path / name)
        for name in _AS_THEY_ARE
        if (folder.path / name).is_file()
    ]
    named = base or card.model.pretrained
    texts = {CARD_NAME: readme, **(results or {})}
    hashes = dict(card.files)
    if (folder.path / CONFIG_FILE).is_file():
        config = {**folder.config, "base_model_name_or_path": named}
        texts[CONFIG_FILE] = json.dumps(config, indent=2, sort_keys=True)
        hashes[CONFIG_FILE] = sha256(texts[CONFIG_FILE].encode()).hexdigest()
    recipe = _without_paths(card.recipe)
    recipe["model"] = {**recipe.get("model", {}), "pretrained": named}
    model = card.model.model_copy(update={"pretrained": named})
    published = card.model_copy(update={"recipe": recipe, "model": model, "files": hashes})
    texts[CARD_FILE] = sealed_text(published.model_dump(mode="json"))
    texts[RECIPE_FILE] = yaml.safe_dump(_written(recipe), sort_keys=False, allow_unicode=True)
    files += [PackedFile(name, text.encode()) for name, text in texts.items()]
    for each in samples:
        where = f"evaluations/{each.folder.name}"
        # Sealed anew, as the seal of the record here is of its paths too.
        record = sealed_text(_without_paths(each.record.model_dump(mode="json")))
        files.append(PackedFile(f"{where}/{RECORD_FILE}", record.encode()))
        files.append(PackedFile(f"{where}/{SAMPLES_FILE}", each.folder / SAMPLES_FILE))
    return Package(sorted(files, key=lambda each: each.name), readme)


def secret_problems(package: Package) -> list[FtHarnessError]:
    """A refusal for each file of a package that holds what looks like a secret, or one that this
    process knows."""
    return [
        PolicyError(
            f"{visible(each.name, _SHOWN)}: holds what looks like a secret",
            "files without tokens, keys and passwords; no flag publishes one",
            "take it out, and revoke it where it may have been seen",
        )
        for each in package.files
        if any(redact(text) != text for text in each.searched())
    ]


def _without_paths(value: Any) -> Any:
    """The same structure; of a path of this machine only its last part stays."""
    if isinstance(value, str):
        return value if not _is_path(value) else Path(value.replace("\\", "/")).name
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    return value


def _is_path(text: str) -> bool:
    """A hub id, an address and a sentence are none."""
    absolute = text.startswith(("/", "~", "./", "../")) or text[1:3] in (":\\", ":/")
    return absolute or (
        "/" in text and " " not in text and "://" not in text and Path(text).exists()
    )


def _written(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's sections that hold anything, without empty fields."""
    sections = {
        name: {key: value for key, value in section.items() if value not in (None, [], {})}
        for name, section in recipe.items()
        if isinstance(section, dict)
    }
    return {name: section for name, section in sections.items() if section}
