"""base -> train -> tuned -> report: the only room that strings training, evaluation and report together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ft_harness import adapters, preflight, storage
from ft_harness.aggregator import AdapterRun, Study, aggregate
from ft_harness.base_model import BaseModel, load_base_model, load_context, load_tokenizer
from ft_harness.data_report import DATA_REPORT_FILE, read_data_report
from ft_harness.errors import ConfigError, FtHarnessError, InputError, ProblemsError, raise_problems
from ft_harness.evaluation import Job, ModelState, base_subject, chosen_docs, evaluate, finished, plan_jobs
from ft_harness.examples import Encoder, Example, build_examples, describe_examples, mark_trained, prompt_of, trains_eos
from ft_harness.fewshot import find_shots
from ft_harness.files import Split
from ft_harness.paths import adapters_dir, bundled_recipe, reports_dir, results_dir
from ft_harness.plots import Form, before_after, loss_curve
from ft_harness.preflight import Checked
from ft_harness.prompts import compiled_templates
from ft_harness.recipe import EvalSection, ModelSection, Recipe, check_name, keep_recipe, load_recipe, recipe_file
from ft_harness.records import Card, Evaluation, load_records
from ft_harness.report import render_markdown, rows_json
from ft_harness.storage import locked, write_bytes, write_text
from ft_harness.tasks import TaskSpec, load_tasks
from ft_harness.training import TrainingSet, build_training_set, finished_card, train

Say = Callable[[str], None]
DEMO_NAMES = ("demo-sentiment", "demo-nli", "demo-qa")
FORMS: tuple[Form, ...] = ("png", "svg")
_PROOF_PROMPTS = 8
_PROMPTS_LOOKED_AT = 200  # of each scored split, by check


@dataclass(frozen=True)
class Experiment:
    """One adapter to be made and measured.

    Attributes:
        name: the adapter's name, also its folder's and its subject's.
        source: the recipe's file.
        out: the working folder with `adapters/` and `results/`.
        command: what makes the report again, for the report.
        trust_task_code: run the code that a task from elsewhere names.
    """

    name: str
    recipe: Recipe
    source: Path
    out: Path
    command: str
    trust_task_code: bool = False

    @property
    def folder(self) -> Path:
        return adapters_dir(self.out) / self.name


@dataclass(frozen=True)
class Stage:
    """An experiment whose recipe was checked, with the loaded base."""

    experiment: Experiment
    checked: Checked
    base: BaseModel

    def jobs(self) -> list[Job]:
        recipe = self.experiment.recipe
        wanted = {split: self.checked.tasks[split] for split in recipe.eval.splits}
        return plan_jobs(wanted, self.checked.task_hash, self.base, recipe.eval, self.checked.form)

    def base_state(self) -> ModelState:
        return ModelState(base_subject(self.experiment.recipe.model.pretrained), self.base)

    def training_set(self) -> TrainingSet:
        checked = self.checked
        return build_training_set(checked.tasks, self.base, self.experiment.recipe, checked.task_hash, checked.form)

    def proof_prompts(self) -> list[str]:
        """A few real prompts, on which the adapter must change what the model says."""
        task = next(iter(self.checked.tasks.values()))
        return [prompt_of(task, doc, self.checked.form) for doc in list(task.eval_docs)[:_PROOF_PROMPTS]]


def check_experiment(experiment: Experiment, *, trains: bool) -> Checked:
    """Preflight: everything that can be found wrong before a model is loaded."""
    folders = [results_dir(experiment.out), *([experiment.folder] if trains else [])]
    return preflight.check(experiment.recipe, folders, trains=trains, trust_code=experiment.trust_task_code)


def check_rows(experiment: Experiment, checked: Checked) -> list[str]:
    """Build the training rows, and prompts of each scored split, with the tokenizer alone: boundaries, lengths, trained
    tokens and cuts.

    Raises:
        InputError: prompts that end in white space, tokens that merge at the boundary, BOS twice, or too long answers.
    """
    recipe, task = experiment.recipe, checked.tasks["train"]
    tokenizer, context = load_tokenizer(recipe.model), load_context(recipe.model)
    eos = trains_eos(task, recipe.train.loss_on_eos)
    examples = build_examples(task, list(task.eval_docs), tokenizer, context, eos=eos, form=checked.form)
    lines = [describe_examples(examples, eos), forecast(recipe, checked, examples)]
    return lines + [describe_prompts(checked, split, recipe.eval, tokenizer, context) for split in recipe.eval.splits]


def describe_prompts(checked: Checked, split: Split, settings: EvalSection, tokenizer: Any, context: int) -> str:
    """How long the first prompts of a split are, few-shot examples included, and how many of them will be cut."""
    task, encoder = checked.tasks[split], Encoder(tokenizer)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return f"{split}: running text is read in windows of {context} tokens"
    shots = find_shots(task, settings)
    if shots:
        shots.install(task, settings.seed)
    chosen = chosen_docs(len(task.eval_docs), split, settings)[0][:_PROMPTS_LOOKED_AT]
    room = context - int((task.config.generation_kwargs or {}).get("max_gen_toks", 0))
    with compiled_templates():
        prompts = [checked.form.render(task, task.eval_docs[i], settings.num_fewshot) for i in chosen]
    lengths = [len(encoder.tok_encode(prompt)) for prompt in prompts]
    cut = sum(length > room for length in lengths)
    warning = "; WARNING: fewer eval.num_fewshot or a larger model.max_length" if cut else ""
    found = f"{cut} of the first {len(lengths)} prompts will be cut"
    return f"{split}: {found} (longest {max(lengths)} tokens of {room}){warning}"


def forecast(recipe: Recipe, checked: Checked, examples: Sequence[Example]) -> str:
    """What a run of the recipe will do, in one line: optimizer steps, tokens read, docs scored for base and tuned."""
    train, steps = recipe.train, recipe.train.planned_steps(len(examples))
    batch = train.per_device_train_batch_size * train.gradient_accumulation_steps
    epochs = steps * batch / len(examples)
    tokens = sum(len(example.input_ids) for example in examples) * epochs
    scored = sum(len(chosen_docs(len(checked.tasks[s].eval_docs), s, recipe.eval)[0]) for s in recipe.eval.splits)
    return (
        f"forecast: {steps} steps of {batch} rows ({epochs:.2g} epochs, {tokens / 1e6:.2g} M tokens read), "
        f"{scored} docs scored with base and tuned each"
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
                found += [preflight.check_baseline(checked.tasks, checked.form)] if baseline else []
            else:
                found = preflight.check_task(spec(name), baseline=baseline)
            report += found if len(names) == 1 else [f"{name}: {line}" for line in found]
        except ProblemsError as error:
            problems += error.problems
        except FtHarnessError as error:
            problems.append(error)
    raise_problems(problems)
    if not report:
        raise ConfigError("nothing was checked", "recipes or names of tasks", "see ft-harness tasks list")
    return report


def _prepare(experiment: Experiment) -> Checked:
    """Preflight, then the recipe into its adapter folder: nothing is kept of a recipe that can't run."""
    checked = check_experiment(experiment, trains=True)
    keep_recipe(experiment.source, experiment.recipe, experiment.folder)
    return checked


def train_stage(stage: Stage, data: TrainingSet, say: Say) -> Card:
    """Make the adapter, or find it finished.

    Raises:
        InputError: the folder holds a finished adapter of another recipe, or another process works in it.
        NonFiniteError: the loss or gradient became NaN or infinite.
    """
    experiment = stage.experiment
    with locked(experiment.folder):
        card = finished_card(experiment.folder, experiment.recipe, stage.base, data)
        _keep_data_report(stage)
        if card is not None:
            say(f"{experiment.name}: the adapter is finished already")
            return card
        tokens = sum(len(example.answer_ids) for example in data.examples)
        say(f"{experiment.name}: training on {len(data.examples)} examples ({tokens} trained tokens)")
        return train(experiment.recipe, stage.base, data, experiment.folder)


def _keep_data_report(stage: Stage) -> None:
    """The data report into the adapter's folder: reports are made from files later."""
    if stage.checked.data is not None:
        text = stage.checked.data.model_dump_json(indent=2) + "\n"
        write_text(stage.experiment.folder / DATA_REPORT_FILE, text)


def score_base(stage: Stage, say: Say) -> list[Evaluation]:
    """Score the base model on the experiment's splits, or find them scored."""
    return _score(stage.base_state(), stage, say)


def score_adapter(stage: Stage, folder: Path, say: Say) -> list[Evaluation]:
    """Check the adapter, prove that it changes the base, and score it on the same docs."""
    with adapters.attached(folder, stage.base, stage.proof_prompts(), stage.checked.form) as (tuned, info):
        state = ModelState(info.name, tuned, info)
        return _score(state, stage, say)


def _score(state: ModelState, stage: Stage, say: Say) -> list[Evaluation]:
    results, jobs = results_dir(stage.experiment.out), stage.jobs()
    for job in jobs:
        known = "scored already" if finished(state, job, results) else f"scoring {len(job.doc_ids)} docs"
        say(f"{state.subject}: {job.eval_id}, {known}")
    return evaluate(state, jobs, results)


def run(experiments: Sequence[Experiment], report_name: str, say: Say) -> tuple[Study, Path]:
    """Base, adapter and report for each experiment; they share one load of a base model.

    Whatever is finished is reused, so the same call again continues.

    Returns:
        The study and the path of its report.
    """
    checked = [_prepare(experiment) for experiment in experiments]
    loaded: dict[str, BaseModel] = {}
    evaluations: list[Evaluation] = []
    runs: list[AdapterRun] = []
    for experiment, found in zip(experiments, checked, strict=True):
        key = experiment.recipe.model.model_dump_json()
        if key not in loaded:
            loaded[key] = load_base_model(experiment.recipe.model)
        stage = Stage(experiment, found, loaded[key])
        data = stage.training_set()  # before anything is scored: its faults are the recipe's
        finished_card(experiment.folder, experiment.recipe, stage.base, data)
        evaluations += score_base(stage, say)
        card = train_stage(stage, data, say)
        evaluations += score_adapter(stage, experiment.folder, say)
        runs.append(AdapterRun(card=card, history=adapters.read_history(experiment.folder), data=found.data))
    first = experiments[0]
    study = aggregate(evaluations, runs, name=report_name, command=first.command)
    return study, write_report(study, reports_dir(first.out) / report_name)


def train_only(experiment: Experiment, say: Say) -> Card:
    """Make the adapter of one experiment without scoring."""
    stage = Stage(experiment, _prepare(experiment), load_base_model(experiment.recipe.model))
    return train_stage(stage, stage.training_set(), say)


def evaluate_only(experiment: Experiment, adapter: Path | None, say: Say) -> list[Evaluation]:
    """Score the base, and an adapter if one is given, without training."""
    checked = check_experiment(experiment, trains=False)
    raise_problems(adapters.problems(adapter, checked.form) if adapter else [])
    stage = Stage(experiment, checked, load_base_model(experiment.recipe.model))
    evaluations = score_base(stage, say)
    return evaluations + (score_adapter(stage, adapter, say) if adapter else [])


def report_only(paths: Sequence[Path], out: Path, name: str, command: str) -> tuple[Study, Path]:
    """A report from finished evaluations below the given folders.

    Raises:
        InputError: nothing is found, or no base has a partner.
        NotComparableError: base and tuned were not measured the same way.
    """
    raise_problems(storage.problems(reports_dir(out) / check_name(name)))
    evaluations = load_records(list(paths))
    scored = {e.record.adapter.identity: e.record.adapter for e in evaluations if e.record.adapter}
    runs: list[AdapterRun] = []
    missing: list[str] = []
    for info in scored.values():
        folder = Path(info.path)
        card = adapters.read_card(folder) if folder.is_dir() else None
        if card is not None and adapters.identity(folder) == info.identity:
            history, data = adapters.read_history(folder), read_data_report(folder)
            runs.append(AdapterRun(card=card, history=history, data=data))
        else:
            missing.append(f"{info.name}: its adapter folder was not found here, so cost and loss curve are left out.")
    study = aggregate(evaluations, runs, name=name, command=command)
    study = study.model_copy(update={"notes": [*study.notes, *missing]})
    if not study.comparisons:
        raise InputError(
            "no adapter's evaluation has a base evaluation of the same task, split and settings",
            "both, made by ft-harness run or eval",
            "score the base on the same recipe first",
        )
    return study, write_report(study, reports_dir(out) / name)


def write_report(study: Study, folder: Path) -> Path:
    """Write report.md, rows.json and the figures (png and svg); the report's path."""
    draws: dict[str, Callable[[Form], bytes]] = {"before_after": partial(before_after, study)}
    draws |= {f"loss:{run.card.name}": partial(loss_curve, run) for run in study.adapters}
    figures: dict[str, str] = {}
    for key, draw in draws.items():
        stem = key.replace(":", "_")
        for form in FORMS:
            write_bytes(folder / f"{stem}.{form}", draw(form))
        figures[key] = f"{stem}.png"
    write_text(folder / "rows.json", rows_json(study))
    path = folder / "report.md"
    write_text(path, render_markdown(study, figures))
    return path


def show_task(spec: TaskSpec, pretrained: str, count: int) -> list[str]:
    """The first docs of a task's train split as training text, trained tokens in square brackets."""
    tokenizer = load_tokenizer(ModelSection(pretrained=pretrained))
    task = load_tasks(spec, ["train"])["train"]
    docs = list(task.eval_docs)[:count]
    examples = build_examples(task, docs, tokenizer, tokenizer.model_max_length, eos=trains_eos(task, None))
    return [mark_trained(example, tokenizer) for example in examples]


def demo_experiments(out: Path) -> list[Experiment]:
    """The bundled experiments: one adapter a task on the bundled model."""
    experiments: list[Experiment] = []
    for name in DEMO_NAMES:
        file = bundled_recipe(name)
        experiments.append(Experiment(name, load_recipe(file), file, out, "ft-harness demo"))
    return experiments
