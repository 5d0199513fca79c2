"""What distinguishes two answers: words, and characters in scripts written without blanks."""

from __future__ import annotations

from difflib import SequenceMatcher

from ft_harness.metrics.characters import split_tokens

Ranges = list[tuple[int, int]]


def find_difference(base: str, tuned: str) -> tuple[Ranges, Ranges]:
    """What distinguishes two answers: the parts of each text, as (start, end), that the other one
    lacks or has differently.

    Neighbouring words are one part. Nothing is marked if nothing is shared: with `yes` and `no` a
    mark would add nothing. Differences only in spaces don't count.
    """
    before, after = _place_tokens(base), _place_tokens(tuned)
    matcher = SequenceMatcher(
        None, [base[slice(*each)] for each in before], [tuned[slice(*each)] for each in after],
        autojunk=False,  # else frequent characters of a long Chinese answer would match nothing
    )  # fmt: skip
    found: tuple[Ranges, Ranges] = [], []
    shared = False
    for tag, *places in matcher.get_opcodes():
        if tag == "equal":
            shared = True
            continue
        for ranges, tokens, (first, last) in zip(
            found, (before, after), (places[:2], places[2:]), strict=True
        ):
            if first < last:
                ranges.append((tokens[first][0], tokens[last - 1][1]))
    return found if shared else ([], [])


def _place_tokens(text: str) -> Ranges:
    """(start, end) of each word or character."""
    found: Ranges = []
    end = 0
    for token in split_tokens(text):
        start = text.index(token, end)
        end = start + len(token)
        found.append((start, end))
    return found
