"""The code blocks of the documentation: commands exist with their options, recipes and tasks are
valid, and what can be run on what is bundled runs, page by page, in a reader's folder.

Indented blocks are commands; all else is fenced with its language. A block of commands is run
unless the comment before it says why not: `<!-- not run: a GPU -->`.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import typer.main
import yaml
from typer.core import TyperCommand, TyperGroup

import ft_harness
from ft_harness import cli
from ft_harness.pipeline.experiment import read_experiment
from ft_harness.pipeline.runs import run
from ft_harness.recipe import Recipe
from ft_harness.tasks.task_yaml import TaskYaml
from tests.builders.tiny import review_rows, write_jsonl

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "docs" / "tutorials").glob("*.md")),
    *sorted((REPOSITORY / "docs" / "metrics").glob("*.md")),
]
COMMAND = r"(?:(?:torchrun|accelerate launch) .*?-m ft_harness|ft-harness) "
SHELL = (
    *("ft-harness", "lm_eval", "torchrun", "accelerate", "python", "pip", "git", "make"),
    *(".", "...", "srun", "export", "first=$(scontrol"),
)
FRESH = {
    "README.md",
    "docs/notebook.md",
    "docs/training.md",
}  # pages that begin before anything was trained


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        language: that of its fence; "shell" for an indented one.
        reason: why it isn't run; None: it is.
    """

    page: str
    language: str
    text: str
    reason: str | None

    def commands(self) -> list[str]:
        """Its lines, those that are continued as one, without those that are comments."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        return [line for line in joined.splitlines() if line.strip() and line[0] != "#"]


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def find_blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks, and indented ones that are no paragraph of a list."""
    name, text = name_of(page), page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield Block(name, found[1], found[2], None)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = r"(?:<!-- not run: (.+?) -->\n)?\n((?:    .*\n|\n(?=    ))+)"
    for found in re.finditer(indented, text):
        before = text[: found.start()].rstrip().rpartition("\n\n")[2]
        if not re.match(r"\s*(?:[-*]|\d+\.) ", before):
            lines = [line[4:] for line in found[2].splitlines()]
            yield Block(name, "shell", "\n".join(lines), found[1])


BLOCKS = [block for page in PAGES for block in find_blocks(page)]
RUN = [block for block in BLOCKS if block.language in ("shell", "python") and not block.reason]


def test_blocks_are_found():
    """Counted by eye: an extraction that finds nothing would pass every other test."""
    counts = {kind: sum(b.language == kind for b in BLOCKS) for kind in ("shell", "python", "yaml")}
    assert counts["shell"] >= 50
    assert counts["yaml"] >= 12
    assert counts["python"] >= 4
    assert len([block for block in RUN if block.language == "shell"]) >= 12


def test_indented_blocks_are_commands():
    lines = [line for b in BLOCKS if b.language == "shell" for line in b.commands()]
    assert [line for line in lines if line.split()[0] not in SHELL] == []


def test_every_fence_names_its_language():
    assert {block.language for block in BLOCKS} == {"shell", "python", "yaml", "text"}


def find_command(line: str) -> tuple[TyperCommand | TyperGroup, list[str]]:
    """The command that a line names, and its arguments."""
    words = shlex.split(line.partition(" #")[0].partition(" | ")[0])
    command = typer.main.get_command(cli.app)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    assert isinstance(command, TyperCommand | TyperGroup)
    return command, words


def shown_commands(page: Path) -> Iterator[str]:
    """What is given to `ft-harness`, in blocks, in help, and in sentences that name arguments."""
    for block in find_blocks(page):
        for line in block.commands():
            margin = r"" if block.language == "shell" else r"    "  # of examples in help
            if found := re.match(margin + COMMAND, line):
                yield line[found.end() :]
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for span in re.findall(r"`ft-harness ([^`]+)`", text):
        line = " ".join(span.split())
        words = find_command(line)[1]
        if words and not words[0].startswith("-"):  # else a command or an option is named, no more
            yield line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_shown_are_understood(page: Path):
    """Their names, options and numbers of arguments; what they name need not be there."""
    for line in shown_commands(page):
        command, words = find_command(line)
        if "..." in words or line.startswith("lm-eval"):  # cut short; arguments of another program
            continue
        try:
            with command.context_class(command, info_name=line) as context:
                command.parse_args(context, words)
        except typer.Exit:  # --help
            continue


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda block: block.page
)
def test_recipes_and_tasks_that_are_shown_are_valid(block: Block):
    content = yaml.safe_load(block.text)
    if set(content) <= set(Recipe.model_fields):
        Recipe.model_validate({"task": {"name": "sst2_custom"}} | content)
    else:
        TaskYaml.model_validate({"task": "shown"} | content)


def test_public_functions_are_called_by_their_names():
    found = [block.text for block in BLOCKS if block.language == "python"]
    for text in found:
        assert set(re.findall(r"ft_harness\.(\w+)\(", text)) <= set(ft_harness.__all__)


def write_files(folder: Path) -> None:
    """A recipe of the bundled model, and data under the names that pages use."""
    rows = [
        {**row, "review": row["text"], "stars": "1" if row["label"] == "negative" else "5"}
        for row in review_rows(80)
    ]
    names = list(rows[0])
    lines = [",".join(f'"{cell}"' for cell in cells) for cells in (names, *map(dict.values, rows))]
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = [{"question": f"What is {n} and 1?", "reply": str(n + 1)} for n in range(60)]
    write_jsonl(folder / "questions.jsonl", asked)
    pairs = [
        {"prompt": f"Say {n}.", "chosen": f"Here is {n}.", "rejected": "No."} for n in range(60)
    ]
    write_jsonl(folder / "pairs.jsonl", pairs)
    recipe = {
        "model": {"pretrained": "bundled"},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(write_jsonl(folder / "reviews.jsonl", rows))},
        "train": {"max_steps": 4},
        "controls": {"tasks": ["control_words"], "limit": 20},
    }
    path = folder / "adapters" / "my-sentiment" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(recipe), encoding="utf-8")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody whose first run is done."""
    folder = tmp_path_factory.mktemp("begun")
    write_files(folder)
    path = folder / "adapters" / "my-sentiment" / "recipe.yaml"
    run([read_experiment(path, [], folder, "ft-harness run")], "my-sentiment", lambda line: None)
    return folder


@pytest.mark.slow  # trainings and evaluations
@pytest.mark.parametrize("page", sorted({block.page for block in RUN}))
def test_what_can_be_run_runs(
    page: str, begun: Path, tmp_path: Path, ft: Callable[..., tuple[int, str, str]]
):
    """In a reader's folder, which is the current one."""
    if page in FRESH:
        write_files(tmp_path)
    else:
        shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    names: dict[str, object] = {}
    for block in (each for each in RUN if each.page == page):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), names)  # noqa: S102 - our own page
            continue
        for line in block.commands():
            assert line.startswith("ft-harness "), f"{page}: mark this block as not run: {line}"
            words = shlex.split(line, comments=True)[1:]
            code, out, err = ft(*words)
            assert code in ({0, 1} if "--require" in words else {0}), f"{line}\n{out}\n{err}"
