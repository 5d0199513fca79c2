"""Our back-ends among lm-eval's models, by the names that `--model` takes."""

from __future__ import annotations

from collections.abc import Callable

from ft_harness.scoring.lm import causal_class

MODELS: dict[str, Callable[[], type]] = {"ft-causal": causal_class}


def register_models() -> None:
    """Make lm-eval know our back-ends; a second call changes nothing."""
    from lm_eval.api.registry import model_registry, register_model

    for name, make in MODELS.items():
        if name not in model_registry:
            register_model(name)(make())
