"""Options of the data loader: one type for a task YAML's `data`, a recipe's data section and
`data_*` metadata; and what replaces what."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from itertools import chain
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ft_harness.data.files import SPLITS, Split
from ft_harness.data.labels import alike
from ft_harness.data.layout import Layout, LineFormat
from ft_harness.data.values import first_twice, is_blank
from ft_harness.errors import InputError, expected_values, raise_problems, suggest

_log = logging.getLogger(__name__)
_PREFIX = "data_"
_SHARES = re.compile(r"[1-9]\d?(/[1-9]\d?){1,2}")
Size = int | float | None
# options that choose rows
SAMPLING = (
    "train_size", "validation_size", "test_size", "split", "stratified", "balanced", "first",
)  # fmt: skip


class DataOptions(BaseModel):
    """Options of the loader: the `data` of a task YAML, and a recipe's data section (which replaces
    single ones)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source: str | None = Field(default=None, description="hub id, file, folder, or bundled/<name>")
    name: str | None = Field(default=None, description="configuration of a hub data set")
    revision: str | None = Field(default=None, description="hub branch, tag or commit")
    hub_splits: dict[Split, str] | None = Field(
        default=None, description="split -> its name in the hub data set; null: the same names"
    )
    columns: dict[str, list[str]] | None = Field(
        default=None,
        description="field of the task -> columns accepted for it; the first match wins, "
        "the field's own name comes last",
    )
    optional: list[str] = Field(
        default=[], description="fields that a source or row may lack; they are then an empty text"
    )
    column_names: list[str] | None = Field(
        default=None, description="names of the columns of a file without a header"
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="what separates the cells of a line"
    )
    line_format: str | None = Field(
        default=None,
        description="fields of a line and what is between them: '{label}:{sub} {text}'",
    )
    encoding: str | None = Field(default=None, description="encoding of text files; null: UTF-8")
    rows: str | None = Field(
        default=None, description="path of the rows in a .json file, like data.items"
    )
    worksheet: str | None = Field(
        default=None, description="sheet of an Excel workbook; null: first"
    )
    label_files: dict[str, str] | None = Field(
        default=None,
        description="label -> file (one row per line) or folder (one row per file) of its texts, "
        "relative to the source",
    )
    labels: list[str] | None = Field(default=None, description="class names in index order")
    drop_labels: list[int | str] = Field(
        default=[], description="rows with these raw labels are left out (SNLI's -1)"
    )
    train_size: Size = Field(
        default=None, description="rows (int) or share (float up to 1); null: all"
    )
    validation_size: Size = Field(default=None, description="as train_size, for validation")
    test_size: Size = Field(default=None, description="as train_size, for test")
    stratified: bool = Field(default=False, description="samples keep the shares of the labels")
    seed: int = Field(default=0, ge=0, description="seed of samples and derived splits")
    label_words: list[str] | None = Field(
        default=None, description="answer word of each label, added to each doc"
    )
    language: str | None = Field(
        default=None, description="language of the texts, added to each doc"
    )
    pairs: bool = Field(
        default=False,
        description="rows hold a prompt and two answers, chosen and rejected, as texts or messages",
    )
    balanced: bool = Field(
        default=False, description="samples hold equally many rows of each label"
    )
    first: bool = Field(
        default=False, description="samples are the first rows in file order, not seeded ones"
    )
    group_by: str | None = Field(
        default=None, description="column whose groups are never divided between derived splits"
    )
    split: str | None = Field(
        default=None, description="'80/20' or '70/10/20': splits derived from one pool of rows"
    )
    skip_bad_rows: bool = Field(
        default=False,
        description="leave out and count rows with a null, empty or faulty field, or equal answers",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _check_columns(cls, value: Any) -> Any:
        for name, columns in value.items() if isinstance(value, dict) else ():
            if not isinstance(columns, list):
                shown = str(columns)[:80]
                raise ValueError(f"a list of columns for each field: {{{name}: [{shown}]}}")
        return value

    @field_validator("train_size", "validation_size", "test_size", mode="before")
    @classmethod
    def _read_size(cls, value: Any) -> Any:
        """A text with a point or exponent (from --set) is a share; a share is at most 1."""
        if isinstance(value, bool):
            raise ValueError("a number of rows or a share")
        if isinstance(value, str) and set(value.lower()) & set(".e"):
            value = float(value)
        if isinstance(value, float) and value > 1:
            raise ValueError("a share is at most 1; a number of rows has no decimals")
        return value

    @field_validator("split")
    @classmethod
    def _check_shares(cls, value: str | None) -> str | None:
        if value is not None and (
            not _SHARES.fullmatch(value) or sum(map(int, value.split("/"))) != 100
        ):
            raise ValueError(
                "two or three whole percentages that sum to 100, like 80/20 or 70/10/20"
            )
        return value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _read_delimiter(cls, value: Any) -> Any:
        r"""A tab may be written as \t."""
        return "\t" if value == "\\t" else value

    @field_validator("labels", "label_words", mode="before")
    @classmethod
    def _check_words(cls, value: Any) -> Any:
        for word in value if isinstance(value, list) else ():
            if not isinstance(word, str):
                raise ValueError(
                    f"{word!r} is not text; YAML reads yes, no, on, off, null and numbers as other "
                    "values: write them in quotes"
                )
        return value

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                value.encode("ascii").decode("ascii")
                "".encode(value)
                b"a".decode(value, "replace")
            except (LookupError, ValueError) as error:
                raise ValueError("an encoding that Python knows, like latin-1") from error
        return value

    @field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, value: str | None) -> str | None:
        if value is not None and value in '\r\n"':
            raise ValueError("a character that is neither a quote nor a line end")
        return value

    @field_validator("line_format")
    @classmethod
    def _check_line_format(cls, value: str | None) -> str | None:
        if value is not None:
            LineFormat(value)
        return value

    def layout(self) -> Layout:
        """How the source's files are to be read."""
        return Layout(**{part.name: getattr(self, part.name) for part in fields(Layout)})

    def shares(self) -> dict[Split, int]:
        """Percentages of `split` for train, validation (0 where there are two numbers) and test."""
        numbers = [int(number) for number in (self.split or "").split("/")]
        return dict(
            zip(
                SPLITS,
                numbers if len(numbers) == len(SPLITS) else (numbers[0], 0, numbers[1]),
                strict=True,
            )
        )

    def size(self, split: Split) -> Size:
        """The `<split>_size` option."""
        size: Size = getattr(self, f"{split}_size")
        return size

    def without_sampling(self) -> DataOptions:
        """The same source and fields, but nothing that chooses rows: for `test_all`."""
        known = DataOptions.model_fields
        return self.model_copy(update={name: known[name].default for name in SAMPLING})


def merge_options(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> DataOptions:
    """The task's options, replaced by those of the metadata (`data_<option>`).

    Raises:
        InputError: an unknown option or a wrong value; options that exclude each other (all of them
            at once).
    """
    replaced = {
        key.removeprefix(_PREFIX): value
        for key, value in metadata.items()
        if key.startswith(_PREFIX)
    }
    known = {f"{_PREFIX}{name}" for name in DataOptions.model_fields} | {"test_all"}
    for key in metadata:
        close = get_close_matches(key, known, n=1, cutoff=0.8)
        if close and key not in known:
            _log.warning(
                "metadata %s is not an option of the data loader; did you mean %s?", key, close[0]
            )
    fields = DataOptions.model_fields
    usable = {name: value for name, value in replaced.items() if name in fields}
    try:
        options = DataOptions.model_validate({**data, **usable})
    except ValidationError as error:
        raise _wrong_value(error) from error
    except UnicodeEncodeError as error:
        raise _half_a_character() from error
    declared = data.get("columns")
    problems = _turned_round(declared if isinstance(declared, dict) else {}, options.columns or {})
    if "label_words" not in usable and options.label_words is not None:
        problems = chain(
            problems, reordered("data.label_words", data.get("labels"), options.labels)
        )
    raise_problems([*problems, *_word_problems(options), *_conflicts(options)])
    return options


def _half_a_character() -> InputError:
    return InputError(
        "a data option holds half a character (a lone surrogate)",
        "whole characters",
        "fix the task's YAML or the recipe",
    )


def _wrong_value(error: ValidationError) -> InputError:
    """The fault of the first option that is unknown or holds what it can't."""
    first, *others = error.errors()
    if not first["loc"]:  # no option's value is at fault, but the name of one
        return _half_a_character()
    name, known = str(first["loc"][0]), DataOptions.model_fields
    faults = [first, *(each for each in others if each["loc"][0] == name)]
    cure = "fix the task's YAML or the recipe"
    if name not in known:
        return InputError(
            f"data option {name} is unknown{suggest(name, known)}",
            f"one of {', '.join(known)}",
            cure,
        )
    if first["type"] == "value_error":
        return InputError(
            f"data option {name}: {expected_values(faults)}", f"{known[name].description}", cure
        )
    return InputError(
        f"data option {name} is {repr(first['input'])[:80]}",
        f"{expected_values(faults)}: {known[name].description}",
        cure,
    )


def _turned_round(
    fields: Mapping[str, Any], given: Mapping[str, Sequence[str]]
) -> Iterator[InputError]:
    """Columns that are given as if they were fields of the task, and the other way round."""
    for name, columns in given.items():
        meant = [field for field in columns if field in fields and field not in given]
        if meant and name not in fields:
            yield InputError(
                f"data.columns: {name} is not a field of the task, but {meant[0]} is",
                f"field: [column], for the fields {', '.join(fields)}",
                f"--set 'data.columns={{{meant[0]}: [{name}]}}'",
            )


def reordered(
    words: str, declared: Sequence[str] | None, given: Sequence[str] | None
) -> Iterator[InputError]:
    """The fault of `data.labels` in another order than the task's, whose words stay in the task's.

    Args:
        words: what has them.
        declared: the task's labels.
    """
    if declared and given and list(given) != list(declared) and set(given) == set(declared):
        yield InputError(
            f"data.labels has the task's labels in another order than {words}",
            f"the order of the task: {', '.join(declared)}",
            "leave data.labels out (rows may name labels in any order), or give data.label_words "
            "in the same order, if the task's templates use them",
        )


def _word_problems(options: DataOptions) -> list[InputError]:
    """Labels and label words that are empty, listed twice, read alike or do not pair up."""
    problems: list[InputError] = []
    for name, words in (("labels", options.labels), ("label_words", options.label_words)):
        fault = _fault_of_words(words) if words is not None else None
        if fault:
            problems.append(
                InputError(
                    f"data.{name}: {fault}", "two or more different words", f"fix data.{name}"
                )
            )
    words = options.label_words
    if words is None:
        twins = alike(options.labels or [])
        if twins and not problems:
            _log.warning(
                "data.labels: %r and %r differ only in case, invisible characters or the script of "
                "letters; generated answers can't tell them apart (data.label_words sets other "
                "words)",
                *twins,
            )
        return problems
    if len(words) != len(options.labels or []):
        problems.append(
            InputError(
                f"data.label_words: {len(words)} words for {len(options.labels or [])} labels",
                "one word for each of data.labels, in their order",
                "fix data.label_words",
            )
        )
    if (twins := alike(words)) and not problems:
        problems.append(
            InputError(
                f"data.label_words: {twins[0]!r} and {twins[1]!r} are read as the same answer",
                "words that differ in more than case, invisible characters and the script of "
                "letters",
                "fix data.label_words",
            )
        )
    return problems


def _fault_of_words(words: Sequence[str]) -> str | None:
    blank = [number for number, word in enumerate(words, start=1) if is_blank(word)]
    if blank:
        return f"number {blank[0]} is empty"
    stripped = [word.strip() for word in words]
    twice = first_twice(stripped)
    if twice is not None:
        return f"{twice!r} is listed twice"
    return f"{len(words)} given" if len(words) < 2 else None


def _conflicts(options: DataOptions) -> list[InputError]:
    """Options that exclude each other."""
    pairs = [
        ("first", "stratified", "the first rows are not a draw"),
        ("first", "balanced", "the first rows are not a draw"),
        ("stratified", "balanced", "equal numbers per label don't keep the shares of the source"),
        ("stratified", "group_by", "whole groups can't keep the shares of the labels"),
        ("line_format", "column_names", "the format names the columns"),
        ("line_format", "delimiter", "the format says what is between the columns"),
    ]
    problems = [
        InputError(
            f"data.{one} and data.{other} exclude each other",
            f"one of the two: {why}",
            "leave one out",
        )
        for one, other, why in pairs
        if getattr(options, one) and getattr(options, other)
    ]
    if options.split and not options.shares()["validation"] and options.validation_size is not None:
        problems.append(
            InputError(
                f"data.validation_size with data.split {options.split}, "
                "whose validation split is empty",
                "three percentages, like 70/10/20",
                "leave data.validation_size out, or name its share in data.split",
            )
        )
    return problems
