"""Whole runs: base -> train -> tuned -> report, or a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ft_harness import processes
from ft_harness.comparison.aggregator import AdapterRun, Study, aggregate
from ft_harness.comparison.cases import CASES_FILE, read_cases
from ft_harness.comparison.power import power_of_run
from ft_harness.comparison.requirements import Requirement, check_names
from ft_harness.comparison.sentences import state_power
from ft_harness.errors import InputError, raise_problems
from ft_harness.evaluation import check_complete
from ft_harness.evaluation.rescore import Definition, score_again
from ft_harness.models.adapters import AdapterFolder
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.heads import HEAD_FILE, find_init, plan_head
from ft_harness.models.lm_eval_private import compiled_templates
from ft_harness.paths import reports_dir
from ft_harness.pipeline.adapter_runs import read_run
from ft_harness.pipeline.experiment import Experiment, demo_experiments
from ft_harness.pipeline.explanations import TrainingDocs, explain, find_explorer, find_outliers
from ft_harness.pipeline.preflight import Checked
from ft_harness.pipeline.publication import card_of_folder, write_model_card
from ft_harness.pipeline.report_files import write_report
from ft_harness.pipeline.stages import (
    Say,
    Stage,
    adapter_problems,
    check_experiment,
    score_adapter,
    score_base,
    settle,
    train_stage,
)
from ft_harness.records import Card, Evaluation, load_records
from ft_harness.storage import sha256_file
from ft_harness.tasks.rendering import answer_text
from ft_harness.training import parent_of


def run(
    experiments: Sequence[Experiment],
    report_name: str,
    say: Say,
    required: Sequence[Requirement] = (),
    command: str | None = None,
) -> tuple[Study, Path]:
    """Base, adapter and report for each experiment; they share one load of a base model.

    Whatever is finished is reused, so the same call again continues.

    Args:
        required: what the caller will look for in the study; it must be scored.
        command: what makes the report again; None: the run of the first experiment.

    Returns:
        The study and the path of its report.

    Raises:
        ConfigError: something is required that is not scored.
        IncompleteError: memory was not enough for some items; the report is there and leaves their
            evaluations out.
    """
    processes.refuse_several(
        "a whole run", "ft-harness train RECIPE, then ft-harness eval RECIPE --adapter FOLDER,"
    )
    folder = reports_dir(experiments[0].out) / report_name
    read_cases(
        folder / CASES_FILE
    )  # before anything is computed: a damaged one would end the run at its report
    checked = [check_experiment(experiment, trains=True) for experiment in experiments]
    for found in checked:
        metrics = next(iter(found.tasks.values())).higher_is_better()
        check_names(required, metrics, has_controls=bool(found.controls))
    loaded: dict[str, BaseModel] = {}
    evaluations: list[Evaluation] = []
    runs: list[AdapterRun] = []
    for experiment, found in zip(experiments, checked, strict=True):
        stage = Stage(experiment, found, load_base(loaded, experiment, found))
        plan = stage.training_plan()  # before anything is scored: its faults are the recipe's
        settle(experiment, plan, say)
        of_base = score_base(stage, say)
        _say_power(of_base, experiment.recipe.task.name, say)
        evaluations += of_base
        train_stage(stage, plan, say)
        adapter = AdapterFolder(experiment.folder)
        evaluations += score_adapter(stage, adapter, say)
        runs.append(read_run(adapter))
    again = command or experiments[0].repeating_command()
    study = aggregate(evaluations, runs, name=report_name, command=again)
    training = {
        each.name: TrainingDocs(
            found.tasks["train"].eval_docs, partial(answer_text, found.tasks["train"])
        )
        for each, found in zip(experiments, checked, strict=True)
    }
    with compiled_templates():
        study = explain(study, evaluations, folder, training=training)
    explorer = find_explorer(study, evaluations)
    path = write_report(
        study, folder, outliers=find_outliers(study, evaluations), explorer=explorer
    )
    for made, experiment in zip(runs, experiments, strict=True):
        write_model_card(made, study, experiment.folder, say)
    check_complete(evaluations)
    return study, path


def demo(out: Path, say: Say) -> tuple[Study, Path]:
    """The bundled experiments, in one report."""
    return run(demo_experiments(out), "demo", say, command="ft-harness demo")


def _say_power(evaluations: Sequence[Evaluation], task: str, say: Say) -> None:
    """Say what the scored items of the trained task can show, before anything is trained; nothing
    where too few have a score."""
    for evaluation in evaluations:
        settings = evaluation.record.settings
        if settings.task != task or settings.split == "train":
            continue
        if evaluation.record.status != "complete":
            continue
        try:
            found = power_of_run(evaluation)
        except InputError:
            continue
        say(f"{settings.split}: {state_power(found)[0]}")


def train_only(experiment: Experiment, say: Say) -> Card:
    """Make the adapter of one experiment without scoring. Started in several processes, they share
    each step's rows."""
    processes.begin()
    checked = check_experiment(experiment, trains=True)
    stage = Stage(experiment, checked, load_base({}, experiment, checked))
    plan = stage.training_plan()
    settle(experiment, plan, say)
    card = train_stage(stage, plan, say)
    if processes.rank() == 0:
        card_of_folder(AdapterFolder(experiment.folder), experiment.out, say)
    return card


def evaluate_only(experiment: Experiment, folders: Sequence[Path], say: Say) -> list[Evaluation]:
    """Score the base, and the adapters in these folders, without training; one load of the base
    serves all, but for adapters whose classification heads were drawn differently: the base of each
    is one with its own head.

    Started in several processes, they share the docs.
    """
    processes.refuse_parts("ft-harness eval")
    processes.begin()
    checked = check_experiment(experiment, trains=False)
    found = [AdapterFolder(folder) for folder in folders]
    raise_problems(
        [problem for one in found for problem in adapter_problems(experiment, one, checked)]
    )
    loaded: dict[str, BaseModel] = {}
    evaluations: list[Evaluation] = []
    wanted: Sequence[AdapterFolder | None] = found or [None]
    for adapter in wanted:
        known = set(loaded)
        drawn_for = adapter.path if adapter else None
        stage = Stage(experiment, checked, load_base(loaded, experiment, checked, drawn_for))
        evaluations += score_base(stage, say) if set(loaded) > known else []
        evaluations += score_adapter(stage, adapter, say) if adapter else []
    for adapter in found:
        if adapter.card is not None and processes.rank() == 0:
            card_of_folder(adapter, experiment.out, say)
    return evaluations


def rescore_all(
    results: Sequence[Path], task: str | None, include_path: str | None, trust_code: bool
) -> list[Evaluation]:
    """Saved responses, scored with a task's metrics as they are now."""
    return score_again(load_records(list(results)), Definition(task, include_path, trust_code))


def load_base(
    loaded: dict[str, BaseModel],
    experiment: Experiment,
    checked: Checked,
    adapter: Path | None = None,
) -> BaseModel:
    """The base model with the head that the recipe asks for; loaded once for equal sections and
    equal heads.

    Args:
        loaded: bases that there are already; this one is among them afterwards.
        adapter: the folder whose freshly drawn head is the base's; None: the experiment's own.
    """
    section = experiment.recipe.model
    plan = plan_head(experiment.recipe, checked.tasks.values())
    if plan is not None:
        drawn_for = adapter or parent_of(
            experiment.recipe
        )  # a head that is trained on is the one that was drawn then
        given = drawn_for / HEAD_FILE if drawn_for else None
        init = given if given and given.is_file() else find_init(experiment.folder, plan)
        plan = replace(plan, init=init)
    head = (
        (replace(plan, init=None), sha256_file(plan.init) if plan.init else None) if plan else None
    )
    key = f"{section.model_dump_json()} {head}"
    if key not in loaded:
        loaded[key] = load_base_model(section, plan)
    return loaded[key]
