"""A recipe's sweep section -> points: names, order, reference, and every fault in three lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.errors import ConfigError, FtHarnessError
from ft_harness.recipe import load_recipe
from ft_harness.sweep import Grid, read_grid, split_overrides
from ft_harness.sweep.request import Request
from tests.builders.command import assert_three_lines


@pytest.fixture
def make(tmp_path: Path):
    """The grid of a sweep section, given as YAML."""

    def build(section: str, **options) -> Grid:
        path = tmp_path / "recipe.yaml"
        path.write_text(f"task: {{name: demo_sentiment}}\ntrain: {{seed: 7}}\n{section}")
        return read_grid(Request(path, "mine", **options))

    return build


def names(grid: Grid) -> list[str]:
    return [point.name for point in grid.points]


def test_points_are_the_product_named_by_what_varies(make):
    grid = make("sweep: {vary: {data.train_size: [200, 400], adapter.r: [8, 16]}}")
    assert names(grid) == [
        "mine-train_size_200-r_16",  # the recipe's own r, and the first size: the reference
        "mine-train_size_200-r_8",
        "mine-train_size_400-r_8",
        "mine-train_size_400-r_16",
    ]
    assert [point.is_reference for point in grid.points] == [True, False, False, False]
    assert grid.points[2].recipe.data.train_size == 400
    assert grid.points[2].recipe.adapter.r == 8
    assert grid.points[2].recipe.sweep is None


def test_the_reference_comes_first_then_one_seed_of_each(make):
    grid = make(
        "sweep:\n  vary: {data.train_size: [200, 400], train.seed: [0, 1]}\n"
        "  reference: {data.train_size: 400}\n"
    )
    assert names(grid) == [
        "mine-train_size_400-seed_0",
        "mine-train_size_200-seed_0",
        "mine-train_size_400-seed_1",
        "mine-train_size_200-seed_1",
    ]


def test_bases_are_done_one_after_the_other_that_of_the_reference_first(make):
    """Each is loaded once; only one is in memory at a time."""
    grid = make(
        "sweep: {vary: {adapter.r: [4, 8], model.pretrained: [a, b], train.seed: [0, 1]}, "
        "reference: {model.pretrained: b}}"
    )
    bases = [point.recipe.model.pretrained for point in grid.points]
    assert bases == ["b"] * 4 + ["a"] * 4
    assert grid.points[0].is_reference
    assert [point.repeat for point in grid.points] == [0, 0, 1, 1] * 2


def test_lists_together_are_paired(make):
    grid = make("sweep: {together: {adapter.r: [4, 8], adapter.lora_alpha: [8, 16]}}")
    assert names(grid) == ["mine-r_4-lora_alpha_8", "mine-r_8-lora_alpha_16"]


def test_fields_of_one_name_have_their_sections_in_it(make):
    grid = make("sweep: {vary: {train.seed: [0, 1], eval.seed: [0, 1]}}")
    assert names(grid)[0] == "mine-train_seed_0-eval_seed_0"


def test_points_that_differ_in_scoring_share_an_adapter(make):
    grid = make("sweep: {vary: {eval.num_fewshot: [0, 3], train.seed: [0, 1]}}")
    assert {point.adapter for point in grid.points} == {"mine-seed_0", "mine-seed_1"}
    assert {point.made_by.eval.num_fewshot for point in grid.points} == {0}


def test_a_name_is_a_legal_folder_whatever_the_value(make):
    grid = make(
        "sweep: {vary: {model.pretrained: [../up/a, bundled], "
        "adapter.target_modules: [all-linear, [q_proj, v_proj, k_proj, o_proj, gate_proj]]}}"
    )
    assert len(set(names(grid))) == 4
    assert all(len(name) <= 80 and "/" not in name for name in names(grid))
    assert "mine-pretrained_bundled-target_modules_all_linear" in " ".join(names(grid))


@pytest.mark.parametrize(
    ("value", "start"),
    [("bundled", "mine-pretrained_bundled"), ("hub/Llama-3.2", "mine-pretrained_Llama_3.2_")],
)
def test_a_path_is_named_by_its_end(make, value: str, start: str):
    grid = make(f"sweep: {{vary: {{model.pretrained: [{value}, other]}}}}")
    assert names(grid)[0].startswith(start) or names(grid)[1].startswith(start)


def test_a_switch_is_spelled_as_in_the_recipe(make):
    grid = make("sweep: {vary: {adapter.use_dora: [true, false]}}")
    assert set(names(grid)) == {"mine-use_dora_true", "mine-use_dora_false"}


def test_a_point_has_its_name_whatever_else_the_grid_has(make):
    few = make("sweep: {vary: {data.train_size: [200, 400]}}")
    many = make("sweep: {vary: {data.train_size: [100, 200, 400, 800]}}")
    assert set(names(few)) < set(names(many))


def test_each_stretch_goes_on_from_the_one_before(make):
    grid = make(
        "sweep: {stretches: {train.num_train_epochs: [1, 1, 3]}, vary: {train.seed: [0, 1]}}"
    )
    assert names(grid)[:3] == [
        "mine-seed_0-num_train_epochs_1",
        "mine-seed_0-num_train_epochs_1_1",
        "mine-seed_0-num_train_epochs_1_1_3",
    ]
    assert [point.follows for point in grid.points[:3]] == [None, *names(grid)[:2]]
    assert grid.points[4].follows == "mine-seed_1-num_train_epochs_1"


def test_a_stretch_may_be_the_reference_by_all_that_led_there(make):
    grid = make(
        "sweep: {stretches: {train.num_train_epochs: [1, 1, 3]}, "
        "reference: {train.num_train_epochs: [1, 1]}}"
    )
    assert [point.is_reference for point in grid.points] == [False, True, False]


def test_stretches_may_draw_anew(make):
    grid = make(
        "sweep: {stretches: {train.num_train_epochs: [1, 1], train.seed: [0, 1]}, "
        "vary: {eval.seed: [0, 1]}}"
    )
    assert grid.seeds == ("eval.seed",)
    assert grid.axes == (("train.num_train_epochs", "train.seed"),)


def test_seeds_together_are_seeds_but_not_with_other_fields(make):
    """Else two settings that are compared would have no seed in common."""
    pair = make(
        "sweep: {together: {train.seed: [0, 1], eval.seed: [0, 1]}, vary: {adapter.r: [4, 8]}}"
    )
    assert pair.seeds == ("train.seed", "eval.seed")
    assert pair.axes == (("adapter.r",),)
    assert [point.is_reference for point in pair.points] == [True, False, True, False]
    assert pair.points[2].seeds == {"train.seed": 1, "eval.seed": 1}
    assert pair.points[2].setting == {"adapter.r": 4}
    mixed = make("sweep: {together: {train.seed: [0, 1], data.seed: [0, 1]}}")
    assert mixed.seeds == ()
    assert [point.setting for point in mixed.points] == [
        {"train.seed": 0, "data.seed": 0},
        {"train.seed": 1, "data.seed": 1},
    ]


def test_adapters_that_training_continues_vary(make):
    grid = make("sweep: {vary: {train.continue_from: [adapters/a, adapters/b]}}")
    assert len(set(names(grid))) == 2


def test_a_choice_is_written_as_in_the_documents(make):
    """YAML reads a bare `on` as true."""
    assert make("sweep: {vary: {adapter.r: [4, 8]}, choose: {by: acc, on: validation}}")


def test_the_short_forms_are_the_same(make, tmp_path: Path):
    long = make("sweep: {vary: {train.learning_rate: [0.001, 0.002], train.seed: [7, 8, 9]}}")
    short = make("", overrides=["train.learning_rate=1e-3,2e-3"], seeds=3)
    assert names(long) == names(short)
    assert [point.recipe for point in long.points] == [point.recipe for point in short.points]


def test_a_value_that_is_set_is_the_reference_or_refused(make):
    """It would change nothing: the field varies."""
    section = "sweep: {vary: {adapter.r: [4, 8]}}"
    assert names(make(section, overrides=["adapter.r=8"]))[0] == "mine-r_8"
    for more, overrides in [(section, ["adapter.r=16"]), ("", ["adapter.r=4,8", "adapter.r=16"])]:
        with pytest.raises(ConfigError) as caught:
            make(more, overrides=overrides)
        told = "--set adapter.r=16: adapter.r varies in this sweep"
        assert_three_lines("\n".join(caught.value.lines()), told, "one of 4, 8")


def test_very_many_seeds_are_refused_before_they_are_listed(make):
    with pytest.raises(ConfigError) as caught:
        make("", seeds=10**15)
    assert_three_lines("\n".join(caught.value.lines()), "1,000,000,000,000,000 points", "--yes")


def test_a_list_is_several_values_only_where_the_field_takes_none(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("task: {name: demo_sentiment}\n")
    overrides = [
        "adapter.target_modules=[q_proj, v_proj]",  # a list is a value of this field
        "data.source=a,b.csv",  # and a comma may be in a path
        "adapter.r=[4, 8]",
        "train.lr_scheduler_type=linear,cosine",
    ]
    kept, varied = split_overrides(path, overrides)
    assert kept == overrides[:2]
    assert varied == {"adapter.r": [4, 8], "train.lr_scheduler_type": ["linear", "cosine"]}


def test_a_sweep_is_no_part_of_an_adapters_identity(make, tmp_path: Path):
    make("sweep: {vary: {adapter.r: [4, 8]}}")
    swept = load_recipe(tmp_path / "recipe.yaml")
    (tmp_path / "plain.yaml").write_text("task: {name: demo_sentiment}\ntrain: {seed: 7}\n")
    plain = load_recipe(tmp_path / "plain.yaml")
    assert swept.fingerprint() == plain.fingerprint()
    assert swept.resolved() == plain.resolved()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("sweep: {vary: {train.learning_rat: [1, 2]}}", ["learning_rat;", "train.learning_rate"]),
        ("sweep: {vari: {train.seed: [1, 2]}}", ["sweep.vari", "did you mean vary"]),
        ("sweep: {vary: {train.seed: [0, many]}}", ["train.seed is 'many'", "recipe.yaml:3"]),
        ("sweep: {vary: {train.seed: 3}}", ["sweep.vary"]),
        ("sweep: {vary: {train.seed: []}}", ["sweep.vary"]),
        ("sweep: {vary: {train.seed: [1, 1]}}", ["each value of train.seed once"]),
        ("sweep: {vary: {train.learning_rate: [0.001, 1e-3]}}", ["equal points"]),
        ("sweep: {}", ["a field and its values"]),
        ("", ["nothing varies", "--seeds 3"]),
        (
            "sweep: {together: {adapter.r: [4, 8], adapter.lora_alpha: [8]}}",
            ["lists of one length", "adapter.lora_alpha has 1"],
        ),
        (
            "sweep: {vary: {adapter.r: [4, 8]}, together: {adapter.r: [4, 8]}}",
            ["adapter.r is in two"],
        ),
        (
            "sweep: {vary: {adapter.r: [4, 8]}, reference: {adapter.r: 5}}",
            ["adapter.r 5", "one of 4, 8"],
        ),
        (
            "sweep: {vary: {adapter.r: [4, 8]}, reference: {adapter.lora: 5}}",
            ["sweep.reference names adapter.lora"],
        ),
        (
            f"sweep: {{vary: {{train.seed: {list(range(100))}, data.seed: {list(range(100))}}}}}",
            ["10,000 points", "--yes"],
        ),
        (
            "sweep: {vary: {train.seed: [0, 1]}, together: {}}",
            ["sweep.together is {}", "one value"],
        ),
        (
            "sweep: {together: [{adapter.r: [4, 8]}, {}]}",
            ["sweep.together is {}", "one value"],
        ),
        (
            "sweep: {vary: {eval.generation_kwargs.top_k: [1, 2], eval.generation_kwargs: [{}]}}",
            ["eval.generation_kwargs.top_k is within eval.generation_kwargs"],
        ),
        ("sweep: {vary: {train.seed: 0, adapter.r: [1, 2]}}", ["sweep.vary.train.seed is 0"]),
        ("sweep: {vary: {data.train_size: [1, 1.0]}}", ["two points", "mine-train_size_1"]),
        (
            "sweep: {vary: {adapter.target_modules: [[q_proj, v_proj], q_proj_v_proj]}}",
            ["two points", "mine-target_modules_q_proj_v_proj"],
        ),
        (
            "sweep: {vary: {adapter.r: [4, true]}}",
            ["adapter.r is True", "expected: a value other than true and false"],
        ),
        (
            "sweep: {vary: {adapter.r: [4, 8]}, reference: {adapter.r: [8]}}",
            ["adapter.r [8]", "one of 4, 8"],
        ),
        (
            "sweep: {together: {adapter.r: [4, 8], adapter.lora_alpha: [8, 16]}, "
            "reference: {adapter.r: 8, adapter.lora_alpha: 8}}",
            ["adapter.r 8 and adapter.lora_alpha 8", "one of 4 and 8, 8 and 16"],
        ),
        (
            "sweep: {vary: {train.seed: [0, 1]}, reference: {train.seed: 1}}",
            ["sweep.reference names train.seed", "a seed"],
        ),
        ("sweep: {stretches: {adapter.r: [4, 8]}}", ["adapter.r", "train", "stretches"]),
        ("sweep: {stretches: {eval.num_fewshot: [0, 1]}}", ["eval.num_fewshot", "stretches"]),
        ("sweep: {trains: false, stretches: {train.num_train_epochs: [1, 2]}}", ["trains: true"]),
        ("sweep: {trains: false, vary: {train.seed: [1, 2]}}", ["equal points"]),
    ],
)
def test_bad_input_is_three_lines(make, section: str, words: list[str]):
    with pytest.raises(FtHarnessError) as caught:
        make(section)
    error = caught.value
    assert error.exit_code == 2
    assert isinstance(error, ConfigError) or all(
        isinstance(each, ConfigError) for each in error.problems
    )
    assert_three_lines(str("\n".join(error.lines())), *words)


def test_ten_thousand_points_can_be_meant(make):
    section = f"sweep: {{vary: {{train.seed: {list(range(20))}, data.seed: {list(range(20))}}}}}"
    with pytest.raises(ConfigError, match="400 points"):
        make(section)
    assert len(make(section, accepted=True).points) == 400


def test_a_name_that_begins_alike_is_another_sweeps(make):
    grid = make("sweep: {vary: {train.lr_scheduler_kwargs.num_cycles: [1, 2], adapter.r: [4, 8]}}")
    own = [
        "mine", "mine-r_4", "mine-num_cycles_1-r_4", "mine-train_size_200-seed_0",
        "mine-train_seed_1-eval_seed_0", "mine-0123abcd", "mine-learning_rate_0.1-0123abcd",
    ]  # fmt: skip
    others = ["mine-big", "mine-big-r_4", "mine-rank_4", "mines-r_4", "other", "mine-r"]
    assert [each for each in [*own, *others] if grid.has_named(each)] == own
