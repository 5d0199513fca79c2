"""Rows that are read by column become the docs, and have the faults, that they have row by row."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ft_harness.data import load_splits
from ft_harness.data.docs import DocReader
from ft_harness.errors import InputError

USUAL: dict[str, Any] = {"columns": {"text": ["sentence"], "label": []}, "labels": ["no", "yes"]}
# what some rows hold instead of a usual value; the usual one comes again after it
ODD: dict[str, list[Any]] = {
    "text": ["", "  ", None, "na\u00efve", "\ud83d", 3, 2.5, True, ["a"], {"a": 1}, "x" * 500],
    "label": ["yes", "no", 1, "1", True, None, "maybe", 7],
    "id": [0, "a", None, 1.5, "0"],
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"skip_bad_rows": True},
    {"drop_labels": ["maybe"]},
    {"optional": ["text"]},
    {"stratified": True, "label_words": ["No", "Yes"], "language": "en"},
    {"group_by": "group"},
    {"columns": None},
]


def read(path: Path, options: dict[str, Any]) -> Any:
    """The docs of every split, or the error's words."""
    try:
        splits = load_splits({**USUAL, **options, "source": str(path)})
    except InputError as error:
        return str(error)
    return {split: list(docs) for split, docs in splits.items()}


@pytest.mark.parametrize("seed", range(60))
def test_rows_by_column_are_rows_one_by_one(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, rows = random.Random(seed), []
    for number in range(40):
        row: dict[str, Any] = {
            "sentence": f"text {number}",
            "label": number % 2,
            "id": f"row {number}",
        }
        row["group"] = number // 4
        if draw.random() < 0.05:
            field = draw.choice(sorted(ODD))
            row["sentence" if field == "text" else field] = draw.choice(ODD[field])
        if draw.random() < 0.02:
            row["text"] = "in another column"
        if draw.random() < 0.02:
            del row[draw.choice(sorted(row))]
        rows.append(row)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    options = OPTIONS[seed % len(OPTIONS)]
    by_column = read(path, options)
    monkeypatch.setattr(DocReader, "_read_alike", lambda *_: None)
    assert by_column == read(path, options)


def test_usual_rows_are_read_by_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rows with a label that was not met before are looked at one by one."""
    path = tmp_path / "a.jsonl"
    rows = [{"sentence": f"text {number}", "label": number % 2} for number in range(500)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    looked_at: list[int] = []
    read_each = DocReader._read_each

    def count(self: DocReader, batch: Any, *further: Any) -> Any:
        looked_at.append(len(batch))
        return read_each(self, batch, *further)

    monkeypatch.setattr(DocReader, "_read_each", count)
    splits = load_splits({**USUAL, "source": str(path)})
    assert sum(map(len, splits.values())) == 500
    assert looked_at == [1, 2]
