"""Arguments -> one call -> text and exit code. The only room that prints; heavy imports happen
inside commands."""

from ft_harness.cli import experiments, publication, reports, tasks  # noqa: F401  (their commands)
from ft_harness.cli.app import app, main, tasks_app

app.add_typer(tasks_app, name="tasks")

__all__ = ["app", "main"]
