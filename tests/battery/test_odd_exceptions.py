"""Exceptions of odd kinds, from whatever is called: three lines and a code, never a traceback, and
never 0."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from ft_harness.cli import experiments
from ft_harness.errors import InputError, StorageLostError
from tests.builders.command import assert_three_lines
from tests.evaluation.test_failed_metrics import TASK

app = import_module("ft_harness.cli.app")  # the package has another `app`
pytestmark = pytest.mark.usefixtures("small_index")


class UnsayableError(Exception):
    """Its text can't be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class InterruptingError(Exception):
    """Making its text is interrupted."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class TextlessError(Exception):
    """Its text is none."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value]


PanicException = type("PanicException", (BaseException,), {})  # as libraries in Rust raise it


def recurse(*_: Any) -> NoReturn:
    recurse()


def throw(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: Any) -> NoReturn:
        raise error

    return fail


ODD: dict[str, tuple[Callable[..., NoReturn], int, str]] = {
    "no text": (throw(UnsayableError()), 70, "UnsayableError"),
    "a text that interrupts": (throw(InterruptingError()), 130, "interrupted"),
    "an input that ends": (throw(EOFError("Ran out of input")), 70, "Ran out of input"),
    "a text that is none": (throw(TextlessError()), 70, "TextlessError"),
    "half a character": (throw(ValueError("\ud800")), 70, "\\ud800"),
    "control characters": (throw(ValueError("\x1b[2J\nexpected: x")), 70, "\\x1b[2J"),
    "a name with control characters": (throw(type("\x1b[2J", (Exception,), {})()), 70, "\\x1b[2J"),
    "recursion": (recurse, 70, "RecursionError"),
    "a group": (throw(ExceptionGroup("several", [ValueError("x")])), 70, "ExceptionGroup"),
    "a group of interrupts": (
        throw(BaseExceptionGroup("several", [KeyboardInterrupt()])), 70, "BaseExceptionGroup",
    ),
    "the end of a generator": (throw(GeneratorExit()), 70, "GeneratorExit"),
    "a cancelled task": (throw(asyncio.CancelledError()), 70, "CancelledError"),
    "no exception at all": (throw(BaseException("x")), 70, "BaseException: x"),
    "an exit of a library": (throw(SystemExit(0)), 70, "SystemExit"),
    "an exit with a text": (throw(SystemExit("bye")), 70, "SystemExit: bye"),
    "an exit of typer": (throw(typer.Abort()), 130, "interrupted"),
    "a panic": (throw(PanicException("index out of bounds")), 3, "index out of bounds"),
    "memory": (throw(MemoryError()), 5, "memory ran out"),
    "a pipe of a library": (throw(BrokenPipeError(32, "Broken pipe")), 70, "BrokenPipeError"),
    "encoding": (throw(UnicodeEncodeError("ascii", "ü", 0, 1, "x")), 70, "UnicodeEncodeError"),
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path, reviews: Path) -> Path:
    path = tmp_path / "adapters/a/recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {reviews}}}\neval: {{splits: [test], limit: 8}}\n"
    )
    return path


@pytest.mark.parametrize("kind", ODD)
def test_whatever_is_raised(
    kind: str, ft: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fail, code, words = ODD[kind]
    monkeypatch.setattr(experiments, "_experiment", fail)
    found, _, err = ft("run", recipe)
    assert found == code, err
    assert words in err
    assert "Traceback" not in err
    if code != 130:
        assert_three_lines(err, words)


def test_an_interrupt_that_a_library_raises_itself(
    ft: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(experiments, "_experiment", throw(KeyboardInterrupt()))
    code, _, err = ft("run", recipe)
    assert code == 130, err
    assert "run the same command again" in err


def test_a_signal_while_a_fault_is_reported(ft: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch):
    """It comes after the command and before the exit."""
    whole = app._as_fault

    def interrupted(error: BaseException) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return whole(error)

    monkeypatch.setattr(experiments, "_experiment", throw(ValueError("x")))
    monkeypatch.setattr(app, "_as_fault", interrupted)
    code, _, err = ft("run", recipe)
    assert code == 143, err
    assert "Traceback" not in err


def stop_and(make: Callable[[BaseException], BaseException], *, named: bool) -> Callable[..., Any]:
    """A signal arrives, and a library makes an error of its own of what it raises."""

    def fail(*_: Any) -> NoReturn:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as stopped:
            error = make(stopped)
            if named:
                raise error from stopped
            raise error from None
        raise AssertionError

    return fail


@pytest.mark.parametrize("named", [True, False])
def test_a_signal_that_a_library_wraps(
    named: bool, ft: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    """As Python does up to 3.11 while it makes a class: "Error calling __set_name__"."""
    fail = stop_and(lambda _: RuntimeError("Error calling __set_name__"), named=named)
    monkeypatch.setattr(experiments, "_experiment", fail)
    code, _, err = ft("run", recipe)
    assert code == 143, err
    assert err.startswith("terminated: ")


def test_a_signal_within_a_fault_of_ours(ft: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch):
    """Where we name what a library raised, it is the signal; what is lost while the program ends is
    no signal."""
    stop = stop_and(lambda _: InputError("x: can't be built", "y", "z"), named=True)
    monkeypatch.setattr(experiments, "_experiment", stop)
    assert ft("run", recipe)[0] == 143
    lost = stop_and(lambda _: StorageLostError("results: lost", "y", "z"), named=False)
    monkeypatch.setattr(experiments, "_experiment", lost)
    code, _, err = ft("run", recipe)
    assert code == 7
    assert_three_lines(err, "results: lost")


@pytest.mark.parametrize("where", ["share_cores", "_quiet_libraries"])
def test_a_fault_before_the_command_begins(where: str, ft: Any, monkeypatch: pytest.MonkeyPatch):
    owner = app.processes if where == "share_cores" else app
    monkeypatch.setattr(owner, where, throw(ValueError("odd groups")))
    code, _, err = ft("tasks", "list")
    assert code == 70, err
    assert_three_lines(err, "odd groups")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_command_is_loaded(signum: int):
    """While Python imports what parses the arguments."""
    code = (
        "import sys, os, signal, importlib.abc\n"
        # a shell that starts the tests in the background has it ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Find(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'typer': signal.raise_signal({int(signum)})\n"
        "sys.meta_path.insert(0, Find())\n"
        "import runpy; runpy.run_module('ft_harness', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", code, "tasks", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (128 + signum, -signum), done.stderr
    assert "Traceback" not in done.stderr


METRIC = "def score(doc, results):\n    {fault}\n"
IMPORTED = "{fault}\ndef score(doc, results):\n    return {{'acc': 1.0}}\n"


@pytest.mark.parametrize("road", ["check", "eval", "lm-eval"])
@pytest.mark.parametrize("code", [METRIC, IMPORTED], ids=["called", "imported"])
@pytest.mark.parametrize(
    "fault", ["raise SystemExit(0)", "raise GeneratorExit", "raise KeyboardInterrupt"]
)
def test_a_metric_that_ends_the_program(
    fault: str, code: str, road: str, ft: Any, recipe: Path, tmp_path: Path, reviews: Path
):
    """Exit 0 would say that all results are there, and 70 that the fault is ours."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/odd.yaml").write_text(TASK)
    (tmp_path / "t/own.py").write_text(code.format(fault=fault))
    recipe.write_text(recipe.read_text().replace("demo_sentiment", "odd, include_path: t"))
    model = recipe.read_text().partition("pretrained: ")[2].partition("}")[0]
    given = [road, recipe]
    if road == "lm-eval":
        given = [
            "lm-eval", "run", "--model", "ft-causal", "--model_args", f"pretrained={model}",
            "--tasks", "odd", "--include_path", "t", "--device", "cpu", "--limit", "2",
            "--metadata", f'{{"data_source": "{reviews}"}}', "--output_path", "o",
        ]  # fmt: skip
    found, _, err = ft(*given, "--trust-task-code")
    # lm-eval goes on without the docs whose metric fails
    is_left_out = road == "lm-eval" and code == METRIC
    assert found == ((6 if is_left_out else 3) if "Exit" in fault else 130), err
    assert "Traceback" not in err
    if "Exit" in fault:
        assert_three_lines(err, "own.score would end the program", fault.split()[1].strip("(0)"))
    assert not list(tmp_path.rglob("record.json"))
