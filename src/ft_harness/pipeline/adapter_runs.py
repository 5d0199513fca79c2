"""What the folders of scored adapters say of their trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ft_harness.comparison.aggregator import AdapterRun
from ft_harness.data.data_report import read_data_report
from ft_harness.errors import InputError
from ft_harness.records import Evaluation
from ft_harness.records.adapter_files import check_histories, read_history, read_lineage
from ft_harness.records.adapter_folder import AdapterFolder


def find_runs(
    evaluations: Sequence[Evaluation],
) -> tuple[list[AdapterRun], list[str], list[str]]:
    """(the adapters whose folders are still what was scored, a note for each other one, a line for
    each damaged file)."""
    scored = {
        e.record.adapter.identity: e.record.adapter
        for e in evaluations
        if e.record.adapter and not e.record.foreign
    }
    runs: list[AdapterRun] = []
    missing: list[str] = []
    damaged: list[str] = []
    for info in scored.values():
        try:
            run = _read_run(Path(info.path), info.identity)
        except InputError as error:
            damaged.append(f"{error.what}; cost and loss curve of {info.name} are left out")
            continue
        if run is not None:
            runs.append(run)
        else:
            missing.append(
                f"{info.name}: its adapter folder was not found here, so cost and loss curve are "
                "left out."
            )
    return runs, missing, damaged


def _read_run(folder: Path, identity: str) -> AdapterRun | None:
    """What an adapter's folder says of its training; None where it is not there or holds another
    adapter by now.

    Raises:
        InputError: a file is damaged.
    """
    adapter = AdapterFolder(folder)
    card = adapter.card
    if card is None:
        return None
    adapter.check_files()
    if adapter.identity != identity:
        return None
    check_histories(folder, card)
    return AdapterRun(
        card=card,
        history=read_history(folder),
        data=read_data_report(folder),
        earlier=read_lineage(folder),
    )
