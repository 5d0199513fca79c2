"""transformers' Trainer for us: the loss over a whole step's targets, whole checkpoints, and what guards a step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ft_harness.errors import FtHarnessError
from ft_harness.records import SettingChange
from ft_harness.training.batches import step_loader
from ft_harness.training.checkpoints import MICRO_BATCH, CheckpointFolder
from ft_harness.training.finite import check_weights, not_finite, rows_of
from ft_harness.training.objectives import Objective
from ft_harness.training.recovery import MicroBatches
from ft_harness.training.signals import CutShort, Stops

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guards:
    """What a training is watched by.

    Attributes:
        examples: rows of the train split, to name those of a step that fails.
    """

    checkpoints: CheckpointFolder
    micro_batches: MicroBatches
    stops: Stops
    examples: Sequence[Any]


def trainer_class(objective: Objective, guards: Guards) -> type[Trainer]:
    """A Trainer that learns this objective, stops before a number that is not finite reaches a weight, and loses no
    step."""
    return _stopping(_continuing(_checking(_learning(objective), guards), guards), guards)


def _learning(objective: Objective) -> type[Trainer]:
    """A Trainer whose loss is the mean over all targets of a step, however that is cut into batches."""
    from transformers import Trainer

    class StepTrainer(Trainer):  # type: ignore[misc]
        """The loss is the mean over all targets of a step, however it is cut into batches."""

        loss_is_scaled_for_ga = True
        read_tokens = 0

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            loss = objective.mean_loss(model, inputs, num_items_in_batch)
            return (loss, {}) if return_outputs else loss

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            """Targets of the step."""
            return sum(map(objective.count, batch_samples))

        def get_train_dataloader(self) -> Any:
            """Rows of like length together, the same steps however they are cut."""
            return step_loader(self, self.train_dataset)

        def training_step(
            self, model: Any, inputs: Any, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            self.read_tokens += int(inputs["attention_mask"].sum())
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss

    return StepTrainer


def _checking(learning: type[Trainer], guards: Guards) -> type[Trainer]:
    """Looks at each loss and gradient, and cuts a micro-batch that memory is not enough for."""
    import torch

    class CheckingTrainer(learning):  # type: ignore[misc]
        """A step is taken with finite numbers or not at all."""

        _step = -1
        _step_batches: tuple[Any, ...] = ()

        def training_step(
            self, model: Any, inputs: Any, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            if self._step != self.state.global_step:
                self._step, self._step_batches = self.state.global_step, ()
            self._step_batches += (inputs,)
            learn = super().training_step

            def gradients_of(part: Any) -> torch.Tensor:
                loss: torch.Tensor = learn(model, dict(part), num_items_in_batch)
                if not torch.isfinite(loss):
                    raise self._not_finite("loss", [part])
                return loss

            if (
                self.args.world_size > 1
            ):  # the others would wait for gradients of parts that they don't have
                return gradients_of(inputs)
            trained = [
                parameter for parameter in self.model.parameters() if parameter.requires_grad
            ]
            return guards.micro_batches.compute(inputs, gradients_of, trained, self._note_smaller)

        def _note_smaller(self, before: int, after: int) -> None:
            step = self.state.global_step + 1
            logger.warning(
                "memory ran out in step %d with %d rows at once; the step is done again with %d, which stays so",
                *(step, before, after),
            )
            guards.checkpoints.note(
                SettingChange(step=step, setting=MICRO_BATCH, before=before, after=after)
            )

        def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
            """The gradient's norm, before the optimizer uses it; None for a step that loss scaling leaves out."""
            norm = super()._get_grad_norm(model, grad_norm)
            if torch.isfinite(torch.as_tensor(norm)):
                return norm
            scaler = self.accelerator.scaler
            if scaler is not None and scaler.get_scale() > 1:
                return None
            raise self._not_finite("gradient norm", self._step_batches)

        def _not_finite(self, what: str, batches: Sequence[Any]) -> FtHarnessError:
            rows = rows_of(batches, guards.examples)
            return not_finite(what, self.state.global_step + 1, self._get_learning_rate(), rows)

    return CheckingTrainer


def _continuing(checking: type[Trainer], guards: Guards) -> type[Trainer]:
    """Writes checkpoints whole, and goes on from one exactly where it was."""
    from transformers.trainer_callback import ExportableState

    class ContinuingTrainer(checking):  # type: ignore[misc]
        """A checkpoint is there as it was written or not at all."""

        _saving = False
        _saved_step = -1

        def _get_output_dir(self, trial: Any) -> str:
            return (
                str(guards.checkpoints.unfinished)
                if self._saving
                else super()._get_output_dir(trial)
            )

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            """Finite weights only, whole or not at all."""
            step = self.state.global_step
            check_weights(self.model, step, self._get_learning_rate())
            self._saving = True
            try:
                with guards.checkpoints.writing(self.model.save_pretrained):
                    super()._save_checkpoint(model, trial)
                    self.accelerator.wait_for_everyone()
                    if self.args.should_save:
                        guards.checkpoints.put(step, self.state.best_global_step)
                    self.accelerator.wait_for_everyone()
            finally:
                self._saving = False
                self.state.best_model_checkpoint = (
                    None  # a path in the unfinished folder; its step says as much
                )
            self._saved_step = step

        def _init_training_state(self, max_steps: int, *given: Any) -> tuple[int, int]:
            done: tuple[int, int] = super()._init_training_state(max_steps, *given)
            self.state.compute_steps(
                self.args, max_steps
            )  # not those of the checkpoint, which may be others
            for (
                callback
            ) in self.callback_handler.callbacks:  # one that the checkpoint's version did not have
                if isinstance(callback, ExportableState):
                    self.state.stateful_callbacks.setdefault(
                        type(callback).__name__, callback.state()
                    )
            self._catching_up = self.state.global_step > 0
            return done

    return ContinuingTrainer


def _stopping(continuing: type[Trainer], guards: Guards) -> type[Trainer]:
    """Leaves at the end of a step where a signal asks for it, and makes up for what was left out."""

    class StoppingTrainer(continuing):  # type: ignore[misc]
        """A run that is stopped and continued does what one does that is not."""

        _catching_up: bool

        def _run_epoch(self, **given: Any) -> None:
            self._catch_up()
            if not self.control.should_training_stop:
                super()._run_epoch(**given)

        def _finalize_training(self, *given: Any) -> Any:
            self._catch_up()
            check_weights(self.model, self.state.global_step, self._get_learning_rate())
            return super()._finalize_training(*given)

        def _catch_up(self) -> None:
            """An evaluation that a signal prevented; and no further step where the last one was done."""
            if not self._catching_up:
                return
            self._catching_up = False
            stored = self.state.stateful_callbacks["TrainerControl"]["args"]
            self.control.should_training_stop = stored["should_training_stop"]
            if stored["should_evaluate"]:
                self._load_rng_state(
                    str(guards.checkpoints.start)
                )  # the checkpoint that follows keeps it
                self.control.should_evaluate = self.control.should_save = True
                self._maybe_log_save_evaluate(
                    self._tr_loss, None, self.model_wrapped, None, self.state.epoch, None, 0.0
                )

        def _maybe_log_save_evaluate(self, *given: Any, **more: Any) -> None:
            """A signal that arrived is passed on when the step is saved; its evaluation is left to the next run."""
            due = self.control.should_evaluate
            if _is_stopping(self, guards.stops):
                self.control.should_evaluate = self.control.should_save = False
                super()._maybe_log_save_evaluate(*given, **more)
                self._leave(due=due)
            try:
                super()._maybe_log_save_evaluate(*given, **more)
            except CutShort:
                self._leave(due=True)
            if _is_stopping(self, guards.stops):
                self._leave(due=False)

        def _leave(self, *, due: bool) -> None:
            self.control.should_evaluate = due
            if due or self._saved_step != self.state.global_step:
                self._save_checkpoint(self.model, None)
            guards.stops.leave()

        def _evaluate(self, *given: Any, **more: Any) -> dict[str, float]:
            with guards.stops.cutting(alone=self.args.world_size == 1):
                metrics: dict[str, float] = super()._evaluate(*given, **more)
            return metrics

    return StoppingTrainer


def _is_stopping(trainer: Any, stops: Stops) -> bool:
    """Whether a signal arrived, in any of the processes: they leave together."""
    import torch

    arrived = stops.requested is not None
    if trainer.args.world_size == 1:
        return arrived
    everywhere = trainer.accelerator.gather(
        torch.tensor([float(arrived)], device=trainer.args.device)
    )
    return bool(everywhere.any())
