"""What made the numbers: signatures, commands, models, evaluations, recipes, software and
hardware."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ft_harness.comparison.aggregator import MOST_SHOWN, Comparison, Study
from ft_harness.comparison.features import name_of
from ft_harness.records import AdapterInfo, Record
from ft_harness.report.cells import UNDEFINED, count
from ft_harness.report.document import (
    Block,
    Cell,
    Heading,
    Number,
    Paragraph,
    Table,
    Verbatim,
    bullets,
)
from ft_harness.report.label_section import label_names

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

_QUANTISED = {
    "4bit": "load_in_4bit=True",
    "8bit": "load_in_8bit=True",
    "gptq": "gptqmodel=True",
}  # as lm-eval says it


def records_of(study: Study) -> list[Record]:
    """Base and tuned of each comparison in turn; a base scored once is listed once."""
    pairs = [
        record for comparison in study.comparisons for record in (comparison.base, comparison.tuned)
    ]
    return list({(record.subject, record.eval_id): record for record in pairs}.values())


def signature_section(study: Study) -> list[Block]:
    """What made the scores, each line once; those of single labels differ from the macro average's
    in the name only."""
    labels = {label for comparison in study.comparisons for label in label_names(comparison)}
    per_label = {f"{kind}_{label}" for label in labels for kind in ("precision", "recall", "f1")}
    scores = [
        score
        for record in records_of(study)
        for score in record.scores
        if score.metric not in per_label
    ]
    return bullets(list(dict.fromkeys(score.signature for score in scores)))


# --- commands
# ------------------------------------------------------------------------------------------


def command_section(study: Study) -> list[Block]:
    """The command that makes the report again, and those that score base and tuned of each
    comparison."""
    blocks: list[Block] = [
        Paragraph("The command that makes this report again:"),
        Verbatim(study.command),
    ]
    commands: dict[str, list[str]] = {}
    for comparison in study.comparisons:
        title = f"{name_of(study, comparison)} ({comparison.tuned.settings.split})"
        commands.setdefault("\n".join(_commands(study, comparison)), []).append(title)
    if commands:
        left = (
            f", of the first {MOST_SHOWN} of {len(commands)}" if len(commands) > MOST_SHOWN else ""
        )
        said = (
            f"Base and tuned of each comparison, scored again (what is finished is reused){left}:"
        )
        blocks.append(Paragraph(said))
    for command, titles in list(commands.items())[:MOST_SHOWN]:
        blocks += [Paragraph(f"{', '.join(titles)}:"), Verbatim(command)]
    return blocks


def _commands(study: Study, comparison: Comparison) -> list[str]:
    """`ft-harness eval` on the adapter's recipe, which scores both sides; without a known recipe,
    lm-eval's own arguments for each side."""
    record = comparison.tuned
    settings, adapter = record.settings, record.adapter
    if adapter is None or all(run.card.name != adapter.name for run in study.adapters):
        return [_lm_eval_command(comparison.base), _lm_eval_command(record)]
    changed: dict[str, Any] = {
        "eval.splits": [settings.split],
        "eval.num_fewshot": settings.num_fewshot,
    }
    if _is_control(comparison):
        alike = [
            each.tuned.settings
            for each in study.comparisons
            if _is_control(each) and each.tuned.subject == record.subject
        ]
        shots, limit = settings.num_fewshot, settings.limit
        same = [each for each in alike if (each.num_fewshot, each.limit) == (shots, limit)]
        tasks = dict.fromkeys(each.task for each in same)
        changed = {"tasks": [*tasks], "num_fewshot": shots, "limit": limit}
        changed = {f"controls.{name}": value for name, value in changed.items()}
    elif settings.split != "train":
        changed["eval.limit"] = settings.limit
    elif settings.limit is not None:  # without one the recipe's own was not reached
        changed["eval.train_limit"] = settings.limit
    sets = [
        part for key, value in changed.items() for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    return [shlex.join(["ft-harness", "eval", adapter.path, "--adapter", adapter.path, *sets])]


def _is_control(comparison: Comparison) -> bool:
    return comparison.tuned.is_control or comparison.role == "control task"


def _lm_eval_command(record: Record) -> str:
    """lm-eval's own arguments for one side, as far as its record knows them."""
    model, settings = record.model, record.settings
    known = {"pretrained": model.pretrained, "revision": model.revision, "dtype": model.dtype}
    known["peft"] = record.adapter.path if record.adapter else None
    given = [f"{key}={value}" for key, value in known.items() if value not in (None, "unknown")]
    given += [_QUANTISED.get(part, part) for part in (model.quantization or "").split(", ") if part]
    arguments = ["--model", settings.back_end.partition(",")[0], "--model_args", ",".join(given)]
    arguments += ["--tasks", settings.task, "--num_fewshot", str(settings.num_fewshot)]
    options = {
        "--seed": settings.seed,
        "--limit": settings.limit,
        "--gen_kwargs": json.dumps(settings.generation_kwargs)
        if settings.generation_kwargs
        else None,
        "--system_instruction": settings.system_instruction,
    }
    arguments += [
        part for key, value in options.items() if value is not None for part in (key, str(value))
    ]
    arguments += ["--apply_chat_template"] if settings.chat_template_hash else []
    return shlex.join(["ft-harness", "lm-eval", "run", *arguments])


# --- provenance
# ------------------------------------------------------------------------------------------


def provenance_section(study: Study) -> list[Block]:
    records = records_of(study)
    recipes: list[dict[str, Cell]] = [dict(_flatten(run.card.recipe)) for run in study.adapters]
    sources = [run.card.provenance for run in study.adapters] + [
        record.provenance for record in records
    ]
    software: dict[str, dict[str, None]] = {}
    for key, value in (pair for source in sources for pair in _flatten(source)):
        software.setdefault(key, {})[value] = None
    names = [run.card.name for run in study.adapters]
    found: list[list[Cell]] = [[key, "; ".join(values)] for key, values in software.items()]
    columns, kinds = list(_EVALUATION_COLUMNS), "".join(_EVALUATION_COLUMNS.values())
    evaluations = [_evaluation_cells(record) for record in records]
    tables = [
        Table(
            "models",
            "Models",
            ["Subject", "What", "Value"],
            _identities(records),
            "ttt",
            appendix=True,
        ),
        Table("evaluations", "Evaluations", columns, evaluations, kinds, appendix=True),
        *_recipe_tables(names, recipes),
        Table(
            "software",
            "Software and hardware",
            ["What", "Training and scoring"],
            found,
            "tt",
            appendix=True,
        ),
    ]
    return [block for table in tables if table.rows for block in (Heading(3, table.title), table)]


def _recipe_tables(names: list[str], recipes: list[dict[str, Cell]]) -> list[Table]:
    """The settings that all recipes share, then those in which they differ, a line an adapter."""
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
    title = "Recipe" if len(names) == 1 else "What the recipes share"
    return [
        Table("recipes", title, ["Setting", "Value"], shared, "tt", appendix=True),
        Table(
            "differences",
            "Where the recipes differ",
            ["Adapter", *several],
            lines,
            "t" * (len(several) + 1),
        ),
    ]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _identities(records: list[Record]) -> list[list[Cell]]:
    """What each base model and adapter is, by hash; and what of an adapter could not be checked."""
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
                ("live-proof", _describe_proof(adapter)),
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
        Number(f"{cost.seconds:.1f}", cost.seconds) if cost else UNDEFINED,
        count(cost.tokens if cost else None),
        _describe_back_end(record),
        record.eval_id,
    ]


def _describe_back_end(record: Record) -> str:
    """What scored, and what a reader must know of how: the plain way taken, requests reused or
    failed."""
    found = record.back_end
    if found is None:
        return record.settings.back_end
    counted = {"reused": found.reused, "failed": found.failed, "halved batches": found.halvings}
    parts = [f"{number:,} {what}" for what, number in counted.items() if number]
    parts += [f"fallback: {found.fallback}"] if found.fallback else []
    parts += [f"{found.processes} processes"] if found.processes > 1 else []
    return "; ".join([record.settings.back_end, f"{found.computed:,} computed", *parts])
