"""Local files of every kind: the same rows, and file and line of every fault."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from ft_harness.data import text_files
from ft_harness.data.files import read_file, split_files
from ft_harness.data.layout import Layout
from ft_harness.errors import InputError

ROWS = [{"text": "a film", "label": "1"}, {"text": 'a "good", film', "label": "0"}]
CSV = 'text,label\na film,1\n"a ""good"", film",0\n'
TSV = 'text\tlabel\na film\t1\na "good", film\t0\n'
JSON = json.dumps(ROWS)
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rain",
            "paragraphs": [
                {
                    "context": "It rained on Monday, all Monday.",
                    "qas": [
                        {
                            "id": "a1",
                            "question": "When did it rain?",
                            "is_impossible": False,
                            "answers": [
                                {"text": "Monday", "answer_start": 13},
                                {"text": "on Monday", "answer_start": 10},
                                {"text": "Monday", "answer_start": 25},
                            ],
                        },
                        {
                            "id": "a2",
                            "question": "When did it snow?",
                            "is_impossible": True,
                            "answers": [],
                        },
                    ],
                }
            ],
        },
    ],
}


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
    path = write(tmp_path, name, mark + content.replace("\n", newline))
    places = [f"{path}:{line}" for line in lines] or [f"{path}, row 0", f"{path}, row 1"]
    rows = read_file(path)
    assert list(rows) == list(zip(places, ROWS, strict=True))
    assert list(rows) == list(zip(places, ROWS, strict=True))  # read anew each time


def test_parquet(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "train.parquet")
    path = tmp_path / "train.parquet"
    assert list(read_file(path)) == [(f"{path}, row 0", ROWS[0]), (f"{path}, row 1", ROWS[1])]


def test_a_table_without_a_header(tmp_path: Path):
    path = write(tmp_path, "train.tsv", "a film\t1\nno film\t0\n")
    assert list(read_file(path, Layout(column_names=["text", "label"]))) == [
        (f"{path}:1", {"text": "a film", "label": "1"}),
        (f"{path}:2", {"text": "no film", "label": "0"}),
    ]


def test_a_cell_over_several_lines_counts_from_its_first(tmp_path: Path):
    path = write(tmp_path, "train.csv", 'text,label\n"one\ntwo",1\nthree,0\n')
    assert [(place, row["text"]) for place, row in read_file(path)] == [
        (f"{path}:2", "one\ntwo"),
        (f"{path}:4", "three"),
    ]


def test_only_newlines_end_a_json_line(tmp_path: Path):
    ((_, row),) = read_file(write(tmp_path, "train.jsonl", '{"text": "a\u2028b\u0085c"}\n'))
    assert row == {"text": "a\u2028b\u0085c"}


def test_a_text_file_has_a_row_for_each_line(tmp_path: Path):
    path = write(
        tmp_path, "train.txt", '\ufeff = Title = \r\n\r\n  \nOne "two"\tthree\u2028four, five'
    )
    assert list(read_file(path)) == [
        (f"{path}:1", {"text": " = Title = "}),
        (f"{path}:4", {"text": 'One "two"\tthree\u2028four, five'}),
    ]


def test_an_official_squad_file_has_a_row_for_each_question(tmp_path: Path):
    path = write(tmp_path, "dev.json", json.dumps(SQUAD))
    place = f"{path}, article Rain, paragraph 1, question"
    shared = {"title": "Rain", "context": "It rained on Monday, all Monday."}
    assert [(where, list(row.items())) for where, row in read_file(path)] == [
        (
            f"{place} a1",
            list(
                {
                    "id": "a1",
                    **shared,
                    "question": "When did it rain?",
                    "answers": ["Monday", "on Monday"],
                }.items()
            ),
        ),
        (
            f"{place} a2",
            list({"id": "a2", **shared, "question": "When did it snow?", "answers": []}.items()),
        ),
    ]


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (lambda article: article.pop("title"), ", article None: no title"),
        (lambda article: article.update(paragraphs=None), ", article Rain: no paragraphs"),
        (
            lambda article: article["paragraphs"][0].pop("qas"),
            ", article Rain, paragraph 1: no qas",
        ),
        (
            lambda article: article["paragraphs"][0].pop("context"),
            ", article Rain, paragraph 1: no context",
        ),
        (
            lambda article: article["paragraphs"].append("text"),
            ", article Rain, paragraph 2: no qas",
        ),
        (
            lambda article: article["paragraphs"][0]["qas"][1].pop("answers"),
            ", article Rain, paragraph 1, question a2: no answers",
        ),
        (
            lambda article: article["paragraphs"][0]["qas"][0]["answers"][1].update(text=7),
            ", article Rain, paragraph 1, question a1: no text",
        ),
        (
            lambda article: article["paragraphs"][0]["qas"][0].pop("id"),
            ", article Rain, paragraph 1, question 1: no id",
        ),
    ],
)
def test_a_damaged_squad_file_is_named_with_its_place(damage, where: str, tmp_path: Path):
    content = json.loads(json.dumps(SQUAD))
    damage(content["data"][0])
    path = write(tmp_path, "dev.json", json.dumps(content))
    with pytest.raises(InputError) as caught:
        list(read_file(path))
    assert caught.value.what == f"{path}{where}"


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("d.csv", "text,label\n{},1\n"),
        ("d.jsonl", '{{"text": "{}", "label": 1}}\n'),
        ("d.txt", "{}\n"),
    ],
)
def test_a_row_of_five_megabytes_is_data(name: str, frame: str, tmp_path: Path):
    text = "x" * 5_000_000
    ((_, row),) = read_file(write(tmp_path, name, frame.format(text)))
    assert row["text"] == text


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("d.jsonl", '{"a": 1}\n{"a": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n', 2),
        ("d.txt", "short\n\n" + "x" * 31, 3),
        ("d.csv", "a,b\n1,2\n" + "x" * 31 + ",4\n", 3),
    ],
)
def test_a_longer_row_is_refused_with_its_line(
    name: str, content: str, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(text_files, "MAX_CHARACTERS", 30)
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        list(read_file(path))
    assert caught.value.what == f"{path}:{line}: a line of more than 30 characters"


def test_nul_and_control_characters_are_data(tmp_path: Path):
    text = "a\0b\x07\x1b[31mc\x7f and a longer run of text"
    for name, content in (
        ("d.csv", f"text,label\n{text},1\n"),
        ("d.txt", text),
        ("d.jsonl", json.dumps({"text": text})),
    ):
        ((_, row),) = read_file(write(tmp_path, name, content))
        assert row["text"] == text


@pytest.mark.parametrize(
    ("name", "content", "names", "expected"),
    [
        (
            "d.csv",
            "text;label\na, b;1\n",
            None,
            ":1: one column named 'text;label'; the delimiter seems to be ';'",
        ),
        (
            "d.csv",
            "text\tlabel\na\t1\n",
            None,
            ":1: one column named 'text\\tlabel'; the delimiter seems to be '\\t'",
        ),
        ("d.csv", "text|label\na|1\n", None, "the delimiter seems to be '|'"),
        (
            "d.tsv",
            "text,label\na,1\n",
            None,
            ":1: one column named 'text,label'; the delimiter seems to be ','",
        ),
        (
            "d.csv",
            "a;1\nb;0\n",
            ["text", "label"],
            ":1: 1 cells under 2 columns; the delimiter seems to be ';'",
        ),
    ],
)
def test_a_wrong_delimiter_is_named(
    name: str, content: str, names: list | None, expected: str, tmp_path: Path
):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        list(read_file(path, Layout(column_names=names)))
    assert caught.value.what.startswith(str(path))
    assert expected in caught.value.what
    assert names or "data.delimiter=" in caught.value.action or ".tsv" in caught.value.action


@pytest.mark.parametrize(
    ("encoding", "mark", "named", "line", "byte"),
    [
        ("utf-16", b"", "utf-16", 1, 0),
        ("utf-16-be", b"\xfe\xff", "utf-16", 1, 0),
        ("utf-16-le", b"", "utf-16le", 1, 0),
        ("utf-16-be", b"", "utf-16be", 1, 0),
        ("utf-32", b"", "utf-32", 1, 0),
        ("latin-1", b"", "latin1", 3, 18),  # after 2 bytes of line 1, 13 of line 2 and "sch"
    ],
)
@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.json", "d.txt"])
def test_another_encoding_is_named(
    encoding: str, mark: bytes, named: str, line: int, byte: int, name: str, tmp_path: Path
):
    path = write(tmp_path, name, mark + "a\nAll is well.\nsch\u00f6n\n".encode(encoding))
    with pytest.raises(InputError) as caught:
        list(read_file(path))
    assert caught.value.what == f"{path}:{line}: not UTF-8 (byte {byte}); perhaps {named}"
    assert f"iconv -f {named} -t utf-8" in caught.value.action


def test_the_wrong_byte_is_found_in_a_long_file(tmp_path: Path):
    path = write(
        tmp_path, "d.txt", "é\n".encode() * 100_000 + b"x\xe9\n"
    )  # 300,000 right bytes, then x
    with pytest.raises(InputError, match=r"d.txt:100001: not UTF-8 \(byte 300001\)"):
        list(read_file(path))


def test_a_file_that_cannot_be_opened(tmp_path: Path):
    with pytest.raises(InputError, match=r"can't be read \(No such file or directory\)"):
        list(read_file(tmp_path / "gone.csv"))


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("d.jsonl", '{"a": 1}\n{"a": \n', ":2", "not JSON"),
        ("d.jsonl", '{"a": 1}\n\n[1]\n', ":3", "not a JSON object"),
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
        (
            "d.csv",
            'a,b\n1,2\n3,"' + "xxxxxxx\n" * 1_300_000 + '"\n',
            ":3",
            "field larger than field limit (10000000)",
        ),
        ("d.csv", "a,b,a\n1,2,3\n", ":1", "the column name 'a' is listed twice"),
        ("d.tsv", "a\tb\n1 2\n", ":2", "1 cells under 2 columns"),
        ("d.csv", "text,label\ngut,1\nschön,0\n".encode("latin-1"), ":3", "not UTF-8 (byte 20)"),
        ("d.csv", "text,label\ngood,1\n".encode("utf-16"), ":1", "not UTF-8 (byte 0)"),
        ("d.doc", "x", "", "unknown kind of file"),
        ("d", "x", "", "unknown kind of file"),
        ("d.parquet", "no parquet", "", "not a parquet file"),
    ],
)
def test_faults_name_file_and_line(
    name: str, content: str | bytes, line: str, reason: str, tmp_path: Path
):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        list(read_file(path))
    assert caught.value.what.startswith(f"{path}{line}: ")
    assert reason in caught.value.what
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("damage", ["cut", "changed", "plain"])
def test_damaged_gzip(damage: str, tmp_path: Path):
    whole = gzip.compress(JSONL.encode() * 50)
    middle = len(whole) // 2
    content = {
        "cut": whole[:middle],
        "changed": whole[:12] + b"\xff\xff\xff\xff" + whole[16:],
        "plain": b"{}",
    }[damage]
    (tmp_path / "train.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match="damaged gzip file"):
        list(read_file(tmp_path / "train.jsonl.gz"))


def test_files_of_splits_are_found_by_their_names(tmp_path: Path):
    for name in (
        "train.csv",
        "snli_1.0-dev.jsonl.gz",
        "my.Test.parquet",
        "contest.csv",
        "README.txt",
        "trainer.csv",
    ):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "validation").mkdir()
    assert {split: path.name for split, [path] in split_files(tmp_path).items()} == {
        "train": "train.csv",
        "validation": "snli_1.0-dev.jsonl.gz",
        "test": "my.Test.parquet",
    }


@pytest.mark.parametrize(
    "names", [("train.csv", "train.tsv"), ("dev.csv", "valid.csv"), ("test.csv", "x_test.csv.gz")]
)
def test_two_files_for_one_split(names: tuple[str, str], tmp_path: Path):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{names[0]} and {names[1]} are both the"):
        split_files(tmp_path)


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.csv.gz", "d.txt.gz"])
def test_blank_lines_without_end_are_not_read_through(name: str, tmp_path: Path):
    """A few kilobytes unpack to hundreds of millions of them."""
    rows = {"d.jsonl.gz": b'{"text": "a"}\n', "d.csv.gz": b"text,label\n", "d.txt.gz": b"a\n"}
    path = tmp_path / name
    path.write_bytes(gzip.compress(rows[name] + b"\n" * 200_000_000, compresslevel=1))
    started = time.monotonic()
    with pytest.raises(InputError, match=r":\d+: more than 1,000,000 blank lines"):
        list(read_file(path))
    assert time.monotonic() - started < 20
