"""Complete runs: noted when they end, and reported again without loading a model.

A run notes what it was made of, including the hash of every file that it read and wrote. If all of
that is unchanged, checks, scores and training would give the same again, so only the report is
rewritten. If anything differs, or can't be told from files, the run takes the long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from ft_harness.errors import FtHarnessError
from ft_harness.paths import results_dir
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.identity import NotToldByFilesError, identify
from ft_harness.records import Evaluation, Frozen, read_evaluation, read_kept, write_kept

NOTE_FILE = "run.json"


class FinishedRun(Frozen):
    """The note of a complete run: `run.json`, next to an adapter's evaluations."""

    made_of: str = Field(description="hash of all that decides the results, and of the results")
    evaluations: list[str] = Field(description="their folders, from the results folder")


def note_finished(experiment: Experiment, evaluations: Sequence[Evaluation]) -> None:
    """Note what a run was made of, next to its adapter's evaluations; nothing where that can't be
    told from files.

    Args:
        evaluations: of the base, then of the adapter; all complete.
    """
    results = results_dir(experiment.out)
    folders = [each.folder.relative_to(results).as_posix() for each in evaluations]
    try:
        made_of = _made_of(experiment, folders)
    except (NotToldByFilesError, FtHarnessError, OSError):
        return
    write_kept(_note_file(experiment), FinishedRun(made_of=made_of, evaluations=folders))


def find_finished(experiment: Experiment) -> list[Evaluation] | None:
    """The evaluations of a complete, unchanged run; None: it has to be checked, or made."""
    try:
        note = read_kept(_note_file(experiment), FinishedRun, "a finished run", "run it again")
        if note is None or note.made_of != _made_of(experiment, note.evaluations):
            return None
        results = results_dir(experiment.out)
        return [read_evaluation(results / name) for name in note.evaluations]
    except (NotToldByFilesError, FtHarnessError, OSError):
        return None


def _note_file(experiment: Experiment) -> Path:
    return results_dir(experiment.out) / experiment.name / NOTE_FILE


def _made_of(experiment: Experiment, evaluations: Sequence[str]) -> str:
    """Everything that decides a run's results, and what it wrote."""
    results = results_dir(experiment.out)
    return identify(experiment, [experiment.folder, *(results / name for name in evaluations)])
