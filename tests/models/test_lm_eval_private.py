"""lm-eval's private parts: used in one folder, as they were when it was written.

A failure here means that a new lm-eval changed one of them: read its source before the range in
pyproject.toml is widened.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from lm_eval import evaluator, utils
from lm_eval._cli import HarnessCLI
from lm_eval._cli.run import Run
from lm_eval.api.model import LM, TemplateLM
from lm_eval.caching import cache
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import _factory, _yaml_loader

import ft_harness
from ft_harness.models.lm_eval_private import tasks as ours
from tests.builders.tiny import build_tokenizer

PACKAGE = Path(ft_harness.__file__).parent
PRIVATE = sorted((PACKAGE / "models" / "lm_eval_private").glob("*.py"))
PARTS = {  # what -> its parameters
    HFLM.tok_encode: "self string add_special_tokens left_truncate_len kwargs",
    HFLM.apply_chat_template: "self chat_history add_generation_prompt",
    TemplateLM._encode_pair: "self context continuation",
    TemplateLM.loglikelihood: "self requests disable_tqdm",
    TemplateLM.chat_template: "self chat_template",
    HFLM._loglikelihood_tokens: "self requests disable_tqdm override_bs",
    HarnessCLI.parse_args: "self",
    HarnessCLI.execute: "self args",
    utils.apply_template: "template doc",
    ours._import_function: "qual base_dir",
    ours._load_any_module: "module_path",
    ours._import_any_function: "loader node yaml_path",
    ours._get_any_metric: "name hf_evaluate_metric",
    ours._get_any_prompt: "prompt_id dataset_name subset_name",
    EvaluationTracker.save_results_aggregated: "self results samples",
    EvaluationTracker.save_results_samples: "self task_name samples",
}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__qualname__)
def test_parameters(part: Any):
    assert list(inspect.signature(part).parameters) == PARTS[part].split()


def test_what_the_hooks_rest_on():
    """`_create_model` loads by keyword, its result is `_model`, and `loglikelihood` hands over
    tokens."""
    loading = inspect.getsource(HFLM.__init__)
    assert "self._create_model(\n" in loading
    assert "pretrained=pretrained" in loading
    assert "self._model = " in inspect.getsource(HFLM._create_model)
    scoring = inspect.getsource(TemplateLM.loglikelihood)
    assert "self._encode_pair(context, continuation)" in scoring
    assert "self._loglikelihood_tokens(" in scoring


def test_templates_are_rendered_by_one_environment():
    assert isinstance(utils.env, Environment)
    assert inspect.getsource(utils.apply_template).count("env.from_string(template)") == 1


def test_what_is_replaced_is_looked_up_when_it_is_called():
    assert "dill.loads(" in inspect.getsource(cache.load_from_cache)
    assert "class Loader(_Base)" in inspect.getsource(_yaml_loader._make_loader)
    assert "_import_func_in_yml(spec, base_dir)" in inspect.getsource(_yaml_loader)
    assert "_load_module_with_cache(" in inspect.getsource(ours._import_function)
    assert "lm_eval.api.model.CachingLM(" in inspect.getsource(evaluator)
    assert inspect.getsource(_factory).count("= ConfigurableTask(config=") >= 1
    running = inspect.getsource(Run._execute)
    assert "from lm_eval.loggers import EvaluationTracker" in running
    assert "evaluation_tracker.save_results_samples(" in running


def test_the_command_reads_its_arguments_from_the_interpreter():
    assert "sys.argv" in inspect.getsource(HarnessCLI.parse_args)


@pytest.mark.parametrize("kind", ["bpe_bos", "bpe_plain", "byte_fallback"])
@pytest.mark.parametrize("flag", [None, True, False])
@pytest.mark.parametrize("text", ["", "a film", "<s>a film", " <s>", "</s>a"])
def test_requests_are_encoded_as_the_hf_model_does(kind: str, flag: bool | None, text: str):
    encoder = ours.RequestEncoder(build_tokenizer(kind), 1)
    encoder.add_bos_token = None  # as the model has it unless it is told otherwise
    assert encoder.tok_encode(text, flag) == HFLM.tok_encode(encoder, text, flag)


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), alias.name) for alias in node.names)


def private_uses(path: Path) -> set[str]:
    """Private names of lm-eval, its patched module and its classes called unbound."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    theirs = {(module, name) for module, name in imports(tree) if module.split(".")[0] == "lm_eval"}
    found = {
        f"{module}.{name}"
        for module, name in theirs
        if any(part.startswith("_") for part in (*module.split("."), name))
    }
    names = {name for _, name in theirs}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            holder = node.value.id
            assigned = isinstance(node.ctx, ast.Store)
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            if holder in names and (assigned or private or holder in {"HFLM", "TemplateLM", "LM"}):
                found.add(f"{holder}.{node.attr}")
    overridden = {name for name in vars(HFLM) if name.startswith("_") and not name.endswith("__")}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and {"HFLM", "HookedHFLM", "LM", "TemplateLM"} & {
            base.id for base in node.bases if isinstance(base, ast.Name)
        }:
            found |= {
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef) and method.name in overridden
            }
    return found


def used_there() -> set[str]:
    return set().union(*map(private_uses, PRIVATE))


def test_they_are_used_in_one_folder():
    assert used_there() >= {"lm_eval._cli.HarnessCLI", "TemplateLM._encode_pair", "utils.env"}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path not in PRIVATE:
            assert private_uses(path) == set(), path


def test_every_one_is_watched():
    watched = {part.__name__ for part in PARTS} | {"_create_model", "env", "HarnessCLI"}
    watched |= {"dill", "_Base", "EvaluationTracker", "ConfigurableTask"}
    watched |= {"re"}  # by tests/security/test_ways_in.py::test_an_expression_without_end
    used = {name.rpartition(".")[2] for name in used_there()}
    assert used <= watched | {"_yaml_loader", "_factory"}


def test_a_model_shares_docs_by_these():
    """`evaluation.backends.distributed` lays these over lm-eval's."""
    for name in ("rank", "world_size"):
        assert isinstance(vars(LM)[name], property)
    assert list(inspect.signature(LM.gather_object).parameters) == ["self", "obj", "dst"]
    assert list(inspect.signature(LM.all_gather).parameters) == ["self", "tensor"]
