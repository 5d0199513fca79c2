"""The text of a new task's YAML and README, from what is known about its data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ft_harness import metrics
from ft_harness.storage.markdown import inline

_GENERATED = (
    "exact_match", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "meteor",
    "empty", "truncated", "run_on",
)  # fmt: skip
_HEAD = """# {title}
#
# The source is an absolute path; where the data is elsewhere: --set data.source=PATH (or `lm_eval
# --metadata data_source=PATH`).
task: {name}
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs:
  data:
    source: {source}
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


@dataclass(frozen=True)
class TaskDetails:
    """What the text of a new task is made from: the data file and the chosen columns.

    Attributes:
        columns: field of the prompt -> column.
        answer_column: the column of the label or the answer.
        reading: options of the loader that say how the source is read.
        texts: the answers are texts, not numbers.
        labels: the distinct labels in class order; None where the answer is free text.
        language: of free answers in a script that BLEU splits its own way; None: any other.
        balance: how many rows each label has, for the README.
        notes: doubtful points, with what to do about them.
    """

    name: str
    source: Path
    columns: Mapping[str, str]
    answer_column: str
    reading: Mapping[str, Any]
    rows: int
    texts: bool
    labels: list[str] | None
    language: str | None
    balance: str
    notes: list[str]


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


def _metric_line(metric: str) -> str:
    """A line of metric_list: the aggregation of a metric, of its kind (`f1_<label>`), or the
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


def _prompt(task: TaskDetails, *, titled: bool) -> list[str]:
    """A line for each text that the model reads, after its name where there are several."""
    return [
        f"{_title(column)}: {{{{{field} | trim}}}}" if titled else f"{{{{{field} | trim}}}}"
        for field, column in task.columns.items()
    ]


def _label_body(task: TaskDetails, labels: Sequence[str]) -> tuple[str, str, str]:
    """The part of the YAML for classes; prompt and answer for the README."""
    words = [label.strip() for label in labels]
    lines = [*_prompt(task, titled=True), f"{_title(task.answer_column)}:"]
    body = _LABEL_BODY.format(prompt=_quoted("\n".join(lines)), words=_quoted(words))
    shown = f"{len(words)} label words, compared by log-likelihood ({task.balance})"
    return body, " / ".join(lines), shown


def _text_body(task: TaskDetails) -> tuple[str, str, str]:
    """The part of the YAML for answers in free text; prompt and answer for the README."""
    lines = [*_prompt(task, titled=len(task.columns) > 1), "", "Answer:"]
    # lm-eval's few-shot examples need a text; a text is taken as it is, so that "[1]" stays one
    target = "answer" if task.texts else '"{{answer}}"'
    body = _TEXT_BODY.format(prompt=_quoted("\n".join(lines)), target=target)
    return body, " / ".join(filter(None, lines)), "generated text"


def render_task(task: TaskDetails) -> dict[str, str]:
    """File name -> text of the task's YAML and README.

    Raises:
        InputError: labels that would give metrics the name of an average.
    """
    said = f"{_one_line(task.answer_column)} from {_one_line(', '.join(task.columns.values()))}"
    if task.labels is None:
        answer, title, names = "answer", f"{said}, generated.", list(_GENERATED)
        body, prompt, shown = _text_body(task)
        made: dict[str, Any] = {"language": task.language} if task.language else {}
    else:
        answer, names = "label", metrics.label_metrics(task.labels)
        title = f"{said}: scored by the log-likelihood of the label words."
        body, prompt, shown = _label_body(task, task.labels)
        made = {"labels": task.labels, "stratified": True}
    columns = {**task.columns, answer: task.answer_column}
    options = {
        "columns": {field: [column] for field, column in columns.items()},
        **task.reading,
        **made,
    }
    head = _HEAD.format(
        title=title,
        name=task.name,
        source=_quoted(str(task.source)),
        options="".join(f"    {name}: {_quoted(value)}\n" for name, value in options.items()),
    )
    readme = _README.format(
        name=task.name,
        title=inline(title),
        source=inline(str(task.source)),
        rows=task.rows,
        splits=_SPLITS,
        fields=", ".join(f"`{field}` (column {inline(name)})" for field, name in columns.items()),
        metrics=inline(", ".join(names[:40])) + (", ..." if len(names) > 40 else ""),
        prompt=inline(prompt),
        answer=inline(shown),
    )
    lines = "\n".join(map(_metric_line, names))
    yaml_text = f"{head}{body}metric_list:\n{lines}\nmetadata:\n  version: 1.0\n"
    return {f"{task.name}.yaml": yaml_text, "README.md": readme}
