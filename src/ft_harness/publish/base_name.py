"""The name of an adapter's base model for others."""

from __future__ import annotations

from pathlib import Path

from ft_harness.errors import ConfigError
from ft_harness.paths import is_hub_id
from ft_harness.records import Card, ModelInfo


def shown_base(model: ModelInfo) -> str:
    """The name of the base model as others see it: without a path of this machine, or of the one
    where it was scored."""
    given = model.pretrained
    return given if is_hub_id(given) else Path(given.replace("\\", "/")).name


def base_problem(card: Card, base: str | None) -> list[ConfigError]:
    """The fault if nobody else could load an adapter's base by its name."""
    given = base or card.model.pretrained
    if is_hub_id(given):
        return []
    return [
        ConfigError(
            f"the base model {given!r} is not a hub id, so nobody else can load it",
            "the hub id of exactly the weights that the adapter was trained on",
            "give it: --base OWNER/NAME",
        )
    ]
