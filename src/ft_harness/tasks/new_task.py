"""The work of `init-task`: a user's data -> a task YAML and its README; labels are read from the
data, no Python is written."""

from __future__ import annotations

import math
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ft_harness import storage
from ft_harness.data.docs import LABEL
from ft_harness.data.files import SPLITS, split_files
from ft_harness.data.labels import alike
from ft_harness.data.layout import BY_SUFFIX, Layout, LineFormat
from ft_harness.data.layout_finder import (
    check_header,
    common_encoding,
    find_label_files,
    find_layout,
    is_label_source,
    label_file_encoding,
)
from ft_harness.data.loading import read_source
from ft_harness.data.options import merge_options
from ft_harness.errors import ConfigError, InputError, raise_problems
from ft_harness.paths import PACKAGE
from ft_harness.storage import write_text
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.listing import task_files
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.survey import Survey, read_survey
from ft_harness.tasks.task_template import TaskDetails, render_task

MOST_CLASSES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,59}")
# an option of a recipe that is one of this command too, with its value
_OPTION = re.compile(
    r"(?:--set )?'?data\.(column_names|delimiter|line_format|encoding|rows|worksheet)\b"
    r"(?:=([^'\s,]+)'?)?"
)
_NO_LABEL = ("-", "?", "n/a", "na", "nan", "none", "null", "unlabelled", "unlabeled")
_SCRIPTS = {  # language -> (its letters, the share of all letters that they exceed)
    "ja": ("[\u3040-\u30ff]", 0.1),
    "zh": ("[\u3400-\u9fff]", 0.5),
    "ko": ("[\uac00-\ud7af]", 0.5),
    "th": ("[\u0e00-\u0e7f]", 0.5),
}


@dataclass(frozen=True)
class Request:
    """What the user asks of `init-task`.

    Attributes:
        sources: a file, a folder, or one file for each label.
        texts: the columns that the model reads; none: the `text` of label files.
        label: the column with one of a few classes, or
        answer: the column with an answer of any wording; one of the two.
        name: of the task; None: from the source.
        layout: how the files are read, as far as it was given.
    """

    sources: Sequence[Path]
    texts: Sequence[str] = ()
    label: str | None = None
    answer: str | None = None
    name: str | None = None
    layout: Layout = BY_SUFFIX


def _task_name(source: Path, name: str | None) -> str:
    """The task's name: the given one, else the file's with `_custom`.

    Raises:
        ConfigError: not a plain word, or the name of a shipped task.
    """
    stem = re.sub(r"[^a-z0-9]+", "_", source.name.partition(".")[0].lower()).strip("_") or "my_task"
    chosen = name or f"{stem.removesuffix('_custom')}_custom"
    if not _NAME.fullmatch(chosen):
        raise ConfigError(
            f"the task name {chosen!r}", "letters, digits and '_'; at most 60", "use another --name"
        )
    if chosen in task_files():
        raise ConfigError(
            f"the task {chosen} is a shipped one", "a new name", "choose another with --name"
        )
    return chosen


def inspect(request: Request) -> TaskDetails:
    """Find in the user's data what `init-task` writes; errors name its options, not the recipe's.

    Raises:
        ConfigError, InputError: as `_inspect`.
    """
    try:
        return _inspect(request)
    except (ConfigError, InputError) as error:
        error.action = _as_flags(error.action)
        raise


def _as_flags(action: str) -> str:
    return _OPTION.sub(
        lambda found: " ".join(
            [
                "--columns" if found[1] == "column_names" else f"--{found[1].replace('_', '-')}",
                *([shlex.quote(found[2])] if found[2] else []),
            ]
        ),
        action,
    )


def _inspect(request: Request) -> TaskDetails:
    """Read the data and see what task its columns make.

    Raises:
        ConfigError: neither or both of label and answer, or a bad name.
        InputError: no such file or column, a first row that looks like data, empty cells, or a
            label column that is none.
    """
    first = request.sources[0]
    chosen = _task_name(first, request.name)
    if missing := [path for path in request.sources if not path.exists()]:
        raise InputError(
            f"{missing[0]}: no such file",
            "csv, tsv, txt, json, jsonl, xml (.gz), parquet or xlsx, or a folder",
            "check the path",
        )
    if is_label_source(request.sources):
        request = replace(
            request,
            texts=request.texts or ["text"],
            label=request.label or (None if request.answer else LABEL),
        )
    answer = request.label or request.answer
    if answer is None or (request.label and request.answer):
        raise ConfigError(
            "a task needs one answer column",
            "--text COLUMN --label COLUMN, or --prompt COLUMN --answer COLUMN",
            "name --label for classes, --answer for free text",
        )
    source, reading, notes = _find_source(request, [*request.texts, answer])
    options = merge_options({"source": str(source), **reading}, {})
    survey = Survey(str(source), classes=request.label is not None)
    read_survey(survey, read_source(options), [*request.texts, answer])
    # The hub's mark of a row without a label, in columns that state the names of theirs.
    if survey.stated and survey.counts.pop("-1", 0):
        reading["drop_labels"] = [-1]
        notes.append("rows without a label (-1) are left out")
    if request.label and "line_format" in reading:
        _check_ends(survey.where, LineFormat(reading["line_format"]), answer, [*survey.counts])
    labels = _labels(survey, answer) if request.label else None
    field_name = "text" if request.label else "instruction"
    numbers = [""] if len(request.texts) == 1 else [f"_{i + 1}" for i in range(len(request.texts))]
    return TaskDetails(
        name=chosen,
        source=source,
        columns={f"{field_name}{n}": t for n, t in zip(numbers, request.texts, strict=True)},
        answer_column=answer,
        reading=reading,
        rows=survey.counts.total(),
        texts=survey.texts,
        labels=labels,
        language=None if labels else _language(survey.counts),
        balance=_balance(survey.counts) if labels else "",
        notes=[*notes, *_label_notes(labels or [])],
    )


def _find_source(request: Request, wanted: Sequence[str]) -> tuple[Path, dict[str, Any], list[str]]:
    """The source, the options that say how it is read, and notes on what was found."""
    sources, layout, notes = request.sources, request.layout, list[str]()
    merge_options({name: getattr(layout, name) for name in layout.given()}, {})  # or refuse
    if is_label_source(sources):
        folder, label_files, notes = find_label_files(sources)
        encoding = layout.encoding or label_file_encoding(folder, label_files)
        if encoding and not layout.encoding:
            notes.append(_encoding_note("the texts are", encoding))
        found = {"encoding": encoding} if encoding else {}
        given = {name: getattr(layout, name) for name in layout.given()}
        return folder.resolve(), {**given, **found, "label_files": label_files}, notes
    parts = split_files(sources[0]).values() if sources[0].is_dir() else [[sources[0]]]
    files = list(chain.from_iterable(parts))
    if len(files) > 1 and not layout.encoding:
        layout = replace(layout, encoding=common_encoding(files))
        if layout.encoding:
            notes.append(_encoding_note("the files are", layout.encoding))
    layout, more = find_layout(files[0], layout)
    for file in files:
        check_header(file, layout, wanted)
    reading = {name: getattr(layout, name) for name in layout.given()}
    return sources[0].resolve(), reading, [*notes, *more]


def _encoding_note(what: str, encoding: str) -> str:
    return f"{what} not UTF-8; read as {encoding} (--encoding names another)"


def _check_ends(where: str, line_format: LineFormat, column: str, labels: Sequence[str]) -> None:
    """Refuse labels at the end of lines that begin too early: texts may hold the mark too."""
    mark = line_format.last_mark
    early = next((label for label in labels if mark in label), None)
    if line_format.names[-1] == column and mark.strip() and early:
        raise InputError(
            f"{where}: the label {early[:60]!r} holds {mark!r}, which is what ends the text",
            f"lines in which {mark!r} occurs once",
            "replace it in the texts of such lines",
        )


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _labels(survey: Survey, column: str) -> list[str]:
    """The labels in class order: as the file states them, else numbers by value, else words by
    spelling."""
    counts, where = survey.counts, f"{survey.where}: the column {column}"
    rows = counts.total()
    if len(counts) == 1:
        raise InputError(
            f"{where} holds one class only ({next(iter(counts))[:80]})",
            "2 or more",
            "check the column",
        )
    if len(counts) * 2 > rows:
        raise InputError(
            f"{where} has {len(counts)} different values in {rows} rows: free text?",
            "a few classes, each in several rows",
            "use --answer for free text, or name another column",
        )
    if len(counts) > MOST_CLASSES:
        raise InputError(
            f"{where} has {len(counts)} classes",
            f"2 to {MOST_CLASSES}",
            "merge classes, or use --answer",
        )
    if twins := alike(list(counts)):
        raise InputError(
            f"{where} has labels that differ only in case, blanks, invisible characters or the "
            f"script of letters: {twins[0][:80]!r} and {twins[1][:80]!r}",
            "one spelling per class",
            "fix the rows",
        )
    if survey.stated and not set(counts) - set(survey.stated):
        return survey.stated
    numbers = {word: _number(word) for word in counts}
    if None in numbers.values():
        return sorted(counts)
    return sorted(counts, key=lambda word: (numbers[word] or 0.0, word))


def _balance(counts: Counter[str]) -> str:
    common = ", ".join(f"{word} {count}" for word, count in counts.most_common(10))
    return f"{common}, ..." if len(counts) > 10 else common


def _label_notes(labels: Sequence[str]) -> list[str]:
    words = [label.strip() for label in labels]
    unlabelled = [word for word in words if word.casefold() in _NO_LABEL]
    pairs = [(a, b) for a in words for b in words if a != b and b.startswith(a)]
    return [
        *(
            f"the label {word!r} often means that a row has none: such rows are a class here, "
            "unless you take them out of the data"
            for word in unlabelled
        ),
        *(
            f"the label {longer!r} begins with {shorter!r}: the shorter one is often the likelier; "
            "other words in doc_to_choice would be fairer"
            for shorter, longer in pairs[:1]
        ),
    ]


def _language(answers: Counter[str]) -> str | None:
    """The language of the answers as far as their script shows it; Japanese mixes kana with
    Chinese characters."""
    letters = [char for answer in answers for char in answer if char.isalpha()]
    for language, (pattern, share) in _SCRIPTS.items():
        if sum(map(bool, map(re.compile(pattern).match, letters))) > share * len(letters):
            return language
    return None


def write_task(task: TaskDetails, folder: Path) -> Path:
    """Write YAML and README into a folder, after the task was built from them once; the YAML's
    path.

    Raises:
        ConfigError: the folder is inside the installed package, can't be written, or holds one of
            the files.
        InputError: the task can't be built from the file.
    """
    files = render_task(task)
    if folder.resolve().is_relative_to(PACKAGE):
        raise ConfigError(
            f"{folder} is inside the installed package", "a folder of yours", "choose another --out"
        )
    existing = [folder / name for name in files if (folder / name).exists()]
    if existing:
        raise ConfigError(
            f"{existing[0]} exists", "a new folder or name", "remove it, or use --name or --out"
        )
    # Tried elsewhere first: nothing is left of a task that can't be built.
    with tempfile.TemporaryDirectory() as trial:
        yaml = f"{task.name}.yaml"
        write_text(Path(trial) / yaml, files[yaml])
        load_tasks(find_task(task.name, trial), SPLITS)
    raise_problems(storage.problems(folder))
    for name, text in files.items():
        write_text(folder / name, text)
    return folder / yaml
