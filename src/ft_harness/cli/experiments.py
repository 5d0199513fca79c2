"""Commands on recipes and their results."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ft_harness import processes
from ft_harness.cli.app import (
    HERE,
    IncludeOption,
    NameOption,
    Options,
    OutOption,
    RecipeArgument,
    RequireOption,
    SetOption,
    TaskOption,
    TrustOption,
    app,
    say,
    show,
    with_options,
)
from ft_harness.errors import raise_problems

if TYPE_CHECKING:
    from ft_harness.comparison.aggregator import Study
    from ft_harness.pipeline.experiment import Experiment
    from ft_harness.records import Evaluation
    from ft_harness.sweep import Request


def command_line() -> str:
    """The command as it was given; of several processes, what follows the launcher's part."""
    command = shlex.join(["ft-harness", *sys.argv[1:]])
    return command if processes.count() == 1 else f"(by the same launcher) {command}"


def _experiment(
    recipe: Path, overrides: list[str], out: Path, name: str | None, trust_task_code: bool
) -> Experiment:
    from ft_harness.pipeline.experiment import read_experiment

    return read_experiment(recipe, overrides, out, command_line(), name, trust_task_code)


def print_study(study: Study, path: Path, require: Sequence[str] = ()) -> None:
    """The table of a study, its sentences, the report's paths (its page is named wherever the
    report has one), and how each requirement came out; exit code 1 where one is not met."""
    from rich.console import Console

    from ft_harness.comparison.requirements import judge, read_requirements
    from ft_harness.report.terminal_page import terminal_page

    # no control sequences: the gate would show them
    for line in terminal_page(study, Console(color_system=None)):
        show(line)
    for page in dict.fromkeys([path, path.with_name("report.html")]):
        if page == path or page.is_file():
            show(str(page))
    verdicts = judge(study, read_requirements(require))
    for _, sentence in verdicts:
        say(sentence)
    if not all(is_met for is_met, _ in verdicts):
        raise typer.Exit(1)


def _print_scores(evaluations: list[Evaluation]) -> None:
    """Every score.

    Raises:
        IncompleteError: some evaluations are incomplete; the scores are printed first.
    """
    from ft_harness.evaluation import check_complete

    for evaluation in evaluations:
        record = evaluation.record
        for score in record.scores:
            value = "undefined" if score.value is None else f"{score.value:.4f}"
            show(f"{record.subject}  {record.eval_id}  {score.metric}  {value}  n={score.n}")
        show(str(evaluation.folder))
    check_complete(evaluations)


@app.command()
def demo(out: OutOption = HERE) -> None:
    """Score, tune and score again the bundled model on three bundled tasks; write
    results/reports/demo/report.md."""
    from ft_harness.pipeline.runs import demo

    print_study(*demo(out, say))


@app.command()
def init(
    name: str, task: TaskOption, include_path: IncludeOption = None, out: OutOption = HERE
) -> None:
    """Write adapters/NAME/recipe.yaml, commented."""
    from ft_harness.pipeline.new_recipe import init_recipe

    for line in init_recipe(name, task, include_path, out):
        show(line)


class _DryRun(TyperCommand):
    """`--dry-run` without a value plans for this machine; typer's options take a value always or
    never."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(
            ctx, ["--dry-run=0" if each == "--dry-run" else each for each in args]
        )


_BaseOnly = Annotated[
    bool, typer.Option("--base-only", help="train nothing: score base models alone")
]
_PLANNED: dict[str, tuple[Any, Any]] = {
    "dry_run": (
        Annotated[
            float | None,
            typer.Option(
                "--dry-run",
                min=0,
                metavar="[=GIB]",
                help="print the estimate and exit; =24 plans for a 24 GiB GPU",
            ),
        ],
        None,
    ),
    "seeds": (
        Annotated[
            int | None, typer.Option("--seeds", min=2, help="training seeds of each setting")
        ],
        None,
    ),
    "max_hours": (
        Annotated[
            float | None,
            typer.Option("--max-hours", min=0, help="start no point of a sweep after this"),
        ],
        None,
    ),
    "accepted": (
        Annotated[bool, typer.Option("--yes", help="run more than 300 points without asking")],
        False,
    ),
    "require": (RequireOption, []),
}


@app.command(cls=_DryRun)
@with_options("planned", _PLANNED)
def run(
    recipe: RecipeArgument,
    planned: Options,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    name: NameOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """base -> train -> tuned -> report; run it again and it continues. A recipe with a sweep
    section, several values of a field or --seeds make it a sweep."""
    request = _request(recipe, set_, name, planned)
    if request.is_sweep:
        _sweep(request, out, trust_task_code, planned)
        return
    experiment = _experiment(recipe, set_, out, name, trust_task_code)
    from ft_harness.pipeline import dry_run, runs

    if planned["dry_run"] is not None:
        _print_estimate(dry_run.estimate(experiment, planned["dry_run"] or None))
        return
    study, path = runs.run([experiment], experiment.name, say, planned["require"])
    print_study(study, path, planned["require"])


@app.command(cls=_DryRun)
@with_options("planned", _PLANNED | {"base_only": (_BaseOnly, False)})
def sweep(
    recipe: RecipeArgument,
    planned: Options,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    name: NameOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """Run every point of a recipe's sweep section and write one report; run it again and it
    continues."""
    _sweep(_request(recipe, set_, name, planned), out, trust_task_code, planned)


def _request(recipe: Path, overrides: list[str], name: str | None, planned: Options) -> Request:
    from ft_harness.sweep import make_request

    return make_request(recipe, name, overrides, planned)


def _sweep(request: Request, out: Path, trust_task_code: bool, planned: Options) -> None:
    from ft_harness.pipeline import sweeps

    found = sweeps.read_sweep(request, out, command_line(), trust_task_code)
    if planned["dry_run"] is not None:
        _print_estimate(sweeps.estimate_sweep(found, planned["dry_run"] or None))
        return
    study, path = sweeps.run_sweep(found, say, planned["max_hours"], planned["require"])
    print_study(study, path, planned["require"])
    sweeps.check_sweep(study)


def _print_estimate(lines: list[tuple[str, str]]) -> None:
    width = max(26, *(len(quantity) for quantity, _ in lines))
    for quantity, amount in lines:
        show(f"{quantity:<{width}}  {amount}".rstrip())


@app.command()
def train(
    recipe: RecipeArgument,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    name: NameOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """Make the adapter of a recipe."""
    from ft_harness.pipeline.runs import train_only

    experiment = _experiment(recipe, set_, out, name, trust_task_code)
    first = processes.rank() == 0
    card = train_only(experiment, say if first else lambda line: None)
    if first:
        show(f"{experiment.folder}: {card.steps} steps, final loss {card.final_loss:.4f}")


@app.command("eval")
def evaluate(
    recipe: RecipeArgument,
    adapter: Annotated[
        list[Path],
        typer.Option("--adapter", help="adapter folder to score next to the base (repeatable)"),
    ] = [],  # noqa: B006
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    trust_task_code: TrustOption = False,
) -> None:
    """Score the base model, and the given adapters, on a recipe's task and splits; one load for
    all."""
    from ft_harness.pipeline.runs import evaluate_only

    experiment = _experiment(recipe, set_, out, None, trust_task_code)
    first = processes.rank() == 0
    evaluations = evaluate_only(experiment, adapter, say if first else lambda line: None)
    if first:
        _print_scores(evaluations)


@app.command()
def rescore(
    results: Annotated[
        list[Path], typer.Argument(help="folders with evaluations in or below them")
    ],
    task: Annotated[
        str | None, typer.Option("--task", help="a task that asks the same; default: their own")
    ] = None,
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """Score saved responses again with a task's metrics as they are now, without a model; new
    evaluations."""
    from ft_harness.pipeline.runs import rescore_all

    _print_scores(rescore_all(results, task, include_path, trust_task_code))


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
        typer.Option("--effect", help="target improvement; prints how many items it takes"),
    ] = None,
    correlation: Annotated[
        float,
        typer.Option(
            "--correlation",
            help="assumed correlation between base and tuned scores; 0 is conservative",
        ),
    ] = 0.0,
) -> None:
    """The smallest improvement that a test set can show with 80 % power, and the items that a
    target improvement takes."""
    from ft_harness.pipeline.power import Target, describe_power

    for line in describe_power(results, n, base, Target(metric, effect, correlation)):
        show(line)


_LOOKS: dict[str, tuple[Any, Any]] = {
    "baseline": (
        Annotated[
            bool, typer.Option("--baseline", help="what the last text field alone gives away")
        ],
        False,
    ),
    "privacy": (
        Annotated[
            bool,
            typer.Option(
                "--privacy-check/--no-privacy-check",
                help="look for e-mail addresses, card numbers and keys in the training text",
            ),
        ],
        True,
    ),
}


@app.command()
@with_options("looks", _LOOKS)
def check(
    what: Annotated[
        list[str], typer.Argument(help="recipes (files or adapter folders) and names of tasks")
    ],
    looks: Options,
    set_: SetOption = [],  # noqa: B006
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
    out: OutOption = HERE,
) -> None:
    """Find every fault of recipes, tasks and data before compute is spent; --set data.source=FILE
    works for both."""
    from ft_harness.pipeline.checks import CheckOptions, check_all

    options = CheckOptions(set_, include_path, out, command_line(), trust_task_code, **looks)
    found = check_all(what, options)
    counts = [_count(len(found.faults), "fault"), _count(len(found.notices), "warning")]
    show(f"{counts[0]}, {counts[1]}, {len(found.facts)} things looked at")
    for notice in found.notices:
        show(f"  warning: {notice.what}")
        show(f"       do: {notice.action}")
    for fact in found.facts:
        show(f"  {fact}")
    raise_problems(found.faults)


def _count(number: int, noun: str) -> str:
    """A number with its noun: no fault, 1 warning, 3 warnings."""
    return f"{number or 'no'} {noun}{'' if number < 2 else 's'}"
