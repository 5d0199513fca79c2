"""Whole runs: base -> train -> tuned -> report, or a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ft_harness import adapters
from ft_harness.aggregator import AdapterRun, Study, aggregate
from ft_harness.base_model import BaseModel, load_base_model
from ft_harness.errors import raise_problems
from ft_harness.paths import reports_dir
from ft_harness.pipeline.experiment import (
    Experiment,
    Say,
    Stage,
    check_experiment,
    prepare,
    score_adapter,
    score_base,
    train_stage,
)
from ft_harness.pipeline.reports import write_report
from ft_harness.records import Card, Evaluation
from ft_harness.training import finished_card


def run(experiments: Sequence[Experiment], report_name: str, say: Say) -> tuple[Study, Path]:
    """Base, adapter and report for each experiment; they share one load of a base model.

    Whatever is finished is reused, so the same call again continues.

    Returns:
        The study and the path of its report.
    """
    checked = [prepare(experiment) for experiment in experiments]
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
    stage = Stage(experiment, prepare(experiment), load_base_model(experiment.recipe.model))
    return train_stage(stage, stage.training_set(), say)


def evaluate_only(experiment: Experiment, folders: Sequence[Path], say: Say) -> list[Evaluation]:
    """Score the base, and the adapters in these folders, without training; one load of the base serves all."""
    checked = check_experiment(experiment, trains=False)
    raise_problems([problem for folder in folders for problem in adapters.problems(folder, checked.form)])
    stage = Stage(experiment, checked, load_base_model(experiment.recipe.model))
    evaluations = score_base(stage, say)
    for folder in folders:
        evaluations += score_adapter(stage, folder, say)
    return evaluations
