"""One training shared by several processes: each computes rows of a step, the gradients are added up once a step.

The recipe's effective batch is shared out, so that the number of processes changes nothing of the adapter. The model is
not wrapped: one exchange of an adapter's gradients costs little.
"""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from ft_harness import processes
from ft_harness.errors import ConfigError, FtHarnessError, raise_problems
from ft_harness.recipe import Recipe
from ft_harness.training.parts import parts_problems

if TYPE_CHECKING:
    import torch
    from transformers import Trainer


_REFUSED = (
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
)


def sharding_problems(recipe: Recipe) -> list[FtHarnessError]:
    """A launcher that would share out one model by other means than FSDP2: these average gradients of their own, which
    then are neither the step's nor added up; and what FSDP2 can't hold in parts here."""
    return parts_problems(recipe) + [
        ConfigError(
            f"the launcher shares out one model over the processes ({name}), which is not done here",
            "a whole model in each process",
            "start with torchrun or accelerate launch --multi_gpu, and set model.quantization where memory is short; "
            "or train elsewhere and score the adapter here",
        )
        for name in _REFUSED
        if os.environ.get(name, "false").lower() == "true"
    ]


def share_out(recipe: Recipe) -> Recipe:
    """The recipe with the batch sizes of one of the processes, all of which together read the recipe's effective batch.

    Raises:
        ConfigError: it can't be shared out evenly, or the launcher asks for what is not done here.
    """
    raise_problems(sharding_problems(recipe))
    train, several = recipe.train, processes.count()
    batch, accumulation = train.per_device_train_batch_size, train.gradient_accumulation_steps
    if accumulation % several == 0:
        accumulation //= several
    elif batch % several == 0:
        batch //= several
    else:
        raise ConfigError(
            f"steps of {batch} x {accumulation} rows can't be shared out evenly over {several} processes",
            f"train.gradient_accumulation_steps or train.per_device_train_batch_size as a multiple of {several}",
            "change one of the two, or the number of processes",
        )
    shared = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    return recipe.model_copy(update={"train": train.model_copy(update=shared)})


def sharing(learning: type[Trainer]) -> type[Trainer]:
    """The Trainer, which learns from the rows of all processes; as it is where there is one process."""
    if processes.count() == 1:
        return learning
    import torch

    class SharingTrainer(learning):  # type: ignore[misc]
        """Every process takes the same steps, with the same weights."""

        _drawn = (-1, 0)

        def create_accelerator_and_postprocess(self) -> None:
            """The gradients are added up here: no wrapper is needed."""
            super().create_accelerator_and_postprocess()
            self.accelerator.prepare_model = partial(
                self.accelerator.prepare_model, evaluation_mode=True
            )

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            """Targets of the step, in all processes; the others' tokens are counted as read with them."""
            own = sum(int(batch["attention_mask"].sum()) for batch in batch_samples)
            found = torch.tensor(
                [super()._get_num_items_in_batch(batch_samples, device), own],
                device=self.args.device,
            )
            processes.add_up([found])
            targets, tokens = found.tolist()
            self.read_tokens += tokens - own
            return targets

        def training_step(
            self, model: Any, inputs: Any, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            self._draw_anew()
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            if self.accelerator.sync_gradients:
                add_gradients(self.model)
            return (
                loss * processes.count()
            )  # the Trainer logs the mean over processes; each has a part of the sum

        def _draw_anew(self) -> None:
            """Dropout of its own for each batch of each process, which a continued run draws again."""
            before, turn = self._drawn
            step = self.state.global_step
            turn = turn + 1 if step == before else 0
            self._drawn = step, turn
            place = f"{self.args.seed}/{step}/{turn}/{processes.rank()}"
            torch.manual_seed(random.Random(place).getrandbits(63))

    return SharingTrainer


def add_gradients(model: Any) -> None:
    """Replace each trained parameter's gradient by the sum over the processes; one without a gradient adds nothing."""
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    processes.add_up([parameter.grad for parameter in trained])
