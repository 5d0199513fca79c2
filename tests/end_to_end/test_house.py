"""The house of the design, watched: wings and floors, weight, budgets, one writer, one printer."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ft_harness
from tests.builders import module_page

PACKAGE = Path(ft_harness.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
GROUND = ("errors", "paths", "processes")
# A wing uses wings on lower floors only; those on one floor don't know each other.
FLOORS = (
    ("errors", "paths"),
    ("processes", "storage", "stats", "metrics"),
    ("records",),
    ("data",),
    ("recipe",),
    ("models",),
    ("tasks",),
    ("training", "evaluation", "comparison"),
    ("report", "publish", "sweep"),
    ("pipeline",),
    ("cli", "notebook"),
)
WINGS = {wing for floor in FLOORS for wing in floor if wing not in GROUND}
HEAVY_WINGS = {"models", "tasks", "training", "evaluation"}
HEAVY = {"torch", "transformers", "lm_eval", "peft", "accelerate", "bitsandbytes"}
SLOW = HEAVY | {"datasets", "matplotlib", "sklearn", "evaluate", "pandas"}
NEEDS = {  # what a wing may use of ours, where floors alone allow more
    "metrics": {"errors"},
    "stats": set[str](),
    "storage": {"errors"},
    "records": {"errors", "metrics", "stats", "storage"},
}
FILE_LINES, FUNCTION_LINES, PARAMETERS, PUBLIC_NAMES, COLUMNS = 400, 60, 6, 12, 100
INNER_IMPORTS, TYPE_CHECKING_BLOCKS = 60, 10


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def wing_of(path: Path) -> str:
    """A module's wing, or its own name on the ground floor."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def own_imports(tree: ast.AST) -> set[str]:
    """Dotted names below `ft_harness` that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("ft_harness.") for name in names if "ft_harness." in name}
    return found


def used_wings(wing: str) -> set[str]:
    modules = [path for path in MODULES if wing_of(path) == wing]
    assert modules, wing
    names = set().union(*(own_imports(parse(path)) for path in modules))
    return {name.partition(".")[0] for name in names} - {wing}


def test_there_are_wings_and_three_ground_modules_and_nothing_loose():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert folders == WINGS
    assert loose == set(GROUND)
    assert len(FLOORS) <= 11


@pytest.mark.parametrize("floor", range(len(FLOORS)), ids=lambda number: " ".join(FLOORS[number]))
def test_a_wing_uses_lower_floors_only(floor: int):
    below = {wing for lower in FLOORS[:floor] for wing in lower}
    for wing in FLOORS[floor]:
        assert used_wings(wing) <= NEEDS.get(wing, below), wing


def test_modules_of_a_wing_import_each_other_without_a_circle():
    for wing in sorted(WINGS):
        names = {
            ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
            for path in MODULES
            if wing_of(path) == wing and path.stem != "__init__"
        }
        uses = {
            name: {
                other
                for found in own_imports(parse(path))
                for other in names
                if found == other or found.startswith(f"{other}.")
            }
            - {name}
            for name, path in names.items()
        }
        while free := [name for name, used in uses.items() if not used & uses.keys()]:
            for name in free:
                del uses[name]
        assert not uses, f"a circle in {wing}: {sorted(uses)}"


def top_level_imports(path: Path) -> set[str]:
    """Names of modules that are imported when this one is."""
    names: set[str] = set()
    for node in parse(path).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_light_wing_imports_nothing_heavy_at_module_level(path: Path):
    if wing_of(path) in HEAVY_WINGS:
        return
    imported = top_level_imports(path)
    assert not {name.partition(".")[0] for name in imported} & HEAVY
    if wing_of(path) not in (
        "pipeline",
    ):  # its modules for heavy commands are loaded by cli inside functions
        heavy = {
            name
            for name in imported
            for wing in HEAVY_WINGS
            if name.startswith(f"ft_harness.{wing}")
        }
        assert heavy <= {"ft_harness.tasks.listing"}


def inner_imports(path: Path) -> int:
    functions = (n for n in ast.walk(parse(path)) if isinstance(n, ast.FunctionDef))
    inside = {
        id(n) for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)
    }
    return len(inside)


def test_imports_are_at_the_top():
    assert sum(map(inner_imports, MODULES)) < INNER_IMPORTS
    blocks = [path for path in MODULES if "if TYPE_CHECKING:" in path.read_text(encoding="utf-8")]
    assert len(blocks) < TYPE_CHECKING_BLOCKS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_storage_writes_files(path: Path):
    if wing_of(path) == "storage":
        return
    assert writing_calls(path.read_text(encoding="utf-8")) == []


def writing_calls(source: str) -> list[int]:
    """Lines that write a file: `write_text` and `write_bytes` of a path, `open` for anything but
    reading."""
    lines: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        method = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = method or getattr(node.func, "id", "")
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        words = [str(arg.value) for arg in given if isinstance(arg, ast.Constant)]
        writes = [
            word
            for word in words
            if re.fullmatch(r"[rwaxbt+]{1,3}", word) and set(word) & set("wax+")
        ]
        opens = name == "open" and bool(writes)
        if opens or method in {"write_text", "write_bytes"}:
            lines.append(node.lineno)
    return lines


def test_writing_is_seen_in_every_spelling():
    source = 'open(p, "w")\np.open("ab")\np.open(mode="x")\np.write_text("")\nwrite_text(p, "")\nopen(p)\np.open("rb")'
    assert writing_calls(source) == [1, 2, 3, 4]


def test_budgets_of_files():
    sizes = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
    }
    assert len(sizes) > 20
    assert {name: lines for name, lines in sizes.items() if lines > FILE_LINES} == {}


def test_lines_of_documents_and_code_are_short():
    root = PACKAGE.parents[1]
    documents = [*root.glob("*.md"), *(root / "docs").glob("*.md")]  # folders hold made reports too
    for folder in ("decisions", "metrics", "tutorials"):
        documents += (root / "docs" / folder).glob("*.md")
    documents += (root / "task_yamls").glob("*/README.md")
    assert len(documents) > 20
    wide = [
        f"{path.name}:{number}"
        for path in [*documents, *MODULES]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > COLUMNS and not _unbreakable(line)
    ]
    assert wide == []


def _unbreakable(line: str) -> bool:
    """A table row, a link, or a long argument of a command, which have no place to break; a line of
    code that is short without its mark for a tool."""
    line, _, mark = line.partition("  # type: ignore")
    if mark:
        return len(line) <= COLUMNS
    return line.lstrip().startswith("|") or "](" in line or len(line.split()) <= 2


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.stem}.{node.name}", node


def test_budgets_of_functions():
    long = {name: node.end_lineno - node.lineno + 1 for name, node in functions()}
    assert len(long) > 150
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}
    arguments = {
        name: [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
        for name, node in functions()
    }
    wide = {
        name: len([arg for arg in args if arg not in ("self", "cls")])
        for name, args in arguments.items()
    }
    assert {name: count for name, count in wide.items() if count > PARAMETERS} == {}


def test_only_cli_prints():
    printing = [
        wing_of(path)
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert set(printing) == {"cli"}


def test_everything_is_annotated():
    for name, node in functions():
        arguments = [*node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare, f"{name}: {bare}"
        assert node.returns is not None, name


def test_public_names_are_few_and_documented():
    assert 0 < len(ft_harness.__all__) <= PUBLIC_NAMES
    for name in ft_harness.__all__:
        assert (getattr(ft_harness, name).__doc__ or "").strip(), name


def test_modules_have_no_catch_all_names_and_a_docstring():
    for path in MODULES:
        assert path.stem not in {"utils", "helpers", "common", "misc"}
        assert ast.get_docstring(parse(path)), path.name


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split("\n")[-2].split()}


def test_the_page_of_modules_is_what_they_say_of_themselves():
    assert module_page.PAGE.read_text(encoding="utf-8") == module_page.make_page(), (
        "python -m tests.builders.module_page writes it anew"
    )


def test_help_is_light():
    code = "from ft_harness import cli\ntry:\n    cli.app(['--help'])\nexcept SystemExit: pass"
    assert not loaded_after(code) & (SLOW | {"rich", "pydantic", "numpy"})


@pytest.mark.parametrize(
    "arguments", [["report", "."], ["compare", ".", "."], ["power", "."], ["tasks", "list"]]
)
def test_commands_without_a_model_load_no_torch(arguments: list[str], tmp_path: Path):
    code = f"import os\nfrom ft_harness import cli\nos.chdir({str(tmp_path)!r})\n"
    code += f"try:\n    cli.app({arguments!r})\nexcept BaseException: pass"
    assert not loaded_after(code) & HEAVY


def test_report_needs_neither_torch_nor_lm_eval():
    assert not loaded_after("import ft_harness.report, ft_harness.report.figures") & SLOW


def test_a_task_yaml_needs_only_light_wings():
    assert not loaded_after("import ft_harness.metrics, ft_harness.data") & (SLOW - {"datasets"})
