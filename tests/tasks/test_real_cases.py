"""Slices and nearest examples on real SNLI and SQuAD; skipped where FT_HARNESS_SHARED is not
set."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ft_harness.comparison.cases import case_texts, find_nearest
from ft_harness.comparison.cases.traits import content_words, find_question_type, overlap_share
from ft_harness.records import Sample
from tests.builders.cases import NLI, nli_sample, summarize, write_pair

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data


def read_snli(shared: Path, split: str) -> list[dict[str, str]]:
    with (shared / f"data/snli/snli_{split}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["gold_label"] in NLI]


def answer_all(rows: list[dict[str, str]], answer: int) -> list[Sample]:
    return [
        nli_sample(number, NLI.index(row["gold_label"]), answer, row["sentence1"], row["sentence2"])
        for number, row in enumerate(rows)
    ]


def test_a_model_that_always_contradicts_gains_where_there_is_a_negation(
    shared: Path, tmp_path: Path
) -> None:
    """Gururangan et al. (2018), Annotation Artifacts: negation words in SNLI's hypotheses go with
    contradiction, and entailed hypotheses share more words with their premises."""
    rows = read_snli(shared, "test")[:3000]
    base, tuned = write_pair(tmp_path, answer_all(rows, 0), answer_all(rows, 2), cluster="premise")
    summary = summarize(base, tuned)
    slices = {(each.kind, each.value): each for each in summary.slices or []}
    negation = slices["negation", "yes"]
    assert negation.n >= 20
    assert negation.delta is not None
    assert negation.delta > 0.2  # contradictions minus entailments
    assert (negation.verdict, slices["gold answer", "no"].delta) == ("gained", 1.0)
    overlap = [each for each in summary.slices or [] if each.kind == "word overlap"]
    assert [each.base for each in overlap] == sorted(each.base or 0.0 for each in overlap)
    assert {each.n for each in slices.values() if each.kind == "gold answer"} == set(
        Counter(row["gold_label"] for row in rows).values()
    )


def test_nearest_examples_equal_those_of_a_search_over_all_pairs(
    shared: Path, tmp_path: Path
) -> None:
    """The other program: scikit-learn's pairwise Jaccard distance over all pairs, on its own sets
    of words."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.metrics import pairwise_distances

    rows = read_snli(shared, "dev")
    items, training = rows[:40], rows[1000:3000]
    base, tuned = write_pair(tmp_path, answer_all(items, 0), answer_all(items, 2))
    texts = case_texts(summarize(base, tuned))
    docs: list[dict[str, Any]] = [
        {"premise": row["sentence1"], "hypothesis": row["sentence2"], "label": row["gold_label"]}
        for row in training
    ]
    found = find_nearest(texts, docs, lambda doc: doc["label"])
    vectorizer = CountVectorizer(analyzer=content_words, binary=True)
    joined = [f"{doc['premise']}\n{doc['hypothesis']}" for doc in docs]
    matrix = vectorizer.fit_transform(
        [*joined, *("\n".join(text.values()) for text in texts.values())]
    ).toarray()
    distances = pairwise_distances(
        matrix[len(docs) :].astype(bool), matrix[: len(docs)].astype(bool), metric="jaccard"
    )
    assert len(texts) >= 10
    for key, row in zip(texts, distances, strict=True):
        nearest = found.items[key]
        assert nearest is not None
        assert nearest.similarity == pytest.approx(1 - row.min(), abs=1e-12)
        assert nearest.text == joined[int(row.argmin())]


def test_question_types_of_squad(shared: Path) -> None:
    """Rajpurkar et al. (2016) and many after: most questions ask what, then who, how many, when,
    where; few why."""
    articles = json.loads((shared / "data/squad/dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    asked = [
        (paragraph["context"], question["question"])
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    counts = Counter(
        find_question_type(question.casefold(), is_question=True) for _, question in asked
    )
    assert sum(counts.values()) == 10_570
    assert counts.most_common(1)[0][0] == "what"
    assert counts["what"] > 4000
    assert 600 < counts["how many or much"] < 1000
    assert 80 < counts["why"] < 250
    assert counts["other"] < 300
    shares = [overlap_share(context, question) for context, question in asked[:500]]
    assert (
        0.5 < sum(share or 0.0 for share in shares) / len(shares) < 0.9
    )  # questions are asked of the passage
