"""Case sheets: nearest training examples, cases.csv and what a person writes in it, and their part
of the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ft_harness.comparison.aggregator import Study, aggregate
from ft_harness.comparison.cases import (
    CASES_FILE,
    NEAREST_FILE,
    CaseSummary,
    NearestExample,
    Sheet,
    Written,
    find_nearest,
    list_cases,
    read_cases,
    write_table,
)
from ft_harness.errors import InputError
from ft_harness.pipeline.demo import demo
from ft_harness.pipeline.explanations import explain, write_cases
from ft_harness.records import Evaluation
from ft_harness.report import build_document
from ft_harness.storage.escaping import guard_formula, unguard_formula
from tests.builders.cases import nli_pair, nli_sample, summarize, write_pair
from tests.builders.command import assert_three_lines
from tests.builders.study import render_html, render_whole

REPORT = Path("results/reports/report")
PAYLOADS = [
    "=HYPERLINK('http://evil')",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '"=1"',
    " '=1",
    "'=1",
    "\ufeff=1",
]


@pytest.fixture
def evaluations(tmp_path: Path) -> list[Evaluation]:
    return nli_pair(tmp_path / "results")


def study_of(evaluations: list[Evaluation]) -> Study:
    return aggregate(evaluations, name="Negations", command="ft-harness report results")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def write_why(
    path: Path, texts: dict[str, str], change: Callable[[str], str] = lambda text: text
) -> None:
    """What a person does: texts by item key into the column `why`."""
    rows = rows_of(path.read_text(encoding="utf-8"))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(row | {"why": texts.get(row["item_key"], row["why"])} for row in rows)
    path.write_bytes(change(stream.getvalue()).encode("utf-8"))


# --- nearest training examples


def test_the_nearest_training_example_has_most_words_in_common() -> None:
    """Words of the item: man, dog, runs, park. Shared / all of both: 2/5, 3/8, 2/4, 2/4 again,
    0."""
    training: list[dict[str, Any]] = [
        {"text": "A man, a dog, a cat.", "label": 0},
        {"text": "The man runs in the big green PARK, singing songs.", "label": 1},
        {"text": "A DOG runs!", "label": 2},
        {"text": "The park: a man", "label": 3},
        {"text": "Nothing in common", "label": 4},
    ]
    texts = {"one": {"text": "A man and his dog: runs, park"}, "two": {"text": "zebra"}}
    found = find_nearest(texts, training, lambda doc: f"label {doc['label']}")
    assert found.n_training == 5
    assert found.items == {
        "one": NearestExample(text="A DOG runs!", answer="label 2", similarity=0.5),
        "two": None,
    }


def test_only_the_fields_of_the_item_are_compared() -> None:
    training = [
        {"question": "who sings?", "context": "long", "id": "sings"},
        {"question": "sings", "id": "x"},
    ]
    found = find_nearest({"one": {"question": "Who sings?"}}, training, lambda doc: "")
    assert found.items["one"] == NearestExample(text="who sings?", answer="", similarity=1.0)


class Task:
    """What `explain` needs of lm-eval's task; reading its docs is counted."""

    def __init__(self) -> None:
        self.read = 0

    @property
    def docs(self) -> list[dict[str, Any]]:
        self.read += 1
        return [
            {
                "premise": "A man sleeps on item 7.",
                "hypothesis": "A man is asleep on bench.",
                "label": "yes",
            }
        ]

    def answer(self, doc: dict[str, Any]) -> str:
        return str(doc["label"])


@pytest.fixture
def task() -> Task:
    return Task()


def nearest_of(study: Study) -> list[NearestExample | None]:
    (comparison,) = study.comparisons
    return [case.nearest for cases in (comparison.cases.cases or {}).values() for case in cases]


def test_nearest_examples_are_kept_for_later_reports(
    evaluations: list[Evaluation], task: Any, tmp_path: Path
) -> None:
    study = study_of(evaluations)
    assert (
        nearest_of(explain(study, evaluations, tmp_path)) == [None] * 18
    )  # six in each of three cells
    first = explain(study, evaluations, tmp_path, training={"nli_lora": task})
    assert all(
        found and found.answer == "yes" and found.similarity > 0.3 for found in nearest_of(first)
    )
    assert (evaluations[1].folder / NEAREST_FILE).is_file()
    assert nearest_of(explain(study, evaluations, tmp_path)) == nearest_of(first)
    explain(study, evaluations, tmp_path, training={"nli_lora": task})
    assert task.read == 1


def test_damaged_nearest_examples_are_named(evaluations: list[Evaluation], tmp_path: Path) -> None:
    (evaluations[1].folder / NEAREST_FILE).write_text('{"items": 3}')
    explained = explain(study_of(evaluations), evaluations, tmp_path)
    assert len(explained.unread) == 1
    assert NEAREST_FILE in explained.unread[0]


# --- cases.csv


@pytest.mark.parametrize(
    "text", [*PAYLOADS, "''", "plain", "", "it's = 1", "a\nb", "不", "a;b,c\td"]
)
def test_guarded_text_comes_back_as_it_was(text: str) -> None:
    assert unguard_formula(guard_formula(text)) == text


def test_formulas_are_guarded_and_nothing_else_is() -> None:
    for payload in PAYLOADS:
        assert guard_formula(payload) == f"'{payload}"
    assert [guard_formula(text) for text in ("plain", "a=1", "", "1-2")] == [
        "plain",
        "a=1",
        "",
        "1-2",
    ]
    assert unguard_formula("'quoted'") == "'quoted'"


def sheet_of(evaluations: list[Evaluation]) -> Sheet:
    base, tuned = evaluations
    return Sheet(base.record, tuned.record, summarize(base, tuned))


def test_the_table_holds_every_case_with_its_evidence(evaluations: list[Evaluation]) -> None:
    text = write_table([sheet_of(evaluations)], Written())
    rows = rows_of(text)
    assert text.startswith("\ufefftask,split,base,tuned,item_key,")
    assert len(rows) == 18
    assert {row["transition"] for row in rows} == {"still right", "corrected", "broken"}
    row = next(
        row for row in rows if row["item_key"] == "item0042-1" or row["transition"] == "broken"
    )
    number = int(row["item_key"][4:8])
    assert row["base"] == "base--bundled/demo_nli@test"
    assert row["tuned"] == "nli_lora/demo_nli@test"
    assert row["gold"] == row["base_answer"] == ["yes", "maybe", "no"][number % 3]
    assert row["tuned_answer"] == ["maybe", "no", "yes"][number % 3]
    assert row["input"].startswith(f"A man sleeps on item {number}.\nA man is not asleep")
    assert "negation: yes" in row["tags"]
    assert (row["why"], row["in_sheet"]) == ("", "yes")


def test_hostile_texts_are_guarded_and_margins_stay_numbers(tmp_path: Path) -> None:
    base, tuned = ([nli_sample(0, 0, answer, "=1+1", "@SUM(A1)")] for answer in (1, 0))
    tuned = [
        tuned[0].model_copy(
            update={"prediction": "-1", "responses": [[-2.0, False], [-3.0, False]]}
        )
    ]
    base = [base[0].model_copy(update={"responses": [[-3.0, False], [-2.5, False]]})]
    (row,) = rows_of(write_table([sheet_of(write_pair(tmp_path, base, tuned))], Written()))
    assert row["input"] == "'=1+1\n@SUM(A1)"
    assert row["tuned_answer"] == "'-1"
    assert (row["base_margin"], row["tuned_margin"]) == ("0.5000", "1.0000")


def test_what_is_written_survives_and_reaches_the_report(
    evaluations: list[Evaluation], tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    first = explain(study_of(evaluations), evaluations, folder)
    write_cases(first, folder)
    (comparison,) = first.comparisons
    assert comparison.cases.cases is not None
    broken, right = (comparison.cases.cases[name][0] for name in ("broken", "still right"))
    whys = {broken.item_key: '=not is read\n  over, "twice"; 不', right.item_key: "luck"}
    write_why(folder / CASES_FILE, whys)
    second = explain(study_of(evaluations), evaluations, folder)
    write_cases(second, folder)
    kept = read_cases(folder / CASES_FILE)
    assert {key[2]: kept.why(key) for key in kept.rows if kept.why(key)} == whys
    text = render_whole(second, {})
    assert "Why, from `cases.csv`: =not is read" in text
    assert "Why, from `cases.csv`: luck" in text  # still right, and shown for what was written
    assert text.count("Still right (1 of 20 shown)") == 1
    again = (folder / CASES_FILE).read_bytes()
    write_cases(explain(study_of(evaluations), evaluations, folder), folder)
    assert (folder / CASES_FILE).read_bytes() == again


@pytest.mark.parametrize(
    "text",
    [*PAYLOADS, "one\rtwo", "one\r\ntwo\n\nthree", "nul \0", 'say "no", 不;\tyes', "\ufeffx", "'"],
)
def test_any_text_survives_the_file(
    evaluations: list[Evaluation], tmp_path: Path, text: str
) -> None:
    sheet, path = sheet_of(evaluations), tmp_path / CASES_FILE
    key = sheet.key(next(case for _, case in list_cases(sheet.cases)))
    written = Written(
        {key: {"why": text, "=mine": text}}, ("base", "tuned", "item_key", "why", "=mine")
    )
    for _ in range(3):
        path.write_bytes(write_table([sheet], written).encode("utf-8"))
        written = read_cases(path)
        assert len(written.rows) == 18
        assert written.rows[key]["why"] == written.rows[key]["=mine"] == text


def test_rows_that_left_the_sheet_are_kept_if_something_is_written(
    evaluations: list[Evaluation],
) -> None:
    sheet = sheet_of(evaluations)
    rows = rows_of(write_table([sheet], Written()))
    keys = [(row["base"], row["tuned"], row["item_key"]) for row in rows]
    written = Written(
        {key: row | {"why": ""} for key, row in zip(keys, rows, strict=True)}, tuple(rows[0])
    )
    written.rows[keys[0]]["why"] = "because"
    empty = Sheet(sheet.base, sheet.tuned, CaseSummary(counts={}, cases={}, reason=None))
    (left,) = rows_of(write_table([empty], written))
    assert (left["item_key"], left["why"], left["in_sheet"]) == (keys[0][2], "because", "no")
    assert left["input"] == rows[0]["input"]
    back = rows_of(write_table([sheet], written))  # the item is in the sheet again
    assert [row["why"] for row in back if row["in_sheet"] == "yes" and row["why"]] == ["because"]
    assert len(back) == len(rows)


def test_a_retrained_adapter_takes_over_no_text(evaluations: list[Evaluation]) -> None:
    sheet = sheet_of(evaluations)
    rows = rows_of(write_table([sheet], Written()))
    written = Written(
        {(row["base"], row["tuned"], row["item_key"]): row | {"why": "old"} for row in rows}
    )
    other = Sheet(sheet.base, sheet.tuned.model_copy(update={"eval_id": "another"}), sheet.cases)
    found = rows_of(write_table([other], written))
    assert [row["why"] for row in found if row["in_sheet"] == "yes"] == [""] * 18
    assert [row["why"] for row in found if row["in_sheet"] == "no"] == ["old"] * 18


def save(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / CASES_FILE
    path.write_bytes(text.encode("utf-8"))
    return path


def test_tables_as_spreadsheets_save_them_are_read(tmp_path: Path) -> None:
    key = ("b", "t", "item-1")
    for text in (
        'base,tuned,item_key,why,mine\r\nb,t,item-1,"one, two",7\r\n',
        "\ufeffbase;tuned;item_key;why;mine\r\nb;t;item-1;one, two;7\r\n",
        "base\ttuned\titem_key\twhy\tmine\nb\tt\titem-1\tone, two\t7\n\t\t\t\t\n",
    ):
        written = read_cases(save(tmp_path, text))
        assert list(written.rows) == [key]
        assert written.why(key) == "one, two"
        (row,) = rows_of(write_table([], written))
        assert row["mine"] == "7"  # a column that a person added
    assert read_cases(tmp_path / "none.csv") == Written()


def test_a_row_that_stands_twice_loses_neither_text(tmp_path: Path) -> None:
    written = read_cases(
        save(tmp_path, "base,tuned,item_key,why\nb,t,i,one\nb,t,i,\nb,t,i,two\nb,t,i,one\n")
    )
    assert written.why(("b", "t", "i")) == "one\ntwo\none"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"base,tuned,item_key\nb,t,i\n", "no column why"),
        (b"base,tuned,item_key,why,why\nb,t,i,x,y\n", "a column name is there twice"),
        ("base,tuned,item_key,why\nb,t,i,größer\n".encode("cp1252"), "can't be read"),
        (b"", "no column base, tuned, item_key, why"),
    ],
)
def test_a_table_that_can_not_be_merged_is_refused_and_left_alone(
    evaluations: list[Evaluation], tmp_path: Path, content: bytes, message: str
) -> None:
    path = save(tmp_path / "report", "")
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        explain(study_of(evaluations), evaluations, path.parent)
    assert path.read_bytes() == content


# --- the report


def test_the_report_names_the_slices_that_lost_and_gained(
    evaluations: list[Evaluation], tmp_path: Path
) -> None:
    study = explain(study_of(evaluations), evaluations, tmp_path)
    document = build_document(study)
    tables = {table.name: table for table in document.tables()}
    assert [getattr(cell, "value", cell) for cell in tables["transitions"].rows[0]] == [
        "all",
        20,
        30,
        30,
        0,
    ]
    shown = {str(row[0]): row for row in tables["slices"].rows}
    verdicts = [row[-1] for row in shown.values()]
    assert verdicts == ["lost"] * verdicts.count("lost") + ["gained"] * verdicts.count("gained")
    assert [getattr(cell, "text", cell) for cell in shown["negation: yes"]] == [
        *("negation: yes", "40", "100.0 %", "25.0 %", "-75.0"),
        shown["negation: yes"][5].text,  # the interval, which the tests of stats are about
        *("< 0.001", "0", "30", "lost"),
    ]
    others = tables["other_slices"]
    assert others.folded
    assert {row[-1] for row in others.rows} == {"no evidence", "not tested", "too few"}
    text = render_whole(study, {})
    assert "log p of entailment (yes)" in text
    assert text.count("they prove nothing") == 1  # the legend
    assert f"slices {verdicts.count('gained')} gained, {verdicts.count('lost')} lost and" in text


def test_hostile_texts_stay_inert_in_the_case_blocks(tmp_path: Path) -> None:
    payload = "<script>alert(1)</script> ``` [x](javascript:1) | @user \x1b[31m"
    base, tuned = (
        [
            nli_sample(number, 0, answer, payload, payload, source=payload if number else "b")
            for number in range(30)
        ]
        for answer in (1, 0)
    )
    evaluations = write_pair(tmp_path / "results", base, tuned)
    study = explain(study_of(evaluations), evaluations, tmp_path, ["source"])
    (comparison,) = study.comparisons
    assert comparison.cases.cases is not None
    hostile = NearestExample(text=payload, answer=payload, similarity=0.5)
    cases = {
        name: [case.model_copy(update={"why": payload, "nearest": hostile}) for case in found]
        for name, found in comparison.cases.cases.items()
    }
    changed = comparison.model_copy(
        update={"cases": comparison.cases.model_copy(update={"cases": cases})}
    )
    study = study.model_copy(update={"comparisons": [changed]})
    page, text = render_html(study, {}), render_whole(study, {})
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 1  # our own
    fenced = [line for line in text.splitlines() if "<script" in line]
    assert fenced  # in the prompts' blocks alone, which are shown letter by letter
    assert all(line.startswith(("<script>", "Question: <script>")) for line in fenced)
    assert "\x1b" not in page + text


def test_few_items_give_no_tested_slices(tmp_path: Path) -> None:
    base, tuned = (
        [nli_sample(number, number % 2, answer, "A", "B") for number in range(6)]
        for answer in (1, 0)
    )
    evaluations = write_pair(tmp_path, base, tuned)
    text = render_whole(explain(study_of(evaluations), evaluations, tmp_path), {})
    assert "There are too few items to test a slice." in text
    assert "gold answer: yes" in text


# --- the command


def test_slice_by_reaches_the_report(ft: Any, evaluations: list[Evaluation]) -> None:
    assert ft("report", "results", "--slice-by", "genre")[0] == 0
    text = (REPORT / "report.html").read_text(encoding="utf-8")
    assert "genre (field): fiction" in text
    assert len(rows_of((REPORT / CASES_FILE).read_text(encoding="utf-8"))) == 18


def test_a_field_that_no_doc_has_is_refused(ft: Any, evaluations: list[Evaluation]) -> None:
    code, _, errors = ft("report", "results", "--slice-by", "gender")
    assert code == 3
    assert_three_lines(errors, "--slice-by gender")
    assert not (REPORT / "report.md").exists()


def test_a_damaged_table_stops_a_run_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ft_harness.pipeline.runs.check_experiment",
        lambda experiment, **scope: pytest.fail("the run began"),
    )
    save(tmp_path / "results", "")
    folder = tmp_path / "results" / "reports" / "demo"
    folder.mkdir(parents=True)
    save(folder, "base;tuned\n")
    with pytest.raises(InputError, match="no column item_key, why"):
        demo(tmp_path, lambda line: None)
