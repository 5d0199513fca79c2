"""Commands on tasks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ft_harness.cli.app import IncludeOption, SourceOption, TrustOption, app, say, tasks_app
from ft_harness.errors import ConfigError
from ft_harness.paths import bundled_model_dir, task_yamls_dir


@app.command("init-task")
def init_task(
    file: Annotated[Path, typer.Argument(help="csv, tsv, json, jsonl (.gz) or parquet")],
    text: Annotated[
        str, typer.Option("--text", "--prompt", help="the column that the model reads")
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="the column with one of 2 to 100 classes")
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="or the column with an answer in free text")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="the task's name; default: <file>_custom")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to write; default: task_yamls/<name>")
    ] = None,
) -> None:
    """Write a task YAML and its README for a data file, and show three prompts."""
    from ft_harness.pipeline.checks import find_task, show_task
    from ft_harness.tasks.new_task import inspect, write_task

    task = inspect(file, text, label=label, answer=answer, name=name)
    path = write_task(task, out or Path("task_yamls") / task.name)
    print(path)
    for note in task.notes:
        say(f"warning: {note}")
    folder = str(path.parent)
    print("\nThree prompts, the answer's tokens marked as [token]:\n")
    print("\n\n".join(show_task(find_task(task.name, folder), "bundled", 3)))
    where = shlex.join([task.name, "--include-path", folder])
    print(f"\nNext:\n    ft-harness check {where}\n    ft-harness init {task.name} --task {where}")
    print(f"    ft-harness run {Path('adapters') / task.name}")


@app.command(
    "lm-eval",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def lm_eval(context: typer.Context, trust_task_code: TrustOption = False) -> None:
    """lm-eval's own command with its own arguments; knows our tasks and the models ft-causal and
    ft-seqcls."""
    from ft_harness.evaluation.lm_eval_command import run_lm_eval

    run_lm_eval(context.args, trust_code=trust_task_code)


@tasks_app.command("list")
def list_all(include_path: IncludeOption = None) -> None:
    """Shipped tasks (and a folder's): name, output type, data, file."""
    from ft_harness.tasks.listing import list_tasks

    for row in list_tasks(include_path):
        print("  ".join(f"{value:<22}" for value in row.values()).rstrip())


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
    """Rendered prompts of a task, the trained tokens marked as [token]."""
    from ft_harness.pipeline.checks import find_task, show_task

    metadata = {"data_source": source} if source else {}
    task = find_task(name, include_path, metadata, trust_task_code)
    print("\n\n".join(show_task(task, model, count)))


@tasks_app.command("path")
def tasks_path() -> None:
    """The folder for lm_eval's --include_path."""
    print(task_yamls_dir())


@app.command("path")
def path(what: Annotated[str, typer.Argument(help="model")]) -> None:
    """Where the bundled model is."""
    if what != "model":
        raise ConfigError(f"nothing named {what} is bundled", "model", "ft-harness path model")
    print(bundled_model_dir())
