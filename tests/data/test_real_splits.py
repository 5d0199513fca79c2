"""Splits and samples of real data at the sizes of write-ups; skipped where FT_HARNESS_SHARED is not
set."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ft_harness.data import load_splits, row_losses

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

PAIRS = {
    "columns": {"premise": ["sentence1"], "hypothesis": ["sentence2"], "label": ["gold_label"]},
    "labels": ["entailment", "neutral", "contradiction"],
}
REVIEWS = {"columns": {"text": [], "label": []}, "labels": ["negative", "positive"]}
QUESTIONS = {"columns": {name: [] for name in ("id", "title", "context", "question", "answers")}}


def sizes(splits) -> dict[str, int]:
    return {name: len(split) for name, split in splits.items()}


@pytest.mark.parametrize(
    ("version", "questions", "unanswerable"), [("v1.1", 10_570, 0), ("v2.0", 11_873, 5_945)]
)
def test_a_whole_squad_file_is_test(version: str, questions: int, unanswerable: int, shared: Path):
    file = shared / f"data/squad/dev-{version}.json"
    docs = load_splits(QUESTIONS, test_all=True, data_source=str(file))["test"]
    expected = {
        question["id"]: (article["title"], paragraph["context"], question["question"],
                         {answer["text"] for answer in question["answers"]})
        for article in json.loads(file.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }  # fmt: skip
    found = {
        doc["id"]: (doc["title"], doc["context"], doc["question"], set(doc["answers"]))
        for doc in docs
    }
    assert len(docs) == questions
    assert found == expected
    assert list(docs["id"]) == list(expected)
    assert sum(not answers for answers in docs["answers"]) == unanswerable
    assert all(len(set(answers)) == len(answers) for answers in docs["answers"])


def test_the_stock_command_scores_a_whole_squad_file(shared: Path, tmp_path: Path):
    """`lm_eval` itself on lm-eval's dummy model: 10,570 docs, each with its id."""
    (tmp_path / "squad.yaml").write_text(
        "task: squad_whole\ncustom_dataset: !function ft_harness.data.load_splits\n"
        "dataset_kwargs:\n  data:\n    columns: {id: [], title: [], context: [], question: [], answers: []}\n"
        "    group_by: title\n"
        "training_split: train\ntest_split: test\noutput_type: generate_until\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: "{{answers[0]}}"\n'
        'generation_kwargs: {until: ["\\n"], max_gen_toks: 8}\nmetric_list: [{metric: bypass}]\n'
    )
    source = shared / "data/squad/dev-v1.1.json"
    subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--include_path", str(tmp_path), "--tasks", "squad_whole",
         "--model", "dummy", "--metadata", f"data_source={source}", "test_all=true",
         "--output_path", str(tmp_path / "out"), "--log_samples"],
        check=True, capture_output=True,
    )  # fmt: skip
    (file,) = (tmp_path / "out").rglob("samples_*.jsonl")
    with file.open(encoding="utf-8") as lines:
        docs = [json.loads(line)["doc"] for line in lines]
    assert len(docs) == len({doc["id"] for doc in docs}) == 10_570
    assert set(docs[0]) == {"id", "title", "context", "question", "answers"}


def test_squad_is_split_by_article(shared: Path):
    options = {
        "source": str(shared / "data/squad/dev-v2.0.json"),
        **QUESTIONS,
        "group_by": "title",
        "split": "70/10/20",
    }
    splits = load_splits(options)
    titles = [set(split["title"]) for split in splits.values()]
    assert sum(map(len, titles)) == len(set.union(*titles)) == 35
    # 70, 10 and 20 % of 11,873 questions; 35 articles of about 340 questions come within a
    # hundredth
    for count, share in zip(sizes(splits).values(), (8311, 1187, 2375), strict=True):
        assert abs(count - share) < 119
    assert sum(sizes(splits).values()) == 11_873


def test_snli_at_the_write_ups_size(shared: Path):
    options = {"source": str(shared / "data/snli"), **PAIRS}
    splits = load_splits(
        options, data_train_size="1000", data_validation_size="100", data_test_size="100"
    )
    assert sizes(splits) == {"train": 1000, "validation": 100, "test": 100}
    assert [(loss.rows, loss.dropped, loss.bad) for loss in row_losses(splits)] == [
        (9842, 0, 0),
        (9818, 0, 0),
    ]


def test_imdb_at_the_write_ups_sizes(imdb: Path):
    options = {"source": str(imdb), **REVIEWS}
    sized = {"data_train_size": 900, "data_validation_size": 100, "data_test_size": 2500}
    splits = load_splits(options, data_balanced=True, **sized)
    assert {name: Counter(split["label"]) for name, split in splits.items()} == {
        "train": {0: 450, 1: 450}, "validation": {0: 50, 1: 50}, "test": {0: 1250, 1: 1250},
    }  # fmt: skip
    splits = load_splits(options, data_split="70/10/20", data_stratified=True)
    assert {name: Counter(split["label"]) for name, split in splits.items()} == {
        "train": {0: 8750, 1: 8750}, "validation": {0: 1250, 1: 1250}, "test": {0: 2500, 1: 2500},
    }  # fmt: skip


def test_sst2_eighty_twenty(shared: Path):
    options = {
        "source": str(shared / "data/sst2_glue/train.tsv"),
        "columns": {"sentence": [], "label": []},
        "labels": ["negative", "positive"],
    }
    splits = load_splits(options, data_split="80/20")
    assert sizes(splits) == {"train": 53_879, "validation": 0, "test": 13_470}  # of 67,349
    assert splits["validation"].features == splits["train"].features


def test_the_first_3000_chinese_rows(shared: Path):
    file = shared / "data/adl2023_hw3/train.json"
    options = {"source": str(file), "columns": {"instruction": [], "answer": ["output"]}}
    splits = load_splits(options, data_train_size="3000", data_first="true")
    rows = json.loads(file.read_text(encoding="utf-8"))
    assert [(doc["instruction"], doc["answer"]) for doc in splits["train"]] == [
        (row["instruction"], row["output"]) for row in rows[:3000]
    ]
    assert sizes(splits) == {"train": 3000, "validation": 1000, "test": 1000}
    assert splits["test"][-1]["answer"] == rows[-1]["output"]


def test_running_text_has_a_doc_for_each_line(shared: Path, tmp_path: Path):
    (tmp_path / "test.txt").symlink_to(shared / "data/wikitext2_raw/wiki.test.raw")
    docs = load_splits({"source": str(tmp_path / "test.txt")}, test_all=True)["test"]
    assert len(docs) == 2891  # as its README counts
    assert docs[0] == {"text": " = Robert Boulter = "}


def test_a_gzipped_file_reads_as_its_content(shared: Path):
    file = shared / "data/imdb/imdb_test.jsonl.gz"
    docs = load_splits({"source": str(file), **REVIEWS}, test_all=True)["test"]
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        assert all(
            json.loads(line)["text"] == doc["text"] for line, doc in zip(lines, docs, strict=True)
        )
