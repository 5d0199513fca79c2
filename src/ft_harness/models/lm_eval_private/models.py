"""lm-eval's `hf` model: its chat templates, and hooks with public names."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM

from ft_harness.models import transformers_private  # noqa: F401  # it replaces what lm-eval uses
from ft_harness.models.lm_eval_private import tasks  # noqa: F401  # likewise


def render_chat(
    tokenizer: Any, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """Messages as text, as the chat template of lm-eval's `hf` model gives them."""
    lm = SimpleNamespace(tokenizer=tokenizer, chat_template_args={})
    text: str = HFLM.apply_chat_template(lm, chat_history, add_generation_prompt)
    return text


def chat_template_of(lm: Any, choice: bool | str) -> str | None:
    """The text of the chat template that lm-eval's models would choose with a tokenizer."""
    text: str | None = TemplateLM.chat_template(lm, choice)
    return text


# --- hooks of lm-eval's `hf` model: its loading and its scoring of tokens can't be replaced
# otherwise


class HookedHFLM(HFLM):  # type: ignore[misc]
    """lm-eval's `hf` model with public names for its private hooks."""

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
        self, requests: Sequence[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Any]:
        return self.score_tokens(requests)
