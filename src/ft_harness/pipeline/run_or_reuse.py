"""A whole run: finished runs are reported; the rest is done by `runs`, which loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ft_harness import processes
from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.requirements import check_names, read_requirements
from ft_harness.pipeline.adapter_runs import study_of
from ft_harness.pipeline.experiment import Experiment, Say
from ft_harness.pipeline.finished import find_finished
from ft_harness.pipeline.power import say_power
from ft_harness.pipeline.report_files import open_folder, write_study
from ft_harness.recipe import keep_recipe
from ft_harness.records import Evaluation


def run(
    experiments: Sequence[Experiment],
    report_name: str,
    say: Say,
    require: Sequence[str] = (),
    command: str | None = None,
) -> tuple[Study, Path]:
    """A whole run: what is finished is reused, and `runs.run` is loaded only where something is to
    be made.

    Raises:
        FtHarnessError: as `runs.run`.
    """
    found = [find_finished(experiment) for experiment in experiments]
    finished = [each for each in found if each is not None]
    if len(finished) == len(experiments) and processes.count() == 1:
        return _report(
            list(zip(experiments, finished, strict=True)), report_name, say, require, command
        )
    from ft_harness.pipeline import runs

    return runs.run(experiments, report_name, say, require, command)


def _report(
    finished: Sequence[tuple[Experiment, list[Evaluation]]],
    report_name: str,
    say: Say,
    require: Sequence[str],
    command: str | None,
) -> tuple[Study, Path]:
    experiments = [experiment for experiment, _ in finished]
    folder = open_folder(experiments[0].out, report_name)
    required = read_requirements(require)
    for experiment, evaluations in finished:
        recipe, records = experiment.recipe, (each.record for each in evaluations)
        trained = next(each for each in records if each.settings.task == recipe.task.name)
        metrics = [each.metric for each in trained.scores]
        check_names(required, metrics, has_controls=bool(recipe.controls.tasks))
    for experiment, evaluations in finished:
        _say_finished(experiment, evaluations, say)
    every = [each for _, evaluations in finished for each in evaluations]
    return write_study(study_of(experiments, every, report_name, command), every, folder)


def _say_finished(experiment: Experiment, evaluations: Sequence[Evaluation], say: Say) -> None:
    """Print what a run reports about finished work."""
    for change in keep_recipe(experiment.source, experiment.recipe, experiment.folder):
        say(f"{experiment.name}: recipe.yaml now says {change}")
    bases = [each for each in evaluations if each.record.adapter is None]
    for each in bases:
        _say_scored(each, say)
    say_power(bases, experiment.recipe.task.name, say)
    say(f"{experiment.name}: the adapter is finished already")
    for each in evaluations[len(bases) :]:
        _say_scored(each, say)


def _say_scored(evaluation: Evaluation, say: Say) -> None:
    name = evaluation.record.eval_id.rpartition("-")[0]
    say(f"{evaluation.record.subject}: {name}, scored already")
