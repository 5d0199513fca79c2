"""Reports from finished evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ft_harness import adapters, storage
from ft_harness.aggregator import AdapterRun, Study, aggregate
from ft_harness.data_report import read_data_report
from ft_harness.errors import InputError, raise_problems
from ft_harness.paths import reports_dir
from ft_harness.plots import Form, before_after, loss_curve
from ft_harness.recipe import check_name
from ft_harness.records import load_records
from ft_harness.report import render_markdown, rows_json
from ft_harness.storage import write_bytes, write_text

FORMS: tuple[Form, ...] = ("png", "svg")


def report_only(paths: Sequence[Path], out: Path, name: str, command: str) -> tuple[Study, Path]:
    """A report from finished evaluations below the given folders.

    Raises:
        InputError: nothing is found, or no base has a partner.
        NotComparableError: base and tuned were not measured the same way.
    """
    raise_problems(storage.problems(reports_dir(out) / check_name(name)))
    evaluations = load_records(list(paths))
    scored = {e.record.adapter.identity: e.record.adapter for e in evaluations if e.record.adapter}
    runs: list[AdapterRun] = []
    missing: list[str] = []
    for info in scored.values():
        folder = Path(info.path)
        card = adapters.read_card(folder) if folder.is_dir() else None
        if card is not None and adapters.identity(folder) == info.identity:
            history, data = adapters.read_history(folder), read_data_report(folder)
            runs.append(AdapterRun(card=card, history=history, data=data))
        else:
            missing.append(f"{info.name}: its adapter folder was not found here, so cost and loss curve are left out.")
    study = aggregate(evaluations, runs, name=name, command=command)
    study = study.model_copy(update={"notes": [*study.notes, *missing]})
    if not study.comparisons:
        raise InputError(
            "no adapter's evaluation has a base evaluation of the same task, split and settings",
            "both, made by ft-harness run or eval",
            "score the base on the same recipe first",
        )
    return study, write_report(study, reports_dir(out) / name)


def write_report(study: Study, folder: Path) -> Path:
    """Write report.md, rows.json and the figures (png and svg); the report's path."""
    draws: dict[str, Callable[[Form], bytes]] = {"before_after": partial(before_after, study)}
    draws |= {f"loss:{run.card.name}": partial(loss_curve, run) for run in study.adapters}
    figures: dict[str, str] = {}
    for key, draw in draws.items():
        stem = key.replace(":", "_")
        for form in FORMS:
            write_bytes(folder / f"{stem}.{form}", draw(form))
        figures[key] = f"{stem}.png"
    write_text(folder / "rows.json", rows_json(study))
    path = folder / "report.md"
    write_text(path, render_markdown(study, figures))
    return path
