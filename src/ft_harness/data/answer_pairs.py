"""A prompt with a chosen and a rejected answer, as texts or as messages -> three texts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from ft_harness.data.values import is_blank

PROMPT, CHOSEN, REJECTED = "prompt", "chosen", "rejected"
# after which an answer begins, at the start of a line: "Assistant:", "### Response:"
_ANSWERS = re.compile(r"(?im)^[#* ]*(?:assistant|ai|bot|model|response|answer|a):")
# how a list of messages begins that was written into a cell: as JSON, or as Python writes it
_WRITTEN_OUT = re.compile(r"""\s*\[\s*\{\s*["'](?:role|content)["']\s*:""")
_NO_PROMPT = (
    "there is no prompt: no field prompt, and chosen and rejected have no turns in common at "
    "their start"
)


class Turn(NamedTuple):
    """One message of a conversation that a pair's prompt or answer is given as."""

    role: str
    content: str


def is_pair(doc: Mapping[str, Any]) -> bool:
    """Whether a doc holds a chosen and a rejected answer, and no label."""
    return CHOSEN in doc and REJECTED in doc


def read_pair(doc: dict[str, Any]) -> str:
    """Turn the prompt, the chosen and the rejected answer of a doc into stripped texts; return what
    is wrong with them, in words, else "".

    Whole turns that both answers begin with are a part of the prompt: their common messages, or
    their common text up to the last "Assistant:" (or its like) at the start of a line. A prompt of
    one message is its content, one of several a transcript that ends in "Assistant:". Messages may
    be written as JSON, as a table holds them.
    """
    raw = [_read_json(doc[name]) for name in (PROMPT, CHOSEN, REJECTED)]
    if None in raw:
        unread = (PROMPT, CHOSEN, REJECTED)[raw.index(None)]
        return f"the field {unread} holds messages as a text that is not JSON"
    if all(isinstance(value, str) for value in raw):
        prompt, chosen, rejected = _split_texts(*raw)
    else:
        roles = ("user", "assistant", "assistant")
        turns = [_read_turns(value, role) for value, role in zip(raw, roles, strict=True)]
        if None in turns:
            unread = (PROMPT, CHOSEN, REJECTED)[turns.index(None)]
            return f"the field {unread} is neither a text nor a list of role and content"
        split = _split_turns(*(found or [] for found in turns))
        if split is None:
            return "chosen and rejected don't part at an answer of the assistant"
        prompt, chosen, rejected = split
    doc |= {PROMPT: prompt.strip(), CHOSEN: chosen.strip(), REJECTED: rejected.strip()}
    empty = [name for name in (CHOSEN, REJECTED) if is_blank(doc[name])]
    if empty:
        return f"the field {empty[0]} is empty"
    if is_blank(doc[PROMPT]):
        return _NO_PROMPT
    return "the fields chosen and rejected are equal" if doc[CHOSEN] == doc[REJECTED] else ""


def _read_json(value: Any) -> Any:
    """The messages that a text holds as JSON; None: they are in another notation; any other value
    unchanged."""
    if not isinstance(value, str) or not _WRITTEN_OUT.match(value):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _split_texts(prompt: str, chosen: str, rejected: str) -> tuple[str, str, str]:
    """(prompt, chosen, rejected), without the prompt that both answers repeat."""
    asked = "" if is_blank(prompt) else prompt.strip()
    same = (one == other for one, other in zip(chosen, rejected, strict=False))
    common = chosen[: sum(takewhile(bool, same))]
    end = max((found.end() for found in _ANSWERS.finditer(common)), default=0)
    if end and (not asked or _is_turn(asked, common[:end])):
        return common[:end], chosen[end:], rejected[end:]
    rests = [answer.lstrip().removeprefix(asked) for answer in (chosen, rejected)]
    if asked and all(
        answer.lstrip().startswith(asked) and _ends_turn(asked, rest)
        for answer, rest in zip((chosen, rejected), rests, strict=True)
    ):
        return asked, rests[0], rests[1]
    return asked, chosen, rejected


def _is_turn(asked: str, transcript: str) -> bool:
    """Whether it is whole turns of a transcript, with or without who speaks."""
    return re.search(rf"(?:^|:\s){re.escape(asked)}\s*(?:\n|$)", transcript.strip()) is not None


def _ends_turn(asked: str, rest: str) -> bool:
    """Whether a prompt ends where an answer goes on with the rest: not in "Hi" of "High" or of
    "Hi! How are you?", which greets back."""
    return not rest or rest[0].isspace() or not asked[-1].isalnum()


def _read_turns(value: Any, role: str) -> list[Turn] | None:
    """Messages, or a text as one of this role; None: neither."""
    if isinstance(value, str):
        return [] if is_blank(value) else [Turn(role, value.strip())]
    messages = [value] if isinstance(value, dict) else value
    if not isinstance(messages, list):
        return None
    turns: list[Turn] = []
    for message in messages:
        if not isinstance(message, dict):
            return None
        said = [message.get(key) for key in ("role", "content")]
        if not all(isinstance(part, str) for part in said):
            return None
        turns.append(Turn(str(said[0]), str(said[1]).strip()))
    return turns


def _split_turns(
    prompt: list[Turn], chosen: list[Turn], rejected: list[Turn]
) -> tuple[str, str, str] | None:
    """As texts; None where an answer does not begin with the assistant's turn."""
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    before = _join_turns(prompt, chosen[:same])
    answers = chosen[same:], rejected[same:]
    if any(answer and answer[0].role != "assistant" for answer in answers):
        return None
    texts = [_transcript(answer).removeprefix("Assistant: ") for answer in answers]
    asked = before[0].content if len(before) == 1 else _transcript(before)
    cue = "\n\nAssistant:" if len(before) > 1 else ""
    return f"{asked}{cue}", *texts  # type: ignore[return-value]  # there are two


def _join_turns(prompt: list[Turn], shared: list[Turn]) -> list[Turn]:
    """The prompt and the turns that both answers begin with, none of them twice."""
    width = len(prompt)
    if any(shared[at : at + width] == prompt for at in range(len(shared) - width + 1)):
        return shared
    most = min(width, len(shared))
    twice = next(
        count for count in range(most, -1, -1) if prompt[width - count :] == shared[:count]
    )
    return [*prompt, *shared[twice:]]


def _transcript(turns: list[Turn]) -> str:
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in turns)
