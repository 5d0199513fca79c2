"""What a training will do, need and take, before it starts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ft_harness import processes, quantization
from ft_harness.base_model import BaseModel, empty_model, load_config, load_context, load_tokenizer
from ft_harness.errors import FtHarnessError
from ft_harness.examples import Example
from ft_harness.heads import Head, HeadPlan
from ft_harness.heads.weights import own_modules
from ft_harness.provenance import free_memory_bytes, rss_bytes
from ft_harness.recipe import ModelSection, Recipe
from ft_harness.records import ModelInfo
from ft_harness.training.adapter_model import adapter_model
from ft_harness.training.batches import Share, StepSampler
from ft_harness.training.footprint import Footprint, count_memory
from ft_harness.training.objectives import make_objective
from ft_harness.training.plan import Rows, TrainingSet
from ft_harness.training.sharing import share_out

TOLERANCE = 1.15  # how far a measured peak may lie above the count
_EPOCHS_PLANNED = 5  # each has batches of its own; more find none that is much larger
_TIMED_STEPS = 2
logger = logging.getLogger(__name__)
_SHORTEST = 64  # tokens that rows may be cut to


class Work(NamedTuple):
    """What a training goes through.

    Attributes:
        tokens_read: of prompts and answers, over all epochs, without padding.
        tokens_trained: targets that carry loss, over all epochs: tokens, or a head's labels.
    """

    steps: int
    epochs: float
    tokens_read: int
    tokens_trained: int


@dataclass(frozen=True)
class Memory:
    """What one process needs at its peak, and has.

    Attributes:
        own: bytes of Python and its libraries; none of a GPU's.
        room: bytes that it may take: what it holds already and what is free.
        instead: (setting, total in bytes with it) of settings that need less; only where the recipe's may not fit.
    """

    footprint: Footprint
    own: int
    room: int
    instead: list[tuple[str, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.footprint.total + self.own

    @property
    def fits(self) -> bool:
        return self.total * TOLERANCE <= self.room


@dataclass(frozen=True)
class Forecast:
    """What a training will do and need.

    Attributes:
        batch: how the rows of a step are shared out.
        parameters, trainable: as the architecture has them, also where weights are packed; None: not known.
        memory: None: the architecture can't be run on shapes alone.
    """

    work: Work
    batch: Share
    device: str
    parameters: int | None
    trainable: int | None
    memory: Memory | None


def empty_base(section: ModelSection, plan: HeadPlan | None) -> BaseModel:
    """A base model without weights, on the device that it would be loaded onto: tokenizer, configuration and shapes.

    Raises:
        InputError: tokenizer or configuration can't be loaded.
    """
    import torch

    tokenizer, config = load_tokenizer(section), load_config(section)
    model = empty_model(section, head=plan is not None)
    given = str(getattr(config, "dtype", None) or model.dtype).removeprefix("torch.")
    dtype = given if section.dtype == "auto" else section.dtype
    dtype = quantization.compute_dtype(section) if section.quantization else dtype
    info = ModelInfo(
        pretrained=section.pretrained,
        revision=section.revision,
        identity="not loaded",
        dtype=dtype,
        quantization=section.quantization,
        parameters=model.num_parameters(),
    )
    reads_types = (getattr(config, "type_vocab_size", None) or 0) > 1
    head = Head(plan, own_modules(model), (), None, reads_types) if plan else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return BaseModel(model, tokenizer, info, load_context(section), device, head)


def share_of(recipe: Recipe) -> Share:
    """How the recipe's steps are shared out over the processes that there are."""
    train = share_out(recipe).train
    return Share(
        train.per_device_train_batch_size, train.gradient_accumulation_steps, processes.count(), processes.rank()
    )


def count_work(recipe: Recipe, rows: Rows) -> Work:
    """Steps, epochs and tokens of a training on these rows."""
    steps = recipe.train.planned_steps(len(rows))
    epochs = steps / math.ceil(len(rows) / recipe.train.effective_batch_size)
    read = sum(len(row.input_ids) for row in rows) * epochs
    trained = sum(row.trained_tokens if isinstance(row, Example) else 1 for row in rows) * epochs
    return Work(steps, epochs, round(read), round(trained))


def foresee(recipe: Recipe, base: BaseModel, data: TrainingSet) -> Forecast:
    """What the training of a recipe on these rows will do and need.

    Args:
        base: loaded, or `empty_base`.

    Raises:
        InputError: the base's configuration can't be loaded.
    """
    share = share_of(recipe)
    work = count_work(recipe, data.examples)
    try:
        counted = count_memory(recipe, base, largest_batch(recipe, data.examples, share))
    except FtHarnessError:
        raise
    except Exception as error:  # a model's own code, which looks at contents that aren't there
        logger.info("memory can't be foreseen: %s", error)
        return Forecast(work, share, base.device, base.info.parameters, None, None)
    memory = _memory(counted.footprint, base)
    if not memory.fits:
        memory = replace(memory, instead=_instead(recipe, base, data, memory))
    return Forecast(work, share, base.device, counted.parameters, counted.trainable, memory)


def _memory(footprint: Footprint, base: BaseModel) -> Memory:
    held = sum(parameter.nbytes for parameter in base.model.parameters() if not parameter.is_meta)
    if base.device == "cpu":
        return Memory(footprint, max(rss_bytes() - held, 0), free_memory_bytes("cpu") + rss_bytes())
    return Memory(footprint, 0, free_memory_bytes(base.device) + held)


def _instead(recipe: Recipe, base: BaseModel, data: TrainingSet, memory: Memory) -> list[tuple[str, int]]:
    """Settings that need less memory, each with its total."""
    found: list[tuple[str, int]] = []
    for setting, changed in _smaller(recipe):
        rows = largest_batch(changed, data.examples, share_of(changed))
        if changed.train.loss_on == "answer":
            rows = [replace(row, on_prompt=False) if isinstance(row, Example) else row for row in rows]
        found.append((setting, count_memory(changed, base, rows).footprint.total + memory.own))
    shorter = _shortened(largest_batch(recipe, data.examples, share_of(recipe)))
    if shorter:
        longest = max(len(row.input_ids) for row in shorter)
        total = count_memory(recipe, base, shorter).footprint.total + memory.own
        found.append((f"model.max_length={longest}", total))
    return [(setting, total) for setting, total in found if total < memory.total]


def _smaller(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """(what to set, the recipe with it) for the same steps in less memory, or nearly the same."""

    def changed(section: str, **values: Any) -> tuple[str, Recipe]:
        settings = " ".join(f"{section}.{name}={str(value).lower()}" for name, value in values.items())
        found = getattr(recipe, section).model_copy(update=values)
        return settings, recipe.model_copy(update={section: found})

    train = recipe.train
    batch, rows = train.per_device_train_batch_size, train.per_device_train_batch_size
    while batch > 1 and batch % 2 == 0:
        batch //= 2
        accumulation = train.gradient_accumulation_steps * rows // batch
        yield changed("train", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    if not train.gradient_checkpointing:
        yield changed("train", gradient_checkpointing=True)
    if train.loss_on == "prompt_and_answer":
        yield changed("train", loss_on="answer")
    if recipe.model.quantization is None and not recipe.adapter.all_weights:
        yield changed("model", quantization="nf4")


def _shortened(rows: Sequence[Any]) -> list[Any]:
    """The rows with at most half the tokens of the longest; none where they are short, or a head's."""
    most = max(len(row.input_ids) for row in rows) // 2
    if most < _SHORTEST or not all(isinstance(row, Example) for row in rows):
        return []
    return [replace(row, context_ids=row.context_ids[-max(1, most + 1 - len(row.answer_ids)) :]) for row in rows]


def time_steps(recipe: Recipe, base: BaseModel, data: TrainingSet) -> float:
    """Seconds that the training of a loaded base will take, from a few forward and backward passes of middling batches.

    The base is left as it was, and so are the random generators.
    """
    import torch

    rows, share = data.examples, share_of(recipe)
    lengths = [len(row.input_ids) for row in rows]
    batches = sorted(StepSampler(lengths, share, recipe.train.seed), key=lambda batch: padded_tokens(batch, lengths))
    objective = make_objective(base)
    seconds = tokens = 0.0
    with torch.random.fork_rng(), adapter_model(recipe, base) as model:
        model.train()
        for turn in range(_TIMED_STEPS + 1):  # the first one warms up
            middle = [rows[number] for number in batches[len(batches) // 2]]
            batch = objective.collate(middle)
            inputs = {name: values.to(base.device) for name, values in batch.items()}
            started = time.monotonic()
            loss: Any = objective.summed_loss(model, inputs, inputs.pop("labels"))
            loss.backward()
            if base.device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds += time.monotonic() - started
                tokens += sum(len(row.input_ids) for row in middle)
            model.zero_grad()
    return seconds / tokens * count_work(recipe, rows).tokens_read / share.processes


def largest_batch(recipe: Recipe, rows: Sequence[Any], share: Share) -> list[Any]:
    """The rows of the batch that has most tokens, padding counted, of those that are planned."""
    lengths = [len(row.input_ids) for row in rows]
    sampler = StepSampler(lengths, share, recipe.train.seed)
    found: list[int] = []
    for epoch in range(min(math.ceil(recipe.train.num_train_epochs), _EPOCHS_PLANNED)):
        sampler.set_epoch(epoch)
        found = max([found, *sampler], key=lambda batch: padded_tokens(batch, lengths))
    return [rows[number] for number in found]


def padded_tokens(batch: Sequence[int], lengths: Sequence[int]) -> int:
    return len(batch) * max((lengths[number] for number in batch), default=0)
