"""A report's folder: its files in every format, and the list of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ft_harness.comparison.aggregator import Question, Study
from ft_harness.comparison.amounts import counted
from ft_harness.comparison.cases import CASES_FILE, MOST_LISTED, read_cases
from ft_harness.comparison.comparability import Terms
from ft_harness.comparison.requirements import Requirement, check_required
from ft_harness.errors import InputError, raise_problems
from ft_harness.paths import reports_dir
from ft_harness.pipeline.explanations import (
    TrainingDocs,
    explain,
    find_explorer,
    find_outliers,
    write_cases,
)
from ft_harness.pipeline.shared_formats import SHARED, write_shared
from ft_harness.pipeline.study_figures import write_figures
from ft_harness.recipe import check_name
from ft_harness.records import REPORT_FILES, Evaluation, write_kept_list
from ft_harness.report import (
    Explorer,
    Outliers,
    View,
    build_document,
    check_metrics,
    csv_table,
    find_verdicts,
    html_page,
    json_page,
    latex_page,
    latex_table,
    markdown_page,
    rows_json,
    table_names,
)
from ft_harness.report.terminal_page import terminal_page
from ft_harness.storage import problems, remove, write_json_list, write_text
from ft_harness.storage.strict_files import read_json

FORMATS = ("md", "html", "tex", "csv", "json", *SHARED)
_PAGES = [f"report.{name}" for name in FORMATS]
USUAL_FORMATS = ("md", "html")
STUDY_FILE = "study.json"


@dataclass(frozen=True)
class ReportOptions:
    """How a report is written: its formats, its tables, and what is required of it.

    Attributes:
        formats: some of `FORMATS`; rows.json, cases.csv and the figures are always written.
        view: what the main table shows.
        terms: what may differ between base and tuned, and is noted.
        listed: how many items the page's case explorer holds at most.
        holm: p is adjusted over the deciding comparisons of this report.
        required: what it must be able to show; checked by the command.
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


def open_folder(out: Path, name: str) -> Path:
    """The folder of a report that is to be written, looked at before anything is computed: what is
    wrong with it would end the run at its report.

    Raises:
        ConfigError: the name is no folder's, or it can't be written.
        InputError: the cases.csv that is there can't be read.
    """
    folder = reports_dir(out) / check_name(name)
    raise_problems(problems(folder))
    read_cases(folder / CASES_FILE)
    return folder


def write_report(
    study: Study,
    folder: Path,
    options: ReportOptions = ReportOptions(),
    outliers: Sequence[Outliers] = (),
    explorer: Explorer | None = None,
) -> Path:
    """Write the report in every format of the options, rows.json, cases.csv and the figures; remove
    what an earlier report of this folder wrote and this one does not; returns the path of the first
    format.

    Raises:
        ConfigError: the options asks for a metric, or requires one, that the study has not.
        InputError: the cases.csv that is there can't be read.
    """
    check_metrics(study, options.view)
    check_required(study, options.required)
    document = build_document(study, options.view, outliers)
    write_cases(study, folder)
    stems, written, images = write_figures(study, folder)
    pictures = {key: f"{stem}.png" for key, stem in stems.items()}
    pages: dict[str, Callable[[], str]] = {
        "md": lambda: markdown_page(document, pictures),
        "html": lambda: html_page(document, images, explorer, find_verdicts(study)),
        "tex": lambda: latex_page(document, pictures),
        "json": lambda: json_page(document),
    }
    texts = {f"report.{name}": pages[name]() for name in options.formats if name in pages}
    tables = {"tex": latex_table, "csv": csv_table}
    texts |= {
        f"tables/{stem}.{ending}": tables[ending](table)
        for ending in options.formats
        if ending in tables
        for stem, table in table_names(document)
    }
    if study.sweep is not None:
        texts["sweep.json"] = study.sweep.model_dump_json(indent=2) + "\n"
    for name, text in texts.items():
        write_text(folder / name, text)
    write_json_list(folder / "rows.json", rows_json(study))
    if write_kept_list(folder / STUDY_FILE, study):
        written.insert(0, STUDY_FILE)
    written.insert(0, "rows.json")
    for name in (SHARED[each] for each in options.formats if each in SHARED):
        paths = sorted(path for path in (folder / name).rglob("*") if path.is_file())
        written += [path.relative_to(folder).as_posix() for path in paths]
    _remove_stale(folder, {*texts, *written})
    write_text(folder / REPORT_FILES, json.dumps({"files": [*texts, *written]}, indent=2) + "\n")
    first = options.formats[0]
    return folder / {"csv": "tables", **SHARED}.get(first, f"report.{first}")


def write_study(
    study: Study,
    evaluations: Sequence[Evaluation],
    folder: Path,
    options: ReportOptions = ReportOptions(),
    slice_by: Sequence[str] = (),
    training: Mapping[str, TrainingDocs] | None = None,
) -> tuple[Study, Path]:
    """Write the report of a study into its folder: the study with the cases explained of those
    comparisons that are read one by one, and the report's path.

    Args:
        slice_by: doc fields to slice the cases by.
        training: adapter -> the docs that it was trained on, where they are at hand.

    Raises:
        ConfigError, InputError: as `explain` and `write_report` say.
    """
    explained = explain(study.focus(), evaluations, folder, slice_by, training)
    write_shared(evaluations, folder, options.formats)
    explorer: Explorer | None = None
    if "html" in options.formats:
        explorer = find_explorer(explained, evaluations, folder, options.listed, slice_by)
    outliers = find_outliers(explained, evaluations)
    study = explained if study.sweep is None else _put_back(study, explained)
    return study, write_report(study, folder, options, outliers, explorer)


def _put_back(study: Study, explained: Study) -> Study:
    """The study with what was found of the cases of some comparisons; of the others none is
    shown."""
    known = {each.tuned.subject + each.tuned.eval_id: each for each in explained.comparisons}
    comparisons = [
        known.get(each.tuned.subject + each.tuned.eval_id)
        or each.model_copy(update={"cases": each.cases.model_copy(update={"cases": {}})})
        for each in study.comparisons
    ]
    return study.model_copy(update={"comparisons": comparisons})


def list_files(folder: Path) -> list[str]:
    """The files of a report, relative to its folder, the pages first; cases.csv, which also holds
    what a person wrote, is the last one."""
    kept = [CASES_FILE] if (folder / CASES_FILE).is_file() else []
    return [*_read_files(folder), *kept]


def study_lines(study: Study, path: Path) -> list[str]:
    """The lines that a terminal shows of a written report: its study and its files.

    Args:
        path: of the report's first page.
    """
    return [*terminal_page(study), *name_files(path)]


def name_files(path: Path) -> list[str]:
    """The files of a report as a terminal names them: its pages, each in a line, then its other
    files by kind.

    Args:
        path: of its first page.
    """
    folder = path.parent
    files = list_files(folder)
    pages = dict.fromkeys([path, *(folder / name for name in files if name in _PAGES)])
    kinds: dict[str, list[str]] = {}
    for name in files:
        if folder / name not in pages:
            stem, _, ending = name.rpartition(".")
            kinds.setdefault(stem, []).append(ending)
    folders: dict[str, list[list[str]]] = {}
    for stem in [each for each in kinds if "/" in each]:
        folders.setdefault(stem.partition("/")[0], []).append(kinds.pop(stem))
    others = [_join_endings(stem, endings) for stem, endings in kinds.items()]
    for name, stems in folders.items():
        endings = dict.fromkeys(each for found in stems for each in found)
        others.append(f"{counted(len(stems), 'file')} as {_join_endings(f'{name}/*', [*endings])}")
    return [*map(str, pages), *([f"{folder}: {', '.join(others)}"] if others else [])]


def _join_endings(stem: str, endings: Sequence[str]) -> str:
    return f"{stem}.{endings[0]}" if len(endings) == 1 else f"{stem}.{{{','.join(endings)}}}"


def _read_files(folder: Path) -> list[str]:
    with suppress(InputError):
        files = read_json(folder / REPORT_FILES).get("files")
        if isinstance(files, list):
            return [str(name) for name in files]
    return []


def _remove_stale(folder: Path, written: set[str]) -> None:
    """Remove the files of the report that was here before, and pages that a killed one left without
    a list; nothing outside of the folder."""
    for name in {*_read_files(folder), *_PAGES} - written - {CASES_FILE}:
        path = folder / name
        if path.resolve().is_relative_to(folder.resolve()):
            remove(path)
