"""The outcome of a sweep's point."""

from __future__ import annotations

from pydantic import Field

from ft_harness.records import Frozen


class Outcome(Frozen):
    """The outcome of one point: where its results are, or why there are none."""

    point: str
    adapter: str | None = Field(default=None, description="the adapter's folder; null: none")
    evaluations: list[str] = Field(default=[], description="folders, those of the base first")
    reason: str | None = Field(default=None, description="why it failed; null: it is done")
    is_lost: bool = Field(default=False, description="true: its process ended without an outcome")
