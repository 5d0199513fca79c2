"""A model's own answers to a few prompts of an evaluation that only compares given answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ft_harness.records.kept_files import read_kept
from ft_harness.records.schema import Frozen

GENERATIONS_FILE = "generations.json"


class Generation(Frozen):
    """One prompt and what the model itself writes to it, greedily."""

    prompt: str
    text: str
    finished: bool = Field(description="the model ended it; else the limit of tokens did")


class Generations(Frozen):
    """`generations.json`, next to `record.json`."""

    schema_version: Literal[1] = 1
    max_gen_toks: int
    items: dict[str, Generation] = Field(description="by the hash of the prompt")


def read_generations(folder: Path) -> Generations | None:
    """A model's own answers in an evaluation's folder; None where it has none.

    Raises:
        InputError: they are damaged.
    """
    action = "delete it and run the same command again"
    return read_kept(folder / GENERATIONS_FILE, Generations, "what a model wrote", action)
