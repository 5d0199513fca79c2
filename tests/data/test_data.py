"""The loader: columns, labels, sizes and splits; deterministic, disjoint, and every fault with its
row."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ft_harness import errors as ft_errors
from ft_harness import paths
from ft_harness.data import arrow_file, load_splits, row_losses
from ft_harness.data.arrow_file import ArrowFile
from ft_harness.data.columns import Docs
from ft_harness.data.docs import RowLoss
from ft_harness.errors import InputError

CLASSES = {"columns": {"text": [], "label": []}, "labels": ["no", "yes"]}


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def numbered(count: int, start: int = 0) -> list[dict]:
    return [{"text": f"row {i}", "label": i % 2} for i in range(start, start + count)]


def write_splits(folder: Path, train: int, validation: int, test: int) -> Path:
    """Row numbers go on from split to split, so that every row is another one."""
    write_rows(folder / "train.jsonl", numbered(train))
    write_rows(folder / "dev.jsonl", numbered(validation, train))
    write_rows(folder / "test.jsonl", numbered(test, train + validation))
    return folder


def texts(splits) -> dict[str, list[str]]:
    return {name: list(split["text"]) for name, split in splits.items()}


def refused(expected: str, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        load_splits(data=options)
    assert expected in caught.value.what
    assert caught.value.exit_code == 3
    return caught.value


def test_an_optional_field_may_lack_in_a_row_or_the_whole_source(tmp_path: Path):
    columns = {"instruction": [], "input": [], "answer": ["output"]}
    rows = [
        {"instruction": "a", "input": "b", "output": "c"},
        {"instruction": "d", "input": "", "output": "e"},
    ]
    for part in (rows, [{name: row[name] for name in ("instruction", "output")} for row in rows]):
        write_rows(tmp_path / "all.jsonl", part)
        found = load_splits(
            {"source": str(tmp_path / "all.jsonl"), "columns": columns, "optional": ["input"]},
            test_all=True,
        )
        assert found["test"]["input"] == (["b", ""] if "input" in part[0] else ["", ""])
        assert found["test"]["answer"] == ["c", "e"]
    with pytest.raises(InputError, match="no column for the field input"):
        load_splits({"source": str(tmp_path / "all.jsonl"), "columns": columns}, test_all=True)


def test_a_folder_of_splits_is_taken_as_it_is(tmp_path: Path):
    splits = load_splits(data={"source": str(write_splits(tmp_path, 4, 2, 2)), **CLASSES})
    assert list(splits) == ["train", "validation", "test"]
    assert texts(splits) == {
        "train": ["row 0", "row 1", "row 2", "row 3"],
        "validation": ["row 4", "row 5"],
        "test": ["row 6", "row 7"],
    }
    assert list(splits["train"]["label"]) == [0, 1, 0, 1]
    assert splits["test"][0] == {"text": "row 6", "label": 0, "label_names": ["no", "yes"]}


def test_columns_go_by_any_accepted_name_and_others_are_left_out(tmp_path: Path):
    path = write_rows(
        tmp_path / "a.jsonl", [{"id": i, "sentence1": "s", "gold_label": "yes"} for i in range(10)]
    )
    options = {
        "columns": {"text": ["review", "sentence1"], "label": ["gold_label"]},
        "labels": ["no", "yes"],
    }
    splits = load_splits(data={"source": str(path), **options})
    assert splits["train"].column_names == ["text", "label", "label_names"]
    assert splits["train"][0] == {"text": "s", "label": 1, "label_names": ["no", "yes"]}


def test_without_options_rows_are_taken_as_they_are(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"q": "x", "a": ["y", "z"]}] * 10)
    assert load_splits(data={"source": str(path)})["test"][0] == {"q": "x", "a": ["y", "z"]}


def test_labels_are_names_or_numbers(tmp_path: Path):
    rows = [{"text": "t", "label": label} for label in ("yes", "no", 1, 0, "1", "0")]
    write_splits(tmp_path, 2, 2, 2)
    write_rows(tmp_path / "test.jsonl", rows)
    assert list(load_splits(data={"source": str(tmp_path), **CLASSES})["test"]["label"]) == [
        1,
        0,
        1,
        0,
        1,
        0,
    ]


def test_a_name_that_is_a_number_is_a_name(tmp_path: Path):
    write_splits(tmp_path, 2, 2, 2)
    options = {**CLASSES, "labels": ["1", "0"]}
    assert list(load_splits(data={"source": str(tmp_path), **options})["train"]["label"]) == [1, 0]


@pytest.mark.parametrize("drop", [[-1], ["-1"], [-1, "-"]])
@pytest.mark.parametrize("raw", [-1, "-1"])
def test_dropped_labels(drop: list, raw: int | str, tmp_path: Path):
    write_splits(tmp_path, 2, 2, 2)
    write_rows(tmp_path / "test.jsonl", [{"text": "", "label": raw}, {"text": "kept", "label": 1}])
    splits = load_splits(data={"source": str(tmp_path), **CLASSES, "drop_labels": drop})
    assert texts(splits)["test"] == ["kept"]


def test_a_split_without_any_label_is_derived_and_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_splits(tmp_path, 20, 2, 2)
    write_rows(tmp_path / "test.jsonl", [{"text": "unlabelled", "label": -1}] * 9)
    splits = load_splits(data={"source": str(tmp_path), **CLASSES, "drop_labels": [-1]})
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 18,
        "validation": 2,
        "test": 2,
    }
    assert "test.jsonl: no row has a label to keep" in caplog.text


def test_no_label_in_any_split(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t", "label": -1}] * 9)
    refused("no rows with a label to keep", source=str(path), **CLASSES, drop_labels=[-1])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": None, "label": 1}, ":2: the field text is null"),
        ({"label": 1}, ":2: the field text is null"),
        ({"text": "", "label": 1}, ":2: the field text is empty"),
        ({"text": "t", "label": None}, ":2: the field label is null"),
        ({"text": "t", "label": 2}, ":2: label '2' is not among the choices"),
        ({"text": "t", "label": -1}, ":2: label '-1' is not among the choices"),
        ({"text": "t", "label": "Z"}, ":2: label 'Z' is not among the choices"),
        ({"text": "t", "label": "²"}, ":2: label '²' is not among the choices"),
        ({"text": "t", "label": [1]}, ":2: label '[1]' is not among the choices"),
        ({"text": "half \ud83d", "label": 1}, ":2: the field text holds half a character"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(row: dict, expected: str, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [*numbered(1), row, *numbered(8)])
    refused(f"{path}{expected}", source=str(path), **CLASSES, drop_labels=["-"])


def test_a_missing_column_names_those_there_are_and_the_way_out(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"sentence": "s", "label": 1}] * 10)
    error = refused(
        "no column for the field text (columns: sentence, label)", source=str(path), **CLASSES
    )
    assert error.expected == "one of text"
    assert "data.columns={field: [column]}" in error.action


@pytest.mark.parametrize("columns", [{}, {"columns": {"text": []}}])
def test_labels_need_a_label_column(columns: dict, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t"}] * 10)
    refused("no column for the field label", source=str(path), labels=["no", "yes"], **columns)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1, "1", "is a text, but a number"),
        ("1", 1.5, "is a number, but a text"),
        (1, True, "is a true/false, but a number"),
        (["a"], "a", "is a text, but a list of text"),
        ([], "a", "is a text, but a list"),
        (["a"], [1], "is a list of number, but a list of text"),
        ({"a": 1}, "a", "is a text, but a object"),
    ],
)
def test_values_of_different_kinds_in_a_field_are_named_with_both_lines(
    first, second, expected: str, tmp_path: Path
):
    path = write_rows(
        tmp_path / "a.jsonl", [{"text": "t", "n": n} for n in (first, first, second, second)]
    )
    refused(f"{path}:3: the field n {expected} at {path}:1", source=str(path))


def test_different_kinds_in_two_splits_or_in_one_list(tmp_path: Path):
    write_rows(tmp_path / "train.jsonl", [{"n": 1}])
    write_rows(tmp_path / "test.jsonl", [{"n": "1"}])
    refused(
        f"test.jsonl:1: the field n is a text, but a number at {tmp_path}", source=str(tmp_path)
    )
    path = write_rows(tmp_path / "a.jsonl", [{"n": ["a"]}, {"n": ["a", 1]}])
    refused(f"{path}:2: the field n is a list of number and text", source=str(path))
    path = write_rows(tmp_path / "b.jsonl", [{"n": ["a", 1]}])
    refused(f"{path}:1: the field n is a list of number and text", source=str(path))


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([[], ["a"]], [[], ["a"]]),
        ([[1], [], [2.5]], [[1.0], [], [2.5]]),
        ([[[]], [["a"]]], [[[]], [["a"]]]),
        ([{"a": 1}, {"b": "x"}], [{"a": 1}, {"b": "x"}]),
    ],
)
def test_a_field_takes_the_type_of_all_its_values(values: list, read: list, tmp_path: Path):
    """The same in one batch and where the wider value comes after 10,000 rows."""
    for fill in (0, 10_000):
        path = write_rows(
            tmp_path / f"a{fill}.jsonl", [{"n": n} for n in [values[0]] * fill + values]
        )
        found = list(load_splits(data={"source": str(path)}, test_all=True)["test"]["n"])
        assert found == [read[0]] * fill + read


@pytest.mark.parametrize(
    ("number", "labels", "index"),
    [
        (1.0, ["no", "yes"], 1),
        ("0.0", ["no", "yes"], 0),
        ("1.00", ["no", "yes"], 1),
        (2.0, ["1", "2", "3"], 1),  # a name that is a number is a name
        ("2.0", ["1.0", "2.0"], 1),
        (True, ["no", "yes"], 1),
        (False, ["no", "yes"], 0),
        ("True", ["no", "yes"], 1),  # pandas' spelling
        ("false", ["no", "yes"], 0),
        (True, ["true", "false"], 0),  # names come before numbers
        ("FALSE", ["True", "False", "Unknown"], 1),
    ],
)
def test_labels_as_pandas_and_json_write_them(
    number, labels: list[str], index: int, tmp_path: Path
):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t", "label": number}] * 3)
    found = load_splits(data={"source": str(path), **CLASSES, "labels": labels}, test_all=True)[
        "test"
    ]
    assert list(found["label"]) == [index] * 3


@pytest.mark.parametrize("label", [True, "false", 1.5, "1.5", -1.0, 3.0, "nan", "9" * 5000, "1e0"])
def test_numbers_that_are_no_label(label, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t", "label": label}] * 3)
    refused(f"{path}:1: label ", source=str(path), **{**CLASSES, "labels": ["a", "b", "c"]})


@pytest.mark.parametrize("raw", [-1.0, "-1.0"])
def test_a_dropped_label_is_the_same_number_with_a_point(raw, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "", "label": raw}, *numbered(3)])
    splits = load_splits(data={"source": str(path), **CLASSES, "drop_labels": [-1]}, test_all=True)
    assert len(splits["test"]) == 3


def test_one_class_only_is_fine(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t", "label": 1}] * 10)
    assert list(load_splits(data={"source": str(path), **CLASSES})["test"]["label"]) == [1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["no", "no"], "'no' is listed twice"),
        (["no", "no "], "'no' is listed twice"),
        (["no", ""], "number 2 is empty"),
        ([" ", "yes"], "number 1 is empty"),
        (["yes"], "1 given"),
        ([], "0 given"),
    ],
)
def test_labels_and_label_words_are_different_words(
    words: list[str], expected: str, tmp_path: Path
):
    path = write_rows(tmp_path / "a.jsonl", numbered(10))
    refused(f"data.labels: {expected}", source=str(path), **{**CLASSES, "labels": words})
    with pytest.raises(ft_errors.FtHarnessError) as caught:
        load_splits(data={"source": str(path), **CLASSES, "label_words": words})
    assert f"data.label_words: {expected}" in str(caught.value.lines())
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("labels", "count"), [({"labels": ["a", "b", "c"]}, 3), ({}, 0)])
def test_there_are_as_many_label_words_as_labels(labels: dict, count: int, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", numbered(10))
    refused(
        f"data.label_words: 2 words for {count} labels",
        source=str(path),
        label_words=["bad", "good"],
        **labels,
    )


def test_label_words_and_language_are_fields_of_each_doc(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", numbered(10))
    options = {"source": str(path), **CLASSES, "label_words": ["bad", "good"], "language": "en"}
    assert load_splits(data=options, test_all=True)["test"][1] == {
        "text": "row 1", "label": 1, "label_names": ["no", "yes"], "label_words": ["bad", "good"], "language": "en",
    }  # fmt: skip


FLAT = {"text": ["Monday", "on Monday", "Monday"], "answer_start": [3, 0, 9]}


def test_answers_in_the_hubs_form_are_their_distinct_texts(tmp_path: Path):
    rows = [{"id": "a", "answers": FLAT}, {"id": "b", "answers": {"text": [], "answer_start": []}}]
    path = write_rows(tmp_path / "a.jsonl", rows)
    splits = load_splits(data={"source": str(path), "columns": {"answers": []}}, test_all=True)
    assert list(splits["test"]["answers"]) == [["Monday", "on Monday"], []]


def test_an_empty_list_is_a_value(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"answers": []}, {"answers": ["x"]}, {"answers": []}])
    found = load_splits(data={"source": str(path), "columns": {"answers": []}}, test_all=True)[
        "test"
    ]
    assert list(found["answers"]) == [[], ["x"], []]


@pytest.mark.parametrize("value", [["a", "half \ud83d"], {"a": "half \ud83d"}, [["half \udc00"]]])
def test_half_a_character_inside_a_value(value, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"n": value}])
    refused(f"{path}:1: the field n holds half a character", source=str(path))


def test_a_second_row_with_the_same_id_is_named_with_the_first(tmp_path: Path):
    ids = [
        "a",
        "b",
        1,
        "1",
        None,
        None,
        "b",
        "c",
        "a",
    ]  # 1 and "1" are two; a row without an id has none
    path = write_rows(
        tmp_path / "a.jsonl",
        [{"id": name, "text": f"t{i}", "label": 1} for i, name in enumerate(ids)],
    )
    options = {"source": str(path), **CLASSES}
    error = refused(f"{path}:7: duplicate id 'b', first used at {path}:2 (2 rows repeat", **options)
    assert "data.group_by=id" in error.action
    path = write_rows(
        tmp_path / "b.jsonl", [{"id": i // 3, "text": f"t{i}", "label": 1} for i in range(30)]
    )
    refused(f"{path}:2: duplicate id '0'", source=str(path), **CLASSES)
    for test_all in (False, True):
        splits = load_splits(
            data={"source": str(path), **CLASSES, "group_by": "id"}, test_all=test_all
        )
        assert sum(map(len, splits.values())) == 30


def test_ids_with_equal_hashes_are_different_ids(tmp_path: Path):
    assert hash(-1) == hash(-2)
    path = write_rows(tmp_path / "a.jsonl", [{"id": -1, "text": "t"}, {"id": -2, "text": "t"}])
    assert len(load_splits(data={"source": str(path)}, test_all=True)["test"]) == 2


def test_ids_of_two_splits_may_be_the_same_numbers(tmp_path: Path):
    for name in ("train", "dev", "test"):
        write_rows(tmp_path / f"{name}.jsonl", [{"id": i, "text": name} for i in range(3)])
    assert len(load_splits(data={"source": str(tmp_path)})["test"]) == 3


def test_the_rows_of_a_bad_field_are_counted(tmp_path: Path):
    bad = [{"text": " \t", "label": 1}, {"text": "t", "label": ""}, {"text": None, "label": 0}]
    path = write_rows(tmp_path / "a.jsonl", [*numbered(1), *bad, *numbered(2, 1), *bad])
    places = ", ".join(f"{path}:{line}" for line in (2, 3, 4, 7, 8))
    error = refused(
        f"{path}:2: the field text is empty (6 rows with such a fault: {places}, ...)",
        source=str(path), **CLASSES,
    )  # fmt: skip
    assert "data.skip_bad_rows=true" in error.action


def test_bad_rows_are_left_out_and_counted_on_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    rows = [
        {"text": "", "label": -1},
        *numbered(1),
        {"text": " ", "label": 1},
        *numbered(3, 1),
        {"text": "t"},
    ]
    path = write_rows(tmp_path / "a.jsonl", rows)
    options = {"source": str(path), **CLASSES, "drop_labels": [-1], "skip_bad_rows": "true"}
    splits = load_splits(data=options, test_all=True)
    assert texts(splits)["test"] == ["row 0", "row 1", "row 2", "row 3"]
    assert row_losses(splits) == (RowLoss(str(path), rows=7, dropped=1, bad=2),)
    assert f"{path}: 2 of 7 rows left out ({path}:3: the field text is empty" in caplog.text


def test_a_label_outside_the_choices_is_no_bad_row(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [*numbered(4), {"text": "t", "label": "Z"}])
    refused(f"{path}:5: label 'Z'", source=str(path), **CLASSES, skip_bad_rows=True)


def test_splits_of_another_loader_have_no_losses():
    datasets = pytest.importorskip("datasets")
    assert row_losses(datasets.DatasetDict()) == ()


@pytest.mark.parametrize("option", ["stratified", "balanced"])
@pytest.mark.parametrize("fields", [{}, {"columns": {"text": []}}])
def test_samples_by_label_need_a_label(option: str, fields: dict, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": f"t{i}"} for i in range(20)])
    refused("no label to sample by (fields: text)", source=str(path), **fields, **{option: True})


def test_groups_need_their_column(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", numbered(20))
    refused(
        "no column title to group by (columns: text, label)",
        source=str(path),
        **CLASSES,
        group_by="title",
    )
    rows = [{"text": "t", "label": 1, "title": "x"}, {"text": "t", "label": 1, "title": None}]
    path = write_rows(tmp_path / "b.jsonl", rows)
    refused(f"{path}:2: the field title is null", source=str(path), **CLASSES, group_by="title")


@pytest.mark.parametrize("name", ["title", "chapter"])
def test_a_group_is_a_column_or_a_field_and_never_cut(name: str, tmp_path: Path):
    rows = [{"text": f"{i // 5}", "label": i % 2, "title": f"{i // 5}"} for i in range(50)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    columns = {"text": [], "label": [], "chapter": ["title"]}
    splits = load_splits(
        data={
            "source": str(path),
            **CLASSES,
            "columns": columns,
            "group_by": name,
            "split": "70/10/20",
        }
    )
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 35,
        "validation": 5,
        "test": 10,
    }
    groups = [set(part["chapter"]) for part in splits.values()]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 10


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"first": True, "stratified": True}, "data.first and data.stratified exclude each other"),
        ({"first": True, "balanced": True}, "data.first and data.balanced exclude each other"),
        (
            {"balanced": True, "stratified": True},
            "data.stratified and data.balanced exclude each other",
        ),
        (
            {"group_by": "text", "stratified": True},
            "data.stratified and data.group_by exclude each other",
        ),
        ({"split": "80/20", "validation_size": 3}, "data.validation_size with data.split 80/20"),
        *[
            ({"split": value}, "data option split")
            for value in ("80/10", "80", "100/0", "0/100", "50/0/50", "a/b", "")
        ],
        ({"split": "25/25/25/25"}, "data option split"),
        ({"language": 7}, "data option language"),
    ],
)
def test_options_that_cannot_hold(options: dict, expected: str, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", numbered(20))
    refused(expected, source=str(path), **CLASSES, **options)


def test_the_order_of_options_does_not_matter(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", numbered(50))
    options = {
        "source": str(path),
        **CLASSES,
        "split": "70/10/20",
        "train_size": 10,
        "balanced": True,
        "seed": 3,
    }
    assert texts(load_splits(data=options)) == texts(
        load_splits(data=dict(reversed(options.items())))
    )


def test_equal_rows_make_equal_bytes_in_every_process(tmp_path: Path):
    rows = [
        {"text": f"row {i}", "label": i % 2, "n": [] if i < 11_000 else [i]} for i in range(12_000)
    ]
    path = write_rows(tmp_path / "a.jsonl", rows)
    code = (
        "import hashlib, sys; from pathlib import Path; from ft_harness.data import load_splits\n"
        "splits = load_splits({'source': sys.argv[1]})\n"
        "for split in splits.values():\n"
        "    print([hashlib.sha256(Path(f['filename']).read_bytes()).hexdigest() for f in split.cache_files])\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert runs[0].count("[") == 3


def test_nothing_is_left_when_the_process_ends(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", numbered(50))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = (
        "import os, sys; from ft_harness.data import load_splits\n"
        "load_splits({'source': sys.argv[1]}); print(os.listdir(os.environ['TMPDIR']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert "ft-harness-data-" in done.stdout
    assert list(temporary.iterdir()) == []


def test_long_rows_do_not_wait_for_each_other_in_memory():
    with ArrowFile() as file:
        for _ in range(4):
            file.extend(
                Docs(1, {"text": ["x" * 3_000_000]})
            )  # two of them pass 4,194,304 characters
        docs = file.dataset()
    assert docs.data.column("text").num_chunks == 2
    assert [len(text) for text in docs["text"]] == [3_000_000] * 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_temporary_folder_is_a_resource_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    full = tmp_path / "full.arrow"
    full.symlink_to("/dev/full")
    monkeypatch.setattr(arrow_file, "_new_path", lambda: full)
    path = write_rows(tmp_path / "a.jsonl", numbered(10))
    with pytest.raises(ft_errors.ResourceError, match=r"full\.arrow: can't be written") as caught:
        load_splits(data={"source": str(path)})
    assert caught.value.exit_code == 5
    assert "TMPDIR" in caught.value.action
    assert not full.is_symlink()  # nothing is left


def test_ten_times_the_rows_take_little_more_memory(tmp_path: Path):
    """10,000 and 100,000 rows of about 200 bytes: 18 MB more on disk, and as Python objects some 50
    MB more."""
    code = (
        "import resource, sys; from ft_harness.data import load_splits; import datasets\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak(); load_splits({'source': sys.argv[1]}); print(peak() - before)"
    )
    grown = []
    for rows in (10_000, 100_000):
        path = write_rows(
            tmp_path / f"{rows}.jsonl", [{"text": f"word {i} " * 17} for i in range(rows)]
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        grown.append(int(done.stdout.split()[-1]))
    assert grown[1] - grown[0] < 20


@pytest.mark.parametrize("name", ["train.jsonl", "dev.jsonl", "test.jsonl"])
def test_an_empty_split_file_is_refused(name: str, tmp_path: Path):
    write_splits(tmp_path, 4, 2, 2)
    (tmp_path / name).write_text("")
    refused(f"{tmp_path / name}: no rows", source=str(tmp_path), **CLASSES)


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ({}, (40, 5, 5)),  # a tenth each
        ({"train_size": 0.7, "validation_size": 0.1, "test_size": 0.2}, (35, 5, 10)),
        ({"validation_size": 7, "test_size": 3}, (40, 7, 3)),
        ({"train_size": 11}, (11, 5, 5)),
        ({"train_size": 20, "validation_size": 0.2, "test_size": 20}, (20, 10, 20)),
    ],
)
@pytest.mark.parametrize("stratified", [False, True])
def test_missing_splits_are_carved_out(
    sizes: dict, counts: tuple[int, ...], stratified: bool, tmp_path: Path
):
    path = write_rows(tmp_path / "all.jsonl", numbered(50))
    options = {"source": str(path), **CLASSES, **sizes, "stratified": stratified}
    found = texts(load_splits(data=options))
    assert tuple(len(found[name]) for name in ("train", "validation", "test")) == counts
    everything = [text for part in found.values() for text in part]
    assert len(set(everything)) == len(everything)  # disjoint
    assert set(everything) <= {f"row {i}" for i in range(50)}
    if sum(counts) == 50:
        assert set(everything) == {f"row {i}" for i in range(50)}  # complete
    assert texts(load_splits(data=options)) == found
    assert texts(load_splits(data={**options, "seed": 1})) != found


def test_which_rows_are_carved_out_is_pinned(tmp_path: Path):
    path = write_rows(tmp_path / "all.jsonl", numbered(20))
    found = texts(load_splits(data={"source": str(path), **CLASSES}))
    # numpy's default_rng((seed, split)).permutation: of 20 rows for test (2), of the 18 left for
    # validation (1)
    assert found["test"] == ["row 8", "row 15"]
    assert found["validation"] == ["row 0", "row 11"]


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        ({"train": 20}, (16, 2, 2)),
        ({"train": 20, "dev": 3}, (18, 3, 2)),  # test is carved out of train
        ({"train": 20, "test": 3}, (18, 2, 3)),
        ({"dev": 20, "test": 3}, (18, 2, 3)),  # train receives what validation leaves
        ({"test": 20}, (16, 2, 2)),
    ],
)
def test_which_split_gives_to_which(files: dict[str, int], counts: tuple[int, ...], tmp_path: Path):
    start = 0
    for name, count in files.items():
        write_rows(tmp_path / f"{name}.jsonl", numbered(count, start))
        start += count
    found = texts(load_splits(data={"source": str(tmp_path), **CLASSES}))
    assert tuple(len(found[name]) for name in ("train", "validation", "test")) == counts
    assert len({text for part in found.values() for text in part}) == sum(counts)


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ({"train_size": 5}, (5, 10, 20)),
        ({"train_size": 0.5, "test_size": 0.25}, (20, 10, 5)),
        ({"train_size": 1.0, "validation_size": 10}, (40, 10, 20)),
    ],
)
def test_sizes_are_counts_or_shares_of_their_split(
    sizes: dict, counts: tuple[int, ...], tmp_path: Path
):
    options = {"source": str(write_splits(tmp_path, 40, 10, 20)), **CLASSES, **sizes}
    found = texts(load_splits(data=options))
    assert tuple(len(found[name]) for name in ("train", "validation", "test")) == counts
    rows = [int(text.removeprefix("row ")) for text in found["train"]]
    assert rows == sorted(rows)  # a sample keeps the order of the source
    assert set(rows) <= set(range(40))


@pytest.mark.parametrize("size", [0, -3, 41, 0.001])
def test_impossible_sizes(size: float, tmp_path: Path):
    options = {"source": str(write_splits(tmp_path, 40, 10, 20)), **CLASSES}
    refused(f"data.train_size is {size}", **options, train_size=size)


@pytest.mark.parametrize("stratified", [False, True])
def test_carving_everything_away_leaves_an_empty_split(stratified: bool, tmp_path: Path):
    path = write_rows(tmp_path / "all.jsonl", numbered(10))
    refused("is empty", source=str(path), **CLASSES, test_size=10, stratified=stratified)


@pytest.mark.parametrize(
    ("groups", "count", "shares"),
    [
        (
            (6, 3, 1),
            5,
            [3, 2, 0],
        ),  # 3, 1.5, 0.5: the one left over goes to the first of the two halves
        ((6, 3, 1), 10, [6, 3, 1]),
        ((1, 1, 1), 2, [1, 1, 0]),  # 2/3 each
        ((50, 30, 20), 7, [4, 2, 1]),  # 3.5, 2.1, 1.4
        ((10, 20), 1, [0, 1]),  # 1/3, 2/3
    ],
)
def test_stratified_samples_have_exact_shares(
    groups: tuple[int, ...], count: int, shares: list[int], tmp_path: Path
):
    names = ["a", "b", "c"][: len(groups)]
    rows = [
        {"text": "t", "label": name}
        for name, size in zip(names, groups, strict=True)
        for _ in range(size)
    ]
    for split in ("train", "dev", "test"):
        write_rows(tmp_path / f"{split}.jsonl", rows)
    options = {**CLASSES, "labels": names, "train_size": count, "stratified": True}
    labels = list(load_splits(data={"source": str(tmp_path), **options})["train"]["label"])
    assert [labels.count(i) for i in range(len(groups))] == shares


def test_test_all_puts_every_row_into_test(tmp_path: Path):
    splits = load_splits(
        data={"source": str(write_splits(tmp_path, 4, 2, 2)), **CLASSES}, test_all=True
    )
    assert texts(splits) == {"train": [], "validation": [], "test": [f"row {i}" for i in range(8)]}
    assert splits["train"].features == splits["validation"].features == splits["test"].features
    assert splits["train"].column_names == ["text", "label", "label_names"]


def test_options_are_replaced_by_metadata_and_the_rest_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source = write_splits(tmp_path, 10, 2, 2)
    splits = load_splits(
        data={"source": "nobody/nothing", **CLASSES, "train_size": 9},
        data_source=str(source),
        data_train_size=3,
        pretrained="x",
        peft="adapters/y",
        max_seq_lengths=[4096],
        version=1.0,
    )
    assert len(splits["train"]) == 3
    assert not caplog.records


@pytest.mark.parametrize(
    ("given", "meant"),
    [("data_sorce", "data_source"), ("data_trainsize", "data_train_size"), ("testall", "test_all")],
)
def test_a_near_miss_is_warned_about(
    given: str, meant: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        load_splits(data={"source": str(write_splits(tmp_path, 4, 2, 2)), **CLASSES}, **{given: 1})
    assert (
        f"metadata {given} is not an option of the data loader; did you mean {meant}?"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sorce": "x"}, "data option sorce"),
        ({"source": "x.csv", "train_size": "many"}, "data option train_size"),
        ({"source": "x.csv", "seed": -1}, "data option seed"),
        ({}, "names no data source"),
        ({"source": "nowhere.csv"}, "nowhere.csv: no such file or folder"),
        ({"source": "./nowhere"}, "./nowhere: no such file or folder"),
        ({"source": "a/b/nowhere"}, "a/b/nowhere: no such file or folder"),
        ({"source": "bundled/nowhere"}, "bundled/nowhere: no such file or folder"),
    ],
)
def test_wrong_options(options: dict, expected: str):
    refused(expected, **options)


def test_a_folder_without_split_files(tmp_path: Path):
    (tmp_path / "README.md").write_text("no data")
    refused(f"{tmp_path}: no data file of a split", source=str(tmp_path))


def test_a_hub_source_that_cannot_be_had_is_an_input_error(monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")

    def offline(*_, **__):
        raise ConnectionError("no network\nand a second line")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    error = refused(
        "org/name-v1.0: can't be loaded from the hub (no network)", source="org/name-v1.0"
    )
    assert "data.source=FILE" in error.action


def test_a_hub_source_gives_its_splits(monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        parts = {"train": numbered(20), "test": [], "unsupervised": numbered(5, 50)}
        return {name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}

    monkeypatch.setattr(datasets, "load_dataset", load)
    splits = load_splits(data={"source": "org/name", "name": "plain", "revision": "abc", **CLASSES})
    assert asked == [(("org/name", "plain"), {"revision": "abc"})]
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }


def test_hub_splits_of_other_names_are_named(monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")

    def load(*_, **__):
        parts = {"train_prefs": numbered(20), "test_prefs": numbered(6, 50), "sft": numbered(9)}
        return {name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}

    monkeypatch.setattr(datasets, "load_dataset", load)
    error = refused(
        "org/name: no split train or validation or test (splits: train_prefs, test_prefs, sft)",
        source="org/name",
    )
    assert "data.hub_splits" in error.action
    refused(
        "org/name: no split dev (splits: train_prefs, test_prefs, sft)",
        source="org/name",
        hub_splits={"train": "train_prefs", "test": "dev"},
    )
    named = {"train": "train_prefs", "test": "test_prefs"}
    splits = load_splits(data={"source": "org/name", "hub_splits": named, **CLASSES})
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 18,
        "validation": 2,
        "test": 6,
    }


def test_bundled_data_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    folder = tmp_path / "bundled" / "data" / "mine"
    folder.mkdir(parents=True)
    write_splits(folder, 4, 2, 2)
    assert len(load_splits(data={"source": "bundled/mine", **CLASSES})["train"]) == 4


@pytest.mark.parametrize(
    ("options", "what", "expected"),
    [
        ({"language": 7}, "data option language is 7", "text: "),
        ({"train_size": "many"}, "data option train_size is 'many'", "a whole number or a number"),
        (
            {"test_size": True},
            "data option test_size: a number of rows or a share",
            "as train_size",
        ),
        ({"seed": -1}, "data option seed is -1", "greater than or equal to 0: "),
        ({"stratified": "maybe"}, "data option stratified is 'maybe'", "true or false: "),
        ({"column_names": "a,b"}, "data option column_names is 'a,b'", "a list: "),
        ({"label_files": ["a"]}, "data option label_files is ['a']", "a mapping of fields: "),
        ({"delimiter": ""}, "data option delimiter is ''", "a text that is not empty: "),
        ({"columns": {"text": [1]}}, "data option columns is 1", "text: "),
        ({"sorce": "x"}, "data option sorce is unknown; did you mean source?", "one of source, "),
    ],
)
def test_a_wrong_option_is_answered_in_words_of_yaml(options: dict, what: str, expected: str):
    error = refused(what, **{"source": "a.csv", **options})
    assert error.what == what
    assert error.expected.startswith(expected)


def test_a_size_that_test_all_overrides_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_rows(tmp_path / "a.jsonl", numbered(30))
    task = {"source": str(path), "stratified": True, **CLASSES}
    splits = load_splits(task, test_all=True, data_test_size=20, data_train_size=None)
    assert len(splits["test"]) == 30
    assert "data.test_size is not used: test_all puts every row into test" in caplog.text
    assert "stratified" not in caplog.text
    assert "train_size" not in caplog.text


UNUSED = "data.{} is not used: "
WHOLE = "every split is read whole (data.train_size, validation_size and test_size make it smaller)"
OWN = "the source has its own train, validation and test"


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"data_stratified": True}, UNUSED.format("stratified") + WHOLE),
        ({"data_first": True}, UNUSED.format("first") + WHOLE),
        ({"data_seed": 7}, UNUSED.format("seed") + WHOLE),
        ({"data_seed": 7, "data_train_size": 5, "data_first": True},
         UNUSED.format("seed") + "the first rows are taken, none is drawn"),
        ({"data_group_by": "label", "data_train_size": 5}, UNUSED.format("group_by") + OWN),
        ({"data_split": "80/20"},
         "data.split divides train of the source alone: its validation (5 rows) and test (6 rows) "
         "are not used"),
    ],
)  # fmt: skip
def test_an_option_that_chooses_no_row_is_warned_of(
    given: dict, warning: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source = write_splits(tmp_path, 20, 5, 6)
    load_splits({"source": str(source), **CLASSES}, **given)
    assert [record.getMessage() for record in caplog.records] == [warning]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"data_stratified": True, "data_train_size": 10},
        {"data_seed": 7, "data_test_size": 2},
        {"data_seed": 7, "data_balanced": True, "data_stratified": False},
        {"data_seed": 7, "data_split": None},
        {"data_group_by": None, "data_stratified": False},
    ],
)
def test_options_that_choose_rows_or_are_off_are_not_warned_of(
    given: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source = write_splits(tmp_path, 20, 5, 6)
    if given.get("data_seed") and "data_split" in given:
        (source / "test.jsonl").unlink()  # it is drawn from train
    load_splits({"source": str(source), **CLASSES, "stratified": True}, **given)
    assert not caplog.records


@pytest.mark.parametrize(("more", "named"), [({}, False), ({"pretrained": "m"}, True)])
def test_only_lm_evals_own_command_is_told_its_options(more: dict, named: bool, tmp_path: Path):
    """A recipe hands over the metadata of the task's YAML as well."""
    path = write_rows(tmp_path / "a.jsonl", [{"text": None}])
    with pytest.raises(InputError) as caught:
        load_splits({"source": str(path)}, version=1.1, note="x", **more)
    assert ("data_skip_bad_rows=..." in caught.value.action) == named
