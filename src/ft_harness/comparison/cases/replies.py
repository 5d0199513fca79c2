"""What base and tuned write themselves to the same prompts, where only given answers were
compared."""

from __future__ import annotations

from ft_harness.records import Evaluation, Frozen
from ft_harness.records.generations import Generation, read_generations


class Reply(Frozen):
    """What both write to one prompt, greedily; a reply that the limit of tokens cut ends in an
    ellipsis."""

    prompt: str
    base: str
    tuned: str


def find_replies(base: Evaluation, tuned: Evaluation) -> list[Reply]:
    """The replies of base and tuned; nothing where they were not kept.

    Raises:
        InputError: a file of theirs is damaged.
    """
    sides = [read_generations(each.folder) for each in (base, tuned)]
    before, after = ({} if side is None else side.items for side in sides)
    return [
        Reply(prompt=before[key].prompt, base=_show(before[key]), tuned=_show(after[key]))
        for key in before
        if key in after
    ]


def _show(written: Generation) -> str:
    return written.text if written.finished else f"{written.text} …"
