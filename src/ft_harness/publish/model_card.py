"""The model card of one adapter: what it changed, how sure that is, what made it, and how to load
it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.repocard_data import EvalResult, eval_results_to_model_index

from ft_harness.comparison.aggregator import AdapterRun, Comparison, Row, Study
from ft_harness.comparison.amounts import (
    amount,
    difference,
    digits_of,
    duration,
    interval,
    probability,
    size,
)
from ft_harness.comparison.sentences import state_repeats, word_of
from ft_harness.paths import BUNDLED, is_hub_id
from ft_harness.publish.base_name import shown_base
from ft_harness.publish.readme import Section, merge_readme
from ft_harness.records import Card
from ft_harness.storage.markdown import fenced, inline, table

CARD_NAME = "README.md"
_LONGEST_CODE = 4000
_DECIMALS = 6
_SHOWN = ("model", "adapter", "train")  # sections of the recipe that made the adapter
_NAMES = {  # of metrics on the hub, where they differ from ours
    "acc": "accuracy",
    "mcc": "matthews_correlation",
    "rouge1": "rouge",
    "rouge2": "rouge",
    "rougeL": "rouge",
    "rougeLsum": "rouge",
}
_COLUMNS = {
    "Task": "l",
    "Split": "l",
    "Metric": "l",
    "Base": "r",
    "Tuned": "r",
    "Difference": "r",
    "95 % interval": "r",
    "p": "r",
    "n": "r",
    "Verdict": "l",
}


def model_card(
    run: AdapterRun, study: Study, limits: Sequence[str], path: Path, base: str | None = None
) -> tuple[str, list[str]]:
    """The model card: (the text of `path`, an adapter's README.md, titles of sections that a person
    edited).

    What a person wrote there stays; see `merge_readme`.

    Args:
        study: has the adapter's comparisons, if it was scored, among its own.
        limits: what was not measured, one sentence each.
        base: hub id of the base model; None: as the card names it, a folder by its last part.

    Raises:
        InputError: the README.md that is there can't be read.
    """
    card = run.card
    compared = [each for each in study.comparisons if each.tuned.subject == card.name]
    compared.sort(key=lambda each: each.role == "control task")
    seeds = [
        state_repeats(each)
        for each in study.repeats
        if card.name in each.subjects and each.varied == "training seed"
    ]
    named = base or shown_base(card.model)
    sections = [
        Section("", _opening(card, compared, named)),
        Section("Scores", _scores(card, compared, seeds)),
        *_cautions(compared),
        Section("How to load it", _loading(card, named)),
        Section("How it was trained", _training(card)),
        Section("What made it", _provenance(card, compared)),
        Section("Limits", _bullets([*limits, *_usual_limits(card, compared)])),
        Section(
            "Licence",
            f"The licence of {_name_base(named)} and the terms of the training data apply. Name "
            "the licence of this adapter in the front matter (`license:`); edited text is kept.",
        ),
    ]
    return merge_readme(path, _metadata(card, compared, named), sections)


def _metadata(card: Card, compared: Sequence[Comparison], base: str) -> dict[str, Any]:
    """The front matter that is ours."""
    found: dict[str, Any] = {
        "base_model": base,
        "base_model_relation": "finetune" if card.is_whole else "adapter",
        "library_name": "transformers" if card.is_whole else "peft",
        "pipeline_tag": _pipeline(card),
        "tags": ["ft-harness", *([] if card.is_whole else ["lora"])],
    }
    tested = [each for each in compared if each.tuned.settings.split == "test"]
    held_out = tested or [each for each in compared if each.tuned.settings.split != "train"]
    measured = [(each, row) for each in held_out for row in _stated_rows(each)]
    results = [_result(card, *pair) for pair in measured if pair[1].tuned is not None]
    if results:
        found["model-index"] = eval_results_to_model_index(card.name, results)
    return found


def _result(card: Card, comparison: Comparison, row: Row) -> EvalResult:
    """A tuned score; its arguments hold the base, interval, n and verdict to compare it with."""
    settings = comparison.tuned.settings
    source = card.recipe.get("data", {}).get("source")
    certainty = {
        "base": _rounded(row.base),
        "difference": _rounded(row.delta),
        "low": _rounded(row.low),
        "high": _rounded(row.high),
        "n": row.n,
        "verdict": row.verdict,
    }
    return EvalResult(
        task_type=_pipeline(card),
        dataset_type=source if isinstance(source, str) and is_hub_id(source) else row.task,
        dataset_name=row.task,
        dataset_split=row.split,
        dataset_args={"data_hash": settings.data_hash, "num_fewshot": settings.num_fewshot},
        metric_type=_NAMES.get(row.metric, row.metric),
        metric_name=row.metric,
        metric_value=_rounded(row.tuned),
        metric_args=certainty,
    )


def benchmark_results(run: AdapterRun, study: Study) -> dict[str, str]:
    """Next to the model card: the files that state a score under the name of a benchmark of the
    hub; none where the recipe names none, or where not all of its test items were scored.

    Source: `.eval_results/*.yaml` of the hub, by `huggingface_hub.EvalResultEntry`.
    """
    named = run.card.recipe.get("eval", {}).get("benchmark")
    if not named:
        return {}
    dataset, _, task = str(named).partition("#")
    rows = [
        each.headline
        for each in study.comparisons
        if each.headline.primary and each.tuned.settings.limit is None
    ]
    entries = [
        EvalResultEntry(dataset, task, _rounded(row.tuned), notes=f"{row.metric}, ft-harness")
        for row in rows
        if row.split == "test" and row.tuned is not None
    ]
    if not entries:
        return {}
    name = f".eval_results/{dataset.replace('/', '--')}--{task}.yaml"
    return {name: yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _stated_rows(comparison: Comparison) -> Iterator[Row]:
    """The rules without a model, the headline, and what belongs next to it."""
    headline = comparison.headline
    for row in comparison.rows:
        if row.tuned_subject is None or row.metric in (headline.metric, *comparison.companions):
            yield row


def _pipeline(card: Card) -> str:
    return "text-classification" if card.has_head else "text-generation"


# --- sections -----------------------------------------------------------------------------------


def _opened(compared: Sequence[Comparison]) -> Sequence[Comparison]:
    """The comparisons that decide; all, where none does."""
    return [each for each in compared if any(row.family for row in each.rows)] or compared


def _opening(card: Card, compared: Sequence[Comparison], base: str) -> str:
    kind = "All weights of" if card.is_whole else "A LoRA adapter for"
    task = card.recipe.get("task", {}).get("name", "a task")
    what = f"{kind} {_name_base(base)}, trained on {inline(str(task))}."
    sentences = [
        f"Control task: {each.sentence}" if each.role == "control task" else each.sentence
        for each in _opened(compared)
    ]
    return "\n\n".join([f"# {inline(card.name)}", what, *map(inline, sentences)])


def _name_base(base: str) -> str:
    return "the bundled model of ft-harness" if base == BUNDLED else inline(base)


def _cautions(compared: Sequence[Comparison]) -> list[Section]:
    """The cautions of scores that are only in the table; often none."""
    said = [
        f"{each.tuned.settings.task} ({each.tuned.settings.split}): {caution}"
        for each in compared
        if each not in _opened(compared)
        for caution in each.cautions
    ]
    return [Section("Cautions", _bullets(said))] if said else []


def _scores(card: Card, compared: Sequence[Comparison], seeds: Sequence[str]) -> str:
    if not compared:
        return "It was not scored: whether it helps is not known."
    rows = [_cells(row) for each in compared for row in _stated_rows(each)]
    seed = card.recipe.get("train", {}).get("seed")
    one = f"One training seed ({seed}); other seeds give other scores."
    said = [
        "Base and tuned were scored on the same items. The interval is of their difference.",
        *(map(inline, seeds) if seeds else [one]),
    ]
    return "\n\n".join([table([*_COLUMNS], rows, "".join(_COLUMNS.values())), *said])


def _cells(row: Row) -> list[str]:
    digits, metric = digits_of(row), row.metric
    if row.tuned_subject is None:
        share = amount(metric, row.base, digits)
        name = f"{word_of(metric)}, {row.base_subject}"
        return [row.task, row.split, name, share, *"----", str(row.n), "-"]
    return [
        row.task,
        row.split,
        word_of(metric),
        amount(metric, row.base, digits),
        amount(metric, row.tuned, digits),
        difference(metric, row.delta, digits),
        interval(metric, row.low, row.high, digits),
        probability(row.p if row.p_adjusted is None else row.p_adjusted),
        str(row.n),
        row.verdict or "-",
    ]


def _loading(card: Card, base: str) -> str:
    model = "AutoModelForSequenceClassification" if card.has_head else "AutoModelForCausalLM"
    revision = f', revision="{card.model.revision}"' if card.model.revision else ""
    labels = ", num_labels=NUMBER_OF_LABELS" if card.has_head else ""
    where = ""
    if not is_hub_id(base):
        where = "  # what `ft-harness path model` prints" if base == BUNDLED else ""
        base = f"FOLDER_OF_{base}"
    of_adapter = [
        "from peft import PeftModel",
        f"from transformers import {model}, AutoTokenizer",
        "",
        f'base = {model}.from_pretrained("{base}"{revision}{labels}){where}',
        'model = PeftModel.from_pretrained(base, "THIS_REPOSITORY")',
        f'tokenizer = AutoTokenizer.from_pretrained("{base}"{revision})',
    ]
    of_whole = [
        f"from transformers import {model}, AutoTokenizer",
        "",
        f'model = {model}.from_pretrained("THIS_REPOSITORY")',
        'tokenizer = AutoTokenizer.from_pretrained("THIS_REPOSITORY")',
    ]
    lines = of_whole if card.is_whole else of_adapter
    code = fenced("\n".join(lines), _LONGEST_CODE).replace("\n", "python\n", 1)
    form = (
        "the chat template with the hash below" if card.chat_template_hash else "no chat template"
    )
    prompts = f"Prompts must have the form that it was trained on: the task's, with {form}."
    score = "ft-harness eval THIS_FOLDER --adapter THIS_FOLDER"
    return "\n\n".join([code, prompts, "To score it again, next to its base:", fenced(score, 200)])


def _training(card: Card) -> str:
    cost = card.cost
    settings = {
        name: {
            field: _plain(value)
            for field, value in card.recipe.get(name, {}).items()
            if not (value is None or value is False or value in ([], {}))  # 0 is a setting
            and not (name == "model" and field == "pretrained")
        }
        for name in _SHOWN
    }
    written = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).rstrip()
    facts = [
        ("Examples", f"{card.examples:,} ({card.truncated_examples:,} cut to fit the context)"),
        ("What carried loss", f"{card.trained_tokens:,} {card.target}s"),
        ("Steps", f"{card.steps:,}, final training loss {card.final_loss:.4f}"),
        ("Trained parameters", f"{card.trainable_parameters:,}"),
        ("Time", f"{duration(cost.seconds)}, {cost.tokens:,} tokens read"),
        ("Peak memory", size(cost.peak_rss_bytes)),
        *([("Peak GPU memory", size(cost.peak_gpu_bytes))] if cost.peak_gpu_bytes else []),
        ("Size", size(cost.adapter_bytes)),
        ("Hardware", cost.hardware),
    ]
    before = [f"Continues: {inline(each.name)} ({each.identity})." for each in card.lineage]
    code = fenced(written, _LONGEST_CODE).replace("\n", "yaml\n", 1)
    return "\n\n".join([*before, table(["Training", ""], facts, "ll"), code])


def _plain(value: Any) -> Any:
    """A setting; for a path, its last part."""
    if isinstance(value, str) and ("/" in value or "\\" in value) and not is_hub_id(value):
        return Path(value.replace("\\", "/")).name
    return value


def _provenance(card: Card, compared: Sequence[Comparison]) -> str:
    commit = (card.provenance.get("code") or {}).get("commit")
    packages = card.provenance.get("packages") or {}
    lines = {
        "Fingerprint": card.fingerprint,
        "Base weights": card.model.identity,
        "Base number format": card.model.quantization or card.model.dtype,
        "Training data": card.data_hash,
        "Task: prompts and answers": card.task_hash,
        "Chat template": card.chat_template_hash or "none",
        "Commit": commit or "not known",
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    } | {
        f"Scored items, {each.tuned.settings.task} ({each.tuned.settings.split})": (
            each.tuned.settings.data_hash
        )
        for each in compared
    }
    return table(["What", "Hash or version"], list(lines.items()), "ll")


def _usual_limits(card: Card, compared: Sequence[Comparison]) -> list[str]:
    """What is true of every adapter."""
    tasks = list(dict.fromkeys(each.tuned.settings.task for each in compared))
    measured = f"It was scored on {', '.join(tasks)} with these prompts" if tasks else "Not scored"
    return [
        f"{measured}; how it does on other tasks and prompts is not known.",
        "It has the base model's knowledge, biases and refusals, as far as the training did not "
        "change them.",
    ]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {inline(line)}" for line in lines)
