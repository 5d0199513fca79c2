"""What can be found wrong, and foreseen, before a model is loaded: the work of `check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ft_harness.comparison.amounts import counted, epochs, tokens
from ft_harness.data.files import Split
from ft_harness.errors import ConfigError, FtHarnessError, ProblemsError, raise_problems
from ft_harness.evaluation import chosen_docs
from ft_harness.models.base_model import load_context, load_tokenizer
from ft_harness.models.encoding import Encoder
from ft_harness.models.heads import HeadPlan, plan_head
from ft_harness.models.lm_eval_private import compiled_templates
from ft_harness.pipeline import preflight
from ft_harness.pipeline.experiment import Experiment, check_experiment
from ft_harness.pipeline.preflight import Checked
from ft_harness.recipe import EvalSection, ModelSection, Protocol, Recipe, recipe_file
from ft_harness.tasks.examples import (
    Example,
    build_examples,
    describe_examples,
    mark_trained,
    train_prompts,
    trains_eos,
)
from ft_harness.tasks.fewshot import find_shots
from ft_harness.tasks.items import check_baseline
from ft_harness.tasks.loading import TaskSpec, load_tasks
from ft_harness.training import HeadExample, build_head_examples, count_work, describe_head_examples

_PROMPTS_LOOKED_AT = 200  # of each scored split, by check


def check_rows(experiment: Experiment, checked: Checked) -> list[str]:
    """Build the training rows, and prompts of each scored split, with the tokenizer alone:
    boundaries, lengths, trained tokens and cuts.

    Raises:
        InputError: prompts that end in white space, tokens that merge at the boundary, BOS twice,
            or too long answers.
    """
    recipe, task = experiment.recipe, checked.tasks["train"]
    tokenizer, context = load_tokenizer(recipe.model), load_context(recipe.model)
    plan = plan_head(recipe, checked.tasks.values())
    if plan is not None:
        return _check_head_rows(recipe, checked, plan, tokenizer, context)
    eos = trains_eos(task, recipe.train.loss_on_eos)
    examples = build_examples(
        task, list(task.eval_docs), tokenizer, context, eos=eos, form=checked.form
    )
    examples = train_prompts(examples) if recipe.train.loss_on == "prompt_and_answer" else examples
    lines = [describe_examples(examples, eos), describe_work(recipe, checked, examples)]
    lines += [
        describe_prompts(checked, split, recipe.eval, protocol, tokenizer, context)
        for split, protocol in product(recipe.eval.splits, recipe.eval.protocols())
    ]
    return list(dict.fromkeys(lines))  # decodings of the same prompts


def _check_head_rows(
    recipe: Recipe, checked: Checked, plan: HeadPlan, tokenizer: Any, context: int
) -> list[str]:
    """The same for a classification head, which has no answer tokens."""
    task = checked.tasks["train"]
    examples = build_head_examples(
        task, list(task.eval_docs), tokenizer, context, plan, checked.form
    )
    lines = [
        describe_head_examples(examples, plan.labels),
        describe_work(recipe, checked, examples),
    ]
    unparted = describe_pairs(tokenizer, plan.text_fields)
    lines += [unparted] if unparted else []
    for split in recipe.eval.splits:
        scored = checked.tasks[split]
        docs = [
            scored.eval_docs[i] for i in chosen_docs(len(scored.eval_docs), split, recipe.eval)[0]
        ]
        rows = build_head_examples(
            scored, docs[:_PROMPTS_LOOKED_AT], tokenizer, context, plan, checked.form
        )
        cut, longest = (
            sum(row.truncated for row in rows),
            max((len(row.input_ids) for row in rows), default=0),
        )
        warning = "; WARNING: raise model.max_length if the model reads more" if cut else ""
        found = f"{cut} of the first {len(rows)} docs will be cut"
        lines.append(f"{split}: {found} (longest {longest} tokens of {context}){warning}")
    return lines


def describe_pairs(tokenizer: Any, text_fields: Sequence[str] | None) -> str | None:
    """A warning where the tokenizer, as most of causal models, writes the two texts of a pair
    without a gap."""
    count = tokenizer.num_special_tokens_to_add
    if text_fields is None or len(text_fields) < 2 or count(pair=True) > count(pair=False):
        return None
    names = " and ".join(text_fields)
    return f"WARNING: the tokenizer puts nothing between {names}; leave task.text_fields out to read the task's prompt"


def describe_prompts(
    checked: Checked,
    split: Split,
    section: EvalSection,
    protocol: Protocol,
    tokenizer: Any,
    context: int,
) -> str:
    """How long the first prompts of a split are, few-shot examples included, and how many of them
    will be cut."""
    task, encoder = checked.tasks[split], Encoder(tokenizer)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return f"{split}: running text is read in windows of {context} tokens"
    shots = find_shots(task, protocol)
    if shots:
        shots.install(task, section.seed)
    chosen = chosen_docs(len(task.eval_docs), split, section)[0][:_PROMPTS_LOOKED_AT]
    room = context - int(
        {**(task.config.generation_kwargs or {}), **protocol.decoding}.get("max_gen_toks", 0)
    )
    with compiled_templates():
        prompts = [checked.form.render(task, task.eval_docs[i], protocol.shots) for i in chosen]
    lengths = [len(encoder.tok_encode(prompt)) for prompt in prompts]
    cut = sum(length > room for length in lengths)
    warning = "; WARNING: fewer eval.num_fewshot or a larger model.max_length" if cut else ""
    found = f"{cut} of the first {len(lengths)} prompts will be cut"
    behind = f" behind {protocol.shots} examples" if protocol.shots else ""
    return f"{split}: {found} (longest {max(lengths)} tokens of {room}{behind}){warning}"


def describe_work(
    recipe: Recipe, checked: Checked, examples: list[Example] | list[HeadExample]
) -> str:
    """What a run of the recipe will do, in one line: optimizer steps, tokens read, docs scored for
    base and tuned."""
    work = count_work(recipe, examples)
    scored = sum(
        len(chosen_docs(len(checked.tasks[s].eval_docs), s, recipe.eval)[0])
        for s in recipe.eval.splits
    )
    scored *= len(recipe.eval.protocols())
    return (
        f"forecast: {counted(work.steps, 'step')} of {recipe.train.effective_batch_size} rows ({epochs(work.epochs)}, "
        f"{tokens(work.tokens_read)} read), {counted(scored, 'doc')} scored with base and tuned each"
    )


def check_all(
    names: Sequence[str],
    experiment: Callable[[Path], Experiment],
    spec: Callable[[str], TaskSpec],
    *,
    baseline: bool = False,
) -> list[str]:
    """What was checked, a line each: recipes (whatever is a path) and tasks (all else).

    Args:
        baseline: say too what the last text field alone gives away.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with those of all names.
    """
    report: list[str] = []
    problems: list[FtHarnessError] = []
    for name in names:
        try:
            if recipe_file(name).is_file() or Path(name).name != name:
                made = experiment(Path(name))
                checked = check_experiment(made, trains=True)
                found = [*checked.report, *check_rows(made, checked)]
                found += [check_baseline(checked.tasks, checked.form)] if baseline else []
            else:
                found = preflight.check_task(spec(name), baseline=baseline)
            report += found if len(names) == 1 else [f"{name}: {line}" for line in found]
        except ProblemsError as error:
            problems += error.problems
        except FtHarnessError as error:
            problems.append(error)
    raise_problems(problems)
    if not report:
        raise ConfigError(
            "nothing was checked", "recipes or names of tasks", "see ft-harness tasks list"
        )
    return report


def show_task(spec: TaskSpec, pretrained: str, count: int) -> list[str]:
    """The first docs of a task's train split as training text, trained tokens in square
    brackets."""
    tokenizer = load_tokenizer(ModelSection(pretrained=pretrained))
    task = load_tasks(spec, ["train"])["train"]
    docs = list(task.eval_docs)[:count]
    examples = build_examples(
        task, docs, tokenizer, tokenizer.model_max_length, eos=trains_eos(task, None)
    )
    return [mark_trained(example, tokenizer) for example in examples]
