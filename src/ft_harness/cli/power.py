"""The command `power`, on what a test set can show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ft_harness.cli.app import app, show


@app.command()
def power(
    results: Annotated[
        Path | None, typer.Argument(help="a base evaluation, instead of --n and --base")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="items of the test set")] = None,
    base: Annotated[float | None, typer.Option("--base", help="the base's score, 0 to 1")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="default: acc, or the run's main metric")
    ] = None,
    effect: Annotated[
        float | None,
        typer.Option(
            "--effect",
            help="target improvement in the metric's own unit (0.05 is 5 points of accuracy); "
            "prints how many items it needs",
        ),
    ] = None,
    correlation: Annotated[
        float,
        typer.Option(
            "--correlation",
            help="assumed correlation between base and tuned scores; 0 is conservative",
        ),
    ] = 0.0,
) -> None:
    """Tell what a test set can show, before anything is trained.

    Prints the smallest improvement that would be found with 80 % power, and how many items a target
    improvement needs.
    """
    from ft_harness.pipeline.power import Target, describe_power

    for line in describe_power(results, n, base, Target(metric, effect, correlation)):
        show(line)
