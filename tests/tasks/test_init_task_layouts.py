"""`ft-harness init-task` on data as it is published: one command each. The texts here are made up;
the layouts are those of the data sets named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.command import assert_three_lines

COUNT = 40  # rows of each imitation


def lay_out(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def repeated(*lines: str, end: str = "\n", encoding: str = "utf-8") -> bytes:
    """Lines in turn, {i} counting them."""
    made = [lines[i % len(lines)].replace("{i}", str(i)) for i in range(COUNT)]
    return "".join(line + end for line in made).encode(encoding)


def docs_of(name: str, folder: Path) -> list[tuple[str, str]]:
    """(prompt, answer) of all docs, sorted."""
    tasks = load_tasks(find_task(name, str(folder)), ["train", "validation", "test"])
    found = []
    for task in tasks.values():
        for doc in task.eval_docs:
            target = task.doc_to_target(doc)
            answer = task.doc_to_choice(doc)[target] if task.config.doc_to_choice else target
            found.append((task.doc_to_text(doc), answer))
    return sorted(found)


TREC = {
    "train_5500.label": repeated(
        "DESC:manner How did caf\u00e9 number {i} : open ?",
        "ENTY:animal What runs in story {i} ?",
        encoding="latin-1",
    )
}
AG_NEWS = {
    "train.csv": repeated(
        '"3","Markets rise, day {i}","Shares rose on day {i}, \\"sharply"" they said"'.replace(
            '\\"', '""'
        ),
        '"4","Chip {i} ships","A new chip {i} ships \\\\ today"',
        '"1","Talks {i} resume","Envoys met for talks {i}"',
        '"2","Cup tie {i}","They won cup tie {i}"',
    )
}
COLA = {
    "in_domain_train.tsv": repeated(
        'gj04\t1\t\tThe "old cat {i} sat down.', "gj04\t0\t*\tCat {i} the sat old."
    )
}
MRPC = {
    "msr_paraphrase_train.txt": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n".encode()
    + repeated(
        '1\t10{i}\t20{i}\tHe said "yes to {i}.\tHe agreed to {i}.',
        "0\t30{i}\t40{i}\tPrices fell {i}.\tRain fell {i}.",
        end="\r\n",
    )
}
RTE = {
    "rte_dev.xml": b"<?xml version='1.0' encoding='UTF-8'?>\n<entailment-corpus>\n"
    + repeated(
        '<pair id="{i}" entailment="YES" task="IE" length="short">\n<t>Ann &amp; Bo met {i}.</t>\n'
        "<h>They met {i}.</h>\n</pair>",
        '<pair id="{i}" entailment="NO" task="QA"><t>It rained {i}.</t><h>It snowed {i}.</h></pair>',
    )
    + b"</entailment-corpus>\n"
}
SUBJECTIVITY = {
    "subj/plot.tok.gt9.5000": repeated("she finds the map {i} . "),
    "subj/quote.tok.gt9.5000": repeated("a caf\u00e9 of a film {i} ", encoding="latin-1"),
    "subj/subjdata.README.1.0": b"about this data\n",
}
NUMBERS = range(COUNT)
PUBLISHED = {
    "trec": (
        TREC,
        ["train_5500.label", "--text", "text", "--label", "label"],
        "train_5500_custom",
        [
            (
                f"Text: How did caf\u00e9 number {i} : open ?\nLabel:"
                if i % 2 == 0
                else f"Text: What runs in story {i} ?\nLabel:",
                ["DESC", "ENTY"][i % 2],
            )
            for i in NUMBERS
        ],
    ),
    "trec, named": (
        TREC,
        ["train_5500.label", "--columns", "type,kind,question", "--text", "question", "--label", "kind"],
        "train_5500_custom",
        [
            (
                f"Question: How did caf\u00e9 number {i} : open ?\nKind:"
                if i % 2 == 0
                else f"Question: What runs in story {i} ?\nKind:",
                ["manner", "animal"][i % 2],
            )
            for i in NUMBERS
        ],
    ),
    "ag news": (
        AG_NEWS,
        ["train.csv", "--columns", "class,title,description", "--text", "title", "--text",
         "description", "--label", "class"],
        "train_custom",
        [
            [
                (
                    f"Title: Markets rise, day {i}\nDescription: Shares rose on day {i}, "
                    '"sharply" they said\nClass:',
                    "3",
                ),
                (f"Title: Chip {i} ships\nDescription: A new chip {i} ships \\\\ today\nClass:", "4"),
                (f"Title: Talks {i} resume\nDescription: Envoys met for talks {i}\nClass:", "1"),
                (f"Title: Cup tie {i}\nDescription: They won cup tie {i}\nClass:", "2"),
            ][i % 4]
            for i in NUMBERS
        ],
    ),
    "cola": (
        COLA,
        ["in_domain_train.tsv", "--columns", "source,label,star,sentence", "--text", "sentence",
         "--label", "label"],
        "in_domain_train_custom",
        [
            (f'Sentence: The "old cat {i} sat down.\nLabel:', "1")
            if i % 2 == 0
            else (f"Sentence: Cat {i} the sat old.\nLabel:", "0")
            for i in NUMBERS
        ],
    ),
    "mrpc": (
        MRPC,
        ["msr_paraphrase_train.txt", "--text", "#1 String", "--text", "#2 String", "--label", "Quality"],
        "msr_paraphrase_train_custom",
        [
            (f'1 string: He said "yes to {i}.\n2 string: He agreed to {i}.\nQuality:', "1")
            if i % 2 == 0
            else (f"1 string: Prices fell {i}.\n2 string: Rain fell {i}.\nQuality:", "0")
            for i in NUMBERS
        ],
    ),
    "rte": (
        RTE,
        ["rte_dev.xml", "--text", "t", "--text", "h", "--label", "entailment"],
        "rte_dev_custom",
        [
            (f"T: Ann & Bo met {i}.\nH: They met {i}.\nEntailment:", "YES")
            if i % 2 == 0
            else (f"T: It rained {i}.\nH: It snowed {i}.\nEntailment:", "NO")
            for i in NUMBERS
        ],
    ),
    "subjectivity, files": (
        SUBJECTIVITY,
        ["subj/plot.tok.gt9.5000", "subj/quote.tok.gt9.5000", "--name", "subj_custom"],
        "subj_custom",
        [(f"Text: she finds the map {i} .\nLabel:", "plot") for i in NUMBERS]
        + [(f"Text: a caf\u00e9 of a film {i}\nLabel:", "quote") for i in NUMBERS],
    ),
    "subjectivity, folder": (
        SUBJECTIVITY,
        ["subj"],
        "subj_custom",
        [(f"Text: she finds the map {i} .\nLabel:", "plot") for i in NUMBERS]
        + [(f"Text: a caf\u00e9 of a film {i}\nLabel:", "quote") for i in NUMBERS],
    ),
    "one folder per label": (
        {
            f"reviews/{split}/{label}/{i}.txt": f"A {label} film {split} {i}.\n".encode()
            for split in ("train", "test")
            for label in ("neg", "pos")
            for i in range(10)
        }
        | {"reviews/train/unsup/0.txt": b"x"},
        ["reviews"],
        "reviews_custom",
        [
            (f"Text: A {label} film {split} {i}.\nLabel:", label)
            for split in ("train", "test")
            for label in ("neg", "pos")
            for i in range(10)
        ],
    ),
    "polarity": (
        {f"rt-polarity.{label}": repeated(f"{label} film {{i}}") for label in ("neg", "pos")},
        ["rt-polarity.neg", "rt-polarity.pos"],
        "rt_polarity_custom",
        [(f"Text: {label} film {i}\nLabel:", label) for label in ("neg", "pos") for i in NUMBERS],
    ),
    "fastText": (
        {"all.txt": repeated("__label__yes fine {i}", "__label__no bad {i}")},
        ["all.txt", "--text", "text", "--label", "label"],
        "all_custom",
        [(f"Text: {['fine', 'bad'][i % 2]} {i}\nLabel:", ["yes", "no"][i % 2]) for i in NUMBERS],
    ),
    "txt with tabs": (
        {"all.txt": repeated("fine {i}\tyes", "bad {i}\tno")},
        ["all.txt", "--columns", "text,label", "--text", "text", "--label", "label"],
        "all_custom",
        [(f"Text: {['fine', 'bad'][i % 2]} {i}\nLabel:", ["yes", "no"][i % 2]) for i in NUMBERS],
    ),
    "semicolons": (
        {"all.csv": b"text;label\n" + repeated("fine {i};yes", "bad {i};no")},
        ["all.csv", "--text", "text", "--label", "label"],
        "all_custom",
        [(f"Text: {['fine', 'bad'][i % 2]} {i}\nLabel:", ["yes", "no"][i % 2]) for i in NUMBERS],
    ),
    "nested json under a key": (
        {
            "all.json": json.dumps(
                {
                    "version": 2,
                    "examples": [
                        {"q": {"text": f"fine {i}"}, "gold": [{"name": ["yes", "no"][i % 2]}]}
                        for i in NUMBERS
                    ],
                }
            ).encode()
        },
        ["all.json", "--text", "q.text", "--label", "gold.0.name"],
        "all_custom",
        [(f"Q text: fine {i}\nGold 0 name:", ["yes", "no"][i % 2]) for i in NUMBERS],
    ),
    "lists under keys": (
        {
            "all.json": json.dumps(
                {
                    "a": [{"x": 1}],
                    "b": {"c": [{"q": f"{i}?", "a": f"it is {i}"} for i in NUMBERS]},
                }
            ).encode()
        },
        ["all.json", "--rows", "b.c", "--prompt", "q", "--answer", "a"],
        "all_custom",
        [(f"{i}?\n\nAnswer:", f"it is {i}") for i in NUMBERS],
    ),
    "two prompts": (
        {"qa.jsonl": b"".join(json.dumps({"c": f"in {i}", "q": f"{i}?", "a": f"so {i}"}).encode() + b"\n" for i in NUMBERS)},
        ["qa.jsonl", "--prompt", "c", "--prompt", "q", "--answer", "a"],
        "qa_custom",
        [(f"C: in {i}\nQ: {i}?\n\nAnswer:", f"so {i}") for i in NUMBERS],
    ),
    "a folder of splits": (
        {
            "ag/train.csv": AG_NEWS["train.csv"],
            "ag/test.csv": b'"3","Bonds {x}","Bonds caf\xe9"\n' * 8 + b'"4","A","b"\n' * 8,
            "ag/classes.txt": b"World\n",
        },
        ["ag", "--columns", "class,title,description", "--text", "title", "--label", "class"],
        "ag_custom",
        [
            (f"Title: {title.replace('#', str(i))}\nClass:", "3412"[i % 4])
            for i in NUMBERS
            for title in [["Markets rise, day #", "Chip # ships", "Talks # resume", "Cup tie #"][i % 4]]
        ]
        + [("Title: Bonds {x}\nClass:", "3")] * 8
        + [("Title: A\nClass:", "4")] * 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", PUBLISHED)
def test_published_layouts_take_one_command(ft, tmp_path: Path, layout: str):
    files, arguments, name, expected = PUBLISHED[layout]
    lay_out(tmp_path, files)
    code, out, err = ft("init-task", *arguments)
    assert code == 0, err
    assert docs_of(name, tmp_path / "task_yamls" / name) == sorted(expected)
    assert out.count("\n\n") >= 3
    checked, _, err = ft("check", name, "--include-path", f"task_yamls/{name}")
    assert checked == 0, err


def test_what_is_found_out_is_said(ft, tmp_path: Path):
    lay_out(tmp_path, TREC | SUBJECTIVITY)
    _, _, err = ft("init-task", "train_5500.label", "--text", "text", "--label", "label")
    assert "train_5500.label is not UTF-8; read as latin-1 (--encoding names another)" in err
    _, _, err = ft("init-task", "subj")
    assert "left out: subjdata.README.1.0" in err
    assert "the texts are not UTF-8; read as latin-1" in err
    yaml = Path("task_yamls/train_5500_custom/train_5500_custom.yaml").read_text()
    assert 'line_format: "{label}:{sub} {text}"' in yaml
    assert 'encoding: "latin-1"' in yaml


def test_sheets_of_a_workbook(ft, tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["nothing"])
    sheet = book.create_sheet("data")
    sheet.append(["text", "stars"])
    for i in NUMBERS:
        sheet.append([f"film {i}", 1 + i % 2])
    book.save(tmp_path / "all.xlsx")
    code, _, err = ft(
        "init-task", "all.xlsx", "--worksheet", "data", "--text", "text", "--label", "stars"
    )
    assert code == 0, err
    assert docs_of("all_custom", tmp_path / "task_yamls" / "all_custom") == sorted(
        (f"Text: film {i}\nStars:", str(1 + i % 2)) for i in NUMBERS
    )


def test_labels_that_a_parquet_file_states_are_used_by_name(ft, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    kinds = {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["positive", "negative"]),
    }
    rows = [{"text": f"film {i}", "label": -1 if i == 7 else i % 2} for i in NUMBERS]
    made = datasets.Dataset.from_list(rows, features=datasets.Features(kinds))
    made.to_parquet(str(tmp_path / "all.parquet"))
    code, _, err = ft("init-task", "all.parquet", "--text", "text", "--label", "label")
    assert code == 0, err
    assert "rows without a label (-1) are left out" in err
    assert docs_of("all_custom", tmp_path / "task_yamls" / "all_custom") == sorted(
        (f"Text: film {i}\nLabel:", ["positive", "negative"][i % 2]) for i in NUMBERS if i != 7
    )


@pytest.mark.parametrize(
    ("files", "arguments", "expected"),
    [
        (AG_NEWS, ["train.csv", "--text", "title", "--label", "class"], "'3'|3 is a number"),
        (AG_NEWS, ["train.csv", "--text", "Markets rise, day 0", "--label", "3"], "3 is a number"),
        (COLA, ["in_domain_train.tsv", "--text", "sentence", "--label", "label"], "'gj04' occurs"),
        (
            {
                "all.csv": repeated(
                    "The film {i} is one that nobody will ever want to see again,yes"
                )
            },
            ["all.csv", "--text", "text", "--label", "label"],
            "is a text",
        ),
    ],
)
def test_a_first_row_that_looks_like_data_is_refused_with_the_cure(
    ft, tmp_path: Path, files: dict, arguments: list[str], expected: str
):
    lay_out(tmp_path, files)
    code, _, err = ft("init-task", *arguments)
    assert code == 3
    assert_three_lines(err, "the first row looks like data")
    assert any(part in err for part in expected.split("|"))
    assert "--columns name1,name2" in err
    assert "one of" not in err  # its cells are never offered as names
    assert not (tmp_path / "task_yamls").exists()


def test_the_cure_works_and_a_header_named_again_is_refused(ft, tmp_path: Path):
    lay_out(tmp_path, {"all.csv": b"text,label\n" + repeated("fine {i},yes", "bad {i},no")})
    code, _, err = ft(
        "init-task", "all.csv", "--columns", "Text,Label", "--text", "Text", "--label", "Label"
    )
    assert code == 3
    assert_three_lines(err, "all.csv:1: the row repeats data.column_names")


def test_a_header_of_numbers_over_texts_is_a_header(ft, tmp_path: Path):
    lay_out(tmp_path, {"all.csv": b",0,1\n" + repeated("{i},fine {i},yes", "{i},bad {i},no")})
    code, _, err = ft("init-task", "all.csv", "--text", "0", "--label", "1")
    assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "expected", "word"),
    [
        (["empty"], 3, "no data file of a split, and no folder or file for each"),
        (["a/x.txt", "b/y.txt"], 3, "are in several folders"),
        (["a/x.txt", "--label", "label"], 2, "no column for the model to read is named"),
        (["a/x.txt", "--text", "text", "--text", "text", "--label", "label"], 2, "given twice"),
        (
            ["a/x.txt", "--text", "text", "--label", "label", "--line-format", "{label}:{text}"],
            3,
            "form",
        ),
        (["a/x.txt", "--text", "text", "--label", "label", "--line-format", "x"], 3, "line_format"),
        (["a/x.txt", "--text", "text", "--label", "label", "--encoding", "klingon"], 3, "encoding"),
        (["a/x.txt", "--text", "text", "--label", "label", "--worksheet", "s"], 3, "worksheet"),
        (["nowhere.txt"], 3, "no such file"),
    ],
)
def test_wrong_layouts_are_refused(
    ft, tmp_path: Path, arguments: list[str], expected: int, word: str
):
    lay_out(
        tmp_path, {"a/x.txt": repeated("__label__a x {i}"), "b/y.txt": b"y\n", "empty/x.md": b""}
    )
    code, _, err = ft("init-task", *arguments)
    assert code == expected, err
    assert_three_lines(err, word)
    assert not (tmp_path / "task_yamls").exists()


@pytest.mark.parametrize(
    ("files", "command", "what", "action"),
    [
        (
            {"d.jsonl": repeated('{"m": [{"content": "t {i}"}], "l": "a"}')},
            ["d.jsonl", "--text", "m", "--label", "l"],
            "d.jsonl:1: the column m holds a list",
            "such as m.0.content",
        ),
        (
            {"d.jsonl": repeated('{"t": "t {i}", "l": [1]}', '{"t": "t {i}", "l": [0]}')},
            ["d.jsonl", "--text", "t", "--label", "l"],
            "d.jsonl:1: the column l holds a list",
            "such as l.0",
        ),
        (
            {"d.jsonl": repeated('{"t": {"en": "t {i}"}, "l": "a"}')},
            ["d.jsonl", "--text", "t", "--answer", "l"],
            "d.jsonl:1: the column t holds an object",
            "such as t.en",
        ),
        (
            {"a/one.csv": repeated("title,t {i}"), "a/two.csv": repeated("title,t {i}")},
            ["a/one.csv", "a/two.csv"],
            "one.csv: a .csv file holds more than texts",
            "put its label into a column and join the files",
        ),
        (
            {"d.csv": b"text,label\n" + repeated("\u8fd9\u90e8 {i},a", "b {i},b", encoding="gbk")},
            ["d.csv", "--text", "text", "--label", "label"],
            "not UTF-8, and not in Latin letters",
            "--encoding: gb18030, big5",
        ),
        (
            {"d.txt": repeated("__label__a __label__b t {i}", "__label__c t {i}")},
            ["d.txt", "--text", "text", "--label", "label"],
            "__label__... comes twice in the line",
            "keep one of the labels",
        ),
    ],
)
def test_what_would_make_another_prompt_is_refused_with_the_cure(
    ft, tmp_path: Path, files: dict[str, bytes], command: list[str], what: str, action: str
):
    lay_out(tmp_path, files)
    code, _, err = ft("init-task", *command)
    assert code == 3
    assert what in err
    assert action in err


def test_a_mark_for_rows_without_a_label_is_pointed_out(ft, tmp_path: Path):
    rows = repeated('{"t": "t {i}", "l": "-"}', '{"t": "t {i}", "l": "yes"}')
    lay_out(tmp_path, {"d.jsonl": rows})
    code, _, err = ft("init-task", "d.jsonl", "--text", "t", "--label", "l")
    assert code == 0
    assert "the label '-' often means that a row has none" in err


def test_a_folder_of_a_split_in_parts_is_no_folder_of_labels(ft, tmp_path: Path):
    header = b"text,label\n"
    parts = {
        f"d/{split}-00000-of-00001.csv": header + repeated(f"{split} {{i}},a", f"{split} {{i}},b")
        for split in ("train", "test")
    }
    lay_out(tmp_path, parts)
    code, _, err = ft("init-task", "d", "--text", "text", "--label", "label")
    assert code == 0, err
    tasks = load_tasks(find_task("d_custom", str(tmp_path / "task_yamls/d_custom")), ["test"])
    assert {doc["text"] for doc in tasks["test"].eval_docs} == {f"test {i}" for i in range(COUNT)}
