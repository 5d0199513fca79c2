"""Evaluations on disk: those that ft-harness wrote, and those that lm-eval's own command wrote."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ft_harness.errors import InputError, first_line
from ft_harness.records.lm_eval.files import Run, find_files, group_runs
from ft_harness.records.lm_eval.output import read_runs
from ft_harness.records.schema import (
    RECORD_FILE,
    SAMPLES_FILE,
    SCHEMA_VERSION,
    Frozen,
    Record,
    Sample,
)
from ft_harness.storage import sealed_text, sha256_once, unsealed, write_text
from ft_harness.storage.strict_files import no_pipe

_LONGEST_RECORD = 1 << 26  # bytes
_LONGEST_SAMPLE = 1 << 28  # characters: of a line that may unpack to more than there is memory
_REASON = 200  # characters
_Kept = TypeVar("_Kept", bound=Frozen)


def write_kept(path: Path, kept: Frozen) -> None:
    """Write a typed file that `read_kept` reads, with a seal by which damage is seen."""
    write_text(path, sealed_text(kept.model_dump(mode="json")))


def read_kept(path: Path, kind: type[_Kept], what: str, action: str) -> _Kept | None:
    """A typed file that ft-harness keeps in a folder; None where it is not there.

    Args:
        what: that it is, for the error.
        action: what to do about a damaged one.

    Raises:
        InputError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        return kind.model_validate(_read_sealed(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not {what} ({first_line(error, _REASON)})", f"{path.name} as written", action
        ) from error


def _read_sealed(path: Path) -> Any:
    """The JSON of a file that ft-harness keeps.

    Raises:
        OSError, ValueError, RecursionError: it can't be read, or is not as it was written.
    """
    if no_pipe(path).stat().st_size > _LONGEST_RECORD:
        raise ValueError(f"more than {_LONGEST_RECORD:,} bytes")
    return unsealed(json.loads(path.read_bytes()))


class Evaluation(Frozen):
    """A record with its folder; samples are read when asked for."""

    folder: Path
    record: Record

    def samples(self) -> Iterator[Sample]:
        """The outcome of each doc, in the order of the split.

        Raises:
            InputError: the file is missing, damaged or of another schema.
        """
        self.check_file(SAMPLES_FILE)
        yield from stream_samples(self.folder)

    def check_file(self, name: str) -> None:
        """Compare a file with the hash that the record has of it, if it has one.

        Raises:
            InputError: it is missing, or not the file that was written.
        """
        known, path = self.record.files.get(name), self.folder / name
        try:
            if known is None or sha256_once(path) == known:
                return
        except OSError as error:
            raise _damaged(path, f"can't be read: {error.strerror}") from error
        raise _damaged(path, "not the file that was written")


def stream_samples(folder: Path) -> Iterator[Sample]:
    """The samples in an evaluation's folder, in their order.

    Raises:
        InputError: the file is missing, damaged or of another schema.
    """
    path = folder / SAMPLES_FILE
    number = 0
    try:
        with gzip.open(no_pipe(path), "rt", encoding="utf-8") as lines:
            for line in iter(partial(lines.readline, _LONGEST_SAMPLE), ""):
                number += 1
                yield Sample.model_validate_json(line)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"{path}:{number}: samples can't be read ({type(error).__name__})",
            "one JSON object per doc, as ft-harness writes them",
            "delete this evaluation's folder and run the same command again",
        ) from error


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: damaged ({reason})",
        "the file as it was written",
        "delete this evaluation's folder and run the same command again",
    )


@dataclass(frozen=True)
class Found:
    """What lies below some folders.

    Attributes:
        evaluations: sorted by folder, ours before lm-eval's; copies of one evaluation count once.
        unread: a line for each file that should hold an evaluation and can't be read, with the
            reason.
        notes: a line for each file that was left out because a newer one takes its place.
    """

    evaluations: list[Evaluation]
    unread: list[str]
    notes: list[str]


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in one folder.

    Raises:
        InputError: no record, broken JSON, or another schema.
    """
    path = folder / RECORD_FILE
    try:
        record = Record.model_validate(_read_sealed(path))
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # pydantic's and json's errors are ValueErrors
        reason = first_line(error, _REASON)
        raise InputError(
            f"{path}: not a record ({reason})",
            f"record.json of schema version {SCHEMA_VERSION}",
            "leave this folder out, or delete it and evaluate again",
        ) from error
    return Evaluation(folder=folder, record=record)


def find_records(paths: Sequence[Path]) -> Found:
    """Every evaluation in and below the given folders and files; what can't be read is named.

    A path may be a folder, or a `results_*.json` or `samples_*.jsonl` that lm-eval wrote.

    Raises:
        InputError: a path is missing, or nothing that can be read is found below one.
    """
    evaluations: list[Evaluation] = []
    unread: list[str] = []
    runs: list[Run] = []
    for path in paths:
        files = find_files(path)
        folders = sorted({record.parent for record in files.records})
        faults, read = list(files.refused), 0
        for folder in folders:
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
    """Every evaluation in and below the given folders, as `find_records` finds them; one that can't
    be read is a fault.

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
        f"{faults[0]}{more}; nothing else is there to read"
        if faults
        else f"{path}: no evaluation found"
    )
    return InputError(
        what,
        f"a folder with {RECORD_FILE} in or below it, or what lm-eval writes with --log_samples",
        "give a results folder, or run ft-harness eval or lm_eval first",
    )
