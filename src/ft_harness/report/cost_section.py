"""What the adapters cost, how their training went, and what more data or time brought."""

from __future__ import annotations

from ft_harness.aggregator import MOST_SHOWN, AdapterRun, Comparison, Row, Study
from ft_harness.amounts import duration, size
from ft_harness.report.cells import MEASURED, UNDEFINED, count, measured_cells
from ft_harness.report.document import Block, Cell, Figure, Heading, Number, Paragraph, Table
from ft_harness.report.features import headline, main_comparisons
from ft_harness.study import name_of

_SHOWN = ("Base", "Tuned", "Difference", "95 % interval", "n")


def cost_section(study: Study) -> list[Block]:
    """One column an adapter: a study has few adapters and many quantities."""
    columns = [_cost_column(study, run) for run in study.adapters]
    if not columns:
        return []
    lines = [[quantity, *(column[quantity] for column in columns)] for quantity in columns[0]]
    header = ["", *(run.card.name for run in study.adapters)]
    caption = "Score against training time, with 95 % intervals; the dotted line is the base"
    return [Table("cost", "Cost", header, lines, "t" + "n" * len(columns)), Figure("cost", caption)]


def timed(study: Study) -> list[tuple[float, Comparison, Row]]:
    """(seconds of training, comparison, its deciding row) of tasks on which several adapters were scored."""
    seconds = {run.card.name: run.card.cost.seconds for run in study.adapters if not run.card.cost.resumed_from_step}
    found = [each for each in main_comparisons(study) if each.tuned.subject in seconds]
    subjects: dict[tuple[str, str], set[str]] = {}
    for each in found:
        subjects.setdefault(_place(each), set()).add(each.tuned.subject)
    several = [each for each in found if len(subjects[_place(each)]) > 1]
    return [(seconds[each.tuned.subject], each, headline(each.rows)) for each in several]


def _resumed(step: int | None) -> str:
    """What a time leaves out: the steps before a killed run was continued."""
    return f", from step {step} on" if step else ""


def _cost_column(study: Study, run: AdapterRun) -> dict[str, Cell]:
    card, cost = run.card, run.card.cost
    total = (card.model.parameters or 0) + card.trainable_parameters
    part = card.trainable_parameters / total
    scored = [comparison for comparison in study.comparisons if comparison.tuned.subject == card.name]
    return {
        "Training time": duration(cost.seconds) + _resumed(cost.resumed_from_step),
        "Training speed": f"{cost.tokens_per_second:,.0f} tokens/s",
        "Parameters, base and adapter": count(total),
        "Trainable parameters": count(card.trainable_parameters),
        "Trainable share": Number(f"{100 * part:.2f} %", part),
        "Peak memory of the process": size(cost.peak_rss_bytes),
        "Peak GPU memory": UNDEFINED if cost.peak_gpu_bytes is None else size(cost.peak_gpu_bytes),
        "Adapter size": size(cost.adapter_bytes),
        "Scoring time, Base": duration(sum(each.base.cost.seconds for each in scored if each.base.cost)),
        "Scoring time, Tuned": duration(sum(each.tuned.cost.seconds for each in scored if each.tuned.cost)),
        "Hardware": cost.hardware,
    }


def training_section(study: Study) -> list[Block]:
    """Each adapter's training in a sentence, and the learning curves of as many as are looked at."""
    return [block for number, run in enumerate(study.adapters) for block in _training(run, drawn=number < MOST_SHOWN)]


def _training(run: AdapterRun, *, drawn: bool) -> list[Block]:
    card = run.card
    summary = (
        f"{card.examples:,} examples ({card.truncated_examples:,} truncated), {card.trained_tokens:,} trained tokens, "
        f"{card.steps:,} steps, final training loss {card.final_loss:.3f}."
    )
    figure = Figure(f"curves:{card.name}", f"Learning curves of {card.name}")
    return [Heading(3, card.name), Paragraph(summary), *([figure] if drawn else [])]


def size_section(study: Study) -> list[Block]:
    """The score against the number of training examples, where adapters of one task differ in it."""
    measured = sized(study)
    if not measured:
        return []
    lines: list[list[Cell]] = []
    for examples, comparison, row in measured:
        cells = measured_cells(row)
        names: list[Cell] = [row.task, row.split, row.metric, comparison.tuned.subject]
        lines.append([*names, count(int(examples)), *(cells[name] for name in _SHOWN)])
    header = ["Task", "Split", "Metric", "Adapter", "Examples", *_SHOWN]
    kinds = "ttttn" + "".join(MEASURED[name] for name in _SHOWN)
    caption = (
        "Score against the number of training examples; the band spans the 95 % intervals, the dotted line is the base"
    )
    return [Table("training_size", caption, header, lines, kinds), Figure("training_size", caption)]


def sized(study: Study) -> list[tuple[float, Comparison, Row]]:
    """(training examples, comparison, its deciding row), fewest first, of tasks with several training sizes."""
    examples = {run.card.name: run.card.examples for run in study.adapters}
    found = [each for each in main_comparisons(study) if each.tuned.subject in examples]
    sizes: dict[tuple[str, str], set[int]] = {}
    for each in found:
        sizes.setdefault(_place(each), set()).add(examples[each.tuned.subject])
    several = [each for each in found if len(sizes[_place(each)]) > 1]
    measured = [(float(examples[each.tuned.subject]), each, headline(each.rows)) for each in several]
    return sorted(measured, key=lambda entry: (_place(entry[1]), entry[0], name_of(study, entry[1])))


def _place(comparison: Comparison) -> tuple[str, str]:
    return comparison.tuned.settings.task, comparison.tuned.settings.split
