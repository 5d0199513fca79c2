"""The task families on real data under stock lm-eval's own loading; skipped where FT_HARNESS_SHARED
is not set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ft_harness.paths import task_yamls_dir
from ft_harness.pipeline.task_checks import check_task
from ft_harness.recipe import Recipe
from ft_harness.tasks.finding import find_task

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data


def stock_task(name: str, metadata: dict[str, Any]):
    """The task object that the stock command makes, given `--metadata`."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(task_yamls_dir()), include_defaults=False, metadata=metadata
    )
    return manager.load([name])["tasks"][name]


def options(*settings: str) -> dict[str, Any]:
    """`--set data.X=Y ...` as metadata, by way of a recipe, as the commands of the READMEs write
    it."""
    data = dict(setting.split("=", 1) for setting in settings)
    return Recipe.model_validate({"task": {"name": "any"}, "data": data}).task_metadata()


@pytest.mark.parametrize(
    ("name", "version", "questions", "unanswerable"),
    [("squad_custom", "v1.1", 10_570, 0), ("squad_v2_custom", "v2.0", 11_873, 5_945)],
)
def test_an_official_squad_file_as_test(
    name: str, version: str, questions: int, unanswerable: int, shared: Path
):
    file = shared / f"data/squad/dev-{version}.json"
    task = stock_task(name, {"data_source": str(file), "test_all": True})
    official = {
        question["id"]: (paragraph["context"], question["question"], question["answers"])
        for article in json.loads(file.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }
    docs = task.test_docs()
    assert len(docs) == questions == len(official)
    assert list(docs["id"]) == list(official)
    assert sum(task.doc_to_target(doc) == "unanswerable" for doc in docs) == unanswerable
    for doc in docs.select(range(0, questions, 97)):
        context, question, answers = official[doc["id"]]
        prompt = task.doc_to_text(doc)
        assert prompt.startswith(f"{context.strip()}\nQuestion: {question.strip()}")
        assert prompt.endswith("\nAnswer:")
        target = task.doc_to_target(doc)
        assert target == (answers[0]["text"] if answers else "unanswerable")
        scores = task.process_results(doc, [target])
        assert (scores["exact_match"], scores["token_f1"]) == (1.0, 1.0)


def test_squad_of_one_file_is_split_by_article(shared: Path):
    task = stock_task("squad_v2_custom", {"data_source": str(shared / "data/squad/dev-v2.0.json")})
    titles = [
        set(docs["title"])
        for docs in (task.training_docs(), task.validation_docs(), task.test_docs())
    ]
    assert sum(map(len, titles)) == len(set.union(*titles)) == 35
    assert sum(map(len, (task.training_docs(), task.validation_docs(), task.test_docs()))) == 11_873


@pytest.mark.parametrize("name", ["imdb_custom", "imdb_custom_gen"])
def test_imdb_balanced_and_70_10_20(name: str, imdb: Path):
    source = {"data_source": str(imdb)}
    sizes = options("balanced=true", "train_size=900", "validation_size=100", "test_size=2500")
    task = stock_task(name, source | sizes)
    counts = [
        Counter(docs["label"])
        for docs in (task.training_docs(), task.validation_docs(), task.test_docs())
    ]
    assert counts == [{0: 450, 1: 450}, {0: 50, 1: 50}, {0: 1250, 1: 1250}]
    assert not any("<br" in task.doc_to_text(doc) for doc in task.test_docs().select(range(200)))
    if name == "imdb_custom":
        task = stock_task(name, source | options("split=70/10/20"))
        # 70, 10 and 20 % of the 25,000 rows of the train file
        sizes = [
            len(docs) for docs in (task.training_docs(), task.validation_docs(), task.test_docs())
        ]
        assert sizes == [17_500, 2_500, 5_000]


@pytest.mark.parametrize("name", ["snli_custom", "snli_custom_gen"])
def test_snli_1000_100_100(name: str, shared: Path):
    metadata = options("train_size=1000", "validation_size=100", "test_size=100")
    task = stock_task(name, {"data_source": str(shared / "data/snli")} | metadata)
    splits = (task.training_docs(), task.validation_docs(), task.test_docs())
    assert [len(docs) for docs in splits] == [1000, 100, 100]
    assert {doc["label"] for doc in splits[0]} == {0, 1, 2}
    words = {0: "yes", 1: "maybe", 2: "no"}
    for doc in splits[2]:
        target = task.doc_to_target(doc)
        assert (task.doc_to_choice(doc)[target] if isinstance(target, int) else target) == words[
            doc["label"]
        ]


def test_sst2_80_20(shared: Path):
    source = {"data_source": str(shared / "data/sst2_glue/train.tsv")}
    task = stock_task("sst2_custom", source | options("split=80/20"))
    # 80 and 20 % of 67,349: 53,879.2 and 13,469.8, the larger remainder rounded up
    assert [len(task.training_docs()), len(task.test_docs())] == [53_879, 13_470]


@pytest.mark.parametrize("name", ["zh_classical_custom", "zh_classical_ppl_custom"])
def test_the_first_3000_chinese_rows(name: str, shared: Path):
    file = shared / "data/adl2023_hw3/train.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    task = stock_task(name, {"data_source": str(file)} | options("first=true", "train_size=3000"))
    docs = task.training_docs()
    assert [(doc["instruction"], doc["answer"]) for doc in docs] == [
        (row["instruction"], row["output"]) for row in rows[:3000]
    ]
    assert task.doc_to_text(docs[0]) == f"指令：{rows[0]['instruction'].strip()}\n回答："
    assert task.doc_to_target(docs[0]) == rows[0]["output"]
    assert set(docs["language"]) == {"zh"}
    assert task.fewshot_context(task.test_docs()[0], 2).count("回答：") == 3


def test_check_of_real_tasks_finds_nothing(shared: Path):
    for name, source in (
        ("snli_custom_gen", "data/snli"),
        ("zh_classical_custom", "data/adl2023_hw3/train.json"),
    ):
        found = check_task(find_task(name, metadata={"data_source": str(shared / source)}))
        assert found.facts[1].startswith("train ")
