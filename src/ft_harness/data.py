"""Where docs come from: hub, local files, bundled data; sampled and split deterministically.

`load_splits` is the `custom_dataset` of our task YAMLs, under ft-harness and the stock `lm_eval` alike. lm-eval passes
the task's metadata, all model arguments and `dataset_kwargs` as one flat keyword call; the loader reads `data` (the
YAML's options), `data_*` (replacements) and `test_all`, and ignores the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ft_harness.errors import InputError
from ft_harness.files import SPLITS, Row, Rows, Split, is_data_file, read_file, split_files
from ft_harness.paths import BUNDLED, bundled_data_dir

if TYPE_CHECKING:
    from datasets import DatasetDict

_log = logging.getLogger(__name__)
_PREFIX = "data_"
DERIVED_SHARE = 0.1
LABEL, LABEL_NAMES = "label", "label_names"
Size = int | float | None


class DataOptions(BaseModel):
    """Options of the loader: the `data` of a task YAML, and a recipe's data section (which replaces single ones)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source: str | None = Field(default=None, description="hub id, file, folder, or bundled/<name>")
    name: str | None = Field(default=None, description="configuration of a hub data set")
    revision: str | None = Field(default=None, description="hub branch, tag or commit")
    columns: dict[str, list[str]] | None = Field(
        default=None, description="field of the task -> column names accepted for it, first match wins"
    )
    column_names: list[str] | None = Field(default=None, description="names of the columns of a file without a header")
    labels: list[str] | None = Field(default=None, description="class names in index order")
    drop_labels: list[int | str] = Field(default=[], description="rows with these raw labels are left out (SNLI's -1)")
    train_size: Size = Field(default=None, description="rows (int) or share (float up to 1); null: all")
    validation_size: Size = None
    test_size: Size = None
    stratified: bool = Field(default=False, description="samples keep the shares of the labels")
    seed: int = Field(default=0, ge=0)

    @field_validator("train_size", "validation_size", "test_size", mode="before")
    @classmethod
    def _read_size(cls, value: Any) -> Any:
        """A text with a point or exponent (from --set) is a share; a share is at most 1."""
        if isinstance(value, bool):
            raise ValueError("Input should be a number of rows or a share")
        if isinstance(value, str) and set(value.lower()) & set(".e"):
            value = float(value)
        if isinstance(value, float) and value > 1:
            raise ValueError("a share is at most 1; a number of rows has no decimals")
        return value


def _merge_options(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> DataOptions:
    replaced = {key.removeprefix(_PREFIX): value for key, value in metadata.items() if key.startswith(_PREFIX)}
    known = {f"{_PREFIX}{name}" for name in DataOptions.model_fields} | {"test_all"}
    for key in metadata:
        close = get_close_matches(key, known, n=1, cutoff=0.8)
        if close and key not in known:
            _log.warning("metadata %s is not an option of the data loader; did you mean %s?", key, close[0])
    fields = DataOptions.model_fields
    usable = {name: value for name, value in replaced.items() if name in fields}
    try:
        return DataOptions.model_validate({**data, **usable})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InputError(
            f"data option {name}: {first['msg']}", f"options {', '.join(fields)}", "mend the task's YAML or the recipe"
        ) from error


def load_splits(data: Mapping[str, Any], test_all: bool = False, **metadata: Any) -> DatasetDict:
    """The splits train, validation and test of a task.

    Split membership, sampling and derived splits are pure functions of (rows, options): disjoint by construction and
    the same in every process. A split the source lacks is carved out of another one (10 % unless its size is given).

    Args:
        data: `DataOptions` as written in the task's YAML.
        test_all: put every row into test; the other splits exist and are empty.
        **metadata: whatever lm-eval hands over; `data_<option>` replaces an option.

    Raises:
        InputError: no such source, broken rows (file and line), missing columns, labels outside the choices, null
            fields, empty splits.
    """
    import pyarrow
    from datasets import Dataset, DatasetDict

    options = _merge_options(data, metadata)
    rows = {split: _select_fields(part, options) for split, part in _read_source(options).items()}
    everything = [row for part in rows.values() for row in part]
    if not everything:
        raise InputError(f"{options.source}: no rows with a label to keep", "labelled rows", "check data.drop_labels")
    sampled = {"train": [], "validation": [], "test": everything} if test_all else _sample_splits(rows, options)
    # One schema for all splits, so that an empty one has the columns too.
    try:
        features = Dataset.from_list(everything).features
    except (pyarrow.ArrowException, TypeError, OverflowError) as error:
        raise InputError(
            f"{options.source}: a column holds values of different kinds ({error})",
            "one kind a column",
            "mend the rows",
        ) from error
    return DatasetDict(
        {
            split: Dataset.from_dict({name: [row.get(name) for row in part] for name in features}, features=features)
            for split, part in sampled.items()
        }
    )


def _read_source(options: DataOptions) -> dict[Split, Rows]:
    """Rows of each split that the source has."""
    if options.source is None:
        raise InputError("the task names no data source", "a hub id, file or folder", "--set data.source=...")
    bundled = options.source.startswith(f"{BUNDLED}/")
    path = (
        bundled_data_dir(options.source.removeprefix(f"{BUNDLED}/")) if bundled else Path(options.source).expanduser()
    )
    if path.is_dir():
        return _read_folder(path, options)
    if path.is_file():
        return {"train": read_file(path, options.column_names)}
    is_path = path.is_absolute() or options.source.startswith((".", "~")) or options.source.count("/") > 1
    if is_path or is_data_file(path):
        raise InputError(f"{options.source}: no such file or folder", "an existing source", "check data.source")
    return _read_hub(options)


def _read_folder(folder: Path, options: DataOptions) -> dict[Split, Rows]:
    found = split_files(folder)
    if not found:
        raise InputError(
            f"{folder}: no data file of a split",
            "files named train, validation (dev) or test, as csv, tsv, json, jsonl (.gz) or parquet",
            "rename the files, or give one file as data.source",
        )
    return {split: read_file(path, options.column_names) for split, path in found.items()}


def _read_hub(options: DataOptions) -> dict[Split, Rows]:
    from datasets import load_dataset

    try:
        loaded = load_dataset(options.source, options.name, revision=options.revision)
    except Exception as error:  # the hub client raises many types; all mean that the data can't be had
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(
            f"{options.source}: can't be loaded from the hub ({reason})",
            "a data set of the hub or an existing local path",
            "check the name and the network, or use a local file: --set data.source=FILE",
        ) from error
    return {
        split: Rows(f"{options.source}[{split}]", loaded[split].to_list())
        for split in SPLITS
        if split in loaded and len(loaded[split])
    }


def _select_fields(rows: Rows, options: DataOptions) -> list[Row]:
    """Rows with the task's fields only, labels as indices, dropped labels left out; the checks of single rows."""
    if not rows.rows:
        raise InputError(f"{rows.where}: no rows", "at least one row", "check the file")
    columns = _match_columns(rows, options)
    dropped = set(map(str, options.drop_labels))
    kept: list[Row] = []
    for index, row in enumerate(rows.rows):
        chosen = {field: row.get(column) for field, column in columns.items()} if columns else dict(row)
        if LABEL in chosen and str(chosen[LABEL]) in dropped:
            continue
        _check_filled(chosen, rows, index)
        if options.labels is not None:
            chosen[LABEL] = _label_index(chosen[LABEL], options.labels, rows, index)
            chosen[LABEL_NAMES] = list(options.labels)
        kept.append(chosen)
    if not kept:
        _log.warning("%s: no row has a label to keep; this split is taken from another one", rows.where)
    return kept


def _match_columns(rows: Rows, options: DataOptions) -> dict[str, str]:
    """Field -> the source's column, for the fields that the task declares; {} where it declares none."""
    present = list(rows.rows[0])
    matched: dict[str, str] = {}
    wanted = dict(options.columns or {})
    if options.labels is not None:
        wanted.setdefault(LABEL, [])
    for field, accepted in wanted.items():
        column = next((name for name in (field, *accepted) if name in present), None)
        if column is None:
            raise InputError(
                f"{rows.where}: no column for the field {field} (columns: {', '.join(map(str, present))})",
                f"one of {', '.join(dict.fromkeys((field, *accepted)))}",
                "--set 'data.columns={field: [column]}', or data.column_names for a file without a header",
            )
        matched[field] = column
    return matched if options.columns else {}


def _check_filled(row: Row, rows: Rows, index: int) -> None:
    for field, value in row.items():
        if value is None or value == "":
            raise InputError(
                f"{rows.place(index)}: the field {field} is {'null' if value is None else 'empty'}",
                "a value in every field",
                "mend or remove the row",
            )
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(
                f"{rows.place(index)}: the field {field} holds half a character (a lone surrogate)",
                "whole Unicode characters",
                "mend the escapes like \\ud83d of the row",
            )


def _label_index(raw: Any, labels: Sequence[str], rows: Rows, index: int) -> int:
    """Index of a label given as its name or as its number."""
    text = str(raw)
    if text in labels:
        return labels.index(text)
    if text.isdecimal() and int(text) < len(labels):
        return int(text)
    raise InputError(
        f"{rows.place(index)}: label {text[:80]!r} is not among the choices",
        f"one of {', '.join(labels)}, or 0 to {len(labels) - 1}",
        "mend the row, or leave such rows out with data.drop_labels",
    )


def _sample_splits(rows: Mapping[Split, list[Row]], options: DataOptions) -> dict[Split, list[Row]]:
    sizes: dict[Split, Size] = {split: getattr(options, f"{split}_size") for split in SPLITS}
    donor = next(split for split in SPLITS if rows.get(split))
    pools = _derive_missing(rows, donor, sizes, options)
    sampled: dict[Split, list[Row]] = {}
    for split, pool in pools.items():
        total = len(rows.get(split) or rows[donor])
        count = _count(sizes[split], total, split)
        if count > len(pool) and isinstance(sizes[split], int):
            raise InputError(
                f"data.{split}_size is {count}, but {len(pool)} of {total} rows are left by the other splits",
                f"at most {len(pool)} rows",
                f"lower data.{split}_size or the sizes of the other splits",
            )
        sampled[split] = [pool[i] for i in _chosen(pool, count, split, options)]
        if not sampled[split]:
            raise InputError(f"the split {split} is empty", "at least one row in each split", "check data.*_size")
    return sampled


def _derive_missing(
    rows: Mapping[Split, list[Row]], donor: Split, sizes: Mapping[Split, Size], options: DataOptions
) -> dict[Split, list[Row]]:
    """Carve each missing split out of the donor; a missing train split receives what the donor leaves."""
    pools = {split: list(rows.get(split, [])) for split in SPLITS}
    total = len(pools[donor])

    def carve(split: Split) -> list[Row]:
        size = DERIVED_SHARE if sizes[split] is None else sizes[split]
        taken = _chosen(pools[donor], _count(size, total, split), split, options)
        gone = set(taken)
        carved = [pools[donor][i] for i in taken]
        pools[donor] = [row for i, row in enumerate(pools[donor]) if i not in gone]
        return carved

    for split in ("test", "validation"):
        if not pools[split]:
            pools[split] = carve(split)
    if not pools["train"]:
        kept = carve(donor)
        pools["train"], pools[donor] = pools[donor], kept
    return pools


def _count(size: Size, total: int, split: Split) -> int:
    """Rows that a size asks for: a share of the total below 1, else a number."""
    if size is None:
        return total
    count = round(size * total) if isinstance(size, float) and size <= 1 else int(size)
    if not 0 < count <= total:
        raise InputError(
            f"data.{split}_size is {size}, which asks for {count} rows of {total}",
            f"1 to {total} rows, or a share below 1",
            f"change data.{split}_size",
        )
    return count


def _chosen(rows: Sequence[Row], count: int, split: Split, options: DataOptions) -> list[int]:
    """Sorted indices of a sample without replacement, or all; a pure function of (seed, split, rows)."""
    if count >= len(rows):
        return list(range(len(rows)))
    rng = np.random.default_rng((options.seed, SPLITS.index(split)))
    if not options.stratified:
        return sorted(rng.permutation(len(rows))[:count].tolist())
    by_label: dict[Any, list[int]] = {}
    for i, row in enumerate(rows):
        by_label.setdefault(row.get(LABEL), []).append(i)
    shares = _largest_remainder([len(group) for group in by_label.values()], count)
    picks = [rng.permutation(group)[:share] for group, share in zip(by_label.values(), shares, strict=True)]
    return sorted(np.concatenate(picks).tolist())


def _largest_remainder(groups: Sequence[int], count: int) -> list[int]:
    """Whole numbers that sum to `count`, proportional to the group sizes."""
    exact = [count * size / sum(groups) for size in groups]
    shares = [int(value) for value in exact]
    order = sorted(range(len(groups)), key=lambda i: exact[i] - shares[i], reverse=True)
    for i in order[: count - sum(shares)]:
        shares[i] += 1
    return shares
