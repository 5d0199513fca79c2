"""Paired evaluations of hand-made items, for the tests of cases and slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ft_harness.comparison.cases import CaseSummary, add_slices, find_cases
from ft_harness.comparison.pairing import pair_items
from ft_harness.metrics import label_statistics
from ft_harness.records import Evaluation, Sample
from tests.builders.records import make_record, make_sample, write_evaluation

NLI = ["entailment", "neutral", "contradiction"]
WORDS = ["yes", "maybe", "no"]
MARGIN = 1.5  # of every answer, in nats


def nli_sample(
    number: int, gold: int, predicted: int, premise: str, hypothesis: str, **fields: Any
) -> Sample:
    """An item of NLI as `snli_custom` has it, answered by likelihood."""
    responses = [
        [-1.0 if index == predicted else -1.0 - MARGIN - index, False] for index in range(3)
    ]
    return make_sample(
        number,
        WORDS[gold],
        WORDS[predicted],
        label_statistics(gold, predicted, NLI),
        doc={"premise": premise, "hypothesis": hypothesis, "label": gold, "label_names": NLI}
        | fields,
        prompt=f"{premise}\nQuestion: {hypothesis} Yes, maybe or no?\nAnswer:",
        responses=responses,
    )


def write_pair(
    folder: Path, base: Sequence[Sample], tuned: Sequence[Sample], **settings: Any
) -> list[Evaluation]:
    """Both evaluations, written."""
    metrics = [name for name, value in base[0].scores.items() if value is not None] if base else []
    return [
        write_evaluation(folder / name, make_record(adapter, metrics, **settings), samples)
        for name, adapter, samples in (("base", None, base), ("tuned", "nli_lora", tuned))
    ]


def summarize(
    base: Evaluation, tuned: Evaluation, slice_by: Sequence[str] = (), seed: int = 0
) -> CaseSummary:
    """The cases of two evaluations, with their slices."""
    pairs, _ = pair_items(base, tuned)
    return add_slices(find_cases(base, tuned, pairs, seed), base, tuned, slice_by)


def nli_pair(folder: Path) -> list[Evaluation]:
    """80 items: of 40 without a negation 30 are corrected, of 40 with one 30 are broken; all others
    stay right."""
    base, tuned = [], []
    for number in range(80):
        negated, changes = number >= 40, number % 40 < 30
        hypothesis = f"A man is {'not ' if negated else ''}asleep on bench {'x' * (number % 4)}."
        right, wrong = number % 3, (number + 1) % 3
        before = wrong if changes and not negated else right
        after = wrong if changes and negated else right
        premise = f"A man sleeps on item {number}."
        genre = "fiction" if number % 2 else "letters"
        base.append(nli_sample(number, right, before, premise, hypothesis, genre=genre))
        tuned.append(nli_sample(number, right, after, premise, hypothesis, genre=genre))
    return write_pair(folder, base, tuned)
