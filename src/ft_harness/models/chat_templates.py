"""The form of prompts that a recipe asks for: plain text, or a tokenizer's chat template."""

from __future__ import annotations

from functools import partial
from typing import Any

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.models.base_model import load_tokenizer
from ft_harness.models.generation_settings import load_generation_config
from ft_harness.models.lm_eval_private.models import render_chat
from ft_harness.models.prompts import PLAIN, PromptForm, refused_chat
from ft_harness.recipe import ModelSection, TaskSection
from ft_harness.storage import sha256_text

_MARK = "ft-harness-answer"


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
    except Exception as error:  # whatever an expression of the template raises
        raise refused_chat(model.pretrained, error) from error
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
    config = load_generation_config(model)
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
    # The first alone: many templates write a line end behind it.
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
