"""Find the training example that is nearest to each case, and keep what was found with the tuned
evaluation for later reports."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from ft_harness.comparison.cases.summary import (
    CaseSummary,
    NearestExample,
    change_cases,
    list_cases,
)
from ft_harness.comparison.cases.traits import content_words, field_texts, join_fields
from ft_harness.errors import InputError
from ft_harness.records import Evaluation, Frozen, read_kept

NEAREST_FILE = "nearest_training.json"
Doc = dict[str, Any]
_TEXT_LIMIT = 2000  # characters of a training example that are kept


class Nearest(Frozen):
    """`nearest_training.json`: the nearest training example of each case."""

    schema_version: Literal[1] = 1
    eval_id: str | None = Field(default=None, description="of the evaluation; null: not known")
    n_training: int = Field(description="training docs that were looked at")
    items: dict[str, NearestExample | None] = Field(
        description="item key -> its nearest; null: no word in common"
    )


def find_nearest(
    texts: Mapping[str, Mapping[str, str]], training: Iterable[Doc], answer: Callable[[Doc], str]
) -> Nearest:
    """The training doc whose set of content words has the largest Jaccard index with that of each
    item's texts.

    Of equally near ones the first counts. Training docs are read one by one and not kept.

    Args:
        texts: item key -> its text fields; training docs have fields of the same names.
        answer: the right answer of a training doc.
    """
    wanted = {key: content_words(join_fields(fields)) for key, fields in texts.items()}
    names = next(iter(texts.values()), {}).keys()
    # Word -> items that have it, so that a training doc is held against the few items with which it
    # shares a word. The training split can be far larger than memory.
    having: defaultdict[str, list[str]] = defaultdict(list)
    for key, words in wanted.items():
        for word in words:
            having[word].append(key)
    best: dict[str, tuple[float, Doc]] = {}
    count = 0
    for doc in training:
        count += 1
        words = content_words(join_fields(field_texts(doc, names)))
        shared = Counter(key for word in words & having.keys() for key in having[word])
        for key, common in shared.items():
            similarity = common / (len(words) + len(wanted[key]) - common)
            # Strictly larger: of equally near docs the first stays, whatever machine runs this.
            if key not in best or similarity > best[key][0]:
                best[key] = similarity, doc
    items: dict[str, NearestExample | None] = dict.fromkeys(wanted)
    for key, (similarity, doc) in best.items():
        text = join_fields(field_texts(doc, names))[:_TEXT_LIMIT]
        items[key] = NearestExample(text=text, answer=answer(doc), similarity=similarity)
    return Nearest(n_training=count, items=items)


def case_texts(summary: CaseSummary) -> dict[str, dict[str, str]]:
    """Item key -> the text fields by which a case's nearest training example is found."""
    return {case.item_key: case.texts for _, case in list_cases(summary) if case.texts}


def add_nearest(summary: CaseSummary, nearest: Nearest) -> CaseSummary:
    """The summary with the nearest training example of each case, as far as it is known."""
    return change_cases(
        summary,
        lambda case: case.model_copy(
            update={"nearest": nearest.items.get(case.item_key, case.nearest)}
        ),
    )


def read_nearest(evaluation: Evaluation) -> Nearest | None:
    """The nearest training examples that were kept in an evaluation's folder; None where none were.

    Raises:
        InputError: it is damaged, or of another evaluation.
    """
    path, action = evaluation.folder / NEAREST_FILE, "delete it and run the same command again"
    found = read_kept(path, Nearest, "the nearest training examples", action)
    if found is not None and found.eval_id not in (None, evaluation.record.eval_id):
        raise InputError(
            f"{path}: those of another evaluation, {found.eval_id}",
            f"the nearest training examples of {evaluation.record.eval_id}",
            action,
        )
    return found
