"""A study as text: Markdown, HTML, LaTeX, CSV and JSON. Pure functions: equal input, equal bytes,
no time, no paths.

Sections make typed blocks from rows, records and cards (`document`), one renderer per format makes
text of them. Every number is rounded once, before any format; none is computed but sums of seconds
and shares of parameters. All text that isn't ours is escaped by the renderer.
"""

from __future__ import annotations

from collections.abc import Iterator

from ft_harness.comparison.aggregator import Study
from ft_harness.report.answer import state_answer
from ft_harness.report.cells import measured_cells, measured_columns
from ft_harness.report.contents import build_document
from ft_harness.report.cost_section import sized, timed
from ft_harness.report.document import one_line, text_of
from ft_harness.report.explorer import Explorer, make_explorer
from ft_harness.report.html_page import html_page
from ft_harness.report.latex_page import latex_page, latex_table
from ft_harness.report.limits_section import state_limits
from ft_harness.report.markdown_page import markdown_page
from ft_harness.report.perplexity_section import Outlier, Outliers
from ft_harness.report.sweep_section import sweep_tables
from ft_harness.report.table_files import csv_table, csv_text, json_page, table_names
from ft_harness.report.untuned_section import state_untuned, untuned_table
from ft_harness.report.verdict_card import Verdicts, find_verdicts
from ft_harness.report.view import View, check_metrics, leading, main_comparisons, make_view


def rows_json(study: Study) -> Iterator[str]:
    """The objects of `rows.json`, with exactly the fields of `Row`, full precision, null where
    undefined.

    A setting that is NaN or infinite is null too: the JSON is strict.
    """
    return (row.model_dump_json() for row in study.rows())
