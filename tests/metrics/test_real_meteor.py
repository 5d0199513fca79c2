"""METEOR and its synonyms against nltk with its own WordNet 3.0 reader; skipped where
FT_HARNESS_SHARED is not set."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import nltk
import pytest
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.translate import meteor_score as nltk_meteor

from ft_harness.metrics.meteor import meteor_score, meteor_words
from ft_harness.metrics.wordnet import INDEX_FILE, synonym_index

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wordnet(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WordNetCorpusReader]:
    """nltk's reader on the database files themselves, each answer remembered."""
    folder = tmp_path_factory.mktemp("wordnet")
    corpora = folder / "corpora"
    zipfile.ZipFile(shared / "data/nltk_data/corpora/wordnet.zip").extractall(corpora)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(nltk.data, "path", [str(folder)])  # nltk opens nothing elsewhere
        warnings.simplefilter("ignore")  # the reader says that other languages are not there
        reader = WordNetCorpusReader(
            nltk.data.FileSystemPathPointer(str(corpora / "wordnet")), None
        )
        reader.synsets = lru_cache(None)(reader.synsets)
        yield reader


def synonyms(wordnet: object, word: str) -> set[str]:
    """What nltk's METEOR collects for a word."""
    return {
        lemma.name()
        for synset in wordnet.synsets(word)
        for lemma in synset.lemmas()
        if lemma.name().find("_") < 0
    }


def snli_pairs(shared: Path, count: int) -> list[tuple[str, str]]:
    with (shared / "data/snli/snli_test.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["sentence2"], row["sentence1"]) for row in csv.DictReader(file)]
    return random.Random(20261120).sample(rows, count)


def sst2_pairs(shared: Path, count: int) -> list[tuple[str, str]]:
    """Sentences against another one, and against themselves with words dropped and swapped."""
    generator = random.Random(20261121)
    lines = (shared / "data/sst2_sentences/train.tsv").read_text("utf-8").splitlines()
    sentences = [line.split("\t")[0] for line in lines]
    pairs: list[tuple[str, str]] = []
    for sentence in generator.sample(sentences, count // 2):
        kept = [word for word in sentence.split() if generator.random() < 0.8]
        place = generator.randrange(len(kept) + 1)
        pairs += [
            (" ".join(kept[place:] + kept[:place]), sentence),
            (generator.choice(sentences), sentence),
        ]
    return pairs


def differing(
    pairs: Sequence[tuple[str, str]], wordnet: WordNetCorpusReader
) -> list[tuple[str, str]]:
    found = []
    for prediction, reference in pairs:
        expected = nltk_meteor.meteor_score(
            [meteor_words(reference)], meteor_words(prediction), wordnet=wordnet
        )
        if meteor_score(prediction, [reference]) != expected:
            found.append((prediction, reference))
    return found


def test_11000_real_pairs_score_exactly_as_with_nltks_wordnet(
    shared: Path, wordnet: WordNetCorpusReader
) -> None:
    pairs = snli_pairs(shared, 8000) + sst2_pairs(shared, 3000)
    assert len(set(pairs)) > 10_000
    assert differing(pairs, wordnet) == []


def test_synonyms_decide_the_score_of_many_of_these_pairs(shared: Path) -> None:
    """Else the equality above would say nothing about the index."""

    class NoSynonyms:
        def synsets(self, word: str) -> list[object]:
            return []

    pairs = snli_pairs(shared, 2000)
    assert len(differing(pairs, NoSynonyms())) > 100


def test_every_lemma_has_the_synonyms_that_nltk_finds(wordnet: WordNetCorpusReader) -> None:
    index = synonym_index()
    lemmas = sorted(wordnet.all_lemma_names())
    assert len(lemmas) > 147_000
    assert [word for word in lemmas if synonyms(index, word) != synonyms(wordnet, word)] == []


def test_inflected_exceptional_and_unknown_words_have_the_synonyms_that_nltk_finds(
    wordnet: WordNetCorpusReader,
) -> None:
    index = synonym_index()
    lemmas = random.Random(5).sample(sorted(wordnet.all_lemma_names()), 3000)
    endings = ("s", "es", "ies", "ed", "ing", "er", "est", "men", "ves", "xes", "X", "é")
    inflected = [
        stem + ending for lemma in lemmas for stem in (lemma, lemma[:-1]) for ending in endings
    ]
    irregular = [form for exceptions in wordnet._exception_map.values() for form in exceptions]
    assert len(irregular) > 5000
    words = [*inflected, *irregular, "", "s", "Dogs", "ICE_CREAM", "猫", "İs", "12", "'s"]
    assert [word for word in words if synonyms(index, word) != synonyms(wordnet, word)] == []


def test_tokens_are_those_of_word_tokenize_on_real_sentences(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(shared / "data/nltk_data")])
    sentences = [
        text for pair in snli_pairs(shared, 1500) + sst2_pairs(shared, 500) for text in pair
    ]
    assert [text for text in sentences if meteor_words(text) != nltk.word_tokenize(text)] == []


def test_the_tool_builds_the_bundled_index_again_from_zip_and_folder(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "data/nltk_data/corpora/wordnet.zip"
    zipfile.ZipFile(source).extractall(tmp_path)
    for place in (source, tmp_path / "wordnet"):
        out = tmp_path / "out"
        command = [
            sys.executable,
            "tools/make_synonym_index.py",
            "--source",
            str(place),
            "--out",
            str(out),
        ]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
        for name in (INDEX_FILE.name, "LICENSE", "sources.sha256"):
            assert (out / name).read_bytes() == (INDEX_FILE.parent / name).read_bytes(), name


def test_the_tool_refuses_files_of_different_wordnets(shared: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(shared / "data/nltk_data/corpora/wordnet.zip").extractall(tmp_path)
    index = tmp_path / "wordnet" / "index.adv"
    index.write_text(index.read_text().rsplit("\n", 2)[0] + "\n")
    command = [
        sys.executable,
        "tools/make_synonym_index.py",
        "--source",
        str(index.parent),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "index.adv and data.adv do not agree" in done.stderr
