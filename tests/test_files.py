"""Local files of every kind: the same rows, and file and line of every fault."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ft_harness.errors import InputError
from ft_harness.files import read_file, split_files

ROWS = [{"text": "a film", "label": "1"}, {"text": 'a "good", film', "label": "0"}]
CSV = 'text,label\na film,1\n"a ""good"", film",0\n'
TSV = 'text\tlabel\na film\t1\na "good", film\t0\n'
JSON = json.dumps(ROWS)
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("train.csv", CSV, [2, 3]),
        ("train.CSV", CSV, [2, 3]),
        ("train.tsv", TSV, [2, 3]),
        ("train.json", JSON, []),
        ("train.json", json.dumps({"version": 1, "data": ROWS}), []),
        ("train.jsonl", JSONL, [1, 2]),
        ("train.csv.gz", CSV, [2, 3]),
        ("train.tsv.gz", TSV, [2, 3]),
        ("train.json.gz", JSON, []),
        ("train.jsonl.gz", JSONL, [1, 2]),
        ("train.csv", "\n" + CSV.replace("\n", "\n\n"), [4, 6]),
        ("train.jsonl", "\n" + JSONL.replace("\n", "\n\n"), [2, 4]),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_every_kind_gives_the_same_rows(
    name: str, content: str, lines: list[int], mark: str, newline: str, tmp_path: Path
):
    if content.startswith("\n") and name.endswith("csv"):
        content = content.removeprefix("\n")  # the first row of a table is its header
        lines = [line - 1 for line in lines]
    rows = read_file(write(tmp_path, name, mark + content.replace("\n", newline)))
    assert rows.rows == ROWS
    assert rows.lines == lines


def test_parquet(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "train.parquet")
    rows = read_file(tmp_path / "train.parquet")
    assert rows.rows == ROWS
    assert rows.place(1) == f"{tmp_path / 'train.parquet'}, row 1"


def test_a_table_without_a_header(tmp_path: Path):
    rows = read_file(write(tmp_path, "train.tsv", "a film\t1\nno film\t0\n"), ["text", "label"])
    assert rows.rows == [{"text": "a film", "label": "1"}, {"text": "no film", "label": "0"}]
    assert rows.place(1) == f"{tmp_path / 'train.tsv'}:2"


def test_a_cell_over_several_lines_counts_from_its_first(tmp_path: Path):
    rows = read_file(write(tmp_path, "train.csv", 'text,label\n"one\ntwo",1\nthree,0\n'))
    assert [row["text"] for row in rows.rows] == ["one\ntwo", "three"]
    assert rows.lines == [2, 4]


def test_only_newlines_end_a_json_line(tmp_path: Path):
    rows = read_file(write(tmp_path, "train.jsonl", '{"text": "a\u2028b\u0085c"}\n'))
    assert rows.rows == [{"text": "a\u2028b\u0085c"}]


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("d.jsonl", '{"a": 1}\n{"a": \n', ":2", "not JSON"),
        ("d.jsonl", '{"a": 1}\n\n[1]\n', ":3", "no JSON object"),
        ("d.jsonl", "[" * 200_000, ":1", "not JSON"),
        ("d.jsonl.gz", '{"a": 1}\n{a: 1}\n', ":2", "not JSON"),
        ("d.json", '[{"a": 1},\n {"a": }]', ":2", "not JSON"),
        ("d.json", "", ":1", "not JSON"),
        ("d.json", '{"rows": []}', "", "no list of objects"),
        ("d.json", "[1, 2]", "", "no list of objects"),
        ("d.csv", "a,b\n1,2\n3\n4,5\n", ":3", "1 cells under 2 columns"),
        ("d.csv", "a,b\n1,2,3\n", ":2", "3 cells under 2 columns"),
        ("d.csv", 'a,b\n"x\ny",1\n2,3,4\n', ":4", "3 cells under 2 columns"),
        ("d.csv", 'a,b\n1,"open\n3,4\n5,6\n', ":2", "unexpected end of data"),
        ("d.csv", 'a,b\n1,2\n"x"y,4\n', ":3", "not valid csv"),
        ("d.csv", f"a,b\n1,2\n3,{'x' * 140_000}\n", ":3", "field larger than field limit"),
        ("d.csv", "a,b,a\n1,2,3\n", ":1", "a column name stands twice"),
        ("d.tsv", "a\tb\n1 2\n", ":2", "1 cells under 2 columns"),
        ("d.csv", "text,label\ngut,1\nschön,0\n".encode("latin-1"), ":3", "not UTF-8 (byte 20)"),
        ("d.csv", "text,label\ngood,1\n".encode("utf-16"), ":1", "not UTF-8 (byte 0)"),
        ("d.txt", "x", "", "unknown kind of file"),
        ("d", "x", "", "unknown kind of file"),
        ("d.parquet", "no parquet", "", "not a parquet file"),
    ],
)
def test_faults_name_file_and_line(name: str, content: str | bytes, line: str, reason: str, tmp_path: Path):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        read_file(path)
    assert caught.value.what.startswith(f"{path}{line}: ")
    assert reason in caught.value.what
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("damage", ["cut", "changed", "plain"])
def test_damaged_gzip(damage: str, tmp_path: Path):
    whole = gzip.compress(JSONL.encode() * 50)
    middle = len(whole) // 2
    content = {"cut": whole[:middle], "changed": whole[:12] + b"\xff\xff\xff\xff" + whole[16:], "plain": b"{}"}[damage]
    (tmp_path / "train.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match="damaged gzip file"):
        read_file(tmp_path / "train.jsonl.gz")


def test_files_of_splits_are_found_by_their_names(tmp_path: Path):
    for name in ("train.csv", "snli_1.0-dev.jsonl.gz", "my.Test.parquet", "contest.csv", "README.md", "trainer.csv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "validation").mkdir()
    assert {split: path.name for split, path in split_files(tmp_path).items()} == {
        "train": "train.csv",
        "validation": "snli_1.0-dev.jsonl.gz",
        "test": "my.Test.parquet",
    }


@pytest.mark.parametrize("names", [("train.csv", "train.tsv"), ("dev.csv", "valid.csv"), ("test.csv", "x_test.csv.gz")])
def test_two_files_for_one_split(names: tuple[str, str], tmp_path: Path):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{names[0]} and {names[1]} are both the"):
        split_files(tmp_path)
