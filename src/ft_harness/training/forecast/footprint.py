"""Memory of a training step by part, counted from shapes: the step is run on tensors without
contents.

PyTorch's fake tensors know shape, dtype and device, so that the model's own forward and backward
show what is allocated and for how long; nothing is computed and no weights are needed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from peft import get_peft_model
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ft_harness.models.adapters import lora_config
from ft_harness.models.base_model import BaseModel, empty_model
from ft_harness.recipe import Recipe
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.training.adapter_model import set_up
from ft_harness.training.numerics import autocast, quick_attention
from ft_harness.training.objectives import Batch, count_targets, make_objective

# Entries that are not 0, which only contents would tell: of what says where targets are (bool), and
# of attention masks (long).
Counts = dict[torch.dtype, int]
_ATEN = torch.ops.aten
_INDEXING = {
    *(_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default),
    _ATEN._index_put_impl_.default,
}
TOLERANCE = 1.15  # how far a measured peak may lie above the count
# a weight, its share of the block's scale, and of that scale's own
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# bytes a trained parameter: 4 for each moment; the first name that fits
_STATES = {
    "schedule_free_sgd": 4.0,
    "sgd": 0.0,
    "lomo": 0.0,
    "adafactor": 0.1,
    "lion": 4.0,
    "rmsprop": 4.0,
    "adagrad": 4.0,
    "ademamix": 12.0,
}
_ADAM_STATES = 8.0  # two float32 moments
# with a block's scale, in place of a float32
_FEWER_BITS = {"8bit": (1 + 4 / 256) / 4, "4bit": (0.5 + 4 / 128) / 4}


_WITHOUT_MEMORY = {"learning_rate", "lr_scheduler_type", "weight_decay", "num_train_epochs", "seed"}


@dataclass(frozen=True)
class Footprint:
    """Peak bytes of a training step by part, without Python and its libraries.

    Attributes:
        weights: of the base, as held (packed, where quantised); where all weights are trained,
            those kept to put back.
        adapter: what is trained.
        gradients: of what is trained, with the copy that a batch done again starts from while
            batches accumulate.
        optimizer: its states.
        activations: what forward keeps for backward, and both work with.
        logits: of the targets' positions, and what the loss makes of them.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        return asdict(self)


class Counted(NamedTuple):
    """A memory count: a footprint with the parameters it rests on, as the architecture has them;
    packing hides some."""

    footprint: Footprint
    parameters: int
    trainable: int


_counted: dict[str, Counted] = {}


def count_memory(recipe: Recipe, base: BaseModel, rows: Sequence[Any]) -> Counted:
    """Count the memory that a training step of the recipe takes, from the base's configuration and
    the rows of its largest batch.

    Args:
        base: loaded or not: its model is not touched.

    Raises:
        InputError: the base's configuration can't be loaded.
    """
    objective = make_objective(base, recipe.train.preference)
    batch = objective.collate(rows)
    dtype = getattr(torch, base.info.dtype)
    labels = len(base.head.plan.labels) if base.head else None
    empty = empty_model(recipe.model, head=base.head is not None, labels=labels).to(dtype)
    if empty.config.pad_token_id is None:
        # A head finds each row's last token by it.
        empty.config.pad_token_id = base.tokenizer.pad_token_id
    # Before PEFT adds parameters of its own.
    weights = weight_bytes(empty, recipe.model.quantization)
    parameters = empty.num_parameters()
    model = _trained(recipe, base, empty)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    trained_bytes = sum(parameter.nbytes for parameter in trained)
    if recipe.adapter.all_weights:
        # The weights are the adapter; those kept to put back are in main memory.
        weights = trained_bytes if base.device == "cpu" else 0
    accumulates = recipe.train.gradient_accumulation_steps > 1
    counts = {torch.bool: count_targets(batch)[0], torch.long: int(batch["attention_mask"].sum())}
    peak = _run_empty(model, batch, base, (objective.sums, counts), accumulates=accumulates)
    numbers = sum(parameter.numel() for parameter in trained)
    # Gradients have a part of their own: those of this batch are taken out of what it makes.
    made = peak[False] if accumulates else max(peak[False] - trained_bytes, 0)
    footprint = Footprint(
        weights=weights,
        adapter=trained_bytes,
        gradients=trained_bytes * (2 if accumulates else 1),
        optimizer=round(numbers * _state_bytes(recipe.train.optim)),
        activations=made,
        logits=peak[True],
    )
    return Counted(footprint, parameters, numbers)


def count_once(recipe: Recipe, base: BaseModel, rows: Sequence[Any]) -> Counted:
    """Count the memory of a training step, which takes a second, or take the count that equal steps
    had."""
    train = recipe.train.model_dump(mode="json", exclude=_WITHOUT_MEMORY)
    made = [str(recipe.model), str(recipe.adapter), base.info.dtype, base.device]
    seen = [[list(map(int, row.input_ids)), row.trained_tokens] for row in rows]
    head = str(base.head and base.head.plan)
    key = sha256_text(canonical_json([train, made, head, seen]))
    if key not in _counted:
        _counted[key] = count_memory(recipe, base, rows)
    return _counted[key]


def _trained(recipe: Recipe, base: BaseModel, empty: Any) -> Any:
    """The empty model with what the recipe trains of it, as its training has it."""
    if recipe.adapter.all_weights:
        model = empty.requires_grad_(True)
    else:
        with torch.device("meta"):
            model = get_peft_model(
                empty, lora_config(recipe.adapter, base.head.modules if base.head else (), empty)
            )
    return set_up(recipe, model, empty)


def weight_bytes(model: Any, quantization: str | None) -> int:
    """Count the bytes of all weights of a model to be trained, tied ones once; in 4 bits every
    linear layer but the output head is packed."""
    head = model.get_output_embeddings()
    packed = {
        id(module.weight): module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    each = {"nf4": _NF4_BYTES, "int8": 1.0}
    if quantization is None:
        return int(sum(parameter.nbytes for parameter in model.parameters()))
    small: float = sum(weight.numel() for weight in packed.values()) * each[quantization]
    large = int(
        sum(parameter.nbytes for parameter in model.parameters() if id(parameter) not in packed)
    )
    return round(small) + large


def _state_bytes(optim: str) -> float:
    """Bytes of an optimizer's states for each trained parameter, by its name in transformers."""
    found = next((states for name, states in _STATES.items() if name in optim), _ADAM_STATES)
    return found * next((share for bits, share in _FEWER_BITS.items() if bits in optim), 1.0)


def _run_empty(
    model: Any, batch: Batch, base: BaseModel, loss: tuple[Any, Counts], *, accumulates: bool
) -> dict[bool, int]:
    """Peak bytes that forward and backward make: {of logits: True, of all else: False}.

    Args:
        loss: the sums that it is made of, and what the ledger counts by.
        accumulates: gradients of another batch are there already, and none of the bytes.
    """
    sums, counts = loss
    vocabulary = getattr(model.config.get_text_config(decoder=True), "vocab_size", 0)
    # A GPU that isn't here: tensors of a CPU stand for it.
    device = base.device if torch.cuda.is_available() else "cpu"
    with FakeTensorMode() as mode:
        _give_device(model, device)
        inputs = {name: mode.from_tensor(values).to(device) for name, values in batch.items()}
        labels = inputs.pop("labels")
        known = list(model.parameters())
        if accumulates:
            for parameter in [each for each in known if each.requires_grad]:
                parameter.grad = torch.zeros_like(parameter)
                known.append(parameter.grad)
        ledger = _Ledger(known, vocabulary, counts)
        with ledger, quick_attention(), autocast(base, device):
            sums(model, inputs, labels).sum().backward()
    return dict(ledger.peak)


def _give_device(model: Any, device: str) -> None:
    """Put every parameter and buffer of a model on the meta device onto a fake one, tied ones
    once."""
    moved: dict[int, Any] = {}  # by id, so that tied weights stay one tensor

    def on_device(tensor: torch.Tensor) -> Any:
        if id(tensor) not in moved:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
            is_weight = isinstance(tensor, torch.nn.Parameter)
            moved[id(tensor)] = (
                torch.nn.Parameter(empty, tensor.requires_grad) if is_weight else empty
            )
        return moved[id(tensor)]

    kept = [*model.parameters(), *model.buffers()]  # no id is used twice
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            held.update(
                {name: on_device(tensor) for name, tensor in held.items() if tensor is not None}
            )
    del kept


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Books the memory of every tensor that is made until it is gone.

    Attributes:
        peak: most bytes at once: {of logits: True, of all else: False}.
    """

    def __init__(self, known: Iterable[torch.Tensor], vocabulary: int, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._vocabulary, self._counts = vocabulary, counts
        self._alive: dict[int, tuple[bool, int]] = {}
        self._now = {True: 0, False: 0}
        self.peak = {True: 0, False: 0}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _ATEN._local_scalar_dense.default and args[0].dtype == torch.bool:
            return False  # a mask is made, as for rows of which some are padded
        # How many places a boolean mask selects depends on its contents, which a fake tensor has
        # not: the number of targets is known and put in.
        if func in _INDEXING:
            places = [place for index in args[1] for place in self._places(index)]
            args = (args[0], places, *args[2:])
        if func is _ATEN.nonzero.default:
            made = args[0].new_zeros(self._counts[args[0].dtype], args[0].ndim, dtype=torch.long)
        else:
            made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._book(tensor)
        return made

    def _places(self, index: torch.Tensor | None) -> list[torch.Tensor | None]:
        """A boolean index as whole numbers, one per target, for each of its dimensions."""
        if index is None or index.dtype != torch.bool:
            return [index]
        count = self._counts[torch.bool]
        return [torch.zeros(count, dtype=torch.long, device=index.device) for _ in index.shape]

    def _book(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known or key in self._alive:
            return
        is_logits = tensor.ndim > 1 and tensor.shape[-1] == self._vocabulary
        self._alive[key] = is_logits, storage.nbytes()
        self._now[is_logits] += storage.nbytes()
        # The parts at the common peak: the peak of each alone may be at another moment.
        if sum(self._now.values()) > sum(self.peak.values()):
            self.peak = dict(self._now)
        # By storage and not by tensor: views share one, and it lives as long as the last of them.
        weakref.finalize(storage, self._leave, key)

    def _leave(self, key: int) -> None:
        is_logits, size = self._alive.pop(key)
        self._now[is_logits] -= size


def count_base(base: BaseModel) -> int:
    """Count the bytes that an empty base takes when it is loaded, with what is surely enough for
    that."""
    model = base.model.to(getattr(torch, base.info.dtype))
    return round(weight_bytes(model, base.info.quantization) * TOLERANCE)
