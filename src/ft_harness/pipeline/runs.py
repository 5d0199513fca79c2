"""Runs that load a model: base -> train -> tuned -> report, or one part of it; and saved responses
that are scored again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ft_harness import processes
from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.requirements import read_requirements
from ft_harness.errors import raise_problems
from ft_harness.evaluation import check_complete
from ft_harness.evaluation.backends import server
from ft_harness.evaluation.rescore import Definition, score_again
from ft_harness.models.adapters import CARD_FILE, AdapterFolder
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.heads import HEAD_FILE, find_init, plan_head
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.pipeline.adapter_runs import study_of
from ft_harness.pipeline.experiment import Experiment, Say
from ft_harness.pipeline.explanations import TrainingDocs
from ft_harness.pipeline.finished import note_finished
from ft_harness.pipeline.power import say_power
from ft_harness.pipeline.preflight import Checked, check_required
from ft_harness.pipeline.publication import card_of_folder, finish_adapters
from ft_harness.pipeline.reading import Reading
from ft_harness.pipeline.report_files import open_folder, write_study
from ft_harness.pipeline.reports import find_study
from ft_harness.pipeline.serving import serve, serve_alone
from ft_harness.pipeline.stages import (
    Stage,
    adapter_problems,
    check_experiment,
    save_recipe,
    score_adapter,
    score_base,
    train_stage,
)
from ft_harness.records import RECORD_FILE, Card, Evaluation
from ft_harness.records.finding import load_records
from ft_harness.report.terminal_page import score_page
from ft_harness.storage import check_kept, sha256_file
from ft_harness.tasks.rendering import answer_text
from ft_harness.training import parent_of


def run(
    experiments: Sequence[Experiment],
    report_name: str,
    say: Say,
    require: Sequence[str] = (),
    command: str | None = None,
) -> tuple[Study, Path]:
    """The run of `run`, with models: base scores, adapter and report for each experiment, with one
    load of a base model.

    Whatever is finished is reused, so the same call again continues.

    Args:
        require: what the caller will look for in the study; it must be scored.
        command: what makes the report again; None: the run of the first experiment.

    Returns:
        The study and the path of its report.

    Raises:
        ConfigError: what is required can't be read, or is not scored.
        IncompleteError: some items have no score; the report is there and leaves their evaluations
            out.
        StorageLostError: an output folder was lost, or what was saved in it.
    """
    processes.refuse_several(
        "a whole run", "ft-harness train RECIPE, then ft-harness eval RECIPE --adapter FOLDER,"
    )
    folder = open_folder(experiments[0].out, report_name)
    required = read_requirements(require)
    reading = Reading()
    checked = [check_experiment(each, trains=True, reading=reading) for each in experiments]
    check_required(required, checked)
    loaded: dict[str, BaseModel] = {}
    made = [
        _make_and_score(experiment, found, loaded, say)
        for experiment, found in zip(experiments, checked, strict=True)
    ]
    evaluations = [each for found in made for each in found]
    # A folder that was lost on the way shows here, not as a gap in the report.
    check_kept(each.folder / RECORD_FILE for each in evaluations)
    study = study_of(experiments, evaluations, report_name, command)
    training = {
        each.name: TrainingDocs(
            found.tasks["train"].eval_docs, partial(answer_text, found.tasks["train"])
        )
        for each, found in zip(experiments, checked, strict=True)
    }
    with compiled_templates():
        study, path = write_study(study, evaluations, folder, training=training)
    finish_adapters(study, evaluations, say)
    check_complete(evaluations)
    # Last: only what is complete may be taken for finished by the next call.
    for experiment, found in zip(experiments, made, strict=True):
        note_finished(experiment, found)
    return study, path


def _make_and_score(
    experiment: Experiment, found: Checked, loaded: dict[str, BaseModel], say: Say
) -> list[Evaluation]:
    """The evaluations of the base and of the adapter, which is made between them."""
    stage = Stage(experiment, found, load_base(loaded, experiment, found))
    plan = stage.training_plan()  # before anything is scored: its faults are the recipe's
    save_recipe(experiment, plan, say)
    scoring = serve(stage, say)
    of_base = score_base(scoring, say)
    say_power(of_base, experiment.recipe.task.name, say)
    train_stage(stage, plan, say)
    check_kept([experiment.folder / CARD_FILE])
    return [*of_base, *score_adapter(scoring, AdapterFolder(experiment.folder), say)]


def train_only(experiment: Experiment, say: Say) -> Card:
    """The run of `train`: make the adapter of one experiment without scoring. Started in several
    processes, they share each step's rows."""
    processes.begin()
    checked = check_experiment(experiment, trains=True)
    stage = Stage(experiment, checked, load_base({}, experiment, checked))
    plan = stage.training_plan()
    save_recipe(experiment, plan, say)
    card = train_stage(stage, plan, say)
    if processes.rank() == 0:
        card_of_folder(AdapterFolder(experiment.folder), experiment.out, say)
    return card


def evaluate_only(
    experiment: Experiment, found: Sequence[AdapterFolder], say: Say
) -> list[Evaluation]:
    """The run of `eval`: score the base, and the adapters that were found, without training; one
    load of the base serves all, but for adapters whose classification heads were drawn differently:
    the base of each is one with its own head.

    Started in several processes, they share the docs.
    """
    processes.refuse_parts("ft-harness eval")
    processes.begin()
    checked = check_experiment(experiment, trains=False)
    raise_problems(
        [problem for one in found for problem in adapter_problems(experiment, one, checked)]
    )
    score = _score_here if experiment.recipe.eval.server is None else _score_served
    evaluations = score(experiment, checked, found, say)
    check_kept(each.folder / RECORD_FILE for each in evaluations)
    for adapter in found:
        if adapter.card is not None and processes.rank() == 0:
            card_of_folder(adapter, experiment.out, say)
    return evaluations


def _score_here(
    experiment: Experiment, checked: Checked, found: Sequence[AdapterFolder], say: Say
) -> list[Evaluation]:
    """Base and adapters, by the weights on this machine."""
    loaded: dict[str, BaseModel] = {}
    evaluations: list[Evaluation] = []
    wanted: Sequence[AdapterFolder | None] = found or [None]
    for adapter in wanted:
        # A base is scored when it is loaded, and once for all of its adapters.
        known = set(loaded)
        drawn_for = adapter.path if adapter else None
        stage = Stage(experiment, checked, load_base(loaded, experiment, checked, drawn_for))
        evaluations += score_base(stage, say) if set(loaded) > known else []
        evaluations += score_adapter(stage, adapter, say) if adapter else []
    return evaluations


def _score_served(
    experiment: Experiment, checked: Checked, found: Sequence[AdapterFolder], say: Say
) -> list[Evaluation]:
    """Base and adapters, by the recipe's servers."""
    section = experiment.recipe.model
    weights = load_base_model(section) if server.weights_fit(section) else None
    stage = serve_alone(experiment, checked, weights, found, say)
    evaluations = score_base(stage, say)
    for adapter in found:
        evaluations += score_adapter(stage, adapter, say)
    return evaluations


def score_lines(
    evaluations: Sequence[Evaluation], known: Sequence[AdapterFolder] = ()
) -> list[str]:
    """The lines that a terminal shows of a run without a report: its evaluations, and where they
    are."""
    lines = score_page(*find_study(evaluations, known))
    names: dict[Path, list[str]] = {}
    for each in evaluations:
        names.setdefault(each.folder.parent, []).append(each.folder.name)
    return [*lines, *(f"{folder}: {', '.join(found)}" for folder, found in names.items())]


def rescore_all(
    results: Sequence[Path], task: str | None, include_path: str | None, trust_code: bool
) -> list[Evaluation]:
    """The run of `rescore`: saved responses are scored with a task's metrics as they are now."""
    return score_again(load_records(list(results)), Definition(task, include_path, trust_code))


def load_base(
    loaded: dict[str, BaseModel],
    experiment: Experiment,
    checked: Checked,
    adapter: Path | None = None,
) -> BaseModel:
    """For runs: the base model with the head that the recipe asks for, loaded once for equal
    sections and equal heads.

    Args:
        loaded: bases that there are already; this one is among them afterwards.
        adapter: the folder whose freshly drawn head is the base's; None: the experiment's own.
    """
    section = experiment.recipe.model
    plan = plan_head(experiment.recipe, checked.tasks.values())
    if plan is not None:
        # a head that is trained on is the one that was drawn then
        drawn_for = adapter or parent_of(experiment.recipe)
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
