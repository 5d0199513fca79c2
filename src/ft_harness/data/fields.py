"""The fields of one row as a doc holds them, or what is wrong with the row."""

from __future__ import annotations

from ft_harness.data.answer_pairs import PROMPT, read_pair
from ft_harness.data.files import Row
from ft_harness.data.options import DataOptions
from ft_harness.data.values import RowError, check_lists, read_answers, read_fields, read_value

_ANSWERS = "answers"
_A_PAIR = "a prompt and two different answers, as texts or as messages of role and content"


def read_doc(doc: Row, place: str, options: DataOptions) -> Row:
    """The fields of one row as a doc holds them; one that may be missing is then an empty text.

    Raises:
        RowError: the row is a bad one.
    """
    extras = {name: read_value(doc.pop(name, None), place, name) for name in options.optional}
    fault = read_fields(doc, place)
    if options.pairs:
        given = {name: value for name, value in extras.items() if value is not None}
        doc, extras = {PROMPT: "", **doc, **given}, {}
        fault = fault or read_pair(doc)
    if fault:
        raise row_error(place, fault, options)
    doc |= {name: "" if value is None else value for name, value in extras.items()}
    if _ANSWERS in doc:
        doc[_ANSWERS] = read_answers(doc[_ANSWERS], place)
    check_lists(doc, place)
    return doc


def row_error(place: str, fault: str, options: DataOptions) -> RowError:
    """The error of a row with a field that is missing, or with answers that are no pair."""
    return RowError(
        f"{place}: {fault}",
        _A_PAIR if options.pairs else "a value in every field",
        "fix or remove the rows, or say which fields may be missing (data.optional)",
    )
