"""The report's section on cost: what the adapters cost, and what more data or time brought."""

from __future__ import annotations

from ft_harness.comparison.aggregator import AdapterRun, Comparison, Row, Study
from ft_harness.comparison.amounts import duration, fixed, size
from ft_harness.comparison.features import name_of
from ft_harness.report.cells import MEASURED, UNDEFINED, count, measured_cells
from ft_harness.report.document import Block, Cell, Figure, Number, Paragraph, Table
from ft_harness.report.view import main_comparisons

_MOST_COLUMNS = 6
_SCORING = ("eval", "controls")  # sections of a recipe that make no adapter
_SHOWN = ("Base", "Tuned", "Difference", "95 % interval", "n", "Verdict")


def cost_section(study: Study) -> list[Block]:
    """A table with one column per adapter; with many adapters, one line per adapter. What was
    measured of none is left out."""
    columns = [_cost_column(study, run) for run in study.adapters]
    if not columns:
        return []
    known = [each for each in columns[0] if any(column[each] != UNDEFINED for column in columns)]
    columns = [{name: column[name] for name in known} for column in columns]
    names = [run.card.name for run in study.adapters]
    lines = [[quantity, *(column[quantity] for column in columns)] for quantity in columns[0]]
    header = ["", *names]
    if len(columns) > _MOST_COLUMNS:
        lines = [[name, *column.values()] for name, column in zip(names, columns, strict=True)]
        header = ["Adapter", *columns[0]]
    table = Table("cost", "Cost", header, lines, "t" + "n" * (len(header) - 1))
    blocks: list[Block] = [table, Paragraph(_state_total(study))]
    if study.sweep is not None:  # whose own figure has one point per setting
        return blocks
    caption = "Score against training time, with 95 % intervals; the dotted line is the base"
    return [*blocks, Figure("cost", caption)]


def _state_total(study: Study) -> str:
    """The time of the whole study; the scoring of a base that several adapters share counts
    once."""
    training = sum(run.card.cost.seconds for run in study.adapters)
    records = {
        (record.subject, record.eval_id): record.cost.seconds
        for each in study.comparisons
        for record in (each.base, each.tuned)
        if record.cost
    }
    scoring = sum(records.values())
    return f"In all: {duration(training)} of training and {duration(scoring)} of scoring."


def timed(study: Study) -> list[tuple[float, Comparison, Row]]:
    """For the section on cost: (seconds of training, comparison, its deciding row) of tasks on
    which several adapters were scored."""
    seconds = {run.card.name: run.card.cost.seconds for run in study.adapters}
    found = [each for each in main_comparisons(study) if each.tuned.subject in seconds]
    subjects: dict[tuple[str, str], set[str]] = {}
    for each in found:
        subjects.setdefault(_place(each), set()).add(each.tuned.subject)
    several = [each for each in found if len(subjects[_place(each)]) > 1]
    return [(seconds[each.tuned.subject], each, each.headline) for each in several]


def _cost_column(study: Study, run: AdapterRun) -> dict[str, Cell]:
    card, cost = run.card, run.card.cost
    total = (card.model.parameters or 0) + card.trainable_parameters
    part = card.trainable_parameters / total
    scored = [
        comparison for comparison in study.comparisons if comparison.tuned.subject == card.name
    ]
    resumed = f", continued at step {cost.resumed_from_step}" if cost.resumed_from_step else ""
    return {
        "Training time": duration(cost.seconds) + resumed,
        "Evaluations in it": UNDEFINED
        if cost.evaluation_seconds is None
        else duration(cost.evaluation_seconds),
        "Training speed": f"{cost.tokens_per_second:,.0f} tokens/s",
        "Share of the measured peak speed": UNDEFINED
        if cost.matmul_share is None
        else Number(f"{fixed(100 * cost.matmul_share, 0)} %", cost.matmul_share),
        "Parameters, base and adapter": count(total),
        "Trainable parameters": count(card.trainable_parameters),
        "Trainable share": Number(f"{fixed(100 * part, 2)} %", part),
        "Peak memory of the process": size(cost.peak_rss_bytes),
        "Peak GPU memory": UNDEFINED if cost.peak_gpu_bytes is None else size(cost.peak_gpu_bytes),
        "Peak GPU memory, reserved": UNDEFINED
        if cost.reserved_gpu_bytes is None
        else size(cost.reserved_gpu_bytes),
        "Adapter size": size(cost.adapter_bytes),
        "Scoring time, Base": duration(
            sum(each.base.cost.seconds for each in scored if each.base.cost)
        ),
        "Scoring time, Tuned": duration(
            sum(each.tuned.cost.seconds for each in scored if each.tuned.cost)
        ),
        "Hardware": cost.hardware,
    }


def size_section(study: Study) -> list[Block]:
    """The section on what more data brought: the score against the number of training examples,
    where adapters of one task differ in it; a sweep has figures of its own."""
    measured = sized(study)
    if not measured or study.sweep is not None:
        return []
    lines: list[list[Cell]] = []
    for examples, comparison, row in measured:
        cells = measured_cells(row)
        names: list[Cell] = [row.task, row.split, row.metric, comparison.tuned.subject]
        lines.append([*names, count(int(examples)), *(cells[name] for name in _SHOWN)])
    header = ["Task", "Split", "Metric", "Adapter", "Examples", *_SHOWN]
    kinds = "ttttn" + "".join(MEASURED[name] for name in _SHOWN)
    caption = (
        "Score against the number of training examples; the band spans the 95 % intervals, the "
        "dotted line is the base"
    )
    return [Table("training_size", caption, header, lines, kinds), Figure("training_size", caption)]


def sized(study: Study) -> list[tuple[float, Comparison, Row]]:
    """For the section on cost: (training examples, comparison, its deciding row), fewest first, of
    tasks with several training sizes: of the adapters that differ in nothing else but the seed,
    those of most sizes."""
    runs = {run.card.name: run for run in study.adapters}
    groups: dict[tuple[str, str], dict[str, list[tuple[float, Comparison, Row]]]] = {}
    for each in main_comparisons(study):
        run = runs.get(each.tuned.subject)
        if run is not None:
            entry = float(run.card.examples), each, each.headline
            groups.setdefault(_place(each), {}).setdefault(_rest(run), []).append(entry)
    measured: list[tuple[float, Comparison, Row]] = []
    for alike in groups.values():
        # Adapters that differ in more than their data would make a curve of two things.
        curve = max(alike.values(), key=lambda entries: len({size for size, _, _ in entries}))
        measured += curve if len({size for size, _, _ in curve}) > 1 else []
    return sorted(
        measured, key=lambda entry: (_place(entry[1]), entry[0], name_of(study, entry[1]))
    )


def _rest(run: AdapterRun) -> str:
    """The recipe without the number of rows, the seed and how it is scored."""
    recipe = {name: each for name, each in run.card.recipe.items() if name not in _SCORING}
    for section, field in (("data", "train_size"), ("train", "seed")):
        if section in recipe:
            recipe[section] = {k: v for k, v in recipe[section].items() if k != field}
    return repr(recipe)


def _place(comparison: Comparison) -> tuple[str, str]:
    return comparison.tuned.settings.task, comparison.tuned.settings.split
