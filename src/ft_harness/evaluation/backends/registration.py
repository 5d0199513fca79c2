"""Our back-ends among lm-eval's models, by the names that `--model` takes; and which of them
answers for a base."""

from __future__ import annotations

from lm_eval.api.registry import model_registry, register_model

from ft_harness.evaluation.backends.causal import BACK_END, CausalLM, make_causal_lm
from ft_harness.evaluation.backends.classifier import HEAD_BACK_END, ClassifierLM
from ft_harness.evaluation.backends.server import ServedBase, ServerLM
from ft_harness.models.base_model import BaseModel

MODELS: dict[str, type[CausalLM | ClassifierLM | ServerLM]] = {
    "ft-causal": CausalLM,
    "ft-seqcls": ClassifierLM,
    "ft-server": ServerLM,
}


def back_end(base: BaseModel) -> str:
    """Which of our back-ends answers for a base, by name, and its softmax dtype or its servers'
    program."""
    if isinstance(base, ServedBase):
        return f"ft-server ({base.engine})"
    return BACK_END if base.head is None else HEAD_BACK_END


def make_lm(
    base: BaseModel, batch_size: int | None = None, seed: int = 1234
) -> CausalLM | ClassifierLM | ServerLM:
    """The lm-eval model of a base, with or without adapter: `ft-causal`, `ft-seqcls` for a base
    with a head, `ft-server` for one that servers compute.

    Args:
        batch_size: prompts of a batch at most; None: as memory allows.
        seed: of sampled decoding.
    """
    if isinstance(base, ServedBase):
        return ServerLM(base, seed=seed)
    if base.head is None:
        return make_causal_lm(base, batch_size, seed)
    return ClassifierLM(base, batch_size)


def register_models() -> None:
    """Make our back-ends known to lm-eval; a second call changes nothing."""
    for name, back_end_class in MODELS.items():
        # lm-eval refuses a name that it has; as a plug-in it registers them itself in later
        # releases.
        if name not in model_registry:
            register_model(name)(back_end_class)
