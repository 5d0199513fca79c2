"""JSON that is a table by columns, by ids, or by header and cells, as pandas writes it; what could
be read in two ways is refused with its place. Expected rows are the ones written here, or pandas'
own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ft_harness.data import load_splits
from ft_harness.data.files import read_file
from ft_harness.data.layout import Layout
from ft_harness.errors import InputError

ROWS = [
    {"text": "good film", "label": "pos"},
    {"text": "bad film", "label": "neg"},
    {"text": "it was", "label": "pos"},
]
IDS = ["17", "a", "x-3"]


def write(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "d.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def rows_of(path: Path, key: str | None = None) -> list[dict[str, Any]]:
    return [row for _, row in read_file(path, Layout(rows=key))]


def by_columns(rows: list[dict[str, Any]], ids: list[str] | None = None) -> dict[str, Any]:
    ids = ids or [str(number) for number in range(len(rows))]
    return {
        name: {each: row[name] for each, row in zip(ids, rows, strict=True)} for name in rows[0]
    }


def by_id(rows: list[dict[str, Any]], ids: list[str] | None = None) -> dict[str, Any]:
    return dict(zip(ids or map(str, range(len(rows))), rows, strict=True))


@pytest.mark.parametrize("orient", ["columns", "index", "split", "records", "table"])
@pytest.mark.parametrize("index", [[0, 1, 2], [4, 2, 9], ["q1", "q2", "q30"]])
def test_what_pandas_writes_is_read(orient: str, index: list, tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    rows = [
        {"text": "a", "label": 1, "score": 0.5, "words": ["x", "y"]},
        {"text": "b", "label": 0, "score": None, "words": []},
        {"text": "c", "label": 1, "score": 2.0, "words": ["z"]},
    ]
    path = tmp_path / "d.json"
    pandas.DataFrame(rows, index=index).to_json(path, orient=orient)
    found = rows_of(path)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    if orient in ("columns", "index", "split"):
        names = [row.get("id") for row in found]
        assert names == [None] * 3 if index == [0, 1, 2] else list(map(str, index))


def test_columns_of_lists_are_rows(tmp_path: Path):
    value = {"text": ["a", "b"], "label": [0, 1], "words": [["x"], []], "more": [None, {"k": 1}]}
    path = write(tmp_path, value)
    assert rows_of(path) == [
        {"text": "a", "label": 0, "words": ["x"], "more": None},
        {"text": "b", "label": 1, "words": [], "more": {"k": 1}},
    ]
    assert [place for place, _ in read_file(path)] == [f"{path}, row 0", f"{path}, row 1"]


def test_one_column_is_a_table(tmp_path: Path):
    assert rows_of(write(tmp_path, {"text": ["a", "b"]})) == [{"text": "a"}, {"text": "b"}]
    assert rows_of(write(tmp_path, {"text": {"0": "a", "1": "b"}})) == [
        {"text": "a"}, {"text": "b"},
    ]  # fmt: skip


def test_objects_by_number_are_rows_with_their_id(tmp_path: Path):
    path = write(tmp_path, by_id(ROWS, ["17", "3", "40"]))
    assert rows_of(path) == [
        {"id": each, **row} for each, row in zip(["17", "3", "40"], ROWS, strict=True)
    ]
    assert [place for place, _ in read_file(path)] == [f"{path}, {i}" for i in ("17", "3", "40")]


def test_numbers_from_0_on_are_no_ids(tmp_path: Path):
    assert rows_of(write(tmp_path, by_id(ROWS))) == ROWS
    assert rows_of(write(tmp_path, by_columns(ROWS))) == ROWS


def test_an_id_of_the_rows_own_stays(tmp_path: Path):
    rows = [{"id": 5, "text": "a"}, {"id": 7, "text": "b"}]
    assert rows_of(write(tmp_path, by_id(rows, ["17", "18"]))) == rows
    partly = [{"id": 5, "text": "a"}, {"text": "b"}]
    assert rows_of(write(tmp_path, by_id(partly, ["17", "18"]))) == partly


def test_keys_with_a_digit_in_each_are_ids(tmp_path: Path):
    ids = ["q1", "q2b", "train-30"]
    expected = [{"id": each, **row} for each, row in zip(ids, ROWS, strict=True)]
    assert rows_of(write(tmp_path, by_id(ROWS, ids))) == expected
    assert rows_of(write(tmp_path, by_columns(ROWS, ids))) == expected


def test_names_with_digits_over_numbers_are_columns(tmp_path: Path):
    rows = [{"sentence1": f"a{n}", "sentence2": f"b{n}"} for n in range(3)]
    assert rows_of(write(tmp_path, by_columns(rows))) == rows
    assert rows_of(write(tmp_path, by_id(rows))) == rows


def test_rows_by_id_may_have_different_keys(tmp_path: Path):
    rows = [{"text": "a", "input": "i"}, {"text": "b"}, {"text": "c", "input": "j"}]
    expected = [{"id": each, **row} for each, row in zip(IDS, rows, strict=True)]
    assert rows_of(write(tmp_path, by_id(rows, IDS))) == expected


def test_kinds_of_values_tell_columns_from_rows(tmp_path: Path):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c", "label": 1}]
    ids = ["rome", "paris", "oslo"]
    expected = [{"id": each, **row} for each, row in zip(ids, rows, strict=True)]
    assert rows_of(write(tmp_path, by_id(rows, ids))) == expected
    assert rows_of(write(tmp_path, by_columns(rows, ids))) == expected


@pytest.mark.parametrize("form", [by_id, by_columns])
@pytest.mark.parametrize("names", [("text", "label"), ("7", "8")])
def test_what_has_two_readings_is_refused(form: Any, names: tuple[str, str], tmp_path: Path):
    ids = ["rome", "paris", "oslo"] if names[0] == "text" else ["1", "2", "3"]
    rows = [dict(zip(names, row.values(), strict=True)) for row in ROWS]
    path = write(tmp_path, form(rows, ids))
    with pytest.raises(InputError) as caught:
        rows_of(path)
    keys = ", ".join(form(rows, ids))
    assert caught.value.what == f"{path}: {keys} may be columns or ids of rows"
    assert "orient='records'" in caught.value.action


def test_columns_of_different_lengths_are_refused(tmp_path: Path):
    path = write(tmp_path, {"text": ["a", "b", "c"], "label": [0, 1]})
    with pytest.raises(InputError) as caught:
        rows_of(path)
    assert caught.value.what == f"{path}: the column text has 3 values, but label has 2"


def test_a_column_without_a_row_that_others_have_is_refused(tmp_path: Path):
    path = write(tmp_path, {"text": {"0": "a", "1": "b", "2": "c"}, "label": {"0": 1, "2": 0}})
    with pytest.raises(InputError) as caught:
        rows_of(path)
    assert caught.value.what == f"{path}: the column label has no row 1, which text has"


def test_a_list_of_objects_next_to_a_list_of_the_same_length_is_refused(tmp_path: Path):
    path = write(tmp_path, {"items": [{"text": "a"}, {"text": "b"}], "tags": ["x", "y"]})
    with pytest.raises(InputError) as caught:
        rows_of(path)
    assert caught.value.what == f"{path}: items may be the list of rows, or a column next to tags"
    assert "data.rows=items" in caught.value.action
    assert rows_of(path, "items") == [{"text": "a"}, {"text": "b"}]


def test_a_list_of_objects_next_to_another_length_is_the_rows(tmp_path: Path):
    path = write(tmp_path, {"items": [{"text": "a"}, {"text": "b"}], "tags": ["x"]})
    assert rows_of(path) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("form", [by_id, by_columns, lambda rows, _: rows])
def test_tables_of_splits_are_named(form: Any, tmp_path: Path):
    ids = ["11", "12", "13"]
    path = write(tmp_path, {"train": form(ROWS, ids), "test": form(ROWS[::-1], ids)})
    with pytest.raises(InputError) as caught:
        rows_of(path)
    assert "test, train" in caught.value.what
    assert "data.rows=KEY" in caught.value.action
    assert [row["text"] for row in rows_of(path, "test")] == ["it was", "bad film", "good film"]


@pytest.mark.parametrize("form", [by_id, by_columns])
def test_the_only_table_is_found_under_its_key(form: Any, tmp_path: Path):
    ids = ["11", "12", "13"]
    path = write(tmp_path, {"version": "1", "result": {"table": form(ROWS, ids)}})
    expected = [{"id": each, **row} for each, row in zip(ids, ROWS, strict=True)]
    assert rows_of(path) == rows_of(path, "result.table") == expected


def test_a_list_of_objects_comes_before_other_tables(tmp_path: Path):
    path = write(tmp_path, {"labels": {"names": ["neg", "pos"]}, "rows": ROWS})
    assert rows_of(path) == ROWS


def test_lists_of_objects_in_rows_by_id_are_cells(tmp_path: Path):
    rows = [{"q": f"q{n}", "answers": [{"text": f"a{n}"}]} for n in range(2)]
    expected = [{"id": "31", **rows[0]}, {"id": "32", **rows[1]}]
    assert rows_of(write(tmp_path, by_id(rows, ["31", "32"]))) == expected


def test_rows_of_lists_by_number_are_rows(tmp_path: Path):
    rows = [{"tokens": ["a", "b"], "tags": ["N", "V"]}, {"tokens": ["c"], "tags": ["N"]}]
    assert rows_of(write(tmp_path, by_id(rows))) == rows


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"columns": ["a", "b"], "data": [[1, 2], [3]]}, ", row 1: 1 cells for 2 columns"),
        ({"columns": ["a", "a"], "data": [[1, 2]]}, ": two columns are named a"),
        ({"columns": ["a"], "index": [1], "data": [[1], [2]]}, ": index has 1 entry for 2 rows"),
        ({"text": "a", "label": 1}, ": no list of objects"),
        ({"q1": "answer", "q2": "answer"}, ": no list of objects"),
        ({"a": {"x": 1}, "b": {"y": 2}}, ": no list of objects"),
        ({"text": [], "label": []}, ": no list of objects"),
        ({"a": {}, "b": {}}, ": no list of objects"),
        ({"text": {"0": "a", "0 ": "b"}, "label": "x"}, ": no list of objects"),
    ],
)
def test_what_is_no_table_is_refused(value: Any, fault: str, tmp_path: Path):
    path = write(tmp_path, value)
    with pytest.raises(InputError) as caught:
        rows_of(path)
    assert caught.value.what.startswith(f"{path}{fault}")


def test_a_key_twice_is_refused(tmp_path: Path):
    path = tmp_path / "d.json"
    path.write_text('{"text": {"0": "a", "0": "b"}, "label": {"0": 1}}', encoding="utf-8")
    with pytest.raises(InputError, match="an object has the key 0 twice"):
        rows_of(path)


def test_a_bad_cell_is_named_by_its_row(tmp_path: Path):
    path = write(tmp_path, by_columns([*ROWS[:2], {"text": None, "label": "pos"}], ["4", "5", "9"]))
    with pytest.raises(InputError) as caught:
        load_splits({"source": str(path)}, test_all=True)
    assert caught.value.what == f"{path}, 9: the field text is null"


def test_a_list_of_rows_within_objects_of_one_shared_key_is_the_rows(tmp_path: Path):
    """Both objects have `count`; neither is a row."""
    value = {"meta": {"count": 2, "version": 1}, "payload": {"count": 3, "items": ROWS}}
    assert rows_of(write(tmp_path, value)) == ROWS
