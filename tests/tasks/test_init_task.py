"""`ft-harness init-task`: a data file becomes a task that checks, or a refusal that says why."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from ft_harness import cli
from ft_harness.data import layout_finder
from ft_harness.data.layout import Layout
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.command import assert_three_lines

WORDS = ["good", "bad"]


def rows_of(text: str, label: str, labels: list, count: int = 40) -> list[dict]:
    return [{text: f"text number {i}", label: labels[i % len(labels)]} for i in range(count)]


def write(path: Path, rows: list[dict]) -> Path:
    """Rows in the form that the file's name says."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(
                handle, rows[0], delimiter="\t" if path.suffix == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    else:
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )
    return path


def task_of(name: str, folder: Path):
    return load_tasks(find_task(name, str(folder)), ["train", "validation", "test"])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_file_becomes_a_task_that_checks(ft, tmp_path: Path, suffix: str):
    file = write(tmp_path / f"my data.{suffix}", rows_of("review", "stars", [5, 1, 3, 10]))
    code, out, err = ft("init-task", file, "--text", "review", "--label", "stars")
    assert code == 0, err
    folder = tmp_path / "task_yamls" / "my_data_custom"
    assert {path.name for path in folder.iterdir()} == {"my_data_custom.yaml", "README.md"}
    assert out.count("Review: text number") == 3
    assert "Stars:[ 5]" in out
    assert "'10' begins with '1'" in err
    checked, report, err = ft(
        "check", "my_data_custom", "--include-path", "task_yamls/my_data_custom"
    )
    assert checked == 0, err
    assert "train 32 docs, validation 4 docs, test 4 docs" in report
    tasks = task_of("my_data_custom", folder)
    assert tasks["train"].doc_to_choice(tasks["train"].eval_docs[0]) == [
        "1",
        "3",
        "5",
        "10",
    ]  # by value, not spelling
    for task in tasks.values():
        for doc in task.eval_docs:
            number = int(doc["text"].split()[-1])
            assert task.doc_to_choice(doc)[task.doc_to_target(doc)] == str(
                [5, 1, 3, 10][number % 4]
            )
    texts = [doc["text"] for task in tasks.values() for doc in task.eval_docs]
    assert sorted(texts) == sorted(f"text number {i}" for i in range(40))  # disjoint and complete


def test_the_commands_that_it_names_work(ft, tmp_path: Path):
    write(tmp_path / "reviews.csv", rows_of("text", "label", WORDS))
    code, out, _ = ft("init-task", "reviews.csv", "--text", "text", "--label", "label")
    assert code == 0
    commands = [line.split()[1:] for line in out.splitlines() if line.startswith("    ft-harness")]
    assert [command[0] for command in commands] == ["check", "init", "run"]
    for command in commands[:2]:
        assert ft(*command)[0] == 0, command
    code, out, err = ft("check", commands[2][1])
    assert code == 0, err
    assert "32 training rows" in out
    assert (
        'include_path: "task_yamls/reviews_custom"'
        in Path("adapters/reviews_custom/recipe.yaml").read_text()
    )


@pytest.mark.parametrize(
    ("text", "label", "labels", "words"),
    [
        ("评论", "情感", ["正面", "负面"], ["正面", "负面"]),
        ("نص", "رأي", ["سلبي", "إيجابي"], ["إيجابي", "سلبي"]),
        ("t", "y", [" yes", "no", "{{x}}", 'a "b": c'], [" yes", 'a "b": c', "no", "{{x}}"]),
        ("t", "y", [True, False], ["False", "True"]),
        ("t", "y", [2.0, 1.0, 0.5], ["0.5", "1", "2"]),
        ("t", "y", ["-1", "1", "0"], ["-1", "0", "1"]),
        ("t", "y", ["class", "1", "2"], ["1", "2", "class"]),
        ("t", "y", [f"c{i:03}" for i in range(100)], [f"c{i:03}" for i in range(100)]),
    ],
    ids=["chinese", "arabic", "specials", "truth", "floats", "negative", "mixed", "hundred"],
)
def test_labels_of_any_kind_and_script(
    ft, tmp_path: Path, text: str, label: str, labels: list, words: list[str]
):
    file = write(tmp_path / "data.jsonl", rows_of(text, label, labels, 20 * len(labels)))
    code, _, err = ft(
        "init-task", file, "--text", text, "--label", label, "--out", tmp_path / "new"
    )
    assert code == 0, err
    task = task_of("data_custom", tmp_path / "new")["train"]
    doc = task.eval_docs[0]
    assert doc["label_names"] == words
    assert task.doc_to_choice(doc) == [word.strip() for word in words]
    assert text.capitalize() in task.doc_to_text(doc)
    readme = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert all(
        line.count("|") == 5 for line in readme.splitlines() if line.startswith("| `data_custom`")
    )


def test_prompts_and_answers(ft, tmp_path: Path):
    rows = [{"q": f"What is {i}?", "a": f"It is {i}.", "note": None} for i in range(20)]
    file = write(tmp_path / "qa.jsonl", rows)
    code, out, err = ft(
        "init-task", file, "--prompt", "q", "--answer", "a", "--name", "my_qa_custom"
    )
    assert code == 0, err
    task = task_of("my_qa_custom", tmp_path / "task_yamls" / "my_qa_custom")["train"]
    doc = task.eval_docs[0]
    assert task.OUTPUT_TYPE == "generate_until"
    assert task.doc_to_text(doc).endswith("?\n\nAnswer:")
    assert task.doc_to_target(doc).startswith("It is ")
    assert "Answer:[ It][ is]" in out
    assert ft("check", "my_qa_custom", "--include-path", "task_yamls/my_qa_custom")[0] == 0


@pytest.mark.parametrize(
    ("answer", "language"),
    [
        ("北京是首都。", "zh"),
        ("東京は首都です", "ja"),
        ("서울은 수도입니다", "ko"),
        ("กรุงเทพเป็นเมืองหลวง", "th"),
        ("Paris is the capital (巴黎)", None),
    ],
)
def test_answers_of_a_script_without_blanks_name_their_language(
    ft, tmp_path: Path, answer: str, language: str | None
):
    rows = [{"q": f"question {i}?", "a": f"{answer} {i}"} for i in range(20)]
    code, _, err = ft(
        "init-task", write(tmp_path / "qa.jsonl", rows), "--prompt", "q", "--answer", "a"
    )
    assert code == 0, err
    doc = task_of("qa_custom", tmp_path / "task_yamls" / "qa_custom")["train"].eval_docs[0]
    assert doc.get("language") == language


def test_numbers_as_answers_are_texts_in_few_shot_prompts(ft, tmp_path: Path):
    file = write(tmp_path / "sums.jsonl", [{"sum": f"{i}+{i}", "result": 2 * i} for i in range(20)])
    assert ft("init-task", file, "--prompt", "sum", "--answer", "result")[0] == 0
    task = task_of("sums_custom", tmp_path / "task_yamls" / "sums_custom")["test"]
    task.set_fewshot_seed(0)
    assert task.fewshot_context(task.eval_docs[0], 1).count("Answer:") == 2


def test_a_column_named_like_the_field_is_not_mixed_up(ft, tmp_path: Path):
    rows = [{"text": "not this one", **row} for row in rows_of("review", "label", WORDS)]
    file = write(tmp_path / "data.csv", rows)
    assert ft("init-task", file, "--text", "review", "--label", "label")[0] == 0
    task = task_of("data_custom", tmp_path / "task_yamls" / "data_custom")["train"]
    assert task.doc_to_text(task.eval_docs[0]).startswith("Review: text number ")


def test_a_column_named_label_next_to_the_given_one_is_not_mixed_up(ft, tmp_path: Path):
    rows = [{"text": "t", "label": "x", "mood": WORDS[i % 2]} for i in range(40)]
    file = write(tmp_path / "data.csv", rows)
    assert ft("init-task", file, "--text", "text", "--label", "mood")[0] == 0
    task = task_of("data_custom", tmp_path / "task_yamls" / "data_custom")["train"]
    assert {task.doc_to_choice(doc)[doc["label"]] for doc in task.eval_docs} == {"good", "bad"}


def ten(*values: object) -> list[dict]:
    return [{"text": "some text", "label": value} for value in values]


FAULTS = {
    "no such column": (rows_of("texts", "label", WORDS), 3, "no column text; did you mean texts?"),
    "no such label column": (
        [{"text": "t", "labels": "a"}] * 9,
        3,
        "no column label; did you mean labels?",
    ),
    "one class": (ten(*["a"] * 9), 3, "holds one class only (a)"),
    "too many classes": (
        rows_of("text", "label", [f"c{i}" for i in range(101)], 303),
        3,
        "has 101 classes",
    ),
    "empty cells": (ten("a", "b", "", "a", "b", "  ", "a"), 3, "data.csv:4, "),
    "free text": (
        ten(*[f"a long answer, number {i}" for i in range(9)]),
        3,
        "9 different values in 9 rows",
    ),
    "blanks only": (
        ten(*["a", "a "] * 5),
        3,
        "differ only in case, blanks, invisible characters or",
    ),
    "names of averages": (ten(*["macro", "micro"] * 20), 3, "macro"),
    "too few rows": (ten("a", "b", "a", "b"), 3, "asks for 0 rows"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_file_is_refused_and_nothing_is_written(ft, tmp_path: Path, fault: str):
    rows, expected, word = FAULTS[fault]
    write(tmp_path / "data.csv", rows)
    code, _, err = ft("init-task", "data.csv", "--text", "text", "--label", "label")
    assert code == expected
    assert_three_lines(err, word)
    assert not (tmp_path / "task_yamls").exists()


@pytest.mark.parametrize(
    ("arguments", "expected", "word"),
    [
        (["data.csv", "--text", "text"], 2, "one answer column"),
        (
            ["data.csv", "--text", "text", "--label", "label", "--answer", "text"],
            2,
            "one answer column",
        ),
        (["data.csv", "--text", "text", "--label", "text"], 3, "question and answer"),
        (["nowhere.csv", "--text", "text", "--label", "label"], 3, "no such file"),
        (
            ["data.csv", "--text", "text", "--label", "label", "--name", "a/b"],
            2,
            "the task name 'a/b'",
        ),
        (
            ["data.csv", "--text", "text", "--label", "label", "--name", "sst2_custom"],
            2,
            "is a shipped one",
        ),
        (
            ["data.csv", "--text", "text", "--label", "label", "--out", "data.csv/x"],
            2,
            "can't be written",
        ),
        (["empty.csv", "--text", "text", "--label", "label"], 3, "no rows"),
        (["data.doc", "--text", "text", "--label", "label"], 3, "unknown kind of file"),
    ],
)
def test_wrong_use_is_refused(ft, tmp_path: Path, arguments: list[str], expected: int, word: str):
    write(tmp_path / "data.csv", rows_of("text", "label", WORDS))
    (tmp_path / "empty.csv").write_text("text,label\n")
    (tmp_path / "data.doc").write_text("x")
    code, _, err = ft("init-task", *arguments)
    assert code == expected, err
    assert_three_lines(err, word)


def test_existing_files_stay(ft, tmp_path: Path):
    write(tmp_path / "data.csv", rows_of("text", "label", WORDS))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my own words")
    code, _, err = ft(
        "init-task", "data.csv", "--text", "text", "--label", "label", "--out", "mine"
    )
    assert code == 2
    assert_three_lines(err, "README.md exists")
    assert [(path.name, path.read_text()) for path in (tmp_path / "mine").iterdir()] == [
        ("README.md", "my own words")
    ]


def test_nothing_is_written_into_the_installed_package(ft, tmp_path: Path):
    write(tmp_path / "data.csv", rows_of("text", "label", WORDS))
    inside = Path(cli.__file__).parent / "bundled" / "left_by_a_test"
    try:
        code, _, err = ft(
            "init-task", "data.csv", "--text", "text", "--label", "label", "--out", inside
        )
        assert code == 2
        assert_three_lines(err, "inside the installed package")
        assert not inside.exists()
    finally:
        shutil.rmtree(inside, ignore_errors=True)


@pytest.mark.parametrize("form", ["columns", "index", "split", "lists"])
def test_json_tables_make_a_task(ft, tmp_path: Path, form: str):
    pandas = pytest.importorskip("pandas")
    rows = rows_of("text", "label", ["good", "bad"], 40)
    frame = pandas.DataFrame(rows)
    if form == "lists":
        Path("data.json").write_text(json.dumps(frame.to_dict(orient="list")), encoding="utf-8")
    else:
        frame.to_json("data.json", orient=form)
    code, _, err = ft("init-task", "data.json", "--text", "text", "--label", "label")
    assert code == 0, err
    docs = [doc for part in task_of("data_custom", "task_yamls/data_custom").values()
            for doc in part.eval_docs]  # fmt: skip
    assert {doc["text"] for doc in docs} <= {row["text"] for row in rows}


def test_a_sheet_is_closed_after_its_header_is_checked(tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("text", "label"), *((f"text {n}", n % 2) for n in range(300))]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    before = set(os.listdir("/proc/self/fd"))
    held = []  # as a caller that keeps what is left over
    with pytest.MonkeyPatch.context() as patch:
        rows = layout_finder.sheet_rows
        patch.setattr(layout_finder, "sheet_rows", lambda *a: held.append(rows(*a)) or held[0])
        layout_finder.check_header(tmp_path / "a.xlsx", Layout(), ["text", "label"])
    assert held
    assert set(os.listdir("/proc/self/fd")) == before
