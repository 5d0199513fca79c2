"""Commands that take each option once: of two values one would be lost without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from ft_harness.errors import ConfigError

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses an option that is given twice and is not repeatable."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises:
        ConfigError: an option is given twice.
        """
        _, _, given = self.make_parser(ctx).parse_args(args=[*args])
        for number, each in enumerate(given):
            once = isinstance(each, TyperOption) and not (each.multiple or each.is_flag)
            if once and each in given[:number]:
                raise ConfigError(
                    f"{each.opts[0]} is given twice", "one value", "leave one of them out"
                )
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """Its commands are of our class."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any
    ) -> Callable[[_Command], _Command]:
        return super().command(name, cls=cls or Command, **settings)
