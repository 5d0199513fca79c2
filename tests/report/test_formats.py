"""The report in every format: the same numbers, hostile text inert, equal bytes, and the commands
that write it."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sentences import state_study
from ft_harness.errors import ConfigError
from ft_harness.pipeline.report_files import ReportOptions, write_report
from ft_harness.report import (
    View,
    build_document,
    check_metrics,
    csv_table,
    csv_text,
    find_verdicts,
    html_page,
    json_page,
    latex_page,
    latex_table,
    make_view,
    markdown_page,
    table_names,
)
from ft_harness.report.document import Block, Document, Number, Span, Table, one_line, text_of
from tests.builders.command import assert_three_lines
from tests.builders.html_elements import Elements
from tests.builders.records import label_samples, make_record, write_evaluation
from tests.builders.study import (
    PAYLOADS,
    PLAIN,
    make_adapter,
    make_data,
    make_hostile,
    make_outliers,
    make_repeats,
    make_study,
    make_varied_study,
    render_html,
)
from tests.report.test_report import Page

TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "h3",
        "h4",
        "nav",
        "main",
        "a",
        "p",
        "ul",
    ),
    *("li", "pre", "figure", "figcaption", "details", "summary", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("script", "svg", "desc", "path", "rect"),
    *("section", "span", "dl", "dt", "dd", "b", "h5", "del", "ins"),
}
ATTRIBUTES = {
    *(
        ("html", "lang"),
        ("meta", "charset"),
        ("meta", "http-equiv"),
        ("meta", "content"),
        ("meta", "name"),
    ),
    *(("a", "href"), ("h2", "id"), ("nav", "aria-label"), ("ul", "class")),
    *(("div", "class"), ("div", "role"), ("div", "tabindex"), ("div", "aria-label")),
    *(("th", "scope"), ("th", "class"), ("td", "class"), ("td", "data-value"), ("table", "class")),
    *(
        ("svg", "role"),
        ("svg", "aria-labelledby"),
        ("svg", "aria-describedby"),
        ("title", "id"),
        ("desc", "id"),
    ),
    *(("svg", "stroke-linejoin"), ("svg", "stroke-linecap")),
    *(("svg", "class"), ("svg", "viewbox"), ("svg", "preserveaspectratio"), ("svg", "aria-hidden")),
    *(("path", "class"), ("path", "d"), ("rect", "class"), ("rect", "width"), ("rect", "height")),
    *(("a", "class"), ("main", "id"), ("main", "tabindex"), ("h2", "class"), ("details", "open")),
    *(("section", "class"), ("p", "class"), ("tr", "class"), ("td", "data-label")),
    *(("span", "class"), ("span", "role"), ("span", "aria-label")),
}
CLASSES = {
    *("t", "n", "i", "short", "void", "better", "worse", "vain", "none", "base", "tuned", "count"),
    *("drawn", *(f"h{shade}" for shade in range(11))),
}  # of cells and lines
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
SHORT = [payload for payload in PAYLOADS if len(payload) < 500]


class HtmlPage(Elements):
    """The elements of a page as a browser sees them."""

    void = frozenset({"meta", "img", "col", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        self.texts.append((self.open[-1] if self.open else "", data))


def make_full_study() -> Study:
    """A study with something in every section."""
    study = make_study()
    data = study.adapters[0].model_copy(update={"data": make_data("snli_custom")})
    return study.model_copy(
        update={"adapters": [data, study.adapters[1]], "repeats": [make_repeats("snli_custom")]}
    )


STUDIES = [make_full_study(), make_varied_study()]


def document_of(study: Study) -> Document:
    return build_document(study, outliers=make_outliers(study, "an odd item"))


# --- the same numbers
# ----------------------------------------------------------------------------------------------


def cells_of(blocks: Sequence[Block]) -> list[list[list[str]]]:
    tables = [block for block in blocks if isinstance(block, Table)]
    return [
        [[one_line(text_of(cell)) for cell in row] for row in (table.header, *table.rows)]
        for table in tables
    ]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_cell_is_the_same_in_markdown_and_html(study):
    document = document_of(study)
    markdown, html = (
        Page(markdown_page(document, {})).tables,
        HtmlPage(html_page(document, {})).tables,
    )
    assert len(html) > len(markdown) > 7
    assert markdown == cells_of(document.paper)
    assert html == cells_of(document.blocks)
    assert [table for table in markdown if table not in html] == []  # a part, not another report


def latex_tables(page: str) -> list[list[list[str]]]:
    found = re.findall(
        r"\\begin\{longtable\}.*?\\toprule\n(.*?)\\end\{longtable\}", page, re.DOTALL
    )
    rules = r"\\midrule\n|\\endhead\n|\\bottomrule\n|\\endlastfoot\n"
    return [
        [read_line(line) for line in re.sub(rules, "", body).strip().split("\n")] for body in found
    ]


def read_line(line: str) -> list[str]:
    """The cells of a line, with what LaTeX would make of its words."""
    spelt = {
        "textless": "<",
        "textgreater": ">",
        "textquotedbl": '"',
        "textquotesingle": "'",
        "textbar": "|",
    }
    cells = [cell.strip()[1:-1] for cell in line.removesuffix(r" \\").split(" & ")]
    plain = [
        re.sub(r"\\ftharnesschar\{\w+\}\{(.)\}|\\allowbreak\{\}", r"\1", cell) for cell in cells
    ]
    words = [re.sub(r"\\(text\w+)\{\}", lambda found: spelt[found[1]], cell) for cell in plain]
    return [
        re.sub(r"\\([_%#&$])|\{(.)\}", lambda found: found[1] or found[2], cell) for cell in words
    ]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_cell_is_the_same_in_latex(study):
    document = document_of(study)
    assert latex_tables(latex_page(document, {})) == cells_of(document.paper)


def assert_rounds_to(value: object, shown: str) -> None:
    """The unrounded value is what the text shows: as it stands, or in per cent."""
    if shown == "-":
        assert value in (None, "")
    elif shown == "< 0.001":
        assert float(str(value)) < 0.001
    else:
        digits = shown.removesuffix(" %").replace(",", "")
        half = 0.5001 * 10.0 ** -len(digits.partition(".")[2])
        number = float(str(value))
        assert min(abs(number - float(digits)), abs(100 * number - float(digits))) <= half, (
            value,
            shown,
        )


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_data_files_hold_the_unrounded_numbers(study):
    document = document_of(study)
    as_json = {table["name"]: table for table in json.loads(json_page(document))["tables"]}
    checked = 0
    for name, table in table_names(document):
        found = list(csv.reader(io.StringIO(csv_table(table))))
        assert found[0] == [one_line(title) for title in as_json[name]["header"]]
        for row, line, values in zip(table.rows, found[1:], as_json[name]["rows"], strict=True):
            places = iter(zip(line, values, strict=True))
            for cell, kind in zip(row, table.kinds, strict=True):
                if kind == "i":
                    shown = ["-", "-"] if text_of(cell) == "-" else text_of(cell).split(" to ")
                    for text, (written, value) in zip(
                        shown, [next(places), next(places)], strict=True
                    ):
                        assert_rounds_to(value, text)
                        assert_rounds_to(written, text)
                        checked += 1
                    continue
                written, value = next(places)
                if isinstance(cell, Number):
                    assert_rounds_to(value, cell.text)
                    assert_rounds_to(written, cell.text)
                    checked += 1
                else:
                    assert (
                        written.removeprefix("'")
                        == one_line(str(value)).removeprefix("'")
                        == one_line(cell)
                    )
    assert checked > 100


def test_json_gives_the_sentences_first():
    found = json.loads(
        json_page(build_document(make_study())), parse_constant=lambda name: pytest.fail(name)
    )
    assert found["title"] == "Two small tasks: before and after fine-tuning"
    assert found["sentences"] == state_study(make_study())
    assert found["tables"][0]["name"] == "scores"
    assert found["tables"][0]["rows"][0][:5] == ["snli_custom", "test", "acc", 0.3912, 0.7312]


@pytest.mark.slow  # draws every figure twice
def test_equal_studies_give_equal_bytes_in_every_format(tmp_path: Path):
    for folder in ("one", "two"):
        write_report(
            make_full_study(),
            tmp_path / folder,
            ReportOptions(("md", "html", "tex", "csv", "json")),
        )
    first, second = (
        {
            path.relative_to(tmp_path / folder): path.read_bytes()
            for path in (tmp_path / folder).rglob("*.*")
        }
        for folder in ("one", "two")
    )
    assert len(first) > 40
    assert first == second


# --- html
# ----------------------------------------------------------------------------------------------------------


def assert_harmless(page: HtmlPage) -> None:
    assert set(page.tags) <= TAGS
    assert {(tag, name) for tag, name, _ in page.attributes} <= ATTRIBUTES
    for tag, name, value in page.attributes:
        assert name != "href" or re.fullmatch("#[a-z-]+", str(value))
        assert name != "id" or re.fullmatch("[a-z-]+|f[12]-(title|desc)", str(value))
        assert name != "data-value" or math.isfinite(float(str(value)))
        if tag in ("td", "th", "tr") and name == "class":
            assert set(str(value).split()) <= CLASSES


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: ascii(payload[:20]))
def test_hostile_text_is_only_text_in_html(payload):
    page, plain = (html_of_hostile(text) for text in (payload, PLAIN))
    assert_harmless(page)
    assert page.tags == plain.tags
    assert [[len(line) for line in table] for table in page.tables] == [
        [len(line) for line in table] for table in plain.tables
    ]
    for tag, text in page.texts:
        if tag not in ("style", "script"):
            assert not re.search(
                "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text
            )


def html_of_hostile(payload: str) -> HtmlPage:
    study, _ = make_hostile(payload)
    document = build_document(study, outliers=make_outliers(study, payload))
    images = {"before_after": SVG, f"curves:{payload}": SVG}
    page = html_page(document, images, verdicts=find_verdicts(study))
    assert len(page) < 500_000
    return HtmlPage(page)


@pytest.mark.parametrize("payload", SHORT, ids=lambda payload: ascii(payload[:20]))
def test_hostile_text_is_shown_letter_by_letter_in_html(payload):
    found = html_of_hostile(payload)
    title = one_line(f"{payload}: before and after fine-tuning")
    assert ("h1", title) in [(tag, text) for tag, text in found.texts]


def test_the_policy_of_the_page_forbids_everything_but_its_own_style_and_script():
    page = render_html(make_study(), {"before_after": SVG})
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    style, script = (
        re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("style", "script")
    )
    digests = [
        base64.b64encode(sha256(text.encode()).digest()).decode() for text in (*style, *script)
    ]
    assert policy.replace("&#39;", "'").split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{digests[1]}'",
        f"style-src 'sha256-{digests[0]}'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    assert len(digests) == 2
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert not re.search(r"url\(|@import|expression", style[0])
    named = script[0].replace("http://www.w3.org/2000/svg", "")  # the name of a language
    assert not re.search(r"innerHTML|\beval\b|Function\(|document\.write|fetch|https?:", named)


def test_the_contents_lead_to_every_section_and_figures_are_in_the_page():
    page = HtmlPage(render_html(make_study(), {"before_after": SVG}))
    ids = [value for tag, name, value in page.attributes if (tag, name) == ("h2", "id")]
    links = [str(value)[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links == ["report", *ids]  # past the contents, then their own
    assert len(set(ids)) == len(ids) > 8
    images = [tag for tag, name, _ in page.attributes if (tag, name) == ("svg", "aria-labelledby")]
    assert len(images) == 1
    assert not [value for _, name, value in page.attributes if name == "src"]


def test_long_and_appendix_tables_are_folded():
    page = render_html(make_study(), {})
    folded = re.findall(r"<summary>(.*?) \((\d+) rows\)</summary>", page)
    assert (
        "What the recipes share",
        "3",
    ) in folded  # model.pretrained, train.seed, train.max_steps
    assert "Where the recipes differ" not in dict(
        folded
    )  # task.name: a line for each of two adapters
    assert "Scores before and after" not in dict(folded)


# --- latex
# ---------------------------------------------------------------------------------------------------------


SPELLING = {
    *("mbox", "allowbreak", "ftharnesschar", "raggedright", "arraybackslash", "linewidth", "ldots"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar"),
    *("textquotedbl", "textquotesingle", "textasciigrave", "textendash", "textemdash"),
}  # of characters, and of columns that texts share


def commands_of(page: str) -> list[str]:
    return re.findall(r"\\([a-zA-Z]+)", page.partition(r"\begin{document}")[2])


@pytest.mark.parametrize("payload", SHORT, ids=lambda payload: ascii(payload[:20]))
def test_hostile_text_is_no_command_in_latex(payload):
    pages = [latex_page(build_document(make_hostile(text)[0]), {}) for text in (payload, PLAIN)]
    page = pages[0].partition(r"\begin{document}")[2]
    ours, plain = ([word for word in commands_of(each) if word not in SPELLING] for each in pages)
    assert ours == plain
    bare = re.sub(r"\\[\\{}$&#%_]", "", page)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[$#^%]", bare)
    assert re.findall(r"\\begin\{(\w+)\}", page) == re.findall(r"\\end\{(\w+)\}", page)[:-1]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
@pytest.mark.parametrize("whole", [True, False], ids=["report", "table"])
def test_latex_compiles(whole: bool, tmp_path: Path):
    document = build_document(make_hostile(" ".join(SHORT) + " 古文 ▁█ é 😀")[0])
    if whole:
        text = latex_page(document, {})
    else:
        (table, *_) = document.tables()
        (tmp_path / "scores.tex").write_text(latex_table(table), "utf-8")
        text = (
            "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp,array,booktabs}\\begin{document}"
            "\\begin{table}\\caption{x}\\input{scores.tex}\\end{table}\\input{scores.tex}\\end{document}"
        )
    (tmp_path / "report.tex").write_text(text, "utf-8")
    command = [
        "pdflatex",
        "-no-shell-escape",
        "-halt-on-error",
        "-interaction=nonstopmode",
        "report.tex",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "report.pdf").stat().st_size > 1000


# --- csv
# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\x0d=1"),
        ("  =1", "'  =1"),
        ("\ufeff=1", "'\\ufeff=1"),
        ("'=1", "''=1"),
        ('"=1', "'\"=1"),
        ("a=1", "a=1"),
        ("a\nb", "a\\nb"),
    ],
)
def test_text_is_no_formula_in_csv(text: str, written: str):
    assert list(csv.reader(io.StringIO(csv_text(["x"], [[text]])))) == [["x"], [written]]


def test_numbers_are_numbers_in_csv():
    table = Table(
        "t", "t", ["a", "b", "c"], [[Number("-0.5", -0.5), Span("-", None, None), "-0.5"]], "nit"
    )
    assert csv_table(table) == 'a,"b, low","b, high",c\n-0.5,,,\'-0.5\n'


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: ascii(payload[:20]))
def test_no_cell_of_hostile_text_is_a_formula(payload):
    study, _ = make_hostile(f"={payload}")
    for _, table in table_names(build_document(study)):
        for line in csv.reader(io.StringIO(csv_table(table))):
            for cell in line:
                assert not re.match(r"\s*[=@\t\r]", cell)
                assert cell[:1] not in "+-" or re.fullmatch(r"-?[\d.e-]*", cell)


def test_tables_of_one_name_have_files_of_their_own():
    names = [name for name, _ in table_names(build_document(make_study()))]
    assert len(set(names)) == len(names)
    assert {"transitions", "transitions_2"} <= set(names)


# --- views
# ---------------------------------------------------------------------------------------------------------


def main_table(study: Study, view: View) -> list[list[str]]:
    return Page(markdown_page(build_document(study, view), {})).tables[0]


def test_splits_side_by_side():
    table = main_table(make_study(), make_view("task", "split", None))
    assert table[0] == ["Task", "Metric", "", "train", "validation", "test"]
    snli = ["snli_custom", "acc"]
    assert table[1:6] == [
        [*snli, "Base", "39.1 %", "39.1 %", "39.1 %"],
        [*snli, "Tuned", "73.1 %", "73.1 %", "73.1 %"],
        [*snli, "Difference", "+34.0", "+34.0", "+34.0"],
        [*snli, "n", "300", "300", "300"],
        [*snli, "Verdict", "no evidence", "no evidence", "improved"],
    ]
    squad = dict(zip([line[2] for line in table[6:]], table[6:], strict=True))
    assert squad["Tuned"] == ["squad_custom", "exact_match", "Tuned", "-", "-", "31.4 %"]


def test_metrics_side_by_side():
    table = main_table(make_study(), make_view(None, "metric", "acc,f1_macro"))
    assert table[0] == ["Task", "Split", "", "acc", "f1_macro"]
    assert [line[:2] for line in table[1::5]] == [
        ["snli_custom", "test"],
        ["snli_custom", "validation"],
        ["snli_custom", "train"],
    ]
    assert [line[3:] for line in table[1:6]] == [
        ["39.1 %", "28.0 %"],
        ["73.1 %", "72.5 %"],
        ["+34.0", "+44.5"],
        ["300", "300"],
        ["improved", "no evidence"],
    ]


def test_other_metrics_in_the_main_table():
    table = main_table(make_study(), make_view(None, None, "f1_macro,token_f1"))
    assert [line[:3] for line in table[1:]] == [
        ["snli_custom", "test", "f1_macro"],
        ["squad_custom", "test", "token_f1"],
    ]


def test_no_number_hides_behind_another():
    """Whatever tells two rows apart leads a line, also if it was not asked for."""
    table = main_table(make_varied_study(), make_view("model,task", "shots", None))
    assert table[0][:6] == ["Model", "Task", "Adapter", "Training seed", "Split", "Metric"]
    assert len(table) == 1 + 5 * (2 + 1)  # two adapters, and the other task
    assert table[2][6:] == ["Tuned", "50.0 %", "55.0 %"]


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ("taks", None, "did you mean task"),
        (None, "model,task", "unknown feature"),
        ("task,split", "split", "'split'"),
    ],
)
def test_a_view_that_cannot_be_is_refused(rows, columns, words):
    with pytest.raises(ConfigError, match=words):
        make_view(rows, columns, None)


def test_a_metric_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="did you mean f1_macro"):
        check_metrics(make_study(), make_view(None, None, "f1_macr"))


# --- files and commands
# --------------------------------------------------------------------------------------------


def test_a_hostile_adapter_name_stays_in_the_folder(tmp_path: Path):
    names = ["../../out", "a/b", "a_b", "n" * 300, "\x00"]
    runs = [make_adapter(name, "snli_custom").model_copy(update={"history": []}) for name in names]
    study = make_study().model_copy(update={"comparisons": [], "adapters": runs})
    write_report(study, tmp_path / "deep" / "down" / "report")
    outside = [
        path for path in tmp_path.rglob("*") if path.is_file() and "report" not in path.parts
    ]
    assert outside == []
    figures = list((tmp_path / "deep" / "down" / "report").glob("curves_*.svg"))
    assert len(figures) == len(names)


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Base: 5 of 20 right; better: 18, worse: 0; each item's gold is `negative`."""
    for name, right in (("base", 5), ("better", 18), ("worse", 0)):
        record = make_record(None if name == "base" else name)
        predictions = [0] * right + [1] * (20 - right)
        write_evaluation(
            tmp_path / "results" / name / "test", record, label_samples([0] * 20, predictions)
        )
    return tmp_path / "results"


def test_report_writes_the_formats_asked_for(ft, scored: Path):
    code, out, _ = ft("report", scored, "--format", "html,csv", "--name", "mine")
    folder = scored / "reports" / "mine"
    assert code == 0
    *_, page, others = out.strip().splitlines()
    assert page == "results/reports/mine/report.html"
    told = others.removeprefix("results/reports/mine: ")
    assert told.startswith("rows.json, study.json, before_after.{png,svg,csv}, ")
    assert re.search(r", \d\d files as tables/\*\.csv$", told)
    assert {path.name for path in folder.glob("report.*")} == {"report.html"}
    assert (
        (folder / "tables" / "scores.csv")
        .read_text()
        .startswith("Task,Adapter,Split,Metric,Base,Tuned")
    )
    assert (
        (folder / "before_after.csv")
        .read_text()
        .startswith("task,split,adapter,metric,who,value,low,high,n,verdict\n")
    )
    assert json.loads((folder / "rows.json").read_text())
    assert HtmlPage((folder / "report.html").read_text()).tables


def test_every_file_is_told_and_none_is_stale(ft, scored: Path):
    """Files of an earlier report in other formats, of adapters that are no longer in it; what a
    person wrote or put there stays."""
    folder = scored / "reports" / "mine"
    every = "md,html,tex,csv,json"
    assert ft("report", scored, "--format", every, "--name", "mine")[0] == 0
    listed = json.loads((folder / "files.json").read_text())["files"]
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    assert there == {*listed, "cases.csv", "files.json"}
    (folder / "mine.txt").write_text("kept")
    code, out, _ = ft("report", scored, "--name", "mine")
    assert code == 0
    left = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    stale = {"report.tex", "report.json", *(name for name in listed if name.startswith("tables/"))}
    assert len(stale) > 10
    assert left == there - stale | {"mine.txt"}
    told = out.strip().splitlines()[-3:]
    assert told[:2] == [f"results/reports/mine/report.{ending}" for ending in ("md", "html")]
    assert told[2].endswith("rows.json, study.json, before_after.{png,svg,csv}, cases.csv")


def test_a_list_of_files_leads_nowhere_else(ft, scored: Path, tmp_path: Path):
    folder, outside = scored / "reports" / "mine", tmp_path / "precious.txt"
    outside.write_text("kept")
    folder.mkdir(parents=True)
    names = ["../../../precious.txt", str(outside)]
    (folder / "files.json").write_text(json.dumps({"files": names}))
    assert ft("report", scored, "--name", "mine")[0] == 0
    assert outside.read_text() == "kept"


def test_report_refuses_what_it_does_not_know(ft, scored: Path):
    for given, words in (
        (["--format", "pdf"], "pdf"),
        (["--rows", "x"], "x"),
        (["--metrics", "bleu"], "bleu"),
    ):
        code, _, err = ft("report", scored, *given)
        assert code == 2
        assert_three_lines(err, words)
    assert not list((scored / "reports").rglob("report.*"))


def test_compare_two_evaluations(ft, scored: Path):
    # 13 items are corrected and none broken: McNemar mid-p = 0.5^13 = 0.00012
    code, out, _ = ft(
        "compare", scored / "base", scored / "better" / "test", "--require", "acc>=+20"
    )
    assert code == 0
    assert "25.0 %" in out
    assert "90.0 %" in out
    assert "improved" in out
    text = (scored / "reports" / "comparison" / "report.md").read_text()
    assert "| +65.0 |" in re.sub(" +", " ", text)


def test_two_adapters_can_be_compared(ft, scored: Path):
    code, out, _ = ft("compare", scored / "worse", scored / "better")
    assert code == 0
    assert "90.0 %" in out


def test_what_was_required_and_is_not_shown_is_exit_1(ft, scored: Path):
    """From 5 to 18 of 20 the interval is about +43 to +81 points; from 18 to 0 it is far below."""
    code, _, err = ft("compare", scored / "base", scored / "better", "--require", "acc>=+20")
    assert code == 0
    assert "acc>=+20 is met: acc of better on demo_nli (test), the lower end" in err
    assert ft("compare", scored / "base", scored / "better", "--require", "acc>=+64")[0] == 1
    code, out, err = ft("compare", scored / "better", scored / "worse", "--require", "acc>=-2")
    assert code == 1
    assert "worse" in out
    assert "acc>=-2 is not met by worse: Accuracy on demo_nli" in err
    assert "got worse, from 90.0 % to 0.0 %" in err
    assert ft("compare", scored / "better", scored / "worse")[0] == 0


def test_an_unknown_metric_is_refused_before_anything_is_written(ft, scored: Path):
    code, _, err = ft("compare", scored / "base", scored / "worse", "--require", "bleu>=1")
    assert code == 2
    assert_three_lines(err, "--require 'bleu>=1': the trained task has no metric 'bleu'")
    assert ft("report", scored, "--require", "controls>=-1")[0] == 2
    assert not list((scored / "reports").rglob("*.*"))


def framed(out: str) -> list[dict[str, str]]:
    """The lines of a table in the terminal, by column."""
    lines = [
        re.split("[┃│]", line)[1:-1] for line in out.splitlines() if line.startswith(("┃", "│"))
    ]
    names, *cells = [list(map(str.strip, line)) for line in lines]
    return [dict(zip(names, line, strict=True)) for line in cells]


def test_the_terminal_names_what_differs_and_p(ft, tmp_path: Path, monkeypatch):
    for shots, right in ((0, 18), (5, 10)):
        for name, predictions in (
            (None, [0] * 20),
            ("ad", [0, 1] * (right // 2) + [0] * (20 - right)),
        ):
            record = make_record(name, num_fewshot=shots).model_copy(
                update={"eval_id": f"{name}-{shots}"}
            )
            write_evaluation(
                tmp_path / f"{name}-{shots}", record, label_samples([0, 1] * 10, predictions)
            )
    monkeypatch.setenv("COLUMNS", "120")
    for options, shown in (
        # 9 of 20 corrected and none broken: mid-p = 0.5^9 = 0.00195; 5 of 20: 0.5^5 = 0.03125
        ((), [["0", "0.002"], ["5", "0.031"]]),
        # by Holm twice the smaller one, and the last as it is
        (("--holm",), [["0", "0.002", "0.004"], ["5", "0.031", "0.031"]]),
    ):
        code, out, _ = ft("report", tmp_path, "--format", "md", *options)
        assert code == 0
        lines = framed(out)
        names = [name for name in ("Shots", "p", "p (Holm)") if name in lines[0]]
        assert [[line[name] for name in names] for line in lines] == shown
    assert [line.partition(": ")[0] for line in out.splitlines() if " on demo_nli (" in line] == [
        "0-shot",
        "5-shot",
    ]


def test_an_undefined_difference_meets_no_requirement(ft, tmp_path: Path):
    samples = label_samples([0, 1] * 10, [0] * 20)
    write_evaluation(tmp_path / "base", make_record(), samples)
    lost = [each.model_copy(update={"scores": dict.fromkeys(each.scores)}) for each in samples]
    write_evaluation(tmp_path / "nan", make_record("nan"), lost)
    code, _, err = ft("compare", "base", "nan", "--require", "acc>=-2")
    assert code == 3
    assert "items without a score of acc  0 of 20  20 of 20" in err
    code, _, err = ft("compare", "base", "nan", "--require", "acc>=-2", "--allow-mismatch", "items")
    assert code == 1
    assert (
        "No difference can be stated: accuracy on demo_nli (test, 0 of 20 items) is undefined; "
        "there is no interval." in err
    )


def test_unknown_fields_may_not_be_accepted(ft, scored: Path):
    code, _, err = ft(
        "compare", scored / "base", scored / "worse", "--allow-mismatch", "max_lenght"
    )
    assert code == 2
    assert_three_lines(err, "did you mean")
    assert "items, prompt_hash, target_hash, metric, status, model" in err
    assert not (scored / "reports").exists()


def test_an_evaluation_compared_with_itself_is_said(ft, scored: Path):
    said = "Base and tuned are one and the same evaluation, base--bundled/demo_nli@test: this compares nothing."
    assert said in ft("compare", scored / "base", scored / "base")[1]
    assert "this compares nothing" not in ft("compare", scored / "base", scored / "worse")[1]


def test_several_evaluations_are_not_one_side(ft, scored: Path):
    code, _, err = ft("compare", scored, scored / "better")
    assert code == 3
    assert_three_lines(err, "3 evaluations")


def test_an_accepted_difference_is_a_note(ft, scored: Path):
    record = make_record("other", max_length=64)
    write_evaluation(scored / "other", record, label_samples([0] * 20, [0] * 20))
    code, _, err = ft("compare", scored / "base", scored / "other")
    assert code == 3
    assert "  max_length  512   64\n" in err
    code, _, _ = ft("compare", scored / "base", scored / "other", "--allow-mismatch", "max_length")
    assert code == 0
    text = (scored / "reports" / "comparison" / "report.md").read_text()
    assert "- accepted difference, max\\_length: base 512, tuned 64" in text


def test_sentence_and_table_show_the_same_numbers(ft, scored: Path):
    assert ft("report", scored)[0] == 0
    text = (scored / "reports" / "report" / "report.md").read_text()
    table = Page(text).tables[0]
    shown = [
        dict(zip(table[0], line, strict=True)) for line in table[1:] if "majority" not in line[3]
    ]
    said = [line for line in text.splitlines() if line.startswith("- ") and " points" in line]
    assert len(shown) == len(said) == 2
    for cells, sentence in zip(shown, said, strict=True):
        assert re.search(f"{cells['Base']} (to|-\\\\&gt;|-&gt;|->) {cells['Tuned']}", sentence)
        plain = sentence.replace("\\", "")
        assert f"{cells['Difference']} points" in plain
        assert f"95 % interval {cells['95 % interval']}" in plain


def test_the_worked_example_of_the_docs(ft, tmp_path: Path):
    # 8 corrected, 1 broken: 2 * (1 + 9 / 2) / 2^9 = 0.0215; the ends of the interval that inverts
    # this test (2 million Dirichlet shares by numpy): 0.054 and 0.591
    golds = [0] * 10 + [1] * 10
    base = [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    tuned = [0, 0, 0, 0, 1, *[0] * 5, 0, 0, *[1] * 8]
    for name, predictions in (("base", base), ("tuned", tuned)):
        record = make_record(None if name == "base" else name)
        write_evaluation(tmp_path / name, record, label_samples(golds, predictions))
    assert ft("compare", "base", "tuned")[0] == 0
    table, *_ = Page((tmp_path / "results/reports/comparison/report.md").read_text()).tables
    shown = ["50.0 %", "85.0 %", "+35.0", "+5.4 to +59.1", "0.021", "20", "improved"]
    assert [line[3:] for line in table[1:]] == [shown, ["50.0 %", "-", "-", "-", "-", "20", "-"]]
    page = (Path(__file__).parents[2] / "docs" / "reading-a-report.md").read_text(encoding="utf-8")
    for number in shown[:5]:
        assert number in page


def test_hostile_names_reach_the_terminal_as_text(ft, tmp_path: Path):
    for name in ("base", "tuned"):
        record = make_record(None if name == "base" else name, task="a\x1b]0;x\x07\u202e[red]b")
        write_evaluation(tmp_path / name, record, label_samples([0] * 20, [0] * 20))
    code, out, err = ft("compare", "base", "tuned")
    assert code == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out + err)
    assert "a\\x1b]0;x\\x07\\u202e[red]b" in out


@pytest.mark.skipif(not shutil.which("pandoc"), reason="needs pandoc")
def test_hostile_markdown_is_only_text_for_pandoc_too():
    for payload in SHORT:
        study, figures = make_hostile(payload)
        page = markdown_page(build_document(study), figures)
        done = subprocess.run(
            ["pandoc", "-f", "markdown", "-t", "html"],
            input=page,
            capture_output=True,
            text=True,
            check=True,
        )
        found = HtmlPage(done.stdout)
        assert set(found.tags) <= TAGS | {"code", "col", "colgroup", "img"}, payload
        linked = [
            (tag, str(value)) for tag, name, value in found.attributes if name in ("href", "src")
        ]
        assert all(tag == "img" and ":" not in value for tag, value in linked), payload
        assert not [name for _, name, _ in found.attributes if name.startswith("on")], payload
