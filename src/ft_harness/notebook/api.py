"""The public functions of a notebook, each as the command of its name, for paths and Python
values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ft_harness.comparison.aggregator import Study
from ft_harness.errors import InputError
from ft_harness.notebook.calls import call, options, overrides
from ft_harness.notebook.results import Evaluations, PowerFound, StudyFound, TrainedAdapter
from ft_harness.paths import adapters_dir, reports_dir
from ft_harness.pipeline import power as power_of
from ft_harness.pipeline.adapter_runs import read_run
from ft_harness.pipeline.report_files import STUDY_FILE, ReportOptions
from ft_harness.pipeline.reports import compare_only, report_only
from ft_harness.recipe import Recipe, experiment_name
from ft_harness.recipe import load_recipe as read_recipe
from ft_harness.records import finding, read_evaluation, read_kept
from ft_harness.records.adapter_folder import AdapterFolder

PathLike = str | Path
Settings = Mapping[str, Any]
_HERE = "."


def run(
    recipe: PathLike,
    *,
    set: Settings | None = None,
    name: str | None = None,
    out: PathLike = _HERE,
    seeds: int | None = None,
    trust_task_code: bool = False,
) -> StudyFound:
    """Base -> train -> tuned -> report, as `ft-harness run`; run it again and it continues.

    Args:
        recipe: recipe.yaml, or the adapter folder that holds it.
        set: fields of the recipe to replace, as {"train.seed": 1}.
        name: of the adapter and its report; None: the recipe's folder.
        out: working folder for adapters/ and results/.
        seeds: number of training seeds to sweep over; None: the recipe's own seed.

    Raises:
        FtHarnessError: as the command's.
        KeyboardInterrupt: the cell was stopped; a checkpoint is kept.
    """
    given = {"name": name, "out": str(out), "seeds": seeds, "trust-task-code": trust_task_code}
    call(["run", str(recipe), *options({"set": overrides(set), **given})])
    return _read_study(out, name or experiment_name(Path(recipe)))


def sweep(
    recipe: PathLike,
    *,
    set: Settings | None = None,
    name: str | None = None,
    out: PathLike = _HERE,
    max_hours: float | None = None,
    trust_task_code: bool = False,
) -> StudyFound:
    """Every point of the recipe's sweep section, as `ft-harness sweep`.

    Args:
        set: as `run`; a list of values is varied.
        max_hours: no point starts after this many hours.

    Raises:
        FtHarnessError, KeyboardInterrupt: as in `run`.
    """
    given = {
        "name": name,
        "out": str(out),
        "max-hours": max_hours,
        "trust-task-code": trust_task_code,
    }
    call(["sweep", str(recipe), *options({"set": overrides(set), **given})])
    return _read_study(out, name or experiment_name(Path(recipe)))


def train(
    recipe: PathLike,
    *,
    set: Settings | None = None,
    name: str | None = None,
    out: PathLike = _HERE,
    trust_task_code: bool = False,
) -> TrainedAdapter:
    """Train the adapter of a recipe without scoring, as `ft-harness train`.

    Raises:
        FtHarnessError, KeyboardInterrupt: as in `run`.
    """
    given = {"name": name, "out": str(out), "trust-task-code": trust_task_code}
    call(["train", str(recipe), *options({"set": overrides(set), **given})])
    folder = adapters_dir(Path(out)) / (name or experiment_name(Path(recipe)))
    return TrainedAdapter(folder, read_run(AdapterFolder(folder)))


def evaluate(
    recipe: PathLike,
    *,
    adapter: PathLike | Sequence[PathLike] = (),
    set: Settings | None = None,
    out: PathLike = _HERE,
    trust_task_code: bool = False,
) -> Evaluations:
    """Score the base, and adapters next to it, as `ft-harness eval`.

    Args:
        adapter: one folder or several.

    Raises:
        FtHarnessError, KeyboardInterrupt: as in `run`.
    """
    adapters = [str(each) for each in _several(adapter)]
    given = {"adapter": adapters, "out": str(out), "trust-task-code": trust_task_code}
    with TemporaryDirectory() as place:
        listing = Path(place) / "evaluations"
        given["list-to"] = str(listing)
        call(["eval", str(recipe), *options({"set": overrides(set), **given})])
        folders = listing.read_text(encoding="utf-8").splitlines()
    return Evaluations(read_evaluation(Path(folder)) for folder in folders)


def report(
    results: PathLike | Sequence[PathLike], *, name: str = "report", out: PathLike = _HERE
) -> StudyFound:
    """A report on finished evaluations, as `ft-harness report`.

    Args:
        results: folders with evaluations in or below them, or lm-eval's own files.

    Raises:
        InputError, NotComparableError: as the command's.
    """
    paths = [Path(each) for each in _several(results)]
    shown = " ".join(map(str, paths))
    study, path = report_only(paths, Path(out), name, f"ft-harness report {shown} --name {name}")
    return StudyFound(study, path)


def compare(
    base: PathLike, tuned: PathLike, *, name: str = "comparison", out: PathLike = _HERE
) -> StudyFound:
    """Two evaluations item by item, as `ft-harness compare`: the first is the base.

    Raises:
        InputError, NotComparableError: as the command's.
    """
    command = f"ft-harness compare {base} {tuned} --name {name}"
    study, path = compare_only(Path(base), Path(tuned), Path(out), name, command, ReportOptions())
    return StudyFound(study, path)


def power(
    results: PathLike | None = None,
    *,
    n: int | None = None,
    base: float | None = None,
    metric: str | None = None,
    effect: float | None = None,
) -> PowerFound:
    """What a test set can show with 80 % power, as `ft-harness power`.

    Args:
        results: a base evaluation; None: `n` items and the base's score `base` are given.
        effect: the improvement for which to count the items needed.

    Raises:
        ConfigError, InputError: as the command's.
    """
    target = power_of.Target(metric, effect)
    given = None if results is None else Path(results)
    return PowerFound(power_of.find_power(given, n, base, target))


def load_recipe(path: PathLike, *, set: Settings | None = None) -> Recipe:
    """For a notebook: the recipe of a file or adapter folder, with fields replaced.

    Raises:
        ConfigError: all faults at once.
    """
    return read_recipe(path, overrides(set))


def load_records(paths: PathLike | Sequence[PathLike]) -> Evaluations:
    """For a notebook: every evaluation in and below folders, ours and those that lm-eval's own
    command wrote.

    Raises:
        InputError: one is missing, nothing is found below it, or something can't be read.
    """
    return Evaluations(finding.load_records([Path(each) for each in _several(paths)]))


def _several(given: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [given] if isinstance(given, str | Path) else list(given)


def _read_study(out: PathLike, name: str) -> StudyFound:
    """The study that a command left next to its report."""
    folder = reports_dir(Path(out)) / name
    study = read_kept(folder / STUDY_FILE, Study, "a study", "run it again")
    if study is None and (folder / "rows.json").is_file():
        raise InputError(
            f"{folder}: the report is written, its study was too large to be kept",
            "a study of up to 64 MiB (some 1,000 comparisons)",
            "read rows.json, or give ft_harness.report the folders of a part of the results",
        )
    if study is None:
        raise InputError(
            f"{folder}: no {STUDY_FILE}", "the report that the run has just written", "run it again"
        )
    return StudyFound(study, folder / "report.md")
