"""The adapter folder: card, integrity, identity of the base, live-proof."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ft_harness.base_model import BaseModel
from ft_harness.errors import InputError, NonFiniteError, PolicyError, raise_problems
from ft_harness.examples import Encoder
from ft_harness.prompts import PLAIN, PromptForm
from ft_harness.records import AdapterInfo, Card, HistoryEntry, LiveProof
from ft_harness.storage import canonical_json, sha256_file, sha256_text, write_text

CARD_FILE = "card.json"
HISTORY_FILE = "history.jsonl"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_KEPT_FILES = (WEIGHTS_FILE, CONFIG_FILE)


def write_card(folder: Path, card: Card) -> None:
    """Write `card.json`, the last file of a finished adapter."""
    write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")


def read_card(folder: Path) -> Card | None:
    """The card, or None where there is none (an unfinished adapter, or one made by another trainer).

    Raises:
        InputError: the card is damaged.
    """
    path = folder / CARD_FILE
    if not path.exists():
        return None
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path}: not a card ({type(error).__name__})", "card.json as written", "delete it and train again"
        ) from error


def read_history(folder: Path) -> list[HistoryEntry]:
    """The training history; a torn last line (a killed run) is left out."""
    path = folder / HISTORY_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries: list[HistoryEntry] = []
    for line in lines:
        try:
            entries.append(HistoryEntry.model_validate_json(line))
        except ValidationError:
            continue
    return entries


def file_hashes(folder: Path) -> dict[str, str]:
    """sha256 of the files that decide what the adapter does."""
    return {name: sha256_file(folder / name) for name in _KEPT_FILES if (folder / name).exists()}


def identity(folder: Path) -> str:
    """One hash over the adapter's weights and configuration (PEFT writes sets in any order)."""
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    ordered = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    return f"sha256:{sha256_text(sha256_file(folder / WEIGHTS_FILE) + canonical_json(ordered))[:32]}"


def problems(folder: Path, form: PromptForm | None = None) -> list[InputError | PolicyError]:
    """Faults of an adapter folder that show without loading a model; with `form`, prompts other than it learnt from."""
    if not (folder / CONFIG_FILE).is_file():
        return [InputError(f"{folder}: no {CONFIG_FILE}", "a PEFT adapter folder", "train it, or check the path")]
    if not (folder / WEIGHTS_FILE).is_file():
        pickled = [path.name for path in folder.glob("*.bin")]
        if pickled:
            return [
                PolicyError(
                    f"{folder}: only pickled weights ({pickled[0]})",
                    f"{WEIGHTS_FILE}; a pickle can run code",
                    "convert it with PEFT's save_pretrained in a place you trust",
                )
            ]
        return [InputError(f"{folder}: no {WEIGHTS_FILE}", "a finished adapter", "train it again")]
    return _changed_files(folder) + (_other_prompts(folder, form) if form else [])


def _other_prompts(folder: Path, form: PromptForm) -> list[InputError | PolicyError]:
    """Prompts must have the form that the adapter was trained on; one without a card is taken as it is."""
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


def _changed_files(folder: Path) -> list[InputError | PolicyError]:
    card = read_card(folder)
    hashes = file_hashes(folder)
    changed = [name for name, known in (card.files if card else {}).items() if hashes.get(name) != known]
    return [
        InputError(
            f"{folder / name}: not the file that the card was written for",
            "an unchanged file",
            f"restore it, or delete {CARD_FILE} and train again",
        )
        for name in changed
    ]


def _check_base(folder: Path, card: Card | None, base: BaseModel) -> None:
    if card is not None and card.model.identity != base.info.identity:
        raise InputError(
            f"{folder}: trained on {card.model.pretrained} ({card.model.identity}), "
            f"asked to run on {base.info.pretrained} ({base.info.identity})",
            "the base model that the adapter was trained on",
            f"--set model.pretrained={card.model.pretrained}, or train on this base under another name",
        )


def _check_keys(folder: Path, model: Any) -> None:
    """The file's keys and shapes are those that PEFT expects, both ways, and every value is finite."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS_FILE}: damaged ({error})", "a whole file", "train it again") from error
    try:
        expected = get_peft_model_state_dict(model)
    except KeyError as error:
        raise InputError(
            f"{folder}: PEFT finds no weights for {error} in this base",
            "an adapter for this base, without modules_to_save",
            "use its own base",
        ) from error
    strange = sorted(stored.keys() ^ expected.keys())
    if strange:
        raise InputError(
            f"{folder}: {len(strange)} keys don't match the base model, first {', '.join(strange[:3])}",
            "exactly the keys that PEFT expects for this base",
            "use the base it was trained on; an adapter with renamed keys would score as the base",
        )
    for key, tensor in stored.items():
        if tensor.shape != expected[key].shape:
            raise InputError(
                f"{folder}: {key} has shape {tuple(tensor.shape)}",
                f"{tuple(expected[key].shape)} for this base",
                "use the base it was trained on",
            )
        if not torch.isfinite(tensor).all():
            raise NonFiniteError(f"{folder}: {key} holds NaN or infinity", "finite weights", "train it again, lower lr")


def _load_peft(folder: Path, base: BaseModel) -> Any:
    """The base with this adapter; an untouched PEFT skeleton is compared with the file before its weights are used."""
    from peft import PeftConfig, PeftModel, get_peft_model

    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        skeleton = get_peft_model(base.model, config)
    except Exception as error:  # PEFT raises bare types for configurations that do not fit
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(
            f"{folder}: doesn't fit the base ({reason})", "an adapter for it", "use its own base"
        ) from error
    try:
        _check_keys(folder, skeleton)
    finally:
        skeleton.unload()
    return PeftModel.from_pretrained(base.model, str(folder), torch_device=base.device)


def prove_live(model: Any, tokenizer: Any, prompts: Sequence[str], max_length: int) -> LiveProof:
    """Compare next-token logits with and without the adapter on real prompts.

    Raises:
        InputError: the adapter changes nothing.
        NonFiniteError: a logit is NaN.
    """
    import torch

    changes: list[float] = []
    encoder = Encoder(tokenizer)
    for prompt in prompts:
        ids = torch.tensor([encoder.tok_encode(prompt)[-max_length:]], device=model.device)
        with torch.inference_mode():
            tuned = model(input_ids=ids).logits[0, -1].float()
            with model.disable_adapter():
                base = model(input_ids=ids).logits[0, -1].float()
        changes.append(float((tuned - base).abs().max()))
    if not all(change == change for change in changes):
        raise NonFiniteError("the adapter's logits are NaN", "finite logits", "train again with a lower learning rate")
    proof = LiveProof(
        prompts=len(changes), max_logit_change=max(changes), changed_prompts=sum(change > 0 for change in changes)
    )
    if proof.changed_prompts == 0:
        raise InputError(
            "the adapter changes no logit of the base model",
            "an adapter that was trained (B not zero) and is loaded",
            "train it with a higher learning rate or more steps",
        )
    return proof


@contextmanager
def attached(
    folder: Path, base: BaseModel, prompts: Sequence[str], form: PromptForm = PLAIN
) -> Iterator[tuple[BaseModel, AdapterInfo]]:
    """The base with a checked and proven adapter; on leaving, the base is as it was.

    Args:
        prompts: real ones, on which the adapter must change what the model says.
        form: how they are rendered.

    Raises:
        InputError: another base, other prompts than in training, other keys or shapes, a damaged file, or no effect.
        PolicyError: pickled weights only.
        NonFiniteError: NaN in the weights or logits.
    """
    raise_problems(problems(folder, form))
    card = read_card(folder)
    _check_base(folder, card, base)
    model = _load_peft(folder, base).eval()
    try:
        trainable = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
        info = AdapterInfo(
            name=folder.resolve().name,
            path=str(folder),
            identity=identity(folder),
            trainable_parameters=card.trainable_parameters if card else trainable,
            live_proof=prove_live(model, base.tokenizer, prompts, base.max_length),
        )
        yield BaseModel(model, base.tokenizer, base.info, base.max_length, base.device), info
    finally:
        model.unload()
