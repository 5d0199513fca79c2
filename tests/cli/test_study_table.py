"""The table of a study in the terminal: nothing is clipped, and 80 columns hold the demo's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ft_harness.cli.experiments import print_study
from ft_harness.comparison.aggregator import Study
from tests.builders.study import make_comparison, make_row, make_study

Shown = Any


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """What a terminal of so many columns shows of a study's table."""

    def show(study: Study, columns: int, path: Path = Path("report.md")) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        print_study(study, path)
        return capsys.readouterr().out

    return show


def make_demo(verdict: str = "improved", splits: tuple[str, ...] = ("test",)) -> Study:
    """Three tasks as the demo has them, with its longest numbers."""
    scores = {"demo_nli": (0.332, 1.0), "demo_qa": (0.0, 0.273), "demo_sentiment": (0.502, 0.7)}
    compared = []
    for task, values in scores.items():
        metric = "exact_match" if task == "demo_qa" else "acc"
        for split in splits:
            decided = {"primary": split == "test", "tuned_subject": task, "n": 400}
            row = make_row(task, split, metric, values, verdict=verdict, p=0.00001, **decided)
            compared.append(make_comparison(task, split, {metric: values}, [row], adapter=task))
    return Study(name="demo", comparisons=compared, adapters=[], notes=[], command="c")


def table_of(out: str) -> list[str]:
    return [line for line in out.splitlines() if "finding" not in line and "changed on" not in line]


@pytest.mark.parametrize("verdict", ["improved", "no evidence", "improved, not above majority"])
def test_80_columns_hold_the_table_of_the_demo(shown: Shown, verdict: str) -> None:
    out = shown(make_demo(verdict), 80)
    table = table_of(out)
    assert max(map(len, table)) <= 80
    assert "…" not in out
    for name in ("demo_nli", "demo_qa", "demo_sentiment", "exact_match", "100.0 %", "< 0.001"):
        assert any(name in line for line in table), name
    for word in verdict.replace(",", "").split():
        assert word in out
    assert "Split test; n 400" in out


def test_other_splits_are_left_to_the_report_where_there_is_no_room(shown: Shown) -> None:
    narrow, wide = (shown(make_demo(splits=("test", "train")), columns) for columns in (80, 160))
    assert "train" not in "".join(table_of(narrow))
    assert "other splits are in the report" in narrow
    assert "train" in "".join(table_of(wide))
    assert "n 400" not in wide  # where there is room, no column is dropped


def test_a_name_is_never_clipped(shown: Shown) -> None:
    name = "an_adapter_whose_name_is_longer_than_any_terminal_" + "x" * 60
    compared = []
    for subject in (name, "模型" * 12):
        row = make_row("t", "test", "acc", (0.1, 0.2), primary=True, tuned_subject=subject)
        compared.append(make_comparison("t", "test", {"acc": (0.1, 0.2)}, [row], adapter=subject))
    study = Study(name="s", comparisons=compared, adapters=[], notes=[], command="c")
    for columns in (20, 80, 200):
        lines = shown(study, columns).splitlines()
        assert any(name in line and "20.0 %" in line for line in lines)
        assert any("模型" * 12 in line and "20.0 %" in line for line in lines)


def test_the_page_is_named_too(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "files.json").write_text('{"files": ["report.md", "report.html"]}')
    out = shown(make_study(), 80, tmp_path / "report.md")
    assert out.splitlines()[-2:] == [str(tmp_path / "report.md"), str(tmp_path / "report.html")]
    alone = shown(make_study(), 80, tmp_path / "other" / "report.md")
    assert "report.html" not in alone
    page = shown(make_study(), 80, tmp_path / "report.html")
    assert page.count("report.html") == 1
