"""The gate of a terminal, which all that is printed or logged passes: no secret gets out, and
nothing that a terminal would act on."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

from ft_harness.storage.escaping import one_line, visible
from ft_harness.storage.redaction import learn_secrets
from ft_harness.storage.writing import full_disk, is_full, lost_folder

_MOVES = re.compile(r"\r? *\r?|(?:\n|\x1b\[A)*")  # between and after tqdm's bars


# a bar of tqdm's up to its end, the times in brackets
_BAR = re.compile(r".*?\[[\d:]+[<,][^\]]*\]")


class OutputClosedError(Exception):
    """The reader of what is printed is gone, as with `| head`."""


class _GatedStream:
    """A text stream that writes without secrets and control characters, and is the other one in
    all else."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._fault: Exception | None = None

    def write(self, text: str) -> int:
        with self._faults_named():
            self._stream.write(inert(text))
        return len(text)

    def flush(self) -> None:
        with self._faults_named():
            self._stream.flush()

    @contextmanager
    def _faults_named(self) -> Iterator[None]:
        """
        Raises:
            OutputClosedError: nobody reads.
            ResourceError, StorageLostError: it can't be written.
        """
        if self._fault is not None:  # who tried it first may have caught this
            raise self._fault
        try:
            yield
        except OSError as error:
            self._give_up()
            if isinstance(error, BrokenPipeError):
                self._fault = OutputClosedError()
            elif is_full(error):
                self._fault = full_disk(self._name, error)
            else:
                self._fault = lost_folder(self._name, error, None)
            raise self._fault from error

    def _give_up(self) -> None:
        """Discard further output: Python would try to write the rest when it exits, and fail with
        its own exit code."""
        with suppress(OSError, ValueError):
            number = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def worker_output(logger: logging.Logger) -> Iterator[None]:
    """Context in which a process that another one started prints, through the gate: what this
    logger is told, and errors; the secrets of its environment are known."""
    learn_secrets([*os.environ.values()])
    warnings.filterwarnings("ignore")
    with gated_output():
        logging.basicConfig(format="%(message)s", level=logging.ERROR)
        logger.setLevel(logging.INFO)
        yield


class WholeLines:
    """A stream to a terminal that passes on whole lines alone, and no bar: for one of several
    processes that write to the same one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""

    def write(self, text: str) -> int:
        *lines, self._begun = f"{self._begun}{text}".split("\n")
        for line in lines:
            if said := _without_bar(line):
                self._stream.write(f"{said}\n")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _without_bar(line: str) -> str:
    """What a line still says: behind its last return, which is where a bar begins, what follows the
    bar; of a bar without times nothing."""
    _, is_returned, last = line.rpartition("\r")
    if not is_returned:
        return line
    said = _BAR.sub("", last, count=1)
    return "" if "%|" in said else said.replace("\x1b[A", "").strip()


def inert(text: str) -> str:
    """A text as a terminal may show it: nothing in it acts; a bar of tqdm's begins with a
    return."""
    if _MOVES.fullmatch(text):
        return text
    if text.startswith("\r"):
        return f"\r{one_line(text[1:])}"
    return visible(text)


@contextmanager
def gated_output() -> Iterator[None]:
    """Context in which everything printed, or logged by handlers created in it, passes the gate;
    output to a stream that was closed before (`>&-`) is discarded."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    out = cast(TextIO, _GatedStream(sys.stdout, "standard output"))
    err = cast(TextIO, _GatedStream(sys.stderr, "standard error"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # an encoding that lacks a character is no fault
            stream.reconfigure(errors="backslashreplace")
    with redirect_stdout(out), redirect_stderr(err):
        yield
