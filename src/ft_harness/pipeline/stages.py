"""The stages of an experiment (check it, score the base, make the adapter or go on with it, score
it), and the faults that each can have before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ft_harness import processes, storage
from ft_harness.data.data_report import DATA_REPORT_FILE
from ft_harness.errors import (
    Findings,
    FtHarnessError,
    Notice,
    ResourceError,
    StorageLostError,
    raise_problems,
)
from ft_harness.evaluation import Job, ModelState, evaluate, finished, plan_jobs
from ft_harness.evaluation.backends import server
from ft_harness.models import adapters
from ft_harness.models.adapters import AdapterFolder
from ft_harness.models.base_model import BaseModel
from ft_harness.models.heads import Texts, read_texts
from ft_harness.paths import results_dir
from ft_harness.pipeline import preflight
from ft_harness.pipeline.experiment import Experiment, Say
from ft_harness.pipeline.forecast_lines import summarise
from ft_harness.pipeline.preflight import Checked, Scope
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.training_scores import plan_scorer
from ft_harness.recipe import RECIPE_FILE, TrainSection, keep_recipe
from ft_harness.records import Card, Evaluation, base_subject, write_kept
from ft_harness.storage import check_kept, locked
from ft_harness.tasks.examples import prompt_of
from ft_harness.tasks.rendering import RenderedTask, answer_text
from ft_harness.training import (
    Forecast,
    TrainingPlan,
    build_training_set,
    check_unfinished,
    clear_checkpoints,
    describe_warmup,
    finished_card,
    hyperparameter_problems,
    ignored_by_optimizer,
    make_forecast,
    parent_problems,
    rate_problems,
    sharding_problems,
    tracker_problems,
    train,
)

_PROOF_PROMPTS = 4


@dataclass(frozen=True)
class Stage:
    """An experiment whose recipe was checked, with the loaded base."""

    experiment: Experiment
    checked: Checked
    base: BaseModel

    def jobs(self) -> list[Job]:
        """The trained task's splits, then the control tasks."""
        recipe, form = self.experiment.recipe, self.checked.form
        wanted = {split: self.checked.tasks[split] for split in recipe.eval.splits}
        jobs = plan_jobs(wanted, self.checked.definition.task_hash, self.base, recipe.eval, form)
        for each in self.checked.controls:
            docs, identity = {each.split: each.task}, each.definition.task_hash
            scoring = recipe.controls.scoring(recipe.eval, each.split)
            planned = plan_jobs(docs, identity, self.base, scoring, form)
            jobs += [replace(job, is_control=True) for job in planned]
        return [replace(job, recipe=recipe.scoring_sections()) for job in jobs]

    def base_state(self) -> ModelState:
        return ModelState(base_subject(self.experiment.recipe.model.pretrained), self.base)

    def training_plan(self) -> TrainingPlan:
        recipe, checked = self.experiment.recipe, self.checked
        data = build_training_set(
            checked.tasks,
            self.base,
            recipe,
            checked.definition.training_hash,
            checked.form,
            self.experiment.folder,
        )
        return TrainingPlan(recipe, self.base, data)

    def proof_prompts(self) -> list[str | Texts]:
        """A few real prompts (a head's texts), on which the adapter must change what the model
        says."""
        fields = self.experiment.recipe.task.text_fields
        task, docs = self._first_docs(_PROOF_PROMPTS)
        return [
            read_texts(doc, fields, "") if fields else prompt_of(task, doc, self.checked.form)
            for doc in docs
        ]

    def probes(self) -> server.Probes:
        """A few real prompts and their right answers, on which servers must agree with the
        weights."""
        task, docs = self._first_docs(server.PROBES)
        form = self.checked.form
        texts = [
            (prompt_of(task, doc, form), form.delimiter(task) + answer_text(task, doc))
            for doc in docs
        ]
        return server.make_probes(self.base, texts)

    def _first_docs(self, count: int) -> tuple[RenderedTask, list[dict[str, Any]]]:
        """The task of the first split, and its first docs."""
        task = next(iter(self.checked.tasks.values()))
        return task, list(islice(task.eval_docs, count))


def check_experiment(
    experiment: Experiment,
    *,
    trains: bool,
    privacy: bool = False,
    findings: Findings | None = None,
    reading: Reading | None = None,
) -> Checked:
    """The stage that checks: everything that can be found wrong before a model is loaded.

    Args:
        privacy: look for personal data and keys in the training text.
        findings: what is found is put here too, whatever is raised.
        reading: what checks of other experiments have read.

    Raises:
        FtHarnessError: the fault, or a `ProblemsError` with all of them.
    """
    folders = [results_dir(experiment.out), *([experiment.folder] if trains else [])]
    findings = Findings() if findings is None else findings
    findings.faults += subject_problems(experiment, trains=trains)
    findings.faults += training_problems(experiment) if trains else []
    scope = Scope(trains=trains, trust_code=experiment.trust_task_code, privacy=privacy)
    checked = preflight.check(experiment.recipe, folders, scope, findings, reading)
    return check_rates(experiment.recipe.train, checked) if trains else checked


def subject_problems(experiment: Experiment, *, trains: bool) -> list[FtHarnessError]:
    """Faults of the stages that score, before they start: folders of evaluations that can't be
    written though the results folder can."""
    results = results_dir(experiment.out)
    if storage.problems(results):
        return []  # reported as such
    subjects = [base_subject(experiment.recipe.model.pretrained)]
    subjects += [experiment.name] if trains else []
    return [fault for name in subjects for fault in storage.problems(results / name)]


def check_rates(settings: TrainSection, checked: Checked) -> Checked:
    """Before the stage that trains starts: check the learning rates over the steps that the rows
    allow.

    Raises:
        InputError: it is 0 in each of them.
    """
    rows = len(checked.tasks["train"].eval_docs)
    raise_problems(rate_problems(settings, rows))
    checked.findings.notices += [
        Notice(f"train.{name} is not used: {settings.optim} doesn't take it", "leave it out")
        for name in ignored_by_optimizer(settings)
    ]
    if warning := describe_warmup(settings, rows):
        checked.findings.notices.append(
            Notice(warning.removeprefix("WARNING: "), "lower train.warmup_steps, or train longer")
        )
    return checked


def training_problems(experiment: Experiment, *, here: bool = True) -> list[FtHarnessError]:
    """Faults of the stage that trains, before it starts or goes on.

    Args:
        here: it is to run on this machine's device; else on a GPU.
    """
    recipe = experiment.recipe
    return [
        *hyperparameter_problems(recipe, here=here),
        *tracker_problems(recipe),
        *parent_problems(recipe, experiment.folder),
        *sharding_problems(recipe),
    ]


def adapter_problems(
    experiment: Experiment, adapter: AdapterFolder, checked: Checked
) -> list[FtHarnessError]:
    """Faults of the stage that scores an adapter, before the base is loaded: those of the adapter's
    folder."""
    recipe = experiment.recipe
    return adapters.problems(adapter, checked.form, recipe.model, head=recipe.adapter.has_head)


def save_recipe(experiment: Experiment, plan: TrainingPlan, say: Say) -> None:
    """In the stage that trains: write the recipe, with the `--set` changes, into the adapter
    folder.

    Raises:
        InputError: the folder holds another recipe, or an adapter (finished or not) of another one.
    """
    if processes.rank() > 0:
        return
    if finished_card(plan, experiment.folder) is None:
        check_unfinished(plan, experiment.folder)
    for change in keep_recipe(experiment.source, experiment.recipe, experiment.folder):
        say(f"{experiment.name}: recipe.yaml now says {change}")


def train_stage(
    stage: Stage, plan: TrainingPlan, say: Say, forecast: Forecast | None = None
) -> Card:
    """The stage that trains: make the adapter, or find it finished. Of several processes the first
    one locks and writes its folder.

    Args:
        forecast: of the plan, where it was made already.

    Raises:
        InputError: the folder holds a finished adapter of another recipe, or another process works
            in it.
        ResourceError: memory or disk ran out; the last checkpoint is kept.
        NonFiniteError: the loss or gradient became NaN or infinite.
    """
    experiment, data = stage.experiment, plan.data
    if processes.rank() > 0:
        return _train_along(stage, plan)
    with locked(experiment.folder) as died, resumable(experiment):
        if died is not None:
            say(
                f"{experiment.name}: the last run (process {died}) ended without saving (killed, "
                "perhaps for memory)"
            )
        card = processes.from_first(finished_card(plan, experiment.folder))
        # Before the training: a report on a killed run has it too.
        if stage.checked.data is not None:
            made_for = {"fingerprint": card.fingerprint if card else plan.fingerprint}
            report = stage.checked.data.model_copy(update=made_for)
            write_kept(stage.experiment.folder / DATA_REPORT_FILE, report)
        saved = (experiment.folder / name for name in (RECIPE_FILE, DATA_REPORT_FILE))
        before = [path for path in saved if path.is_file()]
        if card is not None:
            clear_checkpoints(experiment.folder)
            say(f"{experiment.name}: the adapter is finished already")
            return card
        trained = f"{data.trained_tokens} trained {'labels' if stage.base.head else 'tokens'}"
        cut = sum(example.truncated for example in data.examples)
        trained += f", {cut} cut to fit the context" if cut else ""
        say(f"{experiment.name}: training on {len(data.examples)} examples ({trained})")
        say(f"{experiment.name}: {summarise(forecast or make_forecast(plan))}")
        if warning := describe_warmup(experiment.recipe.train, len(data.examples)):
            say(f"{experiment.name}: {warning}")
        scorer = plan_scorer(experiment.recipe, stage.checked, stage.base)
        card = train(plan, experiment.folder, scorer, say)
        check_kept(before)
        return card


def _train_along(stage: Stage, plan: TrainingPlan) -> Card:
    """What all processes except the first do: compute their rows, and discard what they write."""
    card = processes.from_first(None)
    if card is not None:
        return card
    scorer = plan_scorer(stage.experiment.recipe, stage.checked, stage.base)
    with TemporaryDirectory(prefix="ft-harness-") as folder:
        return train(plan, Path(folder) / stage.experiment.name, scorer)


@contextmanager
def resumable(experiment: Experiment) -> Iterator[None]:
    """Context of the stage that trains: an error of memory or disk names the command that
    continues; a recipe that was removed with its folder is there again, as that command needs it.

    Raises:
        ResourceError: with that command.
    """
    try:
        yield
    except StorageLostError:
        with suppress(FtHarnessError):
            keep_recipe(experiment.source, experiment.recipe, experiment.folder)
        raise
    except ResourceError as error:
        raise ResourceError(
            error.what, error.expected, f"{error.action}: {experiment.command}"
        ) from error


def score_base(stage: Stage, say: Say) -> list[Evaluation]:
    """The stage that scores the base model on the experiment's splits, or finds them scored."""
    return _score(stage.base_state(), stage, say)


def score_adapter(stage: Stage, adapter: AdapterFolder, say: Say) -> list[Evaluation]:
    """The stage that scores the adapter: check it, prove that it changes the base, and score it on
    the same docs."""
    if isinstance(stage.base, server.ServedBase):
        return _score(_served_state(stage, stage.base, adapter, say), stage, say)
    prompts, merge = stage.proof_prompts(), stage.experiment.recipe.eval.merge
    with adapters.attached(adapter, stage.base, prompts, stage.checked.form, merge=merge) as (
        tuned,
        info,
    ):
        if info.merge_drift is not None:
            say(
                f"{info.name}: merged into the base, which changes a logit by "
                f"{info.merge_drift:.3g} at most"
            )
        state = ModelState(info.name, tuned, info)
        return _score(state, stage, say)


def _served_state(
    stage: Stage, base: server.ServedBase, adapter: AdapterFolder, say: Say
) -> ModelState:
    """An adapter on the servers, loaded there where it is missing, and proven."""
    raise_problems(server.problems(adapter, base))
    section = stage.experiment.recipe.eval.server
    name = server.find_name(adapter, base, section.adapters if section else {})
    tuned, info = server.prove_adapter(base, name, adapter, stage.probes(), stage.checked.form)
    say(f"{info.name}: {server.state_agreement(tuned)}")
    return ModelState(info.name, tuned, info)


def _score(state: ModelState, stage: Stage, say: Say) -> list[Evaluation]:
    results, jobs = results_dir(stage.experiment.out), stage.jobs()
    for job in jobs:
        known = (
            "scored already"
            if finished(state, job, results)
            else f"scoring {len(job.doc_ids)} docs"
        )
        say(f"{state.subject}: {job.label}, {known}")
    with resumable(stage.experiment):
        return evaluate(state, jobs, results)
