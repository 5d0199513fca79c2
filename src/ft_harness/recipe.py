"""The recipe: one typed, strict, frozen description of base model, task, data, adapter, training and evaluation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from ft_harness import storage
from ft_harness.data import DataOptions
from ft_harness.errors import ConfigError, raise_problems, suggest
from ft_harness.files import SPLITS, Split
from ft_harness.paths import bundled_recipe
from ft_harness.storage import canonical_json, sha256_text, write_text
from ft_harness.yaml_source import KeyPath, read_yaml

RECIPE_FILE = "recipe.yaml"
FINGERPRINT_VERSION = "recipe-2"
_ROWS = re.compile(r"(?:first|last):([1-9]\d{0,5})")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay",
]  # fmt: skip


class Section(BaseModel):
    """A part of the recipe: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would read `true` as 1."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and bool not in get_args(annotation):
            raise ValueError("Input should not be true or false")
        return value


class ModelSection(Section):
    """The base model."""

    pretrained: str = Field(default="bundled", description="hub id, folder, or 'bundled'")
    revision: str | None = Field(default=None, description="hub branch, tag or commit")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="'auto': as the checkpoint's config says"
    )
    max_length: int | None = Field(default=None, ge=8, description="context in tokens; null: the model's own")
    quantization: Literal["nf4", "int8"] | None = Field(
        default=None, description="4-bit or 8-bit weights through bitsandbytes; null: as stored"
    )


class TaskSection(Section):
    """The lm-eval task that is trained on and scored."""

    name: str = Field(description="a task of `ft-harness tasks list`, or any lm-eval YAML task with a training split")
    include_path: str | None = Field(default=None, description="a further folder with task YAMLs")
    apply_chat_template: bool = Field(default=False, description="prompts through the tokenizer's chat template")
    system_instruction: str | None = Field(default=None, min_length=1, description="the chat's system message")
    fewshot_as_multiturn: bool = Field(
        default=True, description="under a chat template, few-shot examples are turns of their own"
    )

    @field_validator("system_instruction")
    @classmethod
    def _check_instruction(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Under plain prompts lm-eval would glue it to the question."""
        if value is not None and not info.data.get("apply_chat_template"):
            raise ValueError("task.apply_chat_template: true beside it; plain prompts have the YAML's description")
        return value


class AdapterSection(Section):
    """PEFT's LoraConfig, by its own field names."""

    r: int = Field(default=16, ge=1, le=1024)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    use_rslora: bool = False


class TrainSection(Section):
    """transformers' TrainingArguments, by their own field names."""

    learning_rate: float = Field(default=1e-3, gt=0)
    num_train_epochs: float = Field(default=2, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="stops here whatever the epochs")
    per_device_train_batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    lr_scheduler_type: Scheduler = "linear"
    warmup_steps: float = Field(default=0.05, ge=0, description="steps, or below 1 a share of all steps")
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    loss_on_eos: bool | None = Field(default=None, description="null: for generated answers only")
    seed: int = Field(default=0, ge=0, lt=2**32)

    def planned_steps(self, rows: int) -> int:
        """Optimizer steps of a training on this many rows; the last step of an epoch may be a partial one."""
        batches = math.ceil(rows / self.per_device_train_batch_size)
        steps = math.ceil(self.num_train_epochs * math.ceil(batches / self.gradient_accumulation_steps))
        return self.max_steps or steps


_Shots = Annotated[int, Field(ge=0)]


class EvalSection(Section):
    """How base and adapter are scored."""

    splits: tuple[Split, ...] = Field(default=SPLITS, min_length=1)
    num_fewshot: _Shots | Annotated[tuple[Annotated[_Shots, Field(strict=True)], ...], Field(min_length=1)] = Field(
        default=0, description="few-shot examples; a list: each number is scored"
    )
    fewshot_ids: str | tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = Field(
        default=None, description="fixed rows of the train split: first:5, last:3, or indices; null: a seeded sample"
    )
    generation_kwargs: dict[str, Any] | Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] = Field(
        default_factory=dict, description="decoding, laid over the task's own; a list: each is scored"
    )
    train_limit: int = Field(
        default=1000, ge=1, description="the train split is scored on a seeded sample of this size"
    )
    limit: int | None = Field(default=None, ge=1, description="docs of each split, a seeded sample; null: all")
    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=1234, ge=0, lt=2**32)

    @model_validator(mode="before")
    @classmethod
    def _count_fixed_rows(cls, content: Any) -> Any:
        """Fixed rows say how many they are."""
        if isinstance(content, dict) and content.get("fewshot_ids") and "num_fewshot" not in content:
            return {**content, "num_fewshot": _count_rows(content["fewshot_ids"])}
        return content

    @field_validator("fewshot_ids")
    @classmethod
    def _check_fixed_rows(cls, value: str | tuple[int, ...] | None, info: ValidationInfo) -> Any:
        count = _count_rows(value) if value is not None else None
        if count == 0 or (not isinstance(value, str | None) and len(set(value)) < len(value)):
            raise ValueError("first:N, last:N or a list of different row indices")
        asked = info.data.get("num_fewshot", count)
        if count is not None and asked != count and not (isinstance(asked, tuple) and set(asked) == {0, count}):
            raise ValueError(f"as many rows as num_fewshot says ({asked}), or no num_fewshot")
        return value

    @field_validator("num_fewshot", "generation_kwargs")
    @classmethod
    def _check_lists(cls, value: Any) -> Any:
        if isinstance(value, tuple) and any(value.count(each) > 1 for each in value):
            raise ValueError("each value of the list once")
        return value

    @property
    def shots(self) -> int:
        """Few-shot examples of one protocol."""
        assert isinstance(self.num_fewshot, int), "one of protocols() is meant"
        return self.num_fewshot

    @property
    def decoding(self) -> dict[str, Any]:
        """Generation arguments of one protocol."""
        assert isinstance(self.generation_kwargs, dict), "one of protocols() is meant"
        return self.generation_kwargs

    def protocols(self) -> list[EvalSection]:
        """Every number of shots with every decoding, one section each, in the order they were written."""
        shots = self.num_fewshot if isinstance(self.num_fewshot, tuple) else (self.num_fewshot,)
        decodings = self.generation_kwargs if isinstance(self.generation_kwargs, tuple) else (self.generation_kwargs,)
        return [
            self.model_copy(
                update={
                    "num_fewshot": count,
                    "generation_kwargs": decoding,
                    "fewshot_ids": self.fewshot_ids if count else None,
                }
            )
            for count in shots
            for decoding in decodings
        ]

    def fewshot_rows(self, total: int) -> list[int] | None:
        """Indices of the fixed few-shot rows in a train split of `total` rows, which may lack them; None: a sample."""
        if not isinstance(self.fewshot_ids, str):
            return list(self.fewshot_ids) if self.fewshot_ids else None
        start = 0 if self.fewshot_ids.startswith("first") else total - self.shots
        return list(range(start, start + self.shots))


def _count_rows(ids: Any) -> int:
    """How many rows `eval.fewshot_ids` names; 0 where it is malformed."""
    if isinstance(ids, str):
        match = _ROWS.fullmatch(ids)
        return int(match[1]) if match else 0
    return len(ids) if isinstance(ids, list | tuple) else 0


class Recipe(Section):
    """Everything that one experiment is."""

    model: ModelSection = Field(default_factory=ModelSection)
    task: TaskSection
    data: DataOptions = Field(default_factory=DataOptions)
    adapter: AdapterSection = Field(default_factory=AdapterSection)
    train: TrainSection = Field(default_factory=TrainSection)
    eval: EvalSection = Field(default_factory=EvalSection)

    def resolved(self) -> dict[str, Any]:
        """The recipe as JSON values with every default filled in."""
        return self.model_dump(mode="json")

    def task_metadata(self) -> dict[str, Any]:
        """The recipe's data section as lm-eval metadata: `data.X` is `data_X`."""
        written = self.data.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        return {f"data_{name}": value for name, value in written.items()}

    def adapter_sections(self) -> dict[str, Any]:
        """What the adapter is made of, defaults filled in; how it is scored afterwards does not belong to it."""
        return {name: section for name, section in self.resolved().items() if name != "eval"}

    def fingerprint(self) -> str:
        """Hash of what the adapter is made of."""
        return sha256_text(f"{FINGERPRINT_VERSION}:{canonical_json(self.adapter_sections())}")


def _known_fields(location: KeyPath) -> list[str]:
    """Field names of the section that an error location points into."""
    section: type[BaseModel] = Recipe
    for name in location[:-1]:
        annotation = section.model_fields[name].annotation if name in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)


def _problem(location: KeyPath, errors: Sequence[Any], places: Mapping[KeyPath, str]) -> ConfigError:
    """What is wrong with one field; a field of several types has an error for each of them."""
    error = errors[0]
    name = ".".join(location)
    place = next(places[location[:depth]] for depth in range(len(location), -1, -1) if location[:depth] in places)
    if error["type"] == "extra_forbidden":
        known = _known_fields(location)
        hint = suggest(location[-1], known)
        return ConfigError(
            f"{place}: unknown key {name}{hint}", f"one of {', '.join(known)}", "rename or remove the key"
        )
    if error["type"] == "missing":
        return ConfigError(f"{place}: {name} is missing", f"a value for {name}", "add it; see ft-harness init")
    expected = " or ".join(dict.fromkeys(item["msg"].removeprefix("Value error, ") for item in errors))
    return ConfigError(f"{place}: {name} is {repr(error['input'])[:80]}", expected, "change the value")


def _parse_override(setting: str) -> tuple[KeyPath, Any]:
    """`a.b=c` -> (("a", "b"), c). Lists, mappings and null are read as YAML, all else is typed by its field."""
    name, separator, text = setting.partition("=")
    path = tuple(name.split("."))
    if not separator or len(path) < 2:
        raise ConfigError(f"--set {setting}", "section.field=value, like train.learning_rate=1e-4", "mend the option")
    if (text[:1] in "[{" and text) or text in ("null", "None"):
        try:
            return path, yaml.safe_load(text) if text != "None" else None
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting}: not valid YAML", "a list like [a, b]", "mend the option") from error
    return path, text


def _override(content: dict[str, Any], path: KeyPath, value: Any) -> None:
    for name in path[:-1]:
        child = content.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {'.'.join(path)}: {name} is no section", "section.field=value", "mend the option")
        content = child
    content[path[-1]] = value


def _validate(content: dict[str, Any], places: Mapping[KeyPath, str]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        fields: dict[KeyPath, list[Any]] = {}
        for item in error.errors():
            fields.setdefault(tuple(map(str, item["loc"][:2])), []).append(item)
        raise_problems([_problem(location, items, places) for location, items in fields.items()])
        raise AssertionError("a ValidationError holds at least one error") from error


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe (the file, or the adapter folder that holds it) and apply `a.b=c` overrides.

    Raises:
        ConfigError: not readable, unknown or missing keys, wrong values; all of them at once, with line numbers.
    """
    file = recipe_file(path)
    content, lines = read_yaml(file, ConfigError)
    return _with_overrides(
        content, {(): str(file)} | {path: f"{file}:{line}" for path, line in lines.items()}, overrides
    )


def recipe_of_task(name: str, include_path: str | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a task that has none: its name, and the overrides of its data.

    Raises:
        ConfigError: unknown keys, wrong values, or overrides of what only a recipe has.
    """
    for setting in overrides:
        if not setting.startswith(("data.", "task.")):
            raise ConfigError(
                f"--set {setting}: the task {name} is checked by itself, without model, training and evaluation",
                "data.X or task.X",
                f"check a recipe: ft-harness init NAME --task {name}",
            )
    return _with_overrides({"task": {"name": name, "include_path": include_path}}, {(): f"task {name}"}, overrides)


def _with_overrides(content: dict[str, Any], places: dict[KeyPath, str], overrides: Sequence[str]) -> Recipe:
    for setting in overrides:
        key_path, value = _parse_override(setting)
        _override(content, key_path, value)
        places[key_path] = f"--set {setting}"
        places.setdefault(key_path[:1], f"--set {setting}")
    return _validate(content, places)


def recipe_file(path: str | Path) -> Path:
    """The recipe's file, given the file or the adapter folder that holds it."""
    given = Path(path)
    return given / RECIPE_FILE if given.is_dir() else given


def check_name(name: str) -> str:
    """The adapter's name, if it is one folder's.

    Raises:
        ConfigError: it could lead elsewhere.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"the name {name!r}", "letters, digits, '.', '_', '-'; at most 80", "use another name")
    return name


def experiment_name(path: str | Path) -> str:
    """The adapter's name: the folder that the recipe lies in."""
    return check_name(recipe_file(path).resolve().parent.name)


def _written(recipe: Recipe) -> dict[str, Any]:
    """The fields that were written down: a field left out stays left out, so that the task's own value holds."""
    return recipe.model_dump(mode="json", exclude_unset=True)


def keep_recipe(source: Path, recipe: Recipe, folder: Path) -> None:
    """Put the recipe into its adapter folder if that is not its home: the file itself, or the fields with overrides.

    Raises:
        ConfigError: the folder holds another recipe.
    """
    target = folder / RECIPE_FILE
    if target.exists():
        if target.resolve() != source.resolve() and _written(load_recipe(target)) != _written(recipe):
            raise ConfigError(
                f"{target}: holds another recipe", "an adapter folder of this recipe's own", "use --name NEW"
            )
        return
    if _written(load_recipe(source)) == _written(recipe):
        write_text(target, source.read_text(encoding="utf-8"))
    else:
        write_text(target, yaml.safe_dump(_written(recipe), sort_keys=False, allow_unicode=True))


def write_new_recipe(folder: Path, task: str, include_path: str | None = None) -> Path:
    """Write a commented recipe for a task into a new adapter folder; the file's path.

    Args:
        include_path: the further folder that the task lies in, if it is not a shipped one.

    Raises:
        ConfigError: the folder holds a recipe already.
    """
    target = folder / RECIPE_FILE
    if target.exists():
        raise ConfigError(f"{target} exists", "a new name", "choose another name, or edit this recipe")
    raise_problems(storage.problems(folder))
    text = bundled_recipe("template").read_text(encoding="utf-8")
    place = f"\n  include_path: {json.dumps(include_path, ensure_ascii=False)}" if include_path else ""
    text = text.replace("  name: <task>", f"  name: {task}{place}", 1)
    write_text(target, text.replace("<name>", folder.name).replace("<task>", task))
    return target
