"""A study as text: the Markdown report and `rows.json`. Pure functions: equal input, equal bytes, no time, no paths.

Every number is rounded here, once, from a row, a record or a card; none is computed but sums of seconds and shares of
parameters. All text that isn't ours passes through `markdown`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ft_harness.aggregator import AdapterRun, Comparison, Row, Study
from ft_harness.amounts import NONE, amount, difference, duration, interval, probability, size
from ft_harness.cases import DECIDING_METRICS, Case, Transition
from ft_harness.data_section import data_section
from ft_harness.label_section import label_names, label_section
from ft_harness.markdown import fenced, inline, table
from ft_harness.records import Record

_SPLITS = ("train", "validation", "test")
_SHOWN: tuple[Transition, ...] = ("corrected", "broken", "not corrected")
_EVALUATION_HEADER = ["Subject", "Task", "Split", "Shots", "Limit", "Seed", "Batch", "Device", "Back end", "Record"]
_TEXT_LIMIT = 1200
_LEGEND = (
    "Differences are tuned minus base, in percentage points where the score is in %. The interval is the paired 95 % "
    "interval of the difference. Improved or worse needs both: an interval without 0 and p below 0.05. p (Holm) is "
    f"adjusted over the primary metrics; all others are exploratory. `{NONE}`: undefined, or not made for this row."
)


def rows_json(study: Study) -> str:
    """`rows.json`: a list of objects with exactly the fields of `Row`, full precision, null where undefined.

    A setting that is NaN or infinite is null too: the JSON is strict.
    """
    return json.dumps([row.model_dump(mode="json") for row in study.rows()], indent=2) + "\n"


def render_markdown(study: Study, figures: Mapping[str, str]) -> str:
    """The report, from the sentence down to the command that repeats it.

    `figures` gives the files of `before_after` and `loss:<adapter>`, relative to the report; a missing one is left out.
    """
    main = [comparison for comparison in study.comparisons if any(row.primary for row in comparison.rows)]
    caption = "Primary metrics before and after; the dotted tick is the majority class"
    parts = [
        f"# {inline(study.name)}",
        *_bullets(study.sentences()),
        *_figure(figures, "before_after", caption),
        *_section("Scores", _score_table(study, main)),
        *_section("Scores by split", _split_table(study)),
        *_section("Scores by label", label_section([(_name(study, each), each) for each in main])),
        *_section("Data", data_section(study)),
        *_section("Cost", _cost_table(study)),
        *_section("Training", [part for run in study.adapters for part in _training(run, figures)]),
        *_section("Cases", [part for comparison in main for part in _cases(study, comparison)]),
        *_section("Notes", _bullets(study.notes)),
        *_section("Signatures", _bullets(_signatures(study))),
        *_section("Provenance", _provenance(study)),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, body: list[str]) -> list[str]:
    return [f"## {title}", *body] if body else []


def _bullets(texts: Iterable[str]) -> list[str]:
    lines = "\n".join(f"- {inline(text)}" for text in texts)
    return [lines] if lines else []


def _figure(figures: Mapping[str, str], key: str, caption: str) -> list[str]:
    return [f"![{inline(caption)}]({quote(figures[key])})"] if key in figures else []


# --- scores --------------------------------------------------------------------------------------------------------


def _name(study: Study, comparison: Comparison) -> str:
    """The task; with adapter, shots and limit where the study has several of these on one of the task's splits."""
    task = comparison.tuned.settings.task
    found: dict[tuple[str, int], set[str]] = {}
    for record in (other.tuned for other in study.comparisons if other.tuned.settings.task == task):
        for kind, feature in enumerate(_features(record)):
            found.setdefault((record.settings.split, kind), set()).add(feature)
    varying = {kind for (_, kind), features in found.items() if len(features) > 1}
    return ", ".join([task, *(text for kind, text in enumerate(_features(comparison.tuned)) if kind in varying)])


def _features(record: Record) -> list[str]:
    limit = record.settings.limit
    return [record.subject, f"{record.settings.num_fewshot}-shot", "all items" if limit is None else f"limit {limit}"]


def _overall_rows(comparison: Comparison) -> list[Row]:
    """The rows that are not about one label, unless it is the primary metric; the majority class is among them."""
    labels = [label for label in label_names(comparison) if label != "macro"]
    per_label = {f"{kind}_{label}" for label in labels for kind in ("precision", "recall", "f1")}
    return [row for row in comparison.rows if row.primary or row.metric not in per_label]


def _score_table(study: Study, main: list[Comparison]) -> list[str]:
    lines = [
        _score_line(_name(study, comparison), row)
        for comparison in main
        for row in [*_overall_rows(comparison), *([comparison.without] if comparison.without else [])]
    ]
    header = [
        "Task",
        "Split",
        "Metric",
        "Base",
        "Tuned",
        "Difference",
        "95 % interval",
        "p",
        "p (Holm)",
        "n",
        "Verdict",
    ]
    return [table(header, lines, "lllrrrrrrrl"), _LEGEND] if lines else ["No primary metric was compared."]


def _score_line(name: str, row: Row) -> list[str]:
    kind = ", majority class" if row.tuned_subject is None else ", primary" if row.primary else ""
    return [
        name,
        row.split,
        f"{row.metric}{kind}",
        amount(row.metric, row.base),
        amount(row.metric, row.tuned),
        difference(row.metric, row.delta),
        interval(row),
        probability(row.p),
        probability(row.p_adjusted),
        str(row.n),
        row.verdict or NONE,
    ]


def _split_table(study: Study) -> list[str]:
    """Base, tuned and difference of the deciding metric in a line of its own, with a column a split."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for comparison in study.comparisons:
        measured = [row for row in comparison.rows if row.tuned_subject is not None]
        deciding = next((row for row in measured if row.metric in DECIDING_METRICS), measured[0])
        found.setdefault((_name(study, comparison), deciding.metric), {})[deciding.split] = deciding
    lines: list[list[str]] = []
    for (name, metric), by_split in found.items():
        rows = [by_split.get(split) for split in _SPLITS]
        lines += [
            [name, metric, "Base", *(amount(metric, row.base if row else None) for row in rows)],
            [name, metric, "Tuned", *(amount(metric, row.tuned if row else None) for row in rows)],
            [name, metric, "Difference", *(difference(metric, row.delta if row else None) for row in rows)],
            [name, metric, "n", *(str(row.n) if row else NONE for row in rows)],
        ]
    header = ["Task", "Metric", "", *(split.capitalize() for split in _SPLITS)]
    return [table(header, lines, "lllrrr"), "All metrics of all splits are in rows.json."] if lines else []


# --- cost and training ---------------------------------------------------------------------------------------------


def _cost_table(study: Study) -> list[str]:
    """One column an adapter: a study has few adapters and many quantities."""
    columns = [_cost_column(study, run) for run in study.adapters]
    lines = [[quantity, *(column[quantity] for column in columns)] for quantity in columns[0]] if columns else []
    header = ["", *(run.card.name for run in study.adapters)]
    return [table(header, lines, "l" + "r" * len(columns))] if lines else []


def _resumed(step: int | None) -> str:
    """What a time leaves out: the steps before a killed run was continued."""
    return f", from step {step} on" if step else ""


def _cost_column(study: Study, run: AdapterRun) -> dict[str, str]:
    card, cost = run.card, run.card.cost
    total = card.model.parameters + card.trainable_parameters
    scored = [comparison for comparison in study.comparisons if comparison.tuned.subject == card.name]
    return {
        "Training time": duration(cost.seconds) + _resumed(cost.resumed_from_step),
        "Training speed": f"{cost.tokens_per_second:,.0f} tokens/s",
        "Parameters, base and adapter": f"{total:,}",
        "Trainable parameters": f"{card.trainable_parameters:,}",
        "Trainable share": f"{100 * card.trainable_parameters / total:.2f} %",
        "Peak memory of the process": size(cost.peak_rss_bytes),
        "Peak GPU memory": size(cost.peak_gpu_bytes),
        "Adapter size": size(cost.adapter_bytes),
        "Scoring time, Base": duration(sum(comparison.base.cost.seconds for comparison in scored)),
        "Scoring time, Tuned": duration(sum(comparison.tuned.cost.seconds for comparison in scored)),
        "Hardware": cost.hardware,
    }


def _training(run: AdapterRun, figures: Mapping[str, str]) -> list[str]:
    card = run.card
    summary = (
        f"{card.examples:,} examples ({card.truncated_examples:,} truncated), {card.trained_tokens:,} trained tokens, "
        f"{card.steps:,} steps, final training loss {card.final_loss:.3f}."
    )
    return [f"### {inline(card.name)}", summary, *_figure(figures, f"loss:{card.name}", f"Loss of {card.name}")]


# --- cases ---------------------------------------------------------------------------------------------------------


def _cases(study: Study, comparison: Comparison) -> list[str]:
    title = f"### {inline(_name(study, comparison))} ({comparison.base.settings.split})"
    counts, cases = comparison.cases.counts, comparison.cases.cases
    if counts is None or cases is None:
        return [title, inline(comparison.cases.reason or "No cases.")]
    parts = [title, table([name.capitalize() for name in counts], [[str(count) for count in counts.values()]], "rrrr")]
    for transition in _SHOWN:
        shown = cases.get(transition, [])
        if shown:
            parts.append(f"#### {transition.capitalize()} ({len(shown)} of {counts[transition]} shown)")
            parts += [part for case in shown for part in _case(case)]
    return parts


def _case(case: Case) -> list[str]:
    """The prompt as a block, the answers as a table under it."""
    answers = [["Gold", case.gold], ["Base", _answer(case.base_answer)], ["Tuned", _answer(case.tuned_answer)]]
    return [f"Item {inline(case.item_key)}", fenced(case.prompt, _TEXT_LIMIT), table(["", "Answer"], answers, "ll")]


def _answer(answer: str | None) -> str:
    return "(no readable answer)" if answer is None else answer or "(empty)"


# --- evidence ------------------------------------------------------------------------------------------------------


def _records(study: Study) -> list[Record]:
    """Base and tuned of each comparison in turn; a base scored once stands once."""
    pairs = [record for comparison in study.comparisons for record in (comparison.base, comparison.tuned)]
    return list({(record.subject, record.eval_id): record for record in pairs}.values())


def _signatures(study: Study) -> list[str]:
    """What made the scores, each line once; those of single labels differ from the macro average's in the name only."""
    labels = {label for comparison in study.comparisons for label in label_names(comparison)} - {"macro"}
    per_label = {f"{kind}_{label}" for label in labels for kind in ("precision", "recall", "f1")}
    scores = [score for record in _records(study) for score in record.scores if score.metric not in per_label]
    return list(dict.fromkeys(score.signature for score in scores))


def _provenance(study: Study) -> list[str]:
    records = _records(study)
    recipes = [dict(_flatten(run.card.recipe)) for run in study.adapters]
    sources = [run.card.provenance for run in study.adapters] + [record.provenance for record in records]
    software: dict[str, dict[str, None]] = {}
    for key, value in (pair for source in sources for pair in _flatten(source)):
        software.setdefault(key, {})[value] = None
    settings = dict.fromkeys(key for recipe in recipes for key in recipe)
    return [
        "The command that makes this report again:",
        fenced(study.command, _TEXT_LIMIT),
        "### Models",
        table(["Subject", "What", "Value"], _identities(study), "lll"),
        "### Evaluations",
        table(_EVALUATION_HEADER, [_evaluation_line(record) for record in records], "lllrrrrlll"),
        "### Recipe",
        table(
            ["Setting", *(run.card.name for run in study.adapters)],
            [[setting, *(recipe.get(setting, NONE) for recipe in recipes)] for setting in settings],
            "l" + "l" * len(recipes),
        ),
        "### Software and hardware",
        table(["What", "Training and scoring"], [[key, "; ".join(values)] for key, values in software.items()], "ll"),
    ]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _identities(study: Study) -> list[list[str]]:
    """What each base model and adapter is, by hash."""
    lines: dict[tuple[str, str, str], None] = {}
    for record in _records(study):
        model, adapter = record.model, record.adapter
        if adapter is None:
            found = {
                "model": model.pretrained,
                "revision": model.revision or NONE,
                "identity": model.identity,
                "dtype": model.dtype,
                "quantization": model.quantization or NONE,
            }
        else:
            proof = adapter.live_proof
            found = {
                "adapter of": model.pretrained,
                "identity": adapter.identity,
                "live-proof": f"{proof.changed_prompts} of {proof.prompts} prompts changed, "
                f"a logit by up to {proof.max_logit_change:.3g}",
            }
        lines |= {(record.subject, what, value): None for what, value in found.items()}
    return [list(line) for line in lines]


def _evaluation_line(record: Record) -> list[str]:
    settings = record.settings
    return [
        record.subject,
        settings.task,
        settings.split,
        str(settings.num_fewshot),
        NONE if settings.limit is None else str(settings.limit),
        str(settings.seed),
        str(settings.batch_size),
        settings.device,
        settings.back_end,
        record.eval_id,
    ]
