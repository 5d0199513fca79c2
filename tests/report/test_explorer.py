"""The case explorer of the HTML page: what it holds, and what a reader does with it in a browser."""

from __future__ import annotations

import base64
import json
import random
import re
import time
import zlib
from pathlib import Path
from urllib.parse import parse_qs
from zlib import crc32

import pytest

from ft_harness.comparison.cases import (
    Answer,
    CaseSummary,
    Item,
    Listing,
    Sheet,
    Written,
    find_cases,
    read_cases,
)
from ft_harness.comparison.cases.listing import cut_middle
from ft_harness.comparison.pairing import pair_items
from ft_harness.pipeline.explanations import split_limit
from ft_harness.pipeline.report_files import ReportOptions
from ft_harness.pipeline.reports import report_only
from ft_harness.records import Sample
from ft_harness.report import Explorer, html_page
from ft_harness.report.document import Document, Heading
from ft_harness.storage.escaping import visible
from tests.builders.browser import Browser
from tests.builders.cases import NLI, list_pair, nli_pair, summarize, write_wide
from tests.builders.explorer import (
    choose,
    explorer_of,
    found_in,
    show_all,
    study_with,
    type_text,
    write_page,
)
from tests.builders.records import answer_samples, label_samples, make_record, write_evaluation
from tests.builders.study import ATTACKS, PAYLOADS, render_html


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
    # "maybe" has -1.0, the others -1.0 - 1.5 and the number of the choice less
    assert first.base.log_likelihoods == (-2.5, -1.0, -4.5)
    assert first.choices == ("entailment (yes)", "neutral (maybe)", "contradiction (no)")


def test_of_many_items_the_sheets_come_first_and_the_same_are_drawn_for_every_adapter(folder: Path):
    base, tuned = nli_pair(folder / "drawn")
    summary = summarize(base, tuned)
    found = list_pair(summary, base, tuned, 20)
    assert found
    assert found.n == 80
    assert list_pair(summary, base, tuned, 20) == found
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
    assert list_pair(summary, base, tuned, 10) is None


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
    listing = list_pair(summary, base, tuned, 10)
    assert listing
    (item,) = listing.items
    assert (item.transition, item.base.score, item.tuned.score) == ("better", 0.0, 1.0)
    assert (item.base.log_likelihoods, item.choices) == ((), ())


def test_long_texts_lose_their_middle():
    # 150 at the start, 450 at the end
    assert cut_middle("a" * 150 + "b" * 450) == "a" * 150 + "b" * 450
    assert (
        cut_middle("a" * 150 + "x" * 1234 + "b" * 450)
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
    assert split_limit(limit, sizes) == shares


def unpacked(explorer: Explorer) -> dict:
    """What the page's script finds in its element."""
    return json.loads(zlib.decompress(base64.b64decode(explorer.data)))


def items_of(explorer: Explorer) -> tuple[list[str], list[dict]]:
    found = unpacked(explorer)
    return found["texts"], found["groups"]


def test_the_explorers_data_names_every_text_once(nli):
    study = study_with(nli[0])
    explorer = explorer_of(study, nli[1])
    texts, (group,) = items_of(explorer)
    assert len(texts) == len(set(texts))
    assert texts[group["name"]] == "snli_custom (test): snli_lora"
    key, cell, prompt, gold, choices, why, slices, base, tuned = group["items"][0]
    assert [texts[number] for number in (cell, gold, base[0], tuned[0])] == [
        "corrected",
        "yes",
        "maybe",
        "yes",
    ]
    assert texts[prompt].startswith("A man sleeps on item 0.\nQuestion: A man is asleep")
    assert (texts[key], why) == (nli[1].items[0].item_key, -1)
    assert base[1:] == [0.0, -1, [-2.5, -1.0, -4.5]]  # score, shown by its cell alone, choices
    names = unpacked(explorer)["choices"][choices]
    assert texts[names[0]] == "entailment (yes)"
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


def test_of_many_choices_the_page_holds_by_how_much_the_best_was_ahead(nli):
    labels = tuple(f"label {number}" for number in range(9))
    logs = (-4.0, -1.25, -9.0, -3.0, -8.0, -7.0, -6.0, -5.0, -2.5)
    answers = Answer("label 1", 1.0, logs), Answer("label 0", 0.0, logs[::-1])
    item = Item("a", "broken", "p", "label 1", *answers, {}, None, labels)
    _, (group,) = items_of(explorer_of(study_with(nli[0]), Listing("acc", 1, [], [item])))
    *_, choices, _, _, base, tuned = group["items"][0]
    assert (choices, base[3], tuned[3]) == (-1, [-1.25, -2.5], [-1.25, -2.5])


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
            Answer(payload, None),
            item.tuned,
            {payload: payload},
            payload,
        )
        data = explorer_of(study_with(nli[0]), Listing("acc", 1, [payload], [changed])).data
        assert re.fullmatch("[A-Za-z0-9+/=]+", data)
        assert len(data) < 20_000
        found = json.loads(zlib.decompress(base64.b64decode(data)))
        assert found["texts"][found["groups"][0]["items"][0][0]] == visible(payload, 1200)
        unseen = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
        assert not re.search(unseen, "".join(found["texts"]))


def test_the_explorer_stands_after_the_cases(nli):
    study = study_with(nli[0])
    page = render_html(study, {}, explorer_of(study, nli[1]))
    headings = re.findall("<h2[^>]*>([^<]*)</h2>", page)
    assert headings[headings.index("Cases") + 1] == "Case explorer"
    assert "Case explorer" not in render_html(study, {})
    assert 'id="items"' not in render_html(study, {})
    alone = html_page(Document("x", [Heading(2, "Notes")]), {}, explorer_of(study, nli[1]))
    assert re.findall("<h2[^>]*>([^<]*)</h2>", alone) == ["Notes", "Case explorer"]


# --- in a browser


@pytest.fixture
def explored(nli, browser: Browser, folder: Path) -> Browser:
    study = study_with(nli[0])
    page = render_html(study, {}, explorer_of(study, nli[1]))
    browser.open(write_page(folder, page, "nli"))
    return browser


def test_cases_are_found_by_cell_class_slice_and_text(explored: Browser):
    assert found_in(explored) == "80 of 80 cases, shown are 1 to 24"
    choose(explored, "cell", "corrected (30)")
    assert found_in(explored) == "30 of 80 cases, shown are 1 to 24"
    assert set(explored.texts(".cases .cell")) == {"corrected"}
    choose(explored, "slice", "negation: yes (40)")
    assert found_in(explored) == "0 of 80 cases"  # all corrected ones are without a negation
    choose(explored, "slice", "negation: no (40)")
    choose(explored, "gold", "no (26)")  # items 2, 5, ... 77; of 0 to 29 ten are corrected
    assert found_in(explored) == "10 of 80 cases, shown are 1 to 10"
    type_text(explored, "ITEM 2")
    # 2, 20, 23, 26 and 29 have gold answer "no" and number 2 at their start
    assert found_in(explored) == "5 of 80 cases, shown are 1 to 5"
    assert set(explored.texts(".cases mark")) == {"item 2"}
    type_text(explored, "nowhere to be found")
    assert found_in(explored) == "0 of 80 cases"
    show_all(explored)
    assert found_in(explored) == "80 of 80 cases, shown are 1 to 24"
    assert explored.complaints() == []


def test_pages_of_cases_are_turned(explored: Browser):

    def turn(name: str) -> list[str]:
        explored.run(
            f"[...document.querySelectorAll('.pages button')].find((each) => each.textContent === '{name}').click()"
        )
        return [found_in(explored), explored.texts(".pages span")[0]]

    assert turn("Next") == ["80 of 80 cases, shown are 25 to 48", "Page 2 of 4"]
    assert len(explored.texts(".cases > li")) == 24
    assert turn("Last") == ["80 of 80 cases, shown are 73 to 80", "Page 4 of 4"]
    assert turn("Next") == ["80 of 80 cases, shown are 73 to 80", "Page 4 of 4"]
    assert turn("Previous") == ["80 of 80 cases, shown are 49 to 72", "Page 3 of 4"]
    assert turn("First") == ["80 of 80 cases, shown are 1 to 24", "Page 1 of 4"]


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
            ("combobox", "Order"),
            ("checkbox", "Only with a why"),
            ("textbox", "Why"),
            ("button", "Download cases.csv"),
            ("link", "Link to these cases"),
            ("table", "Probability among the choices"),
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


def many_items(count: int) -> list[Item]:
    """Items as long as those of SNLI, of random words: nothing to be packed but the words."""
    drawn = random.Random(0)
    letters = "eeeettaaooiinnsshhrrddlucmfwygpbvk"
    words = ["".join(drawn.choices(letters, k=drawn.randint(2, 9))) for _ in range(20_000)]
    return [
        Item(
            f"{drawn.getrandbits(64):016x}-1",
            ("corrected", "broken", "still right", "not corrected")[number % 4],
            f"{' '.join(drawn.choices(words, k=14))}.\nQuestion: {' '.join(drawn.choices(words, k=8))}"
            f" {number}?\nAnswer:",
            NLI[number % 3],
            *(
                Answer(answer, score, tuple(-10 * drawn.random() for _ in range(3)))
                for answer, score in (("yes", 1.0), ("no", 0.0))
            ),
            {"negation": ("yes", "no")[number % 2]},
            None,
            ("entailment", "neutral", "contradiction"),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def large(nli) -> str:
    study = study_with(nli[0])
    listing = Listing("acc", 20_000, ["negation"], many_items(20_000))
    return render_html(study, {}, explorer_of(study, listing))


def test_20000_cases_take_less_than_5_mb(large: str):
    assert 2_000_000 < len(large.encode()) < 5_000_000


def test_it_stays_quick_with_20000_cases(browser: Browser, folder: Path, large: str):
    """All work after a key together: less than 100 ms for 10,000 items, in which a reader sees an
    answer as immediate; so for twice as many less than 200."""
    browser.open(write_page(folder, large, "large"))
    assert found_in(browser) == "20,000 of 20,000 cases, shown are 1 to 24"
    took = browser.run(
        "(() => {"
        " const field = document.querySelector('.explorer [name=text]');"
        " return ['a', 'th', 'the', 'question: e', '1234', 'nowhere', ''].map((wanted) => {"
        " const rounds = [0, 1, 2, 3, 4].map(() => { field.value = wanted; const before = performance.now();"
        " field.form.dispatchEvent(new Event('submit', { cancelable: true })); document.body.offsetHeight;"
        " return performance.now() - before; }); return Math.min(...rounds); }); })()"
    )  # the best of five rounds each: the machine has other work too
    assert len(took) == 7
    assert max(took) < 200, took
    choose(browser, "order", "gained most")
    choose(browser, "cell", "broken (5,000)")
    assert found_in(browser) == "5,000 of 20,000 cases, shown are 1 to 24"
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """A folder in which a report on two adapters, 0 and 2 shots, and two tasks is made."""
    folder = tmp_path_factory.mktemp("wide")
    write_wide(folder / "results")
    return folder


def report_on(folder: Path, name: str = "wide") -> Path:
    """The page of a report, made by the command's own function."""
    command = "ft-harness report results"
    study, _ = report_only(
        [folder / "results"], folder, name, command, options=ReportOptions(("html",))
    )
    assert study.comparisons
    return folder / "results/reports" / name / "report.html"


def test_what_distinguishes_the_answers_is_marked(browser: Browser, wide: Path):
    browser.open(report_on(wide))
    choose(browser, "comparison", "zh_custom, lora-a (test)")
    # of 我想去學校 and 吾欲去學校 the first two characters differ, of 他不知道 and 彼不知道 the first
    assert browser.texts(".cases dl del") == ["我想", "他"]
    assert browser.texts(".cases dl ins") == ["吾欲", "彼"]
    choose(browser, "comparison", "demo_nli, lora-a, 0-shot (test)")
    assert browser.texts(".cases dl del, .cases dl ins") == []  # yes and maybe: all differs
    type_text(browser, "知道")
    choose(browser, "comparison", "zh_custom, lora-a (test)")
    assert browser.texts(".cases dd") == ["彼不知也", "他不知道", "彼不知道"]
    assert browser.texts(".cases dd mark") == ["知道", "知道"]


def test_one_item_is_seen_in_every_evaluation(browser: Browser, wide: Path):
    browser.open(report_on(wide, "everywhere"))
    # item 1 is "neutral" (maybe); base and lora-b answer the same with any number of shots
    type_text(browser, "item 1.")
    assert found_in(browser) == "1 of 12 cases, shown are 1 to 1"
    browser.run("document.querySelector('.cases [aria-expanded]').focus()")
    browser.press("Enter")
    rows = browser.run(
        "[...document.querySelectorAll('.cases div tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert rows == [  # nats ahead: 0.5 and a quarter of the item's number, by hand from write_wide
        ["base--bundled, 0-shot", "yes", "wrong, 1.75 nats ahead"],
        ["lora-a, 0-shot", "maybe", "right, 0.75 nats ahead"],
        ["base--bundled, 2-shot", "yes", "wrong, 1.75 nats ahead"],
        ["lora-a, 2-shot", "yes", "wrong, 1.75 nats ahead"],
        ["lora-b, 0-shot", "maybe", "right, 0.75 nats ahead"],
        ["lora-b, 2-shot", "maybe", "right, 0.75 nats ahead"],
    ]
    browser.press("Enter")
    assert browser.texts(".cases div tbody tr") == []


def items_in(browser: Browser) -> list[str]:
    return [text.removeprefix("item ") for text in browser.texts(".cases .key")]


def test_cases_are_ordered_by_change_of_score_and_of_margin(browser: Browser, wide: Path):
    """Base and adapter a are right by the same margin for items 0, 3, 6 and 9; the others are
    gained, and the further the later: the margin of the base's wrong answer grows with them."""
    browser.open(report_on(wide, "ordered"))
    choose(browser, "order", "gained most")
    assert items_in(browser)[:3] == ["item0011-1", "item0010-1", "item0008-1"]
    assert items_in(browser)[8:] == ["item0000-1", "item0003-1", "item0006-1", "item0009-1"]
    choose(browser, "order", "lost most")
    assert items_in(browser)[:5] == [*(f"item{n:04d}-1" for n in (0, 3, 6, 9)), "item0001-1"]
    choose(browser, "order", "base surest")
    assert items_in(browser)[:2] == ["item0011-1", "item0010-1"]
    choose(browser, "order", "as in the data")
    assert items_in(browser) == [f"item{number:04d}-1" for number in range(12)]
    choose(browser, "comparison", "zh_custom, lora-b (test)")
    assert browser.texts(".explorer [name=order] option") == [
        "as in the data",
        "gained most",
        "lost most",
    ]  # nothing was chosen, so that there are no margins


def test_an_address_holds_what_is_chosen(browser: Browser, wide: Path):
    browser.open(report_on(wide, "first"))
    choose(browser, "comparison", "demo_nli, lora-b, 2-shot (test)")
    choose(browser, "cell", "corrected (4)")
    choose(browser, "order", "lost most")
    type_text(browser, "item 1")
    shown = items_in(browser)
    assert shown == ["item0001-1", "item0010-1"]
    place = browser.run("location.hash")
    assert parse_qs(place.partition("?")[2]) == {
        "comparison": ["demo_nli, lora-b, 2-shot (test)"],
        "cell": ["corrected"],
        "order": ["lost most"],
        "text": ["item 1"],
    }
    assert browser.run("document.querySelector('.explorer .link').hash") == place
    browser.open(report_on(wide, "second"), place=place)
    assert items_in(browser) == shown
    assert browser.run("document.querySelector('.explorer [name=order]').value") == "lost most"
    browser.click(".cases .key")  # the item's own address
    browser.wait_for("document.querySelectorAll('.cases > li').length === 1")
    assert (items_in(browser), found_in(browser)) == (
        ["item0001-1"],
        "1 of 12 cases, shown are 1 to 1",
    )
    assert len(browser.texts(".cases div tbody tr")) == 6
    own = browser.run("location.hash")
    browser.open(report_on(wide, "third"), place=own)
    assert items_in(browser) == ["item0001-1"]
    show_all(browser)
    assert found_in(browser) == "12 of 12 cases, shown are 1 to 12"
    assert "item=" not in browser.run("location.hash")
    browser.open(report_on(wide, "fourth"), place="#case-explorer?comparison=gone&item=zh1-1")
    assert items_in(browser) == ["zh1-1"]  # in the first comparison that has it
    assert browser.complaints() == []


def write_why(browser: Browser, item: str, text: str) -> None:
    browser.run(
        "[...document.querySelectorAll('.cases > li')].find((each) => each.querySelector('.key')"
        f".textContent === 'item {item}').querySelector('textarea').focus()"
    )
    browser.run("document.activeElement.select()")
    browser.call("Input.insertText", text=text)


@pytest.mark.slow  # two reports and a browser
def test_what_is_typed_comes_back_in_the_next_report(browser: Browser, wide: Path, tmp_path: Path):
    """Through cases.csv, next to a row and a column that a person added with a spreadsheet."""
    folder = tmp_path / "study"
    write_wide(folder / "results")
    report_on(folder)
    table = folder / "results/reports/wide/cases.csv"
    kept = "lora-old/eval,base/eval,gone-1,of an older adapter,yes\r\n"
    table.write_text(f"tuned,base,item_key,why,checked\r\n{kept}", "utf-8")
    browser.open(report_on(folder))
    browser.save_downloads(tmp_path)
    assert browser.texts(".unsaved") == [""]
    write_why(browser, "item0001-1", '=SUM(1), "quoted"\nand a second line')
    write_why(browser, "item0002-1", "hyper<b>nym</b>")
    assert browser.texts(".unsaved")[0].startswith("2 texts are in this window only.")
    browser.run("document.querySelector('.explorer [name=why]').click()")
    assert items_in(browser) == ["item0001-1", "item0002-1"]
    type_text(browser, "NYM")
    assert items_in(browser) == ["item0002-1"]
    browser.click(".explorer .save")
    downloaded = tmp_path / "cases.csv"
    wait_for(downloaded)
    assert browser.texts(".unsaved") == [""]
    assert downloaded.read_bytes().startswith(b"\xef\xbb\xbf")
    downloaded.replace(table)
    written = read_cases(table)
    sides = "base--bundled/nli-0-shot", "lora-a/nli-0-shot"
    assert written.why((*sides, "item0001-1")) == '=SUM(1), "quoted"\nand a second line'
    assert written.rows["base/eval", "lora-old/eval", "gone-1"]["checked"] == "yes"
    browser.open(write_page(tmp_path, "<p>left</p>", "elsewhere"))
    browser.open(report_on(folder), place="#case-explorer?why=yes")
    assert items_in(browser) == ["item0001-1", "item0002-1"]
    assert browser.run("document.querySelector('.cases textarea').value").startswith("=SUM(1)")
    after = read_cases(table)
    assert after.why((*sides, "item0002-1")) == "hyper<b>nym</b>"
    assert after.why(("base/eval", "lora-old/eval", "gone-1")) == "of an older adapter"
    assert browser.complaints() == []


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.05)


def test_items_with_a_text_are_listed_before_all_that_are_drawn(folder: Path):
    base, tuned = nli_pair(folder / "with-whys")
    summary = summarize(base, tuned)
    sheet = {case.item_key for cases in (summary.cases or {}).values() for case in cases}
    outside = sorted({f"item{number:04d}-1" for number in range(80)} - sheet)[-1]
    key = (*Sheet(base.record, tuned.record, summary).sides(), outside)
    written = Written({key: {"why": "odd"}}, ("base", "tuned", "item_key", "why"))
    found = list_pair(summary, base, tuned, 19, written=written)
    assert found
    assert {item.item_key: item.why for item in found.items if item.why} == {outside: "odd"}
    assert len(found.items) == 19


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
