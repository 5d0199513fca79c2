"""The validation split during training: its exact loss, the task's metrics, the best weights, the early stop.

An evaluation comes before the checkpoint of its step, so that a checkpoint knows every evaluation up to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.errors import InputError
from ft_harness.models.memory import attempt
from ft_harness.recipe import Recipe
from ft_harness.records import EpochSummary, HistoryEntry
from ft_harness.training.checkpoints import at_step
from ft_harness.training.finite import not_finite
from ft_harness.training.lineage import load_weights
from ft_harness.training.objectives import Objective
from ft_harness.training.random_state import draws_undone

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

Scores = dict[str, float | None]
_WHOLE = 1e-6  # of an epoch: the Trainer counts epochs in floating point


@dataclass(frozen=True)
class EpochScorer:
    """How the task's metrics are measured during training.

    Attributes:
        score_epoch: the model that is trained -> metrics on the chosen validation docs; None: undefined.
        higher_is_better: the metrics, each with its better direction.
    """

    score_epoch: Callable[[Any], Scores]
    higher_is_better: Mapping[str, bool]


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module is as it was, and so is every random generator."""
    modes = [(module, module.training) for module in model.modules()]
    with draws_undone():
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def validation_loss(
    trainer: Any, objective: Objective, rows: Sequence[Any], batch_size: int
) -> float:
    """The loss summed over all targets of the rows, divided by their number; nats, whatever the batches.

    Rows of one length share a batch. A batch that memory is not enough for is halved; training's own stay as they are.
    Every process takes part in as many batches, some of them without rows: a base in parts is computed by all.
    """
    import torch

    order = sorted(range(len(rows)), key=lambda number: len(rows[number].input_ids))
    several = trainer.args.world_size
    mine = order[trainer.args.process_index :: several]
    total = torch.zeros(2, dtype=torch.float64)  # loss, targets
    for start in range(0, -(-len(order) // several), batch_size):
        total += _sums(
            trainer, objective, [rows[number] for number in mine[start : start + batch_size]]
        )
    everywhere = trainer.accelerator.reduce(total.to(trainer.args.device), "sum")
    return float(everywhere[0] / everywhere[1])


def _sums(trainer: Any, objective: Objective, rows: Sequence[Any]) -> Any:
    """(summed loss, targets) of one batch, float64 [2] on the CPU."""
    import torch

    def compute() -> Any:
        batch = trainer._prepare_inputs(objective.collate(rows))
        count = objective.count(batch)
        labels = batch.pop("labels")
        with torch.no_grad(), trainer.compute_loss_context_manager():
            loss = objective.summed_loss(trainer.model, batch, labels)
        return torch.tensor([float(loss), count], dtype=torch.float64)

    if len(rows) <= 1:
        return compute()
    found = attempt(compute)
    half = len(rows) // 2
    return (
        found
        if found is not None
        else sum(_sums(trainer, objective, part) for part in (rows[:half], rows[half:]))
    )


def validating(
    trainer_class: type[Trainer], recipe: Recipe, objective: Objective, scorer: EpochScorer | None
) -> type[Trainer]:
    """The Trainer with our evaluation in place of its own, whose loss is a mean of batches' means."""

    class ValidatingTrainer(trainer_class):  # type: ignore[misc]
        """Measures the validation split between two steps, and leaves nothing behind but the numbers."""

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            """`eval_loss`, and `eval_<metric>` for each metric that is scored; NaN where that is undefined."""
            with undisturbed(self.model):
                size = self.args.per_device_eval_batch_size
                metrics = {"eval_loss": validation_loss(self, objective, self.eval_dataset, size)}
                if not math.isfinite(metrics["eval_loss"]):
                    raise not_finite(
                        "validation loss", self.state.global_step, self._get_learning_rate()
                    )
                scores = scorer.score_epoch(self.model) if scorer else {}
            metrics |= {
                f"eval_{name}": math.nan if value is None else value
                for name, value in scores.items()
            }
            self.log({name: value for name, value in metrics.items() if math.isfinite(value)})
            self.control: Any = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            return metrics

        def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
            """The best weights so far go into a checkpoint."""
            best: bool = super()._determine_best_metric(metrics, trial)
            if best and recipe.train.load_best_model_at_end:
                self.control.should_save = True
            return best

    return ValidatingTrainer


def steer(args: Any, recipe: Recipe, scorer: EpochScorer | None) -> None:
    """Tell the Trainer which evaluation is the best one; only where that decides anything."""
    settings = recipe.train
    if settings.load_best_model_at_end or settings.early_stopping_patience:
        args.metric_for_best_model = f"eval_{settings.metric_for_best_model}"
        better = scorer.higher_is_better if scorer else {}
        args.greater_is_better = better.get(settings.metric_for_best_model, False)


def evaluation_callbacks(recipe: Recipe) -> list[TrainerCallback]:
    """What decides when the split is looked at, and when that ends the training."""
    from transformers import EarlyStoppingCallback, TrainerCallback

    settings = recipe.train

    class EvaluateBeforeSaving(TrainerCallback):  # type: ignore[misc]
        """At an epoch's last step, which the Trainer would evaluate after its checkpoint: a run continued from that
        would lack the evaluation."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            whole = abs(state.epoch - round(state.epoch)) < _WHOLE
            if args.eval_strategy == "epoch" and (whole or control.should_training_stop):
                control.should_evaluate = True

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_evaluate = False

    class EarlyStopping(EarlyStoppingCallback):  # type: ignore[misc]
        """transformers' own, whose count of patience goes on with a continued run."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stored = state.stateful_callbacks.get(type(self).__name__)
            if isinstance(stored, dict):
                self.early_stopping_patience_counter = stored["attributes"][
                    "early_stopping_patience_counter"
                ]

    stopping = [EarlyStopping(settings.early_stopping_patience, settings.early_stopping_threshold)]
    return [EvaluateBeforeSaving(), *(stopping if settings.early_stopping_patience else [])]


def load_best(trainer: Any, recipe: Recipe, checkpoints: Path) -> dict[str, Any]:
    """Give the model the weights of its best evaluation; what the card says of that, nothing where the last are kept.

    Raises:
        InputError: no evaluation had a value, or the checkpoint of the best one is gone.
    """
    state = trainer.state
    if not recipe.train.load_best_model_at_end:
        return {}
    if not state.best_global_step:
        raise InputError(
            f"{recipe.train.metric_for_best_model} was undefined at every evaluation",
            "one evaluation with a value, to keep its weights",
            "choose by train.metric_for_best_model: loss, or raise train.eval_scores",
        )
    if state.best_global_step != state.global_step:
        load_weights(trainer.model, at_step(checkpoints, state.best_global_step))
    return {"best_step": state.best_global_step, "best_value": float(state.best_metric)}


def epochs_of(history: Sequence[HistoryEntry]) -> list[EpochSummary]:
    """Each epoch's mean training loss, and its last evaluation; empty without training losses."""
    summaries: list[EpochSummary] = []
    for number in sorted({math.ceil(entry.epoch - _WHOLE) for entry in history}):
        entries = [entry for entry in history if math.ceil(entry.epoch - _WHOLE) == number]
        losses = [entry.loss for entry in entries if entry.loss is not None]
        if losses:
            last = next((entry for entry in reversed(entries) if entry.eval_loss is not None), None)
            summaries.append(
                EpochSummary(
                    epoch=entries[-1].epoch,
                    loss=sum(losses) / len(losses),
                    eval_loss=last.eval_loss if last else None,
                    scores=last.scores if last else None,
                )
            )
    return summaries
