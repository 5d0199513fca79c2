"""What watches a training: the history on disk, the bar."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.models.adapters import HISTORY_FILE
from ft_harness.records import HistoryEntry
from ft_harness.storage import append_line

if TYPE_CHECKING:
    from transformers import TrainerCallback


def history_callback(folder: Path, metrics: Collection[str] = ()) -> TrainerCallback:
    """What writes the history; `metrics` are those of the task that evaluations measure."""
    from transformers import TrainerCallback

    class History(TrainerCallback):  # type: ignore[misc]
        """Writes what the Trainer logs to `history.jsonl`."""

        def on_log(
            self,
            args: Any,
            state: Any,
            control: Any,
            logs: dict[str, float] | None = None,
            **_: Any,
        ) -> None:
            logged: dict[str, Any] = logs or {}
            known = {
                name: value for name, value in logged.items() if name in HistoryEntry.model_fields
            }
            if not {"loss", "eval_loss"} & known.keys():
                return
            if metrics and "eval_loss" in known:
                known["scores"] = {name: logged.get(f"eval_{name}") for name in metrics}
            entry = HistoryEntry(
                step=state.global_step, **{**known, "epoch": round(state.epoch, 6)}
            )
            append_line(folder / HISTORY_FILE, entry.model_dump_json(exclude_none=True))

    return History()


def progress_callback() -> TrainerCallback:
    from transformers import ProgressCallback

    class Progress(ProgressCallback):  # type: ignore[misc]
        """The Trainer's bar with the time that remains; the loss stands in it instead of a line a step."""

        def on_log(
            self,
            args: Any,
            state: Any,
            control: Any,
            logs: dict[str, float] | None = None,
            **_: Any,
        ) -> None:
            if self.training_bar is not None and logs and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    return Progress()
