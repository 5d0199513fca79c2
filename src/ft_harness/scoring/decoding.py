"""Generation arguments that a recipe lays over those of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ft_harness.errors import InputError, suggest
from ft_harness.files import Split
from ft_harness.recipe import EvalSection

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

# Names of lm-eval (`until`, `max_gen_toks`) and of transformers' generate that choose tokens; not those that change
# what comes back, such as num_return_sequences.
ARGUMENTS = (
    "until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff",
    "eta_cutoff", "num_beams", "length_penalty", "early_stopping", "repetition_penalty", "no_repeat_ngram_size",
)  # fmt: skip


def problems(tasks: Mapping[Split, ConfigurableTask], settings: EvalSection) -> list[InputError]:
    """Decoding of a task that generates nothing, and arguments that are none."""
    asked = sorted({name for protocol in settings.protocols() for name in protocol.decoding})
    still = [task.config.task.partition("@")[0] for task in tasks.values() if task.OUTPUT_TYPE != "generate_until"]
    if asked and still:
        return [
            InputError(
                f"{still[0]}: eval.generation_kwargs sets {', '.join(asked)}, but the task generates nothing",
                "no generation_kwargs for tasks that are scored by likelihood",
                "leave eval.generation_kwargs out, or take a task that generates (most families have one ending _gen)",
            )
        ]
    return [
        InputError(
            f"eval.generation_kwargs: {name} is no argument of decoding{suggest(name, ARGUMENTS)}",
            f"{', '.join(ARGUMENTS)}",
            "correct the name",
        )
        for name in asked
        if name not in ARGUMENTS
    ]
