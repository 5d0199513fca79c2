"""The memory budget of a batch in scoring: free memory against the memory that a batch needs, by
formula and without trying it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from ft_harness.evaluation.backends.planning import Size
from ft_harness.models.memory import free_memory_bytes

# of the free memory, that a batch may take: the formula knows the large tensors only
FREE_SHARE = 0.5
CPU_BYTES = 256 << 20  # more rows at once than this holds are not faster on a CPU
_FLOAT = 4
_MEASURED: WeakKeyDictionary[Any, Budget] = WeakKeyDictionary()


@dataclass(frozen=True)
class Budget:
    """Bytes that a batch may take, and what its parts take.

    Attributes:
        token: activations of one token in one layer.
        key: keys and values of one token in one layer, as attention reads them (all heads).
        score: one attention weight or mask entry of one query and key.
        logits: one position's logits with their float32 copy and softmax.
        layers: of the model, all of which keep keys and values during generation.
    """

    free: int
    token: int
    key: int
    score: int
    logits: int
    layers: int

    def needs(self, size: Size) -> int:
        """Peak bytes of scoring a batch, on top of the weights."""
        keys = size.prefix + size.width
        attention = size.rows * (keys * self.key + size.width * keys * self.score)
        return size.rows * size.width * self.token + attention + size.kept * self.logits

    def needs_whole(self, size: Size) -> int:
        """The same for models that compute the logits of every position."""
        return self.needs(size._replace(kept=size.rows * size.width))

    def needs_generation(self, size: Size) -> int:
        """`size.width` counts prompt and new tokens: all layers keep their keys."""
        return self.needs(size) + self.layers * size.rows * size.width * self.key

    def needs_reading(self, size: Size) -> int:
        """Peak bytes of a batch of prompts whose keys and values all layers keep, once each."""
        return self.needs(size) + self._kept(size.rows, size.width)

    def needs_slots(self, rows: int, columns: int, tokens: int) -> int:
        """Peak bytes of rows that are written some tokens at a time: keys and values of all layers
        are written in place."""
        return self._kept(rows, columns) + rows * tokens * (self.token + self.logits)

    def _kept(self, rows: int, columns: int) -> int:
        return self.layers * rows * columns * self.key // 2


def _head_width(config: Any, width: int) -> int:
    """The width of a head, of the widest layer where layers differ (reading it of the whole then
    raises)."""
    layers = getattr(config, "per_layer_config", None)
    widths = [getattr(layer, "head_dim", None) or 0 for layer in layers] if layers else []
    if widths:
        return max(widths) or width
    return getattr(config, "head_dim", None) or width


def budget_of(model: Any) -> Budget:
    """The budget of a loaded base model, measured once: every adapter on it has the same batches as
    the base alone."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # Free memory differs from moment to moment, and batches decide the last digits: measured once,
    # base and adapters are scored in the same ones.
    if base not in _MEASURED:
        _MEASURED[base] = measure(base)
    return _MEASURED[base]


def measure(model: Any) -> Budget:
    """What a loaded model's batches may take, from its configuration and the memory that is free
    now."""
    # A model that also reads images keeps the language model's sizes in a configuration of its own.
    config = model.config.get_text_config(decoder=True)
    width, item = config.hidden_size, model.dtype.itemsize
    inner = getattr(config, "intermediate_size", None) or 4 * width
    # Some architectures have layers of several widths.
    inner = max(inner) if isinstance(inner, (list, tuple)) else inner
    heads = config.num_attention_heads if getattr(config, "num_attention_heads", None) else 1
    # Some architectures have heads wider than their share of the model's width.
    head_width = _head_width(config, width // heads) * heads
    free = int(FREE_SHARE * free_memory_bytes(model.device.type))
    return Budget(
        free=free if model.device.type == "cuda" else min(free, CPU_BYTES),
        token=(4 * width + 3 * inner + 4 * head_width) * item
        + 2 * width * _FLOAT,  # norms work in float32
        key=2 * 2 * head_width * item,  # twice: as computed and as joined to the prefix's
        # Plain attention writes every weight out, with its softmax in float32; the fused one only
        # reads the mask.
        score=item + (heads * (item + _FLOAT) if config._attn_implementation == "eager" else 0),
        logits=config.vocab_size * (item + 2 * _FLOAT),
        layers=config.num_hidden_layers,
    )
