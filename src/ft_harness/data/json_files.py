"""Rows of JSON: one object per line, a list of objects or another table, and the official SQuAD
form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ft_harness.data.json_tables import find_tables, is_list_of_objects, read_table
from ft_harness.data.layout import Layout
from ft_harness.data.opening import open_text
from ft_harness.data.text_files import Placed, numbered_lines
from ft_harness.data.values import first_twice
from ft_harness.errors import InputError

_KEY_ENDS = re.compile(r'"\s*:')
_DEPTH = 4  # objects within objects that are searched for a list of rows


def read_json_lines(path: Path, layout: Layout) -> Iterator[Placed]:
    """A row for each line that is not blank."""
    file = f"{path}:"
    with open_text(path, "\n", layout.encoding) as text:
        for number, line in numbered_lines(path, text):
            if line.isspace():
                continue
            place = file + str(number)
            try:
                # takes less than `json` does, never more, and makes the same of it, in a third of
                # the time
                row = from_json(line, cache_strings="keys")
            except ValueError:
                row = _decode(line, place)
            if type(row) is not dict:
                raise InputError(
                    f"{place}: not a JSON object", "one JSON object per line", "fix the line"
                )
            # behind each key is a colon; more of them, in texts too, are looked at
            if line.count(":") > len(row) and len(_KEY_ENDS.findall(line)) > _count_keys(row):
                objects = _Objects(line)
                objects.check(place, objects.value)
            yield place, row


def _decode(line: str, place: str) -> Any:
    try:
        return json.JSONDecoder().decode(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: not JSON ({error})",
            "one JSON object per line",
            "fix the line; name a file that is one list .json",
        ) from error


def read_json_rows(path: Path, layout: Layout) -> Iterator[Placed]:
    """A row for each object of the file's list, which may be under a key, or for each row of a
    table of another form; a row for each question of an official SQuAD file. A file of one object
    per line is read as such."""
    with open_text(path, "\n", layout.encoding) as text:
        content = text.read()
    try:
        objects = _Objects(content)
    except (ValueError, RecursionError) as error:
        if str(error).startswith("Extra data") and content.lstrip().startswith("{"):
            yield from read_json_lines(path, layout)
            return
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise InputError(
            f"{where}: not JSON ({error})", "a JSON list of objects", "fix the file"
        ) from error
    placed = _rows_of(path, objects.value, layout.rows)
    for place, row in [*placed, (str(path), objects.value)] if objects.repeated else []:
        objects.check(place, row)
    if placed and "paragraphs" in placed[0][1]:
        yield from _read_articles(path, [row for _, row in placed])
    else:
        yield from placed


class _Objects:
    """A JSON value, and its objects with a duplicate key (of which only the last value is kept).

    Raises:
        ValueError: not JSON.
        RecursionError: too deep.
    """

    def __init__(self, content: str) -> None:
        self.repeated: list[tuple[dict[str, Any], str]] = []
        self.value = json.loads(content, object_pairs_hook=self._make)

    def _make(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice = first_twice([name for name, _ in pairs])
            self.repeated.append((made, str(twice)))
        return made

    def check(self, place: str, value: Any) -> None:
        """Refuse a part of the value that is or holds such an object."""
        for made, name in self.repeated:
            if _holds(value, made):
                raise InputError(
                    f"{place}: an object has the key {name} twice",
                    "a value for each key",
                    "rename or remove one",
                )


def _holds(value: Any, wanted: dict[str, Any]) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is wanted or any(_holds(part, wanted) for part in parts)


def _count_keys(value: Any) -> int:
    """The keys of all objects within a value."""
    if type(value) is dict:
        return len(value) + sum(map(_count_keys, value.values()))
    return sum(map(_count_keys, value)) if type(value) is list else 0


def _rows_of(path: Path, value: Any, key: str | None) -> list[Placed]:
    """The rows of a list of objects: the value itself, the one under the path `key`, `data`, or the
    only one that there is; else of a table of another form, found in the same way."""
    if key is None and (table := read_table(value, str(path))) is not None:
        return table
    found: Mapping[str, list[Placed]] = {
        name: [(f"{path}, row {index}", row) for index, row in enumerate(rows)]
        for name, rows in _lists(value, "", _DEPTH)
    }
    if key is not None and key not in found:
        table = read_table(_part_under(key, value), f"{path}, {key}")
        if table is not None:
            return table
    found = found or {
        name: [(f"{path}, {place}", row) for place, row in table]
        for name, table in find_tables(value, "", _DEPTH)
    }
    names = sorted(filter(None, found))
    if key is not None and key in found:
        return found[key]
    if key is None and ("" in found or "data" in found):
        return found.get("", found.get("data", []))
    if key is None and len(names) == 1:
        return found[names[0]]
    which = f" under {key}" if key else ""
    lists = f"; there are lists under {', '.join(names)[:300]}" if names else ""
    raise InputError(
        f"{path}: no list of objects{which}{lists}",
        'a JSON list of objects, or {"data": [...]}; also columns, or objects by their ids',
        "--set data.rows=KEY" if names else "with pandas: to_json(..., orient='records')",
    )


def _part_under(path: str, value: Any) -> Any:
    """What is under a path of keys; None: nothing."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(path, list) of each list of objects within a value that is not within a list."""
    if is_list_of_objects(value):
        if value or path in ("", "data"):
            yield path, value
    elif isinstance(value, dict) and depth:
        for name, part in value.items():
            yield from _lists(part, f"{path}.{name}" if path else name, depth - 1)


def _read_articles(path: Path, articles: Sequence[dict[str, Any]]) -> Iterator[Placed]:
    """A row for each question of an official SQuAD file."""
    for article in articles:
        place = f"{path}, article {article.get('title')}"
        for number, paragraph in enumerate(_part(place, article, "paragraphs", list), start=1):
            inside = f"{place}, paragraph {number}"
            for index, question in enumerate(_part(inside, paragraph, "qas", list), start=1):
                name = _part(f"{inside}, question {index}", question, "id", str)
                where = f"{inside}, question {name}"
                answers = [
                    _part(where, answer, "text", str)
                    for answer in _part(where, question, "answers", list)
                ]
                yield (
                    where,
                    {
                        "id": question["id"],
                        "title": _part(place, article, "title", str),
                        "context": _part(inside, paragraph, "context", str),
                        "question": _part(where, question, "question", str),
                        "answers": list(dict.fromkeys(answers)),
                    },
                )


def _part(place: str, parent: Any, name: str, kind: type) -> Any:
    if not isinstance(parent, dict) or not isinstance(parent.get(name), kind):
        raise InputError(
            f"{place}: no {name}", "the form of the official SQuAD files", "fix or convert the file"
        )
    return parent[name]
