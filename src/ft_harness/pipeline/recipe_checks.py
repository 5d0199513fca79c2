"""Check a recipe's training rows and prompts with the tokenizer, and forecast its work, before a
model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from ft_harness import storage
from ft_harness.comparison.amounts import counted, epochs, tokens
from ft_harness.data.files import Split
from ft_harness.errors import Findings, Notice, raise_problems
from ft_harness.evaluation import chosen_docs
from ft_harness.models.base_model import load_context, load_tokenizer, load_vocabulary
from ft_harness.models.encoding import Encoder, refuse_beyond, refuse_equal, refuse_no_start
from ft_harness.models.heads import HeadPlan, plan_head
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.paths import reports_dir, results_dir
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.preflight import Checked, count_scored
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.stages import check_experiment
from ft_harness.recipe import EvalSection, Protocol, Recipe
from ft_harness.tasks.data_items import check_baseline
from ft_harness.tasks.examples import (
    Example,
    build_examples,
    cut_notice,
    describe_examples,
    train_prompts,
    trains_eos,
)
from ft_harness.tasks.fewshot import find_shots
from ft_harness.tasks.gold_answers import check_gold
from ft_harness.tasks.head_examples import build_head_examples, describe_head_examples
from ft_harness.tasks.listing import TaskReader
from ft_harness.tasks.pair_examples import build_pairs, describe_pairs
from ft_harness.tasks.rendering import RenderedTask
from ft_harness.tasks.row_checks import places
from ft_harness.training import Rows, count_work

_PROMPTS_LOOKED_AT = 200  # of each scored split, by check


class _Reader(NamedTuple):
    """The part of a model that reads rows, before its weights are loaded.

    Attributes:
        context: in tokens.
        vocabulary: tokens that it has a row for; None: not known.
    """

    tokenizer: Any
    context: int
    vocabulary: int | None

    def check(self, ids: Sequence[int]) -> None:
        """Refuse tokens that the model has no row for."""
        refuse_beyond(self.tokenizer, ids, self.vocabulary)


def check_recipe(
    experiment: Experiment,
    found: Findings,
    reader: TaskReader,
    *,
    baseline: bool = False,
    privacy: bool = True,
) -> None:
    """Check a recipe as far as it goes before a model is loaded: everything wrong with it is put
    into `found`.

    Args:
        reader: what has read the task's YAMLs.

    Raises:
        FtHarnessError: a fault, or a `ProblemsError` with all of them.
    """
    if not storage.problems(results_dir(experiment.out)):  # else that is the fault
        found.faults += storage.problems(reports_dir(experiment.out) / experiment.name)
    reading = Reading(reader)
    checked = check_experiment(
        experiment, trains=True, privacy=privacy, findings=found, reading=reading
    )
    decodings = [protocol.decoding for protocol in experiment.recipe.eval.protocols()]
    found.add(check_gold(checked.tasks, checked.form, decodings))
    raise_problems(found.faults)
    found.add(check_tokens(experiment, checked))
    found.facts += [check_baseline(checked.tasks, checked.form)] if baseline else []


def check_tokens(experiment: Experiment, checked: Checked) -> Findings:
    """Build the training rows, and prompts of each scored split, with the tokenizer alone:
    boundaries, lengths, trained tokens and cuts.

    Raises:
        InputError: prompts that end in white space, tokens that merge at the boundary, BOS twice,
            too long answers, tokens that the model has no row for, or running text without a token
            to begin it with.
    """
    recipe, section = experiment.recipe, experiment.recipe.model
    reader = _Reader(load_tokenizer(section), load_context(section), load_vocabulary(section))
    plan = plan_head(recipe, checked.tasks.values())
    if plan is not None:
        return _check_head_tokens(recipe, checked, plan, reader)
    scored = [checked.tasks[split] for split in recipe.eval.splits]
    scored += [control.task for control in checked.controls]
    if any(task.OUTPUT_TYPE == "loglikelihood_rolling" for task in scored):
        refuse_no_start(section.pretrained, reader.tokenizer)
    findings = _check_examples(recipe, checked, reader)
    for split, protocol in product(recipe.eval.splits, recipe.eval.protocols()):
        findings.add(check_prompts(checked, split, recipe.eval, protocol, reader))
    findings.facts = list(dict.fromkeys(findings.facts))  # decodings of the same prompts
    findings.notices = list(dict.fromkeys(findings.notices))
    return findings


def _check_examples(recipe: Recipe, checked: Checked, reader: _Reader) -> Findings:
    """What a causal model is trained on: answers, or pairs of them."""
    tokenizer, context, _ = reader
    task, form = checked.tasks["train"], checked.form
    docs, eos = list(task.eval_docs), trains_eos(task, recipe.train.loss_on_eos)
    if recipe.train.objective == "preference":
        pairs = build_pairs(task, docs, tokenizer, context, eos=eos, form=form)
        for pair in pairs:
            reader.check(pair.tokens)
        said = [describe_pairs(pairs, eos), describe_work(recipe, checked, pairs)]
        found = Findings(facts=said, notices=[cut] if (cut := cut_notice(pairs)) else [])
        for split in recipe.eval.splits:
            found.add(_check_scored_pairs(recipe, checked, split, reader))
        return found
    examples = build_examples(task, docs, tokenizer, context, eos=eos, form=form)
    for example in examples:
        reader.check(example.tokens)
    examples = train_prompts(examples) if recipe.train.loss_on == "prompt_and_answer" else examples
    said = [describe_examples(examples, eos), describe_work(recipe, checked, examples)]
    cut = cut_notice(examples)
    notices = [
        *([cut] if cut else []),
        *_check_length(recipe, task, examples),
        *_check_unknown(tokenizer, examples),
    ]
    return Findings(facts=said, notices=notices)


def _check_scored_pairs(
    recipe: Recipe, checked: Checked, split: Split, reader: _Reader
) -> Findings:
    """How many of the first pairs of a split are cut where they are scored: by lm-eval, each
    answer's prompt by itself."""
    task, section = checked.tasks[split], recipe.eval
    chosen = chosen_docs(len(task.eval_docs), split, section)[0][:_PROMPTS_LOOKED_AT]
    docs = [task.eval_docs[number] for number in chosen]
    tokenizer, context, _ = reader
    pairs = build_pairs(task, docs, tokenizer, context, eos=False, form=checked.form)
    cut = sum(pair.truncated for pair in pairs)
    if not cut:
        return Findings()
    line = f"{split}: in {cut} of the first {len(pairs)} pairs an answer's prompt will be cut"
    cure = "raise model.max_length: a pair whose prompts differ compares two questions"
    return Findings(notices=[Notice(line, cure)])


def _check_unknown(tokenizer: Any, examples: Sequence[Example]) -> list[Notice]:
    """Right answers with characters that the tokenizer has no tokens for."""
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        return []  # used for something else
    rows = [row for row, each in enumerate(examples) if unknown in each.answer_ids]
    if not rows:
        return []
    return [
        Notice(
            f"{len(rows)} of {len(examples)} training answers hold what the tokenizer reads as "
            f"{tokenizer.unk_token} ({places(rows)})",
            "use a model whose tokenizer knows these characters: no other can write them",
        )
    ]


def _check_length(recipe: Recipe, task: RenderedTask, examples: Sequence[Example]) -> list[Notice]:
    """Right answers that are longer than what is generated at most."""
    if task.OUTPUT_TYPE != "generate_until":
        return []
    own = task.config.generation_kwargs or {}
    most = [{**own, **each.decoding}.get("max_gen_toks") for each in recipe.eval.protocols()]
    shortest = min((int(each) for each in most if each), default=None)
    long = [row for row, each in enumerate(examples) if len(each.answer_ids) > (shortest or 10**9)]
    if not long:
        return []
    return [
        Notice(
            f"{len(long)} of {len(examples)} training answers are longer than the {shortest} "
            f"tokens that are generated at most ({places(long)})",
            f"raise max_gen_toks: --set 'eval.generation_kwargs={{max_gen_toks: "
            f"{max(len(examples[row].answer_ids) for row in long)}}}'",
        )
    ]


def _check_head_tokens(
    recipe: Recipe, checked: Checked, plan: HeadPlan, reader: _Reader
) -> Findings:
    """The same for a classification head, which has no answer tokens."""
    tokenizer, context, _ = reader
    task = checked.tasks["train"]
    examples = build_head_examples(
        task, list(task.eval_docs), tokenizer, context, plan, checked.form
    )
    for example in examples:
        reader.check(example.tokens)
    findings = Findings(
        notices=pair_notices(tokenizer, plan.text_fields),
        facts=[
            describe_head_examples(examples, plan.labels),
            describe_work(recipe, checked, examples),
        ],
    )
    for split in recipe.eval.splits:
        scored = checked.tasks[split]
        docs = [
            scored.eval_docs[i] for i in chosen_docs(len(scored.eval_docs), split, recipe.eval)[0]
        ]
        rows = build_head_examples(
            scored, docs[:_PROMPTS_LOOKED_AT], tokenizer, context, plan, checked.form
        )
        cut = sum(row.truncated for row in rows)
        longest = max((len(row.input_ids) for row in rows), default=0)
        found = f"{split}: {cut} of the first {len(rows)} docs will be cut"
        line = f"{found} (longest {longest} tokens of {context})"
        findings.add(
            Findings(notices=[Notice(line, "raise model.max_length if the model reads more")])
            if cut
            else Findings(facts=[line])
        )
    return findings


def pair_notices(tokenizer: Any, text_fields: Sequence[str] | None) -> list[Notice]:
    """Found with a recipe's tokenizer: a notice where it writes the two texts of a head's pair
    without a gap, like most of causal models."""
    count = tokenizer.num_special_tokens_to_add
    if text_fields is None or len(text_fields) < 2 or count(pair=True) > count(pair=False):
        return []
    return [
        Notice(
            f"the tokenizer puts nothing between {' and '.join(text_fields)}",
            "leave task.text_fields out to read the task's prompt",
        )
    ]


def check_prompts(
    checked: Checked,
    split: Split,
    section: EvalSection,
    protocol: Protocol,
    reader: _Reader,
) -> Findings:
    """How long the first prompts of a split are, few-shot examples included, and how many of them
    will be cut."""
    tokenizer, context, _ = reader
    task, encoder = checked.tasks[split], Encoder(tokenizer)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return Findings(facts=[f"{split}: running text is read in windows of {context} tokens"])
    shots = find_shots(task, protocol)
    if shots:
        shots.install(task, section.seed)
    chosen = chosen_docs(len(task.eval_docs), split, section)[0][:_PROMPTS_LOOKED_AT]
    room = context - int(
        {**(task.config.generation_kwargs or {}), **protocol.decoding}.get("max_gen_toks", 0)
    )
    with compiled_templates():
        prompts = [checked.form.render(task, task.eval_docs[i], protocol.shots) for i in chosen]
    if task.OUTPUT_TYPE == "multiple_choice" and not task.multiple_input:
        delimiter = checked.form.delimiter(task)
        for i in chosen:
            answers = [f"{delimiter}{choice}" for choice in task.doc_to_choice(task.eval_docs[i])]
            ids = [encoder.tok_encode(answer, add_special_tokens=False) for answer in answers]
            refuse_equal([("", answer) for answer in answers], ids)
    encoded = [encoder.tok_encode(prompt) for prompt in prompts]
    for prompt_ids in encoded:
        reader.check(prompt_ids)
    lengths = list(map(len, encoded))
    cut = sum(length > room for length in lengths)
    behind = f" after {protocol.shots} examples" if protocol.shots else ""
    line = (
        f"{split}: {cut} of the first {len(lengths)} prompts will be cut (longest {max(lengths)} "
        f"tokens of {room}{behind})"
    )
    if not cut:
        return Findings(facts=[line])
    return Findings(notices=[Notice(line, "lower eval.num_fewshot, or raise model.max_length")])


def describe_work(recipe: Recipe, checked: Checked, examples: Rows) -> str:
    """What a run of the checked recipe will do, in one line: optimizer steps, tokens read, docs
    scored for base and tuned."""
    work, scored = count_work(recipe, examples), count_scored(checked, recipe.eval)
    return (
        f"forecast: {counted(work.steps, 'step')} of {recipe.train.effective_batch_size} rows "
        f"({epochs(work.epochs)}, "
        f"{tokens(work.tokens_read)} read), {counted(scored, 'doc')} scored with base and tuned "
        "each"
    )
