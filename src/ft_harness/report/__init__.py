"""A study as text: Markdown, HTML, LaTeX, CSV and JSON. Pure functions: equal input, equal bytes,
no time, no paths.

Sections make typed blocks from rows, records and cards (`document`), one renderer a format makes
text of them. Every number is rounded once, before any format; none is computed but sums of seconds
and shares of parameters. All text that isn't ours is escaped by the renderer.
"""

from __future__ import annotations

from collections.abc import Mapping

from ft_harness.comparison.aggregator import Study
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
from ft_harness.report.sweep_section import sweep_table
from ft_harness.report.table_files import csv_table, csv_text, json_page, table_names
from ft_harness.report.untuned_section import state_untuned, untuned_table
from ft_harness.report.verdict_card import Verdicts, find_verdicts
from ft_harness.report.view import (
    View,
    check_metrics,
    leading,
    main_comparisons,
    make_view,
)

__all__ = [
    "Explorer",
    "Outlier",
    "Outliers",
    "Verdicts",
    "View",
    "build_document",
    "check_metrics",
    "csv_table",
    "csv_text",
    "find_verdicts",
    "html_page",
    "json_page",
    "latex_page",
    "latex_table",
    "leading",
    "main_comparisons",
    "make_explorer",
    "make_view",
    "markdown_page",
    "measured_cells",
    "measured_columns",
    "one_line",
    "render_html",
    "render_markdown",
    "rows_json",
    "sized",
    "state_limits",
    "state_untuned",
    "sweep_table",
    "table_names",
    "text_of",
    "timed",
    "untuned_table",
]


def rows_json(study: Study) -> str:
    """`rows.json`: a list of objects, one a line, with exactly the fields of `Row`, full precision,
    null where undefined.

    A setting that is NaN or infinite is null too: the JSON is strict.
    """
    rows = ",\n".join(row.model_dump_json() for row in study.rows())
    return f"[\n{rows}\n]\n" if rows else "[]\n"


def render_markdown(study: Study, figures: Mapping[str, str]) -> str:
    """The report as Markdown, from the sentence down to the commands that repeat it.

    `figures` gives the files by key (`before_after`, `curves:<adapter>`, `cost`, `training_size`),
    relative to the report; a missing one is left out.
    """
    return markdown_page(build_document(study), figures)


def render_html(
    study: Study, figures: Mapping[str, bytes], explorer: Explorer | None = None
) -> str:
    """The report as one HTML page that needs no network and no other file.

    `figures` gives svg images by the same keys as those of `render_markdown`; a missing one is left
    out. `explorer` holds the items that a reader can search, see `make_explorer`.
    """
    return html_page(build_document(study), figures, explorer, find_verdicts(study))
