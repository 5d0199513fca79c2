"""The lines that make a report again: recipes written once, others reached by `--set`."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from ft_harness.comparison.aggregator import Study
from ft_harness.comparison.sweep_study import SweepStudy
from ft_harness.recipe import Recipe
from ft_harness.records.schema import ForeignOutput
from ft_harness.report.command_section import command_section
from ft_harness.report.document import Paragraph, Verbatim
from tests.builders.study import make_adapter, make_comparison, make_row, render_markdown
from tests.report.test_report import fences, section

MADE: dict[str, Any] = {
    "task": {"name": "snli_custom"},
    "data": {"source": "snli.csv", "labels": ["yes", "no"]},
    "train": {"seed": 1, "learning_rate": 0.002},
    "eval": {"limit": 50},
}


def make_scored(recipes: dict[str, dict[str, Any]], command: str, **changes: Any) -> Study:
    """Adapters by their recipes, each scored as its own recipe says; `changes` are those of the
    evaluations' eval section."""
    compared = []
    for name, recipe in recipes.items():
        values = {"acc": (0.1, 0.2)}
        row = make_row("snli_custom", "test", "acc", (0.1, 0.2), primary=True, tuned_subject=name)
        each = make_comparison("snli_custom", "test", values, [row], adapter=name)
        asked = {key: value for key, value in recipe.items() if key != "train"}
        asked = asked | {"eval": asked.get("eval", {}) | changes}
        sides = {
            side: record.model_copy(update={"recipe": asked})
            for side, record in (("base", each.base), ("tuned", each.tuned))
        }
        compared.append(each.model_copy(update=sides))
    runs = [
        make_adapter(name, "snli_custom").model_copy(update={"written": recipe})
        for name, recipe in recipes.items()
    ]
    return Study(name="s", comparisons=compared, adapters=runs, notes=[], command=command)


def commands_of(study: Study) -> tuple[dict[str, Any], list[str]]:
    """(the recipes by file, the commands)."""
    (script,) = fences(section(render_markdown(study, {}), "Commands"))
    files: dict[str, Any] = {}
    commands: list[str] = []
    lines = iter(script.splitlines())
    for line in lines:
        if line.startswith("cat > "):
            end = shlex.split(line)[-1].removeprefix("<<")
            text = "\n".join(iter(lambda: next(lines), end))
            files[shlex.split(line)[2]] = yaml.safe_load(text)
        else:
            commands.append(line)
    return files, commands


def test_a_run_needs_its_recipe_and_itself() -> None:
    study = make_scored({"mine": MADE}, "ft-harness run adapters/mine")
    files, commands = commands_of(study)
    assert files == {"adapters/mine/recipe.yaml": MADE}
    assert commands == ["mkdir -p adapters/mine", "ft-harness run adapters/mine"]


def test_the_demo_needs_nothing() -> None:
    assert commands_of(make_scored({"mine": MADE}, "ft-harness demo")) == ({}, ["ft-harness demo"])


def test_a_study_writes_one_recipe_and_replaces_the_fields_that_differ() -> None:
    other = MADE | {"train": {"seed": 2, "learning_rate": 1e-05}}
    study = make_scored({"one": MADE, "two": other}, "ft-harness report results", num_fewshot=2)
    files, commands = commands_of(study)
    assert files == {"adapters/one/recipe.yaml": MADE}
    assert commands[1:] == [
        "ft-harness train adapters/one",
        "ft-harness train adapters/one --name two --set train.learning_rate=1.0e-05 "
        "--set train.seed=2",
        "ft-harness eval adapters/one --adapter adapters/one --adapter adapters/two "
        "--set eval.num_fewshot=2",
        "ft-harness report results",
    ]


def test_other_data_stands_in_the_command_that_scores() -> None:
    """It was dropped: the command scored other items than the report's."""
    study = make_scored({"mine": MADE}, "ft-harness report results")
    elsewhere = MADE["data"] | {"source": "other data.csv", "labels": ["a", "b"]}
    tuned = study.comparisons[0].tuned
    asked = (tuned.recipe or {}) | {"data": elsewhere}
    compared = study.comparisons[0].model_copy(
        update={"tuned": tuned.model_copy(update={"recipe": asked})}
    )
    _, commands = commands_of(study.model_copy(update={"comparisons": [compared]}))
    assert shlex.split(commands[-2])[3:] == [
        *("--adapter", "adapters/mine"),
        *("--set", "data.source=other data.csv", "--set", "data.labels=[a, b]"),
    ]


def test_what_no_option_can_say_is_a_recipe_of_its_own() -> None:
    odd = MADE | {"data": {"source": "[odd].csv"}}
    files, commands = commands_of(make_scored({"one": MADE, "two": odd}, "ft-harness report r"))
    assert files["adapters/two/recipe.yaml"] == odd
    assert "ft-harness train adapters/two" in commands


def test_an_adapter_made_elsewhere_is_scored_by_the_recipe_that_asked_for_it() -> None:
    study = make_scored({"mine": MADE}, "ft-harness report results")
    files, commands = commands_of(study.model_copy(update={"adapters": []}))
    asked = {key: value for key, value in MADE.items() if key != "train"}
    assert files == {"recipes/mine/recipe.yaml": asked}
    assert "ft-harness eval recipes/mine --adapter adapters/x" in commands


def test_a_recipe_cannot_end_its_file_early() -> None:
    hostile = MADE | {"task": {"name": "snli_custom", "include_path": "a\nEND\nrm -rf x\n"}}
    files, commands = commands_of(make_scored({"mine": hostile}, "ft-harness run adapters/mine"))
    assert files["adapters/mine/recipe.yaml"] == hostile
    assert commands[1:] == ["ft-harness run adapters/mine"]
    assert Recipe.model_validate(hostile)


def test_a_hostile_name_makes_no_command() -> None:
    study = make_scored({"../x; rm": MADE}, "ft-harness report results")
    text = section(render_markdown(study, {}), "Commands")
    assert "mkdir -p adapters/../x" not in text


def test_a_sweep_needs_its_recipe_with_what_varies() -> None:
    written = MADE | {"sweep": {"vary": {"train.learning_rate": [0.001, 0.01]}}}
    sweep = SweepStudy(
        name="mine",
        axes=[["train.learning_rate"]],
        stretches=[],
        trains=True,
        points=[],
        settings=[],
        effects=[],
        written=written,
    )
    study = Study(
        name="mine",
        comparisons=[],
        adapters=[],
        notes=[],
        command="ft-harness sweep adapters/mine",
        sweep=sweep,
    )
    (_, script) = command_section(study)
    assert isinstance(script, Verbatim)
    begin, end = (
        "cat > adapters/mine/recipe.yaml <<'END'\n",
        "\nEND\nft-harness sweep adapters/mine",
    )
    assert script.text.startswith(f"mkdir -p adapters/mine\n{begin}")
    assert script.text.endswith(end)
    assert yaml.safe_load(script.text.partition(begin)[2].removesuffix(end)) == written


def test_what_lm_eval_scored_is_written_where_the_report_reads_it() -> None:
    """lm-eval puts its files into a folder named after the model, in the one that it is given."""
    found = make_comparison(
        "t", "test", {"acc": (0.5, 0.7)}, [make_row("t", "test", "acc", (0.5, 0.7))], adapter="mine"
    )
    settings = found.base.settings.model_copy(update={"back_end": "hf"})
    model = found.base.model.model_copy(update={"pretrained": "some/model"})
    paths = ("old/base/some__model/samples_t.jsonl", "flat/samples_t.jsonl")
    base, tuned = (
        record.model_copy(
            update={
                "settings": settings,
                "model": model,
                "recipe": None,
                "adapter": None,
                "foreign": ForeignOutput(
                    program="lm-eval 0.4.13", file=path, unknown=[], unchecked=[]
                ),
            }
        )
        for record, path in zip((found.base, found.tuned), paths, strict=True)
    )
    found = found.model_copy(update={"base": base, "tuned": tuned})
    study = Study(
        name="x", comparisons=[found], adapters=[], notes=[], command="ft-harness report old"
    )
    said, lines, then, again = command_section(study)
    assert isinstance(said, Paragraph)
    assert isinstance(then, Paragraph)
    assert "recipes name" not in said.text + then.text  # there are none
    assert again == Verbatim("ft-harness report old", 30_000)
    assert isinstance(lines, Verbatim)
    first, second = lines.text.splitlines()
    assert first.endswith(" --log_samples --output_path old/base")
    assert second.endswith(" --log_samples --output_path flat")
