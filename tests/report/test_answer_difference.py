"""What distinguishes two answers is marked: by words, and by characters in scripts without
blanks."""

from __future__ import annotations

import pytest

from ft_harness.report.answer_difference import find_difference


def parts(text: str, ranges: list[tuple[int, int]]) -> list[str]:
    return [text[start:end] for start, end in ranges]


@pytest.mark.parametrize(
    ("base", "tuned", "lost", "gained"),
    [
        ("the red car stopped", "the blue car has stopped", ["red"], ["blue", "has"]),
        ("the red old car", "the car", ["red old"], []),  # neighbours are one part
        ("in 1998", "in  1998 ", [], []),  # blanks are no words
        ("Paris.", "Paris", [], []),  # no word in common: all differs, nothing is marked
        ("yes", "no", [], []),
        ("", "no", [], []),
        ("same words", "same words", [], []),
        ("Paris, France", "paris, France", ["Paris,"], ["paris,"]),  # case counts
        ("我去學校", "我不去學校", [], ["不"]),
        ("朕欲行", "我想行", ["朕欲"], ["我想"]),
        ("BERT 模型好", "GPT 模型好", ["BERT"], ["GPT"]),
        ("ไปบ้าน", "มาบ้าน", ["ไป"], ["มา"]),
        ("a \U0001f600 b", "a \U0001f601 b", ["\U0001f600"], ["\U0001f601"]),
    ],
)
def test_words_or_characters_that_the_other_answer_lacks(base, tuned, lost, gained):
    before, after = find_difference(base, tuned)
    assert (parts(base, before), parts(tuned, after)) == (lost, gained)
