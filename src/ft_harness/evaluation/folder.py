"""The folder of an evaluation: where it lies, whether it is finished, and its files, of which the
record is written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ft_harness.errors import InputError
from ft_harness.evaluation.jobs import Job, ModelState, declarations, fingerprint
from ft_harness.records import (
    RECORD_FILE,
    SAMPLES_FILE,
    SCORES_FILE,
    Evaluation,
    Record,
    Sample,
    read_evaluation,
    write_kept,
)
from ft_harness.records.score_table import write_scores
from ft_harness.storage import sha256_file, write_gzip_lines


def evaluation_folder(
    state: ModelState, job: Job, results: Path, packages: Mapping[str, str] | None = None
) -> Path:
    """The folder of an evaluation; with another setting it is another folder, so that nothing is
    overwritten."""
    return results / state.subject / f"{job.label}-{fingerprint(state, job, packages)[:12]}"


def finished(state: ModelState, job: Job, results: Path) -> Evaluation | None:
    """The evaluation in its folder, if it was done before and is complete; its record is updated to
    declare what this job declares."""
    # By the folder's name alone, which holds the fingerprint.
    evaluation = read_finished(evaluation_folder(state, job, results))
    if evaluation is None:
        return None
    record = evaluation.record.model_copy(update=declarations(state, job))
    # What a record declares is no part of its identity: it follows the recipe that asked last.
    if record == evaluation.record:
        return evaluation
    _write_record(evaluation.folder, record)
    return Evaluation(folder=evaluation.folder, record=record)


def read_finished(folder: Path) -> Evaluation | None:
    """The evaluation in a folder, if it is finished: there, whole and complete.

    Raises:
        InputError: another evaluation lies there, or its record is damaged.
    """
    if not (folder / RECORD_FILE).exists() or not (folder / SAMPLES_FILE).exists():
        return None
    evaluation = read_evaluation(folder)
    if evaluation.record.eval_id != folder.name:
        raise InputError(
            f"{folder / RECORD_FILE}: of another evaluation, {evaluation.record.eval_id}",
            "evaluations in the folders that they were written to",
            "move it back, or delete this folder and run the same command again",
        )
    return evaluation if evaluation.record.status == "complete" else None


def write_evaluation(folder: Path, record: Record, samples: Sequence[Sample]) -> None:
    """Write the files of an evaluation's folder; the record last, as it says that the evaluation is
    there."""
    write_gzip_lines(folder / SAMPLES_FILE, [sample.model_dump_json() for sample in samples])
    written = record.model_copy(update={"files": {}})  # those of an evaluation scored again
    # Made from the file as it was written, with secrets taken out, so that both files say the same.
    write_scores(Evaluation(folder=folder, record=written))
    files = {name: sha256_file(folder / name) for name in (SAMPLES_FILE, SCORES_FILE)}
    _write_record(folder, record.model_copy(update={"files": files}))


def _write_record(folder: Path, record: Record) -> None:
    """Write an evaluation's record; its presence means that the other files are there."""
    write_kept(folder / RECORD_FILE, record)
