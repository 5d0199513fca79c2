"""The report's sections on what made the numbers: signatures, models, evaluations, recipes,
software and hardware."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.amounts import fixed
from ft_harness.records import AdapterInfo, Record
from ft_harness.report.cells import UNDEFINED, count
from ft_harness.report.document import Block, Cell, Number, Paragraph, Table, bullets, titled
from ft_harness.report.label_section import per_label_metrics
from ft_harness.report.view import main_comparisons

_EVALUATION_COLUMNS = {
    "Subject": "t",
    "Task": "t",
    "Split": "t",
    "Shots": "n",
    "Limit": "n",
    "Seed": "n",
    "Batch": "n",
    "Device": "t",
    "Seconds": "n",
    "Tokens": "n",
    "Back end": "t",
    "Record": "t",
}


def records_of(study: Study) -> list[Record]:
    """The evaluations that the evidence names: base and tuned of each comparison in turn; a base
    scored once is listed once."""
    pairs = [
        record for comparison in study.comparisons for record in (comparison.base, comparison.tuned)
    ]
    return list({(record.subject, record.eval_id): record for record in pairs}.values())


def signature_section(study: Study) -> tuple[list[Block], list[Block]]:
    """The section on signatures: of the headline scores, then all others, each once; those of
    single labels are left out, as they differ from the macro average's in the name alone."""
    per_label = {metric for each in study.comparisons for metric in per_label_metrics(each)}
    leading = [
        score
        for each in main_comparisons(study)
        for score in each.tuned.scores
        if score.metric == each.headline.metric
    ]
    every = [
        score
        for record in records_of(study)
        for score in record.scores
        if score.metric not in per_label
    ]
    first = list(dict.fromkeys(score.signature for score in leading))
    others = list(dict.fromkeys(score.signature for score in every))
    return bullets(first), bullets([each for each in others if each not in first])


def provenance_section(study: Study) -> tuple[list[Block], list[Block]]:
    """The section on models and adapters by hash, with what could not be checked; then evaluations,
    software and hardware."""
    records = records_of(study)
    sources = [run.card.provenance for run in study.adapters] + [
        record.provenance for record in records
    ]
    # Values that all share are said once; two versions of one library stand side by side.
    software: dict[str, dict[str, None]] = {}
    for key, value in (pair for source in sources for pair in _flatten(source)):
        software.setdefault(key, {})[value] = None
    found: list[list[Cell]] = [[key, "; ".join(values)] for key, values in software.items()]
    columns, kinds = list(_EVALUATION_COLUMNS), "".join(_EVALUATION_COLUMNS.values())
    rows = [_evaluation_cells(record) for record in records]
    header, made_with = ["Subject", "What", "Value"], ["What", "Training and scoring"]
    models = Table("models", "Models", header, _identities(records), "ttt", appendix=True)
    evaluations = Table("evaluations", "Evaluations", columns, rows, kinds, appendix=True)
    programs = Table("software", "Software and hardware", made_with, found, "tt", appendix=True)
    return titled(models), [*titled(evaluations), *titled(programs)]


def recipe_section(study: Study) -> tuple[list[Block], list[Block]]:
    """The section on recipes: where they differ, one line per adapter; and the settings that all of
    them share."""
    names = [run.card.name for run in study.adapters]
    recipes: list[dict[str, Cell]] = [dict(_flatten(run.card.recipe)) for run in study.adapters]
    settings = dict.fromkeys(key for recipe in recipes for key in recipe)
    values = {key: [recipe.get(key, UNDEFINED) for recipe in recipes] for key in settings}
    shared: list[list[Cell]] = [
        [key, found[0]] for key, found in values.items() if len(set(found)) == 1
    ]
    several = [key for key, found in values.items() if len(set(found)) > 1]
    lines: list[list[Cell]] = [
        [name, *(values[key][place] for key in several)]
        for place, name in enumerate(names if several else [])
    ]
    title = "The recipe" if len(names) == 1 else "What the recipes share"
    header = ["Adapter", *several]
    kinds = "t" * len(header)
    differing = Table("differences", "Where the recipes differ", header, lines, kinds)
    same = Table("recipes", title, ["Setting", "Value"], shared, "tt", appendix=True)
    said = Paragraph("The settings in which the recipes differ; all others are the same.")
    return [said, differing] if lines else [], titled(same)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _identities(records: list[Record]) -> list[list[Cell]]:
    """Base models and adapters by hash, and what could not be checked."""
    lines: dict[tuple[str, str, Cell], None] = {}
    for record in records:
        found: list[tuple[str, Cell]]
        model, adapter = record.model, record.adapter
        if adapter is None:
            found = [
                ("model", model.pretrained),
                ("revision", model.revision or UNDEFINED),
                ("identity", model.identity),
                ("dtype", model.dtype),
                ("quantization", model.quantization or UNDEFINED),
            ]
        else:
            found = [
                ("adapter of", model.pretrained),
                ("identity", adapter.identity),
                ("changes the answers", _describe_proof(adapter)),
                *(("not checked", what) for what in adapter.unchecked),
            ]
        if record.foreign:
            found += [("scored by", record.foreign.program), ("read from", record.foreign.file)]
            found += [("not checked", what) for what in record.foreign.unchecked]
        if model.head:
            found.append(("head", model.head))
        lines |= {(record.subject, what, value): None for what, value in found}
    return [list(line) for line in lines]


def _describe_proof(adapter: AdapterInfo) -> Cell:
    proof = adapter.live_proof
    if proof is None:
        return UNDEFINED
    changed = f"{proof.changed_prompts} of {proof.prompts} prompts changed"
    if proof.max_logit_change is None:
        return changed
    return f"{changed}, a logit by up to {proof.max_logit_change:.3g}"


def _evaluation_cells(record: Record) -> list[Cell]:
    settings, cost = record.settings, record.cost
    return [
        record.subject,
        settings.task,
        settings.split,
        count(settings.num_fewshot),
        count(settings.limit),
        UNDEFINED if settings.seed is None else Number(str(settings.seed), settings.seed),
        count(settings.batch_size),
        settings.device,
        Number(fixed(cost.seconds, 1), cost.seconds) if cost else UNDEFINED,
        count(cost.tokens if cost else None),
        _describe_back_end(record),
        record.eval_id,
    ]


def _describe_back_end(record: Record) -> str:
    """The back end, and how it scored: the fallback taken, requests reused or failed."""
    found = record.back_end
    if found is None:
        return record.settings.back_end
    counted = {"reused": found.reused, "failed": found.failed, "halved batches": found.halvings}
    parts = [f"{number:,} {what}" for what, number in counted.items() if number]
    parts += [f"fallback: {found.fallback}"] if found.fallback else []
    parts += [f"{found.processes} processes"] if found.processes > 1 else []
    return "; ".join([record.settings.back_end, f"{found.computed:,} computed", *parts])
