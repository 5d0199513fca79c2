"""A study of more comparisons than a reader takes in: the answer stays on the first screen, the
rest in tables."""

from __future__ import annotations

import re

import pytest

from ft_harness.comparison.aggregator import MOST_SHOWN, AdapterRun, Comparison, Study
from ft_harness.comparison.sentences import state_study
from ft_harness.pipeline.report_files import write_report
from ft_harness.report.figures import before_after, score_rows
from tests.builders.study import make_adapter, make_comparison, make_row, render_whole

COUNT = 45


def make_many(count: int = COUNT) -> Study:
    """One task, one adapter per comparison: each third one improved, the second one got worse."""
    comparisons: list[Comparison] = []
    runs: list[AdapterRun] = []
    for number in range(count):
        name = f"adapter-{number:02d}"
        verdict = "worse" if number == 1 else "improved" if number % 3 == 0 else "no evidence"
        values = (0.4, 0.5)
        row = make_row(
            "snli_custom", "test", "acc", values, primary=True, tuned_subject=name, verdict=verdict
        )
        found = make_comparison("snli_custom", "test", {"acc": values}, [row], adapter=name)
        comparisons.append(found.model_copy(update={"finding": f"Said of {name}."}))
        runs.append(make_adapter(name, "snli_custom"))
    return Study(
        name="Many", comparisons=comparisons, adapters=runs, notes=[], command="ft-harness report x"
    )


def test_many_comparisons_are_counted_and_those_with_a_verdict_are_stated():
    # of 45: 0, 3, ... 42 improved (15), 1 got worse, 29 are left; 12 of the 16 have a sentence
    counted, *stated = state_study(make_many())
    assert counted.startswith(
        "Of 45 comparisons 15 improved, 1 got worse, 29 show no evidence of a difference"
    )
    assert "the first 12 of these 16 follow" in counted
    assert [re.findall(r"adapter-(\d\d)", line)[0] for line in stated] == [
        *("00", "01", "03", "06", "09", "12", "15", "18", "21", "24", "27", "30"),
    ]


def test_twelve_comparisons_have_a_sentence_each():
    assert [line.partition(": ")[2] for line in state_study(make_many(12))] == [
        f"Said of adapter-{number:02d}." for number in range(12)
    ]


def test_cases_figures_and_matrices_of_the_first_ones_and_tables_of_all():
    study = make_many()
    figures = {
        "before_after": "f.png",
        **{f"curves:{run.card.name}": "c.png" for run in study.adapters},
    }
    text = render_whole(study, figures)
    cases = text.partition("\n## Cases\n")[2].partition("\n## ")[0]
    assert (
        f"The first {MOST_SHOWN} of {COUNT} comparisons; `cases.csv` has the items of all." in cases
    )
    assert len(re.findall(r"^### ", cases, re.MULTILINE)) == MOST_SHOWN
    scores = text.partition("\n## Scores\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"adapter-\d\d \|", scores)) == COUNT
    assert f"the first {MOST_SHOWN} of {COUNT} comparisons" in scores
    assert text.count("](c.png)") == MOST_SHOWN
    cost = text.partition("\n## Cost\n")[2].partition("\n## ")[0]
    assert (
        len(re.findall(r"^\| adapter-\d\d ", cost, re.MULTILINE)) == COUNT
    )  # one line per adapter


def test_the_figure_is_of_a_page_and_its_numbers_are_of_all():
    tall = re.search(rb'height="([\d.]+)pt"', before_after(make_many(), "svg"))
    page = re.search(rb'height="([\d.]+)pt"', before_after(make_many(MOST_SHOWN), "svg"))
    assert tall
    assert page
    assert tall[1] == page[1]
    assert len(score_rows(make_many())) == 2 * COUNT  # base and tuned


@pytest.mark.slow  # many figures
def test_only_the_figures_that_are_shown_are_drawn(tmp_path):
    write_report(make_many(), tmp_path)
    assert len(list(tmp_path.glob("curves*.png"))) == MOST_SHOWN
