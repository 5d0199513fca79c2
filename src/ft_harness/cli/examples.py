"""An example of each command, and the page that explains it: the end of its `--help`."""

from __future__ import annotations

from typing import NamedTuple

import typer


class Example(NamedTuple):
    """What a user types, and the page of docs/ to read on."""

    lines: list[str]
    page: str


EXAMPLES = {
    "demo": Example(["ft-harness demo --out demo"], "reading-a-report.md"),
    "init": Example(["ft-harness init my-sentiment --task sst2_custom"], "training.md"),
    "run": Example(
        [
            "ft-harness run adapters/my-sentiment",
            "ft-harness run adapters/my-sentiment --name larger --set adapter.r=64",
        ],
        "training.md",
    ),
    "sweep": Example(
        [
            "ft-harness sweep adapters/my-sentiment --seeds 3",
            "ft-harness sweep adapters/my-sentiment --set train.learning_rate=1e-4,1e-3",
        ],
        "sweeps.md",
    ),
    "train": Example(
        ["ft-harness train adapters/my-sentiment --name seed-1 --set train.seed=1"], "training.md"
    ),
    "eval": Example(
        [
            "ft-harness eval adapters/my-sentiment --adapter adapters/my-sentiment",
            "ft-harness eval adapters/my-sentiment --server http://127.0.0.1:8000",
        ],
        "scoring.md",
    ),
    "rescore": Example(["ft-harness rescore results/my-sentiment"], "scoring.md"),
    "power": Example(
        [
            "ft-harness power --n 300 --base 0.6 --effect 0.05",
            "ft-harness power results/base--bundled",
        ],
        "statistics.md",
    ),
    "check": Example(["ft-harness check adapters/my-sentiment sst2_custom"], "data.md"),
    "push": Example(["ft-harness push adapters/my-sentiment me/my-sentiment"], "adapters.md"),
    "report": Example(
        [
            "ft-harness report results --name study --format md,html,csv",
            "ft-harness report results --rows adapter --columns split",
        ],
        "reading-a-report.md",
    ),
    "compare": Example(
        ["ft-harness compare results/base--bundled results/mine --require 'acc>=+2'"],
        "reading-a-report.md",
    ),
    "init-task": Example(
        ["ft-harness init-task reviews.csv --text review --label stars"], "tasks.md"
    ),
    "lm-eval": Example(
        ["ft-harness lm-eval run --model ft-causal --tasks sst2_custom --limit 8"], "scoring.md"
    ),
    "path": Example(['ls "$(ft-harness path model)"'], "adapters.md"),
    "fields": Example(["ft-harness fields train"], "training.md"),
    "tasks list": Example(["ft-harness tasks list"], "tasks.md"),
    "tasks show": Example(["ft-harness tasks show sst2_custom --count 1"], "tasks.md"),
    "tasks path": Example(
        ['lm_eval --include_path "$(ft-harness tasks path)" --tasks sst2_custom'], "tasks.md"
    ),
}


def add_examples(app: typer.Typer, group: str = "") -> None:
    """Put the examples at the end of the help of every command of an app and of its groups."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        if example := EXAMPLES.get(f"{group}{name}"):
            # \b: lines that are not joined
            shown = "\n".join(f"  {line}" for line in example.lines)
            command.epilog = f"\b\nExample:\n{shown}\n\nMore: docs/{example.page}"
    for each in app.registered_groups:
        if each.typer_instance is not None and each.name:
            add_examples(each.typer_instance, f"{each.name} ")
