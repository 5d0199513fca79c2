"""The keys of a task YAML and their types, checked here because lm-eval checks them only after a
model has answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from ft_harness.data.options import DataOptions
from ft_harness.errors import InputError, expected_values, suggest
from ft_harness.storage.strict_files import KeyPath
from ft_harness.tasks.listing import TaskFile

_FUNCTION = "!function "


def _is_function(value: Any) -> Any:
    if not (isinstance(value, str) and value.startswith(_FUNCTION)):
        raise ValueError("a function, written as !function module.name")
    return value


Function = Annotated[str, BeforeValidator(_is_function)]
_Template = str | int | float  # text or a function's name; a bare number is its own text
_Split = str | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Open(BaseModel):
    """Some keys are known, and others go to whoever reads them."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class GenerationKwargs(_Open):
    """Keys of a task YAML: how answers are generated; back-ends may know more."""

    until: str | list[str] | None = None
    max_gen_toks: Annotated[int, Field(ge=1)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    num_beams: Annotated[int, Field(ge=1)] | None = None


class FilterStep(_Open):
    """Keys of a task YAML: one step of a filter, with its own arguments."""

    function: str
    regex_pattern: str | None = None
    filter_fn: Function | None = None

    @field_validator("regex_pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"a regular expression ({error})") from error
        return value


class Filter(_Part):
    """Keys of a task YAML: what is extracted from an answer before it is scored."""

    name: str
    filter: Annotated[list[FilterStep], Field(min_length=1)]


class MetricEntry(_Open):
    """Keys of a task YAML: one metric of `metric_list`."""

    metric: str
    aggregation: str | None = None
    higher_is_better: bool | None = None


class TaskYaml(_Part):
    """Keys of a task YAML, or of a file that one includes: lm-eval's."""

    include: str | list[str] | None = None
    task: str | list[Any] | None = None
    task_alias: str | None = None
    tag: str | list[str] | None = None
    group: str | list[str] | None = None
    group_alias: str | None = None
    task_list: list[Any] | None = None
    custom_dataset: Function | None = None
    dataset_path: str | None = None
    dataset_name: str | None = None
    dataset_kwargs: dict[str, Any] | None = None
    training_split: _Split = None
    validation_split: _Split = None
    test_split: _Split = None
    fewshot_split: _Split = None
    process_docs: Function | None = None
    doc_to_text: _Template | None = None
    doc_to_target: _Template | list[Any] | None = None
    doc_to_image: str | list[str] | None = None
    doc_to_audio: str | list[str] | None = None
    unsafe_code: bool | None = None
    doc_to_choice: str | list[str | int | float] | dict[Any, Any] | None = None
    process_results: str | None = None
    use_prompt: str | None = None
    description: str | None = None
    target_delimiter: str | None = None
    fewshot_delimiter: str | None = None
    fewshot_config: dict[str, Any] | None = None
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    metric_list: list[MetricEntry] | None = None
    output_type: (
        Literal["multiple_choice", "generate_until", "loglikelihood", "loglikelihood_rolling"]
        | None
    ) = None
    generation_kwargs: GenerationKwargs | None = None
    repeats: Annotated[int, Field(ge=1)] | None = None
    filter_list: list[Filter] | None = None
    should_decontaminate: bool | None = None
    doc_to_decontamination_query: str | None = None
    gen_prefix: str | None = None
    metadata: dict[str, Any] | None = None
    class_: Any = Field(default=None, alias="class")


def key_problems(file: TaskFile) -> list[InputError]:
    """Unknown keys and wrong values of one task YAML, each with its line."""
    content = {_as_written(key, file.lines): value for key, value in file.content.items()}
    try:
        TaskYaml.model_validate(content)
    except ValidationError as error:
        faults: dict[KeyPath, list[Any]] = {}
        for each in error.errors():
            location = _written(each["loc"], content)
            faults.setdefault(location, []).append(each)
        return [_problem(file, location, errors) for location, errors in faults.items()]
    return []


def _as_written(key: Any, lines: Mapping[KeyPath, int]) -> str:
    """A key as the file has it: YAML reads `no` as false."""
    if isinstance(key, bool):
        spellings = {path[0] for path in lines if len(path) == 1}
        words = ("yes", "on", "true") if key else ("no", "off", "false")
        return next((each for each in spellings if each.lower() in words), str(key))
    return str(key)


def _written(location: Sequence[Any], content: Mapping[Any, Any]) -> KeyPath:
    """The keys and numbers of a location that the YAML really has: pydantic adds the names of
    types."""
    found: list[str] = []
    part: Any = content
    for step in location:
        in_mapping = isinstance(part, Mapping) and step in part
        if in_mapping or (isinstance(part, list) and isinstance(step, int)):
            part = part[step]
        elif found:
            break
        found.append(str(step))
    return tuple(found)


def _problem(file: TaskFile, location: KeyPath, errors: Sequence[Any]) -> InputError:
    name = ".".join(location)
    line = next(
        (
            file.lines[location[:n]]
            for n in range(len(location), 0, -1)
            if location[:n] in file.lines
        ),
        1,
    )
    place = f"{file.path}:{line}"
    if errors[0]["type"] == "extra_forbidden":
        known = Filter.model_fields if len(location) > 1 else TaskYaml.model_fields
        hint = suggest(location[-1], known)
        return InputError(
            f"{place}: unknown key {name}{hint}", "a key of lm-eval's task YAMLs", "rename it"
        )
    if errors[0]["type"] == "missing":
        return InputError(f"{place}: {name} has no {errors[0]['loc'][-1]}", "one", "add it")
    return InputError(
        f"{place}: {name} is {repr(errors[0]['input'])[:80]}",
        expected_values(errors),
        "change the value",
    )


def loader_problems(file: TaskFile) -> list[InputError]:
    """Unknown keys that a task YAML gives to our data loader."""
    arguments = file.content.get("dataset_kwargs")
    if not isinstance(arguments, Mapping):
        return []
    data = arguments.get("data")
    levels: list[tuple[KeyPath, Mapping[str, Any], set[str]]] = [
        (("dataset_kwargs",), arguments, {"data"})
    ]
    if isinstance(data, Mapping):
        levels.append((("dataset_kwargs", "data"), data, set(DataOptions.model_fields)))
    return [
        InputError(
            f"{file.path}:{file.lines[(*prefix, str(key))]}: unknown key "
            f"{'.'.join((*prefix, str(key)))}{suggest(str(key), known)}",
            "an option of our data loader",
            "rename it",
        )
        for prefix, content, known in levels
        for key in content
        if key not in known
    ]
