"""Evaluations that lm-eval's own command wrote (`--log_samples --output_path`), as records of ours.

Each task and filter of a run becomes a record and samples as we write them, in a temporary folder
(`TMPDIR` says where) that is removed when the process ends, so that readers of evaluations need to
know no other form. Scores are recomputed from the samples; if they differ from the results file,
the evaluation is left out.
"""

from __future__ import annotations

import gc
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from ft_harness.errors import InputError
from ft_harness.records.lm_eval.files import Run, read_results
from ft_harness.records.lm_eval.samples import Fields, Lines
from ft_harness.records.lm_eval.scores import Totals
from ft_harness.records.lm_eval.settings import TaskRun, describe_run, names_apart
from ft_harness.records.schema import SAMPLES_FILE, Record, Score
from ft_harness.records.score_columns import ScoreColumns
from ft_harness.storage import write_gzip_lines
from ft_harness.storage.progress import byte_progress

_numbers = count()
_LEVEL = 1  # of compression: these files last as long as the process
_FEW = 3  # metrics named in a note
_PLAIN = ("none", "")
_UNCHECKED = [
    "whether prompts were cut to fit the context",
    "whether the limit of tokens ended generated answers",
]


@dataclass(frozen=True)
class Foreign:
    """The records of some runs of lm-eval's own command, with the folders that hold their samples;
    `unread` and `notes` as those of `Found`."""

    made: list[tuple[Path, Record]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ft-harness-results-")


@contextmanager
def _no_search() -> Iterator[None]:
    """Within it Python doesn't look for circles, which takes a fifth of the time of reading a
    million samples: what is read of a line has none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_runs(runs: Sequence[Run]) -> Foreign:
    """The evaluations of runs of lm-eval's own command, as records; of several runs of one model,
    task and protocol in one folder, the newest complete one.

    Args:
        runs: newest first, of each folder.
    """
    found = Foreign()
    done: dict[tuple[Any, ...], str] = {}
    size = sum(path.stat().st_size for run in runs for _, path in run.samples)
    with _no_search(), byte_progress(size, "Reading lm-eval's samples") as bar:
        for run in runs:
            # Runs come newest first, so that an older one of the same place is left out.
            for task_run, path in _tasks(run, found):
                earlier = done.get(task_run.place)
                if earlier is not None:
                    newer = f"{earlier} is newer and of the same model, task and protocol"
                    found.notes.append(f"{path}: left out, {newer}")
                    bar.update(path.stat().st_size)
                    continue
                try:
                    found.made.extend(_read_task(task_run, path, bar.update, found.notes))
                    done[task_run.place] = path.name
                except (OSError, ValueError) as error:
                    found.unread.append(f"{path}: {error}")
                except InputError as error:
                    found.unread.append(f"{path}: {error.what}")
    return replace(found, made=_rename_twins(found.made))


def _rename_twins(made: Sequence[tuple[Path, Record]]) -> list[tuple[Path, Record]]:
    """The same records, with longer names for adapters or models that are not one though their
    paths end alike."""
    paths: dict[str, dict[str, None]] = {}
    for _, record in made:
        paths.setdefault(record.subject, {})[_path_of(record)] = None
    names = {
        subject: names_apart(list(found)) for subject, found in paths.items() if len(found) > 1
    }
    return [
        (
            folder,
            _rename(record, names[record.subject][_path_of(record)])
            if record.subject in names
            else record,
        )
        for folder, record in made
    ]


def _path_of(record: Record) -> str:
    return record.adapter.path if record.adapter else record.model.pretrained


def _rename(record: Record, name: str) -> Record:
    if record.adapter is None:
        return record.model_copy(update={"subject": f"base--{name}"})
    return record.model_copy(
        update={"subject": name, "adapter": record.adapter.model_copy(update={"name": name})}
    )


def _tasks(run: Run, found: Foreign) -> Iterator[tuple[TaskRun, Path]]:
    """Each task of a run with its samples."""
    samples = dict(run.samples)
    content: Any = {}
    if run.results is not None:
        try:
            content = read_results(run.results)
        except (OSError, ValueError) as error:
            found.unread.append(f"{run.results}: {error}")
            found.unread.extend(
                f"{path}: its results file can't be read" for path in samples.values()
            )
            return
        groups = content.get("group_subtasks")
        inner = (
            {name for name, tasks in groups.items() if tasks} if isinstance(groups, dict) else set()
        )
        known = [name for name in content["results"] if name not in inner]
        missing = [name for name in known if name not in samples]
        found.unread.extend(
            f"{run.results}: {name} has no samples next to it, run lm_eval with --log_samples"
            for name in missing
        )
        strangers = [path for name, path in samples.items() if name not in content["results"]]
        found.unread.extend(
            f"{path}: its results file does not name this task" for path in strangers
        )
        samples = {name: path for name, path in samples.items() if name in known}
    for name, path in samples.items():
        try:
            yield describe_run(run, name, content), path
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found.unread.append(
                f"{run.results or path}: {name}: not as lm-eval writes it ({type(error).__name__})"
            )


def _read_task(
    task_run: TaskRun, path: Path, tick: Callable[[int], object], notes: list[str]
) -> list[tuple[Path, Record]]:
    """A record for each filter of a samples file.

    Raises:
        ValueError: it can't be read, is not whole, or not of these results.
    """
    lines = Lines(path, None, task_run.output_type, tick, task_run.gold_field)
    made = [_read_filter(task_run, lines, notes)]
    for name in list(lines.filters)[1:]:
        more = Lines(path, name, task_run.output_type, lambda _: None, task_run.gold_field)
        made.append(_read_filter(task_run, more, notes))
    return made


def _read_filter(task_run: TaskRun, lines: Lines, notes: list[str]) -> tuple[Path, Record]:
    folder = Path(_folder().name) / str(next(_numbers))
    totals = Totals(task_run.higher_is_better, task_run.settings.cluster)
    columns = ScoreColumns(folder, task_run.settings.cluster)
    try:
        is_whole = write_gzip_lines(
            folder / SAMPLES_FILE,
            (_spell(sample) for sample in _add(lines, totals, columns)),
            level=_LEVEL,
        )
        wanted = "none" if lines.wanted is None else lines.wanted
        if not totals.items:
            raise ValueError("no samples in it")
        scored = totals.items - lines.unscored
        if task_run.effective not in (None, totals.items, scored):
            raise ValueError(
                f"{totals.items} samples, but the results are of {task_run.effective}: incomplete"
            )
        stated = task_run.values(wanted)
        kept, dropped = totals.check(stated)
        reasons = lines.odd_metrics | dropped
        stated = {
            name: value
            for name, value in stated.items()
            if name not in kept and (name in reasons or _has_filter(task_run, name))
        }
        if not kept and not stated:
            raise ValueError(f"no metric that can be compared: {_list(reasons)}")
    except (ValueError, InputError):
        with suppress(OSError):
            (folder / SAMPLES_FILE).unlink(missing_ok=True)
        raise
    if is_whole:  # else they are gathered from what was written, without secrets
        columns.write()
    for what, names in (
        ("shown as lm-eval states it, without interval and p", stated),
        ("not compared", reasons.keys() - stated.keys()),
    ):
        given = {name: reasons.get(name, "no item has it") for name in names}
        if given:
            notes.append(f"{lines.path}: {what}: {_list(given)}")
    record = _make_record(task_run, lines, totals, kept)
    scores = [*record.scores, *_state_scores(task_run, lines, totals, stated)]
    return folder, record.model_copy(update={"scores": scores})


def _has_filter(task_run: TaskRun, name: str) -> bool:
    """Whether the results name a metric of lm-eval's by its filter, as they name no number that
    only describes the samples; `bypass` scores nothing."""
    return name != "bypass" and any(str(key).startswith(f"{name},") for key in task_run.stated)


def _list(reasons: Mapping[str, str]) -> str:
    shown = [f"{name} ({reason})" for name, reason in sorted(reasons.items())[:_FEW]]
    more = f", and {len(reasons) - _FEW} more" if len(reasons) > _FEW else ""
    return ", ".join(shown) + more or "no scores in it"


def _state_scores(
    task_run: TaskRun, lines: Lines, totals: Totals, stated: Mapping[str, float]
) -> list[Score]:
    """Metrics that can't be made of the samples, as the results state them."""
    signature = task_run.signature(lines.wanted)
    return [
        Score(
            metric=name,
            value=value if math.isfinite(value) else None,
            low=None,
            high=None,
            n=totals.items,
            n_invalid=0,
            n_truncated=0,
            higher_is_better=task_run.higher_is_better.get(name, True),
            signature=f"metric:{name}|{signature}|as stated",
            is_stated=True,
        )
        for name, value in stated.items()
    ]


def _spell(sample: Fields) -> str:
    """As `Sample.model_dump_json` does, without making one of it."""
    return to_json(sample, inf_nan_mode="null").decode()


def _add(lines: Lines, totals: Totals, columns: ScoreColumns) -> Iterator[Fields]:
    for sample in lines:
        totals.add(sample)
        columns.add(sample)
        yield sample


def _make_record(task_run: TaskRun, lines: Lines, totals: Totals, metrics: Sequence[str]) -> Record:
    name = None if lines.wanted in _PLAIN else lines.wanted
    several = f"-{lines.wanted}" if len(lines.filters) > 1 or name else ""
    shots = f"-{task_run.settings.num_fewshot}shot" if task_run.settings.num_fewshot else ""
    settings = task_run.settings.model_copy(update={"data_hash": totals.digest()})
    foreign = task_run.foreign.model_copy(
        update={
            "file": str(lines.path),
            "filter": name,
            "unchecked": _UNCHECKED,
            "several_right": lines.several_right,
        }
    )
    signature = task_run.signature(name)
    return Record(
        eval_id=f"{settings.task}@{settings.split}{shots}{several}-{lines.digest[:12]}",
        status="partial" if lines.unscored else "complete",
        subject=task_run.subject,
        model=task_run.model,
        adapter=task_run.adapter,
        settings=settings,
        scores=[totals.score(metric, f"metric:{metric}|{signature}") for metric in metrics],
        cost=None,
        provenance=task_run.provenance,
        foreign=foreign,
        primary_metric=task_run.primary_metric,
    )
