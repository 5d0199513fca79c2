"""Data files of every kind, with texts of every kind in them and bytes changed."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ft_harness.data import load_splits
from ft_harness.data.files import read_file
from ft_harness.data.layout import Layout
from tests.fuzz.inputs import changed, characters, damaged, json_bytes, texts, values
from tests.fuzz.outcome import examples, outcome

pytestmark = pytest.mark.slow  # hundreds of inputs a test
# what a table of texts can hold: no half characters, and no NUL, which ends a line of some readers
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
tables = st.lists(st.tuples(words, words), min_size=1, max_size=6)
ROWS = [{"id": number, "text": f"a text {number}", "label": number % 2} for number in range(6)]
DATA = {"columns": {"text": [], "label": []}, "labels": ["no", "yes"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def load(path: Path, data: dict[str, Any] | None = None) -> Any:
    return outcome(lambda: load_splits({"source": str(path), **(DATA if data is None else data)}))


# --- what was written is what is read -------------------------------------------------------------


@examples(150)
@given(table=tables)
def test_cells_of_a_csv_file(table: list[tuple[str, str]], folder: Path):
    """Against Python's csv module."""
    path = folder / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("one", "two"), *table])
    rows = outcome(lambda: [row for _, row in read_file(path)])
    if rows is not None:
        assert [(row["one"], row["two"]) for row in rows] == table


@examples(150)
@given(
    rows=st.lists(st.dictionaries(texts, values, max_size=3), min_size=1, max_size=4),
    packed=st.booleans(),
)
def test_objects_of_a_jsonl_file(rows: list[dict[str, Any]], packed: bool, folder: Path):
    """Against Python's json module."""
    text = b"\n".join(map(json_bytes, rows))
    path = folder / ("rows.jsonl.gz" if packed else "rows.jsonl")
    path.write_bytes(gzip.compress(text) if packed else text)
    found = outcome(lambda: [row for _, row in read_file(path)])
    if found is not None:
        assert list(map(json.dumps, found)) == [
            json.dumps(json.loads(json_bytes(row))) for row in rows
        ]


@examples(100)
@given(table=tables)
def test_cells_of_a_parquet_file(table: list[tuple[str, str]], folder: Path):
    """Against pyarrow."""
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"one": [a for a, _ in table], "two": [b for _, b in table]}), path)
    rows = outcome(lambda: [row for _, row in read_file(path)])
    assert rows is not None
    assert [(row["one"], row["two"]) for row in rows] == table


@examples(150)
@given(
    names=st.lists(words, min_size=1, max_size=3, unique=True),
    ids=st.lists(words | st.integers(0, 9).map(str), min_size=1, max_size=4, unique=True),
    cells=st.lists(st.text("ab", max_size=2) | st.integers(0, 2) | st.none(), min_size=12),
    by_id=st.booleans(),
)
def test_a_table_of_a_json_file(
    names: list[str], ids: list[str], cells: list[Any], by_id: bool, folder: Path
):
    """It is refused, or read as it was meant, or the other way round where its keys say so."""
    values = iter(cells)
    rows = {each: {name: next(values) for name in names} for each in ids}
    table = {name: {each: row[name] for each, row in rows.items()} for name in names}
    path = folder / "table.json"
    path.write_bytes(json_bytes(rows if by_id else table))
    found = outcome(lambda: [row for _, row in read_file(path)])
    if found is not None:
        meant = [rows[each] for each in ids]
        bare = [{name: row[name] for name in row if name != "id" or "id" in names} for row in found]
        swapped = [{each: row.get(each) for each in ids} for row in found]
        assert bare == meant or swapped == list(table.values())


# --- whatever was written -------------------------------------------------------------------------

NAMES = ("t.csv", "t.tsv", "t.txt", "t.json", "t.jsonl", "t.xml", "t.csv.gz", "t.jsonl.gz")
MARKUP = (
    *(
        "<a>",
        "</a>",
        "<a b='c'>",
        "<?xml version='1.0' encoding='x'?>",
        "<!DOCTYPE a [",
        "<!ENTITY b 'c'>",
    ),
    *(
        "]>",
        "&b;",
        "&#0;",
        "<![CDATA[",
        "]]>",
        '"',
        ",",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "[",
        "]",
        "{",
        "}",
        ":",
    ),
    *(
        '{"data": [',
        '"paragraphs"',
        '"qas"',
        '"answers"',
        '"text"',
        "null",
        "1e999",
        "x",
        "\x00",
        "\ufeff",
    ),
)
contents = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from(MARKUP), max_size=20).map(lambda parts: "".join(parts).encode()),
    st.text(characters, max_size=40).map(lambda text: text.encode("utf-16", "surrogatepass")),
    damaged(b"id,text,label\n" + b"".join(b'%d,"a, text",%d\n' % (n, n % 2) for n in range(6))),
    damaged(b"\n".join(map(json_bytes, ROWS))),
    damaged(gzip.compress(b"\n".join(map(json_bytes, ROWS)))),
    damaged(
        b"<r>" + b"".join(b"<s text='a %d'><label>no</label></s>" % n for n in range(6)) + b"</r>"
    ),
)


@examples(250)
@given(name=st.sampled_from(NAMES), content=contents)
def test_a_file_of_any_bytes(name: str, content: bytes, folder: Path):
    path = folder / name
    path.write_bytes(content)
    load(path)


@examples(200)
@given(rows=changed(ROWS), data=changed(DATA), name=st.sampled_from(["r.json", "r.jsonl"]))
def test_rows_of_any_values(rows: Any, data: Any, name: str, folder: Path):
    path = folder / name
    lines = name.endswith("l")
    path.write_bytes(b"\n".join(map(json_bytes, rows)) if lines else json_bytes(rows))
    load(path, data)


TABLES = [
    {"text": ["a", "b", "c"], "label": [0, 1, 0]},
    {"text": {"0": "a", "1": "b"}, "label": {"0": 0, "1": 1}},
    {"17": {"text": "a", "label": 0}, "18": {"text": "b", "label": 1}},
    {"columns": ["text", "label"], "index": [0, 1], "data": [["a", 0], ["b", 1]]},
]


@examples(150)
@given(table=st.sampled_from(TABLES).flatmap(changed), key=st.none() | texts)
def test_tables_of_any_values(table: Any, key: str | None, folder: Path):
    path = folder / "table.json"
    path.write_bytes(json_bytes(table))
    load(path, DATA if key is None else {**DATA, "rows": key})


SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "a text",
                    "qas": [
                        {"id": "1", "question": "q?", "answers": [{"text": "a", "answer_start": 0}]}
                    ],
                }
            ],
        }
    ]
}


@examples(150)
@given(content=changed(SQUAD, most=1).map(json_bytes))
def test_a_squad_file(content: bytes, folder: Path):
    path = folder / "squad.json"
    path.write_bytes(content)
    outcome(lambda: list(read_file(path)))


OPTIONS: dict[str, Any] = {
    "columns": {"text": ["t", "a.b"], "label": []}, "labels": ["no", "yes"], "label_words": ["n", "y"],
    "encoding": "utf-8", "delimiter": ",", "column_names": ["text", "label"], "rows": "data.items",
    "line_format": "{label} {text}", "train_size": 3, "validation_size": 0.5, "split": "80/20",
    "group_by": "text", "drop_labels": [-1], "optional": ["text"], "label_files": {"a": "x"},
    "worksheet": "s", "stratified": True, "first": False, "language": "en", "pairs": False,
}  # fmt: skip
ENCODINGS = (
    *(
        "undefined",
        "idna",
        "punycode",
        "rot13",
        "hex",
        "unicode_escape",
        "utf-7",
        "utf-16",
        "utf_8_sig",
    ),
    *(
        "raw_unicode_escape",
        "zlib",
        "base64",
        "mbcs",
        "cp1252",
        "shift_jis",
        "utf-32-be",
        "charmap",
        "x\x00",
    ),
)


@examples(250)
@given(
    kept=st.sets(st.sampled_from([*OPTIONS]), max_size=4),
    data=st.data(),
    content=contents,
    name=st.sampled_from(NAMES),
)
def test_options_of_any_values(
    kept: set[str], data: st.DataObject, content: bytes, name: str, folder: Path
):
    options = {key: value for key, value in OPTIONS.items() if key in kept}
    if "encoding" in kept:
        options["encoding"] = data.draw(st.sampled_from(ENCODINGS))
    options = data.draw(st.one_of(st.just(options), changed(options) if options else st.just({})))
    (folder / name).write_bytes(content)
    load(folder / name, options)


# --- files with types -----------------------------------------------------------------------------

_TYPES = (
    *(
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float64(),
    ),
    *(pa.bool_(), pa.date32(), pa.date64(), pa.timestamp("ns"), pa.timestamp("s", "Europe/Berlin")),
    *(pa.time64("ns"), pa.duration("ns"), pa.decimal128(38, 2), pa.list_(pa.string()), pa.null()),
    *(pa.map_(pa.string(), pa.int64()), pa.struct([("a", pa.int64()), ("text", pa.string())])),
)
_VALUES = (
    None,
    0,
    1,
    -1,
    2**62,
    1.5,
    float("nan"),
    "a",
    "",
    b"\xff",
    [],
    ["a"],
    [("k", 1), ("k", 2)],
    {"a": 1},
)


@st.composite
def arrow_tables(draw: st.DrawFn) -> pa.Table:
    names = draw(
        st.lists(st.sampled_from(["text", "label", "a", "", "a.b", "\x00"]), min_size=1, max_size=3)
    )
    columns = []
    for _ in names:
        kind = draw(st.sampled_from(_TYPES))
        made = []
        for value in draw(st.lists(st.sampled_from(_VALUES), min_size=2, max_size=2)):
            try:
                made.append(pa.array([value], kind))
            except (pa.ArrowException, TypeError, OverflowError, ValueError):
                made.append(pa.nulls(1, kind))
        columns.append(pa.chunked_array(made, kind))
    return pa.Table.from_arrays(columns, names)


@examples(150)
@given(table=arrow_tables(), data=st.data())
def test_a_parquet_file_of_any_types(table: pa.Table, data: st.DataObject, folder: Path):
    sink = io.BytesIO()
    try:
        pq.write_table(table, sink)
    except (pa.ArrowException, NotImplementedError):
        assume(False)
    content = sink.getvalue()
    path = folder / "t.parquet"
    path.write_bytes(data.draw(st.one_of(st.just(content), damaged(content))))
    load(path, data.draw(st.sampled_from([DATA, {}])))


NOTE = {
    "info": {
        "features": {
            "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
            "text": {"dtype": "string"},
        }
    }
}


@examples(100)
@given(note=changed(NOTE).map(json_bytes))
def test_label_names_in_a_parquet_file(note: bytes, folder: Path):
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table.replace_schema_metadata({b"huggingface": note}), folder / "n.parquet")
    load(folder / "n.parquet")


def make_sheet() -> bytes:
    book, sink = openpyxl.Workbook(), io.BytesIO()
    for row in (["id", "text", "label"], *([*row.values()] for row in ROWS)):
        book.active.append(row)
    book.save(sink)
    return sink.getvalue()


SHEET = make_sheet()


@examples(100)
@given(content=damaged(SHEET))
def test_a_workbook_of_any_bytes(content: bytes, folder: Path):
    path = folder / "t.xlsx"
    path.write_bytes(content)
    outcome(lambda: list(read_file(path, Layout())))
