"""Data of which `ft-harness init-task` could make a wrong task without a word: files of splits taken
for labels, a header taken for a row, cells that are often empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.data.layout import Layout
from ft_harness.data.layout_finder import check_header
from tests.builders.command import assert_three_lines
from tests.tasks.test_init_task_layouts import COUNT, docs_of, lay_out, repeated

TREC = repeated("DESC:manner How is {i} made ?", "ENTY:animal What runs {i} ?")
STSA = repeated("1 a good film {i}", "0 a bad film {i}")


@pytest.mark.parametrize(
    ("files", "given", "named"),
    [
        ({"d/train_5500.label": TREC, "d/TREC_10.label": TREC}, ["d"], "d/train_5500.label"),
        (
            {"d/train_5500.label": TREC, "d/TREC_10.label": TREC},
            ["d/TREC_10.label", "d/train_5500.label"],
            "d/train_5500.label",
        ),
        (
            {f"d/stsa.binary.{name}": STSA for name in ("dev", "test", "train")},
            ["d", "--line-format", "{label} {text}"],
            "d/stsa.binary.train",
        ),
    ],
)
def test_files_of_splits_are_no_labels(
    files: dict[str, bytes], given: list[str], named: str, ft, tmp_path: Path
):
    lay_out(tmp_path, files)
    code, _, err = ft("init-task", *given)
    assert code == 3
    assert_three_lines(err, "seems to hold a split, not a label", f"{named}, or rename them")
    assert not (tmp_path / "task_yamls").exists()


@pytest.mark.parametrize(
    ("header", "rows", "seen"),
    [
        ("id\tkind\tbody", "{i}\tham\tfilm {i}", "'id' is above numbers"),
        ("text\tkind", "film {i}\tham", "'kind' occurs there alone, and all others repeat"),
        ("1st\tkind", "film {i}\t1", "'kind' is above numbers"),
    ],
)
def test_a_header_under_given_names_is_refused(
    header: str, rows: str, seen: str, ft, tmp_path: Path
):
    content = repeated(rows, rows.replace("ham", "spam").replace("\t1", "\t0"))
    lay_out(tmp_path, {"x.tsv": header.encode() + b"\n" + content})
    names = ["a", "b", "c"][: len(header.split("\t"))]
    code, _, err = ft(
        "init-task", "x.tsv", "--columns", ",".join(names), "--text", "a", "--label", "b"
    )
    assert code == 3
    assert_three_lines(err, f"x.tsv:1: the first row looks like a header ({seen})", "--columns out")


def test_a_first_row_like_the_others_is_none(ft, tmp_path: Path):
    lay_out(tmp_path, {"x.tsv": repeated("film {i}\tham", "tape {i}\tspam", "show {i}\t1")})
    code, _, err = ft("init-task", "x.tsv", "--columns", "a,b", "--text", "a", "--label", "b")
    assert code == 0, err


def row_of(i: int, every: int) -> dict[str, str]:
    row = {"instruction": f"ask {i}", "output": f"answer {i}"}
    return row | ({} if i % every == 2 else {"input": "" if i % every == 1 else f"about {i}"})


@pytest.mark.parametrize("order", [["instruction", "input"], ["input", "instruction"]])
def test_prompts_are_without_what_many_rows_lack(order: list[str], ft, tmp_path: Path):
    """As in Alpaca's file, or in one with a title for some rows."""
    rows = [row_of(i, 4) for i in range(COUNT)]
    lay_out(tmp_path, {"alpaca.json": json.dumps(rows).encode()})
    texts = [part for name in order for part in ("--text", name)]
    code, _, err = ft("init-task", "alpaca.json", *texts, "--answer", "output")
    assert code == 0, err
    assert f"the column input is empty in {COUNT // 2} of {COUNT} rows" in err
    prompts = []
    for row in rows:
        said = [f"{name.capitalize()}: {row[name]}\n" for name in order if row.get(name)]
        prompts.append(("".join([*said, "\nAnswer:"]), row["output"]))
    assert docs_of("alpaca_custom", tmp_path / "task_yamls" / "alpaca_custom") == sorted(prompts)


@pytest.mark.parametrize("columns", [["instruction", "input"], ["input"]])
def test_a_few_empty_cells_are_refused_as_before(columns: list[str], ft, tmp_path: Path):
    every = 39 if len(columns) == 2 else 4  # without another text half of the prompts were empty
    rows = [row_of(i, every) for i in range(COUNT)]
    lay_out(tmp_path, {"x.json": json.dumps(rows).encode()})
    texts = [part for name in columns for part in ("--text", name)]
    code, _, err = ft("init-task", "x.json", *texts, "--answer", "output")
    assert code == 3
    assert_three_lines(err, "the column input is empty")


@pytest.mark.parametrize(
    "content",
    [
        b"a good film,pos,1.0\n",
        b"odd one,pos,first of its kind\n" + b"".join(b"film %d,pos,\nfilm %d,neg,\n" % (i, i) for i in range(30)),
        b"film 0,pos,1.5e-05\n" + b"".join(b"film %d,pos,0.5\ntape %d,neg,0.25\n" % (i, i) for i in range(1, 30)),
    ],
    ids=["one row", "a remark at the first row alone", "numbers with and without an exponent"],
)  # fmt: skip
def test_a_row_of_data_is_taken_for_no_header(content: bytes, tmp_path: Path):
    lay_out(tmp_path, {"x.csv": content})
    layout = Layout(column_names=("text", "label", "note"))
    check_header(tmp_path / "x.csv", layout, ["text", "label", "note"])


def test_files_of_labels_may_be_parts_of_one_split(ft, tmp_path: Path):
    lay_out(
        tmp_path, {f"train-{label}.txt": repeated(f"{label} {{i}}") for label in ("pos", "neg")}
    )
    code, _, err = ft("init-task", "train-pos.txt", "train-neg.txt")
    assert code == 0, err
    docs = docs_of("train_pos_custom", tmp_path / "task_yamls")
    assert {answer for _, answer in docs} == {"neg", "pos"}
