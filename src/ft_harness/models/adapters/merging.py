"""An adapter merged into its base's weights, and the base's own weights put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Let a PEFT model compute with merged weights; on leaving, the base's weights are those of
    before, to the bit.

    PEFT's own unmerging subtracts what it added, which leaves a rounding behind, so the weights are
    kept meanwhile (a quantised one is replaced by merging, not changed). Keeping them takes the
    memory of the layers that are merged.
    """
    layers = [
        layer.get_base_layer() for layer in model.modules() if isinstance(layer, BaseTunerLayer)
    ]
    kept = [(layer, layer.weight, layer.weight.data.clone()) for layer in layers]
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()
        for layer, weight, data in kept:
            weight.data = data
            layer.weight = weight
