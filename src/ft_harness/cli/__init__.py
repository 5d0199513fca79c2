"""Arguments -> one call -> text and exit code. The only wing that prints; heavy imports happen
inside commands."""

from ft_harness.cli import experiments, fields, power, publication, reports, tasks
from ft_harness.cli.app import app, main, tasks_app
from ft_harness.cli.examples import add_examples

app.add_typer(tasks_app, name="tasks")
add_examples(app)
