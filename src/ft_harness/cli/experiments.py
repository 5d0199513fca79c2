"""Commands on recipes and their results."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ft_harness import processes
from ft_harness.cli.app import (
    HERE,
    IncludeOption,
    NameOption,
    OutOption,
    RecipeArgument,
    SetOption,
    TaskOption,
    TrustOption,
    app,
    say,
)

if TYPE_CHECKING:
    from ft_harness.comparison.aggregator import Study
    from ft_harness.pipeline import Experiment
    from ft_harness.records import Evaluation


def command_line() -> str:
    """The command as it was given; of several processes, what follows the launcher's part."""
    command = shlex.join(["ft-harness", *sys.argv[1:]])
    return command if processes.count() == 1 else f"(by the same launcher) {command}"


def _experiment(
    recipe: Path,
    settings: list[str],
    out: Path,
    name: str | None = None,
    *,
    trust_task_code: bool = False,
) -> Experiment:
    from ft_harness.pipeline import Experiment
    from ft_harness.recipe import check_name, experiment_name, load_recipe, recipe_file

    chosen = check_name(name) if name else experiment_name(recipe)
    loaded = load_recipe(recipe, settings)
    return Experiment(chosen, loaded, recipe_file(recipe), out, command_line(), trust_task_code)


_NUMBERS = [
    "Base",
    "Tuned",
    "Difference",
    "95 % interval",
    "p",
    "n",
    "Verdict",
]  # columns of the table in the terminal


def print_study(study: Study, path: Path) -> None:
    """The main metric of each comparison, the sentences of the primary ones, and the report's
    path."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from ft_harness.comparison.features import TITLES, features_of
    from ft_harness.report import View, headline, leading, measured_cells, one_line, text_of

    features = leading(study, View())
    table = Table(
        *(TITLES[name] for name in features), *(Column(name, no_wrap=True) for name in _NUMBERS)
    )
    for comparison in study.comparisons:
        row = headline(comparison.rows)
        found, cells = features_of(study, comparison, row), measured_cells(row)
        if row.p_adjusted is not None:
            cells["p"] = cells["p (Holm)"]
        shown = [*(found[name] for name in features), *(text_of(cells[name]) for name in _NUMBERS)]
        table.add_row(*(escape(one_line(cell)) for cell in shown))
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    from ft_harness.comparison.sentences import state_study

    print("\n".join([*map(one_line, state_study(study)), str(path)]))


def _print_scores(evaluations: list[Evaluation]) -> None:
    for evaluation in evaluations:
        record = evaluation.record
        for score in record.scores:
            value = "undefined" if score.value is None else f"{score.value:.4f}"
            print(f"{record.subject}  {record.eval_id}  {score.metric}  {value}  n={score.n}")
        print(evaluation.folder)


@app.command()
def demo(out: OutOption = HERE) -> None:
    """Score, tune and score again the bundled model on three bundled tasks; write
    results/reports/demo/report.md."""
    from ft_harness.pipeline import demo_experiments, run

    print_study(*run(demo_experiments(out), "demo", say))


@app.command()
def init(
    name: str, task: TaskOption, include_path: IncludeOption = None, out: OutOption = HERE
) -> None:
    """Write adapters/NAME/recipe.yaml, commented."""
    from ft_harness.paths import adapters_dir
    from ft_harness.recipe import check_name, write_new_recipe
    from ft_harness.tasks.loading import TaskSpec, find_task

    find_task(TaskSpec(task, include_path))
    print(write_new_recipe(adapters_dir(out) / check_name(name), task, include_path))


class _DryRun(TyperCommand):
    """`--dry-run` alone is that of this machine: typer's options have a value always or never."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(
            ctx, ["--dry-run=0" if each == "--dry-run" else each for each in args]
        )


@app.command(cls=_DryRun)
def run(
    recipe: RecipeArgument,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    name: NameOption = None,
    trust_task_code: TrustOption = False,
    dry_run: Annotated[
        float | None,
        typer.Option(
            "--dry-run",
            min=0,
            metavar="[=GIB]",
            help="say what a run will need, here or on a GPU of so many GiB; no more",
        ),
    ] = None,
) -> None:
    """base -> train -> tuned -> report; run it again and it continues."""
    from ft_harness import pipeline

    experiment = _experiment(recipe, set_, out, name, trust_task_code=trust_task_code)
    if dry_run is not None:
        lines = pipeline.dry_run(experiment, dry_run or None)
        print("\n".join(f"{quantity:<26}  {amount}".rstrip() for quantity, amount in lines))
        return
    print_study(*pipeline.run([experiment], experiment.name, say))


@app.command()
def train(
    recipe: RecipeArgument,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    name: NameOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """Make the adapter of a recipe."""
    from ft_harness.pipeline import train_only

    experiment = _experiment(recipe, set_, out, name, trust_task_code=trust_task_code)
    first = processes.rank() == 0
    card = train_only(experiment, say if first else lambda line: None)
    if first:
        print(f"{experiment.folder}: {card.steps} steps, final loss {card.final_loss:.4f}")


@app.command("eval")
def evaluate(
    recipe: RecipeArgument,
    adapter: Annotated[
        list[Path],
        typer.Option("--adapter", help="adapter folder to score beside the base (repeatable)"),
    ] = [],  # noqa: B006
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    trust_task_code: TrustOption = False,
) -> None:
    """Score the base model, and the adapters that are given, on a recipe's task and splits; one
    load for all."""
    from ft_harness.evaluation import check_complete
    from ft_harness.pipeline import evaluate_only

    experiment = _experiment(recipe, set_, out, trust_task_code=trust_task_code)
    first = processes.rank() == 0
    evaluations = evaluate_only(experiment, adapter, say if first else lambda line: None)
    if first:
        _print_scores(evaluations)
        check_complete(evaluations)


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
    from ft_harness.evaluation import check_complete
    from ft_harness.evaluation.rescore import Definition, score_again
    from ft_harness.records import load_records

    evaluations = score_again(
        load_records(results), Definition(task, include_path, trust_task_code)
    )
    _print_scores(evaluations)
    check_complete(evaluations)


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
        float | None, typer.Option("--effect", help="a wished improvement: the items it needs")
    ] = None,
    correlation: Annotated[
        float, typer.Option("--correlation", help="of base and tuned over items; 0: careful")
    ] = 0.0,
) -> None:
    """The smallest improvement that a test set could show with 80 % power, and the items that a
    wished one needs."""
    from ft_harness.comparison.power import power_of_run, power_of_score
    from ft_harness.comparison.sentences import state_power
    from ft_harness.errors import ConfigError
    from ft_harness.records import describe_record, load_records

    if results is None and n is not None and base is not None:
        print("\n".join(state_power(power_of_score(metric or "acc", n, base, effect, correlation))))
        return
    if results is None or n is not None or base is not None:
        raise ConfigError(
            "either a base evaluation or both --n and --base tell what can be shown",
            "one of the two",
            "ft-harness power --n 300 --base 0.6, or ft-harness power results/base--<model>",
        )
    for evaluation in load_records([results]):
        if evaluation.record.adapter is None:
            lines = state_power(power_of_run(evaluation, metric, effect, correlation))
            print(
                "\n".join(
                    [f"{describe_record(evaluation.record)}:", *(f"  {line}" for line in lines)]
                )
            )


@app.command()
def check(
    what: Annotated[
        list[str], typer.Argument(help="recipes (files or adapter folders) and names of tasks")
    ],
    set_: SetOption = [],  # noqa: B006
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="what the last text field alone gives away")
    ] = False,
    out: OutOption = HERE,
) -> None:
    """Find every fault of recipes, tasks and data before compute is spent; --set data.source=FILE
    works for both."""
    from ft_harness.pipeline import check_all
    from ft_harness.pipeline.preflight import task_spec
    from ft_harness.recipe import recipe_of_task

    report = check_all(
        what,
        lambda path: _experiment(path, set_, out, trust_task_code=trust_task_code),
        lambda name: task_spec(
            recipe_of_task(name, include_path, set_), trust_code=trust_task_code
        ),
        baseline=baseline,
    )
    print(f"{len(report)} things checked, no fault:")
    for line in report:
        print(f"  {line}")
