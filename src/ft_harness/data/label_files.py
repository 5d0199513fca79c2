"""Texts that are sorted by label: one file, or one folder of files, for each label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ft_harness.data.files import SPLITS, SUFFIXES, Row, Rows, Split, data_suffix, split_of
from ft_harness.data.layout import Layout
from ft_harness.data.opening import open_text
from ft_harness.data.text_files import MAX_CHARACTERS, read_lines
from ft_harness.errors import InputError


def read_label_files(
    source: Path, label_files: Mapping[str, str], layout: Layout
) -> dict[Split, Rows]:
    """Rows with `text` and `label`: each line of a file, each file of a folder.

    Args:
        source: the folder; with subfolders named like splits (`train`, `test`), each is one split.
        label_files: label -> file or folder, relative to the source or to each split's folder.
        layout: its encoding counts.

    Raises:
        InputError: a file or folder is missing or empty, a file holds rows of its own rather than
            texts, or the layout says more than the encoding.
    """
    ignored = [name for name in layout.given() if name != "encoding"]
    if ignored:
        raise InputError(
            f"data.{ignored[0]} does not apply to data.label_files",
            "data.encoding, if any",
            f"leave data.{ignored[0]} out",
        )
    folders = split_folders(source) or {"train": source}
    for folder in folders.values():
        for label, name in label_files.items():
            if not (folder / name).exists():
                raise InputError(
                    f"{folder / name}: no such file or folder, for the label {label}",
                    "a file or folder for each label",
                    "fix data.label_files",
                )
            check_texts(folder / name)
    return {split: _rows(folder, label_files, layout) for split, folder in folders.items()}


def check_texts(path: Path) -> None:
    """Refuse label files that are no texts: a folder holds files, and a file lines of text, not a
    table or objects."""
    files = files_within(path) if path.is_dir() else [path]
    if not files:
        raise InputError(
            f"{path}: a folder without files",
            "the texts of a label, one file each, directly in its folder",
            "move the files up, or name another folder",
        )
    kind = data_suffix(files[0])
    if kind in SUFFIXES and kind != ".txt":
        raise InputError(
            f"{files[0]}: a {kind} file holds more than texts",
            "one text per line, or one text per file, for each label",
            "put its label into a column and join the files, or name them train and test if they "
            "are splits",
        )


def split_folders(source: Path) -> dict[Split, Path]:
    """Of texts sorted by label: split -> its subfolder, whose name is or ends in it."""
    found: dict[Split | None, Path] = {
        split_of(path.name)[0]: path for path in sorted(source.iterdir()) if path.is_dir()
    }
    return {split: found[split] for split in SPLITS if split in found}


def _rows(folder: Path, label_files: Mapping[str, str], layout: Layout) -> Rows:
    def read() -> Iterator[tuple[str, Row]]:
        for label, name in label_files.items():
            path = folder / name
            if path.is_dir():
                for file in files_within(path):
                    yield str(file), {"text": _content(file, layout), "label": label}
            else:
                for place, row in read_lines(path, layout):
                    yield place, {**row, "label": label}

    return Rows(str(folder), read)


def files_within(folder: Path) -> list[Path]:
    """The files of a label's folder whose name doesn't begin with a dot, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _content(path: Path, layout: Layout) -> str:
    with open_text(path, "\n", layout.encoding) as text:
        content = text.read(MAX_CHARACTERS + 1)
    if len(content) > MAX_CHARACTERS:
        raise InputError(
            f"{path}: a text of more than {MAX_CHARACTERS:,} characters",
            "shorter texts",
            "cut the text",
        )
    return content.rstrip("\r\n")
