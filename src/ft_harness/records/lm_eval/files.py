"""Which files below a folder hold evaluations, which of lm-eval's belong to one run, and their
JSON.

lm-eval writes `results_<date>.json` and a `samples_<task>_<date>.jsonl` for each task into a folder
for each model. No link is followed out of the folder that was given, and nothing but regular files
is opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ft_harness.errors import InputError
from ft_harness.records.schema import RECORD_FILE, REPORT_FILES

_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)$")
_SAMPLES = "samples_"
LARGEST_RESULTS = 1 << 26  # bytes of a results file


@dataclass(frozen=True)
class Files:
    """The files with evaluations in and below one path, each list sorted.

    Attributes:
        refused: a line for each file that was not looked into, with the reason.
    """

    records: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    samples: list[Path] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """The files that one call of lm_eval wrote.

    Attributes:
        date: as the file names say it, "" where they don't.
        results: None: samples alone.
        samples: task -> its file.
    """

    folder: Path
    date: str
    results: Path | None
    samples: tuple[tuple[str, Path], ...]


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # or a whole one in two halves


def find_files(path: Path) -> Files:
    """Find the files with evaluations in a folder, or take the one file that is given. Below a
    folder, reports are left out: they hold copies of evaluations for other programs.

    Raises:
        InputError: there is no such file or folder, or the file is none of these.
    """
    found = Files()
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            if REPORT_FILES in names and Path(folder) != path:
                folders.clear()
                continue
            folders.sort()
            own = RECORD_FILE in names  # next to a record lie raw files of the same evaluation
            for name in sorted([RECORD_FILE] if own else names):
                _sort_in(found, Path(folder) / name, path.resolve())
    elif not path.is_file():
        raise InputError(
            f"{path}: no evaluation found (no such file or folder)",
            "a results folder",
            "check the path",
        )
    elif path.suffix == ".jsonl":
        found.samples.append(path)
    elif path.name == RECORD_FILE:
        found.records.append(path)
    elif path.suffix == ".json":
        found.results.append(path)
    else:
        raise InputError(
            f"{path}: no file of results by its name",
            f"a folder, {RECORD_FILE}, results_*.json or samples_*.jsonl",
            "give the folder that holds it",
        )
    return found


def _sort_in(found: Files, path: Path, top: Path) -> None:
    """Put a file where it belongs by its name; others are passed over."""
    dated = bool(_DATE.search(path.stem))
    if path.name == RECORD_FILE:
        home = found.records
    elif path.suffix == ".json" and (dated or path.name == "results.json"):
        home = found.results
    elif path.suffix == ".jsonl" and path.name.startswith(_SAMPLES):
        home = found.samples
    else:
        return
    # A results folder may be somebody else's.
    if not path.resolve().is_relative_to(top):
        found.refused.append(f"{path}: a link out of the folder, not followed")
    elif not path.is_file():
        found.refused.append(f"{path}: not a regular file")
    else:
        home.append(path)


def group_runs(files: Files) -> list[Run]:
    """Files of lm-eval by run: results with their samples, and samples without results, sorted by
    folder, then from the newest to the oldest.

    A results file that was given alone finds the samples next to it, and samples their results.
    """
    results = {(path.parent, _date(path)): path for path in files.results}
    samples: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in files.samples:
        key = path.parent, _date(path)
        samples.setdefault(key, {})[_task(path)] = path
        if key not in results and (sister := path.with_name(f"results_{key[1]}.json")).is_file():
            results[key] = sister
    for (folder, date), path in results.items():
        if path in files.results and (folder, date) not in samples:
            found = [
                each
                for each in folder.glob(f"{_SAMPLES}*.jsonl")
                if _date(each) == date and each.is_file()
            ]
            samples[folder, date] = {_task(each): each for each in sorted(found)}
    keys = sorted({*results, *samples}, key=lambda key: key[1], reverse=True)
    keys.sort(key=lambda key: key[0])
    return [
        Run(
            folder,
            date,
            results.get((folder, date)),
            tuple(sorted(samples.get((folder, date), {}).items())),
        )
        for folder, date in keys
    ]


def _date(path: Path) -> str:
    found = _DATE.search(path.stem)
    return found.group(1) if found else ""


def _task(path: Path) -> str:
    return _DATE.sub("", path.stem).removeprefix(_SAMPLES)


def read_results(path: Path) -> Mapping[str, Any]:
    """The content of lm-eval's results file; its text may hold NaN and Infinity.

    Raises:
        ValueError: why it is none.
    """
    size = path.stat().st_size
    if size > LARGEST_RESULTS:
        raise ValueError(
            f"{size:,} bytes; the results of lm-eval are smaller than {LARGEST_RESULTS:,}"
        )
    text = path.read_bytes()
    content = parse_json(text)
    if _HALF.search(text):
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("it holds half a character (a lone surrogate)") from error
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise ValueError("not results of lm-eval: it has no object 'results'")
    return content


def parse_json(text: bytes) -> Any:
    """A JSON value in a file of lm-eval, which may hold NaN and Infinity.

    Raises:
        ValueError: why it is none, in a few words.
    """
    with suppress(ValueError):  # takes less than `json` does, and makes the same of it
        return from_json(text, cache_strings="keys")
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, character {error.pos})") from error
