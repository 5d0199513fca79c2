"""Evaluations in formats that other programs read, next to a report."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from ft_harness.publish.every_eval_ever import every_eval_ever_json, every_eval_ever_path
from ft_harness.publish.lm_eval_files import (
    lm_eval_date,
    lm_eval_folder,
    lm_eval_results,
    lm_eval_samples,
)
from ft_harness.records import RECORD_FILE, Evaluation
from ft_harness.storage import write_text

SHARED = {"every-eval-ever": "every-eval-ever", "lm-eval": "lm-eval"}  # format -> folder


def write_shared(evaluations: Iterable[Evaluation], folder: Path, formats: Collection[str]) -> None:
    """Write each evaluation in those of the formats that are shared ones, a folder for each.

    Names and contents are made of the evaluations alone: writing again changes nothing.
    """
    for evaluation in evaluations:
        if "every-eval-ever" in formats:
            path = folder / SHARED["every-eval-ever"] / every_eval_ever_path(evaluation.record)
            write_text(path, every_eval_ever_json(evaluation, _time_of(evaluation)))
        if "lm-eval" in formats:
            _write_lm_eval(evaluation, folder / SHARED["lm-eval"])


def _write_lm_eval(evaluation: Evaluation, folder: Path) -> None:
    time = _time_of(evaluation)
    date = lm_eval_date(time)
    target = folder / lm_eval_folder(evaluation.record)
    samples = "".join(f"{line}\n" for line in lm_eval_samples(evaluation))
    write_text(target / f"samples_{evaluation.record.settings.task}_{date}.jsonl", samples)
    write_text(target / f"results_{date}.json", lm_eval_results(evaluation, time))


def _time_of(evaluation: Evaluation) -> float:
    """When it was made, in seconds since 1970: lm-eval says it, our own is as old as its record."""
    said = evaluation.record.provenance.get("date")
    record = evaluation.folder / RECORD_FILE
    if isinstance(said, int | float):
        return float(said)
    return record.stat().st_mtime if record.is_file() else 0.0
