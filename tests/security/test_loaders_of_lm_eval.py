"""Every place where lm-eval could run code that a file names is known, and shut or harmless.

A new place fails here, and so does one that is gone: read it, then shut it in
`models/lm_eval_private/` with a test in `test_ways_in.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lm_eval

PACKAGE = Path(lm_eval.__file__).parent
LOADING = {  # the last name of a call -> the names before it; empty: any
    "eval": {""},
    "exec": {""},
    "compile": {""},
    "__import__": {""},
    "exec_module": set[str](),
    "import_module": set[str](),
    "load_module": set[str](),
    "run_path": set[str](),
    "run_module": set[str](),
    "load": {
        *("pickle", "dill", "cloudpickle", "marshal", "joblib", "torch", "yaml", "np", "numpy"),
        *("evaluate", "hf_evaluate", "shelve", "metric", "ph", "entry_point"),
    },
    "loads": {"pickle", "dill", "cloudpickle", "marshal", "yaml"},
    "full_load": set[str](),
    "unsafe_load": set[str](),
    "read_pickle": set[str](),
    "Unpickler": set[str](),
    "SqliteDict": set[str](),
    "from_string": set[str](),
    "Environment": set[str](),
    "Template": set[str](),
    "DatasetTemplates": set[str](),
    "system": {"os"},
    "popen": {"os"},
    "Popen": set[str](),
    "check_output": set[str](),
    "check_call": set[str](),
}
SHUT = "replaced; see test_ways_in"
UNREACHED = "nothing of lm-eval's command imports it"
OURS = "names a module of installed packages only"
SANDBOX = "rendered by the environment that is replaced"
KNOWN = {
    "tasks/_yaml_loader.py _load_module_with_cache exec_module": SHUT,
    "tasks/_yaml_loader.py _import_func_in_yml __import__": SHUT,
    "tasks/_yaml_loader.py load_yaml load": "its base is replaced by a safe one, its functions by ours",
    "utils.py import_function exec_module": SHUT,
    "utils.py <module> Environment": SHUT,
    "utils.py apply_template from_string": SANDBOX,
    "utils.py apply_chat_template from_string": SANDBOX,
    "prompts/__init__.py get_prompt DatasetTemplates": SHUT,
    "prompts/__init__.py get_prompt full_load": SHUT,
    "prompts/__init__.py load_prompt_list DatasetTemplates": UNREACHED,
    "prompts/__init__.py load_prompt_list full_load": UNREACHED,
    "api/registry.py _materialise_placeholder import_module": OURS,
    "api/registry.py _materialise_placeholder load": OURS,
    "api/registry.py get_metric load": SHUT,
    "api/model.py __init__ SqliteDict": SHUT,
    "caching/cache.py load_from_cache loads": SHUT,
    "models/hf_steered.py __init__ load": "PyTorch reads weights only, whatever is asked",
    "models/nemo_lm.py load_model import_module": OURS,
    "loggers/utils.py get_git_commit_hash check_output": "git itself, no name from a file",
    "decontamination/archiver.py read_tqdm system": UNREACHED,
    "decontamination/decontaminate.py get_train_overlap load": UNREACHED,
    "decontamination/janitor.py load_contamination_ngrams load": UNREACHED,
}


def name_of(call: ast.Call) -> tuple[str, str]:
    """(what comes before the last dot, the last name) of what is called."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return ast.unparse(function.value).rpartition(".")[2], function.attr
    return "", function.id if isinstance(function, ast.Name) else ""


def loaders(path: Path) -> Iterator[str]:
    def visit(node: ast.AST, within: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                holder, name = name_of(child)
                holders = LOADING.get(name)
                if holders is not None and (not holders or holder in holders):
                    yield f"{path.relative_to(PACKAGE)} {within} {name}"
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from visit(child, child.name if inner else within)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "<module>")


def modules() -> list[Path]:
    """lm-eval's own modules; the code of its tasks is installed code that their YAMLs name."""
    tasks = PACKAGE / "tasks"
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent == tasks or not path.is_relative_to(tasks)
    ]


def test_every_loader_is_known():
    found = {loader for path in modules() for loader in loaders(path)}
    assert found == KNOWN.keys()


def test_what_nothing_imports_is_imported_by_nothing():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if path.parent.name != "decontamination":
            assert "decontamination." not in text, path
        if path.name != "__init__.py":
            assert "load_prompt_list" not in text, path
