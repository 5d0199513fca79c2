"""The command `ft-harness`: its group, its options, its exit codes."""

from __future__ import annotations

import inspect
import logging
import math
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from ft_harness.errors import ConfigError, FtHarnessError
from ft_harness.storage import redact

app = typer.Typer(
    help="Did the fine-tuning help, by how much, and how sure are we?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="ft-harness COMMAND --help has an example of each, and names its page in docs/.",
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
OutOption = Annotated[Path, typer.Option("--out", help="working folder for adapters/ and results/")]
NameOption = Annotated[
    str | None, typer.Option("--name", help="adapter name; default: the recipe's folder")
]
TaskOption = Annotated[str, typer.Option("--task", help="see ft-harness tasks list")]
IncludeOption = Annotated[
    str | None, typer.Option("--include-path", help="a further folder with task YAMLs")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="data source, instead of the task's own")
]
TrustOption = Annotated[
    bool, typer.Option("--trust-task-code", help="run the code that a task from elsewhere names")
]
HERE = Path()
_STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


Options = dict[str, Any]


def _show_version(value: bool) -> None:
    if value:
        print(f"ft-harness {version('ft-harness')}")
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


def check_finite(value: float | None) -> float | None:
    """The value of an option that is a number.

    Raises:
        ConfigError: it is infinite, or nan, which no range of the command line refuses.
    """
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"{value} is not a finite number", "a number", "correct the option")
    return value


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived. Not KeyboardInterrupt: typer would end the command without a
    word."""


def say(line: str) -> None:
    print(redact(line), file=sys.stderr, flush=True)


def _quiet_libraries() -> None:
    """No walls of warnings from libraries; our own warnings stay."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault(
        "TQDM_DELAY", "2"
    )  # bars, with the time that remains, for what takes longer than two seconds
    os.environ.setdefault("TQDM_MININTERVAL", "0.5")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR)
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
    for signum in _STOPS:
        signal.signal(signum, _stop)
    _quiet_libraries()
    try:
        app(standalone_mode=True)
    except FtHarnessError as error:
        if debug:
            raise
        say("\n".join(error.lines()))
        sys.exit(error.exit_code)
    except Stopped as stopped:
        (signum,) = stopped.args
        say(
            f"{_STOPS[signum]}: finished evaluations and checkpoints are saved; run the same "
            "command again to go on:"
        )
        say(shlex.join(["ft-harness", *sys.argv[1:]]))
        sys.exit(128 + signum)
