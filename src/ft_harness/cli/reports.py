"""Commands on finished evaluations: `report` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ft_harness.cli.app import (
    HERE,
    Options,
    OutOption,
    RequireOption,
    app,
    option,
    repeating_command,
    with_options,
)
from ft_harness.cli.experiments import print_study
from ft_harness.errors import IncompleteError

if TYPE_CHECKING:
    from ft_harness.comparison.aggregator import Study
    from ft_harness.pipeline.report_files import ReportOptions

# options of every command that writes a report: type and default
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "formats": option(
        str,
        "--format",
        default="md,html",
        metavar="LIST",
        help="any of md,html,tex,csv,json,every-eval-ever,lm-eval",
    ),
    "rows": option(
        str | None,
        "--rows",
        metavar="LIST",
        help="leading columns of the main table: any of "
        "model,task,adapter,shots,decoding,input,"
        "quantization,limit,seed,split,metric",
    ),
    "columns": option(
        str | None,
        "--columns",
        metavar="NAME",
        help="one of the names of --rows, its values side by side",
    ),
    "metrics": option(str | None, "--metrics", metavar="LIST", help="metrics of the main table"),
    "allow_mismatch": option(
        list[str],
        "--allow-mismatch",
        default=[],
        metavar="FIELD",
        help="a field that may differ, with a note (repeatable)",
    ),
    "factor": option(
        list[str],
        "--factor",
        default=[],
        metavar="NAME",
        help="what the study varies on purpose: shots, decoding, quantization, prompt, "
        "model or head (repeatable)",
    ),
    "listed": option(
        int,
        "--explorer",
        default=20_000,
        metavar="N",
        min=0,
        max=20_000,
        help="at most N items in the page's case explorer",
    ),
    "holm": option(
        bool, "--holm", default=False, help="adjust p over the deciding comparisons of this report"
    ),
    "require": (RequireOption, []),
}
NameOption = Annotated[str, typer.Option("--name", help="name of the report's folder")]


def _make_options(given: Options) -> ReportOptions:
    from ft_harness.pipeline.reports import make_options

    return make_options(given)


@app.command()
@with_options("options", _OPTIONS)
def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="folders with evaluations in or below them, or lm-eval's own files"),
    ],
    options: Options,
    name: NameOption = "report",
    slice_by: Annotated[
        list[str],
        typer.Option("--slice-by", help="a field of the docs to slice the cases by (repeatable)"),
    ] = [],  # noqa: B006
    out: OutOption = HERE,
) -> None:
    """Write a report from finished evaluations."""
    from ft_harness.pipeline.reports import report_only

    made = _make_options(options)
    study, path = report_only(results, out, name, repeating_command(out), slice_by, made)
    print_study(study, path, options["require"])
    _check_read(study)


@app.command()
@with_options("options", _OPTIONS)
def compare(
    base: Annotated[Path, typer.Argument(help="folder of one evaluation, or lm-eval's own output")],
    tuned: Annotated[Path, typer.Argument(help="folder of the other")],
    options: Options,
    name: NameOption = "comparison",
    out: OutOption = HERE,
) -> None:
    """Compare two evaluations item by item.

    Any two evaluations of the same items; the first is the base. Writes a report.
    """
    from ft_harness.pipeline.reports import compare_only

    made = _make_options(options)
    study, path = compare_only(base, tuned, out, name, repeating_command(out), made)
    print_study(study, path, options["require"])
    _check_read(study)


def _check_read(study: Study) -> None:
    """Raise an error if the report leaves out files that should hold an evaluation."""
    if study.unread:
        more = f" (and {len(study.unread) - 1} more)" if len(study.unread) > 1 else ""
        raise IncompleteError(
            f"{study.unread[0]}{more}; the report covers the others",
            "evaluations that can be read",
            "see Notes in the report; fix, evaluate again or remove these files",
        )
