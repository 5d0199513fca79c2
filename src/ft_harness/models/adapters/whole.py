"""A fully trained model in an adapter's place: its weights are checked and put into the loaded
base."""

from __future__ import annotations

from typing import Any

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.models.adapters.fit import nonfinite_problems, read_tensors
from ft_harness.records.adapter_folder import AdapterFolder


def problems(adapter: AdapterFolder, empty: Any) -> list[FtHarnessError]:
    """Faults of a fully trained model's weights: names both ways, shapes, values.

    Args:
        empty: the base on the meta device.
    """
    stored = {name: info.shape for name, info in adapter.held.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    tied = set(empty.all_tied_weights_keys)  # saved once, under one of their names
    names = sorted((stored.keys() ^ wanted.keys()) - tied)
    names = names or [
        name for name in sorted(stored.keys() & wanted.keys()) if stored[name] != wanted[name]
    ]
    if names:
        return [
            InputError(
                f"{adapter}: {len(names)} weights don't match the base model, "
                f"first {', '.join(names[:3])}",
                "all weights of this base, in their shapes",
                "use the base it was trained on",
            )
        ]
    return nonfinite_problems(adapter, read_tensors(adapter.weights))


def load(adapter: AdapterFolder, model: Any) -> None:
    """Put the weights of a fully trained model into the base, in place."""
    # not strict, as tied weights are saved once; `problems` compared the names
    model.load_state_dict(read_tensors(adapter.weights), strict=False)
