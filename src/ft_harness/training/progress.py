"""How far a training is, and which settings changed on the way: what a checkpoint knows beside
weights, optimizer, schedule and random generators."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ft_harness.errors import InputError
from ft_harness.recipe import TrainSection
from ft_harness.records import SettingChange
from ft_harness.training.cost import Spent

PROGRESS_FILE = "progress.json"
CHANGES_FILE = "changes.jsonl"
MICRO_BATCH = "micro_batch"  # the setting that changes where memory runs out


class Progress(BaseModel):
    """How far a training is.

    Attributes:
        step: steps that are done.
        is_complete: no further step is to be taken: the last one is done, or patience has ended.
        evaluation_due: this step is still to be evaluated; a signal came first.
        best_step, best_value: the best evaluation, where one is looked for.
        without_improvement: evaluations in a row.
    """

    model_config = ConfigDict(extra="forbid")
    step: int = 0
    is_complete: bool = False
    evaluation_due: bool = False
    best_step: int | None = None
    best_value: float | None = None
    without_improvement: int = 0
    spent: Spent = Spent()

    def judge(self, value: float | None, settings: TrainSection, *, higher_is_better: bool) -> bool:
        """Whether this step's evaluation is the best one so far; patience may end the training.

        Args:
            value: of `metric_for_best_model`; None: undefined, which is never better.
        """
        best = self.best_value
        gain = 0.0
        if value is not None and best is not None:
            gain = value - best if higher_is_better else best - value
        # The first value is the best so far, whatever threshold is asked for.
        is_first = value is not None and best is None
        improves = is_first or gain > settings.early_stopping_threshold
        self.without_improvement = 0 if improves else self.without_improvement + 1
        patience = settings.early_stopping_patience
        if patience is not None and self.without_improvement >= patience:
            self.is_complete = True
        # The threshold only counts for patience, as in transformers: a small gain is still the
        # best.
        if not is_first and gain <= 0:
            return False
        self.best_step, self.best_value = self.step, value
        return True


def read_progress(checkpoint: Path) -> Progress:
    """The progress that a checkpoint holds.

    Raises:
        InputError: it is none, or of another step than the folder's name says.
    """
    try:
        progress = Progress.model_validate_json((checkpoint / PROGRESS_FILE).read_bytes())
    except ValidationError as error:
        raise not_this_training(checkpoint, PROGRESS_FILE) from error
    # A folder that was renamed by hand is no checkpoint of that step.
    if checkpoint.name.rpartition("-")[2] != str(progress.step):
        raise not_this_training(checkpoint, PROGRESS_FILE)
    return progress


def read_changes(path: Path) -> list[SettingChange]:
    """Which settings of execution changed while a training was on its way, as a folder of
    checkpoints notes it.

    Raises:
        InputError: the file holds something else.
    """
    file = path / CHANGES_FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        # the last may be torn
        changes = [SettingChange.model_validate_json(line) for line in lines if line.endswith("}")]
        rows = [change.after for change in changes if change.setting == MICRO_BATCH]
        if not all(type(each) is int and each > 0 for each in rows):
            raise ValueError(f"{MICRO_BATCH} is no number of rows")
        return changes
    except ValueError as error:  # pydantic's and that of the encoding are such
        raise InputError(
            f"{file}: not the changes of a training ({type(error).__name__})",
            "the file as it was written",
            f"delete {file.name}; the card will not mention these changes",
        ) from error


def not_this_training(checkpoint: Path, name: str) -> InputError:
    """The fault of a checkpoint whose progress some other program wrote."""
    return InputError(
        f"{checkpoint / name}: not the state of this training at this step",
        "a checkpoint as ft-harness train wrote it",
        f"remove {checkpoint}, then run the same command again",
    )
