"""What the report of a sweep says of all its runs, and which parts are about some of them."""

from __future__ import annotations

import pytest

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.amounts import duration
from ft_harness.comparison.sentences import state_study
from ft_harness.comparison.study import Comparison
from ft_harness.comparison.sweep_sentences import state_settings
from ft_harness.comparison.sweep_study import PointResult, Setting, SweepStudy
from ft_harness.errors import IncompleteError
from ft_harness.pipeline.sweeps import check_sweep
from ft_harness.report.caution_section import state_cautions
from ft_harness.report.contents import build_document
from tests.builders.study import make_adapter, make_comparison, make_row, render_markdown
from tests.report.test_report import section

FELL = "Recall fell: 'negative' from 91.3 % to 11.7 %."


def compared(
    name: str, task: str, values: tuple[float, float], verdict: str, **changes
) -> Comparison:
    family = "control task" if changes.get("role") == "control task" else "trained task"
    row = make_row(
        task, "test", "acc", values, primary=True, tuned_subject=name, verdict=verdict, family=family,
        p_method="McNemar's mid-p test",
    )  # fmt: skip
    made = make_comparison(task, "test", {"acc": values}, [row], adapter=name)
    return made.model_copy(update=changes)


def a_sweep() -> Study:
    """Two rates, the first being the reference: both improve, and the second ruins a control."""
    names = ["slow", "quick"]
    values = [{"train.learning_rate": rate} for rate in (1e-3, 1e-2)]
    points = [
        PointResult(name=name, values=each, seeds={}, is_reference=name == "slow", adapter=name)
        for name, each in zip(names, values, strict=True)
    ]
    settings = [
        Setting(
            values=each, is_reference=name == "slow", points=[name], failed=[], seeds=1, scores=[],
            effort=None,
        )
        for name, each in zip(names, values, strict=True)
    ]  # fmt: skip
    control = {"role": "control task", "cautions": [FELL]}
    return Study(
        name="mine",
        comparisons=[
            compared("slow", "snli_custom", (0.33, 0.44), "improved"),
            compared("quick", "snli_custom", (0.33, 0.48), "improved"),
            compared("slow", "sst2_custom", (0.52, 0.53), "no evidence", role="control task"),
            compared("quick", "sst2_custom", (0.52, 0.53), "no evidence", **control),
        ],
        adapters=[make_adapter(name, "snli_custom") for name in names],
        notes=[],
        command="ft-harness sweep mine",
        sweep=SweepStudy(
            name="mine", axes=[["train.learning_rate"]], stretches=[], trains=True, points=points,
            settings=settings, effects=[],
        ),
    )  # fmt: skip


def test_controls_are_held_against_the_base():
    """By the shown scores: 53 - 52 points."""
    (control,) = state_settings(a_sweep())
    assert control == (
        "Against the base, accuracy on control task sst2_custom (test): learning_rate 0.001 +1.0 "
        "points (no evidence), learning_rate 0.01 +1.0 points (no evidence); cautions: "
        "learning_rate 0.01 (recall fell)."
    )


def test_cautions_of_every_run_are_printed():
    """Not only those of the reference, which the other parts are about."""
    assert [line.endswith(FELL) for line in state_cautions(a_sweep())] == [True]
    text = render_markdown(a_sweep(), {})
    assert "from 91.3 % to 11.7 %" in section(text, "Cautions")
    forgetting = section(text, "Forgetting")
    assert "nothing was lost, and 1 of them comes with a caution." in forgetting


def test_parts_about_the_reference_say_so():
    text = render_markdown(a_sweep(), {})
    said = "Only about the reference, learning\\_rate 0.001: slow. Parts without this line show all"
    assert section(text, "Training").lstrip().startswith(said)
    assert "Only about" not in section(text, "Scores")


def test_the_main_table_names_the_test_behind_p():
    assert "p of acc: McNemar's mid-p test." in section(render_markdown(a_sweep(), {}), "Scores")


def test_a_control_is_named_once():
    study = a_sweep().model_copy(update={"sweep": None})
    assert any(line.startswith("control task of quick: ") for line in state_study(study))


def test_the_recipes_of_a_sweep_show_what_it_varies():
    """Of all its adapters: the reference's alone would differ in their seeds."""
    study = a_sweep()
    first, second = study.adapters
    recipe = {**second.card.recipe, "train": {**second.card.recipe["train"], "learning_rate": 0.01}}
    quick = second.model_copy(update={"card": second.card.model_copy(update={"recipe": recipe})})
    text = render_markdown(study.model_copy(update={"adapters": [first, quick]}), {})
    recipes = section(text, "Recipes")
    assert "The settings in which the recipes differ; all others are the same." in recipes
    assert "`train.learning_rate`" in recipes
    assert "| quick   | 0.01" in recipes


def test_the_cost_of_all_adapters_is_summed():
    """Two adapters of one base: its scoring is counted once for each evaluation."""
    study = a_sweep()
    seconds = [each.card.cost.seconds for each in study.adapters]
    said = section(render_markdown(study, {}), "Cost")
    assert f"In all: {duration(sum(seconds))} of training" in said


def test_the_title_says_what_was_swept():
    study = a_sweep()
    assert build_document(study).title == "mine: a sweep of learning_rate"
    trained = study.model_copy(update={"sweep": None})
    assert build_document(trained).title == "mine: before and after fine-tuning"
    plain = trained.model_copy(update={"adapters": [], "comparisons": []})
    assert build_document(plain).title == "mine"


def test_a_sweep_without_a_choice_says_so():
    said = section(render_markdown(a_sweep(), {}), "Sweep")
    assert "No setting was chosen on validation" in said


def test_a_choice_that_could_not_be_made_is_said_and_is_no_success():
    """Every point is finished, but no setting has a score by which to choose."""
    study = a_sweep()
    assert study.sweep is not None
    written = {"sweep": {"choose": {"by": "mcc", "on": "validation"}}}
    study = study.model_copy(update={"sweep": study.sweep.model_copy(update={"written": written})})
    said = section(render_markdown(study, {}), "Sweep")
    assert "No setting was chosen, though the recipe asks for it" in said
    assert "sweep.choose in the recipe would" not in said
    with pytest.raises(IncompleteError, match="no setting was chosen"):
        check_sweep(study)
