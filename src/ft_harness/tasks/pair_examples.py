"""A task's docs -> training pairs: the right and the wrong answer to one prompt, cut alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.task import ConfigurableTask

from ft_harness.errors import InputError
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.tasks.examples import Example, build_examples, build_wrong_examples


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
    def input_ids(self) -> list[int]:
        """What the model reads for both answers, one behind the other."""
        return [*self.chosen.input_ids, *self.rejected.input_ids]

    @property
    def trained_tokens(self) -> int:
        return self.chosen.trained_tokens + self.rejected.trained_tokens

    @property
    def truncated(self) -> bool:
        return self.chosen.truncated


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
    rows = list(docs)
    chosen, rejected = (
        build(task, rows, tokenizer, max_length, eos=eos, form=form)
        for build in (build_examples, build_wrong_examples)
    )
    return [_cut_alike(one, other) for one, other in zip(chosen, rejected, strict=True)]


def _cut_alike(chosen: Example, rejected: Example) -> PairExample:
    """The pair over the shorter of the two prompts: each is an end of the whole one."""
    room = min(len(chosen.context_ids), len(rejected.context_ids))
    cut = chosen.truncated or rejected.truncated
    one, other = (
        replace(each, context_ids=each.context_ids[-room:], truncated=cut)
        for each in (chosen, rejected)
    )
    return PairExample(one, other)


def pairs_hash(pairs: Sequence[PairExample]) -> str:
    """Hash of all token ids, in order."""
    ids = [
        [pair.chosen.context_ids, pair.chosen.answer_ids, pair.rejected.answer_ids]
        for pair in pairs
    ]
    return sha256_text(canonical_json(ids))[:16]


def describe_pairs(pairs: Sequence[PairExample], eos: bool) -> str:
    """What is trained on, in one line.

    Raises:
        InputError: there are no pairs.
    """
    if not pairs:
        raise InputError(
            "the training split is empty", "at least one training pair", "check data.source"
        )
    lengths = [len(pair.input_ids) for pair in pairs]
    tokens, cut = (
        sum(pair.trained_tokens for pair in pairs),
        sum(pair.truncated for pair in pairs),
    )
    return (
        f"{len(pairs)} training pairs of {min(lengths)} / {statistics.median(lengths):g} / "
        f"{max(lengths)} tokens (min / median / max, both answers), {tokens} trained tokens, EOS "
        f"{'trained in each' if eos else 'not trained'}, "
        f"{cut} prompts cut alike for both ({cut / len(pairs):.1%})"
    )
