"""A data file of the user's -> a task YAML and its README: labels are read from the file, no Python
is written."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ft_harness import metrics, storage
from ft_harness.data.files import SPLITS, read_file
from ft_harness.errors import ConfigError, InputError, raise_problems, suggest
from ft_harness.paths import PACKAGE
from ft_harness.storage import write_text
from ft_harness.storage.escaping import inline
from ft_harness.tasks.definition import find_task
from ft_harness.tasks.listing import task_files
from ft_harness.tasks.loading import load_tasks

MOST_CLASSES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,59}")
_WHOLE = re.compile(r"(-?\d+)\.0+")
_SHOWN = 3  # rows that a message names
_GENERATED = (
    "exact_match", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "meteor",
    "empty", "truncated", "run_on",
)  # fmt: skip
_HEAD = """# {title}
#
# The data lies at an absolute path; where it is elsewhere: --set data.source=FILE (or `lm_eval
# --metadata`).
task: {name}
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs:
  data:
    source: {source}
    columns: {columns}
{options}training_split: train
validation_split: validation
test_split: test
fewshot_split: train
"""
_LABEL_BODY = """output_type: multiple_choice
doc_to_text: {prompt}
doc_to_target: label
doc_to_choice: {words}
target_delimiter: " "
process_results: !function ft_harness.metrics.score_label
"""
_TEXT_BODY = """output_type: generate_until
doc_to_text: {prompt}
doc_to_target: {target}
target_delimiter: " "
fewshot_delimiter: "\\n\\n###\\n\\n"
generation_kwargs: {{until: ["\\n\\n###"], max_gen_toks: 256, do_sample: false}}
process_results: !function ft_harness.metrics.score_text
"""
_README = """# {name}

{title}

| | |
|---|---|
| source | {source}, {rows} rows |
| licence | the licence of your data |
| splits | {splits} |
| fields | {fields} |
| metrics | {metrics} |

| task | version | prompt | answer |
|---|---|---|---|
| `{name}` | 1.0 | {prompt} | {answer} |

Known scores: none yet.

Changelog: 1.0 first version.
"""
_SPLITS = (
    "10 % validation and 10 % test are carved out of the file, the rest trains; "
    "or `--set data.split=80/20`"
)
_SCRIPTS = {  # language -> (its letters, the share of all letters that they exceed)
    "ja": ("[\u3040-\u30ff]", 0.1),
    "zh": ("[\u3400-\u9fff]", 0.5),
    "ko": ("[\uac00-\ud7af]", 0.5),
    "th": ("[\u0e00-\u0e7f]", 0.5),
}


@dataclass(frozen=True)
class NewTask:
    """What the file and the columns make of a task.

    Attributes:
        columns: all columns of the file.
        texts: the answers are texts, not numbers.
        labels: the distinct labels in class order; None where the answer is free text.
        language: of free answers in a script that BLEU splits its own way; None: any other.
        balance: how many rows each label has, for the README.
        notes: legal but doubtful, with the way out.
    """

    name: str
    source: Path
    text_column: str
    answer_column: str
    columns: list[str]
    rows: int
    texts: bool
    labels: list[str] | None
    language: str | None
    balance: str
    notes: list[str]


@dataclass(frozen=True)
class _Survey:
    """What one reading of the file found of the answer column: whether all are texts, how often
    each value occurs."""

    where: str
    columns: list[str]
    rows: int
    texts: bool
    counts: Counter[str]


def task_name(file: Path, name: str | None) -> str:
    """The task's name: the given one, else the file's with `_custom`.

    Raises:
        ConfigError: not a plain word, or the name of a shipped task.
    """
    stem = re.sub(r"[^a-z0-9]+", "_", file.name.partition(".")[0].lower()).strip("_") or "my_task"
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


def inspect(
    file: Path, text: str, *, label: str | None, answer: str | None, name: str | None
) -> NewTask:
    """Read the file and see what task its columns make.

    Args:
        text: the column that the model reads.
        label: the column with one of a few classes, or
        answer: the column with an answer of any wording; one of the two.

    Raises:
        ConfigError: neither or both of label and answer, or a bad name.
        InputError: no such file or column, empty cells, or a label column that is none.
    """
    column = label or answer
    if column is None or (label and answer):
        raise ConfigError(
            "a task needs one answer column",
            "--text COLUMN --label COLUMN, or --prompt COLUMN --answer COLUMN",
            "name --label for classes, --answer for free text",
        )
    chosen = task_name(file, name)
    if not file.is_file():
        raise InputError(
            f"{file}: no such file", "csv, tsv, json, jsonl (.gz) or parquet", "check the path"
        )
    survey = _survey(file, text, column)
    _check_free(survey, column, "label" if label else "answer")
    labels = _labels(survey, column) if label else None
    return NewTask(
        name=chosen,
        source=file.resolve(),
        text_column=text,
        answer_column=column,
        columns=survey.columns,
        rows=survey.rows,
        texts=survey.texts,
        labels=labels,
        language=None if label else _language(survey.counts),
        balance=_balance(survey.counts) if label else "",
        notes=_notes(labels or []),
    )


def _survey(file: Path, text: str, answer: str) -> _Survey:
    """Read the file once; both columns have a value in every row."""
    columns: list[str] | None = None
    counts: Counter[str] = Counter()
    texts = True
    empty: dict[str, list[str]] = {text: [], answer: []}
    for place, row in read_file(file):
        if columns is None:
            columns = list(map(str, row))
            _check_columns(file, columns, [text, answer])
        counts[_plain(row.get(answer))] += 1
        texts = texts and isinstance(row.get(answer), str)
        for column in (name for name in empty if _is_empty(row.get(name))):
            empty[column].append(place)
    if columns is None:
        raise InputError(f"{file}: no rows", "at least one row", "check the file")
    raise_problems([_empty_cells(column, places) for column, places in empty.items() if places])
    return _Survey(str(file), columns, counts.total(), texts, counts)


def _check_columns(file: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    raise_problems(
        [
            InputError(
                f"{file}: no column {column}{suggest(column, present)}",
                f"one of {', '.join(present)[:500]}",
                "name a column of the file",
            )
            for column in dict.fromkeys(wanted)
            if column not in present
        ]
    )
    if wanted[0] == wanted[1]:
        raise InputError(
            f"{file}: {wanted[0]} would be question and answer", "two columns", "name another one"
        )


def _empty_cells(column: str, places: Sequence[str]) -> InputError:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return InputError(
        f"{', '.join(places[:_SHOWN])}{more}: the column {column} is empty",
        "a value in every row",
        "fix or remove the rows",
    )


def _plain(value: Any) -> str:
    """A value as text; whole numbers without decimals, as the loader reads labels."""
    whole = _WHOLE.fullmatch(str(value))
    return whole.group(1) if whole else str(value)


def _is_empty(value: Any) -> bool:
    return (
        value is None or not str(value).strip() or (isinstance(value, float) and math.isnan(value))
    )


def _check_free(survey: _Survey, column: str, field: str) -> None:
    """The loader takes a column of the field's own name before any other."""
    if field in survey.columns and column != field:
        raise InputError(
            f"{survey.where}: there is a column {field} beside {column}",
            f"no other column named {field}, which is the task's own name for it",
            f"rename the column {field} in the file, or use it",
        )


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _labels(survey: _Survey, column: str) -> list[str]:
    """The labels in class order: numbers by value, else words by spelling."""
    counts, where = survey.counts, f"{survey.where}: the column {column}"
    if len(counts) == 1:
        raise InputError(
            f"{where} holds one class only ({next(iter(counts))[:80]})",
            "2 or more",
            "check the column",
        )
    if len(counts) * 2 > survey.rows:
        raise InputError(
            f"{where} has {len(counts)} different values in {survey.rows} rows: free text?",
            "a few classes, each in several rows",
            "use --answer for free text, or name another column",
        )
    if len(counts) > MOST_CLASSES:
        raise InputError(
            f"{where} has {len(counts)} classes",
            f"2 to {MOST_CLASSES}",
            "merge classes, or use --answer",
        )
    if len({word.strip() for word in counts}) < len(counts):
        raise InputError(
            f"{where} has labels that differ in blanks only",
            "one spelling a class",
            "fix the rows",
        )
    numbers = {word: _number(word) for word in counts}
    if None in numbers.values():
        return sorted(counts)
    return sorted(counts, key=lambda word: (numbers[word] or 0.0, word))


def _balance(counts: Counter[str]) -> str:
    common = ", ".join(f"{word} {count}" for word, count in counts.most_common(10))
    return f"{common}, ..." if len(counts) > 10 else common


def _notes(labels: Sequence[str]) -> list[str]:
    words = [label.strip() for label in labels]
    pairs = [(a, b) for a in words for b in words if a != b and b.startswith(a)]
    return [
        f"the label {longer!r} begins with {shorter!r}: the shorter one is often the likelier; "
        "other words in doc_to_choice would be fairer"
        for shorter, longer in pairs[:1]
    ]


def _language(answers: Counter[str]) -> str | None:
    """The language of the answers as far as their script tells it; Japanese mixes kana with Chinese
    characters."""
    letters = [char for answer in answers for char in answer if char.isalpha()]
    for language, (pattern, share) in _SCRIPTS.items():
        if sum(map(bool, map(re.compile(pattern).match, letters))) > share * len(letters):
            return language
    return None


def _title(column: str) -> str:
    """A column's name as a word of the prompt."""
    return re.sub(r"[\W_]+", " ", column).strip().capitalize() or "Text"


def _one_line(text: str) -> str:
    """A column's name within a comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:80]


def _quoted(value: Any) -> str:
    """A value as YAML on one line, in any script; what does not print is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def _text_field(task: NewTask, preferred: str) -> str:
    """A name for the text's field that no other column of the file has."""
    taken = set(task.columns) - {task.text_column}
    return next(
        name
        for name in (preferred, *(f"{preferred}_{i}" for i in range(1, len(taken) + 2)))
        if name not in taken
    )


def _metric_line(metric: str) -> str:
    """A line of metric_list: a metric's own aggregation, that of its kind (`f1_<label>`), or the
    mean."""
    kinds = [
        metric,
        *(prefix for prefix in ("precision", "recall", "f1") if metric.startswith(f"{prefix}_")),
        "mean",
    ]
    kind = next(kind for kind in kinds if hasattr(metrics, f"aggregate_{kind}"))
    better = str(metrics.find_metric(metric).higher_is_better).lower()
    aggregation = f"aggregation: !function ft_harness.metrics.aggregate_{kind}"
    return f"  - {{metric: {_quoted(metric)}, {aggregation}, higher_is_better: {better}}}"


def render_task(task: NewTask) -> dict[str, str]:
    """File name -> text of the task's YAML and README.

    Raises:
        InputError: labels that would give metrics the name of an average.
    """
    asked = _title(task.text_column)
    said = f"{_one_line(task.answer_column)} from {_one_line(task.text_column)}"
    if task.labels is None:
        field, answer = _text_field(task, "instruction"), "answer"
        # lm-eval's few-shot examples need a text; a text is taken as it is, so that "[1]" stays one
        target = answer if task.texts else '"{{answer}}"'
        options = f"    language: {task.language}\n" if task.language else ""
        prompt = f"{{{{{field} | trim}}}}\n\nAnswer:"
        body, names = _TEXT_BODY.format(prompt=_quoted(prompt), target=target), list(_GENERATED)
        title, shown = f"{said}, generated.", "generated text"
        sample = ["<instruction>", "Answer:"]
    else:
        field, answer = _text_field(task, "text"), "label"
        words = [label.strip() for label in task.labels]
        options = f"    labels: {_quoted(task.labels)}\n    stratified: true\n"
        prompt = f"{asked}: {{{{{field} | trim}}}}\n{_title(task.answer_column)}:"
        body = _LABEL_BODY.format(prompt=_quoted(prompt), words=_quoted(words))
        names = metrics.label_metrics(task.labels)
        title = f"{said}: scored by the log-likelihood of the label words."
        sample = [f"{asked}: <text>", f"{_title(task.answer_column)}:"]
        shown = f"{len(words)} label words, compared by log-likelihood ({task.balance})"
    columns = _quoted({field: [task.text_column], answer: [task.answer_column]})
    head = _HEAD.format(
        title=title,
        name=task.name,
        source=_quoted(str(task.source)),
        columns=columns,
        options=options,
    )
    lines = "\n".join(map(_metric_line, names))
    readme = _README.format(
        name=task.name,
        title=inline(title),
        source=inline(str(task.source)),
        rows=task.rows,
        splits=_SPLITS,
        fields=f"`{field}` (column {inline(task.text_column)}), "
        f"`{answer}` (column {inline(task.answer_column)})",
        metrics=inline(", ".join(names[:40])) + (", ..." if len(names) > 40 else ""),
        prompt=inline(" / ".join(sample)),
        answer=inline(shown),
    )
    yaml_text = f"{head}{body}metric_list:\n{lines}\nmetadata:\n  version: 1.0\n"
    return {f"{task.name}.yaml": yaml_text, "README.md": readme}


def write_task(task: NewTask, folder: Path) -> Path:
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
            f"{folder} is inside the installed package",
            "a folder of yours",
            "choose another --out",
        )
    existing = [folder / name for name in files if (folder / name).exists()]
    if existing:
        raise ConfigError(
            f"{existing[0]} exists", "a new folder or name", "remove it, or use --name or --out"
        )
    with tempfile.TemporaryDirectory() as trial:
        yaml = f"{task.name}.yaml"
        write_text(Path(trial) / yaml, files[yaml])
        load_tasks(find_task(task.name, trial), SPLITS)
    raise_problems(storage.problems(folder))
    for name, text in files.items():
        write_text(folder / name, text)
    return folder / yaml
