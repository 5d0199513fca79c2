"""The command `push`, which uploads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ft_harness.cli.app import HERE, Options, OutOption, app, option, say, with_options
from ft_harness.errors import ConfigError

_PUSH: dict[str, tuple[Any, Any]] = {
    "base": option(
        str | None, "--base", metavar="ID", help="hub id of the base; default: the recipe's"
    ),
    "public": option(bool, "--public", default=False, help="make it public; default: private"),
    "unscored": option(
        bool, "--unscored", default=False, help="publish it even if it was never scored"
    ),
    "samples": option(
        bool, "--with-samples", default=False, help="publish the samples of its evaluations too"
    ),
    "message": option(str | None, "--message", help="commit message"),
}


@app.command()
@with_options("options", _PUSH)
def push(
    adapter: Annotated[Path, typer.Argument(help="folder of a finished adapter")],
    repo: Annotated[str, typer.Argument(help="repository on the hub: OWNER/NAME")],
    options: Options,
    yes: Annotated[bool, typer.Option("--yes", help="don't ask for confirmation")] = False,
    out: OutOption = HERE,
) -> None:
    """Upload an adapter with its model card, after asking.

    First shows what will be uploaded, and who will see it.
    """
    from ft_harness.pipeline.publication import PushOptions, prepare_push

    prepared = prepare_push(adapter, repo, out, PushOptions(**options))
    print("\n".join(prepared.lines()))
    if not yes and not _confirm(repo):
        say("nothing was uploaded")
        raise typer.Exit(2)
    print(prepared.send())


def _confirm(repo: str) -> bool:
    """Ask for confirmation at the terminal.

    Raises:
        ConfigError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError("no terminal to confirm on", "a terminal, or --yes", "give --yes")
    return typer.confirm(f"Upload to {repo}?")
