"""Adapters as a study knows them: what the files of their folders say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ft_harness.comparison.aggregator import AdapterRun
from ft_harness.data.data_report import read_data_report
from ft_harness.errors import InputError
from ft_harness.records import Evaluation
from ft_harness.records.adapter_files import CARD_FILE, read_history, read_lineage
from ft_harness.records.adapter_folder import AdapterFolder


def read_run(adapter: AdapterFolder) -> AdapterRun:
    """A finished adapter.

    Raises:
        InputError: it has no card, or a file is damaged.
    """
    card, folder = adapter.card, adapter.path
    if card is None:
        raise InputError(
            f"{folder}: no {CARD_FILE}", "a finished adapter", "train it: ft-harness train RECIPE"
        )
    history, data = read_history(folder), read_data_report(folder)
    return AdapterRun(card=card, history=history, data=data, earlier=read_lineage(folder))


def find_runs(evaluations: Sequence[Evaluation]) -> tuple[list[AdapterRun], list[str]]:
    """The adapters whose folders are still what was scored, and a note for each other one."""
    scored = {
        e.record.adapter.identity: e.record.adapter
        for e in evaluations
        if e.record.adapter and not e.record.foreign
    }
    runs: list[AdapterRun] = []
    missing: list[str] = []
    for info in scored.values():
        adapter = AdapterFolder(Path(info.path))
        if adapter.card is not None and adapter.identity == info.identity:
            runs.append(read_run(adapter))
        else:
            missing.append(
                f"{info.name}: its adapter folder was not found here, so cost and loss curve are "
                "left out."
            )
    return runs, missing
