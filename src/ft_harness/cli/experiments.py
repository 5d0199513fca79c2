"""Commands that check, train or score: `init`, `check`, `run`, `sweep`, `train`, `eval`, `rescore`,
`demo`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    check_finite,
    command_line,
    option,
    say,
    show,
    with_options,
)
from ft_harness.errors import ConfigError, raise_problems
from ft_harness.storage import write_text

if TYPE_CHECKING:
    from ft_harness.comparison.aggregator import Study
    from ft_harness.pipeline.experiment import Experiment
    from ft_harness.records import Evaluation
    from ft_harness.sweep import Request


# what a recipe is turned into, and where
_RECIPE_OPTIONS: dict[str, tuple[Any, Any]] = {
    "set_": (SetOption, []),
    "out": (OutOption, HERE),
    "name": (NameOption, None),
    "trust_task_code": (TrustOption, False),
}


def _experiment(recipe: Path, given: Options) -> Experiment:
    from ft_harness.pipeline.experiment import read_experiment

    return read_experiment(
        recipe,
        given["set_"],
        given["out"],
        command_line(),
        given.get("name"),
        given["trust_task_code"],
    )


def print_study(study: Study, path: Path, require: Sequence[str] = ()) -> None:
    """Print what a run, sweep or report found: the table, its sentences, the files, and whether
    each requirement is met; exit with code 1 if one is not."""
    from ft_harness.comparison.requirements import judge, read_requirements
    from ft_harness.pipeline.report_files import study_lines

    for line in study_lines(study, path):
        show(line)
    verdicts = judge(study, read_requirements(require))
    for _, sentence in verdicts:
        say(sentence)
    if not all(is_met for is_met, _ in verdicts):
        raise typer.Exit(1)


def _print_scores(
    evaluations: list[Evaluation], lines: Sequence[str], following: Sequence[str]
) -> None:
    """Print the scores of the evaluations, and the next command.

    Raises:
        IncompleteError: some evaluations are incomplete; the scores are printed first.
    """
    from ft_harness.evaluation import check_complete

    for line in (*lines, "", "Next:", f"    {shlex.join(following)}"):
        show(line)
    check_complete(evaluations)


def _at(out: Path) -> list[str]:
    return [] if out == HERE else ["--out", str(out)]


@app.command()
def demo(out: OutOption = HERE) -> None:
    """Run the three bundled recipes and write their report.

    Scores the bundled model, fine-tunes it and scores it again; needs no network.
    """
    from ft_harness.pipeline.demo import demo

    print_study(*demo(out, say))


@app.command()
def init(
    name: str, task: TaskOption, include_path: IncludeOption = None, out: OutOption = HERE
) -> None:
    """Write a commented recipe, adapters/NAME/recipe.yaml."""
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


_BASE_ONLY = option(
    bool, "--base-only", default=False, help="train nothing: score only base models"
)
_PLANNED = _RECIPE_OPTIONS | {
    "dry_run": option(
        float | None,
        "--dry-run",
        min=0,
        metavar="[=GIB]",
        callback=check_finite,
        help="print the estimate and exit; =24 plans for a 24 GiB GPU",
    ),
    "seeds": option(int | None, "--seeds", min=2, help="number of training seeds per setting"),
    "max_hours": option(
        float | None,
        "--max-hours",
        min=0,
        callback=check_finite,
        help="start no point of a sweep after this many hours",
    ),
    "executor": option(
        Literal["local", "ray", "slurm"],
        "--executor",
        default="local",
        help="where the points of a sweep run: on this machine (one process per GPU), a Ray "
        "cluster or a Slurm cluster",
    ),
    "accepted": option(
        bool, "--yes", default=False, help="run more than 300 points without asking"
    ),
    "require": (RequireOption, []),
}


@app.command(cls=_DryRun)
@with_options("given", _PLANNED)
def run(recipe: RecipeArgument, given: Options) -> None:
    """Score the base, train, score the adapter, write the report.

    Run it again to continue. What --set changed is written into the recipe in the adapter's folder.
    A sweep section in the recipe, several values of a field, or --seeds make it a sweep.
    """
    request = _request(recipe, given)
    if request.is_sweep:
        _sweep(request, given)
        return
    if given["executor"] != "local":
        raise ConfigError(
            f"--executor {given['executor']}: {recipe} is one run, not a sweep",
            "points of a sweep to send",
            "leave it out, or use --seeds 3 or --set train.learning_rate=1e-4,1e-3",
        )
    experiment = _experiment(recipe, given)
    if given["dry_run"] is not None:
        from ft_harness.pipeline import dry_run

        _print_estimate(dry_run.estimate(experiment, given["dry_run"] or None))
        return
    from ft_harness.pipeline import run_or_reuse

    study, path = run_or_reuse.run([experiment], experiment.name, say, given["require"])
    print_study(study, path, given["require"])


@app.command(cls=_DryRun)
@with_options("given", _PLANNED | {"base_only": _BASE_ONLY})
def sweep(recipe: RecipeArgument, given: Options) -> None:
    """Run every point of a sweep and write one report.

    Points come from the recipe's sweep section, from fields with several values and from --seeds.
    Run it again to continue.
    """
    _sweep(_request(recipe, given), given)


def _request(recipe: Path, given: Options) -> Request:
    from ft_harness.sweep import make_request

    return make_request(recipe, given["name"], given["set_"], given)


def _sweep(request: Request, given: Options) -> None:
    from ft_harness.pipeline import sweeps

    found = sweeps.read_sweep(request, given["out"], command_line(), given["trust_task_code"])
    if given["dry_run"] is not None:
        _print_estimate(sweeps.estimate_sweep(found, given["dry_run"] or None))
        return
    options = (given["max_hours"], given["require"], given["executor"])
    study, path = sweeps.run_sweep(found, say, *options)
    print_study(study, path, given["require"])
    sweeps.check_sweep(study)


def _print_estimate(lines: list[tuple[str, str]]) -> None:
    width = max(26, *(len(quantity) for quantity, _ in lines))
    for quantity, amount in lines:
        show(f"{quantity:<{width}}  {amount}".rstrip())


@app.command()
@with_options("given", _RECIPE_OPTIONS)
def train(recipe: RecipeArgument, given: Options) -> None:
    """Train the adapter of a recipe."""
    from ft_harness.pipeline.runs import train_only

    experiment = _experiment(recipe, given)
    first = processes.rank() == 0
    card = train_only(experiment, say if first else lambda line: None)
    if first:
        show(f"{experiment.folder}: {card.steps} steps, final loss {card.final_loss:.4f}")


@app.command("eval")
@with_options("given", {name: each for name, each in _RECIPE_OPTIONS.items() if name != "name"})
def evaluate(
    recipe: RecipeArgument,
    given: Options,
    adapter: Annotated[
        list[Path],
        typer.Option("--adapter", help="adapter folder to score next to the base (repeatable)"),
    ] = [],  # noqa: B006
    server: Annotated[
        str | None,
        typer.Option("--server", help="URL of a server that computes the scores (eval.server.url)"),
    ] = None,
    list_to: Annotated[
        Path | None,
        typer.Option("--list-to", help="write the evaluations' folders to this file, one per line"),
    ] = None,
) -> None:
    """Score the base and given adapters, without training.

    On the recipe's task and splits; the base is loaded once.
    """
    from ft_harness.pipeline.runs import evaluate_only, score_lines
    from ft_harness.records.adapter_folder import AdapterFolder

    served = [f"eval.server.url={server}"] if server else []
    experiment = _experiment(recipe, {**given, "set_": [*given["set_"], *served]})
    found = [AdapterFolder(folder) for folder in adapter]
    first = processes.rank() == 0
    evaluations = evaluate_only(experiment, found, say if first else lambda line: None)
    if first:
        if list_to is not None:
            write_text(list_to, "\n".join(str(each.folder) for each in evaluations))
        folders = dict.fromkeys(str(each.folder.parent) for each in evaluations)
        _print_scores(
            evaluations,
            score_lines(evaluations, found),
            ["ft-harness", "report", *folders, "--name", experiment.name, *_at(given["out"])]
            if adapter
            else ["ft-harness", "run", str(recipe), *_at(given["out"])],
        )


@app.command()
def rescore(
    results: Annotated[
        list[Path], typer.Argument(help="folders with evaluations in or below them")
    ],
    task: Annotated[
        str | None, typer.Option("--task", help="a task with the same prompts; default: their own")
    ] = None,
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """Score saved responses again, without a model.

    With the task's metrics as they are now; writes new evaluations next to the old ones.
    """
    from ft_harness.pipeline.runs import rescore_all, score_lines

    evaluations = rescore_all(results, task, include_path, trust_task_code)
    following = ["ft-harness", "report", *map(str, results)]
    _print_scores(evaluations, score_lines(evaluations), following)


_LOOKS: dict[str, tuple[Any, Any]] = {
    "baseline": option(
        bool,
        "--baseline",
        default=False,
        help="score a bag of words that sees only the last text field",
    ),
    "privacy": option(
        bool,
        "--privacy-check/--no-privacy-check",
        default=True,
        help="look for e-mail addresses, card numbers and keys in the training text",
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
    """Find faults in recipes, tasks and data before a run.

    --set data.source=FILE works for recipes and tasks.
    """
    from ft_harness.pipeline.checks import CheckOptions, check_all

    options = CheckOptions(set_, include_path, out, command_line(), trust_task_code, **looks)
    found = check_all(what, options)
    counts = [_count(len(found.faults), "fault"), _count(len(found.notices), "warning")]
    show(f"{counts[0]}, {counts[1]}, {len(found.facts)} things checked")
    for notice in found.notices:
        show(f"  warning: {notice.what}")
        show(f"       do: {notice.action}")
    for fact in found.facts:
        show(f"  {fact}")
    raise_problems(found.faults)


def _count(number: int, noun: str) -> str:
    """A number with its noun: no fault, 1 warning, 3 warnings."""
    return f"{number or 'no'} {noun}{'' if number < 2 else 's'}"
