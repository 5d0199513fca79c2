"""METEOR without any nltk data: hand-derived values, and nltk's function with a hand-made
WordNet."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nltk
import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate import meteor_score as nltk_meteor

from ft_harness.metrics import describe, find_metric, wordnet
from ft_harness.metrics import meteor as meteor_module
from ft_harness.metrics.meteor import meteor_score, meteor_words, why_no_meteor
from ft_harness.metrics.wordnet import INDEX_FILE, SynonymIndex, synonym_index


def synonyms(word: str, index: SynonymIndex | None = None) -> set[str]:
    """The single words that share a synset with a word."""
    synsets = (index or synonym_index()).synsets(word)
    return {
        lemma.name() for synset in synsets for lemma in synset.lemmas() if "_" not in lemma.name()
    }


# --- values by hand
# ---------------------------------------------------------------------------------------------------


def test_one_word_too_many() -> None:
    # 6 of 7 and of 6 words: P 6/7, R 1, F = P R / (0.9 P + 0.1 R) = 60/61 = .98361; 2 chunks of 6
    # matches
    expected = 60 / 61 * (1 - 0.5 * (2 / 6) ** 3)
    assert expected == pytest.approx(0.965392, abs=1e-6)
    assert meteor_score("the cat was sat on the mat", ["the cat sat on the mat"]) == pytest.approx(
        expected
    )


def test_identical_texts_score_just_below_1() -> None:
    assert meteor_score("hello there", ["hello there"]) == 0.9375  # 1 - 0.5 / 2^3
    assert meteor_score("the cat sat on the mat", ["the cat sat on the mat"]) == pytest.approx(
        1 - 0.5 / 6**3
    )  # 0.997685
    assert meteor_score("Paris", ["paris"]) == 0.5  # case doesn't count


def test_a_synonym_counts_as_a_match() -> None:
    # (car, auto, automobile, machine, motorcar) is a synset: 3 matches of 3 words in 1 chunk
    assert meteor_score("a red auto", ["a red car"]) == pytest.approx(1 - 0.5 / 3**3)
    # no synonym: 2 of 3 words in 1 chunk
    assert meteor_score("a red house", ["a red car"]) == pytest.approx(2 / 3 * (1 - 0.5 / 2**3))


def test_synonyms_are_sought_for_the_stems_as_nltk_does() -> None:
    # nltk hands the stems on: "automobil" is not in WordNet, so this is no match, and 2 of 3 words
    # remain
    assert meteor_score("a red automobile", ["a red car"]) == pytest.approx(
        2 / 3 * (1 - 0.5 / 2**3)
    )


def test_an_irregular_form_matches_a_synonym_of_its_base() -> None:
    # children -> child, of which kid is a synonym; "children" and "kid" have no stem in common
    assert meteor_score("the children", ["the kid"]) == 0.9375


def test_stems_match() -> None:
    assert meteor_score("he walks", ["he walked"]) == 0.9375


def test_greedy_alignment_is_nltks_own() -> None:
    # a b against a b ... a b: from the end, so b and a of the last pair: 1 chunk; P 1, R 2/4, F =
    # .5 / (.9 + .05)
    assert meteor_score("a b", ["a b a b"]) == pytest.approx(0.5 / 0.95 * 0.9375)


def test_an_empty_text_scores_0_and_stays_in_the_mean() -> None:
    items = [meteor_score("", ["hello there"]), meteor_score("hello there", ["hello there"])]
    assert items[0] == 0.0
    assert find_metric("meteor").value(items) == 0.9375 / 2


def test_the_best_reference_counts() -> None:
    assert meteor_score("hello there", ["nothing alike", "hello there", "hello"]) == 0.9375


# --- what can't be scored
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["北京", "Это текст", "สวัสดี", "...", "", "1789", "αβγ", "✝"])
def test_no_number_for_references_without_a_latin_word(
    reference: str, caplog: pytest.LogCaptureFixture
) -> None:
    meteor_module._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert meteor_score(reference, [reference]) is None
        assert meteor_score("abc", [reference]) is None
    assert [record.message for record in caplog.records] == [
        why_no_meteor([reference])
    ]  # said once
    assert "Latin letters" in why_no_meteor([reference])


def test_items_without_a_number_are_left_out_of_the_mean_and_none_is_undefined() -> None:
    assert find_metric("meteor").value([None, 0.9375]) == 0.9375
    assert find_metric("meteor").value([None, None]) is None


@pytest.mark.parametrize("references", [["été"], ["北京", "Beijing"], ["3 x"]])
def test_a_latin_letter_is_enough(references: list[str]) -> None:
    assert why_no_meteor(references) is None
    assert meteor_score(references[-1], references) > 0


# --- nltk's function with a hand-made WordNet
# -------------------------------------------------------------------------

# What WordNet 3.0 says of these words among themselves; inflected and irregular forms find their
# base forms.
ENTRIES = {
    "car": "auto automobile", "auto": "car automobile", "automobile": "car auto", "big": "large", "large": "big",
    "begin": "start commence", "start": "begin commence go", "commence": "begin start", "child": "kid", "kid": "child",
    "quick": "fast", "fast": "quick", "went": "go run start travel", "go": "run start travel", "travel": "go",
    "dog": "hound", "dogs": "dog hound", "hound": "dog", "running": "go run", "run": "go running", "better": "good",
    "cats": "cat",
}  # fmt: skip
OTHERS = ["the", "The", "a", "cat", "good", "1", ".", ",", "didn't"]


class HandMadeWordNet:
    """Answers as nltk's reader would for these words."""

    def synsets(self, word: str) -> list[SimpleNamespace]:
        lemmas = [
            SimpleNamespace(name=lambda name=name: name)
            for name in [word, *ENTRIES.get(word, "").split()]
        ]
        return [SimpleNamespace(lemmas=lambda: lemmas)] if word in ENTRIES else []


def test_synonyms_of_the_small_vocabulary() -> None:
    vocabulary = {*ENTRIES, *OTHERS}
    for word in vocabulary:
        assert synonyms(word) & vocabulary - {word} == set(ENTRIES.get(word, "").split()), word


@pytest.mark.slow  # 10,000 pairs
def test_10000_random_pairs_score_as_nltk_with_the_hand_made_wordnet() -> None:
    generator = random.Random(16)
    vocabulary = [*ENTRIES, *OTHERS]
    by_hand, no_synonyms = HandMadeWordNet(), SimpleNamespace(synsets=lambda word: [])
    stemmer = SimpleNamespace(stem=cache(PorterStemmer().stem))
    tokenize = nltk.tokenize.NLTKWordTokenizer().tokenize
    by_synonym = 0
    for _ in range(10_000):
        texts = [
            " ".join(["a", *generator.choices(vocabulary, k=generator.randrange(9))])
            for _ in range(2)
        ]
        text, reference = map(tokenize, texts)
        expected = nltk_meteor.meteor_score([reference], text, stemmer=stemmer, wordnet=by_hand)
        assert meteor_score(texts[0], texts[1:]) == pytest.approx(expected, abs=1e-9), texts
        by_synonym += expected != nltk_meteor.meteor_score(
            [reference], text, stemmer=stemmer, wordnet=no_synonyms
        )
    assert by_synonym > 2000


def test_a_single_sentence_is_tokenized_as_nltk_does_and_further_ones_are_parted() -> None:
    assert meteor_words("She didn't buy 3,5 kg (U.S. weight)!") == nltk.word_tokenize(
        "She didn't buy 3,5 kg (U.S. weight)!", preserve_line=True
    )
    assert meteor_words("The cat sat. It slept.") == ["The", "cat", "sat", ".", "It", "slept", "."]
    assert meteor_words("Mr. Smith sat.\nHe slept") == ["Mr.", "Smith", "sat", ".", "He", "slept"]


# --- the index
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected", "missing"),
    [
        ("dogs", {"dog", "hound", "cad"}, "dogs"),  # suffix rule
        ("Dogs", {"dog", "hound", "cad"}, "Dogs"),  # any case
        ("went", {"go", "travel"}, "went"),  # exception list
        ("mice", {"mouse"}, "mice"),
        ("better", {"improve", "good", "ameliorate"}, "bettered"),
        ("ice_cream", {"icecream"}, "ice"),
        ("paris", {"Paris"}, "paris"),  # WordNet's capitals stay, as in nltk
        ("xyzzy", set(), "xyzzy"),
        ("", set(), ""),
    ],
)
def test_synonyms(word: str, expected: set[str], missing: str) -> None:
    found = synonyms(word)
    assert expected <= found
    assert missing not in found


def test_an_index_of_our_own_is_read_as_wordnet_defines_it() -> None:
    nouns, verbs, adjectives = "axe ax\naxis\nbase\nox\nshelf", "axe chop", "big large"
    sections = [
        nouns,
        "axes axis\noxen ox",
        verbs,
        "none none",
        adjectives,
        "none none",
        "well",
        "better well",
    ]
    index = SynonymIndex("\n\n".join(sections) + "\n")
    assert synonyms("axes", index) == {
        "axis",
        "axe",
        "chop",
    }  # noun: exceptions only, so no "ax"; verb: -s
    assert synonyms("shelves", index) == {"shelf"}  # -ves -> -f
    assert synonyms("bases", index) == {"base"}
    assert synonyms("oxen", index) == {"ox"}
    assert synonyms("bigest", index) == {"big", "large"}
    assert synonyms("better", index) == {"well"}
    assert synonyms("wells", index) == set()  # an adverb has no endings


def test_the_index_is_small_carries_its_licence_and_says_what_it_is_made_of() -> None:
    folder = INDEX_FILE.parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    licence = (folder / "LICENSE").read_text("utf-8")
    assert licence.startswith("This software and database is being provided to you")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in licence
    sums = dict(
        line.split("  ")[::-1] for line in (folder / "sources.sha256").read_text().splitlines()
    )
    assert len(sums) == 13
    assert sums["synonyms.txt"] == synonym_index().checksum
    assert f"synonyms:{sums['synonyms.txt'][:8]}" in describe("meteor", None)


def test_the_index_is_read_once_however_many_threads_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    unpack = wordnet.lzma.decompress

    def slow(data: bytes) -> bytes:
        reads.append(data)
        time.sleep(0.05)
        return unpack(data)

    monkeypatch.setattr(wordnet.lzma, "decompress", slow)
    wordnet._load.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: synonym_index(), range(8)))
    assert len(reads) == 1
    assert all(index is found[0] for index in found)


@pytest.mark.slow  # processes that import everything
def test_nothing_is_asked_of_nltks_data_or_of_the_network(tmp_path: Path) -> None:
    """In a process of its own, where every socket and every search for nltk data is an error."""
    script = (
        "import socket, nltk\n"
        "def refuse(*args, **kwargs): raise SystemExit('asked')\n"
        "socket.socket.connect = nltk.data.find = nltk.data.load = nltk.download = refuse\n"
        "from ft_harness.metrics import find_metric, score_text\n"
        "scores = score_text({'answer': 'a red car'}, ['a crimson automobile.'])\n"
        "assert scores['meteor'] > 0.3, scores\n"
        "assert all(find_metric(name).value([scores[name]]) is not None for name in scores if name != 'truncated')\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)
