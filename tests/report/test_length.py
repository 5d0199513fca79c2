"""How long the Markdown is: a write-up of one comparison fits in 250 lines, and grows by tens a
comparison."""

from __future__ import annotations

from typing import Any

import pytest

from ft_harness.comparison.aggregator import AdapterRun, Comparison, Study
from ft_harness.comparison.cases import CaseSummary, ConfusionPair, Slice
from ft_harness.records.cards import EpochSummary
from tests.builders.study import (
    CLASSIFICATION,
    make_adapter,
    make_cases,
    make_comparison,
    make_data,
    make_majority_row,
    make_repeats,
    make_row,
    render_html,
    render_markdown,
)

SPLITS = ("test", "validation", "train")
SAME: dict[str, Any] = {"model": {"pretrained": "bundled"}, "task": {"name": "snli_custom"}}


def make_slices() -> list[Slice]:
    counts: Any = {"corrected": 10, "broken": 1}
    verdicts: list[Any] = ["gained"] * 6 + ["lost"] + ["no evidence"] * 12
    return [
        Slice(
            kind=f"trait {number}", value="yes", n=40, base=0.3, tuned=0.6, delta=0.3, low=0.1,
            high=0.5, p=0.001, p_adjusted=0.01, verdict=verdict, counts=counts,
        )
        for number, verdict in enumerate(verdicts)
    ]  # fmt: skip


def make_sheet() -> CaseSummary:
    """Six cases of each kind, as many as a report shows, and slices."""
    found = make_cases()
    (case,) = (found.cases or {})["corrected"]
    cases = {
        kind: [case.model_copy(update={"item_key": f"{kind}-{n}"}) for n in range(6)]
        for kind in found.cases or {}
    }
    return found.model_copy(
        update={
            "metric": "acc",
            "cases": cases,
            "slices": make_slices(),
            "definitions": {"trait 1": "a trait"},
        }
    )


def make_compared(adapter: str, split: str) -> Comparison:
    """All that a comparison of a classification can have: eight metrics, labels, a confusion
    matrix, cases and slices."""
    task, named = "snli_custom", {"tuned_subject": adapter}
    decided = {"primary": split == "test", "verdict": "improved", "p": 0.0001}
    rows = [
        make_majority_row(task, split),
        *(
            make_row(task, split, metric, values, **named, **(decided if metric == "acc" else {}))
            for metric, values in CLASSIFICATION.items()
        ),
    ]
    confusion = ConfusionPair(
        labels=["entailment", "neutral"], base=[[150, 0, 0], [148, 0, 2]],
        tuned=[[120, 30, 0], [40, 110, 0]],
    )  # fmt: skip
    compared = make_comparison(task, split, CLASSIFICATION, rows, adapter=adapter)
    return compared.model_copy(update={"cases": make_sheet(), "confusion": confusion})


def make_run(adapter: str, seed: int) -> AdapterRun:
    run = make_adapter(adapter, "snli_custom")
    epochs = [EpochSummary(epoch=n, loss=1.0 / n, eval_loss=1.1 / n) for n in range(1, 11)]
    recipe = SAME | {
        "adapter": dict.fromkeys(("r", "lora_alpha"), 1),
        "train": {"seed": seed} | {f"field_{n}": n for n in range(60)},
    }
    cost = run.card.cost.model_copy(update={"epochs": epochs})
    card = run.card.model_copy(update={"recipe": recipe, "cost": cost})
    written = SAME | {"train": {"seed": seed, "learning_rate": 0.002, "num_train_epochs": 3}}
    return run.model_copy(
        update={"card": card, "data": make_data("snli_custom"), "written": written}
    )


def make_full(adapters: int) -> Study:
    """A study of so many adapters of one task, each scored on three splits, with everything that
    a report can show of them."""
    names = [f"adapter-{number}" for number in range(adapters)]
    return Study(
        name="study",
        comparisons=[make_compared(name, split) for split in SPLITS for name in names],
        adapters=[make_run(name, number) for number, name in enumerate(names)],
        notes=[f"{name}: 3 items had their prompt cut to fit the context" for name in names],
        command="ft-harness report results --name study",
        repeats=[make_repeats("snli_custom")] if adapters > 1 else [],
    )


def lines_of(study: Study) -> int:
    figures = {"before_after": "a.png", "cost": "c.png"}
    figures |= {f"curves:{run.card.name}": "b.png" for run in study.adapters}
    return len(render_markdown(study, figures).splitlines())


# An adapter adds 2 lines of scores, 5 of splits, 2 of labels, 5 of training, 9 of metrics and 1 or 2
# in other tables. From the seventh on, what has several lines for each is left to the page.
@pytest.mark.parametrize(("adapters", "most"), [(1, 175), (2, 205), (5, 285), (30, 400)])
def test_a_write_up_is_short(adapters: int, most: int) -> None:
    assert most < 250 + 10 * (adapters - 1) + 1
    assert lines_of(make_full(adapters)) <= most


def test_what_is_left_out_is_in_the_page() -> None:
    study = make_full(2)
    markdown, page = render_markdown(study, {}), render_html(study, {})
    for text in ("adapter-1 by epoch", "trait 18: yes", "corrected-5", "gold labels by row"):
        assert text not in markdown
        assert text in page
    for text in ("Where the recipes differ", "Run in a new folder"):
        assert text in page


def test_many_adapters_leave_their_lines_to_the_page() -> None:
    markdown = render_markdown(make_full(30), {})
    assert "adapter-29" in markdown.partition("## Scores")[2].partition("\n## ")[0]
    assert "## Training\n" not in markdown
    assert "## All metrics" not in markdown
    left = markdown.rpartition("## Not printed here")[2]
    assert "Only in the page, `report.html`: Scores by split, Training, " in left


def test_what_is_printed_in_part_is_not_named_as_left_out() -> None:
    left = render_markdown(make_full(2), {}).rpartition("## Not printed here")[2]
    assert left.strip() == (
        "- Printed here in part, whole in the page, `report.html`: Scores by label, Recipes, "
        "Training, Cases, Signatures, Provenance."
    )
