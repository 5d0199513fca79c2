"""The command `fields`, which lists the fields of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from ft_harness.cli.app import app, show


@app.command()
def fields(
    section: Annotated[
        str | None,
        typer.Argument(
            help="model, task, data, adapter, train, eval, controls, sweep; default: all"
        ),
    ] = None,
) -> None:
    """List the fields of a recipe, as --set takes them.

    Prints the default, type and description of each; adapter uses PEFT's names, train those of
    transformers.
    """
    from ft_harness.recipe import list_fields

    for field in list_fields(section):
        show(f"{field.name}={field.default or ''}  ({field.type})")
        show(f"    {field.description}")
