"""Any text in every place of a study, in every format of the report: it is shown, and acts on
nothing."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ft_harness.report import (
    build_document,
    csv_table,
    find_verdicts,
    html_page,
    json_page,
    latex_page,
    rows_json,
    table_names,
)
from ft_harness.report.terminal_page import terminal_page
from ft_harness.storage.escaping import one_line, visible
from ft_harness.storage.markdown import fenced, inline, table
from ft_harness.storage.terminal import inert
from tests.builders.study import PLAIN, make_hostile, make_outliers, render_whole
from tests.fuzz.inputs import texts
from tests.fuzz.outcome import UNSEEN, bounded, examples
from tests.report.test_formats import SPELLING, SVG, HtmlPage, assert_harmless, commands_of
from tests.report.test_report import Page, shape, structure
from tests.storage.test_escaping import LINKED

pytestmark = pytest.mark.slow  # hundreds of inputs a test
# an empty name is left out of a page, and half a character is in no study: readers refuse it
named = texts.filter(
    lambda text: one_line(text).strip() != "" and not re.search("[\ud800-\udfff]", text)
)


@pytest.fixture(scope="module")
def plain() -> Page:
    return Page(render_whole(*make_hostile(PLAIN)))


@examples(40)
@given(text=named)
def test_markdown(text: str, plain: Page):
    with bounded():
        page = Page(render_whole(*make_hostile(text)))
    assert structure(page) == structure(plain)
    assert shape(page) == shape(plain)
    for tag, name, value in page.attributes:
        assert (tag, name) in {("td", "style"), ("th", "style"), ("img", "src"), ("img", "alt")}
        assert name != "src" or ":" not in str(value)
    for node in page.prose:
        assert not re.search(r"@|\$|://|www\.", node, re.IGNORECASE)
        assert not UNSEEN.search(node)


@pytest.fixture(scope="module")
def plain_html() -> HtmlPage:
    return html_of(PLAIN)


def html_of(text: str) -> HtmlPage:
    study, _ = make_hostile(text)
    document = build_document(study, outliers=make_outliers(study, text))
    images = {"before_after": SVG, f"curves:{text}": SVG}
    return HtmlPage(html_page(document, images, verdicts=find_verdicts(study)))


@examples(40)
@given(text=named)
def test_html(text: str, plain_html: HtmlPage):
    with bounded():
        page = html_of(text)
    assert_harmless(page)
    assert page.tags == plain_html.tags
    for tag, shown in page.texts:
        assert tag in ("style", "script") or not UNSEEN.search(shown)
    title = one_line(f"{text}: before and after fine-tuning", 1000)
    assert any(tag == "h1" and shown == title for tag, shown in page.texts)


@pytest.fixture(scope="module")
def plain_commands() -> list[str]:
    page = latex_page(build_document(make_hostile(PLAIN)[0]), {})
    return [word for word in commands_of(page) if word not in SPELLING]


@examples(40)
@given(text=named)
def test_latex(text: str, plain_commands: list[str]):
    with bounded():
        whole = latex_page(build_document(make_hostile(text)[0]), {})
    assert [word for word in commands_of(whole) if word not in SPELLING] == plain_commands
    page = whole.partition(r"\begin{document}")[2]
    bare = re.sub(r"\\[\\{}$&#%_]", "", page)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[$#^%]", bare)


@examples(40)
@given(text=named)
def test_csv_json_and_the_terminal(text: str):
    study, _ = make_hostile(text)
    with bounded():
        document = build_document(study)
        tables = [csv_table(each) for _, each in table_names(document)]
        objects = [json_page(document), *rows_json(study)]
        lines = [*terminal_page(study)]
    for content in tables:
        widths = set()
        for line in csv.reader(io.StringIO(content)):
            widths.add(len(line))
            for cell in line:
                assert not re.match(r"\s*[=@\t\r]", cell)
                assert cell[:1] not in ("+", "-") or re.fullmatch(r"-?[\d.e-]*", cell)
                assert not UNSEEN.search(cell)
        assert len(widths) == 1
    for content in objects:
        content.encode("utf-8")  # no half character
        json.loads(content, parse_constant=lambda _: pytest.fail("NaN"))
    for line in lines:
        assert not UNSEEN.search(inert(line))


@examples(1500)
@given(text=st.one_of(texts, st.lists(texts, max_size=3).map(" ".join)))
def test_text_in_markdown(text: str):
    """Against markdown-it: what is shown is the text, and nothing but code is made of it."""
    with bounded():
        sources = [
            inline(text),
            f"# {inline(text)}",
            f"- x {inline(text)}",
            table([text], [[text]], "l"),
        ]
        block = fenced(text, 2000)
    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
    for source in sources:
        html = renderer.render(source)
        assert {*re.findall(r"<(\w+)", html)} <= {
            "p", "h1", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code",
        }, html  # fmt: skip
        outside = re.sub(r"<code>.*?</code>", "\0", html, flags=re.DOTALL)
        assert not LINKED.search(re.sub(r"<[^>]*>", "\0", outside)), html
    page = Page(block)
    assert page.tags == ["pre", "code"]
    shown = Page(table(["x"], [[text]], "l")).tables[0][1][0]
    assert shown == visible(text, 1000).replace("\n", "\\n").replace("\t", "\\t").strip()
