"""What a model's architecture allows, as far as its configuration and the signature of `forward`
say it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from packaging.version import Version
from transformers.cache_utils import get_layer_types_and_kwargs

_NEEDED = {"attention_mask", "position_ids", "use_cache", "logits_to_keep"}
_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
# the attention functions that take a mask of their own for each query and key
_KERNELS = {"sdpa", "eager"}
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")


@dataclass(frozen=True)
class Traits:
    """What may be done with a model, as far as its architecture allows it.

    Attributes:
        keeps: `forward` computes the logits of chosen positions only.
        trims: so does the last layer with what no other position reads.
        shares: rows may have branches and a cached prefix (attention masks and positions of our
            own).
        pads: prompts of several lengths may be padded from the left (no position depends on the
            longest row).
        window: tokens up to which `shares` holds, None: any; beyond it, attention or positions
            depend on distance or length in ways that only the model itself knows.
        reason: why rows can't share tokens; None: they can.
    """

    keeps: bool
    trims: bool
    shares: bool
    pads: bool
    window: int | None
    reason: str | None


@cache
def cache_argument() -> str:
    """The argument of a model's `forward` that takes a cache; transformers 5.24 gave it another
    name."""
    return "cache" if Version(version("transformers")) >= Version("5.24") else "past_key_values"


def _layer_types(config: Any) -> set[str]:
    return set(get_layer_types_and_kwargs(config)[0])


def _rotary(config: Any) -> list[dict[str, Any]]:
    """Settings of rotary positions, one for each kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope] if "rope_type" in rope else rope.values()
    return [kind for kind in kinds if isinstance(kind, dict)]


def _stretched(config: Any) -> list[int]:
    """Tokens from which rotary positions are scaled by the row's length, one for each such kind of
    layer."""
    return [
        kind.get("original_max_position_embeddings") or config.max_position_embeddings
        for kind in _rotary(config)
        if kind.get("rope_type") == "longrope"
    ]


def _obstacle(model: Any, config: Any, parameters: set[str]) -> str | None:
    """Why rows of this model can't share tokens; None if nothing speaks against it."""
    if lacking := sorted({*_NEEDED, cache_argument()} - parameters):
        return f"{type(model).__name__}.forward has no {', '.join(lacking)}"
    if unknown := sorted(_layer_types(config) - _LAYERS):
        return f"layers of type {', '.join(unknown)}"
    # transformers keeps the scaling of the longest row for all later ones, so that even plain
    # scores depend on what came before.
    if any(kind.get("rope_type") == "dynamic" for kind in _rotary(config)):
        return (
            "positions are scaled by the longest row so far (dynamic NTK): scores depend on what "
            "came before them"
        )
    if getattr(config, "alibi", False):
        return "positions are attention biases (ALiBi)"
    if config._attn_implementation not in _KERNELS:
        own = config._attn_implementation
        return f"the attention function {own} takes no mask for each query and key"
    return None


def read_traits(model: Any) -> Traits:
    """What a loaded causal language model, with or without a PEFT adapter, allows."""
    # Virtual tokens shift every position, which masks of our own would have to know.
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return Traits(
            False, False, False, True, None, "the adapter puts virtual tokens before the prompt"
        )
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config.get_text_config(decoder=True)
    # By what `forward` takes: an architecture that is added tomorrow is judged without a list of
    # names.
    parameters = set(inspect.signature(inner.forward).parameters)
    reason = _obstacle(inner, config, parameters)
    own = [
        value
        for name in _WINDOWS
        if isinstance(value := getattr(config, name, None), int) and value > 0
    ]
    stretched = _stretched(config)
    return Traits(
        keeps="logits_to_keep" in parameters,
        trims="logits_to_keep" in parameters,
        shares=reason is None,
        pads="position_ids" in parameters and _layer_types(config) <= _LAYERS and not stretched,
        window=min(own + stretched, default=None),
        reason=reason,
    )
