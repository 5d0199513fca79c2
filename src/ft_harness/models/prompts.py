"""How lm-eval renders a task's prompts, plain or through a chat template: training and scoring
alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lm_eval.api.task import ConfigurableTask
from lm_eval.api.utils import ends_with_whitespace
from transformers import AutoConfig, GenerationConfig

from ft_harness.errors import FtHarnessError, InputError, first_line
from ft_harness.models.base_model import load_tokenizer, model_folder
from ft_harness.models.lm_eval_private import render_chat
from ft_harness.recipe import ModelSection, TaskSection
from ft_harness.storage import sha256_text

_MARK = "ft-harness-answer"


@dataclass(frozen=True, eq=False)
class PromptForm:
    """How lm-eval is asked to render prompts, in its own names; `PLAIN` is plain text.

    Attributes:
        chat_template: messages -> text, as lm-eval's `hf` model has it; None: plain text.
        chat_template_hash: of the template's text.
        closing_ids: the tokens that end an answer of a chat model; None: EOS.
        notes: what a user should know of this template.
    """

    chat_template: Callable[..., str] | None = None
    chat_template_hash: str | None = None
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = False
    closing_ids: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def apply_chat_template(self) -> bool:
        return self.chat_template is not None

    def render(self, task: ConfigurableTask, doc: Mapping[str, Any], num_fewshot: int = 0) -> str:
        """The prompt of a doc, as lm-eval builds it; few-shot examples are drawn by the task's
        sampler.

        Raises:
            InputError: the chat template refuses the messages.
        """
        try:
            prompt: str = task.fewshot_context(
                doc,
                num_fewshot,
                system_instruction=self.system_instruction,
                apply_chat_template=self.apply_chat_template,
                fewshot_as_multiturn=self.fewshot_as_multiturn,
                chat_template=self.chat_template,
                gen_prefix=task.doc_to_prefix(doc),
            )
        except FtHarnessError:
            raise
        except Exception as error:  # whatever an expression of the template raises
            if self.apply_chat_template:
                raise _refused(task.config.task, error) from error
            raise
        return prompt

    def delimiter(self, task: ConfigurableTask) -> str:
        """The text between prompt and answer: under a chat template nothing, unless a
        `gen_prefix` starts the answer (lm-eval's rule in `construct_requests`)."""
        prefix, usual = task.config.gen_prefix, str(task.config.target_delimiter)
        if not self.apply_chat_template:
            return usual
        return usual if prefix and not ends_with_whitespace(prefix) else ""


PLAIN = PromptForm()


def _refused(what: str, error: Exception) -> InputError:
    return InputError(
        f"{what}: the chat template refuses the messages ({first_line(error)})",
        "a template for system, user and assistant messages",
        "use another base model, or leave task.apply_chat_template out",
    )


def prompt_form(section: TaskSection, model: ModelSection) -> PromptForm:
    """The form of prompts that a recipe asks for; the tokenizer is loaded only where it is needed.

    Raises:
        InputError: the tokenizer has no chat template, or it can't be loaded.
    """
    if not section.apply_chat_template:
        return PLAIN

    tokenizer = load_tokenizer(model)
    try:
        template = str(tokenizer.get_chat_template())
    except ValueError as error:
        raise InputError(
            f"{model.pretrained}: the tokenizer has no chat template",
            "a chat model's tokenizer where task.apply_chat_template is true",
            "use a chat model, or --set task.apply_chat_template=false",
        ) from error
    try:
        closing = _closing_ids(tokenizer, _stop_ids(tokenizer, model))
    except FtHarnessError:
        raise
    except Exception as error:  # as above
        raise _refused(model.pretrained, error) from error
    return PromptForm(
        chat_template=partial(render_chat, tokenizer),
        chat_template_hash=sha256_text(template)[:16],
        system_instruction=section.system_instruction,
        fewshot_as_multiturn=section.fewshot_as_multiturn,
        closing_ids=closing,
        notes=_notes(tokenizer, template, section),
    )


def _stop_ids(tokenizer: Any, model: ModelSection) -> set[int]:
    """The tokens at which generation stops: the tokenizer's EOS, and those of the model's
    generation configuration."""
    folder, options = model_folder(model.pretrained), {"revision": model.revision or "main"}
    try:
        config = GenerationConfig.from_pretrained(folder, **options)
    except (
        OSError
    ):  # no generation_config.json: transformers makes one of the model's configuration
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, **options))
    stops = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    return {int(stop) for stop in [*stops, tokenizer.eos_token_id] if stop is not None}


def _closing_ids(tokenizer: Any, stops: set[int]) -> tuple[int, ...] | None:
    """The special token with which the template closes an assistant's turn, and EOS if generation
    goes on after it.

    None where the template closes with nothing or with ordinary text: then EOS alone ends an
    answer.
    """
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _MARK}]
    tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(_MARK)[2].strip()
    closing = tokenizer.encode(tail, add_special_tokens=False)[:1]
    if not closing or closing[0] not in {
        *tokenizer.all_special_ids,
        *tokenizer.added_tokens_decoder,
    }:
        return None
    ends = closing[0] in stops or tokenizer.eos_token_id is None
    return (closing[0],) if ends else (closing[0], int(tokenizer.eos_token_id))


def _notes(tokenizer: Any, template: str, section: TaskSection) -> tuple[str, ...]:
    """What the template does without being asked."""
    notes = (
        ["the template writes today's date: prompts differ from day to day"]
        if "strftime_now" in template
        else []
    )
    if section.system_instruction:
        messages = [{"role": "system", "content": _MARK}, {"role": "user", "content": "question"}]
        try:
            kept = _MARK in tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except Exception:  # it has refused the role
            kept = False
        notes += (
            [] if kept else ["the template has no system role: task.system_instruction is left out"]
        )
    return tuple(notes)
