"""`data.skip_bad_rows` leaves out every kind of faulty row, counts it and names it; without it all
of them are refused together, with their places. Expected rows are the ones written here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ft_harness.data import load_splits, row_losses
from ft_harness.data.parts import RowLoss
from ft_harness.errors import InputError

GOOD = {"text": "t", "value": "v"}
# kind of fault -> a field, what it holds in good rows and in the bad one, words of the fault
FAULTS: dict[str, tuple[str, Any, Any, str]] = {
    "infinite": ("value", 1.5, math.inf, "holds a number that is infinite, or too large"),
    "infinite in a list": ("value", [1.5], [-math.inf], "holds a number that is infinite"),
    "infinite in an object": ("value", {"a": 1.5}, {"a": math.inf}, "holds a number that is"),
    "half a character": ("value", "v", "\ud83d", "holds half a character"),
    "half a character in a key": ("value", {"a": 1}, {"\ud83d": 1}, "holds half a character"),
    "mixed list": ("value", ["a"], ["a", 1], "is a list of number and text"),
    "null answer": ("answers", ["a"], [None], "answers holds null"),
    "empty answer": ("answers", ["a"], ["a", " "], "answers holds an empty text"),
    "answers without text": ("answers", {"text": ["a"]}, {"spans": ["a"]}, "answers holds spans"),
    "mixed answers": ("answers", ["a"], [{"text": "a"}, "b"], "answers holds objects next to"),
    "null": ("value", "v", None, "the field value is null"),
    "invisible": ("value", "v", "\u200b", "the field value holds invisible characters alone"),
}


def written(path: Path, field: str, good: Any, bad: Any) -> Path:
    rows = [{**GOOD, field: bad if number in (3, 5) else good} for number in range(1, 8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_row_is_left_out_counted_and_named(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    field, good, bad, fault = FAULTS[kind]
    path = written(tmp_path / "a.jsonl", field, good, bad)
    splits = load_splits({"source": str(path), "skip_bad_rows": True}, test_all=True)
    assert len(splits["test"]) == 5
    assert row_losses(splits) == (RowLoss(str(path), rows=7, dropped=0, bad=2),)
    assert f"{path}: 2 of 7 rows left out ({path}:3: " in caplog.text
    assert fault in caplog.text
    assert f"(2 rows with such a fault: {path}:3, {path}:5)" in caplog.text


@pytest.mark.parametrize("kind", FAULTS)
def test_all_bad_rows_are_refused_together(kind: str, tmp_path: Path):
    field, good, bad, fault = FAULTS[kind]
    path = written(tmp_path / "a.jsonl", field, good, bad)
    with pytest.raises(InputError) as caught:
        load_splits({"source": str(path)}, test_all=True)
    assert caught.value.what.startswith(f"{path}:3: ")
    assert fault in caught.value.what
    assert caught.value.what.endswith(f"(2 rows with such a fault: {path}:3, {path}:5)")
    assert "data.skip_bad_rows=true" in caught.value.action


@pytest.mark.parametrize("field", ["extra", "answers"])
def test_a_bad_value_of_an_optional_field_makes_a_bad_row(field: str, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    bad = math.inf if field == "extra" else [None]
    rows = [{"text": "a"}, {"text": "b", field: bad}, {"text": "c", field: None}, {"text": "d"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {
        "source": str(path), "columns": {"text": []}, "optional": [field], "skip_bad_rows": True,
    }  # fmt: skip
    splits = load_splits(data, test_all=True)
    assert list(splits["test"]) == [{"text": each, field: ""} for each in "acd"]
    assert row_losses(splits)[0].bad == 1


def test_bytes_that_are_no_text_make_a_bad_row(tmp_path: Path):
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": [b"a", b"\xff\xfe", "\u00e9".encode()], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(table, path)
    splits = load_splits({"source": str(path), "skip_bad_rows": True}, test_all=True)
    assert list(splits["test"]) == [{"text": "a", "n": 1}, {"text": "\u00e9", "n": 3}]
    assert row_losses(splits)[0].bad == 1


@pytest.mark.parametrize("group", [math.nan, math.inf, None, "\ud83d"])
def test_a_bad_value_of_the_group_makes_a_bad_row(group: Any, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": f"t{n}", "group": f"g{n // 2}"} for n in range(40)]
    rows += [{"text": "bad", "group": group}, {"text": "bad too", "group": group}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {"source": str(path), "columns": {"text": []}, "group_by": "group"}
    splits = load_splits({**data, "skip_bad_rows": True})
    assert row_losses(splits)[0].bad == 2
    assert sum(map(len, splits.values())) == 40
    with pytest.raises(InputError, match="the field group"):
        load_splits(data)
