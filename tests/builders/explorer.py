"""Pages with a case explorer, and what a reader does with them."""

from __future__ import annotations

import json
from pathlib import Path

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.cases import CaseSummary, Listing
from ft_harness.report import Explorer, main_comparisons, make_explorer
from tests.builders.browser import Browser
from tests.builders.study import make_study


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


def write_page(folder: Path, page: str, name: str = "report") -> Path:
    path = folder / f"{name}.html"
    path.write_text(page, "utf-8")
    return path


def found_in(browser: Browser) -> str:
    return browser.texts(".found")[0]


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


def show_all(browser: Browser) -> None:
    browser.click(".explorer [type=reset]")
    browser.run("new Promise((done) => setTimeout(done, 50))")
