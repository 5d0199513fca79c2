"""docs/commands.md: the help of every command. `python -m tests.builders.command_page` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ft_harness import cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = 80
_TOP = """# Commands

What `--help` prints, made by `python -m tests.builders.command_page`; a test compares the two.
Every command takes `--debug`, which shows tracebacks.
"""
_OWN = (
    "`ft-harness lm-eval --help` is lm-eval's own help: all its arguments are taken.\n"
    "`--trust-task-code` is ours.\n\n"
    "Example: `ft-harness lm-eval run --model ft-causal --tasks sst2_custom --limit 8`"
    "\n\nMore: docs/scoring.md"
)


def list_commands() -> Iterator[tuple[str, Any, str]]:
    """(name, command, its help as a terminal of 80 columns shows it), groups before what is in
    them."""
    yield from _list("ft-harness", typer.main.get_command(cli.app), None)


def _list(name: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, str]]:
    context = command.make_context(
        name.rpartition(" ")[2], [], parent=parent, resilient_parsing=True,
        terminal_width=WIDTH, max_content_width=WIDTH,
    )  # fmt: skip
    yield name, command, command.get_help(context)
    for each, inner in getattr(command, "commands", {}).items():
        yield from _list(f"{name} {each}", inner, context)


def make_page() -> str:
    parts = [_TOP]
    for name, _, text in list_commands():
        shown = _OWN if name.endswith("lm-eval") else f"```text\n{text.rstrip()}\n```"
        parts.append(f"## {name}\n\n{shown}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
