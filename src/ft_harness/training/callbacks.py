"""What watches a training: the history on disk, the bar, the stop at a gradient that is not finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.adapters import HISTORY_FILE
from ft_harness.errors import NonFiniteError
from ft_harness.records import HistoryEntry
from ft_harness.storage import append_line

if TYPE_CHECKING:
    from transformers import TrainerCallback


def not_finite(what: str, step: int, learning_rate: float) -> NonFiniteError:
    return NonFiniteError(
        f"the {what} is not finite at step {step} (learning rate {learning_rate:.3g})",
        f"a finite {what} at every step",
        "lower train.learning_rate, or check the data; the last checkpoint before it is kept",
    )


def history_callback(folder: Path) -> TrainerCallback:
    from transformers import TrainerCallback

    class History(TrainerCallback):  # type: ignore[misc]
        """Writes what the Trainer logs to `history.jsonl`, and stops at a gradient that is not finite."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            known = {name: value for name, value in (logs or {}).items() if name in HistoryEntry.model_fields}
            if not {"loss", "eval_loss"} & known.keys():
                return
            if not math.isfinite(known.get("grad_norm", 0.0)):
                raise not_finite("gradient norm", state.global_step, known["learning_rate"])
            entry = HistoryEntry(step=state.global_step, **{**known, "epoch": round(state.epoch, 6)})
            append_line(folder / HISTORY_FILE, entry.model_dump_json(exclude_none=True))

    return History()


def progress_callback() -> TrainerCallback:
    from transformers import ProgressCallback

    class Progress(ProgressCallback):  # type: ignore[misc]
        """The Trainer's bar with the time that remains; the loss stands in it instead of a line a step."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if self.training_bar is not None and logs and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    return Progress()
