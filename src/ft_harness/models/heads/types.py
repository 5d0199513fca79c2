"""The two types of a classification head: as a task needs it (labels, fields that it reads), and as
a loaded base has it (modules, drawn weights)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HeadPlan:
    """The type of a head as a task needs it: its labels, the fields that it reads, its seed.

    Attributes:
        labels: a name for each class, in the order of the task's choices.
        choices: the answers of the task, in the same order: other names of the classes.
        text_fields: doc fields that are read as text, or as text and text pair; None: the rendered
            prompt.
        seed: of freshly drawn weights.
        init: the file whose weights are taken in place of drawn ones.
    """

    labels: tuple[str, ...]
    choices: tuple[str, ...]
    text_fields: tuple[str, ...] | None = None
    seed: int = 0
    init: Path | None = None


@dataclass(frozen=True)
class Head:
    """The type of a head as a loaded base model has it.

    Attributes:
        modules: full names of its modules; an adapter trains and saves them whole.
        drawn: those of them that the checkpoint lacks.
        identity: hash of the drawn weights; None where the checkpoint has all.
        reads_types: the model distinguishes the texts of a pair by token type ids.
    """

    plan: HeadPlan
    modules: tuple[str, ...]
    drawn: tuple[str, ...]
    identity: str | None
    reads_types: bool
