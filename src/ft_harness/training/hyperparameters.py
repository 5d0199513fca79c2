"""A recipe's optimizer and learning rates, as transformers makes them; and what of its
hyperparameters can't run here, or would learn nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer_pt_utils import get_parameter_names
from transformers.training_args import OptimizerNames

from ft_harness.errors import FtHarnessError, InputError, first_line, suggest
from ft_harness.models.adapters import dora_problems
from ft_harness.models.base_model import empty_model, fitting_dtype, load_config
from ft_harness.models.number_formats import stored_dtype
from ft_harness.recipe import AdapterSection, Recipe, TrainSection
from ft_harness.recipe.train_section import STEERED_SCHEDULERS
from ft_harness.training.checkpoints import MANIFEST_FILE
from ft_harness.training.lineage import parent_of
from ft_harness.training.numerics import float32_needed

CHECKPOINTING = {"use_reentrant": False}  # the other kind needs inputs that carry gradients
_OPTIMIZER_FIELDS = {
    "learning_rate", "weight_decay", "optim", "adam_beta1", "adam_beta2", "adam_epsilon",
}  # fmt: skip
# names of weights that do not decay, as transformers has them
_NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
# transformers passes over what these are given
_WITHOUT_KWARGS = ("constant", "constant_with_warmup")
_TRIED_STEPS = 100  # of a schedule, where the recipe doesn't say how many it has
_USUAL_RATE = 1e-3  # every optimizer takes it
ALL = "all of its weights"


def make_optimizer(settings: TrainSection, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over what a model trains; biases and norms do not decay.

    Made before an `Accelerator`, because transformers' arguments reset its shared state.
    """
    kind, options = _optimizer_of(settings, model)
    names = set(get_parameter_names(model, [torch.nn.LayerNorm], _NOT_DECAYED))
    trained = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    decayed = [each for name, each in trained if name in names]
    others = [each for name, each in trained if name not in names]
    optimizer: torch.optim.Optimizer = kind(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        **options,
    )
    if "bitsandbytes" in str(kind) and options.get("optim_bits") == 8:
        _keep_embeddings_exact(model)
    return optimizer


def _optimizer_of(settings: TrainSection, model: torch.nn.Module) -> tuple[Any, dict[str, Any]]:
    """The class of the recipe's optimizer, and its arguments."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    given = TrainingArguments(
        **settings.model_dump(include=_OPTIMIZER_FIELDS), use_cpu=on_cpu, report_to="none"
    )
    kind, options = Trainer.get_optimizer_cls_and_kwargs(given, model)
    return kind, options


def ignored_by_optimizer(settings: TrainSection) -> list[str]:
    """Hyperparameters of Adam, other than their defaults, that the recipe's optimizer doesn't
    take."""
    try:
        _, taken = _optimizer_of(settings, torch.nn.Linear(1, 1))
    except Exception:  # unknown, or its package is missing: a fault of its own
        return []
    arguments = {"adam_beta1": "betas", "adam_beta2": "betas", "adam_epsilon": "eps"}
    default = TrainSection.model_fields
    return [
        name
        for name, argument in arguments.items()
        if argument not in taken and getattr(settings, name) != default[name].default
    ]


def _keep_embeddings_exact(model: torch.nn.Module) -> None:
    """Keep the states of embeddings in 32 bits, as most of their rows have no gradient
    (bitsandbytes' own advice)."""
    import bitsandbytes  # which has made the optimizer: needed by nobody else

    manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})


def make_schedule(settings: TrainSection, optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """The recipe's schedule of learning rates in a training of this many steps."""
    kwargs = dict(settings.lr_scheduler_kwargs)
    return get_scheduler(
        settings.lr_scheduler_type, optimizer, warmup_steps(settings, steps), steps, kwargs
    )


def warmup_steps(settings: TrainSection, steps: int) -> int:
    """Steps in which the learning rate warms up in a training of `steps`; a share is rounded up."""
    warm = settings.warmup_steps
    return int(warm) if warm >= 1 else math.ceil(steps * warm)


def hyperparameter_problems(recipe: Recipe, *, here: bool = True) -> list[FtHarnessError]:
    """Faults of the training's hyperparameters that show before a model is loaded.

    Args:
        here: on this machine's device; else on a GPU, where whether the optimizer can take a step
            is not tried.
    """
    eight_bits = recipe.model.quantization == "int8"
    return [
        *_optimizer_problems(recipe.train, here=here),
        *_schedule_problems(recipe.train),
        *_dtype_problems(recipe),
        *_checkpointing_problems(recipe),
        *_checkpoint_problems(recipe),
        *(
            dora_problems("adapter.use_dora")
            if here and recipe.adapter.use_dora and eight_bits
            else []
        ),
    ]


def _optimizer_problems(settings: TrainSection, *, here: bool) -> list[FtHarnessError]:
    """An optimizer that transformers doesn't know, or that can't take a step here: tried on a small
    matrix."""
    names = [name.value for name in OptimizerNames]
    if settings.optim not in names:
        hint = suggest(settings.optim, names)
        what = f"train.optim {settings.optim!r}: transformers has no such optimizer{hint}"
        return [InputError(what, f"one of {', '.join(names)}", "change train.optim")]
    if not here or (reason := _fails(settings, settings.learning_rate)) is None:
        return []
    # With a usual rate it works, so that the rate is at fault and not the package.
    if _fails(settings, _USUAL_RATE) is None:
        rate = f"train.learning_rate {settings.learning_rate:g}"
        what = f"{rate}: {settings.optim} can't take a step with it ({reason})"
        return [
            InputError(
                what, "a learning rate that float32 has room for", "lower train.learning_rate"
            )
        ]
    return [
        InputError(
            f"train.optim {settings.optim}: it can't take a step here ({reason})",
            "an optimizer whose package is installed, and that this device can run",
            "install what it names, or use train.optim: adamw_torch",
        )
    ]


def _fails(settings: TrainSection, learning_rate: float) -> str | None:
    """Why the optimizer can't take a step; None: it can."""
    try:
        _try_step(settings, learning_rate)
    except Exception as error:
        # packages raise whatever they like for hardware or packages that they miss
        return first_line(error)
    return None


def _try_step(settings: TrainSection, learning_rate: float) -> None:
    """One step of the optimizer on a matrix that is large enough to be held in 8 bits."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # 64 x 64 = 4,096 numbers: bitsandbytes keeps smaller matrices in 32 bits, and would not be
    # tried.
    matrix = torch.nn.Linear(64, 64, bias=False, device=device)
    matrix.weight.grad = torch.ones_like(matrix.weight)
    make_optimizer(settings.model_copy(update={"learning_rate": learning_rate}), matrix).step()


def _schedule_problems(settings: TrainSection) -> list[FtHarnessError]:
    """`lr_scheduler_kwargs` that the schedule doesn't take, or lacks: it is built once."""
    kind, given = settings.lr_scheduler_type, settings.lr_scheduler_kwargs
    try:
        # transformers passes keywords over in silence for some schedules.
        if kind in _WITHOUT_KWARGS and given:
            raise TypeError("it takes none")
        _bare_schedule(settings, settings.max_steps or _TRIED_STEPS)
    except Exception as error:  # TypeError, ValueError, or whatever a wrong type leads to
        return [
            InputError(
                f"train.lr_scheduler_kwargs {given}: {kind} can't be made with them "
                f"({first_line(error)})",
                f"keyword arguments of transformers' schedule {kind}",
                "change train.lr_scheduler_kwargs",
            )
        ]
    return []


def _bare_schedule(settings: TrainSection, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """(an optimizer of nothing, the schedule of its learning rate)."""
    # A schedule needs an optimizer, of which it only sets the rate.
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
    return optimizer, make_schedule(settings, optimizer, steps)


def _rates(settings: TrainSection, steps: int) -> Iterator[float]:
    """The learning rate of each step."""
    optimizer, schedule = _bare_schedule(settings, steps)
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()


def rate_problems(settings: TrainSection, rows: int) -> list[FtHarnessError]:
    """A schedule, sound in itself, whose learning rate is 0 in every step of a training on this
    many rows."""
    steps = settings.planned_steps(rows)
    if (
        not steps
        or settings.lr_scheduler_type in STEERED_SCHEDULERS
        or any(_rates(settings, steps))
    ):
        return []
    return [
        InputError(
            f"train.learning_rate: 0 in each of the {steps} steps, so that nothing is learnt",
            "steps beyond the first one of a warm-up, whose rate is 0",
            "raise train.num_train_epochs or train.max_steps, or set train.warmup_steps: 0",
        )
    ]


def describe_warmup(settings: TrainSection, rows: int) -> str | None:
    """A warning where the learning rate warms up for as long as a training on this many rows
    lasts."""
    steps = settings.planned_steps(rows)
    warm = warmup_steps(settings, steps)
    if settings.lr_scheduler_type in ("constant", *STEERED_SCHEDULERS) or warm < steps or not steps:
        return None
    return (
        f"WARNING: train.warmup_steps is {warm} of {steps} steps: "
        "the full learning rate is never reached"
    )


def trained_of_base(adapter: AdapterSection) -> str | None:
    """Which hyperparameter trains weights of the base's own; None: only those that PEFT adds, which
    are in float32, are trained."""
    if adapter.all_weights:
        return ALL
    if adapter.modules_to_save:
        return "adapter.modules_to_save"
    return None if adapter.bias == "none" else "adapter.bias"


def _dtype_problems(recipe: Recipe) -> list[FtHarnessError]:
    """Weights of the base's own are trained in float32 only; a model that can't be read is the base
    model's own fault."""
    own = trained_of_base(recipe.adapter)
    if own is None:
        return []
    try:
        dtype = fitting_dtype(recipe.model)
        if dtype == "auto":
            dtype = stored_dtype(load_config(recipe.model))
    except InputError:
        return []
    return [] if dtype == "float32" else [float32_needed(recipe.model.pretrained, dtype, own)]


def _checkpoint_problems(recipe: Recipe) -> list[FtHarnessError]:
    """A checkpoint to go on from: it is gone when its own training is finished."""
    parent = parent_of(recipe)
    if parent is None or not (parent / MANIFEST_FILE).is_file():
        return []
    return [
        InputError(
            f"train.continue_from {parent}: a checkpoint of a training that isn't finished",
            "the folder of a finished adapter",
            "finish that training, or copy the two files adapter_* into a folder of their own",
        )
    ]


def _checkpointing_problems(recipe: Recipe) -> list[FtHarnessError]:
    if not recipe.train.gradient_checkpointing:
        return []
    try:
        empty: Any = empty_model(recipe.model, head=recipe.adapter.has_head)
    except InputError:
        return []
    if empty.supports_gradient_checkpointing:
        return []
    return [
        InputError(
            f"train.gradient_checkpointing: {type(empty).__name__} doesn't support it",
            "an architecture whose activations transformers can recompute",
            "leave train.gradient_checkpointing out, "
            "with a smaller train.per_device_train_batch_size",
        )
    ]
