"""Adapters as a study sees them: what the files in their folders say, once they are finished."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ft_harness.comparison.aggregator import AdapterRun, Study, aggregate
from ft_harness.data.data_report import DATA_REPORT_FILE, read_data_report
from ft_harness.errors import ConfigError, InputError
from ft_harness.pipeline.experiment import Experiment
from ft_harness.recipe import Recipe, load_recipe
from ft_harness.records import Card, Evaluation
from ft_harness.records.adapter_files import CARD_FILE, check_histories, read_history, read_lineage
from ft_harness.records.adapter_folder import AdapterFolder


def read_run(adapter: AdapterFolder) -> AdapterRun:
    """A finished adapter as a study sees it.

    Raises:
        InputError: it has no card, or a file is damaged.
    """
    card, folder = adapter.card, adapter.path
    if card is None:
        raise InputError(
            f"{folder}: no {CARD_FILE}", "a finished adapter", "train it: ft-harness train RECIPE"
        )
    check_histories(folder, card)
    history, data = read_history(folder), read_data_report(folder)
    if data is not None and data.fingerprint not in (None, card.fingerprint):
        raise InputError(
            f"{folder / DATA_REPORT_FILE}: of another adapter, or of another recipe",
            f"the data of {card.name}",
            "delete it, or restore it; ft-harness run writes it again",
        )
    return AdapterRun(
        card=card,
        history=history,
        data=data,
        earlier=read_lineage(folder, card),
        written=_read_written(folder, card),
    )


def _read_written(folder: Path, card: Card) -> dict[str, Any] | None:
    """What the recipe of an adapter says: its folder's, else, where that is missing or another one
    by now, the card's; None: neither can be read."""
    try:
        made = Recipe.model_validate(card.recipe)
    except ValidationError:
        return None
    with suppress(ConfigError):
        kept = load_recipe(folder)
        if kept.adapter_sections() == made.adapter_sections():
            return kept.written()
    return made.model_dump(mode="json", exclude_defaults=True)


def study_of(
    experiments: Sequence[Experiment],
    evaluations: Sequence[Evaluation],
    name: str,
    command: str | None,
) -> Study:
    """The study of finished experiments with their adapters.

    Args:
        command: what makes the report again; None: the run of the first experiment.

    Raises:
        InputError: as `read_run`.
    """
    runs = [read_run(AdapterFolder(each.folder)) for each in experiments]
    again = command or experiments[0].repeating_command()
    return aggregate(evaluations, runs, name=name, command=again)


def find_runs(
    evaluations: Sequence[Evaluation], known: Sequence[AdapterFolder] = ()
) -> tuple[list[AdapterRun], list[str], list[str]]:
    """Finished adapters as a study sees them: (those whose folders still match what was scored, a
    note for each other one, a line for each damaged file).

    Args:
        known: folders that were read already.
    """
    scored = {
        e.record.adapter.identity: e.record.adapter
        for e in evaluations
        if e.record.adapter and not e.record.foreign
    }
    runs: list[AdapterRun] = []
    missing: list[str] = []
    damaged: list[str] = []
    for info in scored.values():
        path = Path(info.path).resolve()
        held = (each for each in known if each.path.resolve() == path)
        adapter = next(held, None) or AdapterFolder(Path(info.path))
        try:
            if adapter.card is not None:
                # A folder that was trained again has the old path and other weights.
                adapter.check_files()
            if adapter.card is not None and adapter.identity == info.identity:
                runs.append(read_run(adapter))
                continue
        except InputError as error:
            damaged.append(f"{error.what}; cost and loss curve of {info.name} are left out")
            continue
        missing.append(
            f"{info.name}: its adapter folder was not found here, so cost and loss curve are "
            "left out."
        )
    return runs, missing, damaged
