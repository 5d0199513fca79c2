"""What became of each item from base to tuned: how many were corrected or broken, and a few of each to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal, get_args

from pydantic import Field

from ft_harness.metrics import confusion, read_label_statistics
from ft_harness.records import Frozen, Sample

Transition = Literal["still right", "corrected", "broken", "not corrected"]
_TRANSITIONS: dict[tuple[bool, bool], Transition] = {
    (True, True): "still right",
    (False, True): "corrected",
    (True, False): "broken",
    (False, False): "not corrected",
}
DECIDING_METRICS = ("acc", "exact_match")  # 0/1 metrics that say whether an answer is right
_PER_TRANSITION = 5
_BY_LABEL = "f1_macro"  # its statistics tell gold and predicted label of an item


class Case(Frozen):
    """One item with both answers."""

    item_key: str
    prompt: str
    gold: str
    base_answer: str | None = Field(description="null: no readable answer")
    tuned_answer: str | None


class CaseSummary(Frozen):
    """Items by transition. Items without a score on either side are in no transition."""

    counts: dict[Transition, int] | None = Field(description="null: no metric of the task says right or wrong")
    cases: dict[Transition, list[Case]] | None = Field(description="at most 5 each, spread over the gold answers")
    reason: str | None = Field(description="why counts and cases are null")


class ConfusionPair(Frozen):
    """Confusion matrices before and after, [labels, labels + 1]: rows gold, columns predicted, last: no label."""

    labels: list[str]
    base: list[list[int]]
    tuned: list[list[int]]


def summarize_cases(pairs: Sequence[tuple[Sample, Sample]], seed: int = 0) -> CaseSummary:
    """The transitions of (base, tuned) samples of the same items, decided by `acc` or else `exact_match`.

    The cases shown depend on their item keys and the seed only, not on the order of the pairs.
    """
    names = {name for pair in pairs for sample in pair for name in sample.scores}
    metric = next((name for name in DECIDING_METRICS if name in names), None)
    if metric is None:
        return CaseSummary(counts=None, cases=None, reason=f"no item has a score of {' or '.join(DECIDING_METRICS)}")
    found: dict[Transition, list[Case]] = {transition: [] for transition in get_args(Transition)}
    for base, tuned in pairs:
        before, after = base.scores.get(metric), tuned.scores.get(metric)
        if before is not None and after is not None:
            found[_TRANSITIONS[before == 1, after == 1]].append(_make_case(base, tuned))
    return CaseSummary(
        counts={transition: len(cases) for transition, cases in found.items()},
        cases={transition: _choose(cases, seed) for transition, cases in found.items()},
        reason=None,
    )


def count_confusion(pairs: Sequence[tuple[Sample, Sample]]) -> ConfusionPair | None:
    """Gold against predicted labels of the (base, tuned) samples, read from the stored statistics of macro F1; None
    where the task's metrics are not those of labels."""
    if not pairs or _BY_LABEL not in pairs[0][0].scores:
        return None
    recalls = [name.removeprefix("recall_") for name in pairs[0][0].scores if name.startswith("recall_")]
    names = [name for name in recalls if name != "macro"]
    return ConfusionPair(
        labels=names,
        base=_confusion([base for base, _ in pairs], names),
        tuned=_confusion([tuned for _, tuned in pairs], names),
    )


def _confusion(samples: Sequence[Sample], labels: Sequence[str]) -> list[list[int]]:
    scored = [found for sample in samples if isinstance(found := sample.scores.get(_BY_LABEL), list)]
    golds, predictions = zip(*map(read_label_statistics, scored), strict=True) if scored else ((), ())
    counts: list[list[int]] = confusion(golds, predictions, labels).tolist()
    return counts


def _make_case(base: Sample, tuned: Sample) -> Case:
    return Case(
        item_key=base.item_key,
        prompt=base.prompt,
        gold=base.target,
        base_answer=base.prediction,
        tuned_answer=tuned.prediction,
    )


def _choose(cases: Sequence[Case], seed: int) -> list[Case]:
    """A few cases in an order drawn by the seed: the first of each gold answer, then the second of each, and so on."""
    drawn = sorted(cases, key=lambda case: sha256(f"{seed}:{case.item_key}".encode()).digest())
    by_gold: defaultdict[str, list[Case]] = defaultdict(list)
    for case in drawn:
        by_gold[case.gold].append(case)
    ranked = [(rank, case) for group in by_gold.values() for rank, case in enumerate(group)]
    return [case for _, case in sorted(ranked, key=lambda entry: entry[0])[:_PER_TRANSITION]]
