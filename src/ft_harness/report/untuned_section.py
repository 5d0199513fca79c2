"""The report's section on untuned models: those that are no comparison's base; and the sentence of
a report with nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.amounts import counted
from ft_harness.comparison.untuned import Untuned
from ft_harness.report.cells import count, score, score_span, spread_of
from ft_harness.report.document import Block, Cell, Paragraph, Table, one_line

_COLUMNS = {
    "Model": "t",
    "Task": "t",
    "Split": "t",
    "Metric": "t",
    "Shots": "n",
    "Prompt": "t",
    "Decoding": "t",
    "Score": "n",
    "95 % interval": "i",
    "n": "n",
    "Repeats": "n",
    "SD of repeats": "n",
}
_SAID = (
    "Score is the mean over the repeats, which differ in eval.seed. The 95 % interval is that of "
    "the score; over several repeats on the same items it covers other items and other seeds. SD "
    "is the standard deviation over the repeats. Lines were not tested against each other: "
    "ft-harness compare does that."
)
_HASH = 8  # characters by which two definitions of a task are told apart
_END = 24  # characters of each end of a prompt
_NO_PROMPT = "running text"
_UNNAMED_DECODING = "as the task says"


def state_untuned(study: Study) -> list[str]:
    """The sentence of a report on untuned models alone, which compares nothing."""
    if study.comparisons or not study.untuned:
        return []
    protocols = counted(len(study.untuned), "protocol")
    models = counted(len({each.subject for each in study.untuned}), "model")
    return [f"Scores of {models} without an adapter in {protocols}; no difference was tested."]


def untuned_section(study: Study) -> list[Block]:
    """The section on untuned models; nothing for a sweep, whose own section has these scores and
    their differences."""
    table = None if study.sweep else untuned_table(study)
    return [table, Paragraph(_SAID)] if table else []


def untuned_table(study: Study) -> Table | None:
    """In the section on untuned models, one line per protocol: model, shots, prompt and decoding,
    with the spread over its repeats."""
    prompts = _name_prompts(study.untuned)
    lines: list[list[Cell]] = [
        [
            each.subject,
            each.task,
            each.split,
            each.metric,
            count(each.num_fewshot),
            prompt,
            _decoding(each),
            score(each.metric, each.mean),
            score_span(each.metric, each.low, each.high),
            count(each.n),
            count(len(each.values)),
            spread_of(each.metric, each.deviation),
        ]
        for each, prompt in zip(study.untuned, prompts, strict=True)
    ]
    title, kinds = "Scores of models without an adapter", "".join(_COLUMNS.values())
    return Table("untuned", title, list(_COLUMNS), lines, kinds) if lines else None


def _name_prompts(every: Sequence[Untuned]) -> list[str]:
    """The prompts by the beginning and end of the first item's; equal ones also by the hash of the
    task."""
    names = [_prompt(each) for each in every]
    hashes: dict[str, set[str]] = {}
    for name, each in zip(names, every, strict=True):
        hashes.setdefault(name, set()).add(str(each.settings["task_hash"]))
    return [
        f"{name}, task {str(each.settings['task_hash'])[:_HASH]}" if len(hashes[name]) > 1 else name
        for name, each in zip(names, every, strict=True)
    ]


def _prompt(found: Untuned) -> str:
    """What a head reads, or both ends of a prompt; and what a chat adds to it."""
    fields, text = found.settings["text_fields"], one_line(found.prompt)
    if len(text) > 2 * _END:
        text = f"{text[:_END].rstrip()} … {text[-_END:].lstrip()}"
    parts = [", ".join(fields) if fields else text or _NO_PROMPT]
    if found.settings["chat_template_hash"]:
        parts.append("chat template")
    if system := found.settings["system_instruction"]:
        parts.append(f"system message {json.dumps(system, ensure_ascii=False)}")
    return ", ".join(parts)


def _decoding(found: Untuned) -> str:
    """The arguments of generation, and the filter that chose among the answers."""
    arguments = sorted(found.settings["generation_kwargs"].items())
    parts = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments]
    chosen = found.settings["filter"]
    return ", ".join([*parts, *([f"filter {chosen}"] if chosen else [])]) or _UNNAMED_DECODING
