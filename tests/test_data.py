"""The loader: columns, labels, sizes and splits; deterministic, disjoint, and every fault with its row."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ft_harness import paths
from ft_harness.data import load_splits
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
    path = write_rows(tmp_path / "a.jsonl", [{"id": i, "sentence1": "s", "gold_label": "yes"} for i in range(10)])
    options = {"columns": {"text": ["review", "sentence1"], "label": ["gold_label"]}, "labels": ["no", "yes"]}
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
    assert list(load_splits(data={"source": str(tmp_path), **CLASSES})["test"]["label"]) == [1, 0, 1, 0, 1, 0]


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


def test_a_split_without_any_label_is_derived_and_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_splits(tmp_path, 20, 2, 2)
    write_rows(tmp_path / "test.jsonl", [{"text": "unlabelled", "label": -1}] * 9)
    splits = load_splits(data={"source": str(tmp_path), **CLASSES, "drop_labels": [-1]})
    assert {name: len(split) for name, split in splits.items()} == {"train": 18, "validation": 2, "test": 2}
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
    error = refused("no column for the field text (columns: sentence, label)", source=str(path), **CLASSES)
    assert error.expected == "one of text"
    assert "data.columns={field: [column]}" in error.action


@pytest.mark.parametrize("columns", [{}, {"columns": {"text": []}}])
def test_labels_need_a_label_column(columns: dict, tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t"}] * 10)
    refused("no column for the field label", source=str(path), labels=["no", "yes"], **columns)


def test_values_of_different_kinds_in_a_column(tmp_path: Path):
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t", "n": 1}, {"text": "t", "n": "1"}] * 5)
    refused("a column holds values of different kinds", source=str(path))


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
def test_missing_splits_are_carved_out(sizes: dict, counts: tuple[int, ...], stratified: bool, tmp_path: Path):
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
    # numpy's default_rng((seed, split)).permutation: of 20 rows for test (2), of the 18 left for validation (1)
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
def test_sizes_are_counts_or_shares_of_their_split(sizes: dict, counts: tuple[int, ...], tmp_path: Path):
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
        ((6, 3, 1), 5, [3, 2, 0]),  # 3, 1.5, 0.5: the one left over goes to the first of the two halves
        ((6, 3, 1), 10, [6, 3, 1]),
        ((1, 1, 1), 2, [1, 1, 0]),  # 2/3 each
        ((50, 30, 20), 7, [4, 2, 1]),  # 3.5, 2.1, 1.4
        ((10, 20), 1, [0, 1]),  # 1/3, 2/3
    ],
)
def test_stratified_samples_have_exact_shares(groups: tuple[int, ...], count: int, shares: list[int], tmp_path: Path):
    names = ["a", "b", "c"][: len(groups)]
    rows = [{"text": "t", "label": name} for name, size in zip(names, groups, strict=True) for _ in range(size)]
    for split in ("train", "dev", "test"):
        write_rows(tmp_path / f"{split}.jsonl", rows)
    options = {**CLASSES, "labels": names, "train_size": count, "stratified": True}
    labels = list(load_splits(data={"source": str(tmp_path), **options})["train"]["label"])
    assert [labels.count(i) for i in range(len(groups))] == shares


def test_test_all_puts_every_row_into_test(tmp_path: Path):
    splits = load_splits(data={"source": str(write_splits(tmp_path, 4, 2, 2)), **CLASSES}, test_all=True)
    assert texts(splits) == {"train": [], "validation": [], "test": [f"row {i}" for i in range(8)]}
    assert splits["train"].features == splits["validation"].features == splits["test"].features
    assert splits["train"].column_names == ["text", "label", "label_names"]


def test_options_are_replaced_by_metadata_and_the_rest_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture):
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
    ("given", "meant"), [("data_sorce", "data_source"), ("data_trainsize", "data_train_size"), ("testall", "test_all")]
)
def test_a_near_miss_is_warned_about(given: str, meant: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        load_splits(data={"source": str(write_splits(tmp_path, 4, 2, 2)), **CLASSES}, **{given: 1})
    assert f"metadata {given} is not an option of the data loader; did you mean {meant}?" in caplog.text


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
    error = refused("org/name-v1.0: can't be loaded from the hub (no network)", source="org/name-v1.0")
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
    assert {name: len(split) for name, split in splits.items()} == {"train": 16, "validation": 2, "test": 2}


def test_bundled_data_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path)
    folder = tmp_path / "bundled" / "data" / "mine"
    folder.mkdir(parents=True)
    write_splits(folder, 4, 2, 2)
    assert len(load_splits(data={"source": "bundled/mine", **CLASSES})["train"]) == 4
