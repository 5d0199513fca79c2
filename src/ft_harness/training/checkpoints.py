"""Checkpoints of an unfinished adapter: which one is whole, and whether it belongs to the same run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ft_harness.adapters import HISTORY_FILE, WEIGHTS_FILE, read_history
from ft_harness.storage import canonical_json, write_text

CHECKPOINTS = "checkpoints"
PLAN_FILE = "plan.json"


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; the Trainer writes `trainer_state.json` after all other files."""
    found = sorted((folder / CHECKPOINTS).glob("checkpoint-*"), key=step_of)
    needed = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", WEIGHTS_FILE)
    whole = [path for path in found if all((path / name).is_file() for name in needed)]
    return whole[-1] if whole else None


def resume_point(folder: Path, plan: dict[str, Any]) -> Path | None:
    """The checkpoint to go on from, if the unfinished run was made of the same things; else a clean start."""
    plan_file = folder / CHECKPOINTS / PLAN_FILE
    text = canonical_json(plan)
    same = plan_file.is_file() and plan_file.read_text(encoding="utf-8") == text
    checkpoint = newest_checkpoint(folder) if same else None
    if checkpoint is None:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        write_text(folder / HISTORY_FILE, "")
        write_text(plan_file, text)
    else:
        _rewind_history(folder, step_of(checkpoint))
    return checkpoint


def _rewind_history(folder: Path, step: int) -> None:
    """Drop entries after the checkpoint: those steps are done again."""
    kept = [entry.model_dump_json(exclude_none=True) for entry in read_history(folder) if entry.step <= step]
    write_text(folder / HISTORY_FILE, "".join(f"{line}\n" for line in kept))
