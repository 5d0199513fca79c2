"""A report's folder: its files in every format, and the list of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ft_harness import report
from ft_harness.comparison.aggregator import MOST_SHOWN, Question, Study
from ft_harness.comparison.cases import CASES_FILE, MOST_LISTED
from ft_harness.comparison.requirements import Requirement, check_required
from ft_harness.comparison.settings import SweepStudy
from ft_harness.comparison.terms import Terms
from ft_harness.errors import InputError
from ft_harness.pipeline.explanations import write_cases
from ft_harness.pipeline.shared_formats import SHARED
from ft_harness.report import View
from ft_harness.report import figures as plots
from ft_harness.report.figures import Form
from ft_harness.storage import remove, sha256_text, write_bytes, write_text
from ft_harness.storage.strict_files import read_json

FORMS: tuple[Form, ...] = ("png", "svg")
FORMATS = ("md", "html", "tex", "csv", "json", *SHARED)
USUAL_FORMATS = ("md", "html")
FILES_FILE = "files.json"  # names what this report wrote
_STEM = 80  # characters of a figure's file name
Draw = Callable[[Form], bytes]


@dataclass(frozen=True)
class Layout:
    """What a report is made into.

    Attributes:
        formats: some of `FORMATS`; rows.json, cases.csv and the figures are always written.
        view: what the main table shows.
        terms: what may differ between base and tuned, and is noted.
        listed: how many items the page's case explorer holds at most.
        holm: p is adjusted over the deciding comparisons of this report.
        required: what it must be able to show; looked at by the command.
    """

    formats: tuple[str, ...] = USUAL_FORMATS
    view: View = View()  # noqa: RUF009
    terms: Terms = Terms()  # noqa: RUF009
    listed: int = MOST_LISTED
    holm: bool = False
    required: tuple[Requirement, ...] = ()

    def question(self) -> Question:
        """What the comparison is asked: the view's metrics lead everywhere."""
        return Question(self.view.metrics, self.holm)


def write_report(
    study: Study,
    folder: Path,
    layout: Layout = Layout(),
    outliers: Sequence[report.Outliers] = (),
    explorer: report.Explorer | None = None,
) -> Path:
    """Write the report in every format of the layout, rows.json, cases.csv and the figures; remove
    what an earlier report of this folder wrote and this one does not; the path of the first format.

    Raises:
        ConfigError: the layout asks for a metric, or requires one, that the study has not.
        InputError: the cases.csv that is there can't be read.
    """
    report.check_metrics(study, layout.view)
    check_required(study, layout.required)
    document = report.build_document(study, layout.view, outliers)
    write_cases(study, folder)
    stems, written, images = _write_figures(study, folder)
    pictures = {key: f"{stem}.png" for key, stem in stems.items()}
    pages: dict[str, Callable[[], str]] = {
        "md": lambda: report.markdown_page(document, pictures),
        "html": lambda: report.html_page(document, images, explorer),
        "tex": lambda: report.latex_page(document, pictures),
        "json": lambda: report.json_page(document),
    }
    texts = {f"report.{name}": pages[name]() for name in layout.formats if name in pages}
    tables = {"tex": report.latex_table, "csv": report.csv_table}
    texts |= {
        f"tables/{stem}.{ending}": tables[ending](table)
        for ending in layout.formats
        if ending in tables
        for stem, table in report.table_names(document)
    }
    texts["rows.json"] = report.rows_json(study)
    if study.sweep is not None:
        texts["sweep.json"] = study.sweep.model_dump_json(indent=2) + "\n"
    for name, text in texts.items():
        write_text(folder / name, text)
    for name in (SHARED[each] for each in layout.formats if each in SHARED):
        paths = sorted(path for path in (folder / name).rglob("*") if path.is_file())
        written += [path.relative_to(folder).as_posix() for path in paths]
    _remove_stale(folder, {*texts, *written})
    write_text(folder / FILES_FILE, json.dumps({"files": [*texts, *written]}, indent=2) + "\n")
    first = layout.formats[0]
    return folder / {"csv": "tables", **SHARED}.get(first, f"report.{first}")


def list_files(folder: Path) -> list[str]:
    """The files of a report, relative to its folder, the pages first; cases.csv, which also holds
    what a person wrote, is the last one."""
    kept = [CASES_FILE] if (folder / CASES_FILE).is_file() else []
    return [*_read_files(folder), *kept]


def _read_files(folder: Path) -> list[str]:
    with suppress(InputError):
        files = read_json(folder / FILES_FILE).get("files")
        if isinstance(files, list):
            return [str(name) for name in files]
    return []


def _remove_stale(folder: Path, written: set[str]) -> None:
    """Remove the files of the report that was here before, and pages of releases that kept no list
    of them; nothing outside of the folder."""
    pages = [f"report.{name}" for name in FORMATS]
    for name in {*_read_files(folder), *pages} - written - {CASES_FILE}:
        path = folder / name
        if path.resolve().is_relative_to(folder.resolve()):
            remove(path)


def _write_figures(
    study: Study, folder: Path
) -> tuple[dict[str, str], list[str], dict[str, bytes]]:
    """Every figure as png and svg, its numbers next to it as csv: stems of the files by key, all
    files, and svg images by key."""
    stems: dict[str, str] = {}
    written: list[str] = []
    images: dict[str, bytes] = {}
    for key, draw, numbers in _figures(study):
        stem = stems[key] = _stem(key)
        for form in FORMS:
            images[key] = draw(form)
            write_bytes(folder / f"{stem}.{form}", images[key])
        write_text(folder / f"{stem}.csv", numbers)
        written += [f"{stem}.{ending}" for ending in (*FORMS, "csv")]
    return stems, written, images


def _stem(key: str) -> str:
    """A file name that stays in its folder, whatever an adapter is called; two names never share
    one."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", key.replace(":", "_", 1))[:_STEM]
    return safe if safe == key.replace(":", "_", 1) else f"{safe}-{sha256_text(key)[:8]}"


def _figures(study: Study) -> Iterator[tuple[str, Draw, str]]:
    """(key, how it is drawn, its numbers as csv) of each figure that the study has something
    for."""
    if scores := plots.score_rows(study):  # perplexities alone have no common axis
        yield (
            "before_after",
            partial(plots.before_after, study),
            report.csv_text(plots.SCORE_COLUMNS, scores),
        )
    for run in study.adapters[:MOST_SHOWN]:
        rows = plots.curve_rows(run)
        numbers = report.csv_text(plots.curve_columns(run), rows)
        yield f"curves:{run.card.name}", partial(plots.learning_curves, run), numbers
    if study.sweep is not None:
        yield from _sweep_figures(study.sweep)
        return
    drawn = {
        "training_size": (report.sized(study), plots.score_by_size),
        "cost": (report.timed(study), plots.score_by_cost),
    }
    for key, (measured, draw) in drawn.items():
        if measured:
            rows = plots.tradeoff_rows(measured)
            yield key, partial(draw, measured), report.csv_text(plots.TRADEOFF_COLUMNS, rows)


def _sweep_figures(sweep: SweepStudy) -> Iterator[tuple[str, Draw, str]]:
    """As `_figures`, of what varied."""
    for number, axis in enumerate(sweep.axes):
        numbers = report.csv_text(plots.SWEEP_COLUMNS, plots.sweep_rows(sweep, axis))
        yield f"sweep_{number}", partial(plots.score_by_axis, sweep, axis), numbers
    numbers = report.csv_text(plots.SWEEP_COLUMNS, plots.sweep_rows(sweep, sweep.varied))
    yield "sweep_cost", partial(plots.score_by_time, sweep), numbers
