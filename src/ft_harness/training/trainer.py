"""transformers' Trainer for us: the loss over a whole step's targets, a stop at the first NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ft_harness.training.callbacks import not_finite
from ft_harness.training.objectives import Objective

if TYPE_CHECKING:
    import torch
    from transformers import Trainer


def trainer_class(objective: Objective) -> type[Trainer]:
    """A Trainer that learns this objective."""
    import torch
    from transformers import Trainer

    class StepTrainer(Trainer):  # type: ignore[misc]
        """The loss is the mean over all targets of a step, however it is cut into batches."""

        loss_is_scaled_for_ga = True
        read_tokens = 0

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            count = num_items_in_batch if num_items_in_batch is not None else objective.count(inputs)
            labels = inputs.pop("labels")
            loss = objective.summed_loss(model, inputs, labels) / count
            return (loss, {}) if return_outputs else loss

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            """Targets of the step."""
            return sum(map(objective.count, batch_samples))

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
            self.read_tokens += int(inputs["attention_mask"].sum())
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            if not torch.isfinite(loss):
                raise not_finite("loss", self.state.global_step + 1, self._get_learning_rate())
            return loss

        def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
            """Draws no random numbers: training goes on as from the checkpoint before it."""
            with torch.random.fork_rng():
                metrics: dict[str, float] = super().evaluate(*args, **options)
            return metrics

    return StepTrainer
