"""README and packaging: what is said exists, what is shipped is found."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer.main

from ft_harness import cli
from ft_harness.recipe import load_recipe, write_new_recipe

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page: Path):
    group = typer.main.get_command(cli.app)
    known = set(group.commands) | {f"tasks {name}" for name in group.commands["tasks"].commands}
    found = re.findall(
        r"(?:^    |`)ft-harness (tasks [\w-]+|[\w-]+)", page.read_text("utf-8"), re.MULTILINE
    )
    assert set(found) <= known


def test_links_of_the_readme_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 5
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_a_new_recipe_is_valid_and_complete(tmp_path: Path):
    path = write_new_recipe(tmp_path / "mine", "sst2_custom")
    recipe = load_recipe(path)
    assert recipe.task.name == "sst2_custom"
    assert "<" not in path.read_text(encoding="utf-8")


def test_the_wheel_carries_tasks_model_data_and_recipes(tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        f"ft_harness/task_yamls/{path.relative_to(REPOSITORY / 'task_yamls')}" for path in tasks()
    }
    package = REPOSITORY / "src" / "ft_harness"
    bundled = {
        f"ft_harness/{path.relative_to(package)}"
        for path in (package / "bundled").rglob("*")
        if path.is_file()
    }
    assert len(shipped) >= 8
    assert len(bundled) >= 20
    assert shipped | bundled <= names
    assert wheel.stat().st_size < 15e6


def tasks() -> list[Path]:
    return sorted((REPOSITORY / "task_yamls").rglob("*.yaml"))


def test_the_installed_wheel_finds_what_it_carries(tmp_path: Path):
    """Unpacked elsewhere, without the checkout in reach."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    site = tmp_path / "site"
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from ft_harness import paths\nfrom ft_harness.tasks import listing as tasks\n"
        "print(paths.task_yamls_dir()); print(len(tasks.task_files())); print(paths.bundled_model_dir().is_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    folder, count, model = done.stdout.split()
    assert Path(folder) == site / "ft_harness" / "task_yamls"
    assert int(count) == len(tasks())
    assert model == "True"


def test_no_path_of_a_machine_stands_in_what_is_shipped():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    files = [REPOSITORY / name for name in listed.stdout.split()] or list(
        REPOSITORY.glob("src/**/*.py")
    )
    texts = [
        path
        for path in files
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".json", ".txt"} and path.exists()
    ]
    assert len(texts) > 30
    home = re.compile(r"(?<![\w.])/(?:work|root|home)/\w")
    assert [str(path) for path in texts if home.search(path.read_text(encoding="utf-8"))] == []
