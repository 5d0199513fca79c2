"""What the command line asks of a recipe with a sweep: its file, name, overrides and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ft_harness.recipe import check_name, experiment_name, parse_override, read_draft
from ft_harness.recipe.overrides import note_once


@dataclass(frozen=True)
class Request:
    """What is asked of a recipe with a sweep, before its grid is read.

    Attributes:
        path: the recipe's file, or the folder that holds it.
        name: of the sweep; its points' names begin with it.
        overrides: `section.field=value`, or several values of a field.
        seeds: further training seeds of each setting (of scoring, where nothing is trained).
        base_only: nothing is trained.
        accepted: a large number of points is intended.
    """

    path: Path
    name: str
    overrides: tuple[str, ...] = ()
    seeds: int | None = None
    base_only: bool = False
    accepted: bool = False

    @property
    def is_sweep(self) -> bool:
        """Whether the recipe or the options ask for several points."""
        if self.seeds is not None or read_draft(self.path).content.get("sweep") is not None:
            return True
        return bool(split_overrides(self.path, self.overrides)[1])


def make_request(
    path: Path, name: str | None, overrides: Sequence[str], options: Mapping[str, Any]
) -> Request:
    """What the command line asks of a recipe with a sweep; None: it has its folder's name.

    Raises:
        ConfigError: no valid name.
    """
    return Request(
        path,
        check_name(name) if name else experiment_name(path),
        tuple(overrides),
        options["seeds"],
        options.get("base_only", False),
        options["accepted"],
    )


def split_overrides(path: Path, overrides: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Which overrides span a grid: (overrides with one value, fields with several): `a.b=1,2` and
    `a.b=[1, 2]` are several where the field takes neither such text nor a list.

    Raises:
        ConfigError: an override can't be read.
    """
    draft = read_draft(path)
    kept: list[str] = []
    varied: dict[str, list[Any]] = {}
    lists: dict[tuple[str, ...], str] = {}
    for setting in dict.fromkeys(overrides):
        key, value = parse_override(setting)
        name, listed = ".".join(key), value
        if isinstance(value, str) and "," in value:
            listed = parse_override(f"{name}=[{value}]")[1]
        if isinstance(listed, list) and len(listed) > 1 and not draft.accepts(name, value):
            note_once(setting, key, lists)
            varied[name] = listed
        else:
            kept.append(setting)
    return kept, varied
