"""Run commands in their own process: start, follow and stop them, and raise their errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from ft_harness import errors
from ft_harness.errors import FtHarnessError
from ft_harness.notebook.progress import Progress
from ft_harness.recipe import write_setting

_MODULE = "ft_harness.notebook.child"
_CHUNK = 4096
_NAMES = ("error: ", "expected: ", "do: ")
_CLASSES = {
    each.exit_code: each
    for each in (
        errors.ConfigError,
        errors.InputError,
        errors.PolicyError,
        errors.ResourceError,
        errors.IncompleteError,
        errors.StorageLostError,
        errors.NonFiniteError,
    )
}


def options(given: Mapping[str, Any]) -> list[str]:
    """Arguments of a command from Python values, `name=value`; one that is None or False is left
    out, of a list each value is an option of its own."""
    found: list[str] = []
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        for each in values:
            if each is True:
                found.append(f"--{name}")
            elif each is not None and each is not False:
                found += [f"--{name}", str(each)]
    return found


def overrides(given: Mapping[str, Any] | None) -> list[str]:
    """Arguments of `--set`, `section.field=value`, from a mapping of fields to values.

    Raises:
        ConfigError: a value is not one that a recipe could hold.
    """
    return [f"{field}={_write(field, value)}" for field, value in (given or {}).items()]


def _write(field: str, value: Any) -> str:
    text = write_setting(_plain(field, value))
    if text is None:
        raise errors.ConfigError(
            f"{field}: the text {value!r} would be read as a list, a mapping or null",
            "a text that starts with neither [ nor {",
            "write it into recipe.yaml",
        )
    return text


def _plain(field: str, value: Any) -> Any:
    """The value as YAML has it: of a path its text, of NumPy's numbers and arrays Python's."""
    if isinstance(value, np.generic | np.ndarray):  # its float64 is a float of Python's too
        return value.tolist()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _plain(field, part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(field, part) for part in value]
    raise errors.ConfigError(
        f"{field} is of type {type(value).__name__}",
        "a text, number, path, list or mapping",
        "give its value in one of these forms",
    )


def call(arguments: Sequence[str]) -> None:
    """Run `ft-harness ARGUMENTS` and show what it says.

    Stopping the cell stops the command, which keeps a checkpoint; the same call again goes on.

    Raises:
        FtHarnessError: the command's own error.
        KeyboardInterrupt: the cell was stopped; the command has ended.
    """
    progress = Progress()
    with subprocess.Popen(
        [sys.executable, "-m", _MODULE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # a table for terminals; what it shows is read from files
        stderr=subprocess.PIPE,
        # a signal to the notebook's group is passed on here, once: a second one would not wait
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"},
    ) as process:
        assert process.stderr
        try:
            _follow(process.stderr, progress)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            _follow(process.stderr, progress)
            process.wait()
            raise
        finally:
            said = progress.end()
        process.wait()
    if process.returncode:
        parts = [
            next((line.removeprefix(name) for line in reversed(said) if line.startswith(name)), "")
            for name in _NAMES
        ]
        if not parts[0]:
            last = said[-1] if said else "it printed nothing"
            parts = [
                f"the command ended with {process.returncode} ({last})",
                "exit code 0",
                "see the lines above",
            ]
        raise _CLASSES.get(process.returncode, FtHarnessError)(*parts)


def _follow(stream: IO[bytes], progress: Progress) -> None:
    """Show what arrives until the command closes it; a second stop leaves it alone."""
    decode = getincrementaldecoder("utf-8")(errors="replace").decode
    while chunk := os.read(stream.fileno(), _CHUNK):
        progress.feed(decode(chunk))
