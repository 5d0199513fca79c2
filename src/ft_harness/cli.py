"""Arguments -> one call -> text and exit code. The only place that prints; heavy imports happen inside commands."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ft_harness.errors import FtHarnessError

if TYPE_CHECKING:
    from ft_harness.aggregator import Study
    from ft_harness.pipeline import Experiment
    from ft_harness.records import Evaluation

app = typer.Typer(
    help="Did the fine-tuning help, by how much, and how sure are we?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
tasks_app = typer.Typer(help="List, show and find tasks.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(tasks_app, name="tasks")

RecipeArgument = Annotated[Path, typer.Argument(help="recipe.yaml, or the adapter folder that holds it")]
SetOption = Annotated[list[str], typer.Option("--set", help="replace a field: section.field=value (repeatable)")]
OutOption = Annotated[Path, typer.Option("--out", help="working folder for adapters/ and results/")]
NameOption = Annotated[str | None, typer.Option("--name", help="adapter name; default: the recipe's folder")]
TaskOption = Annotated[str, typer.Option("--task", help="see ft-harness tasks list")]
IncludeOption = Annotated[str | None, typer.Option("--include-path", help="a further folder with task YAMLs")]
SourceOption = Annotated[str | None, typer.Option("--source", help="data source, instead of the task's own")]
TrustOption = Annotated[bool, typer.Option("--trust-task-code", help="run the code that a task from elsewhere names")]
HERE = Path()
_STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived. Not KeyboardInterrupt: typer would end the command without a word."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _command() -> str:
    return shlex.join(["ft-harness", *sys.argv[1:]])


def _quiet_libraries() -> None:
    """No walls of warnings from libraries; our own warnings stay."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DELAY", "2")  # bars, with the time that remains, for what takes longer than two seconds
    os.environ.setdefault("TQDM_MININTERVAL", "0.5")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR)
    logging.getLogger("ft_harness").setLevel(logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


def _experiment(
    recipe: Path, settings: list[str], out: Path, name: str | None = None, *, trust_task_code: bool = False
) -> Experiment:
    from ft_harness.pipeline import Experiment
    from ft_harness.recipe import check_name, experiment_name, load_recipe, recipe_file

    chosen = check_name(name) if name else experiment_name(recipe)
    loaded = load_recipe(recipe, settings)
    return Experiment(chosen, loaded, recipe_file(recipe), out, _command(), trust_task_code)


def _print_study(study: Study, path: Path) -> None:
    """The main metric of each comparison, the sentences of the primary ones, and the report's path."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ft_harness.amounts import amount, difference, interval

    table = Table("Task", "Split", "Metric", "Base", "Tuned", "Difference [95 %]", "n", "Verdict")
    for comparison in study.comparisons:
        measured = [row for row in comparison.rows if row.tuned_subject is not None]
        row = next((row for row in measured if row.primary), measured[0])
        cells = (
            row.task,
            row.split,
            row.metric,
            amount(row.metric, row.base),
            amount(row.metric, row.tuned),
            f"{difference(row.metric, row.delta)} [{interval(row)}]",
            str(row.n),
            row.verdict or "-",
        )
        table.add_row(*map(escape, cells))
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    print("\n".join([*study.sentences(), str(path)]))


def _print_scores(evaluations: list[Evaluation]) -> None:
    for evaluation in evaluations:
        record = evaluation.record
        for score in record.scores:
            value = "undefined" if score.value is None else f"{score.value:.4f}"
            print(f"{record.subject}  {record.eval_id}  {score.metric}  {value}  n={score.n}")
        print(evaluation.folder)


@app.command()
def demo(out: OutOption = HERE) -> None:
    """Score, tune and score again the bundled model on three bundled tasks; write results/reports/demo/report.md."""
    from ft_harness.pipeline import demo_experiments, run

    _print_study(*run(demo_experiments(out), "demo", _say))


@app.command()
def init(name: str, task: TaskOption, include_path: IncludeOption = None, out: OutOption = HERE) -> None:
    """Write adapters/NAME/recipe.yaml, commented."""
    from ft_harness.paths import adapters_dir
    from ft_harness.recipe import check_name, write_new_recipe
    from ft_harness.tasks import TaskSpec, find_task

    find_task(TaskSpec(task, include_path))
    print(write_new_recipe(adapters_dir(out) / check_name(name), task, include_path))


@app.command("init-task")
def init_task(
    file: Annotated[Path, typer.Argument(help="csv, tsv, json, jsonl (.gz) or parquet")],
    text: Annotated[str, typer.Option("--text", "--prompt", help="the column that the model reads")],
    label: Annotated[str | None, typer.Option("--label", help="the column with one of 2 to 100 classes")] = None,
    answer: Annotated[str | None, typer.Option("--answer", help="or the column with an answer in free text")] = None,
    name: Annotated[str | None, typer.Option("--name", help="the task's name; default: <file>_custom")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder to write; default: task_yamls/<name>")] = None,
) -> None:
    """Write a task YAML and its README for a data file, and show three prompts."""
    from ft_harness.init_task import inspect, write_task
    from ft_harness.pipeline import show_task
    from ft_harness.tasks import TaskSpec

    task = inspect(file, text, label=label, answer=answer, name=name)
    path = write_task(task, out or Path("task_yamls") / task.name)
    print(path)
    for note in task.notes:
        _say(f"warning: {note}")
    folder = str(path.parent)
    print("\nThree prompts, the answer's tokens marked as [token]:\n")
    print("\n\n".join(show_task(TaskSpec(task.name, folder), "bundled", 3)))
    where = shlex.join([task.name, "--include-path", folder])
    print(f"\nNext:\n    ft-harness check {where}\n    ft-harness init {task.name} --task {where}")
    print(f"    ft-harness run {Path('adapters') / task.name}")


@app.command()
def run(
    recipe: RecipeArgument,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    name: NameOption = None,
    trust_task_code: TrustOption = False,
) -> None:
    """base -> train -> tuned -> report; run it again and it continues."""
    from ft_harness import pipeline

    experiment = _experiment(recipe, set_, out, name, trust_task_code=trust_task_code)
    _print_study(*pipeline.run([experiment], experiment.name, _say))


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
    card = train_only(experiment, _say)
    print(f"{experiment.folder}: {card.steps} steps, final loss {card.final_loss:.4f}")


@app.command("eval")
def evaluate(
    recipe: RecipeArgument,
    adapter: Annotated[Path | None, typer.Option("--adapter", help="adapter folder to score beside the base")] = None,
    set_: SetOption = [],  # noqa: B006
    out: OutOption = HERE,
    trust_task_code: TrustOption = False,
) -> None:
    """Score the base model, and an adapter if one is given, on a recipe's task and splits."""
    from ft_harness.pipeline import evaluate_only

    experiment = _experiment(recipe, set_, out, trust_task_code=trust_task_code)
    _print_scores(evaluate_only(experiment, adapter, _say))


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="folders with evaluations in or below them")],
    name: Annotated[str, typer.Option("--name", help="name of the report's folder")] = "report",
    out: OutOption = HERE,
) -> None:
    """Write a report from finished evaluations."""
    from ft_harness.pipeline import report_only

    _print_study(*report_only(results, out, name, _command()))


@app.command()
def check(
    what: Annotated[list[str], typer.Argument(help="recipes (files or adapter folders) and names of tasks")],
    set_: SetOption = [],  # noqa: B006
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
    baseline: Annotated[bool, typer.Option("--baseline", help="what the last text field alone gives away")] = False,
    out: OutOption = HERE,
) -> None:
    """Find every fault of recipes, tasks and data before compute is spent; --set data.source=FILE works for both."""
    from ft_harness.pipeline import check_all
    from ft_harness.preflight import task_spec
    from ft_harness.recipe import recipe_of_task

    report = check_all(
        what,
        lambda path: _experiment(path, set_, out, trust_task_code=trust_task_code),
        lambda name: task_spec(recipe_of_task(name, include_path, set_), trust_code=trust_task_code),
        baseline=baseline,
    )
    print(f"{len(report)} things checked, no fault:")
    for line in report:
        print(f"  {line}")


@tasks_app.command("list")
def list_tasks(
    include_path: IncludeOption = None,
) -> None:
    """Shipped tasks (and a folder's): name, output type, data, file."""
    from ft_harness import tasks

    for row in tasks.list_tasks(include_path):
        print("  ".join(f"{value:<22}" for value in row.values()).rstrip())


@tasks_app.command("show")
def show_task(
    name: str,
    model: Annotated[str, typer.Option("--model", help="whose tokenizer marks the tokens")] = "bundled",
    source: SourceOption = None,
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
    count: Annotated[int, typer.Option("--count", min=1, help="docs to show")] = 3,
) -> None:
    """Rendered prompts of a task, the trained tokens marked as [token]."""
    from ft_harness.pipeline import show_task
    from ft_harness.tasks import TaskSpec

    metadata = {"data_source": source} if source else {}
    print("\n\n".join(show_task(TaskSpec(name, include_path, metadata, trust_task_code), model, count)))


@tasks_app.command("path")
def tasks_path() -> None:
    """The folder for lm_eval's --include_path."""
    from ft_harness.paths import task_yamls_dir

    print(task_yamls_dir())


@app.command("path")
def path(what: Annotated[str, typer.Argument(help="model")]) -> None:
    """Where the bundled model lies."""
    from ft_harness.errors import ConfigError
    from ft_harness.paths import bundled_model_dir

    if what != "model":
        raise ConfigError(f"nothing named {what} is bundled", "model", "ft-harness path model")
    print(bundled_model_dir())


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
        _say("\n".join(error.lines()))
        sys.exit(error.exit_code)
    except Stopped as stopped:
        (signum,) = stopped.args
        _say(
            f"{_STOPS[signum]}: finished evaluations and checkpoints are saved; run the same command again to continue"
        )
        sys.exit(128 + signum)


if __name__ == "__main__":
    main()
