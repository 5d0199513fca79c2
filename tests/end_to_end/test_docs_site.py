"""The pages of the documentation: their links lead somewhere, what they show is valid, and the site
has a page for everything."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml
from click.exceptions import Exit
from typer.core import TyperGroup

import ft_harness
from ft_harness import cli
from ft_harness.recipe import Recipe
from tools import docs_site

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [
    REPOSITORY / "README.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "tutorials").glob("*.md")),
    *sorted((DOCS / "metrics").glob("*.md")),
]
SECTIONS = set(Recipe.model_fields)


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    found = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    links = [link for link in found if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_recipes_that_are_shown_are_valid(page: Path):
    for text in blocks(page, "yaml"):
        content = yaml.safe_load(text)
        if isinstance(content, dict) and content and set(content) <= SECTIONS:
            Recipe.model_validate({"task": {"name": "sst2_custom"}} | content)


@pytest.mark.parametrize("page", [*PAGES, DOCS / "sweeps.md"], ids=name_of)
def test_commands_that_are_shown_are_understood(page: Path):
    """Their names, options and numbers of arguments; what they name need not be there."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    group = typer.main.get_command(cli.app)
    for line in re.findall(r"^    ft-harness ([^|#$\n]*)", text, re.MULTILINE):
        words = shlex.split(line)
        if "..." in line or words[0] == "lm-eval":
            continue
        command = group
        while isinstance(command, TyperGroup):
            command = command.commands[words.pop(0)]
        try:
            with command.context_class(command, info_name=line) as context:
                command.parse_args(context, words)
        except Exit:  # --help
            continue


def test_python_that_is_shown_runs_by_its_names():
    found = [text for page in PAGES for text in blocks(page, "python")]
    assert len(found) >= 2
    for text in found:
        compile(text, "docs", "exec")
        assert set(re.findall(r"ft_harness\.(\w+)\(", text)) <= set(ft_harness.__all__)


def test_every_public_function_is_in_the_page():
    text = (DOCS / "notebook.md").read_text(encoding="utf-8")
    assert [name for name in ft_harness.__all__ if f"`{name}(" not in text] == []


def test_the_site_has_a_page_for_everything(tmp_path: Path):
    target = tmp_path / "docs"
    docs_site.write_pages(target)
    commands = {docs_site.stem_of(words) for words, _ in docs_site.commands()}
    assert {path.stem for path in (target / "commands").glob("*.md")} == commands | {"index"}
    assert "--set" in (target / "commands" / "run.md").read_text(encoding="utf-8")
    nav = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([\w/-]+\.md)", nav.partition("nav:")[2]))
    assert [name for name in listed if not (target / name).is_file()] == []
    wanted = {path.name for path in DOCS.glob("*.md")}
    wanted |= {f"tutorials/{path.name}" for path in (DOCS / "tutorials").glob("*.md")}
    assert wanted - listed == set()
    for path in target.rglob("*.md"):
        links = re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8"))
        broken = [each for each in links if "://" not in each and not (path.parent / each).exists()]
        assert broken == [], path


@pytest.mark.slow  # a training and several evaluations
def test_the_python_page_runs(tmp_path: Path, model_folder: Path, reviews: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "adapters" / "my-sentiment"
    folder.mkdir(parents=True)
    recipe = {
        "model": {"pretrained": str(model_folder)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "train": {"max_steps": 4},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    names: dict[str, object] = {}
    for text in blocks(DOCS / "notebook.md", "python"):
        exec(compile(text, "docs/notebook.md", "exec"), names)  # noqa: S102 - our own page
    assert (tmp_path / "results/reports/my-sentiment/report.md").is_file()
