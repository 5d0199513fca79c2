"""Commands on tasks, lm-eval's own command, and the commands that print where shipped files are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ft_harness.cli.app import (
    IncludeOption,
    Options,
    SourceOption,
    TrustOption,
    app,
    option,
    say,
    show,
    tasks_app,
    with_options,
)
from ft_harness.errors import ConfigError
from ft_harness.paths import bundled_model_dir, task_yamls_dir

# options of `init-task`
_NEW_TASK: dict[str, tuple[Any, Any]] = {
    "text": option(
        list[str] | None, "--text", "--prompt", help="a column that the model reads (repeatable)"
    ),
    "label": option(str | None, "--label", help="the column with one of 2 to 100 classes"),
    "answer": option(str | None, "--answer", help="or the column with an answer in free text"),
    "columns": option(
        str | None, "--columns", help="names of the columns of a file without a header: a,b,c"
    ),
    "delimiter": option(str | None, "--delimiter", help="what separates the cells of a line"),
    "line_format": option(
        str | None,
        "--line-format",
        help="fields of a line and what is between them: '{label}:{sub} {text}'",
    ),
    "encoding": option(
        str | None, "--encoding", help="of the text; default: UTF-8, or what it seems to be"
    ),
    "rows": option(str | None, "--rows", help="path of the rows in a .json file, like data.items"),
    "worksheet": option(
        str | None, "--worksheet", help="sheet of an Excel workbook; default: the first"
    ),
    "name": option(str | None, "--name", help="the task's name; default: <file>_custom"),
    "out": option(Path | None, "--out", help="folder to write; default: task_yamls/<name>"),
}


@app.command("init-task")
@with_options("given", _NEW_TASK)
def init_task(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="csv, tsv, txt, json, jsonl, xml (.gz), parquet, xlsx; a folder with such train "
            "and test files; or a file or folder for each label",
        ),
    ],
    given: Options,
) -> None:
    """Write a task for your own data, and show three prompts."""
    from ft_harness.data.layout import Layout
    from ft_harness.pipeline.shown_tasks import find_task, show_task
    from ft_harness.tasks.new_task import Request, inspect, write_task

    names, text, label, answer, name, out = (
        given.pop(option) for option in ("columns", "text", "label", "answer", "name", "out")
    )
    layout = Layout(
        column_names=[each.strip() for each in names.split(",")] if names else None, **given
    )
    task = inspect(Request(sources, text or [], label, answer, name, layout))
    path = write_task(task, out or Path("task_yamls") / task.name)
    show(str(path))
    for note in task.notes:
        say(f"warning: {note}")
    folder = str(path.parent)
    print("\nThree prompts, the answer's tokens marked as [token]:\n")
    print("\n\n".join(show_task(find_task(task.name, folder), "bundled", 3)))
    where = shlex.join([task.name, "--include-path", folder])
    print("\nNext:")
    show(f"    ft-harness check {where}")
    show(f"    ft-harness init {task.name} --task {where}")
    show(f"    ft-harness run {Path('adapters') / task.name}")


@app.command(
    "lm-eval",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def lm_eval(context: typer.Context, trust_task_code: TrustOption = False) -> None:
    """Run lm-eval's own command with our tasks and models.

    With its own arguments; the models are ft-causal and ft-seqcls.
    """
    from ft_harness.evaluation.lm_eval_command import run_lm_eval

    run_lm_eval(context.args, trust_code=trust_task_code)


@tasks_app.command("list")
def list_all(include_path: IncludeOption = None) -> None:
    """List tasks: name, output type, data, file."""
    from ft_harness.tasks.listing import list_tasks

    for row in list_tasks(include_path):
        show("  ".join(f"{value:<22}" for value in row.values()).rstrip())


@tasks_app.command("show")
def show_task(
    name: str,
    model: Annotated[
        str, typer.Option("--model", help="model whose tokenizer marks the tokens")
    ] = "bundled",
    source: SourceOption = None,
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
    count: Annotated[int, typer.Option("--count", min=1, help="number of docs to show")] = 3,
) -> None:
    """Show rendered prompts, the trained tokens as [token]."""
    from ft_harness.pipeline.shown_tasks import find_task, show_task

    metadata = {"data_source": source} if source else {}
    task = find_task(name, include_path, metadata, trust_task_code)
    print("\n\n".join(show_task(task, model, count)))


@tasks_app.command("path")
def tasks_path() -> None:
    """Print the folder for lm_eval's --include_path."""
    show(str(task_yamls_dir()))


@app.command("path")
def path(what: Annotated[str, typer.Argument(help="model")]) -> None:
    """Print where the bundled model is."""
    if what != "model":
        raise ConfigError(f"nothing named {what} is bundled", "model", "ft-harness path model")
    show(str(bundled_model_dir()))
