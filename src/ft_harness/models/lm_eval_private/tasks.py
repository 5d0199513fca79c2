"""lm-eval's private parts that tasks need: templates, foreign code, the tokens of requests."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import yaml
from datasets.packaged_modules.pandas.pandas import Pandas
from jinja2.meta import find_undeclared_variables
from lm_eval import prompts, utils
from lm_eval.api import metrics, registry, task  # noqa: F401  # their names are replaced below
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM, TemplateLM
from lm_eval.caching import cache
from lm_eval.filters import extraction
from lm_eval.models.utils import has_bos_prefix
from lm_eval.tasks import _yaml_loader

from ft_harness.errors import PolicyError, first_line
from ft_harness.models import trust, watcher
from ft_harness.models.templates import LimitedEnvironment

# --- methods of lm-eval's models, called on objects that are no models: the only way to tokenise a
# request or to render a chat without loading one


class RequestEncoder:
    """lm-eval's own tokenisation of requests, without a model.

    Attributes:
        tokenizer: has `encode` and `decode`.
        prefix_token_id: the token that an empty context is replaced by.
    """

    backend = "causal"

    def __init__(self, tokenizer: Any, prefix_token_id: int) -> None:
        self.tokenizer = tokenizer
        self.prefix_token_id = prefix_token_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        """As `HFLM.tok_encode`, whose module loads torch; a test compares the two."""
        bos = self.tokenizer.decode(self.prefix_token_id)
        if add_special_tokens is None and has_bos_prefix(string, bos):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        ids: list[int] = self.tokenizer.encode(string, **options)
        return ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        pair: tuple[list[int], list[int]] = TemplateLM._encode_pair(self, context, continuation)
        return pair

    def _loglikelihood_tokens(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        return [(context, continuation) for _, context, continuation in requests]

    def encode_scored(self, requests: list[Instance]) -> list[tuple[list[int], list[int]]]:
        """(context ids, continuation ids) of log-likelihood requests, exactly as lm-eval scores
        them."""
        encoded: list[tuple[list[int], list[int]]] = TemplateLM.loglikelihood(
            self, requests, disable_tqdm=True
        )
        return encoded


# --- templates: lm-eval renders them with one environment of its module `utils`


def _limited_environment() -> LimitedEnvironment:
    """lm-eval's environment, in the sandbox and within limits."""
    own = utils.env
    limited = LimitedEnvironment(
        loader=own.loader, undefined=own.undefined, keep_trailing_newline=own.keep_trailing_newline
    )
    for name in own.filters.keys() - limited.filters.keys():  # lm-eval's additions
        limited.filters[name] = own.filters[name]
    return limited


def names_used(template: str) -> set[str]:
    """The names that a task's template looks for in a doc.

    Raises:
        TemplateError: it is no template, or names a filter that there is not.
    """
    names: set[str] = find_undeclared_variables(utils.env.parse(template))
    return names.difference(utils.env.globals)


@contextmanager
def compiled_templates() -> Iterator[None]:
    """lm-eval compiles a task's templates for each doc; within this context, only once."""
    compile_template = utils.env.from_string
    utils.env.from_string = lru_cache(maxsize=256)(compile_template)
    try:
        yield
    finally:
        utils.env.from_string = compile_template


# --- where lm-eval would run code that a file names, all of it: each is replaced by one that
# refuses what is not allowed, whatever led there


def _check_code(what: str, folder: Path) -> None:
    """As `trust.check_code`; code that may run finds transformers with its remote code refused."""
    trust.check_code(what, folder)
    from ft_harness.models import transformers_private  # noqa: F401  # it loads torch


def import_function(name: str, folder: Path) -> Any:
    """The function that a YAML in a folder names with `!function`.

    Raises:
        PolicyError: it is neither ours nor installed code, nor trusted.
    """
    if trust.is_ours(name):
        return trust.our_function(name)
    _check_code(f"!function {name}", Path(folder))
    with _contained(name):
        return _contain(_import_function(name, folder), name)


def _load_module(path: Path) -> Any:
    _check_code(str(path), Path(path).parent)
    return _load_any_module(path)


def _import_old_function(loader: Any, node: Any, yaml_path: Any) -> Any:
    name = loader.construct_scalar(node)
    _check_code(f"!function {name}", Path(yaml_path).parent)
    with _contained(name):
        return _contain(_import_any_function(loader, node, yaml_path), name)


@contextmanager
def _contained(name: str) -> Iterator[None]:
    """Context in which a task's own function neither ends the program, with an exit code that says
    that all is done, nor moves it to another folder, where results would be written."""
    folder = os.getcwd()
    try:
        yield
    except (SystemExit, GeneratorExit) as stop:
        said = f"{type(stop).__name__}: {first_line(stop)}"
        raise RuntimeError(f"{name} would end the program ({said})") from stop
    finally:
        os.chdir(folder)


def _contain(found: Any, name: str) -> Any:
    """A function, which runs contained; anything else as it is."""
    if not isinstance(found, FunctionType):
        return found

    @wraps(found)
    def contained(*arguments: Any, **options: Any) -> Any:
        with _contained(name):
            return found(*arguments, **options)

    return contained


def _get_metric(name: str, hf_evaluate_metric: bool = False) -> Any:
    """Metrics of the library `evaluate` are modules of a folder or of the hub."""
    if hf_evaluate_metric or name not in registry.metric_registry:
        trust.check_code(f"the metric {name} of the library evaluate")
    return _get_any_metric(name, hf_evaluate_metric)


def _get_prompt(prompt_id: str, *names: Any, **options: Any) -> Any:
    """Promptsource renders templates of its own, outside the sandbox."""
    if prompt_id.partition(":")[0] not in prompts.PROMPT_REGISTRY:
        trust.check_code(f"use_prompt: {prompt_id}")
    return _get_any_prompt(prompt_id, *names, **options)


def _refuse_pickles(*_: Any, **__: Any) -> Any:
    """In place of what keeps answers and requests as pickles, which run code when they are read."""
    raise PolicyError(
        "lm-eval would read a cache of pickles, which can run code",
        "no cache; no flag allows it",
        "leave --use_cache and --cache_requests out",
    )


def _refuse_pickled_tables(_: Any) -> Any:
    """In place of what `dataset_path: pandas` begins with."""
    raise PolicyError(
        "dataset_path: pandas reads pickles, which can run code",
        "data as parquet, arrow, csv or json; no flag allows it",
        "save the table as parquet: pandas.DataFrame.to_parquet",
    )


class _Watched:
    """The module `re`, or one of its patterns, whose operations end.

    Patterns in a task's filters and metrics are a stranger's, and may backtrack without end.
    """

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies ask for these before there is an original
            raise AttributeError(name)
        found = getattr(self._original, name)
        if isinstance(found, type) or not callable(found):
            return found

        def watched(*arguments: Any, **options: Any) -> Any:
            watcher.begin()
            try:
                given = found(*arguments, **options)
            finally:
                watcher.end()
            return _Watched(given) if isinstance(given, re.Pattern) else given

        return watched


def _replace(original: Any, ours: Any) -> None:
    """Put ours in place of a function in every module of lm-eval that has imported it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "lm_eval":
            for attribute in [key for key, value in vars(module).items() if value is original]:
                setattr(module, attribute, ours)


_import_function = _yaml_loader._import_func_in_yml
_load_any_module = _yaml_loader._load_module_with_cache
_import_any_function = utils.import_function
_get_any_metric = registry.get_metric
_get_any_prompt = prompts.get_prompt
for _original, _ours in (
    (_import_function, import_function),
    (_load_any_module, _load_module),
    (_import_any_function, _import_old_function),
    (_get_any_metric, _get_metric),
    (_get_any_prompt, _get_prompt),
    (CachingLM, _refuse_pickles),
):
    _replace(_original, _ours)
_yaml_loader._Base = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
Pandas._info = _refuse_pickled_tables
extraction.re = metrics.re = _Watched(re)
cache.dill = SimpleNamespace(loads=_refuse_pickles, dumps=_refuse_pickles)
utils.env = _limited_environment()
# the same for tensors, by PyTorch's own switch, which overrides `weights_only=False`
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
