"""Reports from finished evaluations: what is asked of them, and the study that they write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ft_harness.comparison import remarks
from ft_harness.comparison.aggregator import Study, aggregate, compare_all
from ft_harness.comparison.comparability import Terms, check_terms
from ft_harness.comparison.families import list_families
from ft_harness.comparison.requirements import read_requirements
from ft_harness.errors import ConfigError, InputError, NotComparableError, suggest
from ft_harness.pipeline.adapter_runs import find_runs
from ft_harness.pipeline.report_files import FORMATS, ReportOptions, open_folder, write_study
from ft_harness.records import SCORES_FILE, Evaluation, Record, describe_record
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.records.finding import Found, find_records
from ft_harness.records.score_table import check_whole, find_damage, write_scores
from ft_harness.report import make_view
from ft_harness.storage.progress import progress

_USUAL = ReportOptions()


def make_options(given: Mapping[str, Any]) -> ReportOptions:
    """How a report is written, by the command line's options.

    Raises:
        ConfigError: an unknown format, row, column, factor or field, or no requirement.
    """
    required = read_requirements(given["require"])
    view = make_view(given["rows"], given["columns"], given["metrics"])
    terms = Terms(tuple(given["factor"]), tuple(given["allow_mismatch"]))
    check_terms(terms)
    formats = check_formats(given["formats"])
    return ReportOptions(formats, view, terms, given["listed"], given["holm"], required)


def check_formats(names: str) -> tuple[str, ...]:
    """The formats of a report that `--format` lists, each once.

    Raises:
        ConfigError: one is unknown.
    """
    formats = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(
                f"unknown format {name!r}{suggest(name, FORMATS)}",
                f"some of {', '.join(FORMATS)}",
                "correct --format",
            )
    return formats


def report_only(
    paths: Sequence[Path],
    out: Path,
    name: str,
    command: str,
    slice_by: Sequence[str] = (),
    options: ReportOptions = _USUAL,
) -> tuple[Study, Path]:
    """Write a report from finished evaluations below the given folders.

    Args:
        slice_by: doc fields to slice the cases by.

    Raises:
        ConfigError: the options asks for a metric that the study has not.
        InputError: nothing is found, no base has a partner, or the cases.csv that is there can't be
            read.
        NotComparableError: base and tuned were not measured the same way.
    """
    folder = open_folder(out, name)
    found = _find(paths)
    evaluations = found.evaluations
    runs, missing, damaged = find_runs(evaluations)
    unread = [*found.unread, *damaged]
    study = aggregate(
        evaluations,
        runs,
        name=name,
        command=command,
        terms=options.terms,
        question=options.question(),
    )
    notes = [*study.notes, *missing, *found.notes, *_note_unread(unread)]
    study = study.model_copy(update={"notes": notes, "unread": unread})
    has_adapters = any(evaluation.record.adapter for evaluation in evaluations)
    if not study.comparisons and (has_adapters or not study.untuned):
        reasons = [*unread, *study.notes]
        why = f" ({reasons[0]})" if reasons else ""
        raise InputError(
            "no adapter's evaluation has a base evaluation of the same task, split and "
            f"settings{why}",
            "both, made by ft-harness run or eval, or by lm_eval with and without peft=",
            "score the base on the same recipe first; two models without an adapter: ft-harness "
            "compare BASE TUNED",
        )
    return write_study(study, evaluations, folder, options, slice_by)


def compare_only(
    base: Path, tuned: Path, out: Path, name: str, command: str, options: ReportOptions = _USUAL
) -> tuple[Study, Path]:
    """Write a report on two sides, whatever they are: the first is the base. Each is an evaluation,
    or several of different tasks and splits.

    Raises:
        InputError: a side holds no evaluation, several of one task and split, or nothing that the
            other one has; or the cases.csv that is there can't be read.
        NotComparableError: they were not measured the same way.
    """
    folder = open_folder(out, name)
    before, after = _find([base]), _find([tuned])
    pairs, alone = _pair_sides((base, before.evaluations), (tuned, after.evaluations))
    sides = [each for pair in pairs for each in pair]
    runs, missing, damaged = find_runs(sides)
    unread = [*before.unread, *after.unread, *damaged]
    compared = compare_all(pairs, options.terms, runs, options.question())
    footnotes = [note for each in compared for note in each.rows[-1].footnotes]
    notes = [
        *dict.fromkeys(footnotes),
        *(note for each in sides for note in remarks.note_bad_items(each.record)),
        *missing,
        *alone,
        *before.notes,
        *after.notes,
        *_note_unread(unread),
    ]
    study = Study(
        name=name,
        comparisons=compared,
        adapters=runs,
        notes=notes,
        command=command,
        unread=unread,
        families=list_families(compared, options.holm),
    )
    return write_study(study, sides, folder, options)


def find_study(
    evaluations: Sequence[Evaluation], known: Sequence[AdapterFolder] = ()
) -> tuple[Study, list[Record]]:
    """The study of some evaluations without writing its report; and the evaluations that it leaves
    out: an adapter without its base, or items without a score."""
    runs, _, _ = find_runs(evaluations, known)
    try:
        study = aggregate(evaluations, runs, name="", command="")
    except NotComparableError as error:
        study = Study(name="", comparisons=[], adapters=runs, notes=[error.what], command="")
    shown = {
        (record.subject, record.eval_id)
        for each in study.comparisons
        for record in (each.base, each.tuned)
    }
    shown |= {(each.subject, name) for each in study.untuned for name in each.eval_ids}
    records = [each.record for each in evaluations]
    return study, [each for each in records if (each.subject, each.eval_id) not in shown]


def _find(paths: Sequence[Path]) -> Found:
    """All evaluations that are whole; the scores of those that lm-eval made are put in columns, as
    ours are at once.

    Raises:
        InputError: a path is missing, or nothing below one can be read.
    """
    found = find_records(paths)
    kept: list[Evaluation] = []
    faults: list[str] = []
    for evaluation in progress(found.evaluations, "Checking samples"):
        if evaluation.record.foreign and not (evaluation.folder / SCORES_FILE).exists():
            write_scores(evaluation)
        try:
            if (
                not evaluation.record.foreign and evaluation.record.status == "complete"
            ):  # foreign ones were read whole
                check_whole(evaluation)
                if damage := find_damage(evaluation):
                    faults.append(damage)
            kept.append(evaluation)
        except InputError as error:
            faults.append(error.what)
    if not kept:
        raise InputError(
            faults[0],
            "samples that can be read",
            "delete this evaluation's folder and run the same command again",
        )
    return replace(found, evaluations=kept, unread=[*found.unread, *faults])


def _note_unread(unread: Sequence[str]) -> list[str]:
    return [f"not read: {line}" for line in unread]


_Side = tuple[Path, Sequence[Evaluation]]
_Pair = tuple[Evaluation, Evaluation]


def _pair_sides(base: _Side, tuned: _Side) -> tuple[list[_Pair], list[str]]:
    """(the only evaluation of each side, or those of equal task and split; a note for each that
    stays alone)."""
    if len(base[1]) == len(tuned[1]) == 1:
        return [(base[1][0], tuned[1][0])], []
    left, right = _by_place(*base), _by_place(*tuned)
    shared = [place for place in left if place in right]
    if not shared:
        raise InputError(
            f"{base[0]} and {tuned[0]} have no task and split in common",
            "the same task and split on both sides",
            "evaluate both on one task",
        )
    alone = [
        each.record
        for side, other in ((left, right), (right, left))
        for at, each in side.items()
        if at not in other
    ]
    notes = [
        f"{describe_record(record)}: the other side has no such task and split, not compared"
        for record in alone
    ]
    return [(left[place], right[place]) for place in shared], notes


def _by_place(
    path: Path, evaluations: Sequence[Evaluation]
) -> dict[tuple[str | None, ...], Evaluation]:
    found: dict[tuple[str | None, ...], Evaluation] = {}
    for each in evaluations:
        record = each.record
        place = (
            record.settings.task,
            record.settings.split,
            record.foreign.filter if record.foreign else None,
        )
        if place in found:
            raise InputError(
                f"{path}: {len(evaluations)} evaluations are below it, several of them of "
                f"{place[0]} "
                f"({place[1]})",
                "one evaluation of a task and split: a folder with record.json in it, or files of "
                "one run of lm_eval",
                "give one of these folders, or use ft-harness report for several",
            )
        found[place] = each
    return found
