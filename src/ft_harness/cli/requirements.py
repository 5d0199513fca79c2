"""The option `--require`: what must be shown for a command to end with exit code 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ft_harness.cli.app import say

if TYPE_CHECKING:
    from ft_harness.comparison.aggregator import Study
    from ft_harness.comparison.requirements import Requirement

RequireOption = Annotated[
    list[str],
    typer.Option(
        "--require",
        metavar="CONDITION",
        help="exit 1 unless the whole interval meets it: acc>=+2, controls>=-1, classes>=-5, "
        "token_ppl<=-5% (repeatable)",
    ),
]


def enforce(study: Study, required: Sequence[Requirement]) -> None:
    """Say how each requirement came out; end with exit code 1 where one is not met."""
    from ft_harness.comparison.requirements import judge

    verdicts = judge(study, required)
    for _, sentence in verdicts:
        say(sentence)
    if not all(is_met for is_met, _ in verdicts):
        raise typer.Exit(1)
