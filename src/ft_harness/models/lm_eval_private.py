"""lm-eval's private parts: all that this package uses, each with its reason.

`tests/models/test_lm_eval_private.py` fails when a new lm-eval changes one of them.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import utils
from lm_eval._cli import HarnessCLI
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import _yaml_loader

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


def sandbox_templates() -> None:
    """Render lm-eval's templates in jinja's sandbox: a task's prompt is text, not a way into
    Python."""
    if isinstance(utils.env, ImmutableSandboxedEnvironment):
        return
    sandbox = ImmutableSandboxedEnvironment(
        loader=utils.env.loader,
        undefined=utils.env.undefined,
        keep_trailing_newline=utils.env.keep_trailing_newline,
    )
    sandbox.filters.update(utils.env.filters)
    utils.env = sandbox


@contextmanager
def compiled_templates() -> Iterator[None]:
    """lm-eval compiles a task's templates anew for each doc; within this context, once."""
    compile_template = utils.env.from_string
    utils.env.from_string = lru_cache(maxsize=256)(compile_template)
    try:
        yield
    finally:
        utils.env.from_string = compile_template


# --- task YAMLs: the public TaskManager loads by name only, after reading lm-eval's 14,000 files


def load_yaml(path: Path) -> dict[str, Any]:
    """A task's configuration as lm-eval reads it: includes followed, functions resolved."""
    config: dict[str, Any] = _yaml_loader.load_yaml(path)
    return config


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
