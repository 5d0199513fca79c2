"""Read and write our own files of an adapter folder: card, history and lineage; names of all its
files."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ft_harness.errors import InputError
from ft_harness.records.cards import Card, HistoryEntry, LineageEntry
from ft_harness.records.kept_files import read_kept, write_kept
from ft_harness.storage import sha256_file

CARD_FILE = "card.json"
HEAD_FILE = "head_init.safetensors"  # a classification head as it was drawn
HISTORY_FILE = "history.jsonl"
LINEAGE_FILE = "lineage.jsonl"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
MODEL_FILE = "model.safetensors"  # in an adapter's place, where all weights were trained
MODEL_CONFIG_FILE = "config.json"
KEPT_FILES = (WEIGHTS_FILE, CONFIG_FILE, HEAD_FILE, MODEL_FILE, MODEL_CONFIG_FILE)


def write_card(folder: Path, card: Card) -> None:
    """Write `card.json`, the last file of a finished adapter."""
    write_kept(folder / CARD_FILE, card)


def read_card(folder: Path) -> Card | None:
    """The card of an adapter folder, or None where there is none (an unfinished adapter, or one
    made by another trainer).

    Raises:
        InputError: the card is damaged.
    """
    return read_kept(folder / CARD_FILE, Card, "a card", "delete it and train again")


def hash_histories(folder: Path) -> dict[str, str]:
    """The hashes of a finished adapter's history files, for its card."""
    paths = [folder / name for name in (HISTORY_FILE, LINEAGE_FILE)]
    return {path.name: sha256_file(path) for path in paths if path.is_file()}


def check_histories(folder: Path, card: Card) -> None:
    """Compare the history files of an adapter folder with what its card says of them.

    Raises:
        InputError: one is missing, or not as it was written.
    """
    found = hash_histories(folder)
    for name, known in card.histories.items():
        if found.get(name) != known:
            fault = "not as it was written" if name in found else "missing"
            raise InputError(
                f"{folder / name}: {fault}",
                "the history of the adapter's training",
                "restore it, or train the adapter again",
            )


def read_history(folder: Path) -> list[HistoryEntry]:
    """The training history of an adapter folder; a torn last line (a killed run) is left out.

    Raises:
        InputError: another line is damaged.
    """
    path = folder / HISTORY_FILE
    # Whatever follows the last line end was not written to its end.
    *lines, torn = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    entries: list[HistoryEntry] = []
    for number, line in enumerate([*lines, torn], start=1):
        try:
            entries.append(HistoryEntry.model_validate_json(line))
        except ValidationError as error:
            if number > len(lines):
                break
            raise InputError(
                f"{path}: line {number} is damaged",
                "a history entry on each line",
                "restore it, or delete that line",
            ) from error
    return entries


def read_lineage(folder: Path, card: Card | None) -> list[list[HistoryEntry]]:
    """The lineage file of an adapter folder: the histories of the adapters that this one continues,
    in the order of its card's lineage; one that another trainer made is empty.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / LINEAGE_FILE
    stretches: list[list[HistoryEntry]] = [[] for _ in card.lineage] if card else []
    try:
        for line in (
            path.read_text(encoding="utf-8").splitlines() if stretches and path.exists() else []
        ):
            entry = LineageEntry.model_validate_json(line)
            stretches[entry.stretch].append(HistoryEntry(**entry.model_dump(exclude={"stretch"})))
    except (ValidationError, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: damaged",
            "a history entry on each line",
            "delete it: the curve is shorter then",
        ) from error
    return stretches


def weights_file(folder: Path) -> Path:
    """The file of trained weights in an adapter folder or a checkpoint: an adapter's, or all of a
    model's."""
    adapter, model = folder / WEIGHTS_FILE, folder / MODEL_FILE
    return model if model.is_file() and not adapter.is_file() else adapter
