"""Rows come out as their file writes them: keys, numbers, shapes; or they are refused with their
place. Expected values are the ones written into the files here."""

from __future__ import annotations

import datetime
import gzip
import json
import logging
from decimal import Decimal
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from ft_harness.data import load_splits, loading
from ft_harness.data.files import read_file
from ft_harness.errors import FtHarnessError, InputError


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_bytes(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def read(path: Path, **options) -> list[dict]:
    return list(load_splits({"source": str(path), **options}, test_all=True)["test"])


def refused(expected: str, path: Path, **options) -> FtHarnessError:
    with pytest.raises(FtHarnessError) as caught:
        read(path, **options)
    assert expected in caught.value.what
    return caught.value


def exact(values: object) -> str:
    """A spelling in which 1 and 1.0 differ, and the order of keys counts."""
    return json.dumps(values)


# --- fields that not every row has


OPTIONAL = [
    {"instruction": "Name a colour.", "output": "red"},
    {"instruction": "Translate", "input": "word", "output": "mot"},
    {"instruction": "Name a town.", "output": "Rome"},
]


def test_a_key_that_first_appears_in_the_second_row_is_a_column(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", OPTIONAL)
    assert [doc["input"] for doc in read(path)] == [None, "word", None]
    columns = {"instruction": [], "input": ["context"], "answer": ["output"]}
    docs = read(path, columns=columns, optional=["input"])
    assert [doc["input"] for doc in docs] == ["", "word", ""]
    path = write_lines(tmp_path / "b.jsonl", [{"text": "a"}] * 10_000 + [{"text": "b", "n": 7}])
    assert [doc["n"] for doc in read(path)] == [None] * 10_000 + [7]


def test_the_shipped_task_reads_inputs_of_later_rows(tmp_path: Path):
    from ft_harness.tasks.finding import find_task
    from ft_harness.tasks.loading import load_tasks

    path = write_lines(tmp_path / "a.jsonl", OPTIONAL * 20)
    metadata = {"data_source": str(path), "test_all": True}
    task = load_tasks(find_task("instruction_custom", metadata=metadata), ["test"])["test"]
    prompts = [task.doc_to_text(doc) for doc in task.eval_docs]
    assert [("word" in prompt) for prompt in prompts] == [False, True, False] * 20


def test_a_required_field_that_the_first_row_lacks_is_named_with_the_row(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", OPTIONAL)
    error = refused(
        f"{path}:1: the field input is null (2 rows", path, columns={"instruction": [], "input": []}
    )
    assert "data.optional" in error.action


def test_a_split_without_labels_is_named_with_the_way_out(tmp_path: Path):
    """As the test files of public benchmarks have none."""
    for split in ("train", "dev"):
        write_lines(
            tmp_path / f"{split}.jsonl", [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
        )
    write_lines(tmp_path / "test.jsonl", [{"index": 0, "text": "c"}])
    columns = {"columns": {"text": [], "label": []}, "labels": ["x", "y"]}
    error = refused("test.jsonl: no column for the field label", tmp_path, **columns)
    assert error.action.startswith("move its file away if it has none")
    (tmp_path / "test.jsonl").unlink()
    assert len(read(tmp_path, **columns)) == 4


def test_a_field_in_another_column_in_some_rows_is_refused(tmp_path: Path):
    rows = [{"text": "id-1", "review": "good film"}, {"text": "id-2"}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    refused(
        f"{path}:2: the field text is in the column text, but in review at {path}:1",
        path,
        columns={"text": ["review"]},
    )


def test_an_optional_number_of_zero_is_a_value(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a", "n": 0}, {"text": "b", "n": 2}])
    docs = read(path, columns={"text": [], "n": []}, optional=["n"])
    assert [doc["n"] for doc in docs] == [0, 2]


def test_an_optional_field_outside_columns_is_read_too(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a", "hint": "h"}, {"text": "b"}])
    docs = read(path, columns={"text": []}, optional=["hint"])
    assert [doc["hint"] for doc in docs] == ["h", ""]


# --- values

BIG = 123456789012345678901234567890


@pytest.mark.parametrize(
    "values",
    [
        [0, 0.5, 1, 1.5],
        [1, 2.0, 3],
        [5.0, 6.0],
        [[1, 2.5], [3]],
        [[1], [2.5]],
        [[1, None, 2.5]],
        [BIG, 1],
        [2**63, -1],
        [[BIG], [1]],
        [9007199254740993, 0.1],
        [0.1 + 0.2, 1],
        [{"a": 1}, {"b": "x"}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
        [{"n": 1}, {"n": "one"}],
        [{"n": [1, 2.5]}, {"n": []}],
        [[{"a": 1}], [{"b": [None]}], []],
        [{}, {"a": {}}],
        [[[]], [["a"]]],
        [True, False],
        ["5.0", "5"],
    ],
    ids=exact,
)
@pytest.mark.parametrize("fill", [0, 10_000])
def test_values_come_out_as_they_went_in(values: list, fill: int, tmp_path: Path):
    """In one batch, and where the odd value comes after 10,000 rows."""
    path = write_lines(tmp_path / "a.jsonl", [{"n": n} for n in [values[0]] * fill + values])
    docs = load_splits({"source": str(path)}, test_all=True)["test"]
    assert exact([doc["n"] for doc in docs]) == exact([values[0]] * fill + values)
    assert exact(list(docs["n"])) == exact([values[0]] * fill + values)  # as a column too
    assert exact(docs[len(docs) - 1]["n"]) == exact(values[-1])


def test_such_columns_survive_selection_and_mapping(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", [{"n": n, "i": i} for i, n in enumerate([1, 0.5] * 9)])
    splits = load_splits({"source": str(path)})
    assert exact([doc["n"] for doc in splits["train"]]) == exact(
        [[1, 0.5][doc["i"] % 2] for doc in splits["train"]]
    )
    mapped = splits["train"].map(lambda doc: {"twice": doc["i"] * 2})
    assert exact([doc["n"] for doc in mapped]) == exact([doc["n"] for doc in splits["train"]])


def test_nan_is_null_wherever_it_is(tmp_path: Path):
    rows = [{"answer": 1, "l": [1, float("nan")]}, {"answer": float("nan"), "l": [2, None]}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    refused(f"{path}:2: the field answer is null", path)
    assert exact([doc["l"] for doc in read(path, columns={"l": []})]) == "[[1, null], [2, null]]"
    table = pyarrow.table({"t": ["a", "b"], "n": pyarrow.array([1.0, float("nan")])})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    refused("a.parquet, row 1: the field n is null", tmp_path / "a.parquet")


def test_short_numbers_are_as_short_as_the_file_has_them(tmp_path: Path):
    """0.1 in 32 bits is the number nearest to it there; as 64 bits it would be read as
    0.10000000149011612."""
    short, half = pyarrow.float32(), pyarrow.float16()
    columns = {
        "n": pyarrow.array([0.1, 2.7, None], short),
        "half": pyarrow.array([0.1, 5.0, 65504.0], half),
        "double": pyarrow.array([0.1, float(np.float32(0.1)), 1e300], pyarrow.float64()),
        "listed": pyarrow.array([[0.1, None], [], None], pyarrow.list_(short)),
        "fixed": pyarrow.array([[0.1, 2.5]] * 3, pyarrow.list_(short, 2)),
        "inside": pyarrow.array([{"a": [{"b": 0.1}], "c": 1}, None, {"a": None, "c": 2}],
                                pyarrow.struct([("a", pyarrow.list_(pyarrow.struct([("b", half)]))),
                                                ("c", pyarrow.int8())])),
        "map": pyarrow.array([[("k", 0.1)], [], None], pyarrow.map_(pyarrow.string(), short)),
        "often": pyarrow.array([0.1, 0.1, 3.3], short).dictionary_encode(),
    }  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    rows = [row for _, row in read_file(tmp_path / "a.parquet")]
    assert exact(rows) == exact(
        [
            {"n": 0.1, "half": 0.1, "double": 0.1, "listed": [0.1, None], "fixed": [0.1, 2.5],
             "inside": {"a": [{"b": 0.1}], "c": 1}, "map": {"k": 0.1}, "often": 0.1},
            {"n": 2.7, "half": 5.0, "double": 0.10000000149011612, "listed": [],
             "fixed": [0.1, 2.5], "inside": None, "map": {}, "often": 0.1},
            {"n": None, "half": 65504.0, "double": 1e300, "listed": None, "fixed": [0.1, 2.5],
             "inside": {"a": None, "c": 2}, "map": None, "often": 3.3},
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    "written", ["Infinity", "-Infinity", "1e400", "[1, -1e999]", '{"a": 1e400}']
)
def test_numbers_beyond_all_bounds_are_refused_with_their_row(written: str, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"n": 1.5, "q": "a"}}\n{{"n": {written}, "q": "b"}}\n', encoding="utf-8")
    refused(f"{path}:2: the field n holds a number that is infinite", path)
    assert [doc["q"] for doc in read(path, columns={"q": []})] == ["a", "b"]


def test_whole_numbers_of_32_bits_are_exact(tmp_path: Path):
    """67,108,872 = 2^26 + 8 has 32 bits to itself, though fewer digits would name it there."""
    ids = pyarrow.array([67108872.0, 1234567936.0], pyarrow.float32())
    pyarrow.parquet.write_table(pyarrow.table({"id": ids}), tmp_path / "a.parquet")
    rows = [row for _, row in read_file(tmp_path / "a.parquet")]
    assert exact(rows) == exact([{"id": 67108872.0}, {"id": 1234567936.0}])


def test_long_lists_of_numbers_are_embeddings_which_stay(tmp_path: Path):
    column = pyarrow.array([[0.1] * 768], pyarrow.list_(pyarrow.float32()))
    pyarrow.parquet.write_table(pyarrow.table({"e": column}), tmp_path / "a.parquet")
    (row,) = [row for _, row in read_file(tmp_path / "a.parquet")]
    assert row["e"] == [float(np.float32(0.1))] * 768


def test_arrays_of_a_hub_data_set_are_no_obstacle():
    kinds = datasets.Features(
        {
            "text": datasets.Value("string"),
            "score": datasets.Value("float32"),
            "array": datasets.Array2D((1, 2), "float32"),
        }
    )
    made = datasets.Dataset.from_list(
        [{"text": "a", "score": 0.1, "array": [[1.0, 2.0]]}], features=kinds
    )
    ((_, row),) = loading._hub_rows("org/name", made)
    assert (row["text"], row["score"]) == ("a", 0.1)


def test_text_in_binary_columns_is_decoded_or_refused(tmp_path: Path):
    good = pyarrow.table({"text": pyarrow.array(["schön".encode(), b"b"], pyarrow.binary())})
    pyarrow.parquet.write_table(good, tmp_path / "a.parquet")
    assert [doc["text"] for doc in read(tmp_path / "a.parquet")] == ["schön", "b"]
    bad = pyarrow.table({"text": pyarrow.array([b"a", b"\x89PNG\xff"], pyarrow.binary())})
    pyarrow.parquet.write_table(bad, tmp_path / "b.parquet")
    refused("b.parquet, row 1: the field text holds bytes that", tmp_path / "b.parquet")


def test_types_that_json_lacks_are_texts(tmp_path: Path):
    table = pyarrow.table(
        {
            "day": [datetime.date(2026, 3, 1)],
            "price": [Decimal("5.50")],
            "pairs": pyarrow.array([[("a", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "kind": pyarrow.array(["x"]).dictionary_encode(),
            "count": pyarrow.array([2**64 - 1], pyarrow.uint64()),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [
        {"day": "2026-03-01", "price": "5.50", "pairs": {"a": 1}, "kind": "x", "count": 2**64 - 1}
    ]


# --- text files

TWO = [{"text": "a film", "label": "1"}, {"text": "good, film", "label": "0"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", '\n\ntext,label\na film,1\n"good, film",0\n'),
        ("a.csv", '  \ntext,label\na film,1\n"good, film",0\n'),
        ("a.csv", 'text, label\n"a film", "1"\n"good, film", "0"\n'),
        ("a.csv", 'label, text\n1, "a film"\n0, "good, film"\n'),
        ("a.csv", 'text,label\ra film,1\r"good, film",0\r'),
        ("a.csv", 'text,label\r\na film,1\r\n\r\n"good, film",0'),
        ("a.tsv", "\ntext\tlabel\na film\t1\ngood, film\t0\n"),
        ("a.tsv", "text\tlabel\ra film\t1\rgood, film\t0\r"),
        ("a.jsonl", "".join(json.dumps(row) + "\r" for row in TWO)),
        ("a.json", "".join(json.dumps(row) + "\n" for row in TWO)),
        ("a.json", json.dumps({"meta": {"n": 2}, "items": TWO})),
        ("a.json", json.dumps({"meta": 1, "answer": {"items": TWO}})),
        ("a.xml", "<c><p label='1'><text>a film</text></p><p label='0' text='good, film'/></c>"),
    ],
)
def test_files_of_many_spellings(name: str, content: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert [dict(sorted(doc.items())) for doc in read(path)] == [
        dict(sorted(row.items())) for row in TWO
    ]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content.encode()))
    assert len(read(packed)) == 2


def test_blanks_stay_where_no_quote_follows_them(tmp_path: Path):
    path = write_bytes(tmp_path / "a.csv", 'text,label\n a, 1\n"  ""b"" c",2\n')
    assert read(path) == [{"text": " a", "label": " 1"}, {"text": '  "b" c', "label": "2"}]


def test_a_late_blank_before_a_quote_is_refused_with_its_line(tmp_path: Path):
    path = write_bytes(tmp_path / "a.csv", "text,label\n" + "a,1\n" * 300 + 'b, "0"\n')
    refused(f"{path}:302: a blank before a quote", path)


def test_lines_of_text_that_end_in_carriage_returns(tmp_path: Path):
    path = write_bytes(tmp_path / "a.txt", "one\rtwo\r\rthree\r")
    assert [doc["text"] for doc in read(path)] == ["one", "two", "three"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".jsonl", ".json"])
@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "utf-16"])
def test_another_encoding_is_read_on_request_and_offered(
    suffix: str, encoding: str, tmp_path: Path
):
    content = {
        ".csv": "text\nsch\u00f6n\n",
        ".tsv": "text\tn\nsch\u00f6n\t1\n",
        ".txt": "sch\u00f6n\n",
        ".jsonl": '{"text": "sch\u00f6n"}\n',
        ".json": '[{"text": "sch\u00f6n"}]',
    }[suffix]
    path = write_bytes(tmp_path / f"a{suffix}", content, encoding)
    error = refused("not UTF-8", path)
    assert "--set data.encoding=" in error.action
    assert [doc["text"] for doc in read(path, encoding=encoding)] == ["sch\u00f6n"]


def test_a_wrong_encoding_is_named(tmp_path: Path):
    path = write_bytes(tmp_path / "a.txt", "sch\u00f6n", "latin-1")
    refused("not ascii", path, encoding="ascii")
    refused("data option encoding", path, encoding="klingon")
    refused("data option encoding", path, encoding="base64")


UTF8 = '{"text": "plain"}\n{"text": "sch\u00f6n \u8fd9\u90e8\u7535\u5f71"}\n'


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "gb18030", "ascii", "utf-16"])
def test_a_file_in_utf_8_is_not_read_as_anything_else(encoding: str, tmp_path: Path):
    path = write_bytes(tmp_path / "a.jsonl", UTF8)
    line = 1 if encoding == "utf-16" else 2  # whose letters are two bytes each
    error = refused(
        f"{path}:{line}: utf-8, and data.encoding is {encoding}", path, encoding=encoding
    )
    assert "leave data.encoding out" in error.action
    path = write_bytes(tmp_path / "a.xml", "<c><p><t>sch\u00f6n</t></p></c>")
    if encoding in ("latin-1", "windows-1252"):  # expat knows no others
        refused(f"{path}:1: utf-8", path, encoding=encoding)


def test_letters_of_windows_are_not_read_as_control_characters(tmp_path: Path):
    path = write_bytes(tmp_path / "a.csv", "text\nplain\nit\u2019s\n", "windows-1252")
    error = refused(
        f"{path}:3: windows-1252, and data.encoding is latin-1", path, encoding="latin-1"
    )
    assert "--set data.encoding=windows-1252" in error.action
    refused("perhaps windows-1252", path)
    assert read(path, encoding="windows-1252")[1] == {"text": "it\u2019s"}


@pytest.mark.parametrize("encoding", ["utf8", "utf-8-sig", "latin-1", "gb18030", "iso2022_jp"])
def test_an_encoding_that_reads_the_same_may_be_given(encoding: str, tmp_path: Path):
    content = UTF8 if encoding.startswith("utf") else '{"text": "plain"}\n'
    path = write_bytes(tmp_path / "a.jsonl", content)
    assert read(path, encoding=encoding) == read(path)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u8fd9\u90e8\u7535\u5f71", "gb18030"),
        ("\u6620\u753b", "iso2022_jp"),
        ("plain", "utf-16-be"),
    ],
)
def test_text_in_other_encodings_is_not_taken_for_utf_8(text: str, encoding: str, tmp_path: Path):
    path = write_bytes(tmp_path / "a.txt", f"{text}\n", encoding)
    assert read(path, encoding=encoding) == [{"text": text}]


def test_tabs_by_delimiter_and_by_names(tmp_path: Path):
    path = write_bytes(tmp_path / "a.txt", 'a "film"\t1\nb\t0\n')
    expected = [{"text": 'a "film"', "label": "1"}, {"text": "b", "label": "0"}]
    assert read(path, column_names=["text", "label"]) == expected
    path = write_bytes(tmp_path / "b.data", 'text\tlabel\na "film"\t1\nb\t0\n')
    refused("unknown kind of file", path)
    assert read(path, delimiter="\t") == expected
    path = write_bytes(tmp_path / "c.csv", "text;label\na;1\n")
    assert "data.delimiter=;" in refused("the delimiter seems to be ';'", path).action
    assert read(path, delimiter=";") == [{"text": "a", "label": "1"}]


def test_lines_with_a_form_of_their_own(tmp_path: Path):
    path = write_bytes(tmp_path / "a.label", "DESC:manner How did: it end ?\nENTY:animal What ?\n")
    assert read(path, line_format="{label}:{sub} {text}") == [
        {"label": "DESC", "sub": "manner", "text": "How did: it end ?"},
        {"label": "ENTY", "sub": "animal", "text": "What ?"},
    ]
    path = write_bytes(tmp_path / "b.txt", "__label__pos good film\n__label__neg bad\nnone\n")
    options = {"line_format": "__label__{label} {text}"}
    refused(f"{path}:3: the line 'none' does not have the form", path, **options)
    for wrong in ("text", "{a}{b}", "{a} {a}", "{a!r}", "{0}", "{{x}} {a}", ""):
        refused("data option line_format", path, line_format=wrong)


def test_json_lists_under_keys(tmp_path: Path):
    rows = [{"q": {"text": "a"}, "a": [{"t": "x"}]}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": rows, "more": {"items": rows, "none": []}}))
    error = refused("no list of objects; there are lists under more.items, train", path)
    assert "data.rows=KEY" in error.action
    columns = {"question": ["q.text"], "answer": ["a.0.t"]}
    assert read(path, rows="more.items", columns=columns) == [{"question": "a", "answer": "x"}]
    refused("no list of objects under other", path, rows="other")
    refused("no column for the field question", path, rows="train", columns={"question": ["q.b"]})


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "a", "label": 0, "text": "b"}',
        '{"text": "a: b", "label": 0 , "text"  : "b"}',
        '{"text": [{"q": 1}, {"q": 1, "q": 2}], "label": 0}',
        '{"\\u0074ext": "a", "text": "b"}',
    ],
)
def test_a_key_twice_in_an_object_is_refused_with_its_row(row: str, tmp_path: Path):
    whole = '{"text": "a: b", "note": [{"q": 1}, {"q": "\\"r\\": s"}]}'
    key = "q" if "[" in row else "text"
    path = write_bytes(tmp_path / "a.jsonl", f"{whole}\n{row}\n")
    refused(f"{path}:2: an object has the key {key} twice", path)
    path = write_bytes(tmp_path / "a.json", f"[{whole},\n{row}]")
    refused(f"{path}, row 1: an object has the key {key} twice", path)
    assert len(read(write_bytes(tmp_path / "b.jsonl", f"{whole}\n{whole}\n"))) == 2


def test_a_list_of_rows_twice_in_a_file_is_refused(tmp_path: Path):
    path = write_bytes(tmp_path / "a.json", '{"data": [{"text": "a"}], "data": [{"text": "b"}]}')
    refused(f"{path}: an object has the key data twice", path)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("<p t='a'><t>b</t></p>", "t is an attribute and an element inside"),
        ("<p text='a'>b</p>", "text is an attribute and its own text"),
        ("<p>a<text>b</text></p>", "text is its own text and an element inside"),
        ("<p><text>b</text>a</p>", "text is an element inside and its own text"),
    ],
)
def test_a_name_for_two_things_in_xml_is_refused(pair: str, expected: str, tmp_path: Path):
    path = write_bytes(tmp_path / "a.xml", f"<c><p t='x'/>\n{pair}</c>")
    refused(f"{path}:2: {expected}", path)
    path = write_bytes(tmp_path / "b.xml", "<c><p n='1'><t>a</t><t>b</t></p></c>")
    assert read(path) == [{"n": "1", "t": "a\nb"}]


def test_xml_is_read_without_entities_and_with_places(tmp_path: Path):
    content = (
        "<?xml version='1.0' encoding='iso-8859-1'?>\n<!DOCTYPE corpus SYSTEM 'rte.dtd'>\n<corpus>\n"
        "<pair id='1' entailment='YES'>\n  <t>A caf\u00e9 &amp; bar\n opened.</t>\n  <h>It opened.</h>\n"
        "</pair>\n<pair id='2' entailment='NO'><t>x</t><h><b>y</b> z</h></pair></corpus>"
    )
    path = write_bytes(tmp_path / "a.xml", content, "latin-1")
    assert read(path) == [
        {"id": "1", "entailment": "YES", "t": "A caf\u00e9 & bar\n opened.", "h": "It opened."},
        {"id": "2", "entailment": "NO", "t": "x", "h": "y z"},
    ]
    path = write_bytes(tmp_path / "b.xml", "<c><p a='1'/>\n<p a='2'></c>")
    refused(f"{path}:2: not well-formed XML (mismatched tag)", path)
    path = write_bytes(tmp_path / "c.xml", "<!DOCTYPE c [<!ENTITY x 'xx'>]>\n<c><p>&x;</p></c>")
    refused("declares the entity x", path)
    path = write_bytes(tmp_path / "d.xml", "<c><p><t>sch\u00f6n</t></p></c>", "latin-1")
    refused("not well-formed XML", path)
    assert read(path, encoding="iso-8859-1") == [{"t": "sch\u00f6n"}]


def test_sheets(tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text", "stars"])
    book.active.append([])
    book.active.append(["a film", 5])
    book.active.append(["half", 2.5])
    other = book.create_sheet("more")
    other.append(["x", datetime.datetime(2026, 3, 1)])
    book.save(tmp_path / "a.xlsx")
    path = tmp_path / "a.xlsx"
    assert exact(read(path)) == exact(
        [{"text": "a film", "stars": 5}, {"text": "half", "stars": 2.5}]
    )
    names = {"worksheet": "more", "column_names": ["text", "day"]}
    assert read(path, **names) == [{"text": "x", "day": "2026-03-01 00:00:00"}]
    refused("no sheet none", path, worksheet="none")
    book.active.append(["too", 1, "many"])
    book.save(path)
    refused("Sheet row 5: more cells than the 2 columns", path)
    (tmp_path / "b.xlsx").write_text("no book")
    refused("not an Excel workbook", tmp_path / "b.xlsx")


# --- one file or folder a label


def test_a_file_for_each_label(tmp_path: Path):
    write_bytes(tmp_path / "plot.5000", "it begins\n\nit ends\n", "latin-1")
    write_bytes(tmp_path / "quote.5000", "caf\u00e9 gem\n", "latin-1")
    files = {"plot": "plot.5000", "quote": "quote.5000"}
    assert read(tmp_path, label_files=files, encoding="latin-1") == [
        {"text": "it begins", "label": "plot"},
        {"text": "it ends", "label": "plot"},
        {"text": "caf\u00e9 gem", "label": "quote"},
    ]
    refused("no such file or folder, for the label x", tmp_path, label_files={"x": "y"})
    refused("data.worksheet does not apply", tmp_path, label_files=files, worksheet="s")
    refused("needs a folder", tmp_path / "plot.5000", label_files=files)


def test_a_folder_for_each_label_and_split(tmp_path: Path):
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            (folder / "0.txt").write_text(f"{split} {label}\nsecond line\n")
            (folder / ".hidden").write_text("x")
    files = {"neg": "neg", "pos": "pos"}
    splits = load_splits(
        {
            "source": str(tmp_path),
            "label_files": files,
            "labels": ["neg", "pos"],
            "validation_size": 1,
        }
    )
    assert [doc["text"] for doc in splits["test"]] == [
        "test neg\nsecond line",
        "test pos\nsecond line",
    ]
    assert [doc["label"] for doc in splits["test"]] == [0, 1]


# --- what is given is used, or refused


def test_a_given_mapping_comes_before_a_column_of_the_fields_name(tmp_path: Path):
    rows = [
        {"text": f"id-{i}", "review": f"the film {i}", "label": i % 2, "stars": 1 - i % 2}
        for i in range(4)
    ]
    path = write_lines(tmp_path / "a.jsonl", rows)
    docs = read(
        path, columns={"text": ["review"], "label": ["stars"]}, labels=["negative", "positive"]
    )
    assert [(doc["text"], doc["label"]) for doc in docs] == [
        ("the film 0", 1), ("the film 1", 0), ("the film 2", 1), ("the film 3", 0),
    ]  # fmt: skip


def test_a_given_column_that_is_not_there_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a"}])
    task = {"columns": {"text": ["review"], "input": []}, "optional": ["input"]}
    load_splits({**task, "source": str(path)}, test_all=True)
    assert not caplog.records  # the task's own list names what it accepts
    given = {"text": ["reviews"], "input": ["kontext"]}
    load_splits(task, test_all=True, data_source=str(path), data_columns=given)
    assert "no column reviews, which data.columns names for the field text; the column text" in (
        caplog.text
    )
    assert "no column kontext, which data.columns names for the field input; the field is" in (
        caplog.text
    )


def test_columns_in_the_wrong_direction_are_named(tmp_path: Path):
    path = write_lines(tmp_path / "a.jsonl", [{"review": "a", "stars": 1}])
    task = {"columns": {"text": ["sentence"], "label": []}, "source": str(path)}
    for given, fault in {
        "review": "data option columns: a list of columns for each field: {text: [review]}",
        "": "data option columns: a list of columns for each field: {text: []}",
    }.items():
        with pytest.raises(InputError) as caught:
            load_splits(task, data_columns={"text": given})
        assert caught.value.what == fault
    with pytest.raises(InputError) as caught:
        load_splits(task, data_columns={"review": ["text"]})
    assert "review is not a field of the task, but text is" in caught.value.what
    assert caught.value.expected.endswith("for the fields text, label")
    assert caught.value.action.startswith("--set 'data.columns={text: [review]}'")


# --- texts that show nothing


UNSEEN = [
    "\u200b",
    "\ufeff",
    "\u00ad\u00ad",
    " \u2060 ",
    "\u3164",
    "\u2800",
    "\u200e\ufe0f",
    "\x07",
]


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_text_of_invisible_characters_alone_is_missing(text: str, suffix: str, tmp_path: Path):
    if suffix == ".csv":
        path = write_bytes(tmp_path / "a.csv", f"label,text\n1,a\n0,b\n1,{text}\n")
    else:
        rows = [{"text": each, "label": "1"} for each in ("a", "b", text)]
        path = write_lines(tmp_path / "a.jsonl", rows)
    line = 4 if suffix == ".csv" else 3
    refused(f"{path}:{line}: the field text holds invisible characters alone", path)
    assert [doc["text"] for doc in read(path, skip_bad_rows=True)] == ["a", "b"]


def test_invisible_characters_within_a_text_are_data(tmp_path: Path):
    texts = [f"a{text}b" for text in UNSEEN] + ["\U0001f44d\ufe0f", "\u0644\u200c\u0627"]
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    assert [doc["text"] for doc in read(path)] == texts


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.jsonl", {"column_names": ["a"]}, "data.column_names does not apply"),
        ("a.jsonl", {"rows": "a"}, "data.rows does not apply"),
        ("a.csv", {"worksheet": "a"}, "data.worksheet does not apply"),
        ("a.csv", {"rows": "a"}, "data.rows does not apply"),
        ("a.txt", {"worksheet": "a"}, "data.worksheet does not apply"),
        ("a.parquet", {"encoding": "latin-1"}, "data.encoding does not apply"),
        ("a.csv", {"line_format": "{a}", "delimiter": ";"}, "exclude each other"),
        ("a.csv", {"column_names": ["text", "label"]}, "the row repeats data.column_names"),
    ],
)
def test_what_a_file_cannot_follow_is_refused(
    name: str, options: dict, expected: str, tmp_path: Path
):
    path = write_bytes(tmp_path / name, "Text,label\na,1\n")
    refused(expected, path, **options)


def test_layouts_are_no_business_of_the_hub():
    with pytest.raises(
        InputError, match=r"data\.encoding does not apply to the hub data set org/x"
    ):
        load_splits({"source": "org/x", "encoding": "latin-1"})


@pytest.mark.parametrize("option", ["name", "revision"])
def test_options_of_the_hub_are_warned_of_with_a_file(
    option: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a"}])
    with caplog.at_level(logging.WARNING):
        load_splits({option: "x"}, test_all=True, data_source=str(path))
    assert not caplog.records  # the task's YAML has it for its own source
    load_splits({}, test_all=True, data_source=str(path), **{f"data_{option}": "x"})
    assert f"data.{option} is for data sets of the hub" in caplog.text


# --- answers in SQuAD's shapes


SHAPES = [
    ({"text": ["a", "b", "a"], "answer_start": [1, 2, 3]}, ["a", "b"]),
    ({"text": [], "answer_start": []}, []),
    ({"text": "ab", "answer_start": 1}, ["ab"]),
    ([{"text": "a", "answer_start": 1}, {"text": "b", "answer_start": 2}], ["a", "b"]),
    (["a", "b"], ["a", "b"]),
]


@pytest.mark.parametrize(("value", "expected"), SHAPES)
def test_answers_of_any_shape_are_texts(value: object, expected: list[str], tmp_path: Path):
    path = write_lines(
        tmp_path / "a.jsonl", [{"question": f"q {i}", "answers": value} for i in range(3)]
    )
    assert [doc["answers"] for doc in read(path)] == [expected] * 3


@pytest.mark.parametrize(
    "value",
    [
        [""],
        ["a", None],
        ["\u200b"],
        {"text": None},
        {"text": [""]},
        {"text": " "},
        [{"text": None}],
    ],
)
def test_answers_that_show_nothing_are_refused_with_their_row(value: object, tmp_path: Path):
    """They would be trained as an answer, or pass for a question without one."""
    rows = [{"question": "q", "answers": {"text": ["a"]}}, {"question": "r", "answers": value}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    error = refused("a.jsonl:2: answers holds ", path)
    assert "an empty list where there is no answer" in error.expected


@pytest.mark.parametrize("value", [{"spans": ["a"]}, [{"span": "a"}], {}])
def test_nested_answers_without_text_are_refused_with_their_row(value: object, tmp_path: Path):
    """Case F6: they passed for questions without an answer."""
    rows = [{"question": "q", "answers": {"text": ["a"]}}, {"question": "r", "answers": value}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    error = refused("a.jsonl:2: answers holds ", path)
    assert "and no text" in error.what
