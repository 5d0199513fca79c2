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
from ft_harness.models.folder import leaving
from ft_harness.models.prompts import PromptForm
from ft_harness.paths import model_folder
from ft_harness.recipe import ModelSection
from ft_harness.records.adapter_files import CARD_FILE, CONFIG_FILE, MODEL_FILE, WEIGHTS_FILE
from ft_harness.records.adapter_folder import AdapterFolder


@dataclass(frozen=True)
class BaseName:
    """Which base model an adapter folder is checked for.

    Attributes:
        pretrained: hub id, folder or 'bundled', as given.
        identity: hash of a folder, or commit of a hub model; None: not known before it is loaded.
    """

    pretrained: str
    revision: str | None
    identity: str | None


def problems(
    adapter: Path | AdapterFolder,
    form: PromptForm | None = None,
    section: ModelSection | None = None,
    *,
    head: bool = False,
) -> list[FtHarnessError]:
    """Faults of an adapter folder for a base model that show before a model is loaded.

    Args:
        form: how prompts are rendered; None: not looked at.
        section: the base that it is to run on; None: not looked at.
        head: the base is used with a classification head.
    """
    adapter = AdapterFolder.of(adapter)
    try:
        found = (
            _files(adapter)
            or adapter.changed_files()
            or (_other_prompts(adapter, form) if form else [])
        )
        if found or section is None:
            return found
        where = model_folder(section.pretrained)
        known = base_model.identity(where, None) if Path(where).is_dir() else None
        found = other_base(adapter, BaseName(section.pretrained, section.revision, known))[0]
        if found:
            return found
        # Only now, as shapes and tokenizer take seconds.
        empty = base_model.empty_model(section, head=head)
        rows = empty.get_input_embeddings().weight.shape[0]
        found = tokens.compare(adapter.path, base_model.load_tokenizer(section), rows, form)[0]
        # a head's number of labels is the task's: its weights are compared when the base is loaded
        return found or ([] if head else weight_problems(adapter, empty))
    except FtHarnessError as error:
        return [error]


def weight_problems(adapter: AdapterFolder, empty: Any) -> list[FtHarnessError]:
    """Faults of an adapter folder's weights for a base model, of either kind: an adapter's or all
    of a model's.

    Args:
        empty: the base on the meta device; it is used up.
    """
    found = whole.problems if adapter.is_whole else fit.problems
    return found(adapter, empty)


def _files(adapter: AdapterFolder) -> list[FtHarnessError]:
    """Faults of the files themselves."""
    folder = adapter.path
    if adapter.is_whole:
        return _whole_files(adapter)
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
    if found := _leaving(folder) or configuration.problems(adapter):
        return found
    _ = adapter.held  # damage is an error
    return []


def _leaving(folder: Path) -> list[FtHarnessError]:
    return leaving(
        [path for path in sorted(folder.iterdir()) if path.is_symlink() and path.is_file()]
    )


def _whole_files(adapter: AdapterFolder) -> list[FtHarnessError]:
    """Faults of the files of a model of which, by its card, all weights were trained."""
    if found := _leaving(adapter.path):
        return found
    if not adapter.weights.is_file():
        return [
            InputError(
                f"{adapter}: no {MODEL_FILE}", "the model that its card describes", "train it again"
            )
        ]
    _ = adapter.held
    return []


def _pickled(folder: Path, path: Path) -> PolicyError:
    load = f"torch.load({path.name!r}, map_location='cpu', weights_only=True)"
    code = (
        "import torch; from safetensors.torch import save_file; "
        f"save_file({{k: v.contiguous() for k, v in {load}.items()}}, "
        f"{WEIGHTS_FILE!r}, {{'format': 'pt'}})"
    )
    return PolicyError(
        f"{folder}: only pickled weights ({path.name})",
        f"{WEIGHTS_FILE}; a pickle can run code, and no flag allows it",
        "convert it, if you trust where it comes from: "
        f"cd {shlex.quote(str(folder))} && python -c {shlex.quote(code)}",
    )


def _other_prompts(adapter: AdapterFolder, form: PromptForm) -> list[FtHarnessError]:
    """Prompts must have the form that the adapter was trained on; one without a card is taken as it
    is."""
    card = adapter.card
    if card is None:
        return []
    parts = (
        ("chat template", card.chat_template_hash, form.chat_template_hash),
        ("system instruction", card.system_instruction, form.system_instruction),
    )
    return [
        InputError(
            f"{adapter}: trained with {name} {trained or 'none'}, "
            f"asked to be scored with {name} {asked or 'none'}",
            "prompts of the form that the adapter was trained on",
            "set task.apply_chat_template and task.system_instruction as in its recipe, "
            "and use its own tokenizer",
        )
        for name, trained, asked in parts
        if trained != asked
    ]


def other_base(adapter: AdapterFolder, base: BaseName) -> tuple[list[FtHarnessError], list[str]]:
    """Whether an adapter folder is of another base model: (the fault if that can be shown, what
    could not be checked)."""
    card = adapter.card
    if card is None:
        return _compare_names(adapter, base)
    trained, asked = card.model.identity, base.identity
    if asked is None or trained == asked:
        return [], []
    if trained.startswith("sha256:") and asked.startswith("commit:"):
        # trained on a folder: the hub model is the same if its files are, whatever it is called
        asked = base_model.hub_files_identity(base.pretrained, asked.removeprefix("commit:"))
        if trained == asked:
            return [], []
    return [
        InputError(
            f"{adapter}: trained on {card.model.pretrained} ({trained}), "
            f"asked to run on {base.pretrained} ({asked})",
            "the base model that the adapter was trained on",
            f"--set model.pretrained={card.model.pretrained}, "
            "or train on this base under another name",
        )
    ], []


def _compare_names(
    adapter: AdapterFolder, base: BaseName
) -> tuple[list[FtHarnessError], list[str]]:
    """What PEFT wrote about the base: a name, which may be a folder's that was moved, and a
    revision."""
    config = adapter.config
    named, revision = str(config.get("base_model_name_or_path") or ""), config.get("revision")
    where = model_folder(base.pretrained)
    home = Path(model_folder(named))
    if named and (home / "config.json").is_file():  # a folder here
        identity = base_model.identity(str(home), None)
        if base.identity is None or identity == base.identity:
            return [], []
        return [
            _shown(adapter, f"{named} ({identity})", f"{base.pretrained} ({base.identity})", named)
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
            _shown(adapter, f"{named} at {revision}", f"{base.pretrained} at {commit}", named)
        ], []
    return [], [
        f"the base's revision: the adapter names {revision}, "
        f"it was scored on {base.revision or 'main'}"
    ]


def _shown(adapter: AdapterFolder, trained: str, asked: str, named: str) -> InputError:
    return InputError(
        f"{adapter}: trained on {trained}, asked to run on {asked}",
        "the base model that the adapter was trained on",
        f"--set model.pretrained={named} (and its revision)",
    )


def unchecked(adapter: AdapterFolder, base: BaseName, tokenizer: Any, rows: int) -> list[str]:
    """What could not be checked of an adapter folder without faults, one sentence each; empty for
    one of ours.

    Args:
        tokenizer: the base's.
        rows: of the base's embedding.
    """
    notes = other_base(adapter, base)[1] + tokens.compare(adapter.path, tokenizer, rows, None)[1]
    if adapter.card is None:
        notes.append(
            f"the prompts: without {CARD_FILE}, those that it was trained on are not known"
        )
    return notes if adapter.is_whole else notes + configuration.unread(adapter)
