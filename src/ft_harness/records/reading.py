"""Read the evaluations that ft-harness wrote: one folder's record, and its samples when asked
for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ft_harness.errors import InputError, first_line
from ft_harness.records.kept_files import read_sealed
from ft_harness.records.schema import (
    RECORD_FILE,
    SAMPLES_FILE,
    SCHEMA_VERSION,
    Frozen,
    Record,
    Sample,
)
from ft_harness.storage import (
    sha256_once,
)
from ft_harness.storage.strict_files import no_pipe

_LONGEST_SAMPLE = 1 << 28  # characters: of a line that may unpack to more than there is memory


class Evaluation(Frozen):
    """A record that was read, with its folder; samples are read when asked for."""

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
    """Read the samples in an evaluation's folder, in their order.

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


def read_evaluation(folder: Path) -> Evaluation:
    """Read the evaluation that ft-harness wrote in one folder.

    Raises:
        InputError: no record, broken JSON, or another schema.
    """
    path = folder / RECORD_FILE
    try:
        record = Record.model_validate(read_sealed(path))
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # pydantic's and json's errors are ValueErrors
        reason = first_line(error)
        raise InputError(
            f"{path}: not a record ({reason})",
            f"record.json of schema version {SCHEMA_VERSION}",
            "leave this folder out, or delete it and evaluate again",
        ) from error
    return Evaluation(folder=folder, record=record)
