"""Load the splits of a task: from the hub, local files or bundled data; sampled and split
deterministically.

`load_splits` is the `custom_dataset` of our task YAMLs, under ft-harness and the stock `lm_eval`
alike. lm-eval passes the task's metadata, all model arguments and `dataset_kwargs` as one flat
keyword call; the loader reads `data` (the YAML's options), `data_*` (replacements) and `test_all`,
and ignores the rest.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ft_harness.data.arrow_file import ArrowFile, select_rows
from ft_harness.data.docs import DocReader
from ft_harness.data.files import (
    SPLITS,
    Row,
    Rows,
    Split,
    folder_of_splits,
    is_data_file,
    read_file,
    read_files,
    split_files,
)
from ft_harness.data.label_files import read_label_files
from ft_harness.data.options import SAMPLING, DataOptions, merge_options
from ft_harness.data.parts import RowLoss
from ft_harness.data.sampling import Indices, Pool, sample_splits
from ft_harness.data.typed_files import label_names, rows_of_table
from ft_harness.errors import InputError, first_line
from ft_harness.paths import BUNDLED, bundled_data_dir, is_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

LOADER_VERSION = 6  # raise it when the same source and options give other docs or splits
_log = logging.getLogger(__name__)
# lm-eval's own command hands over the model's arguments too, with one of these; a recipe does not.
_MODEL_ARGUMENTS = ("pretrained", "peft", "model", "url")
_FIELD = re.compile(r"\bdata\.([a-z_]+)")


def load_splits(data: Mapping[str, Any], test_all: bool = False, **metadata: Any) -> DatasetDict:
    """The splits train, validation and test of a task.

    Split membership, sampling and derived splits are pure functions of (rows, options): disjoint by
    construction and the same in every process. A split the source lacks is carved out of another
    one (10 % unless its size is given). The docs lie in a memory-mapped file; `row_losses` says
    which rows did not become docs.

    Args:
        data: `DataOptions` as written in the task's YAML.
        test_all: put every row into test; the other splits exist and are empty.
        **metadata: whatever lm-eval hands over; `data_<option>` replaces an option.

    Raises:
        InputError: no such source, options that exclude each other or can't apply, broken rows
            (file and line), missing columns, labels outside the choices, null fields, empty splits.
    """
    try:
        return _make_splits(data, test_all, metadata)
    except InputError as error:
        if not metadata.keys().isdisjoint(_MODEL_ARGUMENTS):
            raise InputError(error.what, error.expected, _name_for_lm_eval(error.action)) from error
        raise


def _name_for_lm_eval(action: str) -> str:
    """What to do, with the option that `lm_eval` takes for each field of the data section."""
    named = [
        name for name in dict.fromkeys(_FIELD.findall(action)) if name in DataOptions.model_fields
    ]
    options = " ".join(f"data_{name}=..." for name in named)
    return f"{action} (lm_eval: --metadata {options})" if named else action


def _make_splits(
    data: Mapping[str, Any], test_all: bool, metadata: Mapping[str, Any]
) -> DatasetDict:
    from datasets import DatasetDict

    options = merge_options(data, metadata)
    replaced = [name.removeprefix("data_") for name in metadata]
    if test_all:
        for name in (*SAMPLING, "seed", "group_by"):
            if name in replaced and getattr(options, name):
                _log.warning("data.%s is not used: test_all puts every row into test", name)
        options = options.without_sampling()
    reader = DocReader(options, replaced)
    _warn_of_hub_options(options, replaced)
    dataset, rows = _gather(reader, read_source(options))
    reader.check_options()
    if not len(dataset):
        raise InputError(
            f"{options.source}: no rows with a label to keep and a value in every field",
            "rows that become docs",
            "check data.drop_labels and data.columns",
        )
    if test_all:
        chosen = {split: np.arange(len(dataset) if split == "test" else 0) for split in SPLITS}
    else:
        labels = reader.labels.of_rows() if options.stratified or options.balanced else None
        groups = reader.groups.of_rows() if options.group_by else None
        chosen = sample_splits(Pool(rows, labels, reader.labels.names, groups), options)
        _warn_of_idle_options(options, replaced, {split: len(rows[split]) for split in rows})
    splits = DatasetDict(
        {split: select_rows(dataset, indices) for split, indices in chosen.items()}
    )
    # lm-eval keeps nothing of what a loader gives but this object.
    splits.row_losses = tuple(reader.losses)
    return splits


def row_losses(splits: DatasetDict) -> tuple[RowLoss, ...]:
    """Rows that were lost when splits were loaded: one entry for each file or split of the source.

    Nothing for splits that another loader made.
    """
    return getattr(splits, "row_losses", ())


def _gather(
    reader: DocReader, source: Mapping[Split, Rows]
) -> tuple[Dataset, dict[Split, Indices]]:
    """All docs of the source in one memory-mapped data set, and the row numbers of each split."""
    from datasets import Dataset

    spans: dict[Split, Indices] = {}
    with ArrowFile() as file:
        for split, rows in source.items():
            start = len(file)
            with tqdm(desc=f"Reading {rows.where}", unit=" rows", delay=2) as progress:
                for docs in reader.read(rows):
                    file.extend(docs)
                    progress.update(docs.number)
            spans[split] = np.arange(start, len(file))
        return (file.dataset() if len(file) else Dataset.from_dict({})), spans


def _local_path(source: str) -> Path:
    if source.startswith(f"{BUNDLED}/"):
        return bundled_data_dir(source.removeprefix(f"{BUNDLED}/"))
    return Path(os.path.expanduser(source))


def read_source(options: DataOptions) -> dict[Split, Rows]:
    """Rows of each split that a task's source has: hub, local files or bundled data.

    Raises:
        InputError: no such source, a folder without the files of a split, or options that the
            source's files can't follow.
    """
    if options.source is None:
        raise InputError(
            "the task names no data source", "a hub id, file or folder", "--set data.source=..."
        )
    path = _local_path(options.source)
    if options.label_files is not None and path.is_dir():
        return read_label_files(path, options.label_files, options.layout())
    if path.is_dir():
        return _read_folder(path, options)
    if path.is_file() and options.label_files is None:
        return {"train": read_file(path, options.layout())}
    named = path.is_absolute() or is_path(options.source) or is_data_file(path)
    if named or options.label_files is not None:
        folder = "the folder of data.label_files" if options.label_files else "an existing source"
        raise InputError(
            f"{options.source}: no such file or folder"
            if not path.is_file()
            else f"{options.source}: data.label_files needs a folder",
            folder,
            "check data.source",
        )
    if given := options.layout().given():
        raise InputError(
            f"data.{given[0]} does not apply to the hub data set {options.source}",
            "a local file",
            f"leave data.{given[0]} out, or check data.source",
        )
    return _read_hub(options)


def source_files(options: DataOptions) -> list[Path] | None:
    """All local files that a source is read from; None: there are none, or it is on the hub."""
    path = _local_path(options.source or "")
    if path.is_file():
        return [path]
    if not options.source or not path.is_dir():
        return None
    if options.label_files is not None:
        return sorted(file for file in path.rglob("*") if file.is_file())
    return list(chain.from_iterable(split_files(path).values()))


def _warn_of_hub_options(options: DataOptions, replaced: Sequence[str]) -> None:
    """Warn of options that name parts of a hub data set; a local source has no use for them."""
    for name in ("name", "revision", "hub_splits"):
        value = getattr(options, name)
        if value is not None and name in replaced and options.source:
            path = _local_path(options.source)
            if path.exists():
                _log.warning(
                    "data.%s is for data sets of the hub; %s is local, %s is not used",
                    name,
                    options.source,
                    value,
                )


def _warn_of_idle_options(
    options: DataOptions, replaced: Sequence[str], sizes: Mapping[Split, int]
) -> None:
    """Warn of options that choose no row of a source with splits of these sizes."""
    own = [split for split in SPLITS if sizes.get(split)]
    derived = bool(options.split) or len(own) < len(SPLITS)
    sized = any(options.size(split) is not None for split in SPLITS)
    drawn = derived or sized or options.balanced
    given = [name for name in replaced if getattr(options, name, None)]
    whole = "every split is read whole (data.train_size, validation_size and test_size make it "
    whole += "smaller)"
    for name in given:
        if name in ("stratified", "first", "seed") and not drawn:
            _log.warning("data.%s is not used: %s", name, whole)
        elif name == "seed" and options.first:
            _log.warning("data.seed is not used: the first rows are taken, none is drawn")
        elif name == "group_by" and not derived:
            _log.warning(
                "data.group_by is not used: the source has its own train, validation and test"
            )
        elif name == "split" and own[1:]:
            unused = " and ".join(f"{split} ({sizes[split]} rows)" for split in own[1:])
            _log.warning(
                "data.split divides %s of the source alone: its %s are not used", own[0], unused
            )


def _read_folder(folder: Path, options: DataOptions) -> dict[Split, Rows]:
    found = split_files(folder)
    if not found:
        inner = folder_of_splits(folder)
        raise InputError(
            f"{folder}: no data file of a split",
            "files named train, validation (dev) or test (csv, tsv, txt, json, jsonl or parquet)",
            f"give {inner}, which has them"
            if inner
            else "rename the files, give one file as data.source, or a file for each label in "
            "data.label_files",
        )
    return {split: read_files(paths, options.layout()) for split, paths in found.items()}


def _read_hub(options: DataOptions) -> dict[Split, Rows]:
    from datasets import load_dataset

    try:
        loaded = load_dataset(options.source, options.name, revision=options.revision)
    # the hub client raises many types; all mean that the data is not available
    except Exception as error:
        reason = first_line(error)
        raise InputError(
            f"{options.source}: can't be loaded from the hub ({reason})",
            "a data set of the hub or an existing local path",
            "check the name and the network, or use a local file: --set data.source=FILE",
        ) from error
    names = options.hub_splits or {split: split for split in SPLITS}
    absent = [name for name in names.values() if name not in loaded]
    if (options.hub_splits and absent) or len(absent) == len(names):
        raise InputError(
            f"{options.source}: no split {' or '.join(absent)} (splits: {', '.join(loaded)})",
            "splits that the data set has",
            "--set 'data.hub_splits={train: NAME, test: NAME}', with their names",
        )
    return {
        split: _hub_rows(f"{options.source}[{names[split]}]", loaded[names[split]])
        for split in SPLITS
        if names.get(split) in loaded and len(loaded[names[split]])
    }


def _hub_rows(where: str, dataset: Dataset) -> Rows:
    def read() -> Iterator[tuple[str, Row]]:
        index = 0
        for table in dataset.with_format("arrow").iter(batch_size=1000):
            for row in rows_of_table(table):
                yield f"{where}, row {index}", row
                index += 1

    return Rows(where, read, lambda: label_names(dataset.features.to_dict()))
