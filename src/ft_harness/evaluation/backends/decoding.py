"""The arguments of generation that a recipe gives over its task's: which are allowed, and whether
prompts have room beside the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from lm_eval.api.task import ConfigurableTask
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ft_harness.data.files import Split
from ft_harness.errors import InputError, expected_values, first_line, suggest
from ft_harness.recipe import Protocol

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(gt=0, le=1)]
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_SEARCHING = ("length_penalty", "early_stopping")


class Decoding(BaseModel):
    """The arguments of generation that a recipe may give: those of lm-eval (`until`,
    `max_gen_toks`) and of transformers' generate that choose tokens; not those that change what
    comes back, such as num_return_sequences."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    until: str | list[str] | None = None
    max_gen_toks: _Count | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: _Share | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: _Share | None = None
    epsilon_cutoff: Annotated[float, Field(ge=0, lt=1)] | None = None
    eta_cutoff: Annotated[float, Field(ge=0, lt=1)] | None = None
    num_beams: _Count | None = None
    length_penalty: float | None = None
    early_stopping: bool | Literal["never"] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] | None = None


def problems(
    tasks: Mapping[Split, ConfigurableTask], protocols: Sequence[Protocol]
) -> list[InputError]:
    """Faults of a recipe's arguments of generation: the task generates nothing; they are unknown,
    out of range, or without effect."""
    asked = sorted({name for protocol in protocols for name in protocol.decoding})
    if not asked:
        return []
    still = [
        task.config.task.partition("@")[0]
        for task in tasks.values()
        if task.OUTPUT_TYPE != "generate_until"
    ]
    if still:
        return [
            InputError(
                f"{still[0]}: eval.generation_kwargs sets {', '.join(asked)}, "
                "but the task generates nothing",
                "no generation_kwargs for tasks that are scored by likelihood",
                "leave eval.generation_kwargs out, or take a task that generates "
                "(most families have one that ends in _gen)",
            )
        ]
    own = next(iter(tasks.values())).config.generation_kwargs or {}
    # By its words: the same fault of several protocols is one.
    found = {str(fault): fault for each in protocols for fault in _faults(each.decoding, own)}
    return list(found.values())


def room_problems(
    tasks: Mapping[Split, ConfigurableTask], protocols: Sequence[Protocol], context: int
) -> list[InputError]:
    """Faults of arguments of generation by which answers may fill the whole context, so that no
    prompt fits before them.

    Args:
        context: what the model reads, in tokens.
    """
    own = next(iter(tasks.values())).config.generation_kwargs or {}
    longest = max(int({**own, **each.decoding}.get("max_gen_toks", 0)) for each in protocols)
    return [no_room(longest, context)] if longest >= context else []


def no_room(answer: int, context: int) -> InputError:
    """The fault of a `max_gen_toks` that fills the whole context."""
    return InputError(
        f"max_gen_toks is {answer}, the context {context} tokens",
        "room for the prompt and the answer",
        "lower max_gen_toks in the task's generation_kwargs or in eval.generation_kwargs",
    )


def _faults(decoding: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[InputError]:
    """What is wrong with one decoding over the task's own arguments."""
    try:
        Decoding.model_validate(decoding)
    except ValidationError as error:
        for each in error.errors():
            name = str(each["loc"][0])
            names = Decoding.model_fields
            said = (
                f"is {decoding[name]!r}"
                if name in names
                else f"is not a decoding argument{suggest(name, names)}"
            )
            right = expected_values([each]) if name in names else ", ".join(names)
            yield InputError(f"eval.generation_kwargs: {name} {said}", right, "correct it")
        return
    # A task may sample by itself: what counts is the two together.
    samples, temperature = ({**own, **decoding}.get(name) for name in ("do_sample", "temperature"))
    # transformers only warns of these, and decodes greedily.
    idle = [name for name in _SAMPLING if decoding.get(name) and not samples]
    if idle:
        yield InputError(
            f"eval.generation_kwargs: {', '.join(idle)} would do nothing, since nothing is sampled",
            "do_sample: true next to it",
            "add it, or leave the rest out",
        )
    beams = {**own, **decoding}.get("num_beams") or 1
    usual = {"length_penalty": 1.0, "early_stopping": False}  # transformers' own
    searching = [
        name for name in _SEARCHING if decoding.get(name) not in (None, usual[name]) and beams == 1
    ]
    if searching:
        yield InputError(
            f"eval.generation_kwargs: {', '.join(searching)} would do nothing without beams",
            "num_beams: 2 or more next to it",
            "add it, or leave the rest out",
        )
    if samples and temperature == 0:
        yield InputError(
            "eval.generation_kwargs: sampled at temperature 0",
            "a temperature above 0",
            "correct it",
        )


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Context in which transformers' refusal to generate is reported as a fault of the arguments.

    Args:
        name: of the model.

    Raises:
        InputError: there is such a setting.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{name}: transformers can't generate with these settings ({first_line(error)})",
            "settings of greedy, beam or sampled answers",
            "change the model's generation_config.json, or eval.generation_kwargs",
        ) from error
