"""Tables, sheets and folders as other programs write them: read right, or refused with the place."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import openpyxl
import openpyxl.chart
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from ft_harness.data.files import read_file, split_files
from ft_harness.data.layout import Layout
from ft_harness.data.loading import load_splits
from ft_harness.data.opening import find_encoding
from ft_harness.errors import InputError
from tests.builders.tiny import write_jsonl

FIELDS = {"columns": {"text": ["text"], "label": ["label"]}, "labels": ["negative", "positive"]}


def rows_of(path: Path, **layout: object) -> list[dict]:
    return [row for _, row in read_file(path, Layout(**layout))]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_tabs_with_quotes_that_pandas_writes_are_read_as_pandas_reads_them(
    tmp_path: Path, quoting: int
):
    table = pandas.DataFrame(
        {"text": ['He said "hi" to me', "two\nlines", "a\ttab", "plain"], "label": list("0101")}
    )
    content = table.to_csv(sep="\t", index=False, quoting=quoting)
    path = write(tmp_path / "a.tsv", content)
    read = pandas.read_csv(io.StringIO(content), sep="\t", dtype=str)
    assert rows_of(path) == read.to_dict("records") == table.to_dict("records")


@pytest.mark.parametrize(
    "line",
    [
        '"Yes\tno',  # opens only
        '"Yes" he said\tno',
        'a "b\tc" d',  # a quote in each of two cells
        '"all of it"\tno',  # needs no quotes: pandas would not have written them
    ],
)
def test_quotes_that_are_text_stay_in_tables_with_tabs(tmp_path: Path, line: str):
    path = write(tmp_path / "a.tsv", f"text\tlabel\n{line}\nx\ty\n")
    assert rows_of(path)[0] == dict(zip(("text", "label"), line.split("\t"), strict=True))


def test_a_late_cell_in_quotes_is_refused_with_its_line(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "text\tlabel\n" + "x\ty\n" * 300 + '"a ""b"""\tz\n')
    with pytest.raises(InputError, match=r"a\.tsv:302: a cell in quotes") as caught:
        rows_of(path)
    assert caught.value.action == "save the table as .csv"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_in_the_middle_of_joined_files_is_refused(tmp_path: Path, mark: str):
    path = write(tmp_path / "a.csv", f"text,label\nx,y\n{mark}text,label\nz,u\n")
    with pytest.raises(InputError, match=r"a\.csv:3: the row repeats the header"):
        rows_of(path)


def test_a_single_column_may_hold_the_word_that_it_is_named(tmp_path: Path):
    assert rows_of(write(tmp_path / "a.csv", "word\nother\nword\n")) == [
        {"word": "other"},
        {"word": "word"},
    ]


def test_columns_without_a_name_are_left_out(tmp_path: Path):
    path = write(tmp_path / "spam.csv", "v1,v2,,,\nham,hello,,,\nspam,win,now,,\n")
    assert rows_of(path) == [{"v1": "ham", "v2": "hello"}, {"v1": "spam", "v2": "win"}]


def test_a_note_for_excel_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.csv:1: 'sep=;' is a note for Excel"):
        rows_of(write(tmp_path / "a.csv", "sep=;\ntext;label\na;b\n"), delimiter=";")


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (gzip.compress(b"text\na\n", mtime=0), ".gz"),
        (b"PAR1xx", ".parquet"),
        (b"PK\x03\x04x", ".xlsx"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, suffix: str):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(InputError, match="is not text") as caught:
        rows_of(path)
    assert caught.value.action == f"name it {suffix}"


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("train.csv", "text,label\na,b\n")
    return content.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.zip", "a.csv.bz2", "a.label"])
@pytest.mark.parametrize(
    ("content", "what", "cure"),
    [
        (zipped(), "a zip archive", "unpack it"),
        (bz2.compress(b"text,label\na,b\n"), "bzip2", "unpack it"),
        (lzma.compress(b"text,label\na,b\n"), "xz", "unpack it"),
        (b"\x28\xb5\x2f\xfd\0", "zstandard", "unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Office document", "save it as .xlsx"),
        (b"SQLite format 3\0", "a database", "save it as .csv"),
        (b"%PDF-1.7", "a PDF document", "save it as .csv"),
    ],
)
def test_archives_and_documents_are_named_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, what: str, cure: str
):
    path = write(tmp_path / name, content)
    for read in (rows_of, find_encoding):
        with pytest.raises(InputError, match=f"is not text but {what}") as caught:
            read(path)
        assert caught.value.action.startswith(cure)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u8fd9\u90e8\u7535\u5f71\u5f88\u597d", "gbk"),
        ("\u3053\u306e\u6620\u753b\u306f\u826f\u3044", "shift_jis"),
        ("\u0445\u043e\u0440\u043e\u0448\u0438\u0439 \u0444\u0438\u043b\u044c\u043c", "cp1251"),
        ("\u03ba\u03b1\u03bb\u03ae \u03c4\u03b1\u03b9\u03bd\u03af\u03b1", "iso8859-7"),
    ],
)
def test_other_scripts_are_not_taken_for_latin_letters(tmp_path: Path, text: str, encoding: str):
    path = write(tmp_path / "a.csv", f"text,label\n{text},good\n".encode(encoding))
    with pytest.raises(InputError, match="not in Latin letters"):
        find_encoding(path)
    with pytest.raises(InputError, match=r"a\.csv:2: not UTF-8 .*perhaps gb18030"):
        rows_of(path)
    assert rows_of(path, encoding=encoding) == [{"text": text, "label": "good"}]


MIXED = {
    "one line of latin-1": ("latin-1", [("caf\u00e9 noir", "utf-8")] * 5 + [("na\u00efve", "latin-1")]),
    "one line of UTF-8": ("latin-1", [("na\u00efve", "latin-1")] * 5 + [("un caf\u00e9", "utf-8")]),
    "a quotation mark": ("windows-1252", [("it\u2019s", "windows-1252")] * 5 + [("it\u2019s", "utf-8")]),
    "capitals": ("latin-1", [("\u00c9", "utf-8")] * 5 + [("\u00c9", "latin-1")]),
    "another script": (
        "gb18030",
        [("\u8fd9\u90e8\u7535\u5f71", "gb18030")] * 5 + [("\u5f88\u597d\u7684\u7535\u5f71", "utf-8")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_a_file_in_two_encodings_is_refused_with_a_line_of_each(tmp_path: Path, name: str):
    encoding, lines = MIXED[name]
    content = b"".join(text.encode(each) + b",good\n" for text, each in lines)
    path = write(tmp_path / "a.csv", b"text,label\n" + content)
    first = {each == "utf-8": number for number, (_, each) in reversed(list(enumerate(lines, 2)))}
    for given in (encoding, None):
        with pytest.raises(InputError) as caught:
            rows_of(path, **({"encoding": given} if given else {}))
        assert caught.value.what.startswith(f"{path}:{first[False]}: not UTF-8")
        assert f"but line {first[True]} is: two encodings in one file" in caught.value.what
    if encoding != "gb18030":
        with pytest.raises(InputError, match="two encodings"):
            find_encoding(path)


def test_two_encodings_within_a_line_are_found(tmp_path: Path):
    path = write(tmp_path / "a.json", b'[{"text": "caf\xc3\xa9"}, {"text": "caf\xe9"}]')
    with pytest.raises(InputError, match=r"a\.json:1: not UTF-8, in part: two encodings"):
        rows_of(path, encoding="latin-1")


@pytest.mark.parametrize(
    ("encoding", "first", "others"),
    [
        ("windows-1252", "CAF\u00c9\u2019S AMANH\u00c3\u201d \u00c9\u00bb", "na\u00efve"),
        ("windows-1250", "\u0102\u015ftia", "\u0163ar\u0103"),  # read as "\u00fatia" in UTF-8
        ("windows-1251", "\u042f\u00bb", "\u0434\u0430"),
        ("gbk", "\u4e00\u4e9b", "\u8fd9\u90e8\u7535\u5f71"),
    ],
)
def test_a_line_that_is_utf_8_by_chance_is_read(
    tmp_path: Path, encoding: str, first: str, others: str
):
    lines = [first, *[others] * 9]
    assert lines[0].encode(encoding).decode("utf-8") != first
    path = write(tmp_path / "a.txt", "\n".join(lines).encode(encoding))
    assert [row["text"] for row in rows_of(path, encoding=encoding)] == lines


def test_latin_letters_are_told_from_pictures(tmp_path: Path):
    latin = (
        "Il a dit \u00ab caf\u00e9 cr\u00e8me \u00bb, \u00e9t\u00e9, na\u00efve, \u00c0 b\u00eate"
    )
    assert find_encoding(write(tmp_path / "a.txt", latin.encode("latin-1"))) == "latin-1"
    with pytest.raises(InputError, match="no text"):
        find_encoding(write(tmp_path / "b.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF"))


def test_a_tab_may_be_written_as_backslash_t(tmp_path: Path):
    path = write(tmp_path / "a.csv", "text\tlabel\nx\t1\ny\t0\n")
    splits = load_splits({"source": str(path), "delimiter": "\\t", **FIELDS}, test_all=True)
    assert splits["test"]["text"][:] == ["x", "y"]


def test_labels_that_yaml_reads_as_something_else_are_explained(tmp_path: Path):
    path = write(tmp_path / "a.csv", "text,label\nx,1\n")
    with pytest.raises(InputError, match="True is not text; YAML reads yes, no"):
        load_splits({"source": str(path), "labels": [True, False]}, test_all=True)


def sheet(path: Path, rows: list[list[object]]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return book


def test_columns_of_a_sheet_without_a_name_are_left_out(tmp_path: Path):
    book = openpyxl.Workbook()
    for row in ([None, "text", None, "label"], [1, "a", "note", "x"], [2, "b", None, "y"]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert rows_of(tmp_path / "a.xlsx") == [
        {"text": "a", "label": "x"},
        {"text": "b", "label": "y"},
    ]


def test_a_sheet_gives_what_its_cells_show(tmp_path: Path):
    path, day = tmp_path / "a.xlsx", datetime.datetime(2024, 1, 2)
    book = sheet(path, [["q", "a"], ["x_x000D_\ny", "#N/A"], ["z", day]])
    book.active["B3"].number_format = "yyyy-mm-dd"
    book.active.append(["w", datetime.datetime(2024, 1, 2, 3, 4)])
    book.create_chartsheet("Chart", 0).add_chart(openpyxl.chart.BarChart())
    book.save(path)
    assert rows_of(path) == [
        {"q": "x\r\ny", "a": None},
        {"q": "z", "a": day.date()},
        {"q": "w", "a": datetime.datetime(2024, 1, 2, 3, 4)},
    ]
    with pytest.raises(InputError, match="no sheet Chart"):
        rows_of(path, worksheet="Chart")


def test_parquet_that_rows_would_lose_values_of_is_refused(tmp_path: Path):
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], ["x", "x"])
    pyarrow.parquet.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="two columns have one name"):
        rows_of(tmp_path / "a.parquet")
    kind = pyarrow.map_(pyarrow.string(), pyarrow.int64())
    mapped = pyarrow.table({"m": pyarrow.array([[("k", 1), ("k", 2)]], kind)})
    pyarrow.parquet.write_table(mapped, tmp_path / "b.parquet")
    with pytest.raises(InputError, match="a map holds a key twice"):
        rows_of(tmp_path / "b.parquet")


def test_a_split_in_several_files_as_the_hub_has_them(tmp_path: Path):
    for name, word in (("train-00000-of-00002", "a"), ("train-00001-of-00002", "b"), ("test", "c")):
        write(tmp_path / "data" / f"{name}.csv", f"text,label\n{word},1\n{word}{word},0\n")
    splits = load_splits({"source": str(tmp_path / "data"), "validation_size": 1, **FIELDS})
    assert {name: part["text"][:] for name, part in splits.items()}["test"] == ["c", "cc"]
    read = [*splits["train"]["text"][:], *splits["validation"]["text"][:]]
    assert sorted(read) == ["a", "aa", "b", "bb"]
    with pytest.raises(InputError) as caught:
        load_splits({"source": str(tmp_path), **FIELDS})
    assert caught.value.action == f"give {tmp_path / 'data'}, which has them"
    write(tmp_path / "data" / "train.csv", "text,label\nx,1\n")
    with pytest.raises(InputError, match="are both the train split"):
        split_files(tmp_path / "data")


@pytest.mark.parametrize("name", ["pos.csv", "pos.jsonl", "pos/1.json"])
def test_tables_and_objects_are_no_texts_of_a_label(tmp_path: Path, name: str):
    path = write(tmp_path / name, '{"text": "a"}\n')
    write(tmp_path / "neg.txt", "b\n")
    wanted = {"neg": "neg.txt", "pos": name.partition("/")[0]}
    with pytest.raises(InputError, match=f"{path.name}: a .* file holds more than texts"):
        load_splits({"source": str(tmp_path), "label_files": wanted})


def test_a_labels_folder_without_files_is_named(tmp_path: Path):
    write(tmp_path / "pos" / "deeper" / "1.txt", "a")
    write(tmp_path / "neg" / "1.txt", "b")
    with pytest.raises(InputError, match="pos: a folder without files"):
        load_splits({"source": str(tmp_path), "label_files": {"neg": "neg", "pos": "pos"}})


def test_folders_of_splits_may_have_longer_names(tmp_path: Path):
    for split in ("train", "test"):
        for label in ("a", "b"):
            for number in range(4):
                text = f"{split} {label} {number}"
                write(tmp_path / f"20news-bydate-{split}" / label / f"{number}", text)
    splits = load_splits({"source": str(tmp_path), "label_files": {"a": "a", "b": "b"}})
    assert sorted(splits["test"]["text"][:]) == sorted(
        f"test {label} {number}" for label in ("a", "b") for number in range(4)
    )


def test_two_labels_in_a_line_are_refused(tmp_path: Path):
    path = write(tmp_path / "a.txt", "__label__a one\n__label__a __label__b two\n")
    with pytest.raises(InputError, match=r"a\.txt:2: __label__\.\.\. comes twice"):
        rows_of(path, line_format="__label__{label} {text}")


def test_answers_of_two_shapes_in_a_list_are_refused(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", '{"q": "x", "answers": ["a", {"text": "b"}]}\n')
    with pytest.raises(InputError, match="objects next to other values"):
        load_splits({"source": str(path)}, test_all=True)


MARK = "\ufeff"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", f"{MARK}text,label\na,1\n{MARK}b,0\n"),
        ("x.tsv", f"text\tlabel\na\t1\n{MARK}b\t0\n"),
        ("x.jsonl", f'{{"text": "a", "label": "1"}}\n{MARK}{{"text": "b", "label": "0"}}\n'),
    ],
)
def test_a_byte_order_mark_where_files_were_joined_is_no_text(name: str, text: str, tmp_path: Path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    splits = load_splits({"source": str(tmp_path / name)}, test_all=True)
    assert list(splits["test"]) == [{"text": "a", "label": "1"}, {"text": "b", "label": "0"}]


@pytest.mark.parametrize("header", ["\u200btext,label\u00a0", " text\u200e , label"])
def test_a_header_is_read_without_what_shows_nothing_at_its_ends(header: str, tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\na,1\nb,0\n", encoding="utf-8")
    splits = load_splits({"source": str(path), "columns": FIELDS["columns"]}, test_all=True)
    assert list(splits["test"]) == [{"text": "a", "label": "1"}, {"text": "b", "label": "0"}]


@pytest.mark.parametrize(
    ("key", "shown"), [("Text", "Text"), ("text ", "'text '"), ("\u200btext", r"'\u200btext'")]
)
def test_a_column_that_is_nearly_the_one_is_named(key: str, shown: str, tmp_path: Path):
    path = write_jsonl(tmp_path / "x.jsonl", [{key: "a", "label": 1}])
    with pytest.raises(InputError) as caught:
        load_splits({"source": str(path), "columns": FIELDS["columns"]}, test_all=True)
    said = f"no column for the field text (columns: {shown}, label); did you mean {shown}?"
    assert caught.value.what == f"{path}: {said}"
