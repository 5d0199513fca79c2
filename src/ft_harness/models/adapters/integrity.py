"""What is wrong with an adapter folder for a base model, as far as it shows before the base's
weights are loaded."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ft_harness.errors import FtHarnessError, InputError, PolicyError
from ft_harness.models import base_model
from ft_harness.models.adapters import configuration, fit, tokens, whole
from ft_harness.models.adapters.card import (
    CARD_FILE,
    CONFIG_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    file_hashes,
    read_card,
)
from ft_harness.models.folder import leaving
from ft_harness.models.prompts import PromptForm
from ft_harness.recipe import ModelSection
from ft_harness.storage.safetensors_file import read_header
from ft_harness.storage.strict_files import read_json


@dataclass(frozen=True)
class BaseName:
    """Which model an adapter is asked to run on.

    Attributes:
        pretrained: hub id, folder or 'bundled', as given.
        identity: hash of a folder, or commit of a hub model; None: not known before it is loaded.
    """

    pretrained: str
    revision: str | None
    identity: str | None


def problems(
    folder: Path,
    form: PromptForm | None = None,
    section: ModelSection | None = None,
    *,
    head: bool = False,
) -> list[FtHarnessError]:
    """Faults of an adapter folder that show before a model is loaded.

    Args:
        form: how prompts are rendered; None: not looked at.
        section: the base that it is to run on; None: not looked at.
        head: the base is used with a classification head.
    """
    try:
        found = (
            _files(folder)
            or _changed_files(folder)
            or (_other_prompts(folder, form) if form else [])
        )
        if found or section is None:
            return found
        where = base_model.model_folder(section.pretrained)
        known = base_model.identity(where, None) if Path(where).is_dir() else None
        found = other_base(folder, BaseName(section.pretrained, section.revision, known))[0]
        if found:
            return found
        empty = base_model.empty_model(section, head=head)
        rows = empty.get_input_embeddings().weight.shape[0]
        found = tokens.compare(folder, base_model.load_tokenizer(section), rows, form)[0]
        # a head's number of labels is the task's: its weights are held against the base when it is
        # there
        return found or ([] if head else weight_problems(folder, empty))
    except FtHarnessError as error:
        return [error]


def weight_problems(folder: Path, empty: Any) -> list[FtHarnessError]:
    """Faults of the trained weights beside the base.

    Args:
        empty: the base on the meta device; it is used up.
    """
    return whole.problems(folder, empty) if whole.is_whole(folder) else fit.problems(folder, empty)


def _files(folder: Path) -> list[FtHarnessError]:
    """Faults of the files themselves."""
    if whole.is_whole(folder):
        return _whole_files(folder)
    if not (folder / CONFIG_FILE).is_file():
        return [
            InputError(
                f"{folder}: no {CONFIG_FILE}",
                "a PEFT adapter folder",
                "train it, or check the path",
            )
        ]
    if not (folder / WEIGHTS_FILE).is_file():
        pickled = [
            path for pattern in ("*.bin", "*.pt", "*.pth") for path in sorted(folder.glob(pattern))
        ]
        if pickled:
            return [_pickled(folder, pickled[0])]
        return [InputError(f"{folder}: no {WEIGHTS_FILE}", "a finished adapter", "train it again")]
    if found := leaving(
        [path for path in sorted(folder.iterdir()) if path.is_symlink() and path.is_file()]
    ):
        return found
    if found := configuration.problems(folder):
        return found
    read_header(folder / WEIGHTS_FILE)
    return []


def _whole_files(folder: Path) -> list[FtHarnessError]:
    """Faults of the files of a model of which all weights were trained; its card says that they are
    there."""
    if found := leaving(
        [path for path in sorted(folder.iterdir()) if path.is_symlink() and path.is_file()]
    ):
        return found
    if not (folder / MODEL_FILE).is_file():
        return [
            InputError(
                f"{folder}: no {MODEL_FILE}", "the model that its card speaks of", "train it again"
            )
        ]
    read_header(folder / MODEL_FILE)
    return []


def _pickled(folder: Path, path: Path) -> PolicyError:
    load = f"torch.load({path.name!r}, map_location='cpu', weights_only=True)"
    code = (
        "import torch; from safetensors.torch import save_file; "
        f"save_file({{k: v.contiguous() for k, v in {load}.items()}}, {WEIGHTS_FILE!r}, {{'format': 'pt'}})"
    )
    return PolicyError(
        f"{folder}: only pickled weights ({path.name})",
        f"{WEIGHTS_FILE}; a pickle can run code, and no flag allows it",
        f"convert it, if you trust where it comes from: cd {shlex.quote(str(folder))} && python -c {shlex.quote(code)}",
    )


def _changed_files(folder: Path) -> list[FtHarnessError]:
    card = read_card(folder)
    hashes = file_hashes(folder)
    changed = [
        name for name, known in (card.files if card else {}).items() if hashes.get(name) != known
    ]
    return [
        InputError(
            f"{folder / name}: not the file that the card was written for",
            "an unchanged file",
            f"restore it, or delete {CARD_FILE} and train again",
        )
        for name in changed
    ]


def _other_prompts(folder: Path, form: PromptForm) -> list[FtHarnessError]:
    """Prompts must have the form that the adapter was trained on; one without a card is taken as it
    is."""
    card = read_card(folder)
    if card is None:
        return []
    parts = (
        ("chat template", card.chat_template_hash, form.chat_template_hash),
        ("system instruction", card.system_instruction, form.system_instruction),
    )
    return [
        InputError(
            f"{folder}: trained with {name} {trained or 'none'}, asked to be scored with {name} {asked or 'none'}",
            "prompts of the form that the adapter was trained on",
            "set task.apply_chat_template and task.system_instruction as in its recipe, and use its own tokenizer",
        )
        for name, trained, asked in parts
        if trained != asked
    ]


def other_base(folder: Path, base: BaseName) -> tuple[list[FtHarnessError], list[str]]:
    """(the fault if the adapter can be shown to be another model's, what could not be checked)."""
    card = read_card(folder)
    if card is None:
        return _compare_names(folder, base)
    if base.identity is None or card.model.identity == base.identity:
        return [], []
    return [
        InputError(
            f"{folder}: trained on {card.model.pretrained} ({card.model.identity}), "
            f"asked to run on {base.pretrained} ({base.identity})",
            "the base model that the adapter was trained on",
            f"--set model.pretrained={card.model.pretrained}, or train on this base under another name",
        )
    ], []


def _compare_names(folder: Path, base: BaseName) -> tuple[list[FtHarnessError], list[str]]:
    """What PEFT wrote about the base: a name, which may be a folder's that was moved, and a
    revision."""
    config = read_json(folder / CONFIG_FILE)
    named, revision = str(config.get("base_model_name_or_path") or ""), config.get("revision")
    where = base_model.model_folder(base.pretrained)
    if named and (Path(named).expanduser() / "config.json").is_file():  # a folder here
        identity = base_model.identity(str(Path(named).expanduser()), None)
        if base.identity is None or identity == base.identity:
            return [], []
        return [
            _shown(folder, f"{named} ({identity})", f"{base.pretrained} ({base.identity})", named)
        ], []
    if named != where:
        return [], [
            f"the base: the adapter names {named or 'none'}, it was scored on {base.pretrained}"
        ]
    commit = (base.identity or "").removeprefix("commit:")
    if revision in (None, base.revision, commit):
        return [], [f"the base's weights: only its name {named} could be compared"]
    if len(str(revision)) == len(commit) == 40:  # both are commits
        return [
            _shown(folder, f"{named} at {revision}", f"{base.pretrained} at {commit}", named)
        ], []
    return [], [
        f"the base's revision: the adapter names {revision}, it was scored on {base.revision or 'main'}"
    ]


def _shown(folder: Path, trained: str, asked: str, named: str) -> InputError:
    return InputError(
        f"{folder}: trained on {trained}, asked to run on {asked}",
        "the base model that the adapter was trained on",
        f"--set model.pretrained={named} (and its revision)",
    )


def unchecked(folder: Path, base: BaseName, tokenizer: Any, rows: int) -> list[str]:
    """What of an adapter without faults could not be checked, a sentence each; empty for one of
    ours.

    Args:
        tokenizer: the base's.
        rows: of the base's embedding.
    """
    notes = [*other_base(folder, base)[1], *tokens.compare(folder, tokenizer, rows, None)[1]]
    if read_card(folder) is None:
        notes.append(
            f"the prompts: without {CARD_FILE}, those that it was trained on are not known"
        )
    return notes if whole.is_whole(folder) else notes + configuration.unread(folder)
