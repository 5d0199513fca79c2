"""The house rules of the design, watched: directions of imports, budgets, one writer, one printer,
light start-up."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import ft_harness

PACKAGE = Path(ft_harness.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
HEAVY = {
    "torch",
    "transformers",
    "lm_eval",
    "peft",
    "datasets",
    "matplotlib",
    "sklearn",
    "evaluate",
    "bitsandbytes",
}
FILE_LINES, FUNCTION_LINES, MEDIAN_LINES, PARAMETERS, PUBLIC_NAMES = 400, 60, 12, 6, 12
MAY_IMPORT = {
    "errors": set(),
    "metrics": {"errors"},
    "stats": set(),
    "paths": set(),
    "provenance": set(),
    "files": {"errors"},
    "records": {"errors", "metrics", "stats", "storage"},
    "sampling": {"data_options", "errors", "files"},
    "overlap": {"errors", "files"},
    "data_report": {"errors", "files", "markdown", "overlap", "records", "storage"},
    "score_table": {"errors", "records", "storage"},
    "pairing": {"errors", "records", "score_table", "sentences"},
    "measurement": {"metrics", "pairing", "stats"},
    "repeats": {"records", "stats"},
    "power": {"cases", "errors", "metrics", "pairing", "records", "score_table", "stats"},
    "formulas": set(),
    "cases": {
        *(
            "errors",
            "formulas",
            "measurement",
            "metrics",
            "overlap",
            "pairing",
            "records",
            "score_table",
            "stats",
        ),
    },
    "aggregator": {
        *(
            "cases",
            "cautions",
            "data_report",
            "errors",
            "measurement",
            "metrics",
            "pairing",
            "records",
            "repeats",
        ),
        *("sentences", "stats", "study"),
    },
    "cautions": {"measurement", "metrics", "pairing", "records", "sentences", "stats", "study"},
    "study": {"amounts", "cases", "data_report", "records", "repeats", "sentences"},
    "amounts": {"metrics", "stats"},
    "sentences": {
        "amounts",
        "data_report",
        "metrics",
        "power",
        "records",
        "repeats",
        "stats",
        "study",
    },
    "report": {
        "aggregator",
        "amounts",
        "cases",
        "data_report",
        "errors",
        "markdown",
        "records",
        "study",
    },
    "plots": {"aggregator", "markdown", "metrics", "records"},
}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    """A module's room: its own name, or that of the sub-package that holds it."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def own_imports(path: Path) -> set[str]:
    """Rooms of ours that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("ft_harness.")
            }
        if isinstance(node, ast.ImportFrom) and node.module == "ft_harness":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ft_harness."):
            found.add(node.module.split(".")[1])
    return found


def imports_of_room(room: str) -> set[str]:
    modules = [path for path in MODULES if room_of(path) == room]
    assert modules
    return set().union(*map(own_imports, modules))


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_directions(room: str):
    assert imports_of_room(room) - {room} <= MAY_IMPORT[room]


def test_training_and_evaluation_never_import_each_other():
    assert not imports_of_room("training") & {"evaluation", "scoring", "report", "pipeline"}
    assert not imports_of_room("evaluation") & {"training", "examples", "report", "pipeline"}


def test_only_pipeline_and_cli_import_report_and_only_pipeline_strings_stages_together():
    importers = {room: imports_of_room(room) - {room} for room in map(room_of, MODULES)}
    assert {name for name, used in importers.items() if "report" in used} <= {"pipeline", "cli"}
    assert {name for name, used in importers.items() if {"training", "evaluation"} <= used} == {
        "pipeline"
    }
    assert {name for name, used in importers.items() if "pipeline" in used} == {"cli"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_imports_stand_inside_functions(path: Path):
    for node in parse(path).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.partition(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_storage_writes_files(path: Path):
    if path.stem == "storage":
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


def functions() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (f"{path.stem}.{node.name}", node)
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)
    ]


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
    assert statistics.median(long.values()) <= MEDIAN_LINES


def test_only_cli_prints():
    printing = [
        room_of(path)
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


def test_help_is_light():
    code = "from ft_harness import cli\ntry:\n    cli.app(['--help'])\nexcept SystemExit: pass"
    assert not loaded_after(code) & (HEAVY | {"rich", "pydantic", "numpy"})


def test_report_needs_neither_torch_nor_lm_eval():
    assert not loaded_after("import ft_harness.report, ft_harness.report.figures") & HEAVY


def test_a_task_yaml_needs_only_light_rooms():
    assert not loaded_after("import ft_harness.metrics, ft_harness.data") & (HEAVY - {"datasets"})
