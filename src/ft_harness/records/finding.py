"""Evaluations below folders: those that ft-harness wrote, and those that lm-eval's own command
wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ft_harness.errors import InputError
from ft_harness.records.lm_eval.files import Run, find_files, group_runs
from ft_harness.records.lm_eval.output import read_runs
from ft_harness.records.reading import Evaluation, read_evaluation
from ft_harness.records.schema import RECORD_FILE, SCHEMA_VERSION
from ft_harness.storage.progress import progress


@dataclass(frozen=True)
class Found:
    """The evaluations that lie below some folders, and what could not be read.

    Attributes:
        evaluations: sorted by folder, ours before lm-eval's; copies of one evaluation count once.
        unread: one line for each file that should hold an evaluation but can't be read, with the
            reason.
        notes: a line for each file that was left out because a newer one takes its place.
    """

    evaluations: list[Evaluation]
    unread: list[str]
    notes: list[str]


def find_records(paths: Sequence[Path]) -> Found:
    """Find every evaluation in and below the given folders and files; what can't be read is named.

    A path may be a folder, or a `results_*.json` or `samples_*.jsonl` that lm-eval wrote.

    Raises:
        InputError: no path is given, one is missing, or nothing that can be read is found below
            one.
    """
    if not paths:
        raise InputError("no folder is given", "a folder with evaluations, or several", "give one")
    evaluations: list[Evaluation] = []
    unread: list[str] = []
    runs: list[Run] = []
    for path in paths:
        files = find_files(path)
        folders = sorted({record.parent for record in files.records})
        faults, read = list(files.refused), 0
        for folder in progress(folders, "Reading evaluations"):
            try:
                evaluations.append(read_evaluation(folder))
                read += 1
            except InputError as error:
                faults.append(error.what)
        found = group_runs(files)
        runs += found
        unread += faults
        if not read and not found:
            raise _nothing(path, faults)
    foreign = read_runs(list(dict.fromkeys(runs)))
    unread += foreign.unread
    # By path, so that a report does not depend on the order in which folders are given.
    evaluations.sort(key=lambda each: each.folder.resolve())
    evaluations += [Evaluation(folder=folder, record=record) for folder, record in foreign.made]
    if not evaluations:
        raise _nothing(paths[0], unread)
    # Two runs of lm-eval with different seeds are no copies, even where all their samples agree.
    unique: dict[tuple[str, str, int | None], Evaluation] = {}
    for evaluation in evaluations:
        record = evaluation.record
        unique.setdefault((record.subject, record.eval_id, record.settings.seed), evaluation)
    return Found(
        list(unique.values()), list(dict.fromkeys(unread)), list(dict.fromkeys(foreign.notes))
    )


def load_records(paths: list[Path]) -> list[Evaluation]:
    """Find every evaluation in and below the given folders; one that can't be read is a fault.

    Raises:
        InputError: a path is missing, nothing is found below one, or something can't be read.
    """
    found = find_records(paths)
    if found.unread:
        ours = f"{RECORD_FILE} of schema version {SCHEMA_VERSION}"
        raise InputError(
            found.unread[0],
            f"{ours}, or what lm-eval writes with --log_samples",
            "leave this file out, or delete it and evaluate again",
        )
    return found.evaluations


def _nothing(path: Path, faults: Sequence[str]) -> InputError:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    what = (
        f"{faults[0]}{more}; there is nothing else to read"
        if faults
        else f"{path}: no evaluation found"
    )
    return InputError(
        what,
        f"a folder with {RECORD_FILE} in or below it, or what lm-eval writes with --log_samples",
        "give a results folder, or run ft-harness eval or lm_eval first",
    )
