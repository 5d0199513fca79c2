"""Forecast a training before it starts: steps, memory and time, on a base without weights or with
them; and what needs less memory."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from accelerate.utils import send_to_device

from ft_harness import processes
from ft_harness.errors import ConfigError, FtHarnessError
from ft_harness.models import quantization
from ft_harness.models.base_model import (
    BaseModel,
    empty_model,
    fitting_dtype,
    load_config,
    load_context,
    load_tokenizer,
)
from ft_harness.models.heads import Head, HeadPlan, own_modules
from ft_harness.models.memory import free_memory_bytes, rss_bytes
from ft_harness.models.number_formats import SIXTEEN_BITS, stored_dtype
from ft_harness.recipe import ModelSection, Recipe
from ft_harness.records import ModelInfo
from ft_harness.tasks.examples import Example
from ft_harness.tasks.head_examples import HeadExample
from ft_harness.training.adapter_model import trained_model
from ft_harness.training.batches import Share, StepSampler, steps_of_epoch
from ft_harness.training.distributed import share_out
from ft_harness.training.forecast.footprint import (
    TOLERANCE,
    Footprint,
    count_memory,
    count_once,
)
from ft_harness.training.hyperparameters import make_optimizer
from ft_harness.training.numerics import autocast, draws_undone
from ft_harness.training.objectives import make_objective
from ft_harness.training.plan import Rows, TrainingPlan

_EPOCHS_PLANNED = 5  # each has batches of its own; more find none that is much larger
_TIMED_STEPS = 2
_FORWARD = 0.5  # of a forward and backward pass over a frozen base
Settings = dict[str, Any]  # fields of a recipe, as "train.learning_rate", with their values
logger = logging.getLogger(__name__)
_SHORTEST = 64  # tokens that rows may be cut to


class Work(NamedTuple):
    """In a forecast: the work of a training.

    Attributes:
        tokens_read: of prompts and answers, over all epochs, without padding.
        targets: what carries loss, over all epochs.
        target: one of them.
    """

    steps: int
    epochs: float
    tokens_read: int
    targets: int
    target: Literal["token", "label"]


@dataclass(frozen=True)
class Alternative:
    """In a forecast: settings with which a training needs less memory.

    Attributes:
        total: bytes at the peak.
    """

    settings: Settings
    total: int
    fits: bool


@dataclass(frozen=True)
class Memory:
    """In a forecast: the memory that one process needs at its peak, and has.

    Attributes:
        own: bytes of Python and its libraries; none of a GPU's.
        room: bytes that it may take: what it holds already and what is free.
        instead: settings that need less; only if the recipe's settings may not fit.
    """

    footprint: Footprint
    own: int
    room: int
    instead: list[Alternative] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.footprint.total + self.own

    @property
    def need(self) -> int:
        """Bytes that are enough with a margin."""
        return round(self.total * TOLERANCE)

    @property
    def fits(self) -> bool:
        return self.need <= self.room

    def with_settings(self, settings: Settings, footprint: Footprint) -> Alternative:
        """These settings in the same room."""
        changed = Memory(footprint, self.own, self.room)
        return Alternative(settings, changed.total, changed.fits)


@dataclass(frozen=True)
class Forecast:
    """The forecast of a training: what it will do and need.

    Attributes:
        batch: how the rows of a step are divided.
        parameters, trainable: as the architecture has them, also where weights are packed; None:
            not known.
        memory: None: the architecture can't be run on shapes alone.
    """

    work: Work
    batch: Share
    device: str
    parameters: int | None
    trainable: int | None
    memory: Memory | None


def empty_base(
    section: ModelSection, plan: HeadPlan | None, *, gpu: bool | None = None
) -> BaseModel:
    """A base model without weights for a forecast, on the device that it would be loaded onto:
    tokenizer, configuration and shapes.

    Args:
        gpu: as on a GPU that computes in bfloat16, which needn't be here; None: as here.

    Raises:
        InputError: tokenizer or configuration can't be loaded.
    """
    tokenizer, config = load_tokenizer(section), load_config(section)
    model = empty_model(section, head=plan is not None, labels=len(plan.labels) if plan else None)
    info = ModelInfo(
        pretrained=section.pretrained,
        revision=section.revision,
        identity="not loaded",
        dtype=_dtype_of(section, config, elsewhere=bool(gpu)),
        quantization=section.quantization,
        parameters=model.num_parameters(),
    )
    reads_types = (getattr(config, "type_vocab_size", None) or 0) > 1
    head = Head(plan, own_modules(model), (), None, reads_types) if plan else None
    device = "cuda" if gpu or torch.cuda.is_available() else "cpu"
    return BaseModel(model, tokenizer, info, load_context(section), device, head)


def _dtype_of(section: ModelSection, config: Any, *, elsewhere: bool) -> str:
    """The dtype that a base computes in here, or elsewhere on a GPU that has bfloat16."""
    stored = stored_dtype(config)
    if section.dtype != "auto":
        return section.dtype
    if elsewhere:
        return "bfloat16" if section.quantization or stored in SIXTEEN_BITS else stored
    if section.quantization:
        return quantization.compute_dtype(section)
    return stored if (fitting := fitting_dtype(section)) == "auto" else fitting


def count_work(recipe: Recipe, rows: Rows) -> Work:
    """For a forecast: steps, epochs and tokens of a training on these rows."""
    settings, step = recipe.train, recipe.train.effective_batch_size
    steps, of_epoch = settings.planned_steps(len(rows)), math.ceil(len(rows) / step)
    lengths = [len(row.input_ids) for row in rows]
    targets = [row.trained_tokens for row in rows]
    # The last epoch may be cut short: its rows are those that its order puts first.
    whole, rest = divmod(steps, of_epoch)
    last = [
        row
        for rows_of in steps_of_epoch(lengths, step, settings.seed, whole)[:rest]
        for row in rows_of
    ]
    return Work(
        steps,
        steps / of_epoch,
        whole * sum(lengths) + sum(lengths[row] for row in last),
        whole * sum(targets) + sum(targets[row] for row in last),
        "label" if any(isinstance(row, HeadExample) for row in rows) else "token",
    )


def make_forecast(plan: TrainingPlan, room: int | None = None) -> Forecast:
    """Forecast what a training will do and need.

    Args:
        plan: whose base is loaded, or `empty_base`.
        room: bytes that a GPU elsewhere has; None: what is free here.

    Raises:
        InputError: the base's configuration can't be loaded.
    """
    recipe, base, rows = plan.recipe, plan.base, plan.data.examples
    share, work = share_out(recipe), count_work(recipe, rows)
    if processes.in_parts():  # what a process holds of them is not counted
        return Forecast(work, share, base.device, base.info.parameters, None, None)
    try:
        counted = count_once(recipe, base, largest_batch(recipe, rows, share))
    except FtHarnessError:
        raise
    # A forecast that can't be made must not keep a training from starting.
    except Exception as error:  # a model's own code, which looks at contents that aren't there
        logger.info("memory can't be forecast: %s", error)
        return Forecast(work, share, base.device, base.info.parameters, None, None)
    memory = (
        _memory(counted.footprint, base) if room is None else Memory(counted.footprint, 0, room)
    )
    if not memory.fits:
        memory = replace(memory, instead=_instead(plan, memory))
    return Forecast(work, share, base.device, counted.parameters, counted.trainable, memory)


def _memory(footprint: Footprint, base: BaseModel) -> Memory:
    held = sum(parameter.nbytes for parameter in base.model.parameters() if not parameter.is_meta)
    if base.device == "cpu":
        return Memory(footprint, max(rss_bytes() - held, 0), free_memory_bytes("cpu") + rss_bytes())
    return Memory(footprint, 0, free_memory_bytes(base.device) + held)


def _instead(plan: TrainingPlan, memory: Memory) -> list[Alternative]:
    """Settings that need less memory: each alone, and where none is enough together, up to the
    first that is."""
    single = _smaller(plan.recipe, plan.data.examples)
    found = [_counted_with(each, plan, memory) for each in single]
    # Some alternatives save nothing: quantisation of a model that is nearly all embeddings, for
    # one.
    found = [each for each in found if each.total < memory.total]
    # One setting that is enough is better advice than several together.
    if any(each.fits for each in found):
        return found
    for settings in _together(single):
        found.append(_counted_with(settings, plan, memory))
        if found[-1].fits:
            break
    return found


def _counted_with(settings: Settings, plan: TrainingPlan, memory: Memory) -> Alternative:
    """What the recipe needs with other settings."""
    base, changed = plan.base, _changed(plan.recipe, settings)
    rows = largest_batch(changed, plan.data.examples, share_out(changed))
    if "train.loss_on" in settings:
        rows = [replace(row, on_prompt=False) for row in rows]
    if "model.max_length" in settings:
        rows = [_cut(row, settings["model.max_length"]) for row in rows]
    if "model.quantization" in settings:
        elsewhere = base.device == "cuda"
        dtype = _dtype_of(changed.model, base.model.config, elsewhere=elsewhere)
        base = replace(base, info=base.info.model_copy(update={"dtype": dtype}))
    return memory.with_settings(settings, count_memory(changed, base, rows).footprint)


def _changed(recipe: Recipe, settings: Settings) -> Recipe:
    for name, value in settings.items():
        section, field_name = name.split(".")
        changed = getattr(recipe, section).model_copy(update={field_name: value})
        recipe = recipe.model_copy(update={section: changed})
    return recipe


def _smaller(recipe: Recipe, rows: Rows) -> list[Settings]:
    """Settings for the same steps in less memory, or nearly the same; those that change the adapter
    least first."""
    train = recipe.train
    found: list[Settings] = [*_micro_batches(recipe)]
    if not train.gradient_checkpointing:
        found.append({"train.gradient_checkpointing": True})
    if recipe.model.quantization is None and not recipe.adapter.all_weights:
        found.append({"model.quantization": "nf4"})
    if train.loss_on == "prompt_and_answer":
        found.append({"train.loss_on": "answer"})
    half = max(len(row.input_ids) for row in rows) // 2
    if half >= _SHORTEST and isinstance(rows[0], Example):
        found.append({"model.max_length": half})
    return found


def _micro_batches(recipe: Recipe) -> Iterator[Settings]:
    """Half as many rows at once, and so on down to one, with the same rows per step."""
    batch, step = recipe.train.per_device_train_batch_size, recipe.train.effective_batch_size
    while batch > 1:
        batch = next(rows for rows in range(batch // 2, 0, -1) if step % rows == 0)
        settings = {
            "train.per_device_train_batch_size": batch,
            "train.gradient_accumulation_steps": step // batch,
        }
        try:
            share_out(_changed(recipe, settings))
        except ConfigError:  # several processes can't share these out
            continue
        yield settings


def _together(single: Sequence[Settings]) -> Iterator[Settings]:
    """One setting after the other beside those before: first the smallest micro-batch."""
    batches = [each for each in single if "train.per_device_train_batch_size" in each]
    others = [each for each in single if each not in batches]
    settings = batches[-1] if batches else {}
    for number, each in enumerate(others):
        settings = settings | each
        if batches or number:
            yield settings


def _cut(row: Example, most: int) -> Example:
    """The row cut from the left to at most this many tokens."""
    return replace(row, context_ids=row.context_ids[-max(1, most + 1 - len(row.answer_ids)) :])


def time_steps(plan: TrainingPlan) -> float:
    """For a forecast: seconds that the training of a loaded base will take, from a few steps on a
    middling batch, in the number formats and with the checkpointing and the optimizer of the
    training.

    The base is left as it was, and so are the random generators.
    """
    recipe, rows, share = plan.recipe, plan.data.examples, share_out(plan.recipe)
    lengths = [len(row.input_ids) for row in rows]
    sampler = StepSampler(lengths, share, recipe.train.seed)
    # The batch of middling size stands for all; the largest would promise a day more than it takes.
    batches = sorted(sampler, key=lambda batch: padded_tokens(batch, lengths))
    middle = [rows[number] for number in batches[len(batches) // 2]]
    with draws_undone(), trained_model(recipe, plan.base) as model:
        learning, stepping = _time_batch(plan, model, middle)
    work, read = count_work(recipe, rows), sum(len(row.input_ids) for row in middle)
    tokens = float(work.tokens_read)
    if recipe.train.preference is not None:
        tokens += _FORWARD * sum(lengths)  # the reference
    # Forward and backward grow with the tokens, the optimizer's step does not.
    return learning / read * tokens / share.processes + stepping * work.steps


def _time_batch(plan: TrainingPlan, model: Any, rows: Sequence[Any]) -> tuple[float, float]:
    """Mean seconds of (forward and backward, the optimizer's step) on these rows, after one of each
    that warms up."""
    base, objective, spent = plan.base, make_objective(plan.base, plan.recipe.train.preference), []
    optimizer = make_optimizer(plan.recipe.train, model)

    def now() -> float:
        if base.device == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()

    for _ in range(_TIMED_STEPS + 1):
        inputs = send_to_device(objective.collate(rows), base.device)
        started = now()
        with autocast(base):
            loss = objective.mean_loss(model, inputs)
        loss.backward()  # type: ignore[no-untyped-call]
        learnt = now()
        optimizer.step()
        spent.append((learnt - started, now() - learnt))
        optimizer.zero_grad()
    learning, stepping = (sum(seconds) / _TIMED_STEPS for seconds in zip(*spent[1:], strict=True))
    return learning, stepping


def largest_batch(recipe: Recipe, rows: Sequence[Any], share: Share) -> list[Any]:
    """For a forecast: the rows of the batch that has most tokens, padding counted, of those that
    are planned."""
    lengths = [len(row.input_ids) for row in rows]
    sampler = StepSampler(lengths, share, recipe.train.seed)
    steps, of_epoch = recipe.train.planned_steps(len(rows)), math.ceil(len(rows) / share.step)
    found: list[int] = []
    for epoch in range(min(math.ceil(steps / of_epoch), _EPOCHS_PLANNED)):
        sampler.set_epoch(epoch)
        # the last step may have fewer
        planned = islice(sampler, (steps - epoch * of_epoch) * share.accumulation)
        found = max([found, *planned], key=lambda batch: padded_tokens(batch, lengths))
    return [rows[number] for number in found]


def padded_tokens(batch: Sequence[int], lengths: Sequence[int]) -> int:
    """For a forecast: the tokens of a batch, padding counted."""
    return len(batch) * max((lengths[number] for number in batch), default=0)
