"""Whether transformers would generate as a task asks, tried before weights are loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

import torch
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.modeling_outputs import CausalLMOutputWithPast

from ft_harness.errors import InputError
from ft_harness.evaluation.backends.decoding import refusing
from ft_harness.evaluation.backends.generation import call_generate
from ft_harness.evaluation.backends.traits import cache_argument
from ft_harness.models.base_model import model_without_weights
from ft_harness.recipe import ModelSection
from ft_harness.storage import canonical_json

_ROW = [1, 1]  # a prompt of two tokens, which every vocabulary has
_TOKENS = 3  # generated: some settings are looked at once there is a text


def generation_problems(
    section: ModelSection, arguments: Iterable[Mapping[str, Any]], batch_size: int
) -> list[InputError]:
    """Arguments of lm-eval's `generate_until` that transformers would refuse, for this model with
    its own generation settings.

    It is asked to generate with the architecture, whose answers are made up: no list of ours can
    know what it refuses. Nothing is said of an architecture that answers nothing so.

    Args:
        batch_size: prompts that are answered at once at most.
    """
    kinds = {canonical_json(each): each for each in arguments}
    if not kinds:
        return []
    model = _answering(model_without_weights(section))
    own = model.generation_config
    model.generation_config = GenerationConfig()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of transformers
    try:
        if next(_refused(model, {}, batch_size), None):
            return []
        model.generation_config = own
        faults = [fault for each in kinds.values() for fault in _refused(model, each, batch_size)]
    finally:
        logging.disable(before)
    return list({str(fault): fault for fault in faults}.values())


def _refused(model: Any, arguments: Mapping[str, Any], batch_size: int) -> Iterator[InputError]:
    """The refusal of these arguments, if they are refused."""
    try:
        with refusing(model.name_or_path, (Exception,)):
            settings = dict(normalize_gen_kwargs(arguments))
            del settings["until"], settings["max_gen_toks"]
            alone = bool(settings.get("do_sample")) or batch_size == 1
            rows = torch.tensor([_ROW] if alone else [_ROW, _ROW])
            call_generate(
                model,
                rows,
                settings,
                attention_mask=torch.ones_like(rows),
                max_new_tokens=_TOKENS,
                stopping_criteria=StoppingCriteriaList(),
                logits_processor=LogitsProcessorList(),
                pad_token_id=0,
                eos_token_id=_ROW[:1],
            )
    except InputError as error:
        yield error


def _answering(model: Any) -> Any:
    """The model without weights, made to answer: every token is as likely as any other."""
    vocabulary, cache = model.get_output_embeddings().weight.shape[0], cache_argument()

    @wraps(model.forward)
    def forward(*_: Any, **given: Any) -> Any:
        read = given.get("input_ids")
        shape = read.shape if read is not None else given["inputs_embeds"].shape[:2]
        logits = torch.zeros(*shape, vocabulary)
        return CausalLMOutputWithPast(logits=logits, **{cache: given.get(cache)})

    model.forward = forward
    # of the weights' device, on which nothing can be computed
    model.__class__ = type(
        type(model).__name__, (type(model),), {"device": property(lambda _: torch.device("cpu"))}
    )
    return model
