"""Labels of rows -> indices of classes, and names that a reader or a parser would confuse."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ft_harness.data.values import is_blank
from ft_harness.errors import InputError, suggest

_log = logging.getLogger(__name__)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")
_MOST_DIGITS = 9
_DIGITS = re.compile(r"\d+")
_NEGATIONS = ("not", "non", "no", "un", "in")
# Cyrillic and Greek letters, and the Latin ones that look the same
_LOOKS = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u0501\u051b\u051d"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03b9\u03ba\u03bd\u03bf\u03c1\u03c5",
    "ABEKMHOPCTYXSIJaeopcyxsijhdqwABEZHIKMNOPTYXaikvopu",
)
# what false and true are called, where the names of two or more classes don't say it themselves
_OPPOSITES = (
    ("false", "true"), ("no", "yes"), ("0", "1"), ("n", "y"), ("f", "t"), ("off", "on"),
    ("negative", "positive"), ("neg", "pos"),
)  # fmt: skip


def plain_label(raw: Any) -> str:
    """A row's label as text; 1.0 and "1.0", as pandas writes whole numbers next to gaps, are
    "1"."""
    text = str(raw).strip()
    whole = _WHOLE_NUMBER.fullmatch(text)
    return whole.group(1) if whole else text


def folded(text: str) -> str:
    """One form for label names that look the same or differ in case: NFKC, case folding, no
    invisible characters, single blanks."""
    # Twice, since folding the case may undo the normal form.
    wide = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(c for c in wide if c.isspace() or _is_visible(c)).split())


@lru_cache(maxsize=4096)
def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] != "C" and not is_blank(character)


def _seen(text: str) -> str:
    """What a reader takes a word for: folded, letters of other scripts as the Latin ones that they
    look like."""
    return folded(text.translate(_LOOKS))


def alike(words: Sequence[str]) -> tuple[str, str] | None:
    """The first two label names that a reader would take for the same."""
    known: dict[str, str] = {}
    for word in words:
        other = known.setdefault(_seen(word), word)
        if other is not word:
            return other, word
    return None


class LabelIndex:
    """Finds the index of a label given as its name, its number or a truth value.

    Names come first. Where a name is a number itself ("1" to "5"), numbers are names only: 0 is
    not the first of them.

    Args:
        names: of the classes, in index order.
        stated: names that the source states for the numbers in its rows.

    Attributes:
        positions: numbers of rows that were taken as indices of names -> where the first one is.
    """

    def __init__(self, names: Sequence[str], stated: Sequence[str] = ()) -> None:
        self._names = list(names)
        self._known: dict[str, int] = {}
        # A name as it is written comes first: "1.0" may be a class of its own next to "1".
        for spelling in (str, str.strip, plain_label):
            for index, name in enumerate(names):
                self._known.setdefault(spelling(name), index)
        self._numeric = any(_NUMBER.fullmatch(name.strip()) for name in names)
        self._stated = stated
        self._of_stated = match_names(stated, names) if stated else None
        self._found: dict[tuple[type, Any], int] = {}
        self.positions: dict[int, str] = {}

    def find(self, raw: Any, place: str) -> int:
        """The index of a row's label.

        Raises:
            InputError: the label is none of the classes.
        """
        key = (type(raw), raw) if isinstance(raw, str | int | float) else (str, str(raw))
        if key not in self._found:
            self._found[key] = self._find(raw, place)
        return self._found[key]

    def find_known(self, values: Sequence[Any]) -> list[int] | None:
        """As `find`, of values of one type; None if one was not met before."""
        kind = type(values[0])
        indices = {raw: self._found.get((kind, raw)) for raw in set(values)}
        if None in indices.values():
            return None
        return [indices[raw] for raw in values]  # type: ignore[misc]

    def _find(self, raw: Any, place: str) -> int:
        shown = str(raw)
        if self._of_stated is not None and type(raw) is int:
            if 0 <= raw < len(self._stated):
                index, shown = self._of_stated[raw], self._stated[raw]
                if index is not None:
                    return index
        else:
            for text in (str(raw), plain_label(raw)):
                if text in self._known:
                    return self._known[text]
            number = self._truth(raw) if shown.casefold() in ("false", "true") else None
            if number is None and not self._numeric:
                text = plain_label(raw)
                is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
                number = int(text) if is_number else None
                if number is not None:
                    self.positions.setdefault(number, place)
            if number is not None and number < len(self._names):
                return number
        numbers = "" if self._numeric else f", or 0 to {len(self._names) - 1}"
        raise InputError(
            f"{place}: label {shown[:80]!r} is not among the choices{self._nearest(shown)}",
            f"one of {', '.join(self._names)}{numbers}",
            "fix the row, or leave such rows out with data.drop_labels",
        )

    def _nearest(self, label: str) -> str:
        """The name that was probably meant, in words; if the two look the same, how this one
        differs."""
        twin = next((name for name in self._names if _seen(name) == _seen(label)), None)
        if twin is None:
            return suggest(label, self._names)
        if label.isascii():
            return f"; did you mean {twin}?"
        return f"; it looks like {twin}, but is {label[:80]!a}"

    def _truth(self, raw: Any) -> int | None:
        truth = str(raw).casefold() == "true"
        names = [name.strip().casefold() for name in self._names]
        for pair in _OPPOSITES:
            if pair[truth] in names:
                return names.index(pair[truth])
        for index, name in enumerate(names):  # "not_entailment" is what isn't "entailment"
            opposites = [f"{no}{gap}{name}" for no in _NEGATIONS for gap in ("", "_", "-", " ")]
            other = next((names.index(each) for each in opposites if each in names), None)
            if other is not None and len(names) == 2:
                return index if truth else other
        return int(truth) if len(names) == 2 and not self._numeric else None


def check_positions(names: Sequence[str], positions: Mapping[int, str]) -> None:
    """Refuse labels that are numbers and may be names or indices: 1 next to "1 star", where no row
    has a 0 that would tell.

    Args:
        positions: numbers that were taken as indices -> where the first one is.

    Raises:
        InputError: each of them is in a name, and not always in the one at that index.
    """
    holding = {
        number: [name for name in names if str(number) in _DIGITS.findall(name)]
        for number in positions
    }
    if 0 in positions or not all(len(found) == 1 for found in holding.values()):
        return
    for number, (name,) in holding.items():
        if number < len(names) and names[number] != name:
            raise InputError(
                f"{positions[number]}: label {number} may be {name!r}, or number {number} counted "
                f"from 0, which is {names[number]!r}; no row has a 0",
                "labels that can be read in one way",
                "write the names into the data, or data.labels as the numbers that the rows have",
            )


def match_names(stated: Sequence[str], names: Sequence[str]) -> list[int | None] | None:
    """Labels by name: index among `names` of each name that a source states for its numbers (None:
    it is not among them); None as a whole: the numbers are indices.

    A name is found as it is written, else folded, else as the only one that begins like it ("neg",
    "negative"). Numbers say nothing, unless all of them are names. Where none is found, the order
    counts, with a warning.

    Raises:
        InputError: no name is found, and there are more or fewer of them.
    """
    spelled = {name.strip(): index for index, name in enumerate(names)}
    numbers = all(_NUMBER.fullmatch(name.strip()) for name in stated)
    if numbers and not {name.strip() for name in stated} <= spelled.keys():
        return None
    alike = {folded(name): index for index, name in enumerate(names)}
    found = [spelled.get(name.strip(), alike.get(folded(name))) for name in stated]
    if not any(index is not None for index in found) and len(stated) <= len(names):
        starts = [_like(folded(name), list(alike)) for name in stated]
        if None not in starts and len(set(starts)) == len(starts):
            return [None if start is None else alike[start] for start in starts]
    if any(index is not None for index in found):
        return found
    if len(stated) != len(names):
        raise InputError(
            f"the source states the labels {', '.join(stated)}, none of which is in data.labels",
            f"names of data.labels ({', '.join(names)})",
            "--set 'data.labels=[...]' with the names that the source states",
        )
    pairs = ", ".join(f"{a} as {b}" for a, b in zip(stated, names, strict=True))
    _log.warning(
        "the source states other label names than data.labels; taken in their order: %s. "
        "If that is wrong, set data.labels in the order of the source",
        pairs,
    )
    return list(range(len(names)))


def _like(name: str, names: Sequence[str]) -> str | None:
    """The only one of the names that begins with this one, or that this one begins with."""
    found = [other for other in names if other.startswith(name) or name.startswith(other)]
    return found[0] if len(found) == 1 else None
