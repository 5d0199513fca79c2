"""Commands on tasks."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ft_harness.cli.app import IncludeOption, SourceOption, TrustOption, app, say, show, tasks_app
from ft_harness.errors import ConfigError
from ft_harness.paths import bundled_model_dir, task_yamls_dir


@dataclass(frozen=True)
class _NewTaskOptions:
    """What `init-task` takes: more than the parameters of a function should be."""

    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="csv, tsv, txt, json, jsonl, xml (.gz), parquet, xlsx; a folder with such train "
            "and test files; or a file or folder for each label",
        ),
    ]
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "--prompt", help="a column that the model reads (repeatable)"),
    ] = None
    label: Annotated[
        str | None, typer.Option("--label", help="the column with one of 2 to 100 classes")
    ] = None
    answer: Annotated[
        str | None, typer.Option("--answer", help="or the column with an answer in free text")
    ] = None
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="names of the columns of a file without a header: a,b,c"),
    ] = None
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="what separates the cells of a line")
    ] = None
    line_format: Annotated[
        str | None,
        typer.Option(
            "--line-format",
            help="fields of a line and what is between them: '{label}:{sub} {text}'",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", help="of the text; default: UTF-8, or what it seems to be"),
    ] = None
    rows: Annotated[
        str | None,
        typer.Option("--rows", help="path of the list of rows in a .json file, like data.items"),
    ] = None
    worksheet: Annotated[
        str | None,
        typer.Option("--worksheet", help="sheet of an Excel workbook; default: the first"),
    ] = None
    name: Annotated[
        str | None, typer.Option("--name", help="the task's name; default: <file>_custom")
    ] = None
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to write; default: task_yamls/<name>")
    ] = None


def init_task(**given: Any) -> None:
    """Write a task for your own data, and show three prompts."""
    from ft_harness.data.layout import Layout
    from ft_harness.pipeline.shown_tasks import find_task, show_task
    from ft_harness.tasks.new_task import Request, inspect, write_task

    asked = _NewTaskOptions(**given)
    names = [name.strip() for name in asked.columns.split(",")] if asked.columns else None
    layout = Layout(
        column_names=names,
        delimiter=asked.delimiter,
        line_format=asked.line_format,
        encoding=asked.encoding,
        rows=asked.rows,
        worksheet=asked.worksheet,
    )
    request = Request(
        asked.sources, asked.text or [], asked.label, asked.answer, asked.name, layout
    )
    task = inspect(request)
    path = write_task(task, asked.out or Path("task_yamls") / task.name)
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


# typer reads a command's options off its signature
_hints = get_type_hints(_NewTaskOptions, include_extras=True)
init_task.__annotations__ = _hints
init_task.__signature__ = signature(_NewTaskOptions).replace(  # type: ignore[attr-defined]
    parameters=[
        part.replace(annotation=_hints[part.name])
        for part in signature(_NewTaskOptions).parameters.values()
    ]
)
app.command("init-task")(init_task)


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
        str, typer.Option("--model", help="whose tokenizer marks the tokens")
    ] = "bundled",
    source: SourceOption = None,
    include_path: IncludeOption = None,
    trust_task_code: TrustOption = False,
    count: Annotated[int, typer.Option("--count", min=1, help="docs to show")] = 3,
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
