"""The command `ft-harness`: its group, its options, its exit codes, and the lines that it
prints."""

from __future__ import annotations

import errno
import gc
import inspect
import logging
import math
import os
import re
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from ft_harness import processes
from ft_harness.errors import (
    ConfigError,
    FtHarnessError,
    ResourceError,
    UnexpectedError,
    find_within,
    first_line,
    is_panic,
    message_of,
    panic_fault,
)
from ft_harness.storage import find_limit, full_disk, is_full, keep_aside, learn_secrets, redact
from ft_harness.storage.escaping import one_line
from ft_harness.storage.terminal import OutputClosedError, gated_output

app = typer.Typer(
    help="Did the fine-tuning help, by how much, and how sure are we?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="ft-harness COMMAND --help shows an example and names the page in docs/.",
)
tasks_app = typer.Typer(
    help="List, show and find tasks.", no_args_is_help=True, rich_markup_mode=None
)
RecipeArgument = Annotated[
    Path, typer.Argument(help="recipe.yaml, or the adapter folder that holds it")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="SECTION.FIELD=VALUE",
        help="replace a field of the recipe (repeatable); ft-harness fields lists them",
    ),
]


def _folder(out: Path) -> Path:
    """The path; an address is refused, as a folder of that name would be created here.

    Raises:
        ConfigError: it is an address.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(out)):
        raise ConfigError(
            f"--out {out}: an address", "a folder", "mount the storage, and give the folder's path"
        )
    return out


OutOption = Annotated[
    Path,
    typer.Option("--out", callback=_folder, help="working folder for adapters/ and results/"),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="adapter name; default: the recipe's folder")
]
TaskOption = Annotated[str, typer.Option("--task", help="see ft-harness tasks list")]
IncludeOption = Annotated[
    str | None, typer.Option("--include-path", help="another folder with task YAMLs")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="data source, instead of the task's own")
]
TrustOption = Annotated[
    bool, typer.Option("--trust-task-code", help="run the code that a task from elsewhere names")
]
RequireOption = Annotated[
    list[str],
    typer.Option(
        "--require",
        metavar="CONDITION",
        help="exit 1 unless the whole interval meets it: acc>=+2, controls>=-1, classes>=-5, "
        "token_ppl<=-5% (repeatable)",
    ),
]
HERE = Path()
# system errors about a path that was given, wherever it is first used
_UNREACHABLE = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}
_STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_NUMBERS = {  # what was expected, by pydantic's name for the fault in an option's value
    "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_parsing": "a number",
    "greater_than_equal": "a number of at least {ge:,g}",
    "less_than_equal": "a number of at most {le:,g}",
}  # fmt: skip


Options = dict[str, Any]


def _show_version(value: bool) -> None:
    if value:
        show(f"ft-harness {version('ft-harness')}")
        raise typer.Exit


@app.callback()
def _take_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="show the version and exit"
        ),
    ] = False,
) -> None:
    pass


def option(kind: Any, *flags: str, default: Any = None, **settings: Any) -> tuple[Any, Any]:
    """An option of a command, for `with_options`: annotation for typer, and default."""
    annotated: Any = Annotated  # of a type that is known only here
    return annotated[kind, typer.Option(*flags, **settings)], default


def with_options(
    parameter: str, options: Mapping[str, tuple[Any, Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator: the command gets these options, name -> (type, default), as one dictionary in
    place of a parameter."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        keyword = inspect.Parameter.KEYWORD_ONLY
        kept = [
            each.replace(kind=keyword) for name, each in own.parameters.items() if name != parameter
        ]
        added = [
            inspect.Parameter(name, keyword, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]

        @wraps(command)
        def call(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in options}
            command(**{parameter: chosen}, **given)

        vars(call)["__signature__"] = own.replace(parameters=[*kept, *added])
        return call

    return decorate


def command_line() -> str:
    """The command `ft-harness` as it was given; with several processes, without the launcher's
    part."""
    command = shlex.join(["ft-harness", *sys.argv[1:]])
    return command if processes.count() == 1 else f"(by the same launcher) {command}"


def repeating_command(out: Path) -> str:
    """The command `ft-harness` as a report prints it, to be run in the working folder: without
    `--out`, and with paths relative to that folder."""
    words, place = iter(sys.argv[1:]), out.resolve()
    kept: list[str] = []
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            path = Path(word)
            inside = path.exists() and path.resolve().is_relative_to(place)
            kept.append(str(path.resolve().relative_to(place)) if inside else word)
    return shlex.join(["ft-harness", *kept])


def check_finite(value: float | None) -> float | None:
    """The value of an option of a command that is a number.

    Raises:
        ConfigError: it is infinite, or nan, which no range of the command line refuses.
    """
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"{value} is not a finite number", "a number", "correct the option")
    return value


class Stopped(BaseException):
    """A command was stopped by SIGINT or SIGTERM. Not KeyboardInterrupt: typer would end the
    command without a word."""


class _LogFormat(logging.Formatter):
    """One line per message, whatever names are in it."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def say(line: str) -> None:
    """Print one line of a command on standard error, with control characters made visible."""
    print(one_line(line), file=sys.stderr, flush=True)


def show(line: str = "") -> None:
    """Print one line of a command on standard output, with control characters made visible."""
    print(one_line(line))


def _quiet_libraries() -> None:
    """Silence the warnings of libraries; our own stay."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # bars, with the time that remains, for what takes longer than two seconds
    os.environ.setdefault("TQDM_DELAY", "2")
    os.environ.setdefault("TQDM_MININTERVAL", "0.5")
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormat("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.ERROR)
    logging.getLogger("ft_harness").setLevel(logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_DFL)  # a second one leaves at once
    raise Stopped(signum)


def main() -> None:
    """The `ft-harness` command; `--debug` anywhere shows tracebacks."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    learn_secrets([*sys.argv, *os.environ.values()])
    for signum in _STOPS:
        signal.signal(signum, _stop)
    with gated_output():
        code = _run(debug)
    sys.exit(code)


def _run(debug: bool) -> int:
    """Run the command and return its exit code; any fault is printed as three lines."""
    try:
        try:
            return _call()
        # Those too that are no Exceptions: libraries in Rust panic, event loops cancel.
        except BaseException as error:
            return _report(error, debug)
    except (Stopped, KeyboardInterrupt) as stopped:  # while a fault was reported
        return _say_stopped(stopped)


def _call() -> int:
    """Run the command, and raise whatever it does."""
    _quiet_libraries()
    processes.share_cores()
    # Libraries make a million objects while they are imported. Looking for cycles after each
    # 700 of them, Python's default, takes a fifth of that time.
    gc.set_threshold(10_000, 20, 20)
    code = app(standalone_mode=False, prog_name="ft-harness")
    if code == 128 + signal.SIGINT:  # what typer makes of one that a library raises itself
        raise KeyboardInterrupt
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _report(error: BaseException, debug: bool) -> int:
    """The exit code of whatever was raised; a fault is three lines on standard error."""
    if isinstance(error, OutputClosedError):
        return 128 + signal.SIGPIPE
    error = find_within(error, Stopped) or error
    if isinstance(error, typer.Abort):
        error = error.__cause__ or KeyboardInterrupt()  # an EOFError, for typer
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        error = error.__context__  # likewise; no pipe of ours, see `OutputClosedError`
    if isinstance(error, Stopped | KeyboardInterrupt):
        return _say_stopped(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error, file=sys.stderr)
        return ConfigError.exit_code
    fault = _as_fault(error)
    with suppress(FtHarnessError, OutputClosedError):  # where standard error is full too
        if debug:
            print(traceback.format_exc(), file=sys.stderr)
        for line in fault.lines():
            say(line)
    return fault.exit_code


def _say_stopped(stopped: Stopped | KeyboardInterrupt) -> int:
    signum = stopped.args[0] if isinstance(stopped, Stopped) else signal.SIGINT
    with suppress(FtHarnessError, OutputClosedError):
        say(
            f"{_STOPS[signum]}: finished evaluations and checkpoints are saved; run the same "
            "command again to go on:"
        )
        say(shlex.join(["ft-harness", *sys.argv[1:]]))
    return 128 + int(signum)


def _as_fault(error: BaseException) -> FtHarnessError:
    """Turn any exception into a fault that a user can act on."""
    if isinstance(error, FtHarnessError):
        return error
    if hasattr(error, "format_message"):  # typer's and click's errors of usage
        return _usage_fault(error)
    if isinstance(error, MemoryError):
        return ResourceError(
            "memory ran out",
            "enough memory for this command",
            "end other programs, or ask for less",
        )
    if is_panic(error):
        return panic_fault("a file of the model", error)
    if is_full(error):
        return full_disk(getattr(error, "filename", None) or "a file", error)
    system = error if isinstance(error, OSError) and error.errno in _UNREACHABLE else None
    place = system.filename if system else None
    if place or message_of(error).startswith("Symlink loop"):  # pathlib's, up to Python 3.12
        what = f"{place}: {system.strerror}" if system else message_of(error)
        return ConfigError(what, "a path that can be read", "check the path")
    if "No usable temporary directory" in message_of(error):  # Python's tempfile doesn't say why
        if limit := find_limit(HERE):
            return full_disk("temporary files", limit)
        return ResourceError(
            "no temporary folder can be written: no space, or no permission",
            "a folder with room for a copy of the data",
            "free space, or name another folder in TMPDIR",
        )
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return ConfigError(
            "the current folder was removed", "an existing folder", "change to another folder"
        )
    return _unexpected(error)


def _has_current_folder() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _usage_fault(error: Any) -> FtHarnessError:
    """The fault of a command line that typer can't read, with the usage line as what was
    expected."""
    context = getattr(error, "ctx", None)
    usage = context.get_usage() if context else "Usage: ft-harness [OPTIONS] COMMAND [ARGS]..."
    command = context.command_path if context else "ft-harness"
    what = " ".join(error.format_message().split()).removesuffix(".")
    expected = " ".join(usage.removeprefix("Usage: ").split())
    if (fault := _find_fault(error)) and fault["type"] in _NUMBERS:
        what = f"{error.param.opts[0]} is {fault['input']}"
        expected = _NUMBERS[fault["type"]].format(**fault.get("ctx", {}))
    return ConfigError(what, expected, f"see {command} --help")


def _find_fault(error: Any) -> Mapping[str, Any] | None:
    """The error of pydantic, with which typer reads the values of options."""
    cause = error.__cause__
    return cause.errors()[0] if hasattr(cause, "errors") else None


def _unexpected(error: BaseException) -> UnexpectedError:
    """A fault of the program itself; its traceback is kept in a file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    kept = keep_aside("traceback.txt", redact(traceback.format_exc()).encode(errors="replace"))
    return UnexpectedError(
        f"a fault of ft-harness itself: {type(error).__name__}: {first_line(error)} "
        f"({Path(last.filename).name}:{last.lineno})",
        "an error that says what to change; this one is not your mistake",
        f"report it with the command and the traceback, kept in {kept}"
        if kept
        else "report it with the command and what --debug shows",
    )
