"""Run a sweep, from its recipe to its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ft_harness import processes
from ft_harness.comparison.aggregator import AdapterRun, Study, aggregate
from ft_harness.comparison.amounts import counted
from ft_harness.comparison.choosing import choose
from ft_harness.comparison.effects import Axes, Measured, measure_sweep
from ft_harness.comparison.requirements import read_requirements
from ft_harness.comparison.sweep_sentences import cut_reason
from ft_harness.comparison.sweep_study import ChoiceMade, PointResult, SweepStudy
from ft_harness.data.files import Split
from ft_harness.errors import IncompleteError
from ft_harness.paths import results_dir
from ft_harness.pipeline.adapter_runs import find_runs
from ft_harness.pipeline.dispatch import Dispatch
from ft_harness.pipeline.experiment import Say
from ft_harness.pipeline.point_runner import PointRunner, Sweep, read_sweep
from ft_harness.pipeline.preflight import check_choice, check_required
from ft_harness.pipeline.publication import finish_adapters
from ft_harness.pipeline.report_files import open_folder, write_study
from ft_harness.pipeline.sweep_forecast import estimate_sweep
from ft_harness.records import Evaluation, read_evaluation
from ft_harness.sweep.outcomes import Outcome

__all__ = ["check_sweep", "estimate_sweep", "read_sweep", "run_sweep"]


def run_sweep(
    sweep: Sweep,
    say: Say,
    max_hours: float | None = None,
    require: Sequence[str] = (),
    executor: str = "local",
) -> tuple[Study, Path]:
    """Run a sweep, every point of it, and write its report; whatever is finished is reused, so the
    same call again continues.

    A point that fails is a line of the report with its reason.

    Args:
        require: what the caller will look for in the study; it must be scored.
        executor: where points run: local, ray or slurm.

    Raises:
        FtHarnessError: what preflight finds in any point.
        ConfigError: the executor's package, or its cluster, is missing.
    """
    processes.refuse_several("a sweep", "ft-harness train RECIPE of a point's recipe,")
    folder = open_folder(sweep.out, sweep.grid.name)
    points, required = sweep.grid.points, read_requirements(require)
    splits = _splits_before_choice(sweep)
    runner = PointRunner(sweep, say, splits)
    dispatch = Dispatch(runner, executor)
    runner.check(points)
    check_required(required, runner.checked.values(), trains=sweep.trains)
    check_choice(sweep.grid.section.choose, runner.checked.values())
    say(f"{sweep.grid.name}: a sweep of {counted(len(points), 'point')}")
    with dispatch.executor:
        outcomes = dispatch.run(points, splits, max_hours)
        choice = _choose(sweep, outcomes)
        if choice is not None:
            chosen, done = choice.chosen, {each.point for each in outcomes if each.reason is None}
            # Test is looked at only now, by the setting that validation chose and its reference.
            both = [each for each in points if each.is_reference or each.setting == chosen]
            wanted = [each for each in both if each.name in done]
            say(f"{sweep.grid.name}: the chosen setting and the reference are scored on test")
            outcomes = _join(outcomes, dispatch.run(wanted, ("test",)))
            choice = choice.model_copy(update={"looks": _find_looks(sweep, outcomes)})
    evaluations = _evaluations(outcomes)
    runs = find_runs(evaluations)[0]
    found = _sweep_study(sweep, _measure(sweep, outcomes, runs)).model_copy(
        update={"choice": choice, "written": sweep.written()}
    )
    again = sweep.repeating_command()
    study = aggregate(evaluations, runs, name=sweep.grid.name, command=again)
    study = study.model_copy(update={"sweep": found})
    study, path = write_study(study, evaluations, folder)
    finish_adapters(study, evaluations, say)
    return study, path


def check_sweep(study: Study) -> None:
    """Refuse to call a sweep done while points have no result, or a choice could not be made.

    Raises:
        IncompleteError: some have none (the report says which, and why), or no setting has a score
            to be chosen by.
    """
    failed = study.sweep.failed() if study.sweep else []
    if failed:
        total = len(study.sweep.points) if study.sweep else 0
        raise IncompleteError(
            f"{len(failed)} of {total} points have no result, first {failed[0].name}: "
            f"{cut_reason(failed[0])}",
            "a result of every point; the others are saved and reported",
            "change what failed, or run the same command again: only these points are computed",
        )
    if study.sweep is not None and study.sweep.lacks_choice():
        raise IncompleteError(
            "no setting was chosen: none has a score by which sweep.choose decides",
            "a metric that is defined for the answers of some setting",
            "set sweep.choose.by to another metric, then run the same command again",
        )


def _splits_before_choice(sweep: Sweep) -> tuple[Split, ...] | None:
    """The splits to score before the choice is made: all but test."""
    choice = sweep.grid.section.choose
    if choice is None:
        return None
    others = (split for split in sweep.grid.recipe.eval.splits if split != "test")
    return tuple(dict.fromkeys([*others, choice.on]))


def _join(first: Sequence[Outcome], tested: Sequence[Outcome]) -> list[Outcome]:
    """With the evaluations on test; a point that failed there has failed."""
    later = {each.point: each for each in tested}
    return [
        each.model_copy(
            update={
                "evaluations": [*each.evaluations, *later[each.point].evaluations],
                "reason": later[each.point].reason,
            }
        )
        if each.point in later and each.reason is None
        else each
        for each in first
    ]


def _choose(sweep: Sweep, outcomes: Sequence[Outcome]) -> ChoiceMade | None:
    """The choice that is asked for; None: none is, or no point has a result."""
    asked = sweep.grid.section.choose
    if asked is None:
        return None
    measured = _measure(sweep, outcomes, find_runs(_evaluations(outcomes))[0])
    found = _sweep_study(sweep, measured)
    return choose(found.settings, measured, asked.by, asked.on)


def _find_looks(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[str]:
    """The adapters of this sweep scored on test so far, in whatever grid and folder, without the
    reference; where nothing is trained, the evaluations of bases."""
    points = sweep.grid.points
    tasks = {point.recipe.task.name for point in points}
    found = {path for task in tasks for path in results_dir(sweep.out).glob(f"*/{task}@test*")}
    reference = {point.name for point in points if point.is_reference}
    if sweep.trains:
        made = {each.point: Path(each.adapter).name for each in outcomes if each.adapter}
        own = {made.get(point.name, point.adapter) for point in points if point.is_reference}
        looked = {path.parent.name for path in found} - own
        in_grid = set(made.values())
        return sorted(each for each in looked if each in in_grid or sweep.grid.has_named(each))
    known = {Path(e).name for each in outcomes if each.point in reference for e in each.evaluations}
    bases = (path for path in found if path.parent.name.startswith("base--"))
    return sorted(f"{path.parent.name}/{path.name}" for path in bases if path.name not in known)


def _measure(
    sweep: Sweep, outcomes: Sequence[Outcome], runs: Sequence[AdapterRun]
) -> list[Measured]:
    """Points with what was scored of them."""
    adapters = {run.card.name: run for run in runs}
    known = {each.point: each for each in outcomes}
    measured: list[Measured] = []
    for point in sorted(sweep.grid.points, key=lambda point: point.place):
        outcome = known[point.name]
        read = [read_evaluation(Path(folder)) for folder in outcome.evaluations]
        read = [each for each in read if each.record.settings.task == point.recipe.task.name]
        own = [each for each in read if (each.record.adapter is not None) == sweep.trains]
        reason = outcome.reason
        if reason is None and any(each.record.status != "complete" for each in own):
            reason = "memory was not enough for some items"
        subject = next((each.record.subject for each in own if each.record.adapter), None)
        result = PointResult(
            name=point.name,
            values=point.setting,
            seeds=dict(point.seeds),
            is_reference=point.is_reference,
            adapter=subject,
            reason=reason,
        )
        bases = [each for each in read if sweep.trains and each.record.adapter is None]
        sides = _by_split(own), _by_split(bases)
        measured.append(Measured(result, *sides, adapters.get(subject or "")))
    return measured


def _by_split(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    """The evaluations by split, without train: of a split that was scored in several ways the
    first, by which settings are measured; none where that is not complete."""
    first: dict[str, Evaluation] = {}
    for each in evaluations:
        first.setdefault(each.record.settings.split, each)
    return {
        split: each
        for split, each in first.items()
        if each.record.status == "complete" and split != "train"
    }


def _sweep_study(sweep: Sweep, measured: Sequence[Measured]) -> SweepStudy:
    axes = Axes(sweep.grid.axes, tuple(sweep.grid.section.stretches))
    return measure_sweep(sweep.grid.name, axes, sweep.trains, measured)


def _evaluations(outcomes: Sequence[Outcome]) -> list[Evaluation]:
    """All evaluations, each once."""
    folders = dict.fromkeys(folder for each in outcomes for folder in each.evaluations)
    return [read_evaluation(Path(folder)) for folder in folders]
