"""Generated text before it is scored: where the answer ends, and whether it is empty, cut off or
runs on."""

from __future__ import annotations

import re

from ft_harness.metrics.core import Metric, Scores, mean

METRICS = [
    Metric(name, mean, higher_is_better=False, binary=True)
    for name in ("empty", "truncated", "run_on")
]

_SPEAKERS = "user|human|assistant|question|q|instruction|用户|用戶|指令|问题|問題"
_MARKER = re.compile(
    rf"^[^\S\n]*(?:(?i:{_SPEAKERS})[^\S\n]*[:：]|\#\#\#\ )"  # at the start of a line
    r"|(?<![A-Za-z])(?:USER|ASSISTANT):",  # in capitals anywhere: prompts of one line have them so
    re.MULTILINE,
)


def cut_run_on(text: str) -> tuple[str, bool]:
    """Where a generated answer ends: (the answer, whether the text goes on after it with another
    turn or question).

    Another turn begins where a line begins with `USER:`, `Human:`, `ASSISTANT:`, `Question:`, `Q:`,
    `Instruction:`, `### `, `用户：`, `指令：` or `问题：` (any case, either colon),
    or at `USER:` or `ASSISTANT:` in capitals anywhere. The first one ends the answer; a text that
    begins with one has an empty answer. A text without one comes back as it is.
    """
    found = _MARKER.search(text)
    return (text, False) if found is None else (text[: found.start()].rstrip(), True)


def read_answer(text: str) -> tuple[str, Scores]:
    """(the answer cut at another turn, its scores `empty`, `truncated` and `run_on`).

    Empty is an answer without a visible character. `truncated` is None where the back-end doesn't
    say whether it cut the text at the longest allowed length (lm-eval's own models don't).
    """
    answer, ran_on = cut_run_on(text)
    empty = not any(char.isprintable() and not char.isspace() for char in answer)
    truncated = getattr(text, "truncated", None)
    return answer, {
        "empty": float(empty),
        "truncated": None if truncated is None else float(truncated),
        "run_on": float(ran_on),
    }
