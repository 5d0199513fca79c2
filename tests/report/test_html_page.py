"""The HTML page in a browser: tables are sorted, cases found, figures drawn, and hostile text stays
text."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from zlib import crc32

import pytest

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.cases import Answer, CaseSummary, Item, Listing, find_cases, list_items
from ft_harness.comparison.cases.listing import cut
from ft_harness.comparison.pairing import pair_items
from ft_harness.pipeline.explanations import share_out
from ft_harness.records import Sample
from ft_harness.report import (
    Explorer,
    build_document,
    html_page,
    main_comparisons,
    make_explorer,
    render_html,
)
from ft_harness.report.document import Document, Heading, Number, Span, Table
from ft_harness.report.inline_svg import inline_svg
from ft_harness.storage.escaping import visible
from tests.builders.browser import CHROMIUM, Browser
from tests.builders.cases import NLI, nli_pair, summarize
from tests.builders.records import answer_samples, label_samples, make_record, write_evaluation
from tests.builders.study import PAYLOADS, make_hostile, make_study

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
MARKED = "window.hacked = true"  # what every payload of ours would set
ATTACKS = [
    f"<script>{MARKED}</script>",
    f"</script><script>{MARKED}</script>",
    f"<img src=x onerror='{MARKED}'>",
    f"<svg onload='{MARKED}'><a href='javascript:{MARKED}'>x</a></svg>",
    '"><iframe srcdoc="<script>parent.hacked = true</script>">',
    f"<!--<script>{MARKED}//",
    "<link rel=stylesheet href=https://example.invalid/x.css><img src=https://example.invalid/x.png>",
    "{{ 7*7 }} ${alert(1)} \u2028\u2029 <b>&amp;",
    "<base href=https://example.invalid/><form action=https://example.invalid/><button>x</button></form>",
]
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
    assert [tag for tag, _ in page.found].count("svg") == 3


# --- what the explorer holds
# ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def nli(folder: Path) -> tuple[CaseSummary, Listing]:
    """Of 40 items without a negation 30 are corrected, of 40 with one 30 are broken; all others
    stay right."""
    base, tuned = nli_pair(folder / "nli")
    summary = summarize(base, tuned, ["genre"])
    listing = list_items(summary, base, tuned, 20_000, ["genre"])
    assert listing
    return summary, listing


def test_every_paired_item_is_listed_with_its_cell_and_slices(nli):
    _, listing = nli
    assert (listing.metric, listing.n, len(listing.items)) == ("acc", 80, 80)
    cells = [item.transition for item in listing.items]
    assert [
        cells.count(name) for name in ("corrected", "broken", "still right", "not corrected")
    ] == [30, 30, 20, 0]
    first, negated = listing.items[0], listing.items[40]
    assert (first.transition, first.gold, first.base.text, first.tuned.text) == (
        "corrected",
        "yes",
        "maybe",
        "yes",
    )
    assert first.slices["negation"] == "no"
    assert first.slices["genre (field)"] == "letters"
    assert (negated.transition, negated.slices["negation"]) == ("broken", "yes")
    assert first.base.margin == pytest.approx(
        1.5
    )  # the best choice has -1, the others -2.5 and less


def test_of_many_items_the_sheets_come_first_and_the_same_are_drawn_for_every_adapter(folder: Path):
    base, tuned = nli_pair(folder / "drawn")
    summary = summarize(base, tuned)
    found = list_items(summary, base, tuned, 20)
    assert found
    assert found.n == 80
    assert list_items(summary, base, tuned, 20) == found
    sheet = {case.item_key for cases in (summary.cases or {}).values() for case in cases}
    others = sorted(
        {f"item{number:04d}-1" for number in range(80)} - sheet, key=lambda key: crc32(key.encode())
    )
    assert len(sheet) == 18  # six of each of the three cells that have any
    assert [item.item_key for item in found.items] == sorted(
        [*sheet, *others[:2]]
    )  # as in the samples


def test_nothing_is_listed_where_nothing_decides(folder: Path):
    base, tuned = (
        write_evaluation(
            folder / "undecided" / name, make_record(adapter), label_samples([0, 1], [0, 1])
        )
        for name, adapter in (("base", None), ("tuned", "a"))
    )
    summary = CaseSummary(counts=None, cases=None, reason="no item has a score")
    assert list_items(summary, base, tuned, 10) is None


def graded(gold: str, answer: str) -> list[Sample]:
    """One item that has a graded score only."""
    return [
        sample.model_copy(update={"scores": {"token_f1": sample.scores["token_f1"]}})
        for sample in answer_samples([gold], [answer])
    ]


def test_a_graded_score_stands_beside_the_answer(folder: Path):
    # token F1 of "the red car" against "red car": articles are dropped, so 1; of "blue" 0
    base, tuned = (
        write_evaluation(
            folder / f"graded-{adapter}",
            make_record(adapter, ["token_f1"]),
            graded("red car", answer),
        )
        for adapter, answer in ((None, "blue"), ("a", "the red car"))
    )
    summary = find_cases(base, tuned, pair_items(base, tuned)[0])
    listing = list_items(summary, base, tuned, 10)
    assert listing
    (item,) = listing.items
    assert (item.transition, item.base.score, item.tuned.score, item.base.margin) == (
        "better",
        0.0,
        1.0,
        None,
    )


def test_long_texts_lose_their_middle():
    # 150 at the start, 450 at the end
    assert cut("a" * 150 + "b" * 450) == "a" * 150 + "b" * 450
    assert (
        cut("a" * 150 + "x" * 1234 + "b" * 450)
        == "a" * 150 + " [… 1,234 characters left out …] " + "b" * 450
    )


@pytest.mark.parametrize(
    ("limit", "sizes", "shares"),
    [
        (20_000, [300, 500], [300, 500]),
        (100, [10, 1000, 1000], [10, 45, 45]),  # 90 are left for two
        (100, [1000, 1000, 1000], [33, 33, 34]),
        (0, [5], [0]),
        (10, [], []),
    ],
)
def test_comparisons_share_the_room(limit, sizes, shares):
    assert share_out(limit, sizes) == shares


def study_with(summary: CaseSummary, name: str = "Two small tasks") -> Study:
    """The usual study, whose first comparison has these cases."""
    study = make_study()
    first = main_comparisons(study)[0]
    changed = [
        each.model_copy(update={"cases": summary}) if each is first else each
        for each in study.comparisons
    ]
    return study.model_copy(update={"comparisons": changed, "name": name})


def explorer_of(study: Study, listing: Listing) -> Explorer:
    found = make_explorer(study, [(main_comparisons(study)[0], listing)])
    assert found
    return found


def items_of(explorer: Explorer) -> tuple[list[str], list[dict]]:
    found = json.loads(explorer.data)
    return found["texts"], found["groups"]


def test_the_explorers_data_names_every_text_once(nli):
    study = study_with(nli[0])
    explorer = explorer_of(study, nli[1])
    texts, (group,) = items_of(explorer)
    assert len(texts) == len(set(texts))
    assert texts[group["name"]] == "snli_custom (test): snli_lora"
    key, cell, prompt, gold, base, tuned, known, _, why, slices = group["items"][0]
    assert [texts[number] for number in (cell, gold, base, tuned)] == [
        "corrected",
        "yes",
        "maybe",
        "yes",
    ]
    assert texts[prompt].startswith("A man sleeps on item 0.\nQuestion: A man is asleep")
    assert (texts[key], texts[known], why) == (nli[1].items[0].item_key, "1.50 nats ahead", -1)
    assert "negation: no" in [texts[number] for number in slices]
    assert [texts[number] for number in group["classes"]] == [
        "maybe",
        "yes",
        "no",
    ]  # 27, 27 and 26 items
    assert "gold answer" not in [texts[kind] for kind, _ in group["slices"]]
    assert explorer.note.startswith(
        "80 items of one comparison. Prompts and answers of more than 600 characters"
    )
    assert explorer_of(study, nli[1]) == explorer


def test_a_drawn_part_is_said_to_be_one(nli):
    part = Listing(nli[1].metric, 31_000, nli[1].kinds, nli[1].items)
    assert explorer_of(study_with(nli[0]), part).note.startswith(
        "80 items of one comparison, drawn from 31,000 ("
    )


def test_data_cannot_end_its_element_and_holds_nothing_that_cannot_be_seen(nli):
    item = nli[1].items[0]
    for payload in [*ATTACKS, *PAYLOADS]:
        changed = Item(
            payload,
            "corrected",
            payload,
            payload,
            Answer(payload, None, None),
            item.tuned,
            {payload: payload},
            payload,
        )
        data = explorer_of(study_with(nli[0]), Listing("acc", 1, [payload], [changed])).data
        assert not re.search(
            "[<>&\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]",
            data,
        )
        found = json.loads(data)
        assert found["texts"][found["groups"][0]["items"][0][0]] == visible(payload, 1200)
        assert len(data) < 20_000


def test_the_explorer_stands_after_the_cases(nli):
    study = study_with(nli[0])
    page = render_html(study, {}, explorer_of(study, nli[1]))
    headings = re.findall("<h2[^>]*>([^<]*)</h2>", page)
    assert headings[headings.index("Cases") + 1] == "Case explorer"
    assert "Case explorer" not in render_html(study, {})
    assert "application/json" not in render_html(study, {})
    alone = html_page(Document("x", [Heading(2, "Notes")]), {}, explorer_of(study, nli[1]))
    assert re.findall("<h2[^>]*>([^<]*)</h2>", alone) == ["Notes", "Case explorer"]


# --- in a browser
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with Browser(folder / "profile") as found:
        yield found


def write_page(folder: Path, page: str) -> Path:
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    return path


def texts_of(browser: Browser, selector: str) -> list[str]:
    return list(
        browser.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.textContent)"
        )
    )


def found_in(browser: Browser) -> str:
    return texts_of(browser, ".found")[0]


def choose(browser: Browser, name: str, shown: str) -> None:
    """An option by its text, as a reader chooses it."""
    browser.run(
        f"(() => {{ const select = document.querySelector('.explorer [name={name}]');"
        f" select.selectedIndex = [...select.options].findIndex((each) => each.text === {json.dumps(shown)});"
        " if (select.selectedIndex < 0) throw new Error('no such option');"
        " select.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )


def type_text(browser: Browser, text: str) -> None:
    """Text in the search field, key by key, and the time that a search waits for further keys."""
    browser.run(
        "(() => { const field = document.querySelector('.explorer [name=text]'); field.focus(); field.select(); })()"
    )
    browser.call("Input.insertText", text="")
    for letter in text:
        browser.call("Input.insertText", text=letter)
    browser.run("new Promise((done) => setTimeout(done, 250))")


@needs_browser
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
        return texts_of(browser, "tbody td:first-child")

    def click(number: int) -> None:
        browser.run(f"document.querySelectorAll('th button')[{number}].click()")

    assert texts_of(browser, "th button") == ["Name", "Score", "Interval"]
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


@pytest.fixture(scope="module")
def explored(nli, browser: Browser, folder: Path) -> Browser:
    study = study_with(nli[0])
    browser.open(write_page(folder, render_html(study, {}, explorer_of(study, nli[1]))))
    return browser


@needs_browser
def test_cases_are_found_by_cell_class_slice_and_text(explored: Browser):
    assert found_in(explored) == "80 of 80 cases, shown are 1 to 20"
    choose(explored, "cell", "corrected (30)")
    assert found_in(explored) == "30 of 80 cases, shown are 1 to 20"
    assert set(texts_of(explored, ".cases .cell")) == {"corrected"}
    choose(explored, "slice", "negation: yes (40)")
    assert found_in(explored) == "0 of 80 cases"  # all corrected ones are without a negation
    choose(explored, "slice", "negation: no (40)")
    choose(explored, "class", "no (26)")  # items 2, 5, ... 77; of 0 to 29 ten are corrected
    assert found_in(explored) == "10 of 80 cases, shown are 1 to 10"
    type_text(explored, "ITEM 2")
    # 2, 20, 23, 26 and 29 have gold answer "no" and number 2 at their start
    assert found_in(explored) == "5 of 80 cases, shown are 1 to 5"
    assert set(texts_of(explored, ".cases mark")) == {"item 2"}
    type_text(explored, "nowhere to be found")
    assert found_in(explored) == "0 of 80 cases"
    explored.run("document.querySelector('.explorer [type=reset]').click()")
    explored.run("new Promise((done) => setTimeout(done, 50))")
    assert found_in(explored) == "80 of 80 cases, shown are 1 to 20"
    assert explored.complaints() == []


@needs_browser
def test_pages_of_cases_are_turned(explored: Browser):
    explored.run("document.querySelector('.explorer [type=reset]').click()")
    explored.run("new Promise((done) => setTimeout(done, 50))")

    def turn(name: str) -> list[str]:
        explored.run(
            f"[...document.querySelectorAll('.pages button')].find((each) => each.textContent === '{name}').click()"
        )
        return [found_in(explored), texts_of(explored, ".pages span")[0]]

    assert turn("Next") == ["80 of 80 cases, shown are 21 to 40", "Page 2 of 4"]
    assert len(texts_of(explored, ".cases > li")) == 20
    assert turn("Last") == ["80 of 80 cases, shown are 61 to 80", "Page 4 of 4"]
    assert turn("Next") == ["80 of 80 cases, shown are 61 to 80", "Page 4 of 4"]
    assert turn("Previous") == ["80 of 80 cases, shown are 41 to 60", "Page 3 of 4"]
    assert turn("First") == ["80 of 80 cases, shown are 1 to 20", "Page 1 of 4"]


@needs_browser
def test_controls_have_names_and_the_number_found_is_announced(explored: Browser):
    nodes = explored.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }
    wanted = {
        *(
            ("combobox", "Cell"),
            ("combobox", "Gold answer"),
            ("combobox", "Slice"),
            ("search", "Cases"),
        ),
        *(
            ("searchbox", "Text in prompt, answers, why"),
            ("main", ""),
            ("navigation", "Contents"),
            ("list", "Cases"),
        ),
        *(("button", "Show all"), ("button", "Next"), ("table", "Scores before and after")),
    }
    assert wanted <= named
    assert not [
        role
        for role, name in named
        if role in ("combobox", "searchbox", "button", "table") and not name
    ]
    assert "status" in {role for role, _ in named}


@needs_browser
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
    sides = Answer(payload, 0.5, 0.25), Answer(None, None, None)
    slices = {payload: payload, "kind": payload}
    return Item(
        f"{number}{payload}", "corrected", payload * 2, payload, *sides, slices=slices, why=payload
    )


@needs_browser
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
    browser.open(write_page(folder, html_page(build_document(study), shapes, explorer)))
    assert found_in(browser).startswith(f"{len(items)} of {len(items)} cases")
    type_text(browser, "<img")
    assert "<img" in "".join(texts_of(browser, ".cases mark"))
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
    *(
        "a",
        "button",
        "caption",
        "dd",
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
    ),
    *(
        "h2",
        "h3",
        "h4",
        "header",
        "input",
        "label",
        "li",
        "main",
        "mark",
        "nav",
        "ol",
        "optgroup",
        "option",
        "p",
    ),
    *(
        "pre",
        "script",
        "section",
        "select",
        "span",
        "summary",
        "svg",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "title",
    ),
    *("tr", "ul"),
}
ATTRIBUTES = {
    *(
        "aria-describedby",
        "aria-disabled",
        "aria-label",
        "aria-labelledby",
        "aria-sort",
        "autocomplete",
        "class",
    ),
    *(
        "data-value",
        "hidden",
        "href",
        "id",
        "label",
        "name",
        "role",
        "scope",
        "spellcheck",
        "start",
        "stroke-linecap",
    ),
    *("stroke-linejoin", "tabindex", "type", "value", "viewBox"),
}


@needs_browser
def test_the_policy_lets_nothing_else_run(browser: Browser, folder: Path):
    """A page into which someone wrote a script, a style or an address: the policy stops all of
    them."""
    page = render_html(make_study(), {})
    smuggled = (
        f"<script>{MARKED}</script><img src='https://example.invalid/x.png' onerror='{MARKED}'>"
    )
    smuggled += "<p id='styled' style='color: rgb(1, 2, 3)'>x</p>"
    browser.open(write_page(folder, page.replace("<main>", f"<main>{smuggled}")))
    assert browser.run("window.hacked") is None
    assert (
        browser.run("getComputedStyle(document.getElementById('styled')).color") != "rgb(1, 2, 3)"
    )
    refused = " ".join(browser.complaints())
    assert refused.count("violates the following Content Security Policy directive") >= 3
    raised = "(() => { try { document.body.innerHTML = 'x'; return 'done'; } catch (error) { return error.name; } })()"
    assert browser.run(raised) == "TypeError"  # no markup is ever made from text


@needs_browser
def test_it_stays_quick_with_20000_cases(browser: Browser, folder: Path, nli):
    """All work after a key together: less than 100 ms, in which a reader sees an answer as
    immediate."""
    text = "a man in red plays outside while two dogs run along the wide sandy beach near old boats"
    items = [
        Item(
            f"{number:016x}-1",
            ("corrected", "broken", "still right", "not corrected")[number % 4],
            f"{text[number % 7 :]} {number}.\nQuestion: {text[::-1]} {number}?\nAnswer:",
            NLI[number % 3],
            Answer("yes", 1.0, number % 300 / 100),
            Answer("no", 0.0, number % 200 / 100),
            {"negation": ("yes", "no")[number % 2]},
            None,
        )
        for number in range(20_000)
    ]
    study = study_with(nli[0])
    page = render_html(study, {}, explorer_of(study, Listing("acc", 20_000, ["negation"], items)))
    assert len(page.encode()) < 15_000_000
    browser.open(write_page(folder, page))
    assert found_in(browser) == "20,000 of 20,000 cases, shown are 1 to 20"
    took = browser.run(
        "(() => { const field = document.querySelector('.explorer [name=text]');"
        " return ['a', 'ma', 'man', 'sandy beach', '1234', 'nowhere', ''].map((text) => {"
        " const rounds = [0, 1, 2].map(() => { field.value = text; const before = performance.now();"
        " field.form.dispatchEvent(new Event('submit', { cancelable: true })); document.body.offsetHeight;"
        " return performance.now() - before; }); return Math.min(...rounds); }); })()"
    )  # the best of three rounds each: the machine has other work too
    assert len(took) == 7
    assert max(took) < 100, took
    assert browser.complaints() == []


# --- the command
# ---------------------------------------------------------------------------------------------------


def test_the_command_says_how_many_items_the_page_holds(ft, tmp_path: Path):
    nli_pair(tmp_path / "results")
    pages = []
    for name, given in (
        ("page-1", []),
        ("page-2", []),
        ("page-3", ["--explorer", "25"]),
        ("page-4", ["--explorer", "0"]),
    ):
        assert ft("report", "results", "--name", name, *given)[0] == 0
        pages.append(
            (tmp_path / "results/reports" / name / "report.html")
            .read_text("utf-8")
            .replace(name, "NAME")
        )
    everything, again, some, none = pages
    assert "80 items of one comparison. " in everything
    assert everything == again
    assert "25 items of one comparison, drawn from 80 " in some
    assert "Case explorer" not in none
    code, _, err = ft("report", "results", "--explorer", "20001")
    assert code == 2
    assert "--explorer" in err
