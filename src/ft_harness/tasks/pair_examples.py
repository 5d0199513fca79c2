"""A task's docs -> training pairs: the right and the wrong answer to one prompt, cut alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.task import ConfigurableTask

from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.tasks.examples import Example, build_answers, describe_lengths


@dataclass(frozen=True)
class PairExample:
    """One training pair: two answers to the same prompt tokens.

    Attributes:
        reference: log-likelihoods of the chosen and the rejected answer before the first step, in
            nats; None: not computed yet.
    """

    chosen: Example
    rejected: Example
    reference: tuple[float, float] | None = None

    @property
    def tokens(self) -> list[int]:
        return [*self.chosen.tokens, *self.rejected.tokens]

    @property
    def input_ids(self) -> list[int]:
        """What the model reads for both answers, one behind the other."""
        return [*self.chosen.input_ids, *self.rejected.input_ids]

    @property
    def trained_tokens(self) -> int:
        return self.chosen.trained_tokens + self.rejected.trained_tokens

    @property
    def truncated(self) -> bool:
        return self.chosen.truncated

    @property
    def identity(self) -> list[Any]:
        return [self.chosen.context_ids, self.chosen.answer_ids, self.rejected.answer_ids]


def build_pairs(
    task: ConfigurableTask,
    docs: Iterable[dict[str, Any]],
    tokenizer: Any,
    max_length: int,
    *,
    eos: bool,
    form: PromptForm = PLAIN,
) -> list[PairExample]:
    """One pair for each doc of a task with two choices, the right one chosen.

    A prompt is cut from the left as far as the longer of its answers needs, and the same for both.

    Args:
        eos: put EOS (a chat model: what closes its turn) behind both answers and train it.

    Raises:
        InputError: as in `build_examples`; or a doc has other than two choices.
    """
    rows = build_answers(task, docs, (tokenizer, max_length), eos=eos, form=form, both=True)
    return [_cut_alike(chosen, rejected) for chosen, rejected in rows]


def _cut_alike(chosen: Example, rejected: Example) -> PairExample:
    """The pair over the shorter of the two prompts: each is an end of the whole one."""
    room = min(len(chosen.context_ids), len(rejected.context_ids))
    cut = chosen.truncated or rejected.truncated
    one, other = (
        replace(each, context_ids=each.context_ids[-room:], truncated=cut)
        for each in (chosen, rejected)
    )
    return PairExample(one, other)


def describe_pairs(pairs: Sequence[PairExample], eos: bool) -> str:
    """What is said of training pairs, in one line.

    Raises:
        InputError: there are no pairs.
    """
    lengths = describe_lengths(pairs, "pairs")
    cut = sum(pair.truncated for pair in pairs)
    return (
        f"{lengths}, both answers counted, {sum(pair.trained_tokens for pair in pairs)} trained "
        f"tokens, EOS {'trained in each' if eos else 'not trained'}, "
        f"{cut} prompts cut alike for both ({cut / len(pairs):.1%})"
    )
