"""The bundled demo data: reproducible, balanced, parted between splits, and neither trivial nor
hopeless.

Most checks read the committed files alone, so that a fault in the generator's word banks cannot
hide itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "src" / "ft_harness" / "bundled" / "data"
SIZES = {"train": 2000, "validation": 200, "test": 400}
LABELS = {
    "demo_sentiment": {"negative", "positive"},
    "demo_nli": {"entailment", "neutral", "contradiction"},
}
FIELDS = {
    "demo_sentiment": ["text", "label"],
    "demo_nli": ["premise", "hypothesis", "label"],
    "demo_qa": ["passage", "question", "answer"],
    "demo_zh": ["instruction", "output"],
    "demo_preference": ["prompt", "chosen", "rejected"],
}
PAIRS = list(combinations(SIZES, 2))

# All words that two splits of a task may have in common: function words, numerals, colours, common
# verbs, and for reviews the shared part of the evaluative words. No name, place or thing stands
# here.
GRAMMAR = """
a about after again all along an and are around as at be because been behind both but by can cannot could did do does
during even every exactly few first for found from has have held here how i if in is it last least long many me my near
never new next no nobody not nothing of on one order over several should so some somebody someone something still such
that the their them there they this to two under up was we were what when where which while white who whom will with
without would yet you
"""
NUMBERS_AND_COLOURS = """
three four five six seven eight nine ten eleven twelve fifteen twenty thirty
red blue green yellow black grey brown orange purple pink
"""
SHARED = {
    "demo_sentiment": """
        agree believe bought buy call forget made ordered people read say stay stayed use used watch watched wrong
        amazing annoying appalling awful bad bland boring brilliant careless clever cosy cramped delicious delightful
        dirty disappointing disliked dismal dreadful dull enjoyable enjoyed entertaining excellent fantastic flimsy
        fragile fresh friendly funny good greasy great gripping handy happy hated helpful horrible impressive liked
        lousy loved lovely mediocre moving noisy outstanding pathetic perfect poor predictable quick quiet regretted
        reliable rude slow smelly soggy stale sturdy superb tasty tedious terrible terrific touching unhappy unhelpful
        unreliable useful useless wonderful clean comfortable
    """,
    "demo_nli": "asleep bit close eating goes hopes look meet number other person playing see stay thing time wearing",
    "demo_qa": "animal ask came colour come eat go job keeps leave left pay work works",
    "demo_zh": "",
}


def rows(task: str, split: str) -> list[dict[str, str]]:
    lines = (DATA / task / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def inputs(task: str, split: str) -> list[tuple[str, ...]]:
    """What a model sees of each row: all but the last field."""
    return [tuple(row.values())[:-1] for row in rows(task, split)]


def english_words(task: str, split: str) -> set[str]:
    text = " ".join(
        value for row in rows(task, split) for field, value in row.items() if field != "label"
    )
    return set(re.findall(r"[a-z]+", text.lower()))


def skeleton(text: str, shared: set[str]) -> str:
    """The sentence pattern: shared words stay, every other word becomes a blank."""
    return " ".join(
        word if word in shared else "_" for word in re.findall(r"[a-z]+|[.,;:!?]", text.lower())
    )


def shared_words(task: str) -> set[str]:
    return set(f"{GRAMMAR} {NUMBERS_AND_COLOURS} {SHARED[task]}".split())


def test_committed_files_are_what_the_generator_writes(tmp_path: Path):
    script = ROOT / "tools" / "make_demo_data.py"
    subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path)], check=True, capture_output=True
    )
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*.jsonl")
    }
    committed = {
        path.relative_to(DATA).as_posix(): path.read_bytes()
        for path in DATA.rglob("demo_*/*.jsonl")
    }
    assert len(written) == len(FIELDS) * len(SIZES)
    assert written.keys() == committed.keys()
    assert [name for name in written if written[name] != committed[name]] == []


@pytest.mark.parametrize("task", FIELDS)
@pytest.mark.parametrize("split", SIZES)
def test_counts_and_fields(task: str, split: str):
    found = rows(task, split)
    assert len(found) == SIZES[split]
    assert all(list(row) == FIELDS[task] for row in found)
    assert all(value == value.strip() and value for row in found for value in row.values())
    assert not [
        row
        for row in found
        for value in row.values()
        if "{" in value or "a(n)" in value or "  " in value
    ]


def test_size_on_disk():
    assert sum(path.stat().st_size for path in DATA.rglob("*")) < 3_000_000


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("split", SIZES)
def test_classes_are_balanced_and_mixed(task: str, split: str):
    labels = [row["label"] for row in rows(task, split)]
    counts = Counter(labels)
    assert set(counts) == LABELS[task]
    assert max(counts.values()) - min(counts.values()) <= 1
    assert set(labels[:20]) == LABELS[task]


@pytest.mark.parametrize("task", FIELDS)
def test_no_input_occurs_twice(task: str):
    seen = [entry for split in SIZES for entry in inputs(task, split)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("task", ["demo_sentiment", "demo_nli", "demo_qa"])
@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_splits_share_grammar_but_no_content_words(task: str, pair: tuple[str, str]):
    common = english_words(task, pair[0]) & english_words(task, pair[1])
    assert sorted(common - shared_words(task)) == []


@pytest.mark.parametrize("task", ["demo_sentiment", "demo_nli", "demo_qa"])
@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_splits_share_no_sentence_pattern(task: str, pair: tuple[str, str]):
    """Texts of five and more shared words whose pattern is the same would come from one
    template."""
    shared = shared_words(task) - {*NUMBERS_AND_COLOURS.split(), *SHARED[task].split()}
    field = FIELDS[task][0]
    patterns = [{skeleton(row[field], shared) for row in rows(task, split)} for split in pair]
    assert [
        text for text in patterns[0] & patterns[1] if len(re.findall(r"[a-z]+", text)) >= 5
    ] == []


@pytest.mark.parametrize("split", SIZES)
def test_length_does_not_tell_the_chosen_reply(split: str):
    found = rows("demo_preference", split)
    longer = [len(row["chosen"]) > len(row["rejected"]) for row in found]
    assert sum(longer) == SIZES[split] / 2
    assert not [row for row in found if len(row["chosen"]) == len(row["rejected"])]


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_replies_of_two_splits_share_no_sentence(pair: tuple[str, str]):
    """Endings and remarks hold no name, place or thing: their very words belong to one split."""
    sentences = [
        {
            sentence
            for row in rows("demo_preference", split)
            for field in ("chosen", "rejected")
            for sentence in re.findall(r"[^.?!]+[.?!]", row[field])
        }
        for split in pair
    ]
    assert min(map(len, sentences)) >= 30
    assert sentences[0] & sentences[1] == set()


def test_words_help_with_replies_but_do_not_settle_them():
    """Which reply of a pair has the larger score of a bag of words that was trained on the others."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = rows("demo_preference", "train"), rows("demo_preference", "test")
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    texts = [row[field] for row in train for field in ("chosen", "rejected")]
    model.fit(texts, [1, 0] * len(train))
    scores = [model.decision_function([row["chosen"], row["rejected"]]) for row in test]
    assert 0.6 < sum(chosen > rejected for chosen, rejected in scores) / len(test) < 0.95


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_names_in_passages_belong_to_one_split(pair: tuple[str, str]):
    inside = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
    names = [
        {name for row in rows("demo_qa", split) for name in inside.findall(row["passage"])}
        for split in pair
    ]
    assert min(map(len, names)) >= 15
    assert names[0] & names[1] == set()


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_chinese_names_and_sentences_belong_to_one_split(pair: tuple[str, str]):
    """Single characters cannot be kept apart; whole answers of three and more characters can."""
    skipped = {"交通工具"}
    answers = [
        {row["output"] for row in rows("demo_zh", split) if len(row["output"]) >= 3} - skipped
        for split in pair
    ]
    assert min(map(len, answers)) >= 20
    assert answers[0] & answers[1] == set()


def test_test_reviews_hold_familiar_and_new_words():
    """Tuning must not have shown every evaluative word of the test split, nor may it have shown
    none."""
    tuned, tested = (
        english_words("demo_sentiment", "train"),
        english_words("demo_sentiment", "test"),
    )
    assert {"great", "terrible", "excellent"} <= tested & tuned
    assert {
        "exceptional",
        "magnificent",
        "abysmal",
        "ghastly",
        "shoddy",
        "captivating",
    } <= tested - tuned


@pytest.mark.parametrize("split", SIZES)
def test_answers_stand_in_their_passages(split: str):
    for row in rows("demo_qa", split):
        assert re.search(rf"\b{re.escape(row['answer'])}\b", row["passage"]), row
        assert 1 <= len(row["answer"].split()) <= 4
        assert len(row["passage"].split()) <= 60
        assert row["question"].endswith("?")


@pytest.mark.parametrize("split", SIZES)
def test_negation_occurs_in_every_class(split: str):
    for task, field in (("demo_sentiment", "text"), ("demo_nli", "hypothesis")):
        denied = Counter(
            row["label"]
            for row in rows(task, split)
            if re.search(
                r"\b(not|no|never|nobody|nothing|cannot|neither|anything but|far from)\b",
                row[field].lower(),
            )
        )
        assert set(denied) == LABELS[task]
        assert min(denied.values()) >= SIZES[split] // 40


@pytest.mark.parametrize("task", ["demo_sentiment", "demo_nli", "demo_qa"])
@pytest.mark.parametrize("split", SIZES)
def test_articles_fit_the_next_word(task: str, split: str):
    text = " ".join(value for row in rows(task, split) for value in row.values())
    assert (
        re.findall(
            r"\b[Aa] (?:[aeio]|u(?!ni[fqv]|se))\w*|\b[Aa]n (?:(?!hour)[^aeiou\W]|uni[fqv]|use)\w*",
            text,
        )
        == []
    )


def test_single_words_help_with_reviews_but_do_not_settle_them():
    assert 0.60 <= baseline("demo_sentiment", ["text"]) <= 0.95


def test_a_hypothesis_alone_tells_little():
    assert baseline("demo_nli", ["hypothesis"]) < 0.55


def test_words_of_both_sentences_tell_little():
    assert baseline("demo_nli", ["premise", "hypothesis"]) < 0.65


def test_shared_words_do_not_settle_the_pairs():
    """A guesser that only counts the words which premise and hypothesis have in common."""
    from sklearn.linear_model import LogisticRegression

    def overlap(row: dict[str, str]) -> list[float]:
        premise, claim = (
            set(re.findall(r"\w+", row[field].lower())) for field in ("premise", "hypothesis")
        )
        return [len(premise & claim), len(premise & claim) / len(claim), len(claim), len(premise)]

    train, test = rows("demo_nli", "train"), rows("demo_nli", "test")
    model = LogisticRegression(max_iter=2000).fit(
        [overlap(row) for row in train], [row["label"] for row in train]
    )
    assert model.score([overlap(row) for row in test], [row["label"] for row in test]) < 0.55


def baseline(task: str, fields: list[str]) -> float:
    """Test accuracy of TF-IDF over words and word pairs with logistic regression, trained on the
    train split."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))

    def texts(split: str) -> list[str]:
        return [" / ".join(row[field] for field in fields) for row in rows(task, split)]

    model.fit(texts("train"), [row["label"] for row in rows(task, "train")])
    return float(model.score(texts("test"), [row["label"] for row in rows(task, "test")]))
