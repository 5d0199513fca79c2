"""lm-eval's private parts: all that this package uses, each with its reason.

`tests/models/test_lm_eval_private.py` fails when a new lm-eval changes one of them.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from lm_eval import loggers, prompts, utils
from lm_eval._cli import HarnessCLI
from lm_eval.api import metrics, registry, task  # noqa: F401  # their names are replaced below
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM, TemplateLM
from lm_eval.caching import cache
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import _factory, _yaml_loader

from ft_harness.errors import PolicyError
from ft_harness.models import transformers_private, trust  # noqa: F401  # the former replaces too
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
    add_bos_token = None

    def __init__(self, tokenizer: Any, prefix_token_id: int) -> None:
        self.tokenizer = tokenizer
        self.prefix_token_id = prefix_token_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        ids: list[int] = HFLM.tok_encode(self, string, add_special_tokens=add_special_tokens)
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


def chat_template_of(lm: Any, choice: bool | str) -> str | None:
    """The text of the chat template that lm-eval would choose for an object with a tokenizer."""
    text: str | None = TemplateLM.chat_template(lm, choice)
    return text


def render_chat(
    tokenizer: Any, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """Messages as text, as lm-eval's `hf` model renders them."""
    lm = SimpleNamespace(tokenizer=tokenizer, chat_template_args={})
    text: str = HFLM.apply_chat_template(lm, chat_history, add_generation_prompt)
    return text


# --- hooks of lm-eval's `hf` model: its loading and its scoring of tokens can't be replaced
# otherwise


class HookedHFLM(HFLM):  # type: ignore[misc]
    """lm-eval's `hf` model, whose private hooks have public names."""

    def create_model(self, pretrained: str, **options: Any) -> None:
        """Load the model."""
        super()._create_model(pretrained, **options)

    def _create_model(self, pretrained: str, **options: Any) -> None:
        self.create_model(pretrained, **options)

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """(context ids, continuation ids) of a log-likelihood request."""
        raise NotImplementedError

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        return self.encode_pair(context, continuation)

    def replace_model(self, model: Any) -> None:
        """Score with this model from now on."""
        self._model = model

    def score_tokens(self, requests: Sequence[Any]) -> list[Any]:
        """The answers to log-likelihood requests of which lm-eval has made tokens."""
        raise NotImplementedError

    def _loglikelihood_tokens(
        self,
        requests: Sequence[Any],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[Any]:
        return self.score_tokens(requests)


# --- templates: lm-eval renders them with one environment of its module `utils`


def _limited_environment() -> LimitedEnvironment:
    """lm-eval's environment, in the sandbox and within limits."""
    own = utils.env
    limited = LimitedEnvironment(
        loader=own.loader,
        undefined=own.undefined,
        keep_trailing_newline=own.keep_trailing_newline,
    )
    for name in own.filters.keys() - limited.filters.keys():  # lm-eval's additions
        limited.filters[name] = own.filters[name]
    return limited


@contextmanager
def compiled_templates() -> Iterator[None]:
    """lm-eval compiles a task's templates anew for each doc; within this context, once."""
    compile_template = utils.env.from_string
    utils.env.from_string = lru_cache(maxsize=256)(compile_template)
    try:
        yield
    finally:
        utils.env.from_string = compile_template


# --- where lm-eval would run code that a file names, all of it: each is replaced by one that
# refuses what is not allowed, whatever led there


def import_function(name: str, folder: Path) -> Any:
    """The function that a YAML in a folder names with `!function`.

    Raises:
        PolicyError: it is neither ours nor installed code, nor trusted.
    """
    if trust.is_ours(name):
        return trust.our_function(name)
    trust.check_code(f"!function {name}", Path(folder))
    return _import_function(name, folder)


def _load_module(path: Path) -> Any:
    trust.check_code(str(path), Path(path).parent)
    return _load_any_module(path)


def _import_old_function(loader: Any, node: Any, yaml_path: Any) -> Any:
    trust.check_code(f"!function {loader.construct_scalar(node)}", Path(yaml_path).parent)
    return _import_any_function(loader, node, yaml_path)


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
cache.dill = SimpleNamespace(loads=_refuse_pickles, dumps=_refuse_pickles)
utils.env = _limited_environment()
# the same for tensors, by PyTorch's own switch, which overrides `weights_only=False`
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


# --- the command: its public entry point parses and runs at once, so that nothing could be checked
# in between


def parse_command(arguments: Sequence[str]) -> tuple[Namespace, Callable[[Namespace], None]]:
    """(lm-eval's parsed arguments, what runs them)."""
    command, before = HarnessCLI(), sys.argv
    sys.argv = ["lm-eval", *arguments]  # it reads them there, and writes `run` into them
    try:
        return command.parse_args(), command.execute
    finally:
        sys.argv = before


@contextmanager
def saving_with(tracker: type) -> Iterator[None]:
    """Within it the command writes its files through `tracker`."""
    before, loggers.EvaluationTracker = loggers.EvaluationTracker, tracker
    try:
        yield
    finally:
        loggers.EvaluationTracker = before


@contextmanager
def building_with(task_class: type) -> Iterator[None]:
    """Within it task YAMLs become tasks of this class, wherever lm-eval builds them."""
    before, _factory.ConfigurableTask = _factory.ConfigurableTask, task_class
    try:
        yield
    finally:
        _factory.ConfigurableTask = before
