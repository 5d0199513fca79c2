"""What of a recipe's training can't run here: its optimizer, its schedule, and what they ask of the base model."""

from __future__ import annotations

from typing import Any

from ft_harness.adapters import dora_problems
from ft_harness.base_model import empty_model, load_config
from ft_harness.errors import FtHarnessError, InputError, suggest
from ft_harness.recipe import Recipe, TrainSection
from ft_harness.training.arguments import optimizer_options

_WITHOUT_KWARGS = ("constant", "constant_with_warmup")  # transformers passes over what they are given
_TRIED_STEPS = 100  # of a schedule, where the recipe doesn't say how many it has


def hyperparameter_problems(recipe: Recipe) -> list[FtHarnessError]:
    """Faults of the training's hyperparameters that show before a model is loaded."""
    return [
        *_optimizer_problems(recipe.train),
        *_schedule_problems(recipe.train),
        *_dtype_problems(recipe),
        *_checkpointing_problems(recipe),
        *(dora_problems("adapter.use_dora") if recipe.adapter.use_dora and recipe.model.quantization == "int8" else []),
    ]


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _optimizer_problems(settings: TrainSection) -> list[FtHarnessError]:
    """An optimizer that transformers doesn't know, or that can't take a step here: tried on a small matrix."""
    from transformers.training_args import OptimizerNames

    names = [name.value for name in OptimizerNames]
    if settings.optim not in names:
        what = f"train.optim {settings.optim!r}: transformers has no such optimizer{suggest(settings.optim, names)}"
        return [InputError(what, f"one of {', '.join(names)}", "change train.optim")]
    try:
        _try_step(settings)
    except Exception as error:  # packages raise whatever they like for hardware or packages that they miss
        return [
            InputError(
                f"train.optim {settings.optim}: it can't take a step here ({_reason(error)})",
                "an optimizer whose package is installed, and that this device can run",
                "install what it names, or use train.optim: adamw_torch",
            )
        ]
    return []


def _try_step(settings: TrainSection) -> None:
    """One step of the optimizer on a matrix that is large enough to be held in 8 bits."""
    import torch
    from transformers import Trainer, TrainingArguments

    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = optimizer_options(settings) | {"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {}}
    arguments = TrainingArguments(**options, report_to="none", use_cpu=device == "cpu")
    kind, given = Trainer.get_optimizer_cls_and_kwargs(arguments)
    weight = torch.nn.Parameter(torch.zeros(64, 64, device=device))
    weight.grad = torch.ones_like(weight)
    kind([weight], **given).step()


def _schedule_problems(settings: TrainSection) -> list[FtHarnessError]:
    """`lr_scheduler_kwargs` that the schedule doesn't take, or lacks: it is built once."""
    import torch
    from transformers import get_scheduler

    kind, given = settings.lr_scheduler_type, settings.lr_scheduler_kwargs
    try:
        if kind in _WITHOUT_KWARGS and given:
            raise TypeError("it takes none")
        steps = settings.max_steps or _TRIED_STEPS
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
        get_scheduler(kind, optimizer, warmup_steps(settings, steps), steps, dict(given))
    except Exception as error:  # a constructor's TypeError or ValueError, or whatever a wrong type leads to
        return [
            InputError(
                f"train.lr_scheduler_kwargs {given}: {kind} can't be made with them ({_reason(error)})",
                f"keyword arguments of transformers' schedule {kind}",
                "change train.lr_scheduler_kwargs",
            )
        ]
    return []


def warmup_steps(settings: TrainSection, steps: int) -> int:
    """Steps of warm-up in a training of `steps`, as transformers counts them: a share is rounded up."""
    from transformers import TrainingArguments

    counted: int = TrainingArguments.get_warmup_steps(settings, steps)  # it reads nothing but warmup_steps
    return counted


def _dtype_problems(recipe: Recipe) -> list[FtHarnessError]:
    """All weights are trained in float32 only; a model that can't be read is the base model's own fault."""
    if not recipe.adapter.all_weights:
        return []
    try:
        stored = str(getattr(load_config(recipe.model), "dtype", None) or "float32").removeprefix("torch.")
    except InputError:
        return []
    dtype = stored if recipe.model.dtype == "auto" else recipe.model.dtype
    return [] if dtype == "float32" else [not_float32(recipe.model.pretrained, dtype)]


def not_float32(pretrained: str, dtype: str) -> InputError:
    """All weights of a model in fewer bits can't be trained."""
    return InputError(
        f"{pretrained}: loaded in {dtype}, to train all of its weights",
        "weights in float32: fewer bits lose the small steps of the optimizer",
        "--set model.dtype=float32; base and trained model are then both scored in float32",
    )


def _checkpointing_problems(recipe: Recipe) -> list[FtHarnessError]:
    if not recipe.train.gradient_checkpointing:
        return []
    try:
        empty: Any = empty_model(recipe.model, head=recipe.adapter.task_type == "SEQ_CLS")
    except InputError:
        return []
    if empty.supports_gradient_checkpointing:
        return []
    return [
        InputError(
            f"train.gradient_checkpointing: {type(empty).__name__} doesn't support it",
            "an architecture of which transformers can compute activations twice",
            "leave train.gradient_checkpointing out, with a smaller train.per_device_train_batch_size",
        )
    ]
