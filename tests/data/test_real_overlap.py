"""Duplicates in real data sets; skipped where FT_HARNESS_SHARED is not set."""

from __future__ import annotations

import csv
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ft_harness.data.duplicates import Index, SplitOverlap, compare
from ft_harness.data.fingerprints import Item, Prints, find_shingler, plain

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

Pair = tuple[str, str, str]  # premise, hypothesis, label


def read(splits: Mapping[str, Sequence[Item]]) -> dict[str, Prints]:
    shingler = find_shingler(splits.values())
    return {split: shingler.read(items) for split, items in splits.items()}


def overlap_of(train: Sequence[Item], test: Sequence[Item]) -> SplitOverlap:
    prints = read({"train": train, "test": test})
    return compare("test", prints["test"], "train", Index(prints["train"]))


def imdb_items(shared: Path, split: str) -> list[Item]:
    with gzip.open(shared / f"data/imdb/imdb_{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    prompt = "Review: {}\nSentiment:"
    return [
        Item(row["id"], prompt.format(row["text"].replace("<br />", " ")), str(row["label"]), row)
        for row in rows
    ]


def test_the_123_reviews_of_imdb_that_stand_in_train_and_test(shared: Path):
    """123 is the data set's known number (data/imdb/SOURCE.txt); raw texts and normalised ones give
    the same.

    25,000 against 25,000 reviews of 1,300 characters: half a minute of one core.
    """
    splits = {split: imdb_items(shared, split) for split in ("train", "test")}
    started = time.process_time()
    prints = read(splits)
    overlap = compare("test", prints["test"], "train", Index(prints["train"]))
    assert time.process_time() - started < 60
    assert (overlap.n, overlap.n_exact, overlap.n_same_answer) == (25_000, 123, 123)
    assert len(overlap.items) == overlap.n_affected
    assert overlap.n_near <= 5  # another spelling or a cut end
    repeats = [Counter(plain(item.prompt) for item in items) for items in splits.values()]
    assert [prints[split].n_repeated for split in splits] == [
        sum(count - 1 for count in counter.values()) for counter in repeats
    ]


def snli_pairs(shared: Path, split: str) -> list[Pair]:
    with (shared / f"data/snli/snli_{split}.csv").open(encoding="utf-8", newline="") as lines:
        return [
            (row["sentence1"], row["sentence2"], row["gold_label"]) for row in csv.DictReader(lines)
        ]


def snli_items(pairs: Sequence[Pair]) -> list[Item]:
    return [
        Item(
            f"{number} {premise} {hypothesis}",
            f"{premise.strip()}\nQuestion: {hypothesis.strip()} Yes, maybe or no?\nAnswer:",
            label,
            {"premise": premise, "hypothesis": hypothesis},
            3,
        )
        for number, (premise, hypothesis, label) in enumerate(pairs)
    ]


def test_a_premise_of_snli_is_no_duplicate_a_pair_is(shared: Path):
    """Every premise has about three hypotheses: cut in two halves, nearly all premises stand in
    both."""
    pairs = snli_pairs(shared, "dev")
    train, test = pairs[::2], pairs[1::2]
    known = {(plain(premise), plain(hypothesis)) for premise, hypothesis, _ in train}
    expected = sum((plain(premise), plain(hypothesis)) in known for premise, hypothesis, _ in test)
    premises = {plain(premise) for premise, _, _ in train}
    assert sum(plain(premise) in premises for premise, _, _ in test) > 4500
    overlap = overlap_of(snli_items(train), snli_items(test))
    assert overlap.n_exact == expected < 10
    assert overlap.n_near < 0.03 * overlap.n  # a word or two of the hypothesis differ
    copied = overlap_of(
        snli_items([*train, *((p.upper(), f" {h} ", label) for p, h, label in test[:10])]),
        snli_items(test),
    )
    assert (
        overlap.n_exact + 8 <= copied.n_exact <= overlap.n_exact + 10
    )  # those among the ten that stood there before


def test_dev_and_test_of_snli_share_no_pair_but_some_premises(shared: Path):
    dev, test = snli_pairs(shared, "dev"), snli_pairs(shared, "test")
    known = {(plain(premise), plain(hypothesis)) for premise, hypothesis, _ in dev}
    expected = sum((plain(premise), plain(hypothesis)) in known for premise, hypothesis, _ in test)
    assert overlap_of(snli_items(dev), snli_items(test)).n_exact == expected


def test_edited_chinese_rows_are_near(shared: Path):
    """40 rows of at least 40 characters with one character changed or the end cut, among 5,000
    others."""
    rows = json.loads((shared / "data/adl2023_hw3/train.json").read_text(encoding="utf-8"))
    items = [Item(row["id"], row["instruction"], row["output"], row) for row in rows]
    shingler = find_shingler([items])
    assert shingler.size == 3
    rng = random.Random(0)
    train, others = items[:5000], items[5000:]
    prints = shingler.read(others)
    index = Index(prints)
    long = [item.prompt for item in others if len(item.prompt) >= 40]
    edited = [text[:20] + rng.choice("天地玄黃") + text[21:] for text in long[:20]] + [
        text[:-2] for text in long[20:40]
    ]
    found = list(index.find_near(shingler.read(Item(text, text, "", {}) for text in edited)))
    assert sum(found) >= 38
    plain_others = {plain(item.prompt) for item in others}
    assert compare("train", shingler.read(train), "others", index).n_exact == sum(
        plain(item.prompt) in plain_others for item in train
    )


@pytest.mark.parametrize("count", [10])
def test_ten_of_a_hundred_reviews_copied(shared: Path, count: int):
    items = imdb_items(shared, "test")[:400]
    test, train = items[:100], items[100:]
    copies = [
        Item("copy", item.prompt.upper().replace(" ", "  "), item.answer, {})
        for item in test[:count]
    ]
    overlap = overlap_of([*train, *copies], test)
    assert (overlap.n_exact, overlap.n_near) == (count, 0)
