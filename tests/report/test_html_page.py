"""The HTML page in a browser: tables are sorted, cases found, figures drawn, and hostile text stays
text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.cases import Answer, Item, Listing
from ft_harness.report import (
    build_document,
    csv_table,
    find_verdicts,
    html_page,
    main_comparisons,
    make_explorer,
)
from ft_harness.report.document import Document, Lines, Marked, Number, Span, Table
from ft_harness.report.figures import before_after
from ft_harness.report.inline_svg import inline_svg
from tests.builders.browser import Browser
from tests.builders.explorer import explorer_of, found_in, study_with, type_text, write_page
from tests.builders.study import (
    ATTACKS,
    MARKED,
    PAYLOADS,
    make_hostile,
    make_study,
    make_varied_study,
    make_wide_study,
    render_html,
)
from tests.report.test_sweep_table import a_sweep

SHORT = [payload for payload in PAYLOADS if len(payload) < 500]


# --- figures
# -------------------------------------------------------------------------------------------------------


def svg(inner: str, attributes: str = "") -> bytes:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="0 0 10 10" {attributes}>{inner}</svg>'.encode()


class Elements(HTMLParser):
    """(element, attributes) in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


HEAD = '<svg viewBox="0 0 10 10" role="img" aria-labelledby="f1-title" aria-describedby="f1-desc" '
HEAD += 'stroke-linejoin="round" stroke-linecap="butt"><title id="f1-title">A &lt;b&gt;</title>'
HEAD += '<desc id="f1-desc">The numbers drawn here are in the csv file of the figure, next to the report.</desc>'


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            '<path d="M 0 0 L 1 1" style="fill: none; stroke: #0072b2"/>',
            '<path d="M 0 0 L 1 1" fill="none" stroke="#0072b2"></path>',
        ),
        (
            '<g id="unused"><rect x="1" y="2" width="3" height="4"/></g>',
            '<g><rect x="1" y="2" width="3" height="4"></rect></g>',
        ),
        (
            '<defs><path id="a" d="M 0 0"/></defs><use xlink:href="#a"/>',
            '<defs><path id="f1-a" d="M 0 0"></path></defs><use href="#f1-a"></use>',
        ),
        (
            '<defs><clipPath id="c"/></defs><g clip-path="url(#c)"/>',
            '<defs><clipPath id="f1-c"></clipPath></defs><g clip-path="url(#f1-c)"></g>',
        ),
        (
            '<g transform="translate(1 2) scale(0.1 -0.1)"/>',
            '<g transform="translate(1 2) scale(0.1 -0.1)"></g>',
        ),
        (
            "<script>x</script><style>*{}</style><metadata><g/></metadata><foreignObject><g/></foreignObject>",
            "",
        ),
        (
            '<image xlink:href="https://example.invalid/x.png"/><a xlink:href="javascript:x"><g/></a>',
            "",
        ),
        (
            '<g onclick="x" class="y" data-z="1" style="position: fixed; background: url(x)"/>',
            "<g></g>",
        ),
        ('<use xlink:href="https://example.invalid/x#a"/>', "<use></use>"),
        ('<g fill="url(https://example.invalid/)"/><g fill="url(x)"/>', "<g></g><g></g>"),
        ('<g fill="red&quot; onload=&quot;x"/><g stroke="expression(x)"/>', "<g></g><g></g>"),
        ("<text>words</text><!-- words -->", ""),
    ],
)
def test_a_figure_is_shapes_and_nothing_else(given, shown):
    assert inline_svg(svg(given), 1, "A <b>") == f"{HEAD}{shown}</svg>"


def test_figures_of_one_page_share_no_identifier():
    shape = svg('<defs><path id="a" d="M 0 0"/></defs><use xlink:href="#a"/>')
    study = make_study()
    names = ["before_after", "curves:snli_lora", "curves:squad_lora"]
    page = Elements(render_html(study, dict.fromkeys(names, shape)))
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [attributes["href"] for tag, attributes in page.found if tag == "use"] == [
        "#f1-a",
        "#f2-a",
        "#f3-a",
    ]
    assert [attributes.get("role") for tag, attributes in page.found if tag == "svg"].count(
        "img"
    ) == 3


# --- in a browser
# --------------------------------------------------------------------------------------------------


def test_tables_are_sorted_by_unrounded_numbers_by_mouse_and_keyboard(
    browser: Browser, folder: Path
):
    rows = [
        ["b", Number("50.0 %", 0.50002), Span("+1.0 to +2.0", 0.01, 0.02)],
        ["a", Number("-", None), Span("-", None, None)],
        ["item 10", Number("50.0 %", 0.50001), Span("-9.0 to +2.0", -0.09, 0.02)],
        ["item 9", Number("9.0 %", 0.09), Span("-10.0 to +1.0", -0.10, 0.01)],
    ]
    document = Document("x", [Table(None, "Scores", ["Name", "Score", "Interval"], rows, "tni")])
    browser.open(write_page(folder, html_page(document, {})))

    def order() -> list[str]:
        return browser.texts("tbody td:first-child")

    def click(number: int) -> None:
        browser.run(f"document.querySelectorAll('th button')[{number}].click()")

    assert browser.texts("th button") == ["Name", "Score", "Interval"]
    click(1)
    assert order() == ["item 9", "item 10", "b", "a"]
    assert browser.run(
        "[...document.querySelectorAll('th')].map((th) => th.getAttribute('aria-sort'))"
    ) == [
        None,
        "ascending",
        None,
    ]
    click(1)
    assert order() == ["b", "item 10", "item 9", "a"]  # what is undefined stays last
    click(1)
    assert order() == ["b", "a", "item 10", "item 9"]
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 0
    click(2)
    assert order() == ["item 9", "item 10", "b", "a"]
    browser.run("document.querySelectorAll('th button')[0].focus()")
    browser.press("Enter")
    assert order() == ["a", "b", "item 9", "item 10"]
    browser.press(" ")
    assert order() == ["item 10", "item 9", "b", "a"]
    assert browser.complaints() == []


def test_a_table_whose_lines_are_different_quantities_is_not_sorted():
    rows = [["time", "1 s"], ["size", "2 B"], ["n", "3"]]
    page = html_page(Document("x", [Table(None, "Cost", ["", "a"], rows, "tn")]), {})
    assert "sortable" not in page.partition("<body>")[2].partition("<script>")[0]
    page = html_page(Document("x", [Table(None, "Cost", ["Name", "a"], rows, "tn")]), {})
    assert '<table class="sortable">' in page


def test_without_scripts_all_but_sorting_and_the_explorer_can_be_read(
    nli, browser: Browser, folder: Path
):
    study = study_with(nli[0])
    browser.open(
        write_page(folder, render_html(study, {}, explorer_of(study, nli[1]))), scripts=False
    )
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = [node.get("name", {}).get("value", "") for node in nodes if not node["ignored"]]
    assert any(
        name.startswith("To search them, open this page in a browser that runs its script")
        for name in named
    )
    assert "Scores before and after" in named
    assert "Show all" not in named


def hostile_item(number: int, payload: str) -> Item:
    sides = Answer(payload, 0.5, (0.25, 0.5)), Answer(f"{payload} x", None, (0.0, -1.0))
    slices = {payload: payload, "kind": payload}
    return Item(
        f"{number}{payload}",
        "corrected",
        payload * 2,
        payload,
        *sides,
        slices=slices,
        why=payload,
        choices=(payload, "other"),
    )


def test_hostile_text_does_nothing(browser: Browser, folder: Path):
    """As name of everything, prompt, answer and slice: no script runs, nothing is fetched, nothing
    complains."""
    joined = " ".join([*ATTACKS, *SHORT])
    study, _ = make_hostile(joined)
    comparison = main_comparisons(study)[0]
    items = [hostile_item(number, payload) for number, payload in enumerate([*ATTACKS, *PAYLOADS])]
    listing = Listing("acc", len(items), [*(item.gold for item in items), "kind"], items)
    explorer = make_explorer(study, [(comparison, listing)])
    shapes = {
        "before_after": svg(
            f"<g onload='{MARKED}'/><script>{MARKED}</script>", f"onload='{MARKED}'"
        )
    }
    page = html_page(build_document(study), shapes, explorer, find_verdicts(study))
    browser.open(write_page(folder, page, "hostile"))
    assert found_in(browser).startswith(f"{len(items)} of {len(items)} cases")
    type_text(browser, "<img")
    assert "<img" in "".join(browser.texts(".cases mark"))
    browser.run("document.querySelectorAll('button').forEach((each) => each.click())")
    browser.run("new Promise((done) => setTimeout(done, 300))")
    assert browser.run("window.hacked") is None
    elements = set(
        browser.run("[...document.querySelectorAll('body *')].map((each) => each.localName)")
    )
    assert elements <= ELEMENTS
    attributes = set(
        browser.run(
            "[...document.querySelectorAll('body *')].flatMap((each) => each.getAttributeNames())"
        )
    )
    assert attributes <= ATTRIBUTES
    assert browser.complaints() == []


ELEMENTS = {
    "a",
    "b",
    "button",
    "caption",
    "dd",
    "del",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "form",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "header",
    "input",
    "ins",
    "label",
    "li",
    "main",
    "mark",
    "nav",
    "ol",
    "optgroup",
    "option",
    "p",
    "path",
    "pre",
    "rect",
    "script",
    "section",
    "select",
    "span",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "textarea",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
}
ATTRIBUTES = {
    "aria-current",
    "aria-describedby",
    "aria-disabled",
    "aria-expanded",
    "aria-hidden",
    "aria-label",
    "aria-labelledby",
    "aria-sort",
    "autocomplete",
    "class",
    "d",
    "data-label",
    "data-value",
    "height",
    "hidden",
    "href",
    "id",
    "label",
    "name",
    "open",
    "preserveAspectRatio",
    "role",
    "rows",
    "scope",
    "spellcheck",
    "start",
    "stroke-linecap",
    "stroke-linejoin",
    "tabindex",
    "type",
    "value",
    "viewBox",
    "width",
}


def test_the_policy_lets_nothing_else_run(browser: Browser, folder: Path):
    """A page into which someone wrote a script, a style or an address: the policy stops all of
    them."""
    page = render_html(make_study(), {})
    smuggled = (
        f"<script>{MARKED}</script><img src='https://example.invalid/x.png' onerror='{MARKED}'>"
    )
    smuggled += "<p id='styled' style='color: rgb(1, 2, 3)'>x</p>"
    browser.open(write_page(folder, page.replace("<header>", f"<header>{smuggled}")))
    assert browser.run("window.hacked") is None
    assert (
        browser.run("getComputedStyle(document.getElementById('styled')).color") != "rgb(1, 2, 3)"
    )
    refused = " ".join(browser.complaints())
    assert refused.count("violates the following Content Security Policy directive") >= 3
    raised = "(() => { try { document.body.innerHTML = 'x'; return 'done'; } catch (error) { return error.name; } })()"
    assert browser.run(raised) == "TypeError"  # no markup is ever made from text


# --- what is drawn


def test_a_matrix_is_shaded_by_each_count_s_share_of_its_row():
    rows = [
        ["Base", "yes", Number("9", 9, 0.9), Number("1", 1, 0.1)],
        ["Tuned", "yes", Number("0", 0, 0.0), Number("10", 10, 1.0)],
    ]
    table = Table("confusion", "Counts", ["", "Gold", "yes", "no"], rows, "ttnn", is_matrix=True)
    page = html_page(Document("x", [table]), {})
    assert re.findall('class="n short (h[0-9]+)">([0-9]+)<', page) == [
        ("h9", "9"),
        ("h1", "1"),
        ("h0", "0"),
        ("h10", "10"),
    ]
    assert re.findall('<tr class="([a-z]+)">', page) == ["base", "tuned"]


def test_a_share_outside_of_a_matrix_is_a_bar():
    rows = [["Base", Number("-1.25", -1.25, 0.375)], ["Gold", Number("-", None)]]
    page = html_page(Document("x", [Table(None, "Answers", ["", "log p"], rows, "tn")]), {})
    assert re.findall('<rect width="([0-9.]+)"', page) == ["37.5"]
    assert page.count('<svg class="bar"') == 1


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("metrics", 2000, []),
        ("metrics", 2001, ["2,000 of 2,001"]),
        ("metrics", 14_700, ["2,000 of 14,700"]),
        (None, 2001, []),  # no file would hold the rest
    ],
)
def test_a_long_table_says_that_the_rest_of_it_is_in_a_file(name, number, said):
    table = Table(name, "Many", ["Task"], [[f"task {place}"] for place in range(number)], "t")
    page = html_page(Document("x", [table]), {})
    shown = re.findall(r"task ([0-9]+)</td>", page)
    assert shown == [str(place) for place in range(2000 if said else number)]
    assert re.findall(r"<p>The first ([0-9,]+ of [0-9,]+) rows; with --format csv", page) == said
    assert f"<summary>Many ({number} row{'' if number == 1 else 's'})</summary>" in page


def test_a_long_table_that_is_not_folded_says_so_too():
    lines = [[f"task {place}"] for place in range(2001)]
    page = html_page(
        Document("x", [Table("sweep", "Many", ["Task"], lines, "t", is_answer=True)]), {}
    )
    assert "task 2000</td>" not in page
    assert page.count("<p>The first 2,000 of 2,001 rows; with --format csv") == 1
    assert "<summary>" not in page[page.index("<main") :]


def test_lines_that_are_not_shown_are_not_made():
    made: list[int] = []

    def line(place: int) -> list[str]:
        made.append(place)
        return [f"task {place}"]

    lines = Lines(30_000, line)
    table = Table("metrics", "Many", ["Task"], lines, "t")
    html_page(Document("x", [table]), {})
    assert made == list(range(2000))
    assert list(lines[-2:]) == [["task 29998"], ["task 29999"]]
    assert csv_table(table).count("\n") == 30_001


def test_marked_parts_of_a_text_are_elements_and_a_text_that_is_cut_has_none():
    rows = [
        ["Base", Marked("a <b> c", ((2, 5),), "base")],
        ["Tuned", Marked("a d c", ((2, 3),), "tuned")],
        ["Long", Marked("x" * 2000, ((2, 3),), "tuned")],
    ]
    page = html_page(Document("x", [Table(None, "Answers", ["", "Answer"], rows, "tt")]), {})
    assert ">a <del>&lt;b&gt;</del> c</td>" in page
    assert ">a <ins>d</ins> c</td>" in page
    assert "[cut at 1000 of 2000 characters]</td>" in page


# --- the first screen, small screens, paper, keyboard


def boxes(browser: Browser, selector: str) -> list[list[float]]:
    """[left, top, right, bottom] of what fits, in pixels of the screen."""
    return list(
        browser.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => {{"
            " const box = each.getBoundingClientRect();"
            " return [box.left, box.top, box.right, box.bottom]; })"
        )
    )


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Path]:
    """Pages of a study with one deciding comparison a task, and of one with thirty comparisons."""
    found = {}
    for name, study in (("usual", make_study()), ("thirty", make_wide_study())):
        image = before_after(study, "svg")
        found[name] = write_page(folder, render_html(study, {"before_after": image}), name)
    return found


@pytest.fixture
def screen(browser: Browser) -> Iterator[Browser]:
    yield browser
    browser.look(1280, 900)


def test_the_first_screen_holds_the_answer_and_the_figure(screen: Browser, pages: dict[str, Path]):
    screen.look(1280, 900)
    screen.open(pages["usual"])
    assert screen.texts(".verdict h3 .badge") == ["improved", "improved"]
    assert screen.texts(".verdict .change dd") == ["+34.0 points", "+21.1 points"]
    (figure,) = boxes(screen, "figure svg[aria-labelledby=f1-title]")
    assert figure[3] < 900
    order = screen.run(
        "[...document.querySelectorAll('.verdict, figure, #scores, .wide table')]"
        ".map((each) => each.className || each.id || each.localName).slice(0, 5)"
    )
    assert order[:2] == ["verdict better", "verdict better"]
    assert order[2:4] == ["figure", "scores"]


def test_the_first_screen_holds_the_answer_of_thirty_comparisons(
    screen: Browser, pages: dict[str, Path]
):
    screen.look(1280, 900)
    screen.open(pages["thirty"])
    assert screen.texts(".tally .badge") == ["10 improved", "10 worse", "10 no evidence"]
    lines = boxes(screen, ".verdict tbody tr")
    assert len(lines) == 30
    assert max(bottom for *_, bottom in lines) < 900
    assert max(right for _, _, right, _ in lines) <= 1280
    assert len(boxes(screen, ".verdict tbody .interval .dot")) == 30


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 1700)])
def test_the_first_screen_of_a_sweep_holds_its_settings(
    screen: Browser, folder: Path, width: int, height: int
):
    """A line per setting, and per control task and setting, each with its interval drawn; on a
    phone two screens of lines, none of which is moved sideways."""
    page = write_page(folder, render_html(a_sweep(), {}), f"settings-{width}")
    screen.look(width, height)
    screen.open(page)
    lines = boxes(screen, "#sweep ~ .wide .stacked tbody tr")[: 3 + 6]
    assert max(bottom for *_, bottom in lines) < height
    assert max(right for _, _, right, _ in lines) <= width
    drawn = boxes(screen, "#sweep ~ .wide .stacked .interval .dot")
    assert len(drawn) == 9
    assert screen.run("document.documentElement.scrollWidth") <= width


def test_the_verdicts_of_a_sweep_are_in_sight(screen: Browser, folder: Path):
    """Adapters of a sweep have long names, and columns for shots and seeds."""
    text = (
        make_varied_study().model_dump_json().replace('"large"', '"exam-learning_rate_0.001-s_1"')
    )
    text = text.replace('"small"', '"exam-learning_rate_0.0001-s_0"')
    page = write_page(folder, render_html(Study.model_validate_json(text), {}), "long-names")
    screen.look(1280, 900)
    screen.open(page)
    table = "document.querySelector('#scores ~ .wide')"
    assert screen.run(f"{table}.scrollWidth <= {table}.clientWidth")


@pytest.mark.parametrize("width", [1280, 400])
def test_no_number_of_a_card_is_parted_from_its_name(
    screen: Browser, pages: dict[str, Path], width: int
):
    """ "n = 300" is on one line."""
    screen.look(width, 900)
    screen.open(pages["usual"])
    assert "n = 300," in screen.texts(".certainty span")
    tall = "[...document.querySelectorAll('.certainty span')].map((each) => each.getClientRects())"
    assert set(screen.run(f"{tall}.map((each) => each.length)")) == {1}


@pytest.mark.parametrize("name", ["usual", "thirty"])
def test_nothing_but_long_tables_and_figures_is_moved_sideways_at_400_pixels(
    screen: Browser, pages: dict[str, Path], name: str
):
    screen.look(400, 860)
    screen.open(pages[name])
    screen.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert screen.run("document.documentElement.scrollWidth") <= 400
    wide = "[...document.querySelectorAll('.stacked')].map((each) => each.closest('.wide'))"
    moved = f"{wide}.map((each) => each.scrollWidth > each.clientWidth)"
    assert set(screen.run(moved)) == {False}
    main = "document.querySelector('#scores ~ :is(.wide, details) table')"
    assert screen.run(f"{main}.matches('.stacked')")
    labels = f"[...{main}.querySelector('tbody tr').cells].map((each) => each.dataset.label)"
    assert {"Task", "Split", "Metric", "Base"} <= set(screen.run(labels))
    assert max(right for _, _, right, _ in boxes(screen, ".verdict, .verdict td")) <= 400


def test_contents_follow_what_is_read(screen: Browser, pages: dict[str, Path]):
    screen.look(1280, 900)
    screen.open(pages["usual"])
    assert screen.texts("nav [aria-current]") == ["Verdicts"]
    screen.click("nav a[href='#cost']")
    screen.wait_for("document.querySelector('nav [aria-current]').textContent === 'Cost'")
    ((_, top, _, bottom),) = boxes(screen, "nav details")
    assert top >= 0
    assert bottom <= 900
    screen.run("scrollTo(0, document.documentElement.scrollHeight)")
    screen.wait_for("document.querySelector('nav [aria-current]').textContent === 'Provenance'")
    screen.look(400, 860)
    screen.wait_for("!document.querySelector('nav details').open")


def test_the_keyboard_reaches_the_report_first(screen: Browser, pages: dict[str, Path]):
    screen.look(1280, 900)
    screen.open(pages["usual"])
    screen.press("Tab")
    assert screen.run("document.activeElement.textContent") == "Skip to the report"
    assert boxes(screen, ".skip")[0][1] >= 0
    screen.press("Enter")
    assert screen.run("document.activeElement.id") == "report"


def luminance(red: float, green: float, blue: float) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in (red, green, blue)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def colour_of(text: str) -> list[float]:
    numbers = [float(each) for each in re.findall(r"[0-9.]+", text)][:3]
    return numbers if text.startswith("color(srgb") else [each / 255 for each in numbers]


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_what_is_behind_them(screen: Browser, folder: Path, dark: bool):
    """WCAG's AA: 4.5 to 1, for badges, marks and every shade of a matrix."""
    badges = "".join(
        f"<span class='badge {tone}'>x</span>" for tone in ("better", "worse", "vain", "none")
    )
    shades = "".join(f"<td class='h{shade}'>1</td>" for shade in range(11))
    rows = "".join(f"<tr class='{side}'>{shades}</tr>" for side in ("base", "tuned"))
    marks = "<p><del>a</del> <ins>b</ins> <mark>c</mark> <a href='#x'>d</a></p>"
    page = render_html(make_study(), {}).replace(
        "<main", f"<div id=tried>{badges}{marks}<table class=matrix>{rows}</table></div><main", 1
    )
    screen.look(1280, 900, dark=dark)
    screen.open(write_page(folder, page, f"colours-{dark}"))
    found = screen.run(
        "[...document.querySelectorAll('#tried span, #tried p > *, #tried td')].map((each) => {"
        " let under = each; while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)')"
        " under = under.parentElement;"
        " return [getComputedStyle(each).color, getComputedStyle(under).backgroundColor]; })"
    )
    assert len(found) == 4 + 4 + 22
    for pair in found:
        light, dim = sorted((luminance(*colour_of(text)) for text in pair), reverse=True)
        assert (light + 0.05) / (dim + 0.05) >= 4.5, pair


def test_paper_shows_what_is_folded_and_no_controls(screen: Browser, pages: dict[str, Path]):
    screen.look(1280, 900)
    screen.open(pages["usual"])
    screen.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert boxes(screen, "nav") == [[0, 0, 0, 0]]
        folded = boxes(screen, "details:not([open]) table")
        assert folded
        assert all(bottom - top > 20 for _, top, _, bottom in folded)
    finally:
        screen.call("Emulation.setEmulatedMedia", media="")
