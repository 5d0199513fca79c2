"""The report says what the comparison found: numbers that add up, verdicts, families, what decided,
cautions, and models without an adapter."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from ft_harness.comparison.aggregator import Row, Study
from ft_harness.comparison.repeats import Repeats
from ft_harness.comparison.study import Comparison, FamilyOf
from ft_harness.records import HistoryEntry
from ft_harness.report import build_document, measured_cells, text_of
from ft_harness.report.figures import (
    before_after,
    curve_rows,
    learning_curves,
    score_by_cost,
    score_by_size,
    score_rows,
    tradeoff_rows,
    tradeoffs,
)
from ft_harness.report.slice_section import slice_blocks
from tests.builders.lm_eval_output import TASK, make_lines, write_output
from tests.builders.records import label_samples, make_record, write_evaluation
from tests.builders.study import (
    make_adapter,
    make_comparison,
    make_row,
    make_study,
    render_markdown,
    render_whole,
)
from tests.report.test_report import Page, section

NOT_ABOVE = "improved, not above majority"


def study_of(*rows: Row, **changes: Any) -> Study:
    compared: list[Comparison] = []
    for row in rows:
        values = {row.metric: (row.base, row.tuned)}
        compared.append(
            make_comparison(row.task, row.split, values, [row], adapter=row.tuned_subject or "x")
        )
    study = Study(name="s", comparisons=compared, adapters=[], notes=[], command="c")
    return study.model_copy(update=changes)


def primary_row(base: float, tuned: float, **changes: Any) -> Row:
    row = make_row("t", "test", "acc", (base, tuned), primary=True)
    return row.model_copy(update=changes)


# --- numbers


@pytest.mark.parametrize(
    ("base", "tuned", "shown"),
    [
        (0.5249, 0.5051, ["52.5 %", "50.5 %", "-2.0"]),  # -1.98, and as shown
        (0.1234, 0.1287, ["12.34 %", "12.87 %", "+0.53"]),  # 12.3 to 12.9 is +0.6
    ],
)
def test_the_numbers_of_a_row_add_up(base: float, tuned: float, shown: list[str]) -> None:
    cells = measured_cells(primary_row(base, tuned))
    assert [text_of(cells[name]) for name in ("Base", "Tuned", "Difference")] == shown


def test_a_wide_interval_takes_no_decimal_away() -> None:
    """One base looks the same in neighbouring rows."""
    wide = measured_cells(primary_row(0.525, 0.6, low=-0.2, high=0.35))
    assert [text_of(wide[name]) for name in ("Base", "95 % interval")] == [
        "52.5 %",
        "-20.0 to +35.0",
    ]


def test_a_seed_is_shown_as_in_its_row() -> None:
    row = primary_row(0.1234, 0.1287)  # +0.53, which 12.3 to 12.9 is not
    delta = row.delta or 0.0
    repeats = Repeats(
        task="t", split="test", metric="acc", subjects=["snli_lora"], seeds=[1], deltas=[delta],
        mean=delta, low=None, high=None, seed_deviation=0.0, test_error=None, units=300,
    )  # fmt: skip
    text = render_markdown(study_of(row, repeats=[repeats]), {})
    assert Page(section(text, "Training seeds")).tables[0][1][5] == "+0.53"


def test_the_numbers_of_a_slice_add_up() -> None:
    summary = make_study().comparisons[0].cases
    found: dict[str, Any] = {
        "kind": "length", "value": "long", "n": 40, "base": 0.1234, "tuned": 0.1287,
        "delta": 0.0053, "low": -0.1, "high": 0.11, "p": 0.9, "p_adjusted": 1.0,
        "verdict": "no evidence", "counts": {"corrected": 1, "broken": 0},
    }  # fmt: skip
    sliced = summary.model_validate(
        summary.model_dump() | {"slices": [found], "metric": "acc", "definitions": {}}
    )
    table = next(
        block for block in slice_blocks(sliced, "t") if getattr(block, "name", "") == "other_slices"
    )
    assert [text_of(cell) for cell in table.rows[0][2:5]] == ["12.34 %", "12.87 %", "+0.53"]  # type: ignore[union-attr]


# --- verdicts, p and families


def test_holm_is_spoken_of_only_where_it_was_asked_for() -> None:
    plain = render_markdown(study_of(primary_row(0.4, 0.6)), {})
    adjusted = render_markdown(study_of(primary_row(0.4, 0.6, p_adjusted=0.04)), {})
    assert "Holm" not in section(plain, "Scores")
    assert "p (Holm), adjusted over the deciding rows" in section(adjusted, "Scores")
    assert "fewer decimals" not in plain


def test_what_decided_is_shown_where_interval_and_test_differ() -> None:
    agreed = primary_row(0.4, 0.6, verdict="improved")
    split = primary_row(0.4, 0.6, low=0.01, p=0.059, decided_by="test", task="u")
    header, *lines = Page(render_markdown(study_of(agreed, split), {})).tables[0]
    place = header.index("Decided by")
    assert [line[place - 1 :] for line in lines] == [["improved", "-"], ["no evidence", "test"]]
    assert "Decided by" not in Page(render_markdown(study_of(agreed), {})).tables[0][0]


def test_families_are_stated_with_their_members() -> None:
    members = ["a on t (test), acc", "b on t (test), acc"]
    families = [
        FamilyOf(name="trained task", members=members, holm=False),
        FamilyOf(name="control task", members=["a on u (test), acc"], holm=False),
    ]
    text = section(render_whole(study_of(primary_row(0.4, 0.6), families=families), {}), "Families")
    # 2 x 0.05
    assert "2 comparisons of trained tasks decide, each by its own p" in text
    assert "false verdicts to expect if nothing had changed anywhere: 2 x 5 % = 0.1." in text
    assert [line[0] for line in Page(text).tables[0][1:]] == [*["trained task"] * 2, "control task"]


def test_of_no_use_is_in_every_table_file_and_figure() -> None:
    rows = [
        primary_row(0.04, 0.54, verdict=NOT_ABOVE, tuned_subject=name) for name in ("one", "two")
    ]
    other = make_row("t", "validation", "acc", (0.04, 0.54), verdict=NOT_ABOVE, tuned_subject="one")
    study = study_of(*rows, other, adapters=[make_adapter("one", "t"), make_adapter("two", "t")])
    for table in build_document(study).tables():
        shown = [text_of(cell) for line in table.rows for cell in line]
        assert ("54.0 %" in shown) <= any(cell.startswith(NOT_ABOVE) for cell in shown), table.name
        assert "improved" not in shown
    assert [line[-1] for line in score_rows(study)] == [None, NOT_ABOVE] * 2
    measured = [(60.0, each, each.headline) for each in study.comparisons]
    assert tradeoff_rows(measured)[0][-1] == NOT_ABOVE
    axes = Figure().subplots()
    tradeoffs._draw_panel(axes, measured, curve=False)
    assert axes.get_xlabel().endswith(f"hollow: {NOT_ABOVE}")


# --- cautions


def test_cautions_are_next_to_the_answer() -> None:
    study = study_of(primary_row(0.4, 0.6))
    changed = {"finding": "It improved.", "cautions": ["Recall of `no` fell."]}
    one = study.model_copy(
        update={"comparisons": [study.comparisons[0].model_copy(update=changed)]}
    )
    answer = render_markdown(one, {}).partition("## ")[0]
    assert "- It improved. Recall of" in answer


def test_no_caution_is_lost_among_many_comparisons() -> None:
    """Of more than twelve, those without a verdict have no sentence: their cautions come first."""
    rows = [primary_row(0.4, 0.41, task=f"t{number:02}") for number in range(14)]
    study = study_of(*rows)
    warned = study.comparisons[13].model_copy(update={"cautions": ["Nothing shows it was in use."]})
    text = render_markdown(
        study.model_copy(update={"comparisons": [*study.comparisons[:13], warned]}), {}
    )
    assert section(text, "Cautions").strip() == "- t13: Nothing shows it was in use."
    assert text.index("## Cautions") < text.index("## Scores")


# --- models without an adapter


def write_untuned(folder: Path) -> None:
    """0-shot once, 8 of 20 right; 5-shot with two seeds, 10 and 14 of 20: mean 60 %, SD 14.1."""
    for number, (shots, right) in enumerate(((0, 8), (5, 10), (5, 14))):
        golds = [0, 1] * 10
        answers = [gold if n < right else 1 - gold for n, gold in enumerate(golds)]
        record = make_record(None, num_fewshot=shots, seed=number, fewshot_hash=f"f{number}")
        score = record.scores[0].model_copy(
            update={"value": right / 20, "low": right / 20 - 0.2, "high": right / 20 + 0.2, "n": 20}
        )
        changed = {"eval_id": f"b-{number}", "scores": [score, *record.scores[1:]]}
        write_evaluation(
            folder / str(number), record.model_copy(update=changed), label_samples(golds, answers)
        )


def test_untuned_models_alone_are_a_table(ft: Any, tmp_path: Path) -> None:
    write_untuned(tmp_path)
    code, out, err = ft("report", tmp_path, "--format", "md,html,tex,csv,json")
    assert code == 0, err
    folder = tmp_path / "results" / "reports" / "report"
    text = (folder / "report.md").read_text()
    header, once, twice = Page(text).tables[0]
    names = ["Model", "Shots", "Score", "95 % interval", "n", "Repeats", "SD of repeats"]
    places = [header.index(name) for name in names]
    base = "base--bundled"
    shown = [base, "0", "40.0 %", "20.0 % to 60.0 %", "20", "1", "-"]
    assert [once[place] for place in places] == shown
    assert [twice[place] for place in places if header[place] != "95 % interval"] == [
        *(base, "5", "60.0 %", "20", "2", "14.1"),
    ]
    assert "No primary metric" not in text
    assert "Nothing was compared" not in text
    assert "1 model without an adapter in 2 protocols; no difference was tested." in text
    assert "40.0 %" in out
    assert "SD of repeats" in (folder / "report.html").read_text()
    with (folder / "tables" / "untuned.csv").open() as file:
        assert [line["Score"] for line in csv.DictReader(file)] == ["0.4", "0.6"]
    assert json.loads((folder / "report.json").read_text())["tables"][0]["name"] == "untuned"


# --- other programs' metrics


def test_figures_take_metrics_of_other_programs() -> None:
    row = make_row("t", "test", "their_metric", (0.2, 0.4), primary=True, tuned_subject="ad")
    study = study_of(row)
    assert score_rows(study) == []  # of no known scale: the tables have it
    assert before_after(study, "png")
    measured = [(10.0, study.comparisons[0], row)]
    assert score_by_size(measured, "png")
    assert score_by_cost(measured, "png")
    scored = HistoryEntry(step=10, epoch=1.0, eval_loss=0.4, scores={"their_metric": 0.3})
    run = make_adapter("ad", "t")
    run = run.model_copy(update={"history": [*run.history, scored]})
    assert learning_curves(run, "png")
    assert curve_rows(run)[-1][-1] == 0.3


def write_theirs(folder: Path, value: float, right: int, peft: str | None = None) -> None:
    """lm-eval's output with a metric of the task's own only, of which no item has a score."""

    def change(results: dict[str, Any]) -> None:
        results["results"][TASK] = {"alias": TASK, "their_metric,none": value}
        results["higher_is_better"] = {TASK: {"their_metric": True}}

    lines = make_lines([0, 1] * 10, [0, 1] * (right // 2) + [1, 0] * (10 - right // 2))
    kept = [{key: value for key, value in line.items() if key != "acc"} for line in lines]
    kept = [line | {"metrics": ["their_metric"]} for line in kept]
    counted = [line | {"acc": 0.0} for line in kept]
    write_output(folder, counted, peft, change=change)
    (samples,) = folder.glob("samples_*")
    text = "".join(json.dumps(line) + "\n" for line in kept)
    samples.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("command", ["compare", "report"])
def test_scores_that_another_program_only_stated_are_a_report(
    ft: Any, tmp_path: Path, command: str
) -> None:
    write_theirs(tmp_path / "base", 1.5, 10)
    write_theirs(tmp_path / "tuned", 2.25, 16, peft="ad/x")
    code, out, err = ft(command, tmp_path / "base", tmp_path / "tuned", "--name", "theirs")
    assert code == 0, err
    text = (tmp_path / "results" / "reports" / "theirs" / "report.md").read_text()
    header, line, *_ = Page(text).tables[0]
    shown = dict(zip(header, line, strict=True))
    names = ("Base", "Tuned", "Difference", "95 % interval", "p", "Verdict")
    assert [shown[name] for name in names] == ["1.5000", "2.2500", "+0.7500", "-", "-", "-"]
    assert "Nothing was tested, as another program stated the scores: their_metric on" in out
    assert "improved" not in out
