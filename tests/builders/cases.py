"""Paired evaluations of hand-made items, for the tests of cases and slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ft_harness.comparison.cases import (
    CaseSummary,
    Listing,
    Sheet,
    Written,
    add_slices,
    find_cases,
    list_items,
    tag_pairs,
)
from ft_harness.comparison.pairing import pair_items
from ft_harness.metrics import label_statistics
from ft_harness.records import Evaluation, Sample
from tests.builders.records import make_record, make_sample, write_evaluation

NLI = ["entailment", "neutral", "contradiction"]
WORDS = ["yes", "maybe", "no"]
MARGIN = 1.5  # of every answer, in nats


def nli_sample(
    number: int,
    gold: int,
    predicted: int,
    premise: str,
    hypothesis: str,
    *,
    margin: float = MARGIN,
    **fields: Any,
) -> Sample:
    """An item of NLI as `snli_custom` has it, answered by likelihood."""
    responses = [
        [-1.0 if index == predicted else -1.0 - margin - index, False] for index in range(3)
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
    found = find_cases(base, tuned, pairs, seed)
    return add_slices(found, tag_pairs(found, base, tuned, slice_by))


def list_pair(
    summary: CaseSummary,
    base: Evaluation,
    tuned: Evaluation,
    limit: int,
    slice_by: Sequence[str] = (),
    written: Written | None = None,
) -> Listing | None:
    """The items of two evaluations with these cases."""
    sheet = Sheet(base.record, tuned.record, summary)
    tagged = tag_pairs(summary, base, tuned, slice_by)
    return list_items(sheet, (base, tuned), limit, tagged, written)


CHINESE = [  # question, gold, then the answers of the base, of adapter a, and of adapter b
    ("翻譯成文言文：我想去學校。", "吾欲之學", "我想去學校", "吾欲去學校", "吾欲之學"),
    ("翻譯成文言文：他不知道。", "彼不知也", "他不知道", "彼不知道", "彼不知也"),
]


def write_wide(results: Path) -> None:
    """Twelve items of NLI with 0 and 2 shots, two adapters each, and two translations.

    The base answers every item of NLI with "yes", which is right for every third. Adapter a is
    always right with 0 shots, and as the base with 2; adapter b always answers "maybe".
    """
    for shots in (0, 2):
        answers = {
            None: lambda _: 0,
            "lora-a": (lambda gold: gold) if shots == 0 else (lambda _: 0),
            "lora-b": lambda _: 1,
        }
        for adapter, answer in answers.items():
            samples = [
                nli_sample(
                    number,
                    number % 3,
                    answer(number % 3),
                    f"A man sleeps on item {number}.",
                    "A man is asleep.",
                    margin=0.5 + 0.25 * number,
                )
                for number in range(12)
            ]
            metrics = [name for name, value in samples[0].scores.items() if value is not None]
            record = make_record(adapter, metrics, num_fewshot=shots)
            record = record.model_copy(update={"eval_id": f"nli-{shots}-shot"})
            write_evaluation(results / record.subject / record.eval_id, record, samples)
    for place, adapter in enumerate((None, "lora-a", "lora-b"), 2):
        samples = [
            make_sample(
                number,
                case[1],
                case[place],
                {"exact_match": float(case[place] == case[1])},
                prompt=case[0],
                item_key=f"zh{number}-1",
            )
            for number, case in enumerate(CHINESE)
        ]
        record = make_record(adapter, ["exact_match"], task="zh_custom")
        write_evaluation(results / record.subject / record.eval_id, record, samples)


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
