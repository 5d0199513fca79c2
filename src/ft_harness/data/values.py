"""Values of rows as a file holds them: what counts as missing, as text, as the same kind, and as
written twice."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ft_harness.errors import InputError

ABSENT = object()


class RowError(InputError):
    """What is wrong with the values of one row: `data.skip_bad_rows` leaves such rows out."""


_KINDS = {
    str: "text",
    bool: "true/false",
    int: "number",
    float: "number",
    dict: "object",
    type(None): "null",
}
_HALF = re.compile("[\ud800-\udfff]")
# White space, control characters, Unicode's Default_Ignorable_Code_Point (which unicodedata lacks)
# and the empty pattern of Braille: nothing that a reader sees.
_UNSEEN = (
    r"[\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)
_BLANK = re.compile(_UNSEEN)
_DATES = (datetime.date, datetime.time, datetime.timedelta)


def find_value(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of a path like `a.b` or `a.0.b` within objects and lists; ABSENT if
    the row has none."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return ABSENT
    return value


def read_value(value: Any, place: str, name: str) -> Any:
    """A value as the docs hold it: NaN is null, UTF-8 bytes are text, dates and decimal numbers are
    as they are written; lists and objects keep their shape.

    Raises:
        RowError: bytes that are no text, half a character, or an infinite number.
    """
    # The commonest types first: this is asked of each value of each row.
    kind = type(value)
    if kind is str:
        if not value.isascii() and has_half_character(value):
            raise RowError(
                f"{place}: the field {name} holds half a character (a lone surrogate)",
                "whole Unicode characters",
                "fix the escapes like \\ud83d of the row",
            )
        return value
    if kind is int or kind is bool or value is None:
        return value
    if kind is float:
        if math.isinf(value):
            raise RowError(
                f"{place}: the field {name} holds a number that is infinite, or too large",
                "a finite number",
                "fix the row, or write the number as text",
            )
        return value if value == value else None  # NaN alone differs from itself
    if isinstance(value, list | tuple):
        return [read_value(part, place, name) for part in value]
    if isinstance(value, Mapping):
        return {
            str(read_value(key, place, name)): read_value(part, place, name)
            for key, part in value.items()
        }
    if isinstance(value, bytes | bytearray):
        return _decoded(bytes(value), place, name)
    if isinstance(value, Decimal):
        return None if value.is_nan() else str(value)
    return str(value) if isinstance(value, _DATES) else value


def has_half_character(text: str) -> bool:
    """Whether a row's value holds half a character: a surrogate alone, which no encoding can
    write."""
    return _HALF.search(text) is not None


def first_twice(names: Sequence[str]) -> str | None:
    """The first value that a row's list contains twice."""
    counts = Counter(names)
    return next((name for name in names if counts[name] > 1), None)


def is_blank(text: str) -> bool:
    """Whether a row's text shows nothing: it is empty, or white space and invisible characters
    alone."""
    return _BLANK.fullmatch(text) is not None


def bare_name(text: str) -> str:
    """A name without what shows nothing at its ends, as a table's header may have it."""
    begin = _leading(text)
    return text[begin : len(text) - _leading(text[:begin:-1])]


def _leading(text: str) -> int:
    """How many characters at its beginning show nothing."""
    found = _BLANK.match(text)
    return found.end() if found else 0


def shown_name(name: str) -> str:
    """A name as a message shows it, with what would not be seen at its ends."""
    return name if name == bare_name(name) else ascii(name)


def suggest_column(accepted: Sequence[str], columns: Sequence[str]) -> str:
    """ "; did you mean X?" for a column that differs from an accepted one in case or in what is not
    seen."""
    wanted = {bare_name(name).casefold() for name in accepted}
    found = (column for column in columns if bare_name(column).casefold() in wanted)
    nearest = next(found, None)
    return f"; did you mean {shown_name(nearest)}?" if nearest is not None else ""


def _decoded(value: bytes, place: str, name: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(
            f"{place}: the field {name} holds bytes that are not UTF-8 text (byte {error.start})",
            "text",
            "convert the column to text, or leave it out: data.columns names the fields to read",
        ) from error


def read_fields(doc: dict[str, Any], place: str) -> str:
    """Replace the values of a doc by `read_value`'s; return the first field without one, in words.

    Raises:
        RowError: as in `read_value`.
    """
    fault = ""
    for name, value in doc.items():
        kind = type(value)
        if kind is str and value.isascii():
            if is_blank(value):
                fault = fault or missing(name, value)
        elif kind is not int:
            doc[name] = read_value(value, place, name)
            fault = fault or missing(name, doc[name])
    return fault


def missing(name: str, value: Any) -> str:
    """What is missing, in words, where a value is null or a text that shows nothing; else "".

    An empty list is a value: a question without an answer.
    """
    if value is None:
        return f"the field {name} is null"
    if not isinstance(value, str) or not is_blank(value):
        return ""
    is_empty = not value or value.isspace()
    return f"the field {name} {'is empty' if is_empty else 'holds invisible characters alone'}"


def kind_of(value: Any) -> str:
    """What a row's value is, in words; an empty list is a "list", which any list may follow."""
    known = _KINDS.get(type(value))
    if known is not None:
        return known
    if not isinstance(value, list):
        return type(value).__name__
    kinds = {kind_of(item) for item in value if item is not None}
    widest = sorted(
        kind
        for kind in kinds
        if not any(other != kind and other.startswith(kind) for other in kinds)
    )
    return f"list of {' and '.join(widest)}" if widest else "list"


def check_lists(doc: Mapping[str, Any], place: str) -> None:
    """Refuse a doc with a list of values of several kinds.

    Raises:
        RowError: there is one.
    """
    for name, value in doc.items():
        if isinstance(value, list) and " and " in (kind := kind_of(value)):
            raise RowError(
                f"{place}: the field {name} is a {kind}", "one kind per list", "fix the row"
            )


def read_answers(value: Any, place: str) -> Any:
    """The texts of answers in SQuAD's shapes, `{"text": [...], ...}` or `[{"text": ...}, ...]`,
    each once; other values as they are.

    Raises:
        RowError: a shape without `text`, which would pass for a question without an answer, or an
            answer that is null or shows nothing.
    """
    texts = _answer_texts(value, place)
    for each in texts if isinstance(texts, list) else ():
        if each is None or (isinstance(each, str) and is_blank(each)):
            raise RowError(
                f"{place}: answers holds {'null' if each is None else 'an empty text'}",
                "answers that show something; an empty list where there is no answer",
                "fix the row",
            )
    return texts


def _answer_texts(value: Any, place: str) -> Any:
    listed = [value] if isinstance(value, dict) else value
    nested = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not nested:
        return value
    if len(nested) < len(listed):
        raise RowError(
            f"{place}: answers holds objects next to other values",
            "a list of texts, or a list of objects with a key text",
            "write them all the same way",
        )
    texts: list[Any] = []
    for each in nested:
        if "text" not in each:
            raise RowError(
                f"{place}: answers holds {', '.join(map(str, each)) or 'nothing'}, and no text",
                "answers with a key text: a list of texts, empty where there is no answer",
                "rename the key in the data, or map another column: data.columns={answers: [...]}",
            )
        found = each["text"]
        texts += found if isinstance(found, list) else [found]
    return list(dict.fromkeys(texts))
