"""The recipe: strict, typed, frozen; every fault at once with its line; a fingerprint that doesn't
drift."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import ft_harness
from ft_harness.errors import ConfigError, InputError, ProblemsError
from ft_harness.recipe import (
    RECIPE_FILE,
    TrainSection,
    check_name,
    experiment_name,
    keep_recipe,
    load_recipe,
    write_new_recipe,
)

PACKAGE = Path(ft_harness.__file__).parent
ROOT = PACKAGE.parents[1]
TEMPLATE = PACKAGE / "bundled" / "recipes" / "template" / RECIPE_FILE
SHIPPED = sorted(
    {*(ROOT / "adapters").rglob(RECIPE_FILE), *(PACKAGE / "bundled").rglob(RECIPE_FILE)}
    - {TEMPLATE}
)
MINIMAL = "task: {name: demo_nli}\n"
GOLDEN = "7a416fe8a0f3aac9cdcb383645e1be11755de96761f46506e242a71b2a37d31c"


def write(folder: Path, text: str = MINIMAL) -> Path:
    path = folder / RECIPE_FILE
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("settings", "rows", "steps"),
    [
        ({}, 64, 16),  # 8 batches an epoch
        (
            {"gradient_accumulation_steps": 3},
            64,
            6,
        ),  # 8 batches are 2 whole steps and a partial one
        ({"num_train_epochs": 0.5}, 65, 5),  # 9 batches, of which half are 4.5
        ({"max_steps": 7}, 64, 7),
    ],
)
def test_steps_are_counted_before_training(settings: dict, rows: int, steps: int):
    train = TrainSection(per_device_train_batch_size=8, **{"num_train_epochs": 2, **settings})
    assert train.planned_steps(rows) == steps


def test_recipes_are_shipped():
    assert len(SHIPPED) >= 5, "the shipped recipes were not found"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_every_shipped_recipe_loads(path: Path):
    recipe = load_recipe(path)
    assert recipe.task.name
    assert load_recipe(path.parent) == recipe
    assert experiment_name(path) == experiment_name(path.parent) == path.parent.name


def test_all_faults_at_once_with_line_and_suggestion(tmp_path: Path):
    path = write(
        tmp_path,
        "model: {pretraind: bundled}\n"
        "train:\n"
        "  learning_rat: 1e-4\n"
        "  per_device_train_batch_size: many\n"
        "  seed: 0\n"
        "evaluate: {}\n"
        "eval:\n"
        "  splits: [train, tset]\n",
    )
    with pytest.raises(ProblemsError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    assert [problem.what for problem in caught.value.problems] == [
        f"{path}:1: unknown key model.pretraind; did you mean pretrained?",
        f"{path}: task is missing",
        f"{path}:4: train.per_device_train_batch_size is 'many'",
        f"{path}:3: unknown key train.learning_rat; did you mean learning_rate?",
        f"{path}:8: eval.splits is 'tset'",
        f"{path}:6: unknown key evaluate; did you mean eval?",
    ]
    assert len(caught.value.lines()) == 18


def test_an_unknown_section_names_the_known_ones(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, MINIMAL + "quantisation: {bits: 4}\n"))
    assert caught.value.what == f"{tmp_path / RECIPE_FILE}:2: unknown key quantisation"
    known = "model, task, data, adapter, train, eval, controls, sweep"
    assert caught.value.expected == f"one of {known}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("train: {learning_rate: 0}", "train.learning_rate is 0"),
        ("train: {learning_rate: .nan}", "train.learning_rate is nan"),
        ("train: {learning_rate: .inf}", "train.learning_rate is inf"),
        ("train:", "train is None"),
        ("adapter: {target_modules: 5}", "adapter.target_modules is 5"),
        ("data: {train_size: many}", "data.train_size is 'many'"),
        ("data: {train_size: .nan}", "data.train_size is nan"),
        ("data: {seed: -1}", "data.seed is -1"),
        ("data: {labels: [no, yes]}", "data.labels is [False, True]"),  # quotes are missing
        ("eval: {limit: 0}", "eval.limit is 0"),
        ("model: {dtype: flaot16}", "model.dtype is 'flaot16'"),
    ],
)
def test_a_wrong_value_is_one_fault(text: str, what: str, tmp_path: Path):
    path = write(tmp_path, f"{MINIMAL}{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert caught.value.what == f"{path}:2: {what}"


def test_a_field_of_several_types_names_them_all(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, MINIMAL + "adapter: {target_modules: 5}\n"))
    assert caught.value.expected == "text or a list"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("controls: [snli_custom]", "a mapping of fields"),
        ("train: {learning_rate: fast}", "a number"),
        ("train: {seed: 1.5}", "a whole number"),
        ("train: {num_train_epochs: -1}", "greater than 0"),
        ("eval: {splits: test}", "a list"),
        ("eval: {splits: [tset]}", "'train', 'validation' or 'test'"),
    ],
)
def test_what_a_field_may_hold_is_said_in_words_of_yaml(text: str, expected: str, tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, f"{MINIMAL}{text}\n"))
    assert caught.value.expected == expected


@pytest.mark.parametrize(
    ("setting", "section", "field", "value"),
    [
        ("train.learning_rate=1e-4", "train", "learning_rate", 0.0001),
        ("train.max_steps=20", "train", "max_steps", 20),
        ("train.max_steps=null", "train", "max_steps", None),
        ("train.max_steps=None", "train", "max_steps", None),
        ("train.loss_on_eos=true", "train", "loss_on_eos", True),
        ("model.revision=1234567", "model", "revision", "1234567"),
        ("model.pretrained=a=b", "model", "pretrained", "a=b"),
        (
            "adapter.target_modules=[q_proj, v_proj]",
            "adapter",
            "target_modules",
            ["q_proj", "v_proj"],
        ),
        ("eval.splits=[test]", "eval", "splits", ("test",)),
        ("data.train_size=100", "data", "train_size", 100),
        ("data.train_size=0.5", "data", "train_size", 0.5),
        ("data.drop_labels=[-1]", "data", "drop_labels", [-1]),
        ("data.columns={text: [review]}", "data", "columns", {"text": ["review"]}),
        ("data.columns.text=[review]", "data", "columns", {"text": ["review"]}),
        ("data.source=", "data", "source", ""),
    ],
)
def test_overrides_are_typed_by_their_field(
    setting: str, section: str, field: str, value, tmp_path: Path
):
    found = getattr(getattr(load_recipe(write(tmp_path), [setting]), section), field)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("ids", "total", "rows"),
    [
        ("last:3", 10, [7, 8, 9]),
        ("first:2", 10, [0, 1]),
        ("[4, 0, 2]", 10, [4, 0, 2]),
        ("last:3", 2, [-1, 0, 1]),  # a row that isn't there: found when the data is read
        ("null", 10, None),
    ],
)
def test_fixed_fewshot_rows_say_how_many_they_are(ids: str, total: int, rows, tmp_path: Path):
    settings = load_recipe(write(tmp_path), [f"eval.fewshot_ids={ids}"]).eval
    (protocol,) = settings.protocols()
    assert protocol.example_rows(total) == rows
    assert settings.num_fewshot == len(rows or [])


@pytest.mark.parametrize(
    "ids", ["first:0", "last:-1", "last:", "all", "[]", "[1, 1]", "[-1]", "[a]", "3", "[true]"]
)
def test_malformed_fewshot_rows_are_refused(ids: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"eval\.fewshot_ids"):
        load_recipe(write(tmp_path), [f"eval.fewshot_ids={ids}"])


@pytest.mark.parametrize(("number", "fits"), [(3, True), (2, False), (0, False)])
def test_num_fewshot_beside_fixed_rows_must_be_their_number(
    number: int, fits: bool, tmp_path: Path
):
    path = write(tmp_path, f"{MINIMAL}eval: {{num_fewshot: {number}, fewshot_ids: last:3}}\n")
    if fits:
        assert load_recipe(path).eval.num_fewshot == 3
        return
    with pytest.raises(ConfigError, match=r"recipe.yaml:2: eval.fewshot_ids is 'last:3'"):
        load_recipe(path)


def test_a_system_instruction_needs_the_chat_template(tmp_path: Path):
    chat = ["task.apply_chat_template=true", "task.system_instruction=Answer briefly."]
    assert load_recipe(write(tmp_path), chat).task.system_instruction == "Answer briefly."
    with pytest.raises(ConfigError, match=r"task\.system_instruction") as caught:
        load_recipe(write(tmp_path), chat[1:])
    assert "task.apply_chat_template: true" in caught.value.expected


def test_an_override_wins_over_the_file(tmp_path: Path):
    path = write(tmp_path, MINIMAL + "train: {seed: 1, num_train_epochs: 3}\n")
    recipe = load_recipe(path, ["train.seed=3"])
    assert (recipe.train.seed, recipe.train.num_train_epochs) == (3, 3)


def test_no_adapter_is_a_value_of_the_whole_section(tmp_path: Path):
    path = write(tmp_path, MINIMAL + "adapter: {r: 4}\n")
    assert load_recipe(path, ["adapter=none"]).adapter.all_weights
    with pytest.raises(ConfigError, match=r"--set adapter\.r=8 both set adapter"):
        load_recipe(path, ["adapter=none", "adapter.r=8"])


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("adapter=lora", "--set adapter=lora"),
        ("train=none", "--set train=none"),
        (
            "train.learning_rate=fast",
            "--set train.learning_rate=fast: train.learning_rate is 'fast'",
        ),
        (
            "train.lr=1",
            "--set train.lr=1: unknown key train.lr; did you mean learning_rate?",
        ),
        (
            "train.epochs=1",
            "--set train.epochs=1: unknown key train.epochs; did you mean num_train_epochs?",
        ),
        ("train.r=1", "--set train.r=1: unknown key train.r; did you mean adapter.r?"),
        ("r=1", "--set r=1; did you mean adapter.r?"),
        ("trian.seed=1", "--set trian.seed=1: unknown key trian; did you mean train?"),
        ("seed=1", "--set seed=1"),
        ("train.seed", "--set train.seed"),
        ("eval.splits=[test", "--set eval.splits=[test: not valid YAML"),
        ("task.name.x=1", "--set task.name.x=1: name is not a section"),
    ],
)
def test_a_wrong_override_is_named(setting: str, what: str, tmp_path: Path):
    path = write(tmp_path, MINIMAL + "train: {learning_rate: 1e-3}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, [setting])
    assert caught.value.what == what
    assert caught.value.exit_code == 2


def test_a_recipe_never_changes(tmp_path: Path):
    recipe = load_recipe(write(tmp_path))
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        recipe.data.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        recipe.task = recipe.task


def test_the_fingerprint_is_pinned(tmp_path: Path):
    # Another value here means that every adapter trained so far counts as another one: raise
    # FINGERPRINT_VERSION.
    assert load_recipe(write(tmp_path)).fingerprint() == GOLDEN


def test_the_fingerprint_is_of_values_and_not_of_their_spelling(tmp_path: Path):
    path = write(
        tmp_path, "train: {seed: 0, learning_rate: 0.001}\ntask:\n  name: demo_nli  # the same\n"
    )
    assert load_recipe(path).fingerprint() == GOLDEN


@pytest.mark.parametrize(
    ("setting", "same"),
    [
        ("eval.batch_size=1", True),
        ("eval.splits=[test]", True),
        ("eval.fewshot_ids=last:3", True),
        ("task.apply_chat_template=true", False),
        ("train.seed=1", False),
        ("train.save_steps=7", True),
        ("train.eval_strategy=no", True),  # looking at validation changes nothing
        ("train.eval_scores=50", True),
        ("train.load_best_model_at_end=true", False),
        ("train.learning_rate=1e-4", False),
        ("adapter.r=8", False),
        ("data.source=x.csv", False),
        ("model.dtype=float32", False),
        ("task.name=demo_qa", False),
    ],
)
def test_what_the_fingerprint_depends_on(setting: str, same: bool, tmp_path: Path):
    assert (load_recipe(write(tmp_path), [setting]).fingerprint() == GOLDEN) is same


def test_the_data_section_is_metadata_of_the_task(tmp_path: Path):
    recipe = load_recipe(write(tmp_path), ["data.source=x.csv", "data.train_size=0.5"])
    assert recipe.task_metadata() == {"data_source": "x.csv", "data_train_size": 0.5}
    assert load_recipe(write(tmp_path)).task_metadata() == {}


def test_a_missing_recipe(tmp_path: Path):
    with pytest.raises(ConfigError, match="can't be read"):
        load_recipe(tmp_path / "nowhere" / RECIPE_FILE)
    with pytest.raises(ConfigError, match=r"recipe\.yaml: can't be read"):
        load_recipe(tmp_path)


def test_a_recipe_is_kept_as_written_or_with_its_overrides(tmp_path: Path):
    path = write(tmp_path, "# why\n" + MINIMAL)
    keep_recipe(path, load_recipe(path), tmp_path / "same")
    assert (tmp_path / "same" / RECIPE_FILE).read_text() == "# why\n" + MINIMAL
    changed = load_recipe(path, ["train.seed=7"])
    keep_recipe(path, changed, tmp_path / "changed")
    assert load_recipe(tmp_path / "changed") == changed
    assert yaml.safe_load((tmp_path / "changed" / RECIPE_FILE).read_text()) == yaml.safe_load(
        MINIMAL
    ) | {
        "train": {"seed": 7}
    }  # a field left out stays left out, so that the task's own data options hold
    keep_recipe(path, changed, tmp_path / "changed")
    with pytest.raises(InputError, match=r"holds another recipe \(train\.seed: 7 -> 0\)"):
        keep_recipe(path, load_recipe(path), tmp_path / "changed")
    assert load_recipe(tmp_path / "changed") == changed


def test_the_fields_of_another_recipe_are_named(tmp_path: Path):
    """Those of training by value, since a default is the same whether it is written down; those of
    the task as written, since the task has its own; those of execution not at all."""
    path = write(tmp_path)
    keep_recipe(path, load_recipe(path), tmp_path / "kept")
    keep_recipe(
        path,
        load_recipe(path, ["train.save_steps=9", "train.learning_rate=0.001"]),
        tmp_path / "kept",
    )
    other = load_recipe(path, ["train.learning_rate=0.01", "adapter.r=3", "data.train_size=5"])
    with pytest.raises(InputError) as caught:
        keep_recipe(path, other, tmp_path / "kept")
    assert (
        "(adapter.r: 16 -> 3; data.train_size: None -> 5; train.learning_rate: 0.001 -> 0.01)"
        in caught.value.what
    )
    assert caught.value.action == (
        f"undo the change, use --name NEW for a new folder, or delete {tmp_path / 'kept'} to make this one again"
    )


@pytest.mark.parametrize("name", ["", "..", "a/b", "/x", ".hidden", "x" * 81, "a\0b", "-rf"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(name: str):
    with pytest.raises(ConfigError, match="is not a valid name"):
        check_name(name)


@pytest.mark.parametrize(
    "setting",
    [
        "train.seed=-1",
        "train.save_steps=2.5",
        "train.warmup_steps=1.5",
        "eval.seed=-1",
        "eval.splits=[]",
        "train.lr_scheduler_type=foo",
        "data.train_size=1.5",
    ],
)
def test_values_that_would_fail_later_are_refused_at_once(setting: str, tmp_path: Path):
    with pytest.raises(ConfigError):
        load_recipe(write(tmp_path), [setting])


def test_true_is_no_number(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"adapter\.r is True"):
        load_recipe(write(tmp_path, MINIMAL + "adapter: {r: true}\n"))


def test_a_share_of_one_on_the_command_line_is_all_rows(tmp_path: Path):
    size = load_recipe(write(tmp_path), ["data.train_size=1.0"]).data.train_size
    assert isinstance(size, float)
    assert size == 1.0


def test_a_new_recipe_loads_and_is_not_written_over(tmp_path: Path):
    path = write_new_recipe(tmp_path / "my-nli", "demo_nli")
    assert load_recipe(path).task.name == "demo_nli"
    assert "<" not in yaml.safe_dump(load_recipe(path).resolved())
    assert "my-nli: base model" in path.read_text()
    with pytest.raises(ConfigError, match="exists"):
        write_new_recipe(tmp_path / "my-nli", "demo_qa")
    assert load_recipe(path).task.name == "demo_nli"


def test_lists_of_shots_and_decodings_are_protocols_in_order(tmp_path: Path):
    text = "eval: {num_fewshot: [0, 3], fewshot_ids: last:3, generation_kwargs: [{}, {num_beams: 4}]}\n"
    settings = load_recipe(write(tmp_path, MINIMAL + text)).eval
    found = [(each.shots, each.decoding, each.examples) for each in settings.protocols()]
    assert found == [
        (0, {}, None),
        (0, {"num_beams": 4}, None),
        (3, {}, "last:3"),
        (3, {"num_beams": 4}, "last:3"),
    ]


def test_one_number_and_no_decoding_are_one_protocol(tmp_path: Path):
    (only,) = load_recipe(write(tmp_path)).eval.protocols()
    assert (only.shots, only.decoding) == (0, {})


@pytest.mark.parametrize(
    "section",
    [
        "{num_fewshot: []}", "{num_fewshot: [0, 0]}", "{num_fewshot: [-1]}", "{num_fewshot: [true]}",
        "{num_fewshot: [1, 3], fewshot_ids: last:3}", "{generation_kwargs: []}", "{generation_kwargs: [{}, {}]}",
        "{generation_kwargs: beam}",
    ],
)  # fmt: skip
def test_lists_that_make_no_protocols_are_refused(section: str, tmp_path: Path):
    with pytest.raises(ConfigError):
        load_recipe(write(tmp_path, f"{MINIMAL}eval: {section}\n"))


def test_pairs_have_settings_of_their_own(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("task: {name: demo_preference}\ntrain: {objective: preference}\n")
    recipe = load_recipe(path, ["train.preference.beta=0.3"])
    assert recipe.train.preference is not None
    assert recipe.train.preference.model_dump() == {
        "loss": "sigmoid", "beta": 0.3, "label_smoothing": 0.0, "sft_weight": 0.0,
    }  # fmt: skip
    assert load_recipe(path).fingerprint() != recipe.fingerprint()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["train.preference={beta: 0}"], "train.preference.beta is 0"),
        (["train.preference={beat: 1}"], "unknown key train.preference.beat; did you mean beta?"),
        (["train.preference={loss: ipo, label_smoothing: 0.1}"],
         "train.preference.label_smoothing is 0.1"),
        (["train.loss_on=prompt_and_answer"], "train.loss_on is 'prompt_and_answer'"),
        (["train.objective=answer", "train.preference={}"], "train.preference is {}"),
        (["adapter.task_type=SEQ_CLS"], "objective: answer where adapter.task_type is SEQ_CLS"),
    ],
)  # fmt: skip
def test_settings_of_pairs_that_make_no_sense(settings: list[str], problem: str, tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("task: {name: demo_preference}\ntrain: {objective: preference}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, settings)
    assert problem in str(caught.value)


def test_what_a_field_may_hold_is_said_without_names_of_types(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path), ["data.delimiter=ab"])
    assert caught.value.expected == "at most 1 character"
