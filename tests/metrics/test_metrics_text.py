"""BLEU, chrF and ROUGE: hand-derived values, then sacrebleu and rouge-score on random text."""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from ft_harness.errors import InputError
from ft_harness.metrics import describe, find_metric, overlap, score_text
from ft_harness.metrics.overlap import bleu_statistics, bleu_tokenizer, chrf_statistics
from ft_harness.metrics.rouge import NAMES as ROUGES
from ft_harness.metrics.rouge import rouge_scores, words

Corpus = list[tuple[str, list[str]]]  # (prediction, references) of each item


def bleu(*items: tuple[str, str | list[str]], language: str | None = "en") -> float | None:
    rows = [
        bleu_statistics(text, [refs] if isinstance(refs, str) else refs, language)
        for text, refs in items
    ]
    return find_metric("bleu").value(rows)


def chrf(*items: tuple[str, str | list[str]]) -> float | None:
    rows = [
        chrf_statistics(text, [refs] if isinstance(refs, str) else refs) for text, refs in items
    ]
    return find_metric("chrf").value(rows)


# --- BLEU by hand
# -----------------------------------------------------------------------------------------------------


def test_bleu_is_of_the_corpus_and_no_mean_of_sentences() -> None:
    # 6 + 10 words, 5 + 9 pairs, 4 + 8 triples, 3 + 7 fours; all of the first sentence match, none
    # of the second
    expected = 100 * (6 / 16 * 5 / 14 * 4 / 12 * 3 / 10) ** 0.25
    assert expected == pytest.approx(34.0187, abs=1e-4)
    same = ("the cat sat on the mat", "the cat sat on the mat")
    assert bleu(same, ("a b c d e f g h i j", "k l m n o p q r s t")) == pytest.approx(expected)


def test_bleu_of_a_text_too_short() -> None:
    # every n-gram matches; 4 words for 6: e^(1 - 6/4)
    expected = 100 * math.exp(-0.5)
    assert expected == pytest.approx(60.6531, abs=1e-4)
    assert bleu(("the cat sat on", "the cat sat on the mat")) == pytest.approx(expected)


def test_bleu_with_unequal_numbers_of_references_uses_them_all() -> None:
    # lm-eval 0.4.13 pairs the lists with zip and drops the second reference: 83.76
    many = ("a cat sat on the mat", ["the cat sat on the mat", "a cat sat on the mat"])
    assert bleu(many, ("hello there my friend", ["hello there my friend"])) == pytest.approx(100.0)


def test_bleu_takes_the_reference_length_next_to_the_text_and_the_shorter_of_two() -> None:
    # 4 words; references of 3 and 5 are equally near, the shorter counts: no penalty. Words a b c d
    # all occur in one or the other; pairs ab bc match, cd only in the second: 3/3; triples 2/2,
    # four 1/1
    assert bleu(("a b c d", ["a b c", "a b c d e"])) == pytest.approx(100.0)
    assert bleu_statistics("a b c d", ["a b c", "a b c d e"]) == [4, 3, 4, 3, 2, 1, 4, 3, 2, 1]


def test_bleu_keeps_case() -> None:
    # The cat sat . : 3 of 4 words, 2 of 3 pairs, 1 of 2 triples; no four of 1, smoothed to 1/2
    expected = 100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25
    assert expected == pytest.approx(59.4604, abs=1e-4)
    assert bleu(("The cat sat.", "the cat sat.")) == pytest.approx(expected)
    assert bleu(("the cat sat.", "the cat sat.")) == pytest.approx(100.0)


def test_bleu_counts_as_many_sentences_as_it_is_given() -> None:
    # sacrebleu scores one sentence of two, and gives 100, if [[reference of 1], [reference of 2]]
    # is handed over as streams the wrong way round; here each item carries its own references
    transposed = BLEU().corpus_score(["a b c d", "e f g h"], [["a b c d"], ["a b c d"]]).score
    assert transposed == pytest.approx(100.0)
    assert bleu(("a b c d", ["a b c d"]), ("e f g h", ["v w x y"])) == pytest.approx(
        100 * (4 / 8 * 3 / 6 * 2 / 4 * 1 / 2) ** 0.25
    )


def test_bleu_compares_words_and_not_characters() -> None:
    # over lists of characters "abcdefgh" against "abcdefxy" would be far above 0; as one word
    # against another it is 0
    assert bleu(("abcdefgh", "abcdefxy")) == 0.0


def test_bleu_of_nothing_or_of_nothing_in_common_is_0() -> None:
    assert bleu(("", "a b c d")) == 0.0
    assert bleu(("w x y z", "a b c d")) == 0.0
    assert (
        bleu(("a b c", "a b c")) == 0.0
    )  # no 4-gram in the whole corpus: sacrebleu's value without effective order


@pytest.mark.parametrize("metric", [bleu, chrf], ids=["bleu", "chrf"])
def test_empty_texts_stay_in_the_corpus(metric: Callable[..., float]) -> None:
    full = ("the cat sat on the mat", "the cat sat on the mat")
    with_empty = metric(full, ("", "a dog ran far away from home"))
    judge = BLEU() if metric is bleu else CHRF()
    expected = judge.corpus_score([full[0], ""], [[full[1], "a dog ran far away from home"]]).score
    assert with_empty == pytest.approx(expected)
    assert with_empty < 0.7 * metric(full)


def test_chrf_by_hand() -> None:
    # "abc" against "abd": 1-grams 2 of 3 and 3, 2-grams 1 of 2 and 2, 3-grams 0 of 1 and 1; longer
    # ones on no side: precision = recall = (2/3 + 1/2 + 0) / 3 = 7/18, and so is F
    assert chrf(("abc", "abd")) == pytest.approx(100 * 7 / 18)
    # "a" against "ab": precision 1 (1-grams only: no 2-gram in the text), recall 1/2: F2 = 5 * 0.5
    # / (4 + 0.5)
    assert chrf(("a", "ab")) == pytest.approx(100 * 5 * 0.5 / 4.5)
    assert chrf(("a b", "ab")) == pytest.approx(100.0)  # blanks don't count
    assert chrf(("", "ab")) == 0.0


# --- BLEU and chrF by sacrebleu
# ---------------------------------------------------------------------------------------


def random_corpora(count: int, seed: int, alphabet: list[str]) -> list[Corpus]:
    """Corpora of 1-3 items with 1-3 references each; some texts are empty, many share words."""
    generator = random.Random(seed)

    def sentence() -> str:
        return " ".join(generator.choices(alphabet, k=generator.randrange(9)))

    def item() -> tuple[str, list[str]]:
        references = [sentence() for _ in range(generator.randint(1, 3))]
        return (
            generator.choice(references) if generator.random() < 0.2 else sentence()
        ), references

    return [[item() for _ in range(generator.randint(1, 3))] for _ in range(count)]


def streams(corpus: Corpus) -> list[list[str | None]]:
    """References as sacrebleu takes them: the first of every item, the second, ...; None where
    there is none."""
    width = max(len(references) for _, references in corpus)
    return [
        [refs[place] if place < len(refs) else None for _, refs in corpus] for place in range(width)
    ]


ENGLISH = ["the", "The", "cat", "sat", "on", "mat.", "a", "isn't", "U.S.", "1,000", '"x"', "ü"]


@pytest.mark.slow  # 10,000 corpora
def test_bleu_is_sacrebleus_on_10000_random_corpora() -> None:
    judge = BLEU()
    scores: list[float] = []
    for corpus in random_corpora(10_000, 11, ENGLISH):
        scores.append(judge.corpus_score([text for text, _ in corpus], streams(corpus)).score)
        assert bleu(*corpus) == pytest.approx(scores[-1], abs=1e-9)
    assert sum(0 < score < 99 for score in scores) > 3000


@pytest.mark.slow  # 10,000 corpora
def test_chrf_is_sacrebleus_on_10000_random_corpora() -> None:
    judge = CHRF()
    scores: list[float] = []
    for corpus in random_corpora(10_000, 12, ["ab", "abc", "b", "ca", "cc."]):
        scores.append(judge.corpus_score([text for text, _ in corpus], streams(corpus)).score)
        assert chrf(*corpus) == pytest.approx(scores[-1], abs=1e-9)
    assert sum(0 < score < 99 for score in scores) > 5000


@pytest.mark.parametrize("language", ["zh", "ja", "th", "de", None])
def test_bleu_is_sacrebleus_with_the_tokenizer_of_the_language(language: str | None) -> None:
    judge = BLEU(tokenize={"zh": "zh", "ja": "char", "th": "char"}.get(language, "13a"))
    for corpus in random_corpora(
        100, 13, ["测试", "这是", "一个", "句子。", "abc", "ทดสอบ", "です"]
    ):
        expected = judge.corpus_score([text for text, _ in corpus], streams(corpus)).score
        assert bleu(*corpus, language=language) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "judge"), [("bleu", BLEU()), ("chrf", CHRF())])
def test_resampled_sums_give_the_score_of_the_resampled_corpus(
    name: str, judge: BLEU | CHRF
) -> None:
    corpus = [item for some in random_corpora(8, 14, ENGLISH) for item in some]
    of_item = bleu_statistics if name == "bleu" else chrf_statistics
    rows = np.array([of_item(text, references) for text, references in corpus])
    weights = np.random.default_rng(3).multinomial(
        len(corpus), np.full(len(corpus), 1 / len(corpus)), size=(4, 5)
    )
    values = find_metric(name).aggregate(weights @ rows, len(corpus))
    assert values.shape == (4, 5)
    for drawn, value in zip(weights.reshape(20, -1), values.flat, strict=True):
        repeated = [item for item, times in zip(corpus, drawn, strict=True) for _ in range(times)]
        assert value == pytest.approx(
            judge.corpus_score([text for text, _ in repeated], streams(repeated)).score
        )


def test_signatures_are_sacrebleus_own() -> None:
    judge = BLEU()
    judge.corpus_score(["a"], [["a"]])
    assert describe("bleu", None) == describe("bleu", "en") == str(judge.get_signature())
    assert str(judge.get_signature()).startswith(
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:"
    )
    assert "|tok:zh|" in describe("bleu", "zh-TW")
    assert overlap.describe("bleu", "en", 3).startswith("nrefs:3|")
    assert overlap.describe("bleu", "en", None).startswith("nrefs:var|")
    assert describe("chrf", None).startswith(
        "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:"
    )


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("zh", "zh"),
        ("zh_Hant", "zh"),
        ("lzh", "zh"),
        ("JA", "char"),
        ("ko", "char"),
        ("en", "13a"),
        ("", "13a"),
    ],
)
def test_tokenizer_of_a_language(language: str, tokenizer: str) -> None:
    assert bleu_tokenizer(language) == tokenizer


def test_chinese_without_a_language_is_said_to_be_one_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    overlap._warn_no_language.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert bleu(("这是一个测试", "这是一个句子"), ("这是", "这是"), language=None) == 0.0
        assert caplog.text.count("set data.language") == 1
        assert bleu(("这是一个测试", "这是一个句子"), language="zh") > 50
        assert bleu(("a b", "a b"), language=None) == 0.0
    assert len(caplog.records) == 1


# --- ROUGE
# ------------------------------------------------------------------------------------------------------------


def test_rouge_by_hand() -> None:
    # 2 of 2 and of 3 words: F 2 * 2 / 5; 1 of 1 and of 2 pairs: 2 / 3
    scores = rouge_scores("the cat", ["the cat sat"])
    assert scores == pytest.approx(
        {"rouge1": 0.8, "rouge2": 2 / 3, "rougeL": 0.8, "rougeLsum": 0.8}
    )


def test_rougelsum_knows_lines_and_rougel_does_not() -> None:
    one, other = "a b c d e f", "u v w x y z"
    scores = rouge_scores(f"{one}\n{other}", [f"{other}\n{one}"])
    # 10 of the 11 pairs; the longest common subsequence is one sentence of two
    expected = {"rouge1": 1.0, "rouge2": 10 / 11, "rougeL": 0.5, "rougeLsum": 1.0}
    assert scores == pytest.approx(expected)
    assert rouge_scores(f"{one} {other}", [f"{other} {one}"]) == pytest.approx(
        expected | {"rougeLsum": 0.5}
    )


SCRIPTS = {
    "Cyrillic": "Съешь же ещё этих мягких французских булок",
    "Chinese": "这是一个简单的测试句子。",
    "Thai": "ฉันรักภาษาไทยมาก",
    "Arabic": "هذه جملة بسيطة للاختبار",
    "Hindi": "यह एक सरल परीक्षण वाक्य है",
    "Japanese": "人々はカメラで写真を撮る",
    "Korean": "이것은 간단한 시험 문장입니다",
    "Burmese": "မြန်မာဘာသာ",
    "Greek": "Αυτή είναι μια απλή πρόταση",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_identical_text_of_any_script_scores_1_and_other_text_less(text: str) -> None:
    assert rouge_scores(text, [text]) == dict.fromkeys(ROUGES, 1.0)
    half = text[: len(text) // 2]
    assert 0.0 < rouge_scores(half, [text])["rouge1"] < 1.0


def test_words_of_any_script() -> None:
    assert words("Ещё_раз: naïve CAFÉ, 3½") == ["ещё", "раз", "naïve", "café", "3½"]
    assert words("e\u0301te\u0301") == words("été") == ["été"]  # composed or not
    assert words("यह है।") == ["यह", "है"]  # vowel signs stay with their letter
    assert words("人々go去・ラ") == ["人", "々", "go", "去", "ラ"]
    assert words("กำลังดี") == ["ก", "ำ", "ลั", "ง", "ดี"]
    assert words("\u0301 ...") == []


def test_an_empty_text_scores_0_and_stays_in_the_mean() -> None:
    items = [rouge_scores("", ["the cat"]), rouge_scores("the cat", ["the cat"])]
    assert find_metric("rouge1").value([item["rouge1"] for item in items]) == 0.5
    assert rouge_scores("", [""]) == dict.fromkeys(
        ROUGES, 0.0
    )  # rouge-score's value: nothing to find
    assert rouge_scores("hello", ["hello"]) == dict.fromkeys(ROUGES, 1.0) | {
        "rouge2": 0.0
    }  # one word has no pair


def test_rouge_takes_the_best_reference_for_each_name() -> None:
    # first: 3 of 3 and of 4 words, F 6/7, no pair; second: 2 of 3 and of 2 words, F 4/5, 1 of 2 and
    # of 1 pairs, F 2/3
    scores = rouge_scores("c d b", ["b c x d", "c d"])
    assert scores["rouge1"] == pytest.approx(6 / 7)
    assert scores["rouge2"] == pytest.approx(2 / 3)


@pytest.mark.slow  # 10,000 texts
def test_rouge_is_rouge_scores_on_10000_random_ascii_texts() -> None:
    generator = random.Random(15)
    alphabet = ["the", "The", "cat", "sat", "mat.", "isn't", "3.5", "\n", "a-b", "_", "x\ty", "?!"]
    judge = RougeScorer(list(ROUGES))
    texts = [
        " ".join(generator.choices(alphabet, k=generator.randrange(12))) for _ in range(20_000)
    ]
    middling = 0
    for text, reference in zip(texts[::2], texts[1::2], strict=True):
        expected = {name: score.fmeasure for name, score in judge.score(reference, text).items()}
        assert rouge_scores(text, [reference]) == pytest.approx(expected, abs=1e-9)
        middling += 0 < expected["rougeLsum"] != expected["rougeL"]
    assert middling > 500


def test_what_rouge_is_told_is_said() -> None:
    for name in ROUGES:
        assert {"stem:no", "tok:unicode-words", "refs:max"} <= set(describe(name, None).split("|"))
    assert "sentences:lines" in describe("rougeLsum", None)


# --- the whole doc
# ----------------------------------------------------------------------------------------------------


def test_a_generated_text_is_scored_for_everything_and_cut_where_it_runs_on() -> None:
    doc = {"answer": ["the cat sat on the mat", "zzz"], "language": "en"}
    scores = score_text(doc, ["the cat sat on the mat\nUSER: and now?"])
    assert list(scores) == [
        "exact_match", "token_f1", "bleu", "chrf", *ROUGES, "meteor", "empty", "truncated", "run_on"
    ]  # fmt: skip
    assert scores["bleu"] == [6, 6, 6, 5, 4, 3, 6, 5, 4, 3]
    assert (scores["exact_match"], scores["rougeL"], scores["run_on"], scores["truncated"]) == (
        1.0,
        1.0,
        1.0,
        None,
    )
    assert scores["meteor"] == pytest.approx(1 - 0.5 / 6**3)
    assert json.loads(json.dumps(scores)) == scores


def test_the_language_of_the_doc_chooses_the_tokenizer() -> None:
    scores = score_text({"answer": "这是一个测试", "language": "zh"}, ["这是一个测试"])
    assert scores["bleu"][:2] == [6, 6]
    assert scores["rouge2"] == 1.0
    assert scores["meteor"] is None


def test_an_empty_text_has_a_number_for_every_metric() -> None:
    scores = score_text({"answer": "the cat sat"}, [""])
    assert {
        name: find_metric(name).value([scores[name]])
        for name in ("bleu", "chrf", *ROUGES, "meteor")
    } == (dict.fromkeys(("bleu", "chrf", *ROUGES, "meteor"), 0.0))
    assert scores["empty"] == 1.0


def test_a_doc_without_a_reference_is_refused() -> None:
    with pytest.raises(InputError):
        score_text({"answer": []}, ["a"])
